//! Changes the keys file: under a lock, and so that a crash at any moment leaves the old file or the new one; where
//! it cannot be replaced, the new one is beside it until it is in its place.
//!
//! What a person wrote into it stays as it is, comments included.

mod lock;
mod paths;
mod place;

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, value};

use crate::config::keys::{self, ManagedKey};
use crate::system::read;
use lock::{LOCK_TIME, Lock};
use paths::beside;
use place::Place;

/// A keys file that nobody else changes through this module while this exists.
pub(crate) struct KeyFile {
    /// Where it is, without links.
    path: PathBuf,
    /// For messages.
    shown: String,
    /// Held until the change is done.
    _lock: Lock,
    /// As it was found; `None` where there is none yet.
    found: Option<Metadata>,
    /// What it held then.
    before: String,
    document: DocumentMut,
}

/// A new entry as it is to be written.
#[derive(Default)]
pub(crate) struct NewEntry {
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
pub(crate) enum Missing {
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
    pub(crate) fn open(
        path: &Path,
        missing: Missing,
        waiting: impl FnOnce(),
    ) -> Result<Self, String> {
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
        let lock = Lock::take(&path, LOCK_TIME, waiting)?;
        let (before, found) = match read::keys(&path) {
            Ok((content, found)) => (content, Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && missing == Missing::Create => {
                (String::new(), None)
            }
            Err(error) => return Err(failed(error)),
        };
        let parsed = keys::parse(&before, &shown).map_err(|error| error.to_string());
        parsed.map_err(|error| match beside(&path, ".new") {
            draft if draft.exists() => format!(
                "{error}; a command was cut off as it wrote it, and {} is what it was to be",
                draft.display()
            ),
            _ => error,
        })?;
        let document = parse(&before, &shown)?;
        Ok(Self {
            path,
            shown,
            _lock: lock,
            found,
            before,
            document,
        })
    }

    /// Whether there was no such file before.
    #[must_use]
    pub(crate) fn is_new(&self) -> bool {
        self.found.is_none()
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// When the file does not hold its entries as `[[key]]` tables.
    pub(crate) fn append(&mut self, entry: NewEntry) -> Result<(), String> {
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
    pub(crate) fn disable(&mut self, id: &str) -> Result<(), String> {
        set(self.entry(id)?, "disabled", true);
        Ok(())
    }

    /// Puts another key's digest, and time if there is one, into an entry.
    ///
    /// # Errors
    /// When there is no such entry.
    pub(crate) fn replace(
        &mut self,
        id: &str,
        sha256: &str,
        expires: Option<&str>,
    ) -> Result<(), String> {
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
    pub(crate) fn read(&self) -> Result<Vec<ManagedKey>, String> {
        keys::parse(&self.document.to_string(), &self.shown).map_err(|error| error.to_string())
    }

    /// Puts what was changed in the place of the file, all of it or nothing.
    ///
    /// # Errors
    /// The file is as it was then, or the message says otherwise.
    pub(crate) fn write(self) -> Result<(), String> {
        self.write_by(|from, to| fs::rename(from, to))
    }

    fn write_by(self, rename: impl FnOnce(&Path, &Path) -> io::Result<()>) -> Result<(), String> {
        // A file that the gateway would not read is never written.
        self.read()?;
        let place = Place {
            path: &self.path,
            draft: &beside(&self.path, ".new"),
            found: self.found.as_ref(),
            before: self.before.as_bytes(),
        };
        place
            .put(self.document.to_string().as_bytes(), rename)
            .map_err(|error| format!("{}: cannot write it: {error}", self.shown))
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

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
#[cfg(test)]
mod tests;
