//! Chunked content: cuts, the slow model, stripping; and content that is only counted.
//!
//! The first byte gives the size of the pieces. Seeds: the folders of `tests/corpus/chunked`, whose files begin with a
//! digit and so are cut into about fifty bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::framing as property;

fuzz_target!(|input: &[u8]| {
    let Some(&first) = input.first() else { return };
    property::chunked_holds(input, 1 + usize::from(first) + input.len() / 512);
    property::chunked_holds_at_cut(input, input.len() / 2);
    let rest = input.get(1..).unwrap_or_default();
    property::chunked_holds(rest, 1 + usize::from(first % 4) + input.len() / 512);
    property::plain_holds(u64::from(first), input, 1 + input.len() / 7);
});
