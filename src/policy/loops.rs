//! Requests that come round: a provider's base URL may lead back to the gateway, straight or through others. Pure.
//!
//! A mark, a field line with a value of this process's own, shows it (as `CDN-Loop` does, RFC 8586). Providers see it
//! only where a request may have come round: where one listens on a port of the gateway's, and where a request has an
//! `X-Request-ID`, as every one has that has been here. Marks of other processes stay, so that gateways in a row and in
//! a circle work and are found.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use crate::http::head::{Name, Section};

/// Most processes that a request may have been through.
const PROCESSES_MAX: usize = 8;
/// Bytes of a mark's value: 64 bits in hexadecimal.
const MARK_BYTES: usize = 16;

/// The same for all workers and configurations of a process.
static LINE: LazyLock<Box<str>> = LazyLock::new(|| {
    // Randomly keyed; no secret, for providers may see it.
    let value = RandomState::new().hash_one(MARK_BYTES);
    format!("X-Sluicegate-Loop: {value:0MARK_BYTES$x}\r\n").into()
});

/// The complete field line that marks a request as having been here.
#[must_use]
pub(crate) fn line() -> &'static [u8] {
    LINE.as_bytes()
}

/// Whether a request has been through this process, or through more than any that has somewhere to go.
#[must_use]
pub(crate) fn has_come_round(section: Section<'_>) -> bool {
    if !section.fields.has(Name::XSluicegateLoop) {
        return false;
    }
    let ours = line().trim_ascii_end().rsplit(|byte| *byte == b' ').next();
    let mut marks = section.values(Name::XSluicegateLoop);
    marks.any(|mark| Some(mark) == ours)
        || section.values(Name::XSluicegateLoop).count() > PROCESSES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Fields, parse_request};

    fn come_round(lines: &[u8]) -> bool {
        let head = [b"GET / HTTP/1.1\r\nHost: h\r\n", lines, b"\r\n"].concat();
        let mut fields = Fields::new();
        parse_request(&head, &mut fields).unwrap().unwrap();
        has_come_round(Section::new(&fields, &head))
    }

    #[test]
    fn the_own_mark_is_known_among_others() {
        let other = b"x-sluicegate-loop: 0123456789abcdef\r\n";
        assert!(!come_round(b"") && !come_round(other));
        assert!(come_round(line()));
        assert!(come_round(&[&other[..], line(), other].concat()));
        assert!(!come_round(&other.repeat(PROCESSES_MAX)));
        assert!(come_round(&other.repeat(PROCESSES_MAX + 1)));
    }

    #[test]
    fn a_mark_has_64_bits_and_stays() {
        let text = std::str::from_utf8(line()).unwrap();
        let value = text.strip_prefix("X-Sluicegate-Loop: ").unwrap();
        let value = value.strip_suffix("\r\n").unwrap();
        assert_eq!(value.len(), MARK_BYTES);
        assert!(value.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_eq!(line(), line());
    }
}
