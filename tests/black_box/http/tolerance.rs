//! What is tolerated in responses, as RFC 9112 asks or every neighbour does, and how it goes out; versions; limits of
//! lengths; methods and codings that nobody has heard of.

use crate::support::chunked::CHUNKED;
use crate::support::{Framing, Head, KEY, Rig, Wire, get, get_1_0, ok, request, response};

/// A client's request, and the provider's side of it.
fn asked(rig: &Rig, request: &str) -> (Wire, Wire) {
    let (client, peer, _) = rig.exchange(request);
    (client, peer)
}

/// An answer behind which the provider's connection ends, so that the next request needs another one.
fn last(body: &str) -> String {
    response("200 OK", &["Connection: close"], body)
}

/// The field lines that are the provider's.
fn theirs(head: &Head) -> Vec<&str> {
    let own = ["X-Request-ID:", "Connection:", "Keep-Alive:"];
    let lines = head.lines.iter().map(String::as_str);
    lines
        .filter(|line| !own.iter().any(|name| line.starts_with(name)))
        .collect()
}

#[test]
fn blanks_before_a_colon_are_taken_out_of_responses() {
    let rig = Rig::plain();
    let many = format!("X-Many{}: 1", " \t".repeat(10_000));
    let rows: &[(&str, &str, &str)] = &[
        (
            "X-Foo : bar",
            "Content-Length: 2",
            "X-Foo: bar|Content-Length: 2",
        ),
        (
            "X-Foo\t \t:bar",
            "Content-Length: 2",
            "X-Foo:bar|Content-Length: 2",
        ),
        (
            "A : b: c",
            "Content-Length : 2",
            "A: b: c|Content-Length: 2",
        ),
        ("A :", "content-length\t:\t2", "A:|content-length:\t2"),
        (&many, "Content-Length : 2", "X-Many: 1|Content-Length: 2"),
        (
            "Connection : X-Gone",
            "X-Gone: 1\r\nContent-Length: 2",
            "Content-Length: 2",
        ),
        ("Set-Cookie : a=b", "Content-Length: 2", "Content-Length: 2"),
    ];
    for (first, rest, expected) in rows {
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send(format!("HTTP/1.1 200 OK\r\n{first}\r\n{rest}\r\n\r\nok"));
        let got = client.response();
        assert_eq!(got.status(), 200, "{first:.40}");
        let expected: Vec<&str> = expected.split('|').collect();
        assert_eq!(theirs(&got.head), expected, "{first:.40}");
        assert_eq!(got.text(), "ok", "{first:.40}");
        // Both connections are as good as before.
        client.send(get("/p/anthropic/again"));
        peer.request();
        peer.send(last("again"));
        assert_eq!(client.response().text(), "again");
        drop((client, peer));
    }
}

#[test]
fn a_blank_before_a_colon_hides_no_framing() {
    let rig = Rig::plain();
    let chunks = "2\r\nok\r\n0\r\n\r\n";
    let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding : chunked\r\n\r\n{chunks}"
    ));
    let got = client.response();
    assert_eq!((got.framing, got.text().as_str()), (Framing::Chunked, "ok"));
    for row in [
        "Content-Length : 2\r\nTransfer-Encoding: chunked",
        "Content-Length: 2\r\nTransfer-Encoding : chunked",
        "Content-Length : 2\r\nContent-Length: 3",
        "Content-Length : 2\r\nX Y: 3",
        " Content-Length: 2",
    ] {
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send(format!("HTTP/1.1 200 OK\r\n{row}\r\n\r\n{chunks}"));
        assert_eq!(client.response().status(), 502, "{row:?}");
    }
    let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
    peer.send("HTTP/1.1 200 OK\r\nConnection : close\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().text(), "ok");
    peer.wait_for_close();
}

#[test]
fn a_head_with_blanks_before_colons_may_come_in_any_pieces_and_behind_interim_ones() {
    let mut rig = Rig::plain();
    let text = "HTTP/1.1 103 Early Hints\r\nLink : </a>\r\n\r\nHTTP/1.1 200 OK\r\nX-Foo : bar\r\n\
                Content-Length : 2\r\n\r\nok";
    let (mut client, mut peer) = (rig.client(), None);
    for cut in 1..text.len() {
        client.send(get("/p/anthropic/x"));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        peer.request();
        peer.send(&text[..cut]);
        rig.settle();
        peer.send(&text[cut..]);
        let hints = client.response();
        assert_eq!(theirs(&hints.head), ["Link: </a>"], "cut {cut}");
        let got = client.response();
        assert_eq!(theirs(&got.head), ["X-Foo: bar", "Content-Length: 2"]);
        assert_eq!(got.text(), "ok", "cut {cut}");
    }
}

#[test]
fn a_blank_before_a_colon_stays_a_400_in_requests() {
    let rig = Rig::plain();
    for line in ["X-Foo : bar", "X-Foo\t: bar", "Content-Length : 0"] {
        let mut client = rig.client();
        client.send(request("GET", "/p/anthropic/x", &[line], ""));
        assert_eq!(client.response().status(), 400, "{line}");
    }
    rig.upstream.expect_untouched();
}

#[test]
fn padded_chunk_sizes_of_responses_are_passed_on_as_they_are() {
    let rig = Rig::plain();
    for chunks in [
        "2  \r\nok\r\n0  \r\n\r\n",
        "2\t\r\nok\r\n0\t \r\nX-Sum: 1\r\n\r\n",
        "2 ;a=b\r\nok\r\n0 \t;c\r\n\r\n",
        "1 \r\no\r\n1\r\nk\r\n0 \r\n\r\n",
    ] {
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(client.head().status(), 200);
        peer.send(chunks);
        client.expect(chunks);
        client.send(get("/p/anthropic/again"));
        peer.request();
        peer.send(last("again"));
        assert_eq!(client.response().text(), "again", "{chunks:?}");
        // With the head in one piece, and the coding taken off.
        for text in [get("/p/anthropic/x"), get_1_0("")] {
            let (mut client, mut peer) = asked(&rig, &text);
            peer.send(format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            ));
            assert_eq!(client.head().status(), 200, "{chunks:?}");
            client.expect(if text.contains("HTTP/1.0") {
                "ok"
            } else {
                chunks
            });
        }
    }
}

#[test]
fn blanks_before_colons_are_taken_out_of_trailers() {
    let mut rig = Rig::plain();
    let chunks = "2\r\nok\r\n0\r\nX-T : v\r\nA: b : c\r\nB\t \t:\t d \r\nC :\r\n\r\n";
    let closed_up = "2\r\nok\r\n0\r\nX-T: v\r\nA: b : c\r\nB:\t d \r\nC:\r\n\r\n";
    let text = format!("{CHUNKED}{chunks}");
    let (mut client, mut peer) = (rig.client(), None);
    for cut in CHUNKED.len()..text.len() {
        client.send(get("/p/anthropic/x"));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        peer.request();
        peer.send(&text[..cut]);
        rig.settle();
        peer.send(&text[cut..]);
        assert_eq!(client.head().status(), 200, "cut {cut}");
        client.expect(closed_up);
    }
    // The coding is taken off, and the trailers with it.
    client.send(get_1_0(""));
    let mut peer = peer.unwrap();
    peer.request();
    peer.send(text);
    assert_eq!(client.head().status(), 200);
    client.expect("ok");
}

#[test]
fn a_blank_before_the_colon_of_a_trailer_hides_no_forbidden_one() {
    let rig = Rig::plain();
    for trailer in [
        "Set-Cookie : a=b",
        "Content-Length\t: 2",
        "X Y: 1",
        "X \r\n",
    ] {
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send(CHUNKED);
        assert_eq!(client.head().status(), 200);
        peer.send(format!("2\r\nok\r\n0\r\n{trailer}\r\n\r\n"));
        let seen = client.take_until(b"\r\n0\r\n\r\n");
        assert!(seen.is_err(), "{trailer:?}");
    }
    let mut client = rig.client();
    client.send(
        request("PUT", "/p/anthropic/x", &["Transfer-Encoding: chunked"], "")
            + "0\r\nA : b\r\n\r\n",
    );
    assert_eq!(client.response().status(), 400);
}

#[test]
fn padded_chunk_sizes_of_requests_are_refused() {
    let rig = Rig::plain();
    for chunks in [
        "2 \r\nok\r\n0\r\n\r\n",
        "2\t\r\nok\r\n0\r\n\r\n",
        "2\r\nok\r\n0 \r\n\r\n",
    ] {
        let mut client = rig.client();
        let text = request("GET", "/p/anthropic/x", &["Transfer-Encoding: chunked"], "");
        client.send(text + chunks);
        assert_eq!(client.response().status(), 400, "{chunks:?}");
    }
    rig.upstream.expect_untouched();
}

#[test]
fn a_higher_minor_version_is_served_as_1_1() {
    let rig = Rig::plain();
    for minor in 2..=9 {
        let mut client = rig.client();
        client.send(get("/p/anthropic/x").replace("HTTP/1.1", &format!("HTTP/1.{minor}")));
        let mut peer = rig.upstream.accept();
        assert_eq!(peer.request().head.start, "GET /v1/x HTTP/1.1");
        peer.send(format!(
            "HTTP/1.{minor} 200 Fine\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ));
        let got = client.response();
        assert_eq!(got.head.start, "HTTP/1.1 200 Fine");
        assert_eq!(got.framing, Framing::Chunked, "not that of HTTP/1.0");
        // Persistent on both sides, as 1.1 is.
        client.send(get("/p/anthropic/again"));
        peer.request();
        peer.send(last("again"));
        assert_eq!(client.response().text(), "again");
    }
    // Without a Host it is as little fit as 1.1.
    let mut client = rig.client();
    client.send(format!(
        "GET /p/anthropic/x HTTP/1.2\r\nx-api-key: {KEY}\r\n\r\n"
    ));
    assert_eq!(client.response().status(), 400);
}

#[test]
fn other_versions_are_505_and_502() {
    let rig = Rig::plain();
    for (version, status) in [
        ("HTTP/2.0", 505),
        ("HTTP/0.9", 505),
        ("HTTP/3", 505),
        ("HTTP/9.1", 505),
        ("HTTP/1.10", 400),
        ("HTTP/1.", 400),
        ("HTTP/01.1", 400),
    ] {
        let mut client = rig.client();
        client.send(get("/p/anthropic/x").replace("HTTP/1.1", version));
        assert_eq!(client.response().status(), status, "{version}");
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send(format!("{version} 200 OK\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(client.response().status(), 502, "{version}");
    }
}

#[test]
fn equal_lengths_of_a_response_go_out_as_one() {
    let rig = Rig::plain();
    for lines in [
        "Content-Length: 2, 2",
        "Content-Length: 2,2,2",
        "Content-Length: 2\t, \t2",
        "Content-Length: 2, 2\r\nContent-Length: 2",
        "Content-Length: 2\r\nX-A: b\r\ncontent-length: 2,2",
        "content-length : 2 , 2",
    ] {
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send(format!("HTTP/1.1 200 OK\r\n{lines}\r\nX-End: 1\r\n\r\nok"));
        let got = client.response();
        assert_eq!(got.status(), 200, "{lines:?}");
        assert_eq!(got.value("content-length"), Some("2"), "{lines:?}");
        assert_eq!(got.value("x-end"), Some("1"));
        assert_eq!(got.text(), "ok");
        client.send(get("/p/anthropic/again"));
        peer.request();
        peer.send(last("again"));
        assert_eq!(client.response().text(), "again", "{lines:?}");
        // Where no content follows, the field says how long it would be.
        let head = request("HEAD", "/p/anthropic/x", &[], "");
        let (mut client, mut peer) = asked(&rig, &head);
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\n{lines}\r\n\r\n"
        ));
        assert_eq!(client.response_to_head().value("content-length"), Some("2"));
    }
}

#[test]
fn other_lists_of_lengths_are_refused() {
    let rig = Rig::plain();
    for value in ["2, 3", "2,", ",2", "2,,2", "2 2", "2, 02", "2;2", ","] {
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\nok!"
        ));
        assert_eq!(client.response().status(), 502, "{value}");
    }
    for value in ["2, 2", "2,2"] {
        let mut client = rig.client();
        let line = format!("Content-Length: {value}");
        client.send(request("GET", "/p/anthropic/x", &[&line], ""));
        assert_eq!(client.response().status(), 400, "{value}");
    }
}

#[test]
fn lengths_and_chunk_sizes_end_at_2_to_the_63_less_one() {
    let rig = Rig::plain();
    let (most, more) = ("9223372036854775807", "9223372036854775808");
    let (most_hex, more_hex) = ("7fffffffffffffff", "8000000000000000");
    let length = |value: &str| {
        request(
            "GET",
            "/p/anthropic/x",
            &[&format!("Content-Length: {value}")],
            "",
        )
    };
    let chunked = |size: &str| {
        request("GET", "/p/anthropic/x", &["Transfer-Encoding: chunked"], "") + size + "\r\n"
    };
    for text in [
        length(more),
        length("18446744073709551615"),
        chunked(more_hex),
        chunked("ffffffffffffffff"),
    ] {
        let mut client = rig.client();
        client.send(&text);
        assert_eq!(client.response().status(), 400, "{text}");
    }
    rig.upstream.expect_untouched();
    for text in [length(most), chunked(most_hex)] {
        let mut client = rig.client();
        client.send(text);
        rig.upstream.accept().head();
    }
    let rows = [
        (format!("Content-Length: {most}\r\n\r\nab"), 200),
        (format!("Content-Length: {more}\r\n\r\nab"), 502),
        (
            "Content-Length: 18446744073709551615\r\n\r\nab".to_owned(),
            502,
        ),
        (
            format!("Transfer-Encoding: chunked\r\n\r\n{most_hex}\r\nab"),
            200,
        ),
        (
            format!("Transfer-Encoding: chunked\r\n\r\n{more_hex}\r\nab"),
            502,
        ),
        // Together they are too many.
        (
            format!("Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n{most_hex}\r\nab"),
            502,
        ),
    ];
    for (text, status) in rows {
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send(format!("HTTP/1.1 200 OK\r\n{text}"));
        assert_eq!(client.head().status(), status, "{text}");
    }
}

#[test]
fn the_sum_of_chunk_sizes_is_limited_too() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let text = request("GET", "/p/anthropic/x", &["Transfer-Encoding: chunked"], "");
    client.send(text + "5\r\nhello\r\n");
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.expect("5\r\nhello\r\n");
    client.send("7ffffffffffffffb\r\nx");
    assert_eq!(client.response().status(), 400);
    peer.wait_for_close();
}

#[test]
fn a_well_formed_method_of_any_length_that_nobody_has_is_501() {
    let rig = Rig::plain();
    for len in [33, 100, 1000, 20_000, 60_000] {
        let mut client = rig.client();
        client.send(request(&"M".repeat(len), "/p/anthropic/x", &[], ""));
        let got = client.response();
        assert_eq!(got.status(), 501, "{len} bytes");
        assert!(
            got.text().contains("method_not_implemented"),
            "{}",
            got.text()
        );
        assert_eq!(got.value("x-should-retry"), Some("false"));
    }
    for method in ["M".repeat(32) + "(", "(".to_owned() + &"M".repeat(40)] {
        let mut client = rig.client();
        client.send(request(&method, "/p/anthropic/x", &[], ""));
        assert_eq!(client.response().status(), 400, "{method}");
    }
    rig.upstream.expect_untouched();
    let (_, _, seen) = rig.exchange(&request(&"M".repeat(32), "/p/anthropic/x", &[], ""));
    assert_eq!(seen.head.method(), "M".repeat(32));
}

#[test]
fn well_formed_codings_that_are_not_supported_are_501() {
    let rig = Rig::plain();
    for (coding, status) in [
        ("gzip", 501),
        ("gzip;q=1", 501),
        ("gzip ; q = 1", 501),
        ("gzip;q=\"a, \\\" ;b\", chunked", 501),
        ("x-own;a=b;c=\"d\"", 501),
        ("gzip, chunked", 501),
        ("gzip;q=1,chunked", 501),
        ("chunked;q=1", 400),
        ("gzip;", 400),
        ("gzip;q", 400),
        ("gzip;q=", 400),
        ("gzip;=1", 400),
        ("gzip;q=\"a", 400),
        ("gzip;q=\"a\"b", 400),
        ("gzip q=1", 400),
        ("\"gzip\"", 400),
        ("gzip,,chunked", 400),
    ] {
        let mut client = rig.client();
        let line = format!("Transfer-Encoding: {coding}");
        client.send(request("GET", "/p/anthropic/x", &[&line], ""));
        assert_eq!(client.response().status(), status, "{coding}");
        let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
        peer.send(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n0\r\n\r\n"));
        assert_eq!(client.response().status(), 502, "{coding}");
    }
}

#[test]
fn a_connection_that_stays_says_so_twice() {
    let rig = Rig::plain();
    let (mut client, mut peer) = asked(&rig, &get("/p/anthropic/x"));
    peer.send(ok(""));
    let relayed = client.response();
    client.send(get("/health"));
    let own = client.response();
    client.send(get("/nowhere"));
    let error = client.response();
    for got in [relayed, own, error] {
        assert_eq!(got.value("connection"), Some("keep-alive"));
        assert_eq!(got.value("keep-alive"), Some("timeout=119"));
    }
    client.send(request("GET", "/health", &["Connection: close"], ""));
    let got = client.response();
    assert_eq!(got.value("connection"), Some("close"));
    assert_eq!(got.value("keep-alive"), None);
}
