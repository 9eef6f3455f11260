//! Responses that break off: the client sees a truncated message, never a clean end; and whole ones stay whole.

use std::sync::Arc;

use rustix::process::Signal;

use crate::support::message::Broken;
use crate::support::sides::Sides;
use crate::support::{ALL_SIDES, End, Gateway, Rig, Setup, Upstream, Wire, get, tls};

/// How a provider breaks off.
#[derive(Clone, Copy, Debug)]
enum Break {
    Reset,
    /// In order: FIN, on TLS behind a close_notify.
    Close,
    /// FIN alone, on TLS without the close_notify.
    Vanish,
}

const WAYS: [Break; 3] = [Break::Reset, Break::Close, Break::Vanish];

impl Break {
    fn off(self, peer: Wire) {
        match self {
            Self::Reset => peer.reset(),
            Self::Close => peer.close(),
            Self::Vanish => peer.truncate(),
        }
    }
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";

/// Sends `answer`, waits until the client has its head and `seen`, and breaks off.
#[track_caller]
fn broken(sides: &Sides, way: Break, answer: &str, seen: &str) -> (Vec<u8>, End) {
    let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
    peer.send(answer);
    let head = client.head();
    assert_eq!(head.status(), 200);
    client.expect(seen);
    way.off(peer);
    client.take_all()
}

#[test]
fn a_short_length_is_seen_as_short() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let (rest, _) = broken(sides, way, &format!("{LENGTH}part"), "part");
                assert!(rest.is_empty(), "{}, {way:?}: {rest:?}", sides.name);
            }
        },
    );
}

#[test]
fn a_missing_end_of_chunks_stays_missing() {
    let places = [
        "a\r\nhalf",
        "4\r\nhalf",
        "4\r\nhalf\r\n",
        "4\r\nhalf\r\n1",
        "4\r\nhalf\r\n0\r\n",
        "4\r\nhalf\r\n0\r\nX-Trailer: 1\r\n",
    ];
    Sides::each(
        |setup| setup,
        |sides| {
            for place in places {
                for way in WAYS {
                    let (rest, _) = broken(sides, way, &format!("{CHUNKED}{place}"), place);
                    assert!(
                        rest.is_empty(),
                        "{}, {way:?} after {place:?}: {rest:?}",
                        sides.name
                    );
                }
            }
        },
    );
}

#[test]
fn a_reset_close_delimited_body_does_not_end_cleanly() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (rest, end) = broken(sides, Break::Reset, &format!("{UNTIL_CLOSE}part"), "part");
            assert!(rest.is_empty(), "{}: {rest:?}", sides.name);
            assert_ne!(end, End::Clean, "{}", sides.name);
        },
    );
}

#[test]
fn a_close_delimited_body_without_close_notify_does_not_end_cleanly() {
    Sides::each(
        |setup| setup,
        |sides| {
            let answer = format!("{UNTIL_CLOSE}part");
            let (rest, end) = broken(sides, Break::Vanish, &answer, "part");
            assert!(rest.is_empty(), "{}: {rest:?}", sides.name);
            let clean = !sides.upstream.url().starts_with("https:");
            assert_eq!(end == End::Clean, clean, "{}: {end:?}", sides.name);
        },
    );
}

#[test]
fn a_close_delimited_body_that_ends_in_order_ends_cleanly() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
            peer.send(format!("{UNTIL_CLOSE}whole"));
            let head = client.head();
            assert_eq!(head.value("connection"), Some("close"));
            client.expect("whole");
            peer.close();
            assert_eq!(client.expect_end(), End::Clean, "{}", sides.name);
        },
    );
}

#[test]
fn what_arrived_before_the_break_reaches_the_client() {
    let body = "x".repeat(300_000);
    Sides::each(
        |setup| setup,
        |sides| {
            for way in [Break::Close, Break::Vanish] {
                let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 300001\r\n\r\n";
                peer.send(format!("{head}{body}"));
                way.off(peer);
                let Broken { body: got, .. } = client.try_response().unwrap_err();
                assert_eq!(got.len(), body.len(), "{}, {way:?}", sides.name);
            }
        },
    );
}

#[test]
fn a_whole_length_is_whole_however_the_upstream_ends() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwh");
                let _ = client.head();
                client.expect("wh");
                peer.send("ole");
                client.expect("ole");
                way.off(peer);
                // The client's own connection goes on.
                client.send(get("/health"));
                assert_eq!(client.response().status(), 200, "{}, {way:?}", sides.name);
            }
        },
    );
}

#[test]
fn a_break_within_the_head_is_a_502() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
                peer.send("HTTP/1.1 200 OK\r\nContent-Le");
                way.off(peer);
                let answer = client.response();
                assert_eq!(answer.status(), 502, "{}, {way:?}", sides.name);
                assert_eq!(answer.value("x-should-retry"), Some("false"));
            }
        },
    );
}

#[test]
fn an_http10_client_sees_that_chunks_broke_off() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    for way in WAYS {
        let mut client = gateway.connect();
        client.send(get("/p/openai/models").replace("HTTP/1.1", "HTTP/1.0"));
        let mut peer = upstream.accept();
        let _ = peer.head();
        peer.send(format!("{CHUNKED}4\r\nhalf\r\n"));
        let head = client.head();
        assert_eq!(head.value("transfer-encoding"), None);
        client.expect("half");
        way.off(peer);
        assert_eq!(client.expect_end(), End::Reset, "{way:?}");
    }
}

#[test]
fn an_http10_client_over_tls_sees_that_chunks_broke_off() {
    let upstream = Upstream::listen();
    let setup = Setup::new().base(&format!("{}/v1", upstream.url())).tls();
    let gateway = setup.start();
    let config = Arc::new(tls::client_config(rustls::ALL_VERSIONS));
    let mut client = gateway.connect_tls(&config);
    client.send(get("/p/openai/models").replace("HTTP/1.1", "HTTP/1.0"));
    let mut peer = upstream.accept();
    let _ = peer.head();
    peer.send(format!("{CHUNKED}4\r\nhalf\r\n"));
    let _ = client.head();
    client.expect("half");
    peer.close();
    assert_ne!(client.expect_end(), End::Clean);
}

#[test]
fn a_client_that_stops_reading_is_not_told_that_the_body_is_whole() {
    Sides::each(
        |setup| setup.toml("[timeouts]\nbody_idle = \"1s\"\n"),
        |sides| {
            let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
            peer.send(UNTIL_CLOSE);
            let _ = client.head();
            peer.stuff();
            assert!(peer.is_cut_unread(), "{}: held for ever", sides.name);
            assert!(client.is_cut_unread(), "{}: a quiet end", sides.name);
            let (_, end) = client.take_all();
            assert_ne!(end, End::Clean, "{}", sides.name);
        },
    );
}

#[test]
fn a_slow_client_is_not_told_that_a_reset_body_is_whole() {
    Sides::each(
        |setup| setup.toml("[timeouts]\nbody_idle = \"1s\"\n"),
        |sides| {
            let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
            peer.send(UNTIL_CLOSE);
            let _ = client.head();
            peer.stuff();
            peer.reset();
            let (_, end) = client.take_all();
            assert_ne!(end, End::Clean, "{}", sides.name);
        },
    );
}

#[test]
fn a_client_that_half_closes_is_not_told_that_the_body_is_whole() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
            peer.send(format!("{UNTIL_CLOSE}part"));
            let _ = client.head();
            client.expect("part");
            client.half_close();
            assert_ne!(client.expect_end(), End::Clean, "{}", sides.name);
        },
    );
}

#[test]
fn malformed_chunks_break_the_response_off() {
    Sides::each(
        |setup| setup,
        |sides| {
            let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
            peer.send(format!("{CHUNKED}4\r\nhalf\r\n"));
            let head = client.head();
            assert_eq!(head.status(), 200);
            client.expect("4\r\nhalf\r\n");
            peer.send("zz\r\n");
            let (rest, _) = client.take_all();
            assert!(!rest.ends_with(b"0\r\n\r\n"), "{}: {rest:?}", sides.name);
            let _ = peer.wait_for_close();
        },
    );
}

#[test]
fn a_gateway_that_is_killed_ends_no_close_delimited_body_cleanly() {
    for sides in ALL_SIDES {
        for gently in [false, true] {
            let mut rig = Rig::of(sides);
            let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
            peer.send(format!("{UNTIL_CLOSE}part"));
            client.head();
            client.expect("part");
            if gently {
                rig.gateway.signal(Signal::TERM);
                rig.gateway.wait_log(|line| line.contains("draining"));
                rig.gateway.signal(Signal::INT);
            } else {
                rig.gateway.signal(Signal::KILL);
            }
            rig.gateway.wait_exit();
            assert_ne!(client.expect_end(), End::Clean, "{sides:?}, {gently}");
        }
    }
}
