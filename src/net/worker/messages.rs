//! What other threads tell a worker.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use crate::net::core::in_force::WorkerConfig;
use crate::net::sockets::mailbox::Mailbox;
use crate::net::sockets::peer::Peer;
use crate::net::upstream::resolve::Resolved;
use crate::observe::streams::UnderWay;
use crate::policy::auth::Keys;

/// See the module's documentation.
pub(crate) enum Message {
    /// A new configuration.
    Reload(WorkerConfig, Receipt),
    /// New gateway keys; the configuration stays.
    Keys(Arc<Keys>, Receipt),
    /// `/health` says 503 from now on.
    Unhealthy,
    /// Close the listeners, end connections with their next answer.
    Drain {
        /// Accept what is queued before: nobody else will.
        empty_queues: bool,
    },
    /// Nothing is under way any more: end idle connections.
    Stop,
    /// A host name was resolved.
    Resolved(Resolved),
    /// A client that another worker has accepted.
    Client(OwnedFd, Peer),
    /// The metrics' text that was asked for with this ticket.
    Scraped(u64, Arc<str>),
    /// It is the turn of a request here, which is called by this.
    Turn(u64),
    /// Tell this mailbox what is under way, with this number.
    Look(u64, Mailbox<Self>),
    /// A worker's answer to that.
    Seen(u64, UnderWay),
}

/// Dropped by a worker once what came with it is in force there.
pub(crate) type Receipt = Arc<dyn Any + Send + Sync>;

/// The workers among which clients are dealt out, known once all of them are started.
pub(crate) type Fellows = Arc<OnceLock<Vec<Mailbox<Message>>>>;
