//! The program as it is seen from outside: the real binary between raw clients and scripted upstreams.
//!
//! Each module states one side of the contract as raw bytes in and out. Every step waits for an event, and every
//! wait has a bound that only ever fails a test; what sleeps is where time itself, or its absence, is what is tested.
//! `soak` mixes all of it for a time, `stalls` measures who holds up whom: both have the machine for themselves, which takes
//! two minutes that `cargo test --test black_box -- --skip stalls` does without.
//!
//! `SLUICEGATE_TEST_DRIVER` picks the event loop, `SLUICEGATE_TEST_BULK` the number of bytes that the bulk tests move,
//! `SLUICEGATE_TEST_BIN` another binary than the one that was built with the tests, `SLUICEGATE_TEST_GOES` how often a
//! side leaves for the figures of `relay::faults::notice`. With AddressSanitizer, leaks included:
//!
//! ```text
//! RUSTFLAGS=-Zsanitizer=address cargo +nightly build --locked --bin sluicegate \
//!     --target x86_64-unknown-linux-gnu --target-dir target/asan
//! SLUICEGATE_TEST_BIN=$PWD/target/asan/x86_64-unknown-linux-gnu/debug/sluicegate cargo test --test black_box
//! ```
//!
//! The tests that bound resident memory (two in `relay::bulk`, one in `http::corners`) fail with that binary.

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

mod soak;
mod stalls;
mod support;

/// Messages on the wire, both ways.
mod http {
    mod corners;
    mod counterpart;
    mod framing;
    mod heads;
    mod interim;
    mod mutations;
    mod persistence;
    mod pipelining;
    mod responses;

    mod smuggling;
    mod tolerance;
}

/// Managed keys and their file.
mod keys {
    mod changes;
    mod command;
    mod file;
    mod last;
    mod limits;
}

/// Connections of clients: accepted, dealt out, limited.
mod listeners {
    mod balance;
    mod handshakes;
    mod overload;
    mod per_address;
    mod proxy_protocol;
    mod tcp_keepalive;
    mod tls;
}

/// What an operator sees.
mod observe {
    mod agreement;
    mod contrib;
    mod log;
    mod log_files;
    mod log_unread;
    mod metrics;
    mod otlp;
    mod otlp_collector;
    mod otlp_metrics;
    mod page;
    mod reasons;
    mod requests;
    mod streams;
    mod terminal;
    mod timing;
    mod top;
}

/// Who may ask for what.
mod policy {
    mod auth;
    mod cors;
    mod endpoint_policy;
    mod loops;
    mod open_start;
    mod origins;
    mod probes;
    mod routes;
}

/// The process: its life, its signals, its commands.
mod process {
    mod beginning;
    mod confinement;
    mod lifecycle;
    mod manual;
    mod outputs;
    mod signals;
    mod succession;
}

/// Several keys and several instances of a provider.
mod providers {
    mod addresses;
    mod blame;
    mod drain;
    mod failover;
    mod instances;
    mod keys;
    mod level;
    mod limits;
    mod queue;
    mod settings;
    mod succession;
}

/// Bodies, tunnels and ends: what one side does and the other sees.
mod relay {
    mod bulk;
    mod errors;
    mod faults;
    mod leaving;
    mod streaming;
    mod suspended;
    mod timeouts;
    mod truncation;
    mod tunnels;
    mod uploads;
}

/// Configuration: read, refused, in force, changed.
mod settings {
    mod certificates;
    mod connect;
    mod dotenv;
    mod gomodel;
    mod gomodels_ways;
    mod in_force;
    mod known;
    mod messages;
    mod misconfiguration;
    mod providers;
    mod reload;
    mod reload_tls;
    mod sources;
    mod startable;
    mod types;
}

/// What is shipped beside the program: packages, the image, the entry for a benchmark.
mod shipping {
    mod benchmark;
    mod container;
    mod contrib;
    mod packages;
    mod seccomp;
}

/// Connections to providers.
mod upstream {
    mod identity;
    mod keep_alive;
    mod names;
    mod pool;
    mod pool_tls;
    mod proxy;
    mod refusals;
    mod socks;
    mod tls_proxy;
    mod unix;
    mod warm;
}
