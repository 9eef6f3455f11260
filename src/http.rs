//! The pure core: HTTP/1.1 messages as bytes (RFC 9110, RFC 9112). No socket, clock, file or runtime.
//!
//! In reading order: [`target`] (what is asked for), [`head`] (heads as spans over a buffer), [`framing`] (which bytes
//! belong to a message), [`expect`] (whether a client waits for a 100), [`rewrite`] (the outgoing head, in place),
//! [`exchange`] (a request and its response), [`connect`] (what a proxy is asked and answers), [`keep_alive`] (how long a
//! server says that its connection stays).

pub(crate) mod connect;
pub(crate) mod exchange;
pub(crate) mod expect;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod keep_alive;
pub(crate) mod rewrite;
pub(crate) mod target;
