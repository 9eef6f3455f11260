//! Listening sockets: one per worker and address, so that the kernel spreads connections over the cores; or
//! those that a service manager or a predecessor has left to this process.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use listenfd::ListenFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with, sockopt};

use crate::config::{Listen, Tcp};
use crate::net::sockets::keepalive;

/// An address that is listened on.
pub(crate) struct Listener {
    /// As it was configured; `None` where a service manager chose it.
    pub asked: Option<Listen>,
    /// With the port that was really taken.
    pub address: Listen,
    /// All of them listen; they are different sockets.
    pub sockets: Vec<OwnedFd>,
    /// It is one of `metrics.listen`.
    pub metrics: bool,
}

impl Listener {
    /// Has the kernel look after the connections that are accepted from now on.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn keep_alive(&self, tcp: &Tcp) -> io::Result<()> {
        match self.address {
            Listen::Tcp(_) => { self.sockets.iter() }.try_for_each(|it| keepalive::set(it, tcp)),
            Listen::Unix(_) => Ok(()),
        }
    }

    /// The sockets that one worker accepts from: every one has a worker, every worker one.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn of_worker(&self, index: usize, workers: usize) -> io::Result<Vec<OwnedFd>> {
        let shared = self.sockets.len().min(workers).max(1);
        let mine = self.sockets.iter().skip(index % shared).step_by(workers);
        mine.map(OwnedFd::try_clone).collect()
    }
}

/// How long all addresses together may be in use at the start, and how often they are tried.
const PREDECESSOR_GONE: Duration = Duration::from_millis(500);
const BIND_AGAIN: Duration = Duration::from_millis(5);
/// Connections that may wait to be accepted; the system's own limit may be lower.
const BACKLOG: i32 = 4096;

/// Listens on every address. What was inherited is taken over where it was asked for the same address; what a
/// service manager has opened stands in for the configured addresses altogether.
///
/// # Errors
/// A message that names the address. An address family that the system does not have is left out as long as
/// another address remains.
pub(crate) fn open(
    listen: &[Listen],
    mut inherited: Vec<Listener>,
    workers: usize,
) -> Result<Vec<Listener>, String> {
    if inherited.iter().any(|listener| listener.asked.is_none()) {
        return Ok(inherited);
    }
    let mut open = Vec::new();
    let until = Instant::now() + PREDECESSOR_GONE;
    for address in listen {
        let same = |listener: &Listener| listener.asked.as_ref() == Some(address);
        if let Some(at) = inherited.iter().position(same) {
            open.push(inherited.swap_remove(at));
            continue;
        }
        match bind_patiently(address, workers, until) {
            Ok(listener) => open.push(listener),
            Err(error) if family_is_missing(&error) && listen.len() > 1 => {}
            Err(error) => return Err(format!("cannot listen on {address}: {error}")),
        }
    }
    if open.is_empty() {
        return Err("cannot listen: no address of the configured families is available".into());
    }
    Ok(open)
}

/// As [`open`], for `metrics.listen`, which may be empty and which one worker serves.
///
/// # Errors
/// As there.
pub(crate) fn open_metrics(
    listen: &[Listen],
    inherited: Vec<Listener>,
) -> Result<Vec<Listener>, String> {
    if listen.is_empty() {
        return Ok(Vec::new());
    }
    let mut listeners = open(listen, inherited, 1)?;
    for listener in &mut listeners {
        listener.metrics = true;
    }
    Ok(listeners)
}

/// What a service manager has opened for this process (`LISTEN_FDS`). To be called before there are threads,
/// since it changes the environment.
///
/// # Errors
/// A descriptor that is no listening stream socket.
pub(crate) fn from_service_manager() -> Result<Vec<Listener>, String> {
    let mut passed = ListenFd::from_env();
    let count = passed.len();
    let take = |index| {
        adopt(&mut passed, index)
            .map_err(|error| format!("LISTEN_FDS: socket {index} cannot be used: {error}"))
    };
    (0..count).map(take).collect()
}

fn adopt(passed: &mut ListenFd, index: usize) -> io::Result<Listener> {
    let (address, socket) = if let Ok(Some(tcp)) = passed.take_tcp_listener(index) {
        tcp.set_nonblocking(true)?;
        sockopt::set_tcp_nodelay(&tcp, true)?;
        (Listen::Tcp(tcp.local_addr()?), OwnedFd::from(tcp))
    } else {
        let unix = passed.take_unix_listener(index)?;
        let unix = unix.ok_or(io::ErrorKind::NotFound)?;
        unix.set_nonblocking(true)?;
        let address = unix.local_addr()?;
        let path = address.as_pathname().map_or_else(PathBuf::new, Into::into);
        (Listen::Unix(path), OwnedFd::from(unix))
    };
    if !sockopt::socket_acceptconn(&socket)? {
        return Err(io::Error::other("it does not listen"));
    }
    Ok(Listener {
        asked: None,
        address,
        sockets: vec![socket],
        metrics: false,
    })
}

fn family_is_missing(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(Errno::AFNOSUPPORT.raw_os_error())
        || code == Some(Errno::ADDRNOTAVAIL.raw_os_error())
}

/// As [`bind`]; an address in use is given until then to become free. The kernel closes what an io_uring held
/// some time after its process has ended, so one that was killed still has its addresses when the next starts.
#[expect(
    clippy::disallowed_methods,
    reason = "at the start, when nothing runs yet"
)]
fn bind_patiently(address: &Listen, workers: usize, until: Instant) -> io::Result<Listener> {
    loop {
        match bind(address, workers) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::sleep(BIND_AGAIN);
            }
            bound => return bound,
        }
    }
}

fn bind(address: &Listen, workers: usize) -> io::Result<Listener> {
    let (actual, sockets) = match address {
        Listen::Tcp(address) => {
            let (actual, sockets) = bind_tcp(*address, workers)?;
            (Listen::Tcp(actual), sockets)
        }
        // One queue for all: whoever is free takes the next.
        Listen::Unix(path) => (address.clone(), vec![bind_unix(path, BACKLOG, |_| Ok(()))?]),
    };
    Ok(Listener {
        asked: Some(address.clone()),
        address: actual,
        sockets,
        metrics: false,
    })
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

/// Listens at a path with a socket that was `prepared`; so many connections may wait there. A socket that nobody listens on
/// any more is replaced.
///
/// # Errors
/// The system's, and where the path is somebody's.
pub(crate) fn bind_unix(
    path: &Path,
    backlog: i32,
    prepare: impl FnOnce(BorrowedFd<'_>) -> Result<(), Errno>,
) -> io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = stream_socket(AddressFamily::UNIX)?;
    prepare(socket.as_fd())?;
    if let Err(error) = rustix::net::bind(&socket, &address) {
        if error != Errno::ADDRINUSE || !is_stale(path, &address)? {
            return Err(error.into());
        }
        std::fs::remove_file(path)?;
        rustix::net::bind(&socket, &address)?;
    }
    rustix::net::listen(&socket, backlog)?;
    Ok(socket)
}

/// Whether a process that has ended left this socket behind: nobody listens on it.
///
/// # Errors
/// A file of another kind refuses connections too, and is somebody's.
fn is_stale(path: &Path, address: &SocketAddrUnix) -> io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        let message = "there is a file that is no socket; expected a socket, or nothing there";
        return Err(io::Error::other(message));
    }
    let probe = stream_socket(AddressFamily::UNIX)?;
    Ok(rustix::net::connect(&probe, address) == Err(Errno::CONNREFUSED))
}
