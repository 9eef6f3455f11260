//! Processes that follow each other and what they tell each other on the way: never more than the limit of the instance at
//! once in all of them together, and all of it is with the last one in the end.

use std::collections::VecDeque;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::{HandedSeats, Said, To, Waiting};
use crate::providers::group::{Balance, Group, Listed, Tried, UnderWay};

struct Process {
    group: Group,
    handed: HandedSeats,
    under_way: Vec<UnderWay>,
    waits: u32,
    /// Said to the younger process, and to the older one, and not heard yet.
    down: VecDeque<Said>,
    up: VecDeque<Said>,
}

impl Process {
    fn new(limit: u32, away: u32) -> Self {
        let listed = Listed {
            identity: 7,
            weight: 1,
            limit: NonZeroU32::new(limit),
        };
        let group = Group::new(Balance::First, &[listed]).unwrap();
        let mut handed = HandedSeats::new(group.seats(0).unwrap());
        handed.are_away(away);
        Self {
            group,
            handed,
            under_way: Vec::new(),
            waits: 0,
            down: VecDeque::new(),
            up: VecDeque::new(),
        }
    }

    fn ask(&mut self) {
        self.waits += 1;
        self.wake();
    }

    fn wake(&mut self) {
        while self.waits > 0
            && let Ok(seat) = self.group.choose(0, Tried::default(), 0, 0)
        {
            self.under_way.push(seat);
            self.waits -= 1;
        }
    }

    fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.waits == 0
    }

    fn say(&mut self, said: Option<(To, Said)>) {
        match said {
            Some((To::Younger, said)) => self.down.push_back(said),
            Some((To::Older, said)) => self.up.push_back(said),
            None => {}
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask(usize),
    End(usize),
    Tell(usize),
    Hear(usize, bool),
    Upgrade,
    EndOldest { crash: bool },
    CrashYoungest,
}

/// The oldest process first.
struct World {
    all: Vec<Process>,
    limit: u32,
}

impl World {
    fn under_way(&self) -> usize {
        self.all.iter().map(|one| one.under_way.len()).sum()
    }

    fn step(&mut self, step: &Step) {
        let count = self.all.len();
        match *step {
            Step::Ask(which) => self.all[which % count].ask(),
            Step::End(which) => drop(self.all[which % count].under_way.pop()),
            Step::Tell(which) => self.tell(which % count),
            Step::Hear(which, from_older) => self.hear(which % count, from_older),
            Step::Upgrade if count < 4 => {
                let left = self.all[count - 1].handed.leave();
                self.all.push(Process::new(self.limit, left));
            }
            Step::EndOldest { crash } if count > 1 && (crash || self.all[0].is_idle()) => {
                while !self.all[0].down.is_empty() {
                    self.hear(1, true);
                }
                self.all.remove(0);
                let next = &mut self.all[0];
                next.up.clear();
                let passed = next.handed.older_ended();
                next.say(passed);
            }
            Step::CrashYoungest if count > 1 => {
                while !self.all[count - 1].up.is_empty() {
                    self.hear(count - 2, false);
                }
                self.all.pop();
                let last = self.all.last_mut().unwrap();
                last.down.clear();
                last.handed.younger_ended();
            }
            Step::Upgrade | Step::EndOldest { .. } | Step::CrashYoungest => {}
        }
        self.all.iter_mut().for_each(Process::wake);
    }

    fn tell(&mut self, which: usize) {
        let older = self.all[..which].iter().map(|older| older.waits).sum();
        let process = &mut self.all[which];
        let waiting = Waiting {
            here: process.waits,
            in_older: older,
        };
        let said = process.handed.news(waiting);
        process.say(said);
    }

    fn hear(&mut self, which: usize, from_older: bool) {
        if from_older {
            let older = which.checked_sub(1);
            let said = older.and_then(|older| self.all[older].down.pop_front());
            let process = &mut self.all[which];
            let passed = said.and_then(|said| process.handed.hear_older(said));
            process.say(passed);
        } else {
            let younger = self.all.get_mut(which + 1);
            let said = younger.and_then(|younger| younger.up.pop_front());
            if let Some(said) = said {
                self.all[which].handed.hear_younger(said);
            }
        }
    }

    /// All is told and heard, some times over.
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

fn step() -> impl Strategy<Value = Step> {
    let some = any::<usize>;
    prop_oneof![
        9 => some().prop_map(Step::Ask),
        9 => some().prop_map(Step::End),
        6 => some().prop_map(Step::Tell),
        12 => (some(), any::<bool>()).prop_map(|(which, older)| Step::Hear(which, older)),
        1 => Just(Step::Upgrade),
        1 => prop::bool::weighted(0.3).prop_map(|crash| Step::EndOldest { crash }),
        1 => Just(Step::CrashYoungest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn never_more_than_the_limit_and_nobody_is_forgotten(
        limit in 1..6_u32,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let mut world = World {
            all: vec![Process::new(limit, 0)],
            limit,
        };
        for step in steps {
            world.step(&step);
            prop_assert!(world.under_way() <= limit as usize, "{} under way, {step:?}", world.under_way());
        }
        for _ in 0..1000 {
            if world.all.iter().all(Process::is_idle) {
                break;
            }
            world.settle();
            prop_assert!(world.under_way() <= limit as usize);
            (0..world.all.len()).for_each(|which| world.step(&Step::End(which)));
        }
        prop_assert!(world.all.iter().all(Process::is_idle), "somebody waits for ever");
        world.settle();
        let last = world.all.last_mut().unwrap();
        (0..=limit).for_each(|_| last.ask());
        prop_assert_eq!((last.under_way.len(), last.waits), (limit as usize, 1));
    }
}

#[test]
fn a_late_request_of_the_old_process_is_lent_a_seat() {
    let mut world = World {
        all: vec![Process::new(2, 0)],
        limit: 2,
    };
    world.step(&Step::Upgrade);
    world.step(&Step::Ask(0));
    assert_eq!(world.all[0].waits, 1);
    world.settle();
    assert_eq!(world.all[0].under_way.len(), 1);
    (0..2).for_each(|_| world.step(&Step::Ask(1)));
    assert_eq!((world.all[1].under_way.len(), world.all[1].waits), (1, 1));
    world.step(&Step::EndOldest { crash: true });
    assert_eq!(world.all[0].under_way.len(), 2);
}
