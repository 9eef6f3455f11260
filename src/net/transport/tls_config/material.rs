//! Certificates and keys out of PEM, and what is said of those that cannot be used.

use std::fmt::Display;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};
use rustls::crypto::aws_lc_rs as provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::tls::certificate::pem::{
    ENCRYPTED, instead_of_certificates, instead_of_key, is_encrypted,
};
use crate::tls::certificate::{KeyForm, key_kind};

/// All certificates in this, at least one.
///
/// # Errors
/// What stands there instead.
pub(super) fn chain(
    setting: &str,
    path: &Path,
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, String> {
    let expected = |what: &dyn Display| {
        at(
            setting,
            path,
            format!("expected a certificate chain in PEM: {what}"),
        )
    };
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let certificates = read.map_err(|error| expected(&error))?;
    match certificates.is_empty() {
        true => Err(expected(&instead_of_certificates(content))),
        false => Ok(certificates),
    }
}

/// The private key in this, of a kind that can be used.
///
/// # Errors
/// What stands there instead.
pub(super) fn key(
    setting: &str,
    path: &Path,
    content: &[u8],
) -> Result<PrivateKeyDer<'static>, String> {
    let expected = |what: &dyn Display| {
        at(
            setting,
            path,
            format!("expected a private key in PEM: {what}"),
        )
    };
    if is_encrypted(content) {
        return Err(expected(&ENCRYPTED));
    }
    let key = PrivateKeyDer::from_pem_slice(content).map_err(|error| match error {
        pem::Error::NoItemsFound => expected(&instead_of_key(content)),
        error => expected(&error),
    })?;
    let usable = provider::default_provider()
        .key_provider
        .load_private_key(key.clone_key());
    match usable {
        Ok(_) => Ok(key),
        Err(_) => Err(at(setting, path, unsupported(&key))),
    }
}

fn unsupported(key: &PrivateKeyDer<'_>) -> String {
    let form = match key {
        PrivateKeyDer::Pkcs1(_) => KeyForm::Pkcs1,
        PrivateKeyDer::Sec1(_) => KeyForm::Sec1,
        _ => KeyForm::Pkcs8,
    };
    let kind = key_kind(form, key.secret_der());
    format!(
        "unsupported key type: {kind}; expected RSA of 2048 to 8192 bits, EC on P-256, P-384 or P-521, or Ed25519"
    )
}

/// What is said where both can be read and do not belong together.
pub(super) fn misfit(setting: &str, path: &Path, error: &rustls::Error) -> String {
    let what = match error {
        rustls::Error::InconsistentKeys(_) => "certificate and key do not fit",
        _ => "the certificate cannot be used",
    };
    at(setting, path, format!("{what}: {error}"))
}

/// SHA-256 of all that a configuration was made from.
pub(super) type Digest = [u8; 32];

/// Of all parts, and where each ends.
pub(super) fn digest(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    let mut digest = Digest::default();
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// An error's message: the setting, its file and what is wrong with it.
pub(super) fn at(setting: &str, path: &Path, what: impl Display) -> String {
    format!("{setting}: {}: {what}", path.display())
}
