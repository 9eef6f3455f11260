//! When something is sent again, and whether. Pure: times come in.

use std::time::Duration;

use crate::base::number;
use crate::observe::exports::Outcome;

/// What an answer with this status means for what was sent (OTLP 1.x, "OTLP/HTTP Response").
#[must_use]
pub(super) fn outcome(status: u16) -> Outcome {
    match status {
        200..=299 => Outcome::Taken,
        429 | 502 | 503 | 504 => Outcome::Again,
        _ => Outcome::Refused,
    }
}

/// How long a collector asks to be left alone: whole seconds, and no longer than [`ASKED_MAX`]. A date is not heeded: it
/// hangs on its clock.
#[must_use]
pub(super) fn asked(retry_after: Option<&str>) -> Option<Duration> {
    let seconds = number::decimal(retry_after?)?;
    Some(Duration::from_secs(seconds).min(ASKED_MAX))
}

/// Nobody comes back to a collector that asks for more.
const ASKED_MAX: Duration = Duration::from_secs(600);
/// Behind the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// Behind many.
const LAST: Duration = Duration::from_secs(30);

/// How long to wait behind failures.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// Something was taken.
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }

    /// Something failed: the wait before the next attempt, half of it by chance, so that not all come at once. What a
    /// collector `asked` for is kept to, and chance comes on top.
    pub(super) fn next(&mut self, asked: Option<Duration>, chance: u8) -> Duration {
        let usual = FIRST.saturating_mul(1 << self.0.min(5)).min(LAST);
        self.0 = self.0.saturating_add(1);
        let part = usual / 2 * u32::from(chance) / 255;
        asked.unwrap_or(usual / 2) + part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_help_is_tried_again() {
        for status in [200, 202, 204] {
            assert_eq!(outcome(status), Outcome::Taken);
        }
        for status in [429, 502, 503, 504] {
            assert_eq!(outcome(status), Outcome::Again);
        }
        for status in [301, 400, 401, 403, 404, 413, 415, 500, 501, 505] {
            assert_eq!(outcome(status), Outcome::Refused, "{status}");
        }
    }

    #[test]
    fn waits_grow_to_half_a_minute() {
        let mut backoff = Backoff::default();
        let most: Vec<u64> = (0..8).map(|_| backoff.next(None, 255).as_secs()).collect();
        assert_eq!(most, [1, 2, 4, 8, 16, 30, 30, 30]);
        backoff.reset();
        let least = [0, 0].map(|chance| backoff.next(None, chance).as_millis());
        assert_eq!(least, [500, 1000]);
        for _ in 0..100 {
            assert!(backoff.next(None, 255) <= LAST);
        }
    }

    #[test]
    fn what_a_collector_asks_for_is_kept_to() {
        assert_eq!(asked(None), None);
        assert_eq!(asked(Some("7")), Some(Duration::from_secs(7)));
        assert_eq!(asked(Some("86400")), Some(ASKED_MAX));
        assert_eq!(asked(Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        let mut backoff = Backoff::default();
        for chance in [0, 255] {
            let wait = backoff.next(asked(Some("7")), chance);
            assert!((7..=9).contains(&wait.as_secs()), "{wait:?}");
        }
    }
}
