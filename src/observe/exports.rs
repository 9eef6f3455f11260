//! What became of spans and metrics on their way to a collector.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module's documentation. Written by several threads, a few times a second but for what is dropped.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    /// A collector was configured at some time.
    on: AtomicBool,
    spans_sent: AtomicU64,
    spans_dropped: AtomicU64,
    attempts: [[AtomicU64; Outcome::ALL.len()]; Signal::ALL.len()],
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// Both, in the order of their numbers.
    pub(crate) const ALL: [Self; 2] = [Self::Traces, Self::Metrics];

    /// The label, and the end of the path.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// What came of sending something once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The collector has it.
    Taken,
    /// Not now: it is sent again.
    Again,
    /// Nor will it ever.
    Refused,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 3] = [Self::Taken, Self::Again, Self::Refused];

    /// The label.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Again => "failed",
            Self::Refused => "refused",
        }
    }
}

impl Exports {
    /// A collector is configured.
    pub(crate) fn are_on(&self) {
        self.on.store(true, Ordering::Relaxed);
    }

    /// So many spans will not arrive.
    pub(crate) fn drop_spans(&self, spans: u64) {
        self.spans_dropped.fetch_add(spans, Ordering::Relaxed);
    }

    /// So many have.
    pub(crate) fn sent_spans(&self, spans: u64) {
        self.spans_sent.fetch_add(spans, Ordering::Relaxed);
    }

    /// Something was sent.
    pub(crate) fn tried(&self, signal: Signal, outcome: Outcome) {
        let of_signal = self.attempts.get(signal as usize);
        if let Some(counter) = of_signal.and_then(|outcomes| outcomes.get(outcome as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The figures, once a collector was configured.
    #[must_use]
    pub(crate) fn figures(&self) -> Option<Figures> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.on.load(Ordering::Relaxed).then(|| Figures {
            spans_sent: load(&self.spans_sent),
            spans_dropped: load(&self.spans_dropped),
            attempts: self.attempts.each_ref().map(|of| of.each_ref().map(load)),
        })
    }
}

/// What [`Exports`] say at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Spans that the collector has.
    pub spans_sent: u64,
    /// Spans that it will not get.
    pub spans_dropped: u64,
    /// By signal and outcome.
    pub attempts: [[u64; Outcome::ALL.len()]; Signal::ALL.len()],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_lists() {
        for (index, signal) in Signal::ALL.into_iter().enumerate() {
            assert_eq!(signal as usize, index);
        }
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
    }

    #[test]
    fn figures_are_there_once_a_collector_is() {
        let exports = Exports::default();
        exports.tried(Signal::Metrics, Outcome::Refused);
        assert_eq!(exports.figures(), None);
        exports.are_on();
        exports.drop_spans(2);
        let figures = exports.figures().unwrap();
        assert_eq!(figures.attempts, [[0, 0, 0], [0, 0, 1]]);
        assert_eq!((figures.spans_sent, figures.spans_dropped), (0, 2));
    }
}
