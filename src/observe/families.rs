//! Names, helps and labels of the metrics that every provider has, and how each is read.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::counters::ProviderCounters;
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

/// A histogram's name, help, label and its values, and the powers of two in nanoseconds that bound its buckets.
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) label: &'static str,
    pub(super) of: &'static [(&'static str, Timing)],
    pub(super) octaves: std::ops::RangeInclusive<u32>,
}

/// 4 µs to 67 ms.
pub(super) const FAST: std::ops::RangeInclusive<u32> = 12..=26;
/// 66 µs to 8.6 s.
const NETWORK: std::ops::RangeInclusive<u32> = 16..=33;
/// 1 ms to 137 s.
const SLOW: std::ops::RangeInclusive<u32> = 20..=37;
/// 17 ms to 73 min.
const STREAM: std::ops::RangeInclusive<u32> = 24..=42;

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
        octaves: FAST,
    },
    Measure {
        name: "response_overhead_seconds",
        help: "Time added to responses: head received to head sent on.",
        label: "",
        of: &[("", Timing::Response)],
        octaves: FAST,
    },
    Measure {
        name: "waited_seconds",
        help: "Of the time added to a request and its response: what had arrived waited for its turn.",
        label: "",
        of: &[("", Timing::Waited)],
        octaves: FAST,
    },
    Measure {
        name: "upstream_connect_seconds",
        help: "Making connections to providers: name and TCP.",
        label: "",
        of: &[("", Timing::Connect)],
        octaves: NETWORK,
    },
    Measure {
        name: "upstream_tls_seconds",
        help: "TLS handshakes with providers.",
        label: "",
        of: &[("", Timing::Tls)],
        octaves: NETWORK,
    },
    Measure {
        name: "upstream_head_seconds",
        help: "Request sent to response head received.",
        label: "",
        of: &[("", Timing::ToHead)],
        octaves: SLOW,
    },
    Measure {
        name: "upstream_first_byte_seconds",
        help: "Request sent to first content received.",
        label: "",
        of: &[("", Timing::ToFirstByte)],
        octaves: SLOW,
    },
    Measure {
        name: "stream_longest_gap_seconds",
        help: "The longest time between two pieces of a response's content.",
        label: "",
        of: &[("", Timing::LongestGap)],
        octaves: SLOW,
    },
    Measure {
        name: "stream_duration_seconds",
        help: "Response head to last content, of responses in more than one piece.",
        label: "",
        of: &[("", Timing::Stream)],
        octaves: STREAM,
    },
];
