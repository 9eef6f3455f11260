//! The PROXY header (haproxy, `doc/proxy-protocol.txt`), versions 1 and 2: whose connection a balancer has passed on, said
//! before the connection's first byte.
//!
//! Its addresses are all that is taken from it. What else it may carry is checked for its lengths and, where there is one,
//! its checksum, and passed over. Nothing is guessed: a header is exactly what the specification says, or refused.

mod header;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
#[cfg(test)]
mod tests;
mod v1;
mod v2;

pub(crate) use header::{Begin, Defect, Source};

/// Longest header, in bytes: one of version 2 with 4 KiB of addresses and what else it carries.
pub(crate) const HEADER_BYTES_MAX: usize = v2::FIXED_BYTES + v2::BLOCK_BYTES_MAX;
const _: () = assert!(v1::LINE_BYTES_MAX <= HEADER_BYTES_MAX);

/// What a balancer says of a connection of its own.
pub(crate) const OWN: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// Reads the beginning of a connection. `bytes` is all that has come of it, or more than a header can have.
///
/// The answer is the same however it came: what was decided on stays so with more bytes.
///
/// # Errors
/// As early as the bytes show it.
pub(crate) fn read(bytes: &[u8]) -> Result<Begin, Defect> {
    let begins = |signature: &[u8]| {
        let len = signature.len().min(bytes.len());
        bytes.get(..len) == signature.get(..len)
    };
    match (begins(v1::SIGNATURE), begins(v2::SIGNATURE)) {
        (true, _) if bytes.len() >= v1::SIGNATURE.len() => v1::read(bytes),
        (_, true) if bytes.len() >= v2::SIGNATURE.len() => v2::read(bytes),
        (true, _) | (_, true) => Ok(Begin::Open),
        (false, false) => Ok(Begin::Other),
    }
}
