//! Which connection goes on after an answer: HTTP/1.0 clients, and requests that do not wait for their turn.

use crate::http::framing::{CHUNKED, CHUNKED_CONTENT, chunked_request};
use crate::support::{End, Framing, Rig, get, get_1_0, ok, request};

#[test]
fn an_http_1_0_client_gets_no_chunked_framing() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get_1_0(""));
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n{CHUNKED}"
    ));
    let got = client.response();
    assert_eq!(got.framing, Framing::Close);
    assert_eq!(
        (got.text().as_str(), got.end.clone()),
        (CHUNKED_CONTENT, Some(End::Clean))
    );
    assert_eq!(got.value("connection"), Some("close"));
    assert!(!rig.upstream.has_connection());
}

#[test]
fn an_http_1_0_client_that_asks_for_keep_alive_gets_no_chunked_framing_either() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get_1_0("Connection: keep-alive\r\n"));
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKED}"
    ));
    let got = client.response();
    assert_eq!(
        (got.framing, got.text().as_str()),
        (Framing::Close, CHUNKED_CONTENT)
    );
    assert_eq!(got.value("connection"), Some("close"));
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
    let (mut client, mut peer, _) = rig.exchange(&get_1_0("Connection: Keep-Alive\r\n"));
    for _ in 0..2 {
        peer.send(ok("kept"));
        let got = client.response();
        assert_eq!(got.text(), "kept");
        assert_eq!(
            got.value("connection").map(str::to_lowercase).as_deref(),
            Some("keep-alive")
        );
        client.send(get_1_0("Connection: Keep-Alive\r\n"));
        peer.request();
    }
    peer.send(ok("kept"));
    client.response();
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
fn ten_pipelined_requests_are_answered_in_order() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let all: String = (0..10)
        .map(|i| {
            request(
                "POST",
                &format!("/p/anthropic/r{i}"),
                &[],
                &"b".repeat(i * 10),
            )
        })
        .collect();
    client.send(all);
    let mut peer = rig.upstream.accept();
    for i in 0..10 {
        let seen = peer.request();
        assert_eq!(seen.head.target(), format!("/v1/r{i}"));
        assert_eq!(seen.body.len(), i * 10);
        peer.send(ok(&format!("answer {i}")));
        assert_eq!(client.response().text(), format!("answer {i}"));
    }
    assert!(!rig.upstream.has_connection());
}

#[test]
fn pipelined_requests_are_answered_in_order_among_the_gateways_own_answers() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(
        get("/health")
            + &get("/nowhere")
            + &request("POST", "/nowhere", &[], "some content")
            + &chunked_request("3\r\nabc\r\n0\r\n\r\n")
                .replace("/p/anthropic/messages", "/nowhere")
            + &get("/p/anthropic/models")
            + &get("/health"),
    );
    assert_eq!(client.response().status(), 200);
    for _ in 0..3 {
        assert_eq!(client.response().status(), 404);
    }
    let mut peer = rig.upstream.accept();
    peer.request();
    peer.send(ok("third"));
    assert_eq!(client.response().text(), "third");
    assert_eq!(client.response().text(), "{\"status\":\"ok\"}");
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
