//! One connection, many messages: interim responses, pipelining, HTTP/1.0, responses without content.

use crate::support::{
    ALL_SIDES, End, Framing, Gateway, KEY, Rig, Scripted, Upstream, Wire, get, ok, post, request,
};

const MODELS: &str = "/p/anthropic/v1/models";
const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";

fn pair() -> (Upstream, Gateway, Wire) {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let client = gateway.connect();
    (upstream, gateway, client)
}

/// A request of HTTP/1.0.
fn old(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.0\r\nx-api-key: {KEY}\r\n{lines}\r\n")
}

#[test]
fn interim_responses_are_relayed_at_once() {
    let (upstream, _gateway, mut client) = pair();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    peer.request();
    for _ in 0..3 {
        peer.send(HINTS);
        let hints = client.response();
        assert_eq!(hints.status(), 103);
        assert_eq!(hints.value("link"), Some("</a>; rel=preload"));
    }
    peer.send(format!(
        "{HINTS}HTTP/1.1 102 Processing\r\n\r\n{}",
        ok("hi")
    ));
    assert_eq!(client.response().status(), 103);
    assert_eq!(client.response().status(), 102);
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn interim_responses_are_dropped_for_http_1_0() {
    let (upstream, _gateway, mut client) = pair();
    client.send(old(MODELS, ""));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(HINTS);
    peer.send(format!("{HINTS}{}", ok("hi")));
    let answer = client.response();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "hi"));
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn sixteen_interim_responses_are_relayed_and_one_more_is_a_502() {
    for (count, status) in [(16, 200), (17, 502)] {
        let (upstream, _gateway, mut client) = pair();
        client.send(get(MODELS));
        let mut peer = upstream.accept();
        peer.request();
        peer.send(HINTS.repeat(count) + &ok("hi"));
        for _ in 0..16 {
            assert_eq!(client.response().status(), 103);
        }
        assert_eq!(client.response().status(), status);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let mut client = gateway.connect();
    let paths = (0..10).map(|index| format!("{MODELS}?n={index}"));
    client.send(paths.map(|path| get(&path)).collect::<String>());
    for index in 0..10 {
        let answer = client.response();
        let expected = format!("/v1/models?n={index}");
        assert_eq!(answer.value("x-target"), Some(&*expected));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn requests_pipelined_behind_content_are_answered_in_order() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let mut client = gateway.connect();
    let long = "l".repeat(300_000);
    let chunked = format!(
        "POST {MODELS} HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n\r\n"
    );
    client.send(
        [
            &post(MODELS, "one"),
            &*get(MODELS),
            &chunked,
            &post(MODELS, &long),
            &*get("/health"),
            &post(MODELS, "last"),
        ]
        .concat(),
    );
    for expected in ["one", "", "abc", &long, "{\"status\":\"ok\"}", "last"] {
        assert_eq!(client.response().text(), expected);
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_request_behind_content_that_comes_in_pieces_is_answered() {
    let (upstream, _gateway, mut client) = pair();
    let both = post(MODELS, "hello") + &get("/p/anthropic/v1/second");
    let (first, second) = both.split_at(both.find("hello").unwrap() + 2);
    client.send(first);
    let mut peer = upstream.accept();
    peer.head();
    peer.expect("he");
    client.send(second);
    peer.expect("llo");
    peer.send(ok("a"));
    assert_eq!(client.response().text(), "a");
    assert_eq!(peer.request().head.target(), "/v1/second");
    peer.send(ok("b"));
    assert_eq!(client.response().text(), "b");
}

/// A reset would throw away what the client has not read yet (RFC 9112, section 9.6).
#[test]
fn the_last_answer_is_not_lost_to_a_request_still_being_sent_behind_it() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let second = get(MODELS);
        let (begun, rest) = second.split_at(second.len() / 2);
        let (mut client, mut peer, _) = rig.exchange(&(get(MODELS) + begun));
        // With content of unknown length the connection ends.
        peer.send("HTTP/1.0 200 OK\r\n\r\nwhole");
        peer.close();
        assert!(client.is_cut_unread(), "{sides:?}");
        for byte in rest.as_bytes().chunks(1) {
            client.send(byte);
        }
        let got = client.response();
        assert_eq!(
            (got.text().as_str(), got.end.clone()),
            ("whole", Some(End::Clean)),
            "{sides:?}"
        );
    }
}

#[test]
fn a_pipelined_request_does_not_go_out_before_the_answer_in_front_of_it() {
    let (upstream, _gateway, mut client) = pair();
    client.send(get(MODELS) + &get("/p/anthropic/v1/second"));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().head.target(), "/v1/models");
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    client.head();
    assert!(!peer.readable_now() && !upstream.has_connection());
    peer.send("hi");
    client.expect("hi");
    assert_eq!(peer.request().head.target(), "/v1/second");
}

#[test]
fn http_1_0_gets_chunked_content_without_chunks_and_then_the_end() {
    let (upstream, _gateway, mut client) = pair();
    client.send(old(MODELS, "Connection: keep-alive\r\n"));
    let mut peer = upstream.accept();
    let sent = peer.request();
    assert_eq!(sent.head.start, "GET /v1/models HTTP/1.1");
    peer.send("HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n");
    let head = client.head();
    assert_eq!(head.values("transfer-encoding"), [""; 0]);
    assert_eq!(head.values("trailer"), [""; 0]);
    assert_eq!(head.value("connection"), Some("close"));
    for piece in ["one", "two", "three"] {
        peer.send(format!("{:x};ext\r\n{piece}\r\n", piece.len()));
        client.expect(piece);
    }
    peer.send("0\r\nX-Sum: 1\r\n\r\n");
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn http_1_0_sees_a_reset_when_chunked_content_breaks_off() {
    let (upstream, _gateway, mut client) = pair();
    client.send(old(MODELS, ""));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    client.head();
    client.expect("abc");
    peer.close();
    assert_eq!(client.expect_end(), End::Reset);
}

#[test]
fn http_1_0_keeps_its_connection_only_when_it_asks() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(old(MODELS, "Connection: Keep-Alive\r\n"));
        let answer = client.response();
        assert_eq!(answer.value("connection"), Some("keep-alive"));
        assert_eq!(answer.framing, Framing::Length);
    }
    client.send(old("/health", "Connection: keep-alive\r\n"));
    assert_eq!(client.response().value("connection"), Some("keep-alive"));
    client.send(old(MODELS, ""));
    assert_eq!(client.response().value("connection"), Some("close"));
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn a_client_that_says_close_gets_its_answer_and_the_end() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    for path in [MODELS, "/health", "/nowhere"] {
        let mut client = gateway.connect();
        client.send(request("GET", path, &["Connection: close"], "") + &get(path));
        assert_eq!(client.response().value("connection"), Some("close"));
        assert_eq!(client.expect_end(), End::Clean, "{path}");
    }
    assert_eq!(upstream.connections(), 1, "the upstream connection stays");
}

#[test]
fn a_response_until_the_end_of_the_connection_reaches_http_1_0() {
    let (upstream, _gateway, mut client) = pair();
    client.send(old(MODELS, ""));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nall of it");
    peer.close();
    let answer = client.response();
    assert_eq!(answer.text(), "all of it");
    assert_eq!(
        (answer.framing, answer.end),
        (Framing::Close, Some(End::Clean))
    );
}

#[test]
fn head_has_no_content_whatever_its_fields_say() {
    for framing in [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "X-None: 1",
    ] {
        let (upstream, _gateway, mut client) = pair();
        client.send(request("HEAD", MODELS, &[], "") + &get(MODELS));
        let mut peer = upstream.accept();
        assert_eq!(peer.request().head.method(), "HEAD");
        peer.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"));
        let head = client.response_to_head().head;
        assert!(head.lines.iter().any(|line| line == framing), "{head:?}");
        assert_eq!(peer.request().head.method(), "GET", "{framing}");
        peer.send(ok("next"));
        assert_eq!(client.response().text(), "next");
    }
}

#[test]
fn answers_of_the_gateway_to_head_have_no_content() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    for (path, status) in [("/health", 200), ("/nowhere", 404), ("/p/nobody/x", 400)] {
        client.send(request("HEAD", path, &[], ""));
        let answer = client.response_to_head();
        assert_eq!(answer.status(), status, "{path}");
        assert_ne!(answer.value("content-length"), Some("0"));
    }
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn no_content_and_not_modified_have_no_content_whatever_their_fields_say() {
    for status in ["204 No Content", "304 Not Modified"] {
        for framing in [
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "X-None: 1",
        ] {
            let (upstream, _gateway, mut client) = pair();
            client.send(get(MODELS) + &get(MODELS));
            let mut peer = upstream.accept();
            peer.request();
            peer.send(format!("HTTP/1.1 {status}\r\nX-A: b\r\n{framing}\r\n\r\n"));
            let answer = client.response();
            assert!(answer.head.start.ends_with(status));
            if status.starts_with("204") {
                assert_eq!(
                    answer.value("content-length"),
                    None,
                    "RFC 9110, section 8.6"
                );
                assert_eq!(answer.value("transfer-encoding"), None);
            }
            peer.request();
            peer.send(ok("next"));
            assert_eq!(client.response().text(), "next", "{status} {framing}");
        }
    }
}
