//! Whose lines there are, and what got lost on the way.

use std::sync::atomic::{AtomicU64, Ordering};

/// Whose request a line of the access log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    /// One that was admitted.
    Admitted,
    /// One that the gateway has answered by itself.
    Anybody,
}

/// Lines that did not arrive, as far as that is known.
#[derive(Default)]
pub(super) struct Tally {
    /// Dropped or not written.
    pub lost: AtomicU64,
    /// Those of them that were dropped to keep room for others.
    pub shed: AtomicU64,
}

impl Tally {
    /// So many more are lost.
    pub(super) fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// One of anybody's goes, though there is room for others.
    pub(super) fn shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
        self.lose(1);
    }
}
