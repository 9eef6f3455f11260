//! Where the values in force were written, for messages and for `check`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use super::error::ConfigError;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file and its line, or `environment`.
    pub(super) from: String,
    /// The key with its tables, or the variable.
    pub(super) key: String,
}

/// As messages begin.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", Plain(&self.from), Plain(&self.key))
    }
}

/// A text on one line, whatever a file is named.
struct Plain<'t>(&'t str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c.is_control() {
            true => f.write_char('\u{fffd}'),
            false => f.write_char(c),
        })
    }
}

/// Places of values, by the key with its tables; a default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places(BTreeMap<String, Place>);

impl Places {
    /// Remembers where the value in force for a key is written, if it is.
    pub(super) fn note(&mut self, key: &str, place: Option<Place>) {
        if let Some(place) = place {
            self.0.insert(key.to_owned(), place);
        }
    }

    /// Takes what was remembered of a key away.
    pub(super) fn take(&mut self, key: &str) -> Option<Place> {
        self.0.remove(key)
    }

    /// Where the value in force for a key is written.
    #[must_use]
    pub(super) fn get(&self, key: &str) -> Option<&Place> {
        self.0.get(key)
    }

    /// How a message about a key begins: with where its value is written, or with the key alone.
    #[must_use]
    pub fn of(&self, key: &str) -> String {
        self.get(key)
            .map_or_else(|| key.to_owned(), Place::to_string)
    }

    /// What is wrong with the value of a key; `from` is said where it is a default.
    pub(super) fn refused(&self, key: &str, from: &str, message: impl ToString) -> ConfigError {
        match self.get(key) {
            Some(place) => ConfigError::new(&place.from, &place.key, message),
            None => ConfigError::new(from, key, message),
        }
    }

    /// What `check` says behind the value of a key: where that is written, if it is no default.
    pub(super) fn remark(&self, key: &str) -> Option<String> {
        let place = self.get(key)?;
        Some(match place.key == key {
            true => Plain(&place.from).to_string(),
            false => place.to_string(),
        })
    }
}
