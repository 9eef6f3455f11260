//! Types of providers: where their requests go, with which credential, and what else they are given or kept from.

use crate::support::settings::{assert_line, assert_refused, bare, checked};
use crate::support::{KEY, Message, Setup, Upstream, get, ok, request};

/// What the upstream gets of one request.
#[track_caller]
fn sent(setup: Setup, upstream: &Upstream, text: &str) -> Message {
    let gateway = setup.start();
    let mut client = gateway.connect();
    client.send(text);
    let mut peer = upstream.accept();
    let seen = peer.request();
    peer.send(ok(""));
    client.response();
    seen
}

/// A provider of this type at `path` of the upstream, and nothing else exposed.
fn of_type(kind: &str, upstream: &Upstream, path: &str) -> Setup {
    let prefix = kind.to_uppercase();
    Setup::new()
        .env("ENABLED_PASSTHROUGH_PROVIDERS", kind)
        .env(&format!("{prefix}_API_KEY"), "sk-of-it")
        .env(
            &format!("{prefix}_BASE_URL"),
            &format!("{}{path}", upstream.url()),
        )
}

#[test]
fn every_type_gets_its_credential_and_its_paths() {
    let bearer = ("authorization", "Bearer sk-of-it");
    for (kind, base, asked, target, credential) in [
        (
            "kilo",
            "/api/gateway",
            "v1/chat/completions",
            "/api/gateway/chat/completions",
            bearer,
        ),
        ("sglang", "/v1", "generate", "/generate", bearer),
        ("sglang", "/v1", "v1/rerank", "/v1/rerank", bearer),
        ("llamacpp", "/v1", "props", "/props", bearer),
        (
            "llamacpp",
            "/v1",
            "chat/completions",
            "/v1/chat/completions",
            bearer,
        ),
        ("llmd", "/v1", "messages", "/v1/messages", bearer),
        (
            "edenai",
            "/v3",
            "v1/chat/completions",
            "/v3/chat/completions",
            bearer,
        ),
        ("jev", "", "v1/systemone", "/v1/systemone", bearer),
        ("jev", "/v1", "systemone", "/v1/systemone", bearer),
        ("chutes", "/v1", "v1/models", "/v1/models", bearer),
        ("cohere", "", "v2/chat", "/v2/chat", bearer),
        (
            "cohere",
            "",
            "v1/models?page_size=9",
            "/v1/models?page_size=9",
            bearer,
        ),
        (
            "fireworks",
            "/inference/v1",
            "v1/models",
            "/inference/v1/models",
            bearer,
        ),
        ("meta", "/v1", "v1/models", "/v1/models", bearer),
        (
            "bailian",
            "/compatible-mode/v1",
            "models",
            "/compatible-mode/v1/models",
            bearer,
        ),
        ("minimax", "/v1", "v1/models", "/v1/models", bearer),
        ("xiaomi", "/v1", "v1/models", "/v1/models", bearer),
        (
            "elevenlabs",
            "",
            "v1/voices",
            "/v1/voices",
            ("xi-api-key", "sk-of-it"),
        ),
        (
            "kimicode",
            "/coding/v1",
            "v1/models",
            "/coding/v1/models",
            bearer,
        ),
        ("hetzner", "/api/v1", "v1/models", "/api/v1/models", bearer),
        (
            "audiocpp",
            "",
            "v1/audio/voices",
            "/v1/audio/voices",
            bearer,
        ),
        ("audiocpp", "/v1", "health", "/health", bearer),
        (
            "azure",
            "/openai/v1",
            "models",
            "/openai/v1/models",
            ("api-key", "sk-of-it"),
        ),
    ] {
        let upstream = Upstream::listen();
        let text = get(&format!("/p/{kind}/{asked}"));
        let seen = sent(of_type(kind, &upstream, base), &upstream, &text);
        assert_eq!(seen.head.target(), target, "{kind} {asked}");
        for name in ["authorization", "x-api-key", "api-key", "xi-api-key"] {
            let expected = (name == credential.0).then_some(credential.1);
            assert_eq!(seen.value(name), expected, "{kind} {asked}");
        }
    }
}

#[test]
fn usual_base_urls_are_as_documented() {
    for (kind, url) in [
        ("kilo", "https://api.kilo.ai/api/gateway"),
        ("sglang", "http://localhost:30000/v1"),
        ("edenai", "https://api.edenai.run/v3"),
        ("jev", "https://api.typesafe.ai/v1"),
        ("chutes", "https://llm.chutes.ai/v1"),
        ("cohere", "https://api.cohere.com"),
        ("fireworks", "https://api.fireworks.ai/inference/v1"),
        ("meta", "https://api.meta.ai/v1"),
        (
            "bailian",
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
        ),
        ("minimax", "https://api.minimax.io/v1"),
        ("xiaomi", "https://api.xiaomimimo.com/v1"),
        ("elevenlabs", "https://api.elevenlabs.io"),
        ("kimicode", "https://api.kimi.com/coding/v1"),
        ("hetzner", "https://inference.hetzner.com/api/v1"),
    ] {
        let setup = { bare() }
            .env("ENABLED_PASSTHROUGH_PROVIDERS", kind)
            .env(&format!("{}_API_KEY", kind.to_uppercase()), "sk-of-it");
        let described = checked(setup);
        let line = format!("base_url = \"{url}\"");
        assert!(
            described.lines().any(|it| it == line),
            "{kind}: {described}"
        );
    }
}

#[test]
fn a_type_without_a_usual_base_url_has_to_say_where_it_is() {
    for kind in ["llamacpp", "llmd", "audiocpp", "azure"] {
        let variable = format!("{}_API_KEY", kind.to_uppercase());
        let setup = { bare() }
            .env("ENABLED_PASSTHROUGH_PROVIDERS", kind)
            .env(&variable, "sk-of-it");
        let finished = setup.arg("check").run();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let said = format!("environment: {variable}: expected a base URL");
        assert!(finished.stderr.contains(&said), "{finished:?}");
        let toml = format!("[providers.{kind}]\napi_key = \"sk-of-it\"\n");
        let named =
            format!("sluicegate.toml line 1: providers.{kind}.base_url: expected a base URL");
        assert_refused(|| bare().secret("sk-of-it").toml(&toml), &[&named]);
    }
}

#[test]
fn servers_without_keys_are_there_once_they_have_a_base_url() {
    for kind in ["sglang", "llamacpp", "llmd", "jev", "audiocpp"] {
        let upstream = Upstream::listen();
        let variable = format!("{}_EAST_BASE_URL", kind.to_uppercase());
        let setup = { Setup::new() }
            .env("ENABLED_PASSTHROUGH_PROVIDERS", kind)
            .env(&variable, &format!("{}/v1", upstream.url()));
        let seen = sent(setup, &upstream, &get(&format!("/p/{kind}-east/models")));
        assert_eq!(seen.head.target(), "/v1/models", "{kind}");
        assert_eq!(seen.value("authorization"), None, "{kind}");
    }
}

#[test]
fn the_servers_control_endpoints_are_refused() {
    for (kind, method, endpoint) in [
        ("sglang", "POST", "flush_cache"),
        ("sglang", "POST", "clear_hicache_storage_backend"),
        ("sglang", "POST", "add_external_corpus"),
        ("sglang", "POST", "v1/update_weights_from_disk"),
        ("sglang", "GET", "get_server_info"),
        ("llmd", "POST", "sleep"),
        ("llamacpp", "POST", "slots/0?action=erase"),
        ("llamacpp", "POST", "props"),
        ("llamacpp", "DELETE", "models?model=a"),
        ("llamacpp", "GET", "v1/streams"),
        ("llamacpp", "POST", "tools"),
    ] {
        let upstream = Upstream::listen();
        let gateway = of_type(kind, &upstream, "/v1").start();
        let mut client = gateway.connect();
        client.send(request(method, &format!("/p/{kind}/{endpoint}"), &[], ""));
        assert_eq!(client.response().status(), 403, "{kind} {endpoint}");
        assert!(!upstream.has_connection(), "{kind} {endpoint}");
    }
}

#[test]
fn a_table_of_a_type_that_is_not_exposed_is_warned_of_and_its_variables_are_others() {
    let toml = "[providers.mine]\ntype = \"cohere\"\napi_key = \"sk-of-it\"\n";
    let finished = bare().secret("sk-of-it").toml(toml).arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let said = "sluicegate.toml line 1: providers.mine: it has no effect, since its type is not exposed; \
                expected cohere in passthrough.providers";
    assert!(finished.stderr.contains(said), "{finished:?}");
    // Values of other programs' variables are not even read.
    let others = || {
        bare()
            .env("META_BASE_URL", "nowhere")
            .env("COHERE_API_KEY", "")
    };
    let chosen = others().env("ENABLED_PASSTHROUGH_PROVIDERS", "openai");
    assert!(!checked(chosen).contains("[providers."));
    // Where nobody has chosen the types, they may be meant.
    let finished = others().arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let said = "META_BASE_URL: it has no effect, since its type is not exposed; expected meta in";
    assert!(finished.stderr.contains(said), "{finished:?}");
}

#[test]
fn elevenlabs_clients_send_the_gateways_key_as_they_send_their_own() {
    let upstream = Upstream::listen();
    let gateway = of_type("elevenlabs", &upstream, "").start();
    let mut client = gateway.connect();
    client.send(format!(
        "GET /p/elevenlabs/v2/voices HTTP/1.1\r\nHost: g\r\nxi-api-key: {KEY}\r\n\r\n"
    ));
    let seen = upstream.accept().request();
    assert_eq!(seen.head.values("xi-api-key"), ["sk-of-it"]);
    assert!(!seen.head.lines.concat().contains(KEY));
}

#[test]
fn azure_is_asked_with_a_version_unless_the_client_names_one() {
    let at = "/openai/deployments/one";
    for (asked, variable, target) in [
        (
            "chat/completions",
            None,
            "chat/completions?api-version=2024-10-21",
        ),
        ("v1/models?a=b", None, "models?a=b&api-version=2024-10-21"),
        (
            "models?api-version=x&a",
            Some("y"),
            "models?api-version=x&a",
        ),
        (
            "models?xapi-version=x",
            Some("2025-01-01-preview"),
            "models?xapi-version=x&api-version=2025-01-01-preview",
        ),
        ("models?a&api-version", None, "models?a&api-version"),
    ] {
        let upstream = Upstream::listen();
        let setup = of_type("azure", &upstream, at);
        let setup = match variable {
            Some(version) => setup.env("AZURE_API_VERSION", version),
            None => setup,
        };
        let seen = sent(
            setup,
            &upstream,
            &request("POST", &format!("/p/azure/{asked}"), &[], "content"),
        );
        assert_eq!(seen.head.target(), format!("{at}/{target}"), "{asked}");
        assert_eq!(seen.text(), "content");
    }
    let setup = || {
        bare()
            .env("ENABLED_PASSTHROUGH_PROVIDERS", "azure")
            .env("AZURE_API_KEY", "sk-of-it")
            .env("AZURE_API_VERSION", "a&b")
    };
    assert_refused(
        setup,
        &["environment: AZURE_API_VERSION: expected a version"],
    );
    let setup = || {
        bare()
            .secret("sk-of-it")
            .toml("[providers.openai]\napi_key = \"sk-of-it\"\napi_version = \"1\"\n")
    };
    assert_refused(
        setup,
        &["providers.openai.api_version: expected api_version only with type azure"],
    );
}

#[test]
fn the_router_of_llm_d_hears_its_operators_only() {
    let upstream = Upstream::listen();
    let toml = format!(
        "[passthrough]\nproviders = [\"llmd\"]\n[providers.llmd]\nbase_url = \"{}/v1\"\nheaders = {{ x-llm-d-inference-objective = \"ours\" }}\n",
        upstream.url()
    );
    let theirs = [
        "X-LLM-D-Inference-Objective: theirs",
        "x-gateway-inference-fairness-id: theirs",
        "X-SLO-TTFT-MS: 1",
        "X-Gateway-Destination-Endpoint: 10.0.0.1:80",
        "X-Gateway-Model-Name-Rewrite: big",
        "X-Other: kept",
        "X-SLOW: kept",
    ];
    let text = request("GET", "/p/llmd/models", &theirs, "");
    let seen = sent(Setup::new().toml(&toml), &upstream, &text);
    assert_eq!(seen.value("x-llm-d-inference-objective"), Some("ours"));
    assert!(
        !seen.head.lines.concat().contains("theirs"),
        "{:?}",
        seen.head.lines
    );
    let kept = seen
        .head
        .without(&["host", "x-request-id", "x-llm-d-inference-objective"]);
    assert_eq!(kept, ["X-Other: kept", "X-SLOW: kept"]);
}

#[test]
fn a_token_of_a_subscription_goes_as_bearer_with_its_entry_in_the_clients_list() {
    const FLAG: &str = "oauth-2025-04-20";
    let token = "sk-ant-oat01-marker";
    let with = |list: &str| format!("{list},{FLAG}");
    let rows: &[(&[&str], &str, &[String])] = &[
        (&[], "", &[format!("anthropic-beta: {FLAG}")]),
        (
            &["Anthropic-Beta: a, b"],
            "",
            &[format!("Anthropic-Beta: {}", with("a, b"))],
        ),
        (
            &["anthropic-beta: a", "anthropic-beta: b,c"],
            "",
            &[format!("anthropic-beta: {}", with("a,b,c"))],
        ),
        (
            &["anthropic-beta:"],
            "",
            &[format!("anthropic-beta: {FLAG}")],
        ),
        (
            &[&format!("anthropic-beta: a,{FLAG}, b")],
            "",
            &[format!("anthropic-beta: a,{FLAG}, b")],
        ),
        (
            &["anthropic-beta: a", &format!("anthropic-beta: {FLAG}")],
            "",
            &[
                "anthropic-beta: a".to_owned(),
                format!("anthropic-beta: {FLAG}"),
            ],
        ),
        (
            &[&format!("anthropic-beta: x-{FLAG}")],
            "",
            &[format!("anthropic-beta: {}", with(&format!("x-{FLAG}")))],
        ),
        (
            &["Connection: anthropic-beta", "anthropic-beta: a"],
            "",
            &[format!("anthropic-beta: {FLAG}")],
        ),
        // One that is configured takes the client's place, and gets it.
        (
            &["anthropic-beta: a"],
            "headers = { Anthropic-Beta = \"mine\" }",
            &[format!("Anthropic-Beta: {}", with("mine"))],
        ),
    ];
    for (lines, toml, expected) in rows {
        let upstream = Upstream::listen();
        let setup = Setup::new()
            .env("ANTHROPIC_API_KEY", token)
            .env("ANTHROPIC_BASE_URL", &upstream.url())
            .toml(&format!("[providers.anthropic]\n{toml}\n"));
        let lines = [*lines, &["X-Before: 1"]].concat();
        let text = request("POST", "/p/anthropic/v1/messages", &lines, "content");
        let seen = sent(setup, &upstream, &text);
        let is_beta = |line: &&String| line.to_lowercase().starts_with("anthropic-beta");
        let betas: Vec<&String> = seen.head.lines.iter().filter(is_beta).collect();
        assert_eq!(betas, expected.iter().collect::<Vec<_>>(), "{lines:?}");
        assert_eq!(
            seen.value("authorization"),
            Some(&*format!("Bearer {token}"))
        );
        assert_eq!(seen.value("x-api-key"), None);
        assert_eq!(seen.value("x-before"), Some("1"));
        assert_eq!(seen.value("anthropic-version"), Some("2023-06-01"));
        assert_eq!(seen.text(), "content");
    }
}

#[test]
fn what_is_added_to_lists_is_shown() {
    let described = checked(bare().env("ANTHROPIC_API_KEY", "sk-ant-oat01-marker"));
    assert_line(&described, "credential = \"bearer\"");
    assert_line(
        &described,
        "# added to the client's anthropic-beta: oauth-2025-04-20",
    );
}

#[test]
fn only_a_token_of_a_subscription_is_one() {
    for (kind, key, toml, field, value) in [
        (
            "anthropic",
            "sk-ant-api03-x",
            "",
            "x-api-key",
            "sk-ant-api03-x",
        ),
        (
            "openai",
            "sk-ant-oat01-x",
            "",
            "authorization",
            "Bearer sk-ant-oat01-x",
        ),
        // Whoever says how it is sent is believed.
        (
            "anthropic",
            "sk-ant-oat01-x",
            "credential = \"x-api-key\"",
            "x-api-key",
            "sk-ant-oat01-x",
        ),
    ] {
        let upstream = Upstream::listen();
        let toml = format!(
            "[providers.mine]\ntype = \"{kind}\"\nbase_url = \"{}\"\napi_key = \"{key}\"\n{toml}\n",
            upstream.url()
        );
        let setup = Setup::new().toml(&toml).secret(key);
        let text = request("GET", "/p/mine/models", &["anthropic-beta: a"], "");
        let seen = sent(setup, &upstream, &text);
        assert_eq!(seen.value(field), Some(value), "{kind}");
        assert_eq!(seen.value("anthropic-beta"), Some("a"), "{kind}");
    }
}
