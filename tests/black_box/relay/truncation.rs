//! Responses that break off: the client sees a truncated message, never a clean end; and whole ones stay whole.

use rustix::process::Signal;

use crate::support::chunked::CHUNKED;
use crate::support::message::Broken;
use crate::support::{ALL_SIDES, End, Rig, Sides, Wire, get, post, request};

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
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";

/// Sends `answer`, waits until the client has its head and `seen`, and breaks off.
#[track_caller]
fn broken(rig: &Rig, way: Break, answer: &str, seen: &str) -> (Vec<u8>, End) {
    let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
    peer.send(answer);
    let head = client.head();
    assert_eq!(head.status(), 200);
    client.expect(seen);
    way.off(peer);
    client.take_all()
}

/// A client on TLS is not told of a good end behind part of a message.
#[track_caller]
fn expect_truncated(rig: &Rig, end: &End, way: Break) {
    if rig.sides.client {
        let what = "close_notify after a truncated message";
        assert_ne!(*end, End::Clean, "{}, {way:?}: {what}", rig.sides);
    }
}

#[test]
fn a_short_length_is_seen_as_short() {
    Rig::each(|rig| {
        for way in WAYS {
            let (rest, end) = broken(rig, way, &format!("{LENGTH}part"), "part");
            assert!(rest.is_empty(), "{}, {way:?}: {rest:?}", rig.sides);
            expect_truncated(rig, &end, way);
        }
    });
}

#[test]
fn a_missing_end_of_chunks_stays_missing() {
    let places = [
        "a\r\nhalf",
        "4\r\nhalf",
        "4\r\nhalf\r\n",
        "4\r\nhalf\r\n1",
        "4\r\nhalf\r\n8\r\nwor",
        "4\r\nhalf\r\n0\r\n",
        "4\r\nhalf\r\n0\r\nX-Trailer: 1\r\n",
    ];
    Rig::each(|rig| {
        for place in places {
            for way in WAYS {
                let (rest, end) = broken(rig, way, &format!("{CHUNKED}{place}"), place);
                assert!(
                    rest.is_empty(),
                    "{}, {way:?} after {place:?}: {rest:?}",
                    rig.sides
                );
                expect_truncated(rig, &end, way);
            }
        }
    });
}

#[test]
fn a_close_delimited_body_that_breaks_off_does_not_end_cleanly() {
    Rig::each(|rig| {
        for head in [UNTIL_CLOSE, "HTTP/1.1 200 OK\r\n\r\n"] {
            for way in [Break::Reset, Break::Vanish] {
                let (rest, end) = broken(rig, way, &format!("{head}part"), "part");
                assert!(rest.is_empty(), "{}, {way:?}: {rest:?}", rig.sides);
                // A FIN alone is how such a body ends without TLS.
                let clean = matches!(way, Break::Vanish) && !rig.sides.upstream;
                assert_eq!(end == End::Clean, clean, "{}: {end:?}", rig.sides);
            }
        }
    });
}

#[test]
fn a_close_delimited_body_that_ends_in_order_ends_cleanly() {
    Rig::each(|rig| {
        let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
        peer.send(format!("{UNTIL_CLOSE}whole"));
        let head = client.head();
        assert_eq!(head.value("connection"), Some("close"));
        client.expect("whole");
        peer.close();
        assert_eq!(client.expect_end(), End::Clean, "{}", rig.sides);
    });
}

#[test]
fn what_arrived_before_the_break_reaches_the_client() {
    let body = "x".repeat(300_000);
    Rig::each(|rig| {
        for way in [Break::Close, Break::Vanish] {
            let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 300001\r\n\r\n";
            peer.send(format!("{head}{body}"));
            way.off(peer);
            let Broken { body: got, .. } = client.try_response().unwrap_err();
            assert_eq!(got.len(), body.len(), "{}, {way:?}", rig.sides);
        }
    });
}

#[test]
fn a_whole_length_is_whole_however_the_upstream_ends() {
    Rig::each(|rig| {
        for way in WAYS {
            let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwh");
            let _ = client.head();
            client.expect("wh");
            peer.send("ole");
            client.expect("ole");
            way.off(peer);
            // The client's own connection goes on.
            client.send(get("/health"));
            assert_eq!(client.response().status(), 200, "{}, {way:?}", rig.sides);
        }
    });
}

#[test]
fn a_missing_close_notify_behind_whole_content_does_not_matter() {
    let rig = Rig::of(Sides::TLS_UPSTREAM);
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
        peer.send(answer);
        peer.truncate();
        assert_eq!(client.response().text(), "hello");
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn a_break_within_the_head_is_a_502() {
    let begun = [
        "H",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    ];
    Rig::each(|rig| {
        for asked in [get("/p/openai/models"), post("/p/openai/responses", "{}")] {
            for (way, begun) in WAYS.iter().flat_map(|way| begun.map(|begun| (*way, begun))) {
                let (mut client, mut peer, _) = rig.exchange(&asked);
                peer.send(begun);
                way.off(peer);
                let got = client.response();
                let what = format!("{}, {way:?}, {begun:?}: {}", rig.sides, got.text());
                assert_eq!(got.status(), 502, "{what}");
                assert_eq!(got.value("x-should-retry"), Some("false"), "{what}");
            }
        }
    });
}

#[test]
fn a_break_during_an_upload_is_a_502() {
    Rig::each(|rig| {
        for way in WAYS {
            let lines = ["Content-Length: 1000"];
            let (mut client, mut peer) = rig.begin(request("PUT", "/p/openai/files", &lines, ""));
            client.send("hello");
            peer.expect("hello");
            way.off(peer);
            let got = client.response();
            assert_eq!(got.status(), 502, "{}, {way:?}: {}", rig.sides, got.text());
            let retry = got.value("x-should-retry");
            assert_eq!(retry, Some("false"), "{}, {way:?}", rig.sides);
        }
    });
}

#[test]
fn an_http10_client_sees_that_content_broke_off() {
    let rig = Rig::plain();
    let chunked = format!("{CHUNKED}4\r\nhalf\r\n");
    let plain = format!("{UNTIL_CLOSE}half");
    for (answer, way) in [
        (&chunked, Break::Reset),
        (&chunked, Break::Close),
        (&chunked, Break::Vanish),
        (&plain, Break::Reset),
    ] {
        let asked = get("/p/openai/models").replace("HTTP/1.1", "HTTP/1.0");
        let (mut client, mut peer) = rig.begin(asked);
        peer.send(answer);
        let head = client.head();
        assert_eq!(head.value("transfer-encoding"), None);
        client.expect("half");
        way.off(peer);
        assert_eq!(client.expect_end(), End::Reset, "{answer:?}, {way:?}");
    }
}

#[test]
fn an_http10_client_over_tls_sees_that_chunks_broke_off() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let asked = get("/p/openai/models").replace("HTTP/1.1", "HTTP/1.0");
    let (mut client, mut peer) = rig.begin(asked);
    peer.send(format!("{CHUNKED}4\r\nhalf\r\n"));
    client.head();
    client.expect("half");
    peer.close();
    assert_ne!(client.expect_end(), End::Clean);
}

#[test]
fn a_client_that_stops_reading_is_not_told_that_the_body_is_whole() {
    Rig::each_with(
        |setup| setup.toml("[timeouts]\nbody_idle = \"1s\"\n"),
        |rig| {
            let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
            peer.send(UNTIL_CLOSE);
            let _ = client.head();
            peer.stuff();
            assert!(peer.is_cut_unread(), "{}: held for ever", rig.sides);
            assert!(client.is_cut_unread(), "{}: a quiet end", rig.sides);
            let (_, end) = client.take_all();
            assert_ne!(end, End::Clean, "{}", rig.sides);
        },
    );
}

#[test]
fn a_slow_client_is_not_told_that_a_reset_body_is_whole() {
    Rig::each_with(
        |setup| setup.toml("[timeouts]\nbody_idle = \"1s\"\n"),
        |rig| {
            let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
            peer.send(UNTIL_CLOSE);
            let _ = client.head();
            peer.stuff();
            peer.reset();
            let (_, end) = client.take_all();
            assert_ne!(end, End::Clean, "{}", rig.sides);
        },
    );
}

#[test]
fn a_client_that_half_closes_is_not_told_that_the_body_is_whole() {
    Rig::each(|rig| {
        let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
        peer.send(format!("{UNTIL_CLOSE}part"));
        let _ = client.head();
        client.expect("part");
        client.half_close();
        assert_ne!(client.expect_end(), End::Clean, "{}", rig.sides);
    });
}

#[test]
fn malformed_chunks_break_the_response_off() {
    Rig::each(|rig| {
        let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
        peer.send(format!("{CHUNKED}4\r\nhalf\r\n"));
        let head = client.head();
        assert_eq!(head.status(), 200);
        client.expect("4\r\nhalf\r\n");
        peer.send("zz\r\n");
        let (rest, _) = client.take_all();
        assert!(!rest.ends_with(b"0\r\n\r\n"), "{}: {rest:?}", rig.sides);
        let _ = peer.wait_for_close();
    });
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
