//! An answer behind which a request goes elsewhere, kept until the request has been sent there: where nobody else is
//! reached, nothing more was asked of anyone, and the client gets this answer.
//!
//! Kept are the connection and what was received on it; the rest of the answer stays with the kernel and the upstream.

use crate::http::exchange::After;
use crate::net::client::side::ClientSide;
use crate::net::core::held_bytes::HeldBytes;
use crate::net::upstream::pool::Upstream;
use crate::providers::group::UnderWay;

use super::ends::Halt;
use super::relay::{Leg, Relay};

/// See the module's documentation.
pub(super) struct Unsaid {
    /// From the final head on.
    bytes: Vec<u8>,
    all: HeldBytes,
    /// Where it came from, once that is known.
    from: Option<From>,
}

struct From {
    upstream: Box<Upstream>,
    instance: u8,
    key: u8,
    /// The instance's, where there are several and it changes.
    under_way: Option<UnderWay>,
}

impl Unsaid {
    /// Keeps what has been received of an answer; nothing where all that is held would be too much.
    pub(super) fn new(bytes: &[u8], all: &HeldBytes) -> Option<Self> {
        all.take(bytes.len()).then(|| Self {
            bytes: bytes.to_vec(),
            all: all.clone(),
            from: None,
        })
    }
}

impl Drop for Unsaid {
    fn drop(&mut self) {
        self.all.give_back(self.bytes.len());
    }
}

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
            connection.access.at_instance(from.instance);
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
