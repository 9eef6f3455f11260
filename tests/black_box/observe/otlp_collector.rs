//! Collectors that are slow, away, unwilling or careful: spans wait, are sent again or dropped, and nobody waits for them.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::collector::{Collector, spans_of};
use crate::support::metrics::{Metrics, metrics_addr, wait_metrics_at};
use crate::support::settings::assert_refused;
use crate::support::tls::{pki, server_config};
use crate::support::{KEY, Rig, Setup, get, ok};

/// Metrics on a listener of their own.
const LISTEN: &str = "[metrics]\nlisten = [\"127.0.0.1:0\"]\n";

fn rig(collector: &Collector, lines: &str) -> Rig {
    let toml = format!(
        "{LISTEN}{}",
        collector.table(&format!("metrics = false\n{lines}"))
    );
    Rig::with(|setup| setup.toml(&toml))
}

#[track_caller]
fn exchange(rig: &Rig) {
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
}

/// Sends so many requests that are refused, with long paths, over one connection.
fn refused(rig: &Rig, count: usize) {
    let mut client = rig.client();
    let request = get(&format!("/nowhere/{}", "a".repeat(1000)));
    for _ in 0..count / 50 {
        client.send(request.repeat(50));
        for _ in 0..50 {
            assert_eq!(client.response().status(), 404);
        }
    }
}

#[test]
fn a_collector_that_never_answers_costs_spans_and_nothing_else() {
    let collector = Collector::listen();
    let mut rig = rig(&collector, "timeout = \"60s\"");
    let addr = metrics_addr(&rig.gateway);
    exchange(&rig);
    // It has the first spans, and says nothing.
    let (silent, first) = collector.take();
    assert_eq!(spans_of(&first).len(), 2);
    refused(&rig, 1500);
    let before = rig.gateway.resident_kib();
    refused(&rig, 3000);
    // Whatever is admitted has room all the same, and is served.
    let [dropped, then] = ["/p/openai/one", "/p/openai/two"].map(|path| {
        let (mut client, mut peer, _) = rig.exchange(&get(path));
        peer.send(ok("fine"));
        client.response();
        // All that came before it is dealt with.
        rig.gateway.wait_log(|line| line.contains(path));
        Metrics::at(addr).get("otlp_spans_dropped_total")
    });
    assert!((3000.0..4500.0).contains(&dropped), "{dropped}");
    assert_eq!(dropped, then);
    let after = rig.gateway.resident_kib();
    assert!(after < before + 4096, "{before} KiB, then {after}");
    // Nor does the end wait for it.
    let begin = Instant::now();
    rig.gateway.signal(Signal::TERM);
    assert_eq!(rig.gateway.wait_exit(), Some(0));
    assert!(
        begin.elapsed() < Duration::from_secs(6),
        "{:?}",
        begin.elapsed()
    );
    drop(silent);
}

#[test]
fn a_collector_that_comes_back_gets_what_it_has_missed() {
    let collector = Collector::listen();
    let addr = collector.0.addr();
    let rig = rig(&collector, "");
    drop(collector);
    exchange(&rig);
    let line = rig
        .gateway
        .wait_log(|line| line.contains("collector cannot be reached"));
    assert!(line.contains("connection refused"), "{line}");
    exchange(&rig);
    let collector = Collector::listen_at(addr);
    collector.spans(4);
    wait_metrics_at(
        metrics_addr(&rig.gateway),
        &[
            ("otlp_spans_sent_total", 4.0),
            ("otlp_spans_dropped_total", 0.0),
        ],
    );
    let said = rig
        .gateway
        .log()
        .matches("collector cannot be reached")
        .count();
    assert_eq!(said, 1);
}

#[test]
fn what_may_succeed_later_is_sent_again_when_the_collector_wants_it() {
    let collector = Collector::listen();
    let rig = rig(&collector, "");
    exchange(&rig);
    let (mut wire, first) = collector.take();
    wire.send("HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 12\r\n\r\nwords-marker");
    let asked = Instant::now();
    let again = collector.taken();
    assert!(
        asked.elapsed() >= Duration::from_secs(3),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(first.body, again.body);
    wait_metrics_at(
        metrics_addr(&rig.gateway),
        &[
            (
                "otlp_exports_total{signal=\"traces\",result=\"failed\"}",
                1.0,
            ),
            (
                "otlp_exports_total{signal=\"traces\",result=\"taken\"}",
                1.0,
            ),
            ("otlp_spans_sent_total", 2.0),
        ],
    );
    let log = rig.gateway.log();
    assert!(
        log.contains("\"status\":503") && !log.contains("marker"),
        "{log}"
    );
}

#[test]
fn what_a_collector_refuses_is_dropped_and_said_once() {
    let collector = Collector::listen();
    let rig = rig(&collector, "");
    for (status, rejected) in [("400 Bad", 2.0), ("401 No", 4.0), ("301 Elsewhere", 6.0)] {
        exchange(&rig);
        let (mut wire, _) = collector.take();
        wire.send(format!(
            "HTTP/1.1 {status}\r\nLocation: /x\r\nContent-Length: 12\r\n\r\nwords-marker"
        ));
        wait_metrics_at(
            metrics_addr(&rig.gateway),
            &[("otlp_spans_dropped_total", rejected)],
        );
    }
    // Of what it takes it may refuse a part: one span, here.
    exchange(&rig);
    let (mut wire, _) = collector.take();
    let partial = b"\x0a\x0a\x08\x01\x12\x06marker";
    wire.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        partial.len()
    ));
    wire.send(partial);
    wait_metrics_at(
        metrics_addr(&rig.gateway),
        &[
            ("otlp_spans_dropped_total", 7.0),
            ("otlp_spans_sent_total", 1.0),
            (
                "otlp_exports_total{signal=\"traces\",result=\"refused\"}",
                3.0,
            ),
        ],
    );
    let log = rig.gateway.log();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("collector"))
        .collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("\"status\":400") && !log.contains("marker"),
        "{said:?}"
    );
}

#[test]
fn a_collector_on_tls_is_one_that_its_roots_vouch_for() {
    let collector = Collector::listen_tls(server_config(&pki().stranger));
    let toml = |lines: &str| {
        format!(
            "{LISTEN}{}",
            collector.table(&format!("metrics = false\n{lines}"))
        )
    };
    let trusted = Rig::with(|setup| {
        let setup = setup.file("stranger.pem", &pki().stranger_ca);
        setup.toml(&toml("ca_file = \"stranger.pem\""))
    });
    exchange(&trusted);
    collector.spans(2);
    let rig = Rig::with(|setup| setup.toml(&toml("")));
    exchange(&rig);
    let _ = collector.0.accept().handshake();
    let line = rig
        .gateway
        .wait_log(|line| line.contains("collector cannot be reached"));
    assert!(
        line.to_ascii_lowercase().contains("unknownissuer"),
        "{line}"
    );
    let missing = || {
        let toml = collector.table("ca_file = \"nowhere.pem\"");
        Setup::new().env("OPENAI_API_KEY", "sk-openai").toml(&toml)
    };
    assert_refused(
        missing,
        &["sluicegate.toml line 3: otlp.ca_file", "nowhere.pem"],
    );
}

#[test]
fn what_is_left_is_sent_when_the_process_ends() {
    let collector = Collector::listen();
    let mut rig = Rig::with(|setup| setup.toml(&collector.table("")));
    exchange(&rig);
    rig.gateway
        .wait_log(|line| line.contains("\"message\":\"request\""));
    rig.gateway.signal(Signal::TERM);
    assert_eq!(spans_of(&collector.taken()).len(), 2);
    let last = collector.taken();
    assert_eq!(last.head.target(), "/v1/metrics");
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn settings_that_cannot_be_meant_so_are_refused() {
    let rows: &[(&str, &[&str])] = &[
        (
            "endpoint = 'collector:4318'",
            &["line 2: otlp.endpoint", "expected https:// or http://"],
        ),
        (
            "endpoint = 'http://user:pw-marker@h'",
            &["otlp.endpoint", "otlp.headers"],
        ),
        (
            "sample = 1.5",
            &["line 2: otlp.sample", "found \"1.5\"", "from 0 to 1"],
        ),
        ("sample = 'nan'", &["otlp.sample", "from 0 to 1"]),
        ("interval = 0", &["otlp.interval", "more than 0"]),
        (
            "headers = { Host = 'marker' }",
            &["otlp.headers", "Host: expected the name"],
        ),
        (
            "headers = { A = 'x', a = 'marker' }",
            &["otlp.headers", "once"],
        ),
        (
            "headers = { A = 'marker ' }",
            &["otlp.headers", "A: expected a header value"],
        ),
        (
            "service_name = ''",
            &["otlp.service_name", "expected a name"],
        ),
        ("resource = { '' = 'x' }", &["otlp.resource", "expected"]),
        ("traces = 'some'", &["otlp.traces", "true or false"]),
        ("endpiont = 'http://h'", &["unknown field", "endpoint"]),
    ];
    for (line, named) in rows {
        let toml = format!("[otlp]\n{line}\n");
        assert_refused(|| Setup::new().toml(&toml).secret("marker"), named);
    }
    for (name, value, said) in [
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "marker",
            "expected name=value",
        ),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "a=%zz-marker",
            "expected name=value",
        ),
        ("OTEL_RESOURCE_ATTRIBUTES", "=x", "expected name=value"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "1m", "milliseconds"),
        ("OTEL_SDK_DISABLED", "maybe", "true or false"),
    ] {
        assert_refused(
            || Setup::new().env(name, value).secret("marker"),
            &[name, said],
        );
    }
}

/// The key goes to no collector, whoever holds up what.
#[test]
fn keys_stay_here() {
    let collector = Collector::listen();
    let rig = rig(&collector, "");
    exchange(&rig);
    let body = collector.taken().body;
    for secret in [KEY, "sk-openai"] {
        assert!(!body.windows(secret.len()).any(|it| it == secret.as_bytes()));
    }
}
