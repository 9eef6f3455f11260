//! The instances of one provider: which of them gets a request, and which get none for a while.
//!
//! All workers share a group and change it by atomics alone, so that none waits for another; a choice allocates
//! nothing. Times are microseconds since the process began, chance is a number handed in. From the ground up:
//! [`standing`] is what is known of one instance's health, [`window`] its failures of late, [`instance`] both and
//! its load, [`candidates`] are those that may be chosen and [`pick`] which of them is.

mod candidates;
mod instance;
#[cfg(test)]
mod model;
mod pick;
#[cfg(test)]
mod simulation;
mod standing;
#[cfg(test)]
mod tests;
mod tried;
mod window;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use candidates::{Among, Candidates};
use instance::Instance;
use pick::pick;
use standing::{Millis, Phase, SCALE, Standing};

pub use instance::UnderWay;
pub use tried::Tried;

/// How many instances a group may have.
pub const INSTANCES_MAX: usize = 64;

/// The largest weight.
pub const WEIGHT_MAX: u16 = 1000;

/// Of the instances in service at most one in this many is out, rounded down: a lone one never.
const OUT_AT_MOST_ONE_IN: usize = 2;

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
}

/// A hash of what an instance is known by, its base URL: the same everywhere and always (64-bit FNV-1a).
#[must_use]
pub fn identity(name: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    name.iter().fold(0xcbf2_9ce4_8422_2325, step)
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
    /// Requests that it was chosen for.
    pub chosen: u64,
    /// Those of them that failed.
    pub failed: u64,
}

/// The instances of one provider.
#[derive(Debug)]
pub struct Group {
    balance: Balance,
    members: Box<[Member]>,
}

#[derive(Debug)]
struct Member {
    instance: Arc<Instance>,
    identity: u64,
    /// In units of [`SCALE`].
    weight: u32,
}

impl Group {
    /// A group of which nothing is known yet: all are well.
    ///
    /// # Errors
    /// When `listed` is not what a group can be made of.
    pub fn new(balance: Balance, listed: &[Listed]) -> Result<Self, Refused> {
        Self::made(balance, listed, |_| None)
    }

    /// The group after a reload: what is known of instances that stay, by their identity, is kept and shared with
    /// `self`, whose requests go on. Should more be out than may be, those whose time is over first serve again.
    ///
    /// # Errors
    /// When `listed` is not what a group can be made of.
    pub fn after(&self, balance: Balance, listed: &[Listed], now: u64) -> Result<Self, Refused> {
        let group = Self::made(balance, listed, |identity| {
            let mut known = self.members.iter();
            let member = known.find(|member| member.identity == identity)?;
            Some(member.instance.clone())
        })?;
        group.let_in_what_is_too_many(Millis::of(now));
        Ok(group)
    }

    fn made(
        balance: Balance,
        listed: &[Listed],
        known: impl Fn(u64) -> Option<Arc<Instance>>,
    ) -> Result<Self, Refused> {
        match listed.len() {
            0 => return Err(Refused::Empty),
            1..=INSTANCES_MAX => {}
            _ => return Err(Refused::TooMany),
        }
        for (index, one) in listed.iter().enumerate() {
            let mut before = listed.iter().take(index);
            if before.any(|other| other.identity == one.identity) {
                return Err(Refused::Twice(index));
            }
            if one.weight > WEIGHT_MAX {
                return Err(Refused::Weight(index));
            }
        }
        let members = listed.iter().map(|one| Member {
            instance: known(one.identity).unwrap_or_default(),
            identity: one.identity,
            weight: u32::from(one.weight) * SCALE,
        });
        Ok(Self {
            balance,
            members: members.collect(),
        })
    }

    /// How many instances there are.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.members.len()
    }

    /// Chooses an instance, none of `tried`, and counts a request that is under way there until what is returned is
    /// dropped. Those that are out are chosen when nothing else is left; those that drain or weigh nothing never.
    #[must_use]
    pub fn choose(&self, session: u64, tried: Tried, random: u64, now: u64) -> Option<UnderWay> {
        let now = Millis::of(now);
        for among in [Among::Well, Among::All] {
            let mut candidates = Candidates::gather(&self.members, tried, among, now);
            while let Some(index) = pick(self.balance, &self.members, &candidates, session, random)
            {
                let member = self.members.get(index)?;
                match candidates.is_due(index) {
                    false => return Some(UnderWay::begin(&member.instance, index, None)),
                    true if member.instance.claim_trial(now) => {
                        return Some(UnderWay::begin(&member.instance, index, Some(now)));
                    }
                    // Another worker's request tries it.
                    true => candidates.remove(index),
                }
            }
        }
        None
    }

    /// Takes account of what came of a request; also of one that an older group, before a reload, chose. Once the
    /// head of an answer is there it may be called again for what befalls its content.
    pub fn judge(&self, under_way: &UnderWay, outcome: Outcome, now: u64) -> Option<Change> {
        let (instance, now) = (under_way.instance(), Millis::of(now));
        instance.count(outcome, now);
        let trial = under_way.end_trial();
        if let Some(change) = trial.and_then(|began| instance.end_trial(began, outcome, now)) {
            return Some(change);
        }
        match outcome {
            Outcome::Answered => {
                instance.forgive();
                None
            }
            Outcome::Failed if instance.fail(now) => {
                let ejected = self.put_out(instance, |standing| standing.ejected(now))?;
                Some(Change::Ejected {
                    time: ejected.time_left(now),
                })
            }
            Outcome::Failed => None,
        }
    }

    /// Takes account of an active probe of the instance at `index`.
    pub fn probed(&self, index: usize, ok: bool, now: u64) -> Option<Change> {
        let (instance, now) = (&self.members.get(index)?.instance, Millis::of(now));
        match (instance.probed(ok), ok) {
            (false, _) => None,
            (true, true) => instance.up(now).then_some(Change::Returned),
            (true, false) if instance.fall_from_out() => Some(Change::Down),
            (true, false) => self.put_out(instance, Standing::down).map(|_| Change::Down),
        }
    }

    /// Sends nothing new to the instance at `index`; what is under way goes on. Whether this changed anything.
    pub fn drain(&self, index: usize) -> bool {
        let member = self.members.get(index);
        member.is_some_and(|member| member.instance.set_draining(true))
    }

    /// Ends [`drain`](Self::drain). Whether this changed anything.
    pub fn undrain(&self, index: usize) -> bool {
        let member = self.members.get(index);
        member.is_some_and(|member| member.instance.set_draining(false))
    }

    /// How the instance at `index` is.
    #[must_use]
    pub fn state(&self, index: usize, now: u64) -> Option<InstanceState> {
        let member = self.members.get(index)?;
        Some(member.instance.state(Millis::of(now)))
    }

    /// Puts an instance out that serves, if that leaves enough of them. As it is said first who wants to leave and
    /// then looked who else does, two that leave at once cannot both overlook the other; they may both stay, until
    /// the next failure.
    fn put_out(
        &self,
        instance: &Arc<Instance>,
        out: impl Fn(Standing) -> Standing,
    ) -> Option<Standing> {
        let mut members = self.members.iter();
        let own = members.find(|member| Arc::ptr_eq(&member.instance, instance))?;
        if own.weight == 0 || !instance.begin_leaving() {
            return None;
        }
        let (mut in_service, mut gone) = (0, 0);
        for member in self.members.iter().filter(|member| member.weight > 0) {
            let standing = member.instance.standing();
            in_service += usize::from(!standing.draining);
            gone += usize::from(!standing.draining && standing.is_out_or_leaving());
        }
        let may = gone <= in_service / OUT_AT_MOST_ONE_IN;
        instance.end_leaving(|standing| match may {
            true => out(standing),
            false => standing,
        });
        may.then(|| instance.standing())
    }

    fn let_in_what_is_too_many(&self, now: Millis) {
        let in_service =
            |member: &&Member| member.weight > 0 && !member.instance.standing().draining;
        let count = self.members.iter().filter(in_service).count();
        let out = self.members.iter().filter(in_service);
        let mut out: Vec<_> = out
            .map(|member| (member.instance.standing(), &member.instance))
            .filter(|(standing, _)| standing.phase != Phase::Serving)
            .collect();
        // Those whose probes fail are surely out: they come last.
        out.sort_by_key(|(standing, _)| (standing.phase == Phase::Down, standing.at));
        let too_many = out.len().saturating_sub(count / OUT_AT_MOST_ONE_IN);
        for (_, instance) in out.into_iter().take(too_many) {
            instance.let_in(now);
        }
    }
}
