//! Response heads: cuts, the slow model, the spans, and the length decision; the same bytes as a proxy's answer.
//!
//! Seeds: `tests/corpus/heads/accept` and `tests/corpus/heads/refuse`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::http::connect;
use sluicegate::http::head::{Side, property};

fuzz_target!(|input: &[u8]| {
    // Long inputs are cut into longer pieces, so that each is worth its time.
    for step in [1 + input.len() / 512, 7 + input.len() / 64] {
        property::hold(Side::Response, input, step);
        connect::property::holds(input, step);
    }
    property::holds_at_cut(Side::Response, input, input.len() / 2);
    property::holds_though_seen(Side::Response, input);
    sluicegate::http::framing::property::decision_holds(input);
});
