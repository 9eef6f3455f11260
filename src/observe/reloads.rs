//! How the last reload of the configuration went.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// See the module's documentation. The start counts as the first.
#[derive(Debug, Default)]
pub(crate) struct Reloads {
    failed: AtomicBool,
    /// Of the last that succeeded, since 1970.
    seconds: AtomicU64,
}

impl Reloads {
    /// Of a process that starts at `now`, in seconds since 1970.
    pub(crate) fn since(now: u64) -> Self {
        Self {
            failed: AtomicBool::new(false),
            seconds: AtomicU64::new(now),
        }
    }

    /// A new configuration is in force; `now` is in seconds since 1970.
    pub(crate) fn succeeded(&self, now: u64) {
        self.seconds.store(now, Ordering::Relaxed);
        self.failed.store(false, Ordering::Relaxed);
    }

    /// The new one was broken.
    pub(crate) fn failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Whether the last one succeeded, and when one last did.
    pub(crate) fn last(&self) -> (bool, u64) {
        let succeeded = !self.failed.load(Ordering::Relaxed);
        (succeeded, self.seconds.load(Ordering::Relaxed))
    }
}
