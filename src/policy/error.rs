//! The one table of errors that the gateway itself makes, and their one writer. Pure.

mod phrases;
#[cfg(test)]
mod tests;
mod words;

use std::borrow::Cow;
use std::fmt::{Display, Write as _};

use crate::http::exchange::{Defect, Failure};
use crate::http::framing::FramingError;
use crate::http::head::HeadError;
use crate::http::target::TargetError;
use crate::policy::auth::AuthError;
use crate::policy::cors::Unlisted;
use crate::policy::operators::{self, Hidden};
use crate::policy::route::RouteError;

use crate::providers::Exhausted;
use phrases::{kind, reason};

use words::{
    ENDPOINT_DENIED, HOST_NOT_ALLOWED, KEYS_EXHAUSTED, LOOP_DETECTED, METHOD_NOT_IMPLEMENTED,
    NO_ANSWER_IN_TIME, NO_CONNECTION_IN_TIME, NO_INSTANCE, ORIGIN_NOT_ALLOWED, OUTDATED,
    QUEUE_FULL, QUEUE_TIMEOUT,
};

/// A reason to answer in a provider's stead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The head could not be read.
    Head(HeadError),
    /// The framing could not be read, or could be read in two ways.
    Framing(FramingError),
    /// The request target is unfit.
    Target(TargetError),
    /// No provider or no endpoint; the message says which there are.
    Route(RouteError, String),
    /// No valid gateway key.
    Auth(AuthError),
    /// A browser asks for a page whose origin is not listed.
    OriginNotAllowed,
    /// There is no key, and `Host` is a name that a page from elsewhere may have.
    HostNotAllowed,
    /// The metrics are for others.
    Metrics(Hidden),
    /// The provider is configured not to get requests of this method and endpoint.
    EndpointDenied,
    /// HTTP without TLS, where TLS is spoken.
    PlainHttp,
    /// The connection begins with a PROXY header that is wrong, or without one that has to be there.
    ProxyHeader(&'static str),
    /// CONNECT or TRACE.
    MethodNotImplemented,
    /// The request has been through this process already.
    LoopDetected,
    /// No such path.
    NoSuchRoute,
    /// More content than `limits.body`.
    BodyTooLarge,
    /// A head that was begun did not end in time.
    RequestHeadTimeout,
    /// Content did not go on in time.
    RequestBodyTimeout,
    /// A step before the request could be sent failed.
    Unreached(Box<Unreached>),
    /// The process ends before the request was whole.
    Draining,
    /// The client was let in on terms that a reload has replaced.
    Outdated,
    /// At a configured limit, or out of descriptors.
    Overloaded(Scarce),
    /// As many requests wait for the provider as may, or this one has waited for too long.
    Queued {
        /// It had a place.
        late: bool,
        /// Seconds until there may be one.
        retry_after: u32,
    },
    /// None of the provider's instances takes new requests.
    NoInstance,
    /// None of the provider's keys may be used now.
    KeysExhausted {
        /// Seconds until one of them may.
        retry_after: u32,
    },
    /// No connection in time.
    UpstreamConnectTimeout,
    /// No response head in time.
    UpstreamTimeout,
    /// Closed before any byte of a response.
    UpstreamClosed,
    /// Reset before a response.
    UpstreamReset,
    /// Bytes that are no unambiguous response.
    UpstreamInvalidResponse,
}

/// What failed before a request could be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    code: &'static str,
    /// For the client.
    message: String,
    /// For the operator.
    reason: String,
    /// Another try can help.
    may_pass: bool,
}

/// What there is too little of to serve one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scarce {
    /// `limits.connections`
    Connections,
    /// `limits.connections_per_address`
    ConnectionsPerAddress,
    /// `limits.handshakes_per_address`
    HandshakesPerAddress,
    /// `limits.in_flight`
    InFlight,
    /// `limits.upstream_connections`
    UpstreamConnections,
    /// Descriptors or memory of the system.
    System,
}

/// One row of the table.
struct Row {
    status: u16,
    code: &'static str,
    message: Cow<'static, str>,
    /// Nothing of the request can have reached the provider, and trying again can help.
    retry: bool,
}

impl Fault {
    /// The provider's name has no address.
    #[must_use]
    pub fn upstream_resolve(provider: &str, error: &dyn Display, reason: String) -> Self {
        let message = format!("cannot resolve the host of provider {provider}: {error}");
        Self::unreached("upstream_resolve", message, reason, true)
    }

    /// No address of the provider accepts.
    #[must_use]
    pub fn upstream_connect(provider: &str, error: &dyn Display, reason: String) -> Self {
        let message = format!("cannot connect to provider {provider}: {error}");
        Self::unreached("upstream_connect", message, reason, true)
    }

    /// The provider's TLS is refused, or refuses ours.
    #[must_use]
    pub fn upstream_tls(
        provider: &str,
        error: &dyn Display,
        reason: String,
        may_pass: bool,
    ) -> Self {
        let message = format!("the TLS handshake failed with provider {provider}: {error}");
        Self::unreached("upstream_tls", message, reason, may_pass)
    }

    /// The proxy on the way to the provider gives no tunnel; `error` holds nothing of its own text.
    #[must_use]
    pub fn upstream_proxy(
        provider: &str,
        error: &dyn Display,
        reason: String,
        may_pass: bool,
    ) -> Self {
        let message = format!("no tunnel through the proxy to provider {provider}: {error}");
        Self::unreached("upstream_proxy", message, reason, may_pass)
    }

    fn unreached(code: &'static str, message: String, reason: String, may_pass: bool) -> Self {
        // Boxed: whatever may be a fault would be as large, and is moved for each request.
        Self::Unreached(Box::new(Unreached {
            code,
            message,
            reason,
            may_pass,
        }))
    }

    /// All of a provider's keys rest.
    #[must_use]
    pub(crate) fn keys_exhausted(exhausted: Exhausted) -> Self {
        let whole = exhausted.wait.as_secs() + u64::from(exhausted.wait.subsec_nanos() > 0);
        Self::KeysExhausted {
            retry_after: u32::try_from(whole).unwrap_or(u32::MAX).max(1),
        }
    }

    /// A routing error; `providers` lists those that exist.
    #[must_use]
    pub fn from_route(error: RouteError, providers: &str) -> Self {
        Self::Route(error, providers.to_owned())
    }

    /// Whether a provider is at fault, or the way to it.
    #[must_use]
    pub fn is_of_provider(&self) -> bool {
        matches!(
            self,
            Self::Unreached(_)
                | Self::KeysExhausted { .. }
                | Self::Queued { .. }
                | Self::NoInstance
                | Self::UpstreamConnectTimeout
                | Self::UpstreamTimeout
                | Self::UpstreamClosed
                | Self::UpstreamReset
                | Self::UpstreamInvalidResponse
        )
    }

    /// What makes a provider's bytes no response.
    #[must_use]
    pub(crate) fn invalid_response(defect: Defect) -> Cow<'static, str> {
        match defect {
            Defect::Head(error) => head(error).message,
            Defect::Framing(error) => framing(error).message,
            Defect::Interim => Cow::Borrowed("more than 16 interim responses"),
            Defect::Unasked => Cow::Borrowed("a head that nobody has asked for"),
        }
    }

    /// The stable word for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.row().code
    }

    /// Why, for the operator's eyes: what the client is told, or more than that.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::Unreached(unreached) => Cow::Owned(unreached.reason.clone()),
            _ => self.row().message,
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.row().status
    }

    /// Whole seconds after which another try can help, where that is known.
    fn retry_after(&self) -> Option<u32> {
        match self {
            Self::Auth(AuthError::RateExceeded { retry_after })
            | Self::Queued { retry_after, .. }
            | Self::KeysExhausted { retry_after } => Some(*retry_after),
            // Nobody knows when a stream ends; this keeps clients from trying at once. What else is scarce
            // comes and goes with requests, which are short.
            Self::Auth(AuthError::TooManyStreams)
            | Self::Overloaded(_)
            | Self::NoInstance
            | Self::Draining
            | Self::Outdated => Some(1),
            _ => None,
        }
    }

    fn row(&self) -> Row {
        match self {
            Self::Head(error) => head(*error),
            Self::Framing(error) => framing(*error),
            Self::Target(error) => row(400, "invalid_target", target(*error)),
            Self::Route(error, providers) => route(*error, providers),
            Self::Auth(error) => auth(*error),
            Self::OriginNotAllowed => row(403, "origin_not_allowed", ORIGIN_NOT_ALLOWED),
            Self::HostNotAllowed => row(403, "host_not_allowed", HOST_NOT_ALLOWED),
            Self::Metrics(hidden) => {
                let (status, code, message) = hidden.said();
                row(status, code, message)
            }
            Self::PlainHttp => row(400, "tls_required", "this address speaks TLS; use https://"),
            Self::ProxyHeader(message) => row(400, "proxy_header", message),
            Self::EndpointDenied => row(403, "endpoint_denied", ENDPOINT_DENIED),
            Self::MethodNotImplemented => {
                row(501, "method_not_implemented", METHOD_NOT_IMPLEMENTED)
            }
            Self::LoopDetected => row(508, "loop_detected", LOOP_DETECTED),
            Self::NoSuchRoute => row(
                404,
                "not_found",
                "no such route; requests go to /p/{provider}/{endpoint}",
            ),
            Self::BodyTooLarge => row(
                413,
                "body_too_large",
                "the request body is over the configured limit",
            ),
            Self::RequestHeadTimeout => row(
                408,
                "request_timeout",
                "the request head did not arrive in time",
            ),
            Self::RequestBodyTimeout => row(408, "request_timeout", "the request body stalled"),
            Self::Unreached(unreached) => Row {
                status: 502,
                code: unreached.code,
                message: Cow::Owned(unreached.message.clone()),
                retry: unreached.may_pass,
            },
            Self::Draining => passing(503, "draining", "the gateway is stopping"),
            Self::Outdated => passing(503, "connection_outdated", OUTDATED),
            Self::Overloaded(scarce) => overloaded(*scarce),
            Self::Queued { late: false, .. } => passing(503, "queue_full", QUEUE_FULL),
            Self::Queued { late: true, .. } => passing(503, "queue_timeout", QUEUE_TIMEOUT),
            Self::NoInstance => passing(503, "no_instance", NO_INSTANCE),
            Self::KeysExhausted { .. } => passing(429, "keys_exhausted", KEYS_EXHAUSTED),
            Self::UpstreamConnectTimeout => {
                passing(504, "upstream_connect_timeout", NO_CONNECTION_IN_TIME)
            }
            Self::UpstreamTimeout => row(504, "upstream_timeout", NO_ANSWER_IN_TIME),
            Self::UpstreamClosed => row(
                502,
                "upstream_closed",
                "the provider closed the connection without an answer",
            ),
            Self::UpstreamReset => row(
                502,
                "upstream_reset",
                "the provider reset the connection before its answer",
            ),
            Self::UpstreamInvalidResponse => row(
                502,
                "upstream_invalid_response",
                "the provider's answer is not valid HTTP/1.1",
            ),
        }
    }
}

/// One that is gone the next time, before anything was sent.
fn passing(status: u16, code: &'static str, message: &'static str) -> Row {
    Row {
        retry: true,
        ..row(status, code, message)
    }
}

/// One that is not worth another try.
fn row(status: u16, code: &'static str, message: &'static str) -> Row {
    Row {
        status,
        code,
        message: Cow::Borrowed(message),
        retry: false,
    }
}

fn head(error: HeadError) -> Row {
    let (status, code, message) = match error {
        HeadError::BareLf => (
            400,
            "invalid_head",
            "a line of the head ends in LF without CR",
        ),
        HeadError::BareCr => (400, "invalid_head", "the head holds a CR without LF"),
        HeadError::ObsFold => (400, "invalid_head", "a header line begins with a blank"),
        HeadError::BadRequestLine => (400, "invalid_head", "malformed request line"),
        HeadError::MethodTooLong => (501, "method_not_implemented", METHOD_NOT_IMPLEMENTED),
        HeadError::BadStatusLine => (400, "invalid_head", "malformed status line"),
        HeadError::UnsupportedVersion => (505, "http_version", "expected HTTP/1.1 or HTTP/1.0"),
        HeadError::BadFieldName => (400, "invalid_head", "malformed header name"),
        HeadError::BadFieldValue => (400, "invalid_head", "a control byte in a header value"),
        HeadError::TooLong => (431, "head_too_large", "the head is over 64 KiB"),
        HeadError::TargetTooLong => (414, "target_too_long", "the request target is over 16 KiB"),
        HeadError::TooManyFields => (431, "too_many_headers", "more than 100 header fields"),
        HeadError::HostMissing => (400, "invalid_host", "HTTP/1.1 without a Host header"),
        HeadError::HostRepeated => (400, "invalid_host", "more than one Host header"),
        HeadError::HostInvalid => (400, "invalid_host", "malformed Host header"),
    };
    Row {
        status,
        code,
        message: Cow::Borrowed(message),
        retry: false,
    }
}

fn framing(error: FramingError) -> Row {
    let (status, code, message) = match error {
        FramingError::LengthInvalid => (
            400,
            "invalid_framing",
            "malformed Content-Length, or one over 2^63-1",
        ),
        FramingError::LengthRepeated => (400, "invalid_framing", "more than one Content-Length"),
        FramingError::LengthWithCoding => (
            400,
            "invalid_framing",
            "Content-Length together with Transfer-Encoding",
        ),
        FramingError::CodingInHttp10 => (400, "invalid_framing", "Transfer-Encoding in HTTP/1.0"),
        FramingError::CodingUnsupported => (
            501,
            "transfer_coding",
            "the only supported transfer coding is chunked",
        ),
        FramingError::CodingMalformed => (400, "invalid_framing", "malformed Transfer-Encoding"),
        FramingError::ChunkSizeInvalid => (400, "invalid_chunk", "malformed chunk size"),
        FramingError::ChunkSizeOverflow => (400, "invalid_chunk", "chunk sizes over 2^63-1"),
        FramingError::ChunkLineTooLong => (400, "invalid_chunk", "a chunk line is over 16 KiB"),
        FramingError::ChunkBareLf => (400, "invalid_chunk", "a chunk line does not end in CRLF"),
        FramingError::ChunkDataEnd => (400, "invalid_chunk", "chunk data is not followed by CRLF"),
        FramingError::TrailerInvalid => (400, "invalid_trailer", "malformed trailer field"),
        FramingError::TrailerForbidden => (
            400,
            "invalid_trailer",
            "a framing, routing or credential field in the trailers",
        ),
        FramingError::TrailersTooLong => (
            431,
            "trailers_too_large",
            "the trailers are over the head limits",
        ),
    };
    Row {
        status,
        code,
        message: Cow::Borrowed(message),
        retry: false,
    }
}

fn target(error: TargetError) -> &'static str {
    match error {
        TargetError::ControlByte => "a control byte or blank in the request target",
        TargetError::Fragment => "a # in the request target",
        TargetError::DotSegment => "a . or .. segment in the path",
        TargetError::Backslash => "a backslash in the path",
        TargetError::HighByte => "a byte over 0x7e in the path; percent-encode it",
        TargetError::BadEscape => "a % in the path without two hexadecimal digits",
        TargetError::NotAPath => "expected a path or an absolute URL as request target",
    }
}

fn route(error: RouteError, providers: &str) -> Row {
    let (code, message) = match error {
        RouteError::EmptyProvider => (
            "provider_missing",
            format!("no provider in the path; enabled are: {providers}").into(),
        ),
        RouteError::UnknownProvider => (
            "provider_not_enabled",
            format!("this provider is unknown or not enabled; enabled are: {providers}").into(),
        ),
        RouteError::EmptyEndpoint => ("endpoint_missing", "no endpoint behind the provider".into()),
        RouteError::AliasDisabled => (
            "v1_alias_disabled",
            "the v1 alias is disabled; leave v1 out of the path".into(),
        ),
    };
    Row {
        status: 400,
        code,
        message,
        retry: false,
    }
}

fn auth(error: AuthError) -> Row {
    let (status, code, message) = match error {
        AuthError::MissingKey => (401, "missing_key", "no gateway key in the request"),
        AuthError::InvalidKey => (401, "invalid_key", "the gateway key is not valid"),
        AuthError::RepeatedCredential => {
            let message = "the same credential header came twice";
            (401, "invalid_key", message)
        }
        AuthError::KeyDisabled => (401, "invalid_key", "the gateway key is revoked"),
        AuthError::KeyExpired => (401, "invalid_key", "the gateway key has expired"),
        AuthError::ProviderNotAllowed => (
            403,
            "provider_not_allowed",
            "the gateway key is not for this provider",
        ),
        AuthError::EndpointNotAllowed => (
            403,
            "endpoint_not_allowed",
            "the gateway key is not for this method and endpoint",
        ),
        AuthError::TooManyStreams => (
            429,
            "too_many_streams",
            "as many requests are under way with this gateway key as may be",
        ),
        AuthError::RateExceeded { .. } => (
            429,
            "rate_exceeded",
            "the request rate of this gateway key is used up",
        ),
    };
    Row {
        status,
        code,
        message: Cow::Borrowed(message),
        // Nothing has gone anywhere, and what is used up comes back.
        retry: status == 429,
    }
}

fn overloaded(scarce: Scarce) -> Row {
    let (code, message) = match scarce {
        Scarce::Connections => ("connection_limit", "too many connections to the gateway"),
        Scarce::ConnectionsPerAddress => (
            "connection_limit_per_address",
            "too many connections to the gateway from this address",
        ),
        Scarce::HandshakesPerAddress => (
            "handshake_limit_per_address",
            "too many TLS handshakes under way from this address",
        ),
        Scarce::InFlight => ("in_flight_limit", "too many requests under way"),
        Scarce::UpstreamConnections => (
            "upstream_connection_limit",
            "too many connections to the provider",
        ),
        Scarce::System => (
            "out_of_resources",
            "the gateway is out of descriptors or memory",
        ),
    };
    Row {
        status: 503,
        code,
        message: Cow::Borrowed(message),
        retry: true,
    }
}

impl From<HeadError> for Fault {
    fn from(error: HeadError) -> Self {
        Self::Head(error)
    }
}

impl From<FramingError> for Fault {
    fn from(error: FramingError) -> Self {
        Self::Framing(error)
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Content(error) => Self::Framing(error),
            Failure::ContentTooLong => Self::BodyTooLarge,
            Failure::ContentLate => Self::RequestBodyTimeout,
            Failure::ResponseInvalid => Self::UpstreamInvalidResponse,
            Failure::UpstreamClosed => Self::UpstreamClosed,
            Failure::UpstreamReset => Self::UpstreamReset,
            Failure::UpstreamLate => Self::UpstreamTimeout,
        }
    }
}

impl From<TargetError> for Fault {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl From<Hidden> for Fault {
    fn from(hidden: Hidden) -> Self {
        Self::Metrics(hidden)
    }
}

impl From<Unlisted> for Fault {
    fn from(_: Unlisted) -> Self {
        Self::OriginNotAllowed
    }
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

/// What an answer says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    /// It ends after the answer.
    Close,
    /// It stays open this long.
    KeepAlive {
        /// Announced to the client.
        timeout_secs: u64,
    },
}

impl Persistence {
    /// The field lines that say it. HTTP/1.0 has to be told that a connection stays, and `Keep-Alive` has to be
    /// named as a hop-by-hop field everywhere (RFC 9110, section 7.6.1).
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Close => out.extend_from_slice(b"Connection: close\r\n"),
            Self::KeepAlive { timeout_secs } => {
                out.extend_from_slice(b"Connection: keep-alive\r\n");
                out.extend_from_slice(format!("Keep-Alive: timeout={timeout_secs}\r\n").as_bytes());
            }
        }
    }
}

/// An answer with a [`Fault`].
pub(crate) struct ErrorResponse<'a> {
    /// Why.
    pub fault: &'a Fault,
    /// Echoed or made here.
    pub request_id: &'a [u8],
    /// As [`imf_fixdate`](crate::base::date::imf_fixdate) writes it.
    pub date: &'a [u8],
    /// A HEAD asked: no content.
    pub head_only: bool,
    /// How the connection goes on.
    pub connection: Persistence,
    /// Field lines for a browser.
    pub cors: &'a [u8],
}

impl ErrorResponse<'_> {
    /// Appends the whole response.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let row = self.fault.row();
        let id = String::from_utf8_lossy(self.request_id);
        let body = format!(
            "{{\"type\":\"error\",\"error\":{{\"type\":\"{}\",\"message\":{},\"param\":null,\
             \"code\":\"{}\"}},\"request_id\":{}}}",
            kind(row.status),
            quoted(&row.message),
            row.code,
            quoted(&id),
        );
        let mut head = format!("HTTP/1.1 {} {}\r\n", row.status, reason(row.status));
        let _ = write!(
            head,
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
        let _ = write!(
            head,
            "X-Request-ID: {id}\r\nrequest-id: {id}\r\nx-should-retry: {}\r\n",
            row.retry
        );
        if row.status == 401 {
            head.push_str(match self.fault {
                Fault::Metrics(_) => operators::CHALLENGE,
                _ => "WWW-Authenticate: Bearer\r\n",
            });
        }
        if let Some(seconds) = self.fault.retry_after() {
            let _ = write!(head, "Retry-After: {seconds}\r\n");
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(self.cors);
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(self.date);
        out.extend_from_slice(b"\r\n");
        self.connection.write(out);
        out.extend_from_slice(b"\r\n");
        if !self.head_only {
            out.extend_from_slice(body.as_bytes());
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
