//! What is counted for one managed key, by all workers at once.
//!
//! With the metrics' counters the only thing that workers share and change. Each limit is one atomic, so that
//! it holds exactly however many workers there are, and there is no lock to wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::config::keys::Rate;

/// One key's counts. On cache lines of its own: neighbours are used by other workers.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Usage {
    /// When all that has passed is earned, in nanoseconds: the theoretical arrival time of the generic cell
    /// rate algorithm, which makes one number of a bucket and its clock.
    earned_at: AtomicU64,
    /// Exchanges under way that were counted.
    streams: AtomicU32,
}

/// One exchange under way; it counts until this is dropped.
#[derive(Debug)]
pub struct Lease(Arc<Usage>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Usage {
    /// Counts a request at `now` nanoseconds. A window's requests may come all at once, and then one as each is
    /// earned, so that within any window at most twice its count passes, and never more in the long run.
    ///
    /// # Errors
    /// Whole seconds, at least 1, until the next one passes; this one does not count.
    pub(crate) fn count(&self, rate: Rate, now: u64) -> Result<(), u32> {
        let interval = rate.interval_nanos();
        let window = interval.saturating_mul(rate.burst().into());
        let latest = now.saturating_add(window);
        let next = |earned_at: u64| earned_at.max(now).saturating_add(interval);
        // Only this number is agreed on, so no order with other memory is needed.
        let counted =
            self.earned_at
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |earned_at| {
                    Some(next(earned_at)).filter(|next| *next <= latest)
                });
        counted.map(|_| ()).map_err(|earned_at| {
            let wait = next(earned_at).saturating_sub(latest);
            u32::try_from(wait.div_ceil(1_000_000_000)).unwrap_or(u32::MAX)
        })
    }

    /// Counts an exchange, unless `most` are under way. Those that began while there was no limit are not
    /// counted.
    #[must_use]
    pub(crate) fn begin(self: &Arc<Self>, most: u32) -> Option<Lease> {
        let more = |streams: u32| Some(streams + 1).filter(|streams| *streams <= most);
        self.streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()
            .map(|_| Lease(self.clone()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_passes_and_then_what_is_earned() {
        let (usage, rate) = (Usage::default(), Rate::parse("3/m").unwrap());
        let start = 1000 * SECOND;
        for _ in 0..3 {
            assert_eq!(usage.count(rate, start), Ok(()));
        }
        assert_eq!(usage.count(rate, start), Err(20));
        assert_eq!(usage.count(rate, start + SECOND / 2), Err(20));
        assert_eq!(usage.count(rate, start + 19 * SECOND), Err(1));
        assert_eq!(usage.count(rate, start + 20 * SECOND - 1), Err(1));
        assert_eq!(usage.count(rate, start + 20 * SECOND), Ok(()));
        assert_eq!(usage.count(rate, start + 20 * SECOND), Err(20));
        for _ in 0..3 {
            assert_eq!(usage.count(rate, start + 600 * SECOND), Ok(()));
        }
        assert!(usage.count(rate, start + 600 * SECOND).is_err());
    }

    #[test]
    fn a_changed_rate_goes_on_from_what_was_counted() {
        let usage = Usage::default();
        let (hourly, fast) = (Rate::parse("1/h").unwrap(), Rate::parse("10/s").unwrap());
        assert_eq!(usage.count(hourly, SECOND), Ok(()));
        assert_eq!(usage.count(hourly, SECOND), Err(3600));
        assert!(usage.count(fast, SECOND).is_err());
        assert_eq!(usage.count(fast, 3601 * SECOND), Ok(()));
    }

    #[test]
    fn streams_count_until_they_are_dropped() {
        let usage = Arc::new(Usage::default());
        let (one, two) = (usage.begin(2).unwrap(), usage.begin(2).unwrap());
        assert!(usage.begin(2).is_none());
        drop(one);
        let three = usage.begin(2).unwrap();
        assert!(usage.begin(1).is_none() && usage.begin(2).is_none());
        drop((two, three));
        assert!(usage.begin(1).is_some());
    }

    #[test]
    fn threads_together_get_what_one_would() {
        let usage = Arc::new(Usage::default());
        let rate = Rate::parse("100/h").unwrap();
        let passed: usize = std::thread::scope(|scope| {
            let worker = || {
                let passes = |_: &u32| usage.count(rate, SECOND).is_ok();
                (0..200).filter(passes).count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_refill_and_retry_after_is_right(
            count in 1..20_u32,
            unit in prop::sample::select(vec!["s", "m", "h"]),
            gaps in prop::collection::vec(0..5 * SECOND, 1..200),
        ) {
            let rate = Rate::parse(&format!("{count}/{unit}")).unwrap();
            let usage = Usage::default();
            let (mut now, mut passed) = (77, 0_u64);
            let start = now;
            for gap in gaps {
                now += gap;
                match usage.count(rate, now) {
                    Ok(()) => passed += 1,
                    Err(wait) => {
                        prop_assert!(wait >= 1);
                        // Neither too early nor a whole second too late.
                        let probe = |at: u64| {
                            let earned_at = usage.earned_at.load(Ordering::Relaxed);
                            let copy = Usage { earned_at: earned_at.into(), ..Usage::default() };
                            copy.count(rate, at).is_ok()
                        };
                        prop_assert!(probe(now + u64::from(wait) * SECOND));
                        prop_assert!(!probe(now + u64::from(wait - 1) * SECOND));
                    }
                }
                let refill = (now - start) / rate.interval_nanos();
                prop_assert!(passed <= u64::from(count) + refill);
            }
        }
    }
}
