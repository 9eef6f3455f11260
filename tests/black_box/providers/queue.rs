//! So many requests at once to a provider: who waits, who is next, and who is told to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::metrics::{Metrics, wait_metrics};
use crate::support::queue::{ADMITTED, WAITING, answer, next, waits};
use crate::support::settings::{assert_line, assert_refused, bare, checked};
use crate::support::{Scripted, Setup, Upstream, get, ok, post, request, response};

fn setup(url: &str, lines: &str) -> Setup {
    Setup::new().toml(&format!(
        "[metrics]\nenabled = true\n[providers.vllm]\nbase_url = \"{url}/v1\"\n{lines}\n"
    ))
}

fn of(session: &str, path: &str) -> String {
    request(
        "GET",
        &format!("/p/vllm/{path}"),
        &[&format!("session-id: {session}")],
        "",
    )
}

#[test]
fn never_more_than_the_limit_are_at_the_provider_on_any_worker() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = (now.clone(), most.clone());
    let upstream = Scripted::start(move |wire, _| {
        while wire.try_request().is_ok() {
            let count = now.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(count, Ordering::SeqCst);
            // Others come meanwhile.
            (0..500).for_each(|_| thread::yield_now());
            now.fetch_sub(1, Ordering::SeqCst);
            if wire.try_send(ok("served")).is_err() {
                return;
            }
        }
    });
    let gateway = setup(&upstream.url(), "concurrency = 4\nqueue = { length = 100 }");
    let gateway = gateway.env("SLUICEGATE_WORKERS", "3").start();
    thread::scope(|scope| {
        for client in 0..40 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut wire = gateway.connect();
                for _ in 0..10 {
                    wire.send(of(&client.to_string(), "models"));
                    assert_eq!(wire.response().text(), "served");
                }
            });
        }
    });
    assert_eq!(seen.1.load(Ordering::SeqCst), 4);
    wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
}

#[test]
fn one_that_asks_for_much_waits_behind_one_that_asks_for_little() {
    let upstream = Upstream::listen();
    let gateway = setup(&upstream.url(), "concurrency = 1").start();
    let mut first = gateway.connect();
    first.send(of("hog", "hog-1"));
    let peer = next(&upstream, "hog-1");
    let mut second = waits(&gateway, of("hog", "hog-2"), 1);
    let mut third = waits(&gateway, of("hog", "hog-3"), 2);
    let mut other = waits(&gateway, of("other", "other-1"), 3);
    answer(peer, &mut first);
    answer(next(&upstream, "other-1"), &mut other);
    answer(next(&upstream, "hog-2"), &mut second);
    answer(next(&upstream, "hog-3"), &mut third);
    let line = gateway.wait_log(|line| line.contains("/p/vllm/hog-3"));
    assert!(line.contains("\"queued_us\":"), "{line}");
    let line = gateway.wait_log(|line| line.contains("/p/vllm/hog-1"));
    assert!(!line.contains("\"queued_us\":"), "{line}");
}

#[test]
fn beyond_the_queue_and_beyond_the_wait_is_503_and_nothing_is_sent() {
    let upstream = Upstream::listen();
    let lines = "concurrency = 1\nqueue = { length = 1, wait = \"300ms\" }";
    let gateway = setup(&upstream.url(), lines).start();
    let mut first = gateway.connect();
    first.send(of("a", "one"));
    let peer = next(&upstream, "one");
    let mut late = waits(&gateway, of("a", "two"), 1);
    let began = Instant::now();
    let mut full = gateway.connect();
    full.send(of("a", "three"));
    for (client, code) in [(&mut full, "queue_full"), (&mut late, "queue_timeout")] {
        let told = client.response();
        assert_eq!(told.status(), 503);
        assert!(told.text().contains(code), "{}", told.text());
        assert!(told.text().contains("overloaded_error"), "{}", told.text());
        let after: u64 = told.value("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&after), "{after}");
        assert_eq!(told.value("x-should-retry"), Some("true"));
    }
    assert!(began.elapsed() >= Duration::from_millis(250));
    answer(peer, &mut first);
    assert!(!upstream.has_connection());
    wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
}

#[test]
fn a_client_that_leaves_gives_its_place_up() {
    let upstream = Upstream::listen();
    let gateway = setup(&upstream.url(), "concurrency = 1").start();
    let mut first = gateway.connect();
    first.send(of("a", "one"));
    let peer = next(&upstream, "one");
    let gone = waits(&gateway, of("b", "two"), 1);
    let mut stays = waits(&gateway, of("c", "three"), 2);
    gone.close();
    wait_metrics(&gateway, &[(WAITING, 1.0)]);
    answer(peer, &mut first);
    answer(next(&upstream, "three"), &mut stays);
}

#[test]
fn content_is_asked_for_only_when_its_turn_has_come() {
    let upstream = Upstream::listen();
    let gateway = setup(&upstream.url(), "concurrency = 1").start();
    let mut first = gateway.connect();
    first.send(of("a", "one"));
    let peer = next(&upstream, "one");
    let head = "POST /p/vllm/files HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer gk-test\r\n\
                Expect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let mut upload = waits(&gateway, head, 1);
    assert!(!upload.readable_now());
    answer(peer, &mut first);
    let mut peer = upstream.accept();
    assert_eq!(peer.head().target(), "/v1/files");
    peer.send("HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(upload.head().status(), 100);
    upload.send("1234");
    assert_eq!(peer.take(4).unwrap(), b"1234");
    answer(peer, &mut upload);
}

#[test]
fn a_reload_changes_the_limit_and_forgets_nobody() {
    let upstream = Upstream::listen();
    let gateway = setup(&upstream.url(), "concurrency = 1").start();
    let mut first = gateway.connect();
    first.send(of("a", "one"));
    let peer = next(&upstream, "one");
    let mut second = waits(&gateway, of("b", "two"), 1);
    let mut third = waits(&gateway, of("c", "three"), 2);
    let write = |lines: &str| {
        let file = format!(
            "[metrics]\nenabled = true\n[providers.vllm]\nbase_url = \"{}/v1\"\n{lines}\n",
            upstream.url()
        );
        std::fs::write(gateway.setup().dir().join("sluicegate.toml"), file).unwrap();
        gateway.reload();
    };
    write("concurrency = 2");
    let of_second = next(&upstream, "two");
    wait_metrics(&gateway, &[(WAITING, 1.0), (ADMITTED, 2.0)]);
    write("concurrency = 1");
    answer(of_second, &mut second);
    // One is still under way, and that is the limit now.
    wait_metrics(&gateway, &[(WAITING, 1.0), (ADMITTED, 1.0)]);
    assert!(!upstream.has_connection());
    answer(peer, &mut first);
    answer(next(&upstream, "three"), &mut third);
}

#[test]
fn without_a_limit_there_is_no_queue() {
    let upstream = Scripted::echo();
    let gateway = setup(&upstream.url(), "").start();
    let mut client = gateway.connect();
    client.send(post("/p/vllm/completions", "{}"));
    client.response();
    let metrics = Metrics::of(&gateway).0;
    assert!(!metrics.contains("upstream_queue"), "{metrics}");
    client.send(get("/p/vllm/last"));
    client.response();
    let line = gateway.wait_log(|line| line.contains("/p/vllm/last"));
    assert!(!line.contains("queued_us"), "{line}");
}

#[test]
fn what_is_no_limit_is_refused_by_name() {
    let shown = checked(bare().toml("[providers.vllm]\nconcurrency = 8\n"));
    assert_line(&shown, "concurrency = 8");
    assert_line(&shown, "queue = { length = 100, wait = 30 }");
    let rows: &[(&str, &[&str])] = &[
        (
            "concurrency = 0",
            &["line 2", "providers.vllm.concurrency", "1 to 100000"],
        ),
        (
            "concurrency = 8\nqueue = { length = -1 }",
            &["line 3", "providers.vllm.queue", "length"],
        ),
        (
            "concurrency = 8\nqueue = { wait = \"soon\" }",
            &["line 3", "providers.vllm.queue", "wait"],
        ),
        (
            "concurrency = 8\nqueue = { size = 3 }",
            &["line 3", "providers.vllm.queue", "length and wait"],
        ),
        (
            "concurrency = 8\nqueue = 100",
            &["line 3", "providers.vllm.queue", "a table"],
        ),
        (
            "queue = { length = 100 }",
            &["line 2", "providers.vllm.queue", "concurrency"],
        ),
    ];
    for (lines, named) in rows {
        assert_refused(
            || bare().toml(&format!("[providers.vllm]\n{lines}\n")),
            named,
        );
    }
}

/// Numbers of providers change by it, and so do those of their connections.
#[test]
fn behind_a_reload_it_goes_to_its_own_provider_all_the_same() {
    let (upstream, other) = (Upstream::listen(), Upstream::listen());
    let file = |before: &str| {
        format!(
            "[metrics]\nenabled = true\n{before}\
             [providers.openai]\nbase_url = \"{}/v1\"\napi_key = \"sk-other\"\n\
             [providers.vllm]\nbase_url = \"{}/v1\"\napi_key = \"sk-vllm\"\nconcurrency = 1\n",
            other.url(),
            upstream.url()
        )
    };
    let gateway = Setup::new()
        .secret("sk-other")
        .secret("sk-vllm")
        .env("SLUICEGATE_WORKERS", "1")
        .toml(&file(""))
        .start();
    let mut first = gateway.connect();
    first.send(of("a", "one"));
    let peer = next(&upstream, "one");
    let mut second = waits(&gateway, of("b", "two"), 1);
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    let mut idle = other.accept();
    idle.request();
    idle.send(ok("other"));
    assert_eq!(client.response().text(), "other");
    let added =
        "[providers.anthropic]\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key = \"sk-other\"\n";
    let path = gateway.setup().dir().join("sluicegate.toml");
    std::fs::write(path, file(added)).unwrap();
    gateway.reload();
    answer(peer, &mut first);
    answer(next(&upstream, "two"), &mut second);
    assert!(!idle.readable_now());
}

#[test]
fn a_key_that_came_to_rest_meanwhile_is_not_used() {
    let upstream = Upstream::listen();
    let lines = "api_keys = [\"sk-one\", \"sk-two\"]\nconcurrency = 1";
    let setup = setup(&upstream.url(), lines);
    let gateway = setup.secret("sk-one").secret("sk-two").start();
    let mut first = gateway.connect();
    first.send(of("a", "one"));
    let mut peer = upstream.accept();
    let key = peer.request().value("authorization").unwrap().to_owned();
    let mut second = waits(&gateway, of("a", "two"), 1);
    let mut third = waits(&gateway, of("a", "three"), 2);
    let limited = response("429 Slow", &["Retry-After: 60"], "limited");
    peer.send(&limited);
    assert_eq!(first.response().status(), 429);
    let request = peer.request();
    assert_ne!(request.value("authorization"), Some(&*key));
    assert_eq!(request.head.target(), "/two");
    // Once for what was sent with it.
    let metrics = Metrics::of(&gateway);
    let lines = metrics.0.lines();
    let counts = lines.filter(|line| line.starts_with("sluicegate_upstream_key_requests_total{"));
    assert!(counts.clone().count() == 2 && counts.clone().all(|line| line.ends_with(" 1")));
    peer.send(&limited);
    assert_eq!(second.response().status(), 429);
    let told = third.response();
    assert!(told.text().contains("keys_exhausted"), "{}", told.text());
    wait_metrics(&gateway, &[(WAITING, 0.0), (ADMITTED, 0.0)]);
}
