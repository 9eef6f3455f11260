//! The metrics: what is counted and timed, where it is served, and that it is Prometheus text.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::metrics::{
    Metrics, lively, metrics_addr, promtool, wait_metrics, wait_metrics_at,
};
use crate::support::tls;
use crate::support::{KEY, Rig, Setup, Sides, Upstream, get, ok, post, request, response};

fn rig() -> Rig {
    Rig::with(|setup| setup.env("METRICS_ENABLED", "true"))
}

#[test]
fn requests_are_counted_by_provider_method_and_status() {
    let rig = rig();
    let (mut client, mut peer, _) = rig.exchange(&post("/p/anthropic/messages", "12345"));
    peer.send(ok("1234567"));
    client.response();
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.send(response("404 Not Found", &[], "no"));
    client.response();
    client.send("GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n");
    client.response();
    client.send("GET /p/openai/models HTTP/1.1\r\nHost: g\r\n\r\n");
    client.response();
    let of = |method: &str, class: &str| {
        format!("requests_total{{provider=\"anthropic\",method=\"{method}\",class=\"{class}\"}}")
    };
    wait_metrics(
        &rig.gateway,
        &[
            (&of("POST", "2xx"), 1.0),
            (&of("POST", "5xx"), 0.0),
            (&of("GET", "4xx"), 1.0),
            ("request_body_bytes_total{provider=\"anthropic\"}", 5.0),
            ("response_body_bytes_total{provider=\"anthropic\"}", 9.0),
            (
                "requests_total{provider=\"-\",method=\"GET\",class=\"4xx\"}",
                2.0,
            ),
            ("gateway_errors_total{code=\"not_found\"}", 1.0),
            ("gateway_errors_total{code=\"missing_key\"}", 1.0),
            ("upstream_connects_total{provider=\"anthropic\"}", 1.0),
            ("upstream_reuses_total{provider=\"anthropic\"}", 1.0),
        ],
    );
}

#[test]
fn what_cannot_be_read_is_counted_too() {
    let rig = rig();
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\nHost g\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    wait_metrics(
        &rig.gateway,
        &[
            ("gateway_errors_total{code=\"invalid_head\"}", 1.0),
            (
                "requests_total{provider=\"-\",method=\"other\",class=\"4xx\"}",
                1.0,
            ),
        ],
    );
}

#[test]
fn a_stream_is_timed_from_its_request_to_its_last_piece() {
    let mut rig = rig();
    let (mut client, mut peer, _) = rig.exchange(&post("/p/anthropic/messages", "{}"));
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
    client.head();
    client.expect("5\r\nfirst\r\n");
    rig.settle();
    let first = Instant::now();
    for _ in 0..10 {
        rig.settle();
    }
    let pause = first.elapsed().as_secs_f64();
    peer.send("6\r\nsecond\r\n0\r\n\r\n");
    client.expect("6\r\nsecond\r\n0\r\n\r\n");
    let of = |name: &str| format!("{name}_count{{provider=\"anthropic\"}}");
    let metrics = wait_metrics(
        &rig.gateway,
        &[
            (
                "request_overhead_seconds_count{provider=\"anthropic\",connection=\"new\"}",
                1.0,
            ),
            (&of("response_overhead_seconds"), 1.0),
            (&of("waited_seconds"), 1.0),
            (&of("upstream_connect_seconds"), 1.0),
            (&of("upstream_tls_seconds"), 0.0),
            (&of("upstream_head_seconds"), 1.0),
            (&of("upstream_first_byte_seconds"), 1.0),
            (&of("stream_longest_gap_seconds"), 1.0),
            (&of("stream_duration_seconds"), 1.0),
        ],
    );
    let all = first.elapsed().as_secs_f64() * 100.0;
    for name in ["stream_longest_gap_seconds", "stream_duration_seconds"] {
        let sum = metrics.get(&format!("{name}_sum{{provider=\"anthropic\"}}"));
        assert!((pause..all).contains(&sum), "{name}: {sum}, not {pause}");
    }
    let turns = metrics.0.lines();
    let turns =
        turns.filter(|line| line.starts_with("sluicegate_worker_turn_seconds_count{worker="));
    assert!(turns.count() > 0, "{}", metrics.0);
    check_buckets(&metrics);
}

#[test]
fn requests_are_counted_by_key_and_reloads_are_told() {
    // SHA-256 of "key-a".
    let digest = "f10f781241e2246678b6b45c857069208152a53863e47fac33f607ab405006f4";
    let keys = format!("[[key]]\nid = \"team\"\nname = \"n\"\nsha256 = \"{digest}\"\n");
    let rig = Rig::with(|setup| {
        let setup = setup.file("keys.toml", &keys).secret("key-a");
        setup
            .env("SLUICEGATE_KEYS_FILE", "keys.toml")
            .env("METRICS_ENABLED", "true")
    });
    let mut client = rig.client();
    for key in ["key-a", KEY, "key-a", "wrong"] {
        client.send(format!(
            "GET /p/nobody/x HTTP/1.1\r\nHost: g\r\nX-Api-Key: {key}\r\n\r\n"
        ));
        client.response();
    }
    let metrics = wait_metrics(
        &rig.gateway,
        &[
            ("key_requests_total{key=\"team\"}", 2.0),
            ("key_requests_total{key=\"master\"}", 1.0),
            ("config_last_reload_successful", 1.0),
        ],
    );
    let first = metrics.get("config_last_reload_success_timestamp_seconds");
    assert!(first > 1.7e9, "{first}");
    fs::write(rig.gateway.setup().dir().join("sluicegate.toml"), "broken").unwrap();
    rig.gateway.signal(Signal::HUP);
    rig.gateway.wait_log(|line| line.contains("is broken"));
    wait_metrics(
        &rig.gateway,
        &[
            ("config_last_reload_successful", 0.0),
            ("config_last_reload_success_timestamp_seconds", first),
        ],
    );
}

/// Buckets grow, and the last one is the count.
fn check_buckets(metrics: &Metrics) {
    let mut last = 0.0;
    let mut histograms = 0;
    for line in metrics.0.lines().filter(|line| line.contains("_bucket{")) {
        let (series, count) = line.rsplit_once(' ').unwrap();
        let count: f64 = count.parse().unwrap();
        assert!(count >= last, "{line}");
        last = count;
        if let Some(start) = series.strip_suffix(",le=\"+Inf\"}") {
            let series = start.replace("_bucket{", "_count{") + "}";
            let series = series.strip_prefix("sluicegate_").unwrap();
            assert_eq!(metrics.get(series), count, "{series}");
            histograms += 1;
            last = 0.0;
        }
    }
    assert!(histograms > 0, "{}", metrics.0);
}

#[test]
fn an_answer_in_one_piece_is_no_stream_and_a_pooled_connection_is_told_from_a_new_one() {
    let rig = rig();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send(ok("whole"));
    client.response();
    client.send(get("/p/openai/models"));
    peer.request();
    peer.send(ok("whole"));
    client.response();
    wait_metrics(
        &rig.gateway,
        &[
            (
                "request_overhead_seconds_count{provider=\"openai\",connection=\"new\"}",
                1.0,
            ),
            (
                "request_overhead_seconds_count{provider=\"openai\",connection=\"pooled\"}",
                1.0,
            ),
            ("upstream_head_seconds_count{provider=\"openai\"}", 2.0),
            ("stream_duration_seconds_count{provider=\"openai\"}", 0.0),
        ],
    );
}

#[test]
fn handshakes_are_full_or_resumed() {
    let rig = Rig::on(Sides::TLS_UPSTREAM, |setup| {
        setup.env("METRICS_ENABLED", "true")
    });
    for _ in 0..2 {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
        peer.send(response("200 OK", &["Connection: close"], "x"));
        client.response();
    }
    let provider = "provider=\"openai\"";
    let handshakes =
        |kind: &str| format!("upstream_handshakes_total{{{provider},kind=\"{kind}\"}}");
    wait_metrics(
        &rig.gateway,
        &[
            (&handshakes("full"), 1.0),
            (&handshakes("resumed"), 1.0),
            (&format!("upstream_tls_seconds_count{{{provider}}}"), 2.0),
        ],
    );
}

#[test]
fn upstream_connections_are_busy_then_idle() {
    let rig = rig();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    let series =
        |state: &str| format!("upstream_connections{{provider=\"openai\",state=\"{state}\"}}");
    let (idle, busy) = (series("idle"), series("busy"));
    wait_metrics(&rig.gateway, &[(&idle, 0.0), (&busy, 1.0)]);
    peer.send(ok(""));
    client.response();
    wait_metrics(&rig.gateway, &[(&idle, 1.0), (&busy, 0.0)]);
    peer.close();
    wait_metrics(&rig.gateway, &[(&idle, 0.0), (&busy, 0.0)]);
}

#[test]
fn clients_that_leave_are_counted_by_phase() {
    let rig = rig();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello";
    let gone = |phase: &str| format!("clients_gone_total{{provider=\"openai\",phase=\"{phase}\"}}");
    let (client, _peer, _) = rig.exchange(&get("/p/openai/models"));
    client.reset();
    wait_metrics(&rig.gateway, &[(&gone("wait"), 1.0)]);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send(head);
    client.head();
    client.reset();
    wait_metrics(&rig.gateway, &[(&gone("stream"), 1.0)]);
    let mut client = rig.client();
    client.send(post("/p/openai/files", "12345").trim_end_matches("345"));
    let mut peer = rig.upstream.accept();
    peer.head();
    client.reset();
    let wanted = [
        (&*gone("upload"), 1.0),
        (&gone("wait"), 1.0),
        (&gone("stream"), 1.0),
    ];
    wait_metrics(&rig.gateway, &wanted);
}

#[test]
fn answers_that_break_off_are_counted_by_reason() {
    let rig = rig();
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
    let broken = |reason: &str| {
        format!("truncated_responses_total{{provider=\"openai\",reason=\"{reason}\"}}")
    };
    let begin = || {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
        peer.send(head);
        client.head();
        client.expect("2\r\nab\r\n");
        (client, peer)
    };
    let (mut client, peer) = begin();
    peer.reset();
    client.wait_for_close();
    let (mut client, peer) = begin();
    peer.close();
    client.wait_for_close();
    let (mut client, mut peer) = begin();
    peer.send("zz\r\n");
    client.wait_for_close();
    wait_metrics(
        &rig.gateway,
        &[
            (&broken("upstream_reset"), 1.0),
            (&broken("upstream_closed"), 1.0),
            (&broken("upstream_invalid"), 1.0),
            (&broken("timeout"), 0.0),
        ],
    );
}

#[test]
fn a_request_that_is_sent_again_is_counted() {
    let rig = rig();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send(ok(""));
    client.response();
    client.send(get("/p/openai/models"));
    peer.request();
    peer.reset();
    let mut peer = rig.upstream.accept();
    peer.request();
    peer.send(ok(""));
    client.response();
    let retries = "upstream_retries_total{provider=\"openai\"}";
    wait_metrics(&rig.gateway, &[(retries, 1.0)]);
}

#[test]
fn figures_follow_a_provider_through_a_reload() {
    let upstream = Upstream::listen();
    let provider = |name: &str| {
        let url = upstream.url();
        format!(
            "[providers.{name}]\ntype = \"openai\"\nbase_url = \"{url}\"\ncredential = \"none\"\n"
        )
    };
    let file = |names: &[&str]| {
        let providers: String = names.iter().map(|name| provider(name)).collect();
        format!("[metrics]\nenabled = true\n{providers}")
    };
    let gateway = Setup::new().toml(&file(&["m", "z"])).start();
    let ask = |name: &str| {
        let mut client = gateway.connect();
        client.send(request(
            "GET",
            &format!("/p/{name}/x"),
            &["Connection: close"],
            "",
        ));
        let mut peer = upstream.accept();
        peer.request();
        peer.send(response("200 OK", &["Connection: close"], ""));
        client.response();
    };
    ask("m");
    ask("z");
    let path = gateway.setup().dir().join("sluicegate.toml");
    fs::write(path, file(&["a", "z"])).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    ask("a");
    ask("z");
    let of =
        |name: &str| format!("requests_total{{provider=\"{name}\",method=\"GET\",class=\"2xx\"}}");
    let wanted = [(&*of("m"), 1.0), (&of("z"), 2.0), (&of("a"), 1.0)];
    wait_metrics(&gateway, &wanted);
}

#[test]
fn a_provider_that_is_gone_has_no_connections() {
    let upstream = Upstream::listen();
    let provider = format!(
        "[providers.m]\ntype = \"openai\"\nbase_url = \"{}\"\ncredential = \"none\"\n",
        upstream.url()
    );
    let metrics = "[metrics]\nenabled = true\n";
    let gateway = Setup::new().toml(&format!("{metrics}{provider}")).start();
    let mut client = gateway.connect();
    client.send(get("/p/m/x"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(ok(""));
    client.response();
    let idle = "upstream_connections{provider=\"m\",state=\"idle\"}";
    let oldest = "sluicegate_upstream_idle_oldest_seconds{provider=\"m\"} ";
    let metrics_now = wait_metrics(&gateway, &[(idle, 1.0)]);
    let age = { metrics_now.0.lines() }.find_map(|line| line.strip_prefix(oldest)?.parse().ok());
    assert!(
        age.is_some_and(|age: f64| (0.0..600.0).contains(&age)),
        "{age:?}"
    );
    // It has no name that could be looked up.
    assert!(!metrics_now.0.contains("addresses_age_seconds{"));
    fs::write(gateway.setup().dir().join("sluicegate.toml"), metrics).unwrap();
    gateway.signal(Signal::HUP);
    peer.expect_end();
    let metrics_now = wait_metrics(&gateway, &[(idle, 0.0)]);
    assert!(!metrics_now.0.contains(oldest), "{}", metrics_now.0);
}

#[test]
fn a_listener_of_their_own_serves_what_operators_ask_for_and_nothing_else() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .base(&upstream.url())
        .tls()
        .toml("[metrics]\nlisten = [\"127.0.0.1:0\"]\n")
        .start();
    let addr = metrics_addr(&gateway);
    // Plain although clients have TLS, and without a key.
    let mut client = crate::support::Wire::connect(addr);
    client.send("GET /health HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().text(), "{\"status\":\"ok\"}");
    for target in [
        get("/p/openai/models"),
        get("/p/openai/"),
        get("/index.html"),
        post("/", ""),
        post("/metrics", ""),
    ] {
        client.send(&target);
        assert_eq!(client.response().status(), 404, "{target}");
    }
    upstream.expect_untouched();
    let config = std::sync::Arc::new(tls::client_config(rustls::ALL_VERSIONS));
    let mut client = gateway.connect_tls(&config);
    client.send(get("/metrics"));
    assert_eq!(client.response().status(), 404);
    // Scrapes themselves do not count.
    let metrics = wait_metrics_at(addr, &[("client_connections_total", 1.0)]);
    assert_eq!(
        metrics.get("worker_client_connections_open{worker=\"0\"}"),
        1.0
    );
    assert!(!metrics.0.contains("worker=\"1\""), "{}", metrics.0);
}

#[test]
fn an_upgrade_keeps_the_listener_for_metrics() {
    let mut gateway = Setup::new()
        .toml("[metrics]\nlisten = [\"127.0.0.1:0\"]\n")
        .start();
    let addr = metrics_addr(&gateway);
    Metrics::at(addr);
    gateway.signal(Signal::USR2);
    gateway.successor(0);
    assert_eq!(gateway.wait_succeeded(), Some(0));
    let metrics = Metrics::at(addr);
    assert_eq!(metrics.get("client_connections_total"), 0.0);
}

#[test]
fn the_process_and_the_workers_are_described() {
    let gateway = Setup::new()
        .env("METRICS_ENABLED", "true")
        .env("SLUICEGATE_WORKERS", "2")
        .start();
    let metrics = Metrics::of(&gateway);
    let value = |name: &str| -> f64 {
        let line = metrics.0.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}"))
            .trim()
            .parse()
            .unwrap()
    };
    assert!(value("process_open_fds ") >= gateway.descriptors().len() as f64 / 2.0);
    assert!(value("process_max_fds ") >= value("process_open_fds "));
    assert!(value("process_resident_memory_bytes ") > 1e6);
    assert!(value("process_virtual_memory_bytes ") > 1e6);
    assert!(value("process_cpu_seconds_total ") >= 0.0);
    assert!(value("process_start_time_seconds ") > 1.7e9);
    assert!(value("process_threads ") >= 4.0);
    let in_flight = |worker: u8| format!("worker_requests_in_flight{{worker=\"{worker}\"}}");
    // The gateway's own answer to this very request is none.
    assert_eq!(metrics.get(&in_flight(0)) + metrics.get(&in_flight(1)), 0.0);
    assert_eq!(metrics.get("requests_in_flight"), 0.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        metrics.get(&format!("build_info{{version=\"{version}\"}}")),
        1.0
    );
}

#[test]
fn promtool_has_nothing_to_say() {
    promtool(&["check", "metrics"], &lively().0);
}
