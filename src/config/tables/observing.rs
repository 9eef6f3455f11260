//! Metrics and log lines.

use crate::config::kinds::{LEVEL, LISTEN, LOG_FILE, METRICS_ENDPOINT, SWITCH, choice, log_format};
use crate::config::model::Config;
use crate::config::setting::Setting;
use crate::config::shown::quoted;
use crate::config::table::{METRICS_KEY, Table, USUAL, as_written, at, example, kept, line};
use crate::config::written::Form;

pub(super) const METRICS: Table = Table {
    name: "metrics",
    about: "",
    layout: USUAL,
    first: &[],
    settings: &[
        Setting::new("enabled", "false", line!(""), at!(metrics.enabled, SWITCH))
            .variables(&["METRICS_ENABLED"]),
        Setting::new(
            "endpoint",
            "\"/metrics\"",
            line!(""),
            at!(metrics.endpoint, METRICS_ENDPOINT),
        )
        .variables(&["METRICS_ENDPOINT"]),
        Setting::new(
            "listen",
            "[]",
            line!(
                "[\"127.0.0.1:9090\"]: they, a page at / that shows them, /streams and\n\
                 the health, nothing else"
            ),
            at!(metrics.listen, LISTEN),
        ),
        Setting::new(
            "key",
            "",
            &[],
            kept!(metrics_key, Form::Text, as_written, |config: &Config| {
                let key = config.metrics.key.as_ref();
                key.map(|key| format!("\"{key}\""))
            }),
        )
        .variables(&[METRICS_KEY])
        .credential(),
        Setting::new(
            "key_file",
            "",
            example!(
                "\"/etc/sluicegate/metrics-key\"",
                "; or key = \"…\"; who looks at the metrics has to show it"
            ),
            kept!(metrics_key_file, Form::Text, as_written, |_: &Config| None),
        ),
    ],
};

pub(super) const LOG: Table = Table {
    name: "log",
    about: "",
    layout: USUAL,
    first: &[],
    settings: &[
        Setting::new(
            "format",
            "",
            line!(
                "\"json\"",
                "json, logfmt, text or auto: text on a terminal, else json"
            ),
            kept!(log_format, Form::Text, log_format, |config: &Config| {
                Some(quoted(config.log.format.as_str()))
            }),
        )
        .words(|| vec!["text", "json", "logfmt", "auto"])
        .variables(&["LOG_FORMAT"]),
        Setting::new(
            "level",
            "\"info\"",
            line!("error, warn, info or debug"),
            at!(log.level, LEVEL),
        )
        .words(|| vec!["error", "warn", "info", "debug"])
        .variables(&["LOG_LEVEL"]),
        Setting::new(
            "access",
            "",
            line!(
                "true",
                "a line per request at any level; unset: if it shows info"
            ),
            kept!(
                config.log.access,
                Form::Scalar,
                choice,
                |config: &Config| { Some(config.log.has_requests().to_string()) }
            ),
        ),
        Setting::new(
            "health",
            "false",
            line!("for /health too"),
            at!(log.health, SWITCH),
        ),
        Setting::new(
            "file",
            "\"stderr\"",
            line!("where those lines go: also \"stdout\", or a file, opened anew on SIGUSR1"),
            at!(log.file, LOG_FILE),
        ),
    ],
};
