//! What is said of a value that cannot be used.

use std::fmt;

/// Source, key and expectation of a value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    from: String,
    pub(super) key: String,
    pub(super) message: String,
}

impl ConfigError {
    /// `message` must not hold a secret.
    #[must_use]
    pub fn new(from: &str, key: &str, message: impl ToString) -> Self {
        Self {
            from: from.to_owned(),
            key: key.to_owned(),
            message: message.to_string(),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.key.is_empty() { "" } else { ": " };
        write!(f, "{}{gap}{}: {}", self.from, self.key, self.message)
    }
}

impl std::error::Error for ConfigError {}
