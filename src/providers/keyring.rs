//! The keys of one provider: which of them a session uses, and which rest.
//!
//! A session keeps to one key, since a provider's prompt cache mostly belongs to a key: the one that scores highest for
//! it (rendezvous hashing), on every machine with the same keys, in whatever order they stand. A key whose limit is
//! reached rests until the provider takes it again; one that is refused rests for longer and longer. Only the sessions
//! of a key that rests move, each to the key that scores next.
//!
//! Workers share what they learn through one atomic word a key, which they read and write without waiting for each
//! other. Of two that learn something at once the later time counts.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::cooling::LONGEST;
use super::hash;
use super::session::Session;

/// Most keys of a provider: each is scored for each request.
pub(crate) const KEYS_MAX: usize = 64;

/// How long a key rests that is refused for the first time; twice as long each further time, up to [`LONGEST`].
const REFUSED: Duration = Duration::from_secs(60);
/// A refusal may be for the request's sake (a model that its project may not use): a key that was refused less often
/// than this in a row is asked again rather than nobody.
const DOUBTFUL_BELOW: u64 = 3;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Keyring(Box<[Arc<Key>]>);

/// One key, which nobody can learn from it.
#[derive(Debug)]
pub(crate) struct Key {
    /// What scores are made of: the first bytes of its digest.
    id: u64,
    /// When it may be used again, in nanoseconds of the clock that is handed in, and how often it was refused in a row,
    /// as [`Rest`] packs them.
    rest: AtomicU64,
    /// Requests that were sent with it.
    requests: AtomicU64,
    /// Answers that said its limit is reached.
    limited: AtomicU64,
    /// Answers that refused it.
    refused: AtomicU64,
}

/// What a provider's answer says of the key that it was asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is good.
    Good,
    /// Its limit is reached for so long.
    Limited(Duration),
    /// It is none, or not for this.
    Refused,
    /// Nothing.
    Nothing,
}

impl Verdict {
    /// What this status says; `limit` is for how long a limit is reached.
    #[must_use]
    pub(crate) fn of(status: u16, limit: impl FnOnce() -> Duration) -> Self {
        match status {
            // Anthropic says 529 where all of it is overloaded, and names no key; another one may still get through.
            429 | 529 => Self::Limited(limit()),
            401 | 403 => Self::Refused,
            101 | 200..=399 => Self::Good,
            _ => Self::Nothing,
        }
    }
}

/// What became of a key by an answer, where that is news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It rests for so long, for its limit is reached.
    Cools(Duration),
    /// It rests for so long, having been refused so often in a row.
    Refused(Duration, u64),
    /// It was refused before, and is good again.
    Returns,
}

/// All keys rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// Until the first of them may be used again.
    pub(crate) wait: Duration,
}

/// How a key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The first digits of its digest.
    pub(crate) id: u32,
    /// For how long it rests; zero where it is in use.
    pub(crate) rests: Duration,
    /// How often it was refused since it was last good.
    pub(crate) refused_in_a_row: u64,
    /// As of [`Key`].
    pub(crate) requests: u64,
    pub(crate) limited: u64,
    pub(crate) refused: u64,
}

/// A key's word: the time in the upper bits, in units of 256 ns; the count in the lowest byte.
#[derive(Clone, Copy)]
struct Rest(u64);

impl Rest {
    const COUNT: u64 = 0xff;

    fn new(until: u64, refused: u64) -> Self {
        Self((until & !Self::COUNT) | refused.min(Self::COUNT))
    }

    fn until(self) -> u64 {
        self.0 & !Self::COUNT
    }

    fn refused(self) -> u64 {
        self.0 & Self::COUNT
    }
}

impl Keyring {
    /// Keys with these digests; those that were known before go on as they stood.
    #[must_use]
    pub(crate) fn new(digests: impl Iterator<Item = [u8; 32]>, before: Option<&Self>) -> Self {
        let key = |digest: [u8; 32]| {
            let [a, b, c, d, e, f, g, h, ..] = digest;
            let id = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
            let known = before.and_then(|ring| ring.0.iter().find(|key| key.id == id));
            known.map_or_else(|| Arc::new(Key::new(id)), Arc::clone)
        };
        Self(digests.take(KEYS_MAX).map(key).collect())
    }

    /// The key that a request of this session is to be sent with, at `now` nanoseconds; its index. Where it is, that is to
    /// be [said](Self::sent_with).
    ///
    /// # Errors
    /// All of them rest.
    pub(crate) fn choose(&self, session: Session, now: u64) -> Result<u8, Exhausted> {
        let (mut best, mut doubtful, mut wait) = (None, None, u64::MAX);
        for (index, key) in (0..).zip(&self.0) {
            let rest = Rest(key.rest.load(Relaxed));
            let rests = rest.until().saturating_sub(now);
            let scored = Some((hash::score(session.0, key.id), index));
            if rests == 0 {
                best = best.max(scored);
            } else if (1..DOUBTFUL_BELOW).contains(&rest.refused()) {
                doubtful = doubtful.max(scored);
            }
            wait = wait.min(rests);
        }
        match best.or(doubtful) {
            Some((_, index)) => Ok(index),
            None => Err(Exhausted {
                wait: Duration::from_nanos(wait),
            }),
        }
    }

    /// A request is sent with the key of this index.
    pub(crate) fn sent_with(&self, index: u8) {
        self.count(index, |key| &key.requests);
    }

    /// Takes note of what an answer says of the key with this index, at `now` nanoseconds.
    pub(crate) fn judge(&self, index: u8, verdict: Verdict, now: u64) -> Option<Change> {
        let key = self.0.get(usize::from(index))?;
        let rest = Rest(key.rest.load(Relaxed));
        let until = |time: Duration| now.saturating_add(nanos(time.min(LONGEST)));
        match verdict {
            Verdict::Nothing => None,
            Verdict::Good if rest.refused() == 0 => None,
            Verdict::Good => {
                let good = Rest::new(0, 0);
                key.replace(rest, good).then_some(Change::Returns)
            }
            Verdict::Limited(time) => {
                self.count(index, |key| &key.limited);
                // Requests that were under way together are refused together: the first tells, the latest time counts.
                let limited = Rest::new(until(time), 0);
                let before = Rest(key.rest.fetch_max(limited.0, Relaxed));
                (before.until() <= now).then_some(Change::Cools(time))
            }
            Verdict::Refused => {
                self.count(index, |key| &key.refused);
                if rest.until() > now {
                    return None;
                }
                let times = rest.refused() + 1;
                let doubled = 1_u32.checked_shl(u32::try_from(times - 1).unwrap_or(u32::MAX));
                let time = REFUSED
                    .saturating_mul(doubled.unwrap_or(u32::MAX))
                    .min(LONGEST);
                let refused = Rest::new(until(time), times);
                key.replace(rest, refused)
                    .then_some(Change::Refused(time, times))
            }
        }
    }

    /// How each key stands, in order.
    pub(crate) fn standings(&self, now: u64) -> impl Iterator<Item = Standing> {
        self.0.iter().map(move |key| {
            let rest = Rest(key.rest.load(Relaxed));
            Standing {
                id: u32::try_from(key.id >> 32).unwrap_or_default(),
                rests: Duration::from_nanos(rest.until().saturating_sub(now)),
                refused_in_a_row: rest.refused(),
                requests: key.requests.load(Relaxed),
                limited: key.limited.load(Relaxed),
                refused: key.refused.load(Relaxed),
            }
        })
    }

    fn count(&self, index: u8, counter: impl Fn(&Key) -> &AtomicU64) {
        if let Some(key) = self.0.get(usize::from(index)) {
            counter(key).fetch_add(1, Relaxed);
        }
    }
}

impl Key {
    fn new(id: u64) -> Self {
        let [rest, requests, limited, refused] = [0; 4].map(AtomicU64::new);
        Self {
            id,
            rest,
            requests,
            limited,
            refused,
        }
    }

    /// Whether it was so still: else somebody else has just learned something, and that counts.
    fn replace(&self, from: Rest, to: Rest) -> bool {
        { &self.rest }
            .compare_exchange(from.0, to.0, Relaxed, Relaxed)
            .is_ok()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
