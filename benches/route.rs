//! Request target to upstream target: parse, route, resolve.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use sluicegate::door::http as target;
use sluicegate::door::policy::{ProviderKind, Route, RouteEntry, Settings, Table, Upstream};

const INPUTS: [(&str, &str); 3] = [
    ("openai_chat", "/p/openai/v1/chat/completions"),
    ("claude_code", "/p/anthropic/v1/messages?beta=true"),
    ("openrouter_model", "/p/openrouter/v1/models/vendor%2Fmodel"),
];

fn table() -> Table {
    let settings = Settings {
        base_path: "",
        passthrough: true,
        v1_alias: true,
        metrics_endpoint: None,
    };
    let entry = |kind: ProviderKind| RouteEntry::new(kind.as_str(), kind, "/v1");
    Table::new(
        settings,
        ProviderKind::ALL
            .iter()
            .copied()
            .take(6)
            .map(entry)
            .collect(),
    )
}

fn upstream<'t>(table: &'t Table, target: &[u8]) -> Option<Upstream<'t>> {
    let parsed = target::parse_target(target).ok()?;
    match table.route(b"POST", target, parsed) {
        Route::Provider(passthrough) => table.resolve(target, passthrough).ok(),
        _ => None,
    }
}

fn main() {
    let table = table();
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("route");
    for (name, target) in INPUTS {
        let bytes = target.as_bytes();
        assert!(upstream(&table, bytes).is_some(), "{name} is routed");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| upstream(black_box(&table), black_box(bytes)));
        });
    }
    group.finish();
    criterion.final_summary();
}
