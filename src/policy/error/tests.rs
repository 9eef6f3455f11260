//! The table of errors, and that an answer says what its row says.

use super::*;

const FAULTS: [(Fault, u16, &str, &str, bool); 38] = [
    (
        Fault::Head(HeadError::ObsFold),
        400,
        "invalid_request_error",
        "invalid_head",
        false,
    ),
    (
        Fault::Head(HeadError::HostMissing),
        400,
        "invalid_request_error",
        "invalid_host",
        false,
    ),
    (
        Fault::Head(HeadError::MethodTooLong),
        501,
        "invalid_request_error",
        "method_not_implemented",
        false,
    ),
    (
        Fault::LoopDetected,
        508,
        "api_error",
        "loop_detected",
        false,
    ),
    (
        Fault::Head(HeadError::UnsupportedVersion),
        505,
        "invalid_request_error",
        "http_version",
        false,
    ),
    (
        Fault::Head(HeadError::TooLong),
        431,
        "request_too_large",
        "head_too_large",
        false,
    ),
    (
        Fault::Head(HeadError::TooManyFields),
        431,
        "request_too_large",
        "too_many_headers",
        false,
    ),
    (
        Fault::Head(HeadError::TargetTooLong),
        414,
        "request_too_large",
        "target_too_long",
        false,
    ),
    (
        Fault::Framing(FramingError::LengthInvalid),
        400,
        "invalid_request_error",
        "invalid_framing",
        false,
    ),
    (
        Fault::Framing(FramingError::CodingUnsupported),
        501,
        "invalid_request_error",
        "transfer_coding",
        false,
    ),
    (
        Fault::Framing(FramingError::TrailersTooLong),
        431,
        "request_too_large",
        "trailers_too_large",
        false,
    ),
    (
        Fault::Target(TargetError::DotSegment),
        400,
        "invalid_request_error",
        "invalid_target",
        false,
    ),
    (Fault::Draining, 503, "overloaded_error", "draining", true),
    (
        Fault::Outdated,
        503,
        "overloaded_error",
        "connection_outdated",
        true,
    ),
    (
        Fault::Overloaded(Scarce::ConnectionsPerAddress),
        503,
        "overloaded_error",
        "connection_limit_per_address",
        true,
    ),
    (
        Fault::Overloaded(Scarce::InFlight),
        503,
        "overloaded_error",
        "in_flight_limit",
        true,
    ),
    (
        Fault::Overloaded(Scarce::System),
        503,
        "overloaded_error",
        "out_of_resources",
        true,
    ),
    (
        Fault::Auth(AuthError::MissingKey),
        401,
        "authentication_error",
        "missing_key",
        false,
    ),
    (
        Fault::Auth(AuthError::InvalidKey),
        401,
        "authentication_error",
        "invalid_key",
        false,
    ),
    (
        Fault::Auth(AuthError::KeyDisabled),
        401,
        "authentication_error",
        "invalid_key",
        false,
    ),
    (
        Fault::Auth(AuthError::KeyExpired),
        401,
        "authentication_error",
        "invalid_key",
        false,
    ),
    (
        Fault::Auth(AuthError::ProviderNotAllowed),
        403,
        "permission_error",
        "provider_not_allowed",
        false,
    ),
    (
        Fault::OriginNotAllowed,
        403,
        "permission_error",
        "origin_not_allowed",
        false,
    ),
    (
        Fault::HostNotAllowed,
        403,
        "permission_error",
        "host_not_allowed",
        false,
    ),
    (
        Fault::Auth(AuthError::EndpointNotAllowed),
        403,
        "permission_error",
        "endpoint_not_allowed",
        false,
    ),
    (
        Fault::Auth(AuthError::TooManyStreams),
        429,
        "rate_limit_error",
        "too_many_streams",
        true,
    ),
    (
        Fault::Auth(AuthError::RateExceeded { retry_after: 7 }),
        429,
        "rate_limit_error",
        "rate_exceeded",
        true,
    ),
    (
        Fault::EndpointDenied,
        403,
        "permission_error",
        "endpoint_denied",
        false,
    ),
    (
        Fault::MethodNotImplemented,
        501,
        "invalid_request_error",
        "method_not_implemented",
        false,
    ),
    (
        Fault::NoSuchRoute,
        404,
        "not_found_error",
        "not_found",
        false,
    ),
    (
        Fault::BodyTooLarge,
        413,
        "request_too_large",
        "body_too_large",
        false,
    ),
    (
        Fault::RequestHeadTimeout,
        408,
        "invalid_request_error",
        "request_timeout",
        false,
    ),
    (
        Fault::RequestBodyTimeout,
        408,
        "invalid_request_error",
        "request_timeout",
        false,
    ),
    (
        Fault::UpstreamConnectTimeout,
        504,
        "timeout_error",
        "upstream_connect_timeout",
        true,
    ),
    (
        Fault::UpstreamTimeout,
        504,
        "timeout_error",
        "upstream_timeout",
        false,
    ),
    (
        Fault::UpstreamClosed,
        502,
        "api_error",
        "upstream_closed",
        false,
    ),
    (
        Fault::UpstreamReset,
        502,
        "api_error",
        "upstream_reset",
        false,
    ),
    (
        Fault::UpstreamInvalidResponse,
        502,
        "api_error",
        "upstream_invalid_response",
        false,
    ),
];

/// Head and content of the answer; asserts that the one describes the other.
fn written(fault: &Fault, id: &str, connection: Persistence) -> (String, serde_json::Value) {
    let mut answer = ErrorResponse {
        fault,
        request_id: id.as_bytes(),
        date: b"Mon, 23 Nov 2026 01:02:03 GMT",
        head_only: false,
        connection,
        cors: b"",
    };
    let (mut whole, mut head) = (Vec::new(), Vec::new());
    answer.write(&mut whole);
    answer.head_only = true;
    answer.write(&mut head);
    let body = whole.split_off(head.len());
    assert_eq!(whole, head, "HEAD gets the same head");
    let head = String::from_utf8(head).unwrap();
    assert!(
        head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
        "{head}"
    );
    assert!(head.ends_with("\r\n\r\n"));
    (head, serde_json::from_slice(&body).unwrap())
}

#[test]
fn the_table() {
    for (fault, status, kind, code, retry) in FAULTS {
        let (head, body) = written(&fault, "id-1", Persistence::Close);
        assert_eq!((fault.status(), fault.code()), (status, code));
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} {}\r\n", reason(status))),
            "{head}"
        );
        assert_ne!(reason(status), "Error");
        for line in [
            "Content-Type: application/json",
            "X-Request-ID: id-1",
            "request-id: id-1",
            "Date: Mon, 23 Nov 2026 01:02:03 GMT",
            "Connection: close",
            &format!("x-should-retry: {retry}"),
        ] {
            assert!(
                head.contains(&format!("\r\n{line}\r\n")),
                "no {line} in {head}"
            );
        }
        assert_eq!(
            head.contains("\r\nWWW-Authenticate: Bearer\r\n"),
            status == 401
        );
        let waits = usize::from([429, 503].contains(&status));
        assert_eq!(head.matches("\r\nRetry-After: ").count(), waits);
        let message = body["error"]["message"].as_str().unwrap();
        assert!(!message.is_empty());
        let expected = serde_json::json!({
            "type": "error",
            "error": { "type": kind, "message": message, "param": null, "code": code },
            "request_id": "id-1",
        });
        assert_eq!(body, expected);
    }
}

#[test]
fn what_never_reached_the_provider_may_be_tried_again() {
    let error = "certificate \"x\" \\ \r\n\u{2603}";
    for (fault, code) in [
        (
            Fault::upstream_resolve("openai", &error, String::new()),
            "upstream_resolve",
        ),
        (
            Fault::upstream_connect("openai", &error, "refused (10.0.0.7:80)".to_owned()),
            "upstream_connect",
        ),
        (
            Fault::upstream_tls("openai", &error, String::new(), true),
            "upstream_tls",
        ),
    ] {
        let (head, body) = written(&fault, "id", Persistence::Close);
        assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
        assert!(head.contains("\r\nx-should-retry: true\r\n"), "{head}");
        assert_eq!(body["error"]["code"], code);
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("openai") && message.ends_with(error),
            "{message}"
        );
    }
}

#[test]
fn a_proxy_is_tried_again_where_that_can_help() {
    for retry in [true, false] {
        let fault = Fault::upstream_proxy("openai", &"it answered 407", String::new(), retry);
        let (head, body) = written(&fault, "id", Persistence::Close);
        assert!(head.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{head}");
        assert!(
            head.contains(&format!("\r\nx-should-retry: {retry}\r\n")),
            "{head}"
        );
        assert_eq!(body["error"]["code"], "upstream_proxy");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("openai") && message.ends_with("407"),
            "{message}"
        );
    }
}

#[test]
fn a_rate_says_when_to_come_back() {
    let fault = Fault::Auth(AuthError::RateExceeded { retry_after: 61 });
    let (head, _) = written(&fault, "id", Persistence::Close);
    assert!(head.contains("\r\nRetry-After: 61\r\n"), "{head}");
}

#[test]
fn routes_name_the_providers() {
    for (error, code) in [
        (RouteError::EmptyProvider, "provider_missing"),
        (RouteError::UnknownProvider, "provider_not_enabled"),
    ] {
        let (_, body) = written(&Fault::from_route(error, "a, b"), "id", Persistence::Close);
        assert_eq!(body["error"]["code"], code);
        assert!(
            body["error"]["message"]
                .as_str()
                .unwrap()
                .ends_with("enabled are: a, b")
        );
    }
    for (error, code) in [
        (RouteError::EmptyEndpoint, "endpoint_missing"),
        (RouteError::AliasDisabled, "v1_alias_disabled"),
    ] {
        let fault = Fault::from_route(error, "a, b");
        assert_eq!((fault.status(), fault.code()), (400, code));
    }
}

#[test]
fn ids_are_escaped_and_connections_announced() {
    let stays = Persistence::KeepAlive { timeout_secs: 119 };
    let (head, body) = written(&Fault::NoSuchRoute, "a\"b\\c", stays);
    assert_eq!(body["request_id"], "a\"b\\c");
    assert!(head.contains("\r\nKeep-Alive: timeout=119\r\n"), "{head}");
    let mut lines = Vec::new();
    stays.write(&mut lines);
    assert_eq!(
        lines,
        b"Connection: keep-alive\r\nKeep-Alive: timeout=119\r\n"
    );
}
