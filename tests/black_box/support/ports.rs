//! Ports that are held, so that nobody else gets them.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

/// A socket with a port of its own, which nobody listens on.
pub(crate) fn bound() -> OwnedFd {
    let fd = socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    bind(&fd, &any).unwrap();
    fd
}

/// Its address.
pub(crate) fn addr(fd: &OwnedFd) -> std::net::SocketAddr {
    rustix::net::getsockname(fd).unwrap().try_into().unwrap()
}
