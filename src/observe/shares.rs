//! What is chosen from on the providers' side, as Prometheus text: how several keys stand. Keys are named by their place
//! and the first digits of their digest, never shown.

use crate::providers::{Choices, Standing};

use super::text::Exposition;

/// What there is to choose from, and the time by which it rests, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares<'a> {
    pub choices: &'a Choices,
    pub now: u64,
}

/// Name, type, help, and how it is read.
type Family = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Standing) -> f64,
);

/// What is known of each key. So many requests are counted in a double to the last one for longer than anybody lives.
#[expect(clippy::cast_precision_loss, reason = "see above")]
const KEYS: [Family; 4] = [
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

/// Writes all of it; nothing where no provider has several keys.
pub(super) fn write(shares: Shares<'_>, out: &mut Exposition) {
    let keys: Vec<_> = shares.choices.standings(shares.now).collect();
    if keys.is_empty() {
        return;
    }
    for (name, kind, help, get) in KEYS {
        out.family(name, kind, help);
        for (provider, number, key) in &keys {
            let label = format!("{number}-{:08x}", key.id);
            out.sample(name, &[("provider", provider), ("key", &label)], get(key));
        }
    }
}
