//! A connection to a provider: a socket, a tunnel where there is a proxy, TLS.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::{ClientConfig, HandshakeKind};

use crate::config::{BaseUrl, Instance, Proxy};
use crate::log::{Log, Value};
use crate::observe::times::Connecting;
use crate::observe::{self, ProviderCounters, Timing};
use crate::tls;
use crate::tls::handshake::Role;

use super::failure::ConnectError;
use super::proxy::{ProxyError, tunnel};
use super::search::Search;
use super::upstreams::Upstreams;
use crate::net::sockets::socket::{Socket, is_scarce};
use crate::net::transport::stream::Stream;
use crate::net::transport::tls::TlsStream;
use crate::net::transport::tls_config::server_name;

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

    /// Tells of it who looks for a fault.
    pub(crate) fn tell(&self, log: &Log, provider: &str) {
        if !log.tells_all() {
            return;
        }
        let micros =
            |time: Duration| Value::Number(time.as_micros().try_into().unwrap_or(u64::MAX));
        let address = self
            .address
            .map_or_else(String::new, |address| address.to_string());
        let kind = match self.took.tls {
            None => "none",
            Some(_) if self.resumed => "resumed",
            Some(_) => "full",
        };
        log.debug(
            "connected",
            &[
                ("provider", Value::Text(&provider)),
                ("address", Value::Text(&address)),
                ("connect_us", micros(self.took.connect)),
                ("tls", Value::Text(&kind)),
                ("tls_us", micros(self.took.tls.unwrap_or_default())),
            ],
        );
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

/// Connects to the site with this number in the configuration in force, TLS included.
///
/// # Errors
/// The step that failed.
///
/// # Cancel safety
/// A dropped attempt closes its sockets; nothing was sent but a handshake.
pub(crate) async fn connect(upstreams: &Upstreams, site: usize) -> Result<Connected, ConnectError> {
    // Both before the first wait: a reload may change what is in force.
    let core = &upstreams.core;
    let (gateway, tls) = (core.gateway(), core.in_force.client_tls(site));
    let (_, instance) = gateway.at(site).ok_or_else(unknown)?;
    let base = &instance.base;
    let began = Instant::now();
    if let Some(dial) = upstreams.dialler {
        let dialled = dial(base.port)
            .await
            .map_err(|error| ConnectError::Connect(error, None))?;
        return Ok(Connected::plain(dialled, began.elapsed()));
    }
    let (host, port) = match &instance.proxy {
        Some(proxy) => (&proxy.host, proxy.port),
        None => (&base.host, base.port),
    };
    let mut search = Search::new(upstreams, host, port);
    loop {
        match attempt(upstreams, instance, tls.clone(), &mut search, began).await {
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
    upstreams: &Upstreams,
    instance: &Instance,
    tls: Option<Arc<ClientConfig>>,
    search: &mut Search<'_>,
    began: Instant,
) -> Result<Connected, ConnectError> {
    let base = &instance.base;
    let socket = match &instance.proxy {
        Some(proxy) => through(upstreams, proxy, base, search).await?,
        None => search.socket().await?,
    };
    let connect = began.elapsed();
    let Some(tls) = tls else {
        return Ok(Connected::plain(Stream::plain(socket), connect));
    };
    let name = server_name(&base.host).map_err(ConnectError::Tls)?;
    let tls = UnbufferedClientConnection::new(tls, name)
        .map_err(|error| ConnectError::Tls(io::Error::other(tls::Fault::from(error))))?;
    let core = &upstreams.core;
    let mut stream = TlsStream::new(socket, Role::Client(tls), core.seal_room.clone());
    stream
        .handshake(&core.scratch, &core.turns)
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
    ConnectError::Connect(
        io::Error::new(io::ErrorKind::NotFound, "no such provider"),
        None,
    )
}

/// A socket whose other end is `base`, behind the proxy.
async fn through(
    upstreams: &Upstreams,
    proxy: &Proxy,
    base: &BaseUrl,
    search: &mut Search<'_>,
) -> Result<Socket, ConnectError> {
    let mut socket = search.socket().await.map_err(|error| match error {
        ConnectError::Resolve(error) => ConnectError::Proxy(ProxyError::Resolve(error)),
        ConnectError::Connect(error, _) if !is_scarce(&error) => {
            ConnectError::Proxy(ProxyError::Connect(error))
        }
        error => error,
    })?;
    let opened = tunnel(&upstreams.core.scratch, &mut socket, proxy, base).await;
    opened.map(|()| socket).map_err(ConnectError::Proxy)
}
