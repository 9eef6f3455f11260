//! The keys file: managed keys as entries with digests.

use std::collections::BTreeSet;
use std::fmt;

use super::ConfigError;
use super::syntax::syntax;
use crate::base::{hex, number};
use crate::config::rules::Rules;

/// One managed key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedKey {
    /// Its public name in logs.
    pub id: String,
    /// For people.
    pub name: Option<String>,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// It is worth nothing.
    pub disabled: bool,
    /// Seconds since 1970 from which it is worth nothing.
    pub expires: Option<u64>,
    /// The only providers it is for.
    pub providers: Option<Vec<String>>,
    /// The only endpoints it is for.
    pub allow: Option<Rules>,
    /// How many requests it is for.
    pub rate: Option<Rate>,
    /// How many exchanges it may have under way.
    pub streams: Option<u32>,
}

/// So many requests in a second, minute or hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1, at most [`RATE_MAX`].
    count: u32,
    per: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    Second,
    Minute,
    Hour,
}

/// Most requests a second, minute or hour.
pub(crate) const RATE_MAX: u32 = 1_000_000;

impl Rate {
    /// Reads `60/m`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a rate such as 10/s, 60/m or 1000/h, of at most 1000000";
        let (count, per) = text.trim().split_once('/').ok_or(EXPECTED)?;
        let per = match per {
            "s" => Window::Second,
            "m" => Window::Minute,
            "h" => Window::Hour,
            _ => return Err(EXPECTED),
        };
        let count = number::decimal(count).and_then(|count| u32::try_from(count).ok());
        let count = count.filter(|count| (1..=RATE_MAX).contains(count));
        count.map(|count| Self { count, per }).ok_or(EXPECTED)
    }

    /// Requests that may come at once, which is all of a window's.
    #[must_use]
    pub const fn burst(self) -> u32 {
        self.count
    }

    /// Nanoseconds in which one request is earned, rounded up.
    #[must_use]
    pub fn interval_nanos(self) -> u64 {
        let seconds = match self.per {
            Window::Second => 1,
            Window::Minute => 60,
            Window::Hour => 3600,
        };
        (seconds * 1_000_000_000_u64).div_ceil(u64::from(self.count))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = match self.per {
            Window::Second => 's',
            Window::Minute => 'm',
            Window::Hour => 'h',
        };
        write!(f, "{}/{per}", self.count)
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: Option<String>,
    sha256: String,
    #[serde(default)]
    disabled: bool,
    /// A string, or a date and time of TOML's own.
    expires: Option<toml::Value>,
    providers: Option<Vec<String>>,
    rate: Option<String>,
    streams: Option<i64>,
    allow: Option<Vec<String>>,
}

/// All entries. One that cannot be used makes the file unusable: a key must not be worth more than was
/// written.
///
/// # Errors
/// Names the file and the entry.
pub(crate) fn parse(content: &str, path: &str) -> Result<Vec<ManagedKey>, ConfigError> {
    let file: File = toml::from_str(content).map_err(|error| syntax(path, content, &error))?;
    let mut keys = Vec::with_capacity(file.key.len());
    let (mut ids, mut digests) = (BTreeSet::new(), BTreeSet::new());
    for (index, entry) in file.key.into_iter().enumerate() {
        let named = match is_id(&entry.id) {
            true => format!("key {}", entry.id),
            // It may be a key in the wrong place.
            false => format!("key number {}", index + 1),
        };
        let key = entry
            .resolve()
            .map_err(|message| ConfigError::new(path, &named, message))?;
        // State is kept, and keys are revoked, by id.
        if !ids.insert(key.id.clone()) {
            let message = "expected each id once";
            return Err(ConfigError::new(path, &named, message));
        }
        if !digests.insert(key.sha256) {
            let message = "expected each sha256 once: two entries are for the same key";
            return Err(ConfigError::new(path, &named, message));
        }
        keys.push(key);
    }
    Ok(keys)
}

impl Entry {
    fn resolve(self) -> Result<ManagedKey, String> {
        if !is_id(&self.id) {
            return Err(
                "expected an id of at most 64 letters, digits, - _ and ., not master and no key"
                    .into(),
            );
        }
        let sha256 = hex::bytes(&self.sha256).ok_or("expected sha256 as 64 hexadecimal digits")?;
        let expires = match &self.expires {
            Some(time) => Some(
                instant(time).ok_or("expected expires as a time such as 2027-01-31T00:00:00Z")?,
            ),
            None => None,
        };
        let streams = match self.streams {
            Some(count) => Some(
                u32::try_from(count)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or("expected streams as a number of at least 1")?,
            ),
            None => None,
        };
        let allow = self.allow.as_deref().map(Rules::parse).transpose();
        Ok(ManagedKey {
            id: self.id,
            name: self.name,
            sha256,
            disabled: self.disabled,
            expires,
            providers: self.providers,
            allow: allow.map_err(|expected| format!("allow: {expected}"))?,
            rate: self.rate.as_deref().map(Rate::parse).transpose()?,
            streams,
        })
    }
}

/// Seconds since 1970.
fn instant(written: &toml::Value) -> Option<u64> {
    match written {
        toml::Value::String(text) => crate::base::date::parse_rfc3339(text),
        toml::Value::Datetime(time) => crate::base::date::parse_rfc3339(&time.to_string()),
        _ => None,
    }
}

/// Whether an id may go into logs as it is; `master` stands there for the master key.
#[must_use]
pub(crate) fn is_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let taken = id == "master" || id.starts_with(KEY_PREFIX);
    !id.is_empty() && id.len() <= 64 && !taken && id.bytes().all(plain)
}

/// What every managed key that is made here begins with.
pub(crate) const KEY_PREFIX: &str = "sk_sg_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let digest = "ab".repeat(32);
        let good = format!(
            "[[key]]\nid = \"a\"\nname = \"n\"\nsha256 = \"{digest}\"\nexpires = \"1970-01-02T00:00:00Z\"\n\
             providers = [\"x\"]\nrate = \"60/m\"\nstreams = 2\nallow = [\"POST /chat/*\"]\n\
             [[key]]\nid = \"b\"\nsha256 = \"{}\"\ndisabled = true\n",
            "cd".repeat(32)
        );
        let keys = parse(&good, "f").unwrap();
        let a = ManagedKey {
            id: "a".into(),
            name: Some("n".into()),
            sha256: [0xab; 32],
            disabled: false,
            expires: Some(86_400),
            providers: Some(vec!["x".into()]),
            allow: Some(Rules::parse(&["POST /chat/*"]).unwrap()),
            rate: Some(Rate::parse("60/m").unwrap()),
            streams: Some(2),
        };
        let b = ManagedKey {
            id: "b".into(),
            name: None,
            sha256: [0xcd; 32],
            disabled: true,
            expires: None,
            providers: None,
            allow: None,
            rate: None,
            streams: None,
        };
        assert_eq!(keys, [a, b]);
    }

    #[test]
    fn what_cannot_be_used_makes_the_file_unusable() {
        let digest = "ab".repeat(32);
        let head = format!("[[key]]\nid = \"a\"\nsha256 = \"{digest}\"\n");
        let other = "cd".repeat(32);
        for broken in [
            "[[key]]\nid = \"a\"\nsha256 = \"xyz\"\n".to_owned(),
            format!("{head}rate = \"1/d\"\n"),
            format!("{head}expires = \"soon\"\n"),
            format!("{head}expires = 2030-01-01\n"),
            format!("{head}expires = 2030-01-01T00:00:00\n"),
            format!("{head}expires = 1\n"),
            format!("{head}streams = 0\n"),
            format!("{head}streams = -1\n"),
            format!("{head}allow = [\"/chat\"]\n"),
            format!("{head}allow = \"* /chat\"\n"),
            format!("{head}providers = \"x\"\n"),
            format!("{head}name = 1\n"),
            format!("{head}unknown = 1\n"),
            format!("{head}[[key]]\nid = \"a\"\nsha256 = \"{other}\"\n"),
            format!("{head}[[key]]\nid = \"b\"\nsha256 = \"{digest}\"\n"),
            format!("[[key]]\nid = \"\"\nsha256 = \"{digest}\"\n"),
            format!("[[key]]\nid = \"a b\"\nsha256 = \"{digest}\"\n"),
            format!("[[key]]\nid = \"master\"\nsha256 = \"{digest}\"\n"),
            "[[keys]]\n".to_owned(),
        ] {
            assert!(parse(&broken, "f").is_err(), "{broken}");
        }
    }

    #[test]
    fn times_may_be_written_without_quotes() {
        let digest = "ab".repeat(32);
        for time in ["1970-01-02T00:00:00Z", "1970-01-02T01:00:00+01:00"] {
            for written in [time.to_owned(), format!("'{time}'")] {
                let text = format!("[[key]]\nid = 'a'\nsha256 = '{digest}'\nexpires = {written}\n");
                assert_eq!(
                    parse(&text, "f").unwrap()[0].expires,
                    Some(86_400),
                    "{written}"
                );
            }
        }
    }

    #[test]
    fn errors_name_the_key() {
        let digest = "ab".repeat(32);
        let head = format!("[[key]]\nid = \"a\"\nsha256 = \"{digest}\"\n");
        for (line, message) in [
            (
                "name = 1",
                "f line 4: key.name: expected a string in quotes",
            ),
            (
                "nmae = 'a'",
                "f line 4: key.nmae: unknown field `nmae`, expected one of `id`, `name`, `sha256`, `disabled`, \
                 `expires`, `providers`, `rate`, `streams`, `allow`; did you mean `name`?",
            ),
            (
                "streams = 'x'",
                "f line 4: key.streams: expected a whole number",
            ),
            (
                "expires = 5",
                "f: key a: expected expires as a time such as 2027-01-31T00:00:00Z",
            ),
        ] {
            let error = parse(&format!("{head}{line}\n"), "f").unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn rates() {
        for (text, interval) in [
            ("1/s", 1_000_000_000),
            ("60/m", 1_000_000_000),
            ("3/s", 333_333_334),
            ("1/h", 3_600_000_000_000),
            ("1000000/s", 1000),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!(rate.interval_nanos(), interval, "{text}");
            assert_eq!(rate.to_string(), text);
        }
        for broken in [
            "",
            "1",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1/d",
            "1/S",
            "1.5/s",
            "1 /s",
            "1000001/h",
        ] {
            assert!(Rate::parse(broken).is_err(), "{broken}");
        }
    }
}
