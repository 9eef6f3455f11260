//! Why there is no connection to a provider, and what its client is told.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::base::reason;
use crate::net::sockets::socket::is_scarce;
use crate::net::transport::tls::{may_pass, reason_of};
use crate::policy::error::{Fault, Scarce};

use super::proxy::ProxyError;

/// Where somebody was to listen.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Over TCP.
    Address(SocketAddr),
    /// A Unix socket.
    Path(PathBuf),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Path(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The step that failed and what was said.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The name has no address.
    Resolve(io::Error),
    /// No address accepted; the one that was tried last.
    Connect(io::Error, Option<Place>),
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
            Self::Resolve(_) | Self::Connect(..) => false,
        }
    }

    /// What the client is told of it.
    #[must_use]
    pub(crate) fn fault(self, provider: &str) -> Fault {
        let reason = self.reason();
        match self {
            Self::Connect(error, _) if is_scarce(&error) => Fault::Overloaded(Scarce::System),
            Self::Resolve(error) => Fault::upstream_resolve(provider, &error, reason),
            Self::Connect(error, _) => Fault::upstream_connect(provider, &error, reason),
            Self::Tls(error) => Fault::upstream_tls(provider, &error, reason, may_pass(&error)),
            Self::Proxy(error) => Fault::upstream_proxy(provider, &error, reason, error.may_pass()),
        }
    }

    /// What the operator is told of it: addresses, which are nobody else's business, included.
    fn reason(&self) -> String {
        match self {
            Self::Resolve(error) => reason::of(error),
            Self::Connect(error, None) => reason::of(error),
            Self::Connect(error, Some(place)) => format!("{} ({place})", reason::of(error)),
            Self::Tls(error) => reason_of(error),
            Self::Proxy(error) => format!("proxy: {error}"),
        }
    }
}

/// What the client is told where a reload has sent its provider elsewhere.
#[must_use]
pub(crate) fn replaced(provider: &str) -> Fault {
    let why = "its configuration was replaced meanwhile";
    Fault::upstream_connect(provider, &why, why.to_owned())
}
