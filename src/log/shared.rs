//! What all who log share with the thread that writes.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::observe::Exports;

use super::bell::Bell;
use super::tally::Tally;

/// See the module's documentation.
#[derive(Clone)]
pub(super) struct Shared {
    pub tally: Arc<Tally>,
    /// What becomes of spans.
    pub exports: Arc<Exports>,
    /// A request to open the access log's file anew that the queue had no room for.
    pub reopen: Arc<AtomicBool>,
    pub bell: Bell,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            tally: Arc::default(),
            exports: Arc::default(),
            reopen: Arc::default(),
            bell: Bell::default(),
        }
    }
}
