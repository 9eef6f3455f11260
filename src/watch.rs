//! Notices that the keys file has changed.
//!
//! It is looked at twice a second. A change then takes a moment, but what inotify does not see
//! (a link that leads elsewhere now, a network file system) counts as well, and no limit on watches can be met.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::keys::{self, ManagedKey};
use crate::read;

/// The entries of a keys file; workers and watch share them.
pub type Entries = Arc<[ManagedKey]>;

/// How often the file is looked at.
pub const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A file younger than this may have changed again without looking any different: its times are coarse.
const YOUNG: Duration = Duration::from_secs(2);

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
    format!("{}: {setting}: cannot read it: {error}", path.display())
}

/// What is known of the keys file.
#[derive(Default)]
pub struct Watch {
    /// The entries in force.
    entries: Option<Entries>,
    /// How the file looked at the last look.
    last: Option<Stamp>,
    /// How it looked when it was read, if it was old enough then.
    read: Option<Stamp>,
    /// What was wrong with it last.
    complaint: Option<String>,
}

/// How a file looks without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    /// Device and inode.
    file: (u64, u64),
    len: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watch {
    /// `entries` are those in force.
    #[must_use]
    pub fn new(entries: Option<Entries>) -> Self {
        Self {
            entries,
            ..Self::default()
        }
    }

    /// Looks at the file: other entries than those in force, or why there are none to be had, once for
    /// each reason.
    pub fn look(&mut self, path: &Path) -> Option<Result<Entries, String>> {
        let looked = Stamp::of(path);
        if let Ok(stamp) = looked
            && !self.is_due(stamp)
        {
            return None;
        }
        let read = match looked {
            Ok(_) => read_keys(path),
            Err(error) => {
                // What comes in its place may get the same number.
                self.last = None;
                Err(unreadable(path, &error))
            }
        };
        match read {
            Ok(entries) => {
                self.complaint = None;
                if self.entries.as_ref() == Some(&entries) {
                    return None;
                }
                self.entries = Some(entries.clone());
                Some(Ok(entries))
            }
            Err(error) if self.complaint.as_ref() == Some(&error) => None,
            Err(error) => {
                self.complaint = Some(error.clone());
                Some(Err(error))
            }
        }
    }

    /// Whether the file has to be read. One that is written in place is given until the next look to come to
    /// its end; one that was renamed to its name is whole.
    fn is_due(&mut self, stamp: Stamp) -> bool {
        if self.read == Some(stamp) {
            return false;
        }
        let settled = match self.last.replace(stamp) {
            Some(last) => last == stamp || last.file != stamp.file,
            None => true,
        };
        if settled && !stamp.is_young() {
            self.read = Some(stamp);
        }
        settled
    }
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self {
            file: (found.dev(), found.ino()),
            len: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    fn is_young(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        let modified = u64::try_from(self.modified.0).unwrap_or_default();
        now.abs_diff(modified) <= YOUNG.as_secs()
    }
}

#[cfg(test)]
mod tests;
