//! What each provider is told beside what the client said: its credential, its defaults, its own headers.

use crate::support::{KEY, Rig, Setup, Upstream, get, ok, request};

#[test]
fn host_and_credential_are_the_providers() {
    let rig = Rig::plain();
    let (mut client, mut peer, seen) = rig.exchange(&get("/p/anthropic/models"));
    assert_eq!(seen.value("host").unwrap(), rig.upstream.addr().to_string());
    assert_eq!(seen.value("x-api-key"), Some("sk-anthropic"));
    assert_eq!(seen.value("authorization"), None);
    peer.send(ok(""));
    client.response();
    let (_, _, seen) = rig.exchange(&get("/p/openai/models"));
    assert_eq!(seen.value("host").unwrap(), rig.upstream.addr().to_string());
    assert_eq!(seen.value("authorization"), Some("Bearer sk-openai"));
    assert_eq!(seen.value("x-api-key"), None);
    assert_eq!(seen.value("anthropic-version"), None);
}

#[test]
fn every_provider_type_gets_its_credential() {
    let upstream = Upstream::listen();
    let mut setup = Setup::new();
    for name in ["OPENROUTER", "ZAI", "DEEPSEEK", "VLLM"] {
        setup = setup
            .env(
                &format!("{name}_BASE_URL"),
                &format!("{}/v1", upstream.url()),
            )
            .env(&format!("{name}_API_KEY"), &format!("sk-secret-{name}"));
    }
    let gateway = setup.start();
    for name in ["OPENROUTER", "ZAI", "DEEPSEEK", "VLLM"] {
        let mut client = gateway.connect();
        client.send(get(&format!("/p/{}/models", name.to_lowercase())));
        let seen = upstream.accept().request();
        let expected = format!("Bearer sk-secret-{name}");
        assert_eq!(
            seen.value("authorization"),
            Some(expected.as_str()),
            "{name}"
        );
        assert_eq!(seen.value("x-api-key"), None, "{name}");
    }
}

#[test]
fn vllm_without_a_key_gets_no_credential() {
    let upstream = Upstream::listen();
    let gateway = Setup::new().env("VLLM_BASE_URL", &upstream.url()).start();
    let mut client = gateway.connect();
    client.send(request(
        "GET",
        "/p/vllm/models",
        &["Authorization: Bearer mine"],
        "",
    ));
    let seen = upstream.accept().request();
    assert_eq!(
        (seen.value("authorization"), seen.value("x-api-key")),
        (None, None)
    );
}

#[test]
fn anthropic_version_is_set_only_when_the_client_did_not() {
    let rig = Rig::plain();
    let (_, _, seen) = rig.exchange(&get("/p/anthropic/models"));
    assert_eq!(seen.value("anthropic-version"), Some("2023-06-01"));
    let line = "Anthropic-Version: 2099-01-01";
    let (_, _, seen) = rig.exchange(&request("GET", "/p/anthropic/models", &[line], ""));
    assert_eq!(seen.value("anthropic-version"), Some("2099-01-01"));
    assert!(seen.head.lines.iter().any(|l| l == line));
}

#[test]
fn openrouter_attribution_is_sent_unless_the_client_sends_its_own() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .env("OPENROUTER_API_KEY", "sk-openrouter")
        .env("OPENROUTER_BASE_URL", &upstream.url())
        .env("OPENROUTER_SITE_URL", "https://site.test")
        .env("OPENROUTER_APP_NAME", "the app")
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/openrouter/models"));
    let seen = upstream.accept().request();
    assert_eq!(seen.value("http-referer"), Some("https://site.test"));
    assert_eq!(seen.value("x-openrouter-title"), Some("the app"));
    let lines = ["HTTP-Referer: https://own.test", "x-openrouter-title: own"];
    let mut client = gateway.connect();
    client.send(request("GET", "/p/openrouter/models", &lines, ""));
    let seen = upstream.accept().request();
    assert_eq!(seen.value("http-referer"), Some("https://own.test"));
    assert_eq!(seen.value("x-openrouter-title"), Some("own"));
}

#[test]
fn openrouter_attribution_is_absent_when_not_configured() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .env("OPENROUTER_API_KEY", "sk-openrouter")
        .env("OPENROUTER_BASE_URL", &upstream.url())
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/openrouter/models"));
    let seen = upstream.accept().request();
    assert_eq!(seen.value("http-referer"), None);
    assert_eq!(seen.value("x-openrouter-title"), None);
}

#[test]
fn credential_client_leaves_the_clients_own_in_place() {
    let rig = Rig::with(|setup| {
        let toml = "[providers.own]\ntype = \"anthropic\"\nbase_url = \"${URL}\"\n\
                    credential = \"client\"\n";
        let url = setup.var("ANTHROPIC_BASE_URL");
        setup.env("URL", &url).toml(toml)
    });
    let text = format!(
        "GET /p/own/models HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer own-token\r\n\
         X-Api-Key: own-key\r\nX-Sluicegate-Key: {KEY}\r\n\r\n"
    );
    let (_, _, seen) = rig.exchange(&text);
    let kept: Vec<_> = seen
        .head
        .without(&["host", "anthropic-version", "x-request-id"]);
    assert_eq!(
        kept,
        ["Authorization: Bearer own-token", "X-Api-Key: own-key"]
    );
}

#[test]
fn credential_client_never_passes_the_gateway_key_on() {
    let rig = Rig::with(|setup| {
        let url = setup.var("ANTHROPIC_BASE_URL");
        setup.toml(&format!(
            "[providers.own]\ntype = \"anthropic\"\nbase_url = \"{url}\"\ncredential = \"client\"\n"
        ))
    });
    let text = format!(
        "GET /p/own/models HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer own-token\r\n\
         X-Api-Key: {KEY}\r\n\r\n"
    );
    let (_, _, seen) = rig.exchange(&text);
    assert_eq!(seen.value("authorization"), Some("Bearer own-token"));
    assert_eq!(seen.value("x-api-key"), None);
}

#[test]
fn credential_and_headers_of_a_provider_can_be_chosen() {
    let upstream = Upstream::listen();
    let url = upstream.url();
    let gateway = Setup::new()
        .secret("sk-one")
        .toml(&format!(
            "[providers.one]\ntype = \"openai\"\nbase_url = \"{url}\"\napi_key = \"sk-one\"\n\
             credential = \"x-api-key\"\nheaders = {{ \"X-Team\" = \"red\", \"OpenAI-Project\" = \"p\" }}\n\
             [providers.two]\ntype = \"anthropic\"\nbase_url = \"{url}\"\napi_key = \"sk-one\"\n\
             credential = \"bearer\"\n\
             [providers.three]\ntype = \"openai\"\nbase_url = \"{url}\"\ncredential = \"none\"\n"
        ))
        .start();
    let mut seen = Vec::new();
    for name in ["one", "two", "three"] {
        let mut client = gateway.connect();
        client.send(get(&format!("/p/{name}/models")));
        seen.push(upstream.accept().request());
    }
    assert_eq!(seen[0].value("x-api-key"), Some("sk-one"));
    assert_eq!(seen[0].value("authorization"), None);
    assert_eq!(seen[0].value("x-team"), Some("red"));
    assert_eq!(seen[0].value("openai-project"), Some("p"));
    assert_eq!(seen[1].value("authorization"), Some("Bearer sk-one"));
    assert_eq!(seen[1].value("x-api-key"), None);
    assert_eq!(
        (seen[2].value("authorization"), seen[2].value("x-api-key")),
        (None, None)
    );
}

#[test]
fn a_provider_may_have_an_ipv6_address() {
    let Some(upstream) = Upstream::listen_v6() else {
        return;
    };
    let gateway = Setup::new()
        .base(&format!("http://{}/v1", upstream.addr()))
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/models"));
    let mut peer = upstream.accept();
    assert_eq!(
        peer.request().value("host").unwrap(),
        upstream.addr().to_string()
    );
    peer.send(ok("six"));
    assert_eq!(client.response().text(), "six");
}

#[test]
fn every_address_of_a_name_is_tried() {
    // The name stands for both families on most systems; the provider listens on one of them.
    let four = Upstream::listen();
    let six = Upstream::listen_v6();
    for upstream in [Some(four), six].into_iter().flatten() {
        if !upstream.named_localhost() {
            continue;
        }
        let url = format!("http://localhost:{}/v1", upstream.addr().port());
        let gateway = Setup::new().base(&url).start();
        let mut client = gateway.connect();
        client.send(get("/p/anthropic/models"));
        let mut peer = upstream.accept();
        peer.request();
        peer.send(ok("found"));
        assert_eq!(client.response().text(), "found");
    }
}
