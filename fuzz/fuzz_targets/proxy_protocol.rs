//! What connections begin with, against a naive reader of PROXY headers; the same bytes as a SOCKS5 proxy's answers.
//!
//! Seeds: `tests/corpus/proxy_protocol`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::{proxy_protocol as property, socks};

fuzz_target!(|input: &[u8]| {
    let step = input.iter().fold(input.len(), |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    let step = 1 + step % 64 + input.len() / 16;
    property::holds(input, step);
    // A checksum that is right is found by nobody.
    property::holds(&property::summed(input), step);
    socks::holds(input, step % 2 == 0);
});
