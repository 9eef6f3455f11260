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
    let instance = provider.instance(instance);
    let mut fields = vec![
        ("provider", Value::Text(&provider.name)),
        ("instance", Value::Number(instance.number.into())),
        ("base_url", Value::Text(&instance.base)),
    ];
    let address = instance.address.as_ref();
    fields.extend(address.map(|address| ("address", Value::Text(address))));
    match change {
        Change::Ejected { time } => {
            fields.push(("out_s", Value::Number(time.as_secs())));
            log.warn("an instance failed too often and is left out", &fields);
        }
        Change::Down => log.warn("an instance fails its probes and is left out", &fields),
        Change::Returned => log.info("an instance serves again", &fields),
    }
}
