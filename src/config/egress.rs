//! How providers are reached: through which proxy, if any, and with which certificate of our own. Whom they are
//! trusted on the word of is in `trust`.
//!
//! What a file says holds without exception. Else the environment decides as it does for Go's programs
//! (`golang.org/x/net/http/httpproxy`): `HTTPS_PROXY` or `HTTP_PROXY`, by the scheme of the base URL and also in
//! lower case, unless the host is loopback or on the list [`NoProxy`].

mod no_proxy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::error::ConfigError;
use super::secret::Secret;
use super::source::Env;
use super::trust::Trust;
use super::url::{BaseUrl, Host, host_and_port};
use super::value;
use super::written::Written;
use no_proxy::NoProxy;

/// An HTTP proxy that is asked for tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// User and password for it, in base64.
    pub basic: Option<Secret>,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.basic.is_some() {
            "[redacted]@"
        } else {
            ""
        };
        write!(f, "http://{user}{}:{}", self.host, self.port)
    }
}

/// What holds for every provider whose table has nothing else.
pub(super) struct Egress {
    pub(super) proxy: ProxyChoice,
    pub(super) identity: Option<Arc<ClientIdentity>>,
    pub(super) trust: Trust,
}

/// What a file says of proxies.
#[derive(Clone, Default)]
pub(super) enum ProxyChoice {
    /// Nothing: the environment decides.
    #[default]
    Environment,
    /// `none`
    Direct,
    /// This one.
    Through(Proxy),
}

impl ProxyChoice {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text.trim() {
            "" => Ok(Self::Environment),
            "none" => Ok(Self::Direct),
            url => proxy(url).map(Self::Through),
        }
    }

    /// The proxy for a provider.
    pub(super) fn decide(
        &self,
        env: &Env<'_>,
        base: &BaseUrl,
    ) -> Result<Option<Proxy>, ConfigError> {
        match self {
            _ if matches!(base.host, Host::Unix(_)) => Ok(None),
            Self::Direct => Ok(None),
            Self::Through(proxy) => Ok(Some(proxy.clone())),
            Self::Environment => from_environment(env, base),
        }
    }
}

/// The variable that names a proxy on the way there, if one is set.
pub(super) fn environment_proxy(env: &Env<'_>, base: &BaseUrl) -> Option<&'static str> {
    let names = match base.tls {
        true => ["HTTPS_PROXY", "https_proxy"],
        false => ["HTTP_PROXY", "http_proxy"],
    };
    names.into_iter().find(|name| env.get(name).is_some())
}

/// A variable that no provider needs is not even read: it may be meant for other programs.
fn from_environment(env: &Env<'_>, base: &BaseUrl) -> Result<Option<Proxy>, ConfigError> {
    let Some(name) = environment_proxy(env, base) else {
        return Ok(None);
    };
    let list = env.get("NO_PROXY").or_else(|| env.get("no_proxy"));
    if NoProxy::parse(list.unwrap_or_default()).has(&base.host, base.port) {
        return Ok(None);
    }
    env.parsed(name, |text| match text.contains("://") {
        true => proxy(text),
        false => proxy(&format!("http://{text}")),
    })
}

/// `http://[user[:password]@]host[:port]`; what is found is not repeated in errors, since it may be a password.
fn proxy(url: &str) -> Result<Proxy, &'static str> {
    const EXPECTED: &str =
        "expected a proxy such as http://proxy:3128 or http://user:password@proxy:3128, or none";
    let (scheme, rest) = url.split_once("://").ok_or(EXPECTED)?;
    match scheme.to_ascii_lowercase().as_str() {
        "http" => {}
        "https" => {
            return Err("expected an http:// proxy; TLS to the proxy itself is not supported");
        }
        "socks" | "socks4" | "socks4a" | "socks5" | "socks5h" => {
            return Err("expected an http:// proxy; SOCKS is not supported");
        }
        _ => return Err(EXPECTED),
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (user, authority) = match rest.rsplit_once('@') {
        Some((user, authority)) => (Some(user), authority),
        None => (None, rest),
    };
    let (host, port) = host_and_port(authority, 80)?.ok_or(EXPECTED)?;
    let basic = user.map(basic).transpose()?;
    Ok(Proxy { host, port, basic })
}

/// The credentials of RFC 7617 out of the userinfo of a URL.
fn basic(userinfo: &str) -> Result<Secret, &'static str> {
    const EXPECTED: &str = "expected user and password percent-encoded, without control characters, in the proxy's URL";
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let plain = userinfo.bytes().all(|byte| !b"/?#".contains(&byte));
    let user = value::percent_decoded(user).filter(|user| plain && !user.contains(&b':'));
    let password = value::percent_decoded(password);
    let (user, password) = user.zip(password).ok_or(EXPECTED)?;
    let credentials = Zeroizing::new([&*user, b":", &*password].concat());
    if credentials.iter().any(u8::is_ascii_control) {
        return Err(EXPECTED);
    }
    Secret::new(&Zeroizing::new(base64(&credentials)))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(group.get(at).copied().unwrap_or_default())
        });
        for digit in 0..4 {
            let sextet = bits >> (18 - 6 * digit) & 63;
            let letter = ALPHABET.get(sextet).filter(|_| digit <= group.len());
            out.push(char::from(letter.copied().unwrap_or(b'=')));
        }
    }
    out
}

/// A certificate to show to providers that ask for one, and its key: PEM files, read with the rest of the
/// configuration, so that other content is another configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// The setting that names the first file, and where that is written.
    pub cert_setting: String,
    /// The file with the certificate chain.
    pub cert: PathBuf,
    /// As above, of the second file.
    pub key_setting: String,
    /// The file with the private key.
    pub key: PathBuf,
    /// What the first holds.
    pub cert_pem: Box<[u8]>,
    key_pem: Box<[u8]>,
}

impl ClientIdentity {
    /// What the second file holds.
    #[must_use]
    pub fn expose_key(&self) -> &[u8] {
        &self.key_pem
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("cert", &self.cert)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Reads the files; an empty name counts as none.
pub(super) fn identity(
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    cert: Option<&Written>,
    key: Option<&Written>,
) -> Result<Option<Arc<ClientIdentity>>, ConfigError> {
    let content = |written: &Written| {
        let read = read(Path::new(written.text())).map(Vec::into_boxed_slice);
        read.map_err(|error| written.unreadable(&error, "a PEM file"))
    };
    let named = |written: &&Written| !written.text().is_empty();
    match (cert.filter(named), key.filter(named)) {
        (None, None) => Ok(None),
        (Some(cert), None) => Err(cert.refused_without("client_key", BOTH_EXPECTED)),
        (None, Some(key)) => Err(key.refused_without("client_cert", BOTH_EXPECTED)),
        (Some(cert), Some(key)) => Ok(Some(Arc::new(ClientIdentity {
            cert_pem: content(cert)?,
            key_pem: content(key)?,
            cert_setting: cert.place().to_string(),
            cert: cert.text().into(),
            key_setting: key.place().to_string(),
            key: key.text().into(),
        }))),
    }
}

const BOTH_EXPECTED: &str = "expected PEM files for both client_cert and client_key, or neither";
