//! A connection to a provider: addresses, TCP to the first of them that answers or a Unix socket, a tunnel
//! where there is a proxy, TLS.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;

use crate::config::{BaseUrl, Host, Provider, Proxy, Tcp};
use crate::observe::times::Connecting;
use crate::observe::{self, ProviderCounters, Timing};
use crate::tls::Fault;
use crate::tls::handshake::Role;

use super::deadline::{Clock, TICK};
use super::proxy::{ProxyError, tunnel};
use super::socket::{Socket, is_scarce};
use super::stream::Stream;
use super::tls::TlsStream;
use super::worker::Worker;

/// How long one address is given at least before the next is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(200);

/// Why there is no connection: the step that failed and what was said.
#[derive(Debug)]
pub enum ConnectError {
    /// The name has no address.
    Resolve(io::Error),
    /// No address accepted.
    Connect(io::Error),
    /// The TLS handshake failed.
    Tls(io::Error),
    /// The proxy gave no tunnel.
    Proxy(ProxyError),
}

/// A connection that was made, and what it took.
pub struct Connected {
    /// Ready for a request.
    pub stream: Stream,
    /// How long each step took.
    pub took: Connecting,
    resumed: bool,
}

impl Connected {
    /// Counts it.
    pub fn count(&self, counters: &ProviderCounters) {
        observe::add(&counters.connects, 1);
        counters.observe(Timing::Connect, self.took.connect);
        if let Some(time) = self.took.tls {
            counters.observe(Timing::Tls, time);
            let handshakes = match self.resumed {
                true => &counters.resumed_handshakes,
                false => &counters.full_handshakes,
            };
            observe::add(handshakes, 1);
        }
    }
}

/// Connects to `provider`, TLS included.
///
/// # Errors
/// The step that failed.
///
/// # Cancel safety
/// A dropped attempt closes its sockets; nothing was sent but a handshake.
pub async fn connect(worker: &Worker, provider: &Provider) -> Result<Connected, ConnectError> {
    let base = &provider.base;
    // Before the first wait: a reload may change what is in force.
    let tls = match base.tls {
        true => Some(worker.client_tls(provider).ok_or_else(replaced)?),
        false => None,
    };
    let began = Instant::now();
    let connected = |stream, connect| Connected {
        stream,
        took: Connecting { connect, tls: None },
        resumed: false,
    };
    #[cfg(fuzzing)]
    if let Some(answer) = super::harness::dialled(base.port).await {
        let answer = answer.map(|stream| connected(stream, began.elapsed()));
        return answer.map_err(ConnectError::Connect);
    }
    let socket = match &provider.proxy {
        Some(proxy) => through(worker, proxy, base).await?,
        None => reach(worker, &base.host, base.port).await?,
    };
    let connect = began.elapsed();
    let Some(tls) = tls else {
        return Ok(connected(Stream::plain(socket), connect));
    };
    let name = match &base.host {
        Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
        host => ServerName::try_from(host.to_string()).map_err(|error| {
            ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error))
        })?,
    };
    let tls = UnbufferedClientConnection::new(tls, name)
        .map_err(|error| ConnectError::Tls(io::Error::other(Fault::from(error))))?;
    let mut stream = TlsStream::new(socket, Role::Client(tls), worker.seal_room.clone());
    stream
        .handshake(&worker.scratch)
        .await
        .map_err(ConnectError::Tls)?;
    let resumed = stream.handshake_kind() == Some(HandshakeKind::Resumed);
    let mut connected = connected(Stream::Tls(Box::new(stream)), connect);
    connected.took.tls = Some(began.elapsed().saturating_sub(connect));
    connected.resumed = resumed;
    Ok(connected)
}

/// A request that began before a reload and connects after it has no certificate to show any more.
fn replaced() -> ConnectError {
    let message = "the client certificate was replaced meanwhile";
    ConnectError::Tls(io::Error::other(message))
}

/// A socket whose other end is `base`, behind the proxy.
async fn through(worker: &Worker, proxy: &Proxy, base: &BaseUrl) -> Result<Socket, ConnectError> {
    let reached = reach(worker, &proxy.host, proxy.port).await;
    let mut socket = reached.map_err(|error| match error {
        ConnectError::Resolve(error) => ConnectError::Proxy(ProxyError::Resolve(error)),
        ConnectError::Connect(error) if !is_scarce(&error) => {
            ConnectError::Proxy(ProxyError::Connect(error))
        }
        error => error,
    })?;
    let opened = tunnel(worker, &mut socket, proxy, base).await;
    opened.map(|()| socket).map_err(ConnectError::Proxy)
}

/// A socket that is connected to a host.
async fn reach(worker: &Worker, host: &Host, port: u16) -> Result<Socket, ConnectError> {
    let addresses = match host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
        Host::Name(name) => worker
            .names
            .lookup(name, port)
            .await
            .map_err(ConnectError::Resolve)?,
        Host::Unix(path) => {
            return reach_unix(&worker.clock, path)
                .await
                .map_err(ConnectError::Connect);
        }
    };
    let tcp = worker.gateway().config.tcp;
    first_to_answer(&worker.clock, &addresses, &tcp)
        .await
        .map_err(ConnectError::Connect)
}

/// Tries again for as long as the caller waits while the queue there is full: the kernel has no event for that.
async fn reach_unix(clock: &Rc<Clock>, path: &Path) -> io::Result<Socket> {
    loop {
        if let Some(socket) = Socket::connect_unix(path)? {
            return Ok(socket);
        }
        clock.sleep(TICK).await;
    }
}

/// Tries the addresses in order, the next one beside the last after [`STAGGER`] or at once on its failure.
async fn first_to_answer(
    clock: &Rc<Clock>,
    addresses: &[SocketAddr],
    tcp: &Tcp,
) -> io::Result<Socket> {
    let mut waiting = addresses.iter();
    let mut attempts: Vec<Socket> = Vec::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
    loop {
        match waiting.next().map(|address| Socket::connect(*address, tcp)) {
            Some(Ok(socket)) => attempts.push(socket),
            Some(Err(error)) => {
                failure = error;
                continue;
            }
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let stagger = clock.register();
        stagger.set(STAGGER);
        let event = poll_fn(|cx| {
            for (index, socket) in attempts.iter_mut().enumerate() {
                if socket.poll_writable(cx).is_ready() {
                    return Poll::Ready(Some((index, socket.take_error())));
                }
            }
            if waiting.len() == 0 {
                return Poll::Pending;
            }
            stagger.poll(cx).map(|()| None)
        })
        .await;
        match event {
            Some((index, Ok(()))) => return Ok(attempts.swap_remove(index)),
            Some((index, Err(error))) => {
                attempts.swap_remove(index);
                failure = error;
            }
            None => {}
        }
    }
}
