//! How fast turns come: what `Retry-After` is reckoned from.

/// One part in so many of the estimate is the latest measurement.
const SMOOTHING: u64 = 8;

/// How fast permits come back while all are out, in microseconds.
#[derive(Debug, Default)]
pub(super) struct Pace {
    interval: Option<u64>,
    /// Since when nothing came back.
    since: Option<u64>,
    /// The latest time that was told.
    now: u64,
}

impl Pace {
    pub(super) fn tell(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Begins to measure when all permits are out.
    pub(super) fn mark(&mut self, saturated: bool) {
        match saturated {
            true => self.since = self.since.or(Some(self.now)),
            false => self.since = None,
        }
    }

    /// A permit came back while all were out.
    pub(super) fn came_back(&mut self, still_saturated: bool) {
        let Some(since) = self.since.take() else {
            return;
        };
        let latest = self.now.saturating_sub(since);
        self.interval = Some(match self.interval {
            None => latest,
            Some(before) => {
                let rest = u128::from(before) * u128::from(SMOOTHING - 1);
                let all = rest + u128::from(latest);
                u64::try_from(all / u128::from(SMOOTHING)).unwrap_or(u64::MAX)
            }
        });
        self.since = still_saturated.then_some(self.now);
    }

    /// Until so many more have come back. When none has for longer than usual, that is how long it takes.
    pub(super) fn time_for(&self, permits: u64) -> u64 {
        let silence = self.since.map_or(0, |since| self.now.saturating_sub(since));
        let interval = self.interval.unwrap_or(0).max(silence);
        interval.saturating_mul(permits)
    }
}
