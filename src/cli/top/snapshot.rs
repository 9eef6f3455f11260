//! What one scrape says: the metrics that are shown, by what they mean. Pure.

use std::collections::BTreeMap;

use super::members::Members;
use super::scrape::{Sample, samples};

/// See the module's documentation.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) version: String,
    /// Seconds since 1970; tells one process from the next.
    pub(super) started: f64,
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: f64,
    pub(super) in_flight: f64,
    pub(super) clients: f64,
    pub(super) panics: f64,
    pub(super) log_lines_lost: f64,
    /// Requests under way of each worker.
    pub(super) workers: BTreeMap<String, f64>,
    /// Answers that the gateway made itself, by code.
    pub(super) errors: BTreeMap<String, f64>,
    pub(super) providers: BTreeMap<String, Provider>,
    /// Their keys, instances and queues, where they have several or a limit.
    pub(super) members: Members,
}

/// What is known of one provider.
#[derive(Clone, Debug, Default)]
pub(super) struct Provider {
    /// Requests that ended, by class of status.
    pub(super) classes: [f64; CLASSES.len()],
    pub(super) received: f64,
    pub(super) sent: f64,
    /// Clients that left.
    pub(super) gone: f64,
    /// Answers that broke off.
    pub(super) broken: f64,
    pub(super) idle: f64,
    pub(super) busy: f64,
    pub(super) connects: f64,
    pub(super) reuses: f64,
    pub(super) retries: f64,
    timings: [Histogram; Timing::ALL.len()],
}

/// Classes of status; the first is for requests without an answer.
pub(super) const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    /// Time added to requests on a connection that was there.
    Request,
    /// The same where one had to be made.
    Connecting,
    /// Time added to responses.
    Response,
    /// Request sent to response head.
    Head,
    /// Request sent to first content.
    FirstByte,
    /// Between pieces of content.
    Gap,
    /// Response head to last content.
    Stream,
    /// Of the time added: what had arrived waited for its turn.
    Waited,
}

impl Timing {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 8] = [
        Self::Request,
        Self::Connecting,
        Self::Response,
        Self::Head,
        Self::FirstByte,
        Self::Gap,
        Self::Stream,
        Self::Waited,
    ];

    fn of(metric: &str, sample: &Sample<'_>) -> Option<Self> {
        Some(match metric {
            "request_overhead_seconds" => match sample.label("connection") {
                "pooled" => Self::Request,
                _ => Self::Connecting,
            },
            "response_overhead_seconds" => Self::Response,
            "upstream_head_seconds" => Self::Head,
            "upstream_first_byte_seconds" => Self::FirstByte,
            "stream_longest_gap_seconds" => Self::Gap,
            "stream_duration_seconds" => Self::Stream,
            "waited_seconds" => Self::Waited,
            _ => return None,
        })
    }
}

impl Snapshot {
    /// What a text says; `None` if it is none of a gateway's.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut snapshot = Self::default();
        for sample in samples(text) {
            match sample.name.strip_prefix("sluicegate_") {
                Some(metric) => snapshot.take(metric, &sample),
                None => snapshot.take_process(&sample),
            }
        }
        (!snapshot.version.is_empty()).then_some(snapshot)
    }

    fn take_process(&mut self, sample: &Sample<'_>) {
        let place = match sample.name {
            "process_start_time_seconds" => &mut self.started,
            "process_cpu_seconds_total" => &mut self.cpu_seconds,
            "process_resident_memory_bytes" => &mut self.resident_bytes,
            _ => return,
        };
        *place = sample.count();
    }

    fn take(&mut self, metric: &str, sample: &Sample<'_>) {
        let count = sample.count();
        let place = match metric {
            "build_info" => {
                self.version = sample.label("version").to_owned();
                return;
            }
            "requests_in_flight" => &mut self.in_flight,
            "client_connections_open" => &mut self.clients,
            "panics_total" => &mut self.panics,
            "log_lines_lost_total" => &mut self.log_lines_lost,
            "worker_requests_in_flight" => self
                .workers
                .entry(sample.label("worker").into())
                .or_default(),
            "gateway_errors_total" => self.errors.entry(sample.label("code").into()).or_default(),
            _ if self.members.take(metric, sample) => return,
            _ => return self.take_provider(metric, sample),
        };
        *place = count;
    }

    fn take_provider(&mut self, metric: &str, sample: &Sample<'_>) {
        let name = sample.label("provider");
        if name.is_empty() {
            return;
        }
        let provider = self.providers.entry(name.to_owned()).or_default();
        if let Some(metric) = metric.strip_suffix("_bucket") {
            if let Some(timing) = Timing::of(metric, sample)
                && let Some(histogram) = provider.timings.get_mut(timing as usize)
            {
                histogram.take(sample);
            }
            return;
        }
        let class = || {
            CLASSES
                .iter()
                .position(|known| *known == sample.label("class"))
        };
        let place = match metric {
            "requests_total" => class().and_then(|class| provider.classes.get_mut(class)),
            "request_body_bytes_total" => Some(&mut provider.received),
            "response_body_bytes_total" => Some(&mut provider.sent),
            "clients_gone_total" => Some(&mut provider.gone),
            "truncated_responses_total" => Some(&mut provider.broken),
            "upstream_connections" if sample.label("state") == "idle" => Some(&mut provider.idle),
            "upstream_connections" => Some(&mut provider.busy),
            "upstream_connects_total" => Some(&mut provider.connects),
            "upstream_reuses_total" => Some(&mut provider.reuses),
            "upstream_retries_total" => Some(&mut provider.retries),
            _ => None,
        };
        // Series that differ in what is not shown are added up.
        if let Some(place) = place {
            *place += sample.count();
        }
    }
}

impl Provider {
    /// A measure's histogram.
    pub(super) fn timing(&self, timing: Timing) -> &Histogram {
        const NONE: &Histogram = &Histogram {
            buckets: Vec::new(),
        };
        self.timings.get(timing as usize).unwrap_or(NONE)
    }
}

/// How many times were at most as long as each bound, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Histogram {
    /// Sorted by their bounds, the last of which is infinite.
    buckets: Vec<(f64, f64)>,
}

/// Bounds that are kept; more than any histogram of ours has.
const BUCKETS_MAX: usize = 64;

impl Histogram {
    fn take(&mut self, sample: &Sample<'_>) {
        let Ok(bound) = sample.label("le").parse::<f64>() else {
            return;
        };
        if bound.is_nan() || bound < 0.0 || self.buckets.len() >= BUCKETS_MAX {
            return;
        }
        let at = self.buckets.partition_point(|(known, _)| *known < bound);
        match self
            .buckets
            .get_mut(at)
            .filter(|(known, _)| *known <= bound)
        {
            Some((_, count)) => *count += sample.count(),
            None => self.buckets.insert(at, (bound, sample.count())),
        }
    }

    /// What was counted since an earlier one.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier = |bound: f64| {
            let at = before.buckets.partition_point(|(known, _)| *known < bound);
            let same = before.buckets.get(at).filter(|(known, _)| *known <= bound);
            same.map_or(0.0, |(_, count)| *count)
        };
        let since = |&(bound, count): &(f64, f64)| (bound, (count - earlier(bound)).max(0.0));
        Self {
            buckets: self.buckets.iter().map(since).collect(),
        }
    }

    /// Times counted.
    pub(super) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// The time, in seconds, that this part of all times did not exceed, as Prometheus reckons it: evenly spread
    /// between a bucket's bounds; beyond the last bound, that bound. `None` without times.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let count = self.count();
        if count <= 0.0 {
            return None;
        }
        let rank = part.clamp(0.0, 1.0) * count;
        let (mut low, mut below) = (0.0, 0.0);
        for &(bound, up_to) in &self.buckets {
            if up_to >= rank && up_to > below {
                let within = (rank - below).max(0.0) / (up_to - below);
                let time = match bound.is_finite() {
                    true => low + (bound - low) * within,
                    false => low,
                };
                // Counts as large as no gateway has them.
                return Some(time).filter(|time| time.is_finite());
            }
            (low, below) = (bound, up_to.max(below));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::observe::counters::{Counters, Finished};
    use crate::observe::one_writer::{add, up};
    use crate::observe::{Ending, Exports, Process, Reloads, Scrape, Shares, Slots, Times};
    use crate::providers::Choices;

    /// A text that the gateway itself writes.
    fn written() -> String {
        let workers = [Counters::default(), Counters::default()];
        let slots = Slots::default().next(["one", "two"].into_iter());
        for worker in &workers {
            up(&worker.in_flight);
            worker.error("missing_key");
            let provider = worker.provider(slots.of(0));
            add(&provider.reuses, 2);
            for status in [200, 201, 502] {
                let request = Finished {
                    status,
                    received: 5,
                    sent: 7,
                    ..Finished::default()
                };
                let mut times = Times::default();
                times.sent(Duration::from_micros(12));
                provider.finished(&request, Ending::Complete, &times);
            }
            let gone = Finished::default();
            provider.finished(&gone, Ending::ClientGone, &Times::default());
            provider.finished(&gone, Ending::Timeout, &Times::default());
        }
        let scrape = Scrape {
            workers: &workers,
            slots: &slots,
            keys: &Slots::default(),
            reloads: &Reloads::default(),
            expiries: &[],
            process: Process {
                start_seconds: Some(1_700_000_000.5),
                resident_bytes: Some(4096),
                ..Process::default()
            },
            shares: Shares {
                choices: &Choices::default(),
                now: 0,
            },
            exports: &Exports::default(),
            now: Duration::ZERO,
            log_lines_lost: 3,
            log_lines_shed: 0,
        };
        scrape.text()
    }

    #[test]
    fn what_the_gateway_writes_is_understood() {
        let snapshot = Snapshot::read(&written()).unwrap();
        assert_eq!(snapshot.version, crate::base::VERSION);
        assert_eq!(
            [
                snapshot.started,
                snapshot.resident_bytes,
                snapshot.in_flight,
                snapshot.log_lines_lost
            ],
            [1_700_000_000.5, 4096.0, 2.0, 3.0]
        );
        assert_eq!(snapshot.workers["1"], 1.0);
        assert_eq!(snapshot.errors["missing_key"], 2.0);
        let one = &snapshot.providers["one"];
        assert_eq!(one.classes, [4.0, 0.0, 4.0, 0.0, 0.0, 2.0]);
        assert_eq!([one.received, one.sent, one.reuses], [30.0, 42.0, 4.0]);
        assert_eq!([one.gone, one.broken], [2.0, 2.0]);
        assert_eq!(one.timing(Timing::Request).count(), 6.0);
        assert_eq!(one.timing(Timing::Connecting).count(), 0.0);
        // Between 10.24 and 12.288 µs.
        let middle = one.timing(Timing::Request).quantile(0.5).unwrap();
        assert!((11.2e-6..11.3e-6).contains(&middle), "{middle}");
    }

    #[test]
    fn every_metric_that_is_read_is_written() {
        let text = written();
        let source = include_str!("snapshot.rs");
        let (code, _) = source.split_once("#[cfg(test)]").unwrap();
        let quoted = code.split('"').skip(1).step_by(2);
        let metrics = quoted.filter(|word| word.ends_with("_total") || word.ends_with("_seconds"));
        let mut seen = 0;
        for metric in metrics.filter(|metric| !metric.starts_with("process_")) {
            let wanted = format!("# TYPE sluicegate_{metric} ");
            assert!(text.contains(&wanted), "{metric}");
            seen += 1;
        }
        assert!(seen > 12, "only {seen}");
    }

    #[test]
    fn other_texts_are_none_of_a_gateways() {
        for text in ["", "up 1\n", "<html>", "sluicegate_requests_in_flight 1\n"] {
            assert!(Snapshot::read(text).is_none(), "{text}");
        }
    }

    fn histogram(buckets: &[(f64, f64)]) -> Histogram {
        Histogram {
            buckets: buckets.to_vec(),
        }
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let inf = f64::INFINITY;
        let even = histogram(&[(1.0, 10.0), (2.0, 20.0), (4.0, 20.0), (inf, 20.0)]);
        let beyond = histogram(&[(1.0, 0.0), (2.0, 1.0), (inf, 4.0)]);
        for (histogram, part, wanted) in [
            (&even, 0.5, Some(1.0)),
            (&even, 0.75, Some(1.5)),
            (&even, 1.0, Some(2.0)),
            (&even, 0.0, Some(0.0)),
            (&beyond, 0.25, Some(2.0)),
            (&beyond, 0.99, Some(2.0)),
            (&Histogram::default(), 0.5, None),
            (&histogram_of_nothing(), 0.5, None),
        ] {
            assert_eq!(histogram.quantile(part), wanted, "{part} of {histogram:?}");
        }
    }

    fn histogram_of_nothing() -> Histogram {
        histogram(&[(1.0, 0.0), (f64::INFINITY, 0.0)])
    }

    #[test]
    fn what_was_counted_before_is_taken_off() {
        let before = histogram(&[(1.0, 3.0), (f64::INFINITY, 5.0)]);
        let now = histogram(&[(0.5, 1.0), (1.0, 4.0), (f64::INFINITY, 9.0)]);
        let wanted = histogram(&[(0.5, 1.0), (1.0, 1.0), (f64::INFINITY, 4.0)]);
        assert_eq!(now.since(&before), wanted);
        assert_eq!(before.since(&now).count(), 0.0);
        assert_eq!(now.since(&Histogram::default()), now);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_the_bounds_and_grow(
            counts in proptest::collection::vec(0.0..1e6_f64, 1..20),
            parts in (0.0..1.0_f64, 0.0..1.0_f64),
        ) {
            let mut sum = 0.0;
            let mut buckets = Vec::new();
            for (index, count) in counts.iter().enumerate() {
                sum += count;
                buckets.push((2_f64.powi(i32::try_from(index).unwrap()), sum));
            }
            let last = buckets.last().unwrap().0;
            buckets.push((f64::INFINITY, sum));
            let histogram = Histogram { buckets };
            let (low, high) = (parts.0.min(parts.1), parts.0.max(parts.1));
            if let (Some(low), Some(high)) = (histogram.quantile(low), histogram.quantile(high)) {
                prop_assert!(0.0 <= low && low <= high && high <= last, "{low} {high}");
            }
        }

        #[test]
        fn hostile_figures_are_figures(lines in proptest::collection::vec(
            ("(requests_total|response_overhead_seconds_bucket|upstream_connections|gateway_errors_total)",
             "(le|class|provider|state)", "(\\+Inf|NaN|-1|1e400|2xx|one|\u{1b})", "(NaN|-?Inf|-1|1e308|7)"), 0..30)
        ) {
            let mut text = "sluicegate_build_info{version=\"x\"} 1\n".to_owned();
            for (name, label, value, number) in lines {
                text += &format!("sluicegate_{name}{{provider=\"p\",{label}=\"{value}\"}} {number}\n");
            }
            let snapshot = Snapshot::read(&text).unwrap();
            for provider in snapshot.providers.values() {
                for timing in Timing::ALL {
                    let histogram = provider.timing(timing);
                    let since = histogram.since(histogram);
                    for part in [histogram.quantile(0.5), since.quantile(0.99)].into_iter().flatten() {
                        prop_assert!(!part.is_nan());
                    }
                }
            }
        }
    }
}
