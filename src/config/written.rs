//! A value as it was written: what it is, where, and under which name; and what is said of one that cannot be used.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::error::ConfigError;
use super::places::Place;
use super::shown::{is_harmless, list, quoted};
use super::value;

/// A value of the file, of a variable or of the defaults.
#[derive(Clone)]
pub(super) struct Written {
    pub(super) value: Value,
    /// The file and its line, or `environment`.
    pub(super) from: String,
    /// The key with its tables, or the variable.
    pub(super) key: String,
    /// Variables were put in, so that it may be a secret whatever it is for.
    pub(super) is_expanded: bool,
}

/// Secrets are still plain text here, so it cannot be printed.
#[derive(Clone)]
pub(super) enum Value {
    /// A number, a switch or a string; which of them is right is decided where it is used.
    Text(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

/// Which values of TOML a setting takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A number, a switch or a string.
    Scalar,
    /// A string.
    Text,
    /// A list of strings.
    List,
    /// A list of numbers, switches or strings.
    Scalars,
    /// A table of strings.
    Map,
    /// A table of numbers, switches or strings.
    Pairs,
}

impl Form {
    /// A variable's value.
    pub(super) fn of_variable(self, text: &str) -> Value {
        match self {
            Self::List | Self::Scalars => {
                Value::List(value::list(text).map(str::to_owned).collect())
            }
            Self::Scalar | Self::Text | Self::Map | Self::Pairs => Value::Text(text.to_owned()),
        }
    }
}

impl Written {
    /// The text, where it is one.
    pub(super) fn text(&self) -> &str {
        match &self.value {
            Value::Text(text) => text,
            Value::List(_) | Value::Map(_) => "",
        }
    }

    /// The list, where it is one.
    pub(super) fn list(&self) -> &[String] {
        match &self.value {
            Value::List(list) => list,
            Value::Text(_) | Value::Map(_) => &[],
        }
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        Place {
            from: self.from.clone(),
            key: self.key.clone(),
        }
    }

    /// Why it cannot be used.
    pub(super) fn refused(&self, expected: impl ToString) -> ConfigError {
        ConfigError::new(&self.from, &self.key, expected)
    }

    /// Why the file that it names cannot be read, and what was expected there.
    pub(super) fn unreadable(&self, error: &impl Display, expected: &str) -> ConfigError {
        let path = self.text();
        self.refused(format!(
            "{path}: cannot read it: {error}; expected {expected}"
        ))
    }

    /// Why another key of its table is needed with it.
    pub(super) fn refused_without(&self, other: &str, expected: impl ToString) -> ConfigError {
        let table = self.key.rsplit_once('.').map_or("", |(table, _)| table);
        ConfigError::new(&self.from, &format!("{table}.{other}"), expected)
    }

    /// What is found in its place, behind what was expected: not for secrets.
    pub(super) fn found(&self) -> String {
        let (text, shown) = match &self.value {
            Value::Text(text) => (text.clone(), quoted(text)),
            Value::List(items) => (items.join(", "), list(items)),
            Value::Map(_) => return String::new(),
        };
        if value::is_quoted(&text) {
            return "; the quotes around the value are taken as a part of it".to_owned();
        }
        // What is behind a question mark may be a key.
        let query = text
            .split_once('?')
            .filter(|(before, _)| is_harmless(before));
        match (is_harmless(&text), query) {
            _ if self.is_expanded => String::new(),
            (true, _) => format!("; found {shown}"),
            (false, Some((before, _))) => format!("; found {}", quoted(&format!("{before}?…"))),
            (false, None) => String::new(),
        }
    }
}

/// What a file says in one of its tables.
#[derive(Default)]
pub(super) struct Section {
    /// File, and the line where the table begins, if it is there.
    pub(super) from: String,
    pub(super) values: BTreeMap<&'static str, Written>,
    /// The tables of a list within it (`[[providers.NAME.instance]]`).
    pub(super) parts: Vec<Self>,
}

impl Section {
    pub(super) fn get(&self, key: &str) -> Option<&Written> {
        self.values.get(key)
    }

    /// Where a key is written, or its table where it is not.
    pub(super) fn place(&self, key: &str) -> &str {
        self.get(key).map_or(&self.from, |written| &written.from)
    }
}
