//! What holds for every packet of a hand-over, shared by a property test and a fuzz target.

use super::{listener, text};
use crate::config::Listen;

/// A packet is read as its parts say, and what was read is written as it stands.
pub fn holds(packet: &[u8]) {
    let read = listener(packet, Vec::new());
    let expected = model(packet);
    let parts = read
        .as_ref()
        .map(|read| (&read.asked, &read.address, read.metrics));
    let expected_parts = expected
        .as_ref()
        .map(|(asked, address, metrics)| (asked, address, *metrics));
    assert_eq!(parts, expected_parts, "{}", packet.escape_ascii());
    let Some(read) = &read else { return };
    // What is written once more says the same.
    let written = text(read);
    let again = listener(written.as_bytes(), Vec::new());
    let again = again
        .as_ref()
        .map(|again| (&again.asked, &again.address, again.metrics));
    assert_eq!(again, parts, "{written:?}");
}

/// Part by part: the configured address, which may be none, the actual one, and a word.
fn model(packet: &[u8]) -> Option<(Option<Listen>, Listen, bool)> {
    let mut parts: Vec<&str> = std::str::from_utf8(packet).ok()?.split('\0').collect();
    let metrics = parts.len() > 2 && parts.last() == Some(&"metrics");
    if metrics {
        parts.pop();
    }
    let (asked, address) = parts.split_first()?;
    let asked = match *asked {
        "" => None,
        asked => Some(asked.parse().ok()?),
    };
    match address {
        [] => None,
        address => Some((asked, address.join("\0").parse().ok()?, metrics)),
    }
}
