//! The field names that the gateway knows (RFC 9110, section 5.1); all others are only passed on.

use super::grammar::reads;
use crate::base::bytes::within;
use crate::base::steps;

/// Field names that mean something to the gateway; compared without regard to case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Name {
    /// Any name that is only passed on.
    #[default]
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
    /// `X-Sluicegate-Loop`
    XSluicegateLoop,
    /// `X-GoModel-User-Path`
    XGomodelUserPath,
    /// `X-Request-ID`
    XRequestId,
    /// `Sec-WebSocket-Protocol`
    SecWebsocketProtocol,
    /// `Date`
    Date,
    /// A name with which a client asks some servers for another method or path than those of the request line, with
    /// any marks for its hyphens.
    Override,
    /// A name under which a client says who it is or where it comes from, with other marks for its hyphens.
    Disguised,
}

impl Name {
    /// The last in the order above.
    pub(super) const LAST: Self = Self::Disguised;
}

/// Says which of the names the gateway knows this is.
///
/// Length and third byte rule out nearly every name that is only passed on, and all known names but one.
#[must_use]
#[inline]
pub(crate) fn name(bytes: &[u8]) -> Name {
    match exactly(bytes) {
        Name::Other if may_be_disguised(bytes) => disguised(bytes),
        name => name,
    }
}

#[inline]
fn exactly(bytes: &[u8]) -> Name {
    match bytes {
        [_, _, third, ..] if thirds(bytes.len()) >> (third & 31) & 1 == 1 => compared(bytes),
        [b't' | b'T', b'e' | b'E'] => Name::Te,
        _ => Name::Other,
    }
}

/// Whether this is one of the first letters of [`disguised`] names, and a mark in it is none that they have.
fn may_be_disguised(bytes: &[u8]) -> bool {
    let Some(first) = bytes.first() else {
        return false;
    };
    if !first.is_ascii_alphabetic() || letters(b"ackpstx") >> (first & 31) & 1 == 0 {
        return false;
    }
    steps::count(bytes.len());
    let mut pairs = bytes.windows(2);
    pairs.any(|pair| matches!(pair, [before, byte] if is_mark(*byte) && (*byte != b'-' || is_mark(*before))))
}

/// What this name is to servers that take each mark, or a run of them, for a hyphen, as those do that hand fields on in
/// the way of CGI. What is only passed on remains that.
#[cold]
fn disguised(bytes: &[u8]) -> Name {
    let folded = { bytes.iter() }.fold(Folded::default(), |name, byte| name.with(*byte));
    match exactly(folded.bytes()) {
        Name::Override => Name::Override,
        Name::ProxyAuthorization
        | Name::XForwarded
        | Name::XApiKey
        | Name::ApiKey
        | Name::XGoogApiKey
        | Name::XSluicegateKey
        | Name::XSluicegateLoop
        | Name::XGomodelUserPath
        | Name::SecWebsocketProtocol => Name::Disguised,
        Name::Other
        | Name::ContentLength
        | Name::TransferEncoding
        | Name::Host
        | Name::Connection
        | Name::KeepAlive
        | Name::ProxyConnection
        | Name::ProxyAuthenticate
        | Name::Te
        | Name::Trailer
        | Name::Upgrade
        | Name::Expect
        | Name::Cookie
        | Name::SetCookie
        | Name::Forwarded
        | Name::Authorization
        | Name::XRequestId
        | Name::Date
        | Name::Disguised => Name::Other,
    }
}

/// The beginning of a name, with one hyphen for every run of marks: one byte more than any exact name the gateway
/// knows, so that a longer name is never taken for one of them.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::http) struct Folded {
    bytes: [u8; LEN_MAX + 1],
    len: u8,
}

impl Folded {
    /// With the next byte of the name.
    pub(in crate::http) fn with(mut self, byte: u8) -> Self {
        let is_mark = is_mark(byte);
        if is_mark && self.bytes().last() == Some(&b'-') {
            return self;
        }
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = if is_mark { b'-' } else { byte };
            self.len += 1;
        }
        self
    }

    /// What of it counts.
    pub(in crate::http) fn bytes(&self) -> &[u8] {
        within(&self.bytes, ..usize::from(self.len))
    }
}

const fn is_mark(byte: u8) -> bool {
    !byte.is_ascii_alphanumeric()
}

/// Bytes of the longest name that is known as a whole.
const LEN_MAX: usize = 22;

/// The third bytes of the known names of this length, a bit for each letter. First bytes would not do, for too many
/// begin with `x-`.
fn thirds(len: usize) -> u32 {
    THIRDS.get(len.min(THIRDS.len() - 1)).copied().unwrap_or(0)
}

/// By length; the last is for all greater ones.
static THIRDS: [u32; 24] = [
    letters(b""),
    letters(b""),
    letters(b""),
    letters(b""),
    letters(b"st"),
    letters(b""),
    letters(b"po"),
    letters(b"gai"),
    letters(b""),
    letters(b"ar"),
    letters(b"net"),
    letters(b""),
    letters(b"rf"),
    letters(b"tfhr"),
    letters(b"ngfo"),
    letters(b"f"),
    letters(b"osf"),
    letters(b"asfmo"),
    letters(b"of"),
    letters(b"ogf"),
    letters(b"fh"),
    letters(b"fe"),
    letters(b"cfh"),
    letters(b"f"),
];

const fn letters(mut letters: &[u8]) -> u32 {
    let mut bits = 0;
    while let [letter, rest @ ..] = letters {
        bits |= 1 << (*letter & 31);
        letters = rest;
    }
    bits
}

/// Compares with the few names that it can be.
#[inline(never)]
fn compared(bytes: &[u8]) -> Name {
    let third = bytes.get(2).unwrap_or(&0).to_ascii_lowercase();
    match (bytes.len(), third) {
        (4, b's') if reads(bytes, b"host") => Name::Host,
        (4, b't') if reads(bytes, b"date") => Name::Date,
        (6, b'p') if reads(bytes, b"expect") => Name::Expect,
        (6, b'o') if reads(bytes, b"cookie") => Name::Cookie,
        (7, b'g') if reads(bytes, b"upgrade") => Name::Upgrade,
        (7, b'a') if reads(bytes, b"trailer") => Name::Trailer,
        (7, b'i') if reads(bytes, b"api-key") => Name::ApiKey,
        (9, b'a') if reads(bytes, b"x-api-key") => Name::XApiKey,
        (9, b'r') if reads(bytes, b"forwarded") => Name::Forwarded,
        (10, b'n') if reads(bytes, b"connection") => Name::Connection,
        (10, b'e') if reads(bytes, b"keep-alive") => Name::KeepAlive,
        (10, b't') if reads(bytes, b"set-cookie") => Name::SetCookie,
        (12, b'r') if reads(bytes, b"x-request-id") => Name::XRequestId,
        (13, b't') if reads(bytes, b"authorization") => Name::Authorization,
        (14, b'n') if reads(bytes, b"content-length") => Name::ContentLength,
        (14, b'g') if reads(bytes, b"x-goog-api-key") => Name::XGoogApiKey,
        (16, b'o') if reads(bytes, b"proxy-connection") => Name::ProxyConnection,
        (16, b's') if reads(bytes, b"x-sluicegate-key") => Name::XSluicegateKey,
        (17, b'a') if reads(bytes, b"transfer-encoding") => Name::TransferEncoding,
        (17, b's') if reads(bytes, b"x-sluicegate-loop") => Name::XSluicegateLoop,
        (18, b'o') if reads(bytes, b"proxy-authenticate") => Name::ProxyAuthenticate,
        (19, b'o') if reads(bytes, b"proxy-authorization") => Name::ProxyAuthorization,
        (19, b'g') if reads(bytes, b"x-gomodel-user-path") => Name::XGomodelUserPath,
        (22, b'c') if reads(bytes, b"sec-websocket-protocol") => Name::SecWebsocketProtocol,
        (13, b'h') if reads(bytes, b"x-http-method") => Name::Override,
        (13, b'r') if reads(bytes, b"x-rewrite-url") => Name::Override,
        (14, b'o') if reads(bytes, b"x-original-url") => Name::Override,
        (14, b'o') if reads(bytes, b"x-original-uri") => Name::Override,
        (14, b'o') if reads(bytes, b"x-override-url") => Name::Override,
        (17, b'm') if reads(bytes, b"x-method-override") => Name::Override,
        (17, b'o') if reads(bytes, b"x-original-method") => Name::Override,
        (20, b'h') if reads(bytes, b"x-http-path-override") => Name::Override,
        (21, b'e') if reads(bytes, b"x-envoy-original-path") => Name::Override,
        (22, b'h') if reads(bytes, b"x-http-method-override") => Name::Override,
        (_, b'f')
            if bytes
                .get(..X_FORWARDED.len())
                .is_some_and(|start| reads(start, X_FORWARDED)) =>
        {
            Name::XForwarded
        }
        _ => Name::Other,
    }
}

const X_FORWARDED: &[u8] = b"x-forwarded-";
