//! sluicegate: a passthrough gateway in front of LLM provider APIs.
//!
//! The modules in the order in which a byte meets them: [`http`] knows messages and nothing else;
//! [`config`], [`auth`], [`visitors`], [`route`], [`cors`], [`gateway`], [`admission`] and [`error`] decide what shall
//! happen to one; all of these are pure, as is what [`addresses`] knows of host names. [`net`] moves the bytes,
//! [`server`] is the process around it.

pub mod addresses;
pub mod admission;
pub mod auth;
pub mod bytes;
pub mod certificate;
pub mod config;
pub mod confine;
pub mod cors;
pub mod date;
pub mod demo;
pub mod descriptors;
pub mod error;
pub mod gateway;
pub mod guide;
pub mod handover;
pub mod http;
pub mod key_command;
pub mod key_file;
#[cfg(test)]
mod linear;
pub mod listen;
pub mod log;
pub mod loops;
pub mod manual;
pub mod net;
pub mod notify;
pub mod observe;
pub mod output;
pub mod policy;
pub mod preflight;
pub mod process;
pub mod read;
pub mod route;
pub mod server;
pub mod signals;
mod steps;
pub mod tls;
pub mod top;
pub mod visitors;
pub mod watch;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
