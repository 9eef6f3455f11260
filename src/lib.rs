//! sluicegate: a passthrough gateway in front of LLM provider APIs.
//!
//! The modules in the order in which a byte meets them: [`http`] knows messages and nothing else;
//! [`config`], [`error`], [`auth`] and [`route`] decide what shall happen to one; all of these are pure.
//! [`net`] moves the bytes, `server` is the process around it.

pub mod auth;
pub mod config;
pub mod error;
pub mod http;
pub mod route;
