//! `Upgrade: websocket`: what goes upstream, what a 101 opens, and how a tunnel ends.

use rustix::process::Signal;

use crate::support::sides::Sides;
use crate::support::wire::lossy;
use crate::support::{End, Gateway, KEY, Upstream, Wire, get, ok, request};

const REALTIME: &str = "/p/openai/realtime";
const ASKS: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                        Connection: Upgrade\r\nSec-WebSocket-Accept: abc\r\n\r\n";

fn asks() -> String {
    request("GET", REALTIME, &ASKS, "")
}

/// An open tunnel.
#[track_caller]
fn tunnel(sides: &Sides) -> (Wire, Wire) {
    let (mut client, mut peer) = sides.begin(asks());
    peer.send(SWITCHED);
    assert_eq!(client.head().status(), 101);
    (client, peer)
}

#[test]
fn a_101_opens_a_tunnel_for_any_bytes_both_ways() {
    let all: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    Sides::each(
        |setup| setup,
        |sides| {
            let mut client = sides.connect();
            client.send(asks());
            let mut peer = sides.upstream.accept();
            let head = peer.head();
            assert_eq!(head.start, "GET /v1/realtime HTTP/1.1");
            assert_eq!(head.value("upgrade"), Some("websocket"));
            assert_eq!(head.value("connection"), Some("Upgrade"));
            let key = head.value("sec-websocket-key");
            assert_eq!(key, Some("dGhlIHNhbXBsZSBub25jZQ=="));
            peer.send(SWITCHED);
            let head = client.head();
            assert_eq!(head.start, "HTTP/1.1 101 Switching Protocols");
            assert_eq!(head.value("upgrade"), Some("websocket"));
            assert_eq!(head.value("connection"), Some("Upgrade"));
            assert_eq!(head.value("sec-websocket-accept"), Some("abc"));
            for _ in 0..2 {
                client.send(&all);
                assert!(peer.take(all.len()).unwrap() == all, "{}", sides.name);
                peer.send(&all);
                assert!(client.take(all.len()).unwrap() == all, "{}", sides.name);
            }
        },
    );
}

#[test]
fn bytes_right_behind_the_101_reach_the_client() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = sides.begin(asks());
            peer.send(format!("{SWITCHED}\x01\x02hello"));
            assert_eq!(client.head().status(), 101);
            client.expect("\x01\x02hello");
        },
    );
}

#[test]
fn bytes_behind_the_request_wait_for_the_101() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = sides.begin(asks() + "early ");
            client.send("bird ");
            // A round trip through the gateway: whatever it wanted to send has been sent.
            let mut other = sides.connect();
            other.send(get("/health"));
            assert_eq!(other.response().status(), 200);
            assert!(peer.unread().is_empty() && !peer.readable_now());
            peer.send(SWITCHED);
            assert_eq!(client.head().status(), 101);
            client.send("late");
            peer.expect("early bird late");
        },
    );
}

#[test]
fn bytes_behind_the_request_are_the_next_one_when_it_is_refused() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(asks() + &get("/p/openai/models"));
    let mut peer = upstream.accept();
    let _ = peer.head();
    peer.send(ok("no"));
    assert_eq!(client.response().text(), "no");
    assert_eq!(peer.request().head.start, "GET /v1/models HTTP/1.1");
    peer.send(ok("models"));
    assert_eq!(client.response().text(), "models");
}

#[test]
fn another_answer_is_relayed_as_usual() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = sides.begin(asks());
            let refusal = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\n\
                           Connection: Upgrade\r\nX-Why: 1\r\nContent-Length: 2\r\n\r\nno";
            peer.send(refusal);
            let answer = client.response();
            assert_eq!((answer.status(), answer.text().as_str()), (426, "no"));
            assert_eq!(answer.value("x-why"), Some("1"));
            assert_eq!(answer.value("upgrade"), None);
            // Both connections go on.
            client.send(get("/p/openai/models"));
            let _ = peer.head();
            peer.send(ok("yes"));
            assert_eq!(client.response().text(), "yes");
        },
    );
}

/// What an upgrade that must not be honoured looks like upstream, and that a 101 to it is a 502.
#[track_caller]
fn not_honoured(text: &str) {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(text);
    let mut peer = upstream.accept();
    let head = peer.head();
    for gone in ["upgrade", "connection", "http2-settings"] {
        assert_eq!(head.value(gone), None, "{:?}", lossy(&head.raw));
    }
    peer.send(format!("{SWITCHED}HTTP/1.1 200 OK\r\n\r\nfor nobody"));
    let answer = client.response();
    assert_eq!(answer.status(), 502, "{text:?}");
    assert!(answer.text().contains("upstream_invalid_response"));
    assert_eq!(answer.value("x-should-retry"), Some("false"));
    let _ = peer.wait_for_close();
    assert!(!client.readable_now() || answer.value("connection") == Some("close"));
}

#[test]
fn other_protocols_are_dropped() {
    let h2c = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    ];
    not_honoured(&request("GET", REALTIME, &h2c, ""));
    not_honoured(&request(
        "GET",
        REALTIME,
        &["Connection: Upgrade", "Upgrade: TLS/1.0"],
        "",
    ));
}

#[test]
fn a_101_that_nobody_asked_for_is_a_502() {
    not_honoured(&get("/p/openai/models"));
    // Named, but not as an option of this connection.
    not_honoured(&request("GET", REALTIME, &["Upgrade: websocket"], ""));
}

#[test]
fn a_101_to_another_protocol_is_a_502() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    for lines in ["", "Upgrade: h2c\r\nConnection: Upgrade\r\n"] {
        let mut client = gateway.connect();
        client.send(asks());
        let mut peer = upstream.accept();
        peer.head();
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\n{lines}\r\nraw"
        ));
        let answer = client.response();
        assert_eq!(answer.status(), 502, "{lines:?}");
        assert!(answer.text().contains("upstream_invalid_response"));
        let _ = peer.wait_for_close();
    }
}

#[test]
fn an_upgrade_of_another_method_or_version_is_not_honoured() {
    not_honoured(&request("POST", REALTIME, &ASKS, "{}"));
    not_honoured(&request("DELETE", REALTIME, &ASKS, ""));
    not_honoured(&asks().replace("HTTP/1.1", "HTTP/1.0"));
}

#[test]
fn a_key_among_the_subprotocols_authenticates_and_stays_here() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let entries = [
        (
            format!("realtime, openai-insecure-api-key.{KEY}"),
            "realtime",
        ),
        (
            format!("openai-insecure-api-key.{KEY}, realtime"),
            "realtime",
        ),
        (
            format!("realtime, openai-insecure-api-key.{KEY}, openai-beta.realtime-v1"),
            "realtime, openai-beta.realtime-v1",
        ),
    ];
    for (sent, left) in entries {
        let mut client = gateway.connect();
        let line = format!("Sec-WebSocket-Protocol: {sent}");
        let text = asks().replace(&format!("x-api-key: {KEY}"), &line);
        client.send(text);
        let mut peer = upstream.accept();
        let head = peer.head();
        assert!(!lossy(&head.raw).contains(KEY), "{:?}", lossy(&head.raw));
        assert!(!lossy(&head.raw).contains("openai-insecure-api-key"));
        let entries: Vec<&str> = head.values("sec-websocket-protocol");
        assert_eq!(entries.join(", "), left);
        assert_eq!(head.value("authorization"), Some("Bearer sk-openai"));
        peer.send(SWITCHED);
        assert_eq!(client.head().status(), 101);
    }
}

#[test]
fn a_wrong_key_among_the_subprotocols_is_a_401() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let line = "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.wrong";
    client.send(asks().replace(&format!("x-api-key: {KEY}"), line));
    let answer = client.response();
    assert_eq!(answer.status(), 401);
    assert!(answer.text().contains("invalid_key"), "{}", answer.text());
    assert!(!upstream.has_connection());
}

#[test]
fn a_tunnel_ends_when_the_client_ends() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = tunnel(sides);
            client.send("bye");
            client.close();
            peer.expect("bye");
            assert_eq!(peer.expect_end(), End::Clean, "{}", sides.name);
        },
    );
}

#[test]
fn a_tunnel_ends_when_the_upstream_ends() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = tunnel(sides);
            peer.send("bye");
            peer.close();
            client.expect("bye");
            assert_eq!(client.expect_end(), End::Clean, "{}", sides.name);
        },
    );
}

#[test]
fn a_reset_client_cuts_the_upstream() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (client, mut peer) = tunnel(sides);
            client.reset();
            let _ = peer.expect_end();
        },
    );
}

#[test]
fn a_reset_upstream_cuts_the_client() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, peer) = tunnel(sides);
            peer.reset();
            assert_ne!(client.expect_end(), End::Clean, "{}", sides.name);
        },
    );
}

#[test]
fn a_reset_client_cuts_an_upstream_that_is_held_back() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, peer) = tunnel(sides);
            client.stuff();
            client.reset();
            assert!(peer.is_cut_unread(), "{}: never cut", sides.name);
        },
    );
}

#[test]
fn what_the_upstream_sent_before_its_end_arrives() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = tunnel(sides);
            if sides.upstream.url().starts_with("https:") {
                // Only without TLS can the harness stop anywhere.
                return;
            }
            let sent = peer.stuff();
            peer.close();
            let (got, end) = client.take_all();
            assert_eq!((got.len(), end), (sent, End::Clean), "{}", sides.name);
        },
    );
}

#[test]
fn what_the_client_sent_before_its_end_arrives() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = tunnel(sides);
            if sides.name.starts_with("TLS") {
                return;
            }
            let sent = client.stuff();
            client.close();
            let (got, _) = peer.take_all();
            assert_eq!(got.len(), sent, "{}", sides.name);
        },
    );
}

#[test]
fn the_last_bytes_of_an_upstream_that_is_gone_still_arrive() {
    let rig = crate::support::Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&asks());
    peer.send(SWITCHED);
    assert_eq!(client.head().status(), 101);
    // Stopped, so that it finds both sides' bytes at once.
    rig.gateway.signal(Signal::STOP);
    peer.send("last words");
    client.send("more");
    peer.reset();
    rig.gateway.signal(Signal::CONT);
    client.expect("last words");
    client.expect_end();
}
