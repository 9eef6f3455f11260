//! What the program uses: everything that was configured, read and checked.
//!
//! `Default` is only what a field holds until the defaults of `tables` are read into it.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::ages::Ages;
use super::error::ConfigError;
use super::kind::ProviderKind;
use super::listeners::Listen;
use super::networks::Network;
use super::origin::Origin;
use super::places::Places;
use super::provider::instance::Provider;
use super::secret::Secret;
use super::trust::Trust;
use super::url::BaseUrl;

/// Everything that was configured.
#[derive(Clone, Debug, Default)]
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
    /// Spans and metrics for a collector.
    pub otlp: Otlp,
    /// Connections over TCP, to clients and to providers.
    pub tcp: Tcp,
    /// How long a host's addresses are used until they are asked for anew.
    pub address_age: Duration,
    /// Trust towards providers that have no `ca_file` of their own.
    pub trust: Trust,
    /// Trust towards proxies that have no `proxy_ca_file` of their own.
    pub proxy_trust: Trust,
    /// Instances that exist and whose type is enabled; the index is a provider's number.
    pub providers: Vec<Provider>,
    /// Where all of this but the providers was written.
    pub places: Places,
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

    /// Whether anything is made of how long requests take.
    #[must_use]
    pub fn takes_times(&self) -> bool {
        self.is_counted()
            || self.log.has_requests()
            || self.otlp.has_spans()
            || self.server.server_timing
    }

    /// Whether anybody learns what is counted.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.metrics.are_wanted() || self.otlp.has_metrics()
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
            control,
            ..
        } = &self.server;
        (
            listen.clone(),
            *workers,
            *driver,
            *spin,
            (*landlock, *dumpable, control.clone()),
            self.metrics.listen.clone(),
            self.log.format,
            self.log.level,
            self.log.file.clone(),
        )
    }
}

/// Listening.
#[derive(Clone, Debug, Default)]
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
    /// Where operators' commands are listened for; `None` is nowhere.
    pub control: Option<PathBuf>,
    /// Responses say in `Server-Timing` what took how long.
    pub server_timing: bool,
    /// Pages that browsers let use the gateway; none is no CORS at all.
    pub cors_origins: Vec<Origin>,
    /// Whether connections begin with what a balancer says of their clients.
    pub proxy_protocol: ProxyProtocol,
    /// Balancers that are believed.
    pub trusted: Vec<Network>,
    /// TLS towards clients.
    pub tls: Option<ServerTls>,
}

/// Whether connections begin with a PROXY header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No.
    #[default]
    Off,
    /// Those of trusted peers may.
    Optional,
    /// All of them, and there are no others than trusted peers.
    Required,
}

/// Whether threads are confined to the files that they need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Landlock {
    /// Where the kernel can.
    #[default]
    Auto,
    /// Or nothing is started.
    On,
    /// No.
    Off,
}

/// Which event loop is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// The best that works.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// TLS towards clients; all PEM files.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Certificate chain.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Demands client certificates signed by these.
    pub client_ca: Option<PathBuf>,
}

/// Gateway keys.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// The one key for everything.
    pub master_key: Option<Secret>,
    /// There shall be none, whoever sets one.
    pub master_key_disabled: bool,
    /// Managed keys.
    pub keys_file: Option<PathBuf>,
    /// It is meant that nobody is asked for a key, if there is none.
    pub open: bool,
    /// How long the answer to a wrong key is held back at most; zero for not at all.
    pub wrong_key_delay: Duration,
}

/// Routes.
#[derive(Clone, Debug, Default)]
pub struct Passthrough {
    /// Whether `/p/` is served.
    pub enabled: bool,
    /// Whether a leading `v1` is dropped.
    pub v1_alias: bool,
    /// Types exposed.
    pub kinds: Vec<ProviderKind>,
    /// A field that no provider is sent, beyond those that none ever is.
    pub user_path_header: String,
}

/// Limits. What goes beyond one of the last five is answered 503, or closed where it speaks TLS.
#[derive(Clone, Debug, Default)]
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
#[derive(Clone, Debug, Default)]
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
    pub body_idle: Option<Duration>,
    /// No byte either way after a 101.
    pub tunnel_idle: Duration,
    /// Unhealthy but serving, before the listeners close.
    pub drain_delay: Duration,
    /// What is under way may take this long then.
    pub drain: Duration,
}

/// How the kernel looks after connections over TCP, to clients and to providers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// A peer that says nothing is asked whether it is still there; `None` is not at all.
    pub keepalive: Option<Keepalive>,
    /// How long a peer may take nothing, or acknowledge nothing, until the kernel gives it up; `None` is the
    /// kernel's own time.
    pub user_timeout: Option<Duration>,
}

/// When a silent peer is asked, and when it is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence until it is asked first; whole seconds.
    pub idle: Duration,
    /// Between two questions; whole seconds.
    pub interval: Duration,
    /// Questions without an answer until it is given up.
    pub probes: u32,
}

/// Metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Whether they are served beside the providers.
    pub enabled: bool,
    /// Their path.
    pub endpoint: String,
    /// Addresses where they are served, with a page that shows them, and nothing else but the health.
    pub listen: Vec<Listen>,
    /// Who has it may look at them; without one whoever reaches them may.
    pub key: Option<Secret>,
}

impl Metrics {
    /// Whether anybody can ask for them, so that it is worth counting.
    #[must_use]
    pub fn are_wanted(&self) -> bool {
        self.enabled || !self.listen.is_empty()
    }
}

/// Log lines.
#[derive(Clone, Debug, Default)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// The least important line that is written.
    pub level: Level,
    /// A line per request; `None` unless `level` hides what is worth knowing.
    pub access: Option<bool>,
    /// Those about the health too.
    pub health: bool,
    /// Where these lines go.
    pub file: LogFile,
}

impl LogConfig {
    /// Whether a line per request is written.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        self.access.unwrap_or(self.level >= Level::Info)
    }
}

/// Spans and metrics for a collector (OTLP over HTTP).
#[derive(Clone, Debug, Default)]
pub struct Otlp {
    /// Where the collector is; `/v1/traces` and `/v1/metrics` are below it. `None` is off.
    pub endpoint: Option<BaseUrl>,
    /// Whatever the endpoint is: off.
    pub disabled: bool,
    /// Sent with every request to it.
    pub headers: Vec<(String, Secret)>,
    /// A span for every request.
    pub traces: bool,
    /// The metrics.
    pub metrics: bool,
    /// Of the requests that are in no trace yet: those that get one.
    pub sample: Ratio,
    /// Between two sets of metrics.
    pub interval: Duration,
    /// How long the collector has to take a message.
    pub timeout: Duration,
    /// `service.name`
    pub service_name: String,
    /// What else is said of this process.
    pub resource: BTreeMap<String, String>,
    /// Trust towards the collector.
    pub trust: Trust,
}

impl Otlp {
    /// Where to, unless it is off.
    #[must_use]
    pub fn place(&self) -> Option<&BaseUrl> {
        self.endpoint.as_ref().filter(|_| !self.disabled)
    }

    /// Whether spans are made.
    #[must_use]
    pub fn has_spans(&self) -> bool {
        self.traces && self.place().is_some()
    }

    /// Whether metrics are sent.
    #[must_use]
    pub fn has_metrics(&self) -> bool {
        self.metrics && self.place().is_some()
    }
}

/// A part of all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Ratio(pub f64);

impl Ratio {
    /// Of the numbers of 63 bits, as many are below this one.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is from 0 to 2^63"
    )]
    pub fn threshold(self) -> u64 {
        const ALL: f64 = (1_u64 << 63) as f64;
        (self.0.clamp(0.0, 1.0) * ALL) as u64
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogFile {
    /// To standard error, among the messages.
    #[default]
    Stderr,
    /// To standard output.
    Stdout,
    /// Into this file.
    Path(PathBuf),
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    #[default]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Act on it.
    Error,
    /// Look at it.
    Warn,
    /// Good to know.
    #[default]
    Info,
    /// For finding faults.
    Debug,
}

impl Level {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
