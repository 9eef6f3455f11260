//! Addresses to listen on, and which of them stand in each other's way: of that a start would be told by the system,
//! and `check` not at all.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::url::SOCKET_PATH_BYTES_MAX;
use crate::base::number;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// TCP
    Tcp(SocketAddr),
    /// A Unix socket's path.
    Unix(PathBuf),
}

impl Listen {
    /// Where this machine reaches it; `None` where the port is any free one.
    #[must_use]
    pub(crate) fn near(&self) -> Option<Self> {
        match self {
            Self::Tcp(address) if address.port() == 0 => None,
            Self::Tcp(address) => {
                let ip = match address.ip() {
                    IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
                    ip => ip,
                };
                Some(Self::Tcp(SocketAddr::new(ip, address.port())))
            }
            Self::Unix(_) => Some(self.clone()),
        }
    }
}

impl Listen {
    /// Whether other machines reach it.
    #[must_use]
    pub(super) fn is_reachable(&self) -> bool {
        matches!(self, Self::Tcp(address) if !address.ip().is_loopback())
    }
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
        let text = text.trim();
        let Some(path) = text.strip_prefix("unix:") else {
            return match text.parse::<SocketAddr>().map_err(|_| no_address(text))? {
                // The kernel refuses those where IPv6 is listened on alone.
                SocketAddr::V6(address) if address.ip().to_ipv4_mapped().is_some() => {
                    Err("expected an IPv4 address as it is, such as 127.0.0.1:8080")
                }
                address => Ok(Self::Tcp(address)),
            };
        };
        if !path.starts_with('/') || path.contains('\0') {
            return Err("expected an absolute path behind unix:, such as unix:/run/gate.sock");
        }
        match path.len() <= SOCKET_PATH_BYTES_MAX {
            true => Ok(Self::Unix(path.into())),
            false => Err("expected a socket's path of at most 107 bytes"),
        }
    }
}

/// What is missing or wrong in a text that is no address with a port.
fn no_address(text: &str) -> &'static str {
    const EXPECTED: &str =
        "expected addresses such as 127.0.0.1:8080, [::]:8080 or unix:/run/gate.sock";
    if text.parse::<Ipv6Addr>().is_ok() || text.matches(':').count() > 1 && !text.starts_with('[') {
        return "expected an IPv6 address in brackets and a port, such as [::1]:8080";
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<IpAddr>().is_ok() {
        return "expected a port behind the address, such as 127.0.0.1:8080";
    }
    if number::decimal(text).is_some() {
        return "expected an address before the port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all";
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return EXPECTED;
    };
    let is_port = number::decimal(port).is_some_and(|port| port <= u16::MAX.into());
    match host {
        _ if port.is_empty() => "expected a port behind the colon, from 0 to 65535",
        _ if !is_port => "expected a port from 0 to 65535 behind the address",
        "" | "*" => {
            "expected an address before the port, such as 127.0.0.1:8080, or 0.0.0.0:8080 for all"
        }
        _ if host.starts_with('[') => EXPECTED,
        _ => "expected an IP address and no name, such as 127.0.0.1:8080 or [::1]:8080",
    }
}

/// The first address that another one takes: whether it is one of those for metrics, and what to say of it.
pub(super) fn conflict(server: &[Listen], metrics: &[Listen]) -> Option<(bool, String)> {
    let of = |for_metrics| move |address| (for_metrics, address);
    let all: Vec<_> = { server.iter().map(of(false)) }
        .chain(metrics.iter().map(of(true)))
        .collect();
    all.iter()
        .enumerate()
        .find_map(|(at, (for_metrics, address))| {
            let mut before = all.iter().take(at);
            let (other, taken) = before.find(|(_, taken)| overlap(taken, address))?;
            let other = match other {
                true => "metrics.listen",
                false => "server.listen",
            };
            let message =
                format!("{address} is taken by {taken} of {other}; expected another address");
            Some((*for_metrics, message))
        })
}

/// Whether one process cannot listen on both. An address of all interfaces takes every other of its family.
fn overlap(one: &Listen, other: &Listen) -> bool {
    match (one, other) {
        (Listen::Tcp(one), Listen::Tcp(other)) => {
            let (a, b) = (one.ip(), other.ip());
            // Port 0 is another one each time.
            let same_port = one.port() == other.port() && one.port() != 0;
            let same_family = a.is_ipv4() == b.is_ipv4();
            same_port && same_family && (a == b || a.is_unspecified() || b.is_unspecified())
        }
        (Listen::Unix(one), Listen::Unix(other)) => one == other,
        (Listen::Tcp(_), Listen::Unix(_)) | (Listen::Unix(_), Listen::Tcp(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_address_is_said() {
        let long = format!("unix:/{}", "a".repeat(107));
        let rows = [
            (":8080", "expected an address before the port"),
            ("*:8080", "expected an address before the port"),
            ("8080", "expected an address before the port"),
            ("localhost:8080", "expected an IP address and no name"),
            ("127.0.0.1:99999", "expected a port from 0 to 65535"),
            ("[::1]:99999", "expected a port from 0 to 65535"),
            ("127.0.0.1:http", "expected a port from 0 to 65535"),
            ("127.0.0.1:", "expected a port behind the colon"),
            ("127.0.0.1", "expected a port behind the address"),
            ("[::1]", "expected a port behind the address"),
            ("::1", "expected an IPv6 address in brackets"),
            ("::1:8080", "expected an IPv6 address in brackets"),
            ("::1:65536", "expected an IPv6 address in brackets"),
            ("[::g]:1", "expected addresses such as"),
            ("[::ffff:127.0.0.1]:1", "expected an IPv4 address as it is"),
            ("nowhere", "expected addresses such as"),
            ("", "expected addresses such as"),
            ("unix:", "expected an absolute path"),
            ("unix:a", "expected an absolute path"),
            (&long, "expected a socket's path of at most"),
        ];
        for (text, expected) in rows {
            let said = text.parse::<Listen>().unwrap_err();
            assert!(said.starts_with(expected), "{text}: {said}");
        }
    }

    #[test]
    fn addresses_that_cannot_be_listened_on_at_once() {
        let rows: [(&[&str], &[&str], Option<bool>); 14] = [
            (&["127.0.0.1:1"], &[], None),
            (&["127.0.0.1:1", "127.0.0.1:1"], &[], Some(false)),
            (&["127.0.0.1:1", "127.0.0.2:1"], &["127.0.0.1:2"], None),
            (&["127.0.0.1:1"], &["127.0.0.1:1"], Some(true)),
            (&["0.0.0.0:1", "[::]:1"], &[], None),
            (&["0.0.0.0:1"], &["127.0.0.1:1"], Some(true)),
            (&["127.0.0.1:1"], &["0.0.0.0:1"], Some(true)),
            (&["[::]:1"], &["127.0.0.1:1"], None),
            (&["[::]:1"], &["[::1]:1"], Some(true)),
            (&["127.0.0.1:0", "127.0.0.1:0"], &["0.0.0.0:0"], None),
            (&["unix:/a"], &["unix:/b"], None),
            (&["unix:/a"], &["unix:/a"], Some(true)),
            (
                &["unix:/a", "127.0.0.1:1"],
                &["unix:/b", "unix:/b"],
                Some(true),
            ),
            (
                &["127.0.0.1:1"],
                &["127.0.0.1:2", "127.0.0.1:2"],
                Some(true),
            ),
        ];
        for (server, metrics, expected) in rows {
            let parse = |list: &[&str]| -> Vec<Listen> {
                list.iter().map(|text| text.parse().unwrap()).collect()
            };
            let found = conflict(&parse(server), &parse(metrics));
            assert_eq!(
                found.map(|found| found.0),
                expected,
                "{server:?} {metrics:?}"
            );
        }
    }
}
