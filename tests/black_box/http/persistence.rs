//! Which connection goes on after an answer, and which does not.

use crate::support::chunked::{ALL_SHAPES, ALL_SHAPES_CONTENT};
use crate::support::rig::pair;
use crate::support::{End, Framing, Gateway, Rig, Scripted, get, get_1_0, ok, request};

#[test]
fn an_http_1_0_client_gets_no_chunked_framing_whether_it_asks_to_stay_or_not() {
    for (asked, more) in [
        ("", "Trailer: X-Sum\r\n"),
        ("Connection: keep-alive\r\n", ""),
    ] {
        let rig = Rig::plain();
        let (mut client, mut peer, _) = rig.exchange(&get_1_0(asked));
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{more}\r\n{ALL_SHAPES}"
        ));
        let got = client.response();
        assert_eq!(got.framing, Framing::Close);
        assert_eq!(
            (got.text().as_str(), got.end.clone()),
            (ALL_SHAPES_CONTENT, Some(End::Clean))
        );
        assert_eq!(got.value("connection"), Some("close"));
        assert!(!rig.upstream.has_connection());
    }
}

#[test]
fn an_http_1_0_client_is_told_of_no_transfer_coding_where_there_is_no_content() {
    let rig = Rig::plain();
    for (method, status) in [("HEAD", "200 OK"), ("GET", "304 Not Modified")] {
        let text = get_1_0("Connection: keep-alive\r\n").replace("GET", method);
        let mut client = rig.client();
        client.send(text);
        let mut peer = rig.upstream.accept();
        peer.head();
        peer.send(format!(
            "HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nX-A: 1\r\n\r\n"
        ));
        let head = client.head();
        assert_eq!(head.value("x-a"), Some("1"));
        for gone in ["transfer-encoding", "trailer"] {
            assert_eq!(head.value(gone), None, "{method} {status}");
        }
        peer.close();
    }
}

#[test]
fn an_http_1_0_client_is_kept_only_when_it_asks() {
    let rig = Rig::plain();
    let stays = "Connection: Keep-Alive\r\n";
    let (mut client, mut peer, _) = rig.exchange(&get_1_0(stays));
    for _ in 0..3 {
        peer.send(ok("kept"));
        let got = client.response();
        assert_eq!(got.text(), "kept");
        assert_eq!(got.value("connection"), Some("keep-alive"));
        assert_eq!(got.framing, Framing::Length);
        client.send(get_1_0(stays));
        peer.request();
    }
    peer.send(ok("kept"));
    client.response();
    client.send(get_1_0(stays).replace("/p/anthropic/models", "/health"));
    assert_eq!(client.response().value("connection"), Some("keep-alive"));
    client.send(get_1_0(""));
    peer.request();
    peer.send(ok("last"));
    let got = client.response();
    assert_eq!(got.text(), "last");
    assert_eq!(got.value("connection"), Some("close"));
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn an_http_1_0_error_closes_too() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send("GET /nowhere HTTP/1.0\r\n\r\n");
    let got = client.response();
    assert_eq!(
        (got.status(), got.value("connection")),
        (404, Some("close"))
    );
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn an_http_1_0_client_may_send_content_with_a_length() {
    let rig = Rig::plain();
    let text = get_1_0("Content-Length: 5\r\n").replace("GET", "POST") + "hello";
    let (mut client, mut peer, seen) = rig.exchange(&text);
    assert_eq!(
        (seen.value("content-length"), seen.text().as_str()),
        (Some("5"), "hello")
    );
    peer.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn http_1_0_gets_chunked_content_without_chunks_and_then_the_end() {
    let (upstream, _gateway, mut client) = pair();
    client.send(get_1_0("Connection: keep-alive\r\n"));
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
fn a_client_that_says_close_gets_its_answer_and_the_end() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    for path in ["/p/anthropic/models", "/health", "/nowhere"] {
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
    client.send(get_1_0(""));
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
