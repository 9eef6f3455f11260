//! Request targets: the parser and the routes against their slow models.
//!
//! Seeds: `tests/corpus/targets/accept` and `tests/corpus/targets/refuse`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sluicegate::door::fuzzing::{route, target};
use sluicegate::door::policy::{ProviderKind, RouteEntry, Settings, Table};

/// One table a switch that matters: mounted at the root or below, with the alias and without.
static TABLES: LazyLock<[Table; 3]> = LazyLock::new(|| {
    let settings = Settings {
        base_path: "",
        passthrough: true,
        v1_alias: true,
        metrics_endpoint: Some("/metrics"),
    };
    [
        settings,
        Settings {
            base_path: "/g",
            ..settings
        },
        Settings {
            v1_alias: false,
            ..settings
        },
    ]
    .map(|settings| Table::new(settings, entries()))
});

fn entries() -> Vec<RouteEntry> {
    let entry = |kind: ProviderKind| RouteEntry::new(kind.as_str(), kind, "/v1");
    ProviderKind::ALL.iter().copied().map(entry).collect()
}

fuzz_target!(|bytes: &[u8]| {
    target::holds(bytes);
    for table in &*TABLES {
        for method in [&b"GET"[..], b"POST", b"OPTIONS"] {
            route::holds(table, method, bytes);
        }
    }
});
