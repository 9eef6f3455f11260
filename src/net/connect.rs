//! A connection to a provider: addresses, TCP to the first of them that answers, TLS.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;

use crate::config::{Host, Provider};
use crate::observe::times::Connecting;
use crate::observe::{self, ProviderCounters, Timing};
use crate::tls::handshake::Role;

use super::deadline::Clock;
use super::socket::Socket;
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
    let addresses = match &base.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, base.port)],
        Host::Name(name) => worker
            .names
            .lookup(name, base.port)
            .await
            .map_err(ConnectError::Resolve)?,
    };
    let socket = first_to_answer(&worker.clock, &addresses)
        .await
        .map_err(ConnectError::Connect)?;
    let connect = began.elapsed();
    if !base.tls {
        return Ok(connected(Stream::plain(socket), connect));
    }
    let name = match &base.host {
        Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|error| {
            ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error))
        })?,
    };
    let tls = UnbufferedClientConnection::new(worker.client_tls(), name)
        .map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
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

/// Tries the addresses in order, the next one beside the last after [`STAGGER`] or at once on its failure.
async fn first_to_answer(clock: &Rc<Clock>, addresses: &[SocketAddr]) -> io::Result<Socket> {
    let mut waiting = addresses.iter();
    let mut attempts: Vec<Socket> = Vec::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "no address to connect to");
    loop {
        match waiting.next().map(|address| Socket::connect(*address)) {
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
