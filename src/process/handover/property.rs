//! What holds for every packet of a hand-over, shared by a property test and a fuzz target.

use super::packet::{Address, Packet};
use crate::config::Listen;

/// A packet is read as its parts say, and what was read is written as it stands.
pub fn holds(packet: &[u8]) {
    let read = Packet::read(packet);
    let address = match &read {
        Some(Packet::Listener(address)) => Some(address.clone()),
        _ => None,
    };
    assert_eq!(address, model(packet), "{}", packet.escape_ascii());
    let Some(read) = read else { return };
    // What is written once more says the same, and but for addresses is the same.
    let written = read.text();
    assert_eq!(
        Packet::read(written.as_bytes()).as_ref(),
        Some(&read),
        "{written:?}"
    );
    assert!(
        address.is_some() || written.as_bytes() == packet,
        "{written:?}"
    );
}

/// Part by part: the configured address, which may be none, the actual one, and a word.
fn model(packet: &[u8]) -> Option<Address> {
    let mut parts: Vec<&str> = std::str::from_utf8(packet).ok()?.split('\0').collect();
    let metrics = parts.len() > 2 && parts.last() == Some(&"metrics");
    if metrics {
        parts.pop();
    }
    let (asked, address) = parts.split_first()?;
    let asked: Option<Listen> = match *asked {
        "" => None,
        asked => Some(asked.parse().ok()?),
    };
    match address {
        [] => None,
        address => Some(Address {
            asked,
            address: address.join("\0").parse().ok()?,
            metrics,
        }),
    }
}
