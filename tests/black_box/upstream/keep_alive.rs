//! How long a provider says that its connection stays.

use crate::support::{Rig, Wire, get, response};

/// An exchange on a new connection, answered with this line.
fn answered(rig: &Rig, line: &str) -> (Wire, Wire) {
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(response("200 OK", &[line], "fine"));
    assert_eq!(client.response().text(), "fine");
    (client, peer)
}

#[track_caller]
fn asks_again(client: &mut Wire, peer: &mut Wire, line: &str) {
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.send(response("200 OK", &[line], "again"));
    assert_eq!(client.response().text(), "again");
}

#[test]
fn a_connection_is_closed_before_the_provider_does() {
    // It would stay for 60 s.
    let rig = Rig::plain();
    for line in ["Keep-Alive: timeout=1", "keep-alive: max=100, TIMEOUT=2"] {
        let (mut client, mut peer) = answered(&rig, line);
        asks_again(&mut client, &mut peer, line);
        peer.wait_for_close();
        let (mut client, mut fresh, _) = rig.exchange(&get("/p/anthropic/models"));
        fresh.send(response("200 OK", &["Connection: close"], "own"));
        assert_eq!(client.response().text(), "own");
    }
}

#[test]
fn one_that_is_used_up_is_not_kept() {
    let rig = Rig::plain();
    for line in [
        "Keep-Alive: timeout=0",
        "Keep-Alive: timeout=5, max=0",
        "Keep-Alive: max=1",
    ] {
        let (_client, mut peer) = answered(&rig, line);
        peer.wait_for_close();
    }
    let line = "Keep-Alive: timeout=60, max=2";
    let (mut client, mut peer) = answered(&rig, line);
    asks_again(&mut client, &mut peer, line);
    peer.wait_for_close();
}

#[test]
fn what_is_malformed_says_nothing() {
    let rig = Rig::plain();
    for value in [
        "",
        "timeout",
        "timeout=",
        "timeout=0s",
        "timeout=-0",
        "max=+1",
        "timeout = 0",
        "a=0",
    ] {
        let line = format!("Keep-Alive: {value}");
        let (mut client, mut peer) = answered(&rig, &line);
        let last = "Connection: close";
        asks_again(&mut client, &mut peer, last);
    }
}

#[test]
fn it_is_never_kept_longer_than_configured() {
    let rig = Rig::with(|setup| {
        setup.toml("[providers.anthropic]\ntype = \"anthropic\"\nidle_upstream = \"1s\"\n")
    });
    let (_client, mut peer) = answered(&rig, "Keep-Alive: timeout=600");
    peer.wait_for_close();
}
