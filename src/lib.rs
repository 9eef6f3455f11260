//! sluicegate: a passthrough gateway in front of LLM provider APIs.
//!
//! The rooms from the ground up, each standing on those above it in this list only: `base` is what all use; `http`
//! knows messages, `tls` records and `hops` those on the way, and nothing else; `providers` chooses who serves a request;
//! `config` is what an operator wants; `observe` is what one sees; `policy` decides what shall happen to a request; all of
//! these are pure. `system` asks the kernel, `log` writes lines, `net` moves the bytes, `otlp` tells a collector, `process`
//! is what runs it, `cli` what a person starts.

mod base;
mod cli;
mod config;
pub mod door;
pub mod guide;
mod hops;
mod http;
mod log;
mod net;
mod observe;
mod otlp;
mod policy;
mod process;
mod providers;
mod system;
mod tls;

pub use cli::main;
