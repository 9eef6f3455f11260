//! One run with known faults: the access log, the metrics, the spans and `top` count the same. The page is drawn from the
//! metrics' text and nothing else.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use serde_json::Value;

use crate::support::collector::{Collector, attribute, is_server, spans_of};
use crate::support::metrics::{Metrics, metrics_addr, wait_metrics_at};
use crate::support::{Gateway, Rig, get, ok, post, response};

/// How often each was seen.
type Counts = BTreeMap<String, u64>;

fn count(counts: &mut Counts, what: impl Into<String>) {
    *counts.entry(what.into()).or_insert(0) += 1;
}

/// Plays every fault so often as is written there.
fn play(rig: &Rig) {
    for answer in [
        ok("fine"),
        ok("fine"),
        response("404 Not Found", &[], "no"),
        response("503 Busy", &[], "busy"),
    ] {
        let (mut client, mut peer, _) = rig.exchange(&post("/p/anthropic/messages", "{}"));
        peer.send(answer);
        client.response();
        peer.close();
    }
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/cut"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
    client.head();
    peer.close();
    client.wait_for_close();
    let (client, mut peer, _) = rig.exchange(&get("/p/anthropic/gone"));
    client.close();
    peer.wait_for_close();
    let ours = |request: &str, times| {
        for _ in 0..times {
            let mut client = rig.client();
            client.send(request);
            client.response();
        }
    };
    ours("GET /p/anthropic/models HTTP/1.1\r\nHost: g\r\n\r\n", 3);
    ours(&get("/p/nobody/models"), 1);
    ours(&get("/p/dead/models"), 2);
    ours("GET / HTTP/1.1\r\nHost g\r\n\r\n", 1);
}

/// Requests that are played.
const PLAYED: usize = 4 + 2 + 3 + 1 + 2 + 1;

/// The lines of the log.
#[track_caller]
fn lines(gateway: &Gateway) -> Vec<Value> {
    let seen = RefCell::new(BTreeSet::new());
    gateway.wait_log(|line| {
        let mut seen = seen.borrow_mut();
        if line.contains("\"message\":\"request\"") {
            seen.insert(line.to_owned());
        }
        seen.len() >= PLAYED
    });
    let seen = seen.into_inner().into_iter();
    seen.map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn log_metrics_spans_and_top_count_the_same() {
    let collector = Collector::listen();
    let dead = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let rig = Rig::with(|setup| {
        setup.toml(&format!(
            "[metrics]\nlisten = [\"127.0.0.1:0\"]\n[providers.dead]\ntype = \"openai\"\n\
             base_url = \"http://{dead}/v1\"\ncredential = \"none\"\n{}",
            collector.table("metrics = false")
        ))
    });
    play(&rig);
    let (mut classes, mut errors, mut ends) = (Counts::new(), Counts::new(), Counts::new());
    for line in lines(&rig.gateway) {
        let status = line["status"].as_u64().unwrap();
        let class = match status {
            0 => "none".to_owned(),
            status => format!("{}xx", status / 100),
        };
        // What was for a provider and did not go there is counted with none.
        let went =
            line["request_overhead_us"].is_u64() || word(&line["error"]).starts_with("upstream_");
        let provider = match word(&line["provider"]) {
            provider if went => provider,
            _ => "-",
        };
        count(&mut classes, format!("{provider} {class}"));
        count(&mut ends, word(&line["end"]));
        if let Some(code) = line["error"].as_str() {
            count(&mut errors, code);
        }
    }
    let wanted = [
        ("missing_key", 3),
        ("provider_not_enabled", 1),
        ("upstream_connect", 2),
        ("invalid_head", 1),
    ];
    let wanted: Counts = wanted.map(|(code, times)| (code.to_owned(), times)).into();
    assert_eq!(errors, wanted);
    assert_eq!(
        (ends["upstream_closed"], ends["client_gone"]),
        (1, 1),
        "{ends:?}"
    );
    let at = metrics_addr(&rig.gateway);
    let all = "key_requests_total{key=\"master\"}";
    wait_metrics_at(at, &[(all, 9.0)]);
    metrics_agree(&Metrics::at(at), &classes, &errors);
    top_agrees(&rig, &format!("http://{at}"), &errors);
    spans_agree(&collector, &classes, &errors);
}

#[track_caller]
fn metrics_agree(metrics: &Metrics, classes: &Counts, errors: &Counts) {
    let mut counted = Counts::new();
    for line in metrics.0.lines() {
        let Some(rest) = line.strip_prefix("sluicegate_requests_total{") else {
            continue;
        };
        let (labels, number) = rest.rsplit_once(' ').unwrap();
        let label = |name: &str| {
            let (_, behind) = labels.split_once(&format!("{name}=\"")).unwrap();
            behind.split_once('"').unwrap().0
        };
        let number: u64 = number.parse().unwrap();
        if number > 0 {
            let of = format!("{} {}", label("provider"), label("class"));
            *counted.entry(of).or_insert(0) += number;
        }
    }
    assert_eq!(&counted, classes);
    for (code, times) in errors {
        let series = format!("gateway_errors_total{{code=\"{code}\"}}");
        assert_eq!(metrics.get(&series), *times as f64, "{code}");
    }
    assert_eq!(
        metrics.get("provider_errors_total{provider=\"dead\",code=\"upstream_connect\"}"),
        2.0
    );
    let of_anthropic = |name: &str| {
        let series = { metrics.0.lines() }
            .filter(|line| line.starts_with(&format!("sluicegate_{name}{{provider=\"anthropic\"")));
        series
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum::<f64>()
    };
    assert_eq!(of_anthropic("clients_gone_total"), 1.0);
    assert_eq!(of_anthropic("truncated_responses_total"), 1.0);
}

#[track_caller]
fn top_agrees(rig: &Rig, url: &str, errors: &Counts) {
    let args = [
        "top",
        "--interval",
        "100ms",
        "--json",
        "--once",
        "--url",
        url,
    ];
    let ended = rig.gateway.setup().command(&args).output().unwrap();
    let figures: Value = serde_json::from_slice(&ended.stdout).unwrap();
    let shown = figures["errors"].as_array().unwrap();
    let shown = shown.iter().map(|error| {
        (
            word(&error["code"]).to_owned(),
            error["total"].as_u64().unwrap(),
        )
    });
    assert_eq!(&shown.collect::<Counts>(), errors);
    assert_eq!(figures["in_flight"], 0);
}

#[track_caller]
fn spans_agree(collector: &Collector, classes: &Counts, errors: &Counts) {
    let mut spans = Vec::new();
    while spans.iter().filter(|span| is_server(span)).count() < PLAYED {
        spans.extend(spans_of(&collector.taken()));
    }
    let (mut by_class, mut by_error) = (Counts::new(), Counts::new());
    for span in spans.iter().filter(|span| is_server(span)) {
        let of = |name: &str| attribute(&span.attributes, name);
        let class = match &*of("http.response.status_code") {
            "" | "0" => "none".to_owned(),
            status => format!("{}xx", &status[..1]),
        };
        count(&mut by_class, class);
        let error = of("sluicegate.error");
        if !error.is_empty() {
            count(&mut by_error, error);
        }
    }
    let mut wanted = Counts::new();
    for (of, times) in classes {
        *wanted
            .entry(of.split_once(' ').unwrap().1.to_owned())
            .or_insert(0) += times;
    }
    assert_eq!((&by_class, &by_error), (&wanted, errors));
}
