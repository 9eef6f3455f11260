//! What becomes of an answer behind which a request goes elsewhere: it is kept, and forgotten or given to the client.

use crate::http::exchange::After;
use crate::net::client::side::ClientSide;
use crate::providers::group::UnderWay;

use super::ends::Halt;
use super::relay::{Leg, Relay};
use super::unsaid::From;

impl Relay {
    /// Keeps the connection that an unsaid answer comes from, and counts at its instance for as long.
    pub(super) fn park(&mut self, under_way: Option<UnderWay>) {
        let leg = std::mem::replace(&mut self.leg, Leg::Unsent(Vec::new()));
        let unsaid = self
            .choice
            .as_mut()
            .and_then(|choice| choice.unsaid.as_mut());
        if let (Some(unsaid), Leg::Sent { upstream, .. }) = (unsaid, leg) {
            unsaid.from = Some(From {
                upstream,
                instance: self.instance,
                key: self.key,
                under_way,
            });
        }
    }

    /// The request was sent elsewhere: the answer is not needed any more.
    pub(super) fn forget_unsaid(&mut self) {
        if let Some(choice) = &mut self.choice
            && choice.unsaid.take().is_some()
        {
            choice.has_left();
        }
    }

    /// Gives the client the answer that was kept; `false` where there is none.
    ///
    /// # Errors
    /// How the connection goes on where that is not possible.
    pub(super) fn says_after_all(&mut self, connection: &mut ClientSide) -> Result<bool, After> {
        let Some(choice) = &mut self.choice else {
            return Ok(false);
        };
        let Some(mut unsaid) = choice.unsaid.take() else {
            return Ok(false);
        };
        let Some(from) = unsaid.from.take() else {
            return Ok(false);
        };
        // It was judged when it came, and goes nowhere else.
        (choice.held, choice.is_said) = (None, true);
        if let (Some(place), Some(under_way)) = (&mut choice.place, from.under_way) {
            place.under_way = under_way;
            choice.has_left();
            let access = &mut connection.access;
            access.at_instance(&self.gateway, self.provider, from.instance);
        }
        if self.gateway.choices.keys(self.provider).is_some() {
            connection.access.with_key(from.key);
        }
        (self.instance, self.key) = (from.instance, from.key);
        self.leg = Leg::Sent {
            upstream: from.upstream,
            replay: None,
        };
        self.tell(
            connection,
            "nobody else was reached; the answer goes to the client",
        );
        let worker = connection.worker.clone();
        let scratch = &mut *worker.core.scratch.borrow_mut();
        let Some(mut ends) = self.ends(connection) else {
            return Ok(false);
        };
        match ends.resume(scratch, &unsaid.bytes) {
            Ok(()) => Ok(true),
            Err(Halt::Over(after)) => Err(after),
            // They end no relaying that has just begun.
            Err(Halt::Concluded | Halt::Again | Halt::Onward) => Err(After::Drop),
        }
    }
}
