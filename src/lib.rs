//! sluicegate: a passthrough gateway in front of LLM provider APIs.
//!
//! The rooms from the ground up, each standing on those above it in this list only: [`base`] is what all use; [`http`]
//! knows messages and [`tls`] records, and nothing else; [`config`] is what an operator wants; [`observe`] what one
//! sees; [`policy`] decides what shall happen to a request; all of these are pure. [`system`] asks the kernel,
//! [`log`] writes lines, [`net`] moves the bytes, [`process`] is what runs it, [`cli`] what a person starts.

pub mod base;
pub mod cli;
pub mod config;
pub mod guide;
pub mod http;
pub mod log;
pub mod net;
pub mod observe;
pub mod policy;
pub mod process;
pub mod system;
pub mod tls;
