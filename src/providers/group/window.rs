//! How many of an instance's requests failed in the last seconds.

use std::array::from_fn;
use std::sync::atomic::{AtomicU64, Ordering};

use super::standing::Millis;

/// How far it looks back; each second is a slot.
const WINDOW_SECONDS: u64 = SLOTS as u64;
const SLOTS: usize = 10;

/// So many requests at least tell something.
const REQUESTS_MIN: u32 = 20;

/// From so many failures in a hundred an instance is bad.
const FAILED_PERCENT: u32 = 50;

/// The counts of the last seconds. A slot is 32 bits of its second, 16 of requests and 16 of failures among them.
#[derive(Debug)]
pub(super) struct Window([AtomicU64; SLOTS]);

#[derive(Clone, Copy, Default)]
struct Slot {
    second: u32,
    requests: u16,
    failed: u16,
}

impl Default for Window {
    fn default() -> Self {
        Self(from_fn(|_| AtomicU64::new(0)))
    }
}

impl Window {
    /// Counts a request that ended at `now`.
    pub(super) fn count(&self, failed: bool, now: Millis) {
        let second = now.0 / 1000;
        let index = usize::try_from(second % WINDOW_SECONDS).unwrap_or(0);
        let Some(slot) = self.0.get(index) else {
            return;
        };
        let second = u32::try_from(second).unwrap_or(u32::MAX);
        // Only this number is agreed on, so no order with other memory is needed.
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            Some(Slot::unpack(word).with(second, failed).pack())
        });
    }

    /// Whether too many of those that ended after `since` failed.
    pub(super) fn is_bad(&self, since: Millis, now: Millis) -> bool {
        let now = now.0 / 1000;
        let first = (now + 1).saturating_sub(WINDOW_SECONDS);
        // The second in which it came back may hold what threw it out.
        let first = match since {
            Millis(0) => first,
            since => first.max(since.0 / 1000 + 1),
        };
        let (mut requests, mut failed) = (0_u32, 0_u32);
        for slot in &self.0 {
            let slot = Slot::unpack(slot.load(Ordering::Relaxed));
            if (first..=now).contains(&slot.second.into()) {
                requests += u32::from(slot.requests);
                failed += u32::from(slot.failed);
            }
        }
        requests >= REQUESTS_MIN && failed * 100 >= requests * FAILED_PERCENT
    }
}

impl Slot {
    fn unpack(word: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
        Self {
            second: u32::from_le_bytes([a, b, c, d]),
            requests: u16::from_le_bytes([e, f]),
            failed: u16::from_le_bytes([g, h]),
        }
    }

    fn pack(self) -> u64 {
        u64::from(self.second) | u64::from(self.requests) << 32 | u64::from(self.failed) << 48
    }

    /// With one more. A clock that is a little behind counts in the second that has begun.
    fn with(self, second: u32, failed: bool) -> Self {
        let mut slot = match self.second >= second {
            true => self,
            false => Self {
                second,
                ..Self::default()
            },
        };
        // What is full keeps its ratio.
        if slot.requests == u16::MAX {
            slot.requests /= 2;
            slot.failed /= 2;
        }
        slot.requests += 1;
        slot.failed += u16::from(failed);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(window: &Window, good: u32, bad: u32, second: u64) {
        for _ in 0..good {
            window.count(false, Millis(second * 1000));
        }
        for _ in 0..bad {
            window.count(true, Millis(second * 1000 + 999));
        }
    }

    #[test]
    fn half_of_twenty_within_ten_seconds_is_bad() {
        for (good, bad, expected) in [
            (10, 10, true),
            (11, 10, false),
            (9, 10, false),
            (0, 20, true),
            (0, 19, false),
        ] {
            let window = Window::default();
            counted(&window, good, bad, 7);
            for (second, expected) in [(7, expected), (16, expected), (17, false), (27, false)] {
                let at = Millis(second * 1000);
                assert_eq!(
                    window.is_bad(Millis(0), at),
                    expected,
                    "{good} {bad} {second}"
                );
            }
        }
    }

    #[test]
    fn it_is_summed_over_seconds_and_forgotten_by_coming_back() {
        let window = Window::default();
        for second in 100..110 {
            counted(&window, 1, 1, second);
        }
        let now = Millis(109_500);
        assert!(window.is_bad(Millis(0), now) && window.is_bad(Millis(99_999), now));
        assert!(!window.is_bad(Millis(100_000), now));
        counted(&window, 5, 0, 110);
        assert!(!window.is_bad(Millis(0), Millis(110_000)));
    }

    #[test]
    fn a_full_second_keeps_its_ratio() {
        let window = Window::default();
        counted(&window, 0, 100_000, 3);
        counted(&window, 20_000, 0, 3);
        assert!(window.is_bad(Millis(0), Millis(3000)));
        counted(&window, 100_000, 0, 3);
        assert!(!window.is_bad(Millis(0), Millis(3000)));
    }
}
