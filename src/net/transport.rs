//! Bytes to and from a peer, plain or TLS, and the buffers that they pass through.
//!
//! [`stream`] is what the storeys above know: [`plain`] or [`tls`], which may have another layer of TLS below it
//! (`outer`). Received bytes lie in the worker's [`scratch`]; [`tls_config`] makes what rustls needs to begin.

mod outer;
pub(crate) mod plain;
pub(crate) mod scratch;
pub(crate) mod stream;
pub(crate) mod tls;
pub(crate) mod tls_config;
