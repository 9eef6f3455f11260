//! `Server-Timing` on responses.

use std::time::Instant;

use crate::support::{Rig, Setup, get, response};

fn timed(setup: Setup) -> Setup {
    setup.toml("[server]\nserver_timing = true\n")
}

/// The milliseconds of an entry.
fn dur(line: &str, name: &str) -> Option<f64> {
    let start = format!("{name};dur=");
    let entry = line
        .split(", ")
        .find_map(|entry| entry.strip_prefix(&*start));
    entry.map(|number| number.parse().unwrap())
}

#[test]
fn it_is_off_by_default() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send(response("200 OK", &["Server-Timing: own;dur=1"], ""));
    assert_eq!(
        client.response().head.values("server-timing"),
        ["own;dur=1"]
    );
}

#[test]
fn it_tells_the_gateways_share_from_the_providers() {
    for log in ["true", "false"] {
        let mut rig = Rig::with(|setup| {
            let toml = "[server]\nserver_timing = true\n[log]\naccess = ";
            setup.toml(&format!("{toml}{log}\n"))
        });
        let begun = Instant::now();
        let (mut client, mut peer, message) = rig.exchange(&get("/p/openai/models"));
        assert!(message.head.values("server-timing").is_empty());
        // By then the gateway knows that it has sent the request.
        rig.settle();
        let waits = Instant::now();
        for _ in 0..5 {
            rig.settle();
        }
        let waited = waits.elapsed().as_secs_f64() * 1000.0;
        peer.send(response("200 OK", &["Server-Timing: own;dur=1"], "x"));
        let got = client.response();
        let all = begun.elapsed().as_secs_f64() * 1000.0;
        let lines = got.head.values("server-timing");
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines.contains(&"own;dur=1"), "{lines:?}");
        let ours = lines
            .iter()
            .find(|line| line.starts_with("gateway"))
            .unwrap();
        let [gateway, connect, provider] =
            ["gateway", "connect", "provider"].map(|name| dur(ours, name).unwrap());
        assert!(gateway > 0.0 && connect > 0.0, "{lines:?}");
        // Rounded each by itself.
        assert!(dur(ours, "waited").unwrap() <= gateway + 0.002, "{lines:?}");
        assert!(provider >= waited - 0.001, "{lines:?}, waited {waited}");
        assert!(
            gateway + connect + provider <= all + 0.01,
            "{lines:?}, all {all}"
        );
        client.send(get("/p/openai/models"));
        peer.request();
        peer.send(response("200 OK", &[], "x"));
        let got = client.response();
        let lines = got.head.values("server-timing");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(dur(lines[0], "connect"), None, "{lines:?}");
        assert!(dur(lines[0], "provider").is_some(), "{lines:?}");
    }
}

#[test]
fn an_error_of_the_gateways_own_has_none() {
    let rig = Rig::with(timed);
    let mut client = rig.client();
    client.send(get("/p/nobody/models"));
    assert!(client.response().head.values("server-timing").is_empty());
}
