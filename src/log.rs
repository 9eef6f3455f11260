//! Messages for people and their collectors, one line each, on standard error.
//!
//! Lines are made where something happens and written by a thread of their own, so that a slow reader never
//! holds up a worker; when the queue is full, lines are dropped and counted.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{Level, LogFormat};
use crate::date::rfc3339;

/// A handle; clones write to the same place.
#[derive(Clone)]
pub struct Log {
    queue: SyncSender<Entry>,
    format: LogFormat,
    level: Level,
    dropped: Arc<AtomicU64>,
}

/// A field's value.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// Anything that can be written.
    Text(&'a dyn Display),
    /// A figure.
    Number(u64),
}

enum Entry {
    Line(String),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// Lines that may wait to be written.
const QUEUE_LINES: usize = 4096;

impl Log {
    /// Starts the writing thread.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(format: LogFormat, level: Level) -> io::Result<Self> {
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        let log = Self {
            queue,
            format,
            level,
            dropped,
        };
        std::thread::Builder::new()
            .name("log".into())
            .spawn(move || write_lines(&lines, &counter))?;
        Ok(log)
    }

    /// Something that an operator has to act upon.
    pub fn error(&self, message: &str, fields: &[(&str, Value<'_>)]) {
        self.line(Level::Error, message, fields);
    }

    /// Something that may need looking at.
    pub fn warn(&self, message: &str, fields: &[(&str, Value<'_>)]) {
        self.line(Level::Warn, message, fields);
    }

    /// Something worth knowing.
    pub fn info(&self, message: &str, fields: &[(&str, Value<'_>)]) {
        self.line(Level::Info, message, fields);
    }

    /// Waits until everything logged so far is written.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.send(Entry::Flush(done)).is_ok() {
            let _ = wait.recv();
        }
    }

    fn line(&self, level: Level, message: &str, fields: &[(&str, Value<'_>)]) {
        if level > self.level {
            return;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time = rfc3339(now.as_secs(), now.subsec_millis());
        let line = match self.format {
            LogFormat::Json => json(&time, level, message, fields),
            LogFormat::Text => text(&time, level, message, fields),
        };
        if self.queue.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(lines: &Receiver<Entry>, dropped: &AtomicU64) {
    let mut out = io::stderr();
    for entry in lines {
        // Nobody is left to be told when standard error is closed.
        match entry {
            Entry::Line(line) => {
                let _ = out.write_all(line.as_bytes());
            }
            Entry::Flush(done) => {
                let _ = done.send(());
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(
                out,
                "{{\"level\":\"warn\",\"message\":\"log lines lost\",\"count\":{lost}}}"
            );
        }
    }
}

fn json(time: &str, level: Level, message: &str, fields: &[(&str, Value<'_>)]) -> String {
    let mut line = format!(
        "{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":{}",
        quoted(message)
    );
    for (name, value) in fields {
        let value = match value {
            Value::Text(text) => quoted(&text.to_string()),
            Value::Number(number) => number.to_string(),
        };
        let _ = write!(line, ",{}:{value}", quoted(name));
    }
    line.push_str("}\n");
    line
}

fn text(time: &str, level: Level, message: &str, fields: &[(&str, Value<'_>)]) -> String {
    let mut line = format!("{time} {level} {message}");
    for (name, value) in fields {
        let value = match value {
            Value::Text(text) => text.to_string(),
            Value::Number(number) => number.to_string(),
        };
        let plain = !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
        let _ = write!(
            line,
            " {name}={}",
            if plain { value } else { quoted(&value) }
        );
    }
    line.push('\n');
    line
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
