//! A process that is stopped and goes on when its deadlines are over: what has come meanwhile counts.

use std::thread;

use rustix::process::Signal;

use crate::support::tls::{pki, server_config};
use crate::support::{End, Rig, Setup, Sides, Upstream, Wire, announced, get, ok};

/// As many at once: some are looked at before what has come for them is reported.
const CLIENTS: usize = 12;

const TIMEOUTS: &str =
    "[timeouts]\nconnect = 2\nrequest_header = 2\nresponse_header = 2\nbody_idle = 2\n";

fn rig(sides: Sides) -> Rig {
    Rig::on(sides, |setup| setup.toml(TIMEOUTS))
}

/// Stops the gateway, lets `meanwhile` happen and more than the time that everything has, and lets it go on. One half
/// happens in time and the other behind the deadline: nobody can tell the two apart.
fn while_stopped(rig: &Rig, mut meanwhile: impl FnMut(usize)) {
    let setup = Setup::new().toml("[timeouts]\nrequest_header = 3\n");
    let other = setup.start();
    rig.gateway.signal(Signal::STOP);
    let mut client = other.connect();
    client.send("GET /");
    meanwhile(0);
    assert_eq!(client.response().status(), 408);
    meanwhile(1);
    rig.gateway.signal(Signal::CONT);
}

#[test]
fn the_rest_of_a_head() {
    for sides in [Sides::PLAIN, Sides::TLS] {
        let mut rig = rig(sides);
        let begun = || {
            let mut client = rig.client();
            client.send("GET /health HTTP/1.1\r\nHo");
            client
        };
        let mut clients: Vec<Wire> = (0..CLIENTS).map(|_| begun()).collect();
        rig.settle();
        while_stopped(&rig, |half| {
            for client in clients.iter_mut().skip(half).step_by(2) {
                client.send("st: g\r\n\r\n");
            }
        });
        for client in &mut clients {
            assert_eq!(client.response().status(), 200, "{sides:?}");
        }
    }
}

#[test]
fn the_rest_of_a_request_and_of_its_answer() {
    for sides in [Sides::PLAIN, Sides::TLS] {
        let mut rig = rig(sides);
        let begun = || {
            let half = announced("/p/openai/x", "Content-Length: 8") + "half";
            let mut client = rig.client();
            client.send(half);
            let mut peer = rig.upstream.accept();
            peer.take_until(b"half").unwrap();
            (client, peer)
        };
        let mut pairs: Vec<(Wire, Wire)> = (0..CLIENTS).map(|_| begun()).collect();
        rig.settle();
        while_stopped(&rig, |half| {
            for (client, _) in pairs.iter_mut().skip(half).step_by(2) {
                client.send("rest");
            }
        });
        for (_, peer) in &mut pairs {
            peer.expect("rest");
        }
        rig.settle();
        // The answer's head.
        while_stopped(&rig, |half| {
            for (_, peer) in pairs.iter_mut().skip(half).step_by(2) {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            }
        });
        for (client, _) in &mut pairs {
            client.take_until(b"half").unwrap();
        }
        rig.settle();
        while_stopped(&rig, |half| {
            for (_, peer) in pairs.iter_mut().skip(half).step_by(2) {
                peer.send("rest");
            }
        });
        for (client, _) in &mut pairs {
            client.expect("rest");
        }
    }
}

#[test]
fn an_answer_that_ends_with_its_connection() {
    let mut rig = rig(Sides::PLAIN);
    let begun = || {
        let (client, mut peer, _) = rig.exchange(&get("/p/openai/x"));
        peer.send("HTTP/1.1 200 OK\r\n\r\nall of it");
        (client, peer)
    };
    let mut pairs: Vec<(Wire, Wire)> = (0..CLIENTS).map(|_| begun()).collect();
    for (client, _) in &mut pairs {
        client.take_until(b"all of it").unwrap();
    }
    rig.settle();
    let (mut clients, mut peers): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    while_stopped(&rig, |half| {
        let from = [CLIENTS / 2, 0];
        for peer in peers.drain(from[half]..) {
            peer.close();
        }
    });
    for client in &mut clients {
        assert_eq!(client.expect_end(), End::Clean);
    }
}

#[test]
fn what_a_provider_says_in_a_handshake() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let setup = Setup::new().base(&format!("{}/v1", upstream.url()));
    let rig = Rig::around(setup.toml(TIMEOUTS).start(), upstream);
    let begun = || {
        let mut client = rig.client();
        client.send(get("/p/openai/x"));
        let peer = rig.upstream.accept();
        peer.wait_readable();
        (client, peer)
    };
    let (mut clients, mut peers): (Vec<_>, Vec<_>) = (0..CLIENTS).map(|_| begun()).unzip();
    let mut servers = Vec::new();
    // None behind it: a thread of its own may not be quick enough.
    while_stopped(&rig, |_| {
        for mut peer in peers.drain(..) {
            servers.push(thread::spawn(move || {
                peer.request();
                peer.send(ok("fine"));
            }));
        }
    });
    for client in &mut clients {
        let got = client.response();
        assert_eq!((got.status(), &*got.text()), (200, "fine"));
    }
    for server in servers {
        server.join().unwrap();
    }
}
