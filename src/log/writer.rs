//! The thread that writes log lines: as many at once as wait.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use crate::config::{Level, LogConfig, LogFile, LogFormat};

use super::line::{Line, Value};
use super::outlet::Outlet;
use super::queue::{Entry, Of, Tally};

/// Where lines go, and those that are about to go there.
pub(super) struct Writer {
    format: LogFormat,
    /// What was lost; `reported` of it is known to the reader.
    tally: Arc<Tally>,
    reported: Lost,
    /// The file is to be opened anew.
    reopen: Arc<AtomicBool>,
    /// Standard error.
    messages: Outlet,
    access: Access,
    /// Other folders are out of reach.
    is_confined: bool,
}

/// Lines that were lost, and those of them that were shed.
#[derive(Clone, Copy, Default)]
struct Lost {
    lines: u64,
    shed: u64,
}

enum Access {
    /// Among the messages, so that their order is kept.
    Messages,
    Stdout(Outlet),
    File(PathBuf, Outlet),
}

/// How long lines wait for others at most.
const REST: Duration = Duration::from_millis(2);
/// How soon it is seen that a reader takes lines again.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Lines are collected up to this many bytes before they are written.
const WRITE_BYTES: usize = 64 * 1024;

impl Writer {
    pub(super) fn open(
        config: &LogConfig,
        tally: Arc<Tally>,
        reopen: Arc<AtomicBool>,
        is_confined: bool,
    ) -> io::Result<Self> {
        let access = match &config.file {
            LogFile::Stderr => Access::Messages,
            LogFile::Stdout => Access::Stdout(Outlet::stdout()),
            LogFile::Path(path) => Access::File(path.clone(), Outlet::open(path)?),
        };
        Ok(Self {
            format: config.format,
            tally,
            reported: Lost::default(),
            reopen,
            messages: Outlet::stderr(),
            access,
            is_confined,
        })
    }

    /// Writes until there is nobody left to log.
    pub(super) fn run(mut self, entries: &Receiver<Entry>) {
        // Told once nothing waits any more.
        let mut flushed = None;
        loop {
            let entry = match self.is_waiting() {
                true => entries.recv_timeout(LOOK_EVERY),
                false => entries.recv().map_err(RecvTimeoutError::from),
            };
            match entry {
                Ok(entry) => self.take_all(entry, entries, &mut flushed),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.write();
            if self.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            if !self.is_waiting()
                && let Some(done) = flushed.take()
            {
                let _ = done.send(());
            }
            // Whoever logs meanwhile need not wake this thread, which costs more than the line.
            std::thread::park_timeout(REST);
        }
    }

    /// Takes an entry and those behind it, as many as are written at once.
    fn take_all(
        &mut self,
        mut entry: Entry,
        entries: &Receiver<Entry>,
        flushed: &mut Option<SyncSender<()>>,
    ) {
        let mut bytes = 0;
        loop {
            match entry {
                Entry::Message(line) => {
                    bytes += line.len();
                    // Nobody is left to be told where standard error fails.
                    let _ = self.messages.push(line.as_bytes(), &self.tally);
                }
                Entry::Access(line, of) => {
                    bytes += line.len();
                    self.take_access(line.as_bytes(), of);
                }
                Entry::Reopen => self.reopen(),
                Entry::Flush(done) => {
                    *flushed = Some(done);
                    return;
                }
            }
            if bytes >= WRITE_BYTES {
                return;
            }
            let Ok(next) = entries.try_recv() else { return };
            entry = next;
        }
    }

    fn take_access(&mut self, line: &[u8], of: Of) {
        if of == Of::Anybody {
            self.tally.anybodys.fetch_sub(1, Ordering::Relaxed);
        }
        let outlet = match &mut self.access {
            Access::Messages => &mut self.messages,
            Access::Stdout(outlet) | Access::File(_, outlet) => outlet,
        };
        let pushed = match of {
            Of::Admitted => outlet.push(line, &self.tally),
            Of::Anybody => outlet.push_anybodys(line, &self.tally),
        };
        if let Err(error) = pushed {
            self.say_failing(&error);
        }
    }

    fn is_waiting(&self) -> bool {
        self.messages.is_waiting() || self.access.outlet().is_some_and(Outlet::is_waiting)
    }

    fn write(&mut self) {
        if let Access::Stdout(outlet) | Access::File(_, outlet) = &mut self.access
            && let Err(error) = outlet.write(&self.tally)
        {
            self.say_failing(&error);
        }
        let _ = self.messages.write(&self.tally);
        self.tell_lost();
    }

    fn say_failing(&mut self, error: &io::Error) {
        let message = "cannot write the access log";
        self.say(Level::Error, message, &[("error", Value::Text(error))]);
    }

    /// Says what was lost, once lines arrive again.
    fn tell_lost(&mut self) {
        let lost = Lost {
            lines: self.tally.lost.load(Ordering::Relaxed),
            shed: self.tally.shed.load(Ordering::Relaxed),
        };
        let failing = self.access.outlet().is_some_and(Outlet::is_failing);
        if lost.lines > self.reported.lines && !failing && !self.messages.is_failing() {
            let count = Value::Number(lost.lines - self.reported.lines);
            let shed = Value::Number(lost.shed - self.reported.shed);
            let fields = [("count", count), ("of_own_answers", shed)];
            self.say(Level::Warn, "log lines lost", &fields);
            let _ = self.messages.write(&self.tally);
            if !self.messages.is_failing() {
                self.reported = lost;
            }
        }
    }

    fn reopen(&mut self) {
        // What waits was logged before the file was moved.
        self.write();
        let Access::File(path, outlet) = &mut self.access else {
            return;
        };
        match Outlet::open(path) {
            Ok(new) => outlet.replace(new),
            Err(error) => {
                let error = self.with_reach(error);
                let message = "cannot open the access log again; it goes on where it was";
                self.say(Level::Error, message, &[("error", Value::Text(&error))]);
            }
        }
    }

    /// Where this thread is confined, that may be why.
    fn with_reach(&self, error: io::Error) -> String {
        match self.is_confined && error.kind() == io::ErrorKind::PermissionDenied {
            true => format!(
                "{error}; server.landlock keeps the log to the folder that it was started with"
            ),
            false => error.to_string(),
        }
    }

    fn say(&mut self, level: Level, message: &str, fields: &[(&str, Value<'_>)]) {
        let line = Line::of(self.format, level, message, fields);
        let _ = self.messages.push(line.end().as_bytes(), &self.tally);
    }
}

impl Access {
    fn outlet(&self) -> Option<&Outlet> {
        match self {
            Self::Messages => None,
            Self::Stdout(outlet) | Self::File(_, outlet) => Some(outlet),
        }
    }
}
