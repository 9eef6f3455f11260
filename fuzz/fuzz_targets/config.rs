//! Configuration files, `.env` and keys files: read or refused, without a panic and without showing a secret.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::config as property;

fuzz_target!(|bytes: &[u8]| property::holds(bytes));
