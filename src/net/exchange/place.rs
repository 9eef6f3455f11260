//! Which instance a request goes to, where a provider has several.

use crate::net::core::Core;
use crate::policy::error::Fault;
use crate::policy::gateway::Gateway;
use crate::providers::group::{Tried, UnderWay};
use crate::providers::{Session, micros};
use crate::system::time::monotonic_nanos;

/// Where a request goes, of several instances.
pub(super) struct Place {
    /// It counts there until this is dropped.
    pub(super) under_way: UnderWay,
    /// Those that could not be reached.
    pub(super) tried: Tried,
}

impl Place {
    /// The first one; nothing where there is nothing to choose.
    pub(super) fn choose(
        core: &Core,
        gateway: &Gateway,
        provider: usize,
        session: Session,
    ) -> Result<Option<Self>, Fault> {
        let Some(group) = gateway.choices.group(provider) else {
            return Ok(None);
        };
        let tried = Tried::default();
        let now = micros(monotonic_nanos());
        let under_way = group.choose(session.0, tried, core.ids.random(), now);
        let under_way = under_way.ok_or(Fault::NoInstance)?;
        Ok(Some(Self { under_way, tried }))
    }

    /// Its index.
    pub(super) fn instance(&self) -> u8 {
        let index = u8::try_from(self.under_way.index());
        debug_assert!(index.is_ok(), "there are no more than 64");
        index.unwrap_or_default()
    }
}
