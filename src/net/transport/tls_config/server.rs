//! TLS towards clients: the certificate that they are shown, and what they have to show.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use zeroize::Zeroizing;

use crate::config::ServerTls;

use super::dates::Dates;
use super::material::{self, Digest, at, digest};
use super::roots;

/// See the module's documentation.
pub(super) struct Side {
    /// Of all files' content.
    digest: Digest,
    pub(super) config: Arc<ServerConfig>,
    pub(super) door: Door,
}

/// What a client has to show to be let in.
#[derive(Clone)]
pub(crate) enum Door {
    /// Nothing, and TLS is not spoken.
    Plain,
    /// Nothing.
    Tls,
    /// A certificate that goes back to one of these, by their digests.
    Certificate(Arc<BTreeSet<[u8; 32]>>),
}

impl Door {
    /// Whether whoever came in by `other` would come in by this one.
    #[must_use]
    pub(crate) fn admits_those_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain, Self::Plain) | (Self::Tls, Self::Tls) => true,
            (Self::Certificate(now), Self::Certificate(then)) => now.is_superset(then),
            // Also where less is asked for now: what was agreed on is not so any more.
            _ => false,
        }
    }
}

/// The only protocol that is spoken under TLS.
pub(super) const ALPN: &[u8] = b"http/1.1";
const SERVER_CERT: &str = "SLUICEGATE_TLS_CERT (server.tls.cert)";
const SERVER_KEY: &str = "SLUICEGATE_TLS_KEY (server.tls.key)";
const CLIENT_CA: &str = "server.tls.client_ca";
const CHAIN: &str = "a certificate chain";
const KEY: &str = "a private key";

/// Reads the files; those that hold what they held `before` are the configuration of before. Notes until when their
/// certificates hold.
///
/// # Errors
/// As [`load`](super::load).
pub(super) fn load(
    files: &ServerTls,
    before: Option<&Arc<Side>>,
    dates: &mut Dates,
) -> Result<Arc<Side>, String> {
    let cert = read(SERVER_CERT, &files.cert, CHAIN)?;
    let key = Zeroizing::new(read(SERVER_KEY, &files.key, KEY)?);
    let client_ca = files.client_ca.as_deref();
    let client_ca = client_ca.map(|path| Ok::<_, String>((path, read(CLIENT_CA, path, CHAIN)?)));
    let client_ca = client_ca.transpose()?;
    let chain = material::chain(SERVER_CERT, &files.cert, &cert)?;
    dates.chain(SERVER_CERT, &files.cert, &chain, Some(None));
    let mut authorities = None;
    if let Some((path, pem)) = &client_ca {
        let found = material::chain(CLIENT_CA, path, pem)?;
        dates.authorities(CLIENT_CA, path, &found);
        authorities = Some((*path, found));
    }
    let ca = client_ca.as_ref().map(|(_, pem)| &pem[..]);
    let digest = digest(&[&cert, &key, ca.unwrap_or_default()]);
    if let Some(side) = before.filter(|side| side.digest == digest) {
        return Ok(side.clone());
    }
    let key = material::key(SERVER_KEY, &files.key, &key)?;
    let (config, door) = build(&files.cert, chain, key, authorities)?;
    Ok(Arc::new(Side {
        digest,
        config: Arc::new(config),
        door,
    }))
}

fn build(
    cert: &Path,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Option<(&Path, Vec<CertificateDer<'static>>)>,
) -> Result<(ServerConfig, Door), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let (builder, door) = match authorities {
        None => (builder.with_no_client_auth(), Door::Tls),
        Some((path, authorities)) => {
            let roots = Arc::new(roots::of_clients(CLIENT_CA, path, &authorities)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier.map_err(|error| at(CLIENT_CA, path, error))?;
            let digests = authorities.iter().map(|der| digest(&[der]));
            let door = Door::Certificate(Arc::new(digests.collect()));
            (builder.with_client_cert_verifier(verifier), door)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| material::misfit(SERVER_CERT, cert, &error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Stateless tickets: a client that reconnects resumes with any worker. Their key is this configuration's own,
    // so none is taken that was given out on other terms.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    config.send_tls13_tickets = 1;
    // The record layer is ours, see `crate::tls`.
    config.enable_secret_extraction = true;
    Ok((config, door))
}

fn read(setting: &str, path: &Path, what: &str) -> Result<Vec<u8>, String> {
    crate::system::read::pem(path).map_err(|error| {
        let expected = format!("expected {what} in PEM: {error}");
        at(setting, path, expected)
    })
}
