//! Whom providers are trusted on the word of: the roots that their certificates are checked against.
//!
//! What a file of ours says holds, for one provider or for all; else the environment's two variables, which every
//! program reads, and without them the system's roots.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::ConfigError;
use super::source::Env;
use super::written::Written;

/// Where the roots for a provider come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// The system.
    #[default]
    System,
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`, in place of the system's.
    Environment(Arc<CertVariables>),
    /// A `ca_file`, in place of all others.
    File(Arc<CaFile>),
}

/// What the two variables name.
#[derive(Debug, PartialEq, Eq)]
pub struct CertVariables {
    /// The first of them, and where it is set.
    pub file_setting: String,
    /// `SSL_CERT_FILE`: a PEM file.
    pub file: Option<PathBuf>,
    /// The second of them, and where it is set.
    pub folders_setting: String,
    /// `SSL_CERT_DIR`: folders of PEM files. Some may be missing, as for OpenSSL.
    pub folders: Vec<PathBuf>,
}

/// A PEM file of roots, read with the rest of the configuration.
#[derive(PartialEq, Eq)]
pub struct CaFile {
    /// The setting that names it, and where that is written.
    pub setting: String,
    /// The file.
    pub path: PathBuf,
    /// What it holds.
    pub pem: Box<[u8]>,
}

impl std::fmt::Debug for CaFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaFile")
            .field("setting", &self.setting)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Trust {
    /// What the variables say; empty entries of the list count for nothing.
    pub(super) fn from_environment(env: &Env<'_>) -> Self {
        let located = |key: &str| {
            let set = env
                .located(key)
                .map(|(value, from)| (value, format!("{from}: {key}")));
            set.unwrap_or_else(|| ("", key.to_owned()))
        };
        let (file, file_setting) = located("SSL_CERT_FILE");
        let (folders, folders_setting) = located("SSL_CERT_DIR");
        let folders: Vec<PathBuf> = { folders.split(':') }
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from)
            .collect();
        if file.is_empty() && folders.is_empty() {
            return Self::System;
        }
        Self::Environment(Arc::new(CertVariables {
            file_setting,
            file: Some(file)
                .filter(|file| !file.is_empty())
                .map(PathBuf::from),
            folders_setting,
            folders,
        }))
    }

    /// Reads a `ca_file`.
    pub(super) fn from_file(
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
        written: &Written,
    ) -> Result<Self, ConfigError> {
        let path = PathBuf::from(written.text());
        if path.as_os_str().is_empty() {
            return Err(written.refused("expected the path of a file; leave it out for none"));
        }
        let content = read(&path);
        let content = content.map_err(|error| written.unreadable(&error, "a PEM file"))?;
        Ok(Self::File(Arc::new(CaFile {
            setting: written.place().to_string(),
            path,
            pem: content.into_boxed_slice(),
        })))
    }
}
