//! `sluicegate check --connect`: goes to every provider the way a request would, and asks for its list of models.
//!
//! Each step has ten seconds. What a provider or a proxy says goes no further than its status; the credential goes to
//! the provider alone, and is never shown.

mod leg;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ClientConfig, ProtocolVersion};
use zeroize::Zeroizing;

use crate::base::VERSION;
use crate::config::{BaseUrl, Config, Credential, Host, Instance, Provider, Proxy, ProxyKind};
use crate::hops::socks::Target;
use crate::net::sockets::answer::final_status;
use crate::net::sockets::dial::{self, Bound, Socket, Timed};
use crate::net::transport::tls_config::TlsConfigs;
use crate::net::upstream::connect::TARGETS_MAX;
use crate::net::upstream::proxy::ProxyError;
use crate::policy::provider_lines::ProviderLines;
use crate::providers::roster::Roster;

use leg::Leg;

/// How long each step may take.
const STEP: Duration = Duration::from_secs(10);

/// Providers that are asked at once.
const AT_ONCE: usize = 16;

/// A line for every provider, and whether each of them was reached and took its credential.
pub(super) fn providers(config: &Config, tls: &TlsConfigs) -> (String, bool) {
    let mut site = 0;
    let numbered = config.providers.iter().map(|provider| {
        let instances = provider.instances().count();
        let of_it: Vec<_> = (site..site + instances)
            .map(|site| Tls {
                provider: tls.client(site),
                proxy: tls.proxy(site),
            })
            .collect();
        site += instances;
        (provider, of_it)
    });
    let numbered: Vec<_> = numbered.collect();
    let tried = numbered.chunks(AT_ONCE).flat_map(|some| {
        thread::scope(|scope| {
            let started = some.iter();
            let started = started.map(|(provider, tls)| scope.spawn(move || report(provider, tls)));
            let started: Vec<_> = started.collect();
            let ended = started.into_iter().map(|thread| thread.join());
            ended.map(Result::unwrap_or_default).collect::<Vec<_>>()
        })
    });
    let (mut out, mut all_good) = (String::new(), true);
    for (line, is_good) in tried {
        out.push_str(&line);
        all_good &= is_good;
    }
    if numbered.is_empty() {
        out.push_str("no provider is configured\n");
    }
    (out, all_good)
}

/// What TLS is spoken with.
struct Tls {
    provider: Option<Arc<ClientConfig>>,
    proxy: Option<Arc<ClientConfig>>,
}

/// What is said of a provider: of each of its instances, of the first one with each of its keys, and whether all of it
/// is good.
fn report(provider: &Provider, tls: &[Tls]) -> (String, bool) {
    let (mut lines, mut all_good) = (String::new(), true);
    let instances = provider.instances().count();
    for (index, instance) in provider.instances().enumerate() {
        let which = match instances {
            1 => String::new(),
            _ => format!(" instance {} of {instances}", index + 1),
        };
        for (at, instance) in (0..).zip(at_each_address(instance)) {
            let keys = match (index, at) {
                (0, 0) => provider.keys().count().max(1),
                _ => 1,
            };
            let sent = Sent {
                provider,
                instance: &instance,
                place: index.try_into().unwrap_or_default(),
                key: 0,
            };
            let (said, is_good) = with_keys(sent, keys, &which, tls.get(index));
            lines.push_str(&said);
            all_good &= is_good;
        }
    }
    (lines, all_good)
}

/// The instance at each of its name's addresses, where these are instances; else, and where it has none, as it is.
fn at_each_address(instance: &Instance) -> Vec<Instance> {
    let port = instance.base.port;
    let found = instance
        .name_of_many()
        .and_then(|name| dial::resolve(name, port, &Bound::of(STEP)).ok());
    let found = found.unwrap_or_default();
    let found: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
    let mut roster = Roster::default();
    roster.answered(&found, Duration::ZERO);
    let at = |address| Instance {
        address,
        ..instance.clone()
    };
    let mut each: Vec<Instance> = roster.addresses().map(Some).map(at).collect();
    if each.is_empty() {
        each.push(at(None));
    }
    each
}

/// What is said of an instance with each of so many keys.
fn with_keys(sent: Sent<'_>, keys: usize, which: &str, tls: Option<&Tls>) -> (String, bool) {
    let (mut lines, mut all_good) = (String::new(), true);
    let Sent {
        provider, instance, ..
    } = sent;
    for (key, number) in (0..).zip(1..=keys) {
        let mut way = Way::to(instance);
        let (verdict, rest) = match way.go(Sent { key, ..sent }, tls) {
            Ok(status) => judge(provider, status),
            Err(error) => (Verdict::NotReached, format!(": {error}")),
        };
        let with = match keys {
            1 => String::new(),
            _ => format!(" with key {number} of {keys}"),
        };
        let name = &provider.name;
        lines.push_str(&format!("{name}{which}{with}: {verdict}: {way}{rest}\n"));
        all_good &= matches!(verdict, Verdict::Reached);
        if matches!(verdict, Verdict::NotReached) {
            // Nor will another key get there.
            break;
        }
    }
    (lines, all_good)
}

/// Where the request goes, and with which key.
#[derive(Clone, Copy)]
struct Sent<'p> {
    provider: &'p Provider,
    instance: &'p Instance,
    place: u8,
    key: u8,
}

/// What comes of it.
#[derive(Clone, Copy)]
enum Verdict {
    Reached,
    Refused,
    NotReached,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "reachable",
            Self::Refused => "credential refused",
            Self::NotReached => "not reachable",
        })
    }
}

/// What a status means: whoever answers is there, and some of them ask for another credential.
fn judge(provider: &Provider, status: u16) -> (Verdict, String) {
    let said = format!(": answered {status}");
    match (status, &provider.credential) {
        (401 | 403, Credential::Client) => (
            Verdict::Reached,
            format!("{said}, since clients bring the credential"),
        ),
        (401 | 403, Credential::None) => {
            (Verdict::Refused, format!("{said}, and none is configured"))
        }
        (401 | 403, Credential::Key(..)) => (Verdict::Refused, said),
        _ => (Verdict::Reached, said),
    }
}

/// How far it went.
struct Way {
    base: String,
    proxy: Option<String>,
    address: Option<SocketAddr>,
    tls: Option<ProtocolVersion>,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)?;
        if let Some(proxy) = &self.proxy {
            write!(f, " through {proxy}")?;
        }
        if let Some(address) = self.address {
            write!(f, " at {address}")?;
        }
        match self.tls {
            Some(ProtocolVersion::TLSv1_3) => f.write_str(" with TLS 1.3"),
            Some(_) => f.write_str(" with TLS 1.2"),
            None => Ok(()),
        }
    }
}

/// The step that failed.
#[derive(Debug)]
enum Failure {
    Resolve(io::Error),
    Connect(io::Error),
    Proxy(ProxyError),
    Tls(io::Error),
    Answer(io::Error),
}

impl Failure {
    /// Whoever wants a certificate says so where the handshake is over for us.
    fn answer(error: io::Error) -> Self {
        let inner = error.get_ref();
        match inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            true => Self::Tls(error),
            false => Self::Answer(error),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "its name has no address: {error}"),
            Self::Connect(error) => write!(f, "no connection: {error}"),
            Self::Proxy(error) => write!(f, "the proxy gave no tunnel: {error}"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Answer(error) => write!(f, "no answer: {error}"),
        }
    }
}

impl Way {
    fn to(instance: &Instance) -> Self {
        Self {
            base: instance.base.to_string(),
            proxy: instance.proxy.as_ref().map(Proxy::to_string),
            address: None,
            tls: None,
        }
    }

    /// Goes all of it; the status of the answer.
    fn go(&mut self, sent: Sent<'_>, tls: Option<&Tls>) -> Result<u16, Failure> {
        let base = &sent.instance.base;
        let mut leg = match &sent.instance.proxy {
            Some(proxy) => self.through(proxy, base, tls.and_then(|tls| tls.proxy.clone()))?,
            None => {
                let alone = sent.instance.address.map(Host::Ip);
                let host = alone.as_ref().unwrap_or(&base.host);
                Leg::Plain(self.connect(host, base.port)?)
            }
        };
        *leg.bound() = Bound::of(STEP);
        let request = models_request(sent);
        let Some(tls) = tls.and_then(|tls| tls.provider.clone()) else {
            return ask(&mut leg, &request, Leg::bound).map_err(Failure::answer);
        };
        let mut stream = leg::shake_hands(leg, &base.host, tls).map_err(Failure::Tls)?;
        self.tls = stream.conn.protocol_version();
        ask(&mut stream, &request, |stream| stream.sock.bound()).map_err(Failure::answer)
    }

    /// What a proxy opens.
    fn through(
        &mut self,
        proxy: &Proxy,
        base: &BaseUrl,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Leg, Failure> {
        let targets = targets(proxy, base)?;
        let stream = self.connect(&proxy.host, proxy.port).map_err(as_proxys)?;
        if let Some((target, others)) = targets.split_first() {
            let mut leg = Leg::Plain(stream);
            let mut asked = leg.negotiate(proxy, *target, base.port);
            for other in others {
                match &asked {
                    Err(ProxyError::Socks(error)) if error.is_of_address() => {}
                    _ => break,
                }
                leg = Leg::Plain(self.connect(&proxy.host, proxy.port).map_err(as_proxys)?);
                asked = leg.negotiate(proxy, *other, base.port);
            }
            return asked.map(|()| leg).map_err(Failure::Proxy);
        }
        let mut leg = match tls {
            None => Leg::Plain(stream),
            Some(tls) => {
                let shaken = leg::shake_hands(stream, &proxy.host, tls);
                let stream = shaken.map_err(|error| Failure::Proxy(ProxyError::Tls(error)))?;
                Leg::Tls(Box::new(stream))
            }
        };
        *leg.bound() = Bound::of(STEP);
        leg.tunnel(proxy, base).map_err(Failure::Proxy)?;
        Ok(leg)
    }

    fn connect(&mut self, host: &Host, port: u16) -> Result<Timed, Failure> {
        let bound = Bound::of(STEP);
        let addresses = match host {
            Host::Unix(path) => {
                let socket = dial::unix(path, &bound).map_err(Failure::Connect)?;
                return Ok(Timed::new(Socket::Unix(socket), bound));
            }
            Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
            Host::Name(name) => dial::resolve(name, port, &bound).map_err(Failure::Resolve)?,
        };
        let bound = Bound::of(STEP);
        let connected = dial::tcp(&addresses, &bound);
        let (socket, address) = connected.map_err(|(address, error)| {
            self.address = Some(address);
            Failure::Connect(error)
        })?;
        self.address = Some(address);
        Ok(Timed::new(Socket::Tcp(socket), bound))
    }
}

/// Where a SOCKS5 proxy is asked to lead; nowhere for others.
fn targets<'b>(proxy: &Proxy, base: &'b BaseUrl) -> Result<Vec<Target<'b>>, Failure> {
    match (&base.host, proxy.kind) {
        (_, ProxyKind::Http | ProxyKind::Https) | (Host::Unix(_), _) => Ok(Vec::new()),
        (Host::Ip(ip), _) => Ok(vec![Target::Ip(*ip)]),
        (Host::Name(name), ProxyKind::Socks5h) => Ok(vec![Target::Name(name)]),
        (Host::Name(name), ProxyKind::Socks5) => {
            let found = dial::resolve(name, base.port, &Bound::of(STEP));
            let found = found.map_err(Failure::Resolve)?.into_iter();
            let ips = found.map(|address| Target::Ip(address.ip()));
            Ok(ips.take(TARGETS_MAX).collect())
        }
    }
}

fn as_proxys(failure: Failure) -> Failure {
    match failure {
        Failure::Resolve(error) => Failure::Proxy(ProxyError::Resolve(error)),
        Failure::Connect(error) => Failure::Proxy(ProxyError::Connect(error)),
        failure => failure,
    }
}

/// The request for the list of models, with all that the gateway adds.
fn models_request(sent: Sent<'_>) -> Zeroizing<Vec<u8>> {
    let provider = sent.provider;
    let lines = ProviderLines::new(provider, None);
    let path = &sent.instance.base.path;
    let mut more = String::new();
    let agent = format!("sluicegate/{VERSION}");
    let own = [
        ("Accept", "application/json"),
        ("User-Agent", &*agent),
        ("Connection", "close"),
    ];
    let defaults = provider.defaults.iter();
    let defaults = defaults.map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in defaults.chain(own) {
        let mut set = provider.headers.iter().chain(&sent.instance.headers);
        if !set.any(|(set, _)| set.eq_ignore_ascii_case(name)) {
            more.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    let start = format!("GET {path}/models HTTP/1.1\r\n");
    let parts = [
        start.as_bytes(),
        lines.always(sent.place, sent.key),
        more.as_bytes(),
        b"\r\n",
    ];
    // Never moved while it grows, which would leave the key behind.
    let bytes = parts.iter().map(|part| part.len()).sum();
    let mut request = Zeroizing::new(Vec::with_capacity(bytes));
    parts
        .iter()
        .for_each(|part| request.extend_from_slice(part));
    request
}

/// Sends the request, and reads the head of the final answer: its status.
fn ask<S: io::Read + io::Write>(
    stream: &mut S,
    request: &[u8],
    bound: impl Fn(&mut S) -> &mut Bound,
) -> io::Result<u16> {
    *bound(stream) = Bound::of(STEP);
    stream.write_all(request)?;
    stream.flush()?;
    final_status(stream)
}
