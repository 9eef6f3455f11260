//! `[tcp]`: what the kernel would refuse is refused by name.

use super::super::model::Keepalive;
use super::*;

/// Reads a table of these values, without those that are empty.
fn resolve(values: [&str; 4]) -> Result<Tcp, ConfigError> {
    let keys = [
        "keepalive",
        "keepalive_interval",
        "keepalive_probes",
        "user_timeout",
    ];
    let written = keys
        .into_iter()
        .zip(values)
        .filter(|(_, text)| !text.is_empty());
    let lines: String = written
        .map(|(key, text)| format!("{key} = '{text}'\n"))
        .collect();
    load_from(&[], "", &format!("[tcp]\n{lines}")).map(|config| config.tcp)
}

#[test]
fn values_in_force() {
    let rows = [
        (["", "", "", ""], Some((60, 15, 4)), None),
        (
            ["2m", "1", "127", "90500ms"],
            Some((120, 1, 127)),
            Some(90_500),
        ),
        (
            ["32767", "32767", "1", "0"],
            Some((32_767, 32_767, 1)),
            None,
        ),
        (["0", "", "", "1d"], None, Some(86_400_000)),
        (["false", "5", "", ""], None, None),
    ];
    for (values, keepalive, user_timeout) in rows {
        let tcp = resolve(values).unwrap();
        let secs = |k: Keepalive| (k.idle.as_secs(), k.interval.as_secs(), k.probes);
        assert_eq!(tcp.keepalive.map(secs), keepalive, "{values:?}");
        let user_timeout = user_timeout.map(Duration::from_millis);
        assert_eq!(tcp.user_timeout, user_timeout, "{values:?}");
    }
}

#[test]
fn what_the_kernel_would_refuse_is_refused_by_name() {
    let rows = [
        (
            ["32768", "", "", ""],
            "sluicegate.toml line 2: tcp.keepalive: expected whole seconds",
        ),
        (
            ["1500ms", "", "", ""],
            "sluicegate.toml line 2: tcp.keepalive: expected whole seconds",
        ),
        (
            ["true", "", "", ""],
            "sluicegate.toml line 2: tcp.keepalive: expected",
        ),
        (
            ["", "0", "", ""],
            "sluicegate.toml line 2: tcp.keepalive_interval: expected 1 to",
        ),
        (
            ["", "", "0", ""],
            "sluicegate.toml line 2: tcp.keepalive_probes: expected a number",
        ),
        (
            ["", "", "128", ""],
            "sluicegate.toml line 2: tcp.keepalive_probes: expected a number",
        ),
        (
            ["", "", "", "25h"],
            "sluicegate.toml line 2: tcp.user_timeout: expected at most",
        ),
    ];
    for (values, message) in rows {
        let error = resolve(values).unwrap_err().to_string();
        assert!(error.starts_with(message), "{values:?}: {error}");
    }
}
