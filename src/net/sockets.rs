//! Sockets and what wakes a worker: readiness, timers, turns, messages from other threads.
//!
//! Each worker has one event loop ([`driver`]), and one list of what is ready ([`reactor`]). [`socket`] asks that and makes
//! the system calls itself; the others are sockets too ([`timer`], [`mailbox`]), or say who runs next ([`turns`], [`spin`]).
//!
//! Beside them are the connections of commands and of the exporter, which block their threads: [`dial`] and [`answer`].

pub(crate) mod answer;
pub(crate) mod dial;
pub(crate) mod driver;
pub(crate) mod keepalive;
pub(crate) mod mailbox;
pub(crate) mod peer;
pub(crate) mod reactor;
pub(crate) mod socket;
pub(crate) mod spin;
pub(crate) mod timer;
pub(crate) mod turn_clock;
pub(crate) mod turns;
