//! The field names that the gateway knows (RFC 9110, section 5.1); all others are only passed on.

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

/// Says which of the names the gateway knows this is; compares with one of them at most.
#[must_use]
pub fn name(bytes: &[u8]) -> Name {
    let first = bytes.first().unwrap_or(&0).to_ascii_lowercase();
    let (lower, name): (&[u8], Name) = match (bytes.len(), first) {
        (2, b't') => (b"te", Name::Te),
        (4, b'h') => (b"host", Name::Host),
        (4, b'd') => (b"date", Name::Date),
        (6, b'e') => (b"expect", Name::Expect),
        (6, b'c') => (b"cookie", Name::Cookie),
        (7, b'u') => (b"upgrade", Name::Upgrade),
        (7, b't') => (b"trailer", Name::Trailer),
        (7, b'a') => (b"api-key", Name::ApiKey),
        (9, b'x') => (b"x-api-key", Name::XApiKey),
        (9, b'f') => (b"forwarded", Name::Forwarded),
        (10, b'c') => (b"connection", Name::Connection),
        (10, b'k') => (b"keep-alive", Name::KeepAlive),
        (10, b's') => (b"set-cookie", Name::SetCookie),
        (12, b'x') => (b"x-request-id", Name::XRequestId),
        (13, b'a') => (b"authorization", Name::Authorization),
        (14, b'c') => (b"content-length", Name::ContentLength),
        (14, b'x') => (b"x-goog-api-key", Name::XGoogApiKey),
        (16, b'p') => (b"proxy-connection", Name::ProxyConnection),
        (16, b'x') => (b"x-sluicegate-key", Name::XSluicegateKey),
        (17, b't') => (b"transfer-encoding", Name::TransferEncoding),
        (18, b'p') => (b"proxy-authenticate", Name::ProxyAuthenticate),
        (19, b'p') => (b"proxy-authorization", Name::ProxyAuthorization),
        (19, b'x') => (b"x-gomodel-user-path", Name::XGomodelUserPath),
        (22, b's') => (b"sec-websocket-protocol", Name::SecWebsocketProtocol),
        _ => (&[], Name::Other),
    };
    if bytes.eq_ignore_ascii_case(lower) {
        return name;
    }
    match bytes.get(..X_FORWARDED.len()) {
        Some(start) if start.eq_ignore_ascii_case(X_FORWARDED) => Name::XForwarded,
        _ => Name::Other,
    }
}

const X_FORWARDED: &[u8] = b"x-forwarded-";
