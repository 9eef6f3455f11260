//! Request and response heads as spans over the caller's buffer (RFC 9112, sections 2 to 5).
//!
//! httparse does the tokenising; every strictness beyond it is here: CRLF only, no bare CR or LF,
//! no obs-fold, no blank before a colon, the limits on bytes and fields, one `Host`.
//! Nothing is copied and nothing is allocated once `fields` has its capacity.

/// Longest head, in bytes, blank line included; a longer one is [`HeadError::TooLong`].
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most field lines in a request head.
pub const REQUEST_FIELDS_MAX: usize = 100;
/// Most field lines in a response head.
pub const RESPONSE_FIELDS_MAX: usize = 200;
/// Longest request target, in bytes.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

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
        buf.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The version a message may have; both are HTTP major version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// Field names that mean something to the gateway; compared without regard to case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Any name that is only passed on.
    Other,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Host`
    Host,
    /// `Connection`
    Connection,
    /// `Keep-Alive`
    KeepAlive,
    /// `Proxy-Connection`
    ProxyConnection,
    /// `Proxy-Authenticate`
    ProxyAuthenticate,
    /// `Proxy-Authorization`
    ProxyAuthorization,
    /// `TE`
    Te,
    /// `Trailer`
    Trailer,
    /// `Upgrade`
    Upgrade,
    /// `Expect`
    Expect,
    /// `Cookie`
    Cookie,
    /// `Set-Cookie`
    SetCookie,
    /// `Forwarded`
    Forwarded,
    /// Any name that begins `X-Forwarded-`
    XForwarded,
    /// `Authorization`
    Authorization,
    /// `X-Api-Key`
    XApiKey,
    /// `Api-Key`
    ApiKey,
    /// `X-Goog-Api-Key`
    XGoogApiKey,
    /// `X-Sluicegate-Key`
    XSluicegateKey,
    /// `X-GoModel-User-Path`
    XGomodelUserPath,
    /// `X-Request-ID`
    XRequestId,
    /// `Sec-WebSocket-Protocol`
    SecWebsocketProtocol,
    /// `Date`
    Date,
}

/// One field line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        Span { start: self.line.start, end: self.line.start + u32::from(self.name_len) }.of(buf)
    }
}

/// A complete request head; its spans count from the start of the buffer given to [`parse_request`].
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

/// A complete response head; its spans count from the start of the buffer given to [`parse_response`].
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
    /// The status line is malformed, or the code is not three digits from 100 up.
    BadStatusLine,
    /// A well-formed HTTP version that is not 1.0 or 1.1.
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

/// Remembers how far a growing buffer has been looked at, so that a head that arrives byte by byte
/// is not read again from its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    /// Bytes already looked at.
    scanned: u32,
    /// Start of the line under way.
    line_start: u32,
}
