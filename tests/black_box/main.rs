//! The program as it is seen from outside: the real binary between raw clients and scripted upstreams.
//!
//! Each module states one side of the contract as raw bytes in and out. Nothing here sleeps: every step waits
//! for an event, and every wait has a bound that only ever fails a test. `SLUICEGATE_TEST_DRIVER` picks the
//! event loop, `SLUICEGATE_TEST_BULK` the number of bytes that the bulk tests move.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    reason = "a test fails by panicking, and its helpers share state between plain threads"
)]

mod support;

mod disconnects;
mod heads;
mod pool;
mod timeouts;
mod truncation;
mod upgrade;
