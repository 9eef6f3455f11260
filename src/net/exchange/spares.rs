//! Room for exchanges to come, left by those that have ended.

use std::cell::RefCell;
use std::rc::Rc;

use crate::net::exchange::response::Response;
use crate::policy::gateway::Gateway;

use super::Exchange;

/// Boxes of exchanges that have ended, for those to come: so a request allocates nothing.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "boxes move between here and the tasks")]
pub(crate) struct Spares(RefCell<Vec<Box<Exchange>>>);

/// Boxes kept; more exchanges than that at once are worth an allocation.
const SPARES_MAX: usize = 64;

impl Spares {
    /// A box with this exchange in it.
    pub(super) fn fill(&self, exchange: Exchange) -> Box<Exchange> {
        match self.0.borrow_mut().pop() {
            Some(mut spare) => {
                *spare = exchange;
                spare
            }
            None => Box::new(exchange),
        }
    }

    /// What the exchange held is let go; `gateway` is the configuration in force.
    pub(super) fn keep(&self, mut exchange: Box<Exchange>, gateway: Rc<Gateway>) {
        exchange.gateway = gateway;
        exchange.upstream = None;
        exchange.unsent = Vec::new();
        exchange.replay = None;
        exchange.response = Response::new(false);
        drop(exchange.lease.take());
        let mut spares = self.0.borrow_mut();
        if spares.len() < SPARES_MAX {
            spares.push(exchange);
        }
    }

    /// Lets go of the configuration that they still hold.
    pub(crate) fn clear(&self) {
        self.0.take();
    }
}
