//! Which request target reaches which upstream target, and which reach none.

use crate::support::{Gateway, KEY, Rig, Scripted, Setup, Upstream, Wire, get, ok, request};

/// Sends a GET on a kept connection and returns the target that the echoing provider saw.
fn reached(client: &mut Wire, path: &str) -> String {
    client.send(get(path));
    let got = client.response();
    assert_eq!(got.status(), 200, "{path}: {}", got.text());
    got.value("x-target").unwrap().to_owned()
}

/// Sends a GET on a kept connection, expects this status and returns the content.
fn refused(client: &mut Wire, path: &str, status: u16) -> String {
    client.send(get(path));
    let got = client.response();
    assert_eq!(got.status(), status, "{path}: {}", got.text());
    assert_ne!(got.value("connection"), Some("close"), "{path}");
    got.text()
}

#[test]
fn endpoint_and_query_bytes_arrive_unchanged() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let mut client = gateway.connect();
    let endpoints = [
        "messages?beta=true",
        "messages?",
        "messages?a=1&a=2&&b=&=c&d",
        "messages?a+b=%20%2B;c=d",
        "messages?path=../../etc&x=./..",
        "messages?q={\"a\":[1]}|^`<>",
        "messages?q=%zz%",
        "messages?url=http://other/p/x#".trim_end_matches('#'),
        "models/vendor%2Fmodel",
        "models/vendor%2fmodel/",
        "models/A%41%7e~a;b=c,d:@!$&'()*+",
        "a//b///c",
        "files/file-1/content",
        "%76%31/x",
        "%252e%252e/x",
        "x/%252e",
        "x/.../y",
        "x/..y/.z/z.",
        "V1/messages",
        "v1beta/models",
        "v1x",
        "v2/v1/messages",
        "x/v1/v1",
        "p/anthropic/x",
        "[1]{2}|^`\"<>",
    ];
    for endpoint in endpoints {
        let path = format!("/p/anthropic/{endpoint}");
        assert_eq!(
            reached(&mut client, &path),
            format!("/v1/{endpoint}"),
            "{path}"
        );
    }
}

#[test]
fn query_bytes_over_0x20_are_forwarded_as_they_are() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let mut bytes = b"GET /p/anthropic/messages?q=".to_vec();
    let query: Vec<u8> = (0x21..=0xff)
        .filter(|byte| !b"#\x7f".contains(byte))
        .collect();
    bytes.extend_from_slice(&query);
    bytes.extend_from_slice(format!(" HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n\r\n").as_bytes());
    client.send(&bytes);
    let seen = rig.upstream.accept().request();
    let expected: String = query.iter().map(|&byte| char::from(byte)).collect();
    assert_eq!(
        seen.head.start,
        format!("GET /v1/messages?q={expected} HTTP/1.1")
    );
}

#[test]
fn every_method_but_connect_and_trace_is_passed_on() {
    let upstream = Scripted::start(|wire, _| {
        while let Ok(request) = wire.try_request() {
            let method = request.head.method();
            let len = if method == "HEAD" { 0 } else { method.len() };
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nX-Method: {method}\r\nContent-Length: {}\r\n\r\n{}",
                method.len(),
                &method[..len]
            ));
        }
    });
    let gateway = Gateway::before_scripted(&upstream);
    let mut client = gateway.connect();
    let methods = [
        "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "QUERY", "get",
    ];
    for method in methods {
        client.send(request(method, "/p/anthropic/x", &[], ""));
        let got = client.response();
        assert_eq!((got.status(), got.text().as_str()), (200, method));
    }
    client.send(request("HEAD", "/p/anthropic/x", &[], ""));
    let got = client.response_to_head();
    assert_eq!(got.value("x-method"), Some("HEAD"));
    assert_eq!(got.value("content-length"), Some("4"));
}

#[test]
fn connect_and_trace_are_501() {
    let rig = Rig::plain();
    for text in [
        request("TRACE", "/p/anthropic/x", &[], ""),
        "CONNECT example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n".to_owned(),
        request("CONNECT", "/p/anthropic/x", &[], ""),
        // Servers that fold case take these for the same.
        request("trace", "/p/anthropic/x", &[], ""),
        request("Trace", "/p/anthropic/x", &[], ""),
        request("cOnNeCt", "/p/anthropic/x", &[], ""),
        "connect example.test:443 HTTP/1.1\r\nHost: example.test:443\r\n\r\n".to_owned(),
        request("trace", "/health", &[], ""),
    ] {
        let mut client = rig.client();
        client.send(text);
        let got = client.response();
        assert_eq!(got.status(), 501, "{}", got.text());
        assert!(got.text().contains("invalid_request_error"));
    }
    rig.upstream.expect_untouched();
}

#[test]
fn one_leading_v1_segment_is_dropped() {
    let upstream = Scripted::echo();
    let gateway = Gateway::before_scripted(&upstream);
    let mut client = gateway.connect();
    for (path, target) in [
        ("/p/anthropic/v1/messages", "/v1/messages"),
        ("/p/anthropic/messages", "/v1/messages"),
        ("/p/anthropic/v1/v1/messages", "/v1/v1/messages"),
        (
            "/p/anthropic/v1/messages?beta=true",
            "/v1/messages?beta=true",
        ),
        ("/p/anthropic/v1beta/x", "/v1/v1beta/x"),
        ("/p/anthropic/v1x", "/v1/v1x"),
        ("/p/anthropic/api/hello", "/v1/api/hello"),
        (
            "/p/anthropic/anthropic/v1/messages",
            "/v1/anthropic/v1/messages",
        ),
        ("/p/openai/v1/realtime?model=a", "/v1/realtime?model=a"),
    ] {
        assert_eq!(reached(&mut client, path), target, "{path}");
    }
}

#[test]
fn v1_with_the_alias_off_is_400() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&format!("{}/v1", upstream.url()))
        .env("ALLOW_PASSTHROUGH_V1_ALIAS", "false")
        .start();
    let mut client = gateway.connect();
    for path in [
        "/p/anthropic/v1/messages",
        "/p/anthropic/v1",
        "/p/anthropic/v1/",
    ] {
        let text = refused(&mut client, path, 400);
        assert!(text.contains("alias is disabled"), "{text}");
    }
    assert_eq!(reached(&mut client, "/p/anthropic/v1x"), "/v1/v1x");
    assert_eq!(
        reached(&mut client, "/p/anthropic/messages"),
        "/v1/messages"
    );
}

#[test]
fn the_base_urls_path_comes_first() {
    let upstream = Scripted::echo();
    let url = upstream.url();
    for (base, target) in [
        (url.clone(), "/chat/completions?x=1"),
        (format!("{url}/"), "/chat/completions?x=1"),
        (
            format!("{url}/api/paas/v4"),
            "/api/paas/v4/chat/completions?x=1",
        ),
        (
            format!("{url}/api/paas/v4/"),
            "/api/paas/v4/chat/completions?x=1",
        ),
    ] {
        let gateway = Setup::new()
            .env("ZAI_API_KEY", "sk-zai")
            .env("ZAI_BASE_URL", &base)
            .start();
        let mut client = gateway.connect();
        assert_eq!(
            reached(&mut client, "/p/zai/v1/chat/completions?x=1"),
            target,
            "{base}"
        );
    }
}

#[test]
fn vllm_endpoints_have_two_roots() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .env("VLLM_BASE_URL", &format!("{}/v1", upstream.url()))
        .start();
    let mut client = gateway.connect();
    for (path, target) in [
        ("models", "/v1/models"),
        ("models/a", "/v1/models/a"),
        ("chat/completions", "/v1/chat/completions"),
        ("chat/completions/batch", "/v1/chat/completions/batch"),
        ("completions", "/v1/completions"),
        ("responses", "/v1/responses"),
        ("responses/r1/cancel", "/v1/responses/r1/cancel"),
        ("embeddings?x=1", "/v1/embeddings?x=1"),
        ("messages", "/v1/messages"),
        ("messages/count_tokens", "/v1/messages/count_tokens"),
        ("audio/transcriptions", "/v1/audio/transcriptions"),
        ("files", "/v1/files"),
        ("batches", "/v1/batches"),
        ("tokenize", "/tokenize"),
        ("detokenize", "/detokenize"),
        ("pooling", "/pooling"),
        ("rerank", "/rerank"),
        ("health", "/health"),
        ("metrics", "/metrics"),
        ("version", "/version"),
        ("load_lora_adapter", "/load_lora_adapter"),
        ("v2/embed", "/v2/embed"),
        ("modelsx", "/modelsx"),
        ("chat", "/chat"),
        ("chat/other", "/chat/other"),
        ("v1/chat/completions", "/v1/chat/completions"),
        ("v1/load_lora_adapter", "/v1/load_lora_adapter"),
        ("v1/realtime", "/v1/realtime"),
        ("v1/tokenize", "/tokenize"),
        ("v1/detokenize", "/detokenize"),
        ("v1/pooling", "/pooling"),
        ("v1/classify", "/classify"),
        ("v1/score", "/score"),
        ("v1/rerank", "/rerank"),
        ("v1/health", "/health"),
        ("v1/metrics", "/metrics"),
        ("v1/version", "/version"),
        ("v1/ping", "/ping"),
        ("v1/invocations", "/invocations"),
    ] {
        assert_eq!(
            reached(&mut client, &format!("/p/vllm/{path}")),
            target,
            "{path}"
        );
    }
}

#[test]
fn vllm_without_v1_in_its_base_url_has_one_root() {
    let upstream = Scripted::echo();
    let gateway = Setup::new().env("VLLM_BASE_URL", &upstream.url()).start();
    let mut client = gateway.connect();
    assert_eq!(
        reached(&mut client, "/p/vllm/v1/chat/completions"),
        "/chat/completions"
    );
    assert_eq!(reached(&mut client, "/p/vllm/tokenize"), "/tokenize");
}

#[test]
fn an_empty_endpoint_or_provider_is_400() {
    let rig = Rig::plain();
    let mut client = rig.client();
    for path in [
        "/p/openai",
        "/p/openai/",
        "/p/openai/v1",
        "/p/openai/v1/",
        "/p/openai?x=1",
        "/p/openai/?x=1",
        "/p/openai/v1?x=1",
        "/p//x",
        "/p/",
    ] {
        let text = refused(&mut client, path, 400);
        assert!(text.contains("invalid_request_error"), "{path}: {text}");
    }
    rig.upstream.expect_untouched();
}

#[test]
fn an_unknown_or_disabled_provider_is_400_and_the_enabled_ones_are_listed() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .base(&upstream.url())
        .env("DEEPSEEK_API_KEY", "sk-deepseek")
        .env("ENABLED_PASSTHROUGH_PROVIDERS", "openai,anthropic")
        .start();
    let mut client = gateway.connect();
    for path in [
        "/p/nowhere/x",
        "/p/deepseek/x",
        "/p/OpenAI/x",
        "/p/zai/x",
        "/p/openai%20/x",
    ] {
        let text = refused(&mut client, path, 400);
        assert!(text.contains("provider_not_enabled"), "{path}: {text}");
        assert!(
            text.contains("openai") && text.contains("anthropic"),
            "{path}: {text}"
        );
        assert!(!text.contains("deepseek"), "{path}: {text}");
    }
    upstream.expect_untouched();
}

#[test]
fn a_target_that_could_leave_its_base_is_400() {
    let rig = Rig::plain();
    let paths = [
        "/p/anthropic/.",
        "/p/anthropic/..",
        "/p/anthropic/../openai/x",
        "/p/anthropic/x/../y",
        "/p/anthropic/x/./y",
        "/p/anthropic/x/..",
        "/p/anthropic/x/.?q",
        "/p/anthropic/%2e%2e/x",
        "/p/anthropic/%2E%2e/x",
        "/p/anthropic/.%2E/x",
        "/p/anthropic/%2e./x",
        "/p/anthropic/%2e/x",
        "/p/anthropic/x%2f..%2fy",
        "/p/anthropic/x%2F%2e%2E%2Fy",
        "/p/anthropic/..%2fy",
        "/p/anthropic/x%5c..%5cy",
        "/p/anthropic/x%5C%2e%2e",
        "/p/anthropic/..%5cy",
        "/p/../p/anthropic/x",
        "/p/anthropic/a\\b",
        "/p/anthropic/..\\x",
        "/p/anthropic/%",
        "/p/anthropic/%2",
        "/p/anthropic/%zz",
        "/p/anthropic/%2x/y",
        "/p/anthropic/%u002e",
        "/p/anthropic/x#frag",
        "/p/anthropic/x?q#frag",
        "/p/anthropic/\u{e9}",
        "/p/anthropic/x\u{80}y",
    ];
    for path in paths {
        let mut client = rig.client();
        client.send(get(path));
        let got = client.response();
        assert_eq!(got.status(), 400, "{path}: {}", got.text());
        assert!(
            got.text().contains("invalid_request_error"),
            "{path}: {}",
            got.text()
        );
    }
    for byte in (0x01..=0x20).chain([0x7f]) {
        if b"\r\n ".contains(&byte) {
            continue;
        }
        for place in ["/p/anthropic/x", "/p/anthropic/x?q="] {
            let mut client = rig.client();
            let mut bytes = format!("GET {place}").into_bytes();
            bytes.push(byte);
            bytes.extend_from_slice(b"y HTTP/1.1\r\nHost: g\r\nx-api-key: gk-test\r\n\r\n");
            client.send(bytes);
            assert_eq!(client.response().status(), 400, "byte {byte:#x} in {place}");
        }
    }
    rig.upstream.expect_untouched();
}

#[test]
fn absolute_form_is_accepted_and_host_ignored() {
    let rig = Rig::plain();
    for target in [
        "http://other.test/p/anthropic/v1/messages?x=1",
        "HTTP://other.test:8080/p/anthropic/v1/messages?x=1",
        "https://other.test/p/anthropic/v1/messages?x=1",
    ] {
        let (mut client, mut peer, seen) = rig.exchange(&get(target));
        assert_eq!(seen.head.start, "GET /v1/messages?x=1 HTTP/1.1");
        assert_eq!(seen.value("host").unwrap(), rig.upstream.addr().to_string());
        peer.send("HTTP/1.1 204 No\r\nConnection: close\r\n\r\n");
        client.response();
    }
}

#[test]
fn options_asterisk_is_204_without_a_key() {
    let rig = Rig::plain();
    let mut client = rig.client();
    for _ in 0..2 {
        client.send("OPTIONS * HTTP/1.1\r\nHost: gateway\r\n\r\n");
        let got = client.response();
        assert_eq!((got.status(), got.text().as_str()), (204, ""));
        assert_eq!(got.head.values("content-length").len(), 0);
    }
    rig.upstream.expect_untouched();
}

#[test]
fn any_other_path_is_404() {
    let rig = Rig::plain();
    let mut client = rig.client();
    for path in [
        "/",
        "/v1/messages",
        "/px/anthropic/x",
        "/p",
        "/P/anthropic/x",
        "/healthz",
        "/metrics",
    ] {
        let text = refused(&mut client, path, 404);
        assert!(text.contains("not_found_error"), "{path}: {text}");
    }
    rig.upstream.expect_untouched();
}

#[test]
fn a_missing_route_is_404_before_the_key_is_looked_at() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send("GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 404);
    client.send("GET /p/nowhere/x HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 401);
    client.send("GET /p/anthropic/%zz HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 400);
}

#[test]
fn health_needs_no_key() {
    let rig = Rig::plain();
    let mut client = rig.client();
    for _ in 0..2 {
        client.send("GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n");
        let got = client.response();
        assert_eq!(
            (got.status(), got.text().as_str()),
            (200, "{\"status\":\"ok\"}")
        );
        assert_eq!(got.value("content-type"), Some("application/json"));
    }
    client.send("HEAD /health HTTP/1.1\r\nHost: gateway\r\n\r\n");
    assert_eq!(client.response_to_head().status(), 200);
    client.send("GET /health?probe=1 HTTP/1.1\r\nHost: gateway\r\n\r\n");
    assert_eq!(client.response().status(), 200);
}

#[test]
fn base_path_is_the_mount_prefix() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&format!("{}/v1", upstream.url()))
        .env("BASE_PATH", "/g")
        .start();
    let mut client = gateway.connect();
    assert_eq!(
        reached(&mut client, "/g/p/anthropic/v1/messages?x"),
        "/v1/messages?x"
    );
    client.send("GET /g/health HTTP/1.1\r\nHost: gateway\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    for path in [
        "/p/anthropic/v1/messages",
        "/health",
        "/gp/anthropic/x",
        "/g/g/health",
        "/g",
    ] {
        refused(&mut client, path, 404);
    }
}

#[test]
fn passthrough_can_be_switched_off() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .base(&upstream.url())
        .env("ENABLE_PASSTHROUGH_ROUTES", "false")
        .start();
    let mut client = gateway.connect();
    for path in ["/p/anthropic/messages", "/p/anthropic/v1/messages"] {
        refused(&mut client, path, 404);
    }
    client.send("GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n");
    assert_eq!(client.response().status(), 200);
    upstream.expect_untouched();
}

#[test]
fn a_suffix_in_the_environment_makes_a_second_instance() {
    let (one, two) = (Upstream::listen(), Upstream::listen());
    let gateway = Setup::new()
        .base(&one.url())
        .env("OPENAI_EAST_COAST_API_KEY", "sk-east")
        .env("OPENAI_EAST_COAST_BASE_URL", &format!("{}/east", two.url()))
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/openai-east-coast/models"));
    let mut peer = two.accept();
    let seen = peer.request();
    assert_eq!(seen.head.target(), "/east/models");
    assert_eq!(seen.value("authorization"), Some("Bearer sk-east"));
    peer.send(ok("east"));
    assert_eq!(client.response().text(), "east");
    client.send(get("/p/openai/models"));
    assert_eq!(
        one.accept().request().value("authorization"),
        Some("Bearer sk-openai")
    );
}
