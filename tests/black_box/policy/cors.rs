//! Pages of other origins: what browsers are told of them, and what providers are not.

use std::time::Instant;

use rustix::process::Signal;

use crate::support::{
    Gateway, Head, PATIENCE, Scripted, Setup, Upstream, Wire, ok, request, response,
};

const APP: &str = "https://app.example.com";
const OTHER: &str = "http://localhost:3000";
const MODELS: &str = "/p/anthropic/v1/models";

/// Two origins are listed.
fn before(upstream: &Upstream) -> Gateway {
    listing(&upstream.url()).start()
}

fn listing(url: &str) -> Setup {
    let toml = format!("[server]\ncors_origins = [\"{APP}\", \"{OTHER}\"]\n");
    Setup::new().base(&format!("{url}/v1")).toml(&toml)
}

/// As a page's browser asks, which has no key.
fn preflight(path: &str, origin: &str, lines: &[&str]) -> String {
    let mut text = format!(
        "OPTIONS {path} HTTP/1.1\r\nHost: g\r\nOrigin: {origin}\r\n\
         Access-Control-Request-Method: POST\r\n"
    );
    for line in lines {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

/// All fields of the protocol, in the order in which they came.
fn told(head: &Head) -> Vec<String> {
    let mut lines = head.lines.clone();
    lines.retain(|line| {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        name.starts_with("access-control-") || name == "vary"
    });
    lines
}

fn allowed(origin: &str) -> Vec<String> {
    vec![
        format!("Access-Control-Allow-Origin: {origin}"),
        "Access-Control-Expose-Headers: *".to_owned(),
        "Vary: Origin".to_owned(),
    ]
}

/// Sends a request of a page at `origin`, answers it, and says what both sides saw.
fn relayed(
    client: &mut Wire,
    peer: &mut Wire,
    origin: &str,
    lines: &[&str],
    answer: &str,
) -> (Head, Head) {
    let origin = format!("Origin: {origin}");
    let lines = [&[&*origin], lines].concat();
    client.send(request("POST", MODELS, &lines, "{}"));
    let asked = peer.request().head;
    peer.send(answer);
    (asked, client.response().head)
}

#[test]
fn a_preflight_of_a_listed_origin_is_answered_without_key_and_provider() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let wanted = "Access-Control-Request-Headers: x-api-key,anthropic-version, content-type";
    for path in [MODELS, "/p/nobody/x", "/p/anthropic/", "/health", "/none"] {
        for origin in [APP, OTHER] {
            client.send(preflight(path, origin, &[wanted]));
            let head = client.response().head;
            assert_eq!(head.start, "HTTP/1.1 204 No Content", "{path}");
            assert_eq!(
                told(&head),
                [
                    &format!("Access-Control-Allow-Origin: {origin}"),
                    "Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE",
                    "Access-Control-Max-Age: 7200",
                    "Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
                    "Access-Control-Allow-Headers: x-api-key, anthropic-version, content-type",
                ]
            );
            assert_eq!(head.value("content-length"), None);
            assert!(head.value("x-request-id").is_some());
        }
    }
    assert!(!upstream.has_connection());
}

#[test]
fn only_names_of_fields_are_repeated_and_not_too_many() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let long = "x-field-of-a-name, ".repeat(250);
    for (wanted, repeated) in [
        ("", None),
        (",", None),
        ("x-a,,x-b", Some("x-a, x-b")),
        ("x-a, b c", None),
        ("x-a: 1", None),
        ("<script>", None),
        (&*long, None),
    ] {
        let line = format!("Access-Control-Request-Headers: {wanted}");
        client.send(preflight(MODELS, APP, &[&line]));
        let head = client.response().head;
        assert_eq!(head.status(), 204);
        let value = head.value("access-control-allow-headers");
        assert_eq!(value, repeated, "{wanted}");
    }
}

#[test]
fn a_preflight_of_another_origin_is_refused() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    for origin in [
        "https://app.example.com.evil.test",
        "https://evil.test",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com/",
        "https://APP.example.com",
        "https://sub.app.example.com",
        "https://app.example.com https://evil.test",
        "null",
        "*",
        "",
    ] {
        client.send(preflight(MODELS, origin, &[]));
        let answer = client.response();
        assert_eq!(answer.status(), 403, "{origin}");
        assert_eq!(told(&answer.head), ["Vary: Origin"], "{origin}");
        assert!(answer.text().contains("origin_not_allowed"), "{origin}");
    }
    let second = format!("Origin: {OTHER}");
    client.send(preflight(MODELS, APP, &[&second]));
    assert_eq!(client.response().status(), 403);
    assert!(!upstream.has_connection());
}

#[test]
fn other_options_requests_go_to_the_provider() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let origin = format!("Origin: {APP}");
    let rows: [&[&str]; 3] = [&[], &[&origin], &["Access-Control-Request-Method: POST"]];
    let mut peer = None;
    for lines in rows {
        client.send(request("OPTIONS", MODELS, lines, ""));
        let peer = peer.get_or_insert_with(|| upstream.accept());
        assert_eq!(peer.request().head.method(), "OPTIONS");
        peer.send(ok(""));
        assert_eq!(client.response().status(), 200);
    }
    client.send("OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 204);
}

#[test]
fn answers_of_a_provider_get_the_fields_in_place_of_its_own() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let mut peer = {
        client.send(request("GET", MODELS, &[], ""));
        let mut peer = upstream.accept();
        peer.request();
        peer.send(ok(""));
        client.response();
        peer
    };
    let own = [
        "access-control-allow-origin: *",
        "Access-Control-Allow-Origin: https://provider.test",
        "ACCESS-CONTROL-ALLOW-CREDENTIALS: true",
        "Access-Control-Expose-Headers: request-id",
        "Access-Controlled: no field of the protocol",
        "Vary: Accept-Encoding",
        "request-id: req_1",
    ];
    let kept = [
        "Access-Controlled: no field of the protocol",
        "Vary: Accept-Encoding",
        "request-id: req_1",
    ];
    let direct = ["anthropic-dangerous-direct-browser-access: true"];
    for status in ["200 OK", "429 Too Many Requests", "500 Oops"] {
        let answer = response(status, &own, "{}");
        let (asked, head) = relayed(&mut client, &mut peer, APP, &direct, &answer);
        assert_eq!(asked.value("origin"), None);
        assert_eq!(
            asked.value(direct[0].split(':').next().unwrap()),
            Some("true")
        );
        let mut told = told(&head);
        told.retain(|line| line != "Vary: Accept-Encoding");
        assert_eq!(told, allowed(APP), "{status}");
        for line in kept {
            assert!(head.lines.iter().any(|it| it == line), "{line}: {head:?}");
        }
    }
    // A page that is not listed can read nothing, whatever the provider thinks of it.
    let (asked, head) = relayed(
        &mut client,
        &mut peer,
        "null",
        &[],
        &response("200 OK", &own, ""),
    );
    assert_eq!(asked.value("origin"), Some("null"));
    assert_eq!(told(&head), ["Vary: Origin", "Vary: Accept-Encoding"]);
    // Nor may a cache give it what was kept for a request without any.
    client.send(request("GET", MODELS, &[], ""));
    peer.request();
    peer.send(response("200 OK", &own, ""));
    let head = client.response().head;
    assert_eq!(told(&head), ["Vary: Origin", "Vary: Accept-Encoding"]);
}

#[test]
fn a_stream_gets_the_fields_with_its_head() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let origin = format!("Origin: {APP}");
    client.send(request("POST", MODELS, &[&origin], "{}"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(told(&client.head()), allowed(APP));
    for _ in 0..2 {
        peer.send("3\r\n: a\r\n");
        client.expect("3\r\n: a\r\n");
    }
    peer.send("0\r\n\r\n");
    client.expect("0\r\n\r\n");
}

#[test]
fn a_page_can_read_what_the_gateway_itself_answers() {
    let upstream = Scripted::start(|wire, _| drop(wire.try_request()));
    // Of "key-a".
    let digest = "f10f781241e2246678b6b45c857069208152a53863e47fac33f607ab405006f4";
    let keys = format!("[[key]]\nid = \"a\"\nsha256 = \"{digest}\"\nrate = \"1/h\"\n");
    let gateway = listing(&upstream.url())
        .env("BODY_SIZE_LIMIT", "1K")
        .file("keys.toml", &keys)
        .env("SLUICEGATE_KEYS_FILE", "keys.toml")
        .start();
    let mut client = gateway.connect();
    let origin = format!("Origin: {OTHER}");
    let large = "x".repeat(2000);
    let page = |method, path, body| request(method, path, &[&origin], body);
    let with =
        |key| format!("GET {MODELS} HTTP/1.1\r\nHost: g\r\nx-api-key: {key}\r\n{origin}\r\n\r\n");
    let rows = [
        (200, page("GET", "/health", "")),
        (404, page("GET", "/none", "")),
        (400, page("GET", "/p/nobody/x", "")),
        (413, page("POST", MODELS, &large)),
        (502, page("POST", MODELS, "{}")),
        (
            401,
            format!("GET {MODELS} HTTP/1.1\r\nHost: g\r\n{origin}\r\n\r\n"),
        ),
        (401, with("no")),
        (502, with("key-a")),
        (429, with("key-a")),
    ];
    for (status, request) in rows {
        client.send(request);
        let head = client.response().head;
        assert_eq!(head.status(), status);
        assert_eq!(told(&head), allowed(OTHER), "{status}");
    }
    client.send(request(
        "GET",
        "/health",
        &["Origin: https://evil.test"],
        "",
    ));
    assert_eq!(told(&client.response().head), ["Vary: Origin"]);
}

#[test]
fn a_websocket_is_left_to_its_key_and_its_provider() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream);
    for origin in [APP, "https://evil.test"] {
        let mut client = gateway.connect();
        let origin = format!("Origin: {origin}");
        let lines = ["Connection: Upgrade", "Upgrade: websocket", &origin];
        client.send(request("GET", "/p/openai/realtime", &lines, ""));
        let mut peer = upstream.accept();
        let asked = peer.head();
        assert!(asked.lines.contains(&origin), "{asked:?}");
        peer.send(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        );
        let head = client.head();
        assert_eq!((head.status(), told(&head)), (101, vec![]));
    }
}

#[test]
fn without_the_setting_nothing_is_added_or_taken_away() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    client.send(preflight(MODELS, APP, &[]));
    let answer = client.response();
    assert_eq!((answer.status(), told(&answer.head)), (401, vec![]));
    let line = format!("Origin: {APP}");
    let asks = [&*line, "Access-Control-Request-Method: POST"];
    client.send(request("OPTIONS", MODELS, &asks, ""));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().head.value("origin"), Some(APP));
    let own = ["Access-Control-Allow-Origin: *", "Vary: Accept"];
    peer.send(response("200 OK", &own, ""));
    assert_eq!(told(&client.response().head), own);
}

#[test]
fn origins_come_from_the_environment_and_with_a_reload() {
    let upstream = Upstream::listen();
    let gateway = listing(&upstream.url())
        .env(
            "SLUICEGATE_CORS_ORIGINS",
            " https://one.test , tauri://localhost",
        )
        .env("BASE_PATH", "/g")
        .start();
    let mut client = gateway.connect();
    for (origin, status) in [
        ("https://one.test", 204),
        ("tauri://localhost", 204),
        (APP, 403),
    ] {
        client.send(preflight("/g/p/openai/models", origin, &[]));
        assert_eq!(client.response().status(), status, "{origin}");
    }
    let gateway = before(&upstream);
    let mut client = gateway.connect();
    let toml = "[server]\ncors_origins = [\"https://new.test\"]\n";
    std::fs::write(gateway.setup().dir().join("sluicegate.toml"), toml).unwrap();
    gateway.signal(Signal::HUP);
    let begin = Instant::now();
    loop {
        client.send(preflight(MODELS, "https://new.test", &[]));
        if client.response().status() == 204 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", gateway.log());
    }
    client.send(preflight(MODELS, APP, &[]));
    assert_eq!(client.response().status(), 403);
}

#[test]
fn what_is_no_origin_is_refused_at_the_start() {
    for (origin, said) in [
        ("*", "every page there is"),
        ("null", "null is none"),
        ("https://app.example.com/", "no slash at the end"),
        ("https://*.example.com", "lower case, no path"),
        ("https://app.example.com:443", "default port"),
    ] {
        let toml = format!("[server]\ncors_origins = [\"{OTHER}\", \"{origin}\"]\n");
        // By its place: it may be a secret.
        for (setup, entry) in [
            (Setup::new().toml(&toml), "entry 2: "),
            (
                Setup::new().env("SLUICEGATE_CORS_ORIGINS", origin),
                "entry 1: ",
            ),
        ] {
            let finished = setup.arg("check").run();
            let error = &finished.stderr;
            assert_eq!(finished.code, Some(2), "{error}");
            assert!(error.contains("ORS_ORIGINS") || error.contains("server.cors_origins"));
            assert!(error.contains(entry) && error.contains(said), "{error}");
        }
    }
}
