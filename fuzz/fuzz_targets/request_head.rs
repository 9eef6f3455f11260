//! Request heads: cuts, the slow model, the spans, and the length decision.
//!
//! Seeds: `tests/corpus/heads/accept` and `tests/corpus/heads/refuse`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::head as property;
use sluicegate::door::http::Side;

fuzz_target!(|input: &[u8]| {
    // A few cuts and one change, chosen by the input: the property tests try them all.
    let chosen = input.iter().fold(input.len(), |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    let step = 1 + chosen % 64 + input.len() / 16;
    property::hold(Side::Request, input, step);
    property::holds_at_cut(Side::Request, input, chosen % (input.len() + 1));
    property::holds_though_seen_once(Side::Request, input, chosen);
    sluicegate::door::fuzzing::framing::decision_holds(input);
});
