//! Messages for people and their collectors on standard error, and the access log, one line each.
//!
//! Lines are made where something happens and written by a thread of their own, so that a slow reader never
//! holds up a worker; when the queue is full, lines are dropped and counted. What anybody can cause, lines of requests
//! that were not admitted, gets half of the room at most, so that it cannot push out those of others.

mod line;
mod outlet;
mod queue;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use crate::config::{Level, LogConfig, LogFormat};
use crate::system::confine::{self, Rules};

use queue::{Entry, Tally};
use writer::Writer;

pub(crate) use line::{Line, Value};
pub(crate) use queue::Of;

/// A handle; clones write to the same place.
#[derive(Clone)]
pub(crate) struct Log {
    queue: SyncSender<Entry>,
    format: LogFormat,
    level: Level,
    tally: Arc<Tally>,
    /// A request to open the access log's file anew that the queue had no room for.
    reopen: Arc<AtomicBool>,
}

/// How long the process waits for its last lines to be taken.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// How often it looks whether there is room in the queue again.
const FLUSH_POLL: Duration = Duration::from_millis(10);
/// Lines that may wait to be written.
const QUEUE_LINES: usize = 4096;
/// Those of them that may be of anybody's requests.
const ANYBODYS_LINES: usize = QUEUE_LINES / 2;

impl Log {
    /// Opens the access log and starts the writing thread, confined by `rules`.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread to be had.
    pub(crate) fn start(config: &LogConfig, rules: Rules) -> io::Result<Self> {
        let (queue, entries) = sync_channel(QUEUE_LINES);
        let tally = Arc::new(Tally::default());
        let reopen = Arc::new(AtomicBool::new(false));
        let writer = Writer::open(config, tally.clone(), reopen.clone(), rules.are_there())?;
        let thread = std::thread::Builder::new().name("log".into());
        confine::spawn(thread, rules, move || writer.run(&entries))?;
        Ok(Self {
            queue,
            format: config.format,
            level: config.level,
            tally,
            reopen,
        })
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

    /// A line of the access log, to be filled and given to [`write`](Self::write); its fields are expected to
    /// take this many bytes.
    #[must_use]
    pub(crate) fn request(&self, bytes: usize) -> Line {
        Line::begin(self.format, Level::Info, "request", bytes)
    }

    /// Writes a line of the access log.
    pub(crate) fn write(&self, line: Line, of: Of) {
        if of == Of::Anybody {
            if self.tally.anybodys.load(Ordering::Relaxed) >= ANYBODYS_LINES {
                return self.tally.shed();
            }
            self.tally.anybodys.fetch_add(1, Ordering::Relaxed);
        }
        if !self.put(Entry::Access(line.end(), of)) && of == Of::Anybody {
            self.tally.anybodys.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Opens the access log's file anew. Never waits: the queue is full where nobody reads the log.
    pub(crate) fn reopen(&self) {
        if self.queue.try_send(Entry::Reopen).is_err() {
            self.reopen.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until everything logged so far is written, but not for ever: nobody may be reading it.
    pub(crate) fn flush(&self) {
        let until = Instant::now() + FLUSH_MAX;
        let (done, wait) = sync_channel(1);
        let mut entry = Entry::Flush(done);
        while let Err(TrySendError::Full(refused)) = self.queue.try_send(entry) {
            if Instant::now() > until {
                return;
            }
            std::thread::park_timeout(FLUSH_POLL);
            entry = refused;
        }
        let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    /// Lines that were dropped or could not be written so far.
    #[must_use]
    pub(crate) fn lost(&self) -> u64 {
        self.tally.lost.load(Ordering::Relaxed)
    }

    /// Those of them that were about requests which the gateway has answered by itself, and were dropped to keep
    /// room for others.
    #[must_use]
    pub(crate) fn shed(&self) -> u64 {
        self.tally.shed.load(Ordering::Relaxed)
    }

    fn message(&self, level: Level, message: &str, fields: &[(&str, Value<'_>)]) {
        if level <= self.level {
            let line = Line::of(self.format, level, message, fields);
            self.put(Entry::Message(line.end()));
        }
    }

    /// Whether there is room for it; else it is lost.
    fn put(&self, entry: Entry) -> bool {
        let put = self.queue.try_send(entry).is_ok();
        if !put {
            self.tally.lose(1);
        }
        put
    }
}
