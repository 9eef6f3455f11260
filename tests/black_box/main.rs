//! The contract, seen from outside: the real program between raw clients and scripted upstreams.
//!
//! One binary; each module is one subject. Bytes go in and out raw, and tests wait for events, never for
//! time: every wait has a bound that only ends a test that has failed.

#![allow(clippy::disallowed_types, reason = "tests share state between threads")]
#![allow(clippy::disallowed_methods, reason = "a test may block its thread")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "that is how a test fails"
)]
#![allow(
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a panic is a failed test"
)]
#![allow(unreachable_pub, reason = "one binary: nothing is public")]
#![allow(
    dead_code,
    unused_imports,
    reason = "support code is not all used by every selection of modules"
)]
#![allow(clippy::print_stderr, reason = "shown when a test fails")]

mod support;

mod routes;
