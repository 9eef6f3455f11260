//! The I/O shell: moves bytes between sockets, and [`exchange`] and [`response`] know what HTTP asks of them meanwhile.
//!
//! In the order in which a byte meets them: [`worker`] accepts, [`connection`] reads heads, [`exchange`]
//! relays one request and its [`response`] over an upstream connection taken from the [`pool`]. Below
//! them [`stream`] (plain or [`tls`]), [`socket`] (readiness and system calls) and [`deadline`].
//!
//! I/O is readiness based: a task waits until a socket is readable or writable and then makes the system
//! call itself, so a dropped future never holds bytes or a buffer, and nothing is held while waiting.

pub(crate) mod accept;
pub(crate) mod access;
pub(crate) mod addresses;
pub(crate) mod alarm;
pub(crate) mod asker;
pub(crate) mod balance;
pub(crate) mod carry;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod deadline;
pub(crate) mod doors;
pub(crate) mod driver;
pub(crate) mod ending;
pub(crate) mod exchange;
pub(crate) mod hangup;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod harness;
pub(crate) mod ids;
pub(crate) mod keepalive;
pub(crate) mod local;
pub(crate) mod mailbox;
pub(crate) mod note;
pub(crate) mod operators;
pub(crate) mod peer;
pub(crate) mod plain;
pub(crate) mod pool;
pub(crate) mod proxy;
pub(crate) mod records;
pub(crate) mod resolve;
pub(crate) mod response;
pub(crate) mod scrape;
pub(crate) mod scratch;
pub(crate) mod search;
pub(crate) mod server_timing;
pub(crate) mod socket;
pub(crate) mod spin;
pub(crate) mod steady;
pub(crate) mod stream;
pub(crate) mod streams;
pub(crate) mod tls;
pub(crate) mod tls_config;
pub(crate) mod turns;
pub(crate) mod visit;
pub(crate) mod warm;
pub(crate) mod worker;
