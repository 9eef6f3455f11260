//! Which bytes belong to a message (RFC 9112, sections 6, 7 and 9.3).
//!
//! The length decision from a head's fields, persistence, and a [`Cursor`] that counts content and
//! never looks at it. Stricter than the RFC wherever two readers could disagree: one
//! `Content-Length` of digits alone, `chunked` alone and by itself, CRLF only, no framing, routing
//! or credential fields in trailers. In responses, where nobody can be asked to send another one, equal
//! lengths, blanks behind a chunk size and blanks before the colon of a trailer are tolerated. The cursor's
//! answers do not depend on how the input is cut.

mod cursor;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
#[cfg(test)]
mod tests;

#[cfg(test)]
use cursor::Advance;
pub use cursor::Cursor;
pub(crate) use cursor::Stripped;
#[cfg(any(test, fuzzing))]
use cursor::{CHUNK_LINE_BYTES_MAX, TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX};

use super::head::grammar::{elements, reads, transfer_coding};
use super::head::{self, Name, RequestView, ResponseView, Section, Side, Version};
use crate::base::steps;

/// Greatest length of a message's content, in bytes: 2^63 - 1, as far as everybody's counters go.
pub(crate) const LENGTH_MAX: u64 = u64::MAX >> 1;

/// How the end of a message's content is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No content at all.
    Empty,
    /// `Content-Length` bytes, not zero.
    Length(u64),
    /// The chunked transfer coding.
    Chunked,
    /// Everything until the connection closes (responses only).
    UntilClose,
}

/// What makes it impossible, or unsafe, to say where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FramingError {
    /// A `Content-Length` that is not digits alone, or over [`LENGTH_MAX`].
    LengthInvalid,
    /// More than one `Content-Length` line; in a response, lengths that differ.
    LengthRepeated,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthWithCoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    CodingInHttp10,
    /// Well-formed transfer codings that are not `chunked` alone.
    CodingUnsupported,
    /// A `Transfer-Encoding` with an empty element, parameters or no token.
    CodingMalformed,
    /// A chunk line that does not begin with hexadecimal digits, or goes on with something other
    /// than an extension, or has a control byte in the extension.
    ChunkSizeInvalid,
    /// More than 16 digits of chunk size, or chunks of more than [`LENGTH_MAX`] bytes together.
    ChunkSizeOverflow,
    /// A chunk line of more than [`CHUNK_LINE_BYTES_MAX`](cursor::CHUNK_LINE_BYTES_MAX) bytes.
    ChunkLineTooLong,
    /// A bare CR or LF in a chunk line or the trailer section.
    ChunkBareLf,
    /// Chunk data that is not followed by CRLF.
    ChunkDataEnd,
    /// A trailer line that is not a well-formed field line.
    TrailerInvalid,
    /// A trailer with the name of a framing, routing or credential field.
    TrailerForbidden,
    /// More than [`TRAILER_BYTES_MAX`](cursor::TRAILER_BYTES_MAX) bytes or
    /// [`TRAILER_FIELDS_MAX`](cursor::TRAILER_FIELDS_MAX) lines of trailers.
    TrailersTooLong,
}

/// How much content a message may have, in bytes without its framing; `None` for any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ContentLimit(pub Option<u64>);

impl ContentLimit {
    /// Whether so much may have come.
    #[must_use]
    pub(crate) fn allows(self, bytes: u64) -> bool {
        self.0.is_none_or(|limit| bytes <= limit)
    }

    /// Whether as much may come as the head announces, if it does.
    #[must_use]
    pub(crate) fn allows_announced(self, length: BodyLength) -> bool {
        match length {
            BodyLength::Length(bytes) => self.allows(bytes),
            BodyLength::Empty | BodyLength::Chunked | BodyLength::UntilClose => true,
        }
    }
}

/// Decides how a request's content ends (RFC 9112, section 6.3); never [`BodyLength::UntilClose`].
///
/// # Errors
///
/// Any length that another reader might understand differently.
pub fn request_body(request: RequestView<'_>) -> Result<BodyLength, FramingError> {
    let declared = Declared::read(request.section, Side::Request)?;
    if declared.lengths_count > 1 {
        return Err(FramingError::LengthRepeated);
    }
    declared.length(request.head.version, BodyLength::Empty)
}

/// Decides how a response's content ends, also for one that can have none.
///
/// # Errors
///
/// Any length that another reader might understand differently.
pub(crate) fn response_body(
    response: ResponseView<'_>,
    method_is_head: bool,
) -> Result<BodyLength, FramingError> {
    let head = response.head;
    let declared = Declared::read(response.section, Side::Response)?;
    let length = declared.length(head.version, BodyLength::UntilClose)?;
    match head.status {
        100..=199 | 204 | 304 => Ok(BodyLength::Empty),
        _ if method_is_head => Ok(BodyLength::Empty),
        _ => Ok(length),
    }
}

/// The length that is to be written in the place of a list of equal ones, where a `Content-Length` line of a
/// well-framed response holds such a list (RFC 9110, section 8.6).
#[must_use]
pub(crate) fn listed_length(section: Section<'_>) -> Option<u64> {
    let mut values = section.values(Name::ContentLength);
    let list = values.find(|value| value.contains(&b','))?;
    decimal(elements(list).next()?)
}

/// Whether the sender of this head keeps the connection open after the message (RFC 9112,
/// section 9.3).
#[must_use]
pub(crate) fn persists(version: Version, section: Section<'_>) -> bool {
    let mut persists = version == Version::Http11;
    for value in section.values(Name::Connection) {
        // As nearly every one reads.
        if reads(value, b"keep-alive") {
            persists = true;
            continue;
        }
        if head::list_has(value, b"close") {
            return false;
        }
        persists |= head::list_has(value, b"keep-alive");
    }
    persists
}

/// What the framing fields of a head say, before it is judged.
#[derive(Default)]
struct Declared<'a> {
    /// The first `Content-Length`.
    length: Option<&'a [u8]>,
    lengths_count: usize,
    /// Elements of all `Transfer-Encoding` lines, and how many of them are `chunked`.
    codings_count: usize,
    chunked_count: usize,
    coding_malformed: bool,
}

impl<'a> Declared<'a> {
    fn read(section: Section<'a>, side: Side) -> Result<Self, FramingError> {
        let mut declared = Self::default();
        for (_, field) in section.fields.known() {
            match field.name {
                Name::ContentLength => match side {
                    Side::Request => declared.add_length(section.value(field))?,
                    Side::Response => declared.add_lengths(section.value(field))?,
                },
                Name::TransferEncoding => declared.add_codings(section.value(field)),
                _ => {}
            }
        }
        Ok(declared)
    }

    fn add_length(&mut self, value: &'a [u8]) -> Result<(), FramingError> {
        self.lengths_count += 1;
        match self.length {
            Some(first) if first != value => return Err(FramingError::LengthRepeated),
            Some(_) => {}
            None => self.length = Some(value),
        }
        Ok(())
    }

    fn add_lengths(&mut self, value: &'a [u8]) -> Result<(), FramingError> {
        elements(value).try_for_each(|length| self.add_length(length))
    }

    fn add_codings(&mut self, value: &[u8]) {
        let mut rest = Some(value);
        while let Some(list) = rest {
            self.codings_count += 1;
            let Some(coding) = transfer_coding(list) else {
                self.coding_malformed = true;
                return;
            };
            let chunked = reads(coding.name, b"chunked");
            self.chunked_count += usize::from(chunked);
            // It has none, and any is an error (RFC 9112, section 7.1).
            self.coding_malformed |= chunked && coding.has_parameters;
            rest = coding.rest;
        }
    }

    fn length(&self, version: Version, neither: BodyLength) -> Result<BodyLength, FramingError> {
        match (self.codings_count, self.length) {
            (0, None) => Ok(neither),
            (0, Some(digits)) => match decimal(digits) {
                Some(0) => Ok(BodyLength::Empty),
                Some(length) => Ok(BodyLength::Length(length)),
                None => Err(FramingError::LengthInvalid),
            },
            (_, Some(_)) => Err(FramingError::LengthWithCoding),
            (_, None) if version == Version::Http10 => Err(FramingError::CodingInHttp10),
            _ if self.coding_malformed => Err(FramingError::CodingMalformed),
            (1, None) if self.chunked_count == 1 => Ok(BodyLength::Chunked),
            _ => Err(FramingError::CodingUnsupported),
        }
    }
}

/// Digits alone; the standard parser would accept a leading plus sign.
fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    steps::count(digits.len());
    let value = digits.iter().try_fold(0u64, |value, &byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    });
    value.filter(|value| *value <= LENGTH_MAX)
}
