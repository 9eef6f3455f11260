//! What a table of settings is, and what it is read into; macros for its entries.

use std::path::PathBuf;

use super::listeners::Listen;
use super::model::{Config, Keepalive, LogFormat};
use super::setting::Setting;
use super::written::Written;

/// A field of [`Config`] that is read and shown as a kind of values is.
macro_rules! at {
    ($($field:ident).+, $kind:ident) => {
        $crate::config::setting::Slot {
            form: $kind.form,
            set: |draft: &mut $crate::config::table::Draft, written| {
                draft.config.$($field).+ = ($kind.read)(written)?;
                Ok(())
            },
            show: |config: &$crate::config::model::Config| ($kind.show)(&config.$($field).+),
        }
    };
}

/// A field of [`Draft`] that is made something of later.
macro_rules! kept {
    ($($field:ident).+, $form:expr, $read:expr, $show:expr) => {
        $crate::config::setting::Slot {
            form: $form,
            set: |draft: &mut $crate::config::table::Draft, written| {
                draft.$($field).+ = $read(written)?;
                Ok(())
            },
            show: $show,
        }
    };
}

/// The line of the reference with the default, or with what is one where others are as usual.
macro_rules! line {
    ($about:expr) => {
        line!("", $about)
    };
    ($value:expr, $about:expr) => {
        line!($value, false, $about)
    };
    ($value:expr, $is_example:expr, $about:expr) => {
        &[$crate::config::setting::Line {
            block: "",
            is_example: $is_example,
            value: $value,
            about: $about,
        }]
    };
}

/// The line of the reference with an example of a value.
macro_rules! example {
    ($value:expr, $about:expr) => {
        line!($value, true, $about)
    };
}

// Keys and variables that also messages or rules of their own are about.
pub(super) const MASTER_KEYS: [&str; 2] = ["GOMODEL_MASTER_KEY", "SLUICEGATE_MASTER_KEY"];
/// The key of the port alone, which is a variable's only.
pub(super) const PORT: &str = "server.";
pub(super) const LISTEN: &str = "server.listen";
pub(super) const KEYS_FILE: &str = "SLUICEGATE_KEYS_FILE";
pub(super) const METRICS_KEY: &str = "SLUICEGATE_METRICS_KEY";
pub(super) const TLS_CERT: &str = "SLUICEGATE_TLS_CERT";
pub(super) const TLS_KEY: &str = "SLUICEGATE_TLS_KEY";

/// A configuration on its way: what was read so far, and values that only together become one.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    /// What is listened on, and who says so.
    pub(super) listen: Option<(Vec<Listen>, Written)>,
    pub(super) port: Option<u16>,
    pub(super) tls_cert: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) master_key: Option<Written>,
    pub(super) master_key_file: Option<Written>,
    pub(super) metrics_key: Option<Written>,
    pub(super) metrics_key_file: Option<Written>,
    pub(super) kinds: Option<Written>,
    /// `None` where it depends on where the lines go.
    pub(super) log_format: Option<LogFormat>,
    pub(super) keepalive: Keepalive,
    pub(super) ca_file: Option<Written>,
    pub(super) client_cert: Option<Written>,
    pub(super) client_key: Option<Written>,
    pub(super) proxy: Option<Written>,
    pub(super) proxy_ca_file: Option<Written>,
    pub(super) otlp_ca_file: Option<Written>,
}

/// A table of the file.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// What the reference says behind its header.
    pub(super) about: &'static str,
    pub(super) layout: Layout,
    /// Keys that the reference shows first, in this order.
    pub(super) first: &'static [&'static str],
    /// In the order of `check`.
    pub(super) settings: &'static [Setting<Draft, Config>],
}

/// How the reference sets a table.
pub(super) struct Layout {
    /// What is said of a setting begins behind so many columns.
    pub(super) column: usize,
    /// What a line that goes on begins with.
    pub(super) margin: &'static str,
}

pub(super) const USUAL: Layout = Layout {
    column: 43,
    margin: "",
};

pub(super) fn as_written(written: &Written) -> Result<Option<Written>, String> {
    Ok(Some(written.clone()))
}

pub(super) use {at, example, kept, line};
