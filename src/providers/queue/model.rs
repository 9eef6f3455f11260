//! What a queue should do, in a slow and plain way, told the same things one after another.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use proptest::prelude::*;

use super::line::Line;
use super::{Asked, Call, Limits, Permit, Taken, Ticket};

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ask(u64),
    Release(usize),
    Take(usize),
    Leave(usize),
    Expire,
    Limit(u32, u32),
}

pub(super) struct Waiting {
    pub(super) caller: u64,
    key: u64,
    pub(super) deadline: u64,
}

/// Keys with permits or places: permits, and when their last turn began or ended.
#[derive(Default)]
pub(super) struct Model {
    pub(super) permits: usize,
    pub(super) length: usize,
    /// There is no seat for who asks, where one is wished for.
    pub(super) full: bool,
    /// Who asks is the first that may go where it may.
    pub(super) passes: bool,
    pub(super) time: u64,
    pub(super) keys: BTreeMap<u64, (usize, u64)>,
    /// In the order in which they asked.
    pub(super) waiting: Vec<Waiting>,
}

impl Model {
    pub(super) fn held(&self) -> usize {
        self.keys.values().map(|(held, _)| held).sum()
    }

    fn waits(&self, key: u64) -> usize {
        self.waiting.iter().filter(|one| one.key == key).count()
    }

    fn all(&self, key: u64) -> usize {
        self.waits(key) + self.keys.get(&key).map_or(0, |(held, _)| *held)
    }

    pub(super) fn forget(&mut self) {
        let waiting: Vec<_> = self.waiting.iter().map(|one| one.key).collect();
        self.keys
            .retain(|key, (held, _)| *held > 0 || waiting.contains(key));
    }

    fn key(&mut self, key: u64) -> &mut (usize, u64) {
        self.time += 1;
        self.keys.entry(key).or_insert((0, self.time))
    }

    fn admit(&mut self, key: u64) {
        self.key(key).0 += 1;
        self.time += 1;
        self.keys.get_mut(&key).unwrap().1 = self.time;
    }

    pub(super) fn release(&mut self, key: u64) {
        self.time += 1;
        let (held, turn) = self.keys.get_mut(&key).unwrap();
        (*held, *turn) = (*held - 1, self.time);
        self.forget();
    }

    /// Who is admitted next.
    fn next(&mut self) -> Option<Waiting> {
        self.next_of(|_| true)
    }

    /// The same, of those for whom there is a seat.
    pub(super) fn next_of(&mut self, has_seat: impl Fn(u64) -> bool) -> Option<Waiting> {
        if self.held() >= self.permits {
            return None;
        }
        let mut keys: Vec<_> = self.waiting.iter().map(|one| one.key).collect();
        keys.sort_by_key(|key| self.keys[key]);
        let mut firsts = keys.iter().filter_map(|key| {
            let first = self.waiting.iter().position(|one| one.key == *key);
            first.filter(|first| has_seat(self.waiting[*first].caller))
        });
        let first = firsts.next()?;
        let one = self.waiting.remove(first);
        self.admit(one.key);
        Some(one)
    }

    pub(super) fn ask(&mut self, key: u64, caller: u64, deadline: u64) -> Expected {
        let is_first = self.waiting.is_empty() || self.passes;
        if self.held() < self.permits && !self.full && is_first {
            self.admit(key);
            return Expected::Admitted;
        }
        let mut displaced = None;
        if self.waiting.len() >= self.length {
            let most = |one: &&Waiting| (self.all(one.key), u64::MAX - self.keys[&one.key].1);
            let hog = self.waiting.iter().max_by_key(most).map(|one| one.key);
            let Some(hog) =
                hog.filter(|hog| self.length > 0 && self.all(*hog) >= self.all(key) + 2)
            else {
                return Expected::Full;
            };
            let last = self.waiting.iter().rposition(|one| one.key == hog).unwrap();
            displaced = Some(self.waiting.remove(last).caller);
            self.forget();
        }
        self.key(key);
        self.waiting.push(Waiting {
            caller,
            key,
            deadline,
        });
        Expected::Waits(displaced)
    }
}

#[derive(Debug, PartialEq)]
pub(super) enum Expected {
    Admitted,
    Waits(Option<u64>),
    Full,
}

/// A request as its worker sees it.
struct Request {
    caller: u64,
    key: u64,
    ticket: Option<Ticket>,
    permit: Option<Permit>,
    /// It was called, or told that it is over.
    called: bool,
}

struct Run {
    line: Line,
    model: Model,
    requests: Vec<Request>,
    now: u64,
    callers: u64,
}

impl Run {
    fn some(&self, which: usize, fits: impl Fn(&Request) -> bool) -> Option<usize> {
        let found: Vec<_> = (0..self.requests.len())
            .filter(|one| fits(&self.requests[*one]))
            .collect();
        Some(found[which.checked_rem(found.len())?])
    }

    fn called(
        &mut self,
        call: Option<Call>,
        expected: Option<Waiting>,
    ) -> Result<bool, TestCaseError> {
        prop_assert_eq!(call.map(|call| call.caller), expected.map(|one| one.caller));
        let Some(call) = call else { return Ok(false) };
        let mut requests = self.requests.iter_mut();
        let request = requests.find(|one| one.caller == call.caller).unwrap();
        prop_assert_eq!(Some(call.ticket), request.ticket);
        request.called = true;
        Ok(true)
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Pass(time) => self.now += time,
            Step::Ask(key) => self.ask(key)?,
            Step::Release(which) => {
                let Some(which) = self.some(which, |one| one.permit.is_some()) else {
                    return Ok(());
                };
                let request = self.requests.swap_remove(which);
                let call = self.line.release(request.permit.unwrap(), self.now);
                self.model.release(request.key);
                let next = self.model.next();
                self.called(call, next)?;
            }
            Step::Take(which) => {
                let Some(which) = self.some(which, |one| one.ticket.is_some()) else {
                    return Ok(());
                };
                let request = &mut self.requests[which];
                match self.line.take(request.ticket.unwrap()) {
                    Taken::Waits => prop_assert!(!request.called),
                    Taken::Gone { .. } => prop_assert!(false, "gone"),
                    Taken::Admitted(permit) => {
                        prop_assert!(request.called);
                        (request.permit, request.ticket) = (Some(permit), None);
                    }
                }
            }
            Step::Leave(which) => {
                let Some(which) = self.some(which, |one| one.ticket.is_some()) else {
                    return Ok(());
                };
                let request = self.requests.swap_remove(which);
                let call = self.line.leave(request.ticket.unwrap(), self.now);
                let mut next = None;
                match request.called {
                    true => {
                        self.model.release(request.key);
                        next = self.model.next();
                    }
                    false => {
                        self.model
                            .waiting
                            .retain(|one| one.caller != request.caller);
                        self.model.forget();
                    }
                }
                self.called(call, next)?;
            }
            Step::Expire => self.expire()?,
            Step::Limit(permits, length) => {
                self.line.limit(limits(permits, length));
                (self.model.permits, self.model.length) = (permits as usize, length as usize);
                loop {
                    let (call, next) = (self.line.next(self.now), self.model.next());
                    if !self.called(call, next)? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    fn ask(&mut self, key: u64) -> Result<(), TestCaseError> {
        self.callers += 1;
        let (caller, deadline) = (self.callers, self.now + WAIT);
        let expected = self.model.ask(key, caller, deadline);
        let mut request = Request {
            caller,
            key,
            ticket: None,
            permit: None,
            called: false,
        };
        let answer = match self.line.ask(key, caller, None, self.now) {
            Asked::Admitted(permit) => {
                request.permit = Some(permit);
                Expected::Admitted
            }
            Asked::Waits {
                ticket,
                deadline: until,
                displaced,
            } => {
                prop_assert_eq!(until, deadline);
                request.ticket = Some(ticket);
                if let Some(call) = displaced {
                    let gone = self.some(0, |one| one.caller == call.caller).unwrap();
                    let gone = self.requests.swap_remove(gone);
                    prop_assert_eq!(gone.ticket, Some(call.ticket));
                    // A place that is given to another has another number.
                    let taken = self.line.take(call.ticket);
                    prop_assert!(matches!(taken, Taken::Gone { .. }), "{taken:?}");
                    prop_assert_eq!(self.line.leave(call.ticket, self.now), None);
                }
                Expected::Waits(displaced.map(|call| call.caller))
            }
            Asked::Full { retry_after } => {
                prop_assert!((1..=60).contains(&retry_after));
                Expected::Full
            }
        };
        prop_assert_eq!(&answer, &expected);
        if answer != Expected::Full {
            self.requests.push(request);
        }
        Ok(())
    }

    fn expire(&mut self) -> Result<(), TestCaseError> {
        let mut over = Vec::new();
        while let Some(call) = self.line.expire(self.now) {
            over.push(call.caller);
        }
        let now = self.now;
        let waiting = self.model.waiting.iter();
        let mut expected: Vec<_> = waiting
            .filter(|one| one.deadline <= now)
            .map(|one| one.caller)
            .collect();
        expected.sort_unstable();
        prop_assert_eq!(&over, &expected);
        self.model.waiting.retain(|one| one.deadline > now);
        self.model.forget();
        self.requests.retain(|one| !over.contains(&one.caller));
        Ok(())
    }

    fn compare(&self) -> Result<(), TestCaseError> {
        let state = self.line.state();
        prop_assert_eq!(state.held as usize, self.model.held());
        prop_assert_eq!(state.waiting as usize, self.model.waiting.len());
        prop_assert_eq!(state.keys as usize, self.model.keys.len());
        let earliest = self.model.waiting.iter().map(|one| one.deadline).min();
        prop_assert_eq!(self.line.deadline(), earliest);
        // No permit is idle while somebody waits.
        prop_assert!(state.waiting == 0 || self.model.held() >= self.model.permits);
        Ok(())
    }
}

const WAIT: u64 = 1000;

fn limits(permits: u32, length: u32) -> Limits {
    Limits {
        permits: NonZeroU32::new(permits),
        seats: 0,
        length,
        wait: WAIT,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop_oneof![1 => Just(0), 1 => 0..6_u64];
    prop_oneof![
        3 => (0..300_u64).prop_map(Step::Pass),
        9 => key.prop_map(Step::Ask),
        4 => any::<usize>().prop_map(Step::Release),
        4 => any::<usize>().prop_map(Step::Take),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => Just(Step::Expire),
        1 => (1..6_u32, 0..9_u32).prop_map(|(permits, length)| Step::Limit(permits, length)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]
    #[test]
    fn a_queue_does_what_a_slow_model_does(
        permits in 1..6_u32,
        length in 0..9_u32,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut run = Run {
            line: Line::new(limits(permits, length)),
            model: Model { permits: permits as usize, length: length as usize, ..Model::default() },
            requests: Vec::new(),
            now: 5,
            callers: 0,
        };
        let sizes = run.line.sizes();
        let mut limited = false;
        for step in steps {
            limited |= matches!(step, Step::Limit(..));
            run.step(step)?;
            run.compare()?;
        }
        prop_assert!(limited || run.line.sizes() == sizes, "a table has grown");
    }
}
