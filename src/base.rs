//! What every room stands on: ranges of buffers, dates, the count of steps. Pure.

pub mod bytes;
pub mod date;
pub mod steps;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
