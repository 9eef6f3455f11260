//! Clients that leave: the provider's connection is cut at once, whatever the exchange was doing.
//!
//! The contract says 100 ms. The bound here only tells "at once" from "never"; the time taken is printed.

use std::time::{Duration, Instant};

use crate::support::{Rig, Wire, get, post, request};

/// What a busy test machine may add.
const AT_ONCE: Duration = Duration::from_secs(2);

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Reset,
    Close,
    HalfClose,
    /// FIN alone, on TLS without close_notify.
    Vanish,
}

const WAYS: [Leave; 4] = [Leave::Reset, Leave::Close, Leave::HalfClose, Leave::Vanish];

impl Leave {
    /// Lets the client leave, and asserts that the provider sees the end soon; what came before it.
    #[track_caller]
    fn cuts(self, mut client: Wire, peer: &mut Wire, what: impl std::fmt::Display) -> Vec<u8> {
        let begin = Instant::now();
        let mut half_closed = None;
        match self {
            Self::Reset => client.reset(),
            Self::Close => client.close(),
            Self::Vanish => client.truncate(),
            Self::HalfClose => {
                client.half_close();
                half_closed = Some(client);
            }
        }
        let (rest, end) = peer.take_all();
        let took = begin.elapsed();
        eprintln!("{what}, {self:?}: {end:?} after {took:?}");
        assert!(took < AT_ONCE, "{what}, {self:?}: cut after {took:?}");
        drop(half_closed);
        rest
    }
}

#[test]
fn leaving_during_the_upstream_handshake_cuts_it() {
    for host in ["localhost", "127.0.0.1"] {
        // A provider that never answers the TLS handshake: connected, not usable.
        let rig = Rig::with(|setup| {
            let base = setup.var("OPENAI_BASE_URL");
            setup.base(&base.replace("http://127.0.0.1", &format!("https://{host}")))
        });
        for way in WAYS {
            let mut client = rig.client();
            client.send(get("/p/openai/models"));
            let mut peer = rig.upstream.accept();
            peer.fill().unwrap();
            way.cuts(
                client,
                &mut peer,
                format!("during the handshake with {host}"),
            );
        }
    }
}

#[test]
fn leaving_while_the_upstream_is_silent_cuts_it() {
    Rig::each(|rig| {
        for way in WAYS {
            let (client, mut peer) = rig.begin(post("/p/openai/chat/completions", "{}"));
            peer.expect("{}");
            way.cuts(client, &mut peer, rig.sides);
        }
    });
}

#[test]
fn leaving_with_a_pipelined_request_behind_cuts_it() {
    Rig::each(|rig| {
        for way in WAYS {
            let twice = get("/p/openai/models") + &get("/p/openai/models");
            let (client, mut peer) = rig.begin(twice);
            way.cuts(client, &mut peer, rig.sides);
        }
    });
}

#[test]
fn leaving_while_the_response_streams_cuts_it() {
    Rig::each(|rig| {
        for way in WAYS {
            let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
            client.head();
            client.expect("3\r\none\r\n");
            way.cuts(client, &mut peer, rig.sides);
        }
    });
}

#[test]
fn leaving_with_the_response_unread_cuts_it() {
    Rig::each(|rig| {
        for way in WAYS {
            let (client, mut peer) = rig.begin(get("/p/openai/models"));
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
            let sent = peer.stuff();
            assert!(sent < 1_000_000_000, "the provider was never held back");
            way.cuts(client, &mut peer, rig.sides);
        }
    });
}

#[test]
fn leaving_while_the_response_floods_cuts_it() {
    Rig::each(|rig| {
        let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        client.head();
        client.reset();
        // Writes until the gateway's side is gone.
        let piece = vec![b'x'; 64 * 1024];
        let begin = Instant::now();
        while peer.try_send(&piece).is_ok() {}
        let took = begin.elapsed();
        eprintln!("{}, flooding: cut after {took:?}", rig.sides);
        assert!(took < AT_ONCE, "{}: cut after {took:?}", rig.sides);
    });
}

#[test]
fn leaving_in_the_middle_of_an_upload_cuts_it_and_does_not_complete_it() {
    Rig::each(|rig| {
        for way in WAYS {
            for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
                let begun = request("PUT", "/p/openai/files", &[framing], "");
                let (mut client, mut peer) = rig.begin(begun);
                client.send("4\r\nhalf\r\n");
                peer.expect("4\r\nhalf\r\n");
                let rest = way.cuts(client, &mut peer, rig.sides);
                assert_eq!(rest, b"", "{}, {way:?}, {framing}", rig.sides);
                let all = peer.record().bytes();
                assert!(
                    !all.ends_with(b"0\r\n\r\n"),
                    "a cut upload must not look whole"
                );
            }
        }
    });
}

#[test]
fn a_reset_while_the_upload_is_held_back_cuts_it() {
    Rig::each(|rig| {
        let lines = ["Content-Length: 1000000000"];
        let (mut client, mut peer) = rig.begin(request("PUT", "/p/openai/files", &lines, ""));
        let sent = client.stuff();
        assert!(sent < 1_000_000_000, "the client was never held back");
        Leave::Reset.cuts(client, &mut peer, rig.sides);
    });
}

#[test]
fn a_reset_while_the_upload_is_held_back_shows_without_reading() {
    Rig::each(|rig| {
        let lines = ["Content-Length: 1000000000"];
        let (mut client, peer) = rig.begin(request("PUT", "/p/openai/files", &lines, ""));
        client.stuff();
        let begin = Instant::now();
        client.reset();
        assert!(peer.is_cut_unread(), "{}: never cut", rig.sides);
        let took = begin.elapsed();
        eprintln!("{}, unread: cut after {took:?}", rig.sides);
        assert!(took < AT_ONCE, "{}: cut after {took:?}", rig.sides);
    });
}

#[test]
fn leaving_cuts_a_reused_upstream_connection_too() {
    Rig::each(|rig| {
        for way in WAYS {
            let (mut client, mut peer) = rig.begin(get("/p/openai/models"));
            peer.send("HTTP/1.1 204 No Content\r\n\r\n");
            assert_eq!(client.response().status(), 204);
            client.send(get("/p/openai/models"));
            peer.head();
            way.cuts(client, &mut peer, rig.sides);
        }
    });
}

#[test]
fn leaving_while_a_100_is_awaited_cuts_it() {
    let rig = Rig::plain();
    for way in WAYS {
        let lines = ["Expect: 100-continue", "Content-Length: 5"];
        let (client, mut peer) = rig.begin(request("PUT", "/p/openai/files", &lines, ""));
        way.cuts(client, &mut peer, "before a 100");
    }
}

#[test]
fn many_clients_that_leave_take_their_connections_with_them() {
    let rig = Rig::plain();
    let pairs: Vec<_> = (0..50)
        .map(|_| rig.begin(get("/p/openai/models")))
        .collect();
    let (clients, peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    drop(clients);
    for mut peer in peers {
        let (end, took) = peer.wait_for_close();
        eprintln!("one of fifty: {end:?} after {took:?}");
        assert!(took < AT_ONCE, "one of fifty: cut after {took:?}");
    }
}
