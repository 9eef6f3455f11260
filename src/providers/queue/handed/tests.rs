//! Processes that follow each other, and what they tell each other on the way: never more than the limit at once in all of
//! them together, and nobody is forgotten.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::super::{Asked, Limits, Permit, Queue, Taken, Ticket};
use super::{Handed, Said, To};

const WAIT: u64 = 30_000_000;

fn queue(permits: u32, length: u32) -> Queue {
    Queue::new(Limits {
        permits: NonZeroU32::new(permits),
        seats: 0,
        length,
        wait: WAIT,
    })
}

struct Process {
    queue: Queue,
    handed: Handed,
    permits: Vec<Permit>,
    tickets: Vec<Ticket>,
    /// Said to the younger process, and to the older one, and not heard yet.
    down: VecDeque<Said>,
    up: VecDeque<Said>,
}

/// The oldest process first.
struct World {
    all: Vec<Process>,
    limit: u32,
}

#[derive(Clone, Debug)]
enum Step {
    Ask(usize, u64),
    Release(usize, usize),
    Leave(usize, usize),
    Tell(usize),
    Hear(usize, bool),
    Upgrade,
    EndOldest { crash: bool },
    CrashYoungest,
}

impl World {
    fn new(limit: u32) -> Self {
        let all = vec![Process::new(limit, Handed::default())];
        Self { all, limit }
    }

    fn held(&self) -> usize {
        self.all.iter().map(|one| one.permits.len()).sum()
    }

    fn step(&mut self, step: &Step) {
        let count = self.all.len();
        match *step {
            Step::Ask(which, key) => self.all[which % count].ask(key),
            Step::Release(which, of) => {
                let process = &mut self.all[which % count];
                if let Some(of) = of.checked_rem(process.permits.len()) {
                    let permit = process.permits.swap_remove(of);
                    let _ = process.queue.release(permit, 0);
                }
            }
            Step::Leave(which, of) => {
                let process = &mut self.all[which % count];
                if let Some(of) = of.checked_rem(process.tickets.len()) {
                    let ticket = process.tickets.swap_remove(of);
                    let _ = process.queue.leave(ticket, 0);
                }
            }
            Step::Tell(which) => self.all[which % count].tell(),
            Step::Hear(which, from_older) => self.hear(which % count, from_older),
            Step::Upgrade if count < 4 => {
                let last = self.all.last_mut().unwrap();
                last.tell();
                let left = last.handed.leave(Some(&last.queue));
                self.all.push(Process::new(self.limit, Handed::new(left)));
            }
            Step::EndOldest { crash } if count > 1 && (crash || self.all[0].is_idle()) => {
                // What it has said is heard before its end.
                while !self.all[0].down.is_empty() {
                    self.hear(1, true);
                }
                self.all.remove(0);
                let next = &mut self.all[0];
                next.up.clear();
                let passed = next.handed.older_ended(Some(&next.queue));
                next.pass(passed);
            }
            Step::CrashYoungest if count > 1 => {
                while !self.all[count - 1].up.is_empty() {
                    self.hear(count - 2, false);
                }
                self.all.pop();
                let last = self.all.last_mut().unwrap();
                last.down.clear();
                last.handed.younger_ended(Some(&last.queue));
            }
            Step::Upgrade | Step::EndOldest { .. } | Step::CrashYoungest => {}
        }
        self.all.iter_mut().for_each(Process::wake);
    }

    fn hear(&mut self, which: usize, from_older: bool) {
        let passed = if from_older {
            let said = which
                .checked_sub(1)
                .and_then(|older| self.all[older].down.pop_front());
            let process = &mut self.all[which];
            said.and_then(|said| process.handed.hear_older(said, Some(&process.queue)))
        } else {
            let said = self
                .all
                .get_mut(which + 1)
                .and_then(|younger| younger.up.pop_front());
            let process = &mut self.all[which];
            said.and_then(|said| process.handed.hear_younger(said, Some(&process.queue)))
        };
        self.all[which].pass(passed);
    }

    /// All is told and heard until there is nothing more to say.
    fn settle(&mut self) {
        for _ in 0..8 {
            for which in 0..self.all.len() {
                self.step(&Step::Tell(which));
                while which > 0 && !self.all[which - 1].down.is_empty() {
                    self.step(&Step::Hear(which, true));
                }
                while self.all.get(which + 1).is_some_and(|it| !it.up.is_empty()) {
                    self.step(&Step::Hear(which, false));
                }
            }
        }
    }
}

impl Process {
    fn new(limit: u32, handed: Handed) -> Self {
        let queue = queue(limit, 50);
        handed.apply(&queue);
        Self {
            queue,
            handed,
            permits: Vec::new(),
            tickets: Vec::new(),
            down: VecDeque::new(),
            up: VecDeque::new(),
        }
    }

    fn is_idle(&self) -> bool {
        self.permits.is_empty() && self.tickets.is_empty()
    }

    fn ask(&mut self, key: u64) {
        match self.queue.ask(key, 0, 0) {
            Asked::Admitted(permit) => self.permits.push(permit),
            Asked::Waits {
                ticket, displaced, ..
            } => {
                self.tickets.push(ticket);
                self.tickets
                    .retain(|one| displaced.is_none_or(|call| call.ticket != *one));
            }
            Asked::Full { .. } => {}
        }
    }

    fn tell(&mut self) {
        let news: Vec<_> = self.handed.news(Some(&self.queue)).collect();
        news.into_iter().for_each(|said| self.pass(Some(said)));
    }

    fn pass(&mut self, said: Option<(To, Said)>) {
        match said {
            Some((To::Younger, said)) => self.down.push_back(said),
            Some((To::Older, said)) => self.up.push_back(said),
            None => {}
        }
    }

    /// Whoever may go on goes on.
    fn wake(&mut self) {
        while self.queue.next(0).is_some() {}
        for ticket in std::mem::take(&mut self.tickets) {
            match self.queue.take(ticket) {
                Taken::Admitted(permit) => self.permits.push(permit),
                Taken::Waits => self.tickets.push(ticket),
                Taken::Gone { .. } => panic!("nobody is forgotten"),
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let some = any::<usize>;
    prop_oneof![
        9 => (some(), 0..5_u64).prop_map(|(which, key)| Step::Ask(which, key)),
        8 => (some(), some()).prop_map(|(which, of)| Step::Release(which, of)),
        1 => (some(), some()).prop_map(|(which, of)| Step::Leave(which, of)),
        6 => some().prop_map(Step::Tell),
        12 => (some(), any::<bool>()).prop_map(|(which, older)| Step::Hear(which, older)),
        1 => Just(Step::Upgrade),
        1 => prop::bool::weighted(0.3).prop_map(|crash| Step::EndOldest { crash }),
        1 => prop::bool::weighted(0.3).prop_map(|_| Step::CrashYoungest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn never_more_than_the_limit_and_nobody_is_forgotten(
        limit in 1..6_u32,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut world = World::new(limit);
        for step in steps {
            world.step(&step);
            prop_assert!(world.held() <= limit as usize, "{} held, {step:?}", world.held());
        }
        // All of them end, whichever process they are at, and so does every process but the last.
        for _ in 0..1000 {
            if world.all.iter().all(Process::is_idle) {
                break;
            }
            world.settle();
            prop_assert!(world.held() <= limit as usize);
            for which in 0..world.all.len() {
                world.step(&Step::Release(which, 0));
            }
        }
        prop_assert!(world.all.iter().all(Process::is_idle));
        world.settle();
        // What is needed nowhere else is with the last one, before the others have ended.
        let last = world.all.last_mut().unwrap();
        (0..limit + 1).for_each(|_| last.ask(0));
        prop_assert_eq!((last.permits.len(), last.tickets.len()), (limit as usize, 1));
    }
}

#[test]
fn where_requests_wait_in_both_they_take_turns() {
    let mut world = World::new(4);
    (0..12).for_each(|_| world.step(&Step::Ask(0, 1)));
    world.step(&Step::Upgrade);
    (0..8).for_each(|_| world.step(&Step::Ask(1, 2)));
    world.settle();
    assert_eq!([0, 1].map(|which| world.all[which].permits.len()), [4, 0]);
    for _ in 0..8 {
        let which = usize::from(world.all[0].permits.is_empty());
        world.step(&Step::Release(which, 0));
        world.settle();
    }
    // Eight were let in since: as many there as here, but for whose turn it is.
    let [old, new] = [0, 1].map(|which| world.all[which].tickets.len());
    assert_eq!(old + new, 8);
    assert!(old.abs_diff(new) <= 2, "{old} {new}");
}

#[test]
fn a_late_request_of_the_old_process_is_lent_what_the_new_one_has() {
    let mut world = World::new(2);
    world.step(&Step::Upgrade);
    world.step(&Step::Ask(0, 1));
    assert_eq!(world.all[0].tickets.len(), 1);
    world.settle();
    assert_eq!(world.all[0].permits.len(), 1);
    (0..2).for_each(|_| world.step(&Step::Ask(1, 1)));
    assert_eq!(
        (world.all[1].permits.len(), world.all[1].tickets.len()),
        (1, 1)
    );
    world.step(&Step::EndOldest { crash: true });
    assert_eq!(world.all[0].permits.len(), 2);
}

#[test]
fn whoever_would_have_had_a_permit_that_is_elsewhere_finds_a_place() {
    let queue = queue(3, 0);
    let handed = Handed::new(2);
    handed.apply(&queue);
    let asked: Vec<_> = (0..4).map(|key| queue.ask(key, 0, 0)).collect();
    assert!(matches!(
        asked[..],
        [
            Asked::Admitted(_),
            Asked::Waits { .. },
            Asked::Waits { .. },
            Asked::Full { .. }
        ]
    ));
}
