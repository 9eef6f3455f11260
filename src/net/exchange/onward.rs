//! Another instance or another key for a request whose answer says that it was not taken (`failover_on`): nobody has done
//! anything for it, and nobody bills it.

use crate::net::client::side::ClientSide;
use crate::policy::provider_lines::Address;
use crate::providers::group::UnderWay;
use crate::providers::micros;
use crate::system::time::monotonic_nanos;

use super::ends::Ends;
use super::moving::MOVES_MAX;
use super::relay::{Leg, Relay};

/// Where it goes next.
pub(super) struct Onward {
    key: u8,
    /// Where the instance is another one.
    under_way: Option<UnderWay>,
}

impl Ends<'_> {
    /// Whether the request goes elsewhere behind an answer with this status, which is left unsaid then.
    pub(super) fn goes_onward(&mut self, status: u16) -> bool {
        let config = self.gateway.config.providers.get(self.provider);
        let failover = config.and_then(|provider| provider.failover.as_ref());
        let applies = failover.is_some_and(|failover| failover.on.contains(&status));
        if !applies || self.held.is_none() || !self.exchange.upload().is_done() {
            return false;
        }
        if self.moves >= MOVES_MAX {
            return false;
        }
        let onward = self.next_key(status).or_else(|| self.next_instance());
        *self.onward = onward.map(Box::new);
        self.onward.is_some()
    }

    /// Limits are a key's, as far as one can tell.
    fn next_key(&self, status: u16) -> Option<Onward> {
        let keys = self.gateway.choices.keys(self.provider)?;
        let key = keys.choose(self.session, monotonic_nanos()).ok()?;
        let is_other = key != self.key && matches!(status, 429 | 529);
        is_other.then_some(Onward {
            key,
            under_way: None,
        })
    }

    fn next_instance(&self) -> Option<Onward> {
        let group = self.gateway.choices.group(self.provider)?;
        let place = self.place?;
        let mut tried = place.tried;
        tried.add(place.instance().into());
        let random = self.connection.core().ids.random();
        let under_way = group.choose(self.session.0, tried, random, micros(monotonic_nanos()))?;
        Some(Onward {
            key: self.key,
            under_way: Some(under_way),
        })
    }
}

impl Relay {
    /// Has the request, which is held, go where [`Ends::goes_onward`] has found.
    pub(super) fn go_onward(&mut self, connection: &mut ClientSide) {
        let (Some(onward), Some(held)) = (self.onward.take(), &self.held) else {
            return;
        };
        self.moves += 1;
        self.key = onward.key;
        if let (Some(place), Some(under_way)) = (&mut self.place, onward.under_way) {
            place.tried.add(place.instance().into());
            place.under_way = under_way;
        }
        let instance = self.place.as_ref().map_or(0, |place| place.instance());
        let to = Address {
            instance,
            key: self.key,
        };
        let mut request = held.request();
        let lines = self.gateway.provider(self.provider).map(|(_, lines)| lines);
        let readdressed =
            lines.is_some_and(|lines| lines.readdress(&mut request, held.address, to));
        debug_assert!(
            readdressed,
            "the lines of its first address stand in what is held"
        );
        self.site = self.gateway.site_of(self.provider, instance.into());
        self.leg = Leg::Unsent(request);
        if self.place.is_some() {
            connection.access.at_instance(instance);
        }
        if self.gateway.choices.keys(self.provider).is_some() {
            connection.access.with_key(self.key);
        }
        connection.access.tried();
        self.tell(connection, "the request was not taken, and goes elsewhere");
        self.reuse(connection);
    }
}
