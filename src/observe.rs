//! What operators see of the traffic: counters, one access-log record per request. Pure.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// One worker's counters. Only that worker writes them; whoever answers a scrape adds them up.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests under way.
    pub in_flight: AtomicUsize,
    /// Client connections that are open.
    pub open: AtomicUsize,
    /// Answers by the first digit of their status.
    answers: [AtomicU64; 6],
    /// Content received from clients.
    pub request_bytes: AtomicU64,
    /// Content sent to clients.
    pub response_bytes: AtomicU64,
    /// Connections made to providers.
    pub upstream_connects: AtomicU64,
    /// Requests sent on a connection that had carried one before.
    pub upstream_reuses: AtomicU64,
    /// Requests whose connection was made ahead of them.
    pub warm_hits: AtomicU64,
    /// Requests that had to wait for a connection although some are made ahead.
    pub warm_misses: AtomicU64,
    /// Connections made ahead that no request took.
    pub warm_retired: AtomicU64,
    /// Requests sent again on a fresh connection.
    pub upstream_retries: AtomicU64,
    /// Clients that left before their answer was whole.
    pub clients_gone: AtomicU64,
    /// Answers that broke off.
    pub truncations: AtomicU64,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Tasks that panicked.
    pub panics: AtomicU64,
}

/// Adds to a counter that has one writer.
pub fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counters {
    /// Counts an answer.
    pub fn answered(&self, status: u16) {
        if let Some(class) = self.answers.get(usize::from(status / 100)) {
            add(class, 1);
        }
    }
}

/// The counters of all workers as Prometheus text (exposition format 0.0.4).
#[must_use]
pub fn prometheus<'a>(workers: impl Iterator<Item = &'a Counters> + Clone) -> String {
    let mut out = String::new();
    let version = crate::VERSION;
    let _ = write!(
        out,
        "# HELP sluicegate_build_info The version that runs.\n# TYPE sluicegate_build_info gauge\n\
         sluicegate_build_info{{version=\"{version}\"}} 1\n\
         # HELP sluicegate_requests_in_flight Requests under way.\n\
         # TYPE sluicegate_requests_in_flight gauge\n\
         sluicegate_requests_in_flight {}\n\
         # HELP sluicegate_client_connections_open Client connections that are open.\n\
         # TYPE sluicegate_client_connections_open gauge\n\
         sluicegate_client_connections_open {}\n\
         # HELP sluicegate_responses_total Answers to clients by status class.\n\
         # TYPE sluicegate_responses_total counter\n",
        workers
            .clone()
            .map(|worker| worker.in_flight.load(Ordering::Relaxed))
            .sum::<usize>(),
        workers
            .clone()
            .map(|worker| worker.open.load(Ordering::Relaxed))
            .sum::<usize>()
    );
    for class in 1..6 {
        let sum: u64 = workers
            .clone()
            .filter_map(|worker| worker.answers.get(class))
            .map(|count| count.load(Ordering::Relaxed))
            .sum();
        let _ = writeln!(
            out,
            "sluicegate_responses_total{{class=\"{class}xx\"}} {sum}"
        );
    }
    for (name, help, get) in COUNTERS {
        let sum: u64 = workers
            .clone()
            .map(|worker| get(worker).load(Ordering::Relaxed))
            .sum();
        let _ = write!(
            out,
            "# HELP sluicegate_{name} {help}\n# TYPE sluicegate_{name} counter\nsluicegate_{name} {sum}\n"
        );
    }
    out
}

type Get = fn(&Counters) -> &AtomicU64;

const COUNTERS: [(&str, &str, Get); 12] = [
    (
        "request_body_bytes_total",
        "Content received from clients.",
        |c| &c.request_bytes,
    ),
    (
        "response_body_bytes_total",
        "Content sent to clients.",
        |c| &c.response_bytes,
    ),
    (
        "upstream_connects_total",
        "Connections made to providers.",
        |c| &c.upstream_connects,
    ),
    (
        "upstream_reuses_total",
        "Requests on a reused connection.",
        |c| &c.upstream_reuses,
    ),
    (
        "upstream_warm_hits_total",
        "Requests that found a connection made ahead of them.",
        |c| &c.warm_hits,
    ),
    (
        "upstream_warm_misses_total",
        "Requests that found none although some are made ahead.",
        |c| &c.warm_misses,
    ),
    (
        "upstream_warm_retired_total",
        "Connections made ahead that no request took.",
        |c| &c.warm_retired,
    ),
    ("upstream_retries_total", "Requests sent again.", |c| {
        &c.upstream_retries
    }),
    ("clients_gone_total", "Clients that left early.", |c| {
        &c.clients_gone
    }),
    (
        "truncated_responses_total",
        "Answers that broke off.",
        |c| &c.truncations,
    ),
    ("client_connections_total", "Connections accepted.", |c| {
        &c.connections
    }),
    ("panics_total", "Connection tasks that panicked.", |c| {
        &c.panics
    }),
];

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The answer is whole.
    Complete,
    /// The answer broke off.
    Truncated,
    /// The client left first.
    ClientGone,
}

impl Ending {
    /// The word in log lines.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Truncated => "truncated",
            Self::ClientGone => "client_gone",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_added_up() {
        let workers = [Counters::default(), Counters::default()];
        for worker in &workers {
            worker.answered(200);
            worker.answered(999);
            add(&worker.request_bytes, 5);
        }
        let text = prometheus(workers.iter());
        assert!(
            text.contains("sluicegate_responses_total{class=\"2xx\"} 2\n"),
            "{text}"
        );
        assert!(
            text.contains("sluicegate_request_body_bytes_total 10\n"),
            "{text}"
        );
        assert!(
            text.lines()
                .all(|line| line.starts_with('#') || line.split(' ').count() == 2)
        );
    }
}
