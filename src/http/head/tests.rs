//! Tables of heads, each read whole, at every cut, byte by byte and with a message behind it.

mod names;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::grammar::is_host;
use super::property::{Parsed, closes_up, hold, holds_at_cut, holds_though_seen, parse};
use super::*;
use crate::http::framing::{request_body, response_body};

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n";

fn whole(side: Side, input: &[u8]) -> Result<Option<Parsed>, HeadError> {
    parse(side, &mut HeadScan::default(), input)
}

/// Reads `input` in every way there is and returns the one answer.
fn read(side: Side, input: &[u8]) -> Result<Option<Parsed>, HeadError> {
    let answer = whole(side, input);
    hold(side, input, 1);
    closes_up(input);
    if input.len() <= 2048 {
        holds_though_seen(side, input);
    }
    // At every byte, but for the inputs that only show a limit.
    let step = 1 + input.len() / 2048 * 512;
    for at in (0..input.len()).step_by(step) {
        holds_at_cut(side, input, at);
    }
    if answer != Ok(None) {
        let followed = [input, NEXT].concat();
        assert_eq!(whole(side, &followed), answer, "{}", input.escape_ascii());
    }
    answer
}

#[test]
fn request_heads_that_are_refused() {
    use HeadError::*;
    let rows: &[(&str, HeadError)] = &[
        ("GET / HTTP/1.1\nHost: x\n\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: x\n\r\n", BareLf),
        ("GET / HTTP/1.1\r\nHost: x\r\n\n", BareLf),
        ("\nGET / HTTP/1.1\r\n", BareLf),
        ("GET / HTTP/1.1\rHost: x\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\nHost: x\r\r\n\r\n", BareCr),
        ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost: x\r\n\tfolded\r\n\r\n", ObsFold),
        ("GET / HTTP/1.1\r\nHost: x\r\n \r\n\r\n", ObsFold),
        ("GET /\r\n", BadRequestLine),
        ("GET  / HTTP/1.1\r\n", BadRequestLine),
        ("GET /  HTTP/1.1\r\n", BadRequestLine),
        ("GET / HTTP/1.1 \r\n", BadRequestLine),
        (" GET / HTTP/1.1\r\n", BadRequestLine),
        ("GET\t/\tHTTP/1.1\r\n", BadRequestLine),
        ("GET /a\tb HTTP/1.1\r\n", BadRequestLine),
        ("GET /\0 HTTP/1.1\r\n", BadRequestLine),
        ("GET /\x7f HTTP/1.1\r\n", BadRequestLine),
        ("GET / http/1.1\r\n", BadRequestLine),
        ("GET / HTTP/1.1.1\r\n", BadRequestLine),
        ("GET / HTTP/11\r\n", BadRequestLine),
        ("GET / HTTP/\r\n", BadRequestLine),
        ("GET / HTTPS/1.1\r\n", BadRequestLine),
        ("GET / XHTTP/1.1\r\n", BadRequestLine),
        ("G@T / HTTP/1.1\r\n", BadRequestLine),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n",
            MethodTooLong,
        ),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDE(G / HTTP/1.1\r\n",
            BadRequestLine,
        ),
        ("GET / HTTP/1.10\r\n", BadRequestLine),
        ("GET / HTTP/1.\r\n", BadRequestLine),
        ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n", BadRequestLine),
        ("\u{16}\u{3}\u{1}\u{2}", BadRequestLine),
        ("GET / HTTP/2.0\r\n", UnsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", UnsupportedVersion),
        ("GET / HTTP/2\r\n", UnsupportedVersion),
        ("GET / HTTP/0.9\r\n", UnsupportedVersion),
    ];
    for (input, error) in rows {
        assert_eq!(
            read(Side::Request, input.as_bytes()),
            Err(*error),
            "{}",
            input.escape_debug()
        );
    }
}

#[test]
fn request_fields_that_are_refused() {
    use HeadError::*;
    let rows: &[(&str, HeadError)] = &[
        ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", BadFieldName),
        ("GET / HTTP/1.1\r\nHost\t: x\r\n\r\n", BadFieldName),
        ("GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n", BadFieldName),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
            BadFieldName,
        ),
        ("GET / HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n", BadFieldName),
        ("GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n", BadFieldName),
        ("GET / HTTP/1.1\r\nHost: x\r\nÄ: b\r\n\r\n", BadFieldName),
        (
            "GET / HTTP/1.1\r\nHost: x\r\n\"A\": b\r\n\r\n",
            BadFieldName,
        ),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n", BadFieldValue),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\x7f\r\n\r\n",
            BadFieldValue,
        ),
        (
            "GET / HTTP/1.1\r\nHost: x\r\nA: b\x0bc\r\n\r\n",
            BadFieldValue,
        ),
        ("GET / HTTP/1.1\r\n\r\n", HostMissing),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HostRepeated),
        ("GET / HTTP/1.0\r\nhost: a\r\nHOST: b\r\n\r\n", HostRepeated),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HostInvalid),
        ("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", HostInvalid),
    ];
    for (input, error) in rows {
        assert_eq!(
            read(Side::Request, input.as_bytes()),
            Err(*error),
            "{}",
            input.escape_debug()
        );
    }
}

#[test]
fn request_heads_that_are_accepted() {
    type Fields = &'static [(&'static str, &'static str)];
    let rows: &[(&str, &str, &str, Fields)] = &[
        (
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET",
            "/",
            &[("Host", "x")],
        ),
        ("GET / HTTP/1.0\r\n\r\n", "GET", "/", &[]),
        (
            "GET / HTTP/1.2\r\nHost: x\r\n\r\n",
            "GET",
            "/",
            &[("Host", "x")],
        ),
        (
            "GET / HTTP/1.1\r\nHost:\r\n\r\n",
            "GET",
            "/",
            &[("Host", "")],
        ),
        (
            "GET / HTTP/1.1\r\nHost: \t \r\n\r\n",
            "GET",
            "/",
            &[("Host", "")],
        ),
        ("\r\n\r\n\r\n\r\nX #a HTTP/1.0\r\n\r\n", "X", "#a", &[]),
        (
            "!#$%&'*+-.^_`|~09AZaz * HTTP/1.0\r\nX: \t a\tb  \t\r\n\r\n",
            "!#$%&'*+-.^_`|~09AZaz",
            "*",
            &[("X", "a\tb")],
        ),
        (
            "GET http://h/%zz?a=b;c HTTP/1.1\r\na:b:c\r\nHOST:[::1]:80\r\nEmpty:\r\n\r\n",
            "GET",
            "http://h/%zz?a=b;c",
            &[("a", "b:c"), ("HOST", "[::1]:80"), ("Empty", "")],
        ),
        (
            "GET /ü HTTP/1.0\r\nX: ü\r\n\r\n",
            "GET",
            "/ü",
            &[("X", "ü")],
        ),
    ];
    for (input, method, target, fields) in rows {
        let parsed = read(Side::Request, input.as_bytes()).unwrap().unwrap();
        assert_eq!(
            parsed.start,
            (method.as_bytes().to_vec(), target.as_bytes().to_vec())
        );
        assert_eq!(parsed.len, input.len());
        let expected = fields
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        assert_eq!(parsed.fields, expected.collect::<Vec<_>>());
    }
}

#[test]
fn heads_that_have_not_ended() {
    for input in [
        "",
        "\r",
        "\r\n",
        "G",
        "GET / HTTP/1.1\r\nHost: x\r\n",
        "GET / HTTP/1.1\r",
    ] {
        assert_eq!(read(Side::Request, input.as_bytes()), Ok(None), "{input:?}");
    }
    for input in [
        "",
        "H",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n\r",
    ] {
        assert_eq!(
            read(Side::Response, input.as_bytes()),
            Ok(None),
            "{input:?}"
        );
    }
}

#[test]
fn response_heads() {
    use HeadError::*;
    let refused: &[(&str, HeadError)] = &[
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", BadStatusLine),
        ("ICY 200 OK\r\n\r\n", BadStatusLine),
        ("http/1.1 200 OK\r\n\r\n", BadStatusLine),
        ("HTTP/1.1\r\n\r\n", BadStatusLine),
        ("HTTP/1.1 \r\n\r\n", BadStatusLine),
        ("HTTP/1.1  200 OK\r\n\r\n", BadStatusLine),
        ("HTTP/1.1 20 OK\r\n\r\n", BadStatusLine),
        ("HTTP/1.1 2000 OK\r\n\r\n", BadStatusLine),
        ("HTTP/1.1 099 Low\r\n\r\n", BadStatusLine),
        ("HTTP/1.1 +20 OK\r\n\r\n", BadStatusLine),
        ("HTTP/1.1 200\tOK\r\n\r\n", BadStatusLine),
        ("HTTP/1.1 200 O\0K\r\n\r\n", BadStatusLine),
        ("HTTP/2 200\r\n\r\n", UnsupportedVersion),
        ("HTTP/1.1 200 OK\nA: b\n\n", BareLf),
        ("HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n", BareCr),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ObsFold),
        ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", BadFieldName),
        ("HTTP/1.1 200 OK\r\nA: \0\r\n\r\n", BadFieldValue),
    ];
    for (input, error) in refused {
        assert_eq!(
            read(Side::Response, input.as_bytes()),
            Err(*error),
            "{}",
            input.escape_debug()
        );
    }
    let accepted: &[(&str, &str, &str)] = &[
        ("HTTP/1.1 200\r\n\r\n", "200", ""),
        ("HTTP/1.1 200 \r\n\r\n", "200", ""),
        (
            "HTTP/1.0 999 \t any ü reason \r\nHost: a\r\nHost: b\r\n\r\n",
            "999",
            "\t any ü reason ",
        ),
        ("HTTP/1.1 100 Continue\r\n\r\n", "100", "Continue"),
        ("HTTP/1.9 200 Later\r\n\r\n", "200", "Later"),
    ];
    for (input, status, reason) in accepted {
        let parsed = read(Side::Response, input.as_bytes()).unwrap().unwrap();
        assert_eq!(
            parsed.start,
            (status.as_bytes().to_vec(), reason.as_bytes().to_vec())
        );
        assert_eq!(parsed.len, input.len());
    }
}

#[test]
fn every_byte_in_every_place() {
    for byte in 0..=u8::MAX {
        // Behind paddings of several lengths, since httparse looks at 8, 16 or 32 bytes at once.
        for padding in [0, 1, 7, 8, 15, 16, 31, 32, 33] {
            let pad = vec![b'a'; padding];
            let tail = vec![b'a'; 40];
            for (before, after) in [
                (&b"GET /"[..], &b" HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
                (b"GET / HTTP/1.1\r\nHost: x\r\n", b": y\r\n\r\n"),
                (b"GET / HTTP/1.1\r\nHost: x\r\ny: ", b"\r\n\r\n"),
            ] {
                hold(
                    Side::Request,
                    &[before, &pad, &[byte], &tail, after].concat(),
                    64,
                );
                hold(Side::Request, &[before, &pad, &[byte], after].concat(), 64);
            }
            hold(
                Side::Response,
                &[b"HTTP/1.1 200 ", &pad[..], &[byte], b"\r\n\r\n"].concat(),
                64,
            );
        }
    }
}

#[test]
fn limits() {
    use HeadError::*;
    let request = |target: usize, fields: usize, value: usize| {
        let target = "t".repeat(target);
        let fields = "A: b\r\n".repeat(fields);
        let value = "v".repeat(value);
        format!("GET {target} HTTP/1.1\r\n{fields}Host: h\r\nV: {value}\r\n\r\n")
    };
    let room = HEAD_BYTES_MAX - request(1, 0, 0).len();
    let rows = [
        (request(TARGET_BYTES_MAX, 0, 0), None),
        (request(TARGET_BYTES_MAX + 1, 0, 0), Some(TargetTooLong)),
        (request(TARGET_BYTES_MAX + 9, 0, 0), Some(TargetTooLong)),
        (request(TARGET_BYTES_MAX + 10, 0, 0), Some(TargetTooLong)),
        (request(HEAD_BYTES_MAX * 2, 0, 0), Some(TargetTooLong)),
        (request(1, REQUEST_FIELDS_MAX - 2, 0), None),
        (request(1, REQUEST_FIELDS_MAX - 1, 0), Some(TooManyFields)),
        (request(1, 5000, 0), Some(TooManyFields)),
        (request(1, 0, room), None),
        (request(1, 0, room + 1), Some(TooLong)),
        (request(1, 0, room * 2), Some(TooLong)),
    ];
    for (input, error) in rows {
        let answer = whole(Side::Request, input.as_bytes());
        assert_eq!(
            answer.as_ref().err(),
            error.as_ref(),
            "{} bytes",
            input.len()
        );
        for step in [1000, 4096, 65_535, 65_536] {
            hold(Side::Request, input.as_bytes(), step);
        }
    }
    let response = |fields: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(fields));
    assert!(read(Side::Response, response(RESPONSE_FIELDS_MAX).as_bytes()).is_ok());
    let answer = read(Side::Response, response(RESPONSE_FIELDS_MAX + 1).as_bytes());
    assert_eq!(answer, Err(TooManyFields));
}

#[test]
fn limits_that_an_unfinished_head_exceeds() {
    let target = [b"GET ", vec![b'a'; TARGET_BYTES_MAX + 10].as_slice()].concat();
    assert_eq!(whole(Side::Request, &target), Err(HeadError::TargetTooLong));
    let head = [
        b"GET / HTTP/1.1\r\nA: ",
        vec![b'a'; HEAD_BYTES_MAX].as_slice(),
    ]
    .concat();
    assert_eq!(whole(Side::Request, &head), Err(HeadError::TooLong));
    let mut garbage = [b'a'; METHOD_BYTES_MAX + 1];
    let refused = whole(Side::Request, &garbage);
    assert_eq!(refused, Err(HeadError::MethodTooLong));
    garbage[METHOD_BYTES_MAX] = b'@';
    let refused = whole(Side::Request, &garbage);
    assert_eq!(refused, Err(HeadError::BadRequestLine));
}

#[test]
fn a_found_end_is_found_again() {
    let mut scan = HeadScan::default();
    for _ in 0..3 {
        assert_eq!(scan.find_end(NEXT, Side::Request), Ok(Some(NEXT.len())));
    }
}

#[test]
fn hosts() {
    let fit = [
        "",
        "h",
        "a.b",
        "a.b:80",
        "a:",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:443",
        "[::ffff:1.2.3.4]",
        "under_score",
        "%41",
        "xn--bcher-kva",
        "a!$&'()*+;=~-",
        ":80",
    ];
    let unfit = [
        "a b",
        "a,b",
        "a@b",
        "a/b",
        "a\\b",
        "a:b",
        "a:80:80",
        "a:+80",
        "::1",
        "[::1",
        "[]",
        "[g]",
        "[::1]x",
        "[::1]:x",
        "[::1%25eth0]",
        "%4",
        "%zz",
        "ü",
        "a?b",
        "a#b",
        "\"a\"",
        "a\tb",
        "[v1.a]",
    ];
    for host in fit {
        assert!(is_host(host.as_bytes()), "{host}");
    }
    for host in unfit {
        assert!(!is_host(host.as_bytes()), "{host}");
    }
}

#[test]
fn lists() {
    let all = |value: &'static str| list(value.as_bytes()).collect::<Vec<_>>();
    assert_eq!(all(" a ,\tb,, c d ,"), [&b"a"[..], b"b", b"c d"]);
    assert!(all("").is_empty() && all(" , ,").is_empty());
    assert!(list_has(b"keep-alive, Close", b"close"));
    assert!(!list_has(b"closed, not close", b"close"));
}

/// The file names begin with the side; framing belongs to the head here, since a head whose length
/// is in doubt is never passed on either.
fn corpus(verdict: &str) -> Vec<(String, Side, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus/heads")
        .join(verdict);
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let side = if name.starts_with("response") {
            Side::Response
        } else {
            Side::Request
        };
        (name, side, fs::read(path).unwrap())
    };
    fs::read_dir(folder).unwrap().map(read).collect()
}

fn is_relayed(side: Side, input: &[u8]) -> bool {
    let mut fields = Fields::new();
    let mut buf = input.to_vec();
    let start = match side {
        Side::Response => close_up(&mut buf).unwrap_or(0),
        Side::Request => 0,
    };
    let input = &buf[start..];
    match side {
        Side::Request => matches!(parse_request(input, &mut fields),
            Ok(Some(head)) if request_body(HeadView::new(&head, &fields, input)).is_ok()),
        Side::Response => matches!(parse_response(input, &mut fields),
            Ok(Some(head)) if response_body(HeadView::new(&head, &fields, input), false).is_ok()),
    }
}

#[test]
fn corpus_is_accepted() {
    for (name, side, input) in corpus("accept") {
        assert!(is_relayed(side, &input), "{name}");
        let _ = read(side, &input);
    }
}

#[test]
fn corpus_is_refused() {
    let corpus = corpus("refuse");
    assert!(corpus.len() >= 60);
    for (name, side, input) in corpus {
        assert!(!is_relayed(side, &input), "{name}");
        let _ = read(side, &input);
    }
}

/// Heads made of pieces that are mostly right, so that all of the grammar is reached.
fn heads(start: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let lines = prop::sample::select(
        &[
            "Host: h",
            "Host: h",
            "Host: h",
            "A: b",
            "Empty:",
            "Blank: \t",
            "Tab:\tx\t",
            "X-Forwarded-For: a",
            "Content-Length: 5",
            "transfer-encoding:chunked",
            " folded",
            "Bad Name: x",
            "Padded : x",
            "Padded\t \t:x",
            ":",
            "noname",
            "A: \u{0}",
            "A: ü",
            "",
            "A: b\rC: d",
            "A: b\nC: d",
        ][..],
    );
    let ends = prop::sample::select(&["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", ""][..]);
    let line = (lines, ends).prop_map(|(line, end)| format!("{line}{end}"));
    let lines = prop::collection::vec(line, 0..6);
    let noise = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (prop::sample::select(start), lines, noise).prop_map(|(start, lines, noise)| {
        let mut head = format!("{start}\r\n{}\r\n\r\n", lines.concat()).into_bytes();
        for (index, byte) in noise {
            let at = index.index(head.len());
            head[at] = byte;
        }
        head
    })
}

proptest! {
    #[test]
    fn a_list_has_what_one_of_its_elements_is(value in "[ ,\tcCkloseab-]{0,24}( ?,\t?[cC]lose ?)?[a ,]{0,3}") {
        let elements = || list(value.as_bytes());
        for token in [&b"close"[..], b"c", b"ab"] {
            let is_there = elements().any(|element| element.eq_ignore_ascii_case(token));
            prop_assert_eq!(list_has(value.as_bytes(), token), is_there);
        }
    }

    #[test]
    fn properties_hold_for_requests(
        input in heads(&[
            "GET / HTTP/1.1", "POST /p/a?b=c HTTP/1.1", "GET * HTTP/1.0", "\r\n\r\nGET / HTTP/1.1",
            "GET / HTTP/2.0", "GET / HTTP/1.2", "GET /", "GET  / HTTP/1.1", "",
        ]),
        step in 1usize..9,
        at in any::<prop::sample::Index>(),
    ) {
        hold(Side::Request, &input, step);
        holds_at_cut(Side::Request, &input, at.index(input.len()));
        holds_though_seen(Side::Request, &input);
    }

    #[test]
    fn properties_hold_for_responses(
        input in heads(&[
            "HTTP/1.1 200 OK", "HTTP/1.3 404", "HTTP/1.0 500 ", "HTTP/1.1 99 x", "HTTP/1.1 200OK", "",
        ]),
        step in 1usize..9,
        at in any::<prop::sample::Index>(),
    ) {
        hold(Side::Response, &input, step);
        holds_at_cut(Side::Response, &input, at.index(input.len()));
        holds_though_seen(Side::Response, &input);
        closes_up(&input);
    }

    #[test]
    fn properties_hold_for_noise(input in prop::collection::vec(any::<u8>(), 0..200)) {
        hold(Side::Request, &input, 1);
        hold(Side::Response, &input, 1);
        closes_up(&input);
    }
}
