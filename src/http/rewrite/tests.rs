//! Tables and property tests of rewriting.

use proptest::prelude::*;

use super::property::{request_holds, response_holds};
use super::*;
use crate::http::head::{self, Fields, HeadScan};

fn names_left(input: &str) -> Vec<String> {
    let input = input.as_bytes();
    let mut fields = Fields::new();
    head::request(&mut HeadScan::default(), input, &mut fields)
        .unwrap()
        .unwrap();
    let removed = request_removals(Section::new(&fields, input), |_, _| false);
    let left = fields
        .iter()
        .enumerate()
        .filter(|(index, _)| !removed.contains(*index));
    left.map(|(_, field)| String::from_utf8(field.name_of(input).to_vec()).unwrap())
        .collect()
}

#[test]
fn a_request_loses_hop_by_hop_and_credential_fields_only() {
    let removed = [
        "Host: a",
        "connection: close",
        "Keep-Alive: 5",
        "Proxy-Connection: close",
        "Proxy-Authenticate: Basic",
        "Proxy-Authorization: Basic eA==",
        "TE: trailers",
        "Upgrade: h2c",
        "Cookie: a=b",
        "Forwarded: for=1.1.1.1",
        "X-Forwarded-For: 1.1.1.1",
        "x-forwarded-anything: 1",
        "AUTHORIZATION: Bearer k",
        "x-api-key: k",
        "api-key: k",
        "x-goog-api-key: k",
        "X-Sluicegate-Key: k",
        "X-GoModel-User-Path: /x",
    ];
    let kept = [
        "X-Forward: 1",
        "anthropic-beta: a, b",
        "Via: 1.1 x",
        "Max-Forwards: 3",
        "Trailer: x",
    ];
    let head = format!(
        "GET / HTTP/1.1\r\n{}\r\n{}\r\n\r\n",
        removed.join("\r\n"),
        kept.join("\r\n")
    );
    assert_eq!(
        names_left(&head),
        [
            "X-Forward",
            "anthropic-beta",
            "Via",
            "Max-Forwards",
            "Trailer"
        ]
    );
}

#[test]
fn connection_options_take_their_fields_along_but_never_the_framing() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nConnection: x-one, X-TWO ,close, Content-Length\r\n\
                x-two: 2\r\nConnection: x-three\r\nX-Three: 3\r\nX-Four: 4\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(names_left(head), ["X-Four", "Content-Length"]);
}

#[test]
fn a_response_keeps_everything_else_and_a_tunnel_its_upgrade() {
    let input = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: a\r\nX: 1\r\n\r\n";
    let mut fields = Fields::new();
    head::response(&mut HeadScan::default(), input, &mut fields)
        .unwrap()
        .unwrap();
    let left = |removed: FieldSet| (0..4).filter(|i| !removed.contains(*i)).collect::<Vec<_>>();
    assert_eq!(
        left(response_removals(Section::new(&fields, input), true)),
        [0, 1, 3]
    );
    assert_eq!(
        left(response_removals(Section::new(&fields, input), false)),
        [3]
    );
}

#[test]
fn the_corpus_is_rewritten_as_the_slow_way_does() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/heads");
    let mut seen = 0;
    for folder in ["accept", "refuse"] {
        for entry in std::fs::read_dir(corpus.join(folder)).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            request_holds(&bytes);
            response_holds(&bytes);
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen} heads in the corpus");
}

#[test]
fn too_little_room_is_said_and_nothing_is_written_outside() {
    let input = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\nbody";
    let mut fields = Fields::new();
    let head = head::request(&mut HeadScan::default(), input, &mut fields)
        .unwrap()
        .unwrap();
    let removed = request_removals(Section::new(&fields, input), |_, _| false);
    let target = NewTarget {
        prefix: b"/a-very-long-prefix-for-so-little-room",
        rest: head.target,
        suffix: b"",
    };
    let mut buf = input.to_vec();
    assert_eq!(
        request(
            &mut buf,
            0,
            &head,
            &fields,
            &removed,
            target,
            &[b"Host: b\r\n"]
        ),
        None
    );
    assert!(buf.ends_with(b"\r\n\r\nbody"));
}

fn field_line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[A-Za-z-]{1,12}",
        Just("Connection".to_owned()),
        Just("Authorization".to_owned()),
        Just("X-Api-Key".to_owned()),
        Just("Cookie".to_owned()),
        Just("Set-Cookie".to_owned()),
        Just("X-Forwarded-Proto".to_owned()),
        Just("Keep-Alive".to_owned()),
        Just("X-One".to_owned()),
        "[A-Ca-c]",
        Just("Content-Length".to_owned()),
    ];
    let value = prop_oneof![
        4 => "[ -~]{0,40}".boxed(),
        1 => "(([ A-Ca-c]|close|Keep-Alive|KEEP-ALIVE|cookie|x-one),?){0,12}".boxed(),
    ];
    (name, value).prop_map(|(name, value)| format!("{name}: {value}\r\n"))
}

/// Miri takes a thousand times as long.
const CASES: u32 = if cfg!(miri) { 2 } else { 500 };

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_rewritten_as_the_slow_way_does(
        lines in prop::collection::vec(field_line(), 0..20),
        host_at in 0..20_usize,
        target in "/[a-z%0-9/]{0,60}",
        body in "[ -~]{0,20}",
    ) {
        let mut lines = lines;
        lines.insert(host_at.min(lines.len()), "Host: gateway\r\n".to_owned());
        request_holds(format!("POST {target} HTTP/1.1\r\n{}\r\n{body}", lines.concat()).as_bytes());
    }

    #[test]
    fn responses_are_rewritten_as_the_slow_way_does(
        lines in prop::collection::vec(field_line(), 0..20),
        status in 100..1000_u16,
        reason in "[ -~]{0,20}",
        body in "[ -~]{0,20}",
    ) {
        response_holds(format!("HTTP/1.1 {status} {reason}\r\n{}\r\n{body}", lines.concat()).as_bytes());
    }
}
