//! From sources to a [`Config`]: environment first, then file, then defaults, key by key.

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::number;
use crate::config::kind::{ProviderKind, UnknownKind};
use crate::http::target::{self, Target};

use super::egress::{self, Egress, ProxyChoice};
use super::file::{self, File, Scalar};
use super::provider::Tables;
use super::source::{self, Env, Sources};
use super::{
    Auth, Config, ConfigError, Driver, Landlock, Level, Limits, Listen, LogConfig, LogFile,
    LogFormat, Metrics, Origin, Passthrough, Server, ServerTls, Timeouts, Trust, listeners,
    provider, tcp, value,
};

/// Longer than that, polling is a core burnt for nothing.
const SPIN_MAX: Duration = Duration::from_millis(10);

/// Reads and resolves a configuration.
///
/// # Errors
/// The first value that cannot be used.
pub fn load(sources: &Sources<'_>) -> Result<Config, ConfigError> {
    let env = Env::new(sources)?;
    let config = resolve(sources, &env);
    // First: whatever else is wrong may only follow from it.
    env.was_readable()?;
    Ok(Config {
        warnings: env.warnings(),
        ..config?
    })
}

fn resolve(sources: &Sources<'_>, env: &Env<'_>) -> Result<Config, ConfigError> {
    let (path, file) = read_file(sources, env)?;
    let from = path
        .as_ref()
        .map_or_else(|| "configuration".to_owned(), |p| p.display().to_string());
    let resolver = Resolver { env, from: &from };
    let passthrough = resolver.passthrough(&file)?;
    let egress = resolver.egress(sources, &file.upstream)?;
    let trust = egress.trust.clone();
    let named = sources.file.is_some() || env.is_of_environment("SLUICEGATE_CONFIG");
    let is_found = |path: &PathBuf| !named && path.as_os_str() != SYSTEM_FILE;
    let tables = Tables {
        from: &from,
        is_stray: path.as_ref().is_some_and(is_found),
        providers: file.providers,
        egress,
    };
    let providers = provider::resolve(sources, env, tables, &passthrough.kinds)?;
    let auth = resolver.auth(&file.auth)?;
    let server = resolver.server(&file.server, &auth)?;
    let metrics = resolver.metrics(file.metrics)?;
    Ok(Config {
        listen_conflict: resolver.listen_conflict(&server.listen, &metrics.listen),
        server,
        auth,
        passthrough,
        limits: resolver.limits(&file.limits)?,
        timeouts: resolver.timeouts(&file.timeouts)?,
        metrics,
        log: resolver.log(sources, &file.log)?,
        tcp: tcp::resolve(&from, &file.tcp)?,
        address_age: resolver.address_age(&file.upstream)?,
        trust,
        providers,
        warnings: Vec::new(),
        file: path,
    })
}

/// Where a file is looked for last.
const SYSTEM_FILE: &str = "/etc/sluicegate/sluicegate.toml";

/// The first file of the search order; one that is named has to be there.
fn read_file(sources: &Sources<'_>, env: &Env<'_>) -> Result<(Option<PathBuf>, File), ConfigError> {
    let named = sources
        .file
        .clone()
        .or_else(|| env.get("SLUICEGATE_CONFIG").map(PathBuf::from));
    let candidates = match &named {
        Some(path) => vec![path.clone()],
        None => vec!["sluicegate.toml".into(), SYSTEM_FILE.into()],
    };
    for path in candidates {
        let from = path.display().to_string();
        match (sources.read)(&path) {
            Ok(bytes) => {
                let content = source::text(bytes, &from)?;
                let file = file::parse(&content, &from, |key, name| env.expand(key, name))?;
                return Ok((Some(path), file));
            }
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ConfigError::new(
                    &from,
                    "",
                    format!("cannot read it: {error}"),
                ));
            }
        }
    }
    Ok((None, File::default()))
}

pub(super) struct Resolver<'a> {
    pub(super) env: &'a Env<'a>,
    /// The file's name for messages.
    pub(super) from: &'a str,
}

impl Resolver<'_> {
    /// The variable, else the file's value.
    pub(super) fn scalar<T>(
        &self,
        variable: &str,
        key: &str,
        written: &Option<Scalar>,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, ConfigError> {
        // A bad value in the file is an error also where the environment has another.
        let parsed = written.as_ref().map(|scalar| parse(&scalar.0)).transpose();
        let parsed = parsed.map_err(|expected| ConfigError::new(self.from, key, expected))?;
        Ok(self.env.parsed(variable, &parse)?.or(parsed))
    }

    pub(super) fn switch(
        &self,
        variable: &str,
        key: &str,
        written: &Option<Scalar>,
        default: bool,
    ) -> Result<bool, ConfigError> {
        Ok(self
            .scalar(variable, key, written, value::switch)?
            .unwrap_or(default))
    }

    /// An empty path is no way to have none: with keys it would open the gateway.
    pub(super) fn path(
        &self,
        variable: &str,
        key: &str,
        written: Option<&str>,
    ) -> Result<Option<PathBuf>, ConfigError> {
        if written == Some("") {
            let message = "expected the path of a file; leave it out for none";
            return Err(ConfigError::new(self.from, key, message));
        }
        Ok(self.env.get(variable).or(written).map(PathBuf::from))
    }

    /// Where a value comes from that this variable gives if it is set.
    fn place(&self, variable: &str) -> String {
        let set = self.env.located(variable);
        set.map_or_else(|| self.from.to_owned(), |(_, place)| place)
    }

    fn server(&self, table: &file::ServerTable, auth: &Auth) -> Result<Server, ConfigError> {
        let workers = self.scalar(
            "SLUICEGATE_WORKERS",
            "server.workers",
            &table.workers,
            |text| {
                let count = number::decimal(text).and_then(|count| usize::try_from(count).ok());
                count
                    .filter(|count| *count <= 1024)
                    .ok_or("expected a number of threads, at most 1024; 0 for one per core")
            },
        )?;
        let driver = Some(Scalar(table.driver.clone().unwrap_or("auto".into())));
        let driver = self.scalar(
            "SLUICEGATE_DRIVER",
            "server.driver",
            &driver,
            |text| match text {
                "auto" => Ok(Driver::Auto),
                "io_uring" => Ok(Driver::IoUring),
                "epoll" => Ok(Driver::Epoll),
                _ => Err("expected auto, io_uring or epoll"),
            },
        )?;
        let tls = self.tls(table.tls.as_ref())?;
        Ok(Server {
            listen: self.listen(table, auth, tls.as_ref())?,
            base_path: self.base_path(table)?,
            workers: workers.and_then(NonZeroUsize::new),
            driver: driver.unwrap_or(Driver::Auto),
            spin: self
                .scalar("", "server.spin", &table.spin, spin)?
                .unwrap_or_default(),
            landlock: self
                .scalar(
                    "SLUICEGATE_LANDLOCK",
                    "server.landlock",
                    &table.landlock,
                    landlock,
                )?
                .unwrap_or(Landlock::Auto),
            dumpable: self.switch(
                "SLUICEGATE_DUMPABLE",
                "server.dumpable",
                &table.dumpable,
                false,
            )?,
            server_timing: self.switch("", "server.server_timing", &table.server_timing, false)?,
            cors_origins: self.cors_origins(table)?,
            tls,
        })
    }

    fn listen_conflict(&self, server: &[Listen], metrics: &[Listen]) -> Option<ConfigError> {
        let (for_metrics, message) = listeners::conflict(server, metrics)?;
        if for_metrics {
            return Some(ConfigError::new(self.from, "metrics.listen", message));
        }
        let variable = "SLUICEGATE_LISTEN";
        let (key, from) = match self.env.located(variable) {
            Some((_, from)) => (variable, from),
            None => ("server.listen", self.from.to_owned()),
        };
        Some(ConfigError::new(&from, key, message))
    }

    /// A bad value in the file is an error also where the environment has others.
    fn cors_origins(&self, table: &file::ServerTable) -> Result<Vec<Origin>, ConfigError> {
        const VARIABLE: &str = "SLUICEGATE_CORS_ORIGINS";
        let written = table.cors_origins.iter().flatten().map(String::as_str);
        let written = origins(self.from, "server.cors_origins", written)?;
        match self.env.located(VARIABLE) {
            Some((text, from)) => origins(&from, VARIABLE, value::list(text)),
            None => Ok(written),
        }
    }

    fn base_path(&self, table: &file::ServerTable) -> Result<String, ConfigError> {
        let written = table.base_path.clone().map(Scalar);
        let path = self.scalar("BASE_PATH", "server.base_path", &written, base_path)?;
        Ok(path.unwrap_or_default())
    }

    fn tls(&self, table: Option<&file::TlsTable>) -> Result<Option<ServerTls>, ConfigError> {
        let written =
            |get: fn(&file::TlsTable) -> &Option<String>| table.and_then(|t| get(t).as_deref());
        let path = |variable, key, written| self.path(variable, key, written);
        let cert = path(
            "SLUICEGATE_TLS_CERT",
            "server.tls.cert",
            written(|t| &t.cert),
        )?;
        let key = path("SLUICEGATE_TLS_KEY", "server.tls.key", written(|t| &t.key))?;
        let client_ca = path("", "server.tls.client_ca", written(|t| &t.client_ca))?;
        match (cert, key) {
            (Some(cert), Some(key)) => Ok(Some(ServerTls {
                cert,
                key,
                client_ca,
            })),
            (None, None) if client_ca.is_none() => Ok(None),
            (Some(_), None) => Err(ConfigError::new(
                &self.place("SLUICEGATE_TLS_CERT"),
                "SLUICEGATE_TLS_KEY (server.tls.key)",
                "expected a PEM file, since a certificate is set",
            )),
            _ => Err(ConfigError::new(
                &self.place("SLUICEGATE_TLS_KEY"),
                "SLUICEGATE_TLS_CERT (server.tls.cert)",
                "expected a PEM file, since a key or client_ca is set",
            )),
        }
    }

    fn passthrough(&self, file: &File) -> Result<Passthrough, ConfigError> {
        let table = &file.passthrough;
        let (kinds, unknown) = match (
            self.env.located("ENABLED_PASSTHROUGH_PROVIDERS"),
            &table.providers,
        ) {
            (Some((text, from)), _) => {
                let (kinds, unknown) = kinds(&value::list(text).collect::<Vec<_>>());
                (
                    kinds,
                    unknown.map(|said| (from, "ENABLED_PASSTHROUGH_PROVIDERS", said)),
                )
            }
            (None, Some(named)) => {
                let (kinds, unknown) = kinds(&named.iter().map(String::as_str).collect::<Vec<_>>());
                let from = self.from.to_owned();
                (
                    kinds,
                    unknown.map(|said| (from, "passthrough.providers", said)),
                )
            }
            (None, None) => (ProviderKind::ALL.to_vec(), None),
        };
        if let Some((from, key, said)) = unknown {
            self.env.warn(ConfigError::new(&from, key, said));
        }
        Ok(Passthrough {
            enabled: self.switch(
                "ENABLE_PASSTHROUGH_ROUTES",
                "passthrough.enabled",
                &table.enabled,
                true,
            )?,
            v1_alias: self.switch(
                "ALLOW_PASSTHROUGH_V1_ALIAS",
                "passthrough.v1_alias",
                &table.v1_alias,
                true,
            )?,
            kinds,
        })
    }

    fn limits(&self, table: &file::LimitsTable) -> Result<Limits, ConfigError> {
        let body = "BODY_SIZE_LIMIT";
        let count = |key: &str, written: &Option<Scalar>| {
            let count = self.scalar("", &format!("limits.{key}"), written, |text| {
                let count = number::decimal(text).and_then(|count| usize::try_from(count).ok());
                count.ok_or("expected a number, 0 for the default")
            })?;
            Ok(count.and_then(NonZeroUsize::new))
        };
        let bytes = self.scalar(body, "limits.body", &table.body, value::size)?;
        Ok(Limits {
            body: bytes.filter(|bytes| *bytes > 0),
            connections: count("connections", &table.connections)?,
            connections_per_address: count(
                "connections_per_address",
                &table.connections_per_address,
            )?,
            handshakes_per_address: count("handshakes_per_address", &table.handshakes_per_address)?,
            in_flight: count("in_flight", &table.in_flight)?,
            upstream_connections: count("upstream_connections", &table.upstream_connections)?,
        })
    }

    fn timeouts(&self, table: &file::TimeoutsTable) -> Result<Timeouts, ConfigError> {
        let time = |variable: &str, key: &str, written: &Option<Scalar>, default: u64| {
            let key = format!("timeouts.{key}");
            let time = self.scalar(variable, &key, written, value::duration)?;
            Ok(time.unwrap_or(Duration::from_secs(default)))
        };
        let positive = |key: &str, written: &Option<Scalar>, variable: &str, default: u64| {
            let key = format!("timeouts.{key}");
            let time = self.scalar(variable, &key, written, positive_duration)?;
            Ok(time.unwrap_or(Duration::from_secs(default)))
        };
        let request = time("HTTP_TIMEOUT", "request", &table.request, 0)?;
        Ok(Timeouts {
            request: (!request.is_zero()).then_some(request),
            response_header: positive(
                "response_header",
                &table.response_header,
                "HTTP_RESPONSE_HEADER_TIMEOUT",
                600,
            )?,
            connect: positive("connect", &table.connect, "", 5)?,
            request_header: positive("request_header", &table.request_header, "", 10)?,
            idle_client: positive("idle_client", &table.idle_client, "", 120)?,
            body_idle: positive("body_idle", &table.body_idle, "", 600)?,
            tunnel_idle: positive("tunnel_idle", &table.tunnel_idle, "", 3600)?,
            drain_delay: time("", "drain_delay", &table.drain_delay, 0)?,
            drain: time("", "drain", &table.drain, 300)?,
        })
    }

    fn address_age(&self, table: &file::UpstreamTable) -> Result<Duration, ConfigError> {
        let key = "upstream.address_age";
        let age = self.scalar("", key, &table.address_age, value::duration)?;
        Ok(age.unwrap_or(Duration::from_secs(30)))
    }

    /// What holds for every provider that has no other.
    fn egress(
        &self,
        sources: &Sources<'_>,
        table: &file::UpstreamTable,
    ) -> Result<Egress, ConfigError> {
        let at = |key: &str| format!("upstream.{key}");
        let proxy = ProxyChoice::parse(table.proxy.as_deref().unwrap_or_default());
        let files = (table.client_cert.as_deref(), table.client_key.as_deref());
        let identity = egress::identity(sources.read_pem, files.0, files.1);
        let trust = match table.ca_file.as_deref() {
            Some(path) => Trust::from_file(sources.read_pem, &at("ca_file"), path),
            None => {
                let variable = |name| self.env.get(name);
                let (file, folders) = (variable("SSL_CERT_FILE"), variable("SSL_CERT_DIR"));
                Ok(Trust::from_environment(file, folders))
            }
        };
        Ok(Egress {
            proxy: proxy.map_err(|expected| ConfigError::new(self.from, &at("proxy"), expected))?,
            identity: identity
                .map_err(|(key, message)| ConfigError::new(self.from, &at(key), message))?,
            trust: trust.map_err(|message| ConfigError::new(self.from, &at("ca_file"), message))?,
        })
    }

    fn metrics(&self, table: file::MetricsTable) -> Result<Metrics, ConfigError> {
        let endpoint = table.endpoint.map(Scalar);
        let endpoint = self.scalar(
            "METRICS_ENDPOINT",
            "metrics.endpoint",
            &endpoint,
            metrics_endpoint,
        )?;
        let listen = table.listen.unwrap_or_default();
        let listen = listen
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, _>>();
        Ok(Metrics {
            enabled: self.switch("METRICS_ENABLED", "metrics.enabled", &table.enabled, false)?,
            endpoint: endpoint.unwrap_or_else(|| "/metrics".to_owned()),
            listen: listen
                .map_err(|expected| ConfigError::new(self.from, "metrics.listen", expected))?,
        })
    }

    fn log(&self, sources: &Sources<'_>, table: &file::LogTable) -> Result<LogConfig, ConfigError> {
        let format = table.format.clone().map(Scalar);
        let usual = if sources.terminal {
            LogFormat::Text
        } else {
            LogFormat::Json
        };
        let format = self.scalar("LOG_FORMAT", "log.format", &format, |text| {
            match text.to_ascii_lowercase().as_str() {
                "auto" => Ok(usual),
                "text" => Ok(LogFormat::Text),
                "json" => Ok(LogFormat::Json),
                "logfmt" => Ok(LogFormat::Logfmt),
                _ => Err("expected text, json, logfmt or auto"),
            }
        })?;
        let level = table.level.clone().map(Scalar);
        let level = self.scalar("LOG_LEVEL", "log.level", &level, |text| {
            match text.to_ascii_lowercase().as_str() {
                "error" | "err" => Ok(Level::Error),
                "warn" | "warning" => Ok(Level::Warn),
                "info" | "inf" => Ok(Level::Info),
                "debug" | "dbg" | "trace" => Ok(Level::Debug),
                _ => Err("expected error, warn, info or debug"),
            }
        })?;
        Ok(LogConfig {
            format: format.unwrap_or(usual),
            level: level.unwrap_or(Level::Info),
            access: self.switch("", "log.access", &table.access, true)?,
            file: match table.file.as_deref() {
                None | Some("" | "stderr") => LogFile::Stderr,
                Some("stdout") => LogFile::Stdout,
                Some(path) => LogFile::Path(path.into()),
            },
        })
    }
}

fn origins<'t>(
    from: &str,
    key: &str,
    texts: impl Iterator<Item = &'t str>,
) -> Result<Vec<Origin>, ConfigError> {
    // By its place, for it may be a secret that a lost quote has put there.
    let parse = |(text, number): (&str, usize)| {
        text.parse()
            .map_err(|expected| ConfigError::new(from, key, format!("entry {number}: {expected}")))
    };
    texts.zip(1..).map(parse).collect()
}

/// A mount prefix without a slash at its end; empty for `/`.
fn base_path(text: &str) -> Result<String, &'static str> {
    let trimmed = text.trim_matches('/');
    let prefix = if trimmed.is_empty() {
        String::new()
    } else {
        format!("/{trimmed}")
    };
    let plain = prefix
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b));
    if !plain || target::parse(format!("{prefix}/").as_bytes()).is_err() {
        return Err("expected a path of letters, digits and - . _ ~ such as /g");
    }
    Ok(prefix)
}

fn metrics_endpoint(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "expected a path such as /metrics, not below /p/ and not /health";
    if !text.starts_with('/') || text == "/p" || text.starts_with("/p/") || text == "/health" {
        return Err(EXPECTED);
    }
    // What no request can ask for would never be served.
    match target::parse(text.as_bytes()) {
        Ok(Target::Path { query: None, .. }) => Ok(text.to_owned()),
        _ => Err(EXPECTED),
    }
}

fn landlock(text: &str) -> Result<Landlock, &'static str> {
    match (text, value::switch(text)) {
        ("auto", _) => Ok(Landlock::Auto),
        (_, Ok(true)) => Ok(Landlock::On),
        (_, Ok(false)) => Ok(Landlock::Off),
        _ => Err("expected auto, true or false"),
    }
}

fn spin(text: &str) -> Result<Duration, &'static str> {
    let time = value::duration(text)?;
    if time > SPIN_MAX {
        return Err("expected at most \"10ms\", such as \"50us\"; 0 is none");
    }
    Ok(time)
}

fn positive_duration(text: &str) -> Result<Duration, &'static str> {
    let time = value::duration(text)?;
    if time.is_zero() {
        Err("expected more than 0 seconds")
    } else {
        Ok(time)
    }
}

/// Those of the listed types that are known, and what is to be said of the others. A list may be another program's, who
/// knows more of them.
fn kinds(named: &[&str]) -> (Vec<ProviderKind>, Option<String>) {
    let known = named.iter().filter_map(|name| name.parse().ok());
    let unknown = { named.iter().zip(1..) }.filter_map(|(name, number)| {
        let expected = name.parse::<ProviderKind>().err()?;
        // What does not look like a type's name may be a secret.
        let is_name = name.len() <= 16 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let shown = match is_name && !name.is_empty() {
            true => (*name).to_owned(),
            false => format!("entry {number}"),
        };
        Some((shown, expected))
    });
    let (shown, expected): (Vec<String>, Vec<UnknownKind>) = unknown.unzip();
    let said = expected.first().map(|expected| {
        let shown = shown.join(", ");
        format!("{shown}: {expected}; there is no route to it")
    });
    (known.collect(), said)
}

pub(super) fn listen_addresses<'t>(
    texts: impl Iterator<Item = &'t str>,
) -> Result<Vec<Listen>, &'static str> {
    let list: Vec<Listen> = texts.map(str::parse).collect::<Result<_, _>>()?;
    if list.is_empty() {
        Err("expected at least one address")
    } else {
        Ok(list)
    }
}
