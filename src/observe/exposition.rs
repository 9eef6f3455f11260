//! All figures as Prometheus text (exposition format 0.0.4). What
//! every provider has is listed in `families`, the rest is here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::counters::{Counters, ProviderCounters, Refused, SLOTS_MAX};
use super::exports::{Exports, Outcome, Signal};
use super::families::{AGES, Measure, TIMINGS, TURN, UPSTREAMS};
use super::histogram::Merged;
use super::reloads::Reloads;
use super::shares::{self, Shares};
use super::slots::Slots;
use super::text::{Exposition, Family, Figure};
use super::{Ending, Method, Phase};

/// What the system says of the process; a figure that cannot be had is left out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    /// Descriptors in use.
    pub open_fds: Option<u64>,
    /// Descriptors allowed.
    pub max_fds: Option<u64>,
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
    /// Memory mapped.
    pub virtual_bytes: Option<u64>,
    /// Processor time of all threads.
    pub cpu_seconds: Option<f64>,
    /// Seconds since 1970.
    pub start_seconds: Option<f64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// When a certificate ends that the gateway shows to others.
#[derive(Clone, Debug)]
pub(crate) struct Expiry {
    /// Which provider it is shown to; `None` for that of clients.
    pub provider: Option<String>,
    /// Seconds since 1970.
    pub seconds: u64,
}

/// What a scrape is answered from.
pub(crate) struct Scrape<'a> {
    /// Of the workers that serve clients.
    pub workers: &'a [Counters],
    /// Names of the providers.
    pub slots: &'a Slots,
    /// Names of the keys.
    pub keys: &'a Slots,
    /// How the last reload went.
    pub reloads: &'a Reloads,
    /// When certificates end.
    pub expiries: &'a [Expiry],
    /// The process.
    pub process: Process,
    /// What is chosen from on the providers' side.
    pub shares: Shares<'a>,
    /// What became of spans and metrics for a collector.
    pub exports: &'a Exports,
    /// The time since boot.
    pub now: Duration,
    /// Log lines that could not be written.
    pub log_lines_lost: u64,
    /// Those of them that made room for lines of admitted requests.
    pub log_lines_shed: u64,
}

impl Scrape<'_> {
    /// The whole text.
    #[must_use]
    pub(crate) fn text(&self) -> String {
        let mut out = Exposition::Text(String::with_capacity(16 * 1024));
        self.list(&mut out);
        match out {
            Exposition::Text(text) => text,
            Exposition::Figures(_) => String::new(),
        }
    }

    /// What the text says, as figures.
    #[must_use]
    pub(crate) fn figures(&self) -> Vec<Family> {
        let mut out = Exposition::Figures(Vec::new());
        self.list(&mut out);
        match out {
            Exposition::Figures(families) => families,
            Exposition::Text(_) => Vec::new(),
        }
    }

    fn list(&self, out: &mut Exposition) {
        self.build_and_process(out);
        self.last_reload(out);
        self.certificates(out);
        self.clients(out);
        self.exports(out);
        let providers = self.providers();
        self.keys(out);
        self.errors(out, &providers);
        requests(out, &providers);
        self.upstreams(out, &providers);
        shares::write(self.shares, out);
        for timing in &TIMINGS {
            timings(out, timing, &providers);
        }
    }

    /// Every slot in use, with what each worker knows of it.
    fn providers(&self) -> Vec<Provider<'_>> {
        let of = |slot| Provider {
            name: self.slots.name(slot),
            workers: self.workers.iter().filter_map(|w| w.known(slot)).collect(),
        };
        let slots = (0..SLOTS_MAX).map(of);
        slots
            .filter(|provider| !provider.workers.is_empty())
            .collect()
    }

    fn build_and_process(&self, out: &mut Exposition) {
        out.family("sluicegate_build_info", "gauge", "The version that runs.");
        out.sample(
            "sluicegate_build_info",
            &[("version", crate::base::VERSION)],
            1_u64,
        );
        let p = &self.process;
        let int = |n: Option<u64>| n.map(Figure::Whole);
        let float = |n: Option<f64>| n.map(Figure::Real);
        for (name, kind, help, value) in [
            (
                "process_open_fds",
                "gauge",
                "Number of open file descriptors.",
                int(p.open_fds),
            ),
            (
                "process_max_fds",
                "gauge",
                "Maximum number of open file descriptors.",
                int(p.max_fds),
            ),
            (
                "process_resident_memory_bytes",
                "gauge",
                "Resident memory size in bytes.",
                int(p.resident_bytes),
            ),
            (
                "process_virtual_memory_bytes",
                "gauge",
                "Virtual memory size in bytes.",
                int(p.virtual_bytes),
            ),
            (
                "process_cpu_seconds_total",
                "counter",
                "Total user and system CPU time spent in seconds.",
                float(p.cpu_seconds),
            ),
            (
                "process_start_time_seconds",
                "gauge",
                "Start time of the process since unix epoch in seconds.",
                float(p.start_seconds),
            ),
            (
                "process_threads",
                "gauge",
                "Number of threads.",
                int(p.threads),
            ),
        ] {
            if let Some(value) = value {
                out.family(name, kind, help);
                out.sample(name, &[], value);
            }
        }
    }

    fn certificates(&self, out: &mut Exposition) {
        if self.expiries.is_empty() {
            return;
        }
        let name = "sluicegate_certificate_expiry_seconds";
        let help = "When certificates that are shown to clients (server) or to a provider (client) end, in seconds \
                    since unix epoch.";
        out.family(name, "gauge", help);
        for expiry in self.expiries {
            match &expiry.provider {
                None => out.sample(name, &[("use", "server")], expiry.seconds),
                Some(provider) => {
                    let labels = [("use", "client"), ("provider", provider)];
                    out.sample(name, &labels, expiry.seconds);
                }
            }
        }
    }

    fn clients(&self, out: &mut Exposition) {
        let sum = |get: fn(&Counters) -> u64| self.workers.iter().map(get).sum::<u64>();
        for (name, kind, help, value) in [
            (
                "requests_in_flight",
                "gauge",
                "Requests under way.",
                sum(in_flight),
            ),
            (
                "client_connections_open",
                "gauge",
                "Client connections that are open.",
                sum(open),
            ),
            (
                "client_connections_total",
                "counter",
                "Client connections accepted.",
                sum(|c| load(&c.connections)),
            ),
            (
                "client_tls_failures_total",
                "counter",
                "TLS handshakes with clients that came to nothing, HTTP without TLS included.",
                sum(|c| load(&c.tls_failures)),
            ),
            (
                "panics_total",
                "counter",
                "Connection tasks that panicked.",
                sum(|c| load(&c.panics)),
            ),
            (
                "upstream_warm_hits_total",
                "counter",
                "Requests that found a connection made ahead of them.",
                sum(|c| load(&c.warm_hits)),
            ),
            (
                "upstream_warm_misses_total",
                "counter",
                "Requests that found none although some are made ahead.",
                sum(|c| load(&c.warm_misses)),
            ),
            (
                "upstream_warm_retired_total",
                "counter",
                "Connections made ahead that no request took.",
                sum(|c| load(&c.warm_retired)),
            ),
            (
                "upstream_addresses_shunned_total",
                "counter",
                "Addresses that did not answer where another did, tried last for a minute from then on.",
                sum(|c| load(&c.addresses_shunned)),
            ),
        ] {
            let name = format!("sluicegate_{name}");
            out.family(&name, kind, help);
            out.sample(&name, &[], value);
        }
        self.log_lines(out);
        self.refusals(out);
        self.each_worker(out, "requests_in_flight", "Requests under way.", in_flight);
        let help = "Client connections that are open.";
        self.each_worker(out, "client_connections_open", help, open);
        self.turns(out);
    }

    fn exports(&self, out: &mut Exposition) {
        let Some(figures) = self.exports.figures() else {
            return;
        };
        for (name, help, value) in [
            (
                "sluicegate_otlp_spans_sent_total",
                "Spans that the collector has taken.",
                figures.spans_sent,
            ),
            (
                "sluicegate_otlp_spans_dropped_total",
                "Spans that the collector was too slow for, or has refused.",
                figures.spans_dropped,
            ),
        ] {
            out.family(name, "counter", help);
            out.sample(name, &[], value);
        }
        let name = "sluicegate_otlp_exports_total";
        let help = "Messages to the collector, by what came of them; failed ones are sent again.";
        out.family(name, "counter", help);
        for (signal, of_signal) in Signal::ALL.into_iter().zip(figures.attempts) {
            for (outcome, count) in Outcome::ALL.into_iter().zip(of_signal) {
                let labels = [("signal", signal.as_str()), ("result", outcome.as_str())];
                out.sample(name, &labels, count);
            }
        }
    }

    fn keys(&self, out: &mut Exposition) {
        let name = "sluicegate_key_requests_total";
        let help = "Requests that have ended, by the id of their gateway key; those beyond the first 254 together.";
        out.family(name, "counter", help);
        for slot in 1..SLOTS_MAX {
            let counts = self.workers.iter().map(|worker| worker.of_key(slot));
            let sum = counts.sum::<u64>();
            if sum > 0 {
                out.sample(name, &[("key", self.keys.name(slot))], sum);
            }
        }
    }

    fn last_reload(&self, out: &mut Exposition) {
        let (succeeded, seconds) = self.reloads.last();
        for (name, help, value) in [
            (
                "sluicegate_config_last_reload_successful",
                "Whether the last reload put a new configuration in force (1) or found it broken (0).",
                u64::from(succeeded),
            ),
            (
                "sluicegate_config_last_reload_success_timestamp_seconds",
                "When the configuration in force was put there, in seconds since unix epoch.",
                seconds,
            ),
        ] {
            out.family(name, "gauge", help);
            out.sample(name, &[], value);
        }
    }

    fn turns(&self, out: &mut Exposition) {
        let name = "sluicegate_worker_turn_seconds";
        let help = "Turns of the workers' loops that served requests: from a look at the sockets to the next, or to sleep.";
        out.family(name, "histogram", help);
        for (index, worker) in self.workers.iter().enumerate() {
            let mut turns = Merged::default();
            turns.add(&worker.turns);
            if turns.count() > 0 {
                let labels = [("worker", &*index.to_string())];
                out.histogram(name, &labels, &turns, &TURN);
            }
        }
    }

    fn log_lines(&self, out: &mut Exposition) {
        for (name, help, value) in [
            (
                "sluicegate_log_lines_lost_total",
                "Log lines that were dropped or could not be written.",
                self.log_lines_lost,
            ),
            (
                "sluicegate_log_lines_shed_total",
                "Those of them about requests answered by the gateway itself that made room for others.",
                self.log_lines_shed,
            ),
        ] {
            out.family(name, "counter", help);
            out.sample(name, &[], value);
        }
    }

    fn refusals(&self, out: &mut Exposition) {
        let name = "sluicegate_client_connections_refused_total";
        let help = "Client connections turned away, by the limit that they were beyond.";
        out.family(name, "counter", help);
        for why in Refused::ALL {
            let counters = self.workers.iter();
            let counters = counters.filter_map(|worker| worker.refused.get(why as usize));
            let labels = [("limit", why.as_str())];
            out.sample(name, &labels, counters.map(load).sum::<u64>());
        }
        let name = "sluicegate_wrong_key_answers_delayed_total";
        let help = "Answers to wrong keys that were held back.";
        out.family(name, "counter", help);
        let counters = self.workers.iter();
        let sum = counters.map(|worker| load(&worker.held_back)).sum::<u64>();
        out.sample(name, &[], sum);
    }

    fn each_worker(&self, out: &mut Exposition, name: &str, help: &str, get: fn(&Counters) -> u64) {
        let name = format!("sluicegate_worker_{name}");
        out.family(&name, "gauge", help);
        for (index, worker) in self.workers.iter().enumerate() {
            out.sample(&name, &[("worker", &index.to_string())], get(worker));
        }
    }

    fn errors(&self, out: &mut Exposition, providers: &[Provider<'_>]) {
        let name = "sluicegate_gateway_errors_total";
        out.family(
            name,
            "counter",
            "Answers that the gateway made itself, by the error's code.",
        );
        for (code, sum) in by_code(self.workers.iter().flat_map(Counters::errors)) {
            out.sample(name, &[("code", code)], sum);
        }
        let name = "sluicegate_provider_errors_total";
        let help = "Those of them to requests for a provider.";
        out.family(name, "counter", help);
        for provider in providers {
            let errors = provider.workers.iter().flat_map(|worker| worker.errors());
            for (code, sum) in by_code(errors) {
                out.sample(name, &[("provider", provider.name), ("code", code)], sum);
            }
        }
    }

    fn upstreams(&self, out: &mut Exposition, providers: &[Provider<'_>]) {
        // The first is no provider.
        let providers: Vec<&Provider<'_>> = providers
            .iter()
            .filter(|provider| provider.name != self.slots.name(0))
            .collect();
        for (name, kind, help, label, series) in UPSTREAMS {
            let name = format!("sluicegate_{name}");
            out.family(&name, kind, help);
            for provider in &providers {
                for (value, get) in series {
                    let labels = [("provider", provider.name), (label, value)];
                    let labels = if label.is_empty() {
                        &labels[..1]
                    } else {
                        &labels[..]
                    };
                    out.sample(&name, labels, provider.sum(get));
                }
            }
        }
        for (name, help, get) in AGES {
            out.family(name, "gauge", help);
            for provider in &providers {
                let times = provider.workers.iter().filter_map(|worker| get(worker));
                if let Some(oldest) = times.min() {
                    let age = self.now.saturating_sub(oldest).as_secs_f64();
                    out.sample(name, &[("provider", provider.name)], age);
                }
            }
        }
    }
}

/// Added up.
fn by_code<'a>(errors: impl Iterator<Item = (&'a str, u64)>) -> Vec<(&'a str, u64)> {
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for (code, count) in errors {
        match sums.iter_mut().find(|(known, _)| *known == code) {
            Some((_, sum)) => *sum += count,
            None => sums.push((code, count)),
        }
    }
    sums
}

struct Provider<'a> {
    name: &'a str,
    workers: Vec<&'a ProviderCounters>,
}

impl Provider<'_> {
    fn sum(&self, get: impl Fn(&ProviderCounters) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| load(get(worker))).sum()
    }

    fn sum_at<const N: usize>(
        &self,
        get: fn(&ProviderCounters) -> &[AtomicU64; N],
        at: usize,
    ) -> u64 {
        let counters = self.workers.iter().filter_map(|worker| get(worker).get(at));
        counters.map(load).sum()
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn in_flight(counters: &Counters) -> u64 {
    counters.in_flight.load(Ordering::Relaxed) as u64
}

fn open(counters: &Counters) -> u64 {
    counters.open.load(Ordering::Relaxed) as u64
}

fn requests(out: &mut Exposition, providers: &[Provider<'_>]) {
    let name = "sluicegate_requests_total";
    out.family(
        name,
        "counter",
        "Requests that have ended, by the status of their answer.",
    );
    for provider in providers {
        for method in Method::ALL {
            by_class(out, name, provider, method);
        }
    }
    let name = "sluicegate_request_body_bytes_total";
    out.family(name, "counter", "Content received from clients, as framed.");
    for provider in providers {
        let sum = provider.sum(|c| &c.request_bytes);
        out.sample(name, &[("provider", provider.name)], sum);
    }
    let name = "sluicegate_clients_gone_total";
    out.family(
        name,
        "counter",
        "Clients that left before their answer was whole.",
    );
    for provider in providers {
        for phase in Phase::ALL {
            let labels = [("provider", provider.name), ("phase", phase.as_str())];
            out.sample(name, &labels, provider.sum_at(|c| &c.gone, phase as usize));
        }
    }
    let name = "sluicegate_truncated_responses_total";
    out.family(
        name,
        "counter",
        "Answers that broke off, by what broke them.",
    );
    for provider in providers {
        for ending in Ending::ALL.into_iter().filter(|ending| ending.is_broken()) {
            let labels = [("provider", provider.name), ("reason", ending.as_str())];
            out.sample(
                name,
                &labels,
                provider.sum_at(|c| &c.broken, ending as usize),
            );
        }
    }
}

/// All classes of a method that was seen, so that rates have something to begin from.
fn by_class(out: &mut Exposition, name: &str, provider: &Provider<'_>, method: Method) {
    const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let sums = CLASSES.map(|class| {
        let at = CLASSES.iter().position(|known| *known == class);
        let of_method = provider
            .workers
            .iter()
            .filter_map(|w| w.requests.get(method as usize));
        of_method
            .filter_map(|classes| classes.get(at?))
            .map(load)
            .sum::<u64>()
    });
    if sums.iter().all(|sum| *sum == 0) {
        return;
    }
    for (class, sum) in CLASSES.into_iter().zip(sums) {
        let labels = [
            ("provider", provider.name),
            ("method", method.as_str()),
            ("class", class),
        ];
        out.sample(name, &labels, sum);
    }
}

fn timings(out: &mut Exposition, measure: &Measure, providers: &[Provider<'_>]) {
    let name = format!("sluicegate_{}", measure.name);
    out.family(&name, "histogram", measure.help);
    for provider in providers {
        for (value, timing) in measure.of {
            let mut merged = Merged::default();
            for histogram in provider.workers.iter().filter_map(|w| w.timing(*timing)) {
                merged.add(histogram);
            }
            if merged.count() > 0 {
                let labels = [("provider", provider.name), (measure.label, value)];
                let labels = if value.is_empty() {
                    &labels[..1]
                } else {
                    &labels[..]
                };
                out.histogram(&name, labels, &merged, &measure.scale);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_writer::add;
    use super::super::times::Timing;
    use super::*;
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use crate::providers::group::{Balance, Listed};
    use crate::providers::{Choices, Offer};

    #[test]
    fn workers_are_added_up_under_their_providers_names() {
        let workers = [Counters::default(), Counters::default()];
        let slots = Slots::default().next(["one", "two"].into_iter());
        for worker in &workers {
            let provider = worker.provider(slots.of(1));
            add(&provider.reuses, 2);
            provider.observe(Timing::Response, Duration::from_micros(5));
            provider.has_known_since(None);
            worker.error("missing_key");
        }
        let offer = Offer {
            name: "three",
            keys: vec![[0xab; 32], [0xcd; 32]],
            balance: Balance::First,
            is_probed: false,
            limits: None,
            labels: vec!["1".to_owned(), "2-10.0.0.7".to_owned()],
            names: vec![("vllm.example".to_owned(), Arc::default())],
            instances: [7, 8]
                .map(|identity| Listed {
                    identity,
                    weight: 1,
                    limit: NonZeroU32::new(9).filter(|_| identity == 8),
                })
                .into(),
        };
        let choices = Choices::new([offer].into_iter(), None, 0);
        for (worker, made) in workers.iter().zip([90, 70]) {
            let provider = worker.provider(slots.of(1));
            provider.has_kept_since(Some(Duration::from_secs(made)));
        }
        let text = Scrape {
            workers: &workers,
            slots: &slots,
            keys: &Slots::default(),
            reloads: &Reloads::default(),
            expiries: &[],
            process: Process::default(),
            shares: Shares {
                choices: &choices,
                now: 0,
            },
            exports: &Exports::default(),
            now: Duration::from_millis(100_500),
            log_lines_lost: 3,
            log_lines_shed: 2,
        }
        .text();
        for line in [
            "sluicegate_upstream_reuses_total{provider=\"two\"} 4",
            "sluicegate_gateway_errors_total{code=\"missing_key\"} 2",
            "sluicegate_response_overhead_seconds_bucket{provider=\"two\",le=\"0.000004096\"} 0",
            "sluicegate_response_overhead_seconds_bucket{provider=\"two\",le=\"0.000008192\"} 2",
            "sluicegate_response_overhead_seconds_count{provider=\"two\"} 2",
            "sluicegate_worker_requests_in_flight{worker=\"1\"} 0",
            "sluicegate_upstream_idle_oldest_seconds{provider=\"two\"} 30.5",
            "sluicegate_log_lines_lost_total 3",
            "sluicegate_log_lines_shed_total 2",
            "sluicegate_upstream_instance_state{provider=\"three\",instance=\"2-10.0.0.7\"} 1",
            "sluicegate_upstream_instance_limit{provider=\"three\",instance=\"2-10.0.0.7\"} 9",
            "sluicegate_upstream_name_answers_total{provider=\"three\",name=\"vllm.example\",answer=\"same\"} 0",
            "sluicegate_upstream_key_limited_total{provider=\"three\",key=\"2-cdcdcdcd\"} 0",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "no {line} in {text}"
            );
        }
        assert!(!text.contains("provider=\"one\""), "{text}");
        assert_eq!(text.matches("_instance_limit{").count(), 1);
        assert!(!text.contains("addresses_age_seconds{"), "{text}");
    }
}
