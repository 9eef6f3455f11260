//! What happened between two scrapes: rates, quantiles, and what is there now. Pure.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::members::MemberFigures;
use super::scrape::clean;
use super::snapshot::{CLASSES, Provider, Snapshot, Timing};

/// One sample, as it is shown and as `--json` writes it. Rates and quantiles are `None` where there was no earlier
/// scrape of the same process to compare with, or nothing to take a quantile of.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
    /// Seconds since 1970.
    pub(super) time: f64,
    /// Between the two scrapes.
    pub(super) seconds: Option<f64>,
    pub(super) version: String,
    pub(super) uptime_seconds: f64,
    /// Of one core.
    pub(super) cpu: Option<f64>,
    pub(super) resident_bytes: u64,
    pub(super) in_flight: u64,
    pub(super) client_connections: u64,
    pub(super) requests_per_second: Option<f64>,
    pub(super) panics_total: u64,
    pub(super) log_lines_lost_total: u64,
    /// Requests under way, by worker.
    pub(super) workers: Vec<u64>,
    pub(super) providers: Vec<ProviderFigures>,
    pub(super) errors: Vec<ErrorFigures>,
    /// Keys, instances and queues of providers that have several or a limit.
    pub(super) members: Vec<MemberFigures>,
    /// `None` where they cannot be had.
    pub(super) streams: Option<Streams>,
}

/// Of one provider.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct ProviderFigures {
    pub(super) provider: String,
    #[serde(flatten)]
    pub(super) rates: Option<Rates>,
    /// Time added to requests on a connection that was there.
    pub(super) request_added: Quantiles,
    /// The same where a connection had to be made.
    pub(super) request_added_connecting: Quantiles,
    /// Time added to responses.
    pub(super) response_added: Quantiles,
    /// Of both: what had arrived waited for its turn.
    pub(super) waited: Quantiles,
    /// Request sent to response head.
    pub(super) head: Quantiles,
    /// Request sent to first content.
    pub(super) first_byte: Quantiles,
    /// The longest time between pieces of a response.
    pub(super) longest_gap: Quantiles,
    /// Response head to last content.
    pub(super) stream: Quantiles,
    pub(super) upstream_idle: u64,
    pub(super) upstream_busy: u64,
}

/// Per second.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Rates {
    pub(super) requests_per_second: f64,
    pub(super) responses_4xx_per_second: f64,
    pub(super) responses_5xx_per_second: f64,
    pub(super) bytes_in_per_second: f64,
    pub(super) bytes_out_per_second: f64,
    pub(super) clients_gone_per_second: f64,
    pub(super) truncated_per_second: f64,
    pub(super) connects_per_second: f64,
    pub(super) reuses_per_second: f64,
    pub(super) retries_per_second: f64,
}

/// In microseconds, as exact as the histograms' buckets are wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
}

/// Of one code.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ErrorFigures {
    pub(super) code: String,
    pub(super) total: u64,
    pub(super) per_second: Option<f64>,
}

/// Requests under way, as the gateway lists them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Streams {
    /// All, those not listed included.
    pub(super) in_flight: u64,
    /// Workers that did not answer in time.
    pub(super) silent_workers: u64,
    /// The oldest first.
    pub(super) streams: Vec<Stream>,
}

/// One request under way.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Stream {
    pub(super) age_us: u64,
    pub(super) idle_us: Option<u64>,
    pub(super) phase: String,
    pub(super) provider: String,
    pub(super) key: Option<String>,
    pub(super) method: String,
    pub(super) path: Option<String>,
    pub(super) status: Option<u16>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

impl Streams {
    /// As the gateway lists them; `None` if it is no such list.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut streams: Self = serde_json::from_str(text).ok()?;
        for stream in &mut streams.streams {
            let texts = [&mut stream.phase, &mut stream.provider, &mut stream.method];
            let others = [stream.key.as_mut(), stream.path.as_mut()];
            for text in texts.into_iter().chain(others.into_iter().flatten()) {
                *text = clean(text);
            }
        }
        Some(streams)
    }
}

impl Figures {
    /// What `now` says, with what has happened since `before`, `seconds` ago.
    pub(super) fn between(before: Option<(&Snapshot, f64)>, now: &Snapshot, time: f64) -> Self {
        let span = before.map(|(before, seconds)| Span { before, seconds });
        let mut workers: Vec<_> = now.workers.iter().collect();
        workers.sort_by_key(|(name, _)| (name.len(), name.as_str()));
        let providers = now.providers.iter();
        let providers: Vec<_> = providers
            .map(|(name, provider)| ProviderFigures::of(span, name, provider))
            .collect();
        let rates = providers.iter().map(|provider| provider.rates.as_ref());
        let requests: Option<f64> = rates.map(|rates| Some(rates?.requests_per_second)).sum();
        let mut errors: Vec<_> = now
            .errors
            .iter()
            .map(|(code, total)| {
                let before = |earlier: &Snapshot| earlier.errors.get(code).copied();
                ErrorFigures {
                    code: code.clone(),
                    total: whole(*total),
                    per_second: span.map(|s| s.rate(before(s.before).unwrap_or_default(), *total)),
                }
            })
            .collect();
        errors.sort_by(|a, b| {
            b.per_second
                .unwrap_or(0.0)
                .total_cmp(&a.per_second.unwrap_or(0.0))
        });
        Self {
            time,
            seconds: span.map(|span| rounded(span.seconds)),
            version: now.version.clone(),
            uptime_seconds: rounded((time - now.started).max(0.0)),
            cpu: span.map(|span| span.rate(span.before.cpu_seconds, now.cpu_seconds)),
            resident_bytes: whole(now.resident_bytes),
            in_flight: whole(now.in_flight),
            client_connections: whole(now.clients),
            requests_per_second: requests.filter(|_| span.is_some()).map(rounded),
            panics_total: whole(now.panics),
            log_lines_lost_total: whole(now.log_lines_lost),
            workers: workers
                .into_iter()
                .map(|(_, in_flight)| whole(*in_flight))
                .collect(),
            providers,
            errors,
            members: now.members.figures(),
            streams: None,
        }
    }
}

/// The earlier scrape, and how long ago it was.
#[derive(Clone, Copy)]
struct Span<'a> {
    before: &'a Snapshot,
    seconds: f64,
}

impl Span<'_> {
    fn rate(self, before: f64, now: f64) -> f64 {
        match self.seconds > 0.0 {
            true => rounded((now - before).max(0.0) / self.seconds),
            false => 0.0,
        }
    }
}

/// To thousandths: what is beyond says nothing.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// A count, which comes as whatever number the text has.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers out of range become the nearest in it"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

impl ProviderFigures {
    fn of(span: Option<Span<'_>>, name: &str, now: &Provider) -> Self {
        let nothing = Provider::default();
        // A provider is first counted when it has its first request.
        let earlier = |span: Span<'_>| span.before.providers.get(name).cloned();
        let before = span.and_then(earlier).unwrap_or(nothing);
        let quantiles = |timing: Timing| match span {
            Some(_) => Quantiles::of(now, &before, timing),
            None => Quantiles::default(),
        };
        Self {
            provider: name.to_owned(),
            rates: span.map(|span| Rates::of(span, &before, now)),
            request_added: quantiles(Timing::Request),
            request_added_connecting: quantiles(Timing::Connecting),
            response_added: quantiles(Timing::Response),
            waited: quantiles(Timing::Waited),
            head: quantiles(Timing::Head),
            first_byte: quantiles(Timing::FirstByte),
            longest_gap: quantiles(Timing::Gap),
            stream: quantiles(Timing::Stream),
            upstream_idle: whole(now.idle),
            upstream_busy: whole(now.busy),
        }
    }
}

impl Rates {
    fn of(span: Span<'_>, before: &Provider, now: &Provider) -> Self {
        let rate = |get: fn(&Provider) -> f64| span.rate(get(before), get(now));
        Self {
            requests_per_second: rate(|p| p.classes.iter().sum()),
            responses_4xx_per_second: rate(|p| in_class(p, "4xx")),
            responses_5xx_per_second: rate(|p| in_class(p, "5xx")),
            bytes_in_per_second: rate(|p| p.received),
            bytes_out_per_second: rate(|p| p.sent),
            clients_gone_per_second: rate(|p| p.gone),
            truncated_per_second: rate(|p| p.broken),
            connects_per_second: rate(|p| p.connects),
            reuses_per_second: rate(|p| p.reuses),
            retries_per_second: rate(|p| p.retries),
        }
    }
}

fn in_class(provider: &Provider, class: &str) -> f64 {
    let counts = CLASSES.iter().zip(provider.classes);
    counts
        .filter(|(known, _)| **known == class)
        .map(|(_, count)| count)
        .sum()
}

impl Quantiles {
    fn of(now: &Provider, before: &Provider, timing: Timing) -> Self {
        let since = now.timing(timing).since(before.timing(timing));
        let micros = |part| since.quantile(part).map(|seconds| rounded(seconds * 1e6));
        Self {
            p50_us: micros(0.5),
            p99_us: micros(0.99),
        }
    }
}

/// The scrapes of the last while, of one process.
pub(super) struct History {
    /// Of whole seconds.
    window: f64,
    scrapes: VecDeque<(f64, Snapshot)>,
}

impl History {
    /// Figures are of the last `window` seconds, or of the time between two scrapes where that is longer.
    pub(super) fn new(window: f64) -> Self {
        Self {
            window,
            scrapes: VecDeque::new(),
        }
    }

    /// Takes a scrape of second `at`, which only grows, and says what has happened; `time` is since 1970.
    pub(super) fn take(&mut self, snapshot: Snapshot, at: f64, time: f64) -> Figures {
        // A process that was started anew counts from nothing.
        let same = |earlier: &Snapshot| earlier.started.to_bits() == snapshot.started.to_bits();
        if !self.scrapes.back().is_none_or(|(_, last)| same(last)) {
            self.scrapes.clear();
        }
        // The second oldest is old enough.
        let old =
            |scrape: Option<&(f64, Snapshot)>| scrape.is_some_and(|s| at - s.0 >= self.window);
        while old(self.scrapes.get(1)) {
            self.scrapes.pop_front();
        }
        let before = self.scrapes.front();
        let before = before.map(|(earlier, before)| (before, at - earlier));
        let figures = Figures::between(before, &snapshot, time);
        self.scrapes.push_back((at, snapshot));
        figures
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// A text as of a gateway that has served `requests`.
    pub(crate) fn text(started: u32, requests: u32) -> String {
        format!(
            "sluicegate_build_info{{version=\"1.2.3\"}} 1\n\
             process_start_time_seconds {started}\n\
             process_cpu_seconds_total {}\n\
             process_resident_memory_bytes 34000000\n\
             sluicegate_requests_in_flight 3\n\
             sluicegate_client_connections_open 4\n\
             sluicegate_worker_requests_in_flight{{worker=\"0\"}} 1\n\
             sluicegate_worker_requests_in_flight{{worker=\"10\"}} 0\n\
             sluicegate_worker_requests_in_flight{{worker=\"2\"}} 2\n\
             sluicegate_gateway_errors_total{{code=\"missing_key\"}} 5\n\
             sluicegate_gateway_errors_total{{code=\"upstream_connect\"}} {requests}\n\
             sluicegate_requests_total{{provider=\"one\",method=\"POST\",class=\"2xx\"}} {requests}\n\
             sluicegate_requests_total{{provider=\"one\",method=\"GET\",class=\"5xx\"}} {requests}\n\
             sluicegate_response_body_bytes_total{{provider=\"one\"}} {}\n\
             sluicegate_upstream_connections{{provider=\"one\",state=\"idle\"}} 6\n\
             sluicegate_response_overhead_seconds_bucket{{provider=\"one\",le=\"0.000004\"}} 0\n\
             sluicegate_response_overhead_seconds_bucket{{provider=\"one\",le=\"0.000008\"}} {requests}\n\
             sluicegate_response_overhead_seconds_bucket{{provider=\"one\",le=\"+Inf\"}} {requests}\n",
            f64::from(requests) / 1000.0,
            requests * 1000,
        )
    }

    pub(crate) fn snapshot(started: u32, requests: u32) -> Snapshot {
        Snapshot::read(&text(started, requests)).unwrap()
    }

    #[test]
    fn rates_and_quantiles_are_of_what_happened_in_between() {
        let (before, now) = (snapshot(100, 1000), snapshot(100, 1400));
        let figures = Figures::between(Some((&before, 2.0)), &now, 160.0);
        let found = serde_json::to_value(&figures).unwrap();
        assert_eq!(found["uptime_seconds"], 60.0);
        assert_eq!(found["cpu"], 0.2);
        assert_eq!(found["workers"], json!([1, 2, 0]));
        assert_eq!(found["requests_per_second"], 400.0);
        assert_eq!(found["errors"][0]["code"], "upstream_connect");
        assert_eq!(found["errors"][0]["per_second"], 200.0);
        assert_eq!(
            found["errors"][1],
            json!({"code": "missing_key", "total": 5, "per_second": 0.0})
        );
        let one = &found["providers"][0];
        for (name, wanted) in [
            ("provider", json!("one")),
            ("requests_per_second", json!(400.0)),
            ("responses_5xx_per_second", json!(200.0)),
            ("bytes_out_per_second", json!(200_000.0)),
            ("upstream_idle", json!(6)),
            ("response_added", json!({"p50_us": 6.0, "p99_us": 7.96})),
            ("head", json!({"p50_us": null, "p99_us": null})),
        ] {
            assert_eq!(one[name], wanted, "{name} in {one}");
        }
    }

    #[test]
    fn a_first_scrape_has_no_rates() {
        let figures = Figures::between(None, &snapshot(100, 1000), 160.0);
        let found = serde_json::to_value(&figures).unwrap();
        for name in ["seconds", "cpu", "requests_per_second"] {
            assert_eq!(found[name], Value::Null, "{name}");
        }
        assert_eq!(found["providers"][0]["requests_per_second"], Value::Null);
        assert_eq!(
            found["providers"][0]["response_added"]["p50_us"],
            Value::Null
        );
        assert_eq!(found["in_flight"], 3);
    }

    #[test]
    fn figures_are_of_the_window_and_of_one_process() {
        let mut history = History::new(10.0);
        let mut seconds = Vec::new();
        for (at, started) in [
            (0, 1),
            (4, 1),
            (8, 1),
            (12, 1),
            (16, 1),
            (60, 1),
            (61, 2),
            (62, 2),
        ] {
            let figures = history.take(snapshot(started, 7), f64::from(at), 100.0);
            seconds.push(figures.seconds);
        }
        let wanted = [
            None,
            Some(4.0),
            Some(8.0),
            Some(12.0),
            Some(12.0),
            Some(44.0),
            None,
            Some(1.0),
        ];
        assert_eq!(seconds, wanted);
    }

    #[test]
    fn a_list_of_streams_is_read_and_cleaned() {
        let text = r#"{"in_flight":2,"silent_workers":0,"later":1,"streams":[{"age_us":5,"idle_us":null,
            "phase":"wait","provider":"o\u001b[2J","key":null,"method":"POST","path":"/a\u009bb","status":null,
            "bytes_in":1,"bytes_out":2}]}"#;
        let streams = Streams::read(text).unwrap();
        assert_eq!(streams.streams[0].provider, "o?[2J");
        assert_eq!(streams.streams[0].path.as_deref(), Some("/a?b"));
        for bad in ["", "{}", "[]", "{\"in_flight\":-1}", "<html>"] {
            assert!(Streams::read(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_two_scrapes_make_bad_figures(
            a in 0..5000_u32, b in 0..5000_u32, seconds in -1.0..1e6_f64, time in -1e9..1e12_f64,
        ) {
            let (before, now) = (snapshot(1, a), snapshot(1, b));
            let figures = Figures::between(Some((&before, seconds)), &now, time);
            let rates = figures.providers[0].rates.as_ref().unwrap();
            prop_assert!(rates.requests_per_second >= 0.0 && rates.requests_per_second.is_finite());
            prop_assert!(figures.uptime_seconds >= 0.0);
        }

        #[test]
        fn any_text_may_come_as_a_list(text in "\\PC*") {
            let _ = Streams::read(&text);
        }
    }
}
