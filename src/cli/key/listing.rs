//! `sluicegate key list` and `show`: entries for people and for scripts.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use crate::base::columns::table;
use crate::base::date;
use crate::cli::output;
use crate::config::keys::ManagedKey;
use crate::config::rules::Rules;
use crate::process::watch;
use crate::system::time::unix_seconds;

pub(super) fn list(path: &Path, as_json: bool) -> Result<(), String> {
    let (entries, now) = (watch::read_keys(path)?, unix_seconds());
    if as_json {
        let all: Vec<_> = entries.iter().map(|key| as_value(key, now)).collect();
        return print(&format!("{:#}\n", serde_json::Value::from(all)));
    }
    let mut rows = vec![
        [
            "ID",
            "NAME",
            "STATE",
            "EXPIRES",
            "PROVIDERS",
            "RATE",
            "STREAMS",
            "ALLOW",
        ]
        .map(str::to_owned),
    ];
    rows.extend(entries.iter().map(|key| row(key, now)));
    print(&table(&rows))
}

pub(super) fn show(path: &Path, id: &str, as_json: bool) -> Result<(), String> {
    let (entries, now) = (watch::read_keys(path)?, unix_seconds());
    let key = find(&entries, id, path)?;
    if as_json {
        return print(&format!("{:#}\n", as_value(key, now)));
    }
    let names = [
        "id",
        "name",
        "state",
        "expires",
        "providers",
        "rate",
        "streams",
        "allow",
    ];
    let mut text = String::new();
    for (name, value) in names.iter().zip(row(key, now)) {
        let _ = writeln!(text, "{name:<10} {value}");
    }
    print(&text)
}

/// In a word.
pub(super) fn state(key: &ManagedKey, now: u64) -> &'static str {
    match key.expires {
        _ if key.disabled => "revoked",
        Some(expires) if expires <= now => "expired",
        _ => "active",
    }
}

fn row(key: &ManagedKey, now: u64) -> [String; 8] {
    let all = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rules = |rules: &Rules| rules.texts().collect::<Vec<_>>().join(", ");
    [
        key.id.clone(),
        all(key.name.clone()),
        state(key, now).to_owned(),
        all(key.expires.map(instant)),
        all(key.providers.as_ref().map(|names| names.join(","))),
        all(key.rate.map(|rate| rate.to_string())),
        all(key.streams.map(|streams| streams.to_string())),
        all(key.allow.as_ref().map(rules)),
    ]
    // Names written by hand may hold anything, and a terminal obeys some of it.
    .map(|text| text.replace(char::is_control, "?"))
}

fn as_value(key: &ManagedKey, now: u64) -> serde_json::Value {
    json!({
        "id": key.id,
        "name": key.name,
        "state": state(key, now),
        "expires": key.expires.map(instant),
        "providers": key.providers,
        "rate": key.rate.map(|rate| rate.to_string()),
        "streams": key.streams,
        "allow": key.allow.as_ref().map(|rules| rules.texts().collect::<Vec<_>>()),
    })
}

/// Columns as wide as they have to be, two blanks between them.
/// By id, else by a name that only one has.
pub(super) fn find<'k>(
    entries: &'k [ManagedKey],
    id: &str,
    path: &Path,
) -> Result<&'k ManagedKey, String> {
    if let Some(key) = entries.iter().find(|key| key.id == id) {
        return Ok(key);
    }
    let mut named = entries.iter().filter(|key| key.name.as_deref() == Some(id));
    match (named.next(), named.next()) {
        (Some(key), None) => Ok(key),
        (Some(_), Some(_)) => Err(format!(
            "{}: more than one key has this name; expected an id",
            path.display()
        )),
        // It may be a key itself, so it is not repeated.
        (None, _) => Err(format!("{}: there is no such key", path.display())),
    }
}

/// `2027-01-31T00:00:00Z`
pub(super) fn instant(seconds: u64) -> String {
    date::rfc3339(seconds, 0).to_string().replace(".000Z", "Z")
}

/// Prints what was asked for; a reader that has seen enough is no fault.
pub(super) fn print(text: &str) -> Result<(), String> {
    match output::write(text.as_bytes()) {
        Err(error) if !error.is_closed() => Err(error.to_string()),
        Ok(()) | Err(_) => Ok(()),
    }
}
