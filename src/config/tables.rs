//! Every setting of the gateway itself; those of a provider are in `provider::table`.
//!
//! A new one is an entry in one of these tables and the field that it is read into.

mod bounds;
mod observing;
mod otlp;
mod serving;
mod upstream;

use bounds::{LIMITS, TCP, TIMEOUTS};
use observing::{LOG, METRICS};
use otlp::OTLP;
use serving::{AUTH, PASSTHROUGH, SERVER, SERVER_TLS};
use upstream::UPSTREAM;

use super::table::Table;

/// Every table but those of providers, in the order of `check` and of the reference.
pub(super) const TABLES: [Table; 11] = [
    SERVER,
    SERVER_TLS,
    AUTH,
    PASSTHROUGH,
    LIMITS,
    TIMEOUTS,
    METRICS,
    LOG,
    OTLP,
    TCP,
    UPSTREAM,
];
