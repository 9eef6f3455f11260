//! What the metrics say.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::gateway::Gateway;
use super::rig::{Rig, Sides};
use super::tls::pki;
use super::wire::{PATIENCE, Wire};
use super::{get, not_tried};

/// The address of the listener for metrics.
pub(crate) fn metrics_addr(gateway: &Gateway) -> SocketAddr {
    let line = gateway.wait_log(|line| line.contains("serving metrics"));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    line["addr"].as_str().unwrap().parse().unwrap()
}

/// One scrape.
pub(crate) struct Metrics(pub(crate) String);

impl Metrics {
    /// From where clients are served.
    #[track_caller]
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self::at(gateway.addr())
    }

    #[track_caller]
    pub(crate) fn at(addr: SocketAddr) -> Self {
        let mut client = Wire::connect(addr);
        client.send("GET /metrics HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n");
        let got = client.response();
        assert_eq!(got.status(), 200);
        Self(got.text())
    }

    /// The value of a series, named as in the text but for the metrics' common prefix; 0 where it is not there.
    pub(crate) fn get(&self, series: &str) -> f64 {
        let name = format!("sluicegate_{series} ");
        let line = self.0.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0.0, |number| number.parse().unwrap())
    }

    /// Names and types of all metrics.
    pub(crate) fn types(&self) -> Vec<(&str, &str)> {
        let types = self
            .0
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|line| line.split_once(' ').unwrap()).collect()
    }
}

/// Waits until all these series have these values.
#[track_caller]
pub(crate) fn wait_metrics(gateway: &Gateway, wanted: &[(&str, f64)]) -> Metrics {
    wait_metrics_at(gateway.addr(), wanted)
}

#[track_caller]
pub(crate) fn wait_metrics_at(addr: SocketAddr, wanted: &[(&str, f64)]) -> Metrics {
    let until = Instant::now() + PATIENCE;
    loop {
        let metrics = Metrics::at(addr);
        let missing = wanted
            .iter()
            .find(|(series, value)| metrics.get(series) != *value);
        let Some((series, value)) = missing else {
            return metrics;
        };
        let text = &metrics.0;
        assert!(Instant::now() < until, "{series} is not {value}: {text}");
    }
}

/// Text in which every kind of metric has values.
pub(crate) fn lively() -> Metrics {
    let rig = Rig::on(Sides::TLS_UPSTREAM, |setup| {
        setup.env("METRICS_ENABLED", "true")
    });
    assert!(rig.upstream.url().starts_with("https"), "{}", pki().ca);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    for piece in ["1\r\na\r\n", "1\r\nb\r\n", "0\r\n\r\n"] {
        peer.send(piece);
        client.expect(piece);
    }
    client.send("GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n");
    client.response();
    let count = "stream_duration_seconds_count{provider=\"openai\"}";
    wait_metrics(&rig.gateway, &[(count, 1.0)])
}

/// Runs Prometheus's own checker, where there is one, with this on its standard input.
pub(crate) fn promtool(arguments: &[&str], input: &str) {
    let spawned = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return not_tried(&format!(
                "no promtool here ({error}); it is in Debian's prometheus package"
            ));
        }
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}
