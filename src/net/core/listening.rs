//! Where this process itself listens, as far as it matters for [`crate::policy::loops`].

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::net::{SocketAddrAny, getsockname};

use crate::config::{BaseUrl, Host, Provider};
use crate::policy::loops;

/// Ports and paths that a provider's base URL may name.
#[derive(Default)]
pub(crate) struct Listening {
    ports: Vec<u16>,
    paths: Vec<PathBuf>,
}

impl Listening {
    /// Of these sockets.
    ///
    /// # Errors
    /// When one of them is no listening socket.
    pub(crate) fn of(listeners: &[OwnedFd]) -> io::Result<Self> {
        let mut listening = Self::default();
        for listener in listeners {
            listening.add(&getsockname(listener)?);
        }
        Ok(listening)
    }

    fn add(&mut self, address: &SocketAddrAny) {
        if let Ok(address) = std::net::SocketAddr::try_from(address.clone()) {
            self.ports.push(address.port());
        } else if let Ok(address) = rustix::net::SocketAddrUnix::try_from(address.clone())
            && let Some(path) = address.path_bytes()
        {
            let path = std::ffi::OsStr::from_bytes(path);
            self.paths.push(Path::new(path).to_owned());
        }
    }

    /// The field line that marks a request on its way to one of a provider's instances, where it may come back or
    /// `has_id`, an `X-Request-ID` of its own, and so may have come round already; else nothing.
    #[must_use]
    pub(crate) fn mark(&self, provider: &Provider, has_id: bool) -> &'static [u8] {
        let mut instances = provider.instances();
        match has_id || instances.any(|instance| self.may_be(&instance.base)) {
            true => loops::line(),
            false => b"",
        }
    }

    /// Whether `base` may lead straight back. The port decides: what a host's name means, nobody knows before it is
    /// resolved, nor behind a translation of addresses then.
    fn may_be(&self, base: &BaseUrl) -> bool {
        match &base.host {
            Host::Unix(path) => self.paths.contains(path),
            _ => self.ports.contains(&base.port),
        }
    }
}
