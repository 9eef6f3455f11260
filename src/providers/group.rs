//! The instances of one provider: which of them gets a request, and which get none for a while.
//!
//! All workers share a group and change it by atomics alone, so that none waits for another; a choice allocates
//! nothing. Times are microseconds since the process began, chance is a number handed in. From the ground up:
//! [`words`] are its types, [`standing`] is what is known of one instance's health, [`window`] its failures of late,
//! [`instance`] both and its load, [`candidates`] are those that may be chosen, [`pick`] which of them is,
//! and [`firsts`] remembers that of sessions.
//!
//! An instance with a limit has never more requests under way: one is counted only where there is room for it, in one
//! step, whatever worker or configuration it comes from, since the limit is the instance's own and each reload changes it
//! there. One that is full is passed over. A choice says that all are full only where one of those in service is: what is
//! out is no way round a limit. Who then waits, and for how long, is [`super::queue`]'s.

mod candidates;
mod firsts;
mod instance;
#[cfg(test)]
mod model;
mod pick;
mod seats;
#[cfg(test)]
mod simulation;
mod standing;
#[cfg(test)]
mod tests;
mod tried;
mod window;
mod words;

use std::sync::Arc;

use candidates::{Among, Candidates, Member};
use firsts::Firsts;
use instance::{Instance, Room};
use pick::{Wish, best, has_room_anyway};
use standing::{Millis, Phase, SCALE, Standing};

pub use instance::UnderWay;
pub(crate) use seats::Seats;
pub use tried::Tried;
pub use words::{
    Balance, Change, Health, INSTANCES_MAX, InstanceState, Listed, Outcome, Refused, Unseated,
    WEIGHT_MAX, identity,
};

/// Of the instances in service at most one in this many is out, rounded down: a lone one never.
const OUT_AT_MOST_ONE_IN: usize = 2;

/// The instances of one provider.
#[derive(Debug)]
pub struct Group {
    balance: Balance,
    members: Box<[Member]>,
    /// One of them has a limit.
    limited: bool,
    /// Where sessions decide, and among many.
    firsts: Option<Firsts>,
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
        let stays = |gone: &Member| group.members.iter().any(|it| it.identity == gone.identity);
        let gone = self.members.iter().filter(|member| !stays(member));
        gone.for_each(|member| member.instance.is_gone());
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
        let members = listed.iter().map(|one| {
            let instance = known(one.identity).unwrap_or_default();
            instance.set_limit(one.limit);
            Member {
                instance,
                identity: one.identity,
                weight: u32::from(one.weight) * SCALE,
            }
        });
        Ok(Self {
            balance,
            members: members.collect(),
            limited: listed.iter().any(|one| one.limit.is_some()),
            firsts: (balance == Balance::Session && listed.len() >= firsts::INSTANCES_MIN)
                .then(Firsts::new),
        })
    }

    /// Whether one of the instances has a limit.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.limited
    }

    /// Lifts all limits: nobody waits for them any more.
    pub fn lift_limits(&self) {
        self.members
            .iter()
            .for_each(|member| member.instance.set_limit(None));
    }

    /// How many instances there are.
    #[must_use]
    pub fn instances(&self) -> usize {
        self.members.len()
    }

    /// Chooses an instance, none of `tried`, and counts a request that is under way there until what is returned is
    /// dropped. Those that are out are chosen when nothing else is left; those that drain or weigh nothing never, nor
    /// those that have as many under way as they may.
    ///
    /// # Errors
    /// Where there is none, and whether one of them has only to have room again. Nothing is counted then.
    pub fn choose(
        &self,
        session: u64,
        tried: Tried,
        random: u64,
        now: u64,
    ) -> Result<UnderWay, Unseated> {
        let seat = UnderWay::begin_within;
        self.choose_with(
            seat,
            self.limited,
            (session, tried, random),
            Millis::of(now),
        )
    }

    /// The same, for a request of a configuration in which nobody is limited, and nobody waits.
    #[must_use]
    pub fn choose_unlimited(
        &self,
        session: u64,
        tried: Tried,
        random: u64,
        now: u64,
    ) -> Option<UnderWay> {
        let seat =
            |instance: &Arc<Instance>, index, trial| Ok(UnderWay::begin(instance, index, trial));
        self.choose_with(seat, false, (session, tried, random), Millis::of(now))
            .ok()
    }

    #[inline]
    fn choose_with(
        &self,
        seat: impl Fn(&Arc<Instance>, usize, Option<Millis>) -> Result<UnderWay, Room>,
        limited: bool,
        (session, tried, random): (u64, Tried, u64),
        now: Millis,
    ) -> Result<UnderWay, Unseated> {
        let first = { self.firsts.as_ref() }
            .and_then(|firsts| firsts.of(session, || best(session, self.whole())));
        // What is left of it is the same, only slower.
        if let Some(index) = first.filter(|index| self.is_free(*index, tried, now))
            && let Some(member) = self.members.get(index)
            && let Ok(under_way) = seat(&member.instance, index, None)
        {
            return Ok(under_way);
        }
        let wish = Wish {
            balance: self.balance,
            session,
            random,
            first,
        };
        for among in [Among::Well, Among::All] {
            let mut candidates = Candidates::gather(&self.members, tried, among, now, limited);
            while let Some(index) = wish.pick(&self.members, &candidates) {
                let instance = &self.members.get(index).ok_or(Unseated::Nowhere)?.instance;
                let trial = candidates.is_due(index).then_some(now);
                if trial.is_some() && !instance.claim_trial(now) {
                    // Another worker's request tries it.
                    candidates.remove(index);
                } else {
                    match seat(instance, index, trial) {
                        Ok(under_way) => return Ok(under_way),
                        Err(room) => {
                            trial.inspect(|began| instance.give_up_trial(*began));
                            candidates.has_no(room, index);
                        }
                    }
                }
            }
            if candidates.is_any_full() {
                return Err(Unseated::Full);
            }
        }
        Err(Unseated::Nowhere)
    }

    /// All that weigh something, as they do when all is well.
    fn whole(&self) -> impl Iterator<Item = (usize, &Member, u32)> {
        let all = self.members.iter().enumerate();
        all.map(|(index, member)| (index, member, member.weight))
            .filter(|(_, _, weight)| *weight > 0)
    }

    /// Whether the instance has its whole weight, and room whatever the others have.
    fn is_free(&self, index: usize, tried: Tried, now: Millis) -> bool {
        let member = self.members.get(index).filter(|_| !tried.has(index));
        member.is_some_and(|member| {
            let is_well = match member.instance.word() {
                0 => true,
                word => Standing::unpack(word).is_whole(now),
            };
            is_well && has_room_anyway(member.instance.load().into())
        })
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

    /// Nobody asks the instances any more: those that are out by their answers are tried by the next request.
    pub fn is_not_probed(&self, now: u64) {
        for member in &self.members {
            member.instance.is_not_probed(Millis::of(now));
        }
    }

    /// Sends nothing new to the instance at `index`; what is under way goes on. Whether this changed anything.
    pub fn drain(&self, index: usize) -> bool {
        let member = self.members.get(index);
        member.is_some_and(|member| member.instance.drain())
    }

    /// Ends [`drain`](Self::drain); one that serves gets its share by and by, as after an ejection. Whether this changed
    /// anything.
    pub fn undrain(&self, index: usize, now: u64) -> bool {
        let member = self.members.get(index);
        member.is_some_and(|member| member.instance.undrain(Millis::of(now)))
    }

    /// Those that other processes have at the instance at `index`, if it has a limit: none yet.
    pub(crate) fn seats(&self, index: usize) -> Option<Seats> {
        let instance = &self.members.get(index)?.instance;
        instance.state(Millis::of(0)).limit?;
        Some(Seats::at(instance))
    }

    /// What the instance at `index` is known by.
    #[must_use]
    pub fn identity(&self, index: usize) -> Option<u64> {
        Some(self.members.get(index)?.identity)
    }

    /// Whether any instance is sent anything at all: not all are drained, or weigh nothing.
    #[must_use]
    pub fn has_any(&self) -> bool {
        let gets = |member: &Member| member.weight > 0 && !member.instance.standing().draining;
        self.members.iter().any(gets)
    }

    /// Whether an instance other than the one at `index` serves: it gets requests, and is not out.
    #[must_use]
    pub fn serves_without(&self, index: usize) -> bool {
        let others = self.members.iter().enumerate();
        let mut others = others.filter(|(other, member)| *other != index && member.weight > 0);
        others.any(|(_, member)| {
            let standing = member.instance.standing();
            !standing.draining && standing.phase == Phase::Serving
        })
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
