//! `Upgrade: websocket`: what goes upstream, what a 101 opens, and how a tunnel ends.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::wire::lossy;
use crate::support::{End, KEY, Rig, Sides, Wire, get, ok, request, response};

/// What a busy test machine may add to the end of a tunnel.
const AT_ONCE: Duration = Duration::from_secs(2);

const REALTIME: &str = "/p/openai/realtime";
const ASKS: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn asks() -> String {
    request("GET", REALTIME, &ASKS, "")
}

/// A client and a provider with an open tunnel between them.
#[track_caller]
fn tunnel(rig: &Rig) -> (Wire, Wire) {
    let (mut client, mut peer) = rig.begin(asks());
    peer.send(SWITCHED);
    assert_eq!(client.head().status(), 101);
    (client, peer)
}

#[test]
fn the_handshake_is_relayed() {
    Rig::each(|rig| {
        let asks = asks().replace(REALTIME, "/p/openai/v1/realtime?model=m");
        let (mut client, mut peer, seen) = rig.exchange(&asks);
        assert_eq!(seen.head.start, "GET /v1/realtime?model=m HTTP/1.1");
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("authorization", "Bearer sk-openai"),
        ] {
            assert_eq!(seen.value(name), Some(value), "{name}");
        }
        peer.send(SWITCHED);
        let head = client.head();
        assert_eq!(head.start, "HTTP/1.1 101 Switching Protocols");
        for (name, value) in [
            ("upgrade", Some("websocket")),
            ("connection", Some("Upgrade")),
            ("sec-websocket-accept", Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")),
            ("keep-alive", None),
        ] {
            assert_eq!(head.value(name), value, "{name}");
        }
    });
}

#[test]
fn a_handshake_in_any_spelling_is_relayed() {
    let rig = Rig::plain();
    for (connection, protocol) in [
        ("upgrade", "WebSocket"),
        ("keep-alive, Upgrade", "websocket"),
        ("UPGRADE", "WEBSOCKET"),
    ] {
        let lines = [
            format!("Connection: {connection}"),
            format!("Upgrade: {protocol}"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let (_, _, seen) = rig.exchange(&request("GET", REALTIME, &lines, ""));
        let upgrade = seen.value("upgrade").map(str::to_lowercase);
        assert_eq!(
            upgrade.as_deref(),
            Some("websocket"),
            "{connection} {protocol}"
        );
    }
}

#[test]
fn a_tunnel_carries_any_bytes_both_ways() {
    let all: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    Rig::each(|rig| {
        let (mut client, mut peer) = tunnel(rig);
        for _ in 0..2 {
            client.send(&all);
            assert!(peer.take(all.len()).unwrap() == all, "{}", rig.sides);
            peer.send(&all);
            assert!(client.take(all.len()).unwrap() == all, "{}", rig.sides);
        }
        for turn in 0_u8..20 {
            let up: Vec<u8> = (0..=255).map(|byte: u8| byte ^ turn).collect();
            client.send(&up);
            assert_eq!(peer.take(256).unwrap(), up);
            let down: Vec<u8> = up.iter().rev().copied().collect();
            peer.send(&down);
            assert_eq!(client.take(256).unwrap(), down);
        }
        // Nothing in a tunnel is HTTP.
        client.send(get("/health"));
        peer.expect(get("/health"));
        peer.send(ok("raw"));
        client.expect(ok("raw"));
    });
}

/// Sends a pattern from one thread of its own, while the other direction moves too.
fn pour(wire: &Wire, total: usize) -> std::thread::JoinHandle<()> {
    use std::io::Write as _;
    let mut socket = wire.socket().try_clone().unwrap();
    std::thread::spawn(move || {
        let piece: Vec<u8> = (0..PERIOD).map(|i| (i % 251) as u8).collect();
        for _ in 0..total / PERIOD {
            socket.write_all(&piece).unwrap();
        }
    })
}

/// A multiple of the pattern's length, so that every piece looks the same.
const PERIOD: usize = 251 * 257;

#[test]
fn much_goes_through_a_tunnel_in_both_directions_at_once() {
    let rig = Rig::plain();
    let (mut client, mut peer) = tunnel(&rig);
    let total = PERIOD * 400;
    let pouring = [pour(&client, total), pour(&peer, total)];
    std::thread::scope(|scope| {
        for wire in [&mut client, &mut peer] {
            scope.spawn(move || {
                let piece: Vec<u8> = (0..PERIOD).map(|i| (i % 251) as u8).collect();
                for turn in 0..total / PERIOD {
                    assert!(wire.take(PERIOD).unwrap() == piece, "piece {turn}");
                }
            });
        }
    });
    for thread in pouring {
        thread.join().unwrap();
    }
    client.send("the end");
    peer.expect("the end");
}

#[test]
fn bytes_right_behind_the_101_reach_the_client() {
    Rig::each(|rig| {
        let (mut client, mut peer) = rig.begin(asks());
        peer.send(format!("{SWITCHED}\x01\x02first"));
        assert_eq!(client.head().status(), 101);
        client.expect("\x01\x02first");
        client.send("up");
        peer.expect("up");
    });
}

#[test]
fn bytes_behind_the_request_wait_for_the_101() {
    Rig::each(|rig| {
        let (mut client, mut peer) = rig.begin(asks() + "early ");
        client.send("bird ");
        rig.settle();
        assert!(!peer.readable_now(), "{}: sent before the 101", rig.sides);
        peer.send(SWITCHED);
        peer.expect("early bird ");
        assert_eq!(client.head().status(), 101);
        client.send("late");
        peer.expect("late");
    });
}

#[test]
fn bytes_behind_the_request_are_the_next_one_when_it_is_refused() {
    for (refusal, status, content) in [
        (ok("no"), 200, "no"),
        (response("403 Forbidden", &[], ""), 403, ""),
    ] {
        let rig = Rig::plain();
        let (mut client, mut peer) = rig.begin(asks() + &get("/p/openai/models"));
        peer.send(refusal);
        let got = client.response();
        assert_eq!((got.status(), &*got.text()), (status, content));
        assert_eq!(peer.request().head.start, "GET /v1/models HTTP/1.1");
        peer.send(ok("models"));
        assert_eq!(client.response().text(), "models");
    }
}

#[test]
fn another_answer_is_relayed_as_usual() {
    let offers = ["X-Why: not", "Upgrade: websocket", "Connection: Upgrade"];
    Rig::each(|rig| {
        let (mut client, mut peer) = rig.begin(asks());
        for (status, lines) in [
            ("200 OK", &offers[..1]),
            ("403 Forbidden", &offers[..1]),
            ("426 Upgrade Required", &offers[..1]),
            ("426 Upgrade Required", &offers[..]),
            ("503 Busy", &offers[..1]),
        ] {
            peer.send(response(status, lines, "no"));
            let got = client.response();
            assert_eq!(got.head.start, format!("HTTP/1.1 {status}"));
            assert_eq!(got.text(), "no", "{status}");
            assert_eq!(got.value("x-why"), Some("not"), "{status}");
            assert_eq!(got.value("upgrade"), None, "{status}");
            // Both connections go on.
            client.send(get("/p/openai/models"));
            peer.request();
            peer.send(ok("next"));
            assert_eq!(client.response().text(), "next", "{status}");
            client.send(asks());
            peer.head();
        }
    });
}

#[test]
fn interim_responses_come_before_the_101() {
    let rig = Rig::plain();
    let (mut client, mut peer) = rig.begin(asks());
    peer.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{SWITCHED}"));
    assert_eq!(client.head().status(), 103);
    assert_eq!(client.head().status(), 101);
    peer.send("raw");
    client.expect("raw");
}

/// What an upgrade that must not be honoured looks like upstream, and that a 101 to it is a 502.
#[track_caller]
fn not_honoured(rig: &Rig, text: &str) {
    let mut client = rig.client();
    client.send(text);
    let mut peer = rig.upstream.accept();
    let head = peer.head();
    for gone in ["upgrade", "connection", "http2-settings"] {
        assert_eq!(head.value(gone), None, "{:?}", lossy(&head.raw));
    }
    peer.send(format!("{SWITCHED}HTTP/1.1 200 OK\r\n\r\nfor nobody"));
    let answer = client.response();
    assert_eq!(answer.status(), 502, "{text:?}");
    assert!(answer.text().contains("upstream_invalid_response"));
    assert_eq!(answer.value("x-should-retry"), Some("false"));
    peer.wait_for_close();
    assert!(!client.readable_now() || answer.value("connection") == Some("close"));
}

#[test]
fn other_protocols_are_dropped_like_any_hop_by_hop_field() {
    let rig = Rig::plain();
    let h2c = [
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
    ];
    for lines in [
        &h2c[..],
        &["Connection: Upgrade", "Upgrade: TLS/1.0"],
        &["Connection: Upgrade", "Upgrade: websocketx"],
        &["Connection: Upgrade", "Upgrade: foo"],
    ] {
        not_honoured(&rig, &request("GET", REALTIME, lines, ""));
    }
}

#[test]
fn a_101_that_nobody_asked_for_is_a_502() {
    let rig = Rig::plain();
    not_honoured(&rig, &get("/p/openai/models"));
    // Named, but not as an option of this connection; and an option without a name.
    for line in ["Upgrade: websocket", "Connection: Upgrade"] {
        not_honoured(&rig, &request("GET", REALTIME, &[line], ""));
    }
}

#[test]
fn a_101_to_another_protocol_is_a_502() {
    let rig = Rig::plain();
    for lines in ["", "Upgrade: h2c\r\nConnection: Upgrade\r\n"] {
        let (mut client, mut peer) = rig.begin(asks());
        peer.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\n{lines}\r\nraw"
        ));
        let answer = client.response();
        assert_eq!(answer.status(), 502, "{lines:?}");
        assert!(answer.text().contains("upstream_invalid_response"));
        peer.wait_for_close();
    }
}

#[test]
fn an_upgrade_of_another_method_or_version_is_not_honoured() {
    let rig = Rig::plain();
    not_honoured(&rig, &request("POST", REALTIME, &ASKS, "{}"));
    not_honoured(&rig, &request("POST", REALTIME, &ASKS, ""));
    not_honoured(&rig, &request("DELETE", REALTIME, &ASKS, ""));
    not_honoured(&rig, &asks().replace("HTTP/1.1", "HTTP/1.0"));
}

/// Asks with these subprotocols, and with no key but one among them.
fn asks_for(entries: &str) -> String {
    let line = format!("Sec-WebSocket-Protocol: {entries}");
    asks().replace(&format!("x-api-key: {KEY}"), &line)
}

#[test]
fn a_key_among_the_subprotocols_authenticates_and_stays_here() {
    let rig = Rig::plain();
    let key = format!("openai-insecure-api-key.{KEY}");
    for (sent, left) in [
        (format!("realtime, {key}"), "realtime"),
        (format!("{key}, realtime"), "realtime"),
        (format!("realtime,{key}"), "realtime"),
        (
            format!("realtime, {key}, openai-beta.realtime-v1"),
            "realtime, openai-beta.realtime-v1",
        ),
        (key, ""),
    ] {
        let (mut client, mut peer, seen) = rig.exchange(&asks_for(&sent));
        let raw = lossy(&seen.head.raw);
        assert!(
            !raw.contains(KEY) && !raw.contains("insecure"),
            "{sent}: {raw:?}"
        );
        let entries = seen.head.values("sec-websocket-protocol");
        assert_eq!(entries.join(", "), left, "{sent}");
        assert_eq!(seen.value("authorization"), Some("Bearer sk-openai"));
        peer.send(SWITCHED.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: realtime\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.status(), 101);
        assert_eq!(head.value("sec-websocket-protocol"), Some("realtime"));
    }
}

#[test]
fn a_wrong_key_among_the_subprotocols_is_a_401_and_is_removed_beside_the_right_one() {
    let rig = Rig::plain();
    let wrong = "realtime, openai-insecure-api-key.wrong";
    let mut client = rig.client();
    client.send(asks_for(wrong));
    let answer = client.response();
    assert_eq!(answer.status(), 401);
    assert!(answer.text().contains("invalid_key"), "{}", answer.text());
    assert!(!rig.upstream.has_connection());
    let line = format!("Sec-WebSocket-Protocol: {wrong}");
    let lines = [&ASKS[..], &[&*line]].concat();
    let (_, _, seen) = rig.exchange(&request("GET", REALTIME, &lines, ""));
    assert_eq!(seen.value("sec-websocket-protocol"), Some("realtime"));
}

#[test]
fn a_tunnel_ends_when_the_client_ends() {
    Rig::each(|rig| {
        let (mut client, mut peer) = tunnel(rig);
        client.send("bye");
        client.close();
        let begin = Instant::now();
        peer.expect("bye");
        assert_eq!(peer.expect_end(), End::Clean, "{}", rig.sides);
        assert!(begin.elapsed() < AT_ONCE, "{}", rig.sides);
    });
}

#[test]
fn a_tunnel_ends_when_the_upstream_ends_and_its_last_bytes_arrive() {
    Rig::each(|rig| {
        let (mut client, mut peer) = tunnel(rig);
        let last = "goodbye".repeat(1000);
        peer.send(&last);
        peer.close();
        client.expect(last);
        assert_eq!(client.expect_end(), End::Clean, "{}", rig.sides);
    });
}

#[test]
fn a_reset_client_cuts_the_upstream() {
    Rig::each(|rig| {
        let (client, mut peer) = tunnel(rig);
        client.reset();
        let begin = Instant::now();
        let end = peer.expect_end();
        let took = begin.elapsed();
        assert!(took < AT_ONCE, "{}: {end:?} after {took:?}", rig.sides);
    });
}

#[test]
fn a_reset_upstream_cuts_the_client() {
    Rig::each(|rig| {
        for last in ["", "last"] {
            let (mut client, mut peer) = tunnel(rig);
            peer.send(last);
            client.expect(last);
            peer.reset();
            assert_ne!(client.expect_end(), End::Clean, "{}", rig.sides);
        }
    });
}

#[test]
fn a_reset_client_cuts_an_upstream_that_is_held_back() {
    Rig::each(|rig| {
        let (mut client, peer) = tunnel(rig);
        client.stuff();
        client.reset();
        assert!(peer.is_cut_unread(), "{}: never cut", rig.sides);
    });
}

#[test]
fn what_the_upstream_sent_before_its_end_arrives() {
    // Only without TLS can the harness stop anywhere.
    for sides in [Sides::PLAIN, Sides::TLS_CLIENT] {
        let rig = Rig::of(sides);
        let (mut client, mut peer) = tunnel(&rig);
        let sent = peer.stuff();
        peer.close();
        let (got, end) = client.take_all();
        assert_eq!((got.len(), end), (sent, End::Clean), "{sides}");
    }
}

#[test]
fn what_the_client_sent_before_its_end_arrives() {
    for sides in [Sides::PLAIN, Sides::TLS_UPSTREAM] {
        let rig = Rig::of(sides);
        let (mut client, mut peer) = tunnel(&rig);
        let sent = client.stuff();
        client.close();
        let (got, _) = peer.take_all();
        assert_eq!(got.len(), sent, "{sides}");
    }
}

#[test]
fn the_last_bytes_of_an_upstream_that_is_gone_still_arrive() {
    let rig = Rig::plain();
    let (mut client, mut peer) = tunnel(&rig);
    // Stopped, so that it finds both sides' bytes at once.
    rig.gateway.signal(Signal::STOP);
    peer.send("last words");
    client.send("more");
    peer.reset();
    rig.gateway.signal(Signal::CONT);
    client.expect("last words");
    client.expect_end();
}

#[test]
fn a_tunnels_connection_is_not_used_again() {
    let rig = Rig::plain();
    let (client, mut peer) = tunnel(&rig);
    client.close();
    peer.wait_for_close();
    let (mut client, mut fresh, _) = rig.exchange(&get("/p/openai/models"));
    fresh.send(ok("fresh"));
    assert_eq!(client.response().text(), "fresh");
}
