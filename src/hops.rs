//! What those on the way say and are asked, as bytes: no socket, clock, file or runtime.
//!
//! [`proxy_protocol`] is what a balancer says of a client before that client's first byte, [`socks`] how a SOCKS5 proxy is
//! asked for a connection. An HTTP proxy is asked in HTTP, see [`crate::http::connect`].

mod crc32c;
pub(crate) mod proxy_protocol;
pub(crate) mod socks;
