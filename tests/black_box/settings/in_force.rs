//! Configuration in force: what a setting changes for clients and providers.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crate::support::{End, Gateway, KEY, PATIENCE, Scripted, Setup, Upstream, get, ok, post};

/// The answer to one request on a connection of its own.
#[track_caller]
fn status(gateway: &Gateway, path: &str) -> u16 {
    let mut client = gateway.connect();
    client.send(get(path));
    client.response().status()
}

#[test]
fn the_base_path_stands_before_every_route() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&format!("{}/v1", upstream.url()))
        .env("BASE_PATH", "/g")
        .start();
    let mut client = gateway.connect();
    client.send(get("/g/p/anthropic/v1/messages?q"));
    assert_eq!(client.response().value("x-target"), Some("/v1/messages?q"));
    assert_eq!(status(&gateway, "/g/health"), 200);
    for path in [
        "/p/anthropic/v1/messages",
        "/health",
        "/gp/anthropic/x",
        "/g/g/health",
    ] {
        assert_eq!(status(&gateway, path), 404, "{path}");
    }
}

#[test]
fn without_passthrough_routes_there_is_only_health() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .base(&upstream.url())
        .env("ENABLE_PASSTHROUGH_ROUTES", "false")
        .start();
    assert_eq!(status(&gateway, "/p/anthropic/v1/messages"), 404);
    assert_eq!(status(&gateway, "/health"), 200);
    assert!(!upstream.has_connection());
}

#[test]
fn without_the_alias_a_leading_v1_is_refused() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&format!("{}/v1", upstream.url()))
        .env("ALLOW_PASSTHROUGH_V1_ALIAS", "false")
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/v1/messages"));
    let refused = client.response();
    assert_eq!(refused.status(), 400);
    assert!(
        refused.text().contains("alias is disabled"),
        "{}",
        refused.text()
    );
    client.send(get("/p/anthropic/messages"));
    assert_eq!(client.response().value("x-target"), Some("/v1/messages"));
}

#[test]
fn only_enabled_types_are_served() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&upstream.url())
        .env("OPENAI_EAST_BASE_URL", &upstream.url())
        .env("OPENAI_EAST_API_KEY", "sk-east")
        .env("ENABLED_PASSTHROUGH_PROVIDERS", "openai")
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/messages"));
    let refused = client.response();
    assert_eq!(refused.status(), 400);
    assert!(
        refused.text().contains("openai, openai-east"),
        "{}",
        refused.text()
    );
    assert!(!refused.text().contains("anthropic,"), "{}", refused.text());
    for path in ["/p/openai/x", "/p/openai-east/x"] {
        client.send(get(path));
        assert_eq!(client.response().status(), 200);
    }
    let received = upstream.received().concat();
    assert!(received.contains("Bearer sk-openai\r\n"), "{received}");
    assert!(received.contains("Bearer sk-east\r\n"), "{received}");
}

#[test]
fn content_over_the_limit_is_refused_before_anything_is_sent() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .base(&upstream.url())
        .env("BODY_SIZE_LIMIT", "1K")
        .start();
    let mut client = gateway.connect();
    client.send(post("/p/anthropic/x", &"b".repeat(1025)));
    let refused = client.response();
    assert_eq!(refused.status(), 413);
    assert!(
        refused.text().contains("\"type\":\"request_too_large\""),
        "{}",
        refused.text()
    );
    assert!(!upstream.has_connection());
    client.send(post("/p/anthropic/x", &"b".repeat(1024)));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().body.len(), 1024);
    peer.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn chunked_content_over_the_limit_is_cut_and_refused() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .base(&upstream.url())
        .env("BODY_SIZE_LIMIT", "1K")
        .start();
    let head = format!(
        "POST /p/anthropic/x HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunk = format!("200\r\n{}\r\n", "c".repeat(512));
    let mut client = gateway.connect();
    client.send(format!("{head}{chunk}{chunk}"));
    let mut peer = upstream.accept();
    peer.head();
    peer.expect(format!("{chunk}{chunk}"));
    client.send("1\r\nc\r\n");
    assert_eq!(client.response().status(), 413);
    let (rest, _) = peer.take_all();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "the provider took it for whole"
    );
    let mut client = gateway.connect();
    client.send(format!("{head}{chunk}{chunk}1\r\nc\r\n0\r\n\r\n"));
    assert_eq!(client.response().status(), 413);
    upstream.expect_untouched();
    let mut client = gateway.connect();
    client.send(format!("{head}{chunk}{chunk}0\r\n\r\n"));
    assert_eq!(
        upstream.accept().request().body.len(),
        1024,
        "framing does not count"
    );
}

#[test]
fn configured_headers_are_sent_in_place_of_the_clients() {
    let upstream = Upstream::listen();
    let toml = format!(
        "[providers.here]\ntype = \"openai\"\nbase_url = \"{}/deep/v1/\"\napi_key = \"sk-here\"\n\
         headers = {{ X-Team = \"red\", OpenAI-Beta = \"b=1\" }}\n",
        upstream.url()
    );
    let gateway = Setup::new().toml(&toml).secret("sk-here").start();
    let mut client = gateway.connect();
    client.send(crate::support::request(
        "GET",
        "/p/here/v1/models",
        &["x-team: blue", "X-Other: kept"],
        "",
    ));
    let sent = upstream.accept().request();
    assert_eq!(sent.head.target(), "/deep/v1/models");
    assert_eq!(sent.value("x-team"), Some("red"));
    assert_eq!(sent.value("openai-beta"), Some("b=1"));
    assert_eq!(sent.value("x-other"), Some("kept"));
    assert_eq!(sent.value("authorization"), Some("Bearer sk-here"));
    let host = upstream.addr().to_string();
    assert_eq!(sent.value("host"), Some(&*host));
}

#[test]
fn attribution_is_sent_unless_the_client_does() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .env("OPENROUTER_BASE_URL", &upstream.url())
        .env("OPENROUTER_API_KEY", "sk-router")
        .env("OPENROUTER_SITE_URL", "https://me.test")
        .env("OPENROUTER_APP_NAME", "me")
        .start();
    let mut client = gateway.connect();
    client.send(crate::support::request(
        "GET",
        "/p/openrouter/x",
        &["http-referer: theirs"],
        "",
    ));
    let sent = upstream.accept().request();
    assert_eq!(sent.head.values("http-referer"), ["theirs"]);
    assert_eq!(sent.value("x-openrouter-title"), Some("me"));
}

#[test]
fn every_kind_of_credential_reaches_the_provider() {
    let upstream = Upstream::listen();
    let rows = [
        ("bearer", Some("Bearer sk-here"), None),
        ("x-api-key", None, Some("sk-here")),
        ("none", None, None),
    ];
    for (credential, authorization, key) in rows {
        let toml = format!(
            "[providers.here]\ntype = \"anthropic\"\nbase_url = \"{}\"\napi_key = \"sk-here\"\ncredential = \"{credential}\"\n",
            upstream.url()
        );
        let gateway = Setup::new().toml(&toml).secret("sk-here").start();
        let mut client = gateway.connect();
        client.send(get("/p/here/messages"));
        let sent = upstream.accept().request();
        assert_eq!(sent.value("authorization"), authorization, "{credential}");
        assert_eq!(sent.value("x-api-key"), key, "{credential}");
        assert_eq!(sent.value("anthropic-version"), Some("2023-06-01"));
    }
}

#[test]
fn the_clients_own_credential_goes_on_and_the_gateway_key_never_does() {
    let upstream = Upstream::listen();
    let toml = format!(
        "[providers.own]\ntype = \"anthropic\"\nbase_url = \"{}\"\ncredential = \"client\"\n",
        upstream.url()
    );
    let gateway = Setup::new().toml(&toml).start();
    let own = "sk-ant-own";
    let rows = [
        (
            format!("Authorization: Bearer {own}\r\nX-Sluicegate-Key: {KEY}"),
            Some("Bearer sk-ant-own"),
            None,
        ),
        (
            format!("X-Api-Key: {own}\r\nX-Sluicegate-Key: {KEY}"),
            None,
            Some(own),
        ),
        (
            format!("X-Api-Key: {own}\r\nAuthorization: Bearer {KEY}"),
            None,
            Some(own),
        ),
        (
            format!("Authorization: bearer {own}\r\nx-api-key: {KEY}"),
            Some("bearer sk-ant-own"),
            None,
        ),
        (
            format!("Authorization: Bearer {KEY}\r\nx-api-key: {KEY}\r\nX-Sluicegate-Key: {KEY}"),
            None,
            None,
        ),
        (
            format!("Authorization: Basic eDp5\r\nApi-Key: {KEY}"),
            Some("Basic eDp5"),
            None,
        ),
    ];
    for (lines, authorization, key) in rows {
        let mut client = gateway.connect();
        client.send(format!(
            "GET /p/own/x HTTP/1.1\r\nHost: g\r\n{lines}\r\n\r\n"
        ));
        let mut peer = upstream.accept();
        let sent = peer.request();
        assert_eq!(sent.value("authorization"), authorization, "{lines}");
        assert_eq!(sent.value("x-api-key"), key, "{lines}");
        assert_eq!(sent.value("x-sluicegate-key"), None);
        assert_eq!(sent.value("api-key"), None);
        assert!(!sent.head.lines.concat().contains(KEY), "{lines}");
        // Not kept, so that the next row gets a connection of its own.
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        client.response();
    }
    let mut client = gateway.connect();
    client.send(format!(
        "GET /p/own/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {own}\r\n\r\n"
    ));
    assert_eq!(
        client.response().status(),
        401,
        "their own credential is no gateway key"
    );
    assert!(!upstream.has_connection());
}

#[test]
fn secrets_from_files_are_in_force() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .file("gate.txt", &format!("  {KEY}\n"))
        .file("openai.txt", "sk-from-file\r\n")
        .secret("sk-from-file")
        .env("GOMODEL_MASTER_KEY_FILE", "gate.txt")
        .env("OPENAI_API_KEY_FILE", "openai.txt")
        .env("OPENAI_BASE_URL", &upstream.url())
        .start();
    let mut client = gateway.connect();
    client.send("GET /p/openai/x HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 401);
    client.send(get("/p/openai/x"));
    let sent = upstream.accept().request();
    assert_eq!(sent.value("authorization"), Some("Bearer sk-from-file"));
}

#[test]
fn every_address_is_listened_on() {
    let setup = Setup::new();
    let path = setup.dir().join("gate.sock");
    let listen = format!("127.0.0.1:0,unix:{}", path.display());
    let gateway = setup
        .env("SLUICEGATE_LISTEN", &listen)
        .env("SLUICEGATE_WORKERS", "2")
        .start();
    gateway.wait_log(|line| line.contains("listening") && line.contains("gate.sock"));
    assert_eq!(status(&gateway, "/health"), 200);
    let mut client = UnixStream::connect(path).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
        .write_all(b"GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
}

#[test]
fn a_request_that_takes_longer_than_its_ceiling_is_cut() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .base(&upstream.url())
        .toml("[timeouts]\nrequest = \"300ms\"\n")
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/x"));
    let mut peer = upstream.accept();
    peer.request();
    assert_eq!(client.response().status(), 504);
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/x"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    let broken = client.try_response().unwrap_err();
    assert_eq!(
        (broken.body, broken.head.map(|head| head.status())),
        (b"a".to_vec(), Some(200))
    );
    assert!(matches!(broken.end, End::Clean | End::Reset));
}
