//! Messages for people and their collectors on standard error, and the access log, one line each.
//!
//! A worker says what a request was in a few figures, in a ring of its own ([`Lane`]); a thread of its own makes lines
//! of them and writes, so that neither words nor a slow reader hold up a worker. Where there is no room, lines are
//! dropped and counted.

mod bell;
mod escape;
mod field_name;
mod form;
mod lane;
mod line;
mod outlet;
mod people;
mod queue;
mod quotes;
mod record;
mod request;
mod shared;
mod tally;
mod tap;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::config::{Level, LogConfig};
use crate::observe::Exports;
use crate::system::confine::{self, Rules};
use crate::system::time::Moment;

use form::Form;
use queue::{Entry, What};
use shared::Shared;
use writer::Writer;

pub(crate) use lane::Lane;
pub(crate) use line::Value;
pub(crate) use quotes::{Quote, Quotes};
pub(crate) use record::{Marks, Record, Way};
pub(crate) use request::Request;
pub(crate) use tally::Of;
pub(crate) use tap::{Entry as Traced, Spool, Tap, tap};

/// A handle; clones write to the same place.
#[derive(Clone)]
pub(crate) struct Log {
    queue: SyncSender<Entry>,
    form: Form,
    level: Level,
    // Dropped behind the queue.
    shared: Shared,
}

/// How long the process waits for its last lines to be taken.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether there is room in the queue again.
const FLUSH_POLL: Duration = Duration::from_millis(10);
/// Messages that may wait to be written.
const QUEUE_MESSAGES: usize = 1024;

impl Log {
    /// Opens the access log and starts the writing thread, confined by `rules`. On a terminal lines are for people, with
    /// `colours` or without.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread to be had.
    pub(crate) fn start(config: &LogConfig, colours: bool, rules: Rules) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE_MESSAGES);
        let log = Self {
            queue,
            form: Form::of(config.format, &io::stderr(), colours),
            level: config.level,
            shared: Shared::new(),
        };
        let writer = Writer::open(config, colours, log.shared.clone(), rules.are_there())?;
        let thread = std::thread::Builder::new().name("log".into());
        confine::spawn(thread, rules, move || writer.run(&entries))?;
        Ok(log)
    }

    /// A worker's own way for lines of the access log.
    #[must_use]
    pub(crate) fn lane(&self) -> Lane {
        let (lane, outgoing) = lane::lane(self.shared.clone());
        // The thread never waits for anybody, so there is room soon.
        let entry = self.entry(What::Lane(Box::new(outgoing)));
        let _ = self.queue.send(entry);
        self.shared.bell.ring();
        lane
    }

    /// Leads records of traced requests there from now on, or nowhere.
    pub(crate) fn lead(&self, tap: Option<Tap>) {
        // As for a lane.
        let _ = self.queue.send(self.entry(What::Tap(tap.map(Box::new))));
        self.shared.bell.ring();
    }

    /// What became of spans and metrics for a collector.
    pub(crate) fn exports(&self) -> &Arc<Exports> {
        &self.shared.exports
    }

    /// Something that an operator has to act upon.
    pub(crate) fn error(&self, message: &str, fields: &[(&str, Value<'_>)]) {
        self.message(Level::Error, message, fields);
    }

    /// Something that may need looking at.
    pub(crate) fn warn(&self, message: &str, fields: &[(&str, Value<'_>)]) {
        self.message(Level::Warn, message, fields);
    }

    /// Something worth knowing.
    pub(crate) fn info(&self, message: &str, fields: &[(&str, Value<'_>)]) {
        self.message(Level::Info, message, fields);
    }

    /// Whether [`debug`](Self::debug) leads anywhere.
    pub(crate) fn tells_all(&self) -> bool {
        self.level >= Level::Debug
    }

    /// What is done on the way, for who looks for a fault.
    pub(crate) fn debug(&self, message: &str, fields: &[(&str, Value<'_>)]) {
        self.message(Level::Debug, message, fields);
    }

    /// Opens the access log's file anew. Never waits: the queue is full where nobody reads the log.
    pub(crate) fn reopen(&self) {
        if self.queue.try_send(self.entry(What::Reopen)).is_err() {
            self.shared.reopen.store(true, Ordering::Relaxed);
        }
        self.shared.bell.ring();
    }

    /// Waits until everything logged so far is written, but not for ever: nobody may be reading it.
    pub(crate) fn flush(&self) {
        let until = Instant::now() + FLUSH_MAX;
        let (done, wait) = sync_channel(1);
        let mut entry = self.entry(What::Flush(done));
        while let Err(TrySendError::Full(refused)) = self.queue.try_send(entry) {
            if Instant::now() > until {
                return;
            }
            std::thread::park_timeout(FLUSH_POLL);
            entry = refused;
        }
        self.shared.bell.ring();
        let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    /// Lines that were dropped or could not be written so far.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.shared.tally.lost.load(Ordering::Relaxed)
    }

    /// Those of them that were about requests which the gateway has answered by itself, and were dropped to keep
    /// room for others.
    #[must_use]
    pub(crate) fn shed(&self) -> u64 {
        self.shared.tally.shed.load(Ordering::Relaxed)
    }

    fn message(&self, level: Level, message: &str, fields: &[(&str, Value<'_>)]) {
        if level > self.level {
            return;
        }
        let line = line::message(self.form, level, message, fields);
        if self
            .queue
            .try_send(self.entry(What::Message(line)))
            .is_err()
        {
            self.shared.tally.lose(1);
        }
        self.shared.bell.ring();
    }

    fn entry(&self, what: What) -> Entry {
        Entry {
            at: Moment::now().nanos(),
            what,
        }
    }
}
