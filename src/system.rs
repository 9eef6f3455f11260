//! What the operating system is asked for besides sockets: files, limits, signals, confinement.

pub mod confine;
pub mod descriptors;
pub mod notify;
pub mod process;
pub mod read;
pub mod signals;
