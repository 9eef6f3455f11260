//! Credentials of a head against a naive reader, and keys in odd spellings.
//!
//! The input is field lines. Seeds: `tests/corpus/auth`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::auth as property;
use sluicegate::door::policy::Keys;

static KEYS: LazyLock<Keys> = LazyLock::new(property::keys);

fuzz_target!(|input: &[u8]| property::holds(&KEYS, input));
