//! Clients that leave: the provider's connection is cut at once, whatever the exchange was doing.
//!
//! The contract says 100 ms. The bound here only tells "at once" from "never"; the time taken is printed.

use std::time::{Duration, Instant};

use crate::support::sides::Sides;
use crate::support::{Gateway, Setup};
use crate::support::{Upstream, Wire, get, post, request};

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
    /// Lets the client leave, and asserts that the provider sees the end soon.
    #[track_caller]
    fn cuts(self, mut client: Wire, peer: &mut Wire, what: &str) {
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
        let (end, _) = peer.wait_for_close();
        let took = begin.elapsed();
        eprintln!("{what}, {self:?}: {end:?} after {took:?}");
        assert!(took < AT_ONCE, "{what}, {self:?}: cut after {took:?}");
        drop(half_closed);
    }
}

#[test]
fn leaving_during_the_upstream_handshake_cuts_it() {
    // A provider that never answers the TLS handshake: connected, not usable.
    let upstream = Upstream::listen();
    let base = format!("https://localhost:{}/v1", upstream.addr().port());
    let gateway = Setup::new().base(&base).start();
    for way in WAYS {
        let mut client = gateway.connect();
        client.send(get("/p/openai/models"));
        let mut peer = upstream.accept();
        peer.fill().unwrap();
        way.cuts(client, &mut peer, "during the handshake");
    }
}

#[test]
fn leaving_while_the_upstream_is_silent_cuts_it() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let (client, mut peer) = sides.begin(post("/p/openai/chat/completions", "{}"));
                peer.expect("{}");
                way.cuts(client, &mut peer, sides.name);
            }
        },
    );
}

#[test]
fn leaving_with_a_pipelined_request_behind_cuts_it() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let twice = get("/p/openai/models") + &get("/p/openai/models");
                let (client, mut peer) = sides.begin(twice);
                way.cuts(client, &mut peer, sides.name);
            }
        },
    );
}

#[test]
fn leaving_while_the_response_streams_cuts_it() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
                let _ = client.head();
                client.expect("3\r\none\r\n");
                way.cuts(client, &mut peer, sides.name);
            }
        },
    );
}

#[test]
fn leaving_with_the_response_unread_cuts_it() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let (client, mut peer) = sides.begin(get("/p/openai/models"));
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
                let sent = peer.stuff();
                assert!(sent < 1_000_000_000, "the provider was never held back");
                way.cuts(client, &mut peer, sides.name);
            }
        },
    );
}

#[test]
fn leaving_in_the_middle_of_an_upload_cuts_it() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let begun = request(
                    "PUT",
                    "/p/openai/files",
                    &["Transfer-Encoding: chunked"],
                    "",
                );
                let (mut client, mut peer) = sides.begin(begun);
                client.send("4\r\nhalf\r\n");
                peer.expect("4\r\nhalf\r\n");
                way.cuts(client, &mut peer, sides.name);
                let all = peer.record().bytes();
                assert!(
                    !all.ends_with(b"0\r\n\r\n"),
                    "a cut upload must not look whole"
                );
            }
        },
    );
}

#[test]
fn a_reset_while_the_upload_is_held_back_cuts_it() {
    Sides::each(
        |setup| setup,
        |sides| {
            let lines = ["Content-Length: 1000000000"];
            let (mut client, mut peer) = sides.begin(request("PUT", "/p/openai/files", &lines, ""));
            let sent = client.stuff();
            assert!(sent < 1_000_000_000, "the client was never held back");
            Leave::Reset.cuts(client, &mut peer, sides.name);
        },
    );
}

#[test]
fn a_reset_while_the_upload_is_held_back_shows_without_reading() {
    Sides::each(
        |setup| setup,
        |sides| {
            let lines = ["Content-Length: 1000000000"];
            let (mut client, peer) = sides.begin(request("PUT", "/p/openai/files", &lines, ""));
            client.stuff();
            let begin = Instant::now();
            client.reset();
            assert!(peer.is_cut_unread(), "{}: never cut", sides.name);
            let took = begin.elapsed();
            eprintln!("{}, unread: cut after {took:?}", sides.name);
            assert!(took < AT_ONCE, "{}: cut after {took:?}", sides.name);
        },
    );
}

#[test]
fn leaving_cuts_a_reused_upstream_connection_too() {
    Sides::each(
        |setup| setup,
        |sides| {
            for way in WAYS {
                let (mut client, mut peer) = sides.begin(get("/p/openai/models"));
                peer.send("HTTP/1.1 204 No Content\r\n\r\n");
                assert_eq!(client.response().status(), 204);
                client.send(get("/p/openai/models"));
                let _ = peer.head();
                way.cuts(client, &mut peer, sides.name);
            }
        },
    );
}

#[test]
fn leaving_while_a_100_is_awaited_cuts_it() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    for way in WAYS {
        let lines = ["Expect: 100-continue", "Content-Length: 5"];
        let mut client = gateway.connect();
        client.send(request("PUT", "/p/openai/files", &lines, ""));
        let mut peer = upstream.accept();
        let _ = peer.head();
        way.cuts(client, &mut peer, "before a 100");
    }
}
