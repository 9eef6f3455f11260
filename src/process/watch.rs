//! Notices that the keys file has changed.
//!
//! It is looked at twice a second. A change then takes a moment, but what inotify does not see
//! (a link that leads elsewhere now, a network file system) counts as well, and no limit on watches can be met.

mod settling;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::config::keys::{self, ManagedKey};
use crate::system::read;
use settling::{LESS_RESTS, Moment, RESTLESS_MAX, Settling, Stamp, Verdict};

/// The entries of a keys file; workers and watch share them.
pub(crate) type Entries = Arc<[ManagedKey]>;

/// How often the file is looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Reads a keys file.
///
/// # Errors
/// Names the file, and the entry that cannot be used.
pub(crate) fn read_keys(path: &Path) -> Result<Entries, String> {
    let from = path.display().to_string();
    let (content, _) = read::keys(path).map_err(|error| unreadable(path, &error))?;
    let keys = keys::parse(&content, &from).map_err(|error| error.to_string())?;
    Ok(keys.into())
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "; sluicegate key new NAME makes it",
        _ => "",
    };
    format!("{}: cannot read it: {error}{hint}", path.display())
}

/// What is known of the keys file.
pub(crate) struct Watch {
    /// The entries in force.
    entries: Option<Entries>,
    /// Those before them.
    before: Option<Entries>,
    settling: Settling,
    /// What was wrong with it last.
    complaint: Option<String>,
    /// Where its clock begins.
    begin: Instant,
}

/// What a look has found.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Other entries than those in force.
    Keys(Entries),
    /// What cannot be used, and why.
    Broken(String),
    /// What seems to be written just now, and why it does.
    Unfinished(String),
}

impl Watch {
    /// `entries` are those in force, of the file of this name.
    #[must_use]
    pub(crate) fn new(path: Option<&Path>, entries: Option<Entries>) -> Self {
        // One that has taken its place since they were read counts as the same one, and has to settle.
        let file = path.and_then(|path| Some(stamp(path).ok()?.file));
        Self {
            entries,
            before: None,
            settling: Settling::of(file),
            complaint: None,
            begin: Instant::now(),
        }
    }

    /// Looks at the file: other entries than those in force, or why there are none to be had, once for
    /// each reason.
    pub(crate) fn look(&mut self, path: &Path) -> Option<Seen> {
        let (looked, now) = (stamp(path), self.now());
        let stamp = match looked {
            Ok(stamp) if !self.settling.is_due(stamp, now) => return self.restless(path, now),
            Ok(stamp) => stamp,
            Err(error) => {
                self.settling.is_gone();
                return self.complain(unreadable(path, &error), Seen::Broken);
            }
        };
        let entries = match read_keys(path) {
            Ok(entries) => entries,
            Err(error) => {
                self.settling.is_done(stamp, now);
                return self.complain(error, Seen::Broken);
            }
        };
        let before = self.entries.as_deref().unwrap_or_default();
        match self.settling.judge(stamp, now, (before, &entries)) {
            Verdict::Whole => {}
            Verdict::Blank => return self.complain(blank(path), Seen::Unfinished),
            Verdict::Less => return self.complain(less(path), Seen::Unfinished),
            Verdict::JustCame => return None,
        }
        self.settling.is_done(stamp, now);
        self.complaint = None;
        if self.entries.as_ref() == Some(&entries) {
            return None;
        }
        self.before = self.entries.replace(entries.clone());
        Some(Seen::Keys(entries))
    }

    /// Why entries that somebody had read now cannot be the file's, if so. Those in force stay then, and further looks
    /// tell what becomes of it. Whoever has it read knows that it is written, but for an empty one.
    pub(crate) fn doubts(&mut self, path: &Path, entries: &Entries) -> Option<String> {
        let before = self.entries.as_deref().unwrap_or_default();
        if !entries.is_empty() || !stamp(path).ok()?.is_blank(before) {
            return None;
        }
        let why = blank(path);
        self.complaint = Some(why.clone());
        Some(why)
    }

    /// The entries in force.
    #[must_use]
    pub(crate) fn entries(&self) -> Option<Entries> {
        self.entries.clone()
    }

    /// The entries of the last look are not put in force; those before them are the ones that others come after.
    pub(crate) fn refused(&mut self) {
        self.entries = self.before.take();
        self.settling.is_refused();
    }

    /// Says that it is not read since it changes all the time, if it has for long.
    fn restless(&mut self, path: &Path, now: Moment) -> Option<Seen> {
        match self.settling.is_restless(now) {
            true => self.complain(restless(path), Seen::Unfinished),
            false => None,
        }
    }

    fn complain(&mut self, why: String, seen: fn(String) -> Seen) -> Option<Seen> {
        if self.complaint.as_ref() == Some(&why) {
            return None;
        }
        self.complaint = Some(why.clone());
        Some(seen(why))
    }

    fn now(&self) -> Moment {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Moment {
            elapsed: self.begin.elapsed(),
            unix: unix.map_or(0, |unix| unix.as_secs()),
        }
    }
}

fn blank(path: &Path) -> String {
    format!(
        "{}: it is empty where there were keys; expected [[key]] tables, with disabled = true for those that are \
         worth nothing",
        path.display()
    )
}

fn less(path: &Path) -> String {
    format!(
        "{}: it lacks keys, or limits of keys, that were there; it is taken as it is {}, or at once on SIGHUP or when \
         it is renamed to its name",
        path.display(),
        at_last(LESS_RESTS)
    )
}

fn restless(path: &Path) -> String {
    format!(
        "{}: it changes all the time; it is read {}, or at once on SIGHUP or when it is renamed to its name",
        path.display(),
        at_last(LOOK_EVERY)
    )
}

/// When a file that is written in place is taken.
fn at_last(rest: Duration) -> String {
    format!(
        "once it has not changed for {} s, {} s after its first change at the latest",
        rest.as_secs_f32(),
        RESTLESS_MAX.as_secs()
    )
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let found = fs::metadata(path)?;
    Ok(Stamp {
        file: (found.dev(), found.ino(), found.created().ok()),
        len: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests;
