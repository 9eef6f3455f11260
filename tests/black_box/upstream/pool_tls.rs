//! Idle connections under TLS: what TLS says on its own is no stray byte, part of a record is one.

use std::io::Write as _;

use crate::support::{Gateway, Rig, Sides, Upstream, Wire, get, ok, post, request};

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
fn idle(rig: &Rig) -> (Wire, Wire) {
    let (mut client, mut peer) = rig.begin(get(MODELS));
    peer.send(ok("first"));
    assert_eq!(client.response().text(), "first");
    (client, peer)
}

/// The next request goes out on a fresh connection, and its own answer comes back.
#[track_caller]
fn replaced(rig: &Rig, client: &mut Wire) {
    client.send(post(CHAT, "{}"));
    let mut fresh = rig.upstream.accept();
    assert_eq!(fresh.request().text(), "{}");
    fresh.send(ok("second"));
    let answer = client.response();
    assert_eq!((answer.status(), answer.text().as_str()), (200, "second"));
}

#[test]
fn half_a_tls_record_on_an_idle_connection_never_reaches_a_client() {
    Rig::each(|rig| {
        if !rig.sides.upstream {
            return;
        }
        for cut in [1, 4, 5, 6, 30] {
            let (mut client, mut peer) = idle(rig);
            let record = peer.seal(ok("stray").as_bytes());
            peer.socket().write_all(&record[..cut]).unwrap();
            replaced(rig, &mut client);
            // The connection may be gone; if not, the rest must not matter either.
            let _ = peer.socket().write_all(&record[cut..]);
            let _ = peer.expect_end();
        }
    });
}

#[test]
fn a_key_update_on_an_idle_connection_is_no_stray_byte() {
    Rig::each(|rig| {
        if !rig.sides.upstream {
            return;
        }
        let (mut client, mut peer) = idle(rig);
        peer.update_keys();
        exchange(&mut client, &mut peer, "on the same connection");
    });
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

#[test]
fn an_answer_counts_although_a_bad_record_follows_at_once() {
    let rig = Rig::of(Sides::TLS_UPSTREAM);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    let mut bytes = peer.seal(ok("whole").as_bytes());
    bytes.extend_from_slice(b"\x17\x03\x03\x00\x20 thirty-two bytes that are not TLS");
    peer.socket().write_all(&bytes).unwrap();
    assert_eq!(client.response().text(), "whole");
    peer.wait_for_close();
    client.send(get("/p/anthropic/models"));
    let mut fresh = rig.upstream.accept();
    fresh.request();
    fresh.send(ok("fresh"));
    assert_eq!(client.response().text(), "fresh");
}
