//! The I/O shell: moves bytes between sockets, and [`exchange`] and [`response`] know what HTTP asks of them meanwhile.
//!
//! In the order in which a byte meets them: [`worker`] accepts, [`connection`] reads heads, [`exchange`]
//! relays one request and its [`response`] over an upstream connection taken from the [`pool`]. Below
//! them [`stream`] (plain or [`tls`]), [`socket`] (readiness and system calls) and [`deadline`].
//!
//! I/O is readiness based: a task waits until a socket is readable or writable and then makes the system
//! call itself, so a dropped future never holds bytes or a buffer, and nothing is held while waiting.

pub mod accept;
pub mod access;
pub mod addresses;
pub mod alarm;
pub mod asker;
pub mod balance;
pub mod carry;
pub mod connect;
pub mod connection;
pub mod deadline;
pub mod doors;
pub mod driver;
pub mod ending;
pub mod exchange;
pub mod hangup;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod harness;
pub mod ids;
pub mod keepalive;
pub mod local;
pub mod mailbox;
pub mod note;
pub mod operators;
pub mod peer;
pub mod plain;
pub mod pool;
pub mod proxy;
pub mod records;
pub mod resolve;
pub mod response;
pub mod scrape;
pub mod scratch;
pub mod search;
pub mod server_timing;
pub mod socket;
pub mod spin;
pub mod steady;
pub mod stream;
pub mod streams;
pub mod tls;
pub mod tls_config;
pub mod turns;
pub mod visit;
pub mod warm;
pub mod worker;
