//! Connections that commands make, to gateways and to providers, and those to a collector: over TCP or a Unix socket, never
//! waiting beyond a time. Blocks its thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{BaseUrl, Host};

/// Until when something may take.
#[derive(Clone, Copy)]
pub(crate) struct Bound {
    until: Instant,
    time: Duration,
}

impl Bound {
    /// So long from now on.
    #[must_use]
    pub(crate) fn of(time: Duration) -> Self {
        let until = Instant::now() + time;
        Self { until, time }
    }

    /// What is left of it.
    ///
    /// # Errors
    /// When that is nothing.
    pub(crate) fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(self.late()),
            false => Ok(left),
        }
    }

    fn late(&self) -> io::Error {
        let message = format!("no answer within {} s", self.time.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, message)
    }

    /// Does what cannot be given a bound, in a thread that is left behind where it takes longer.
    fn within<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let (done, result) = channel();
        thread::Builder::new().spawn(move || done.send(work()))?;
        let result = result.recv_timeout(self.left()?);
        result.unwrap_or_else(|_| Err(self.late()))
    }
}

/// The addresses of a host.
///
/// # Errors
/// When the system knows none.
pub(crate) fn resolve(host: &str, port: u16, bound: &Bound) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    #[expect(
        clippy::disallowed_methods,
        reason = "no core of a gateway waits for this thread"
    )]
    let look_up = move || Ok((&*host, port).to_socket_addrs()?.collect::<Vec<_>>());
    let addresses = bound.within(look_up)?;
    match addresses.is_empty() {
        true => Err(io::Error::other("the name has no address")),
        false => Ok(addresses),
    }
}

/// A connection to the first address that accepts one, and which that is; each has its share of the time.
///
/// # Errors
/// The last one, and what it said.
pub(crate) fn tcp(
    addresses: &[SocketAddr],
    bound: &Bound,
) -> Result<(TcpStream, SocketAddr), (SocketAddr, io::Error)> {
    let mut last = (
        SocketAddr::from(([0; 4], 0)),
        io::Error::other("the name has no address"),
    );
    for (address, others) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let others = u32::try_from(others).unwrap_or(u32::MAX);
        let connected = bound.left().and_then(|left| {
            let connected = TcpStream::connect_timeout(address, left / others);
            connected.map_err(|error| match error.kind() {
                io::ErrorKind::TimedOut => bound.late(),
                _ => error,
            })
        });
        match connected {
            Ok(stream) => return Ok((stream, *address)),
            Err(error) => last = (*address, error),
        }
    }
    Err(last)
}

/// A connection to a Unix socket.
///
/// # Errors
/// The system's.
pub(crate) fn unix(path: &Path, bound: &Bound) -> io::Result<UnixStream> {
    let path = path.to_owned();
    // It waits where the queue is full.
    bound.within(move || UnixStream::connect(path))
}

/// A connection to where a URL leads.
///
/// # Errors
/// The system's.
pub(crate) fn base(place: &BaseUrl, bound: Bound) -> io::Result<Timed> {
    match &place.host {
        Host::Unix(path) => Ok(Timed::new(Socket::Unix(unix(path, &bound)?), bound)),
        Host::Name(host) => name(host, place.port, bound),
        Host::Ip(ip) => name(&ip.to_string(), place.port, bound),
    }
}

/// A connection to whatever a name stands for.
///
/// # Errors
/// The system's.
pub(crate) fn name(host: &str, port: u16, bound: Bound) -> io::Result<Timed> {
    let addresses = resolve(host, port, &bound)?;
    let connected = tcp(&addresses, &bound);
    let (socket, _) = connected.map_err(|(_, error)| error)?;
    Ok(Timed::new(Socket::Tcp(socket), bound))
}

/// A connection whose reads and writes end with a bound.
pub(crate) struct Timed {
    socket: Socket,
    /// Until when whatever comes next may take.
    pub bound: Bound,
}

/// Either kind.
pub(crate) enum Socket {
    /// TCP
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
}

impl Timed {
    /// With the bound of what comes first.
    #[must_use]
    pub(crate) fn new(socket: Socket, bound: Bound) -> Self {
        Self { socket, bound }
    }

    fn said<T>(&self, result: io::Result<T>) -> io::Result<T> {
        // What a socket's timeout is called.
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => self.bound.late(),
            _ => error,
        })
    }
}

impl Read for Timed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = Some(self.bound.left()?);
            let read = match &mut self.socket {
                Socket::Tcp(socket) => {
                    socket.set_read_timeout(left)?;
                    socket.read(into)
                }
                Socket::Unix(socket) => {
                    socket.set_read_timeout(left)?;
                    socket.read(into)
                }
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return self.said(read),
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = Some(self.bound.left()?);
        let written = match &mut self.socket {
            Socket::Tcp(socket) => {
                socket.set_write_timeout(left)?;
                socket.write(bytes)
            }
            Socket::Unix(socket) => {
                socket.set_write_timeout(left)?;
                socket.write(bytes)
            }
        };
        self.said(written)
    }

    /// Nothing is held back.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
