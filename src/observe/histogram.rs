//! Times counted in buckets whose bounds are powers of two nanoseconds, each divided in eight: what is read
//! from them is at most an eighth too high.
//!
//! A histogram has one writer, so counting is a load and a store without a lock; readers add several up.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::one_writer::add;

/// Buckets between a power of two and the next, as a power of two.
const SUB_BITS: u32 = 3;
/// All times up to 2^10 ns, a microsecond, are one bucket.
const LOWEST: u32 = 10;
/// All times beyond 2^42 ns, 73 minutes, are one bucket.
const HIGHEST: u32 = 42;
const BUCKETS: usize = (((HIGHEST - LOWEST) << SUB_BITS) + 2) as usize;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    /// All times together. Wraps, which Prometheus takes for a restart.
    nanos: AtomicU64,
}

/// Where a bucket ends: at 2^`octave` ns and so many eighths of that more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    octave: u32,
    eighths: u32,
}

impl Bound {
    pub(crate) fn seconds(self) -> f64 {
        let nanos = u64::from((1 << SUB_BITS) + self.eighths) << (self.octave - SUB_BITS);
        Duration::from_nanos(nanos).as_secs_f64()
    }
}

/// The bounds of the buckets that are shown: powers of two, those of smaller times with three between any two of them.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    /// Exponents of those that there are, in nanoseconds.
    pub(crate) octaves: RangeInclusive<u32>,
    /// From that one on there is nothing between them.
    pub(crate) coarse: u32,
}

impl Scale {
    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        let coarse = self.coarse;
        self.octaves.clone().flat_map(move |octave| {
            let step = if octave < coarse { 2 } else { 1 << SUB_BITS };
            let eighths = (0..1 << SUB_BITS).step_by(step);
            eighths.map(move |eighths| Bound { octave, eighths })
        })
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            nanos: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Counts a time.
    pub(crate) fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(bucket) = self.buckets.get(bucket(nanos)) {
            add(bucket, 1);
            add(&self.nanos, nanos);
        }
    }
}

/// The bucket of a time; a bound belongs to the bucket below it, as Prometheus has it.
fn bucket(nanos: u64) -> usize {
    let nanos = nanos.saturating_sub(1);
    let octave = nanos.checked_ilog2().unwrap_or_default();
    if octave < LOWEST {
        return 0;
    }
    if octave >= HIGHEST {
        return BUCKETS - 1;
    }
    let sub = (nanos >> (octave - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    let sub = usize::try_from(sub).unwrap_or_default();
    1 + below(octave) + sub
}

/// Buckets between the lowest bound and 2^`octave` ns.
const fn below(octave: u32) -> usize {
    ((octave - LOWEST) << SUB_BITS) as usize
}

/// Several histograms added up.
pub(crate) struct Merged {
    buckets: [u64; BUCKETS],
    nanos: u64,
}

impl Default for Merged {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            nanos: 0,
        }
    }
}

impl Merged {
    /// Adds one.
    pub(crate) fn add(&mut self, histogram: &Histogram) {
        for (sum, count) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum = sum.wrapping_add(count.load(Ordering::Relaxed));
        }
        let nanos = histogram.nanos.load(Ordering::Relaxed);
        self.nanos = self.nanos.wrapping_add(nanos);
    }

    /// Times counted.
    #[must_use]
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Times counted that were no longer.
    #[must_use]
    pub(crate) fn up_to(&self, bound: Bound) -> u64 {
        let octave = bound.octave.clamp(LOWEST, HIGHEST);
        let end = 1 + below(octave) + bound.eighths as usize;
        self.buckets.iter().take(end).sum()
    }

    /// All times together, in seconds.
    #[must_use]
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_nanos(self.nanos).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(octave: u32) -> Bound {
        Bound { octave, eighths: 0 }
    }

    #[test]
    fn bounds_belong_to_the_bucket_below() {
        let scale = Scale {
            octaves: LOWEST..=HIGHEST,
            coarse: HIGHEST,
        };
        for shown in scale.bounds() {
            let time = Duration::from_secs_f64(shown.seconds());
            let bound = u64::try_from(time.as_nanos()).unwrap();
            let histogram = Histogram::default();
            histogram.observe(Duration::from_nanos(bound));
            histogram.observe(Duration::from_nanos(bound + 1));
            let mut merged = Merged::default();
            merged.add(&histogram);
            assert_eq!(merged.up_to(shown), 1, "{shown:?}");
            assert_eq!(merged.count(), 2);
            assert_eq!(merged.nanos, 2 * bound + 1);
        }
    }

    #[test]
    fn buckets_are_in_order_and_an_eighth_wide() {
        let mut last = 0;
        for nanos in (0..10_000).chain((14..44).flat_map(|e| [(1 << e) - 1, 1 << e, (1 << e) + 1]))
        {
            let at = bucket(nanos);
            assert!(at >= last && at < BUCKETS, "{nanos}");
            last = at;
        }
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(bucket(1 << 20) + 1, bucket((1 << 20) + 1));
        assert_eq!(bucket((1 << 20) + (1 << 17)), bucket((1 << 20) + 1));
    }

    #[test]
    fn small_times_are_shown_in_four_buckets_a_power_of_two() {
        let scale = Scale {
            octaves: 12..=15,
            coarse: 14,
        };
        let nanos = scale.bounds().map(|bound| (bound.seconds() * 1e9).round());
        let wanted = [
            4096, 5120, 6144, 7168, 8192, 10240, 12288, 14336, 16384, 32768,
        ];
        assert!(nanos.eq(wanted.map(f64::from)));
    }

    #[test]
    fn workers_are_added_up() {
        let workers = [Histogram::default(), Histogram::default()];
        let mut merged = Merged::default();
        for worker in &workers {
            worker.observe(Duration::from_millis(3));
            merged.add(worker);
        }
        assert_eq!(merged.count(), 2);
        assert_eq!((merged.up_to(at(21)), merged.up_to(at(22))), (0, 2));
        assert!((merged.seconds() - 0.006).abs() < 1e-9);
    }
}
