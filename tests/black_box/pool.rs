//! Upstream connections: reused newest first, replaced when stale, never trusted with a stray byte, and no
//! request that costs money is sent twice.

use std::io::Write as _;

use crate::support::{Gateway, Sides, Upstream, Wire, get, ok, post, request};

const CHAT: &str = "/p/openai/chat/completions";
const MODELS: &str = "/p/openai/models";

/// One GET over this pair of connections.
#[track_caller]
fn exchange(client: &mut Wire, peer: &mut Wire, text: &str) {
    client.send(get(MODELS));
    let _ = peer.head();
    peer.send(ok(text));
    assert_eq!(client.response().text(), text);
}

/// A client, and the provider's side of an idle connection.
#[track_caller]
fn idle(sides: &Sides) -> (Wire, Wire) {
    let (mut client, mut peer) = sides.begin(get(MODELS));
    peer.send(ok("first"));
    assert_eq!(client.response().text(), "first");
    (client, peer)
}

/// The next request goes out on a fresh connection, and its own answer comes back.
#[track_caller]
fn replaced(sides: &Sides, client: &mut Wire) {
    client.send(post(CHAT, "{}"));
    let mut fresh = sides.upstream.accept();
    assert_eq!(fresh.request().text(), "{}");
    fresh.send(ok("second"));
    let answer = client.response();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "second"));
}

#[test]
fn sequential_requests_reuse_one_connection() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = idle(sides);
            for text in ["a", "", "c"] {
                exchange(&mut client, &mut peer, text);
            }
            let mut other = sides.connect();
            exchange(&mut other, &mut peer, "for another client");
            assert!(!sides.upstream.has_connection());
        },
    );
}

#[test]
fn the_most_recently_used_connection_is_taken_first() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let (mut one, mut two) = (gateway.connect(), gateway.connect());
    one.send(get(MODELS));
    let mut first = upstream.accept();
    let _ = first.head();
    two.send(get(MODELS));
    let mut second = upstream.accept();
    let _ = second.head();
    // Put back in this order: second, first.
    second.send(ok("2"));
    assert_eq!(two.response().text(), "2");
    first.send(ok("1"));
    assert_eq!(one.response().text(), "1");
    exchange(&mut two, &mut first, "newest");
    exchange(&mut one, &mut first, "newest again");
    assert!(!second.readable_now() && !upstream.has_connection());
}

#[test]
fn a_connection_closed_while_idle_is_replaced_without_an_error() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, peer) = idle(sides);
            peer.close();
            replaced(sides, &mut client);
            let (mut client, peer) = idle(sides);
            peer.reset();
            replaced(sides, &mut client);
            let (mut client, peer) = idle(sides);
            peer.truncate();
            replaced(sides, &mut client);
        },
    );
}

#[test]
fn the_end_of_an_idle_connection_is_answered_when_it_happens() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (_client, mut peer) = idle(sides);
            peer.half_close();
            let _ = peer.expect_end();
        },
    );
}

#[test]
fn stray_bytes_on_an_idle_connection_never_reach_a_client() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = idle(sides);
            peer.send(ok("stray"));
            replaced(sides, &mut client);
            let _ = peer.expect_end();
        },
    );
}

#[test]
fn half_a_tls_record_on_an_idle_connection_never_reaches_a_client() {
    Sides::each(
        |setup| setup,
        |sides| {
            if !sides.upstream.url().starts_with("https:") {
                return;
            }
            for cut in [1, 4, 5, 6, 30] {
                let (mut client, mut peer) = idle(sides);
                let record = peer.seal(ok("stray").as_bytes());
                peer.socket().write_all(&record[..cut]).unwrap();
                replaced(sides, &mut client);
                // The connection may be gone; if not, the rest must not matter either.
                let _ = peer.socket().write_all(&record[cut..]);
                let _ = peer.expect_end();
            }
        },
    );
}

#[test]
fn a_key_update_on_an_idle_connection_is_no_stray_byte() {
    Sides::each(
        |setup| setup,
        |sides| {
            if !sides.upstream.url().starts_with("https:") {
                return;
            }
            let (mut client, mut peer) = idle(sides);
            peer.update_keys();
            exchange(&mut client, &mut peer, "on the same connection");
        },
    );
}

#[test]
fn a_post_is_never_sent_twice() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = idle(sides);
            let lines = ["Idempotency-Key: 1"];
            client.send(request("POST", CHAT, &lines, "{\"once\":1}"));
            assert_eq!(peer.request().text(), "{\"once\":1}");
            peer.close();
            let answer = client.response();
            assert_eq!(answer.status(), 502, "{}", sides.name);
            assert!(answer.text().contains("\"upstream_closed\""), "{answer:?}");
            assert_eq!(answer.value("x-should-retry"), Some("false"));
            assert!(!sides.upstream.has_connection(), "{}: twice", sides.name);
            // And that was its connection's fault only.
            replaced(sides, &mut client);
        },
    );
}

#[test]
fn a_reset_behind_a_post_is_a_502_too() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    exchange_first(&mut client, &upstream, |mut peer, client| {
        client.send(post(CHAT, "{}"));
        let _ = peer.request();
        peer.reset();
        let answer = client.response();
        assert_eq!(answer.status(), 502);
        assert!(answer.text().contains("\"upstream_reset\""), "{answer:?}");
        assert_eq!(answer.value("x-should-retry"), Some("false"));
        assert!(!upstream.has_connection());
    });
}

/// Makes an idle connection and goes on with it.
fn exchange_first(client: &mut Wire, upstream: &Upstream, then: impl FnOnce(Wire, &mut Wire)) {
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    let _ = peer.head();
    peer.send(ok("first"));
    assert_eq!(client.response().text(), "first");
    then(peer, client);
}

#[test]
fn an_idempotent_request_is_repeated_once_on_a_fresh_connection() {
    for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
        let upstream = Upstream::listen();
        let gateway = Gateway::before(&upstream);
        let mut client = gateway.connect();
        exchange_first(&mut client, &upstream, |mut peer, client| {
            let body = if method == "PUT" { "content" } else { "" };
            client.send(request(method, MODELS, &[], body));
            let first = peer.request();
            peer.close();
            let mut fresh = upstream.accept();
            let again = fresh.request();
            assert_eq!(again.head.raw, first.head.raw, "{method}");
            assert_eq!(again.text(), body);
            fresh.close();
            let answer = match method {
                "HEAD" => client.response_to_head(),
                _ => client.response(),
            };
            assert_eq!(answer.status(), 502, "{method}");
            assert_eq!(answer.value("x-should-retry"), Some("false"));
            assert!(!upstream.has_connection(), "{method}: three times");
        });
    }
}

#[test]
fn a_failure_on_a_fresh_connection_is_not_repeated() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    let _ = peer.head();
    peer.close();
    assert_eq!(client.response().status(), 502);
    assert!(!upstream.has_connection());
}

#[test]
fn a_failure_after_a_response_byte_is_not_repeated() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    exchange_first(&mut client, &upstream, |mut peer, client| {
        client.send(get(MODELS));
        let _ = peer.head();
        peer.send("H");
        peer.close();
        assert_eq!(client.response().status(), 502);
        assert!(!upstream.has_connection());
    });
}

#[test]
fn one_failure_does_not_empty_the_pool() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let (mut one, mut two) = (gateway.connect(), gateway.connect());
    one.send(get(MODELS));
    let mut first = upstream.accept();
    let _ = first.head();
    exchange_first(&mut two, &upstream, |mut second, two| {
        first.send(ok("1"));
        assert_eq!(one.response().text(), "1");
        // Newest first: the one that fails now is `first`.
        two.send(post(CHAT, "{}"));
        let _ = first.request();
        first.reset();
        assert_eq!(two.response().status(), 502);
        exchange(two, &mut second, "still pooled");
        assert!(!upstream.has_connection());
    });
}

#[test]
fn an_idle_connection_is_closed_after_its_limit() {
    let limit = "[providers.openai]\nidle_upstream = \"1s\"\n";
    Sides::each(
        |setup| setup.toml(limit),
        |sides| {
            let (mut client, mut peer) = idle(sides);
            let (_, took) = peer.wait_for_close();
            let millis = took.as_millis();
            assert!((900..5000).contains(&millis), "{}: {took:?}", sides.name);
            replaced(sides, &mut client);
        },
    );
}

/// Answers a first request so, and asserts that the connection is closed and not used again.
#[track_caller]
fn not_reused(answer: &str, body: &str) {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = sides.begin(get(MODELS));
            peer.send(answer);
            assert_eq!(client.response().text(), body, "{}", sides.name);
            let _ = peer.expect_end();
            replaced(sides, &mut client);
        },
    );
}

#[test]
fn surplus_bytes_close_the_connection() {
    not_reused(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n",
        "hi",
    );
    not_reused("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nx", "");
    not_reused(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nhi",
        "",
    );
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\r\n";
    not_reused(chunked, "hi");
}

#[test]
fn an_upstream_that_says_close_is_not_reused() {
    not_reused(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "hi",
    );
    let among = "HTTP/1.1 200 OK\r\nConnection: x-a, Close\r\nContent-Length: 2\r\n\r\nhi";
    not_reused(among, "hi");
}

#[test]
fn an_http10_upstream_is_not_reused() {
    not_reused("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "hi");
}

#[test]
fn an_upstream_that_answers_before_the_upload_ends_is_not_reused_in_its_middle() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(request("PUT", CHAT, &["Content-Length: 4"], ""));
    let mut peer = upstream.accept();
    let _ = peer.head();
    peer.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    assert_eq!(client.response().text(), "no");
    let _ = peer.expect_end();
    let mut other = gateway.connect();
    other.send(get(MODELS));
    let mut fresh = upstream.accept();
    assert_eq!(fresh.request().head.method(), "GET");
}
