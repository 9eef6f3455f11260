//! Which instance a request goes to, where a provider has several.

use crate::config::Provider;
use crate::log::{Log, Value};
use crate::net::core::Core;
use crate::policy::error::Fault;
use crate::policy::forward::Forward;
use crate::policy::gateway::Gateway;
use crate::providers::group::{Change, Tried, UnderWay};
use crate::providers::{Session, micros};
use crate::system::time::monotonic_nanos;

/// Where a request goes, of several instances.
pub(super) struct Place {
    /// It counts there until this is dropped.
    pub(super) under_way: UnderWay,
    /// Those that could not be reached.
    pub(super) tried: Tried,
    pub(super) session: Session,
}

impl Place {
    /// The first one; nothing where there is nothing to choose.
    pub(super) fn choose(
        core: &Core,
        gateway: &Gateway,
        forward: &Forward<'_>,
    ) -> Result<Option<Self>, Fault> {
        let Some(group) = gateway.choices.group(forward.provider) else {
            return Ok(None);
        };
        let (tried, session) = (Tried::default(), forward.session);
        let now = micros(monotonic_nanos());
        let under_way = group.choose(session.0, tried, core.ids.random(), now);
        let under_way = under_way.ok_or(Fault::NoInstance)?;
        Ok(Some(Self {
            under_way,
            tried,
            session,
        }))
    }

    /// Its index.
    pub(super) fn instance(&self) -> u8 {
        // There are no more than 64.
        self.under_way.index().try_into().unwrap_or_default()
    }
}

/// Tells the operator of an instance that leaves or returns.
pub(super) fn tell(
    core: &Core,
    gateway: &Gateway,
    (provider, instance): (usize, u8),
    change: Option<Change>,
) {
    let Some(change) = change else { return };
    if let Some(provider) = gateway.config.providers.get(provider) {
        say(&core.log, provider, instance, change);
    }
}

/// Tells the operator that an instance gets no requests for a time, or gets them again.
fn say(log: &Log, provider: &Provider, instance: u8, change: Change) {
    let base = &provider.instance(instance.into()).base;
    let fields = [
        ("provider", Value::Text(&provider.name)),
        ("instance", Value::Number(u64::from(instance) + 1)),
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
