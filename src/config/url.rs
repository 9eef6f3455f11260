//! URLs in configurations: of providers and of proxies. What they are made of is checked here once, so that it
//! can go into heads and system calls as it is.

use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::base::{authority, number};
use crate::http::target::{self, Target};

use super::value::{self, HEADER_BYTES_MAX};

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

impl BaseUrl {
    /// As it is written in a configuration.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(url: &str) -> Result<Self, &'static str> {
        base(url)
    }
}

/// `http[s]://host[:port][/path]`, or `http+unix://` with the socket's path, percent-encoded, as host.
pub(super) fn base(url: &str) -> Result<BaseUrl, &'static str> {
    const EXPECTED: &str =
        "expected a URL such as https://api.example.com/v1, without user, query or fragment";
    let (scheme, rest) = url.trim().split_once("://").ok_or(
        "expected https:// or http:// at its beginning, such as https://api.example.com/v1",
    )?;
    let (tls, usual) = match scheme.to_ascii_lowercase().as_str() {
        "http" | "http+unix" => (false, 80),
        "https" => (true, 443),
        _ => return Err("expected a URL that begins with https://, http:// or http+unix://"),
    };
    if let Some(at) = rest.find(['?', '#']) {
        return Err(match rest.get(at..).is_some_and(|it| it.starts_with('?')) {
            true => "expected a URL without a query",
            false => "expected a URL without a fragment",
        });
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("expected a URL without user and password; a key is set with api_key");
    }
    let written = if path.is_empty() { "/" } else { path };
    let parsed = target::parse(written.as_bytes());
    if !matches!(parsed, Ok(Target::Path { query: None, .. })) || path.len() > HEADER_BYTES_MAX {
        return Err("expected another path in the URL, such as https://api.example.com/v1");
    }
    if scheme.eq_ignore_ascii_case("http+unix") {
        return Ok(unix(socket_path(authority)?, path));
    }
    if authority.is_empty() {
        return Err("expected a host in the URL, such as https://api.example.com/v1");
    }
    let (host, port) = host_and_port(authority, usual)?.ok_or(EXPECTED)?;
    let authority = match port == usual {
        true => host.to_string(),
        false => format!("{host}:{port}"),
    };
    Ok(BaseUrl {
        tls,
        host,
        port,
        authority,
        path: path.trim_end_matches('/').to_owned(),
    })
}

fn unix(socket: PathBuf, path: &str) -> BaseUrl {
    BaseUrl {
        tls: false,
        host: Host::Unix(socket),
        port: 0,
        authority: "localhost".to_owned(),
        path: path.trim_end_matches('/').to_owned(),
    }
}

/// Longest path of a Unix socket, in bytes (`unix(7)`).
pub(super) const SOCKET_PATH_BYTES_MAX: usize = 107;

/// A socket's path out of the place of a host.
fn socket_path(authority: &str) -> Result<PathBuf, &'static str> {
    const EXPECTED: &str =
        "expected the socket's path percent-encoded, such as http+unix://%2Frun%2Fvllm.sock/v1";
    let bytes = value::percent_decoded(authority).ok_or(EXPECTED)?;
    if bytes.first() != Some(&b'/') || bytes.contains(&0) {
        return Err(EXPECTED);
    }
    if bytes.len() > SOCKET_PATH_BYTES_MAX {
        return Err("expected a socket's path of at most 107 bytes");
    }
    Ok(Path::new(OsStr::from_bytes(&bytes)).into())
}

/// Takes `host[:port]` apart; `None` where it is none.
pub(super) fn host_and_port(
    authority: &str,
    usual: u16,
) -> Result<Option<(Host, u16)>, &'static str> {
    let Some((host, port)) = authority::split_text(authority) else {
        return Ok(None);
    };
    let port = match port {
        Some(digits) => number::decimal(digits)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .ok_or("expected a port from 1 to 65535 in the URL")?,
        None => usual,
    };
    Ok(parse_host(host).map(|host| (host, port)))
}

fn parse_host(host: &str) -> Option<Host> {
    if let Some(address) = authority::bracketed(host) {
        let ip: IpAddr = address.parse().ok()?;
        return ip.is_ipv6().then_some(Host::Ip(ip));
    }
    if let Ok(ip) = host.parse::<IpAddr>() {
        return ip.is_ipv4().then_some(Host::Ip(ip));
    }
    let named = !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    named.then(|| Host::Name(host.to_ascii_lowercase()))
}

/// As in a URL.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Unix(path) => {
                for byte in path.as_os_str().as_bytes() {
                    match byte {
                        b'-' | b'.' | b'_' | b'~' => write!(f, "{}", char::from(*byte))?,
                        byte if byte.is_ascii_alphanumeric() => {
                            write!(f, "{}", char::from(*byte))?;
                        }
                        byte => write!(f, "%{byte:02X}")?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.tls) {
            (Host::Unix(_), _) => write!(f, "http+unix://{}{}", self.host, self.path),
            (_, true) => write!(f, "https://{}{}", self.authority, self.path),
            (_, false) => write!(f, "http://{}{}", self.authority, self.path),
        }
    }
}
