//! Until when certificates hold that are ours, or whose owners we let in or trust.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;

use crate::tls::certificate::Validity;

/// A certificate that is ours, or whose owners we let in or trust.
pub(super) struct Dated {
    pub setting: String,
    pub path: PathBuf,
    pub validity: Validity,
    /// Whether metrics tell when it ends, and of which provider.
    pub shown: Option<Option<String>>,
}

/// All that were read.
#[derive(Default)]
pub(super) struct Dates {
    /// In the order in which they were.
    pub all: Vec<Dated>,
}

impl Dates {
    /// Notes until when the last of these authorities holds: some that have ended are in every bundle.
    pub(super) fn authorities(
        &mut self,
        setting: &str,
        path: &Path,
        authorities: &[CertificateDer<'_>],
    ) {
        let each = authorities.iter().filter_map(|der| Validity::of(der));
        if let Some(validity) = each.max_by_key(|validity| validity.not_after) {
            self.note(setting, path, validity, None);
        }
    }

    /// Notes until when a chain holds.
    pub(super) fn chain(
        &mut self,
        setting: &str,
        path: &Path,
        chain: &[CertificateDer<'_>],
        shown: Option<Option<&str>>,
    ) {
        let each = chain.iter().filter_map(|der| Validity::of(der));
        if let Some(validity) = each.reduce(Validity::and) {
            self.note(setting, path, validity, shown);
        }
    }

    fn note(
        &mut self,
        setting: &str,
        path: &Path,
        validity: Validity,
        shown: Option<Option<&str>>,
    ) {
        let dated = Dated {
            setting: setting.to_owned(),
            path: path.to_owned(),
            validity,
            shown: shown.map(|provider| provider.map(str::to_owned)),
        };
        self.all.push(dated);
    }
}
