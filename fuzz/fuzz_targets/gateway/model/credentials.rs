//! Keys: which fields carry them, and that each provider gets its own only.

use memchr::memmem;

use super::message::Head;
use super::record::Record;

/// What the gateway sends, as this configuration has it.
pub const CREDENTIALS: [&str; 2] = ["Authorization: Bearer key-of-a", "x-api-key: key-of-b"];

pub const CREDENTIAL_NAMES: [&str; 5] = [
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-sluicegate-key",
];

/// Panics when a provider has seen the key of the other.
pub fn stay_apart(record: &Record) {
    for upstream in &record.upstreams {
        let other = ["key-of-b", "key-of-a"][upstream.provider];
        let has = |bytes: &[u8]| memmem::find(bytes, other.as_bytes()).is_some();
        let leaked = has(&upstream.side.received) && !has(&record.client.sent);
        assert!(!leaked, "a provider's key went to another one");
    }
}

/// Whether no credential comes twice, which would be refused.
pub fn come_once(head: &Head) -> bool {
    CREDENTIAL_NAMES
        .iter()
        .all(|name| head.all(name).len() <= 1)
}
