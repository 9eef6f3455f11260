//! Which instance a request goes to, where a provider has several.

use crate::net::client::side::ClientSide;
use crate::net::client::waiting::{Stand, Turn};
use crate::net::core::Core;
use crate::policy::error::Fault;
use crate::policy::gateway::Gateway;
use crate::providers::group::{Tried, UnderWay};
use crate::providers::queue::Wish;
use crate::providers::{Session, micros};
use crate::system::time::monotonic_nanos;

/// Where a request goes, of several instances.
pub(super) struct Place {
    /// It counts there until this is dropped.
    pub(super) under_way: UnderWay,
    /// Those that could not be reached.
    pub(super) tried: Tried,
}

/// A request that goes nowhere until there is a turn for it, or room at an instance.
pub(super) struct Awaited {
    pub(super) stand: Stand,
    /// Instances that it goes to no more.
    pub(super) tried: Tried,
}

/// Where a request goes that had its turn.
pub(super) enum Found {
    Place(Place),
    /// The others have as many requests as they may.
    Awaits(Awaited),
}

impl Place {
    /// The first one, for a request that nobody is limited for; nothing where there is nothing to choose.
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
        let under_way = group.choose_unlimited(session.0, tried, core.ids.random(), now);
        let under_way = under_way.ok_or(Fault::NoInstance)?;
        Ok(Some(Self { under_way, tried }))
    }

    /// One that is none of `tried`, for a request that had its turn and has no place; where others have to be waited for,
    /// it stands before those whose turn is to come. Nothing where there is nothing to choose.
    ///
    /// # Errors
    /// It goes nowhere now.
    pub(super) fn find(
        connection: &ClientSide,
        gateway: &Gateway,
        provider: usize,
        (session, tried): (Session, Tried),
    ) -> Result<Option<Found>, Fault> {
        let Some(group) = gateway.choices.group(provider) else {
            return Ok(None);
        };
        let random = connection.core().ids.random();
        let place = |under_way| Self { under_way, tried };
        // After a reload others wait there, and it may limit what was not limited before.
        let in_force = connection.core().gateway();
        let named = gateway.config.providers.get(provider);
        let queue = named.and_then(|provider| in_force.choices.queue_of(&provider.name));
        let Some(queue) = queue.or_else(|| gateway.choices.queue(provider)) else {
            let now = micros(monotonic_nanos());
            let under_way = group.choose_unlimited(session.0, tried, random, now);
            let under_way = under_way.ok_or(Fault::NoInstance)?;
            return Ok(Some(Found::Place(place(under_way))));
        };
        let wish = Wish {
            group: group.clone(),
            session: session.0,
            tried,
            random,
        };
        let full = |retry_after| Fault::Queued {
            late: false,
            retry_after,
        };
        match Turn::move_on(queue, &connection.worker.waiting, wish).map_err(full)? {
            Turn::Stands(stand) => Ok(Some(Found::Awaits(Awaited { stand, tried }))),
            Turn::Held(mut held) => {
                let under_way = held.take_seat().ok_or(Fault::NoInstance)?;
                Ok(Some(Found::Place(place(under_way))))
            }
        }
    }

    /// Its index.
    pub(super) fn instance(&self) -> u8 {
        let index = u8::try_from(self.under_way.index());
        debug_assert!(index.is_ok(), "there are no more than 64");
        index.unwrap_or_default()
    }
}
