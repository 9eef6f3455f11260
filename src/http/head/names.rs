//! The field names that the gateway knows (RFC 9110, section 5.1); all others are only passed on.

use super::grammar::reads;

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
}

impl Name {
    /// The last in the order above.
    pub(super) const LAST: Self = Self::Date;
}

/// Says which of the names the gateway knows this is.
///
/// Length and third byte rule out nearly every name that is only passed on, and all known names but one.
#[must_use]
#[inline]
pub fn name(bytes: &[u8]) -> Name {
    match bytes {
        [_, _, third, ..] if thirds(bytes.len()) >> (third & 31) & 1 == 1 => compared(bytes),
        [b't' | b'T', b'e' | b'E'] => Name::Te,
        _ => Name::Other,
    }
}

/// The third bytes of the known names of this length, a bit for each letter. No two names share both; first
/// bytes would not do, for too many begin with `x-`.
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
    letters(b"tf"),
    letters(b"ngf"),
    letters(b"f"),
    letters(b"osf"),
    letters(b"asf"),
    letters(b"of"),
    letters(b"ogf"),
    letters(b"f"),
    letters(b"f"),
    letters(b"cf"),
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

/// Compares with the one name that it can be.
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
