//! The process around the workers: from the listening sockets to the last answer of a drain.

pub(crate) mod control;
pub(crate) mod handover;
pub(crate) mod listen;
pub(crate) mod preflight;
pub(crate) mod server;
pub(crate) mod watch;
