//! Configuration: environment, `.env`, TOML file, defaults → one immutable [`Config`]. Pure: files are
//! read through a function that is handed in.
//!
//! `file` is what a user wrote, [`Config`] is what the program uses; `resolve` goes from one to the other and
//! names source, key and expectation where it cannot.

mod access;
mod ages;
mod describe;
mod dotenv;
mod egress;
mod file;
pub(crate) mod keys;
pub(crate) mod kind;
mod listeners;
mod origin;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
mod provider;
mod resolve;
pub(crate) mod rules;
mod secret;
mod source;
mod syntax;
mod tcp;
#[cfg(test)]
mod tests;
mod trust;
mod url;
pub(crate) mod value;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::rules::Rules;

pub(crate) use ages::Ages;
pub(crate) use egress::{ClientIdentity, Proxy};
pub use kind::ProviderKind;
pub(crate) use origin::{ORIGIN_BYTES_MAX, Origin};
pub(crate) use provider::HEAD_ADDED_BYTES_MAX;
pub use resolve::load;
pub(crate) use secret::Secret;
pub use source::Sources;
pub(crate) use trust::{CaFile, CertVariables, Trust};

/// A file with every setting, its default and its variable: what operators start from.
pub(crate) const REFERENCE: &str = include_str!("../contrib/sluicegate.toml");

/// Everything that was configured.
#[derive(Debug)]
pub struct Config {
    /// The file it was read from, if any.
    pub file: Option<PathBuf>,
    /// Listening.
    pub server: Server,
    /// Gateway keys.
    pub auth: Auth,
    /// Routes.
    pub passthrough: Passthrough,
    /// Limits.
    pub limits: Limits,
    /// Time limits.
    pub timeouts: Timeouts,
    /// Metrics.
    pub metrics: Metrics,
    /// Log lines.
    pub log: LogConfig,
    /// Connections over TCP, to clients and to providers.
    pub tcp: Tcp,
    /// How long a host's addresses are used until they are asked for anew.
    pub address_age: Duration,
    /// Trust towards providers that have no `ca_file` of their own.
    pub trust: Trust,
    /// Instances that exist and whose type is enabled; the index is a provider's number.
    pub providers: Vec<Provider>,
    /// What is in force and can hardly be meant so. None of it holds a secret.
    pub warnings: Vec<ConfigError>,
    /// Why not all addresses can be listened on; of no account where a service manager has opened others.
    pub listen_conflict: Option<ConfigError>,
}

impl Config {
    /// How old the addresses of hosts may be.
    #[must_use]
    pub fn ages(&self) -> Ages {
        Ages::new(self.address_age)
    }

    /// What only a new start puts in force.
    #[must_use]
    pub fn fixed(&self) -> impl PartialEq {
        let Server {
            listen,
            workers,
            driver,
            spin,
            landlock,
            dumpable,
            ..
        } = &self.server;
        (
            listen.clone(),
            *workers,
            *driver,
            *spin,
            (*landlock, *dumpable),
            self.metrics.listen.clone(),
            self.log.format,
            self.log.level,
            self.log.file.clone(),
        )
    }
}

/// Listening.
#[derive(Debug)]
pub struct Server {
    /// Addresses.
    pub listen: Vec<Listen>,
    /// Mount prefix without a slash at its end; empty for `/`.
    pub base_path: String,
    /// Worker threads; `None` is one per usable core.
    pub workers: Option<NonZeroUsize>,
    /// Event loop.
    pub driver: Driver,
    /// How long a worker polls after traffic before it sleeps; zero is not at all.
    pub spin: Duration,
    /// Whether threads are confined.
    pub landlock: Landlock,
    /// Its memory may be looked at by other processes of its account, and written to a core dump.
    pub dumpable: bool,
    /// Responses say in `Server-Timing` what took how long.
    pub server_timing: bool,
    /// Pages that browsers let use the gateway; none is no CORS at all.
    pub cors_origins: Vec<Origin>,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
}

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected addresses such as 127.0.0.1:8080, [::]:8080 or unix:/run/gate.sock";
        match text.trim().strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Self::Unix(path.into()))
            }
            Some(_) => Err(EXPECTED),
            None => text.trim().parse().map(Self::Tcp).map_err(|_| EXPECTED),
        }
    }
}

/// Whether threads are confined to the files that they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// Where the kernel can.
    Auto,
    /// Or nothing is started.
    On,
    /// No.
    Off,
}

/// Which event loop is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The best that works.
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// TLS towards clients; all PEM files.
#[derive(Debug)]
pub struct ServerTls {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Demands client certificates signed by these.
    pub client_ca: Option<PathBuf>,
}

/// Gateway keys.
#[derive(Debug)]
pub struct Auth {
    /// The one key for everything.
    pub master_key: Option<Secret>,
    /// Managed keys.
    pub keys_file: Option<PathBuf>,
    /// It is meant that nobody is asked for a key, if there is none.
    pub open: bool,
    /// How long the answer to a wrong key is held back at most; zero for not at all.
    pub wrong_key_delay: Duration,
}

/// Routes.
#[derive(Debug)]
pub struct Passthrough {
    /// Whether `/p/` is served.
    pub enabled: bool,
    /// Whether a leading `v1` is dropped.
    pub v1_alias: bool,
    /// Types exposed.
    pub kinds: Vec<ProviderKind>,
}

/// Limits. What goes beyond one of the last five is answered 503, or closed where it speaks TLS.
#[derive(Debug)]
pub struct Limits {
    /// Most bytes of request content.
    pub body: Option<u64>,
    /// Client connections per worker; `None` is as many as there are descriptors for.
    pub connections: Option<NonZeroUsize>,
    /// Client connections per address, of all workers together.
    pub connections_per_address: Option<NonZeroUsize>,
    /// TLS handshakes under way with clients per address, of all workers together.
    pub handshakes_per_address: Option<NonZeroUsize>,
    /// Requests under way per worker.
    pub in_flight: Option<NonZeroUsize>,
    /// Connections per provider and worker.
    pub upstream_connections: Option<NonZeroUsize>,
}

/// Time limits.
#[derive(Debug)]
pub struct Timeouts {
    /// A whole exchange.
    pub request: Option<Duration>,
    /// Request sent until response head.
    pub response_header: Duration,
    /// Connecting, TLS included.
    pub connect: Duration,
    /// First byte of a head until its last; and as long for the first byte of a connection's first, and
    /// for the TLS handshake.
    pub request_header: Duration,
    /// Between requests.
    pub idle_client: Duration,
    /// No byte of content either way.
    pub body_idle: Duration,
    /// No byte either way after a 101.
    pub tunnel_idle: Duration,
    /// Unhealthy but serving, before the listeners close.
    pub drain_delay: Duration,
    /// What is under way may take this long then.
    pub drain: Duration,
}

/// How the kernel looks after connections over TCP, to clients and to providers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// A peer that says nothing is asked whether it is still there; `None` is not at all.
    pub keepalive: Option<Keepalive>,
    /// How long a peer may take nothing, or acknowledge nothing, until the kernel gives it up; `None` is the
    /// kernel's own time.
    pub user_timeout: Option<Duration>,
}

/// When a silent peer is asked, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence until it is asked first; whole seconds.
    pub idle: Duration,
    /// Between two questions; whole seconds.
    pub interval: Duration,
    /// Questions without an answer until it is given up.
    pub probes: u32,
}

/// Metrics.
#[derive(Debug)]
pub struct Metrics {
    /// Whether they are served beside the providers.
    pub enabled: bool,
    /// Their path.
    pub endpoint: String,
    /// Addresses where they are served, and nothing else but the health.
    pub listen: Vec<Listen>,
}

impl Metrics {
    /// Whether anybody can ask for them, so that it is worth counting.
    #[must_use]
    pub fn are_wanted(&self) -> bool {
        self.enabled || !self.listen.is_empty()
    }
}

/// Log lines.
#[derive(Debug)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important line that is written.
    pub level: Level,
    /// A line per request.
    pub access: bool,
    /// Where these lines go.
    pub file: LogFile,
}

impl LogConfig {
    /// Whether a line per request is written.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        self.access && self.level >= Level::Info
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFile {
    /// To standard error, among the messages.
    Stderr,
    /// To standard output.
    Stdout,
    /// Into this file.
    Path(PathBuf),
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
    /// `name=value`, for both.
    Logfmt,
}

impl LogFormat {
    /// Its name in configuration files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Logfmt => "logfmt",
        }
    }
}

/// Importance, highest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Act on it.
    Error,
    /// Look at it.
    Warn,
    /// Good to know.
    Info,
    /// For finding faults.
    Debug,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        })
    }
}

/// One instance.
pub struct Provider {
    /// Its name in paths.
    pub name: String,
    /// Its type.
    pub kind: ProviderKind,
    /// Where it is.
    pub base: BaseUrl,
    /// The proxy on the way there.
    pub proxy: Option<Proxy>,
    /// The certificate that it is shown if it asks for one.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Whom its own certificate is trusted on the word of.
    pub trust: Trust,
    /// What it is sent.
    pub credential: Credential,
    /// Fields that are set when the client does not send them.
    pub defaults: Vec<(String, String)>,
    /// Fields that are always set, in place of the client's.
    pub headers: Vec<(String, String)>,
    /// How long an idle connection is kept.
    pub idle_upstream: Duration,
    /// Connections made ahead of requests, per worker.
    pub warm: usize,
    /// The only endpoints it is asked for.
    pub allow: Option<Rules>,
    /// Endpoints it is not asked for, on the list above or not.
    pub deny: Rules,
}

impl Provider {
    /// Whether both are the same name, place and way there. What their TLS depends on is not looked at.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        self.name == other.name && self.base == other.base && self.proxy == other.proxy
    }

    /// Whether it is limited to methods and endpoints, or kept from some.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.allow.is_some() || !self.deny.is_empty()
    }

    /// The host name that a connection to it begins with, where it has one: the proxy's, or its own.
    #[must_use]
    pub fn reached_by_name(&self) -> Option<&str> {
        let proxy = self.proxy.as_ref().map(|proxy| &proxy.host);
        match proxy.unwrap_or(&self.base.host) {
            Host::Name(name) => Some(name),
            Host::Ip(_) | Host::Unix(_) => None,
        }
    }

    /// Whether it is asked for `endpoint`, as it is written in a target and without a slash before it.
    #[must_use]
    pub fn serves(&self, method: &[u8], endpoint: &[u8]) -> bool {
        let allowed = |rules: &Rules| rules.allow(method, endpoint);
        self.allow.as_ref().is_none_or(allowed) && !self.deny.deny(method, endpoint)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A configured header may be a credential.
        let headers: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("base", &self.base)
            .field("proxy", &self.proxy)
            .field("identity", &self.identity)
            .field("trust", &self.trust)
            .field("credential", &self.credential)
            .field("defaults", &self.defaults)
            .field("headers", &headers)
            .field("idle_upstream", &self.idle_upstream)
            .field("warm", &self.warm)
            .field("allow", &self.allow)
            .field("deny", &self.deny)
            .finish()
    }
}

/// A provider's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// https
    pub tls: bool,
    /// Host.
    pub host: Host,
    /// Port; 0 for a Unix socket.
    pub port: u16,
    /// As it goes into `Host`.
    pub authority: String,
    /// Without a slash at its end; may be empty.
    pub path: String,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name to resolve.
    Name(String),
    /// An address.
    Ip(IpAddr),
    /// This machine: the path of a Unix socket.
    Unix(PathBuf),
}

/// What a provider is sent as credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `Authorization: Bearer`
    Bearer(Secret),
    /// `x-api-key`
    XApiKey(Secret),
    /// Nothing.
    None,
    /// The client's own.
    Client,
}

/// Source, key and expectation of a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    from: String,
    key: String,
    message: String,
}

impl ConfigError {
    /// `message` must not hold a secret.
    #[must_use]
    pub fn new(from: &str, key: &str, message: impl ToString) -> Self {
        Self {
            from: from.to_owned(),
            key: key.to_owned(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{}{gap}{}: {}", self.from, self.key, self.message)
    }
}

impl std::error::Error for ConfigError {}
