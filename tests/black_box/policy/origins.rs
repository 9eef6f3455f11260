//! A gateway without keys and the pages that a developer's browser has open: only pages of this machine, and those
//! that are listed, get through it to a provider.

use std::net::SocketAddr;

use crate::support::{Gateway, Scripted, Setup, Upstream, Wire, get, ok, request};

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

/// As a browser marks what it sends for a page that may not read the answer.
fn sent_for(site: &str, more: &[&str]) -> String {
    let site = format!("Sec-Fetch-Site: {site}");
    let lines = [&[&*site, "Sec-Fetch-Mode: no-cors"], more].concat();
    request("GET", "/p/openai/models", &lines, "")
}

#[test]
fn nor_does_a_get_of_a_page_that_may_not_read_the_answer() {
    let upstream = Scripted::echo();
    let gateway = open(&upstream.url(), LISTED);
    let mut client = gateway.connect();
    for (site, more, status) in [
        ("cross-site", "A: b", 403),
        ("same-site", "A: b", 403),
        ("another-site", "A: b", 403),
        ("", "A: b", 403),
        ("none", "Sec-Fetch-Site: cross-site", 403),
        // Its user, or a page whose server passes the request on.
        ("none", "A: b", 200),
        ("same-origin", "A: b", 200),
        // Where the origin is known it decides.
        ("cross-site", "Origin: https://app.example.com", 200),
        ("same-site", "Origin: http://localhost:3000", 200),
        ("cross-site", "Origin: http://127.0.0.1:3000", 200),
        ("same-origin", "Origin: https://evil.example", 403),
    ] {
        client.send(sent_for(site, &[more]));
        let answer = client.response();
        assert_eq!(answer.status(), status, "{site}, {more}");
        assert!(status == 200 || answer.text().contains("origin_not_allowed"));
    }
    let gateway = Setup::new().base(&format!("{}/v1", upstream.url())).start();
    let mut client = gateway.connect();
    client.send(sent_for("cross-site", &[]));
    assert_eq!(client.response().status(), 200, "with a key");
}

/// A GET without `Origin`, as a browser sends it for a page of that host.
fn to_host(host: &str) -> String {
    format!("GET /p/openai/models HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn nor_does_a_page_that_has_its_own_name_lead_here() {
    let upstream = Scripted::echo();
    let gateway = open(&upstream.url(), LISTED);
    let mut client = gateway.connect();
    for host in [
        "evil.example",
        "evil.example:8080",
        "EVIL.example.",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8080",
        "127.0.0.1.nip.io",
        "app.example.com.evil.example",
        "x.app.example.com",
        "example.com",
        "evil.internal.example:80",
        "evil.locals",
    ] {
        client.send(to_host(host));
        let answer = client.response();
        let told = (answer.status(), answer.value("x-should-retry"));
        assert_eq!(told, (403, Some("false")), "{host}");
        let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(body["error"]["type"], "permission_error", "{host}");
        assert_eq!(body["error"]["code"], "host_not_allowed", "{host}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(
            message.contains("localhost") && message.contains("server.cors_origins"),
            "{message}"
        );
    }
    assert_eq!(upstream.received().concat(), "");
}

#[test]
fn names_of_this_machine_of_containers_and_of_listed_pages_do() {
    let upstream = Scripted::echo();
    let gateway = open(&upstream.url(), LISTED);
    let mut client = gateway.connect();
    for host in [
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "app.localhost:8080",
        "127.0.0.1:8080",
        "127.1.2.3",
        "[::1]:8080",
        "[::1]",
        "192.168.1.2:8080",
        "0.0.0.0",
        "gateway",
        "gateway:8080",
        "my_laptop",
        "host.docker.internal:8080",
        "host.containers.internal",
        "laptop.local",
        "gateway.ns.svc.cluster.local",
        "app.example.com",
        "APP.example.com:8443",
        "",
    ] {
        client.send(to_host(host));
        let answer = client.response();
        assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
    }
    client.send("GET /p/openai/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.response().status(), 200, "no host");
    client.send("GET http://llm.example/p/openai/models HTTP/1.1\r\nHost: llm.example\r\n\r\n");
    assert_eq!(client.response().status(), 200, "an absolute target");
    client.send(get("/health").replace("Host: gateway", "Host: llm.example"));
    assert_eq!(client.response().status(), 200, "what is no provider's");
}

#[test]
fn names_are_not_judged_with_a_key_or_where_more_than_this_machine_is_let_in() {
    let upstream = Scripted::echo();
    let base = format!("{}/v1", upstream.url());
    let with_key = Setup::new().base(&base).start();
    let mut client = with_key.connect();
    client.send(get("/p/openai/models").replace("Host: gateway", "Host: llm.example"));
    assert_eq!(client.response().status(), 200, "with a key");
    let setup = Setup::new().without("GOMODEL_MASTER_KEY");
    let everywhere = setup.env("SLUICEGATE_LISTEN", "0.0.0.0:0").base(&base);
    let gateway = everywhere.start();
    let at = SocketAddr::from(([127, 0, 0, 1], gateway.addr().port()));
    let mut client = Wire::connect(at);
    client.send(to_host("llm.example"));
    assert_eq!(client.response().status(), 200, "on all addresses");
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
