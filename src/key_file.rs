//! Changes the keys file: under a lock, and so that a crash at any moment leaves the old file or the new one.
//!
//! What a person wrote into it stays as it is, comments included.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use crate::config::keys::{self, ManagedKey};

/// A keys file that nobody else changes through this module while this exists.
pub struct KeyFile {
    /// Where it is, without links.
    path: PathBuf,
    /// For messages.
    shown: String,
    /// The folder, open and locked.
    folder: OwnedFd,
    /// As it was found; `None` where there is none yet.
    found: Option<fs::Metadata>,
    document: DocumentMut,
}

/// A new entry as it is to be written.
#[derive(Default)]
pub struct NewEntry {
    /// Public name in logs.
    pub id: String,
    /// For people.
    pub name: String,
    /// SHA-256 of the key, hexadecimal.
    pub sha256: String,
    /// RFC 3339.
    pub expires: Option<String>,
    /// Instance names.
    pub providers: Vec<String>,
    /// `60/m`
    pub rate: Option<String>,
    /// Exchanges at once.
    pub streams: Option<u32>,
    /// `POST /chat/*`
    pub allow: Vec<String>,
}

/// Whether a file that is not there is a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It is made.
    Create,
    /// Nothing can be done.
    Refuse,
}

impl KeyFile {
    /// Waits until nobody else changes the file, and reads it. `waiting` is called if that takes its time.
    ///
    /// # Errors
    /// Names the file, and what in it cannot be used: what is broken is not rewritten.
    pub fn open(path: &Path, missing: Missing, waiting: impl FnOnce()) -> Result<Self, String> {
        let shown = path.display().to_string();
        let failed = |error: io::Error| format!("{shown}: {error}");
        // The file that a link leads to is the one to replace.
        let path = match fs::canonicalize(path) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Create => {
                path.to_owned()
            }
            Err(error) => return Err(failed(error)),
        };
        let folder = lock(folder_of(&path), waiting)
            .map_err(|error| format!("{}: {error}", folder_of(&path).display()))?;
        let (content, found) = match File::open(&path) {
            Ok(file) => {
                let found = file.metadata().map_err(failed)?;
                (io::read_to_string(file).map_err(failed)?, Some(found))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Create => {
                (String::new(), None)
            }
            Err(error) => return Err(failed(error)),
        };
        keys::parse(&content, &shown).map_err(|error| error.to_string())?;
        let document = parse(&content, &shown)?;
        Ok(Self {
            path,
            shown,
            folder,
            found,
            document,
        })
    }

    /// Whether there was no such file before.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.found.is_none()
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// When the file does not hold its entries as `[[key]]` tables.
    pub fn append(&mut self, entry: NewEntry) -> Result<(), String> {
        let mut table = Table::new();
        table.insert("id", value(entry.id));
        table.insert("name", value(entry.name));
        table.insert("sha256", value(entry.sha256));
        if let Some(expires) = entry.expires {
            table.insert("expires", value(expires));
        }
        if let Some(rate) = entry.rate {
            table.insert("rate", value(rate));
        }
        if let Some(streams) = entry.streams {
            table.insert("streams", value(i64::from(streams)));
        }
        for (key, list) in [("providers", entry.providers), ("allow", entry.allow)] {
            if !list.is_empty() {
                table.insert(key, value(list.into_iter().collect::<Array>()));
            }
        }
        // As text, behind whatever there is: comments at the end belong to what stands before them.
        let mut entry = DocumentMut::new();
        let entries = ArrayOfTables::from_iter([table]);
        entry.insert("key", Item::ArrayOfTables(entries));
        let before = self.document.to_string();
        let gap = match before.trim_end() {
            "" => "",
            text if before.len() == text.len() => "\n\n",
            _ => "\n",
        };
        self.document = parse(&format!("{before}{gap}{entry}"), &self.shown)
            .map_err(|_| format!("{}: expected its entries as [[key]] tables", self.shown))?;
        Ok(())
    }

    /// Marks an entry as worth nothing.
    ///
    /// # Errors
    /// When there is no such entry.
    pub fn disable(&mut self, id: &str) -> Result<(), String> {
        set(self.entry(id)?, "disabled", true);
        Ok(())
    }

    /// Puts another key's digest, and time if there is one, into an entry.
    ///
    /// # Errors
    /// When there is no such entry.
    pub fn replace(&mut self, id: &str, sha256: &str, expires: Option<&str>) -> Result<(), String> {
        let entry = self.entry(id)?;
        set(entry, "sha256", sha256);
        if let Some(expires) = expires {
            set(entry, "expires", expires);
        }
        Ok(())
    }

    /// The entries as the gateway would read them.
    ///
    /// # Errors
    /// When it would not.
    pub fn read(&self) -> Result<Vec<ManagedKey>, String> {
        keys::parse(&self.document.to_string(), &self.shown).map_err(|error| error.to_string())
    }

    /// Puts what was changed in the place of the file, all of it or nothing.
    ///
    /// # Errors
    /// The file is as it was then.
    pub fn write(self) -> Result<(), String> {
        // A file that the gateway would not read is never written.
        self.read()?;
        let draft = self.draft();
        self.write_draft(&draft).map_err(|error| {
            let _ = fs::remove_file(&draft);
            format!("{}: cannot write it: {error}", self.shown)
        })
    }

    fn write_draft(&self, draft: &Path) -> io::Result<()> {
        // Left by a command that was killed: whoever holds the lock is the only one who writes it.
        match fs::remove_file(draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let options = { OpenOptions::new() }
            .write(true)
            .create_new(true)
            .mode(0o600)
            .clone();
        let mut file = options.open(draft)?;
        file.write_all(self.document.to_string().as_bytes())?;
        if let Some(found) = &self.found {
            keep_owner_and_mode(&file, found)?;
        }
        file.sync_all()?;
        self.check_unchanged()?;
        fs::rename(draft, &self.path)?;
        // Without this the new name may be lost with the power, the file's content not.
        match rustix::fs::fsync(&self.folder) {
            // Some file systems cannot, and none of them promises anything.
            Err(Errno::INVAL | Errno::NOTSUP) => Ok(()),
            synced => Ok(synced?),
        }
    }

    /// Who edits the file by hand holds no lock.
    fn check_unchanged(&self) -> io::Result<()> {
        let look = |found: &fs::Metadata| {
            let (modified, changed) = (found.mtime_nsec(), found.ctime_nsec());
            (
                found.dev(),
                found.ino(),
                found.len(),
                found.mtime(),
                modified,
                changed,
            )
        };
        let now = match fs::metadata(&self.path) {
            Ok(now) => Some(now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match now.as_ref().map(look) == self.found.as_ref().map(look) {
            true => Ok(()),
            false => Err(io::Error::other("it was changed meanwhile; try again")),
        }
    }

    fn draft(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.path.file_name().unwrap_or_default());
        name.push(".new");
        folder_of(&self.path).join(name)
    }

    fn entry(&mut self, id: &str) -> Result<&mut Table, String> {
        let Some(entries) = self.document.get_mut("key") else {
            return Err(format!("{}: there is no key", self.shown));
        };
        let Some(entries) = entries.as_array_of_tables_mut() else {
            return Err(format!(
                "{}: expected its entries as [[key]] tables",
                self.shown
            ));
        };
        let is_it = |entry: &&mut Table| entry.get("id").and_then(Item::as_str) == Some(id);
        let mut entries = entries.iter_mut();
        let found = entries.find(is_it);
        found.ok_or_else(|| format!("{}: there is no key {id}", self.shown))
    }
}

/// An error of the library itself would quote the line.
fn parse(content: &str, shown: &str) -> Result<DocumentMut, String> {
    content
        .parse()
        .map_err(|_| format!("{shown}: expected TOML"))
}

/// Sets a value; what stands beside the old one stays.
fn set(table: &mut Table, key: &str, new: impl Into<toml_edit::Value>) {
    let mut new = new.into();
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        None => {
            table.insert(key, Item::Value(new));
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// Locks the folder, not the file: that is replaced, and whoever waits would get hold of the old one.
fn lock(folder: &Path, waiting: impl FnOnce()) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(folder, flags, Mode::empty())?;
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            waiting();
            rustix::io::retry_on_intr(|| flock(&folder, FlockOperation::LockExclusive))?;
        }
        locked => locked?,
    }
    Ok(folder)
}

/// A gateway that may read the file can read the new one too, and nobody else.
fn keep_owner_and_mode(file: &File, found: &fs::Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (found.uid(), found.gid()) {
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(found.uid()),
            rustix::fs::Gid::from_raw(found.gid()),
        );
        rustix::fs::fchown(file.as_fd(), Some(uid), Some(gid)).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("cannot keep its owner: {error}"))
        })?;
    }
    file.set_permissions(fs::Permissions::from_mode(found.mode() & 0o7777))
}

#[cfg(test)]
mod tests;
