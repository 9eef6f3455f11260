//! Room for exchanges to come, left by those that have ended.

use std::cell::RefCell;
use std::rc::Rc;

use crate::http::exchange::{Exchange, Terms};
use crate::http::framing::{BodyLength, Cursor};
use crate::policy::gateway::Gateway;

use super::relay::{Leg, Relay};

/// Boxes of exchanges that have ended, for those to come: so a request allocates nothing.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "boxes move between here and the tasks")]
pub(crate) struct Spares(RefCell<Vec<Box<Relay>>>);

/// Boxes kept; more exchanges than that at once are worth an allocation.
const SPARES_MAX: usize = 64;

impl Spares {
    /// A box with this exchange in it.
    pub(super) fn fill(&self, relay: Relay) -> Box<Relay> {
        match self.0.borrow_mut().pop() {
            Some(mut spare) => {
                *spare = relay;
                spare
            }
            None => Box::new(relay),
        }
    }

    /// What the exchange held is let go; `gateway` is the configuration in force.
    pub(crate) fn keep(&self, mut relay: Box<Relay>, gateway: Rc<Gateway>) {
        relay.gateway = gateway;
        relay.leg = Leg::Unsent(Vec::new());
        let nothing = Cursor::new(BodyLength::Empty);
        relay.exchange = Exchange::new(Terms::default(), nothing, false);
        drop(relay.choice.take());
        drop(relay.lease.take());
        let mut spares = self.0.borrow_mut();
        if spares.len() < SPARES_MAX {
            spares.push(relay);
        }
    }

    /// Lets go of the configuration that they still hold.
    pub(crate) fn clear(&self) {
        self.0.take();
    }
}
