//! Configuration in force: what a setting changes for clients and providers.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use crate::support::{Gateway, PATIENCE, Scripted, Setup, Upstream, get, ok};

/// The answer to one request on a connection of its own.
#[track_caller]
fn status(gateway: &Gateway, path: &str) -> u16 {
    let mut client = gateway.connect();
    client.send(get(path));
    client.response().status()
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
fn every_address_is_listened_on() {
    for workers in ["1", "2"] {
        let setup = Setup::new();
        let path = setup.dir().join("gate.sock");
        let listen = format!("127.0.0.1:0,unix:{}", path.display());
        let gateway = setup
            .env("SLUICEGATE_LISTEN", &listen)
            .env("SLUICEGATE_WORKERS", workers)
            .start();
        gateway.wait_log(|line| line.contains("listening") && line.contains("unix:"));
        gateway.wait_log(|line| line.contains("listening") && line.contains("gate.sock"));
        assert_eq!(status(&gateway, "/health"), 200);
        for asked in [
            "GET /health HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
            "GET /health HTTP/1.0\r\n\r\n",
        ] {
            let mut client = UnixStream::connect(&path).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            client.write_all(asked.as_bytes()).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
        }
    }
}

#[test]
fn port_0_binds_a_free_port_and_the_log_says_which() {
    let gateway = Setup::new()
        .without("SLUICEGATE_LISTEN")
        .env("PORT", "0")
        .start();
    assert_ne!(gateway.addr().port(), 0);
    let port = gateway.addr().port();
    let mut client = crate::support::Wire::connect(([127, 0, 0, 1], port).into());
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_provider_exists_once_it_has_a_key() {
    let upstream = Upstream::listen();
    // A base URL alone is enough for a keyless type only.
    let gateway = Setup::new()
        .env("OPENAI_BASE_URL", &upstream.url())
        .env("VLLM_BASE_URL", &upstream.url())
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/openai/x"));
    assert_eq!(client.response().status(), 400);
    client.send(get("/p/vllm/x"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(ok("keyless"));
    assert_eq!(client.response().text(), "keyless");
}

/// As GoModel knows them.
const ITS_TYPES: &str = "openai,gemini,anthropic,groq,vertex,opencode_go,xai,vllm";

#[test]
fn a_listed_type_that_is_not_known_is_warned_of() {
    let others =
        "gemini, groq, vertex, opencode_go, xai: unknown provider type, expected one of openai, ";
    let upstream = Scripted::echo();
    let by_variable = |types| {
        let setup = Setup::new().base(&format!("{}/v1", upstream.url()));
        setup.env("ENABLED_PASSTHROUGH_PROVIDERS", types)
    };
    let gateway = by_variable(ITS_TYPES).start();
    gateway.wait_log(|line| {
        let parts = ["\"warn\"", "ENABLED_PASSTHROUGH_PROVIDERS", others];
        parts.iter().all(|part| line.contains(part))
    });
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    assert_eq!(client.response().status(), 200);
    let checked = by_variable(ITS_TYPES).arg("check").run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains(others), "{checked:?}");
    // Only what is listed and known is served.
    let gateway = by_variable("groq,anthropic").start();
    let mut client = gateway.connect();
    for (path, status) in [
        ("/p/anthropic/models", 200),
        ("/p/openai/models", 400),
        ("/p/groq/models", 400),
    ] {
        client.send(get(path));
        assert_eq!(client.response().status(), status, "{path}");
    }
    let listed = "[passthrough]\nproviders = [\"openia\", \"openai\", \"Sk5-Marker-0\"]\n";
    let checked = Setup::new().toml(listed).arg("check").run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let said = "passthrough.providers: openia, entry 3: unknown provider type";
    assert!(checked.stderr.contains(said), "{checked:?}");
}
