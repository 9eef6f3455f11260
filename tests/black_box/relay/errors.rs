//! What the gateway says for itself: one shape, one table, and a connection that stays usable.

use std::net::TcpListener;

use serde_json::Value;

use crate::support::chunked::chunk;
use crate::support::{
    End, Gateway, Message, Rig, Setup, Upstream, announced, get, ok, post, request,
};

/// Asserts everything that every error has in common, and returns its code.
#[track_caller]
fn checked(got: &Message, status: u16, kind: &str, retry: bool) -> String {
    assert_eq!(got.status(), status, "{}", got.text());
    assert_eq!(got.value("content-type"), Some("application/json"));
    assert_eq!(
        got.value("content-length").unwrap(),
        got.body.len().to_string()
    );
    assert_eq!(
        got.value("x-should-retry"),
        Some(if retry { "true" } else { "false" })
    );
    let date = got.value("date").unwrap();
    assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
    let id = got.value("x-request-id").unwrap();
    assert!(!id.is_empty());
    assert_eq!(got.value("request-id"), Some(id));
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    let keys = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(&body), ["error", "request_id", "type"]);
    assert_eq!(keys(&body["error"]), ["code", "message", "param", "type"]);
    assert_eq!(body["type"], "error");
    assert_eq!(body["error"]["type"], kind, "{body}");
    assert_eq!(body["error"]["param"], Value::Null);
    assert_eq!(body["request_id"], id);
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
    let code = body["error"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        code.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
        "{code}"
    );
    code
}

/// A gateway whose providers are each broken in another way.
fn broken() -> (Gateway, TcpListener) {
    // Bound and never listened on would be the same; dropped, the port refuses.
    let refusing = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = Setup::new()
        .env("OPENAI_BASE_URL", &format!("http://{refusing}"))
        .env("OPENAI_API_KEY", "sk-openai")
        .env("ZAI_BASE_URL", "http://name.invalid")
        .env("ZAI_API_KEY", "sk-zai")
        .env(
            "DEEPSEEK_BASE_URL",
            &format!("https://localhost:{}", plain.local_addr().unwrap().port()),
        )
        .env("DEEPSEEK_API_KEY", "sk-deepseek");
    (setup.start(), plain)
}

#[test]
fn errors_of_the_request_have_status_and_type_of_the_table() {
    let rig = Rig::with(|setup| setup.env("BODY_SIZE_LIMIT", "1K"));
    let long = format!("/p/anthropic/{}", "t".repeat(17_000));
    let many: Vec<String> = (0..100).map(|i| format!("X-{i}: {i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let no_key = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: g\r\n\r\n");
    for (status, kind, text) in [
        (400, "invalid_request_error", get("/p/anthropic/../x")),
        (400, "invalid_request_error", get("/p/nowhere/x")),
        (400, "invalid_request_error", get("/p/anthropic")),
        (
            400,
            "invalid_request_error",
            get("/p/anthropic/x").replace("Host", "Ho st"),
        ),
        (401, "authentication_error", no_key("/p/anthropic/x")),
        (
            401,
            "authentication_error",
            get("/p/anthropic/x").replace("gk-", "xx-"),
        ),
        (404, "not_found_error", get("/nowhere")),
        (
            413,
            "request_too_large",
            request("POST", "/p/anthropic/x", &[], &"b".repeat(2000)),
        ),
        (414, "request_too_large", get(&long)),
        (
            431,
            "request_too_large",
            request("GET", "/p/anthropic/x", &many, ""),
        ),
        (
            501,
            "invalid_request_error",
            request("TRACE", "/p/anthropic/x", &[], ""),
        ),
        (
            501,
            "invalid_request_error",
            announced("/p/anthropic/x", "Transfer-Encoding: gzip"),
        ),
        (
            505,
            "invalid_request_error",
            get("/p/anthropic/x").replace("HTTP/1.1", "HTTP/2.0"),
        ),
    ] {
        let mut client = rig.client();
        client.send(&text);
        let code = checked(&client.response(), status, kind, false);
        assert!(!code.is_empty(), "{text}");
    }
    rig.upstream.expect_untouched();
}

#[test]
fn a_provider_that_cannot_be_reached_is_502_and_worth_a_retry() {
    let (gateway, _plain) = broken();
    let mut client = gateway.connect();
    client.send(request("POST", "/p/openai/x", &[], "content"));
    assert_eq!(
        checked(&client.response(), 502, "api_error", true),
        "upstream_connect"
    );
    client.send(request("POST", "/p/zai/x", &[], "content"));
    checked(&client.response(), 502, "api_error", true);
    // The connection stays usable throughout.
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_tls_handshake_that_fails_is_502_upstream_tls() {
    let (gateway, plain) = broken();
    let mut client = gateway.connect();
    client.send(request("POST", "/p/deepseek/x", &[], "content"));
    let (socket, _) = plain.accept().unwrap();
    let mut peer = crate::support::Wire::new(socket, None);
    peer.fill().unwrap();
    peer.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(
        checked(&client.response(), 502, "api_error", false),
        "upstream_tls"
    );
}

#[test]
fn a_provider_that_closes_or_resets_without_an_answer_is_502_without_a_retry() {
    let rig = Rig::plain();
    for reset in [false, true] {
        let (mut client, peer, _) = rig.exchange(&request("POST", "/p/anthropic/x", &[], "c"));
        if reset {
            peer.reset()
        } else {
            peer.close()
        }
        let code = checked(&client.response(), 502, "api_error", false);
        assert!(code.starts_with("upstream_"), "{code}");
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
    }
}

#[test]
fn the_clients_request_id_is_echoed_where_it_is_visible_ascii() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let (most, over) = ("i".repeat(200), "i".repeat(201));
    for (id, echoed) in [
        ("a", true),
        ("req_011CSHoEeqs5C35K2UUqR7Fy", true),
        ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", true),
        (most.as_str(), true),
        (over.as_str(), false),
        ("with blank", false),
        ("with\ttab", false),
        ("", false),
        ("caf\u{e9}", false),
    ] {
        client.send(request(
            "GET",
            "/nowhere",
            &[&format!("X-Request-ID: {id}")],
            "",
        ));
        let got = client.response();
        checked(&got, 404, "not_found_error", false);
        let value = got.value("x-request-id").unwrap();
        assert_eq!(value == id, echoed, "{id:?} gave {value:?}");
    }
}

#[test]
fn an_error_for_head_has_no_content() {
    let rig = Rig::plain();
    let mut client = rig.client();
    for _ in 0..2 {
        client.send(request("HEAD", "/nowhere", &[], ""));
        let got = client.response_to_head();
        assert_eq!(got.status(), 404);
        assert_eq!(got.value("content-type"), Some("application/json"));
    }
    client.send(get("/health"));
    assert_eq!(client.response().text(), "{\"status\":\"ok\"}");
}

#[test]
fn a_request_that_could_be_framed_leaves_the_connection_usable() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let body = "b".repeat(60_000);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\nX-T: 1\r\n\r\n", body.len());
    for turn in 0..3 {
        client.send(request("POST", "/nowhere", &[], &body));
        let got = client.response();
        checked(&got, 404, "not_found_error", false);
        assert_eq!(got.value("keep-alive"), Some("timeout=119"), "turn {turn}");
        client.send(announced("/nowhere", "Transfer-Encoding: chunked") + &chunked);
        checked(&client.response(), 404, "not_found_error", false);
    }
    client.send(get("/p/anthropic/models"));
    let mut peer = rig.upstream.accept();
    peer.request();
    peer.send(ok("still usable"));
    assert_eq!(client.response().text(), "still usable");
}

#[test]
fn a_request_behind_64_kib_of_unread_content_does_not_count_towards_them() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(request("PUT", "/nowhere", &["Content-Length: 65536"], ""));
    let got = client.response();
    checked(&got, 404, "not_found_error", false);
    assert_eq!(got.value("keep-alive"), Some("timeout=119"));
    // In one piece, so that the end of the content and the next request can arrive together.
    client.send("b".repeat(65_536) + &get("/health"));
    assert_eq!(client.response().text(), "{\"status\":\"ok\"}");
}

#[test]
fn a_short_request_whose_client_waits_for_a_100_closes_the_connection() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let lines = ["Content-Length: 5", "Expect: 100-continue"];
    client.send(request("PUT", "/nowhere", &lines, ""));
    let got = client.response();
    checked(&got, 404, "not_found_error", false);
    assert_eq!(got.value("connection"), Some("close"));
    client.wait_for_close();
}

#[test]
fn more_unread_content_than_64_kib_closes_the_connection() {
    let rig = Rig::plain();
    for lines in [
        &["Content-Length: 10000000"] as &[&str],
        &["Content-Length: 10000000", "Expect: 100-continue"],
    ] {
        let mut client = rig.client();
        client.send(request("PUT", "/nowhere", lines, ""));
        let got = client.response();
        checked(&got, 404, "not_found_error", false);
        assert_eq!(got.value("connection"), Some("close"), "{lines:?}");
        client.wait_for_close();
    }
    // An answer that comes while the client is sending is still received.
    let mut client = rig.client();
    let _ = client.try_send(request("POST", "/nowhere", &[], &"b".repeat(1_000_000)));
    checked(&client.response(), 404, "not_found_error", false);
    client.wait_for_close();
    // The length is not known beforehand.
    let mut client = rig.client();
    let text = announced("/nowhere", "Transfer-Encoding: chunked");
    let _ = client.try_send(text + &format!("f4240\r\n{}\r\n0\r\n\r\n", "b".repeat(1_000_000)));
    checked(&client.response(), 404, "not_found_error", false);
    client.wait_for_close();
}

#[test]
fn a_request_that_could_not_be_framed_closes_the_connection() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(
        "GET /p/anthropic/x HTTP/1.1\r\nHost : g\r\n\r\nGET /health HTTP/1.1\r\nHost: g\r\n\r\n",
    );
    let got = client.response();
    checked(&got, 400, "invalid_request_error", false);
    assert_eq!(got.value("connection"), Some("close"));
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn a_request_with_a_readable_head_that_could_not_be_framed_is_answered_as_its_own() {
    let rig = Rig::plain();
    for (lines, body, status) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "", 400),
        ("Content-Length: +3", "", 400),
        ("Transfer-Encoding: gzip", "", 501),
        ("Transfer-Encoding: chunked", "x\r\n", 400),
    ] {
        for method in ["POST", "HEAD"] {
            let mut client = rig.client();
            client.send(format!(
                "{method} /p/anthropic/misframed HTTP/1.1\r\nHost: g\r\nX-Request-ID: mine\r\n\
                 {lines}\r\n\r\n{body}"
            ));
            let got = match method {
                "HEAD" => client.response_to_head(),
                _ => client.response(),
            };
            assert_eq!(got.status(), status, "{lines}");
            assert_eq!(got.value("x-request-id"), Some("mine"));
            assert_eq!(got.value("request-id"), Some("mine"));
            assert_eq!(got.value("connection"), Some("close"));
            assert_eq!(client.expect_end(), End::Clean);
        }
    }
    let line = |line: &str| line.contains("misframed") && line.contains("\"request_id\":\"mine\"");
    rig.gateway.wait_log(line);
}

#[test]
fn a_body_over_the_limit_is_413_before_anything_is_sent_upstream() {
    let upstream = Upstream::listen();
    for (limit, bytes) in [("10", 10_usize), ("1K", 1024), ("1M", 1_048_576)] {
        let gateway = Setup::new()
            .base(&upstream.url())
            .env("BODY_SIZE_LIMIT", limit)
            .start();
        let mut client = gateway.connect();
        let line = format!("Content-Length: {}", bytes + 1);
        client.send(request("PUT", "/p/anthropic/files", &[&line], ""));
        checked(&client.response(), 413, "request_too_large", false);
        upstream.expect_untouched();
        let mut client = gateway.connect();
        if bytes < 10_000 {
            // Content that is there already is taken off the connection, which goes on.
            client.send(post("/p/anthropic/files", &"b".repeat(bytes + 1)));
            checked(&client.response(), 413, "request_too_large", false);
            assert!(!upstream.has_connection());
        }
        client.send(post("/p/anthropic/files", &"b".repeat(bytes.min(100_000))));
        let mut peer = upstream.accept();
        assert_eq!(peer.request().body.len(), bytes.min(100_000));
        peer.send(ok("within"));
        assert_eq!(client.response().text(), "within");
    }
}

#[test]
fn a_body_limit_of_zero_is_no_limit() {
    let rig = Rig::with(|setup| setup.env("BODY_SIZE_LIMIT", "0"));
    let (mut client, mut peer, seen) =
        rig.exchange(&request("POST", "/p/anthropic/files", &[], "content"));
    assert_eq!(seen.text(), "content");
    peer.send(ok("taken"));
    assert_eq!(client.response().text(), "taken");
}

#[test]
fn a_chunked_body_over_the_limit_is_413_and_cuts_the_upstream() {
    for (limit, half) in [("10", 5), ("1K", 512)] {
        let rig = Rig::with(|setup| setup.env("BODY_SIZE_LIMIT", limit));
        let head = announced("/p/anthropic/files", "Transfer-Encoding: chunked");
        let first = chunk(&"c".repeat(half));
        for more in [
            chunk(&"c".repeat(half + 1)) + "0\r\n\r\n",
            first.clone() + "1\r\nc\r\n",
        ] {
            let mut client = rig.client();
            client.send(format!("{head}{first}"));
            let mut peer = rig.upstream.accept();
            peer.head();
            peer.expect(&first);
            client.send(more);
            checked(&client.response(), 413, "request_too_large", false);
            let (rest, _) = peer.take_all();
            assert!(!rest.ends_with(b"0\r\n\r\n"), "forwarded as whole");
        }
        // All of it at once.
        let mut client = rig.client();
        client.send(format!("{head}{first}{first}1\r\nc\r\n0\r\n\r\n"));
        checked(&client.response(), 413, "request_too_large", false);
        rig.upstream.expect_untouched();
        // Just the limit passes: framing does not count.
        let (_, _, seen) = rig.exchange(&format!("{head}{first}{first}0\r\n\r\n"));
        assert_eq!(seen.text(), "c".repeat(2 * half));
    }
}

#[test]
fn the_order_of_checks_is_framing_route_key_provider_size() {
    let rig = Rig::with(|setup| setup.env("BODY_SIZE_LIMIT", "10"));
    let big = "Content-Length: 100";
    let rows = [
        (
            400,
            format!("PUT /nowhere HTTP/1.1\r\nHost : g\r\n{big}\r\n\r\n"),
        ),
        (
            404,
            format!("PUT /nowhere HTTP/1.1\r\nHost: g\r\n{big}\r\n\r\n"),
        ),
        (
            401,
            format!("PUT /p/nowhere/x HTTP/1.1\r\nHost: g\r\n{big}\r\n\r\n"),
        ),
        (400, request("PUT", "/p/nowhere/x", &[big], "")),
        (413, request("PUT", "/p/anthropic/x", &[big], "")),
    ];
    for (status, text) in rows {
        let mut client = rig.client();
        client.send(&text);
        assert_eq!(client.response().status(), status, "{text}");
    }
    rig.upstream.expect_untouched();
}

#[test]
fn no_error_and_no_log_line_shows_a_credential() {
    let rig = Rig::plain();
    let secret = "sk-client-own-secret";
    for text in [
        get("/p/anthropic/../x").replace("gk-test", secret),
        get("/p/anthropic/x").replace("gk-test", secret),
        request("GET", &format!("/nowhere?key={secret}"), &[], ""),
        request(
            "GET",
            "/p/anthropic/x",
            &[&format!("Authorization : Bearer {secret}")],
            "",
        ),
        request(
            "GET",
            "/p/anthropic/x",
            &[&format!("Authorization: Bearer {secret}\0")],
            "",
        ),
        request("GET", &format!("/p/anthropic/x?key={secret}\x01"), &[], ""),
    ] {
        let mut client = rig.client();
        client.send(text);
        let got = client.response();
        assert!(!String::from_utf8_lossy(&got.head.raw).contains(secret));
        assert!(!got.text().contains(secret), "{}", got.text());
    }
    let log = rig.gateway.log();
    assert!(!log.contains(secret), "{log}");
}
