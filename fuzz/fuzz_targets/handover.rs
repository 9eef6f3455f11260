//! Packets of a hand-over: read as a naive reader does, and written again as they were.
//!
//! Seeds: `tests/corpus/handover`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::handover as property;

fuzz_target!(|input: &[u8]| property::holds(input));
