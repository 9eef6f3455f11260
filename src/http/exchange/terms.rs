//! What an exchange begins with, and why it may not come to its end.

use crate::http::framing::{ContentLimit, FramingError};
use crate::http::head::HeadError;

/// What is known of an exchange before its first byte moves, and does not change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// The client speaks HTTP/1.0.
    pub http10: bool,
    /// The request is a HEAD: no content follows whatever the fields say.
    pub head_only: bool,
    /// It asks for a websocket.
    pub upgrade: bool,
    /// The client lets its connection stay (RFC 9112, section 9.3).
    pub client_persists: bool,
    /// Rules have judged its method and path: no trailer may put others in their place.
    pub is_judged: bool,
    /// How much content it may have.
    pub content_limit: ContentLimit,
}

/// Why an exchange does not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The client's content is not framed as it should be.
    Content(FramingError),
    /// The client's content is longer than it may be.
    ContentTooLong,
    /// The client's content did not come in time.
    ContentLate,
    /// What the upstream sent is no response to this request.
    ResponseInvalid,
    /// The upstream closed in order, and too early.
    UpstreamClosed,
    /// The upstream's connection broke.
    UpstreamReset,
    /// The upstream did not answer in time, or did not go on.
    UpstreamLate,
}

/// What makes bytes no response to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// Their head.
    Head(HeadError),
    /// How their content is framed.
    Framing(FramingError),
    /// More interim responses than anybody needs.
    Interim,
    /// A 101, or a head, that nobody has asked for.
    Unasked,
}

impl Failure {
    /// Whether it is the client's.
    pub(super) fn is_clients(self) -> bool {
        match self {
            Self::Content(_) | Self::ContentTooLong | Self::ContentLate => true,
            Self::ResponseInvalid
            | Self::UpstreamClosed
            | Self::UpstreamReset
            | Self::UpstreamLate => false,
        }
    }
}
