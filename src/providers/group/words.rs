//! What goes in and out of a group: plain types and limits.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::providers::hash;

/// How many instances a group may have.
pub const INSTANCES_MAX: usize = 64;

/// The largest weight.
pub const WEIGHT_MAX: u16 = 1000;

/// By what an instance is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Two are drawn, by weight; the one with fewer requests under way for its weight gets it, else the first drawn.
    LeastLoaded,
    /// The one that the session's hash ranks first of those that have room (a quarter above their share, some requests at
    /// least), by weight.
    Session,
    /// The first in order that is well. It gets everything, also when it has just come back.
    First,
}

/// An instance as it is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// What stays the same over reloads and on all machines; see [`identity`].
    pub identity: u64,
    /// Its part of the requests, 0 to [`WEIGHT_MAX`]; 0 gets none.
    pub weight: u16,
    /// Requests under way there at once, where that is limited.
    pub limit: Option<NonZeroU32>,
}

/// A hash of what an instance is known by, its base URL: the same everywhere and always (64-bit FNV-1a).
#[must_use]
pub fn identity(name: &[u8]) -> u64 {
    hash::fnv1a(name)
}

/// Why there is no such group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has no instance.
    Empty,
    /// It has more than [`INSTANCES_MAX`].
    TooMany,
    /// An instance, by its index, is another one again.
    Twice(usize),
    /// An instance's weight, by its index, is above [`WEIGHT_MAX`].
    Weight(usize),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "there is no instance"),
            Self::TooMany => write!(f, "there are more than {INSTANCES_MAX} instances"),
            Self::Twice(index) => write!(f, "instance {} is there twice", index + 1),
            Self::Weight(index) => {
                write!(f, "instance {} weighs more than {WEIGHT_MAX}", index + 1)
            }
        }
    }
}

/// Why no instance was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unseated {
    /// All that it could go to have as many requests under way as their limits let in.
    Full,
    /// There is none that it could go to.
    Nowhere,
}

/// What came of a request, as far as it tells of the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered, whatever: a refusal or a 429 is a sign of life.
    Answered,
    /// It could not be reached, broke off, answered too late or that it cannot.
    Failed,
}

/// What an outcome or a probe changed, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Failures put it out; when the time is over, one request tries it.
    Ejected {
        /// For how long.
        time: Duration,
    },
    /// Its probes fail: it is out until they succeed again.
    Down,
    /// It serves again, and gets more by and by.
    Returned,
}

/// How an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It serves.
    Well,
    /// It serves since a while, and gets this part of its weight, in thousandths.
    SlowStart(u16),
    /// Failures put it out for this long yet.
    Ejected(Duration),
    /// Its time is over, and the next request tries it.
    Due,
    /// One request tries it.
    Trial,
    /// Its probes fail.
    Down,
}

/// What there is to see of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceState {
    /// How it is.
    pub health: Health,
    /// Whether it gets nothing new by an operator's word.
    pub draining: bool,
    /// Requests under way, of all workers.
    pub under_way: u32,
    /// How many may be at once, where that is limited.
    pub limit: Option<u32>,
    /// Requests that it was chosen for.
    pub chosen: u64,
    /// Those of them that failed.
    pub failed: u64,
}
