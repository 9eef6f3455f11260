//! How providers are reached: through which proxy, if any, and with which certificate of our own. Whom they are
//! trusted on the word of is in `trust`.
//!
//! What a file says holds without exception. Else the environment decides as it does for Go's programs
//! (`golang.org/x/net/http/httpproxy`): `HTTPS_PROXY` or `HTTP_PROXY`, by the scheme of the base URL and also in
//! lower case, unless the host is loopback or on the list [`NoProxy`]; and where neither is set `ALL_PROXY`, as for curl.

mod no_proxy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::ConfigError;
use super::proxy::{Proxy, proxy};
use super::source::Env;
use super::trust::Trust;
use super::url::{BaseUrl, Host};
use super::written::Written;
use no_proxy::NoProxy;

/// What holds for every provider whose table has nothing else.
pub(super) struct Egress {
    pub(super) proxy: ProxyChoice,
    pub(super) identity: Option<Arc<ClientIdentity>>,
    pub(super) trust: Trust,
    /// Whom proxies are trusted on the word of.
    pub(super) proxy_trust: Trust,
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

impl ProxyChoice {
    /// Whether the environment names a proxy and keeps this place from it.
    pub(super) fn is_kept_from(&self, env: &Env<'_>, base: &BaseUrl) -> bool {
        matches!(self, Self::Environment) && environment_proxy(env, base).is_some()
    }
}

/// For either scheme.
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];

/// The variable that names a proxy on the way there, if one is set.
pub(super) fn environment_proxy(env: &Env<'_>, base: &BaseUrl) -> Option<&'static str> {
    let names = match base.tls {
        true => ["HTTPS_PROXY", "https_proxy", ALL[0], ALL[1]],
        false => ["HTTP_PROXY", "http_proxy", ALL[0], ALL[1]],
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
