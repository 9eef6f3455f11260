//! What a reload puts in force, and how a drain goes on and ends.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::chunked::CHUNKED;
use crate::support::{
    End, Gateway, KEY, PATIENCE, Scripted, Setup, Upstream, Wire, get, ok, post, wait_refused,
};

const MODELS: &str = "/p/anthropic/v1/models";
/// Asks on this connection until the status is the wanted one, which a signal's effect leads to.
#[track_caller]
fn until_status(client: &mut Wire, request: &str, wanted: u16) {
    let begin = Instant::now();
    loop {
        client.send(request);
        let answer = client.response();
        if answer.status() == wanted {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "still {}", answer.head.start);
    }
}

fn with_key(key: &str, path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: g\r\nx-api-key: {key}\r\n\r\n")
}

fn reload(gateway: &Gateway, said: &str) {
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains(said));
}

#[test]
fn the_last_answer_on_a_connection_says_close() {
    let upstream = Upstream::listen();
    let mut gateway = Gateway::before(&upstream);
    let (mut client, mut idle) = (gateway.connect(), gateway.connect());
    idle.send(get("/health"));
    idle.response();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    peer.request();
    gateway.signal(Signal::TERM);
    wait_refused(&gateway);
    idle.send(get(MODELS));
    let mut second = upstream.accept();
    second.request();
    for (peer, client) in [(&mut peer, &mut client), (&mut second, &mut idle)] {
        peer.send(ok("hi"));
        let answer = client.response();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "hi"));
        assert_eq!(answer.value("connection"), Some("close"));
        assert_eq!(answer.value("keep-alive"), None);
        assert_eq!(client.expect_end(), End::Clean);
    }
    assert_eq!(gateway.wait_exit(), Some(0));
}

#[test]
fn requests_are_served_during_the_drain_delay_while_health_says_503() {
    let upstream = Scripted::echo();
    let mut gateway = Setup::new()
        .base(&format!("{}/v1", upstream.url()))
        .toml("[timeouts]\ndrain_delay = 60\n")
        .start();
    let mut client = gateway.connect();
    gateway.signal(Signal::TERM);
    until_status(&mut client, &get("/health"), 503);
    client.send(get(MODELS));
    let answer = client.response();
    assert_eq!(
        (answer.status(), answer.value("connection")),
        (200, Some("keep-alive"))
    );
    let mut new = gateway.connect();
    new.send(get(MODELS));
    assert_eq!(new.response().status(), 200);
    new.send(get("/health"));
    assert_eq!(new.response().status(), 503);
    gateway.signal(Signal::TERM);
    gateway.wait_exit();
}

#[test]
fn the_drain_delay_ends_by_itself() {
    let mut gateway = Setup::new()
        .toml("[timeouts]\ndrain_delay = \"200ms\"\n")
        .start();
    let begin = Instant::now();
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(), Some(0));
    assert!(begin.elapsed().as_millis() >= 200);
}

#[test]
fn a_reload_puts_a_new_key_in_force_and_drops_no_connection() {
    let upstream = Upstream::listen();
    let toml = |key: &str| format!("[auth]\nmaster_key = \"{key}\"\n");
    let gateway = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .base(&format!("{}/v1", upstream.url()))
        .toml(&toml(KEY))
        .secret("gk-second")
        .start();
    let (mut client, mut idle) = (gateway.connect(), gateway.connect());
    idle.send(get("/health"));
    idle.response();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(format!("{CHUNKED}1\r\na\r\n"));
    client.head();
    client.expect("1\r\na\r\n");
    fs::write(
        gateway.setup().dir().join("sluicegate.toml"),
        toml("gk-second"),
    )
    .unwrap();
    gateway.signal(Signal::HUP);
    until_status(&mut idle, &get("/p/nobody/x"), 401);
    idle.send(with_key("gk-second", "/p/nobody/x"));
    assert_eq!(idle.response().status(), 400, "the new key is in force");
    peer.send("1\r\nb\r\n0\r\n\r\n");
    client.expect("1\r\nb\r\n0\r\n\r\n");
    client.send(get(MODELS));
    assert_eq!(client.response().status(), 401);
    client.send(with_key("gk-second", MODELS));
    peer.request();
    peer.send(ok("the upstream connection stays too"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_reload_puts_providers_and_limits_in_force() {
    let (old, new) = (Scripted::echo(), Scripted::echo());
    let toml = |base: &str, more: &str| {
        format!(
            "[providers.here]\ntype = \"openai\"\napi_key = \"sk-here\"\nbase_url = \"{base}\"\n{more}"
        )
    };
    let gateway = Setup::new()
        .toml(&toml(&old.url(), ""))
        .secret("sk-here")
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/here/x"));
    assert_eq!(client.response().status(), 200);
    let more = "[providers.added]\ntype = \"vllm\"\nbase_url = \"http://127.0.0.1:1\"\n[limits]\nbody = 1\n";
    fs::write(
        gateway.setup().dir().join("sluicegate.toml"),
        toml(&new.url(), more),
    )
    .unwrap();
    reload(&gateway, "configuration reloaded");
    until_status(&mut client, &get("/p/added/x"), 502);
    client.send(get("/p/here/x"));
    assert_eq!(client.response().status(), 200);
    assert_eq!((old.connections(), new.connections()), (1, 1));
    client.send(post("/p/here/x", "long"));
    assert_eq!(client.response().status(), 413);
}
