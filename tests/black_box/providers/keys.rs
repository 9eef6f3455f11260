//! Several keys of one provider: a session keeps to one, a key that reaches its limit rests alone, and nobody is shown any.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::metrics::{Metrics, wait_metrics};
use crate::support::{
    Gateway, Message, PATIENCE, Scripted, Setup, Upstream, Wire, get, ok, post, request, response,
};

/// What a provider answers to each key: a status line's rest and field lines. To others it says 200.
type Answers = Arc<Mutex<BTreeMap<String, (&'static str, &'static [&'static str])>>>;

/// A provider that answers by key and says in `X-Key` which it was sent.
fn by_key(answers: &Answers) -> Scripted {
    let answers = answers.clone();
    Scripted::start(move |wire, _| {
        while let Ok(request) = wire.try_request() {
            let key = request.value("authorization").unwrap_or("Bearer none");
            let key = key.trim_start_matches("Bearer ").to_owned();
            let (status, lines) = { answers.lock().unwrap() }
                .get(&key)
                .copied()
                .unwrap_or(("200 OK", &[]));
            let told = format!("X-Key: {key}");
            let lines: Vec<&str> = lines.iter().copied().chain([&*told]).collect();
            if wire.try_send(response(status, &lines, "said")).is_err() {
                return;
            }
        }
    })
}

const KEYS: [&str; 3] = ["sk-red", "sk-green", "sk-blue"];

/// Three keys of a provider there.
fn three(upstream: &str) -> Setup {
    let setup = Setup::new().toml(&format!(
        "[providers.openai]\nbase_url = \"{upstream}/v1\"\napi_keys = [\"sk-red\", \"sk-green\", \"sk-blue\"]\n\
         [metrics]\nenabled = true\n"
    ));
    KEYS.into_iter().fold(setup, Setup::secret)
}

fn of_session(session: &str) -> String {
    request(
        "POST",
        "/p/openai/chat/completions",
        &[&format!("X-Session-Id: {session}")],
        "{}",
    )
}

#[track_caller]
fn ask(client: &mut Wire, session: &str) -> Message {
    client.send(of_session(session));
    client.response()
}

/// The key that a session's request was sent with.
#[track_caller]
fn key_of(client: &mut Wire, session: &str) -> String {
    let answer = ask(client, session);
    answer
        .value("x-key")
        .unwrap_or_else(|| panic!("{}", answer.text()))
        .to_owned()
}

/// A session that is sent with this key.
#[track_caller]
fn session_of(client: &mut Wire, key: &str) -> String {
    let sessions = (0..100).map(|n| format!("s{n}"));
    { sessions }
        .find(|session| key_of(client, session) == key)
        .expect("a session of each key")
}

#[test]
fn each_of_a_thousand_sessions_keeps_to_one_key_on_every_gateway() {
    let upstream = by_key(&Answers::default());
    let first = three(&upstream.url()).start();
    // Other numbers, other workers, the same keys.
    let second = Setup::new()
        .env("SLUICEGATE_WORKERS", "2")
        .env("OPENAI_BASE_URL", &upstream.url())
        .env("OPENAI_API_KEY", "sk-blue")
        .env("OPENAI_API_KEY_2", "sk-red")
        .env("OPENAI_API_KEY_7", "sk-green")
        .start();
    let (mut one, mut other) = (first.connect(), second.connect());
    let mut counts = BTreeMap::new();
    for session in 0..1000 {
        let session = format!("session-{session}");
        let key = key_of(&mut one, &session);
        assert_eq!(key_of(&mut one, &session), key);
        assert_eq!(key_of(&mut other, &session), key);
        *counts.entry(key).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert!(
        counts.values().all(|n| (250..420).contains(n)),
        "{counts:?}"
    );
}

#[test]
fn the_session_is_the_first_field_that_is_there_else_the_gateway_key_else_the_address() {
    let upstream = by_key(&Answers::default());
    let gateway = three(&upstream.url()).start();
    let mut client = gateway.connect();
    let key = |client: &mut Wire, lines: &[&str]| {
        client.send(request("GET", "/p/openai/models", lines, ""));
        client.response().value("x-key").unwrap().to_owned()
    };
    let sessions: Vec<String> = KEYS
        .iter()
        .map(|key| session_of(&mut client, key))
        .collect();
    for (session, wanted) in sessions.iter().zip(KEYS) {
        for name in [
            "X-Claude-Code-Session-Id",
            "session-id",
            "Session_Id",
            "Helicone-Session-Id",
        ] {
            let line = format!("{name}: {session}");
            assert_eq!(key(&mut client, &[&line]), wanted, "{name}");
            let later = format!("x-litellm-session-id: {}", sessions[0]);
            let first = format!("x-claude-code-session-id: {session}");
            assert_eq!(key(&mut client, &[&later, &first]), wanted);
        }
    }
    // Nothing names one: all of a gateway key's go together.
    let lone: BTreeSet<String> = (0..20).map(|_| key(&mut gateway.connect(), &[])).collect();
    assert_eq!(lone.len(), 1, "{lone:?}");
    let configured = three(&upstream.url());
    let file = std::fs::read_to_string(configured.dir().join("sluicegate.toml")).unwrap();
    let own = file.replace("api_keys", "session_headers = [\"X-Team\"]\napi_keys");
    let gateway = configured.toml(&own).start();
    let mut client = gateway.connect();
    let teams: BTreeSet<String> = (0..50)
        .map(|n| key(&mut client, &[&format!("x-team: {n}")]))
        .collect();
    assert_eq!(teams.len(), 3);
    let ignored: BTreeSet<String> = (0..50)
        .map(|n| key(&mut client, &[&format!("session-id: {n}")]))
        .collect();
    assert_eq!(ignored.len(), 1);
}

#[test]
fn a_key_at_its_limit_rests_alone_and_returns_in_time() {
    for status in ["429 Too Many Requests", "529 Overloaded"] {
        let answers = Answers::default();
        let upstream = by_key(&answers);
        let gateway = three(&upstream.url()).start();
        let mut client = gateway.connect();
        let (own, others) = (
            session_of(&mut client, "sk-green"),
            session_of(&mut client, "sk-red"),
        );
        { answers.lock().unwrap() }.insert("sk-green".into(), (status, &["retry-after-ms: 700"]));
        let began = Instant::now();
        let answer = ask(&mut client, &own);
        // It is the provider's, and the client's to repeat or not.
        assert_eq!(answer.value("x-key"), Some("sk-green"));
        assert_eq!(answer.value("retry-after-ms"), Some("700"));
        assert_eq!(answer.text(), "said");
        answers.lock().unwrap().clear();
        assert_ne!(key_of(&mut client, &own), "sk-green");
        assert_eq!(key_of(&mut client, &others), "sk-red");
        while key_of(&mut client, &own) != "sk-green" {
            assert!(began.elapsed() < PATIENCE, "it never came back");
        }
        assert!(began.elapsed() >= Duration::from_millis(700));
        let line = gateway.wait_log(|line| line.contains("has reached its limit"));
        assert!(
            line.contains("\"key_n\":2") && line.contains("\"provider\":\"openai\""),
            "{line}"
        );
        let metrics = Metrics::of(&gateway).0;
        let limited = metrics
            .lines()
            .find(|line| line.contains("key_limited_total{provider=\"openai\",key=\"2-"));
        assert!(
            limited.is_some_and(|line| line.ends_with(" 1")),
            "{metrics}"
        );
    }
}

#[test]
fn where_all_keys_rest_nothing_is_sent_and_the_client_learns_for_how_long() {
    let answers = Answers::default();
    let upstream = by_key(&answers);
    for (key, lines) in KEYS
        .into_iter()
        .zip([&["retry-after: 50"][..], &["retry-after: 30"], &[]])
    {
        { answers.lock().unwrap() }.insert(key.into(), ("429 Too Many Requests", lines));
    }
    let gateway = three(&upstream.url()).start();
    let mut client = gateway.connect();
    while ask(&mut client, "any").value("x-key").is_some() {}
    let sent = upstream.received().concat().matches("POST ").count();
    assert_eq!(sent, 3);
    let answer = ask(&mut client, "any");
    assert_eq!(answer.status(), 429);
    let after: u64 = answer.value("retry-after").unwrap().parse().unwrap();
    assert!((25..=30).contains(&after), "{after}");
    assert_eq!(answer.value("x-should-retry"), Some("true"));
    let text = answer.text();
    assert!(
        text.contains("\"code\":\"keys_exhausted\"") && text.contains("rate_limit_error"),
        "{text}"
    );
    assert_eq!(upstream.received().concat().matches("POST ").count(), sent);
    wait_metrics(
        &gateway,
        &[(
            "provider_errors_total{provider=\"openai\",code=\"keys_exhausted\"}",
            2.0,
        )],
    );
    // What is under way goes on, and a reload forgets nothing of keys that stay.
    gateway.reload();
    assert!(ask(&mut client, "any").text().contains("keys_exhausted"));
}

#[test]
fn a_refused_key_is_left_and_the_others_go_on() {
    let answers = Answers::default();
    let upstream = by_key(&answers);
    let gateway = three(&upstream.url()).start();
    let mut client = gateway.connect();
    let own = session_of(&mut client, "sk-blue");
    for (status, body) in [("401 Unauthorized", "said"), ("403 Forbidden", "said")] {
        { answers.lock().unwrap() }.insert("sk-blue".into(), (status, &[]));
        let gateway = three(&upstream.url()).start();
        let mut client = gateway.connect();
        assert_eq!(ask(&mut client, &own).text(), body);
        for _ in 0..5 {
            assert_ne!(key_of(&mut client, &own), "sk-blue");
        }
        let line = gateway.wait_log(|line| line.contains("refuses its key"));
        assert!(
            line.contains("\"level\":\"warn\"") && line.contains("\"key_n\":3"),
            "{line}"
        );
        let metrics = Metrics::of(&gateway).0;
        let rest = metrics
            .lines()
            .find(|line| line.contains("key_rest_seconds{provider=\"openai\",key=\"3-"));
        let rest: f64 = rest.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(rest > 50.0 && rest <= 60.0, "{rest}");
    }
}

#[test]
fn a_request_that_every_key_is_refused_for_does_not_shut_the_provider() {
    let answers = Answers::default();
    let upstream = by_key(&answers);
    for key in KEYS {
        { answers.lock().unwrap() }.insert(key.into(), ("403 Forbidden", &[]));
    }
    let gateway = three(&upstream.url()).start();
    let mut client = gateway.connect();
    for _ in 0..6 {
        assert_eq!(ask(&mut client, "any").status(), 403);
    }
    answers.lock().unwrap().clear();
    assert_eq!(ask(&mut client, "any").status(), 200);
}

#[test]
fn one_key_is_used_whatever_it_is_answered() {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let mut client = gateway.connect();
    let mut peer: Option<Wire> = None;
    for status in [
        "429 Too Many Requests",
        "401 Unauthorized",
        "529 Overloaded",
        "200 OK",
    ] {
        client.send(post("/p/openai/chat/completions", "{}"));
        let peer = peer.get_or_insert_with(|| upstream.accept());
        peer.request();
        peer.send(response(status, &["Retry-After: 60"], "mine"));
        assert_eq!(client.response().text(), "mine");
    }
}

#[test]
fn streams_under_way_go_on_while_their_key_rests() {
    let upstream = Upstream::listen();
    let gateway = three(&upstream.url()).start();
    let stream = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut streaming = gateway.connect();
    streaming.send(of_session("one"));
    let mut peer = upstream.accept();
    let key = peer.request().value("authorization").unwrap().to_owned();
    peer.send(stream);
    streaming.head();
    let mut limited = gateway.connect();
    limited.send(of_session("one"));
    let mut second = upstream.accept();
    assert_eq!(second.request().value("authorization"), Some(&*key));
    second.send(response("429 Too Many Requests", &["Retry-After: 60"], ""));
    assert_eq!(limited.response().status(), 429);
    limited.send(of_session("one"));
    let moved = second.request();
    assert_ne!(moved.value("authorization"), Some(&*key));
    second.send(ok("moved"));
    assert_eq!(limited.response().text(), "moved");
    peer.send("3\r\nend\r\n0\r\n\r\n");
    streaming.expect_chunks("end");
}

#[test]
fn the_access_log_tells_which_key_it_was_and_no_more() {
    let upstream = by_key(&Answers::default());
    let gateway = three(&upstream.url()).start();
    let mut client = gateway.connect();
    let session = session_of(&mut client, "sk-blue");
    client.send(request(
        "GET",
        "/p/openai/last",
        &[&format!("session-id: {session}")],
        "",
    ));
    client.response();
    let line = gateway.wait_log(|line| line.contains("/p/openai/last"));
    assert!(line.contains("\"key_n\":3"), "{line}");
    let single = Setup::new().base(&upstream.url()).start();
    let mut client = single.connect();
    client.send(get("/p/openai/last"));
    client.response();
    let line = single.wait_log(|line| line.contains("/p/openai/last"));
    assert!(!line.contains("key_n"), "{line}");
}
