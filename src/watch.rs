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
use crate::read;
use settling::{LESS_RESTS, Moment, Settling, Stamp, Verdict};

/// The entries of a keys file; workers and watch share them.
pub type Entries = Arc<[ManagedKey]>;

/// How often the file is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Reads a keys file.
///
/// # Errors
/// Names the file, and the entry that cannot be used.
pub fn read_keys(path: &Path) -> Result<Entries, String> {
    let from = path.display().to_string();
    let (content, _) = read::keys(path).map_err(|error| unreadable(path, &error))?;
    let keys = keys::parse(&content, &from).map_err(|error| error.to_string())?;
    Ok(keys.into())
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let setting = "SLUICEGATE_KEYS_FILE (auth.keys_file)";
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "; sluicegate key new NAME makes it",
        _ => "",
    };
    format!(
        "{}: {setting}: cannot read it: {error}{hint}",
        path.display()
    )
}

/// What is known of the keys file.
pub struct Watch {
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
pub enum Seen {
    /// Other entries than those in force.
    Keys(Entries),
    /// What cannot be used, and why.
    Broken(String),
    /// What seems to be written just now, and why it does.
    Unfinished(String),
}

impl Watch {
    /// `entries` are those in force.
    #[must_use]
    pub fn new(entries: Option<Entries>) -> Self {
        Self {
            entries,
            before: None,
            settling: Settling::default(),
            complaint: None,
            begin: Instant::now(),
        }
    }

    /// Looks at the file: other entries than those in force, or why there are none to be had, once for
    /// each reason.
    pub fn look(&mut self, path: &Path) -> Option<Seen> {
        let (looked, now) = (stamp(path), self.now());
        let stamp = match looked {
            Ok(stamp) if !self.settling.is_due(stamp, now) => return None,
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
        if let Some(why) = self.doubt(path, (stamp, now), &entries) {
            return self.complain(why, Seen::Unfinished);
        }
        self.settling.is_done(stamp, now);
        self.complaint = None;
        if self.entries.as_ref() == Some(&entries) {
            return None;
        }
        self.before = self.entries.replace(entries.clone());
        Some(Seen::Keys(entries))
    }

    /// Why entries that were just read without a look may not be the whole of the file, if so. Those in force stay
    /// then, and further looks tell what becomes of it.
    pub fn doubts(&mut self, path: &Path, entries: &Entries) -> Option<String> {
        let (stamp, now) = (stamp(path).ok()?, self.now());
        let why = self.doubt(path, (stamp, now), entries)?;
        self.complaint = Some(why.clone());
        Some(why)
    }

    /// The entries in force.
    #[must_use]
    pub fn entries(&self) -> Option<Entries> {
        self.entries.clone()
    }

    /// The entries of the last look are not put in force; those before them are the ones that others come after.
    pub fn refused(&mut self) {
        self.entries = self.before.take();
        self.settling.is_refused();
    }

    fn doubt(
        &mut self,
        path: &Path,
        (stamp, now): (Stamp, Moment),
        entries: &[ManagedKey],
    ) -> Option<String> {
        let before = self.entries.as_deref().unwrap_or_default();
        let path = path.display();
        match self.settling.judge(stamp, now, (before, entries)) {
            Verdict::Whole => None,
            Verdict::Blank => Some(format!(
                "{path}: it is empty where there were keys; expected [[key]] tables, with disabled = true for \
                 those that are worth nothing"
            )),
            Verdict::Less => Some(format!(
                "{path}: it lacks keys, or limits of keys, that were there; it is taken as it is once it has \
                 not changed for {} s",
                LESS_RESTS.as_secs()
            )),
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

fn stamp(path: &Path) -> io::Result<Stamp> {
    let found = fs::metadata(path)?;
    Ok(Stamp {
        file: (found.dev(), found.ino()),
        len: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}

#[cfg(test)]
mod tests;
