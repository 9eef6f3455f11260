//! A gateway without keys and the pages that a developer's browser has open: only pages of this machine, and those
//! that are listed, get through it to a provider.

use crate::support::{Gateway, Scripted, Setup, Upstream, ok, request};

/// Without keys.
fn open(url: &str, toml: &str) -> Gateway {
    let setup = Setup::new().without("GOMODEL_MASTER_KEY");
    setup.base(&format!("{url}/v1")).toml(toml).start()
}

const LISTED: &str = "[server]\ncors_origins = [\"https://app.example.com\"]\n";

const FOREIGN: [&str; 20] = [
    "https://evil.example",
    "http://evil.example:8080",
    "null",
    "NULL",
    "",
    "http://localhost.evil.example",
    "http://evillocalhost",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1@evil.example",
    "http://localhost:80:80",
    "http://localhost:",
    "http://localhost:x",
    "http://localhost/",
    "http://0.0.0.0",
    "http://10.0.0.1",
    "http://[::2]",
    "http://[::1",
    "https://app.example.com",
    "chrome-extension://abcdefghijklmnop",
    "http://localhost https://evil.example",
];

#[test]
fn a_page_from_elsewhere_does_not_reach_the_provider_of_an_open_gateway() {
    let upstream = Scripted::echo();
    let gateway = open(&upstream.url(), "");
    let mut client = gateway.connect();
    for origin in FOREIGN {
        let origin = format!("Origin: {origin}");
        for (method, more) in [
            ("POST", "Content-Type: text/plain"),
            ("GET", "Accept: */*"),
            ("OPTIONS", "Access-Control-Request-Method: POST"),
        ] {
            client.send(request(method, "/p/openai/models", &[&origin, more], ""));
            let answer = client.response();
            let told = (answer.status(), answer.value("x-should-retry"));
            assert_eq!(told, (403, Some("false")), "{origin}: {}", answer.text());
            let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
            assert_eq!(body["error"]["type"], "permission_error", "{origin}");
            assert_eq!(body["error"]["code"], "origin_not_allowed", "{origin}");
        }
    }
    let twice = ["Origin: http://localhost", "Origin: http://localhost"];
    client.send(request("POST", "/p/openai/models", &twice, ""));
    assert_eq!(client.response().status(), 403, "twice");
    // Before anything is said of providers.
    client.send(request(
        "GET",
        "/p/nobody/x",
        &["Origin: https://evil.example"],
        "",
    ));
    assert_eq!(client.response().status(), 403);
    assert_eq!(upstream.received().concat(), "");
    // No key is needed here, and nothing is told that matters.
    client.send(request(
        "GET",
        "/health",
        &["Origin: https://evil.example"],
        "",
    ));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn pages_of_this_machine_and_programs_do() {
    let upstream = Scripted::echo();
    let gateway = open(&upstream.url(), "");
    let mut client = gateway.connect();
    for origin in [
        "http://localhost",
        "http://localhost:3000",
        "https://localhost:8443",
        "http://app.localhost:5173",
        "http://127.0.0.1",
        "http://127.1.2.3:8080",
        "https://[::1]:8080",
        "http://[::1]",
    ] {
        let origin = format!("Origin: {origin}");
        client.send(request("POST", "/p/openai/models", &[&origin], "{}"));
        assert_eq!(client.response().status(), 200, "{origin}");
    }
    client.send(request("POST", "/p/openai/models", &[], "{}"));
    assert_eq!(client.response().status(), 200, "no page");
}

#[test]
fn a_listed_page_may_use_an_open_gateway() {
    let upstream = Scripted::echo();
    let gateway = open(&upstream.url(), LISTED);
    let mut client = gateway.connect();
    for (origin, status) in [
        ("https://app.example.com", 200),
        ("http://localhost:3000", 200),
        ("https://app.example.com:8443", 403),
        ("http://app.example.com", 403),
        ("https://evil.example", 403),
    ] {
        let origin = format!("Origin: {origin}");
        client.send(request("POST", "/p/openai/models", &[&origin], "{}"));
        assert_eq!(client.response().status(), status, "{origin}");
    }
}

#[test]
fn nor_does_a_websocket_of_a_page_from_elsewhere() {
    let upstream = Upstream::listen();
    let gateway = open(&upstream.url(), LISTED);
    let asks = |origin: &str| {
        let origin = format!("Origin: {origin}");
        let lines = ["Connection: Upgrade", "Upgrade: websocket", &origin];
        request("GET", "/p/openai/realtime", &lines, "")
    };
    for origin in ["https://evil.example", "null"] {
        let mut client = gateway.connect();
        client.send(asks(origin));
        let answer = client.response();
        assert_eq!(answer.status(), 403);
        assert!(
            answer.text().contains("origin_not_allowed"),
            "{}",
            answer.text()
        );
    }
    assert!(!upstream.has_connection());
    for origin in ["https://app.example.com", "http://localhost:3000"] {
        let mut client = gateway.connect();
        client.send(asks(origin));
        let mut peer = upstream.accept();
        assert_eq!(peer.head().value("origin"), Some(origin));
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        );
        assert_eq!(client.head().status(), 101);
    }
}

#[test]
fn with_a_key_any_page_may_that_has_it() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(request(
        "POST",
        "/p/openai/x",
        &["Origin: https://evil.example"],
        "",
    ));
    let mut peer = upstream.accept();
    assert_eq!(
        peer.request().head.value("origin"),
        Some("https://evil.example")
    );
    peer.send(ok(""));
    assert_eq!(client.response().status(), 200);
}
