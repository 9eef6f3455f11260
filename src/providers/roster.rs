//! The addresses of a name each of which is an instance (`resolve = "all"`): which answers bring one in, which let one go,
//! and when the next one is asked for.
//!
//! Pure: times are handed in, as the time since any fixed point. What an answer names is in at once. What it lacks stays
//! for a while: name servers of many addresses give some of them at a time, and which they are says nothing of the others.
//! How long a while is, is learned from those that come back. An answer that fails or is empty changes nothing.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most addresses of a name that are kept; beyond them it is the first in order that are.
pub(crate) const ADDRESSES_MAX: usize = 256;

/// So many answers in a row that lack an address let it go,
const MISSES: u32 = 3;
/// or as often as that more than the longest row was behind which one came back of late,
const TIMES_THE_GAP: u32 = 3;
/// but at most so many.
const MISSES_MAX: u32 = 30;
/// Of late is: within so many answers.
const MEMORY: usize = 10;

/// The shortest time between two questions.
const SPACING_MIN: Duration = Duration::from_millis(100);
/// Between two questions where no address is known, or one could not be reached.
const SPACING: Duration = Duration::from_secs(1);

/// One name.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    /// In the order of their addresses; never more than [`ADDRESSES_MAX`] that are in, and as many that are not.
    members: Vec<Member>,
    /// The longest rows of answers behind which an address came back, of the last counted answers each.
    gaps: [u32; MEMORY],
    /// Counts answers that may let an address go.
    counted: usize,
    /// When the question to the last of them was asked.
    counted_at: Option<Duration>,
    /// When the last question was asked.
    asked: Option<Duration>,
    /// It has no answer yet.
    pending: bool,
    /// A member could not be reached since.
    is_doubted: bool,
}

/// An address, in or not long gone.
#[derive(Clone, Copy, Debug)]
struct Member {
    address: IpAddr,
    is_in: bool,
    /// Counted answers in a row that lack it.
    missed: u32,
    /// When it could not be reached for the first and the last time, if no later answer has named it.
    doubted: Option<(Duration, Duration)>,
}

/// What an answer has changed, in the order of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Came in.
    pub(crate) added: Vec<IpAddr>,
    /// Are gone.
    pub(crate) removed: Vec<IpAddr>,
}

impl Roster {
    /// Those that are in, in the order of addresses: the same on all machines.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let members = self.members.iter().filter(|member| member.is_in);
        members.map(|member| member.address)
    }

    /// When the next question is due, where one is asked `every` so often; `None` while the last has no answer.
    #[must_use]
    pub(crate) fn due(&self, every: Duration) -> Option<Duration> {
        if self.pending {
            return None;
        }
        let hurries = self.is_doubted || self.members.is_empty();
        let wait = if hurries { every.min(SPACING) } else { every };
        let next = |at: Duration| at.saturating_add(wait.max(SPACING_MIN));
        Some(self.asked.map_or(Duration::ZERO, next))
    }

    /// When the last question was asked.
    #[must_use]
    pub(crate) fn asked(&self) -> Duration {
        self.asked.unwrap_or_default()
    }

    /// A question is asked.
    pub(crate) fn ask(&mut self, now: Duration) {
        self.asked = Some(now);
        self.pending = true;
        self.is_doubted = false;
    }

    /// This address could not be reached then: the name is asked for anew soon, unless it was since, and an answer to a
    /// later question that lacks it lets it go at once.
    pub(crate) fn doubt(&mut self, address: IpAddr, at: Duration) {
        let mut members = self.members.iter_mut();
        if let Some(member) = members.find(|member| member.is_in && member.address == address) {
            let (first, last) = member.doubted.unwrap_or((at, at));
            member.doubted = Some((first.min(at), last.max(at)));
            self.is_doubted |= self.asked.is_none_or(|asked| asked <= at);
        }
    }

    /// The question has no answer.
    pub(crate) fn unanswered(&mut self) {
        self.pending = false;
    }

    /// The question has this answer, in the resolver's order; what changes by it, if anything does.
    ///
    /// Where there are addresses of both families, those of the first one's count: both lead to the same servers.
    pub(crate) fn answered(&mut self, found: &[IpAddr], every: Duration) -> Option<Change> {
        self.pending = false;
        let is_v4 = found.first()?.is_ipv4();
        let mut named: Vec<IpAddr> = { found.iter().copied() }
            .filter(|address| address.is_ipv4() == is_v4)
            .collect();
        named.sort_unstable();
        named.dedup();
        named.truncate(ADDRESSES_MAX);
        let before: Vec<IpAddr> = self.addresses().collect();
        let counts = self.counts(every);
        self.note(&named, counts);
        self.let_go();
        let after: Vec<IpAddr> = self.addresses().collect();
        let change = Change {
            added: without(&after, &before),
            removed: without(&before, &after),
        };
        (change != Change::default()).then_some(change)
    }

    /// Whether what the answer lacks counts: one that was asked for soon after another is likely the same one.
    fn counts(&mut self, every: Duration) -> bool {
        let asked = self.asked();
        let is_early = |at: Duration| asked.saturating_sub(at) < every;
        let counts = !self.counted_at.is_some_and(is_early);
        if counts {
            self.counted_at = Some(asked);
            self.counted = (self.counted + 1) % MEMORY;
            if let Some(oldest) = self.gaps.get_mut(self.counted) {
                *oldest = 0;
            }
        }
        counts
    }

    /// Takes account of what is named, and of what is not.
    fn note(&mut self, named: &[IpAddr], counts: bool) {
        let asked = self.asked();
        let mut widest = 0;
        for member in &mut self.members {
            if named.binary_search(&member.address).is_ok() {
                widest = widest.max(member.missed);
                let since = member.doubted.filter(|(_, last)| *last > asked);
                let doubted = since.map(|(_, last)| (last, last));
                (member.is_in, member.missed, member.doubted) = (true, 0, doubted);
            } else {
                member.missed += u32::from(counts);
                let is_unreached = member.doubted.is_some_and(|(first, _)| first <= asked);
                member.is_in &= !is_unreached;
            }
        }
        if let Some(gap) = self.gaps.get_mut(self.counted) {
            *gap = widest.max(*gap);
        }
        let known = |address: &IpAddr| self.members.iter().any(|member| member.address == *address);
        let new: Vec<IpAddr> = { named.iter().copied() }
            .filter(|address| !known(address))
            .collect();
        self.members.extend(new.into_iter().map(|address| Member {
            address,
            is_in: true,
            missed: 0,
            doubted: None,
        }));
        self.members.sort_unstable_by_key(|member| member.address);
    }

    /// Lets those go that were missing for long enough, and forgets those that are gone for longer than one is waited for.
    fn let_go(&mut self) {
        let patience = self.patience();
        let (mut inside, mut outside) = (0, 0);
        self.members.retain_mut(|member| {
            member.is_in &= member.missed < patience && inside < ADDRESSES_MAX;
            match member.is_in {
                true => inside += 1,
                false => outside += 1,
            }
            member.is_in || member.missed < MISSES_MAX && outside <= ADDRESSES_MAX
        });
    }

    /// So many answers in a row without it let an address go.
    fn patience(&self) -> u32 {
        let widest = self.gaps.iter().max().copied().unwrap_or_default();
        widest
            .saturating_mul(TIMES_THE_GAP)
            .clamp(MISSES, MISSES_MAX)
    }
}

/// What is in `these` and not in `those`, both in order.
fn without(these: &[IpAddr], those: &[IpAddr]) -> Vec<IpAddr> {
    let is_new = |address: &&IpAddr| those.binary_search(address).is_err();
    these.iter().filter(is_new).copied().collect()
}

/// How often a name was asked for, by what came of it.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The addresses are others now.
    pub(crate) changed: AtomicU64,
    /// They are not.
    pub(crate) same: AtomicU64,
    /// There was none, or it was empty.
    pub(crate) failed: AtomicU64,
    /// See [`in_force`](Self::in_force).
    in_force: AtomicU64,
}

impl Answers {
    /// When the question was asked whose answer all workers go by, as the roster's times count.
    #[must_use]
    pub(crate) fn in_force(&self) -> Duration {
        Duration::from_nanos(self.in_force.load(Ordering::Acquire))
    }

    /// All workers go by the answer to a question that was asked then.
    pub(crate) fn are_in_force(&self, asked: Duration) {
        let nanos = u64::try_from(asked.as_nanos()).unwrap_or(u64::MAX);
        self.in_force.store(nanos, Ordering::Release);
    }

    /// Each, with its word.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("changed", &self.changed),
            ("same", &self.same),
            ("failed", &self.failed),
        ]
        .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }
}
