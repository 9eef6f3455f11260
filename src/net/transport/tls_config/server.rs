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
use crate::config::places::Places;

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
pub(crate) const ALPN: &[u8] = b"http/1.1";
const CHAIN: &str = "a certificate chain";
const KEY: &str = "a private key";

/// Reads the files, which were named in these places; those that hold what they held `before` are the configuration of
/// before. Notes until when their certificates hold.
///
/// # Errors
/// As [`load`](super::load).
pub(super) fn load(
    files: &ServerTls,
    places: &Places,
    before: Option<&Arc<Side>>,
    dates: &mut Dates,
) -> Result<Arc<Side>, String> {
    let named = |key: &str, path| Named {
        setting: places.of(&format!("server.tls.{key}")),
        path,
    };
    let (cert, key) = (named("cert", &files.cert), named("key", &files.key));
    let client_ca = files.client_ca.as_deref();
    let client_ca = client_ca.map(|path| named("client_ca", path));
    let cert_pem = cert.read(CHAIN)?;
    let key_pem = Zeroizing::new(key.read(KEY)?);
    let client_ca = client_ca.map(|file| Ok::<_, String>((file.read(CHAIN)?, file)));
    let client_ca = client_ca.transpose()?;
    let chain = material::chain(&cert.setting, cert.path, &cert_pem)?;
    dates.chain(&cert.setting, cert.path, &chain, Some(None));
    let mut authorities = None;
    if let Some((pem, file)) = &client_ca {
        let found = material::chain(&file.setting, file.path, pem)?;
        dates.authorities(&file.setting, file.path, &found);
        authorities = Some((file, found));
    }
    let ca = client_ca.as_ref().map(|(pem, _)| &pem[..]);
    let digest = digest(&[&cert_pem, &key_pem, ca.unwrap_or_default()]);
    if let Some(side) = before.filter(|side| side.digest == digest) {
        return Ok(side.clone());
    }
    let key = material::key(&key.setting, key.path, &key_pem)?;
    let (config, door) = build(&cert, chain, key, authorities)?;
    Ok(Arc::new(Side {
        digest,
        config: Arc::new(config),
        door,
    }))
}

fn build(
    cert: &Named<'_>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Option<(&Named<'_>, Vec<CertificateDer<'static>>)>,
) -> Result<(ServerConfig, Door), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let (builder, door) = match authorities {
        None => (builder.with_no_client_auth(), Door::Tls),
        Some((Named { setting, path }, authorities)) => {
            let roots = Arc::new(roots::of_clients(setting, path, &authorities)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier.map_err(|error| at(setting, path, error))?;
            let digests = authorities.iter().map(|der| digest(&[der]));
            let door = Door::Certificate(Arc::new(digests.collect()));
            (builder.with_client_cert_verifier(verifier), door)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| material::misfit(&cert.setting, cert.path, &error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Stateless tickets: a client that reconnects resumes with any worker. Their key is this configuration's own,
    // so none is taken that was given out on other terms.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|error| error.to_string())?;
    config.send_tls13_tickets = 1;
    // The record layer is ours, see `crate::tls`.
    config.enable_secret_extraction = true;
    Ok((config, door))
}

/// A file, and the setting that names it with its place.
struct Named<'f> {
    setting: String,
    path: &'f Path,
}

impl Named<'_> {
    fn read(&self, what: &str) -> Result<Vec<u8>, String> {
        crate::system::read::pem(self.path).map_err(|error| {
            let message = format!("cannot read it: {error}; expected {what} in PEM");
            at(&self.setting, self.path, message)
        })
    }
}
