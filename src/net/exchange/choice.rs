//! What is chosen for a request beside its key, where its provider has several instances, a limit, or answers behind which
//! a request goes elsewhere. Other requests have none of it.

use crate::http::head::Section;
use crate::net::client::side::ClientSide;
use crate::net::client::waiting::{Held as HeldTurn, Turn};
use crate::policy::auth;
use crate::policy::error::Fault;
use crate::policy::forward::Forward;
use crate::policy::gateway::Gateway;
use crate::policy::provider_lines::Address;
use crate::providers::Session;
use crate::providers::group::Tried;
use crate::providers::queue::Wish;

use super::held::Held;
use super::place::{Awaited, Found, Place};
use super::unsaid::Unsaid;

/// See the module's documentation.
pub(super) struct Choice {
    /// What the request belongs to.
    pub(super) session: Session,
    /// Where it goes, of several instances.
    pub(super) place: Option<Place>,
    /// What it waits for, where so many requests at once are the most.
    pub(super) awaited: Option<Awaited>,
    /// All of it so far, where it may go elsewhere behind an answer.
    pub(super) held: Option<Held>,
    /// Where it goes then.
    pub(super) onward: Option<Onward>,
    /// The answer behind which it goes there, should nobody be reached.
    pub(super) unsaid: Option<Unsaid>,
    /// Its answer is one that was kept.
    pub(super) is_said: bool,
    /// Its method may be sent twice, and it was not yet.
    pub(super) idempotent: bool,
    /// How often it went elsewhere.
    pub(super) moves: u8,
    /// Its turn, where so many requests at once are the most. Given back behind its place: whose turn is next looks there.
    pub(super) turn: Option<HeldTurn>,
}

/// Where a request goes that was not taken.
pub(super) struct Onward {
    pub(super) key: u8,
    /// Where the instance is another one.
    pub(super) to: Option<Found>,
}

/// How often a request goes elsewhere at most: each try may take all of `timeouts.connect`.
pub(super) const MOVES_MAX: u8 = 4;

impl Choice {
    /// Where a request goes, and whether it is its turn; nothing where there is nothing to choose. `id` is that of its
    /// gateway key, and nothing of it is rewritten yet.
    ///
    /// # Errors
    /// It goes nowhere now.
    pub(super) fn of(
        connection: &mut ClientSide,
        gateway: &Gateway,
        forward: &mut Forward<'_>,
        section: Section<'_>,
        id: Option<&str>,
    ) -> Result<Option<Box<Self>>, Fault> {
        let keys = gateway.choices.keys(forward.provider);
        if keys.is_some() {
            connection.access.with_key(forward.key);
        }
        let sent = |key| keys.map_or((), |keys| keys.sent_with(key));
        let provider = gateway.config.providers.get(forward.provider);
        let Some(provider) = provider.filter(|provider| provider.has_choices()) else {
            sent(forward.key);
            return Ok(None);
        };
        let from = connection.peer.address().map(|address| address.ip());
        let named = Session::named(&provider.session_headers, section);
        let session = |id| Session::of(named, id, from);
        let mut choice = Self {
            session: session(id),
            place: None,
            awaited: None,
            held: None,
            onward: None,
            unsaid: None,
            is_said: false,
            idempotent: false,
            moves: 0,
            turn: None,
        };
        if let Some(queue) = gateway.choices.queue(forward.provider) {
            // A key of its own takes turns with others; where all have the same one, sessions do.
            let of = match id.filter(|id| auth::is_managed(id)) {
                Some(id) => Session::of_key(id),
                None => session(None),
            };
            let full = |retry_after| Fault::Queued {
                late: false,
                retry_after,
            };
            let wish = choice.wish(connection, gateway, forward.provider);
            let has_wish = wish.is_some();
            let turn = Turn::ask(queue, &connection.worker.waiting, of.0, wish);
            match turn.map_err(full)? {
                Turn::Stands(stand) => {
                    let tried = Tried::default();
                    choice.awaited = Some(Awaited { stand, tried });
                }
                Turn::Held(mut held) => {
                    let seat = held.take_seat();
                    choice.turn = Some(held);
                    choice.place = seat.map(|under_way| Place {
                        under_way,
                        tried: Tried::default(),
                    });
                    if has_wish && choice.place.is_none() {
                        return Err(Fault::NoInstance);
                    }
                }
            }
        }
        // Who waits is chosen a key and an instance for when its turn has come, and is addressed to the first until then.
        if !choice.is_waiting() {
            if choice.place.is_none() {
                let (core, provider) = (connection.core(), forward.provider);
                choice.place = Place::choose(core, gateway, provider, choice.session)?;
            }
            sent(forward.key);
        }
        if let Some(place) = &choice.place {
            forward.instance = place.instance();
            let access = &mut connection.access;
            access.at_instance(gateway, forward.provider, forward.instance);
        }
        Ok(Some(Box::new(choice)))
    }

    /// Holds the rewritten request, or its first part, where it may go elsewhere behind an answer.
    pub(super) fn hold(
        &mut self,
        connection: &ClientSide,
        gateway: &Gateway,
        forward: &Forward<'_>,
        request: &[u8],
    ) {
        let provider = gateway.config.providers.get(forward.provider);
        if let Some(failover) = provider.and_then(|provider| provider.failover.as_ref()) {
            let address = Address {
                instance: forward.instance,
                key: forward.key,
            };
            let all = &connection.core().held_bytes;
            self.held = Held::new(request, failover.bytes_max, address, all);
        }
    }

    /// Holds more of it.
    pub(super) fn hold_more(&mut self, bytes: &[u8]) {
        if self.held.as_mut().is_some_and(|held| !held.add(bytes)) {
            self.held = None;
        }
    }

    /// What it asks for beside its turn, where instances have limits of their own.
    fn wish(&self, connection: &ClientSide, gateway: &Gateway, provider: usize) -> Option<Wish> {
        let group = gateway.choices.group(provider);
        group.filter(|group| group.is_limited()).map(|group| Wish {
            group: group.clone(),
            session: self.session.0,
            tried: Tried::default(),
            random: connection.core().ids.random(),
        })
    }

    /// Whether its turn is still to come, or room at an instance.
    pub(super) fn is_waiting(&self) -> bool {
        self.awaited.is_some()
    }

    /// Goes to another place, or waits for one. Who waits holds none, nor an answer that it would give for want of one: what
    /// it left may be what others wait for.
    pub(super) fn goes_to(&mut self, found: Found) {
        match found {
            Found::Place(place) => self.place = Some(place),
            Found::Awaits(awaited) => {
                (self.place, self.unsaid) = (None, None);
                self.awaited = Some(awaited);
            }
        }
        self.has_left();
    }

    /// It holds a place less than before, or an instance is back: others may have room now.
    pub(super) fn has_left(&self) {
        self.turn.iter().for_each(HeldTurn::look);
    }

    /// Gives everything back that others wait for.
    pub(super) fn let_go(&mut self) {
        self.place = None;
        self.awaited = None;
        self.turn = None;
    }
}
