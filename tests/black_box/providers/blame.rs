//! What is no instance's fault, and what is known of one that nobody asks any more.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::support::metrics::{Metrics, wait_metrics};
use crate::support::{Gateway, Scripted, Setup, Upstream, Wire, get, ok, request, response};

const STATE: &str = "upstream_instance_state{provider=\"vllm\",instance=\"1\"}";
const FAILURES: &str = "upstream_instance_failures_total{provider=\"vllm\",instance=\"1\"}";

fn file(urls: &[String], global: &str, lines: &str) -> String {
    let urls: Vec<String> = urls.iter().map(|url| format!("\"{url}/v1\"")).collect();
    format!(
        "[metrics]\nenabled = true\n{global}[providers.vllm]\nbase_urls = [{}]\nbalance = \"first\"\n{lines}\n",
        urls.join(", ")
    )
}

fn start(urls: &[String], global: &str, lines: &str) -> Gateway {
    Setup::new().toml(&file(urls, global, lines)).start()
}

#[track_caller]
fn ask(client: &mut Wire, path: &str) -> String {
    client.send(get(&format!("/p/vllm/{path}")));
    client.response().text()
}

/// Answers everything with this.
fn saying(name: &'static str) -> Scripted {
    Scripted::start(move |wire, _| {
        while wire.try_request().is_ok() {
            if wire.try_send(ok(name)).is_err() {
                return;
            }
        }
    })
}

#[test]
fn a_client_that_does_not_read_is_not_the_instances_fault() {
    let endless = Scripted::start(|wire, _| {
        if wire.try_request().is_ok() {
            let _ = wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n");
            while wire.try_send([b'x'; 65536]).is_ok() {}
        }
    });
    let global = "[timeouts]\nbody_idle = \"300ms\"\n";
    let spare = saying("spare");
    let gateway = start(&[endless.url(), spare.url()], global, "");
    let mut clients: Vec<Wire> = Vec::new();
    for _ in 0..3 {
        let mut client = gateway.connect();
        client.send(get("/p/vllm/models"));
        client.wait_readable();
        clients.push(client);
    }
    for _ in &clients {
        gateway.wait_log(|line| line.contains("\"path\":\"/p/vllm/models\""));
    }
    wait_metrics(&gateway, &[(STATE, 1.0), (FAILURES, 0.0)]);
}

#[test]
fn a_request_that_takes_longer_than_it_may_is_not_the_instances_fault() {
    let upstream = Upstream::listen();
    let global = "[timeouts]\nrequest = \"300ms\"\n";
    let spare = saying("spare");
    let gateway = start(&[upstream.url(), spare.url()], global, "");
    let mut client = gateway.connect();
    client.send(get("/p/vllm/models"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    gateway.wait_log(|line| line.contains("\"path\":\"/p/vllm/models\""));
    wait_metrics(&gateway, &[(STATE, 1.0), (FAILURES, 0.0)]);
}

#[test]
fn an_instance_that_breaks_off_is_at_fault() {
    let upstream = Upstream::listen();
    let global = "[timeouts]\nbody_idle = \"300ms\"\n";
    let spare = saying("spare");
    let gateway = start(&[upstream.url(), spare.url()], global, "");
    let mut client = gateway.connect();
    client.send(get("/p/vllm/models"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    gateway.wait_log(|line| line.contains("\"path\":\"/p/vllm/models\""));
    wait_metrics(&gateway, &[(STATE, 1.0), (FAILURES, 1.0)]);
}

#[test]
fn our_own_limit_of_connections_is_not_the_instances_fault() {
    let first = Upstream::listen();
    let global = "[limits]\nupstream_connections = 1\n";
    let spare = saying("spare");
    let setup = Setup::new().toml(&file(&[first.url(), spare.url()], global, ""));
    let gateway = setup.env("SLUICEGATE_WORKERS", "1").start();
    let mut stream = gateway.connect();
    stream.send(get("/p/vllm/models"));
    let mut peer = first.accept();
    peer.request();
    let mut client = gateway.connect();
    for _ in 0..4 {
        assert_eq!(ask(&mut client, "models"), "spare");
    }
    wait_metrics(&gateway, &[(STATE, 1.0), (FAILURES, 0.0)]);
    peer.send(ok("first"));
    assert_eq!(stream.response().text(), "first");
}

#[test]
fn where_nobody_asks_any_more_an_instance_that_was_down_is_tried() {
    let status = Arc::new(AtomicU16::new(200));
    let told = status.clone();
    let one = Scripted::start(move |wire, _| {
        while let Ok(request) = wire.try_request() {
            let answer = match request.head.target() {
                "/health" => response(&format!("{} S", told.load(Ordering::SeqCst)), &[], ""),
                _ => ok("one"),
            };
            if wire.try_send(answer).is_err() {
                return;
            }
        }
    });
    let two = saying("two");
    let urls = [one.url(), two.url()];
    let health = "health = { path = \"/health\", interval = \"100ms\" }";
    let gateway = start(&urls, "", health);
    status.store(500, Ordering::SeqCst);
    gateway.wait_log(|line| line.contains("fails its probes"));
    let mut client = gateway.connect();
    assert_eq!(ask(&mut client, "models"), "two");
    let path = gateway.setup().dir().join("sluicegate.toml");
    fs::write(path, file(&urls, "", "")).unwrap();
    gateway.reload();
    assert_eq!(ask(&mut client, "models"), "one");
    gateway.wait_log(|line| line.contains("an instance serves again"));
}

#[test]
fn one_that_waits_for_its_turn_is_counted_when_it_has_come() {
    let upstream = Upstream::listen();
    let spare = saying("spare");
    let urls = [upstream.url(), spare.url()];
    let gateway = start(&urls, "", "concurrency = 1");
    let under_way = "upstream_instance_requests_in_flight{provider=\"vllm\",instance=\"1\"}";
    let requests = "upstream_instance_requests_total{provider=\"vllm\",instance=\"1\"}";
    let waiting = "upstream_queue_requests{provider=\"vllm\",state=\"waiting\"}";
    let mut first = gateway.connect();
    first.send(get("/p/vllm/one"));
    let mut peer = upstream.accept();
    peer.request();
    let mut second = gateway.connect();
    second.send(get("/p/vllm/two"));
    wait_metrics(
        &gateway,
        &[(waiting, 1.0), (under_way, 1.0), (requests, 1.0)],
    );
    peer.send(ok("one"));
    assert_eq!(first.response().text(), "one");
    peer.request();
    peer.send(ok("two"));
    assert_eq!(second.response().text(), "two");
    wait_metrics(
        &gateway,
        &[(waiting, 0.0), (under_way, 0.0), (requests, 2.0)],
    );
}

#[test]
fn a_key_is_counted_for_what_is_sent_with_it() {
    let upstream = Scripted::start(|wire, _| {
        while wire.try_request().is_ok() {
            if wire.try_send(response("503 Busy", &[], "busy")).is_err() {
                return;
            }
        }
    });
    let toml = format!(
        "[metrics]\nenabled = true\n[providers.vllm]\nbase_url = \"{}/v1\"\n\
         api_keys = [\"sk-one\", \"sk-two\"]\nfailover_on = [503]\n",
        upstream.url()
    );
    let setup = Setup::new().secret("sk-one").secret("sk-two");
    let gateway = setup.toml(&toml).start();
    assert_eq!(ask(&mut gateway.connect(), "models"), "busy");
    let metrics = Metrics::of(&gateway);
    let of_keys =
        { metrics.0.lines() }.filter(|line| line.contains("_upstream_key_requests_total{"));
    let all: f64 = of_keys
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert!((all - 1.0).abs() < 0.1, "{all}");
}

/// What is held of requests is bounded, and a stream that has begun needs none of it.
#[test]
fn streams_hold_nothing_that_others_need() {
    let busy = Scripted::start(|wire, _| {
        while let Ok(request) = wire.try_request() {
            let answer = match request.head.target().ends_with("/stream") {
                true => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_owned(),
                false => response("503 Busy", &[], "busy"),
            };
            if wire.try_send(answer).is_err() {
                return;
            }
        }
    });
    let lines = "failover_on = [503]\nreplay_bytes = \"256K\"";
    let spare = saying("spare");
    let setup = Setup::new().toml(&file(&[busy.url(), spare.url()], "", lines));
    let gateway = setup.env("SLUICEGATE_WORKERS", "1").start();
    let body = "x".repeat(255 * 1024);
    let mut streams = Vec::new();
    for _ in 0..70 {
        let mut client = gateway.connect();
        client.send(request("POST", "/p/vllm/stream", &[], &body));
        assert_eq!(client.head().status(), 200);
        streams.push(client);
    }
    let mut client = gateway.connect();
    client.send(request(
        "POST",
        "/p/vllm/models",
        &[],
        &"x".repeat(100 * 1024),
    ));
    assert_eq!(client.response().text(), "spare");
    drop(streams);
}

/// The limit is gone, and so is what was waited for.
#[test]
fn where_a_reload_takes_the_limit_away_nobody_waits() {
    let upstream = Upstream::listen();
    let write = |lines: &str| {
        format!(
            "[metrics]\nenabled = true\n[providers.vllm]\nbase_url = \"{}/v1\"\n{lines}\n",
            upstream.url()
        )
    };
    let gateway = Setup::new().toml(&write("concurrency = 1")).start();
    let mut first = gateway.connect();
    first.send(get("/p/vllm/one"));
    let mut peer = upstream.accept();
    peer.request();
    let waiting = "upstream_queue_requests{provider=\"vllm\",state=\"waiting\"}";
    let mut others: Vec<Wire> = (1..=3)
        .map(|count| {
            let mut client = gateway.connect();
            client.send(get("/p/vllm/other"));
            wait_metrics(&gateway, &[(waiting, count.into())]);
            client
        })
        .collect();
    let path = gateway.setup().dir().join("sluicegate.toml");
    fs::write(path, write("")).unwrap();
    gateway.reload();
    let mut peers: Vec<Wire> = others.iter().map(|_| upstream.accept()).collect();
    for peer in &mut peers {
        peer.request();
        peer.send(ok("other"));
    }
    for client in &mut others {
        assert_eq!(client.response().text(), "other");
    }
    peer.send(ok("one"));
    assert_eq!(first.response().text(), "one");
}
