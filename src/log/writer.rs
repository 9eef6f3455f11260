//! The thread that writes log lines: as many at once as wait, in the order of their times.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::base::date::rfc3339;
use crate::config::{Level, LogConfig, LogFile};
use crate::system::time::Moment;

use super::bell::Bell;
use super::form::Form;
use super::lane::Outgoing;
use super::line::{self, Value};
use super::outlet::Outlet;
use super::queue::{Entry, What};
use super::record::Record;
use super::request::{self, nanos};
use super::shared::Shared;
use super::tally::Of;
use super::tap::Tap;

/// Where lines go, and those that are about to go there.
pub(super) struct Writer {
    /// Of messages, and of the access log.
    forms: (Form, Form),
    shared: Shared,
    /// What of all that was lost is known to the reader.
    reported: Lost,
    /// The workers' records.
    lanes: Vec<Outgoing>,
    /// Next of the queue.
    entry: Option<Entry>,
    /// Where records of traced requests go.
    tap: Option<Box<Tap>>,
    /// A line under way.
    line: Vec<u8>,
    stamp: Stamp,
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

/// A time of day as it is written: mostly that of the line before.
#[derive(Default)]
struct Stamp {
    /// Since 1970, of the moment from which the others count.
    epoch: u64,
    millis: u64,
    text: String,
}

/// How long lines wait for others at most.
const REST: Duration = Duration::from_millis(2);
/// How soon it is seen that a reader takes lines again.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After so many rests in which nothing came it sleeps, and whoever logs has to wake it.
const RESTS: u32 = 5;
/// Lines are collected up to this many bytes before they are written.
const WRITE_BYTES: usize = 64 * 1024;

impl Writer {
    pub(super) fn open(
        config: &LogConfig,
        colours: bool,
        shared: Shared,
        is_confined: bool,
    ) -> io::Result<Self> {
        let messages = Form::of(config.format, &io::stderr(), colours);
        let access = match &config.file {
            LogFile::Stderr => Access::Messages,
            LogFile::Stdout => Access::Stdout(Outlet::stdout()),
            LogFile::Path(path) => Access::File(path.clone(), Outlet::open(path)?),
        };
        Ok(Self {
            forms: (
                messages,
                match &config.file {
                    LogFile::Stderr => messages,
                    LogFile::Stdout => Form::of(config.format, &io::stdout(), colours),
                    LogFile::Path(_) => config.format.into(),
                },
            ),
            shared,
            reported: Lost::default(),
            lanes: Vec::new(),
            entry: None,
            tap: None,
            line: Vec::new(),
            stamp: Stamp::default(),
            messages: Outlet::stderr(),
            access,
            is_confined,
        })
    }

    /// Writes until there is nobody left to log.
    pub(super) fn run(mut self, entries: &Receiver<Entry>) {
        // Told once nothing waits any more.
        let mut flushed = None;
        let mut rests = 0;
        loop {
            let is_over = self.look(entries);
            match self.take_all(entries, &mut flushed) {
                true => rests = 0,
                false => rests += 1,
            }
            self.write();
            if self.shared.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            if !self.is_waiting()
                && let Some(done) = flushed.take()
            {
                let _ = done.send(());
            }
            self.lanes.retain(|lane| !lane.is_over());
            match self.is_waiting() {
                _ if self.entry.is_some() => {}
                true => Bell::rest(LOOK_EVERY),
                false if is_over && self.lanes.is_empty() => return,
                false if rests < RESTS => Bell::rest(REST),
                false => {
                    let bell = self.shared.bell.clone();
                    bell.sleep(|| self.has_any(entries));
                }
            }
        }
    }

    /// Takes the next of the queue; whether there will be none.
    fn look(&mut self, entries: &Receiver<Entry>) -> bool {
        if self.entry.is_some() {
            return false;
        }
        match entries.try_recv() {
            Ok(entry) => self.entry = Some(entry),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return true,
        }
        false
    }

    /// Whether anything is there, or nobody that could put it there.
    fn has_any(&mut self, entries: &Receiver<Entry>) -> bool {
        let is_over = self.look(entries);
        let waits = self.entry.is_some() || self.shared.reopen.load(Ordering::Relaxed);
        waits || is_over || self.lanes.iter_mut().any(|lane| lane.next().is_some())
    }

    /// Takes what is there, as much as is written at once; whether there was anything.
    fn take_all(
        &mut self,
        entries: &Receiver<Entry>,
        flushed: &mut Option<SyncSender<()>>,
    ) -> bool {
        self.stamp.set();
        let (mut bytes, mut any) = (0, false);
        while bytes < WRITE_BYTES {
            self.look(entries);
            let before = self.entry.as_ref().map_or(u64::MAX, |entry| entry.at);
            if let Some(len) = self.take_record(before) {
                bytes += len;
            } else if let Some(entry) = self.entry.take() {
                match entry.what {
                    What::Message(line) => {
                        bytes += line.len();
                        // Nobody is left to be told where standard error fails.
                        let _ = self.messages.push(&line, &self.shared.tally);
                    }
                    What::Lane(lane) => self.lanes.push(*lane),
                    What::Tap(tap) => self.tap = tap,
                    What::Reopen => self.reopen(),
                    What::Flush(done) => {
                        *flushed = Some(done);
                        return true;
                    }
                }
            } else {
                return any;
            }
            any = true;
        }
        any
    }

    /// Makes a line of the earliest record, if it is from `before` then; bytes of the line.
    fn take_record(&mut self, before: u64) -> Option<usize> {
        let times = self.lanes.iter_mut().enumerate();
        let times = times.filter_map(|(index, lane)| Some((lane.next()?, index)));
        let (ended, index) = times.min().filter(|(ended, _)| *ended <= before)?;
        let record = self.lanes.get_mut(index)?.take();
        let marks = Record::new(record).marks();
        if marks.span {
            match &mut self.tap {
                Some(tap) => tap.take(record, self.stamp.epoch.saturating_add(ended)),
                None => self.shared.exports.drop_spans(marks.spans()),
            }
        }
        if !marks.line {
            return Some(record.len());
        }
        self.line.clear();
        request::write(record, self.forms.1, self.stamp.of(ended), &mut self.line);
        let outlet = match &mut self.access {
            Access::Messages => &mut self.messages,
            Access::Stdout(outlet) | Access::File(_, outlet) => outlet,
        };
        let pushed = match request::of(record) {
            Of::Admitted => outlet.push(&self.line, &self.shared.tally),
            Of::Anybody => outlet.push_anybodys(&self.line, &self.shared.tally),
        };
        let len = self.line.len();
        if let Err(error) = pushed {
            self.say_failing(&error);
        }
        Some(len)
    }

    fn is_waiting(&self) -> bool {
        self.messages.is_waiting() || self.access.outlet().is_some_and(Outlet::is_waiting)
    }

    fn write(&mut self) {
        if let Access::Stdout(outlet) | Access::File(_, outlet) = &mut self.access
            && let Err(error) = outlet.write(&self.shared.tally)
        {
            self.say_failing(&error);
        }
        let _ = self.messages.write(&self.shared.tally);
        self.tell_lost();
    }

    fn say_failing(&mut self, error: &io::Error) {
        let message = "cannot write the access log";
        self.say(Level::Error, message, &[("error", Value::Text(error))]);
    }

    /// Says what was lost, once lines arrive again.
    fn tell_lost(&mut self) {
        let lost = Lost {
            lines: self.shared.tally.lost.load(Ordering::Relaxed),
            shed: self.shared.tally.shed.load(Ordering::Relaxed),
        };
        let failing = self.access.outlet().is_some_and(Outlet::is_failing);
        if lost.lines > self.reported.lines && !failing && !self.messages.is_failing() {
            let count = Value::Number(lost.lines - self.reported.lines);
            let shed = Value::Number(lost.shed - self.reported.shed);
            let fields = [("count", count), ("of_own_answers", shed)];
            self.say(Level::Warn, "log lines lost", &fields);
            let _ = self.messages.write(&self.shared.tally);
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
        let line = line::message(self.forms.0, level, message, fields);
        let _ = self.messages.push(&line, &self.shared.tally);
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

impl Stamp {
    /// Learns what time it is: the clock may have been set.
    fn set(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = nanos(now.unwrap_or_default());
        self.epoch = now.saturating_sub(Moment::now().nanos());
    }

    /// So many nanoseconds behind the moment from which times count.
    fn of(&mut self, at: u64) -> &str {
        let millis = self.epoch.saturating_add(at) / 1_000_000;
        if self.text.is_empty() || self.millis != millis {
            self.millis = millis;
            let fraction = u32::try_from(millis % 1000).unwrap_or_default();
            self.text.clear();
            let _ = write!(self.text, "{}", rfc3339(millis / 1000, fraction));
        }
        &self.text
    }
}
