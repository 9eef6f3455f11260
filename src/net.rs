//! The I/O shell: moves bytes between sockets, and [`exchange`] knows what HTTP asks of them meanwhile.
//!
//! Storeys, each standing on those above it in this list only (`tests/architecture.rs`): [`sockets`] and what wakes a
//! worker, [`transport`] over them, plain or TLS, [`core`] that all tasks of a worker share; [`upstream`] towards
//! providers and [`client`] towards clients; [`exchange`], one request and its response between the two;
//! [`connection`], a client's requests one after the other; [`accept`] and [`worker`], which runs it all.
//!
//! I/O is readiness based: a task waits until a socket is readable or writable and then makes the system
//! call itself, so a dropped future never holds bytes or a buffer, and nothing is held while waiting.

pub(crate) mod accept;
pub(crate) mod client;
pub(crate) mod connection;
pub(crate) mod core;
pub(crate) mod exchange;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod harness;
pub(crate) mod sockets;
pub(crate) mod transport;
pub(crate) mod upstream;
pub(crate) mod worker;
