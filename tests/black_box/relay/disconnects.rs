//! A side that goes away takes the other with it: at once, and so that a truncated message looks truncated.

use std::time::Duration;

use crate::support::{ALL_SIDES, End, Rig, Sides, Wire, get, request};

/// Well over the promise of 100 ms, because a test machine may be busy; the time is printed.
const BOUND: Duration = Duration::from_secs(2);

#[track_caller]
fn expect_cut(mut peer: Wire, what: &str) {
    let (end, after) = peer.wait_for_close();
    eprintln!("{what}: upstream saw {end:?} after {after:?}");
    assert!(after < BOUND, "{what}: cut after {after:?}");
}

/// The ways to leave.
const WAYS: [&str; 3] = ["reset", "close", "half-close"];

/// Leaves; a half-closed connection is handed back, since it must stay open on this side.
fn leave(mut client: Wire, way: &str) -> Option<Wire> {
    match way {
        "reset" => client.reset(),
        "close" => client.close(),
        _ => {
            client.half_close();
            return Some(client);
        }
    }
    None
}

#[test]
fn a_client_that_leaves_while_the_upstream_is_silent_cuts_it() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for way in WAYS {
            let (client, peer, _) =
                rig.exchange(&request("POST", "/p/anthropic/messages", &[], "{}"));
            let _open = leave(client, way);
            expect_cut(peer, &format!("silent, {sides:?}, {way}"));
        }
    }
}

#[test]
fn a_client_that_leaves_while_the_upstream_streams_cuts_it() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for way in WAYS {
            let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            client.head();
            client.expect_chunks("hello");
            let _open = leave(client, way);
            expect_cut(peer, &format!("streaming, {sides:?}, {way}"));
        }
    }
}

#[test]
fn a_client_that_leaves_while_a_stream_floods_cuts_it() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        client.head();
        client.reset();
        // Writes until the gateway's side is gone.
        let piece = vec![b'x'; 64 * 1024];
        let begin = std::time::Instant::now();
        while peer.try_send(&piece).is_ok() {}
        let after = begin.elapsed();
        eprintln!("flooding, {sides:?}: upstream was cut after {after:?}");
        assert!(after < BOUND, "{sides:?}: cut after {after:?}");
    }
}

#[test]
fn a_client_that_leaves_while_it_uploads_cuts_the_upstream() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for way in WAYS {
            for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
                let mut client = rig.client();
                client.send(
                    request("POST", "/p/anthropic/files", &[framing], "")
                        .replace("Content-Length: 0\r\n", ""),
                );
                let mut peer = rig.upstream.accept();
                peer.head();
                client.send("5\r\nhello\r\n");
                peer.expect("5\r\nhello\r\n");
                let _open = leave(client, way);
                let (rest, _) = peer.take_all();
                assert_eq!(
                    rest, b"",
                    "{sides:?}, {way}, {framing}: completed by the gateway"
                );
            }
        }
    }
}

#[test]
fn a_client_that_leaves_while_the_gateway_connects_leaves_nothing_behind() {
    for way in WAYS {
        // The provider accepts, and never answers the TLS handshake.
        let rig = Rig::with(|setup| {
            let url = setup
                .var("ANTHROPIC_BASE_URL")
                .replace("http://", "https://");
            setup.base(&url)
        });
        let mut client = rig.client();
        client.send(get("/p/anthropic/models"));
        let mut peer = rig.upstream.accept();
        peer.fill().unwrap();
        let _open = leave(client, way);
        expect_cut(peer, &format!("connecting, {way}"));
    }
}

#[test]
fn a_client_that_leaves_with_a_pipelined_request_behind_cuts_the_upstream() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let mut client = rig.client();
        client.send(get("/p/anthropic/models") + &get("/p/anthropic/models"));
        let mut peer = rig.upstream.accept();
        peer.request();
        client.reset();
        expect_cut(peer, &format!("pipelined, {sides:?}"));
    }
}

#[test]
fn many_clients_that_leave_take_their_connections_with_them() {
    let rig = Rig::plain();
    let pairs: Vec<_> = (0..50)
        .map(|_| rig.exchange(&get("/p/anthropic/models")))
        .collect();
    let (clients, peers): (Vec<_>, Vec<_>) = pairs.into_iter().map(|(c, p, _)| (c, p)).unzip();
    drop(clients);
    for peer in peers {
        expect_cut(peer, "one of fifty");
    }
}

/// How a provider may break off.
const BREAKS: [&str; 3] = ["fin", "truncate", "reset"];

fn break_off(peer: Wire, way: &str) {
    match way {
        "fin" => peer.close(),
        "truncate" => peer.truncate(),
        _ => peer.reset(),
    }
}

/// Asserts that a TLS client is not told of a good end, and that no client can take this for one.
#[track_caller]
fn expect_truncated(sides: Sides, end: &End, what: &str) {
    if sides.client {
        assert_ne!(
            *end,
            End::Clean,
            "{what}: close_notify after a truncated message"
        );
    }
}

#[test]
fn an_upstream_that_breaks_off_in_a_body_with_a_length_truncates_it() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for way in BREAKS {
            let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
            client.head();
            client.expect("hello");
            break_off(peer, way);
            let (rest, end) = client.take_all();
            assert_eq!(rest, b"", "{sides:?}, {way}");
            expect_truncated(sides, &end, &format!("{sides:?}, {way}"));
        }
    }
}

#[test]
fn an_upstream_that_breaks_off_in_a_chunked_body_truncates_it() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for way in BREAKS {
            for begun in [
                "5\r\nhello\r\n",
                "5\r\nhello\r\n5",
                "5\r\nhello\r\n8\r\nwor",
                "5\r\nhello\r\n0\r\n",
            ] {
                let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
                peer.send(format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{begun}"
                ));
                client.head();
                client.expect_chunks("hello");
                break_off(peer, way);
                let (rest, end) = client.take_all();
                let rest = String::from_utf8_lossy(&rest);
                assert!(
                    !rest.ends_with("0\r\n\r\n"),
                    "{sides:?}, {way}, {begun:?}: {rest:?}"
                );
                expect_truncated(sides, &end, &format!("{sides:?}, {way}, {begun:?}"));
            }
        }
    }
}

#[test]
fn a_close_delimited_body_that_is_reset_ends_in_a_reset_or_without_a_last_chunk() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for way in BREAKS {
            if way == "fin" || (way == "truncate" && !sides.upstream) {
                continue; // That is how such a body ends.
            }
            let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
            peer.send("HTTP/1.1 200 OK\r\n\r\nhello");
            let head = client.head();
            let chunked = head.value("transfer-encoding").is_some();
            if chunked {
                client.expect_chunks("hello")
            } else {
                client.expect("hello")
            }
            break_off(peer, way);
            let (rest, end) = client.take_all();
            let rest = String::from_utf8_lossy(&rest);
            assert!(
                rest.is_empty() || chunked && !rest.ends_with("0\r\n\r\n"),
                "{rest:?}"
            );
            if !chunked {
                assert_ne!(end, End::Clean, "{sides:?}, {way}");
            }
            expect_truncated(sides, &end, &format!("{sides:?}, {way}"));
        }
    }
}

#[test]
fn a_close_delimited_body_for_an_http_1_0_client_that_is_truncated_ends_in_a_reset() {
    for framing in ["Transfer-Encoding: chunked", "X-None: 0"] {
        let rig = Rig::plain();
        let (mut client, mut peer, _) =
            rig.exchange("GET /p/anthropic/models HTTP/1.0\r\nx-api-key: gk-test\r\n\r\n");
        let body = if framing.starts_with('T') {
            "5\r\nhello\r\n"
        } else {
            "hello"
        };
        peer.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}"));
        client.head();
        client.expect("hello");
        peer.reset();
        let (_, end) = client.take_all();
        assert_eq!(end, End::Reset, "{framing}");
    }
}

#[test]
fn tls_without_close_notify_is_fine_when_the_length_was_complete() {
    let rig = Rig::of(Sides {
        client: false,
        upstream: true,
    });
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send(answer);
        peer.truncate();
        assert_eq!(client.response().text(), "hello");
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn an_upstream_that_breaks_off_in_its_head_is_502() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for way in BREAKS {
            for begun in [
                "H",
                "HTTP/1.1 200",
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
            ] {
                let (mut client, mut peer, _) =
                    rig.exchange(&request("POST", "/p/anthropic/messages", &[], "{}"));
                peer.send(begun);
                break_off(peer, way);
                let got = client.response();
                assert_eq!(
                    got.status(),
                    502,
                    "{sides:?}, {way}, {begun:?}: {}",
                    got.text()
                );
                assert_eq!(got.value("x-should-retry"), Some("false"));
            }
        }
    }
}

#[test]
fn an_upstream_that_leaves_during_an_upload_is_502() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for way in BREAKS {
            let mut client = rig.client();
            client.send(
                request("POST", "/p/anthropic/files", &["Content-Length: 1000"], "")
                    .replace("Content-Length: 0\r\n", ""),
            );
            let mut peer = rig.upstream.accept();
            peer.head();
            client.send("hello");
            peer.expect("hello");
            break_off(peer, way);
            let got = client.response();
            assert_eq!(got.status(), 502, "{sides:?}, {way}: {}", got.text());
            assert_eq!(
                got.value("x-should-retry"),
                Some("false"),
                "{sides:?}, {way}"
            );
        }
    }
}
