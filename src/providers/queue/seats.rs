//! Queues before instances that have limits of their own: a slow model of both.

use std::num::NonZeroU32;
use std::sync::Arc;

use proptest::prelude::*;

use super::model::{Expected, Model};
use super::{Asked, Call, Limits, Permit, Queue, Taken, Ticket, Wish};
use crate::providers::group::{Balance, Group, Health, Listed, Outcome, Tried, UnderWay, identity};
use crate::providers::hash::finish;

const SECOND: u64 = 1_000_000;
const WAIT: u64 = 60 * SECOND;

fn listed(limits: &[u32]) -> Vec<Listed> {
    let one = |(index, limit): (usize, &u32)| Listed {
        identity: identity(format!("http://server-{index}:8000/v1").as_bytes()),
        weight: 1,
        limit: NonZeroU32::new(*limit),
    };
    limits.iter().enumerate().map(one).collect()
}

pub(super) fn group(balance: Balance, limits: &[u32]) -> Arc<Group> {
    Group::new(balance, &listed(limits)).unwrap().into()
}

fn limits(permits: u32, length: u32) -> Limits {
    Limits {
        permits: NonZeroU32::new(permits),
        seats: 10,
        length,
        wait: WAIT,
    }
}

pub(super) fn wish(group: &Arc<Group>, session: u64, tried: Tried) -> Wish {
    Wish {
        group: group.clone(),
        session: finish(session),
        tried,
        random: finish(session),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Ask(u64),
    Release(usize),
    Take(usize),
    Leave(usize),
    MoveOn(usize),
    Expire,
    Judge(usize, Outcome),
    Drain(usize, bool),
    /// Limits, of a third or fourth instance that is there or not, and permits.
    Reload(Vec<u32>, u32),
}

/// A request as its worker sees it.
struct Request {
    caller: u64,
    key: u64,
    /// The instances of its configuration.
    group: Arc<Group>,
    ticket: Option<Ticket>,
    permit: Option<Permit>,
    seat: Option<UnderWay>,
    tried: Tried,
    /// It had its turn.
    moved: bool,
    called: bool,
}

/// What there is for a request that has been to some of them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Seats {
    Room,
    Full,
    Nowhere,
}

struct Run {
    queue: Queue,
    group: Arc<Group>,
    balance: Balance,
    model: Model,
    /// Callers that had their turn and wait, in order.
    moved: Vec<u64>,
    requests: Vec<Request>,
    now: u64,
    callers: u64,
}

impl Run {
    fn seats(&self, group: &Group, tried: Tried) -> Seats {
        let states = (0..group.instances()).map(|at| (at, group.state(at, self.now)));
        let states = states.map(|(at, state)| (at, state.unwrap()));
        let open: Vec<_> = states
            .filter(|(at, state)| !tried.has(*at) && !state.draining && state.limit != Some(0))
            .map(|(_, state)| state)
            .collect();
        let well = |health| matches!(health, Health::Well | Health::SlowStart(_) | Health::Due);
        let any_well = open.iter().any(|state| well(state.health));
        let mut among = open.iter().filter(|state| !any_well || well(state.health));
        match among.clone().count() {
            0 => Seats::Nowhere,
            _ if among.any(|one| one.limit.is_none_or(|limit| one.under_way < limit)) => {
                Seats::Room
            }
            _ => Seats::Full,
        }
    }

    fn some(&self, which: usize, fits: impl Fn(&Request) -> bool) -> Option<usize> {
        let found: Vec<_> = (0..self.requests.len())
            .filter(|one| fits(&self.requests[*one]))
            .collect();
        Some(found[which.checked_rem(found.len())?])
    }

    fn request(&mut self, caller: u64) -> &mut Request {
        let mut all = self.requests.iter_mut();
        all.find(|one| one.caller == caller).unwrap()
    }

    /// Whether there is a seat for a request that waits, or none to wait for.
    fn may_sit(&self, caller: u64) -> bool {
        let mut all = self.requests.iter();
        let request = all.find(|one| one.caller == caller).unwrap();
        self.seats(&request.group, request.tried) != Seats::Full
    }

    /// Who is to be called next.
    fn expected(&mut self) -> Option<u64> {
        let mut moved = self.moved.iter().copied().enumerate().take(32);
        if let Some((place, caller)) = moved.find(|(_, caller)| self.may_sit(*caller)) {
            self.moved.remove(place);
            return Some(caller);
        }
        let waiting = self.model.waiting.iter();
        let seated = waiting.filter(|one| self.may_sit(one.caller));
        let seated: Vec<_> = seated.map(|one| one.caller).collect();
        let next = self.model.next_of(|caller| seated.contains(&caller));
        next.map(|one| one.caller)
    }

    /// As a worker does that has made room: the first call it has got, and then whoever else may go on. What is expected is
    /// reckoned before each.
    fn settle(
        &mut self,
        first: Option<impl FnOnce(&Queue) -> Option<Call>>,
    ) -> Result<(), TestCaseError> {
        let mut expected = self.expected();
        let mut call = match first {
            Some(first) => first(&self.queue),
            None => self.queue.next(self.now),
        };
        loop {
            prop_assert_eq!(call.map(|call| call.caller), expected);
            let Some(Call { caller, ticket }) = call else {
                return Ok(());
            };
            let request = self.request(caller);
            prop_assert_eq!(request.ticket, Some(ticket));
            request.called = true;
            expected = self.expected();
            call = self.queue.next(self.now);
        }
    }

    fn look(&mut self) -> Result<(), TestCaseError> {
        self.settle(None::<fn(&Queue) -> Option<Call>>)
    }

    #[expect(clippy::too_many_lines, reason = "an arm for each step")]
    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.now;
        match step {
            Step::Pass(time) => {
                self.now += time;
                self.look()?;
            }
            Step::Ask(key) => self.ask(key)?,
            Step::Release(which) => {
                let Some(which) = self.some(which, |one| one.permit.is_some()) else {
                    return Ok(());
                };
                let request = self.requests.swap_remove(which);
                drop(request.seat);
                // One that had moved on and was called is no turn beside its own.
                let permit = request.permit.unwrap();
                if let Some(ticket) = request.ticket {
                    self.moved.retain(|caller| *caller != request.caller);
                    let before = self.queue.leave(ticket, now);
                    let after = self.expected_of(before)?;
                    prop_assert!(after);
                    self.look()?;
                }
                self.model.release(request.key);
                // What it is released with has no seat any more.
                self.settle(Some(|queue: &Queue| queue.release(permit, now)))?;
            }
            Step::Take(which) => self.take(which)?,
            Step::Leave(which) => {
                let fits = |one: &Request| one.ticket.is_some() && !one.moved;
                let Some(which) = self.some(which, fits) else {
                    return Ok(());
                };
                let request = self.requests.swap_remove(which);
                match request.called {
                    true => self.model.release(request.key),
                    false => {
                        let waiting = &mut self.model.waiting;
                        waiting.retain(|one| one.caller != request.caller);
                        self.model.forget();
                    }
                }
                // The seat that it was called with is free again only with this.
                let call = self.queue.leave(request.ticket.unwrap(), now);
                prop_assert!(self.expected_of(call)?);
                self.look()?;
            }
            Step::MoveOn(which) => self.move_on(which)?,
            Step::Expire => self.expire()?,
            Step::Judge(which, outcome) => {
                let Some(which) = self.some(which, |one| one.seat.is_some()) else {
                    return Ok(());
                };
                let seat = self.requests[which].seat.as_ref().unwrap();
                self.group.judge(seat, outcome, now);
                self.look()?;
            }
            Step::Drain(index, on) => {
                match on {
                    true => self.group.drain(index),
                    false => self.group.undrain(index, now),
                };
                self.look()?;
            }
            Step::Reload(of_each, permits) => {
                let next = self.group.after(self.balance, &listed(&of_each), now);
                self.group = Arc::new(next.unwrap());
                let length = u32::try_from(self.model.length).unwrap();
                self.queue.limit(limits(permits, length));
                self.model.permits =
                    NonZeroU32::new(permits).map_or(usize::MAX, |it| it.get() as usize);
                self.look()?;
            }
        }
        Ok(())
    }

    /// Takes account of a call that came about before it could be reckoned: any that has a seat or none to wait for.
    fn expected_of(&mut self, call: Option<Call>) -> Result<bool, TestCaseError> {
        let Some(call) = call else { return Ok(true) };
        let place = self.moved.iter().position(|caller| *caller == call.caller);
        match place {
            Some(place) => drop(self.moved.remove(place)),
            None => {
                let next = self.model.next_of(|caller| caller == call.caller);
                prop_assert_eq!(next.map(|one| one.caller), Some(call.caller));
            }
        }
        self.request(call.caller).called = true;
        Ok(true)
    }

    fn ask(&mut self, key: u64) -> Result<(), TestCaseError> {
        self.callers += 1;
        let caller = self.callers;
        self.model.full = self.seats(&self.group, Tried::default()) == Seats::Full;
        let waits = |one: &&Request| one.ticket.is_some() && !one.moved && !one.called;
        let waiting = self.requests.iter().filter(waits);
        let (same, before): (Vec<_>, Vec<_>) =
            waiting.partition(|one| Arc::ptr_eq(&one.group, &self.group));
        let mut all = same.iter().chain(&before);
        let alone = !all.any(|one| one.key == key);
        self.model.passes = same.is_empty() || (!before.is_empty() && alone);
        let expected = self.model.ask(key, caller, self.now + WAIT);
        let mut request = Request {
            caller,
            key,
            group: self.group.clone(),
            ticket: None,
            permit: None,
            seat: None,
            tried: Tried::default(),
            moved: false,
            called: false,
        };
        let wish = wish(&self.group, caller, Tried::default());
        let answer = match self.queue.ask_for(key, caller, wish, self.now) {
            Asked::Admitted(mut permit) => {
                prop_assert!(permit.is_turn());
                request.seat = permit.take_seat();
                request.permit = Some(permit);
                Expected::Admitted
            }
            Asked::Waits {
                ticket, displaced, ..
            } => {
                request.ticket = Some(ticket);
                if let Some(call) = displaced {
                    self.requests.retain(|one| one.caller != call.caller);
                }
                Expected::Waits(displaced.map(|call| call.caller))
            }
            Asked::Full { .. } => Expected::Full,
        };
        prop_assert_eq!(&answer, &expected);
        if answer != Expected::Full {
            self.requests.push(request);
        }
        Ok(())
    }

    fn take(&mut self, which: usize) -> Result<(), TestCaseError> {
        let Some(which) = self.some(which, |one| one.ticket.is_some()) else {
            return Ok(());
        };
        let mut extra = None;
        let request = &mut self.requests[which];
        match self.queue.take(request.ticket.unwrap()) {
            Taken::Waits => prop_assert!(!request.called),
            Taken::Gone { .. } => prop_assert!(false, "gone"),
            Taken::Admitted(mut permit) => {
                prop_assert!(request.called);
                request.ticket = None;
                request.seat = permit.take_seat();
                prop_assert_eq!(permit.is_turn(), !request.moved);
                match request.moved {
                    true => extra = Some(permit),
                    false => request.permit = Some(permit),
                }
            }
        }
        if let Some(permit) = extra {
            let now = self.now;
            self.settle(Some(|queue: &Queue| queue.release(permit, now)))?;
        }
        Ok(())
    }

    /// It was not taken where it was, gives that place up and goes elsewhere.
    fn move_on(&mut self, which: usize) -> Result<(), TestCaseError> {
        let Some(which) = self.some(which, |one| one.seat.is_some()) else {
            return Ok(());
        };
        let request = &mut self.requests[which];
        let seat = request.seat.take().unwrap();
        request.tried.add(seat.index());
        drop(seat);
        self.look()?;
        let request = &self.requests[which];
        let (caller, tried) = (request.caller, request.tried);
        let seats = self.seats(&request.group, tried);
        let wish = wish(&request.group, caller, tried);
        match self.queue.move_on(caller, wish, self.now) {
            Asked::Admitted(mut permit) => {
                let seat = permit.take_seat();
                prop_assert_eq!(seat.is_some(), seats == Seats::Room);
                prop_assert!(seats != Seats::Full && !permit.is_turn());
                self.requests[which].seat = seat;
                let now = self.now;
                self.settle(Some(|queue: &Queue| queue.release(permit, now)))?;
            }
            Asked::Waits {
                ticket, displaced, ..
            } => {
                prop_assert_eq!((seats, displaced), (Seats::Full, None));
                let request = &mut self.requests[which];
                (request.ticket, request.moved, request.called) = (Some(ticket), true, false);
                self.moved.push(caller);
            }
            Asked::Full { .. } => prop_assert!(self.moved.len() >= 256),
        }
        Ok(())
    }

    fn expire(&mut self) -> Result<(), TestCaseError> {
        while let Some(call) = self.queue.expire(self.now) {
            let place = self
                .requests
                .iter()
                .position(|one| one.caller == call.caller);
            let request = self.requests.remove(place.unwrap());
            prop_assert!(!request.called);
            match request.moved {
                true => {
                    self.moved.retain(|caller| *caller != call.caller);
                    self.model.release(request.key);
                    let now = self.now;
                    self.settle(Some(|queue: &Queue| {
                        queue.release(request.permit.unwrap(), now)
                    }))?;
                }
                false => {
                    self.model.waiting.retain(|one| one.caller != call.caller);
                    self.model.forget();
                }
            }
        }
        self.look()
    }

    /// What holds at all times.
    fn check(&self, before: &[u32]) -> Result<(), TestCaseError> {
        for index in 0..self.group.instances() {
            let before = before.get(index).copied().unwrap_or(0);
            let state = self.group.state(index, self.now).unwrap();
            let limit = state.limit.unwrap_or(u32::MAX);
            prop_assert!(state.under_way <= limit.max(before), "{index}: {state:?}");
            let seated = self.requests.iter().filter_map(|one| one.seat.as_ref());
            if index > 1 {
                // One that has come again is another one than before.
                continue;
            }
            let seated = seated.filter(|seat| seat.index() == index).count();
            let called = self
                .requests
                .iter()
                .filter(|one| one.called && one.ticket.is_some());
            let held = state.under_way as usize;
            prop_assert!((seated..=seated + called.count()).contains(&held));
        }
        let state = self.queue.state();
        let waiting = self.model.waiting.len() + self.moved.len();
        prop_assert_eq!(
            (state.held as usize, state.waiting as usize),
            (self.model.held(), waiting)
        );
        // Nobody waits for nothing.
        let permits = self.model.held() < self.model.permits;
        let mut waiting = self.model.waiting.iter();
        prop_assert!(
            !permits || !waiting.any(|one| self.is_first(one.caller) && self.may_sit(one.caller))
        );
        Ok(())
    }

    /// Whether nobody of the same key waits before it.
    fn is_first(&self, caller: u64) -> bool {
        let key = |caller: u64| {
            let mut all = self.requests.iter();
            all.find(|one| one.caller == caller).unwrap().key
        };
        let mut waiting = self.model.waiting.iter();
        let first = waiting.find(|one| key(one.caller) == key(caller)).unwrap();
        first.caller == caller
    }

    fn loads(&self) -> Vec<u32> {
        let states = (0..self.group.instances()).map(|at| self.group.state(at, self.now));
        states.map(|state| state.unwrap().under_way).collect()
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = prop_oneof![1 => Just(0), 1 => 0..6_u64];
    let outcome = prop_oneof![3 => Just(Outcome::Failed), 2 => Just(Outcome::Answered)];
    prop_oneof![
        2 => prop_oneof![0..SECOND, 0..12 * SECOND].prop_map(Step::Pass),
        9 => key.prop_map(Step::Ask),
        4 => any::<usize>().prop_map(Step::Release),
        6 => any::<usize>().prop_map(Step::Take),
        2 => any::<usize>().prop_map(Step::Leave),
        3 => any::<usize>().prop_map(Step::MoveOn),
        1 => Just(Step::Expire),
        4 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Judge(which, outcome)),
        1 => (0..3_usize, any::<bool>()).prop_map(|(index, on)| Step::Drain(index, on)),
        1 => (prop::collection::vec(0..5_u32, 2..5), 0..8_u32)
            .prop_map(|(limits, permits)| Step::Reload(limits, permits)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn seats_are_given_as_a_slow_model_gives_them(
        balance in prop::sample::select(vec![Balance::LeastLoaded, Balance::Session, Balance::First]),
        of_each in prop::array::uniform3(1..4_u32),
        permits in prop_oneof![Just(0), 1..8_u32],
        length in 0..9_u32,
        steps in prop::collection::vec(step(), 1..250),
    ) {
        let mut run = Run {
            queue: Queue::new(limits(permits, length)),
            group: group(balance, &of_each),
            balance,
            model: Model {
                permits: NonZeroU32::new(permits).map_or(usize::MAX, |it| it.get() as usize),
                length: length as usize,
                ..Model::default()
            },
            moved: Vec::new(),
            requests: Vec::new(),
            now: 5,
            callers: 0,
        };
        for step in steps {
            let before = run.loads();
            run.step(step)?;
            run.check(&before)?;
        }
        // All end, and nothing is left.
        let mut rounds = 0;
        while !run.requests.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 10_000, "some wait for ever");
            run.step(Step::Drain(rounds % 3, false))?;
            run.step(Step::Take(rounds))?;
            run.step(Step::Release(rounds))?;
            run.step(Step::Pass(SECOND))?;
            run.step(Step::Expire)?;
        }
        prop_assert!(run.loads().iter().all(|load| *load == 0));
        let state = run.queue.state();
        prop_assert_eq!((state.held, state.waiting, state.keys), (0, 0, 0));
    }
}
