//! Endpoints that a provider is not asked for.

use crate::support::{Gateway, KEY, Scripted, Setup, Upstream, Wire, get, ok, post, request};

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

#[test]
fn a_method_in_another_case_gets_around_no_deny_list() {
    let upstream = Scripted::echo();
    let toml = "[providers.vllm]\ndeny = ['DELETE /files/*', 'GET /secret']\n";
    let gateway = vllm(&upstream, toml);
    let mut client = gateway.connect();
    for (method, path) in [
        ("DELETE", "/p/vllm/files/a"),
        ("delete", "/p/vllm/files/a"),
        ("Delete", "/p/vllm/v1/files/a"),
        ("deletE", "/p/vllm/FILES/a"),
        ("dElete", "/p/vllm/v1/%66iles//a/"),
        ("get", "/p/vllm/secret"),
        ("head", "/p/vllm/secret"),
    ] {
        let asked = request(method, path, &[], "");
        assert_eq!(reached(&mut client, &asked), "endpoint_denied", "{asked}");
    }
    assert_eq!(upstream.received().concat(), "");
    let asked = request("delete", "/p/vllm/models/a", &[], "");
    assert_eq!(reached(&mut client, &asked), "/v1/models/a");
}

#[test]
fn an_allow_list_takes_methods_as_they_are_written() {
    let upstream = Scripted::echo();
    let gateway = vllm(&upstream, "[providers.vllm]\nallow = ['POST /chat/*']\n");
    let mut client = gateway.connect();
    for method in ["post", "Post"] {
        let asked = request(method, "/p/vllm/chat/completions", &[], "{}");
        assert_eq!(reached(&mut client, &asked), "endpoint_denied", "{asked}");
    }
    let asked = post("/p/vllm/chat/completions", "{}");
    assert_eq!(reached(&mut client, &asked), "/v1/chat/completions");
}

/// Fields that some servers take for another method or path than those of the request line.
const OVERRIDES: [&str; 18] = [
    "X-HTTP-Method-Override: DELETE",
    "x-http-method: DELETE",
    "X-METHOD-OVERRIDE: DELETE",
    "X-Original-URL: /v1/files/a",
    "X-Rewrite-URL: /v1/files/a",
    "X_HTTP_Method_Override: DELETE",
    "x.rewrite_url: /v1/files/a",
    "X-Original-Uri: /v1/files/a",
    "X-Original-Method: DELETE",
    "X-Envoy-Original-Path: /v1/files/a",
    "X-HTTP-Path-Override: /v1/files/a",
    "X-Override-URL: /v1/files/a",
    "X_Original_URI: /v1/files/a",
    "x__original__method: DELETE",
    "X-Envoy_Original-Path: /v1/files/a",
    "X|HTTP|Path|Override: /v1/files/a",
    "X--Override--URL: /v1/files/a",
    "X--HTTP-Method: DELETE",
];

/// The lines of [`OVERRIDES`] that the provider sees.
fn overrides_seen(setup: Setup, key: &str, upstream: &Upstream) -> usize {
    let gateway = setup
        .env("VLLM_BASE_URL", &format!("{}/v1", upstream.url()))
        .env("OPENAI_BASE_URL", &format!("{}/v1", upstream.url()))
        .env("OPENAI_API_KEY", "sk-openai")
        .start();
    let mut client = gateway.connect();
    let mut lines = OVERRIDES.to_vec();
    lines.push("X-HTTP-Method-Overrides: as it is");
    let asked = request("POST", "/p/openai/chat/x", &lines, "{}");
    client.send(asked.replace(KEY, key));
    let mut peer = upstream.accept();
    let seen = peer.request().head.lines;
    peer.send(ok(""));
    assert_eq!(client.response().status(), 200);
    assert!(
        seen.contains(&"X-HTTP-Method-Overrides: as it is".to_owned()),
        "{seen:?}"
    );
    seen.iter()
        .filter(|line| OVERRIDES.contains(&line.as_str()))
        .count()
}

#[test]
fn with_rules_no_field_puts_another_method_or_path_in_their_place() {
    let upstream = Upstream::listen();
    for rules in ["allow = ['POST /chat/*']", "deny = ['DELETE /files/*']"] {
        let setup = Setup::new().toml(&format!("[providers.openai]\n{rules}\n"));
        assert_eq!(overrides_seen(setup, KEY, &upstream), 0, "{rules}");
    }
    assert_eq!(
        overrides_seen(Setup::new(), KEY, &upstream),
        OVERRIDES.len()
    );
}

#[test]
fn with_rules_of_a_key_neither() {
    let upstream = Upstream::listen();
    // Of "key-a".
    let digest = "f10f781241e2246678b6b45c857069208152a53863e47fac33f607ab405006f4";
    for (rules, seen) in [("", OVERRIDES.len()), ("allow = ['POST /chat/*']", 0)] {
        let entry = format!("[[key]]\nid = \"a\"\nsha256 = \"{digest}\"\n{rules}\n");
        let setup = Setup::new()
            .file("keys.toml", &entry)
            .env("SLUICEGATE_KEYS_FILE", "keys.toml")
            .secret("key-a");
        assert_eq!(overrides_seen(setup, "key-a", &upstream), seen, "{rules}");
    }
}

/// In chunks, with such trailers.
fn with_trailers(trailers: &str) -> [String; 2] {
    let head = format!(
        "POST /p/openai/chat/x HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {KEY}\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    [head, format!("2\r\n{{}}\r\n0\r\n{trailers}\r\n")]
}

fn openai(upstream: &Upstream, rules: &str) -> Gateway {
    let toml = format!("[providers.openai]\n{rules}\n");
    Setup::new().base(&upstream.url()).toml(&toml).start()
}

#[test]
fn with_rules_no_trailer_does_either() {
    let upstream = Upstream::listen();
    for rules in ["allow = ['POST /chat/*']", "deny = ['DELETE /files/*']"] {
        let gateway = openai(&upstream, rules);
        for line in OVERRIDES {
            let mut client = gateway.connect();
            client.send(with_trailers(&format!("{line}\r\n")).concat());
            let answer = client.response();
            assert_eq!(answer.status(), 400, "{line}");
            assert!(answer.text().contains("invalid_trailer"), "{line}");
        }
        // What comes later cannot be refused any more, but it does not come to its end.
        let mut client = gateway.connect();
        let [head, content] = with_trailers("X-Override-Url: /v1/files/a\r\n");
        client.send(head);
        let mut peer = upstream.accept();
        assert_eq!(peer.head().value("x-override-url"), None);
        client.send(content);
        assert!(peer.trailers().is_err());
        let honest = with_trailers("X-Override-Urls: 1\r\n");
        let mut client = gateway.connect();
        client.send(honest.concat());
        let mut peer = upstream.accept();
        assert_eq!(peer.request().trailers, ["X-Override-Urls: 1"]);
        peer.send(ok(""));
        assert_eq!(client.response().status(), 200);
    }
    assert!(!upstream.has_connection());
}

#[test]
fn without_rules_every_such_trailer_goes_on() {
    let upstream = Upstream::listen();
    let gateway = openai(&upstream, "");
    let mut client = gateway.connect();
    let lines: String = OVERRIDES.map(|line| format!("{line}\r\n")).concat();
    client.send(with_trailers(&lines).concat());
    let mut peer = upstream.accept();
    assert_eq!(peer.request().trailers, OVERRIDES);
    peer.send(ok(""));
    assert_eq!(client.response().status(), 200);
}
