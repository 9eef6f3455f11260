//! What is known of a host name: its addresses, how old they are, and which of them did not answer lately.
//!
//! Pure: times are handed in, as the time since any fixed point. Who asks the resolver and waits is the caller. An
//! answer is used as it is while it is fresh. Later it is asked for anew before it is used, and then still good for a
//! while where the resolver fails or takes its time; older than that, it is of no use any more.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Ages;

/// How long a new answer is waited for while the old one would do.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);
/// Between two questions because of connections that failed.
pub(crate) const SPACING: Duration = Duration::from_millis(100);
/// How long an address that did not answer is tried last.
pub(crate) const SHUNNED: Duration = Duration::from_secs(60);
/// How long an address is given at least before another is tried beside it (RFC 8305, section 5).
pub(crate) const STAGGER: Duration = Duration::from_millis(200);
/// Most addresses of a name that are kept.
pub(crate) const ADDRESSES_MAX: usize = 64;

/// One host name.
#[derive(Debug, Default)]
pub(crate) struct HostName {
    /// In the resolver's order; never more than [`ADDRESSES_MAX`].
    addresses: Vec<IpAddr>,
    /// When they were asked for: an answer is as old as its question.
    known: Option<Duration>,
    /// Counts answers.
    answer: u32,
    /// When the last question was asked.
    asked: Option<Duration>,
    /// It has no answer yet.
    pending: bool,
    /// When a question failed, if the last one did.
    failed: Option<Duration>,
    /// No address of the answer could be connected to.
    doubted: bool,
    /// Addresses that answers have named, and the time of the last question whose answer did; never more than
    /// [`ADDRESSES_MAX`] beyond those of the last answer.
    named: Vec<(IpAddr, Duration)>,
    /// Addresses that are tried last, and until when; never more than [`ADDRESSES_MAX`].
    shunned: Vec<(IpAddr, Duration)>,
}

/// Somebody who needs addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Since when.
    pub since: Duration,
    /// The answer that led nowhere: a later one is wanted.
    pub beyond: Option<u32>,
}

/// What a call is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The addresses can be used.
    Use,
    /// Ask the resolver, then look again.
    Ask,
    /// Look again when there is an answer, or at this time.
    Wait(Option<Duration>),
    /// The resolver has none.
    Fail,
}

impl HostName {
    /// What a call is to do now. [`Step::Ask`] counts as asked.
    pub(crate) fn next(&mut self, now: Duration, call: &Call, ages: Ages) -> Step {
        let younger = |most| { self.known }.is_some_and(|at| now.saturating_sub(at) < most);
        // The answer to a question of this call's own is as good as there is.
        let own = self.known.is_some_and(|at| at >= call.since);
        let usable = match call.beyond {
            Some(answer) if self.answer != answer => return Step::Use,
            Some(_) => false,
            None if (own || younger(ages.fresh)) && !self.doubted => return Step::Use,
            None => younger(ages.most),
        };
        if self.failed.is_some_and(|at| at >= call.since) {
            return match usable {
                true => Step::Use,
                false => Step::Fail,
            };
        }
        if self.pending {
            let until = self.asked.map(|at| at.saturating_add(PATIENCE));
            return match until.filter(|_| usable) {
                Some(until) if until <= now => Step::Use,
                until => Step::Wait(until),
            };
        }
        let failing = call.beyond.is_some() || self.doubted;
        match self.asked.map(|at| at.saturating_add(SPACING)) {
            Some(earliest) if failing && now < earliest => Step::Wait(Some(earliest)),
            _ => {
                self.asked(now);
                Step::Ask
            }
        }
    }

    /// Whether a question ahead of need is due; it counts as asked.
    pub(crate) fn is_due(&mut self, now: Duration, ages: Ages) -> bool {
        let old = { self.known }.is_none_or(|at| now.saturating_sub(at) >= ages.fresh);
        let due = old && !self.pending;
        if due {
            self.asked(now);
        }
        due
    }

    fn asked(&mut self, now: Duration) {
        self.asked = Some(now);
        self.pending = true;
    }

    /// The question is answered.
    pub(crate) fn answered(&mut self, found: &[IpAddr]) {
        self.addresses.clear();
        for address in found.iter().take(ADDRESSES_MAX) {
            if !self.addresses.contains(address) {
                self.addresses.push(*address);
            }
        }
        self.known = self.asked;
        self.note_named(self.asked.unwrap_or_default());
        self.answer = self.answer.wrapping_add(1);
        self.pending = false;
        self.failed = None;
        self.doubted = false;
    }

    fn note_named(&mut self, at: Duration) {
        let addresses = &self.addresses;
        self.named
            .retain(|(address, _)| !addresses.contains(address));
        let surplus = self.named.len().saturating_sub(ADDRESSES_MAX);
        self.named.drain(..surplus);
        self.named
            .extend(addresses.iter().map(|address| (*address, at)));
    }

    /// Addresses that the name has left: no answer has named them for so long that one would not be used any more. Name
    /// servers of many addresses give some at a time, so that one answer without an address says little.
    pub(crate) fn left(&self, ages: Ages) -> impl Iterator<Item = IpAddr> {
        let known = self.known.unwrap_or_default();
        let left = move |(_, at): &&(IpAddr, Duration)| known.saturating_sub(*at) > ages.most;
        self.named.iter().filter(left).map(|(address, _)| *address)
    }

    /// The question has no answer.
    pub(crate) fn unanswered(&mut self, now: Duration) {
        self.pending = false;
        self.failed = Some(now);
    }

    /// When the addresses were asked for, if there are any.
    #[must_use]
    pub(crate) fn known(&self) -> Option<Duration> {
        self.known
    }

    /// Which answer is known.
    #[must_use]
    pub(crate) fn answer(&self) -> u32 {
        self.answer
    }

    /// Nothing that this answer says could be connected to.
    pub(crate) fn doubt(&mut self, answer: u32) {
        self.doubted |= self.answer == answer;
    }

    /// This address did not answer, or not as it should, where others may; whether that is news.
    pub(crate) fn shun(&mut self, address: IpAddr, now: Duration) -> bool {
        self.shunned.retain(|(_, until)| *until > now);
        let before = self.shunned.len();
        self.trust(address);
        let news = self.shunned.len() == before;
        if self.shunned.len() >= ADDRESSES_MAX {
            self.shunned.remove(0);
        }
        self.shunned.push((address, now.saturating_add(SHUNNED)));
        news
    }

    /// This address has answered.
    pub(crate) fn trust(&mut self, address: IpAddr) {
        self.shunned.retain(|(shunned, _)| *shunned != address);
    }

    /// All addresses, in the order in which they are to be tried: from a random one on, the families in turns and the
    /// resolver's first choice among them first (RFC 8305, section 4), the shunned ones behind all others.
    #[must_use]
    pub(crate) fn order(&self, now: Duration, random: u64) -> Vec<IpAddr> {
        let is_shunned = |address: &&IpAddr| {
            let found = |(shunned, until): &(IpAddr, Duration)| shunned == *address && *until > now;
            self.shunned.iter().any(found)
        };
        let (last, good): (Vec<&IpAddr>, Vec<&IpAddr>) =
            self.addresses.iter().partition(is_shunned);
        let in_turns = |list: Vec<&IpAddr>| {
            let first_is_v4 = list.first().is_some_and(|first| first.is_ipv4());
            let (mut own, mut other): (Vec<_>, Vec<_>) = { list.into_iter() }
                .copied()
                .partition(|address: &IpAddr| address.is_ipv4() == first_is_v4);
            rotate(&mut own, random);
            rotate(&mut other, random >> 32);
            let (mut own, mut other) = (own.into_iter(), other.into_iter());
            let pairs = std::iter::from_fn(move || match (own.next(), other.next()) {
                (None, None) => None,
                pair => Some(pair),
            });
            pairs.flat_map(|(one, another)| one.into_iter().chain(another))
        };
        in_turns(good).chain(in_turns(last)).collect()
    }
}

fn rotate(list: &mut [IpAddr], random: u64) {
    let by = random.checked_rem(list.len() as u64).unwrap_or_default();
    list.rotate_left(usize::try_from(by).unwrap_or_default());
}

/// Whether an address that has not answered for so long is to be shunned, now that another has answered within
/// `winner`, or nobody has: it had the time that others are given, and the time that the other took.
#[must_use]
pub(crate) fn is_silent(waited: Duration, winner: Option<Duration>) -> bool {
    waited >= STAGGER && winner.is_none_or(|took| waited > took)
}
