//! Endpoints that a provider is not asked for.

use crate::support::{Gateway, Scripted, Setup, Wire, get, post};

/// vllm in front of an upstream that answers by itself.
fn vllm(upstream: &Scripted, toml: &str) -> Gateway {
    Setup::new()
        .env("VLLM_BASE_URL", &format!("{}/v1", upstream.url()))
        .toml(toml)
        .start()
}

/// The target that the upstream got, or the code of the refusal.
fn reached(client: &mut Wire, request: &str) -> String {
    client.send(request);
    let answer = client.response();
    if let Some(target) = answer.value("x-target") {
        return target.to_owned();
    }
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!(body["error"]["type"], "permission_error", "{body}");
    assert_eq!(
        (answer.status(), answer.value("x-should-retry")),
        (403, Some("false"))
    );
    body["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn control_endpoints_of_vllm_are_closed_in_every_spelling() {
    let upstream = Scripted::echo();
    let gateway = vllm(&upstream, "");
    let mut client = gateway.connect();
    for endpoint in [
        "pause",
        "resume",
        "abort_requests",
        "sleep",
        "sleep?level=2",
        "wake_up",
        "reset_prefix_cache",
        "collective_rpc",
        "update_weights",
        "server_info",
        "pause/",
        "/pause",
        "v1/pause",
        "%70ause",
        "%2570ause",
        "%2Fpause",
        "pause%2f",
        "PAUSE",
        "pause;x",
        "pause%3f",
        "pause%00",
        "x/%252e%252e/pause",
        "x/..;/pause",
    ] {
        let path = format!("/p/vllm/{endpoint}");
        assert_eq!(
            reached(&mut client, &post(&path, "")),
            "endpoint_denied",
            "{path}"
        );
    }
    assert_eq!(
        reached(&mut client, &get("/p/vllm/server_info")),
        "endpoint_denied"
    );
    assert_eq!(upstream.received().concat(), "");
    for (endpoint, target) in [
        ("tokenize", "/tokenize"),
        ("health", "/health"),
        ("metrics", "/metrics"),
        ("version", "/version"),
        ("v1/load_lora_adapter", "/v1/load_lora_adapter"),
        ("v1/chat/completions", "/v1/chat/completions"),
        ("models/vendor%2Fpause", "/v1/models/vendor%2Fpause"),
    ] {
        let path = format!("/p/vllm/{endpoint}");
        assert_eq!(reached(&mut client, &post(&path, "")), target);
    }
}

#[test]
fn a_list_of_ones_own_opens_and_closes() {
    let upstream = Scripted::echo();
    let gateway = vllm(&upstream, "[providers.vllm]\ndeny = []\n");
    let mut client = gateway.connect();
    assert_eq!(reached(&mut client, &post("/p/vllm/pause", "")), "/pause");
    assert_eq!(reached(&mut client, &post("/p/vllm/%00", "")), "/%00");
    let toml = "[providers.vllm]\nallow = ['POST /v1/chat/*', 'GET /models', 'POST /pause']\n\
                deny = ['* /chat/private']\n";
    let gateway = vllm(&upstream, toml);
    let mut client = gateway.connect();
    for (request, expected) in [
        (post("/p/vllm/chat/completions", ""), "/v1/chat/completions"),
        (post("/p/vllm/v1/chat/private", ""), "endpoint_denied"),
        (get("/p/vllm/chat/completions"), "endpoint_denied"),
        (get("/p/vllm/models"), "/v1/models"),
        (post("/p/vllm/tokenize", ""), "endpoint_denied"),
        (post("/p/vllm/pause", ""), "/pause"),
    ] {
        assert_eq!(reached(&mut client, &request), expected, "{request}");
    }
}

#[test]
fn a_rule_that_cannot_be_read_is_named() {
    for (rule, named) in [
        ("deny = ['/pause']", "deny"),
        ("allow = ['* /a b']", "allow"),
    ] {
        let finished = Setup::new()
            .toml(&format!("[providers.vllm]\n{rule}\n"))
            .arg("check")
            .run();
        assert_eq!(finished.code, Some(2));
        let error = &finished.stderr;
        let named = format!("providers.vllm.{named}");
        assert!(
            error.contains(&named) && error.contains("rule 1"),
            "{error}"
        );
    }
}
