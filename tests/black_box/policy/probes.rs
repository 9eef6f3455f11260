//! What orchestrators ask for: whether it is ready, whether it lives; as `/health` is in everything else.

use rustix::process::Signal;

use crate::support::metrics::metrics_addr;
use crate::support::{Rig, Setup, Wire, drained_answer, get, ok, request, wait_refused};

/// All of them; but for the last they say whether it is ready.
const PROBES: [&str; 3] = ["/health", "/health/ready", "/health/live"];

/// Asks without a key, on a connection that stays.
#[track_caller]
fn asked(client: &mut Wire, path: &str) -> (u16, String) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: probe\r\n\r\n"));
    let got = client.response();
    assert_eq!(
        got.value("content-type"),
        Some("application/json"),
        "{path}"
    );
    (got.status(), got.text())
}

fn fine() -> (u16, String) {
    (200, "{\"status\":\"ok\"}".to_owned())
}

fn draining() -> (u16, String) {
    (503, "{\"status\":\"draining\"}".to_owned())
}

#[test]
fn they_need_no_key_and_lie_below_the_base_path() {
    for base in ["", "/g"] {
        let gateway = Setup::new().env("BASE_PATH", base).start();
        let mut client = gateway.connect();
        for path in PROBES {
            assert_eq!(asked(&mut client, &format!("{base}{path}?x")), fine());
            client.send(request("HEAD", &format!("{base}{path}"), &[], ""));
            let got = client.response_to_head();
            assert_eq!(
                (got.status(), got.value("content-length")),
                (200, Some("15"))
            );
            for (method, path) in [
                ("POST", path.to_owned()),
                ("GET", format!("{path}/")),
                ("GET", format!("/x{path}")),
            ] {
                client.send(request(method, &format!("{base}{path}"), &[], ""));
                assert_eq!(client.response().status(), 404, "{method} {path}");
            }
        }
        if !base.is_empty() {
            client.send(get("/health/ready"));
            assert_eq!(client.response().status(), 404);
        }
    }
}

#[test]
fn a_drain_makes_it_unready_and_leaves_it_alive() {
    let mut rig = Rig::with(|setup| setup.toml("[timeouts]\ndrain_delay = 2\n"));
    let mut open = rig.client();
    for path in PROBES {
        assert_eq!(asked(&mut open, path), fine());
    }
    rig.gateway.signal(Signal::TERM);
    while asked(&mut open, "/health") == fine() {}
    let mut fresh = rig.client();
    for client in [&mut open, &mut fresh] {
        let answers = PROBES.map(|path| asked(client, path));
        assert_eq!(answers, [draining(), draining(), fine()]);
    }
    wait_refused(&rig.gateway);
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn connections_that_stay_open_in_a_drain_are_answered_so() {
    for (path, answer) in PROBES.into_iter().zip([draining(), draining(), fine()]) {
        let mut rig = Rig::plain();
        let mut open = rig.client();
        assert_eq!(asked(&mut open, path), fine());
        // Its first byte has come when the listeners close.
        open.send("GET ");
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        rig.gateway.signal(Signal::TERM);
        wait_refused(&rig.gateway);
        open.send(format!("{path} HTTP/1.1\r\nHost: probe\r\n\r\n"));
        let got = open.response();
        assert_eq!((got.status(), got.text()), answer, "{path}");
        assert_eq!(got.value("connection"), Some("close"), "{path}");
        drained_answer(&mut client, &mut peer);
        assert_eq!(rig.gateway.wait_exit(), Some(0));
    }
}

#[test]
fn no_limit_stands_in_their_way_and_the_log_has_them() {
    let limits = "[log]\nhealth = true\n[limits]\nin_flight = 1\nconnections = 2\n";
    let rig = Rig::with(|setup| setup.toml(limits));
    let mut kept = rig.client();
    asked(&mut kept, "/health");
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    for path in PROBES {
        // As many as may be are under way, and this is one connection too many.
        let mut crowd = rig.client();
        assert_eq!(asked(&mut crowd, path), fine());
        assert_eq!(asked(&mut kept, path), fine());
        rig.gateway.wait_log(|line| {
            line.contains(&format!("\"path\":\"{path}\"")) && line.contains("\"status\":200")
        });
    }
    peer.send(ok(""));
    client.response();
}

#[test]
fn pages_and_operators_get_them_too() {
    let origin = "https://app.example.com";
    let toml =
        format!("[server]\ncors_origins = [\"{origin}\"]\n[metrics]\nlisten = [\"127.0.0.1:0\"]\n");
    let gateway = Setup::new().toml(&toml).start();
    let mut client = gateway.connect();
    let mut operator = Wire::connect(metrics_addr(&gateway));
    for path in PROBES {
        client.send(request("GET", path, &[&format!("Origin: {origin}")], ""));
        let got = client.response();
        assert_eq!(
            got.value("access-control-allow-origin"),
            Some(origin),
            "{path}"
        );
        assert_eq!(asked(&mut operator, path), fine());
    }
}
