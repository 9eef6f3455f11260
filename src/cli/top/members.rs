//! What several keys and instances of providers do, and who waits for their turn: as a scrape has it, as it is shown.
//! Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::scrape::Sample;
use super::text::{Column, UNKNOWN, micros, table};

/// By provider, and within it instances, keys and the queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Members(BTreeMap<(String, Kind, String), Member>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Instance,
    Key,
    Queue,
}

#[derive(Clone, Debug, Default)]
struct Member {
    requests: f64,
    failures: f64,
    under_way: Option<f64>,
    limit: Option<f64>,
    waiting: f64,
    /// 1 where it serves.
    state: f64,
    /// 1 where an operator's word has it get nothing new.
    drained: f64,
    rest_seconds: f64,
}

/// One of them, as it is shown and as `--json` writes it.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct MemberFigures {
    pub(super) provider: String,
    /// `instance 2`, `key 1-1f3a9c04`, `queue`
    pub(super) member: String,
    /// `serves`, `full`, `out`, `comes back`, `drained`, `rests 12s`, `3 wait`
    pub(super) state: String,
    /// It does what it is there for.
    pub(super) is_well: bool,
    pub(super) under_way: Option<u64>,
    /// How many may be under way at once, where an instance is limited.
    pub(super) limit: Option<u64>,
    pub(super) requests_total: u64,
    /// Failures of an instance; of a key, answers that limited or refused it.
    pub(super) failures_total: u64,
}

impl Members {
    /// Takes a sample that is about them; whether it is.
    pub(super) fn take(&mut self, metric: &str, sample: &Sample<'_>) -> bool {
        let Some(rest) = metric.strip_prefix("upstream_") else {
            return false;
        };
        let (kind, label, what) = if let Some(what) = rest.strip_prefix("instance_") {
            (Kind::Instance, sample.label("instance"), what)
        } else if let Some(what) = rest.strip_prefix("key_") {
            (Kind::Key, sample.label("key"), what)
        } else if rest == "queue_requests" {
            (Kind::Queue, "", sample.label("state"))
        } else {
            return false;
        };
        let of = (sample.label("provider").to_owned(), kind, label.to_owned());
        let member = self.0.entry(of).or_default();
        let count = sample.count();
        match what {
            "requests_total" => member.requests = count,
            "failures_total" | "limited_total" | "refused_total" => member.failures += count,
            "requests_in_flight" | "admitted" => member.under_way = Some(count),
            "limit" => member.limit = Some(count),
            "waiting" => member.waiting = count,
            "state" => member.state = count,
            "drained" => member.drained = count,
            "rest_seconds" => member.rest_seconds = count,
            _ => {}
        }
        true
    }

    /// As they are shown.
    pub(super) fn figures(&self) -> Vec<MemberFigures> {
        let shown = self.0.iter().map(|((provider, kind, label), member)| {
            let (state, is_well) = member.state(*kind);
            MemberFigures {
                provider: provider.clone(),
                member: match kind {
                    Kind::Instance => format!("instance {label}"),
                    Kind::Key => format!("key {label}"),
                    Kind::Queue => "queue".to_owned(),
                },
                state,
                is_well,
                under_way: member.under_way.map(whole),
                limit: member.limit.map(whole),
                requests_total: whole(member.requests),
                failures_total: whole(member.failures),
            }
        });
        shown.collect()
    }
}

impl Member {
    fn state(&self, kind: Kind) -> (String, bool) {
        match kind {
            Kind::Instance if self.drained > 0.0 => ("drained".to_owned(), false),
            Kind::Instance if self.state > 0.0 && self.is_full() => ("full".to_owned(), true),
            Kind::Instance if self.state >= 1.0 => ("serves".to_owned(), true),
            Kind::Instance if self.state > 0.0 => ("comes back".to_owned(), true),
            Kind::Instance => ("out".to_owned(), false),
            Kind::Key if self.rest_seconds > 0.0 => {
                (format!("rests {}", micros(self.rest_seconds * 1e6)), false)
            }
            Kind::Key => ("in use".to_owned(), true),
            Kind::Queue => (format!("{} wait", whole(self.waiting)), self.waiting <= 0.0),
        }
    }
}

impl Member {
    /// As many are under way as may be.
    fn is_full(&self) -> bool {
        self.limit
            .is_some_and(|limit| self.under_way >= Some(limit))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count that is shown; what is none is 0"
)]
fn whole(count: f64) -> u64 {
    count as u64
}

const MEMBER: [Column; 6] = [
    Column::words("PROVIDER", 0),
    Column::words("PART", 0),
    Column::words("STATE", 0),
    Column::number("UNDER WAY", 1),
    Column::number("REQUESTS", 2),
    Column::number("FAILED", 1),
];

/// Their table.
pub(super) fn lines(members: &[MemberFigures], columns: usize) -> Vec<String> {
    let rows = members.iter().map(|member| {
        let under_way = member.under_way.map(|count| match member.limit {
            Some(limit) => format!("{count}/{limit}"),
            None => count.to_string(),
        });
        vec![
            member.provider.clone(),
            member.member.clone(),
            member.state.clone(),
            under_way.unwrap_or_else(|| UNKNOWN.to_owned()),
            member.requests_total.to_string(),
            member.failures_total.to_string(),
        ]
    });
    table(&MEMBER, &rows.collect::<Vec<_>>(), columns)
}

#[cfg(test)]
mod tests {
    use super::super::scrape::samples;
    use super::*;

    #[test]
    fn each_part_says_how_it_is() {
        let text = "\
            sluicegate_upstream_instance_state{provider=\"v\",instance=\"1\"} 1\n\
            sluicegate_upstream_instance_requests_total{provider=\"v\",instance=\"1\"} 7\n\
            sluicegate_upstream_instance_requests_in_flight{provider=\"v\",instance=\"1\"} 2\n\
            sluicegate_upstream_instance_state{provider=\"v\",instance=\"2\"} 0\n\
            sluicegate_upstream_instance_failures_total{provider=\"v\",instance=\"2\"} 3\n\
            sluicegate_upstream_instance_state{provider=\"v\",instance=\"3-10.0.0.7\"} 0.4\n\
            sluicegate_upstream_instance_drained{provider=\"v\",instance=\"3-10.0.0.7\"} 0\n\
            sluicegate_upstream_instance_state{provider=\"v\",instance=\"4\"} 1\n\
            sluicegate_upstream_instance_requests_in_flight{provider=\"v\",instance=\"4\"} 3\n\
            sluicegate_upstream_instance_limit{provider=\"v\",instance=\"4\"} 3\n\
            sluicegate_upstream_instance_state{provider=\"v\",instance=\"5\"} 0\n\
            sluicegate_upstream_instance_requests_in_flight{provider=\"v\",instance=\"5\"} 1\n\
            sluicegate_upstream_instance_limit{provider=\"v\",instance=\"5\"} 1\n\
            sluicegate_upstream_instance_state{provider=\"v\",instance=\"6\"} 0\n\
            sluicegate_upstream_instance_drained{provider=\"v\",instance=\"6\"} 1\n\
            sluicegate_upstream_key_rest_seconds{provider=\"v\",key=\"1-ab\"} 12\n\
            sluicegate_upstream_key_limited_total{provider=\"v\",key=\"1-ab\"} 1\n\
            sluicegate_upstream_key_refused_total{provider=\"v\",key=\"1-ab\"} 2\n\
            sluicegate_upstream_key_rest_seconds{provider=\"v\",key=\"2-cd\"} 0\n\
            sluicegate_upstream_queue_requests{provider=\"v\",state=\"admitted\"} 8\n\
            sluicegate_upstream_queue_requests{provider=\"v\",state=\"waiting\"} 4\n";
        let mut members = Members::default();
        for sample in samples(text) {
            let metric = sample.name.strip_prefix("sluicegate_").unwrap();
            assert!(members.take(metric, &sample), "{metric}");
        }
        let figures = members.figures();
        let lines = lines(&figures, 80);
        let words: Vec<Vec<&str>> = lines
            .iter()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let wanted: [&[&str]; 10] = [
            &[
                "PROVIDER", "PART", "STATE", "UNDER", "WAY", "REQUESTS", "FAILED",
            ],
            &["v", "instance", "1", "serves", "2", "7", "0"],
            &["v", "instance", "2", "out", "-", "0", "3"],
            &[
                "v",
                "instance",
                "3-10.0.0.7",
                "comes",
                "back",
                "-",
                "0",
                "0",
            ],
            &["v", "instance", "4", "full", "3/3", "0", "0"],
            &["v", "instance", "5", "out", "1/1", "0", "0"],
            &["v", "instance", "6", "drained", "-", "0", "0"],
            &["v", "key", "1-ab", "rests", "12s", "-", "0", "3"],
            &["v", "key", "2-cd", "in", "use", "-", "0", "0"],
            &["v", "queue", "4", "wait", "8", "0", "0"],
        ];
        assert_eq!(words, wanted);
        let warned: Vec<_> = figures.iter().map(|member| !member.is_well).collect();
        let wanted = [false, true, false, false, true, true, true, false, true];
        assert_eq!(warned, wanted);
    }
}
