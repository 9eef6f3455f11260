//! What heads consist of, as ranges; their limits, and what makes them unfit.

use super::names::Name;
use crate::base::steps;

/// Longest head, in bytes, blank line included; a longer one is [`HeadError::TooLong`].
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most heads are shorter, in bytes: clients' and providers' own have one to three thousand.
pub(crate) const HEAD_USUAL: usize = 4 * 1024;
/// Most field lines in a request head.
pub(crate) const REQUEST_FIELDS_MAX: usize = 100;
/// Most field lines in a response head.
pub const RESPONSE_FIELDS_MAX: usize = 200;
/// Longest request target, in bytes.
pub(crate) const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Longest method that is passed on, in bytes; IANA's registry ends at 17.
pub(crate) const METHOD_BYTES_MAX: usize = 32;
/// Most empty lines skipped before a request line (RFC 9112, section 2.2).
pub(crate) const EMPTY_LINES_MAX: usize = 4;

/// A range of bytes in the buffer that a head was parsed from, counted from the head's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes it names; empty when it does not lie in `buf`.
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

/// The version that a message is read as; both are HTTP major version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1, and whatever minor version is above it (RFC 9110, section 2.5)
    Http11,
}

/// One field line of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Which name it is, if the gateway knows it.
    pub name: Name,
    /// Length of the name in bytes; it starts the line.
    pub name_len: u16,
    /// The whole line, CRLF included.
    pub line: Span,
    /// The value without surrounding blanks.
    pub value: Span,
}

impl Field {
    /// The name's bytes as they were written.
    #[must_use]
    pub fn name_of(self, buf: &[u8]) -> &[u8] {
        Span {
            start: self.line.start,
            end: self.line.start + u32::from(self.name_len),
        }
        .of(buf)
    }

    /// Whether this is its name, in any case; the length tells most others apart.
    #[must_use]
    pub fn is_named(self, name: &[u8], buf: &[u8]) -> bool {
        steps::count(1);
        usize::from(self.name_len) == name.len() && {
            steps::count(name.len());
            self.name_of(buf).eq_ignore_ascii_case(name)
        }
    }
}

/// A complete request head; its spans count from the start of the buffer given to [`parse_request`](super::parse_request).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method token.
    pub method: Span,
    /// The request target as it was written.
    pub target: Span,
    /// The version in the request line.
    pub version: Version,
    /// Bytes of the head, any empty lines before it and the blank line after it included:
    /// content starts here.
    pub len: usize,
}

/// A complete response head; its spans count from the start of the buffer given to [`parse_response`](super::parse_response).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The version in the status line.
    pub version: Version,
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// Bytes of the head, blank line included: content starts here.
    pub len: usize,
}

/// What makes a head unfit to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// A LF without CR before it.
    BareLf,
    /// A CR without LF after it.
    BareCr,
    /// A line that begins with a blank (RFC 9112, section 5.2).
    ObsFold,
    /// The request line is not `method SP target SP version`.
    BadRequestLine,
    /// The request line begins with a token of more than [`METHOD_BYTES_MAX`] bytes.
    MethodTooLong,
    /// The status line is malformed, or the code is not three digits from 100 up.
    BadStatusLine,
    /// A well-formed HTTP version with another major number than 1.
    UnsupportedVersion,
    /// A field name that is empty, not a token, or followed by a blank before the colon.
    BadFieldName,
    /// A control byte in a field value.
    BadFieldValue,
    /// More than [`HEAD_BYTES_MAX`] bytes.
    TooLong,
    /// More than [`TARGET_BYTES_MAX`] bytes of request target.
    TargetTooLong,
    /// More field lines than the limit.
    TooManyFields,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` that is not `uri-host [ ":" port ]`.
    HostInvalid,
}

/// Which kind of message a head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client's message, with a request line.
    Request,
    /// An upstream's message, with a status line.
    Response,
}

/// The part of a buffer that may hold a head.
pub(super) fn window(buf: &[u8]) -> &[u8] {
    buf.get(..HEAD_BYTES_MAX).unwrap_or(buf)
}

/// Heads are at most [`HEAD_BYTES_MAX`] long, so that nothing is ever cut off here.
pub(super) fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

const _: () = assert!(HEAD_BYTES_MAX <= 1 << 16, "a name's length fits an u16");
const _: () = assert!(REQUEST_FIELDS_MAX <= RESPONSE_FIELDS_MAX && RESPONSE_FIELDS_MAX <= 200);
