//! Workers, clients and servers that die, stall, reset, refuse and come back, with a clock and chance of their own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;

use super::tests::listed;
use super::{Balance, Change, Group, Health, Listed, Outcome, Tried, UnderWay, Unseated};
use crate::providers::hash::finish;

const SECOND: u64 = 1_000_000;

/// Until a server's head is too late.
const PATIENCE: u64 = 5 * SECOND;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Server {
    Good,
    /// Refuses connections.
    Dead,
    /// Accepts and says nothing.
    Stalled,
    /// Resets every other connection after a request was sent.
    Resetting,
    /// Says 429 at once.
    Refusing,
}

struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        finish(self.0)
    }

    /// Exponential, as calls arrive and end.
    #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
    fn time(&mut self, mean: u64) -> u64 {
        let uniform = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        (-(1.0 - uniform).ln() * mean as f64) as u64
    }
}

struct Exchange {
    under_way: UnderWay,
    outcome: Option<Outcome>,
    /// It was the one to try an instance.
    trial: bool,
    session: u64,
}

/// What is measured.
#[derive(Default)]
struct Seen {
    requests: u64,
    /// Clients that were told so, though nothing had been sent.
    refused: u64,
    /// Those that would have to wait.
    full: u64,
    changes: Vec<(u64, usize, Change)>,
    /// Loads summed over requests, by instance.
    loads: Vec<u64>,
    chosen: Vec<u64>,
    most_out: usize,
}

struct World {
    group: Group,
    servers: Vec<Server>,
    chance: Chance,
    now: u64,
    under_way: Vec<Option<Exchange>>,
    /// What ends when.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    trials: Vec<usize>,
    /// Limits were lowered, and those that are above end first.
    falls: bool,
    seen: Seen,
}

impl World {
    fn new(balance: Balance, count: usize, seed: u64) -> Self {
        Self {
            group: Group::new(balance, &listed(&vec![1; count])).unwrap(),
            servers: vec![Server::Good; count],
            chance: Chance(seed),
            now: SECOND,
            under_way: Vec::new(),
            ends: BinaryHeap::new(),
            trials: vec![0; count],
            falls: false,
            seen: Seen::default(),
        }
    }

    /// Limits the instances, one after another and again from the first; 0 is no limit.
    fn limit(&mut self, balance: Balance, limits: &[u32]) {
        let all = listed(&vec![1; self.servers.len()]).into_iter();
        let limits = limits.iter().cycle();
        let limited = all.zip(limits).map(|(one, limit)| Listed {
            limit: NonZeroU32::new(*limit),
            ..one
        });
        let limited: Vec<_> = limited.collect();
        self.group = self.group.after(balance, &limited, self.now).unwrap();
    }

    fn measure(&mut self) {
        self.seen = Seen {
            loads: vec![0; self.servers.len()],
            chosen: vec![0; self.servers.len()],
            ..Seen::default()
        };
    }

    /// Lets requests come, so many a second, for so many seconds.
    fn run(&mut self, a_second: u64, seconds: u64) {
        self.measure();
        let end = self.now + seconds * SECOND;
        while self.now < end {
            let next = self.now + self.chance.time(SECOND / a_second);
            self.end_until(next);
            self.now = next;
            self.begin();
            self.check();
        }
    }

    fn end_until(&mut self, until: u64) {
        while let Some(Reverse((at, which))) =
            self.ends.peek().copied().filter(|end| end.0.0 <= until)
        {
            self.ends.pop();
            self.now = at;
            let exchange = self.under_way[which].take().unwrap();
            self.judge(&exchange, exchange.outcome);
        }
    }

    fn judge(&mut self, exchange: &Exchange, outcome: Option<Outcome>) {
        let index = exchange.under_way.index();
        self.trials[index] -= usize::from(exchange.trial);
        let outcome =
            outcome.map(|outcome| self.group.judge(&exchange.under_way, outcome, self.now));
        if let Some(change) = outcome.flatten() {
            self.seen.changes.push((self.now, index, change));
        }
    }

    fn begin(&mut self) {
        let session = self.chance.next() % 1000;
        let mut tried = Tried::default();
        self.seen.requests += 1;
        loop {
            let well = |index: usize| {
                let health = self.group.state(index, self.now).unwrap().health;
                matches!(health, Health::Well | Health::SlowStart(_) | Health::Due)
            };
            let healths: Vec<_> = (0..self.servers.len()).map(well).collect();
            let due =
                |index: usize| self.group.state(index, self.now).unwrap().health == Health::Due;
            let due: Vec<_> = (0..self.servers.len()).map(due).collect();
            let random = self.chance.next();
            let chosen = self.group.choose(finish(session), tried, random, self.now);
            let left = (0..healths.len()).filter(|one| healths[*one] && !tried.has(*one));
            let under_way = match chosen {
                Ok(under_way) => under_way,
                Err(Unseated::Full) => {
                    for one in left {
                        let state = self.group.state(one, self.now).unwrap();
                        assert!(Some(state.under_way) >= state.limit, "there is room");
                    }
                    self.seen.full += 1;
                    return;
                }
                Err(Unseated::Nowhere) => {
                    self.seen.refused += 1;
                    return;
                }
            };
            let index = under_way.index();
            assert!(!tried.has(index));
            if !healths[index] {
                assert_eq!(left.count(), 0, "one that is out was chosen");
            }
            self.trials[index] += usize::from(due[index]);
            tried.add(index);
            let mut exchange = Exchange {
                under_way,
                outcome: None,
                trial: due[index],
                session,
            };
            if self.servers[index] == Server::Dead {
                self.judge(&exchange, Some(Outcome::Failed));
                continue;
            }
            let time = self.serve(&mut exchange);
            self.seen.chosen[index] += 1;
            self.ends
                .push(Reverse((self.now + time, self.under_way.len())));
            self.under_way.push(Some(exchange));
            return;
        }
    }

    /// How long it takes, and what comes of it.
    fn serve(&mut self, exchange: &mut Exchange) -> u64 {
        let (time, chance) = (self.chance.time(SECOND), self.chance.next());
        let server = self.servers[exchange.under_way.index()];
        let answered = Some(Outcome::Answered);
        let (outcome, time) = match server {
            Server::Stalled => (Some(Outcome::Failed), PATIENCE),
            Server::Resetting if chance & 1 == 0 => (Some(Outcome::Failed), time / 10),
            Server::Refusing => (answered, 1000),
            // Every hundredth client leaves before an answer.
            _ if chance % 100 == 99 => (None, time / 2),
            _ => (answered, time),
        };
        exchange.outcome = outcome;
        time
    }

    /// What holds at all times.
    fn check(&mut self) {
        let count = self.servers.len();
        let states: Vec<_> = (0..count)
            .map(|index| self.group.state(index, self.now).unwrap())
            .collect();
        let out = states
            .iter()
            .filter(|state| !matches!(state.health, Health::Well | Health::SlowStart(_)));
        let out = out.count();
        assert!(out <= count / 2, "{out} of {count} are out");
        self.seen.most_out = self.seen.most_out.max(out);
        assert!(
            self.trials.iter().all(|trials| *trials <= 1),
            "{:?}",
            self.trials
        );
        let over = { &states }
            .iter()
            .filter(|state| state.limit.is_some_and(|it| state.under_way > it));
        assert!(self.falls || over.count() == 0, "{states:?}");
        for (sum, state) in self.seen.loads.iter_mut().zip(&states) {
            *sum += u64::from(state.under_way);
        }
        let under_way: u32 = states.iter().map(|state| state.under_way).sum();
        assert_eq!(under_way as usize, self.ends.len());
    }

    /// Whether those at `indices` have the same load and requests within a tenth.
    fn is_level(&self, indices: &[usize]) {
        for numbers in [&self.seen.loads, &self.seen.chosen] {
            let mean = indices.iter().map(|index| numbers[*index]).sum::<u64>() as f64
                / indices.len() as f64;
            for index in indices {
                let off = (numbers[*index] as f64 - mean).abs();
                assert!(off <= mean * 0.1, "{index}: {numbers:?}");
            }
        }
    }

    fn finish(mut self) {
        self.end_until(u64::MAX);
        let state = |index| self.group.state(index, self.now).unwrap();
        assert!((0..self.servers.len()).all(|index| state(index).under_way == 0));
        assert!(self.trials.iter().all(|trials| *trials == 0));
    }

    /// One of the servers is otherwise than before, and now and then all are asked how they are.
    fn turns(&mut self) {
        let which = usize::try_from(self.chance.next() % self.servers.len() as u64).unwrap();
        self.servers[which] = match self.chance.next() % 8 {
            0 => Server::Dead,
            1 => Server::Stalled,
            2 => Server::Resetting,
            3 => Server::Refusing,
            _ => Server::Good,
        };
        if self.chance.next().is_multiple_of(4) {
            self.probe();
        }
    }

    /// Probes all servers, as one worker does off the data path.
    fn probe(&mut self) {
        for index in 0..self.servers.len() {
            let ok = !matches!(self.servers[index], Server::Dead | Server::Stalled);
            if let Some(change) = self.group.probed(index, ok, self.now) {
                self.seen.changes.push((self.now, index, change));
            }
        }
    }
}

#[test]
fn load_is_level_through_the_fall_and_return_of_one() {
    for (seed, fault) in [
        (1, Server::Dead),
        (2, Server::Stalled),
        (3, Server::Resetting),
    ] {
        for count in [3, 8] {
            let mut world = World::new(Balance::LeastLoaded, count, seed);
            let all: Vec<_> = (0..count).collect();
            world.run(40 * count as u64, 60);
            world.is_level(&all);
            assert!(world.seen.changes.is_empty());

            world.servers[0] = fault;
            world.run(40 * count as u64, 300);
            let seen = &world.seen;
            assert!(
                matches!(seen.changes[0], (_, 0, Change::Ejected { .. })),
                "{fault:?}"
            );
            assert!(
                seen.changes.iter().all(|(_, index, _)| *index == 0),
                "{fault:?}"
            );
            assert_eq!((seen.refused, seen.most_out), (0, 1));
            world.is_level(&all[1..]);
            // By trials that fail, or in its returns, it gets little.
            assert!(
                seen.chosen[0] * 3 < seen.chosen[1],
                "{fault:?} {:?}",
                seen.chosen
            );

            world.servers[0] = Server::Good;
            world.run(40 * count as u64, 400);
            world.run(40 * count as u64, 60);
            world.is_level(&all);
            assert!(world.seen.changes.is_empty(), "{fault:?}");
            world.finish();
        }
    }
}

#[test]
fn with_chaos_no_client_is_refused_while_one_serves() {
    for seed in 0..12 {
        for balance in [Balance::LeastLoaded, Balance::Session, Balance::First] {
            let count = 2 + usize::try_from(seed % 7).unwrap();
            let mut world = World::new(balance, count, seed * 3 + 1);
            for _ in 0..60 {
                world.turns();
                world.run(60, 8);
                if world.servers.iter().any(|server| *server != Server::Dead) {
                    assert_eq!(world.seen.refused, 0, "{balance:?} {seed}");
                }
            }
            // All come back, whatever there was.
            world.servers.fill(Server::Good);
            (0..60).for_each(|_| {
                world.run(60, 10);
                world.probe();
            });
            for index in 0..count {
                let health = world.group.state(index, world.now).unwrap().health;
                assert!(
                    balance != Balance::LeastLoaded || health == Health::Well,
                    "{seed} {index} {health:?}"
                );
                assert!(health != Health::Down && health != Health::Trial);
            }
            world.finish();
        }
    }
}

#[test]
fn with_limits_no_server_has_more_and_all_are_used_whatever_dies() {
    for seed in 0..8 {
        for balance in [Balance::LeastLoaded, Balance::Session, Balance::First] {
            let count = 2 + usize::try_from(seed % 7).unwrap();
            let mut world = World::new(balance, count, seed * 5 + 2);
            world.limit(balance, &[2, 3, 1]);
            let together: u32 = [2, 3, 1].iter().cycle().take(count).sum();
            // Twice as many come as can be served.
            let a_second = 2 * u64::from(together);
            world.run(a_second, 60);
            assert!(world.seen.full > 0 && world.seen.refused == 0);
            for (index, sum) in world.seen.loads.iter().enumerate() {
                let mean = *sum as f64 / world.seen.requests as f64;
                let limit = f64::from([2, 3, 1][index % 3]);
                assert!(
                    mean > limit * 0.6 && mean <= limit,
                    "{balance:?} {index}: {mean}"
                );
            }
            for round in 0..40 {
                world.turns();
                if round == 20 {
                    world.limit(balance, &[1, 2, 4]);
                    world.falls = true;
                    world.run(a_second, 2 * PATIENCE / SECOND);
                    // By then none is left of those that were above, or they are as many as may be.
                    let long = world.now + 60 * SECOND;
                    world.end_until(long);
                    world.now = long;
                    world.falls = false;
                }
                world.run(a_second, 8);
                if world.servers.iter().any(|server| *server != Server::Dead) {
                    assert_eq!(world.seen.refused, 0, "{balance:?} {seed}");
                }
            }
            world.limit(balance, &[0]);
            world.run(a_second, 20);
            assert_eq!(world.seen.full, 0);
            world.finish();
        }
    }
}

#[test]
fn sessions_of_others_stay_when_one_dies() {
    for count in [3, 8] {
        let mut world = World::new(Balance::Session, count, 77);
        let home = |world: &World, session| {
            world
                .group
                .choose(finish(session), Tried::default(), 0, world.now)
                .unwrap()
                .index()
        };
        world.run(8 * count as u64, 60);
        let homes = |world: &World| {
            (0..1000)
                .map(|session| home(world, session))
                .collect::<Vec<_>>()
        };
        let before = homes(&world);
        world.servers[0] = Server::Dead;
        world.run(8 * count as u64, 8);
        assert_eq!(world.seen.refused, 0);
        let after = homes(&world);
        let moved = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after)
            .count();
        assert!(
            moved as f64 <= 1000.0 * (1.0 / count as f64 + 0.02),
            "{count}: {moved}"
        );
        // Where they went while under way is where they would go, but for a few for want of room.
        let away = world.under_way.iter().flatten().filter(|exchange| {
            let session = usize::try_from(exchange.session).unwrap();
            after[session] != exchange.under_way.index()
        });
        assert!(away.count() <= 3);
        world.servers[0] = Server::Good;
        world.run(8 * count as u64, 60);
        assert_eq!(homes(&world), before, "{count}");
        world.finish();
    }
}
