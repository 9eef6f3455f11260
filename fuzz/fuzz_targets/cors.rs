//! What pages of other origins are told, against a naive reader.
//!
//! The input is a method and field lines. Seeds: `tests/corpus/cors`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::{Cors, cors as property};

static CORS: LazyLock<Cors> = LazyLock::new(property::cors);

fuzz_target!(|input: &[u8]| property::holds(&CORS, input));
