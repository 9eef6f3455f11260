//! An exchange under way: what decides on it, and how far its request has got.

use std::rc::Rc;

use crate::http::exchange::Exchange;
use crate::net::client::recipient::Recipient;
use crate::net::upstream::pool::Upstream;
use crate::policy::auth::Lease;
use crate::policy::gateway::Gateway;

use super::choice::Choice;

/// See the module's documentation.
pub(crate) struct Relay {
    pub(super) gateway: Rc<Gateway>,
    pub(super) provider: usize,
    /// Index of the provider's instance that it goes to.
    pub(super) instance: u8,
    /// It goes to another address of that one's name.
    pub(super) elsewhere: bool,
    /// What was chosen for it, where there is something to choose.
    pub(super) choice: Option<Box<Choice>>,
    /// Index of the provider's key that it is sent with.
    pub(super) key: u8,
    pub(super) exchange: Exchange,
    pub(super) leg: Leg,
    pub(super) recipient: Recipient,
    /// Counts for the gateway key until the exchange is over.
    pub(super) lease: Option<Lease>,
}

impl Relay {
    /// The number of the site that it goes to.
    pub(super) fn site(&self) -> usize {
        self.gateway.site_of(self.provider, self.instance.into())
    }
}

/// How far the request has got.
pub(super) enum Leg {
    /// Rewritten, it waits for a connection.
    Unsent(Vec<u8>),
    /// It is with an upstream, or the first part of it.
    Sent {
        upstream: Box<Upstream>,
        /// The whole of it, while it may be sent again.
        replay: Option<Vec<u8>>,
    },
}
