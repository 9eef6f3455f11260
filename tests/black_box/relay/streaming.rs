//! Whatever part of a body has arrived goes on at once, in both directions, at the same time.

use crate::support::chunked::{self, CHUNKED, chunk};
use crate::support::{ALL_SIDES, End, Framing, Rig, announced, get, ok, request};

const EVENTS: [&str; 7] = [
    "event: message_start\ndata: {\"type\":\"message_start\"}\n\n",
    "event: ping\ndata: {}\n\n",
    ": OPENROUTER PROCESSING\n\n",
    "data: half of an ev",
    "ent\n",
    "\n",
    "data: [DONE]\n\n",
];

/// What providers send between events: whole events, halves, comments, single bytes, line ends apart.
const PIECES: [&str; 8] = [
    "event: ping\ndata: {}\n\n",
    ": comment\n",
    "\n",
    "data: {\"a\"",
    ":1}\r",
    "\n\r\n",
    "d",
    "\u{2603}",
];

/// Each event is sent only after the client has got the one before it.
#[test]
fn every_event_is_delivered_at_once() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut client, mut peer, _) = rig.exchange(&request(
            "POST",
            "/p/anthropic/messages",
            &[],
            "{\"stream\":true}",
        ));
        peer.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        let head = client.head();
        assert_eq!(head.value("content-type"), Some("text/event-stream"));
        for event in EVENTS {
            peer.send(chunk(event));
            client.expect_chunks(event);
        }
        peer.send("0\r\n\r\n");
        assert_eq!(client.chunk().unwrap(), b"");
        assert!(client.trailers().unwrap().is_empty());
    }
}

#[test]
fn part_of_a_chunk_is_delivered_at_once() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n0123");
    client.head();
    // Whatever chunks the gateway makes of it, these bytes must come now.
    client.take_until(b"0123").unwrap();
    peer.send("4567");
    client.take_until(b"4567").unwrap();
    peer.send("89abcdef\r\n0\r\n\r\n");
    client.take_until(b"89abcdef\r\n0\r\n\r\n").unwrap();
}

#[test]
fn parts_of_a_body_with_a_length_are_delivered_at_once() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n");
    client.head();
    for _ in 0..3 {
        peer.send("0123456789");
        client.expect("0123456789");
    }
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.send(ok("next"));
    assert_eq!(client.response().text(), "next");
}

#[test]
fn parts_of_a_close_delimited_body_are_delivered_at_once() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send("HTTP/1.1 200 OK\r\n\r\n");
        let chunked = client.head().value("transfer-encoding").is_some();
        for event in EVENTS {
            peer.send(event);
            if chunked {
                client.expect_chunks(event)
            } else {
                client.expect(event)
            }
        }
        peer.close();
        if chunked {
            assert_eq!(client.chunk().unwrap(), b"");
            client.trailers().unwrap();
        } else {
            assert_eq!(client.expect_end(), End::Clean);
        }
    }
}

#[test]
fn a_response_head_is_delivered_before_any_content() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    peer.send("hi");
    client.expect("hi");
}

#[test]
fn parts_of_a_request_are_delivered_at_once() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let mut client = rig.client();
        client.send(announced("/p/anthropic/files", "Content-Length: 30"));
        let mut peer = rig.upstream.accept();
        assert_eq!(peer.head().value("content-length"), Some("30"));
        for _ in 0..3 {
            client.send("0123456789");
            peer.expect("0123456789");
        }
        peer.send(ok("done"));
        assert_eq!(client.response().text(), "done");
    }
}

#[test]
fn parts_of_a_chunked_request_are_delivered_at_once() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(chunked::post(""));
    let mut peer = rig.upstream.accept();
    peer.head();
    for event in EVENTS {
        client.send(chunk(event));
        peer.expect_chunks(event);
    }
    client.send("0\r\n\r\n");
    assert_eq!(peer.chunk().unwrap(), b"");
    peer.trailers().unwrap();
    peer.send(ok("done"));
    assert_eq!(client.response().text(), "done");
}

/// One piece in is one piece out; two writes would be seen as two sooner or later.
#[test]
fn head_and_first_content_go_on_in_one_write() {
    let rig = Rig::plain();
    let (mut client, mut peer) = (rig.client(), None);
    for _ in 0..50 {
        client.send(request("POST", "/p/anthropic/messages", &[], "content"));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        peer.fill().unwrap();
        assert!(peer.unread().ends_with(b"\r\n\r\ncontent"));
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        client.fill().unwrap();
        assert!(client.unread().ends_with(b"first\r\n"));
        peer.send("6\r\nsecond\r\n0\r\n\r\n");
        client.fill().unwrap();
        assert_eq!(client.response().text(), "firstsecond");
    }
}

#[test]
fn both_directions_stream_at_the_same_time() {
    for (sides, answer_ends_first) in ALL_SIDES.iter().flat_map(|s| [(*s, true), (*s, false)]) {
        let rig = Rig::of(sides);
        let mut client = rig.client();
        client.send(chunked::post(""));
        let mut peer = rig.upstream.accept();
        assert_eq!(peer.head().value("transfer-encoding"), Some("chunked"));
        peer.send(CHUNKED);
        assert_eq!(client.head().status(), 200);
        for piece in EVENTS.iter().chain(&PIECES).cycle().take(50) {
            client.send(chunk(piece));
            peer.expect(chunk(piece));
            peer.send(chunk(piece));
            client.expect(chunk(piece));
        }
        let (mut one, mut other) = (&mut client, &mut peer);
        if answer_ends_first {
            std::mem::swap(&mut one, &mut other);
        }
        one.send("0\r\n\r\n");
        other.expect("0\r\n\r\n");
        other.send("0\r\n\r\n");
        one.expect("0\r\n\r\n");
        // Both messages ended: both connections are fit for the next.
        client.send(get("/p/anthropic/models"));
        assert_eq!(peer.request().head.method(), "GET", "both connections stay");
        peer.send(ok("next"));
        assert_eq!(client.response().text(), "next");
    }
}

#[test]
fn a_response_may_end_while_the_request_is_still_being_sent() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let mut client = rig.client();
        client.send(chunked::post("") + &chunk("first"));
        let mut peer = rig.upstream.accept();
        peer.head();
        peer.expect_chunks("first");
        peer.send(ok("early"));
        let got = client.response();
        assert_eq!(
            (got.status(), got.text().as_str()),
            (200, "early"),
            "{sides:?}"
        );
        // What is left of the request either goes where it should go, or ends the connection; it is
        // never taken for a request.
        let smuggled = get("/p/anthropic/smuggled");
        let _ = client.try_send(chunk(&smuggled));
        let _ = client.try_send("0\r\n\r\n");
        if got.value("connection") != Some("close") {
            client.send(get("/health"));
            assert_eq!(client.response().text(), "{\"status\":\"ok\"}", "{sides:?}");
        }
        while rig.upstream.has_connection() {
            let (seen, _) = rig.upstream.accept().take_all();
            assert!(
                seen.is_empty(),
                "{sides:?}: {}",
                String::from_utf8_lossy(&seen)
            );
        }
    }
}

#[test]
fn a_connection_whose_request_was_not_read_to_its_end_is_not_used_again() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(chunked::post("") + &chunk("first"));
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.expect_chunks("first");
    peer.send(ok("early"));
    assert_eq!(client.response().text(), "early");
    client.close();
    let (mut other, mut fresh, _) = rig.exchange(&get("/p/anthropic/models"));
    fresh.send(ok("own"));
    assert_eq!(other.response().text(), "own");
    peer.wait_for_close();
}

#[test]
fn an_early_error_reaches_a_client_that_is_still_sending() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(announced("/p/anthropic/files", "Content-Length: 1000000"));
    let mut peer = rig.upstream.accept();
    peer.head();
    client.send("x".repeat(1000));
    peer.expect("x".repeat(1000));
    peer.send(
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig",
    );
    peer.close();
    let got = client.response();
    assert_eq!((got.status(), got.text().as_str()), (413, "big"));
    assert_eq!(got.framing, Framing::Length);
}

/// An echo of a large body while it is being sent: neither direction waits for the other.
#[test]
fn much_goes_both_ways_at_once() {
    use std::io::Write as _;
    let total = 20 << 20;
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(request(
        "PUT",
        "/p/anthropic/echo",
        &[&format!("Content-Length: {total}")],
        "",
    ));
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"
    ));
    client.head();
    let mut writer = client.socket().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let piece: Vec<u8> = (0..1 << 16).map(|i| (i % 253) as u8).collect();
        for _ in 0..total >> 16 {
            writer.write_all(&piece).unwrap();
        }
    });
    let echo = std::thread::spawn(move || {
        let mut left = total;
        while left > 0 {
            let data = peer.take(1 << 14).unwrap();
            peer.send(&data);
            left -= data.len();
        }
        peer
    });
    let piece: Vec<u8> = (0..1 << 16).map(|i| (i % 253) as u8).collect();
    for turn in 0..total >> 16 {
        assert!(client.take(1 << 16).unwrap() == piece, "piece {turn}");
    }
    sender.join().unwrap();
    let mut peer = echo.join().unwrap();
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.send(ok("next"));
    assert_eq!(client.response().text(), "next");
}
