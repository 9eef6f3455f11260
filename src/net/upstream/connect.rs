//! A connection to a provider: a socket, a tunnel where there is a proxy, TLS.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};

use crate::config::{BaseUrl, Host, Provider, Proxy};
use crate::observe::times::Connecting;
use crate::observe::{self, ProviderCounters, Timing};
use crate::policy::error::{Fault, Scarce};
use crate::tls;
use crate::tls::handshake::Role;

use super::proxy::{ProxyError, tunnel};
use super::search::Search;
use crate::net::sockets::socket::{Socket, is_scarce};
use crate::net::transport::stream::Stream;
use crate::net::transport::tls::{TlsStream, may_pass};
use crate::net::worker::Worker;

/// Why there is no connection: the step that failed and what was said.
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
    fn is_the_other_ends(&self) -> bool {
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

/// A connection that was made, and what it took.
pub(crate) struct Connected {
    /// Ready for a request.
    pub stream: Stream,
    /// What the host's name stood for, if it was reached by one.
    pub address: Option<IpAddr>,
    /// How long each step took.
    pub took: Connecting,
    resumed: bool,
}

impl Connected {
    fn plain(stream: Stream, connect: Duration) -> Self {
        Self {
            stream,
            address: None,
            took: Connecting { connect, tls: None },
            resumed: false,
        }
    }

    /// Counts it.
    pub(crate) fn count(&self, counters: &ProviderCounters) {
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

/// Connects to the provider with this index in the configuration in force, TLS included.
///
/// # Errors
/// The step that failed.
///
/// # Cancel safety
/// A dropped attempt closes its sockets; nothing was sent but a handshake.
pub(crate) async fn connect(worker: &Worker, index: usize) -> Result<Connected, ConnectError> {
    // Both before the first wait: a reload may change what is in force.
    let (gateway, tls) = (worker.gateway(), worker.client_tls(index));
    let (provider, _) = gateway.provider(index).ok_or_else(unknown)?;
    let base = &provider.base;
    let began = Instant::now();
    #[cfg(fuzzing)]
    if let Some(answer) = crate::net::harness::dialled(base.port).await {
        let answer = answer.map(|stream| Connected::plain(stream, began.elapsed()));
        return answer.map_err(ConnectError::Connect);
    }
    let (host, port) = match &provider.proxy {
        Some(proxy) => (&proxy.host, proxy.port),
        None => (&base.host, base.port),
    };
    let mut search = Search::new(worker, host, port);
    loop {
        match attempt(worker, provider, tls.clone(), &mut search, began).await {
            Ok(mut connected) => {
                connected.address = search.ends();
                return Ok(connected);
            }
            // Nothing of a request has been sent: whoever the right one is may be found at a new address.
            Err(error) if error.is_the_other_ends() && search.goes_on().await => {}
            Err(error) => return Err(error),
        }
    }
}

/// One connection, to whatever address answers.
async fn attempt(
    worker: &Worker,
    provider: &Provider,
    tls: Option<Arc<ClientConfig>>,
    search: &mut Search<'_>,
    began: Instant,
) -> Result<Connected, ConnectError> {
    let base = &provider.base;
    let socket = match &provider.proxy {
        Some(proxy) => through(worker, proxy, base, search).await?,
        None => search.socket().await?,
    };
    let connect = began.elapsed();
    let Some(tls) = tls else {
        return Ok(Connected::plain(Stream::plain(socket), connect));
    };
    let name = match &base.host {
        Host::Ip(ip) => ServerName::IpAddress((*ip).into()),
        host => ServerName::try_from(host.to_string()).map_err(|error| {
            ConnectError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error))
        })?,
    };
    let tls = UnbufferedClientConnection::new(tls, name)
        .map_err(|error| ConnectError::Tls(io::Error::other(tls::Fault::from(error))))?;
    let mut stream = TlsStream::new(socket, Role::Client(tls), worker.seal_room.clone());
    stream
        .handshake(&worker.scratch, &worker.turns)
        .await
        .map_err(ConnectError::Tls)?;
    let resumed = stream.handshake_kind() == Some(HandshakeKind::Resumed);
    let mut connected = Connected::plain(Stream::Tls(Box::new(stream)), connect);
    connected.took.tls = Some(began.elapsed().saturating_sub(connect));
    connected.resumed = resumed;
    Ok(connected)
}

/// Only a defect leads here.
fn unknown() -> ConnectError {
    ConnectError::Connect(io::Error::new(io::ErrorKind::NotFound, "no such provider"))
}

/// A socket whose other end is `base`, behind the proxy.
async fn through(
    worker: &Worker,
    proxy: &Proxy,
    base: &BaseUrl,
    search: &mut Search<'_>,
) -> Result<Socket, ConnectError> {
    let mut socket = search.socket().await.map_err(|error| match error {
        ConnectError::Resolve(error) => ConnectError::Proxy(ProxyError::Resolve(error)),
        ConnectError::Connect(error) if !is_scarce(&error) => {
            ConnectError::Proxy(ProxyError::Connect(error))
        }
        error => error,
    })?;
    let opened = tunnel(worker, &mut socket, proxy, base).await;
    opened.map(|()| socket).map_err(ConnectError::Proxy)
}
