//! rustls configurations for both sides, from files.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::{ClientIdentity, Config, ServerTls, UpstreamTls};

/// What a worker needs for TLS on both sides.
#[derive(Clone)]
pub struct TlsConfigs {
    /// Towards clients, if TLS is configured.
    pub server: Option<Arc<ServerConfig>>,
    /// Towards providers: without a certificate of our own first, then one for each that there is. Each has its
    /// own session cache, so no session is resumed under another name than it was made for.
    clients: Arc<[Client]>,
}

struct Client {
    identity: Option<Arc<ClientIdentity>>,
    config: Arc<ClientConfig>,
}

impl TlsConfigs {
    /// Towards a provider that is shown this certificate, if it is known.
    #[must_use]
    pub fn client(&self, identity: Option<&ClientIdentity>) -> Option<Arc<ClientConfig>> {
        let mut clients = self.clients.iter();
        let found = clients.find(|client| client.identity.as_deref() == identity);
        found.map(|client| client.config.clone())
    }
}

/// Reads certificates, key and roots.
///
/// # Errors
/// A message that names the setting, the file and what is wrong with it.
pub fn load(config: &Config) -> Result<TlsConfigs, String> {
    let server = config.server.tls.as_ref().map(server).transpose()?;
    let needs_roots = config.providers.iter().any(|provider| provider.base.tls);
    let roots = Arc::new(trusted(&config.upstream, needs_roots)?);
    let mut identities = vec![None];
    for identity in config.providers.iter().map(|provider| &provider.identity) {
        if !identities.contains(identity) {
            identities.push(identity.clone());
        }
    }
    let client = |identity: Option<Arc<ClientIdentity>>| {
        let config = client(roots.clone(), identity.as_deref())?;
        Ok(Client { identity, config })
    };
    let clients: Result<_, String> = identities.into_iter().map(client).collect();
    Ok(TlsConfigs {
        server,
        clients: clients?,
    })
}

const ALPN: &[u8] = b"http/1.1";

fn server(files: &ServerTls) -> Result<Arc<ServerConfig>, String> {
    let certificates = certificates(SERVER_CERT, &files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key = key.map_err(|error| no_key(SERVER_KEY, &files.key, &error))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
            let verifier = verifier
                .build()
                .map_err(|error| at(CLIENT_CA, path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| misfit(SERVER_CERT, &files.cert, &error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Stateless tickets: a client that reconnects resumes with any worker.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    config.send_tls13_tickets = 1;
    // The record layer is ours, see `crate::tls`.
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

fn trusted(trust: &UpstreamTls, needed: bool) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let (file, dir) = (trust.ca_file.as_deref(), trust.ca_dir.as_deref());
    if file.is_some() || dir.is_some() {
        let found = rustls_native_certs::load_certs_from_paths(file, dir);
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            let why = found
                .errors
                .first()
                .map_or_else(String::new, |error| format!(": {error}"));
            let named = match (file, dir) {
                (None, Some(dir)) => ("SSL_CERT_DIR", dir),
                _ => (
                    "SSL_CERT_FILE (upstream.ca_file)",
                    file.unwrap_or(Path::new("")),
                ),
            };
            return Err(at(
                named.0,
                named.1,
                format!("expected certificates in PEM{why}"),
            ));
        }
    } else if needed {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(
                "no trusted certificates found on this system; install ca-certificates or set \
                        SSL_CERT_FILE"
                    .into(),
            );
        }
    }
    Ok(store)
}

fn client(
    roots: Arc<RootCertStore>,
    identity: Option<&ClientIdentity>,
) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let read = CertificateDer::pem_slice_iter(&identity.cert_pem).collect();
            let chain = chain("client_cert", &identity.cert, read)?;
            let key = PrivateKeyDer::from_pem_slice(identity.expose_key());
            let key = key.map_err(|error| no_key("client_key", &identity.key, &error))?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|error| misfit("client_cert", &identity.cert, &error))?
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

const SERVER_CERT: &str = "SLUICEGATE_TLS_CERT (server.tls.cert)";
const SERVER_KEY: &str = "SLUICEGATE_TLS_KEY (server.tls.key)";
const CLIENT_CA: &str = "server.tls.client_ca";

fn certificates(setting: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    chain(setting, path, read)
}

fn chain(
    setting: &str,
    path: &Path,
    read: Result<Vec<CertificateDer<'static>>, pem::Error>,
) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = read.map_err(|error| {
        at(
            setting,
            path,
            format!("expected certificates in PEM: {error}"),
        )
    })?;
    if certificates.is_empty() {
        return Err(at(
            setting,
            path,
            "expected a certificate chain in PEM, found none",
        ));
    }
    Ok(certificates)
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(CLIENT_CA, path)? {
        let added = store.add(certificate);
        added.map_err(|error| at(CLIENT_CA, path, error))?;
    }
    Ok(store)
}

fn no_key(setting: &str, path: &Path, error: &pem::Error) -> String {
    at(
        setting,
        path,
        format!("expected a private key in PEM: {error}"),
    )
}

fn misfit(setting: &str, path: &Path, error: &rustls::Error) -> String {
    at(
        setting,
        path,
        format!("certificate and key do not fit: {error}"),
    )
}

fn at(setting: &str, path: &Path, what: impl Display) -> String {
    format!("{setting}: {}: {what}", path.display())
}
