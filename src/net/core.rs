//! What all tasks of a worker share, whichever side they are on.
//!
//! Nothing here is shared with another worker but counters and what is known of clients' addresses, and nothing here
//! starts a task.

pub(crate) mod complaints;
pub(crate) mod deadline;
pub(crate) mod drain;
pub(crate) mod held_bytes;
pub(crate) mod ids;
pub(crate) mod in_force;
pub(crate) mod listening;
pub(crate) mod load;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use crate::log::Log;
use crate::net::sockets::spin::Spin;
use crate::net::sockets::turns::Turns;
use crate::net::transport::scratch::{Scratch, SealRoom};
use crate::observe::Counters;
use crate::policy::gateway::Gateway;
use crate::policy::visitors::Visitors;

use complaints::Complaints;
use deadline::Clock;
use drain::Drain;
use held_bytes::HeldBytes;
use ids::Ids;
use in_force::InForce;
use listening::Listening;
use load::Load;

/// See the module's documentation.
pub(crate) struct Core {
    /// The receive buffer.
    pub scratch: Rc<RefCell<Scratch>>,
    /// Where TLS records are sealed.
    pub seal_room: SealRoom,
    /// Deadlines.
    pub clock: Rc<Clock>,
    /// How the busy let others run.
    pub turns: Rc<Turns>,
    /// Polling before sleeping.
    pub spin: Rc<Spin>,
    /// The configuration.
    pub in_force: InForce,
    /// How much there is to do, and how much may be.
    pub load: Rc<Load>,
    /// How far the worker is on its way to its end.
    pub drain: Drain,
    /// Request ids.
    pub ids: Ids,
    /// Where it listens.
    pub listening: Listening,
    /// What is held of requests that may have to be sent again.
    pub held_bytes: HeldBytes,
    /// What is known of clients' addresses, by all workers.
    pub visitors: Arc<Visitors>,
    /// Where messages for people go.
    pub log: Log,
    /// Failures that nothing else says.
    pub complaints: Complaints,
}

impl Core {
    /// The configuration in force; a request keeps the one that it began with.
    #[must_use]
    pub(crate) fn gateway(&self) -> Rc<Gateway> {
        self.in_force.gateway()
    }

    /// Whether anybody wants to know how long requests take.
    #[must_use]
    pub(crate) fn takes_times(&self) -> bool {
        !self.is_operator() && self.gateway().config.takes_times()
    }

    /// This worker's counters.
    #[must_use]
    pub(crate) fn counters(&self) -> &Counters {
        self.load.counters()
    }

    /// Whether it serves metrics and health and nothing else.
    #[must_use]
    pub(crate) fn is_operator(&self) -> bool {
        self.load.is_operator()
    }
}
