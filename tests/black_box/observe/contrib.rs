//! The dashboard and the alerts speak of metrics that there are.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::metrics::{lively, promtool};

fn contrib(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every word in a text that looks like one of our metrics.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("sluicegate_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// The series that a scrape has, those of histograms included.
fn series() -> BTreeSet<String> {
    let metrics = lively();
    let types = metrics.types();
    let parts = types.iter().flat_map(|(name, kind)| match *kind {
        "histogram" => ["_bucket", "_sum", "_count"]
            .map(|part| format!("{name}{part}"))
            .to_vec(),
        _ => vec![(*name).to_owned()],
    });
    parts.collect()
}

#[test]
fn dashboard_and_alerts_name_metrics_that_there_are() {
    let series = series();
    for name in ["dashboard.json", "alerts.yaml"] {
        let text = contrib(name);
        let named = named(&text);
        assert!(named.len() >= 5, "{name} names only {named:?}");
        let unknown: Vec<_> = named.difference(&series).collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}");
    }
}

#[test]
fn every_panel_of_the_dashboard_asks_for_something() {
    let dashboard: Value = serde_json::from_str(&contrib("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty(), "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert!(!target["expr"].as_str().unwrap().is_empty(), "{panel}");
        }
    }
    assert!(ids.len() >= 8, "only {ids:?}");
}

#[test]
fn promtool_accepts_the_alerts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/alerts.yaml");
    promtool(&["check", "rules", path.to_str().unwrap()], "");
}

/// What the dashboard asks is checked as rules, for promtool knows no dashboards.
#[test]
fn promtool_accepts_what_the_dashboard_asks() {
    let dashboard: Value = serde_json::from_str(&contrib("dashboard.json")).unwrap();
    let mut rules = String::from("groups:\n- name: dashboard\n  rules:\n");
    let targets = dashboard["panels"].as_array().unwrap().iter();
    let targets = targets
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    for (index, target) in targets.enumerate() {
        let expr = target["expr"].as_str().unwrap();
        let expr = expr
            .replace("$__rate_interval", "1m")
            .replace("$provider", ".*");
        let expr = Value::from(expr.replace("$instance", ".*"));
        rules.push_str(&format!("  - record: panel:{index}\n    expr: {expr}\n"));
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dashboard-rules.yaml");
    fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()], "");
}
