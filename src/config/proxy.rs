//! A proxy on the way to providers, as a URL names it.

use std::fmt;

use zeroize::Zeroizing;

use super::secret::Secret;
use super::trust::Trust;
use super::url::{Host, host_and_port};
use super::value;
use crate::base::base64;
use crate::hops::socks;

/// Who is asked for connections to providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// How it is asked.
    pub kind: ProxyKind,
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// User and password as it is sent them: in base64 (RFC 7617), or the whole message of RFC 1929.
    pub login: Option<Secret>,
    /// Whom its certificate is trusted on the word of, where it has one to show.
    pub trust: Trust,
}

/// How a proxy is asked for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// CONNECT (RFC 9110, section 9.3.6).
    Http,
    /// The same, over TLS.
    Https,
    /// SOCKS5 (RFC 1928), for an address.
    Socks5,
    /// SOCKS5, for a name.
    Socks5h,
}

impl ProxyKind {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Socks5, Self::Socks5h];

    /// The scheme of its URL.
    #[must_use]
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    fn usual_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }

    /// Whether it is asked in SOCKS5.
    #[must_use]
    pub fn is_socks(self) -> bool {
        matches!(self, Self::Socks5 | Self::Socks5h)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match &self.login {
            None => "",
            Some(_) if self.kind.is_socks() => "[redacted]:[redacted]@",
            Some(_) => "[redacted]@",
        };
        let scheme = self.kind.scheme();
        write!(f, "{scheme}://{user}{}:{}", self.host, self.port)
    }
}

/// `scheme://[user[:password]@]host[:port]`; what is found is not repeated in errors, since it may be a password.
pub(super) fn proxy(url: &str) -> Result<Proxy, &'static str> {
    const EXPECTED: &str = "expected a proxy such as http://proxy:3128, https://proxy, socks5h://proxy:1080 or \
                            http://user:password@proxy:3128, or none";
    let (scheme, rest) = url.split_once("://").ok_or(EXPECTED)?;
    let scheme = scheme.to_ascii_lowercase();
    let kind = ProxyKind::ALL.iter().find(|kind| kind.scheme() == scheme);
    let kind = *kind.ok_or(match scheme.as_str() {
        "socks" | "socks4" | "socks4a" => {
            "expected socks5:// or socks5h://, with names resolved by the proxy, as no other version of SOCKS is spoken"
        }
        _ => EXPECTED,
    })?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    let (host, port) = host_and_port(authority, kind.usual_port())?.ok_or(EXPECTED)?;
    let login = user.map(|user| login(kind, user)).transpose()?;
    Ok(Proxy {
        kind,
        host,
        port,
        login,
        trust: Trust::default(),
    })
}

/// The credentials out of the userinfo of a URL.
fn login(kind: ProxyKind, userinfo: &str) -> Result<Secret, &'static str> {
    const EXPECTED: &str = "expected user and password percent-encoded, without control characters, in the proxy's URL";
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let plain = userinfo.bytes().all(|byte| !b"/?#".contains(&byte));
    let decoded = |text| value::percent_decoded(text).map(Zeroizing::new);
    let (user, password) = decoded(user).zip(decoded(password)).ok_or(EXPECTED)?;
    if !plain || user.iter().chain(password.iter()).any(u8::is_ascii_control) {
        return Err(EXPECTED);
    }
    if kind.is_socks() {
        let login = socks::login(&user, &password);
        let login = login.ok_or("expected user and password of 1 to 255 bytes each for SOCKS5")?;
        return Ok(Secret::of_bytes(&login));
    }
    if user.contains(&b':') {
        return Err(EXPECTED);
    }
    let credentials = Zeroizing::new([&**user, b":", &**password].concat());
    Secret::new(&Zeroizing::new(base64::encoded(&credentials)))
}
