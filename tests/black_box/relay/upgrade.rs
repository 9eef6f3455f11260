//! `Upgrade: websocket`: the handshake, and the raw tunnel after a 101.

use crate::support::{ALL_SIDES, End, KEY, Message, Rig, Sides, Wire, get, ok, request, response};

const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn upgrade() -> String {
    request("GET", "/p/openai/v1/realtime?model=m", &UPGRADE, "")
}

/// A client and a provider with a tunnel between them.
fn tunnel(rig: &Rig) -> (Wire, Wire) {
    let (mut client, mut peer, _) = rig.exchange(&upgrade());
    peer.send(SWITCH);
    assert_eq!(client.head().status(), 101);
    (client, peer)
}

#[test]
fn the_handshake_is_relayed() {
    let rig = Rig::plain();
    let (mut client, mut peer, seen) = rig.exchange(&upgrade());
    assert_eq!(seen.head.start, "GET /v1/realtime?model=m HTTP/1.1");
    assert_eq!(seen.value("upgrade"), Some("websocket"));
    assert_eq!(
        seen.value("connection").map(str::to_lowercase).as_deref(),
        Some("upgrade")
    );
    assert_eq!(
        seen.value("sec-websocket-key"),
        Some("dGhlIHNhbXBsZSBub25jZQ==")
    );
    assert_eq!(seen.value("sec-websocket-version"), Some("13"));
    assert_eq!(seen.value("authorization"), Some("Bearer sk-openai"));
    peer.send(SWITCH);
    let head = client.head();
    assert_eq!(head.start, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(head.value("upgrade"), Some("websocket"));
    assert_eq!(
        head.value("connection").map(str::to_lowercase).as_deref(),
        Some("upgrade")
    );
    assert_eq!(
        head.value("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert_eq!(head.value("keep-alive"), None);
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
        let (_, _, seen) = rig.exchange(&request("GET", "/p/openai/realtime", &lines, ""));
        let upgrade = seen.value("upgrade").map(str::to_lowercase);
        assert_eq!(
            upgrade.as_deref(),
            Some("websocket"),
            "{connection} {protocol}"
        );
    }
}

#[test]
fn after_a_101_both_directions_are_raw() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut client, mut peer) = tunnel(&rig);
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
    }
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
fn bytes_behind_the_head_wait_for_the_101() {
    for sides in ALL_SIDES {
        let mut rig = Rig::of(sides);
        let mut client = rig.client();
        client.send(upgrade() + "early");
        let mut peer = rig.upstream.accept();
        peer.request();
        rig.settle();
        assert!(!peer.readable_now(), "{sides:?}: sent before the 101");
        peer.send(SWITCH);
        peer.expect("early");
        client.head();
        client.send(" and late");
        peer.expect(" and late");
    }
}

#[test]
fn bytes_behind_the_101_belong_to_the_tunnel() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&upgrade());
    peer.send(format!("{SWITCH}first"));
    client.head();
    client.expect("first");
    client.send("up");
    peer.expect("up");
}

#[test]
fn another_answer_is_relayed_as_usual() {
    for status in [
        "200 OK",
        "403 Forbidden",
        "426 Upgrade Required",
        "503 Busy",
    ] {
        let rig = Rig::plain();
        let (mut client, mut peer, _) = rig.exchange(&upgrade());
        peer.send(response(status, &["X-Why: not"], "no"));
        let got = client.response();
        assert_eq!(got.head.start, format!("HTTP/1.1 {status}"));
        assert_eq!(
            (got.value("x-why"), got.text().as_str()),
            (Some("not"), "no")
        );
        client.send(get("/p/openai/models"));
        peer.request();
        peer.send(ok("next"));
        assert_eq!(client.response().text(), "next", "{status}");
    }
}

#[test]
fn bytes_behind_a_refused_upgrade_are_the_next_request() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(upgrade() + &get("/p/openai/next"));
    let mut peer = rig.upstream.accept();
    peer.request();
    peer.send(response("403 Forbidden", &[], ""));
    assert_eq!(client.response().status(), 403);
    assert_eq!(peer.request().head.target(), "/v1/next");
    peer.send(ok("next"));
    assert_eq!(client.response().text(), "next");
}

#[test]
fn interim_responses_come_before_the_101() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&upgrade());
    peer.send(format!("HTTP/1.1 103 Early Hints\r\n\r\n{SWITCH}"));
    assert_eq!(client.head().status(), 103);
    assert_eq!(client.head().status(), 101);
    peer.send("raw");
    client.expect("raw");
}

/// The request that the provider saw, and what a client gets when it is answered with 101.
fn switched(rig: &Rig, text: &str) -> (Message, Message) {
    let (mut client, mut peer, seen) = rig.exchange(text);
    peer.send(SWITCH);
    let got = client.response();
    peer.wait_for_close();
    (seen, got)
}

#[test]
fn a_101_that_nobody_asked_for_is_502() {
    let rig = Rig::plain();
    let no_connection = request("GET", "/p/openai/realtime", &["Upgrade: websocket"], "");
    let no_upgrade = request("GET", "/p/openai/realtime", &["Connection: Upgrade"], "");
    let by_post = request("POST", "/p/openai/realtime", &UPGRADE, "");
    for text in [get("/p/openai/models"), no_connection, no_upgrade, by_post] {
        let (seen, got) = switched(&rig, &text);
        assert_eq!(
            (seen.value("upgrade"), seen.value("connection")),
            (None, None),
            "{text}"
        );
        assert_eq!(got.status(), 502, "{text}");
    }
}

#[test]
fn other_protocols_are_dropped_like_any_hop_by_hop_field() {
    let rig = Rig::plain();
    for lines in [
        [
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAAQ",
        ],
        ["Connection: Upgrade", "Upgrade: TLS/1.0", "X-None: 0"],
        ["Connection: Upgrade", "Upgrade: websocketx", "X-None: 0"],
        ["Connection: Upgrade", "Upgrade: foo", "X-None: 0"],
    ] {
        let (seen, got) = switched(&rig, &request("GET", "/p/openai/realtime", &lines, ""));
        assert_eq!(seen.value("upgrade"), None, "{lines:?}");
        assert_eq!(seen.value("connection"), None, "{lines:?}");
        assert_eq!(seen.value("http2-settings"), None, "{lines:?}");
        assert_eq!(got.status(), 502, "{lines:?}");
    }
}

#[test]
fn an_upgrade_in_http_1_0_is_none() {
    let rig = Rig::plain();
    let text = upgrade().replace("HTTP/1.1", "HTTP/1.0");
    let (_, _, seen) = rig.exchange(&text);
    assert_eq!(
        (seen.value("upgrade"), seen.value("connection")),
        (None, None)
    );
}

#[test]
fn the_protocol_entry_with_a_key_never_goes_upstream() {
    let rig = Rig::plain();
    for (entry, rest) in [
        (
            "realtime, openai-insecure-api-key.gk-test, openai-beta.realtime-v1",
            Some("realtime, openai-beta.realtime-v1"),
        ),
        (
            "openai-insecure-api-key.gk-test, realtime",
            Some("realtime"),
        ),
        ("realtime,openai-insecure-api-key.gk-test", Some("realtime")),
        ("openai-insecure-api-key.gk-test", None),
    ] {
        let mut lines = UPGRADE.to_vec();
        let line = format!("Sec-WebSocket-Protocol: {entry}");
        lines.push(&line);
        let text = request("GET", "/p/openai/realtime", &lines, "")
            .replace(&format!("x-api-key: {KEY}\r\n"), "");
        let (mut client, mut peer, seen) = rig.exchange(&text);
        let raw = String::from_utf8_lossy(&seen.head.raw).into_owned();
        assert!(
            !raw.contains("insecure") && !raw.contains(KEY),
            "{entry}: {raw}"
        );
        let offered = seen.value("sec-websocket-protocol").unwrap_or_default();
        let entries = |text: &str| {
            text.split(',')
                .map(|e| e.trim().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            entries(offered),
            entries(rest.unwrap_or_default()),
            "{entry}"
        );
        peer.send(SWITCH.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: realtime\r\n\r\n"));
        assert_eq!(
            client.head().value("sec-websocket-protocol"),
            Some("realtime")
        );
    }
}

#[test]
fn the_protocol_entry_with_a_wrong_key_is_401_and_with_another_key_is_removed() {
    let rig = Rig::plain();
    let line = "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.wrong";
    let mut lines = UPGRADE.to_vec();
    lines.push(line);
    let text = request("GET", "/p/openai/realtime", &lines, "");
    let mut client = rig.client();
    client.send(text.replace(&format!("x-api-key: {KEY}\r\n"), ""));
    assert_eq!(client.response().status(), 401);
    let (_, _, seen) = rig.exchange(&text);
    assert_eq!(seen.value("sec-websocket-protocol"), Some("realtime"));
}

#[test]
fn a_tunnel_ends_when_the_client_leaves() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for reset in [true, false] {
            let (client, mut peer) = tunnel(&rig);
            if reset {
                client.reset()
            } else {
                client.close()
            }
            let (end, after) = peer.wait_for_close();
            assert!(after.as_secs() < 2, "{sides:?}: {end:?} after {after:?}");
        }
    }
}

#[test]
fn a_tunnel_ends_when_the_provider_leaves_and_its_last_bytes_arrive() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut client, mut peer) = tunnel(&rig);
        peer.send("goodbye".repeat(1000));
        peer.close();
        let (rest, end) = client.take_all();
        assert_eq!(rest.len(), 7000, "{sides:?}");
        assert_eq!(end, End::Clean, "{sides:?}");
    }
}

#[test]
fn a_tunnel_that_the_provider_resets_does_not_end_cleanly_on_tls() {
    let rig = Rig::of(Sides {
        client: true,
        upstream: false,
    });
    let (mut client, mut peer) = tunnel(&rig);
    peer.send("last");
    client.expect("last");
    peer.reset();
    assert_ne!(client.expect_end(), End::Clean);
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
