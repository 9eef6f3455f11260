//! Puts a new keys file into the place of the old one: by a rename, or over it where it has a place of its own that
//! cannot be renamed to, as a file that is mounted into a container has.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid, fchown};
use rustix::io::Errno;

use super::lock::is_closed;
use super::paths::folder_of;

/// Where a file goes, and what is there.
pub(super) struct Place<'k> {
    pub(super) path: &'k Path,
    /// A name in the same folder, of whoever has the lock.
    pub(super) draft: &'k Path,
    /// As it was found; `None` where there is none yet.
    pub(super) found: Option<&'k Metadata>,
    /// What it held then.
    pub(super) before: &'k [u8],
}

impl Place<'_> {
    /// Puts `text` there, all of it or nothing. `rename` is the system's.
    ///
    /// # Errors
    /// The file is as it was then, or the message says where the new one is.
    pub(super) fn put(
        &self,
        text: &[u8],
        rename: impl FnOnce(&Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        let renamed = self.write_draft(text).and_then(|()| {
            self.check_unchanged()?;
            rename(self.draft, self.path)
        });
        let put = match renamed {
            Ok(()) => return sync_folder(self.path),
            Err(error) if self.is_fixed(&error) => self.overwrite(text),
            Err(error) => Err(Failure::Nothing(error)),
        };
        if let Err(Failure::Torn(error)) = put {
            // It is what is left of the new one.
            let draft = match self.draft.exists() {
                true => format!("; {} is what it was to be", self.draft.display()),
                false => String::new(),
            };
            return Err(io::Error::other(format!("{error}; it is torn{draft}")));
        }
        let _ = fs::remove_file(self.draft);
        put.map_err(|(Failure::Nothing(error) | Failure::Torn(error))| error)
    }

    fn write_draft(&self, text: &[u8]) -> io::Result<()> {
        // Left by a command that was killed: whoever holds the lock is the only one who writes it.
        match fs::remove_file(self.draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(self.draft)?;
        file.write_all(text)?;
        if let Some(found) = self.found {
            keep_owner_and_mode(&file, found)?;
        }
        file.sync_all()
    }

    /// Whether there is a file that stays where it is: a mount point, or one in a folder where nothing can be made.
    fn is_fixed(&self, error: &io::Error) -> bool {
        let code = error.raw_os_error().map(Errno::from_raw_os_error);
        let mounted = matches!(code, Some(Errno::BUSY | Errno::XDEV));
        self.found.is_some() && (mounted || is_closed(error))
    }

    /// Writes over the old one. Whoever reads it meanwhile sees the old one, the new one, or the new one and blank
    /// lines; after a crash the draft is what it was to be.
    fn overwrite(&self, text: &[u8]) -> Result<(), Failure> {
        let nothing = Failure::Nothing;
        self.check_unchanged().map_err(nothing)?;
        let file = open_to_overwrite(self.path).map_err(nothing)?;
        put_over(&file, text, self.before.len()).map_err(|error| {
            match put_over(&file, self.before, text.len()) {
                Ok(()) => nothing(error),
                Err(_) => Failure::Torn(error),
            }
        })
    }

    /// Who edits the file by hand holds no lock.
    fn check_unchanged(&self) -> io::Result<()> {
        let look = |found: &Metadata| {
            let modified = (found.mtime(), found.mtime_nsec());
            let changed = found.ctime_nsec();
            (found.dev(), found.ino(), found.len(), modified, changed)
        };
        let now = match fs::metadata(self.path) {
            Ok(now) => Some(now),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match now.as_ref().map(look) == self.found.map(look) {
            true => Ok(()),
            false => Err(io::Error::other("it was changed meanwhile; try again")),
        }
    }
}

/// What a failed attempt to overwrite has left.
enum Failure {
    /// The old file.
    Nothing(io::Error),
    /// Neither the old file nor the new one.
    Torn(io::Error),
}

fn open_to_overwrite(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        Err(Errno::ROFS) => Err(io::Error::other(
            "it is mounted read-only; mount it writable, or run this where the file is kept",
        )),
        Err(error) => Err(error.into()),
    }
}

/// Writes `text` over `old` bytes. What is left of those is blanked with the same call, and cut off behind it.
fn put_over(file: &File, text: &[u8], old: usize) -> io::Result<()> {
    let mut padded = text.to_vec();
    padded.resize(text.len().max(old), b'\n');
    file.write_all_at(&padded, 0)?;
    file.sync_data()?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// Without this a new name may be lost with the power, the file's content not.
fn sync_folder(path: &Path) -> io::Result<()> {
    let synced = File::open(folder_of(path)).and_then(|folder| Ok(rustix::fs::fsync(&folder)?));
    match synced {
        // Some file systems cannot, and none of them promises anything; some folders only let be written.
        Err(error) if is_closed(&error) || is_unable(&error) => Ok(()),
        synced => synced,
    }
}

fn is_unable(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::INVAL | Errno::NOTSUP))
}

/// A gateway that may read the file can read the new one too, and nobody else.
fn keep_owner_and_mode(file: &File, found: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (found.uid(), found.gid()) {
        let (uid, gid) = (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()));
        fchown(file.as_fd(), Some(uid), Some(gid)).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("cannot keep its owner: {error}"))
        })?;
    }
    file.set_permissions(fs::Permissions::from_mode(found.mode() & 0o7777))
}
