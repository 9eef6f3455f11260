//! rustls configurations for both sides, from files.
//!
//! A configuration whose files say what they said before is the same one as before, with its sessions; one whose
//! files say something else shares nothing with it. So no session is resumed that was made on other terms.

mod dates;
mod material;
mod roots;
mod server;
mod verifier;

use std::io;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ServerConfig};

use crate::config::{CaFile, ClientIdentity, Config, Host, Instance, ProxyKind, Trust};
use crate::observe::Expiry;
use crate::policy::gateway::Terms;

use dates::{Dated, Dates};
use material::{Digest, at, digest};
use roots::Roots;
pub(crate) use server::ALPN;
pub(crate) use server::Door;
use server::Side;

/// What a worker needs for TLS on both sides.
#[derive(Clone)]
pub(crate) struct TlsConfigs {
    server: Option<Arc<Side>>,
    /// Towards the instances of providers, in their order. Those on the same terms share one, and its session cache; no
    /// session is resumed under another name than it was made for.
    clients: Arc<[Option<Client>]>,
    /// Towards their proxies, as far as these speak it.
    proxies: Arc<[Option<Client>]>,
    /// Towards the collector.
    collector: Option<Client>,
    /// Until when our own certificates hold.
    dated: Arc<[Dated]>,
}

#[derive(Clone)]
struct Client {
    digest: Digest,
    config: Arc<ClientConfig>,
}

impl TlsConfigs {
    /// Towards clients, if TLS is configured.
    #[must_use]
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.server.as_ref().map(|side| side.config.clone())
    }

    /// What a client had to show to be let in.
    #[must_use]
    pub(crate) fn door(&self) -> Door {
        self.server
            .as_ref()
            .map_or(Door::Plain, |side| side.door.clone())
    }

    /// Towards the site with this number, if it speaks TLS.
    #[must_use]
    pub(crate) fn client(&self, site: usize) -> Option<Arc<ClientConfig>> {
        let client = self.clients.get(site)?.as_ref()?;
        Some(client.config.clone())
    }

    /// Towards the proxy of the site with this number, if it speaks TLS.
    #[must_use]
    pub(crate) fn proxy(&self, site: usize) -> Option<Arc<ClientConfig>> {
        let proxy = self.proxies.get(site)?.as_ref()?;
        Some(proxy.config.clone())
    }

    /// Towards the collector of spans and metrics, if it speaks TLS.
    #[must_use]
    pub(crate) fn collector(&self) -> Option<Arc<ClientConfig>> {
        self.collector.as_ref().map(|client| client.config.clone())
    }

    /// Those of sites each of which is like the one of these with the number that is said of it.
    #[must_use]
    pub(crate) fn of_sites(&self, like: &[usize]) -> Self {
        let of = |all: &[Option<Client>]| {
            let each = like.iter().map(|site| all.get(*site).cloned().flatten());
            each.collect()
        };
        Self {
            clients: of(&self.clients),
            proxies: of(&self.proxies),
            ..self.clone()
        }
    }

    /// What connections to each site depend on.
    #[must_use]
    pub(crate) fn terms(&self) -> Arc<[Terms]> {
        let digest_of = |client: &Option<Client>| client.as_ref().map(|client| client.digest);
        let pairs = self.clients.iter().zip(self.proxies.iter());
        let terms = pairs.map(
            |(client, proxy)| match (digest_of(client), digest_of(proxy)) {
                (client, None) => client,
                (client, Some(proxy)) => Some(digest(&[&client.unwrap_or_default(), &proxy])),
            },
        );
        terms.collect()
    }

    /// What an operator should know of the certificates at this time, in seconds since 1970.
    #[must_use]
    pub(crate) fn warnings(&self, now: u64) -> Vec<String> {
        let each = self.dated.iter().filter_map(|dated| {
            let warning = dated.validity.warning(now)?;
            Some(at(&dated.setting, &dated.path, warning))
        });
        let mut warnings: Vec<String> = each.collect();
        // Several providers may be shown the same one.
        warnings.sort_unstable();
        warnings.dedup();
        warnings
    }

    /// When the certificates end that are shown to others.
    #[must_use]
    pub(crate) fn expiries(&self) -> Arc<[Expiry]> {
        let shown = self.dated.iter().filter_map(|dated| {
            Some(Expiry {
                provider: dated.shown.clone()?,
                seconds: dated.validity.not_after,
            })
        });
        shown.collect()
    }
}

/// Reads certificates, key and roots; `before` is what was in force so far.
///
/// # Errors
/// A message that names the setting, the file and what is wrong with it.
pub(crate) fn load(config: &Config, before: Option<&TlsConfigs>) -> Result<TlsConfigs, String> {
    let mut loader = Loader {
        before,
        roots: Vec::new(),
        clients: Vec::new(),
        dates: Dates::default(),
    };
    let server = match &config.server.tls {
        Some(files) => {
            let side = before.and_then(|before| before.server.as_ref());
            Some(server::load(
                files,
                &config.places,
                side,
                &mut loader.dates,
            )?)
        }
        None => None,
    };
    for trust in [&config.trust, &config.proxy_trust, &config.otlp.trust] {
        if let Trust::File(file) = trust {
            // One that nobody needs now has to be right as well.
            loader.ca(file)?;
        }
    }
    let (mut clients, mut proxies) = (Vec::new(), Vec::new());
    for provider in &config.providers {
        for instance in provider.instances() {
            proxies.push(loader.proxy(&provider.name, instance)?);
            clients.push(match instance.base.tls {
                true => {
                    let (name, identity) = (&provider.name, instance.identity.as_deref());
                    Some(loader.client(name, &instance.trust, identity, PROVIDER)?)
                }
                false => None,
            });
        }
    }
    let collector = config.otlp.place().filter(|place| place.tls);
    let collector = collector.map(|_| loader.client("otlp", &config.otlp.trust, None, COLLECTOR));
    Ok(TlsConfigs {
        server,
        collector: collector.transpose()?,
        clients: clients.into(),
        proxies: proxies.into(),
        dated: loader.dates.all.into(),
    })
}

/// What sets configurations apart that are else the same: one host may be both, and its sessions are kept by its name.
const PROVIDER: &[u8] = b"provider";
const PROXY: &[u8] = b"proxy";
const COLLECTOR: &[u8] = b"collector";

/// What has been read already.
struct Loader<'a> {
    before: Option<&'a TlsConfigs>,
    roots: Vec<(&'a Trust, Roots)>,
    clients: Vec<Client>,
    dates: Dates,
}

impl<'a> Loader<'a> {
    fn client(
        &mut self,
        name: &str,
        trust: &'a Trust,
        identity: Option<&ClientIdentity>,
        whose: &'static [u8],
    ) -> Result<Client, String> {
        let roots = self.roots(trust)?;
        let mut content = vec![whose, &roots.digest[..]];
        if let Some(identity) = identity {
            content.extend([&*identity.cert_pem, identity.expose_key()]);
            let (setting, path) = (&identity.cert_setting, &identity.cert);
            let chain = material::chain(setting, path, &identity.cert_pem)?;
            self.dates.chain(setting, path, &chain, Some(Some(name)));
        }
        let digest = digest(&content);
        if let Some(client) = self.known(digest) {
            return Ok(client.clone());
        }
        let client = Client {
            digest,
            config: client(roots, identity)?,
        };
        self.clients.push(client.clone());
        Ok(client)
    }

    /// Towards an instance's proxy; certificates of our own are for providers.
    fn proxy(&mut self, name: &str, instance: &'a Instance) -> Result<Option<Client>, String> {
        match &instance.proxy {
            Some(proxy) if proxy.kind == ProxyKind::Https => {
                let client = self.client(name, &proxy.trust, None, PROXY);
                client.map(Some)
            }
            _ => Ok(None),
        }
    }

    /// The one with this digest, if there is one or was one before.
    fn known(&self, digest: Digest) -> Option<&Client> {
        let old = self.before.iter();
        let old = old.flat_map(|before| {
            let clients = before.clients.iter().chain(before.proxies.iter());
            clients.chain([&before.collector])
        });
        let mut known = self.clients.iter().chain(old.flatten());
        known.find(|client| client.digest == digest)
    }

    fn roots(&mut self, trust: &'a Trust) -> Result<Roots, String> {
        if let Some((_, roots)) = self.roots.iter().find(|(known, _)| *known == trust) {
            return Ok(roots.clone());
        }
        let roots = match trust {
            Trust::System => roots::of_system()?,
            Trust::Environment(variables) => roots::of_environment(variables)?,
            Trust::File(file) => roots::of_file(file, &self.ca(file)?)?,
        };
        self.roots.push((trust, roots.clone()));
        Ok(roots)
    }

    /// The certificates of a file of roots.
    fn ca(&mut self, file: &CaFile) -> Result<Vec<CertificateDer<'static>>, String> {
        let certificates = material::chain(&file.setting, &file.path, &file.pem)?;
        self.dates
            .authorities(&file.setting, &file.path, &certificates);
        Ok(certificates)
    }
}

/// What the certificate of a host has to be for.
///
/// # Errors
/// When no certificate can be for such a name.
pub(crate) fn server_name(host: &Host) -> io::Result<ServerName<'static>> {
    match host {
        Host::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        host => ServerName::try_from(host.to_string())
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error)),
    }
}

fn client(roots: Roots, identity: Option<&ClientIdentity>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(provider::default_provider());
    let verifier = verifier::of(roots, provider.clone())?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (setting, path) = (&identity.cert_setting, &identity.cert);
            let chain = material::chain(setting, path, &identity.cert_pem)?;
            let key = &identity.key_setting;
            let key = material::key(key, &identity.key, identity.expose_key())?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|error| material::misfit(setting, path, &error))?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}
