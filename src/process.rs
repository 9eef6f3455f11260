//! The process around the workers: from the listening sockets to the last answer of a drain.

pub mod handover;
pub mod listen;
pub mod preflight;
pub mod server;
pub mod watch;
