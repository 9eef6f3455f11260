//! Looks at a gateway, one after the other.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::address::Address;
use super::fetch::{self, FetchError};
use super::figures::{Figures, History, Streams};
use super::snapshot::Snapshot;

/// Why it ended.
pub(super) enum Failure {
    /// Nothing can be shown any more.
    Output(io::Error),
    /// There is nothing to show.
    Gateway(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// One look at a gateway.
pub(super) struct Look {
    at: Instant,
    snapshot: Snapshot,
    streams: Option<Streams>,
}

/// Looks at a gateway again and again.
pub(super) struct Looks {
    address: Address,
    began: Instant,
    history: History,
}

impl Looks {
    /// None yet; figures are of so many seconds.
    pub(super) fn new(address: &Address, window: f64) -> Self {
        Self {
            address: address.clone(),
            began: Instant::now(),
            history: History::new(window),
        }
    }

    /// What a look says beside those before it.
    pub(super) fn figures(&mut self, look: Look) -> Figures {
        let at = look.at.duration_since(self.began).as_secs_f64();
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = time.map_or(0.0, |time| time.as_millis() as f64 / 1000.0);
        let mut figures = self.history.take(look.snapshot, at, time);
        figures.streams = look.streams;
        figures
    }

    /// Looks once more.
    pub(super) fn next(&mut self) -> Result<Figures, String> {
        let look = look(&self.address)?;
        Ok(self.figures(look))
    }
}

/// Looks at a gateway.
pub(super) fn look(address: &Address) -> Result<Look, String> {
    let trouble = |error: FetchError| format!("{error} ({address})");
    let text = fetch::metrics(address).map_err(trouble)?;
    let at = Instant::now();
    let other = || trouble(FetchError::Unusable("these are no metrics of a sluicegate"));
    let snapshot = Snapshot::read(&text).ok_or_else(other)?;
    let streams = fetch::streams(address).and_then(|text| Streams::read(&text));
    Ok(Look {
        at,
        snapshot,
        streams,
    })
}

/// Waits that long; whether the other end has gone meanwhile.
pub(super) fn is_over(stop: &Receiver<()>, wait: Duration) -> bool {
    !matches!(stop.recv_timeout(wait), Err(RecvTimeoutError::Timeout))
}
