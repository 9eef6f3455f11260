//! rustls configurations for both sides, from files.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::config::{Config, ServerTls, UpstreamTls};

/// What a worker needs for TLS on both sides.
#[derive(Clone)]
pub struct TlsConfigs {
    /// Towards clients, if TLS is configured.
    pub server: Option<Arc<ServerConfig>>,
    /// Towards providers.
    pub client: Arc<ClientConfig>,
}

/// Reads certificates, key and roots.
///
/// # Errors
/// A message that names the file and what is wrong with it.
pub fn load(config: &Config) -> Result<TlsConfigs, String> {
    let server = config.server.tls.as_ref().map(server).transpose()?;
    let needs_roots = config.providers.iter().any(|provider| provider.base.tls);
    let client = client(&config.upstream, needs_roots)?;
    Ok(TlsConfigs { server, client })
}

const ALPN: &[u8] = b"http/1.1";

fn server(files: &ServerTls) -> Result<Arc<ServerConfig>, String> {
    let certificates = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        at(
            &files.key,
            format!("expected a private key in PEM: {error}"),
        )
    })?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(path)?), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| at(path, error))?)
        }
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .map_err(|error| {
            at(
                &files.cert,
                format!("certificate and key do not fit: {error}"),
            )
        })?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Stateless tickets: a client that reconnects resumes with any worker.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    config.send_tls13_tickets = 1;
    // The record layer is ours, see `crate::tls`.
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

fn client(trust: &UpstreamTls, needed: bool) -> Result<Arc<ClientConfig>, String> {
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
            let named = file.or(dir).unwrap_or(Path::new(""));
            return Err(at(named, format!("expected certificates in PEM{why}")));
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
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates: Vec<_> = read.map_err(|error| at(path, error))?;
    if certificates.is_empty() {
        return Err(at(path, "expected a certificate chain in PEM, found none"));
    }
    Ok(certificates)
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| at(path, error))?;
    }
    Ok(store)
}

fn at(path: &Path, what: impl Display) -> String {
    format!("{}: {what}", path.display())
}
