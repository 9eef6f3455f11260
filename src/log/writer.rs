//! The thread that writes log lines: as many at once as wait.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Duration;

use crate::config::{Level, LogConfig, LogFile, LogFormat};

use super::{Entry, Line, Value};

/// Where lines go, and those that are about to go there.
pub(super) struct Writer {
    format: LogFormat,
    /// Dropped or not written; `reported` of them are known to the reader.
    lost: Arc<AtomicU64>,
    reported: u64,
    /// The file is to be opened anew.
    reopen: Arc<AtomicBool>,
    /// For standard error.
    messages: Vec<u8>,
    access: Access,
}

struct Access {
    to: Sink,
    lines: Vec<u8>,
    /// The last write ended within a line.
    torn: bool,
    /// The last write failed, which has been said.
    failing: bool,
}

enum Sink {
    /// Among the messages, so that their order is kept.
    Stderr,
    Stdout,
    File(PathBuf, File),
}

/// How long lines wait for others at most.
const REST: Duration = Duration::from_millis(2);
/// Lines are collected up to this many bytes before they are written.
const WRITE_BYTES: usize = 64 * 1024;

impl Writer {
    pub(super) fn open(
        config: &LogConfig,
        lost: Arc<AtomicU64>,
        reopen: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let to = match &config.file {
            LogFile::Stderr => Sink::Stderr,
            LogFile::Stdout => Sink::Stdout,
            LogFile::Path(path) => Sink::File(path.clone(), open(path)?),
        };
        Ok(Self {
            format: config.format,
            lost,
            reported: 0,
            reopen,
            messages: Vec::new(),
            access: Access {
                to,
                lines: Vec::new(),
                torn: false,
                failing: false,
            },
        })
    }

    /// Writes until there is nobody left to log.
    pub(super) fn run(mut self, entries: &Receiver<Entry>) {
        while let Ok(entry) = entries.recv() {
            let mut flushed = self.take(entry);
            while flushed.is_none()
                && self.messages.len() + self.access.lines.len() < WRITE_BYTES
                && let Ok(entry) = entries.try_recv()
            {
                flushed = self.take(entry);
            }
            self.write();
            if self.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            if let Some(done) = flushed {
                let _ = done.send(());
            }
            // Whoever logs meanwhile need not wake this thread, which costs more than the line.
            std::thread::park_timeout(REST);
        }
    }

    /// Collects a line; the result is whom to tell once it is written.
    fn take(&mut self, entry: Entry) -> Option<SyncSender<()>> {
        match entry {
            Entry::Message(line) => self.messages.extend_from_slice(line.as_bytes()),
            Entry::Access(line) => {
                let lines = match self.access.to {
                    Sink::Stderr => &mut self.messages,
                    Sink::Stdout | Sink::File(..) => &mut self.access.lines,
                };
                lines.extend_from_slice(line.as_bytes());
            }
            Entry::Reopen => self.reopen(),
            Entry::Flush(done) => return Some(done),
        }
        None
    }

    fn write(&mut self) {
        if let Err(error) = self.access.write(&self.lost)
            && !std::mem::replace(&mut self.access.failing, true)
        {
            self.say(
                Level::Error,
                "cannot write the access log",
                "error",
                Value::Text(&error),
            );
        }
        let lost = self.lost.load(Ordering::Relaxed);
        if lost > self.reported && !self.access.failing {
            let count = lost - std::mem::replace(&mut self.reported, lost);
            self.say(Level::Warn, "log lines lost", "count", Value::Number(count));
        }
        // Nobody is left to be told when standard error is closed.
        let _ = io::stderr().write_all(&self.messages);
        empty(&mut self.messages);
    }

    fn reopen(&mut self) {
        // What waits was logged before the file was moved.
        self.write();
        let Sink::File(path, file) = &mut self.access.to else {
            return;
        };
        match open(path) {
            Ok(new) => {
                *file = new;
                (self.access.torn, self.access.failing) = (false, false);
            }
            Err(error) => {
                let message = "cannot open the access log again; it goes on where it was";
                self.say(Level::Error, message, "error", Value::Text(&error));
            }
        }
    }

    fn say(&mut self, level: Level, message: &str, name: &str, value: Value<'_>) {
        let line = Line::of(self.format, level, message, &[(name, value)]);
        self.messages.extend_from_slice(line.end().as_bytes());
    }
}

impl Access {
    /// Writes what waits; what cannot be written is lost and counted.
    fn write(&mut self, lost: &AtomicU64) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let torn = std::mem::take(&mut self.torn);
        let (written, result) = match &mut self.to {
            Sink::Stderr => (self.lines.len(), Ok(())),
            Sink::Stdout => write_all(&mut io::stdout().lock(), torn, &self.lines),
            Sink::File(_, file) => write_all(file, torn, &self.lines),
        };
        let (done, rest) = self.lines.split_at_checked(written).unwrap_or_default();
        if !rest.is_empty() {
            let count = rest.iter().filter(|byte| **byte == b'\n').count();
            lost.fetch_add(count as u64, Ordering::Relaxed);
            self.torn = done.last().map_or(torn, |byte| *byte != b'\n');
        }
        self.failing &= result.is_err();
        empty(&mut self.lines);
        result
    }
}

/// Writes `lines`, on a line of their own where the last one is `torn`; how much of them was written.
fn write_all(to: &mut impl Write, torn: bool, lines: &[u8]) -> (usize, io::Result<()>) {
    if torn && let Err(error) = to.write_all(b"\n") {
        return (0, Err(error));
    }
    let mut written = 0;
    while let Some(rest) = lines.get(written..)
        && !rest.is_empty()
    {
        match to.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, to.flush())
}

/// A buffer that was large once does not stay so.
fn empty(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(2 * WRITE_BYTES);
}

/// Appends, and is readable to its owner and group only: paths and addresses are nobody else's business.
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let options = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path);
    options.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes this many bytes, then fails.
    struct Full(usize, Vec<u8>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.0);
            self.0 -= n;
            self.1.extend_from_slice(&bytes[..n]);
            if n == 0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(n)
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_says_how_much_was_written() {
        let mut full = Full(6, Vec::new());
        let (written, result) = write_all(&mut full, false, b"one\ntwo\n");
        assert_eq!((written, result.is_err()), (6, true));
        full.0 = 100;
        let (written, result) = write_all(&mut full, true, b"three\n");
        assert_eq!((written, result.is_ok()), (6, true));
        assert_eq!(full.1, b"one\ntw\nthree\n");
    }
}
