//! The roots that a provider's certificate is checked against.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_native_certs::{CertificateResult, ErrorKind, load_certs_from_paths, load_native_certs};

use crate::config::{CaFile, CertVariables};
use crate::system::read;

use super::material::{Digest, at, digest};

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Roots {
    pub(super) store: Arc<RootCertStore>,
    /// Certificates that somebody named: a server that shows one of them itself is trusted.
    pub(super) pinned: Arc<[CertificateDer<'static>]>,
    /// Of all of them, in whatever order they were found.
    pub(super) digest: Digest,
}

impl Roots {
    /// `None` where not one of them can be used.
    fn new(mut certificates: Vec<CertificateDer<'static>>, named: bool) -> Option<Self> {
        certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        certificates.dedup();
        let mut parts: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
        // A system's root is never taken for a server's own certificate.
        let named_or_not = [u8::from(named)];
        parts.push(&named_or_not);
        let digest = digest(&parts);
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(certificates.iter().cloned());
        if !named {
            certificates.clear();
        }
        let roots = Self {
            pinned: certificates.into(),
            digest,
            store: Arc::new(store),
        };
        (!roots.store.is_empty()).then_some(roots)
    }
}

/// Those of the system.
///
/// # Errors
/// When it has none.
pub(super) fn of_system() -> Result<Roots, String> {
    Roots::new(load_native_certs().certs, false).ok_or_else(|| {
        "no trusted certificates found on this system; install ca-certificates or set \
         SSL_CERT_FILE or upstream.ca_file"
            .to_owned()
    })
}

/// Those that the variables name. Folders of the list may be missing, as for OpenSSL; a file may not.
///
/// # Errors
/// When there is none.
pub(super) fn of_environment(variables: &CertVariables) -> Result<Roots, String> {
    let mut certificates = Vec::new();
    let mut why = None;
    if let Some(file) = &variables.file {
        certificates = named(file)
            .map_err(|why| at(&variables.file_setting, file, none_found(why.as_deref())))?;
    }
    for folder in &variables.folders {
        let found = load_certs_from_paths(None, Some(folder));
        why = why.or_else(|| first_error(&found));
        certificates.extend(found.certs);
    }
    Roots::new(certificates, true).ok_or_else(|| {
        let folders = variables.folders.iter().map(|folder| folder.display());
        let list: Vec<String> = folders.map(|folder| folder.to_string()).collect();
        let (setting, place) = match &variables.file {
            Some(file) => (&variables.file_setting, file.clone()),
            None => (&variables.folders_setting, list.join(":").into()),
        };
        at(setting, &place, none_found(why.as_deref()))
    })
}

/// Those of a file that our own configuration names.
///
/// # Errors
/// When none of them can be used.
pub(super) fn of_file(
    file: &CaFile,
    certificates: &[CertificateDer<'static>],
) -> Result<Roots, String> {
    let roots = Roots::new(certificates.to_vec(), true);
    roots.ok_or_else(|| at(&file.setting, &file.path, none_found(None)))
}

/// Those that clients' certificates are checked against; here each has to be right.
///
/// # Errors
/// What is wrong with the first that is not.
pub(super) fn of_clients(
    setting: &str,
    path: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        let added = store.add(certificate.clone());
        added.map_err(|error| at(setting, path, error))?;
    }
    Ok(store)
}

/// Those of a file, one at least; else what is wrong with the first, if there is any.
fn named(file: &Path) -> Result<Vec<CertificateDer<'static>>, Option<String>> {
    let content = read::pem(file).map_err(|error| Some(error.to_string()))?;
    let (mut certificates, mut first) = (Vec::new(), None);
    for read in CertificateDer::pem_slice_iter(&content) {
        match read {
            Ok(certificate) => certificates.push(certificate),
            Err(error) => first = first.or(Some(error.to_string())),
        }
    }
    match certificates.is_empty() {
        true => Err(first),
        false => Ok(certificates),
    }
}

fn none_found(why: Option<&str>) -> String {
    let gap = if why.is_some() { ": " } else { "" };
    format!(
        "expected certificates in PEM, found none{gap}{}",
        why.unwrap_or_default()
    )
}

/// What went wrong first, but for a folder that is not there.
fn first_error(found: &CertificateResult) -> Option<String> {
    let missing = |kind: &ErrorKind| match kind {
        ErrorKind::Io { inner, .. } => inner.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    };
    let mut errors = found.errors.iter();
    let error = errors.find(|error| error.context != OPENING_FOLDER || !missing(&error.kind));
    error.map(ToString::to_string)
}

const OPENING_FOLDER: &str = "opening directory";
