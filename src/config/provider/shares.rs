//! How the settings of several keys and several instances are read and shown: their lists, their limits, when a request
//! goes elsewhere.

use std::num::NonZeroU32;
use std::time::Duration;

use super::fields;
use super::instance::{ApiKeys, HealthProbe, Instance, Resolve};
use crate::config::kinds::count;
use crate::config::shown::quoted;
use crate::config::url::{BaseUrl, base};
use crate::config::value;
use crate::config::written::{Value, Written};
use crate::http::head::{NameSet, name};
use crate::http::target::{self, Target};
use crate::providers::FIELDS_MAX;
use crate::providers::group::Balance;

/// Most requests that `concurrency` lets through; there is room for each from the start.
const CONCURRENCY_MAX: u32 = 100_000;
/// Most requests that wait for their turn, likewise.
const QUEUE_LENGTH_MAX: u32 = 100_000;

/// How many there are, and nothing else of them.
pub(super) fn shown_keys(keys: &ApiKeys) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
    format!("[{}]", keys.join(", "))
}

pub(super) fn bases(written: &Written) -> Result<Option<Vec<BaseUrl>>, String> {
    let bases = written.list().iter().map(|url| base(url));
    Ok(Some(bases.collect::<Result<_, _>>()?))
}

/// The words for them.
pub(super) const BALANCES: [(&str, Balance); 3] = [
    ("least_loaded", Balance::LeastLoaded),
    ("session", Balance::Session),
    ("first", Balance::First),
];

pub(super) fn balance(written: &Written) -> Result<Option<Balance>, String> {
    let known = BALANCES.iter().find(|(word, _)| *word == written.text());
    let expected = || "expected least_loaded, session or first".to_owned();
    known
        .map(|(_, balance)| Some(*balance))
        .ok_or_else(expected)
}

/// The words for what a name stands for.
const RESOLVES: [(&str, Resolve); 2] = [("one", Resolve::One), ("all", Resolve::All)];

pub(super) fn resolve_words() -> Vec<&'static str> {
    RESOLVES.map(|(word, _)| word).into()
}

pub(super) fn resolve(written: &Written) -> Result<Option<Resolve>, String> {
    let known = RESOLVES.iter().find(|(word, _)| *word == written.text());
    known
        .map(|(_, resolve)| Some(*resolve))
        .ok_or_else(|| "expected one or all".to_owned())
}

/// What is said where nobody else would know it.
pub(super) fn shown_resolve(resolve: Resolve) -> Option<String> {
    (resolve == Resolve::All).then(|| quoted("all"))
}

pub(super) fn concurrency(written: &Written) -> Result<Option<NonZeroU32>, String> {
    let limit = count(written.text()).and_then(|limit| u32::try_from(limit).ok());
    let limit = limit.filter(|limit| *limit <= CONCURRENCY_MAX);
    let limit = limit.and_then(NonZeroU32::new);
    limit
        .map(Some)
        .ok_or_else(|| format!("expected a number from 1 to {CONCURRENCY_MAX}"))
}

/// How many requests instances take together, as far as there is to be room for them from the start; 0 where none has a
/// limit.
pub(in crate::config) fn seats<'i>(instances: impl Iterator<Item = &'i Instance>) -> u32 {
    let limits: Vec<_> = instances.map(|instance| instance.concurrency).collect();
    if limits.iter().all(Option::is_none) {
        return 0;
    }
    let each = |limit: Option<NonZeroU32>| limit.map_or(SEATS_OF_UNLIMITED, NonZeroU32::get);
    let all = limits.into_iter().map(each);
    all.fold(0, u32::saturating_add).min(CONCURRENCY_MAX)
}

/// What one without a limit counts for there; it takes more all the same.
const SEATS_OF_UNLIMITED: u32 = 1000;

/// How many wait for their turn, and how long at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueBounds {
    pub(super) length: u32,
    pub(super) wait: Duration,
}

impl QueueBounds {
    /// Where nobody says anything.
    pub(super) const USUAL: Self = Self {
        length: 100,
        wait: Duration::from_secs(30),
    };
}

pub(super) fn queue(written: &Written) -> Result<Option<QueueBounds>, String> {
    let Value::Map(pairs) = &written.value else {
        return Ok(None);
    };
    let mut bounds = QueueBounds::USUAL;
    for (key, text) in pairs {
        match &**key {
            "length" => {
                let length = count(text).and_then(|length| u32::try_from(length).ok());
                let length = length.filter(|length| *length <= QUEUE_LENGTH_MAX);
                bounds.length = length.ok_or_else(|| {
                    format!("expected a number from 0 to {QUEUE_LENGTH_MAX} for length")
                })?;
            }
            "wait" => {
                let wait = value::duration(text).map_err(|why| format!("{why} for wait"))?;
                bounds.wait = wait;
            }
            _ => return Err("expected nothing but length and wait".to_owned()),
        }
    }
    Ok(Some(bounds))
}

/// Shortest time from one question to the next.
const HEALTH_INTERVAL_MIN: Duration = Duration::from_millis(100);

pub(super) fn health(written: &Written) -> Result<Option<HealthProbe>, String> {
    let Value::Map(pairs) = &written.value else {
        return Ok(None);
    };
    let mut probe = HealthProbe {
        path: String::new(),
        interval: Duration::from_secs(5),
        expect: None,
    };
    for (key, text) in pairs {
        match &**key {
            "path" => {
                let parsed = target::parse(text.as_bytes());
                let is_path = matches!(parsed, Ok(Target::Path { .. })) && text.len() <= 1024;
                if !is_path {
                    return Err("expected a path such as /health for path".to_owned());
                }
                probe.path.clone_from(text);
            }
            "interval" => {
                let interval =
                    value::duration(text).map_err(|why| format!("{why} for interval"))?;
                if interval < HEALTH_INTERVAL_MIN {
                    return Err("expected at least 100ms for interval".to_owned());
                }
                probe.interval = interval;
            }
            "expect" => {
                let status = count(text).and_then(|status| u16::try_from(status).ok());
                let status = status.filter(|status| (200..600).contains(status));
                probe.expect = Some(status.ok_or("expected a status from 200 to 599 for expect")?);
            }
            _ => return Err("expected nothing but path, interval and expect".to_owned()),
        }
    }
    match probe.path.is_empty() {
        true => Err("expected a path such as /health for path".to_owned()),
        false => Ok(Some(probe)),
    }
}

/// The answers that say of a request that it was not taken: nobody pays for it.
const NOT_TAKEN: [u16; 3] = [429, 503, 529];

pub(super) fn failover_on(written: &Written) -> Result<Option<Vec<u16>>, String> {
    let status = |text: &String| {
        let status = count(text).and_then(|status| u16::try_from(status).ok());
        status.filter(|status| NOT_TAKEN.contains(status))
    };
    let statuses = written
        .list()
        .iter()
        .map(status)
        .collect::<Option<Vec<u16>>>();
    let expected =
        || "expected some of 429, 503 and 529, which say that a request was not taken".to_owned();
    statuses.map(Some).ok_or_else(expected)
}

/// Most bytes that are held of a request.
const REPLAY_BYTES_MAX: u64 = 256 * 1024;

pub(super) fn replay_bytes(written: &Written) -> Result<Option<usize>, String> {
    let bytes = value::size(written.text())?;
    match usize::try_from(bytes) {
        Ok(held) if bytes <= REPLAY_BYTES_MAX => Ok(Some(held)),
        _ => Err("expected at most 256K".to_owned()),
    }
}

pub(super) fn numbers(numbers: &[u16]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u16::to_string).collect();
    format!("[{}]", numbers.join(", "))
}

pub(super) fn session_headers(written: &Written) -> Result<Option<Vec<String>>, String> {
    let names = written.list();
    let is_fit =
        |field: &String| fields::is_token(field) && !NameSet::SECRET.has(name(field.as_bytes()));
    match names.len() <= FIELDS_MAX && names.iter().all(is_fit) {
        true => Ok(Some(names.to_vec())),
        false => Err(format!(
            "expected at most {FIELDS_MAX} names of fields, none of which carries a credential"
        )),
    }
}
