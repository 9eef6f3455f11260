//! What a managed key is limited to: providers, endpoints, a rate, streams.

use std::fmt::Write as _;
use std::thread;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::ports::{addr, bound};
use crate::support::{Gateway, PATIENCE, Rig, Scripted, Setup, Wire, ok};

// SHA-256 of "key-a" and "key-b".
const A: &str = "f10f781241e2246678b6b45c857069208152a53863e47fac33f607ab405006f4";
const B: &str = "a30534a53b23547377ddccbd1ac85a8a84c13db43493c16e55a6abc7b0eba634";

/// With `key-a`, limited so, and `key-b`, which has no limits.
fn limited(setup: Setup, limits: &str) -> Setup {
    let content = format!(
        "[[key]]\nid = \"id-a\"\nsha256 = \"{A}\"\n{limits}\n\n[[key]]\nid = \"id-b\"\nsha256 = \"{B}\"\n"
    );
    setup
        .without("GOMODEL_MASTER_KEY")
        .file("keys.toml", &content)
        .env("SLUICEGATE_KEYS_FILE", "keys.toml")
        .secret("key-a")
        .secret("key-b")
}

/// In front of a provider that answers by itself.
fn echoing(limits: &str, upstream: &Scripted) -> Gateway {
    limited(Setup::new().base(&format!("{}/v1", upstream.url())), limits).start()
}

fn request(method: &str, path: &str, key: &str) -> String {
    let length = if method == "POST" {
        "Content-Length: 0\r\n"
    } else {
        ""
    };
    format!("{method} {path} HTTP/1.1\r\nHost: g\r\nx-api-key: {key}\r\n{length}\r\n")
}

/// Status, code, `Retry-After` and `x-should-retry`.
fn ask(client: &mut Wire, request: &str) -> (u16, String) {
    client.send(request);
    let answer = client.response();
    let mut told = String::new();
    if let Ok(body) = serde_json::from_str::<serde_json::Value>(&answer.text()) {
        let error = &body["error"];
        let _ = write!(
            told,
            "{} {}",
            error["type"].as_str().unwrap_or_default(),
            error["code"].as_str().unwrap_or_default()
        );
    }
    for name in ["retry-after", "x-should-retry"] {
        if let Some(value) = answer.value(name) {
            let _ = write!(told, " {name}={value}");
        }
    }
    (answer.status(), told)
}

#[test]
fn a_key_is_good_for_its_providers_only() {
    let upstream = Scripted::echo();
    let gateway = echoing("providers = [\"openai\", \"gone\"]", &upstream);
    let mut client = gateway.connect();
    let refused = "permission_error provider_not_allowed x-should-retry=false";
    let unknown = "invalid_request_error provider_not_enabled x-should-retry=false";
    for (path, key, expected) in [
        ("/p/openai/models", "key-a", (200, "")),
        ("/p/anthropic/models", "key-a", (403, refused)),
        ("/p/anthropic/models", "key-b", (200, "")),
        // The key is looked at before the provider: this one learns nothing of which there are.
        ("/p/nobody/models", "key-a", (403, refused)),
        ("/p/nobody/models", "key-b", (400, unknown)),
        ("/p/gone/models", "key-a", (400, unknown)),
        ("/p//models", "key-a", (403, refused)),
    ] {
        let (status, told) = ask(&mut client, &request("GET", path, key));
        assert_eq!((status, &*told), expected, "{path} {key}");
    }
    gateway.wait_log(|line| line.contains("\"key\":\"id-a\"") && line.contains("\"status\":403"));
    gateway.wait_log(|line| line.contains("\"key\":\"id-b\"") && line.contains("\"status\":200"));
}

#[test]
fn a_key_is_good_for_its_endpoints_only() {
    let upstream = Scripted::echo();
    let gateway = echoing("allow = [\"POST /v1/chat/*\", \"GET /models\"]", &upstream);
    let mut client = gateway.connect();
    for (method, endpoint, status) in [
        ("POST", "chat/completions", 200),
        ("POST", "v1/chat/completions", 200),
        ("POST", "%63hat/completions", 200),
        ("GET", "models?x=/chat/", 200),
        ("HEAD", "v1/models", 200),
        ("GET", "chat/completions", 403),
        ("POST", "models", 403),
        ("POST", "embeddings", 403),
        ("POST", "embeddings?/chat/", 403),
        ("POST", "chat", 403),
        ("POST", "chat%2fcompletions", 403),
        ("POST", "chat/%252e%252e/files", 403),
        ("POST", "chat/..;/files", 403),
        ("POST", "chat/%00", 403),
        ("POST", "//chat/completions", 403),
        ("POST", "CHAT/completions", 403),
        ("POST", "v1/v1/chat/completions", 403),
        ("POST", "", 403),
        // Refused for everybody, before keys are looked at.
        ("POST", "chat/%2e%2e/files", 400),
    ] {
        client.send(request(method, &format!("/p/openai/{endpoint}"), "key-a"));
        let answer = match method {
            "HEAD" => client.response_to_head(),
            _ => client.response(),
        };
        assert_eq!(
            answer.status(),
            status,
            "{method} {endpoint}: {}",
            answer.text()
        );
        if status == 403 {
            let told = answer.text();
            assert!(told.contains("endpoint_not_allowed"), "{told}");
        }
    }
    let targets = upstream.received().concat();
    for refused in ["embeddings", "%2f", "files", "%00"] {
        assert!(!targets.contains(refused), "{targets}");
    }
}

#[test]
fn a_rate_holds_for_all_workers_together_and_across_reloads() {
    let upstream = Scripted::echo();
    // One more is earned after 72 s, when this is long over.
    let setup = Setup::new()
        .base(&upstream.url())
        .env("SLUICEGATE_WORKERS", "2");
    let gateway = limited(setup, "rate = \"50/h\"").start();
    let begin = Instant::now();
    let answers: Vec<(u16, String)> = thread::scope(|scope| {
        let client = || {
            let mut answers = Vec::new();
            for _ in 0..4 {
                // Each connection may get to the other worker.
                let mut client = gateway.connect();
                for _ in 0..5 {
                    answers.push(ask(&mut client, &request("GET", "/p/openai/x", "key-a")));
                }
            }
            answers
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    let passed = answers.iter().filter(|(status, _)| *status == 200).count();
    let earned = usize::try_from(begin.elapsed().as_secs() / 72).unwrap();
    assert!(
        (50..=50 + earned).contains(&passed),
        "{passed} of {}",
        answers.len()
    );
    let refused = answers.iter().filter(|(status, _)| *status == 429);
    for (_, told) in refused.clone() {
        let seconds = told
            .strip_prefix("rate_limit_error rate_exceeded retry-after=")
            .and_then(|rest| rest.strip_suffix(" x-should-retry=true"));
        let seconds: u64 = seconds.unwrap_or_else(|| panic!("{told}")).parse().unwrap();
        assert!((1..=72).contains(&seconds), "{told}");
    }
    assert_eq!(passed + refused.count(), answers.len());
    let received = upstream.received().concat().matches("GET /x ").count();
    assert_eq!(received, passed, "nothing else went to the provider");
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    let mut client = gateway.connect();
    let (status, _) = ask(&mut client, &request("GET", "/p/openai/x", "key-a"));
    assert!(status == 429 || begin.elapsed().as_secs() >= 72);
    let (status, _) = ask(&mut client, &request("GET", "/p/openai/x", "key-b"));
    assert_eq!(status, 200, "another key has its own rate, or none");
}

#[test]
fn a_rate_fills_up_again() {
    let upstream = Scripted::echo();
    let gateway = echoing("rate = \"4/s\"", &upstream);
    let mut client = gateway.connect();
    let (begin, mut passed) = (Instant::now(), 0);
    while passed < 8 {
        let (status, told) = ask(&mut client, &request("GET", "/p/openai/x", "key-a"));
        match status {
            200 => passed += 1,
            _ => assert!(told.contains("retry-after=1 "), "{told}"),
        }
        assert!(begin.elapsed() < PATIENCE, "{passed} passed");
    }
    // Four at once and four more, one each 250 ms.
    assert!(begin.elapsed().as_millis() >= 1000, "{:?}", begin.elapsed());
}

#[test]
fn what_a_key_may_not_do_does_not_count_for_its_rate() {
    let upstream = Scripted::echo();
    let limits = "rate = \"1/h\"\nproviders = [\"openai\"]\nallow = [\"GET /x\"]";
    let gateway = echoing(limits, &upstream);
    let mut client = gateway.connect();
    for (path, status) in [
        ("/p/anthropic/x", 403),
        ("/p/openai/y", 403),
        ("/elsewhere", 404),
        ("/p/openai/x", 200),
        ("/p/openai/x", 429),
        ("/p/openai/y", 403),
    ] {
        assert_eq!(
            ask(&mut client, &request("GET", path, "key-a")).0,
            status,
            "{path}"
        );
    }
}

const CHAT: &str = "/p/openai/chat";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";

/// Asks until a stream is free again.
#[track_caller]
fn until_free(rig: &Rig) {
    let begin = Instant::now();
    let mut client = rig.client();
    // There is no such provider: a stream counts before that is known, and ends with it.
    while ask(&mut client, &request("GET", "/p/nobody/x", "key-a")).0 == 429 {
        assert!(begin.elapsed() < PATIENCE, "the stream still counts");
    }
}

/// A stream under way with `key-a`.
fn begun(rig: &Rig, request: &str) -> (Wire, Wire) {
    let (mut client, mut peer, _) = rig.exchange(request);
    peer.send(CHUNKED);
    client.head();
    client.expect("1\r\na\r\n");
    (client, peer)
}

fn one_stream() -> Rig {
    Rig::with(|setup| limited(setup, "streams = 1"))
}

#[test]
fn streams_are_limited_while_they_last() {
    let rig = one_stream();
    let (mut client, mut peer) = begun(&rig, &request("POST", CHAT, "key-a"));
    let mut other = rig.client();
    let (status, told) = ask(&mut other, &request("POST", CHAT, "key-a"));
    assert_eq!(status, 429);
    assert_eq!(
        told,
        "rate_limit_error too_many_streams retry-after=1 x-should-retry=true"
    );
    other.send(request("GET", "/p/openai/other", "key-b"));
    let mut second = rig.upstream.accept();
    second.request();
    second.send(ok("another key"));
    assert_eq!(other.response().status(), 200);
    peer.send("0\r\n\r\n");
    client.expect("0\r\n\r\n");
    // It is over with its last byte.
    assert_eq!(
        ask(&mut other, &request("GET", "/p/nobody/x", "key-a")).0,
        400
    );
}

#[test]
fn a_stream_is_free_again_however_it_ends() {
    let rig = one_stream();
    let chat = request("POST", CHAT, "key-a");
    let (client, _peer) = begun(&rig, &chat);
    client.close();
    until_free(&rig);
    let (client, _peer) = begun(&rig, &chat);
    client.reset();
    until_free(&rig);
    let (_client, peer) = begun(&rig, &chat);
    peer.reset();
    until_free(&rig);
    let (_client, peer) = begun(&rig, &chat);
    peer.close();
    until_free(&rig);
    // Without an answer.
    let (client, _peer, _) = rig.exchange(&chat);
    client.close();
    until_free(&rig);
    let (mut client, peer, _) = rig.exchange(&chat);
    peer.close();
    assert_eq!(client.response().status(), 502);
    until_free(&rig);
    // With content that turns out malformed.
    let chunked = chat.replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let mut client = rig.client();
    client.send(chunked);
    let mut peer = rig.upstream.accept();
    peer.head();
    client.send("zz\r\n");
    assert_eq!(client.response().status(), 400);
    until_free(&rig);
    // A tunnel.
    let upgrade = "GET /p/openai/realtime HTTP/1.1\r\nHost: g\r\nx-api-key: key-a\r\n\
                   Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (mut client, mut peer, _) = rig.exchange(upgrade);
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    client.head();
    assert_eq!(ask(&mut rig.client(), &chat).0, 429);
    peer.close();
    until_free(&rig);
}

#[test]
fn a_stream_that_cannot_connect_is_free_again() {
    // A port of ours, so that nobody else can listen on it.
    let refusing = bound();
    let gone = format!("http://{}", addr(&refusing));
    let setup = limited(Setup::new().base(&gone), "streams = 1");
    let gateway = setup.start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        assert_eq!(ask(&mut client, &request("POST", CHAT, "key-a")).0, 502);
    }
}
