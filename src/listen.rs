//! Listening sockets: one per worker and address, so that the kernel spreads connections over the cores.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt};

use crate::config::Listen;

/// What [`bind`] has bound.
pub struct Bound {
    /// Addresses with the ports that were really taken.
    pub addresses: Vec<Listen>,
    /// Listening sockets, a list for each worker.
    pub per_worker: Vec<Vec<OwnedFd>>,
}

/// Connections that may wait to be accepted; the system's own limit may be lower.
const BACKLOG: i32 = 4096;

/// Binds every address for every worker.
///
/// # Errors
/// A message that names the address. An address family that the system does not have is left out as long as
/// another address remains.
pub fn bind(listen: &[Listen], workers: usize) -> Result<Bound, String> {
    let mut bound = Bound {
        addresses: Vec::new(),
        per_worker: (0..workers).map(|_| Vec::new()).collect(),
    };
    for address in listen {
        match bind_one(address, workers) {
            Ok((actual, sockets)) => {
                bound.addresses.push(actual);
                for (list, socket) in bound.per_worker.iter_mut().zip(sockets) {
                    list.push(socket);
                }
            }
            Err(error) if family_is_missing(&error) && listen.len() > 1 => {}
            Err(error) => return Err(format!("cannot listen on {address}: {error}")),
        }
    }
    if bound.addresses.is_empty() {
        return Err("cannot listen: no address of the configured families is available".into());
    }
    Ok(bound)
}

fn family_is_missing(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::AFNOSUPPORT.raw_os_error())
        || code == Some(Errno::ADDRNOTAVAIL.raw_os_error())
}

fn bind_one(address: &Listen, workers: usize) -> io::Result<(Listen, Vec<OwnedFd>)> {
    match address {
        Listen::Tcp(address) => {
            let (actual, sockets) = bind_tcp(*address, workers)?;
            Ok((Listen::Tcp(actual), sockets))
        }
        Listen::Unix(path) => {
            let socket = bind_unix(path)?;
            // One queue for all: whoever is free takes the next.
            let sockets: io::Result<_> = (0..workers).map(|_| socket.try_clone()).collect();
            Ok((address.clone(), sockets?))
        }
    }
}

fn bind_tcp(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
    // Without SO_REUSEPORT first: a second instance by mistake must not take half of the connections.
    let first = tcp_socket(address)?;
    rustix::net::bind(&first, &address)?;
    let actual = local_address(&first)?;
    drop(first);
    let sockets: io::Result<Vec<OwnedFd>> = (0..workers)
        .map(|_| {
            let socket = tcp_socket(actual)?;
            sockopt::set_socket_reuseport(&socket, true)?;
            rustix::net::bind(&socket, &actual)?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(socket)
        })
        .collect();
    Ok((actual, sockets?))
}

fn tcp_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = stream_socket(family)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Accepted sockets inherit it, which saves a call per connection.
    sockopt::set_tcp_nodelay(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}

fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

fn local_address(socket: impl AsFd) -> io::Result<SocketAddr> {
    let address = rustix::net::getsockname(socket)?;
    SocketAddr::try_from(address).map_err(Into::into)
}

fn bind_unix(path: &Path) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = stream_socket(AddressFamily::UNIX)?;
    if let Err(error) = rustix::net::bind(&socket, &address) {
        // A file that nobody listens on is left from a process that has ended.
        let probe = stream_socket(AddressFamily::UNIX)?;
        let stale = rustix::net::connect(&probe, &address) == Err(Errno::CONNREFUSED);
        if error != Errno::ADDRINUSE || !stale {
            return Err(error.into());
        }
        std::fs::remove_file(path)?;
        rustix::net::bind(&socket, &address)?;
    }
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}
