//! Metrics for a collector: the same ones as `/metrics` has, by the same names.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;

use crate::support::collector::{Collector, attribute, metrics_of};
use crate::support::metrics::{Metrics, metrics_addr};
use crate::support::{Rig, get, ok, response};

/// What changes by itself.
const RESTLESS: [&str; 6] = [
    "process_",
    "sluicegate_otlp_",
    "sluicegate_worker_",
    "sluicegate_client_connections_",
    "sluicegate_upstream_connections",
    "sluicegate_requests_in_flight",
];

fn is_restless(series: &str) -> bool {
    RESTLESS.iter().any(|begin| series.starts_with(begin))
}

/// As the text names a series.
fn series(name: &str, attributes: &[KeyValue], more: &[(&str, &str)]) -> String {
    let labels = attributes.iter().map(|it| {
        let value = attribute(attributes, &it.key);
        format!("{}=\"{value}\"", it.key)
    });
    let more = more
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""));
    let labels: Vec<String> = labels.chain(more).collect();
    match labels.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", labels.join(",")),
    }
}

/// Everything as the text would say it.
fn listed(metrics: &[Metric]) -> BTreeMap<String, f64> {
    let mut all = BTreeMap::new();
    for metric in metrics {
        let name = &metric.name;
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                assert_eq!(
                    (sum.is_monotonic, sum.aggregation_temporality),
                    (true, 2),
                    "{name}"
                );
                for point in &sum.data_points {
                    assert!(point.start_time_unix_nano > 0);
                    assert!(point.start_time_unix_nano < point.time_unix_nano);
                    all.insert(series(name, &point.attributes, &[]), number(point.value));
                }
            }
            Data::Gauge(gauge) => {
                for point in &gauge.data_points {
                    all.insert(series(name, &point.attributes, &[]), number(point.value));
                }
            }
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality, 2, "{name}");
                for point in &histogram.data_points {
                    let mut sum = 0;
                    let bounds = point.explicit_bounds.iter().map(f64::to_string);
                    let bounds = bounds.chain(["+Inf".to_owned()]);
                    for (count, bound) in point.bucket_counts.iter().zip(bounds) {
                        sum += count;
                        let buckets = format!("{name}_bucket");
                        let more = [("le", &*bound)];
                        all.insert(series(&buckets, &point.attributes, &more), sum as f64);
                    }
                    let of = |end: &str| series(&format!("{name}_{end}"), &point.attributes, &[]);
                    all.insert(of("count"), point.count as f64);
                    all.insert(of("sum"), point.sum.unwrap());
                }
            }
            other => panic!("{other:?}"),
        }
    }
    all.retain(|series, _| !is_restless(series));
    all
}

fn number(value: Option<Value>) -> f64 {
    match value.unwrap() {
        Value::AsInt(number) => number as f64,
        Value::AsDouble(number) => number,
    }
}

fn scraped(text: &Metrics) -> BTreeMap<String, f64> {
    let lines = text.0.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| !is_restless(line));
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn a_collector_gets_what_a_scrape_gets() {
    let collector = Collector::listen();
    let toml = collector.table("traces = false\ninterval = \"200ms\"");
    let toml = format!("[metrics]\nlisten = [\"127.0.0.1:0\"]\n{toml}");
    let rig = Rig::with(|setup| setup.toml(&toml));
    for answer in [
        ok("fine"),
        response("404 No", &[], ""),
        response("500 Oh", &[], "no"),
    ] {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
        peer.send(answer);
        client.response();
    }
    let mut client = rig.client();
    client.send("GET /p/openai/models HTTP/1.1\r\nHost: g\r\n\r\n");
    client.response();
    let addr = metrics_addr(&rig.gateway);
    // Until nothing has changed meanwhile.
    for _ in 0..20 {
        let before = scraped(&Metrics::at(addr));
        // The one on its way may be older.
        collector.taken();
        let got = listed(&metrics_of(&collector.taken()));
        let after = scraped(&Metrics::at(addr));
        if before == after {
            assert_eq!(got, before);
            let errors = "sluicegate_gateway_errors_total{code=\"missing_key\"}";
            assert_eq!(got[errors], 1.0);
            assert!(got.len() > 100, "{}", got.len());
            return;
        }
    }
    panic!("it never rests");
}

#[test]
fn metrics_are_counted_for_a_collector_alone_and_come_at_their_time() {
    let collector = Collector::listen();
    let rig =
        Rig::with(|setup| setup.toml(&collector.table("interval = \"300ms\"\ntraces = false")));
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send(ok("fine"));
    client.response();
    let one = "sluicegate_requests_total{provider=\"openai\",method=\"GET\",class=\"2xx\"}";
    let mut seen = 0.0;
    // Such metrics are worth as much later: those that a collector does not take are not kept.
    let (mut wire, _) = collector.take();
    wire.send("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    for _ in 0..10 {
        let got = listed(&metrics_of(&collector.taken()));
        seen = got.get(one).copied().unwrap_or_default();
        if seen > 0.0 {
            break;
        }
    }
    assert_eq!(seen, 1.0);
    client.send("GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 404);
}
