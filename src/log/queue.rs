//! What the thread that writes is given beside the workers' records.

use std::sync::mpsc::SyncSender;

use super::lane::Outgoing;
use super::tap::Tap;

/// See the module's documentation.
pub(super) struct Entry {
    /// When it was put here, in nanoseconds: records of before come first.
    pub at: u64,
    pub what: What,
}

/// What it is.
pub(super) enum What {
    /// A line for people.
    Message(Vec<u8>),
    /// Another worker's records.
    Lane(Box<Outgoing>),
    /// Where records of traced requests go from now on.
    Tap(Option<Box<Tap>>),
    /// The access log's file may have been moved away.
    Reopen,
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}
