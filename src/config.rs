//! Configuration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use crate::route::ProviderKind;

#[derive(Debug)]
pub struct Config {
    pub server: Server,
    pub auth: Auth,
    pub passthrough: Passthrough,
    pub limits: Limits,
    pub timeouts: Timeouts,
    pub metrics: Metrics,
    pub log: LogConfig,
    pub upstream: UpstreamTls,
    pub providers: Vec<Provider>,
}
#[derive(Debug)]
pub struct Server {
    pub listen: Vec<Listen>,
    pub base_path: String,
    pub workers: Option<NonZeroUsize>,
    pub driver: Driver,
    pub tls: Option<ServerTls>,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen { Tcp(SocketAddr), Unix(PathBuf) }
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self { Self::Tcp(a) => write!(f, "{a}"), Self::Unix(p) => write!(f, "unix:{}", p.display()) }
    }
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver { Auto, IoUring, Epoll }
#[derive(Debug)]
pub struct ServerTls { pub cert: PathBuf, pub key: PathBuf, pub client_ca: Option<PathBuf> }
#[derive(Debug)]
pub struct Auth { pub master_key: Option<Secret>, pub keys_file: Option<PathBuf> }
#[derive(Debug)]
pub struct Passthrough { pub enabled: bool, pub v1_alias: bool }
#[derive(Debug)]
pub struct Limits { pub body: Option<u64> }
#[derive(Debug)]
pub struct Timeouts { pub request: Option<Duration>, pub response_header: Duration, pub connect: Duration, pub request_header: Duration, pub idle_client: Duration, pub body_idle: Duration, pub tunnel_idle: Duration, pub drain_delay: Duration, pub drain: Duration }
#[derive(Debug)]
pub struct Metrics { pub enabled: bool, pub endpoint: String }
#[derive(Debug)]
pub struct LogConfig { pub format: LogFormat, pub level: Level, pub access: bool }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat { Text, Json }
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level { Error, Warn, Info, Debug }
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(match self { Self::Error => "error", Self::Warn => "warn", Self::Info => "info", Self::Debug => "debug" }) }
}
#[derive(Debug)]
pub struct UpstreamTls { pub ca_file: Option<PathBuf>, pub ca_dir: Option<PathBuf> }
#[derive(Debug)]
pub struct Provider { pub name: String, pub kind: ProviderKind, pub base: BaseUrl, pub credential: Credential, pub defaults: Vec<(String, String)>, pub headers: Vec<(String, String)>, pub idle_upstream: Duration }
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct BaseUrl { pub tls: bool, pub host: Host, pub port: u16, pub authority: String, pub path: String }
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Host { Name(String), Ip(IpAddr) }
#[derive(Debug)]
pub enum Credential { Bearer(Secret), XApiKey(Secret), None, Client }
pub struct Secret(Vec<u8>);
impl Secret { pub fn expose(&self) -> &[u8] { &self.0 } }
impl fmt::Debug for Secret { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str("[redacted]") } }
#[derive(Debug)]
pub struct ManagedKey;
pub fn from_process(_f: Option<PathBuf>) -> Result<(Config, Arc<[ManagedKey]>), String> {
    let s = Duration::from_secs;
    let e = |k: &str| std::env::var(k).ok();
    let port: u16 = e("PORT").unwrap_or_default().parse().unwrap_or(8080);
    let up = e("ANTHROPIC_BASE_URL").unwrap_or_default();
    let (tls, rest) = if let Some(r) = up.strip_prefix("https://") { (true, r) } else { (false, up.strip_prefix("http://").unwrap_or("127.0.0.1:9001/v1")) };
    let (auth, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (h, p) = auth.split_once(':').unwrap_or((auth, "80"));
    Ok((Config {
        server: Server { listen: vec![Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))], base_path: String::new(), workers: NonZeroUsize::new(1), driver: if e("SLUICEGATE_DRIVER").as_deref() == Some("epoll") { Driver::Epoll } else { Driver::Auto }, tls: e("SLUICEGATE_TLS_CERT").map(|c| ServerTls { cert: c.into(), key: e("SLUICEGATE_TLS_KEY").unwrap_or_default().into(), client_ca: None }) },
        auth: Auth { master_key: e("GOMODEL_MASTER_KEY").map(|k| Secret(k.into_bytes())), keys_file: None },
        passthrough: Passthrough { enabled: true, v1_alias: true },
        limits: Limits { body: None },
        timeouts: Timeouts { request: None, response_header: s(600), connect: s(5), request_header: s(10), idle_client: s(120), body_idle: s(600), tunnel_idle: s(3600), drain_delay: s(0), drain: s(300) },
        metrics: Metrics { enabled: false, endpoint: "/metrics".into() },
        log: LogConfig { format: LogFormat::Json, level: if e("LOG_LEVEL").as_deref() == Some("warn") { Level::Warn } else { Level::Info }, access: true },
        upstream: UpstreamTls { ca_file: e("SSL_CERT_FILE").map(Into::into), ca_dir: None },
        providers: vec![Provider { name: "anthropic".into(), kind: ProviderKind::Anthropic, base: BaseUrl { tls, host: h.parse().map_or(Host::Name(h.into()), Host::Ip), port: p.parse().unwrap_or(80), authority: auth.into(), path: format!("/{path}") }, credential: Credential::XApiKey(Secret(e("ANTHROPIC_API_KEY").unwrap_or_default().into_bytes())), defaults: vec![("anthropic-version".into(), "2023-06-01".into())], headers: vec![], idle_upstream: s(60) }],
    }, Arc::new([])))
}
