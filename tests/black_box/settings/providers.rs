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
    let both = ["HTTP-Referer: https://own.test", "x-openrouter-title: own"];
    for (lines, referer, title) in [
        (&both[..0], "https://site.test", "the app"),
        (&["http-referer: theirs"], "theirs", "the app"),
        (&both, "https://own.test", "own"),
    ] {
        let mut client = gateway.connect();
        client.send(request("GET", "/p/openrouter/models", lines, ""));
        let seen = upstream.accept().request();
        assert_eq!(seen.value("http-referer"), Some(referer));
        assert_eq!(seen.value("x-openrouter-title"), Some(title));
    }
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
fn configured_headers_are_sent_in_place_of_the_clients() {
    let upstream = Upstream::listen();
    let toml = format!(
        "[providers.here]\ntype = \"openai\"\nbase_url = \"{}/deep/v1/\"\napi_key = \"sk-here\"\n\
         headers = {{ X-Team = \"red\", OpenAI-Beta = \"b=1\", OpenAI-Project = \"p\" }}\n",
        upstream.url()
    );
    let gateway = Setup::new().toml(&toml).secret("sk-here").start();
    let mut client = gateway.connect();
    client.send(request(
        "GET",
        "/p/here/v1/models",
        &["x-team: blue", "X-Other: kept"],
        "",
    ));
    let sent = upstream.accept().request();
    assert_eq!(sent.head.target(), "/deep/v1/models");
    assert_eq!(sent.value("x-team"), Some("red"));
    assert_eq!(sent.value("openai-beta"), Some("b=1"));
    assert_eq!(sent.value("openai-project"), Some("p"));
    assert_eq!(sent.value("x-other"), Some("kept"));
    assert_eq!(sent.value("authorization"), Some("Bearer sk-here"));
    let host = upstream.addr().to_string();
    assert_eq!(sent.value("host"), Some(&*host));
}

#[test]
fn every_kind_of_credential_can_be_chosen_for_every_type() {
    let upstream = Upstream::listen();
    let bearer = Some("Bearer sk-here");
    let key = Some("sk-here");
    let rows = [
        ("anthropic", "bearer", bearer, None),
        ("anthropic", "x-api-key", None, key),
        ("anthropic", "none", None, None),
        ("openai", "bearer", bearer, None),
        ("openai", "x-api-key", None, key),
        ("openai", "none", None, None),
    ];
    let toml = rows.map(|(kind, credential, ..)| {
        // Without one, a key may be configured or not.
        let key = match (kind, credential) {
            ("openai", "none") => "",
            _ => "api_key = \"sk-here\"\n",
        };
        format!(
            "[providers.{kind}-{credential}]\ntype = \"{kind}\"\nbase_url = \"{}\"\n{key}\
             credential = \"{credential}\"\n",
            upstream.url()
        )
    });
    let gateway = { Setup::new().secret("sk-here") }
        .toml(&toml.concat())
        .start();
    for (kind, credential, authorization, key) in rows {
        let mut client = gateway.connect();
        client.send(get(&format!("/p/{kind}-{credential}/messages")));
        let seen = upstream.accept().request();
        let what = format!("{kind}, {credential}");
        assert_eq!(seen.value("authorization"), authorization, "{what}");
        assert_eq!(seen.value("x-api-key"), key, "{what}");
        let version = (kind == "anthropic").then_some("2023-06-01");
        assert_eq!(seen.value("anthropic-version"), version, "{what}");
    }
}

#[test]
fn the_clients_own_credential_goes_on_and_the_gateway_key_never_does() {
    let upstream = Upstream::listen();
    let toml = format!(
        "[providers.own]\ntype = \"anthropic\"\nbase_url = \"{}\"\ncredential = \"client\"\n",
        upstream.url()
    );
    let gateway = Setup::new().toml(&toml).start();
    let send = |lines: &str| {
        let mut client = gateway.connect();
        client.send(format!(
            "GET /p/own/x HTTP/1.1\r\nHost: g\r\n{lines}\r\n\r\n"
        ));
        client
    };
    let own = "sk-ant-own";
    let bearer = format!("Authorization: Bearer {own}");
    let small = format!("Authorization: bearer {own}");
    let key = format!("X-Api-Key: {own}");
    let basic = "Authorization: Basic eDp5";
    let gate = format!("X-Sluicegate-Key: {KEY}");
    let rows: &[(&[&str], &[&str])] = &[
        (&[&bearer, &gate], &[&bearer]),
        (&[&key, &gate], &[&key]),
        (&[&bearer, &key, &gate], &[&bearer, &key]),
        (&[&key, &format!("Authorization: Bearer {KEY}")], &[&key]),
        (&[&bearer, &format!("X-Api-Key: {KEY}")], &[&bearer]),
        (&[&small, &format!("x-api-key: {KEY}")], &[&small]),
        (
            &[
                &format!("Authorization: Bearer {KEY}"),
                &format!("x-api-key: {KEY}"),
                &gate,
            ],
            &[],
        ),
        (&[basic, &format!("Api-Key: {KEY}")], &[basic]),
    ];
    for (lines, kept) in rows {
        let mut client = send(&lines.join("\r\n"));
        let mut peer = upstream.accept();
        let sent = peer.request();
        let added = ["host", "anthropic-version", "x-request-id"];
        assert_eq!(sent.head.without(&added), *kept, "{lines:?}");
        assert!(!sent.head.lines.concat().contains(KEY), "{lines:?}");
        // Not kept, so that the next row gets a connection of its own.
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        client.response();
    }
    let status = send(&bearer).response().status();
    assert_eq!(status, 401, "their own credential is no gateway key");
    assert!(!upstream.has_connection());
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
