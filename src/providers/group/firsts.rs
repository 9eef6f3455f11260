//! Whom sessions of late like best while all have their whole weight: found once, and not again for each request.
//!
//! It is no more than memory of what [`super::pick`] finds, so it may forget, and two workers may write at once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::words::INSTANCES_MAX;

/// With fewer instances it is as fast to look at each.
pub(super) const INSTANCES_MIN: usize = 9;

/// So many sessions are remembered at most: 64 KiB.
const SESSIONS: usize = 8192;

/// The lower bits of a word are an index and one; those of the session are known from the word's place.
const INDEX: u64 = 0xff;

const _: () = assert!(SESSIONS as u64 > INDEX && (INSTANCES_MAX as u64) < INDEX);

#[derive(Debug)]
pub(super) struct Firsts(Box<[AtomicU64]>);

impl Firsts {
    pub(super) fn new() -> Self {
        Self((0..SESSIONS).map(|_| AtomicU64::new(0)).collect())
    }

    /// The session's first choice, which `find` finds where it is not known.
    pub(super) fn of(&self, session: u64, find: impl FnOnce() -> Option<usize>) -> Option<usize> {
        let place = usize::try_from(session % SESSIONS as u64).unwrap_or(0);
        let word = self.0.get(place)?;
        let known = word.load(Ordering::Relaxed);
        if known & !INDEX == session & !INDEX
            && let Some(index) = (known & INDEX).checked_sub(1)
        {
            return usize::try_from(index).ok();
        }
        let found = find()?;
        let index = u64::try_from(found).unwrap_or(INDEX);
        word.store(session & !INDEX | (index + 1) & INDEX, Ordering::Relaxed);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_not_looked_for_and_nobody_gets_anothers() {
        let firsts = Firsts::new();
        let of = |session, index| firsts.of(session, || index);
        for session in [0, 1, u64::MAX, 1 << 63, SESSIONS as u64] {
            assert_eq!(of(session, None), None, "nobody");
            assert_eq!(of(session, Some(63)), Some(63), "{session}");
            assert_eq!(of(session, Some(1)), Some(63), "{session}");
        }
        // The last one has taken the place of the first.
        assert_eq!(of(0, Some(0)), Some(0));
        assert_eq!(of(0, None), Some(0));
        assert_eq!(of(1, None), Some(63));
    }
}
