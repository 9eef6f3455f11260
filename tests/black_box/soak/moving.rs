//! A provider that is known by name, and whose addresses change: it listens on two, and its name
//! stands for one, the other or both. No request may be lost by that, and none may come to an address
//! that the name left a while ago.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::plan::Id;
use super::pool;
use super::port::Port;
use super::random::{Random, mix};
use super::world::{Entry, World};
use crate::support::Gateway;

/// Which provider it is.
pub(crate) const MOVING: usize = 4;

pub(crate) const NAME: &str = "moving.test";
const IPS: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

/// `upstream.address_age`: an address is of no use any more when ten times as old.
pub(crate) const ADDRESS_AGE: Duration = Duration::from_millis(20);

/// How long a request may still come to an address that the name has left: an order of magnitude more
/// than the gateway takes.
const SETTLED: Duration = Duration::from_secs(3);

/// What the name stands for, in turns that differ from the one before: addresses as bits.
const NAMED: [usize; 3] = [0b01, 0b10, 0b11];

/// Whether names can be made to move here.
pub(crate) fn is_possible() -> bool {
    let status = Command::new("unshare")
        .args(["-rm", "/bin/sh", "-c", "mount --bind /tmp /etc"])
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Its ports; where it does not move, it is known by its first address.
pub(crate) fn bind(moves: bool) -> [Port; 2] {
    Port::bind_all(if moves { NAME } else { IPS[0] }, IPS)
}

/// The hosts in such a turn.
pub(crate) fn hosts(turn: usize) -> String {
    let named = (0..2).filter(|place| NAMED[turn] >> place & 1 == 1);
    let lines = named.map(|place| format!("{} {NAME}\n", IPS[place]));
    "127.0.0.1 localhost\n".to_owned() + &lines.collect::<String>()
}

/// Since when the name does not stand for an address any more.
#[derive(Default)]
pub(crate) struct Places(Mutex<[Option<Instant>; 2]>);

impl Places {
    fn set(&self, place: usize, left: Option<Instant>) {
        self.0.lock().unwrap()[place] = left;
    }
}

impl World {
    /// That a request which comes to this address was right to do so.
    pub(crate) fn check_place(&self, place: usize, id: Id, entry: &Entry) {
        let left = self.places.0.lock().unwrap()[place];
        let begun = entry.begun.unwrap();
        let late = left.map(|left| begun.saturating_duration_since(left));
        assert!(
            late.is_none_or(|late| late < SETTLED),
            "{id} came to {}, begun {late:?} after the name had left it",
            IPS[place]
        );
        self.count(match place {
            0 => "requests at the first address of the one that moves",
            _ => "requests at the second address of the one that moves",
        });
    }
}

/// Who moves it.
pub(crate) struct Mover<'a> {
    world: &'a World,
    gateway: &'a Gateway,
    ports: &'a [Port],
    random: Random,
    turn: usize,
    next: Instant,
}

impl<'a> Mover<'a> {
    pub(crate) fn new(world: &'a World, gateway: &'a Gateway, ports: &'a [Port]) -> Self {
        let mover = Self {
            world,
            gateway,
            ports: &ports[pool::stations(MOVING)],
            random: Random::new(mix(world.seed) ^ MOVING as u64),
            turn: 0,
            next: Instant::now() + Duration::from_secs(1),
        };
        // The first turn leaves it out.
        world.places.set(1, Some(Instant::now()));
        mover
    }

    /// Moves it when it is time to.
    pub(crate) fn turn(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + SETTLED + Duration::from_millis(self.within(300, 2000));
        self.turn = (self.turn + 1 + self.random.below(2)) % NAMED.len();
        let is_named = |place: usize| NAMED[self.turn] >> place & 1 == 1;
        for place in (0..2).filter(|place| is_named(*place)) {
            self.ports[place].open();
            self.world.places.set(place, None);
        }
        self.gateway.hosts(&hosts(self.turn));
        self.world.count("changes of addresses");
        for place in (0..2).filter(|place| !is_named(*place)) {
            self.world.places.set(place, Some(Instant::now()));
            // Or somebody goes on listening there, who is a stranger soon.
            if self.random.percent(50) {
                self.ports[place].close();
                self.world.count("addresses left where nobody listens");
            }
        }
    }

    fn within(&mut self, least: usize, most: usize) -> u64 {
        (least + self.random.below(most - least)) as u64
    }
}
