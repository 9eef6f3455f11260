//! Allow and deny lists: a naive reader, and spellings of paths that must open nothing.
//!
//! The input is a method, a path and rules, a line each. Seeds: `tests/corpus/policy`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::rules as property;

fuzz_target!(|input: &[u8]| {
    let chosen = input.iter().fold(input.len(), |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    property::holds(input, chosen);
});
