//! For how long the addresses of a host name are used.

use std::time::Duration;

/// How old an answer to a question for addresses may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Used without a question.
    pub fresh: Duration,
    /// Used where a question has no answer.
    pub most: Duration,
}

impl Ages {
    /// Ten times as old, where nobody knows better.
    #[must_use]
    pub fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            most: fresh.saturating_mul(10),
        }
    }
}
