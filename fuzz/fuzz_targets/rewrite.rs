//! Heads of both sides are rewritten as the slow way does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::rewrite::{request_holds, response_holds};

fuzz_target!(|input: &[u8]| {
    request_holds(input);
    response_holds(input);
});
