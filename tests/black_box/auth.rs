//! Gateway keys: where they may stand, and what is said when they are missing or wrong.

use crate::support::{KEY, Rig, Setup, Upstream, ok};

fn with_lines(lines: &[&str]) -> String {
    let mut text = "GET /p/anthropic/models HTTP/1.1\r\nHost: gateway\r\n".to_owned();
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

#[test]
fn the_key_may_come_in_any_credential_header() {
    let rig = Rig::plain();
    let rows: &[&[&str]] = &[
        &["Authorization: Bearer gk-test"],
        &["authorization: bearer gk-test"],
        &["AUTHORIZATION: BEARER gk-test"],
        &["x-api-key: gk-test"],
        &["X-Api-Key:gk-test"],
        &["api-key: gk-test"],
        &["X-Sluicegate-Key: gk-test"],
        &["Authorization: Bearer something-else", "x-api-key: gk-test"],
        &["Authorization: Bearer gk-test", "x-api-key: something-else"],
        &["Authorization: Basic abc", "api-key: gk-test"],
        &["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.gk-test"],
    ];
    for lines in rows {
        let (mut client, mut peer, seen) = rig.exchange(&with_lines(lines));
        assert_eq!(seen.value("x-api-key"), Some("sk-anthropic"), "{lines:?}");
        assert!(
            !String::from_utf8_lossy(&seen.head.raw).contains(KEY),
            "{lines:?}"
        );
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().status(), 200, "{lines:?}");
    }
}

#[test]
fn a_missing_key_is_401_missing_key() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(with_lines(&["X-Goog-Api-Key: gk-test"]));
    let got = client.response();
    assert_eq!(got.status(), 401);
    assert_eq!(got.value("www-authenticate"), Some("Bearer"));
    assert_eq!(got.value("x-should-retry"), Some("false"));
    assert!(
        got.text().contains("\"code\":\"missing_key\""),
        "{}",
        got.text()
    );
    assert!(
        got.text().contains("authentication_error"),
        "{}",
        got.text()
    );
    rig.upstream.expect_untouched();
}

#[test]
fn a_wrong_key_is_401_invalid_key() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let long = format!("x-api-key: {}", "k".repeat(10_000));
    let rows: &[&[&str]] = &[
        &["Authorization: Bearer wrong"],
        &["Authorization: Bearer gk-tes"],
        &["Authorization: Bearer gk-testt"],
        &["Authorization: Bearer GK-TEST"],
        &["Authorization: gk-test"],
        &["Authorization: Basic gk-test"],
        &["Authorization: Bearer"],
        &["x-api-key:"],
        &["x-api-key: gk-test gk-test"],
        &["x-api-key: wrong", "api-key: wrong"],
        &[&long],
    ];
    for lines in rows {
        client.send(with_lines(lines));
        let got = client.response();
        assert_eq!(got.status(), 401, "{lines:?}");
        assert_eq!(got.value("www-authenticate"), Some("Bearer"), "{lines:?}");
        assert_eq!(got.value("x-should-retry"), Some("false"), "{lines:?}");
        assert!(
            got.text().contains("\"code\":\"invalid_key\""),
            "{lines:?}: {}",
            got.text()
        );
    }
    rig.upstream.expect_untouched();
}

#[test]
fn two_lines_of_the_same_credential_are_401() {
    let rig = Rig::plain();
    let mut client = rig.client();
    for lines in [
        [
            "Authorization: Bearer gk-test",
            "authorization: Bearer gk-test",
        ],
        ["x-api-key: gk-test", "X-API-KEY: other"],
        ["api-key: gk-test", "api-key: gk-test"],
        ["X-Sluicegate-Key: gk-test", "X-Sluicegate-Key: gk-test"],
    ] {
        client.send(with_lines(&lines));
        assert_eq!(client.response().status(), 401, "{lines:?}");
    }
    rig.upstream.expect_untouched();
}

#[test]
fn a_gateway_without_keys_is_open_and_warns() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .base(&upstream.url())
        .start();
    let warning = gateway.wait_log(|line| line.contains("\"warn"));
    assert!(
        warning.contains("open") || warning.contains("key"),
        "{warning}"
    );
    let mut client = gateway.connect();
    client.send(with_lines(&["Authorization: Bearer own", "x-api-key: own"]));
    let mut peer = upstream.accept();
    let seen = peer.request();
    assert_eq!(seen.value("x-api-key"), Some("sk-anthropic"));
    assert_eq!(seen.value("authorization"), None);
    peer.send(ok("open"));
    assert_eq!(client.response().text(), "open");
}

#[test]
fn the_master_key_has_a_second_name() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .env("SLUICEGATE_MASTER_KEY", "gk-other")
        .base(&upstream.url())
        .start();
    let mut client = gateway.connect();
    client.send(with_lines(&["x-api-key: gk-test"]));
    assert_eq!(client.response().status(), 401);
    client.send(with_lines(&["x-api-key: gk-other"]));
    upstream.accept().request();
}

#[test]
fn an_empty_keys_file_is_not_an_open_gateway() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .file("keys.toml", "")
        .env("SLUICEGATE_KEYS_FILE", "keys.toml")
        .base(&upstream.url())
        .start();
    let mut client = gateway.connect();
    client.send(with_lines(&[]));
    assert_eq!(client.response().status(), 401);
    client.send(with_lines(&["x-api-key: anything"]));
    assert_eq!(client.response().status(), 401);
    upstream.expect_untouched();
}
