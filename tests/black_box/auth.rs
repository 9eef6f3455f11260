//! Gateway keys: where they may stand, and what is said when they are missing or wrong.

use crate::support::{Gateway, Head, KEY, Rig, Setup, Upstream, Wire, ok};

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

/// In front of a provider that gets the client's own credential.
fn bring_your_own(upstream: &Upstream) -> Gateway {
    let provider = format!(
        "[providers.own]\ntype = \"openai\"\ncredential = \"client\"\nbase_url = \"{}/v1\"\n",
        upstream.url()
    );
    let setup = Setup::new().base(&format!("{}/v1", upstream.url()));
    setup.toml(&provider).start()
}

/// What a provider sees of these lines beside a good key.
fn seen_beside_a_key(client: &mut Wire, upstream: &Upstream, path: &str, lines: &[&str]) -> Head {
    let mut text = format!("GET {path} HTTP/1.1\r\nHost: g\r\nX-Sluicegate-Key: {KEY}\r\n");
    for line in lines {
        text.push_str(&format!("{line}\r\n"));
    }
    client.send(text + "\r\n");
    let mut peer = upstream.accept();
    let head = peer.request().head;
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    assert_eq!(client.response().status(), 200, "{lines:?}");
    head
}

#[test]
fn the_gateways_own_key_goes_to_no_provider_in_any_spelling() {
    let upstream = Upstream::listen();
    let gateway = bring_your_own(&upstream);
    let mut client = gateway.connect();
    for line in [
        "Authorization: gk-test",
        "Authorization: bearer gk-test",
        "Authorization: Bearer\tgk-test",
        "Authorization: Bearer   gk-test",
        "Authorization: Bearer Bearer gk-test",
        "Authorization: Bearer: gk-test",
        "Authorization: Bearer \"gk-test\"",
        "Authorization: Bearer <gk-test>",
        "Authorization: Bearer=gk-test",
        "Authorization: Bearer gk-test, Bearer other",
        "Authorization: Token gk-test",
        "Authorization: Token token=\"gk-test\", user=a",
        "Authorization: ApiKey gk-test;x=y",
        // gk-test as user, as password, and alone.
        "Authorization: Basic Z2stdGVzdDo=",
        "Authorization: basic dXNlcjpnay10ZXN0",
        "Authorization: Basic Z2stdGVzdDo",
        "Authorization: Basic Z2stdGVzdA==",
        "Authorization: Bearer Z2stdGVzdA",
        "x-api-key: Bearer gk-test",
        "x-api-key: 'gk-test'",
        "x-api-key: gk-test,",
        "X-API-KEY: gk-test gk-test",
        "x-api-key: key=gk-test",
        "x-api-key: Z2stdGVzdA==",
        "api-key: Bearer gk-test",
        "api-key: anything",
        "x-goog-api-key: gk-test",
    ] {
        let head = seen_beside_a_key(&mut client, &upstream, "/p/own/models", &[line]);
        let (name, _) = line.split_once(':').unwrap();
        assert_eq!(head.value(&name.to_ascii_lowercase()), None, "{line}");
    }
    for line in [
        "Authorization: Bearer sk-of-my-own",
        "Authorization: Bearer gk-tes",
        "Authorization: Bearer gk-testt",
        "Authorization: Basic bWU6c2VjcmV0",
        "x-api-key: GK-TEST",
    ] {
        let head = seen_beside_a_key(&mut client, &upstream, "/p/own/models", &[line]);
        assert!(
            head.lines.contains(&line.to_owned()),
            "{line}: {:?}",
            head.lines
        );
    }
}

#[test]
fn nor_does_it_among_the_subprotocols() {
    let upstream = Upstream::listen();
    let gateway = bring_your_own(&upstream);
    let mut client = gateway.connect();
    for (sent, left) in [
        (
            "realtime, openai-insecure-api-key.gk-test",
            Some("realtime"),
        ),
        (
            "realtime, OpenAI-Insecure-API-Key.gk-test",
            Some("realtime"),
        ),
        (
            "realtime, openai-insecure-api-key.another",
            Some("realtime"),
        ),
        ("gk-test, realtime", Some("realtime")),
        ("realtime, bearer.gk-test", Some("realtime")),
        ("realtime, \"gk-test\"", Some("realtime")),
        ("realtime, base64url.bearer.Z2stdGVzdA", Some("realtime")),
        ("gk-test", None),
        ("realtime, gk-test2", Some("realtime, gk-test2")),
    ] {
        for path in ["/p/own/realtime", "/p/openai/realtime"] {
            let line = format!("Sec-WebSocket-Protocol: {sent}");
            let head = seen_beside_a_key(&mut client, &upstream, path, &[&line]);
            assert_eq!(head.value("sec-websocket-protocol"), left, "{sent}");
        }
    }
    // The prefix counts in any case where the key is looked for, too.
    client.send(with_lines(&[
        "Sec-WebSocket-Protocol: OPENAI-insecure-api-key.gk-test",
    ]));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().head.value("sec-websocket-protocol"), None);
    peer.send(ok(""));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_key_in_the_query_counts_for_nothing() {
    let upstream = Upstream::listen();
    let gateway = bring_your_own(&upstream);
    let mut client = gateway.connect();
    client.send("GET /p/own/models?key=gk-test HTTP/1.1\r\nHost: g\r\n\r\n");
    let got = client.response();
    assert_eq!(got.status(), 401);
    assert!(got.text().contains("missing_key"), "{}", got.text());
    assert!(!upstream.has_connection());
}
