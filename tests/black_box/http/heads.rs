//! Request and response heads: what is removed, what is added, and that all else stays as it was.

use crate::support::wire::latin1;
use crate::support::{KEY, Rig, get, ok, request, response};

/// What the gateway may add to a request for `anthropic`.
const ADDED: &[&str] = &["host", "x-api-key", "anthropic-version", "x-request-id"];

/// And to a response.
const RESPONSE_ADDED: &[&str] = &["x-request-id", "connection", "keep-alive"];

/// Lines of every odd but valid form.
const ODD_LINES: &[&str] = &[
    "User-Agent: claude-cli/2.1.250 (external, cli)",
    "anthropic-beta: a-2025-01-01,b-2025-02-02",
    "ANTHROPIC-BETA: c",
    "X-Stainless-Lang: js",
    "x-app:cli",
    "X-Wide:   spaced   out\t",
    "X-Empty:",
    "X-Blank: ",
    "X-Tab:\tone\ttwo",
    "X-Colons: a:b:c",
    "Accept: text/event-stream",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Content-Encoding: zstd",
    "Via: 1.1 somewhere",
    "Max-Forwards: 3",
    "From: \u{e9}\u{ff}\u{80}",
    "X-Same: 1",
    "X-Same: 2",
    "!#$%&'*+-.^_`|~0aZ: token",
    "Trailer: X-Later",
    "Idempotency-Key: 4711",
    "X-Real-IP: 10.0.0.1",
    "Proxy-Status: kept",
    "X-Forward: kept",
    "Cookies: kept",
    "Set-Cookie: kept-in-requests",
];

#[test]
fn every_other_request_line_arrives_unchanged_and_in_order() {
    let rig = Rig::plain();
    let text = request("POST", "/p/anthropic/v1/messages", ODD_LINES, "body");
    let mut client = rig.client();
    client.send(latin1(&text));
    let seen = rig.upstream.accept().request();
    let mut expected: Vec<String> = ODD_LINES.iter().map(|&line| line.to_owned()).collect();
    expected.push("Content-Length: 4".to_owned());
    assert_eq!(seen.head.without(ADDED), expected);
    assert_eq!(seen.body, b"body");
}

#[test]
fn every_line_of_the_denylist_is_removed() {
    let rig = Rig::plain();
    let lines = [
        "Authorization: Bearer client-secret",
        "API-Key: client-secret",
        "X-Goog-Api-Key: client-secret",
        "Connection: keep-alive, X-Named , ,x-other",
        "X-Named: 1",
        "X-OTHER: 2",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "Proxy-Authorization: Basic secret",
        "TE: trailers",
        "Upgrade: h2c",
        "Cookie: session=secret",
        "cookie: second=secret",
        "Forwarded: for=10.0.0.1",
        "X-Forwarded-For: 10.0.0.1",
        "x-forwarded-host: inner",
        "X-FORWARDED-PROTO: https",
        "X-Forwarded-Anything: 1",
        "X-GoModel-User-Path: /a",
        "X-Sluicegate-Key: client-secret",
        "X-Kept: yes",
    ];
    let (_, _, seen) = rig.exchange(&request("GET", "/p/anthropic/models", &lines, ""));
    assert_eq!(seen.head.without(ADDED), ["X-Kept: yes"]);
}

#[test]
fn two_connection_lines_name_fields_together() {
    let rig = Rig::plain();
    let lines = [
        "X-A: 1",
        "connection: x-a",
        "X-B: 2",
        "CONNECTION: X-B, close",
        "X-C: 3",
    ];
    let (_, _, seen) = rig.exchange(&request("GET", "/p/anthropic/models", &lines, ""));
    assert_eq!(seen.head.without(ADDED), ["X-C: 3"]);
}

#[test]
fn connection_cannot_take_away_the_framing() {
    let rig = Rig::plain();
    let line = "Connection: content-length, transfer-encoding";
    let (_, _, seen) = rig.exchange(&request(
        "POST",
        "/p/anthropic/messages",
        &[line],
        "0123456789",
    ));
    assert_eq!(seen.text(), "0123456789");
}

#[test]
fn connection_cannot_take_away_what_the_gateway_adds() {
    let rig = Rig::plain();
    let line = "Connection: host, x-api-key, anthropic-version, x-request-id";
    let (_, _, seen) = rig.exchange(&request("GET", "/p/anthropic/models", &[line], ""));
    assert_eq!(seen.value("host").unwrap(), rig.upstream.addr().to_string());
    assert_eq!(seen.value("x-api-key"), Some("sk-anthropic"));
    assert_eq!(seen.value("anthropic-version"), Some("2023-06-01"));
    assert_eq!(seen.value("x-request-id").map(str::is_empty), Some(false));
}

#[test]
fn request_id_is_made_when_absent_and_differs() {
    let rig = Rig::plain();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let (mut client, mut peer, seen) = rig.exchange(&get("/p/anthropic/models"));
        let id = seen.value("x-request-id").unwrap().to_owned();
        peer.send(response("200 OK", &["Connection: close"], ""));
        assert_eq!(client.response().value("x-request-id"), Some(id.as_str()));
        assert!(
            id.len() >= 22 && id.bytes().all(|b| b.is_ascii_graphic()),
            "128 bits: {id}"
        );
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn request_id_of_the_client_is_passed_on() {
    let rig = Rig::plain();
    let line = "x-ReQuest-id: client-id-1";
    let (mut client, mut peer, seen) =
        rig.exchange(&request("GET", "/p/anthropic/models", &[line], ""));
    assert_eq!(seen.value("x-request-id"), Some("client-id-1"));
    assert!(seen.head.lines.iter().any(|l| l == line));
    peer.send(ok(""));
    assert_eq!(client.response().value("x-request-id"), Some("client-id-1"));
}

#[test]
fn request_id_of_the_provider_is_kept() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(response(
        "200 OK",
        &["x-request-id: req_1", "request-id: req_2"],
        "",
    ));
    let got = client.response();
    assert_eq!(got.value("x-request-id"), Some("req_1"));
    assert_eq!(got.value("request-id"), Some("req_2"));
}

#[test]
fn status_reason_lines_and_content_come_as_the_provider_sent_them() {
    let rig = Rig::plain();
    let statuses = [
        "200 OK",
        "200 ",
        "201 Created  twice",
        "207 Multi-Status",
        "299 Any:thing \u{e9}\u{ff}",
        "301 Moved",
        "400 Bad Request",
        "401 Unauthorized",
        "404 Not Found",
        "421 Misdirected",
        "429 Too Many Requests",
        "500 Oops",
        "503 Service Unavailable",
        "529 Overloaded",
        "599 ",
        "999 Beyond",
    ];
    for status in statuses {
        let mut client = rig.client();
        client.send(request(
            "GET",
            "/p/anthropic/models",
            &["Connection: close"],
            "",
        ));
        let mut peer = rig.upstream.accept();
        peer.request();
        let lines = [
            "Server: test",
            "date: Mon, 01 Jan 2001 00:00:00 GMT",
            "X-Wide:   spaced   ",
            "retry-after: 7",
            "WWW-Authenticate: Bearer realm=\"x\"",
            "x-should-retry: true",
            "Content-Encoding: br",
            "X-Latin: \u{e9}\u{ff}",
            "X-Same: 1",
            "X-Same: 2",
            "Location: /elsewhere",
            "Via: 1.1 edge",
            "Alt-Svc: h3=\":443\"",
            "X-Empty:",
            "Connection: close",
        ];
        peer.send(latin1(&response(status, &lines, "{\"as\":\"is\"}")));
        let got = client.response();
        assert_eq!(got.head.start, format!("HTTP/1.1 {status}"));
        let mut expected: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        expected.retain(|line| line != "Connection: close");
        expected.push("Content-Length: 11".to_owned());
        assert_eq!(
            got.head.without(&["x-request-id", "connection"]),
            expected,
            "{status}"
        );
        assert_eq!(got.text(), "{\"as\":\"is\"}");
    }
}

#[test]
fn hop_by_hop_and_cookie_lines_of_a_response_are_removed() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    let lines = [
        "Connection: keep-alive, X-Named",
        "x-named: 1",
        "Keep-Alive: timeout=5, max=100",
        "Proxy-Authenticate: Basic",
        "Set-Cookie: a=b",
        "set-cookie: c=d",
        "Upgrade: h2c",
        "X-Kept: yes",
    ];
    peer.send(response("200 OK", &lines, "hi"));
    let got = client.response();
    let rest = got.head.without(RESPONSE_ADDED);
    assert_eq!(rest, ["X-Kept: yes", "Content-Length: 2"]);
    assert_eq!(got.value("keep-alive"), Some("timeout=119"));
}

#[test]
fn connection_of_a_response_cannot_take_away_its_framing() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let line = "Connection: content-length, Transfer-Encoding, x-request-id";
    for framed in [
        response("200 OK", &[line], "hello"),
        format!(
            "HTTP/1.1 200 OK\r\n{line}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        ),
    ] {
        client.send(get("/p/anthropic/models"));
        let mut peer = rig.upstream.accept();
        peer.request();
        peer.send(framed);
        let got = client.response();
        assert_ne!(got.framing, crate::support::Framing::Close);
        assert_eq!(got.text(), "hello");
        assert!(got.value("x-request-id").is_some());
        peer.close();
    }
}

#[test]
fn keep_alive_says_idle_client_less_one_second() {
    let rig = Rig::with(|setup| setup.toml("[timeouts]\nidle_client = 30\n"));
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(ok(""));
    let got = client.response();
    assert_eq!(got.value("keep-alive"), Some("timeout=29"));
    assert_eq!(got.value("connection"), Some("keep-alive"));
}

#[test]
fn connection_close_is_said_when_the_client_asked_for_it() {
    let rig = Rig::plain();
    let line = "Connection: Close";
    let (mut client, mut peer, seen) =
        rig.exchange(&request("GET", "/p/anthropic/models", &[line], ""));
    assert_eq!(seen.value("connection"), None);
    peer.send(ok("bye"));
    let got = client.response();
    assert_eq!(got.value("connection"), Some("close"));
    assert_eq!(got.value("keep-alive"), None);
    client.expect_end();
    // The upstream connection is the gateway's own matter and stays.
    assert!(!peer.readable_now());
}

#[test]
fn version_upstream_is_always_1_1() {
    let rig = Rig::plain();
    let text = format!("GET /p/anthropic/models HTTP/1.0\r\nx-api-key: {KEY}\r\n\r\n");
    let (mut client, mut peer, seen) = rig.exchange(&text);
    assert_eq!(seen.head.start, "GET /v1/models HTTP/1.1");
    peer.send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().head.start, "HTTP/1.1 200 OK");
}

#[test]
fn a_head_may_come_in_any_pieces() {
    let mut rig = Rig::plain();
    let text = request("POST", "/p/anthropic/messages", &["X-One: two"], "body");
    let (mut client, mut peer) = (rig.client(), None);
    for cut in 1..text.len() {
        client.send(&text[..cut]);
        rig.settle();
        client.send(&text[cut..]);
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        let seen = peer.request();
        assert_eq!(
            seen.head.without(ADDED),
            ["X-One: two", "Content-Length: 4"],
            "cut {cut}"
        );
        assert_eq!(seen.text(), "body", "cut {cut}");
        peer.send(ok("fine"));
        assert_eq!(client.response().text(), "fine", "cut {cut}");
    }
    assert!(!rig.upstream.has_connection());
}

#[test]
fn a_response_head_may_come_in_any_pieces() {
    let mut rig = Rig::plain();
    let text = response("418 I'm a teapot", &["X-One: two"], "body");
    let (mut client, mut peer) = (rig.client(), None);
    for cut in 1..text.len() {
        client.send(get("/p/anthropic/models"));
        let peer = peer.get_or_insert_with(|| rig.upstream.accept());
        peer.request();
        peer.send(&text[..cut]);
        rig.settle();
        peer.send(&text[cut..]);
        let got = client.response();
        assert_eq!(got.head.start, "HTTP/1.1 418 I'm a teapot", "cut {cut}");
        let rest = got.head.without(RESPONSE_ADDED);
        assert_eq!(rest, ["X-One: two", "Content-Length: 4"], "cut {cut}");
        assert_eq!(got.text(), "body", "cut {cut}");
    }
}

#[test]
fn a_head_within_the_limits_passes() {
    let rig = Rig::plain();
    let long = format!("X-Long: {}", "v".repeat(60_000));
    let many: Vec<String> = (0..98).map(|i| format!("X-{i}: {i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for lines in [vec![long.as_str()], many] {
        let (mut client, mut peer, seen) =
            rig.exchange(&request("GET", "/p/anthropic/models", &lines, ""));
        assert_eq!(seen.head.without(ADDED), lines);
        peer.send(response("200 OK", &["Connection: close"], ""));
        client.response();
    }
    let target = format!("/p/anthropic/{}", "t".repeat(16_000));
    let (_, _, seen) = rig.exchange(&get(&target));
    assert_eq!(seen.head.target().len(), 16_000 + "/v1/".len());
}

#[test]
fn a_request_head_over_the_limits_is_431_or_414() {
    let rig = Rig::plain();
    let long = format!("X-Long: {}", "v".repeat(70_000));
    let many: Vec<String> = (0..99).map(|i| format!("X-{i}: {i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let target = format!("/p/anthropic/{}", "t".repeat(17_000));
    let rows = [
        (431, request("GET", "/p/anthropic/models", &[&long], "")),
        (431, request("GET", "/p/anthropic/models", &many, "")),
        (414, get(&target)),
    ];
    for (status, text) in rows {
        let mut client = rig.client();
        let _ = client.try_send(&text);
        let got = client.response();
        assert_eq!(got.status(), status);
        assert!(got.text().contains("request_too_large"), "{}", got.text());
        assert_eq!(got.value("connection"), Some("close"));
        client.wait_for_close();
    }
    rig.upstream.expect_untouched();
}

#[test]
fn a_response_head_within_the_limits_passes() {
    let rig = Rig::plain();
    let long = format!("X-Long: {}", "v".repeat(60_000));
    let many: Vec<String> = (0..199).map(|i| format!("X-{i}: {i}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    for (index, lines) in [vec![long.as_str()], many].into_iter().enumerate() {
        if index > 0 {
            client.send(get("/p/anthropic/models"));
            peer.request();
        }
        peer.send(response("200 OK", &lines, "hi"));
        let got = client.response();
        let rest =
            got.head
                .without(&["x-request-id", "connection", "keep-alive", "content-length"]);
        assert_eq!(rest, lines);
        assert_eq!(got.text(), "hi");
    }
}

#[test]
fn an_empty_line_before_a_request_is_skipped() {
    let rig = Rig::plain();
    let (_, _, seen) = rig.exchange(&format!("\r\n{}", get("/p/anthropic/models")));
    assert_eq!(seen.head.start, "GET /v1/models HTTP/1.1");
}
