//! What a client expects before it sends its content (RFC 9110, section 10.1.1).

use super::framing::BodyLength;
use super::head::{Name, RequestView, Version};

/// Whether the client may wait for a 100 before it sends its content: without any there is nothing to wait for.
#[must_use]
pub(crate) fn waits(request: RequestView<'_>, length: BodyLength) -> bool {
    let mut expectations = request.values(Name::Expect);
    length != BodyLength::Empty
        && expectations.any(|value| is_continue(value) && !is_ignored(request.head.version, value))
}

/// A 100-continue in HTTP/1.0 is to be ignored: that client knows no interim responses.
#[must_use]
pub(crate) fn is_ignored(version: Version, expectation: &[u8]) -> bool {
    version == Version::Http10 && is_continue(expectation)
}

fn is_continue(expectation: &[u8]) -> bool {
    expectation.eq_ignore_ascii_case(b"100-continue")
}
