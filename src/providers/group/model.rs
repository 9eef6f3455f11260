//! What a group should do, in a slow and plain way, told the same things one after another.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::{Balance, Change, Group, Health, Listed, Outcome, Tried, UnderWay, Unseated, identity};
use crate::providers::hash::finish;

#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Choose {
        session: u64,
        random: u64,
        tried: u64,
    },
    Judge(usize, Outcome),
    End(usize),
    Probe(usize, bool),
    Drain(usize, bool),
    Reload(u64),
    /// The limits of all, again and again.
    Limit([u8; 3]),
}

#[derive(Clone, Debug, Default)]
struct One {
    weight: u64,
    limit: Option<u64>,
    out: Option<Out>,
    /// Since when it serves, where it had been out.
    back: Option<u64>,
    ejections: u64,
    in_a_row: u32,
    /// Seconds in which requests ended, and how.
    ended: Vec<(u64, Outcome)>,
    probes: Vec<bool>,
    draining: bool,
    loaded: u64,
    chosen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Out {
    Until(u64),
    /// By which of its requests, and since when.
    TriedBy(u64, u64),
    Down,
}

struct Model {
    balance: Balance,
    ones: Vec<One>,
    now: u64,
}

impl Out {
    /// Whether the next request tries it.
    fn is_due(self, now: u64) -> bool {
        match self {
            Self::Until(until) => until <= now,
            Self::TriedBy(_, since) => since + 10_000 <= now,
            Self::Down => false,
        }
    }
}

impl Model {
    fn in_service(&self) -> usize {
        let counts = |one: &&One| one.weight > 0 && !one.draining;
        self.ones.iter().filter(counts).count()
    }

    fn out(&self) -> usize {
        let counts = |one: &&One| one.weight > 0 && !one.draining && one.out.is_some();
        self.ones.iter().filter(counts).count()
    }

    fn may_go(&self, index: usize) -> bool {
        let one = &self.ones[index];
        one.weight > 0 && !one.draining && (self.out() + 1) * 2 <= self.in_service()
    }

    fn weight(&self, index: usize, all: bool) -> f64 {
        let one = &self.ones[index];
        let whole = one.weight as f64;
        match one.out {
            _ if one.draining => 0.0,
            None => {
                let since = one.back.map_or(u64::MAX, |back| self.now - back);
                let part = (since.min(30_000) * 1024 / 30_000).max(1);
                whole * part as f64 / 1024.0
            }
            Some(out) if out.is_due(self.now) => whole,
            Some(_) if all => whole,
            Some(_) => 0.0,
        }
    }

    fn is_full(&self, index: usize) -> bool {
        let one = &self.ones[index];
        one.limit.is_some_and(|limit| one.loaded >= limit)
    }

    /// Those that may be chosen, with their weights, and whether there are any but for their limits.
    fn candidates(&self, tried: u64) -> (Vec<(usize, f64)>, bool) {
        for all in [false, true] {
            let found: Vec<_> = (0..self.ones.len())
                .filter(|index| tried & 1 << index == 0)
                .map(|index| (index, self.weight(index, all)))
                .filter(|(_, weight)| *weight > 0.0)
                .collect();
            if !found.is_empty() {
                let has_room = found.into_iter().filter(|(one, _)| !self.is_full(*one));
                return (has_room.collect(), true);
            }
        }
        (Vec::new(), false)
    }

    /// Whether `index` is a right choice.
    fn is_right(&self, index: usize, session: u64, tried: u64, listed: &[Listed]) -> bool {
        let (candidates, _) = self.candidates(tried);
        let Some((_, weight)) = candidates.iter().find(|(one, _)| *one == index) else {
            return false;
        };
        let load = |index: usize| self.ones[index].loaded as f64;
        match self.balance {
            Balance::First => candidates[0].0 == index,
            // Never the one that is worse than all others, as one of these was drawn beside it.
            Balance::LeastLoaded => {
                let busy = load(index) / weight;
                let mut others = candidates.iter().filter(|(one, _)| *one != index);
                candidates.len() == 1
                    || others.any(|(one, weight)| load(*one) / weight >= busy - 1e-9)
            }
            Balance::Session => {
                let together: f64 = candidates.iter().map(|(one, _)| load(*one)).sum();
                let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
                let has_room = |(one, weight): &&(usize, f64)| {
                    let share = together * weight / total;
                    load(*one) < (share * 1.25).max(share + 8.0) - 1e-9
                };
                let cost = |one: usize, weight: f64| {
                    let hash = finish(session ^ listed[one].identity);
                    -((hash as f64 / 2_f64.powi(64)).ln()) / weight
                };
                let best = candidates
                    .iter()
                    .filter(has_room)
                    .map(|(one, weight)| cost(*one, *weight));
                let best = best.fold(f64::INFINITY, f64::min);
                has_room(&&(index, *weight)) && cost(index, *weight) <= best * 1.01
            }
        }
    }

    fn choose(&mut self, index: usize) -> Option<Out> {
        let now = self.now;
        let one = &mut self.ones[index];
        (one.loaded, one.chosen) = (one.loaded + 1, one.chosen + 1);
        match one.out {
            Some(out) if out.is_due(now) => {
                one.out = Some(Out::TriedBy(one.chosen, now));
                one.out
            }
            _ => None,
        }
    }

    fn eject(&mut self, index: usize) -> Change {
        let now = self.now;
        let one = &mut self.ones[index];
        if one.out.is_none() {
            let spells = (now - one.back.unwrap_or(0)) / 60_000;
            one.ejections = one.ejections.saturating_sub(spells);
        }
        one.ejections = (one.ejections + 1).min(6);
        let seconds = (10 << (one.ejections - 1)).min(300);
        one.out = Some(Out::Until(now + seconds * 1000));
        one.in_a_row = 0;
        Change::Ejected {
            time: Duration::from_secs(seconds),
        }
    }

    fn judge(&mut self, index: usize, trial: Option<Out>, outcome: Outcome) -> Option<Change> {
        let second = self.now / 1000;
        let now = self.now;
        let one = &mut self.ones[index];
        one.ended.push((second, outcome));
        if trial.is_some() && one.out == trial {
            if outcome == Outcome::Failed {
                return Some(self.eject(index));
            }
            (one.out, one.back, one.in_a_row) = (None, Some(now.max(1)), 0);
            return Some(Change::Returned);
        }
        if outcome == Outcome::Answered {
            one.in_a_row = 0;
            return None;
        }
        if one.out.is_some() {
            return None;
        }
        one.in_a_row += 1;
        let after = one.back.map_or(0, |back| back / 1000 + 1);
        let lately = |(at, _): &&(u64, Outcome)| *at + 10 > second && *at >= after;
        let all = one.ended.iter().filter(lately).count();
        let bad = one
            .ended
            .iter()
            .filter(lately)
            .filter(|(_, how)| *how == Outcome::Failed)
            .count();
        let eject = one.in_a_row >= 3 || (all >= 20 && bad * 2 >= all);
        (eject && self.may_go(index)).then(|| self.eject(index))
    }

    fn end(&mut self, index: usize, trial: Option<Out>) {
        let one = &mut self.ones[index];
        one.loaded -= 1;
        if let Some(Out::TriedBy(_, since)) = one.out.filter(|_| one.out == trial) {
            one.out = Some(Out::Until(since));
        }
    }

    fn probe(&mut self, index: usize, ok: bool) -> Option<Change> {
        let may_go = self.may_go(index);
        let now = self.now;
        let one = &mut self.ones[index];
        one.probes.push(ok);
        let run = one
            .probes
            .iter()
            .rev()
            .take_while(|last| **last == ok)
            .count();
        if ok && run >= 2 && one.out == Some(Out::Down) {
            (one.out, one.back, one.in_a_row) = (None, Some(now.max(1)), 0);
            return Some(Change::Returned);
        }
        let falls = !ok && run >= 3 && one.out != Some(Out::Down);
        if falls && (one.out.is_some() || may_go) {
            // Time well served is reckoned when it is ejected the next time, from when it came back.
            (one.out, one.in_a_row) = (Some(Out::Down), 0);
            return Some(Change::Down);
        }
        None
    }

    fn drain(&mut self, index: usize, on: bool) {
        let now = self.now;
        let one = &mut self.ones[index];
        if one.draining && !on && one.out.is_none() {
            let spells = (now - one.back.unwrap_or(0)) / 60_000;
            one.ejections = one.ejections.saturating_sub(spells);
            (one.back, one.in_a_row) = (Some(now.max(1)), 0);
        }
        one.draining = on;
    }

    fn reload(&mut self, kept: u64) -> Vec<usize> {
        let stays: Vec<usize> = (0..self.ones.len())
            .filter(|one| kept & 1 << one != 0)
            .collect();
        self.ones = stays.iter().map(|one| self.ones[*one].clone()).collect();
        while self.out() * 2 > self.in_service() {
            let since = |one: &One| match one.out {
                Some(Out::Until(at) | Out::TriedBy(_, at)) => (0, at),
                _ => (1, 0),
            };
            let now = self.now;
            let outside = self
                .ones
                .iter_mut()
                .filter(|one| one.weight > 0 && !one.draining && one.out.is_some());
            let one = outside.min_by_key(|one| since(one)).unwrap();
            (one.out, one.back, one.in_a_row) = (None, Some(now.max(1)), 0);
        }
        stays
    }
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![3 => Just(Outcome::Failed), 2 => Just(Outcome::Answered)];
    prop_oneof![
        3 => prop_oneof![0..2000_u64, 0..40_000_u64, Just(400_000)].prop_map(Step::Pass),
        12 => (prop_oneof![any::<u64>(), (0..5_u64).prop_map(finish)], any::<u64>(), prop_oneof![4 => Just(0), 1 => any::<u64>()])
            .prop_map(|(session, random, tried)| Step::Choose { session, random, tried }),
        9 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Step::Judge(which, outcome)),
        5 => any::<usize>().prop_map(Step::End),
        3 => (0..12_usize, prop::bool::weighted(0.4)).prop_map(|(index, ok)| Step::Probe(index, ok)),
        1 => (0..12_usize, any::<bool>()).prop_map(|(index, on)| Step::Drain(index, on)),
        1 => (1..4096_u64).prop_map(|kept| Step::Reload(kept | 1 << 40)),
        1 => prop::array::uniform3(0..7_u8).prop_map(Step::Limit),
    ]
}

struct Request {
    guard: UnderWay,
    /// Where it is now in the model; nowhere after its instance was taken out.
    index: Option<usize>,
    trial: Option<Out>,
}

#[expect(clippy::too_many_lines, reason = "an arm for each step")]
fn run(balance: Balance, weights: &[u16], steps: Vec<Step>) -> Result<(), TestCaseError> {
    let listed = weights.iter().enumerate().map(|(index, weight)| Listed {
        identity: identity(format!("http://{index}").as_bytes()),
        weight: *weight,
        limit: None,
    });
    let mut listed: Vec<_> = listed.collect();
    let mut group = Group::new(balance, &listed).unwrap();
    let ones = weights.iter().map(|weight| One {
        weight: u64::from(*weight),
        ..One::default()
    });
    let mut model = Model {
        balance,
        ones: ones.collect(),
        now: 1,
    };
    let mut requests: Vec<Request> = Vec::new();
    for step in steps {
        let now = model.now * 1000 + 321;
        let some = |which: usize| which.checked_rem(requests.len());
        match step {
            Step::Pass(millis) => model.now += millis,
            Step::Choose {
                session,
                random,
                tried,
            } => {
                let mut set = Tried::default();
                (0..64)
                    .filter(|index| tried & 1 << index != 0)
                    .for_each(|index| set.add(index));
                match group.choose(session, set, random, now) {
                    Err(why) => {
                        let (candidates, any) = model.candidates(tried);
                        prop_assert!(candidates.is_empty());
                        prop_assert_eq!(why == Unseated::Full, any);
                    }
                    Ok(guard) => {
                        let index = guard.index();
                        prop_assert!(model.is_right(index, session, tried, &listed), "{index}");
                        let trial = model.choose(index);
                        requests.push(Request {
                            guard,
                            index: Some(index),
                            trial,
                        });
                    }
                }
            }
            Step::Judge(which, outcome) => {
                if let Some(which) = some(which) {
                    let request = &mut requests[which];
                    let change = group.judge(&request.guard, outcome, now);
                    if let Some(index) = request.index {
                        prop_assert_eq!(change, model.judge(index, request.trial.take(), outcome));
                    }
                }
            }
            Step::End(which) => {
                if let Some(which) = some(which) {
                    let request = requests.swap_remove(which);
                    drop(request.guard);
                    if let Some(index) = request.index {
                        model.end(index, request.trial);
                    }
                }
            }
            Step::Probe(index, ok) if index < model.ones.len() => {
                prop_assert_eq!(group.probed(index, ok, now), model.probe(index, ok));
            }
            Step::Drain(index, on) if index < model.ones.len() => {
                let changed = if on {
                    group.drain(index)
                } else {
                    group.undrain(index, now)
                };
                let others = model.ones.iter().enumerate();
                let serves = others.filter(|(other, one)| {
                    *other != index && one.weight > 0 && !one.draining && one.out.is_none()
                });
                prop_assert_eq!(group.serves_without(index), serves.count() > 0);
                prop_assert_eq!(changed, model.ones[index].draining != on);
                model.drain(index, on);
            }
            Step::Reload(kept) if listed.len() > 2 && kept & ((1 << listed.len()) - 1) != 0 => {
                let stays = model.reload(kept);
                listed = stays.iter().map(|index| listed[*index]).collect();
                group = group.after(balance, &listed, now).unwrap();
                for request in &mut requests {
                    let place = |index| stays.iter().position(|stays| *stays == index);
                    request.index = request.index.and_then(place);
                }
            }
            Step::Limit(limits) => {
                let all = listed.iter_mut().zip(&mut model.ones);
                for ((listed, one), limit) in all.zip(limits.into_iter().cycle()) {
                    listed.limit = NonZeroU32::new(limit.into());
                    one.limit = (limit > 0).then_some(limit.into());
                }
                // Those of before are as good as those of now: the limits are the instances'.
                let next = group.after(balance, &listed, now).unwrap();
                let (old, _) = (std::mem::replace(&mut group, next), model.reload(u64::MAX));
                if limits[0] % 2 == 0 && old.is_limited() {
                    group = old;
                }
            }
            Step::Probe(..) | Step::Drain(..) | Step::Reload(..) => {}
        }
        compare(&group, &model)?;
    }
    drop(requests);
    for index in 0..group.instances() {
        prop_assert_eq!(group.state(index, 0).unwrap().under_way, 0);
    }
    Ok(())
}

fn compare(group: &Group, model: &Model) -> Result<(), TestCaseError> {
    for (index, one) in model.ones.iter().enumerate() {
        let state = group.state(index, model.now * 1000).unwrap();
        prop_assert_eq!(u64::from(state.under_way), one.loaded);
        prop_assert_eq!(state.limit.map(u64::from), one.limit);
        prop_assert_eq!((state.chosen, state.draining), (one.chosen, one.draining));
        let failed = one
            .ended
            .iter()
            .filter(|(_, how)| *how == Outcome::Failed)
            .count();
        prop_assert_eq!(state.failed, failed as u64);
        let right = match (state.health, one.out) {
            (Health::Well, None) => one.back.is_none_or(|back| back + 30_000 <= model.now),
            (Health::SlowStart(part), None) => {
                let since = model.now - one.back.unwrap();
                since < 30_000 && (u64::from(part) * 30).abs_diff(since) <= 60
            }
            (Health::Ejected(time), Some(Out::Until(until))) => {
                time == Duration::from_millis(until - model.now) && until > model.now
            }
            (Health::Due, Some(out)) => out.is_due(model.now),
            (Health::Trial, Some(out @ Out::TriedBy(..))) => !out.is_due(model.now),
            (Health::Down, Some(Out::Down)) => true,
            _ => false,
        };
        prop_assert!(right, "{index}: {state:?} {one:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn a_group_does_what_a_slow_model_does(
        balance in prop::sample::select(vec![Balance::LeastLoaded, Balance::Session, Balance::First]),
        weights in prop::collection::vec(prop::sample::select(vec![0, 1, 1, 1, 1, 2, 7, 1000]), 1..12),
        steps in prop::collection::vec(step(), 1..250),
    ) {
        run(balance, &weights, steps)?;
    }
}
