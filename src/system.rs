//! What the operating system is asked for besides sockets: files, limits, signals, confinement, the time.

pub(crate) mod confine;
pub(crate) mod descriptors;
pub(crate) mod notify;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod read;
pub(crate) mod signals;
pub(crate) mod time;
