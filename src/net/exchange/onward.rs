//! Another instance or another key for a request whose answer says that it was not taken (`failover_on`): nobody has done
//! anything for it, and nobody bills it.

use crate::net::client::side::ClientSide;
use crate::policy::provider_lines::Address;
use crate::providers::{Keyring, micros};
use crate::system::time::monotonic_nanos;

use super::choice::{Choice, MOVES_MAX, Onward};
use super::ends::Ends;
use super::place::Place;
use super::relay::{Leg, Relay};
use super::unsaid::Unsaid;

impl Ends<'_> {
    /// Whether the request goes elsewhere behind an answer with this status, which is left unsaid then.
    pub(super) fn goes_onward(&mut self, status: u16) -> bool {
        let config = self.gateway.config.providers.get(self.provider);
        let failover = config.and_then(|provider| provider.failover.as_ref());
        let applies = failover.is_some_and(|failover| failover.on.contains(&status));
        let Some(choice) = self.choice.as_deref().filter(|_| applies) else {
            return false;
        };
        if choice.held.is_none() || choice.moves >= MOVES_MAX || !self.exchange.upload().is_done() {
            return false;
        }
        // Limits are a key's, as far as one can tell: one that was just told to rest is used nowhere else.
        let onward = match (self.gateway.choices.keys(self.provider), status) {
            (Some(keys), 429 | 529) => self.next_key(choice, keys),
            _ => self.next_instance(choice),
        };
        let goes = onward.is_some();
        if let Some(choice) = &mut self.choice {
            choice.onward = onward;
        }
        goes
    }

    /// Keeps an answer behind which the request goes elsewhere. Not for a client of HTTP/1.0, for which its coding may
    /// have been taken off already.
    pub(super) fn leave_unsaid(&mut self, bytes: &[u8]) {
        let all = &self.connection.core().held_bytes;
        if let Some(choice) = &mut self.choice {
            let keeps = !self.recipient.http10;
            choice.unsaid = keeps.then(|| Unsaid::new(bytes, all)).flatten();
        }
    }

    /// Its answer goes to the client, so it is not sent again: nothing of it is held for that, however long the answer is.
    pub(super) fn stays(&mut self) {
        if let Some(choice) = &mut self.choice {
            choice.held = None;
        }
    }

    fn next_key(&self, choice: &Choice, keys: &Keyring) -> Option<Onward> {
        let key = keys.choose(choice.session, monotonic_nanos()).ok()?;
        (key != self.key).then_some(Onward {
            key,
            under_way: None,
        })
    }

    fn next_instance(&self, choice: &Choice) -> Option<Onward> {
        let group = self.gateway.choices.group(self.provider)?;
        let place = choice.place.as_ref()?;
        let mut tried = place.tried;
        tried.add(place.instance().into());
        let random = self.connection.core().ids.random();
        let under_way = group.choose(choice.session.0, tried, random, micros(monotonic_nanos()))?;
        Some(Onward {
            key: self.key,
            under_way: Some(under_way),
        })
    }
}

impl Relay {
    /// Has the request, which is held, go where [`Ends::goes_onward`] has found.
    pub(super) fn go_onward(&mut self, connection: &mut ClientSide) {
        let Some(choice) = &mut self.choice else {
            return;
        };
        let (Some(onward), Some(held)) = (choice.onward.take(), &choice.held) else {
            return;
        };
        let (mut request, from) = (held.request(), held.address);
        choice.moves += 1;
        let left = match (&mut choice.place, onward.under_way) {
            (Some(place), Some(under_way)) => {
                place.tried.add(place.instance().into());
                Some(std::mem::replace(&mut place.under_way, under_way))
            }
            _ => None,
        };
        let is_group = choice.place.is_some();
        let to = Address {
            instance: choice.place.as_ref().map_or(0, Place::instance),
            key: onward.key,
        };
        let lines = self.gateway.provider(self.provider).map(|(_, lines)| lines);
        let readdressed = lines.is_some_and(|lines| lines.readdress(&mut request, from, to));
        debug_assert!(
            readdressed,
            "the lines of its first address stand in what is held"
        );
        self.park(left);
        (self.instance, self.key) = (to.instance, to.key);
        let instance = to.instance;
        self.leg = Leg::Unsent(request);
        if is_group {
            connection.access.at_instance(instance);
        }
        if let Some(keys) = self.gateway.choices.keys(self.provider) {
            keys.sent_with(self.key);
            connection.access.with_key(self.key);
        }
        connection.access.tried();
        self.tell(connection, "the request was not taken, and goes elsewhere");
        self.reuse(connection);
        if let Leg::Sent { .. } = self.leg {
            self.forget_unsaid();
        }
    }
}
