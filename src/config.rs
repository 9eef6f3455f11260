//! Configuration: environment, `.env`, TOML file, defaults → one immutable [`Config`]. Pure: files are
//! read through a function that is handed in.
//!
//! `tables` and `provider::table` have every setting once, and all that is said of settings is made of them. `file` is
//! what a user wrote, [`Config`] is what the program uses; `resolve` goes from one to the other, and what cannot be used
//! is named with its source, its line, its key, its value and what was expected.

mod access;
mod ages;
mod describe;
mod dotenv;
mod egress;
mod error;
mod file;
mod gomodel;
mod indirect;
pub(crate) mod keys;
pub(crate) mod kind;
mod kinds;
mod listeners;
mod model;
mod near;
mod networks;
mod operators;
mod origin;
pub(crate) mod places;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
mod provider;
mod proxy;
mod reference;
mod resolve;
pub(crate) mod rules;
mod secret;
mod setting;
mod shown;
mod source;
mod spread;
mod strays;
mod syntax;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod trust;
mod url;
pub(crate) mod value;
mod written;

pub(crate) use ages::Ages;
pub(crate) use egress::ClientIdentity;
pub use error::ConfigError;
pub(crate) use kind::KeyField;
pub use kind::ProviderKind;
pub(crate) use listeners::Listen;
#[cfg(test)]
pub(crate) use model::Keepalive;
pub(crate) use model::{
    Config, Driver, Landlock, Level, LogConfig, LogFile, LogFormat, ProxyProtocol, ServerTls, Tcp,
};
pub(crate) use origin::{ORIGIN_BYTES_MAX, Origin};
pub(crate) use provider::fields::HEAD_ADDED_BYTES_MAX;
pub(crate) use provider::instance::{Credential, HealthProbe, Instance, ListEntry, Provider};
pub(crate) use proxy::{Proxy, ProxyKind};
pub(crate) use reference::{reference, variables};
pub use resolve::load;
pub(crate) use secret::Secret;
pub use source::Sources;
pub(crate) use spread::Surplus;
pub(crate) use trust::{CaFile, CertVariables, Trust};
pub(crate) use url::{BaseUrl, Host};
