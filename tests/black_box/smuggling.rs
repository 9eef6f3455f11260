//! Requests that two readers could read in two ways, and other hostile input: refused, with nothing of it sent
//! upstream, and without harm to the next client.

use crate::support::{Gateway, KEY, Rig, Scripted, Wire, get, request};

/// What an attacker hopes to get through behind the request.
const SMUGGLED: &str =
    "GET /p/anthropic/smuggled HTTP/1.1\r\nHost: g\r\nx-api-key: gk-test\r\n\r\n";

/// A POST whose line after the key is `lines`, followed by `body`.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /p/anthropic/messages HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n{lines}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A chunked POST with this body.
fn chunked(body: &str) -> Vec<u8> {
    post("Transfer-Encoding: chunked", body)
}

/// Bytes as they are.
fn raw(text: &str) -> Vec<u8> {
    text.replace("KEY", "x-api-key: gk-test").into_bytes()
}

/// Name, bytes, expected status; each is refused before a byte of it goes upstream.
fn heads() -> Vec<(&'static str, Vec<u8>, u16)> {
    let te = |value: &str| post(&format!("Transfer-Encoding: {value}"), "0\r\n\r\n");
    let cl = |value: &str| post(&format!("Content-Length: {value}"), "hello");
    let line = |line: &str| post(&format!("{line}\r\nContent-Length: 5"), "hello");
    let both = |a: &str, b: &str| post(&format!("{a}\r\n{b}"), "0\r\n\r\n");
    let (length, coding) = ("Content-Length: 5", "Transfer-Encoding: chunked");
    vec![
        ("length and coding", both(length, coding), 400),
        ("coding and length", both(coding, length), 400),
        (
            "length 0 and coding",
            both("Content-Length: 0", coding),
            400,
        ),
        (
            "length and coding in capitals",
            both("CONTENT-LENGTH: 5", "TRANSFER-ENCODING: CHUNKED"),
            400,
        ),
        (
            "length and unknown coding",
            both(length, "Transfer-Encoding: x"),
            400,
        ),
        (
            "length and empty coding",
            both(length, "Transfer-Encoding:"),
            400,
        ),
        ("differing lengths", both(length, "Content-Length: 6"), 400),
        ("the same length twice", both(length, length), 400),
        ("a list of differing lengths", cl("5, 6"), 400),
        ("a list of the same length", cl("5, 5"), 400),
        ("a list of one length and nothing", cl("5,"), 400),
        ("length with plus", cl("+5"), 400),
        ("length with minus", cl("-5"), 400),
        ("length in hexadecimal", cl("0x5"), 400),
        ("length with exponent", cl("5e0"), 400),
        ("length with point", cl("5.0"), 400),
        ("length with blank inside", cl("5 5"), 400),
        ("length with letters", cl("5a"), 400),
        ("length with underscore", cl("5_0"), 400),
        ("length in quotes", cl("\"5\""), 400),
        ("length in brackets", cl("[5]"), 400),
        ("length of nothing", cl(""), 400),
        ("length of blanks", cl("   "), 400),
        ("length over 64 bits", cl("18446744073709551621"), 400),
        (
            "length far over 64 bits",
            cl("99999999999999999999999999999999"),
            400,
        ),
        ("length with vertical tab", cl("\x0b5"), 400),
        ("length with form feed", cl("5\x0c"), 400),
        ("length with a bare CR", cl("5\r"), 400),
        ("length in other digits", cl("\u{0665}"), 400),
        (
            "blank before the length's colon",
            post("Content-Length : 5", "hello"),
            400,
        ),
        (
            "tab before the length's colon",
            post("Content-Length\t: 5", "hello"),
            400,
        ),
        (
            "blank before the coding's colon",
            post("Transfer-Encoding : chunked", "0\r\n\r\n"),
            400,
        ),
        (
            "tab before the coding's colon",
            post("Transfer-Encoding\t: chunked", "0\r\n\r\n"),
            400,
        ),
        (
            "vertical tab before the coding's colon",
            post("Transfer-Encoding\x0b: chunked", "0\r\n\r\n"),
            400,
        ),
        (
            "coding after a fold",
            both("X-A: 1", " Transfer-Encoding: chunked"),
            400,
        ),
        ("folded coding", both("Transfer-Encoding:", " chunked"), 400),
        (
            "folded coding with a tab",
            both("Transfer-Encoding:", "\tchunked"),
            400,
        ),
        ("folded length", both("Content-Length:", " 5"), 400),
        (
            "fold after the request line",
            post("X-A: 1", "").replacen_line(" Folded: 1"),
            400,
        ),
        ("chunked, identity", te("chunked, identity"), 501),
        ("identity, chunked", te("identity, chunked"), 501),
        ("identity", te("identity"), 501),
        ("gzip, chunked", te("gzip, chunked"), 501),
        ("gzip", te("gzip"), 501),
        ("cow", te("cow"), 501),
        ("chunked twice in a list", te("chunked, chunked"), 4005),
        ("chunked in two lines", both(coding, coding), 4005),
        (
            "chunked and identity in two lines",
            both(coding, "Transfer-Encoding: identity"),
            4005,
        ),
        (
            "identity and chunked in two lines",
            both("Transfer-Encoding: identity", coding),
            4005,
        ),
        ("coding of nothing", te(""), 4005),
        ("coding of a comma", te(","), 4005),
        ("chunked and a comma", te("chunked,"), 4005),
        ("a comma and chunked", te(", chunked"), 4005),
        ("xchunked", te("xchunked"), 4005),
        ("chunkedx", te("chunkedx"), 4005),
        ("chunked in quotes", te("\"chunked\""), 4005),
        ("chunked in single quotes", te("'chunked'"), 4005),
        ("chunked with parameter", te("chunked;a=b"), 4005),
        ("chunked with semicolon", te("chunked;"), 4005),
        ("chunked with vertical tab before", te("\x0bchunked"), 4005),
        ("chunked with vertical tab behind", te("chunked\x0b"), 4005),
        ("chunked with form feed", te("chunked\x0c"), 4005),
        ("chunked with NUL", te("chunked\0"), 4005),
        ("chunked with DEL", te("chunked\x7f"), 4005),
        ("chunked with a bare CR before", te("\rchunked"), 400),
        ("chunked with a bare CR behind", te("chunked\r"), 400),
        ("chunked with a high byte", te("chunked\u{a0}"), 4005),
        (
            "chunked with a long s look-alike",
            te("chun\u{212a}ed"),
            4005,
        ),
        (
            "coding in HTTP/1.0",
            raw(
                "POST /p/anthropic/m HTTP/1.0\r\nKEY\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ),
            400,
        ),
        ("a line without a colon", line("X-A"), 400),
        ("an empty name", line(": 5"), 400),
        ("a name with a blank", line("X A: 5"), 400),
        ("a name with a slash", line("X/A: 5"), 400),
        ("a name in brackets", line("[X]: 5"), 400),
        ("a name with a high byte", line("X\u{e9}: 5"), 400),
        ("a name with NUL", line("X\0: 5"), 400),
        ("a name with a bare CR", line("X\rA: 5"), 400),
        ("a value with NUL", line("X-A: a\0b"), 400),
        (
            "a value with a bare CR",
            line("X-A: a\rTransfer-Encoding: chunked"),
            400,
        ),
        (
            "a value with a bare LF",
            line("X-A: a\nTransfer-Encoding: chunked"),
            400,
        ),
        ("a value with a control byte", line("X-A: a\x01b"), 400),
        ("a value with DEL", line("X-A: a\x7fb"), 400),
        ("LF instead of CRLF once", post("X-A: 1\nX-B: 2", ""), 400),
        (
            "LF instead of CRLF everywhere",
            raw("GET /p/anthropic/m HTTP/1.1\nHost: g\nKEY\n\n"),
            400,
        ),
        (
            "LF after the request line",
            raw("GET /p/anthropic/m HTTP/1.1\nHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "LF for the empty line",
            raw("GET /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\n"),
            400,
        ),
        (
            "CR for the empty line",
            raw("GET /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\r\r\n"),
            400,
        ),
        (
            "CR after the request line",
            raw("GET /p/anthropic/m HTTP/1.1\rHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        ("two hosts", line("Host: h"), 400),
        ("the same host twice", line("Host: g"), 400),
        (
            "no host",
            raw("GET /p/anthropic/m HTTP/1.1\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "no host with an absolute target",
            raw("GET http://g/p/anthropic/m HTTP/1.1\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "two hosts in HTTP/1.0",
            raw("GET /p/anthropic/m HTTP/1.0\r\nHost: a\r\nHost: b\r\nKEY\r\n\r\n"),
            400,
        ),
        ("no version", raw("GET /p/anthropic/m\r\n\r\n"), 4005),
        (
            "HTTP/0.9",
            raw("GET /p/anthropic/m HTTP/0.9\r\nHost: g\r\nKEY\r\n\r\n"),
            505,
        ),
        (
            "HTTP/2.0",
            raw("GET /p/anthropic/m HTTP/2.0\r\nHost: g\r\nKEY\r\n\r\n"),
            505,
        ),
        (
            "the HTTP/2 preface",
            raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            505,
        ),
        (
            "HTTP/11",
            raw("GET /p/anthropic/m HTTP/11\r\nHost: g\r\nKEY\r\n\r\n"),
            4005,
        ),
        (
            "HTTP/1.10",
            raw("GET /p/anthropic/m HTTP/1.10\r\nHost: g\r\nKEY\r\n\r\n"),
            4005,
        ),
        (
            "HTTP/1",
            raw("GET /p/anthropic/m HTTP/1\r\nHost: g\r\nKEY\r\n\r\n"),
            4005,
        ),
        (
            "http/1.1",
            raw("GET /p/anthropic/m http/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            4005,
        ),
        (
            "HTTP /1.1",
            raw("GET /p/anthropic/m HTTP /1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            4005,
        ),
        (
            "a blank in the target",
            raw("GET /p/anthropic/m x HTTP/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            4005,
        ),
        (
            "two blanks before the target",
            raw("GET  /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "two blanks before the version",
            raw("GET /p/anthropic/m  HTTP/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "a tab before the version",
            raw("GET /p/anthropic/m\tHTTP/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "a blank after the version",
            raw("GET /p/anthropic/m HTTP/1.1 \r\nHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "a blank before the method",
            raw(" GET /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "no method",
            raw("/p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            4005,
        ),
        (
            "a method with a colon",
            raw("G:T /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "a method with NUL",
            raw("GET\0 /p/anthropic/m HTTP/1.1\r\nHost: g\r\nKEY\r\n\r\n"),
            400,
        ),
        (
            "a TLS client hello",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n".to_vec(),
            400,
        ),
    ]
}

/// Puts a line right behind the request line.
trait SecondLine {
    fn replacen_line(self, line: &str) -> Self;
}

impl SecondLine for Vec<u8> {
    fn replacen_line(self, line: &str) -> Self {
        let text = String::from_utf8(self).unwrap();
        text.replacen("\r\n", &format!("\r\n{line}\r\n"), 1)
            .into_bytes()
    }
}

/// Name and the chunked body that goes wrong after its first chunk.
const CHUNKS: &[(&str, &str)] = &[
    ("no size", "\r\nhello\r\n0\r\n\r\n"),
    ("no size but an extension", ";x=y\r\nhello\r\n0\r\n\r\n"),
    ("size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("size with plus", "+5\r\nhello\r\n0\r\n\r\n"),
    ("size with minus", "-5\r\nhello\r\n0\r\n\r\n"),
    ("size with underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
    ("size with a blank before", " 5\r\nhello\r\n0\r\n\r\n"),
    ("size with letters behind", "5g\r\nhello\r\n0\r\n\r\n"),
    ("size with a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
    (
        "size of 64 bits and more",
        "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "size that wraps to 5",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
    ),
    ("size with NUL", "5\0\r\nhello\r\n0\r\n\r\n"),
    ("size and bare LF", "5\nhello\r\n0\r\n\r\n"),
    ("size and bare CR", "5\rhello\r\n0\r\n\r\n"),
    ("size and two CR", "5\r\r\nhello\r\n0\r\n\r\n"),
    ("extension with bare LF", "5;x\nhello\r\n0\r\n\r\n"),
    ("extension with bare CR", "5;x\ry\r\nhello\r\n0\r\n\r\n"),
    ("extension with NUL", "5;x=\0\r\nhello\r\n0\r\n\r\n"),
    ("data longer than its size", "4\r\nhello\r\n0\r\n\r\n"),
    ("data and bare LF", "5\r\nhello\n0\r\n\r\n"),
    ("data and bare CR", "5\r\nhello\r0\r\n\r\n"),
    ("data without its end", "5\r\nhello0\r\n\r\n"),
    ("last chunk and bare LF", "0\n\r\n"),
    ("end and bare LF", "0\r\n\n"),
    ("end and bare CR", "0\r\n\rX"),
    ("trailer with bare LF", "0\r\nX-A: 1\n\r\n"),
    (
        "trailer with a blank before the colon",
        "0\r\nX-A : 1\r\n\r\n",
    ),
    ("folded trailer", "0\r\nX-A: 1\r\n folded\r\n\r\n"),
    ("trailer without a colon", "0\r\nX-A\r\n\r\n"),
    ("length as trailer", "0\r\nContent-Length: 5\r\n\r\n"),
];

/// A second client gets its own answer, by way of the gateway.
fn second_client(gateway: &Gateway, turn: usize) {
    let mut client = gateway.connect();
    client.send(request(
        "POST",
        &format!("/p/anthropic/own{turn}"),
        &[],
        "mine",
    ));
    let got = client.response();
    assert_eq!(
        got.value("x-target"),
        Some(format!("/v1/own{turn}").as_str())
    );
    assert_eq!(got.text(), "mine");
}

/// The status class: 4005 stands for 400, 501 or 505.
fn matches(expected: u16, status: u16) -> bool {
    if expected == 4005 {
        matches!(status, 400 | 501 | 505)
    } else {
        status == expected
    }
}

#[test]
fn a_request_of_two_readings_is_refused_with_nothing_sent_upstream() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let rows = heads();
    assert!(rows.len() + CHUNKS.len() >= 60);
    for (turn, (name, bytes, status)) in rows.into_iter().enumerate() {
        let mut client = gateway.connect();
        client.send([&bytes, SMUGGLED.as_bytes()].concat());
        let got = client.response();
        assert!(
            matches(status, got.status()),
            "{name}: {} {}",
            got.status(),
            got.text()
        );
        assert_eq!(got.value("connection"), Some("close"), "{name}");
        assert!(
            got.text().contains("invalid_request_error"),
            "{name}: {}",
            got.text()
        );
        let (rest, _) = client.take_all();
        assert_eq!(
            String::from_utf8_lossy(&rest),
            "",
            "{name}: a second answer"
        );
        second_client(&gateway, turn);
    }
    for seen in upstream.received() {
        assert!(
            !seen.contains("smuggled") && !seen.contains("/v1/m"),
            "{seen}"
        );
        assert_eq!(
            seen.matches("POST /v1/own").count(),
            seen.matches(" HTTP/1.1").count(),
            "{seen}"
        );
    }
}

#[test]
fn the_same_requests_are_refused_as_second_on_a_connection() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    for (name, bytes, status) in heads() {
        let mut client = gateway.connect();
        let first = request("POST", "/p/anthropic/own", &[], "mine");
        client.send([first.as_bytes(), &bytes, SMUGGLED.as_bytes()].concat());
        assert_eq!(client.response().text(), "mine", "{name}");
        let got = client.response();
        assert!(
            matches(status, got.status()),
            "{name}: {} {}",
            got.status(),
            got.text()
        );
        client.wait_for_close();
    }
    for seen in upstream.received() {
        assert!(
            !seen.contains("smuggled") && !seen.contains("/v1/m"),
            "{seen}"
        );
    }
}

#[test]
fn chunks_gone_wrong_are_refused_and_cut_the_upstream_connection() {
    let rig = Rig::plain();
    for (name, bad) in CHUNKS {
        for split in [true, false] {
            let mut client = rig.client();
            let mut peer = if split {
                client.send(chunked("3\r\nabc\r\n"));
                let mut peer = rig.upstream.accept();
                peer.head();
                peer.expect("3\r\nabc\r\n");
                client.send(format!("{bad}{SMUGGLED}"));
                peer
            } else {
                client
                    .send([&chunked(&format!("3\r\nabc\r\n{bad}")), SMUGGLED.as_bytes()].concat());
                let got = client.response();
                assert!(matches!(got.status(), 400 | 431), "{name}: {}", got.text());
                if !rig.upstream.has_connection() {
                    client.wait_for_close();
                    continue;
                }
                rig.upstream.accept()
            };
            if split {
                let got = client.response();
                assert_eq!(got.status(), 400, "{name}: {}", got.text());
                assert_eq!(got.value("connection"), Some("close"), "{name}");
            }
            let (rest, _) = peer.take_all();
            let rest = String::from_utf8_lossy(&rest);
            assert!(!rest.contains("smuggled"), "{name}: {rest}");
            assert!(
                !rest.ends_with("0\r\n\r\n"),
                "{name}: forwarded as whole: {rest}"
            );
            let (rest, _) = client.take_all();
            assert_eq!(
                String::from_utf8_lossy(&rest),
                "",
                "{name}: a second answer"
            );
        }
    }
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/own"));
    peer.send(crate::support::ok("own"));
    assert_eq!(client.response().text(), "own");
}

#[test]
fn a_body_that_looks_like_a_request_stays_a_body() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(request("POST", "/p/anthropic/own", &[], SMUGGLED));
        assert_eq!(client.response().text(), SMUGGLED);
        client.send(request("GET", "/p/anthropic/own", &[], SMUGGLED));
        assert_eq!(client.response().text(), SMUGGLED);
        client.send(request("POST", "/nowhere", &[], SMUGGLED));
        assert_eq!(client.response().status(), 404);
    }
    assert_eq!(upstream.connections(), 1);
}

/// Bytes without any pattern, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(step).collect()
}

#[test]
fn a_megabyte_of_noise_is_refused_and_others_are_served() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    for turn in 0..3 {
        let mut client = gateway.connect();
        let _ = client.try_send(noise(1_000_000 + turn));
        second_client(&gateway, turn);
        let (answer, _) = client.take_all();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
}

#[test]
fn lines_without_end_are_refused_and_others_are_served() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    for (turn, (begin, statuses)) in [
        ("", &[400_u16, 414, 431, 501] as &[u16]),
        ("GET /p/anthropic/", &[414, 431]),
        ("GET /p/anthropic/x HTTP/1.1\r\nHost: g\r\nX-A: ", &[431]),
        ("GET /p/anthropic/x HTTP/1.1\r\nHost: g\r\n", &[400, 431]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = gateway.connect();
        let _ = client.try_send(format!("{begin}{}", "a".repeat(70_000)));
        let got = client.response();
        assert!(
            statuses.contains(&got.status()),
            "{begin:?}: {}",
            got.text()
        );
        client.wait_for_close();
        second_client(&gateway, turn);
    }
}

#[test]
fn slow_heads_do_not_keep_others_from_being_served() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let text = get("/p/anthropic/slow");
    let mut slow: Vec<Wire> = (0..50).map(|_| gateway.connect()).collect();
    for (turn, byte) in text.bytes().enumerate() {
        for client in &mut slow {
            client.send([byte]);
        }
        second_client(&gateway, turn);
    }
    for mut client in slow {
        assert_eq!(client.response().value("x-target"), Some("/v1/slow"));
    }
}
