//! Where a gateway's figures are asked for: read from `--url`, or from the configuration that the gateway reads too.
//! Pure.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;

use crate::base::{authority, number};
use crate::config::{Config, Listen, ProxyProtocol, Secret};

/// See the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) place: Place,
    /// Of the metrics.
    pub(super) metrics: String,
    /// Of the list of requests under way.
    pub(super) streams: String,
    /// What is shown to whoever asks for a key.
    pub(super) key: Option<Secret>,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Host and port; the host of an IPv6 address has no brackets.
    Tcp(String, u16),
    /// A Unix socket's path.
    Unix(PathBuf),
}

const EXPECTED: &str =
    "expected http://host:port, http://host:port/metrics, host:port or unix:/path";
const METRICS: &str = "/metrics";
const STREAMS: &str = "/streams";

impl Address {
    /// As `--url` names it. The list is looked for beside the metrics.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let graphic = url.bytes().all(|b| b.is_ascii_graphic()) && !url.contains(['?', '#', '@']);
        if !graphic {
            return Err(EXPECTED.into());
        }
        if let Some(path) = url.strip_prefix("unix:") {
            return match path.starts_with('/') {
                true => Ok(Self::with(Place::Unix(path.into()), "", METRICS)),
                false => Err(EXPECTED.into()),
            };
        }
        if url.starts_with("https:") {
            return Err(format!(
                "TLS is not spoken here; name an address of metrics.listen, or {EXPECTED}"
            ));
        }
        let rest = url.strip_prefix("http://").unwrap_or(url);
        let (authority, path) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
            Some((authority, path)) if path.len() > 1 => (authority, path),
            Some((authority, _)) => (authority, METRICS),
            None => (rest, METRICS),
        };
        let (host, port) = host_and_port(authority).ok_or(EXPECTED)?;
        let base = path.strip_suffix(METRICS).unwrap_or_default();
        let place = Place::Tcp(host.to_owned(), port);
        let streams = format!("{base}{STREAMS}");
        Ok(Self {
            place,
            metrics: path.to_owned(),
            streams,
            key: None,
        })
    }

    /// Where a gateway with this configuration serves its metrics.
    ///
    /// # Errors
    /// Why it does not, or where they cannot be had.
    pub(super) fn configured(config: &Config) -> Result<Self, String> {
        let listen = match config.metrics.listen.first() {
            Some(listen) => listen,
            None if !config.metrics.enabled => {
                return Err("this configuration has no metrics: set metrics.listen = \
                            [\"127.0.0.1:9090\"] or metrics.enabled (METRICS_ENABLED) and start the \
                            gateway anew, or name another one with --url"
                    .into());
            }
            None if config.server.tls.is_some() => {
                return Err(
                    "this configuration serves its metrics over TLS only, which is not \
                            spoken here: set metrics.listen = [\"127.0.0.1:9090\"]"
                        .into(),
                );
            }
            None if config.server.proxy_protocol == ProxyProtocol::Required => {
                return Err(
                    "this configuration serves its metrics to whoever a balancer speaks for \
                            (server.proxy_protocol): set metrics.listen = [\"127.0.0.1:9090\"]"
                        .into(),
                );
            }
            None => config
                .server
                .listen
                .first()
                .ok_or("server.listen is empty")?,
        };
        let place = match listen.near() {
            Some(Listen::Unix(path)) => Place::Unix(path),
            Some(Listen::Tcp(address)) => Place::Tcp(address.ip().to_string(), address.port()),
            None => {
                return Err(
                    "the configured port is 0, any free one: the gateway's log says which; \
                            name it with --url"
                        .into(),
                );
            }
        };
        let (base, endpoint) = (&config.server.base_path, &config.metrics.endpoint);
        Ok(Self {
            key: config.metrics.key.clone(),
            ..Self::with(place, base, endpoint)
        })
    }

    fn with(place: Place, base: &str, endpoint: &str) -> Self {
        Self {
            place,
            metrics: format!("{base}{endpoint}"),
            streams: format!("{base}{STREAMS}"),
            key: None,
        }
    }

    /// For the `Host` field.
    pub(super) fn host(&self) -> String {
        match &self.place {
            Place::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp(host, port) => format!("{host}:{port}"),
            Place::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(..) => write!(f, "http://{}{}", self.host(), self.metrics),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn host_and_port(authority: &str) -> Option<(&str, u16)> {
    let (mut host, port) = authority::split_text(authority)?;
    if let Some(address) = authority::bracketed(host) {
        address.parse::<Ipv6Addr>().ok()?;
        host = address;
    }
    let port = match port {
        Some(digits) => u16::try_from(number::decimal(digits)?).ok()?,
        None => 80,
    };
    (!host.is_empty() && port > 0).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::property::load_from;

    #[test]
    fn urls_are_read() {
        for (url, shown, streams) in [
            ("http://h:9090", "http://h:9090/metrics", "/streams"),
            ("http://h:9090/", "http://h:9090/metrics", "/streams"),
            (
                "127.0.0.1:9090",
                "http://127.0.0.1:9090/metrics",
                "/streams",
            ),
            ("http://h", "http://h:80/metrics", "/streams"),
            ("http://h:1/g/metrics", "http://h:1/g/metrics", "/g/streams"),
            (
                "http://h:1/internal/stats",
                "http://h:1/internal/stats",
                "/streams",
            ),
            (
                "http://[::1]:9/metrics",
                "http://[::1]:9/metrics",
                "/streams",
            ),
            ("unix:/run/m.sock", "unix:/run/m.sock", "/streams"),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(
                (address.to_string().as_str(), address.streams.as_str()),
                (shown, streams)
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in [
            "",
            "http://",
            "http://:80",
            "h:",
            "h:0",
            "h:+1",
            "h:65536",
            "h:1:2",
            "[::1",
            "[x]:1",
            "[::1]9",
            "unix:",
            "unix:run",
            "https://h",
            "http://u@h",
            "http://h/a?b",
            "http://h/a b",
            "http://h/\r\nX: y",
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    fn configured(toml: &str) -> Result<String, String> {
        let config = load_from(&[], "", toml).unwrap();
        let address = Address::configured(&config)?;
        Ok(format!("{address} {}", address.streams))
    }

    #[test]
    fn the_configuration_says_where_they_are() {
        for (toml, wanted) in [
            (
                "[metrics]\nenabled = true\nlisten = [\"127.0.0.1:9\"]",
                "http://127.0.0.1:9/metrics /streams",
            ),
            (
                "[server]\nbase_path = \"/g\"\n[metrics]\nendpoint = \"/m\"\nlisten = [\"[::]:9\"]",
                "http://[::1]:9/g/m /g/streams",
            ),
            (
                "[metrics]\nlisten = [\"unix:/run/m\"]",
                "unix:/run/m /streams",
            ),
            (
                "[metrics]\nenabled = true",
                "http://127.0.0.1:8080/metrics /streams",
            ),
        ] {
            assert_eq!(configured(toml).unwrap(), wanted);
        }
        for (toml, wanted) in [
            ("", "metrics.listen"),
            ("[metrics]\nlisten = [\"127.0.0.1:0\"]", "--url"),
            (
                "[server.tls]\ncert = \"c\"\nkey = \"k\"\n[metrics]\nenabled = true",
                "TLS",
            ),
        ] {
            let message = configured(toml).unwrap_err();
            assert!(message.contains(wanted), "{message}");
        }
    }

    proptest! {
        #[test]
        fn any_text_may_be_named(url in "\\PC{0,40}") {
            let _ = Address::parse(&url);
        }

        #[test]
        fn nearly_good_urls_may_be_named(url in "(http://|unix:)?[\\[a-z0-9:\\]./]{0,20}") {
            if let Ok(address) = Address::parse(&url) {
                prop_assert!(address.metrics.starts_with('/') && address.streams.starts_with('/'));
            }
        }
    }
}
