//! Why there is no connection to a provider, and what its client is told.

use std::io;

use crate::net::sockets::socket::is_scarce;
use crate::net::transport::tls::may_pass;
use crate::policy::error::{Fault, Scarce};

use super::proxy::ProxyError;

/// The step that failed and what was said.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The name has no address.
    Resolve(io::Error),
    /// No address accepted.
    Connect(io::Error),
    /// The TLS handshake failed.
    Tls(io::Error),
    /// The proxy gave no tunnel.
    Proxy(ProxyError),
}

impl ConnectError {
    /// Whether there was a connection, to somebody who may not be the one that was meant.
    #[must_use]
    pub(crate) fn is_the_other_ends(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Proxy(error) => !matches!(error, ProxyError::Resolve(_)),
            Self::Resolve(_) | Self::Connect(_) => false,
        }
    }

    /// What the client is told of it.
    #[must_use]
    pub(crate) fn fault(self, provider: &str) -> Fault {
        match self {
            Self::Connect(error) if is_scarce(&error) => Fault::Overloaded(Scarce::System),
            Self::Resolve(error) => Fault::upstream_resolve(provider, &error),
            Self::Connect(error) => Fault::upstream_connect(provider, &error),
            Self::Tls(error) => Fault::upstream_tls(provider, &error, may_pass(&error)),
            Self::Proxy(error) => Fault::upstream_proxy(provider, &error, error.may_pass()),
        }
    }
}

/// What the client is told where a reload has sent its provider elsewhere.
#[must_use]
pub(crate) fn replaced(provider: &str) -> Fault {
    Fault::upstream_connect(provider, &"its configuration was replaced meanwhile")
}
