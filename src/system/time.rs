//! What time it is, for people and for measuring.

use std::num::NonZero;
use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A moment of the clock that never goes back, the same for all threads. As `Instant`, but one figure: to take, keep and
/// subtract it is a few instructions, and not to know it takes no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(NonZero<u64>);

impl Moment {
    /// This one.
    #[must_use]
    pub(crate) fn now() -> Self {
        Self::at(monotonic_nanos())
    }

    /// So many nanoseconds behind the first of all.
    #[cfg(test)]
    pub(crate) fn of(nanos: u64) -> Self {
        Self::at(nanos)
    }

    /// The first nanosecond is as good as the second.
    fn at(nanos: u64) -> Self {
        Self(NonZero::new(nanos).unwrap_or(NonZero::<u64>::MIN))
    }

    /// In nanoseconds, since a time before all others.
    #[must_use]
    pub(crate) fn nanos(self) -> u64 {
        self.0.get()
    }

    /// How long `earlier` was before it; zero where it was not.
    #[must_use]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos().saturating_sub(earlier.nanos()))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(nanos))
    }
}

/// Nanoseconds since some time, the same for all threads and never less than before.
#[must_use]
pub(crate) fn monotonic_nanos() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The kernel's are neither negative nor beyond 584 years.
    let [seconds, nanos] = [now.tv_sec, now.tv_nsec].map(|part| u64::try_from(part).unwrap_or(0));
    seconds.wrapping_mul(1_000_000_000).wrapping_add(nanos)
}

/// Seconds since 1970.
#[must_use]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
