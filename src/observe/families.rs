//! Names, helps and labels of the metrics that every provider has, and how each is read.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::counters::ProviderCounters;
use super::histogram::Scale;
use super::times::Timing;

/// How a series is read.
pub(super) type Get = fn(&ProviderCounters) -> &AtomicU64;
/// Name, type, help, label, and the label's values.
pub(super) type Family = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, Get)],
);

/// What is known of each provider's connections.
pub(super) const UPSTREAMS: [Family; 6] = [
    (
        "upstream_connections",
        "gauge",
        "Connections to providers; busy ones carry a request or are being made.",
        "state",
        &[("idle", |c| &c.idle), ("busy", |c| &c.busy)],
    ),
    (
        "upstream_connects_total",
        "counter",
        "Connections made to providers.",
        "",
        &[("", |c| &c.connects)],
    ),
    (
        "upstream_reuses_total",
        "counter",
        "Requests on a connection that had carried one before.",
        "",
        &[("", |c| &c.reuses)],
    ),
    (
        "upstream_handshakes_total",
        "counter",
        "TLS handshakes with providers; resumed ones took up an earlier session.",
        "kind",
        &[
            ("full", |c| &c.full_handshakes),
            ("resumed", |c| &c.resumed_handshakes),
        ],
    ),
    (
        "upstream_retries_total",
        "counter",
        "Requests sent again on a fresh connection.",
        "",
        &[("", |c| &c.retries)],
    ),
    (
        "response_body_bytes_total",
        "counter",
        "Content sent to clients, as framed.",
        "",
        &[("", |c| &c.response_bytes)],
    ),
];

/// Name, help, and since when.
pub(super) type Age = (
    &'static str,
    &'static str,
    fn(&ProviderCounters) -> Option<Duration>,
);

/// How old what is kept for providers is.
pub(super) const AGES: [Age; 2] = [
    (
        "sluicegate_upstream_idle_oldest_seconds",
        "How long ago the oldest connection to a provider that waits for a request was made.",
        ProviderCounters::kept_since,
    ),
    (
        "sluicegate_upstream_addresses_age_seconds",
        "How long ago the addresses of a provider's host were asked for, of the worker where that is longest ago.",
        ProviderCounters::known_since,
    ),
];

/// A histogram's name, help, label and its values, and its buckets.
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) label: &'static str,
    pub(super) of: &'static [(&'static str, Timing)],
    pub(super) scale: Scale,
}

/// 4 µs to 67 ms, in quarters up to 1 ms: what is said of the gateway's own time should be near it.
const OWN: Scale = scale(12..=26, 20);
/// 4 µs to 67 ms.
pub(super) const TURN: Scale = scale(12..=26, 0);
/// 66 µs to 8.6 s.
const NETWORK: Scale = scale(16..=33, 0);
/// 1 ms to 137 s.
const SLOW: Scale = scale(20..=37, 0);
/// 17 ms to 73 min.
const STREAM: Scale = scale(24..=42, 0);

const fn scale(octaves: std::ops::RangeInclusive<u32>, coarse: u32) -> Scale {
    Scale { octaves, coarse }
}

/// All histograms.
pub(super) const TIMINGS: [Measure; 9] = [
    Measure {
        name: "request_overhead_seconds",
        help: "Time added to requests: head received to request sent. With connection=\"new\" a \
               connection was made meanwhile.",
        label: "connection",
        of: &[
            ("pooled", Timing::RequestPooled),
            ("new", Timing::RequestConnecting),
        ],
        scale: OWN,
    },
    Measure {
        name: "response_overhead_seconds",
        help: "Time added to responses: head received to head sent on.",
        label: "",
        of: &[("", Timing::Response)],
        scale: OWN,
    },
    Measure {
        name: "waited_seconds",
        help: "Of the time added to a request and its response: what had arrived waited for its turn.",
        label: "",
        of: &[("", Timing::Waited)],
        scale: OWN,
    },
    Measure {
        name: "upstream_connect_seconds",
        help: "Making connections to providers: name and TCP.",
        label: "",
        of: &[("", Timing::Connect)],
        scale: NETWORK,
    },
    Measure {
        name: "upstream_tls_seconds",
        help: "TLS handshakes with providers.",
        label: "",
        of: &[("", Timing::Tls)],
        scale: NETWORK,
    },
    Measure {
        name: "upstream_head_seconds",
        help: "Request sent to response head received.",
        label: "",
        of: &[("", Timing::ToHead)],
        scale: SLOW,
    },
    Measure {
        name: "upstream_first_byte_seconds",
        help: "Request sent to first content received.",
        label: "",
        of: &[("", Timing::ToFirstByte)],
        scale: SLOW,
    },
    Measure {
        name: "stream_longest_gap_seconds",
        help: "The longest time between two pieces of a response's content.",
        label: "",
        of: &[("", Timing::LongestGap)],
        scale: SLOW,
    },
    Measure {
        name: "stream_duration_seconds",
        help: "Response head to last content, of responses in more than one piece.",
        label: "",
        of: &[("", Timing::Stream)],
        scale: STREAM,
    },
];
