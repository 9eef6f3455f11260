//! What every room stands on: ranges of buffers, dates, the count of steps. Pure.

pub(crate) mod authority;
pub(crate) mod base64;
pub(crate) mod bytes;
pub(crate) mod columns;
pub(crate) mod date;
pub(crate) mod hex;
pub(crate) mod number;
pub(crate) mod reason;
pub(crate) mod steps;

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
