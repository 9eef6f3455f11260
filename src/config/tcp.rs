//! `[tcp]`: how the kernel looks after connections.

use std::fmt::Write as _;
use std::time::Duration;

use super::describe::seconds;
use super::file::{Scalar, TcpTable};
use super::{ConfigError, Keepalive, Tcp, value};
use crate::base::number;

/// What holds unless the file says otherwise. Given up after two minutes: 60 s and four times 15 s.
const IDLE: Duration = Duration::from_secs(60);
const INTERVAL: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;

/// The kernel's own limits (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`, `MAX_TCP_KEEPCNT`).
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;
const PROBES_MAX: u64 = 127;
/// It fits the kernel's milliseconds.
const USER_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What the file's table comes to.
pub(super) fn resolve(from: &str, table: &TcpTable) -> Result<Tcp, ConfigError> {
    let refuse = |key: &str| {
        let key = format!("tcp.{key}");
        move |expected: &str| ConfigError::new(from, &key, expected)
    };
    let idle = read(&table.keepalive, idle).map_err(refuse("keepalive"))?;
    let interval = read(&table.keepalive_interval, |text| whole_seconds(text, 1));
    let interval = interval.map_err(refuse("keepalive_interval"))?;
    let probes = read(&table.keepalive_probes, probes).map_err(refuse("keepalive_probes"))?;
    let user_timeout = read(&table.user_timeout, user_timeout).map_err(refuse("user_timeout"))?;
    let idle = idle.unwrap_or(IDLE);
    Ok(Tcp {
        keepalive: (!idle.is_zero()).then_some(Keepalive {
            idle,
            interval: interval.unwrap_or(INTERVAL),
            probes: probes.unwrap_or(PROBES),
        }),
        user_timeout: user_timeout.filter(|time| !time.is_zero()),
    })
}

fn read<T>(
    written: &Option<Scalar>,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Option<T>, &'static str> {
    written.as_ref().map(|scalar| parse(&scalar.0)).transpose()
}

fn idle(text: &str) -> Result<Duration, &'static str> {
    match value::switch(text) {
        Ok(false) => Ok(Duration::ZERO),
        _ => whole_seconds(text, 0),
    }
}

fn whole_seconds(text: &str, least: u64) -> Result<Duration, &'static str> {
    let time = value::duration(text)?;
    let range = least..=KEEPALIVE_SECONDS_MAX;
    match time.subsec_nanos() == 0 && range.contains(&time.as_secs()) {
        true => Ok(time),
        false if least == 0 => Err("expected whole seconds, at most 32767; 0 or false is off"),
        false => Err("expected 1 to 32767 whole seconds"),
    }
}

fn probes(text: &str) -> Result<u32, &'static str> {
    let count = number::decimal(text).filter(|count| (1..=PROBES_MAX).contains(count));
    count
        .and_then(|count| u32::try_from(count).ok())
        .ok_or("expected a number from 1 to 127")
}

fn user_timeout(text: &str) -> Result<Duration, &'static str> {
    let time = value::duration(text)?;
    match time <= USER_TIMEOUT_MAX {
        true => Ok(time),
        false => Err("expected at most \"1d\"; 0 leaves it to the kernel"),
    }
}

/// As a file would say it.
pub(super) fn describe(tcp: &Tcp, out: &mut String) {
    let _ = writeln!(out, "\n[tcp]");
    let _ = match tcp.keepalive {
        Some(keepalive) => writeln!(
            out,
            "keepalive = {}\nkeepalive_interval = {}\nkeepalive_probes = {}",
            seconds(keepalive.idle),
            seconds(keepalive.interval),
            keepalive.probes
        ),
        None => writeln!(out, "keepalive = 0 # off"),
    };
    let user_timeout = tcp.user_timeout.unwrap_or_default();
    let _ = writeln!(out, "user_timeout = {}", seconds(user_timeout));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: [&str; 4]) -> TcpTable {
        let [
            keepalive,
            keepalive_interval,
            keepalive_probes,
            user_timeout,
        ] = values.map(|text| (!text.is_empty()).then(|| Scalar(text.to_owned())));
        TcpTable {
            keepalive,
            keepalive_interval,
            keepalive_probes,
            user_timeout,
        }
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
            let tcp = resolve("x", &table(values)).unwrap();
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
                "x: tcp.keepalive: expected whole seconds",
            ),
            (
                ["1500ms", "", "", ""],
                "x: tcp.keepalive: expected whole seconds",
            ),
            (["true", "", "", ""], "x: tcp.keepalive: expected"),
            (
                ["", "0", "", ""],
                "x: tcp.keepalive_interval: expected 1 to",
            ),
            (
                ["", "", "0", ""],
                "x: tcp.keepalive_probes: expected a number",
            ),
            (
                ["", "", "128", ""],
                "x: tcp.keepalive_probes: expected a number",
            ),
            (["", "", "", "25h"], "x: tcp.user_timeout: expected at most"),
        ];
        for (values, message) in rows {
            let error = resolve("x", &table(values)).unwrap_err().to_string();
            assert!(error.starts_with(message), "{values:?}: {error}");
        }
    }
}
