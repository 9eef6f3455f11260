//! Kinds of values that settings have: how each is read, with what was expected, and how `check` shows it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::listeners::Listen;
use super::model::{Driver, Landlock, Level, LogFile, LogFormat, ProxyProtocol};
use super::networks::Network;
use super::origin::Origin;
use super::provider::fields::is_token;
use super::setting::Kind;
use super::shown::{list, quoted, quoted_path, seconds};
use super::url::SOCKET_PATH_BYTES_MAX;
use super::value;
use super::written::{Form, Written};
use crate::base::number;
use crate::http::head::{Name, name};
use crate::http::target::{self, Target};

/// A number, a switch or a string that `read` understands.
const fn scalar<T>(
    read: fn(&Written) -> Result<T, String>,
    show: fn(&T) -> Option<String>,
) -> Kind<T> {
    let form = Form::Scalar;
    Kind { form, read, show }
}

const fn text<T>(
    read: fn(&Written) -> Result<T, String>,
    show: fn(&T) -> Option<String>,
) -> Kind<T> {
    let form = Form::Text;
    Kind { form, read, show }
}

const fn list_of<T>(
    read: fn(&Written) -> Result<Vec<T>, String>,
    show: fn(&Vec<T>) -> Option<String>,
) -> Kind<Vec<T>> {
    let form = Form::List;
    Kind { form, read, show }
}

pub(super) const SWITCH: Kind<bool> = scalar(
    |written| Ok(value::switch(written.text())?),
    |on| Some(on.to_string()),
);

/// A switch that decides by itself where it is not set.
pub(super) fn choice(written: &Written) -> Result<Option<bool>, String> {
    Ok(Some(value::switch(written.text())?))
}

/// A number of threads.
pub(super) const WORKERS: Kind<Option<NonZeroUsize>> = scalar(
    |written| {
        let count = count(written.text()).filter(|count| *count <= 1024);
        let count =
            count.ok_or("expected a number of threads, at most 1024; 0 for one per core")?;
        Ok(NonZeroUsize::new(count))
    },
    |count| match count {
        Some(count) => Some(count.to_string()),
        None => Some("0 # one per usable core".to_owned()),
    },
);

pub(super) const COUNT: Kind<Option<NonZeroUsize>> = scalar(
    |written| {
        let count = count(written.text()).ok_or("expected a number, 0 for the default")?;
        Ok(NonZeroUsize::new(count))
    },
    |count| count.map(|count| count.to_string()),
);

/// Bytes; 0 is no limit.
pub(super) const SIZE: Kind<Option<u64>> = scalar(
    |written| Ok(Some(value::size(written.text())?).filter(|bytes| *bytes > 0)),
    |bytes| bytes.map(|bytes| bytes.to_string()),
);

pub(super) const TIME: Kind<Duration> = scalar(
    |written| Ok(value::duration(written.text())?),
    |time| Some(seconds(*time)),
);

/// A time that is not 0.
pub(super) const POSITIVE_TIME: Kind<Duration> = scalar(
    |written| match value::duration(written.text())? {
        Duration::ZERO => Err("expected more than 0 seconds".to_owned()),
        time => Ok(time),
    },
    |time| Some(seconds(*time)),
);

/// A time; 0 is none.
pub(super) const OPTIONAL_TIME: Kind<Option<Duration>> = scalar(
    |written| Ok(Some(value::duration(written.text())?).filter(|time| !time.is_zero())),
    |time| Some(seconds(time.unwrap_or_default())),
);

/// Longer than 10 ms, polling is a core burnt for nothing.
pub(super) const SPIN: Kind<Duration> = scalar(
    |written| {
        let expected = "expected at most \"10ms\", such as \"50us\"; 0 is none";
        at_most(written, Duration::from_millis(10), expected)
    },
    |time| Some(seconds(*time)),
);

/// Clients have given up before an answer that is held back for longer than a minute.
pub(super) const WRONG_KEY_DELAY: Kind<Duration> = scalar(
    |written| {
        let expected = "expected at most \"1m\", such as \"5s\"; 0 is none";
        at_most(written, Duration::from_secs(60), expected)
    },
    |time| (!time.is_zero()).then(|| seconds(*time)),
);

/// At most a day: it fits the kernel's milliseconds. 0 is none.
pub(super) const USER_TIMEOUT: Kind<Option<Duration>> = scalar(
    |written| {
        let expected = "expected at most \"1d\"; 0 leaves it to the kernel";
        let time = at_most(written, Duration::from_secs(24 * 3600), expected)?;
        Ok(Some(time).filter(|time| !time.is_zero()))
    },
    OPTIONAL_TIME.show,
);

/// The kernel's own limit (`MAX_TCP_KEEPIDLE`, `MAX_TCP_KEEPINTVL`).
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;

/// Whole seconds until a silent peer is asked; 0 is not at all.
pub(super) fn keepalive(written: &Written) -> Result<Duration, String> {
    let text = written.text();
    match value::switch(text) {
        Ok(false) => Ok(Duration::ZERO),
        _ => whole_seconds(
            text,
            0,
            "expected whole seconds, at most 32767; 0 or false is off",
        ),
    }
}

/// Whole seconds between two questions.
pub(super) fn keepalive_interval(written: &Written) -> Result<Duration, String> {
    whole_seconds(written.text(), 1, "expected 1 to 32767 whole seconds")
}

fn whole_seconds(text: &str, least: u64, expected: &str) -> Result<Duration, String> {
    let time = value::duration(text)?;
    let range = least..=KEEPALIVE_SECONDS_MAX;
    match time.subsec_nanos() == 0 && range.contains(&time.as_secs()) {
        true => Ok(time),
        false => Err(expected.to_owned()),
    }
}

/// Questions without an answer, up to the kernel's own limit (`MAX_TCP_KEEPCNT`).
pub(super) fn keepalive_probes(written: &Written) -> Result<u32, String> {
    let count = number::decimal(written.text()).filter(|count| (1..=127).contains(count));
    let count = count.and_then(|count| u32::try_from(count).ok());
    Ok(count.ok_or("expected a number from 1 to 127")?)
}

fn at_most(written: &Written, most: Duration, expected: &str) -> Result<Duration, String> {
    let time = value::duration(written.text())?;
    match time <= most {
        true => Ok(time),
        false => Err(expected.to_owned()),
    }
}

/// An empty path is no way to have none: with keys it would open the gateway.
pub(super) const PATH: Kind<Option<PathBuf>> = text(
    |written| match written.text() {
        "" => Err("expected the path of a file; leave it out for none".to_owned()),
        path => Ok(Some(path.into())),
    },
    |path| path.as_ref().map(quoted_path),
);

/// The path of a Unix socket that is made.
pub(super) const SOCKET: Kind<Option<PathBuf>> = text(
    |written| match written.text() {
        path if path.starts_with("unix:") => {
            Err("expected the path of a socket alone, without unix: before it".to_owned())
        }
        path if !path.starts_with('/') || path.contains('\0') => Err(
            "expected the absolute path of a socket, such as /run/sluicegate/control.sock"
                .to_owned(),
        ),
        path if path.len() > SOCKET_PATH_BYTES_MAX => {
            Err("expected a socket's path of at most 107 bytes".to_owned())
        }
        path => Ok(Some(path.into())),
    },
    |path| path.as_ref().map(quoted_path),
);

/// A mount prefix without a slash at its end; empty for `/`.
pub(super) const BASE_PATH: Kind<String> = text(
    |written| Ok(base_path(written.text())?),
    |path| Some(quoted(if path.is_empty() { "/" } else { path })),
);

fn base_path(text: &str) -> Result<String, &'static str> {
    let trimmed = text.trim_matches('/');
    let prefix = if trimmed.is_empty() {
        String::new()
    } else {
        format!("/{trimmed}")
    };
    let plain = prefix
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b));
    if !plain || target::parse(format!("{prefix}/").as_bytes()).is_err() {
        return Err("expected a path of letters, digits and - . _ ~ such as /g");
    }
    Ok(prefix)
}

pub(super) const METRICS_ENDPOINT: Kind<String> = text(
    |written| Ok(metrics_endpoint(written.text())?),
    |path| Some(quoted(path)),
);

fn metrics_endpoint(text: &str) -> Result<String, &'static str> {
    const EXPECTED: &str = "expected a path such as /metrics, not below /p/ or /health";
    let is_at = |place: &str| {
        text.strip_prefix(place)
            .is_some_and(|rest| matches!(rest.as_bytes(), [] | [b'/', ..]))
    };
    if !text.starts_with('/') || is_at("/p") || is_at("/health") {
        return Err(EXPECTED);
    }
    // What no request can ask for would never be served.
    match target::parse(text.as_bytes()) {
        Ok(Target::Path { query: None, .. }) => Ok(text.to_owned()),
        _ => Err(EXPECTED),
    }
}

/// A field that no provider is sent: one that means nothing else to the gateway.
pub(super) const PRIVATE_HEADER: Kind<String> = text(
    |written| {
        let text = written.text();
        let is_free = matches!(
            name(text.as_bytes()),
            Name::Other | Name::XGomodelUserPath | Name::XForwarded | Name::Disguised
        );
        match is_token(text) && is_free {
            true => Ok(text.to_owned()),
            false => {
                Err("expected the name of a header that the gateway has no use for".to_owned())
            }
        }
    },
    |name| Some(quoted(name)),
);

pub(super) const DRIVER: Kind<Driver> = text(
    |written| match written.text() {
        "auto" => Ok(Driver::Auto),
        "io_uring" => Ok(Driver::IoUring),
        "epoll" => Ok(Driver::Epoll),
        _ => Err("expected auto, io_uring or epoll".to_owned()),
    },
    |driver| {
        Some(quoted(match driver {
            Driver::Auto => "auto",
            Driver::IoUring => "io_uring",
            Driver::Epoll => "epoll",
        }))
    },
);

pub(super) const PROXY_PROTOCOL: Kind<ProxyProtocol> = text(
    |written| match written.text() {
        "off" => Ok(ProxyProtocol::Off),
        "optional" => Ok(ProxyProtocol::Optional),
        "required" => Ok(ProxyProtocol::Required),
        _ => Err("expected off, optional or required".to_owned()),
    },
    |mode| {
        Some(quoted(match mode {
            ProxyProtocol::Off => "off",
            ProxyProtocol::Optional => "optional",
            ProxyProtocol::Required => "required",
        }))
    },
);

pub(super) const NETWORKS: Kind<Vec<Network>> = list_of(
    |written| {
        let texts = written.list().iter();
        Ok(texts
            .map(|text| text.parse())
            .collect::<Result<Vec<_>, &str>>()?)
    },
    |networks| Some(list(networks)),
);

pub(super) const LANDLOCK: Kind<Landlock> = scalar(
    |written| match (written.text(), value::switch(written.text())) {
        ("auto", _) => Ok(Landlock::Auto),
        (_, Ok(true)) => Ok(Landlock::On),
        (_, Ok(false)) => Ok(Landlock::Off),
        _ => Err("expected auto, true or false".to_owned()),
    },
    |landlock| {
        let shown = match landlock {
            Landlock::Auto => "\"auto\" # where the kernel has it",
            Landlock::On => "true",
            Landlock::Off => "false",
        };
        Some(shown.to_owned())
    },
);

/// `None` depends on where the lines go.
pub(super) fn log_format(written: &Written) -> Result<Option<LogFormat>, String> {
    match written.text().to_ascii_lowercase().as_str() {
        "auto" => Ok(None),
        "text" => Ok(Some(LogFormat::Text)),
        "json" => Ok(Some(LogFormat::Json)),
        "logfmt" => Ok(Some(LogFormat::Logfmt)),
        _ => Err("expected text, json, logfmt or auto".to_owned()),
    }
}

pub(super) const LEVEL: Kind<Level> = text(
    |written| match written.text().to_ascii_lowercase().as_str() {
        "error" | "err" => Ok(Level::Error),
        "warn" | "warning" => Ok(Level::Warn),
        "info" | "inf" => Ok(Level::Info),
        "debug" | "dbg" | "trace" => Ok(Level::Debug),
        _ => Err("expected error, warn, info or debug".to_owned()),
    },
    |level| Some(quoted(&level.to_string())),
);

pub(super) const LOG_FILE: Kind<LogFile> = text(
    |written| match written.text() {
        "" | "stderr" => Ok(LogFile::Stderr),
        "stdout" => Ok(LogFile::Stdout),
        path => Ok(LogFile::Path(path.into())),
    },
    |file| {
        Some(match file {
            LogFile::Stderr => quoted("stderr"),
            LogFile::Stdout => quoted("stdout"),
            LogFile::Path(path) => quoted_path(path),
        })
    },
);

/// Addresses, or none.
pub(super) const LISTEN: Kind<Vec<Listen>> = list_of(
    |written| {
        let texts = written.list().iter();
        Ok(texts
            .map(|text| text.parse())
            .collect::<Result<Vec<_>, &str>>()?)
    },
    |addresses| Some(list(addresses)),
);

pub(super) const ORIGINS: Kind<Vec<Origin>> = list_of(
    |written| {
        // By its place, for it may be a secret that a lost quote has put there.
        let parse = |(text, number): (&String, usize)| {
            text.parse()
                .map_err(|expected: &str| format!("entry {number}: {expected}"))
        };
        written.list().iter().zip(1..).map(parse).collect()
    },
    |origins| Some(list(origins)),
);

pub(super) fn count(text: &str) -> Option<usize> {
    number::decimal(text).and_then(|count| usize::try_from(count).ok())
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    let port = number::decimal(text).and_then(|port| u16::try_from(port).ok());
    Ok(port.ok_or("expected a port from 0 to 65535")?)
}
