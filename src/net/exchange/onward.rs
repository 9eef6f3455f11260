//! Another instance or another key for a request whose answer says that it was not taken (`failover_on`): nobody has done
//! anything for it, and nobody bills it.

use crate::net::client::side::ClientSide;
use crate::policy::provider_lines::Address;
use crate::providers::Keyring;
use crate::system::time::monotonic_nanos;

use super::choice::{Choice, MOVES_MAX, Onward};
use super::ends::Ends;
use super::place::{Found, Place};
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
        (key != self.key).then_some(Onward { key, to: None })
    }

    /// Where the others have as many requests as they may, it waits for room there, as it would have done at first.
    fn next_instance(&self, choice: &Choice) -> Option<Onward> {
        let place = choice.place.as_ref()?;
        let mut tried = place.tried;
        tried.add(place.instance().into());
        let of = (choice.session, tried);
        let found = Place::find(self.connection, self.gateway, self.provider, of).ok()??;
        Some(Onward {
            key: self.key,
            to: Some(found),
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
        let (request, from) = (held.request(), held.address);
        choice.moves += 1;
        let here = choice.place.as_ref().map_or(0, Place::instance);
        let left = match onward.to {
            Some(Found::Place(_)) => choice.place.take().map(|place| place.under_way),
            Some(Found::Awaits(_)) => {
                choice.unsaid = None;
                None
            }
            None => None,
        };
        self.park(left);
        self.leg = Leg::Unsent(request);
        (self.instance, self.key) = (from.instance, from.key);
        let to = Address {
            instance: here,
            key: onward.key,
        };
        self.goes_to(to);
        if let Some(found) = onward.to {
            self.goes_where(connection, found);
        }
        if let Some(keys) = self.gateway.choices.keys(self.provider) {
            keys.sent_with(self.key);
            connection.access.with_key(self.key);
        }
        connection.access.tried();
        self.tell(connection, "the request was not taken, and goes elsewhere");
        if !self.is_waiting() {
            self.reuse(connection);
        }
        if let Leg::Sent { .. } = self.leg {
            self.forget_unsaid();
        }
    }
}
