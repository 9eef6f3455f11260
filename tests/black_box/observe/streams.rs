//! `/streams` on the listener for metrics: what is under way, and nothing that is secret.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::Value;

use crate::support::metrics::metrics_addr;
use crate::support::{Gateway, KEY, PATIENCE, Rig, Setup, Wire, get, ok, request};

const ASK: &str = "GET /streams HTTP/1.1\r\nHost: g\r\n\r\n";

fn rig() -> Rig {
    Rig::with(with_listener)
}

fn with_listener(setup: Setup) -> Setup {
    setup.toml("[metrics]\nlisten = [\"127.0.0.1:0\"]\n")
}

#[track_caller]
fn look(addr: SocketAddr) -> Value {
    let mut client = Wire::connect(addr);
    client.send(ASK);
    let got = client.response();
    assert_eq!(got.status(), 200);
    assert_eq!(got.value("content-type"), Some("application/json"));
    serde_json::from_str(&got.text()).unwrap()
}

/// Looks until it is as wanted.
#[track_caller]
fn wait(gateway: &Gateway, wanted: impl Fn(&Value) -> bool) -> Value {
    let addr = metrics_addr(gateway);
    let until = Instant::now() + PATIENCE;
    loop {
        let seen = look(addr);
        if wanted(&seen) {
            return seen;
        }
        assert!(Instant::now() < until, "{seen}");
    }
}

fn is_in(phase: &str) -> impl Fn(&Value) -> bool {
    move |seen| seen["streams"][0]["phase"] == phase
}

#[test]
fn a_request_is_seen_in_each_of_its_phases() {
    let rig = rig();
    let nothing = wait(&rig.gateway, |_| true);
    assert_eq!(nothing["in_flight"], 0);
    assert_eq!(nothing["silent_workers"], 0);
    assert_eq!(nothing["streams"], Value::Array(Vec::new()));
    let head = format!(
        "POST /p/anthropic/v1/messages?beta=query-secret HTTP/1.1\r\nHost: g\r\n\
         x-api-key: {KEY}\r\nContent-Length: 10\r\n\r\n"
    );
    let mut client = rig.client();
    client.send(head + "12345");
    let mut peer = rig.upstream.accept();
    peer.head();
    let upload = wait(&rig.gateway, is_in("upload"));
    let row = &upload["streams"][0];
    for (name, wanted) in [
        ("provider", Value::from("anthropic")),
        ("method", "POST".into()),
        ("path", "/p/anthropic/v1/messages".into()),
        ("key", "master".into()),
        ("status", Value::Null),
        ("bytes_in", 5.into()),
        ("bytes_out", 0.into()),
    ] {
        assert_eq!(row[name], wanted, "{name} in {row}");
    }
    assert!(row["age_us"].as_u64() >= row["idle_us"].as_u64(), "{row}");
    client.send("67890");
    wait(&rig.gateway, is_in("wait"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    let stream = wait(&rig.gateway, is_in("stream"));
    let row = &stream["streams"][0];
    assert_eq!(
        (&row["status"], &row["bytes_out"]),
        (&200.into(), &2.into())
    );
    assert_eq!(stream["in_flight"], 1);
    for secret in ["query-secret", KEY, "sk-anthropic"] {
        assert!(!stream.to_string().contains(secret), "{stream}");
    }
    peer.send("cd");
    client.response();
    wait(&rig.gateway, |seen| seen["in_flight"] == 0);
}

#[test]
fn without_an_access_log_keys_are_known_and_paths_are_not() {
    let rig = Rig::with(|setup| {
        setup.toml("[metrics]\nlisten = [\"127.0.0.1:0\"]\n[log]\naccess = false\n")
    });
    let _held = rig.exchange(&get("/p/anthropic/models"));
    let seen = wait(&rig.gateway, is_in("wait"));
    let row = &seen["streams"][0];
    assert_eq!(
        (&row["key"], &row["path"]),
        (&"master".into(), &Value::Null)
    );
}

#[test]
fn a_tunnel_is_a_phase_too() {
    let rig = rig();
    let upgrade = ["Upgrade: websocket", "Connection: Upgrade"];
    let (_client, mut peer, _) = rig.exchange(&request("GET", "/p/openai/realtime", &upgrade, ""));
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    );
    let tunnel = wait(&rig.gateway, is_in("tunnel"));
    assert_eq!(tunnel["streams"][0]["idle_us"], Value::Null);
}

#[test]
fn the_oldest_is_first_and_those_of_all_workers_are_there() {
    let rig = Rig::with(|setup| with_listener(setup).env("SLUICEGATE_WORKERS", "2"));
    let mut held: Vec<_> = (0..8)
        .map(|_| rig.exchange(&get("/p/anthropic/models")))
        .collect();
    let seen = wait(&rig.gateway, |seen| seen["in_flight"] == 8);
    let ages: Vec<u64> = seen["streams"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["age_us"].as_u64().unwrap())
        .collect();
    assert_eq!(ages.len(), 8);
    assert!(ages.is_sorted_by(|a, b| a >= b), "{ages:?}");
    // What ends in the middle leaves the others in the list.
    for (mut client, mut peer, _) in held.drain(2..5) {
        peer.send(ok(""));
        client.response();
    }
    let seen = wait(&rig.gateway, |seen| seen["in_flight"] == 5);
    assert_eq!(seen["streams"].as_array().unwrap().len(), 5);
}

#[test]
fn clients_are_not_served_it() {
    let rig = Rig::with(|setup| {
        let toml = "[metrics]\nenabled = true\nlisten = [\"127.0.0.1:0\"]\n";
        setup.toml(toml)
    });
    let mut client = rig.client();
    client.send(ASK);
    assert_eq!(client.response().status(), 404);
    let mut operator = Wire::connect(metrics_addr(&rig.gateway));
    for method in ["HEAD", "GET"] {
        operator.send(ASK.replace("GET", method));
        let got = if method == "HEAD" {
            operator.head().status()
        } else {
            operator.response().status()
        };
        assert_eq!(got, 200, "{method}");
    }
    operator.send(ASK.replace("GET", "DELETE"));
    assert_eq!(operator.response().status(), 404);
}
