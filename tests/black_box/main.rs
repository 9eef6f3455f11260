//! The program as it is seen from outside: the real binary between raw clients and scripted upstreams.
//!
//! Each module states one side of the contract as raw bytes in and out. Nothing here sleeps: every step waits
//! for an event, and every wait has a bound that only ever fails a test. `SLUICEGATE_TEST_DRIVER` picks the
//! event loop, `SLUICEGATE_TEST_BULK` the number of bytes that the bulk tests move, `SLUICEGATE_TEST_BIN` another
//! binary than the one that was built with the tests, `SLUICEGATE_TEST_GOES` how often a side leaves for the
//! figures of `faults::notice`. With AddressSanitizer, leaks included:
//!
//! ```text
//! RUSTFLAGS=-Zsanitizer=address cargo +nightly build --locked --bin sluicegate \
//!     --target x86_64-unknown-linux-gnu --target-dir target/asan
//! SLUICEGATE_TEST_BIN=$PWD/target/asan/x86_64-unknown-linux-gnu/debug/sluicegate cargo test --test black_box
//! ```
//!
//! The tests that bound resident memory (two in `bulk`, one in `corners`) fail with that binary.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::disallowed_types,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and its helpers share state between plain threads; tables are long"
)]

mod support;

mod auth;
mod balance;
mod bulk;
mod certificates;
mod config;
mod confinement;
mod corners;
mod cors;
mod counterpart;
mod disconnects;
mod dotenv;
mod egress_identity;
mod egress_proxy;
mod egress_refusals;
mod egress_unix;
mod endpoint_policy;
mod errors;
mod faults;
mod framing;
mod handshakes;
mod heads;
mod in_force;
mod interim;
mod keep_alive;
mod keepalive;
mod keys_changes;
mod keys_command;
mod keys_file;
mod keys_limits;
mod last_key;
mod leaving;
mod lifecycle;
mod log_files;
mod log_unread;
mod loops;
mod manual;
mod misconfiguration;
mod mutations;
mod names;
mod observe;
mod observe_contrib;
mod observe_log;
mod observe_metrics;
mod observe_streams;
mod observe_timing;
mod open_start;
mod origins;
mod outputs;
mod overload;
mod per_address;
mod persistence;
mod pool;
mod pool_tls;
mod providers;
mod reload;
mod reload_tls;
mod responses;
mod routes;
mod sequence;
mod settings;
mod signals;
mod smuggling;
mod startable;
mod streaming;
mod succession;
mod suspended;
mod timeouts;
mod tls;
mod tolerance;
mod top;
mod truncation;
mod tunnels;
mod upgrade;
mod uploads;
mod warm;
