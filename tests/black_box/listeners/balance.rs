//! Clients are dealt out evenly among workers, whatever the kernel's hash says.

use crate::support::metrics::wait_metrics;
use crate::support::{Setup, get};

const WORKERS: u16 = 4;
const CLIENTS: usize = 240;

#[test]
fn workers_have_about_as_many_clients() {
    let gateway = Setup::new()
        .env("METRICS_ENABLED", "true")
        .env("SLUICEGATE_WORKERS", &WORKERS.to_string())
        .start();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = gateway.connect();
            client.send(get("/health"));
            assert_eq!(client.response().status(), 200);
            client
        })
        .collect();
    // One more is what asks.
    let all = (CLIENTS + 1) as f64;
    let metrics = wait_metrics(&gateway, &[("client_connections_open", all)]);
    let open = |worker| {
        metrics.get(&format!(
            "worker_client_connections_open{{worker=\"{worker}\"}}"
        ))
    };
    let open: Vec<f64> = (0..WORKERS).map(open).collect();
    let fair = all / f64::from(WORKERS);
    assert!(
        open.iter().all(|open| (open - fair).abs() < fair / 4.0),
        "{open:?}"
    );
    drop(clients);
}
