//! Requests that do not wait for their turn: each gets its own answer, in order.

use crate::support::chunked;
use crate::support::rig::pair;
use crate::support::{ALL_SIDES, End, Gateway, KEY, Rig, Scripted, get, ok, post, request};

const MODELS: &str = "/p/anthropic/v1/models";

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
            + &chunked::post("3\r\nabc\r\n0\r\n\r\n").replace("/p/anthropic/messages", "/nowhere")
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
