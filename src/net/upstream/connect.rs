//! A connection to a provider: a socket, a tunnel where there is a proxy, TLS.

use std::cell::Cell;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::{ClientConfig, HandshakeKind};

use crate::config::{BaseUrl, Host, Instance, Proxy, ProxyKind};
use crate::hops::socks::Target;
use crate::log::{Log, Value};
use crate::observe::times::Connecting;
use crate::observe::{self, ProviderCounters, Timing};
use crate::tls;
use crate::tls::handshake::Role;

use super::failure::ConnectError;
use super::proxy::{ProxyError, negotiate, tunnel, tunnel_in_tls};
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
    let gateway = core.gateway();
    let tls = Tls {
        provider: core.in_force.client_tls(site),
        proxy: core.in_force.proxy_tls(site),
    };
    let (_, instance) = gateway.at(site).ok_or_else(unknown)?;
    let base = &instance.base;
    let began = Instant::now();
    if let Some(dial) = upstreams.dialler {
        let dialled = dial(base.port)
            .await
            .map_err(|error| ConnectError::Connect(error, None))?;
        return Ok(Connected::plain(dialled, began.elapsed()));
    }
    if let Some(alone) = Alone::of(upstreams, instance, began) {
        // Boxed: others need not have room for it.
        return Box::pin(alone.reached(&tls, instance)).await;
    }
    let (host, port) = match &instance.proxy {
        Some(proxy) => (&proxy.host, proxy.port),
        None => (&base.host, base.port),
    };
    let mut search = Search::new(upstreams, host, port);
    loop {
        match attempt(upstreams, instance, &tls, &mut search, began).await {
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

/// An address of a name that is an instance of its own. Who asks for the name is told when it is not reached.
struct Alone<'a> {
    upstreams: &'a Upstreams,
    name: &'a str,
    address: IpAddr,
    host: Host,
    began: Instant,
    /// Nothing is to be told of it any more.
    is_over: Cell<bool>,
}

/// So long a wait that is given up tells something of the address.
const LONG: Duration = Duration::from_secs(1);

impl<'a> Alone<'a> {
    fn of(upstreams: &'a Upstreams, instance: &'a Instance, began: Instant) -> Option<Self> {
        let (name, address) = instance.name_of_many().zip(instance.address)?;
        Some(Self {
            upstreams,
            name,
            address,
            host: Host::Ip(address),
            began,
            is_over: Cell::new(false),
        })
    }

    async fn reached(self, tls: &Tls, instance: &Instance) -> Result<Connected, ConnectError> {
        let mut search = Search::new(self.upstreams, &self.host, instance.base.port);
        let attempt = attempt(self.upstreams, instance, tls, &mut search, self.began).await;
        self.is_over.set(true);
        match attempt {
            Ok(mut connected) => {
                search.ends();
                connected.address = Some(self.address);
                Ok(connected)
            }
            Err(error) => {
                self.failed(&error);
                Err(error)
            }
        }
    }

    fn failed(&self, error: &ConnectError) {
        // Our own descriptors say nothing of others.
        let is_own = matches!(error, ConnectError::Connect(error, _) if is_scarce(error));
        if !is_own {
            self.tell();
        }
    }

    fn tell(&self) {
        self.upstreams.names.is_unreached(self.name, self.address);
    }
}

impl Drop for Alone<'_> {
    /// The caller's time is over, or its client has left.
    fn drop(&mut self) {
        if !self.is_over.get() && self.began.elapsed() >= LONG {
            self.tell();
        }
    }
}

/// What TLS is spoken with.
struct Tls {
    provider: Option<Arc<ClientConfig>>,
    proxy: Option<Arc<ClientConfig>>,
}

/// One connection, to whatever address answers.
async fn attempt(
    upstreams: &Upstreams,
    instance: &Instance,
    tls: &Tls,
    search: &mut Search<'_>,
    began: Instant,
) -> Result<Connected, ConnectError> {
    let core = &upstreams.core;
    let base = &instance.base;
    let way = match &instance.proxy {
        // Boxed: others need not have room for it.
        Some(proxy) => Box::pin(through(upstreams, proxy, tls, base, search)).await?,
        None => Way::Plain(search.socket().await?),
    };
    let connect = began.elapsed();
    let Some(tls) = &tls.provider else {
        return Ok(Connected::plain(way.into_stream(), connect));
    };
    let role = role(tls, &base.host).map_err(ConnectError::Tls)?;
    let mut stream = match way {
        Way::Plain(socket) => TlsStream::new(socket, role, core.seal_room.clone()),
        Way::Tls(stream) => TlsStream::over(*stream, role).map_err(ConnectError::Tls)?,
    };
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

/// A client of TLS, for a server with this name.
fn role(config: &Arc<ClientConfig>, host: &Host) -> io::Result<Role> {
    let connection = UnbufferedClientConnection::new(config.clone(), server_name(host)?);
    let connection = connection.map_err(|error| io::Error::other(tls::Fault::from(error)))?;
    Ok(Role::Client(connection))
}

/// Only a defect leads here.
fn unknown() -> ConnectError {
    ConnectError::Connect(
        io::Error::new(io::ErrorKind::NotFound, "no such provider"),
        None,
    )
}

/// What leads to a provider.
enum Way {
    /// TCP, all the way or beyond a proxy.
    Plain(Socket),
    /// TLS with a proxy.
    Tls(Box<TlsStream>),
}

impl Way {
    /// To a provider that speaks no TLS itself.
    fn into_stream(self) -> Stream {
        match self {
            Self::Plain(socket) => Stream::plain(socket),
            Self::Tls(stream) => Stream::Tls(stream),
        }
    }
}

/// A way whose other end is `base`, behind the proxy.
async fn through(
    upstreams: &Upstreams,
    proxy: &Proxy,
    tls: &Tls,
    base: &BaseUrl,
    search: &mut Search<'_>,
) -> Result<Way, ConnectError> {
    let core = &upstreams.core;
    let to_proxy = ConnectError::Proxy;
    if proxy.kind.is_socks() {
        return through_socks(upstreams, proxy, base, search).await;
    }
    let mut socket = search.socket().await.map_err(of_proxy)?;
    let Some(config) = &tls.proxy else {
        let opened = tunnel(&core.scratch, &mut socket, proxy, base).await;
        return opened.map(|()| Way::Plain(socket)).map_err(to_proxy);
    };
    let failed = |error| to_proxy(ProxyError::Tls(error));
    let role = role(config, &proxy.host).map_err(failed)?;
    let mut stream = Box::new(TlsStream::new(socket, role, core.seal_room.clone()));
    let shaken = stream.handshake(&core.scratch, &core.turns).await;
    shaken.map_err(failed)?;
    let opened = tunnel_in_tls(&core.scratch, &mut stream, proxy, base).await;
    opened.map(|()| Way::Tls(stream)).map_err(to_proxy)
}

/// Addresses of a provider's that a proxy is asked for, each over a connection of its own.
pub(crate) const TARGETS_MAX: usize = 3;

/// A SOCKS5 proxy is asked for the name, or for the addresses that it stands for here until it reaches one of them.
async fn through_socks(
    upstreams: &Upstreams,
    proxy: &Proxy,
    base: &BaseUrl,
    search: &mut Search<'_>,
) -> Result<Way, ConnectError> {
    let addresses = match &base.host {
        Host::Ip(ip) => vec![*ip],
        Host::Name(name) if proxy.kind == ProxyKind::Socks5 => {
            let (ages, random) = (
                upstreams.core.gateway().config.ages(),
                upstreams.core.ids.random(),
            );
            let found = upstreams.names.lookup(name, ages, None, random).await;
            found.map_err(ConnectError::Resolve)?.addresses
        }
        Host::Name(_) | Host::Unix(_) => Vec::new(),
    };
    let host = base.host.to_string();
    let ips = addresses.into_iter().take(TARGETS_MAX).map(Target::Ip);
    let mut targets = ips.collect::<Vec<_>>().into_iter();
    let mut target = targets.next().unwrap_or(Target::Name(&host));
    let mut socket = search.socket().await.map_err(of_proxy)?;
    loop {
        match (
            negotiate(&mut socket, proxy, target, base.port).await,
            targets.next(),
        ) {
            (Ok(()), _) => return Ok(Way::Plain(socket)),
            (Err(ProxyError::Socks(error)), Some(next)) if error.is_of_address() => target = next,
            (Err(error), _) => return Err(ConnectError::Proxy(error)),
        }
        // It is there; its answer has ended the connection.
        let mut again = Search::new(upstreams, &proxy.host, proxy.port);
        socket = again.socket().await.map_err(of_proxy)?;
        again.ends();
    }
}

/// Why the proxy itself is not reached.
fn of_proxy(error: ConnectError) -> ConnectError {
    match error {
        ConnectError::Resolve(error) => ConnectError::Proxy(ProxyError::Resolve(error)),
        ConnectError::Connect(error, _) if !is_scarce(&error) => {
            ConnectError::Proxy(ProxyError::Connect(error))
        }
        error => error,
    }
}
