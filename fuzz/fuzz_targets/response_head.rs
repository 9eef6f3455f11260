//! Response heads: cuts, the slow model, the spans, and the length decision; the same bytes as a proxy's answer.
//!
//! Seeds: `tests/corpus/heads/accept` and `tests/corpus/heads/refuse`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::connect;
use sluicegate::door::fuzzing::head as property;
use sluicegate::door::http::Side;

fuzz_target!(|input: &[u8]| {
    // A few cuts and one change, chosen by the input: the property tests try them all.
    let chosen = input.iter().fold(input.len(), |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    let step = 1 + chosen % 64 + input.len() / 16;
    property::hold(Side::Response, input, step);
    property::holds_at_cut(Side::Response, input, chosen % (input.len() + 1));
    property::holds_though_seen_once(Side::Response, input, chosen);
    connect::holds(input, step);
    property::closes_up(input);
    sluicegate::door::fuzzing::framing::decision_holds(input);
});
