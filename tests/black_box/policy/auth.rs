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
        // With a line's end, as `echo` adds it, or blanks.
        "Authorization: Basic dTpnay10ZXN0Cg==",
        "Authorization: Basic dTpnay10ZXN0DQo=",
        "Authorization: Basic Z2stdGVzdAo=",
        "Authorization: Basic ICBnay10ZXN0ICA=",
        "Authorization: Basic dTogZ2stdGVzdA==",
        "x-api-key: Z2stdGVzdAo=",
        // With a colon more, before the key or behind it.
        "Authorization: Basic dTpnay10ZXN0Ong=",
        "Authorization: Basic YTpiOmdrLXRlc3Q=",
        "Authorization: Basic Z2stdGVzdDphOmI=",
        // A user that is not ASCII, in UTF-8 and in Latin-1.
        "Authorization: Basic w7xzZXI6Z2stdGVzdA==",
        "Authorization: Basic /HNlcjpnay10ZXN0Cg==",
        // "Bearer gk-test", and base64 of base64.
        "Authorization: Bearer QmVhcmVyIGdrLXRlc3Q=",
        "x-api-key: QmVhcmVyIGdrLXRlc3QK",
        "Authorization: Bearer WjJzdGRHVnpkQT09Cg==",
        // {"key":"gk-test"} and "token=gk-test".
        "Authorization: Bearer eyJrZXkiOiJnay10ZXN0In0=",
        "Authorization: Token dG9rZW49Z2stdGVzdA==",
        // UTF-16, as PowerShell encodes text.
        "Authorization: Basic dQA6AGcAawAtAHQAZQBzAHQA",
        // Broken into lines, which became words.
        "Authorization: Basic dTpnay 10ZXN0 Cg==",
        "x-api-key: Z2st dGVzdA==",
        "Authorization: Bearer%20gk-test",
        "Authorization: Bearer gk-test%0A",
        "Authorization: Bearer%20%67k%2dtest",
        "Authorization: Basic%20dTpnay10ZXN0Cg%3D%3D",
        "x-api-key: %22gk-test%22",
        "Authorization: Bearer gk-test\\n",
        "Authorization: Bearer+gk-test",
        "Authorization: Bearer_gk-test",
        "Authorization: Bearer-gk-test",
        "Authorization: Bearergk-test",
        "Authorization: BasicdTpnay10ZXN0",
        "Authorization: https://u:gk-test@h/",
        "Authorization: https://gk-test@h/",
        "Authorization: Bearer \u{201c}gk-test\u{201d}",
        "Authorization: Bearer\u{a0}gk-test",
        "Authorization: \u{feff}gk-test",
        "Authorization: {\"Authorization\":\"Bearer gk-test\"}",
        "Authorization: Bearer ${gk-test}",
        "Authorization: Bearer gk-test # my key",
        "Authorization: Authorization: Bearer gk-test",
        "Authorization: -H \"x-api-key: gk-test\"",
        "Authorization: &quot;gk-test&quot;",
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
        "Authorization: Basic bWU6c2VjcmV0Cg==",
        "Authorization: Bearer 100%25%zz",
        "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJtZSIsInN1YiI6InlvdSJ9.c2lnbmF0dXJl",
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

/// Servers that hand fields on as CGI does take other marks for hyphens.
const DISGUISED: [&str; 19] = [
    "X_API_KEY",
    "x_api_key",
    "X-Api_Key",
    "X.Api.Key",
    "X--Api--Key",
    "X__Api__Key",
    "Api_Key",
    "api.key",
    "Api--Key",
    "X_Goog_Api_Key",
    "x|goog|api|key",
    "X_Sluicegate_Key",
    "X~Sluicegate~Key",
    "Proxy_Authorization",
    "Proxy--Authorization",
    "Sec_WebSocket_Protocol",
    "X_Forwarded_For",
    "X-Forwarded_Uri",
    "x_gomodel_user_path",
];

/// What is only like a field of the framing frames nothing, and goes on as everything else does.
const OTHERS: [&str; 5] = [
    "X_Request_Id: 1",
    "X_Api_Keys: other",
    "X_Team: a",
    "Content_Length: 5",
    "Transfer_Encoding: chunked",
];

#[test]
fn a_field_that_never_goes_on_does_not_with_other_marks_in_its_name() {
    let upstream = Upstream::listen();
    let gateway = bring_your_own(&upstream);
    let mut client = gateway.connect();
    for path in ["/p/own/models", "/p/openai/models"] {
        let lines = DISGUISED.map(|name| format!("{name}: gk-test"));
        let mut lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        lines.extend(OTHERS);
        let seen = seen_beside_a_key(&mut client, &upstream, path, &lines).lines;
        assert!(!seen.concat().contains("gk-test"), "{seen:?}");
        for line in OTHERS {
            assert!(seen.contains(&line.to_owned()), "{seen:?}");
        }
    }
    // Nor do they count for a key.
    client.send(with_lines(&["X_Api_Key: gk-test"]));
    assert_eq!(client.response().status(), 401);
    assert!(!upstream.has_connection());
}

#[test]
fn nor_does_such_a_trailer() {
    let upstream = Upstream::listen();
    let gateway = bring_your_own(&upstream);
    let names = ["Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key"];
    for name in names.into_iter().chain(DISGUISED) {
        for path in ["/p/own/models", "/p/openai/models"] {
            let mut client = gateway.connect();
            client.send(format!(
                "POST {path} HTTP/1.1\r\nHost: g\r\nX-Sluicegate-Key: {KEY}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n{name}: gk-test\r\n\r\n"
            ));
            let answer = client.response();
            assert_eq!(answer.status(), 400, "{name}");
            assert!(answer.text().contains("invalid_trailer"), "{name}");
        }
    }
    assert!(!upstream.has_connection());
}
