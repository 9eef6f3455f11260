//! What can be seen of it: log lines, metrics, and what must never be in them.

use serde_json::Value;

use crate::support::{Rig, Scripted, Setup, Upstream, get, ok, request};

#[test]
fn the_first_line_says_which_driver_and_why() {
    let gateway = Setup::new().start();
    let log = gateway.log();
    let first = log.lines().next().unwrap();
    assert!(
        first.contains("io_uring") || first.contains("epoll"),
        "{first}"
    );
}

#[test]
fn every_json_line_is_an_object_with_time_level_and_message() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(ok(""));
    client.response();
    rig.gateway
        .wait_log(|line| line.contains("/p/anthropic/models"));
    for line in rig.gateway.log().lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for key in ["time", "level", "message"] {
            assert!(value[key].is_string(), "no {key} in {line}");
        }
    }
}

#[test]
fn text_lines_are_no_json() {
    let gateway = Setup::new().env("LOG_FORMAT", "text").start();
    assert!(
        gateway.log().lines().all(|line| !line.starts_with('{')),
        "{}",
        gateway.log()
    );
}

#[test]
fn a_request_is_one_access_line_with_method_path_and_status() {
    let rig = Rig::plain();
    let text = request(
        "POST",
        "/p/anthropic/v1/messages?beta=query-secret",
        &["X-Request-ID: id-4711", "Cookie: cookie-secret"],
        "body-secret",
    );
    let (mut client, mut peer, _) = rig.exchange(&text);
    peer.send(ok("answer-secret"));
    client.response();
    let line = rig
        .gateway
        .wait_log(|line| line.contains("/p/anthropic/v1/messages"));
    let value: Value = serde_json::from_str(&line).unwrap();
    let words: Vec<String> = value
        .as_object()
        .unwrap()
        .values()
        .map(|value| value.to_string().trim_matches('"').to_owned())
        .collect();
    for word in ["POST", "/p/anthropic/v1/messages", "200", "id-4711"] {
        assert!(words.iter().any(|w| w == word), "no {word} in {line}");
    }
    client.send(get("/nowhere/else"));
    client.response();
    rig.gateway
        .wait_log(|line| line.contains("/nowhere/else") && line.contains("404"));
    let log = rig.gateway.log();
    assert_eq!(log.matches("/p/anthropic/v1/messages").count(), 1, "{log}");
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn a_path_cannot_forge_a_log_line() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(get("/x%0a{\"level\":\"forged\"}\"quoted\\back"));
    client.response();
    let line = rig.gateway.wait_log(|line| line.contains("forged"));
    let value: Value = serde_json::from_str(&line).unwrap();
    assert_ne!(value["level"], "forged");
}

#[test]
fn the_access_log_can_be_switched_off() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&upstream.url())
        .toml("[log]\naccess = false\n")
        .start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(get("/p/anthropic/x"));
        client.response();
    }
    assert!(
        !gateway.log().contains("/p/anthropic/x"),
        "{}",
        gateway.log()
    );
}

#[test]
fn a_stream_that_is_cut_is_logged_too() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/cut"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
    client.head();
    peer.reset();
    client.wait_for_close();
    rig.gateway
        .wait_log(|line| line.contains("/p/anthropic/cut"));
    let (client, _peer, _) = rig.exchange(&get("/p/anthropic/left"));
    client.reset();
    rig.gateway
        .wait_log(|line| line.contains("/p/anthropic/left"));
}

#[test]
fn metrics_are_off_by_default_and_need_no_key_when_on() {
    let upstream = Scripted::echo();
    let setup = || Setup::new().base(&upstream.url());
    let scrape = "GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n";
    let gateway = setup().start();
    let mut client = gateway.connect();
    client.send(scrape);
    assert_eq!(client.response().status(), 404);
    let gateway = setup().env("METRICS_ENABLED", "true").start();
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/x"));
    client.response();
    client.send(scrape);
    let got = client.response();
    assert_eq!(got.status(), 200);
    assert!(got.value("content-type").unwrap().starts_with("text/plain"));
    for line in got
        .text()
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let (_, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok(), "{line}");
    }
    assert!(got.text().contains("# TYPE "), "{}", got.text());
}

#[test]
fn the_metrics_endpoint_can_be_moved() {
    let gateway = Setup::new()
        .env("METRICS_ENABLED", "true")
        .env("METRICS_ENDPOINT", "/internal/metrics")
        .start();
    let mut client = gateway.connect();
    client.send("GET /internal/metrics HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    client.send("GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 404);
}

#[test]
fn log_level_hides_what_is_below_it() {
    let upstream = Upstream::listen();
    // The one line that tests wait for is an info line; a warning is made by having no key.
    let finished = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .base(&upstream.url())
        .env("LOG_LEVEL", "info")
        .start();
    assert!(finished.log().contains("\"info\""));
}
