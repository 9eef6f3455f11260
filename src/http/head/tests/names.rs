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
        ("Api-Key", Name::ApiKey),
        ("X-Goog-Api-Key", Name::XGoogApiKey),
        ("X-Sluicegate-Key", Name::XSluicegateKey),
        ("X-Sluicegate-Loop", Name::XSluicegateLoop),
        ("X-GoModel-User-Path", Name::XGomodelUserPath),
        ("X-Request-ID", Name::XRequestId),
        ("Sec-WebSocket-Protocol", Name::SecWebsocketProtocol),
        ("Date", Name::Date),
        ("X-Forwarded", Name::Other),
        ("Content_Length", Name::Other),
        ("", Name::Other),
    ];
    for (bytes, expected) in rows {
        assert_eq!(name(bytes.as_bytes()), expected, "{bytes}");
        if expected != Name::XForwarded {
            assert_eq!(
                name(format!("{bytes}x").as_bytes()),
                Name::Other,
                "{bytes}x"
            );
        }
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
    ("x-goog-api-key", Name::XGoogApiKey),
    ("x-sluicegate-key", Name::XSluicegateKey),
    ("x-sluicegate-loop", Name::XSluicegateLoop),
    ("x-gomodel-user-path", Name::XGomodelUserPath),
    ("x-request-id", Name::XRequestId),
    ("sec-websocket-protocol", Name::SecWebsocketProtocol),
    ("date", Name::Date),
];

fn naive_name(bytes: &[u8]) -> Name {
    let lower = bytes.to_ascii_lowercase();
    match KNOWN.iter().find(|(known, _)| known.as_bytes() == lower) {
        Some((_, name)) => *name,
        None if lower.starts_with(b"x-forwarded-") => Name::XForwarded,
        None => Name::Other,
    }
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
    fn names_are_those_of_the_table(name in "[a-z-]{0,24}", bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        name_is_naive(name.as_bytes());
        name_is_naive(&bytes);
    }
}
