//! The page at `/` of the listener for metrics, and the key that it, the metrics and `/streams` may ask for. How it looks
//! in a browser is for `tests/page`.

use std::net::SocketAddr;

use aws_lc_rs::digest::{SHA256, digest};
use rustix::process::Signal;

use crate::support::metrics::metrics_addr;
use crate::support::settings::assert_line;
use crate::support::{Gateway, Message, Setup, Wire};

const METRICS_KEY: &str = "metrics-key-0123456789";

fn start(more: &str) -> Gateway {
    let toml = format!("[metrics]\nlisten = [\"127.0.0.1:0\"]\n{more}");
    Setup::new().secret(METRICS_KEY).toml(&toml).start()
}

/// Asks with these field lines.
#[track_caller]
fn ask(addr: SocketAddr, request: &str, lines: &[&str]) -> Message {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let mut client = Wire::connect(addr);
    client.send(format!(
        "{request} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"
    ));
    match request.starts_with("HEAD") {
        true => client.response_to_head(),
        false => client.response(),
    }
}

const HOST: &str = "Host: localhost";

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let groups = bytes.chunks(3).map(|group| {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(*group.get(at).unwrap_or(&0))
        });
        let letter = |digit: usize| match digit <= group.len() {
            true => char::from(ALPHABET[bits >> (18 - 6 * digit) & 63]),
            false => '=',
        };
        (0..4).map(letter).collect::<String>()
    });
    groups.collect()
}

/// What stands in an element of which there is one.
fn inner<'h>(html: &'h str, tag: &str) -> &'h str {
    let (_, rest) = html.split_once(&format!("<{tag}>")).unwrap();
    rest.split_once(&format!("</{tag}>")).unwrap().0
}

#[test]
fn it_is_whole_and_lets_nothing_else_in() {
    let gateway = start("");
    let addr = metrics_addr(&gateway);
    let page = ask(addr, "GET /", &[HOST]);
    assert_eq!(page.status(), 200);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(page.value(name), Some(value), "{name}");
    }
    let html = page.text();
    let source = |tag: &str| {
        let digest = digest(&SHA256, inner(&html, tag).as_bytes());
        format!("{tag}-src 'sha256-{}'", base64(digest.as_ref()))
    };
    let policy = page.value("content-security-policy").unwrap();
    let directives: Vec<&str> = policy.split("; ").collect();
    for wanted in [
        "default-src 'none'",
        &source("script"),
        &source("style"),
        "img-src data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(directives.contains(&wanted), "{wanted}: {policy}");
    }
    assert_eq!(directives.len(), 10, "{policy}");
    let head = ask(addr, "HEAD /", &[HOST]);
    assert_eq!(head.status(), 200);
    let length = html.len().to_string();
    assert_eq!(head.value("content-length"), Some(&*length));
    assert!(head.text().is_empty());
    let streams = ask(addr, "GET /streams", &[HOST]);
    assert_eq!(streams.value("x-content-type-options"), Some("nosniff"));
}

#[test]
fn it_is_there_for_those_who_get_it_and_nowhere_else() {
    let gateway = start("");
    let addr = metrics_addr(&gateway);
    for request in [
        "POST /",
        "PUT /",
        "DELETE /",
        "OPTIONS /",
        "GET /index.html",
        "GET /favicon.ico",
        "GET //",
        "GET /.",
        "GET /page.js",
    ] {
        assert_eq!(
            ask(addr, request, &[HOST]).status(),
            if request.ends_with("/.") { 400 } else { 404 },
            "{request}"
        );
    }
    assert_eq!(ask(addr, "GET /?a", &[HOST]).status(), 200);
    // Clients have no such page, with metrics beside the providers or without.
    assert_eq!(ask(gateway.addr(), "GET /", &[HOST]).status(), 404);
    let beside = Setup::new().env("METRICS_ENABLED", "true").start();
    assert_eq!(ask(beside.addr(), "GET /", &[HOST]).status(), 404);
}

#[test]
fn it_knows_where_the_metrics_are() {
    let gateway = start("endpoint = \"/a\\\"<b>&/m\"\n[server]\nbase_path = \"/g\"\n");
    let addr = metrics_addr(&gateway);
    for path in ["/", "/g/"] {
        let html = ask(addr, &format!("GET {path}"), &[HOST]).text();
        let named = "data-base=\"/g\" data-metrics=\"/a&quot;&lt;b&gt;&amp;/m\"";
        assert!(html.contains(named), "{path}");
    }
    assert_eq!(ask(addr, "GET /g/a\"<b>&/m", &[HOST]).status(), 200);
    assert_eq!(ask(addr, "GET /g", &[HOST]).status(), 404);
    assert_eq!(ask(gateway.addr(), "GET /", &[HOST]).status(), 404);
    assert_eq!(ask(gateway.addr(), "GET /g/", &[HOST]).status(), 404);
}

const GUARDED: [&str; 3] = ["GET /", "GET /metrics", "GET /streams"];

#[test]
fn the_key_is_asked_for_and_taken_as_bearer_or_password() {
    let gateway = start(&format!("key = \"{METRICS_KEY}\"\n"));
    let addr = metrics_addr(&gateway);
    let bearer = format!("Authorization: Bearer {METRICS_KEY}");
    let basic = |pair: String| format!("Authorization: Basic {}", base64(pair.as_bytes()));
    let good = [
        bearer.clone(),
        basic(format!("prometheus:{METRICS_KEY}")),
        basic(format!(":{METRICS_KEY}")),
    ];
    let wrong = [
        format!("{bearer}x"),
        format!("Authorization: {METRICS_KEY}"),
        basic(METRICS_KEY.to_owned()),
        basic(format!("{METRICS_KEY}:")),
        format!("Authorization: Basic a:{METRICS_KEY}"),
        format!("{bearer}\r\n{bearer}"),
        // Clients' keys open what is for clients.
        "Authorization: Bearer gk-test".to_owned(),
    ];
    for request in GUARDED {
        for line in &good {
            assert_eq!(
                ask(addr, request, &[HOST, line]).status(),
                200,
                "{request} {line}"
            );
        }
        let missing = [String::new(), format!("x-api-key: {METRICS_KEY}")];
        for (lines, code) in [(&missing[..], "missing_key"), (&wrong, "invalid_key")] {
            for line in lines.iter() {
                let lines: Vec<&str> = [HOST, line]
                    .into_iter()
                    .filter(|it| !it.is_empty())
                    .collect();
                let got = ask(addr, request, &lines);
                assert_eq!(got.status(), 401, "{request} {line}");
                assert!(got.text().contains(code), "{line}: {}", got.text());
                let challenge = got.value("www-authenticate");
                assert!(
                    challenge.unwrap().starts_with("Basic realm=\""),
                    "{challenge:?}"
                );
            }
        }
    }
    assert_eq!(ask(addr, "HEAD /", &[HOST]).status(), 401);
    // Who knows it may come by any name.
    assert_eq!(
        ask(addr, "GET /", &["Host: gateway.example", &bearer]).status(),
        200
    );
    for path in ["/health", "/health/ready", "/health/live"] {
        assert_eq!(ask(addr, &format!("GET {path}"), &[HOST]).status(), 200);
    }
    assert_eq!(ask(addr, "GET /nowhere", &[HOST]).status(), 404);
}

#[test]
fn beside_the_providers_the_metrics_ask_for_it_too() {
    let setup = Setup::new().env("METRICS_ENABLED", "true");
    let gateway = setup.env("SLUICEGATE_METRICS_KEY", METRICS_KEY).start();
    let bearer = format!("Authorization: Bearer {METRICS_KEY}");
    assert_eq!(ask(gateway.addr(), "GET /metrics", &[HOST]).status(), 401);
    assert_eq!(
        ask(gateway.addr(), "GET /metrics", &[HOST, &bearer]).status(),
        200
    );
    assert_eq!(ask(gateway.addr(), "GET /health", &[HOST]).status(), 200);
}

#[test]
fn a_page_from_elsewhere_sees_nothing_where_there_is_no_key() {
    let gateway = start("");
    let addr = metrics_addr(&gateway);
    for request in GUARDED {
        for host in [
            "Host: rebound.example",
            "Host: 127.0.0.1.rebound.example:9090",
        ] {
            let got = ask(addr, request, &[host]);
            assert_eq!(got.status(), 403, "{request} {host}");
            assert!(got.text().contains("host_not_allowed"), "{}", got.text());
        }
        for host in [
            "Host: 127.0.0.1:9",
            "Host: [::1]",
            "Host: g",
            "Host: x.localhost",
        ] {
            assert_eq!(
                ask(addr, request, &[host]).status(),
                200,
                "{request} {host}"
            );
        }
    }
    for request in ["GET /metrics", "GET /streams"] {
        for line in [
            "Origin: https://elsewhere.example",
            "Sec-Fetch-Site: cross-site",
        ] {
            let got = ask(addr, request, &[HOST, line]);
            assert_eq!(got.status(), 403, "{request} {line}");
            assert!(got.text().contains("origin_not_allowed"), "{}", got.text());
        }
        let own = ask(addr, request, &[HOST, "Sec-Fetch-Site: same-origin"]);
        assert_eq!(own.status(), 200);
    }
    // A link may lead to the page: there is nothing in it.
    let followed = ask(addr, "GET /", &[HOST, "Sec-Fetch-Site: cross-site"]);
    assert_eq!(followed.status(), 200);
    assert_eq!(
        ask(addr, "GET /health", &["Host: rebound.example"]).status(),
        200
    );
}

#[test]
fn a_reload_changes_the_key() {
    let setup = Setup::new().file("key", "one-key-for-the-metrics\n");
    let toml = "[metrics]\nlisten = [\"127.0.0.1:0\"]\nkey_file = \"key\"\n";
    let gateway = setup.toml(toml).start();
    let addr = metrics_addr(&gateway);
    let mut stays = Wire::connect(addr);
    let mut status = |key: &str| {
        stays.send(format!(
            "GET /metrics HTTP/1.1\r\n{HOST}\r\nAuthorization: Bearer {key}\r\n\r\n"
        ));
        stays.response().status()
    };
    let (one, other) = ("one-key-for-the-metrics", "other-key-for-the-metrics");
    assert_eq!([status(one), status(other)], [200, 401]);
    std::fs::write(gateway.setup().dir().join("key"), other).unwrap();
    gateway.reload();
    assert_eq!([status(one), status(other)], [401, 200]);
    // One that cannot be read changes nothing.
    std::fs::write(gateway.setup().dir().join("key"), "").unwrap();
    gateway.signal(Signal::HUP);
    gateway
        .wait_log(|line| line.contains("the old one stays") && line.contains("metrics.key_file"));
    assert_eq!([status(one), status(other)], [401, 200]);
}

#[test]
fn a_key_that_is_empty_is_refused_and_none_is_shown() {
    for (name, toml) in [
        ("SLUICEGATE_METRICS_KEY", ""),
        ("SLUICEGATE_METRICS_KEY_FILE", ""),
        ("X", "key = \"\"\n"),
        ("X", "key_file = \"empty\"\n"),
    ] {
        let toml = format!("[metrics]\nlisten = [\"127.0.0.1:0\"]\n{toml}");
        for arg in [None, Some("check")] {
            let setup = Setup::new().env(name, "").file("empty", "\n").toml(&toml);
            let finished = match arg {
                Some(arg) => setup.arg(arg).run(),
                None => setup.run(),
            };
            assert_eq!(finished.code, Some(2), "{name} {toml}: {finished:?}");
            let said = finished.stderr.contains("metrics.key") || finished.stderr.contains(name);
            assert!(said, "{finished:?}");
        }
    }
    let toml = format!("[metrics]\nlisten = [\"127.0.0.1:1\"]\nkey = \"{METRICS_KEY}\"\n");
    let finished = Setup::new()
        .secret(METRICS_KEY)
        .toml(&toml)
        .arg("check")
        .run();
    assert_line(&finished.stdout, "key = \"[redacted]\"");
    let place = finished
        .stdout
        .lines()
        .find(|line| line.starts_with("key = "));
    assert!(
        place.unwrap().ends_with("# sluicegate.toml line 3"),
        "{place:?}"
    );
}

#[test]
fn one_that_others_reach_without_a_key_is_warned_of() {
    let open = |more: &str| {
        let toml = format!("[metrics]\nlisten = [\"0.0.0.0:0\"]\n{more}");
        Setup::new().secret(METRICS_KEY).toml(&toml)
    };
    let parts = ["0.0.0.0:0", "SLUICEGATE_METRICS_KEY", "metrics.listen"];
    let finished = open("").arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for part in parts {
        assert!(finished.stderr.contains(part), "{finished:?}");
    }
    assert_eq!(open("").arg("check").arg("--strict").run().code, Some(2));
    let gateway = open("").start();
    gateway
        .wait_log(|line| line.contains("\"warn\"") && parts.iter().all(|part| line.contains(part)));
    let finished = open(&format!("key = \"{METRICS_KEY}\"\n"))
        .arg("check")
        .run();
    assert!(!finished.stderr.contains("metrics"), "{finished:?}");
}
