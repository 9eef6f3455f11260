//! Request content beside the response: both at once, expectations, answers before its end, trailers.

use std::io::Write as _;
use std::thread;

use crate::support::chunked::chunk;
use crate::support::rig::pair;
use crate::support::{Framing, announced, get, ok, response};

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn a_response_streams_while_request_content_with_a_length_goes_on() {
    let (upstream, _gateway, mut client) = pair();
    client.send(announced("/p/anthropic/v1/messages", "Content-Length: 50"));
    let mut peer = upstream.accept();
    assert_eq!(peer.head().value("content-length"), Some("50"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n");
    client.head();
    for round in 0..50 {
        let byte = [b'0' + round % 10];
        client.send(byte);
        peer.expect(byte);
        peer.send(byte);
        client.expect(byte);
    }
    client.send(get("/p/anthropic/v1/models"));
    assert_eq!(peer.request().head.method(), "GET", "both connections stay");
}

#[test]
fn content_goes_on_after_the_response_has_ended_and_both_connections_stay() {
    for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (upstream, _gateway, mut client) = pair();
        client.send(announced("/p/anthropic/v1/messages", framing));
        let chunked = framing.starts_with('T');
        let (first, second) = if chunked {
            (chunk("hello"), chunk("world") + "0\r\n\r\n")
        } else {
            ("hello".to_owned(), "world".to_owned())
        };
        client.send(&first);
        let mut peer = upstream.accept();
        peer.head();
        peer.expect(&first);
        peer.send(ok("early"));
        let answer = client.response();
        assert_eq!(answer.text(), "early");
        assert_eq!(answer.value("connection"), Some("keep-alive"));
        client.send(&second);
        peer.expect(&second);
        client.send(get("/p/anthropic/v1/models"));
        assert_eq!(peer.request().head.method(), "GET", "both connections stay");
        peer.send(ok("late"));
        assert_eq!(client.response().text(), "late");
        assert!(!upstream.has_connection());
    }
}

/// How an upstream ends the connection behind an answer that came before the request's end.
#[derive(Clone, Copy)]
enum End {
    /// With content unread, which is a reset behind the answer.
    Closed,
    HalfClosed,
}

/// A client that sends 10 MB without reading, and the answer of `len` bytes that it finds then.
fn upload_against(len: usize, end: End) {
    const LEN: usize = 10_000_000;
    let (upstream, _gateway, mut client) = pair();
    client.send(announced(
        "/p/anthropic/v1/messages",
        &format!("Content-Length: {LEN}"),
    ));
    let mut peer = upstream.accept();
    peer.head();
    let mut socket = client.socket().try_clone().unwrap();
    let sender = thread::spawn(move || {
        // The gateway may refuse the rest once it has answered.
        let _ = socket.write_all(&vec![b'u'; LEN]);
    });
    peer.take(100_000).unwrap();
    let body = "e".repeat(len);
    peer.send(response("413 Too Large", &["Connection: close"], &body));
    match end {
        End::Closed => drop(peer),
        End::HalfClosed => peer.half_close(),
    }
    let got = client.response();
    assert_eq!(got.status(), 413);
    assert_eq!(got.body.len(), len);
    sender.join().unwrap();
}

#[test]
fn an_early_error_that_ends_the_upstream_connection_arrives_whole() {
    upload_against(100_000, End::HalfClosed);
    // A reset throws away what its sender's kernel still holds: all of the answer has to be within the first window.
    upload_against(40_000, End::Closed);
}

#[test]
fn trailers_are_relayed_both_ways() {
    let (upstream, _gateway, mut client) = pair();
    let content = "2;x=y\r\nhi\r\n0\r\nX-Sum: 1\r\nX-Other:  two \r\n\r\n";
    client.send(
        announced(
            "/p/anthropic/v1/messages",
            "Trailer: X-Sum\r\nTransfer-Encoding: chunked",
        ) + content,
    );
    let mut peer = upstream.accept();
    let sent = peer.request();
    assert_eq!(
        (sent.framing, sent.text().as_str()),
        (Framing::Chunked, "hi")
    );
    assert_eq!(sent.trailers, ["X-Sum: 1", "X-Other:  two "]);
    peer.send(format!("{CHUNKED}{content}"));
    let answer = client.response();
    assert_eq!(answer.text(), "hi");
    assert_eq!(answer.trailers, ["X-Sum: 1", "X-Other:  two "]);
    client.send(get("/p/anthropic/v1/models"));
    assert_eq!(peer.request().head.method(), "GET", "both connections stay");
}
