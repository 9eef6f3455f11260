//! What is chosen from on the providers' side, as Prometheus text: how several keys and instances stand. Keys are named
//! by their place and the first digits of their digest, never shown.

use crate::providers::group::{Health, InstanceState};
use crate::providers::{Choices, Standing};

use super::text::Exposition;

/// What there is to choose from, and the time by which it rests, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares<'a> {
    pub choices: &'a Choices,
    pub now: u64,
}

/// Name, type, help, and how it is read of what is chosen from.
type Family<T> = (&'static str, &'static str, &'static str, fn(&T) -> f64);

/// What is known of each key. So many requests are counted in a double to the last one for longer than anybody lives.
#[expect(clippy::cast_precision_loss, reason = "see above")]
const KEYS: [Family<Standing>; 4] = [
    (
        "sluicegate_upstream_key_requests_total",
        "counter",
        "Requests sent with each of a provider's keys, where it has several.",
        |key| key.requests as f64,
    ),
    (
        "sluicegate_upstream_key_limited_total",
        "counter",
        "Answers that said its limit is reached (429, 529).",
        |key| key.limited as f64,
    ),
    (
        "sluicegate_upstream_key_refused_total",
        "counter",
        "Answers that refused it (401, 403).",
        |key| key.refused as f64,
    ),
    (
        "sluicegate_upstream_key_rest_seconds",
        "gauge",
        "For how long it still rests; 0 where it is in use.",
        |key| key.rests.as_secs_f64(),
    ),
];

/// What is known of each instance.
#[expect(clippy::cast_precision_loss, reason = "see above")]
const INSTANCES: [Family<InstanceState>; 5] = [
    (
        "sluicegate_upstream_instance_requests_total",
        "counter",
        "Requests that each of a provider's instances was chosen for, where it has several.",
        |instance| instance.chosen as f64,
    ),
    (
        "sluicegate_upstream_instance_failures_total",
        "counter",
        "Those that failed there: not reached, broken off, too late, 502 to 504.",
        |instance| instance.failed as f64,
    ),
    (
        "sluicegate_upstream_instance_requests_in_flight",
        "gauge",
        "Requests under way there.",
        |instance| instance.under_way.into(),
    ),
    (
        "sluicegate_upstream_instance_state",
        "gauge",
        "1 where it serves, less while it comes back, 0 where it is out or drains.",
        serving,
    ),
    (
        "sluicegate_upstream_instance_drained",
        "gauge",
        "1 where an operator's word has it get nothing new, else 0.",
        |instance| instance.draining.into(),
    ),
];

fn limits(named: &[(&str, String, InstanceState)], out: &mut Exposition) {
    let name = "sluicegate_upstream_instance_limit";
    let limited = named.iter();
    let limited = limited.filter_map(|(provider, own, one)| Some((*provider, own, one.limit?)));
    for (nth, (provider, own, limit)) in limited.enumerate() {
        if nth == 0 {
            let help = "Requests that may be under way there at once, where that is limited.";
            out.family(name, "gauge", help);
        }
        out.sample(name, &[("provider", provider), ("instance", own)], limit);
    }
}

fn serving(instance: &InstanceState) -> f64 {
    match instance.health {
        _ if instance.draining => 0.0,
        Health::Well => 1.0,
        Health::SlowStart(thousandths) => f64::from(thousandths) / 1000.0,
        Health::Ejected(_) | Health::Due | Health::Trial | Health::Down => 0.0,
    }
}

/// Writes all of it; nothing where no provider has several of either.
pub(super) fn write(shares: Shares<'_>, out: &mut Exposition) {
    keys(shares, out);
    instances(shares, out);
    names(shares, out);
    queues(shares, out);
}

fn queues(shares: Shares<'_>, out: &mut Exposition) {
    let mut queues = shares.choices.queues().peekable();
    if queues.peek().is_none() {
        return;
    }
    let name = "sluicegate_upstream_queue_requests";
    let help =
        "Requests of providers with a limit (concurrency): admitted, and waiting for their turn.";
    out.family(name, "gauge", help);
    for (provider, queue) in queues {
        let state = queue.state();
        for (word, count) in [("admitted", state.held), ("waiting", state.waiting)] {
            out.sample(name, &[("provider", provider), ("state", word)], count);
        }
    }
}

fn names(shares: Shares<'_>, out: &mut Exposition) {
    let mut names = shares.choices.names().peekable();
    if names.peek().is_none() {
        return;
    }
    let family = "sluicegate_upstream_name_answers_total";
    let help = "Answers to questions for the addresses of a name that stands for many instances (resolve), by whether they \
                changed them.";
    out.family(family, "counter", help);
    for (provider, name, answers) in names {
        for (word, count) in answers.counts() {
            let labels = [("provider", provider), ("name", name), ("answer", word)];
            out.sample(family, &labels, count);
        }
    }
}

fn instances(shares: Shares<'_>, out: &mut Exposition) {
    let instances = shares.choices.states(shares.now);
    let named = instances.map(|(provider, label, state)| (provider, label.to_owned(), state));
    let named: Vec<_> = named.collect();
    families(&INSTANCES, "instance", &named, out);
    limits(&named, out);
}

fn keys(shares: Shares<'_>, out: &mut Exposition) {
    let keys = shares.choices.standings(shares.now);
    let named = keys.map(|(provider, number, key)| {
        let name = format!("{number}-{:08x}", key.id);
        (provider, name, key)
    });
    families(&KEYS, "key", &named.collect::<Vec<_>>(), out);
}

/// Each family with a sample for each of them: its provider, its own name under this label, how it stands.
fn families<T>(
    families: &[Family<T>],
    label: &str,
    all: &[(&str, String, T)],
    out: &mut Exposition,
) {
    for (name, kind, help, get) in families.iter().filter(|_| !all.is_empty()) {
        out.family(name, kind, help);
        for (provider, own, one) in all {
            out.sample(name, &[("provider", provider), (label, own)], get(one));
        }
    }
}
