//! What the operator is told of instances.

use crate::config::Provider;
use crate::log::{Log, Value};
use crate::net::core::Core;
use crate::policy::gateway::Gateway;
use crate::providers::group::Change;

/// Tells the operator of an instance that leaves or returns.
pub(crate) fn tell(
    core: &Core,
    gateway: &Gateway,
    (provider, instance): (usize, usize),
    change: Option<Change>,
) {
    let Some(change) = change else { return };
    if let Some(provider) = gateway.config.providers.get(provider) {
        say(&core.log, provider, instance, change);
    }
}

/// Tells the operator that an instance gets no requests for a time, or gets them again.
fn say(log: &Log, provider: &Provider, instance: usize, change: Change) {
    let base = &provider.instance(instance).base;
    let fields = [
        ("provider", Value::Text(&provider.name)),
        ("instance", Value::Number(instance as u64 + 1)),
        ("base_url", Value::Text(base)),
    ];
    match change {
        Change::Ejected { time } => {
            let [provider, instance, base] = fields;
            let out = ("out_s", Value::Number(time.as_secs()));
            let what = "an instance failed too often and is left out";
            log.warn(what, &[provider, instance, base, out]);
        }
        Change::Down => log.warn("an instance fails its probes and is left out", &fields),
        Change::Returned => log.info("an instance serves again", &fields),
    }
}
