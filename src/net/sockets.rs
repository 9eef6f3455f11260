//! Sockets and what wakes a worker: readiness, timers, turns, messages from other threads.
//!
//! Each worker has one event loop ([`driver`]). [`socket`] asks it what is ready and makes the system calls itself;
//! the others are sockets to the event loop too ([`timer`], [`hangup`], [`mailbox`]), or say who runs next ([`turns`],
//! [`spin`]).

pub(crate) mod driver;
pub(crate) mod hangup;
pub(crate) mod keepalive;
pub(crate) mod mailbox;
pub(crate) mod peer;
pub(crate) mod socket;
pub(crate) mod spin;
pub(crate) mod timer;
pub(crate) mod turns;
