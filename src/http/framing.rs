//! Which bytes belong to a message (RFC 9112, sections 6, 7 and 9.3).
//!
//! The length decision from a head's fields, and a cursor that counts content and never copies it.

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
