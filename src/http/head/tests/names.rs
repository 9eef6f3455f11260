//! Field names that the gateway knows, and fields found by them.

use proptest::prelude::*;

use crate::http::head::property::found_by_name;
use crate::http::head::{Fields, Name, RESPONSE_FIELDS_MAX, name, parse_response};

#[test]
fn names() {
    let rows = [
        ("Content-Length", Name::ContentLength),
        ("TRANSFER-ENCODING", Name::TransferEncoding),
        ("host", Name::Host),
        ("Connection", Name::Connection),
        ("Keep-Alive", Name::KeepAlive),
        ("Proxy-Connection", Name::ProxyConnection),
        ("Proxy-Authenticate", Name::ProxyAuthenticate),
        ("Proxy-Authorization", Name::ProxyAuthorization),
        ("TE", Name::Te),
        ("Trailer", Name::Trailer),
        ("Upgrade", Name::Upgrade),
        ("Expect", Name::Expect),
        ("Cookie", Name::Cookie),
        ("Set-Cookie", Name::SetCookie),
        ("Forwarded", Name::Forwarded),
        ("X-Forwarded-", Name::XForwarded),
        ("x-forwarded-for", Name::XForwarded),
        (
            "X-Forwarded-Anything-At-All-Of-Any-Length",
            Name::XForwarded,
        ),
        ("Authorization", Name::Authorization),
        ("X-Api-Key", Name::XApiKey),
        ("XI-Api-Key", Name::XiApiKey),
        ("Api-Key", Name::ApiKey),
        ("X-Goog-Api-Key", Name::XGoogApiKey),
        ("X-Sluicegate-Key", Name::XSluicegateKey),
        ("X-Sluicegate-Loop", Name::XSluicegateLoop),
        ("X-GoModel-User-Path", Name::XGomodelUserPath),
        ("X-Request-ID", Name::XRequestId),
        ("Sec-WebSocket-Protocol", Name::SecWebsocketProtocol),
        ("Date", Name::Date),
        ("Origin", Name::Origin),
        ("Sec-Fetch-Site", Name::SecFetchSite),
        ("Access-Control-", Name::AccessControl),
        ("access-control-allow-origin", Name::AccessControl),
        ("Access-Control", Name::Other),
        ("Access_Control-Allow-Origin", Name::Other),
        ("X-Forwarded", Name::Other),
        ("", Name::Other),
    ];
    for (bytes, expected) in rows {
        assert_eq!(name(bytes.as_bytes()), expected, "{bytes}");
        if ![Name::XForwarded, Name::AccessControl].contains(&expected) {
            assert_eq!(
                name(format!("{bytes}x").as_bytes()),
                Name::Other,
                "{bytes}x"
            );
        }
    }
}

#[test]
fn names_are_known_with_other_marks_for_their_hyphens() {
    for (written, known) in [
        ("X-HTTP-Method-Override", Name::Override),
        ("x_http_method_override", Name::Override),
        ("X.Http-Method__OVERRIDE", Name::Override),
        ("X-HTTP-Method", Name::Override),
        ("X-Method-Override", Name::Override),
        ("X-Original-URL", Name::Override),
        ("x-rewrite-url", Name::Override),
        ("X-Original-Uri", Name::Override),
        ("X-Original-Method", Name::Override),
        ("X-Envoy-Original-Path", Name::Override),
        ("X-HTTP-Path-Override", Name::Override),
        ("X-Override~URL", Name::Override),
        ("X_Api_Key", Name::Disguised),
        ("X--Api-Key", Name::Disguised),
        ("API_KEY", Name::Disguised),
        ("x!goog|api'key", Name::Disguised),
        ("X_Forwarded_Uri", Name::Disguised),
        ("X-Forwarded_Host", Name::Disguised),
        ("Proxy.Authorization", Name::Disguised),
        ("Sec__WebSocket__Protocol", Name::Disguised),
        ("Content_Length", Name::Other),
        ("transfer_encoding", Name::Other),
        ("X_Request_ID", Name::Other),
        ("Set_Cookie", Name::Other),
        ("_X-Api-Key", Name::Other),
        ("X-Api-Key-", Name::Other),
        ("XApiKey", Name::Other),
        ("apikey", Name::Other),
        ("X-HTTP-Methods", Name::Other),
        ("XXHTTP-Method", Name::Other),
        ("X_HTTP_Method_Overrides", Name::Other),
        ("X-HTTP-Method-Overrides", Name::Other),
        ("", Name::Other),
        ("-", Name::Other),
    ] {
        assert_eq!(name(written.as_bytes()), known, "{written}");
    }
}

/// The names that are known by all of their bytes.
const KNOWN: &[(&str, Name)] = &[
    ("content-length", Name::ContentLength),
    ("transfer-encoding", Name::TransferEncoding),
    ("host", Name::Host),
    ("connection", Name::Connection),
    ("keep-alive", Name::KeepAlive),
    ("proxy-connection", Name::ProxyConnection),
    ("proxy-authenticate", Name::ProxyAuthenticate),
    ("proxy-authorization", Name::ProxyAuthorization),
    ("te", Name::Te),
    ("trailer", Name::Trailer),
    ("upgrade", Name::Upgrade),
    ("expect", Name::Expect),
    ("cookie", Name::Cookie),
    ("set-cookie", Name::SetCookie),
    ("forwarded", Name::Forwarded),
    ("authorization", Name::Authorization),
    ("x-api-key", Name::XApiKey),
    ("api-key", Name::ApiKey),
    ("xi-api-key", Name::XiApiKey),
    ("x-goog-api-key", Name::XGoogApiKey),
    ("x-sluicegate-key", Name::XSluicegateKey),
    ("x-sluicegate-loop", Name::XSluicegateLoop),
    ("x-gomodel-user-path", Name::XGomodelUserPath),
    ("x-request-id", Name::XRequestId),
    ("sec-websocket-protocol", Name::SecWebsocketProtocol),
    ("date", Name::Date),
    ("origin", Name::Origin),
    ("sec-fetch-site", Name::SecFetchSite),
    ("x-http-method", Name::Override),
    ("x-rewrite-url", Name::Override),
    ("x-original-url", Name::Override),
    ("x-original-uri", Name::Override),
    ("x-override-url", Name::Override),
    ("x-method-override", Name::Override),
    ("x-original-method", Name::Override),
    ("x-http-path-override", Name::Override),
    ("x-envoy-original-path", Name::Override),
    ("x-http-method-override", Name::Override),
];

fn naive_name(bytes: &[u8]) -> Name {
    let lower = bytes.to_ascii_lowercase();
    if let Some(name) = exact_name(&lower) {
        return name;
    }
    let mut folded: Vec<u8> = Vec::new();
    for byte in lower {
        match byte.is_ascii_alphanumeric() {
            true => folded.push(byte),
            false if folded.last() == Some(&b'-') => {}
            false => folded.push(b'-'),
        }
    }
    match exact_name(&folded) {
        None
        | Some(
            Name::XRequestId
            | Name::SetCookie
            | Name::ContentLength
            | Name::TransferEncoding
            | Name::KeepAlive
            | Name::ProxyConnection
            | Name::ProxyAuthenticate
            | Name::SecFetchSite
            | Name::AccessControl,
        ) => Name::Other,
        Some(Name::Override) => Name::Override,
        Some(_) => Name::Disguised,
    }
}

fn exact_name(lower: &[u8]) -> Option<Name> {
    let known = KNOWN.iter().find(|(known, _)| known.as_bytes() == lower);
    let is_forwarded = lower.starts_with(b"x-forwarded-");
    let is_control = lower.starts_with(b"access-control-");
    known
        .map(|(_, name)| *name)
        .or_else(|| is_forwarded.then_some(Name::XForwarded))
        .or_else(|| is_control.then_some(Name::AccessControl))
}

fn name_is_naive(bytes: &[u8]) {
    assert_eq!(name(bytes), naive_name(bytes), "{}", bytes.escape_ascii());
}

#[test]
fn names_in_any_case_and_those_that_differ_in_a_byte() {
    let forwarded = [
        "x-forwarded-",
        "x-forwarded-for",
        "x-forwarded-and-a-long-rest",
        "access-control-",
        "access-control-allow-origin",
    ];
    let names = KNOWN.iter().map(|(known, _)| *known).chain(forwarded);
    for lower in names {
        assert_ne!(name(lower.as_bytes()), Name::Other, "{lower}");
        for text in [lower.to_owned(), lower.to_ascii_uppercase()] {
            let bytes = text.as_bytes();
            name_is_naive(bytes);
            for at in 0..bytes.len() {
                name_is_naive(&bytes[..at]);
                name_is_naive(&bytes[at..]);
                let mut near = bytes.to_vec();
                for byte in 0..=255 {
                    near[at] = byte;
                    name_is_naive(&near);
                    name_is_naive(&[&bytes[..at], &[byte], &bytes[at..]].concat());
                }
            }
        }
    }
}

#[test]
fn fields_are_found_by_name_as_the_slow_way_does() {
    let names = KNOWN.iter().map(|(_, name)| *name);
    let names: Vec<Name> = names.chain([Name::XForwarded]).collect();
    let lines = ["A: b\r\n", "Host: h\r\n", "Date: d\r\n", "Trailer: t\r\n"];
    // Enough for more than one word of a set.
    for count in [0, 1, 63, 64, 65, 100, RESPONSE_FIELDS_MAX] {
        let lines: String = (0..count).map(|at| lines[at * at % 7 % 4]).collect();
        let input = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let mut fields = Fields::new();
        parse_response(input.as_bytes(), &mut fields)
            .unwrap()
            .unwrap();
        assert_eq!(fields.len(), count);
        found_by_name(&fields);
        for name in &names {
            let slowly = fields.iter().filter(|field| field.name == *name);
            assert!(fields.named(*name).eq(slowly));
            assert_eq!(fields.has(*name), fields.named(*name).next().is_some());
        }
        // What the lines before were is forgotten.
        parse_response(b"HTTP/1.1 200 OK\r\nTE: x\r\n\r\n", &mut fields)
            .unwrap()
            .unwrap();
        let present: Vec<Name> = names.iter().copied().filter(|n| fields.has(*n)).collect();
        assert_eq!(present, [Name::Te]);
    }
}

proptest! {
    #[test]
    fn names_are_those_of_the_table(name in "[a-z_-]{0,24}", bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        name_is_naive(name.as_bytes());
        name_is_naive(&bytes);
    }
}
