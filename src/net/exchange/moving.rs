//! The next instance for a request whose first one could not be reached.
//!
//! Nothing has been sent to an instance that was not reached, so the next one gets the request as it was, whatever its
//! method; only the lines that are another instance's own change. Where the others have as many requests as they may, it
//! waits for room there, and its place at the one that was not reached is another's meanwhile.

use crate::net::client::side::ClientSide;
use crate::net::upstream::report::tell;
use crate::net::upstream::upstreams::Upstreams;
use crate::policy::error::{Fault, Scarce};
use crate::policy::provider_lines::Address;
use crate::providers::group::Outcome;
use crate::providers::micros;
use crate::system::time::monotonic_nanos;

use super::choice::MOVES_MAX;
use super::place::{Found, Place};
use super::relay::{Leg, Relay};

impl Relay {
    /// Has a request that was not sent go to the next instance, for this one was not reached; whether there is one. An
    /// idle connection there is used at once. It may have to be waited for.
    pub(super) fn moves_on(&mut self, connection: &mut ClientSide, fault: &Fault) -> bool {
        // Where our own descriptors have run out, all instances are as far away.
        let is_own = matches!(fault, Fault::Overloaded(Scarce::System));
        // A limit of ours says nothing of the instance, nor does a reload that took it away meanwhile.
        let in_force = connection.core().gateway();
        let is_here = in_force.place_of(&self.gateway, self.site()).is_some();
        let is_its = !matches!(fault, Fault::Overloaded(_)) && is_here;
        let Some(group) = self
            .gateway
            .choices
            .group(self.provider)
            .filter(|_| !is_own)
        else {
            return false;
        };
        let Some(choice) = &mut self.choice else {
            return false;
        };
        let Some(place) = &mut choice.place else {
            return false;
        };
        let now = micros(monotonic_nanos());
        let from = place.instance();
        place.tried.add(from.into());
        let core = connection.core();
        if is_its {
            let change = group.judge(&place.under_way, Outcome::Failed, now);
            tell(core, &self.gateway, (self.provider, from.into()), change);
        }
        if choice.moves >= MOVES_MAX {
            return false;
        }
        choice.moves += 1;
        let of = (choice.session, place.tried);
        let Ok(Some(found)) = Place::find(connection, &self.gateway, self.provider, of) else {
            // Where an address has left its name meanwhile, those that the name stands for now have not been tried.
            let random = connection.core().ids.random();
            let stands_in = in_force.stand_in_of(&self.gateway, self.site(), random);
            let goes = !is_here && stands_in.is_some();
            if goes {
                connection.access.tried();
            }
            return goes;
        };
        connection.access.tried();
        self.tell(
            connection,
            "the instance was not reached; the request goes to the next one",
        );
        if !self.goes_where(connection, found) {
            return false;
        }
        if !self.is_waiting() {
            self.reuse(connection);
        }
        true
    }

    /// Whether it could be addressed to the place that was found, or waits for one.
    pub(super) fn goes_where(&mut self, connection: &mut ClientSide, found: Found) -> bool {
        let Some(choice) = &mut self.choice else {
            return false;
        };
        choice.goes_to(found);
        let Some(instance) = choice.place.as_ref().map(Place::instance) else {
            return true;
        };
        let access = &mut connection.access;
        access.at_instance(&self.gateway, self.provider, instance);
        let key = self.key;
        self.goes_to(Address { instance, key })
    }

    /// Chooses a key, where there are several, when the request's turn has come: the one before may have come to rest
    /// meanwhile.
    ///
    /// # Errors
    /// It goes nowhere now.
    pub(super) fn choose_key(&mut self, connection: &mut ClientSide) -> Result<(), Fault> {
        let gateway = self.gateway.clone();
        let (Some(choice), Some(keys)) = (&self.choice, gateway.choices.keys(self.provider)) else {
            return Ok(());
        };
        let chosen = keys.choose(choice.session, monotonic_nanos());
        let key = chosen.map_err(Fault::keys_exhausted)?;
        let instance = self.instance;
        self.goes_to(Address { instance, key });
        keys.sent_with(self.key);
        connection.access.with_key(self.key);
        Ok(())
    }

    /// Whether what waits to be sent could be addressed to another instance, or with another key.
    pub(super) fn goes_to(&mut self, to: Address) -> bool {
        let Leg::Unsent(request) = &mut self.leg else {
            return false;
        };
        let Some((_, lines)) = self.gateway.provider(self.provider) else {
            return false;
        };
        let from = Address {
            instance: self.instance,
            key: self.key,
        };
        let readdressed = lines.readdress(request, from, to);
        debug_assert!(
            readdressed,
            "an instance's lines stand in what is sent to it"
        );
        if readdressed {
            (self.instance, self.key) = (to.instance, to.key);
        }
        readdressed
    }

    /// Sends what waits on an idle connection, if there is one.
    pub(super) fn reuse(&mut self, connection: &mut ClientSide) {
        let worker = connection.worker.clone();
        // After a reload the same number may mean another provider, and this one may be elsewhere or gone.
        let in_force = worker.core.gateway();
        let Some(site) = in_force.index_of(&self.gateway, self.site()) else {
            return;
        };
        let scratch = &mut *worker.core.scratch.borrow_mut();
        let Upstreams { warmth, pool, .. } = &*worker.upstreams;
        warmth.used(site, worker.core.clock.now());
        let Some(upstream) = pool.take(site, scratch) else {
            return;
        };
        let choice = self.choice.as_ref();
        let idempotent = choice.is_some_and(|choice| choice.idempotent);
        if let Leg::Unsent(request) = &mut self.leg {
            let request = std::mem::take(request);
            self.use_again(connection, upstream, &request, idempotent);
        }
    }
}
