//! The lock on a keys file: one on a file beside it that its owner alone can open, so that nobody else can hold it.
//!
//! Not on the keys file itself, which is replaced, so that whoever waits would get hold of the old one; nor on the
//! folder, which everybody may be able to open. The file stays: one that is taken away is locked by nobody.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Gid, Mode, OFlags, Uid, fchmod, fchown, flock};
use rustix::io::Errno;
use rustix::process::geteuid;

use crate::system::read;

use super::paths::{beside, folder_of};

/// How long another command has to end.
pub(super) const LOCK_TIME: Duration = Duration::from_secs(10);
/// How often it is tried meanwhile.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// Held while it exists, and by nobody once the process has ended.
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for at most `time` until nobody else has the lock on the keys file at `path`; calls `waiting` if that
    /// takes its time.
    ///
    /// # Errors
    /// Names the file that is locked, and what is wrong with it.
    pub(super) fn take(
        path: &Path,
        time: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Self, String> {
        let until = Instant::now() + time;
        let own = beside(path, ".lock");
        let mut waiting = Some(waiting);
        loop {
            let (name, opened) = match open_own(&own, path) {
                // Nothing can be made in this folder, so the keys file is not replaced either, but overwritten.
                Err(error) if is_closed(&error) && !exists(&own) && path.exists() => {
                    (path, read::open(path))
                }
                opened => (&*own, opened),
            };
            let failed = |error: io::Error| format!("{}: cannot lock it: {error}", name.display());
            let file = opened.map_err(failed)?;
            let locked = try_lock(&file).map_err(failed)?;
            // One that was replaced or taken away while it was waited for is not the one that others lock.
            let now = fs::symlink_metadata(name).ok();
            if locked && now.is_some_and(|now| is_same(&file, &now)) {
                return Ok(Self { _file: file });
            }
            if let Some(waiting) = waiting.take_if(|_| !locked) {
                waiting();
            }
            if Instant::now() >= until {
                return Err(failed(io::Error::other(format!(
                    "another process has had it for {} s; lsof or fuser tells which",
                    time.as_secs()
                ))));
            }
            pause();
        }
    }
}

/// Opens the lock's own file, and makes it where there is none. One that others could have open is refused.
fn open_own(own: &Path, keys: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY
        | OFlags::CLOEXEC;
    let private = Mode::RUSR | Mode::WUSR;
    let file = match rustix::fs::open(own, flags, private) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(refusal("it is a link")),
        Err(Errno::ACCESS | Errno::PERM) if exists(own) => {
            return Err(refusal("it belongs to somebody else"));
        }
        Err(error) => return Err(error.into()),
    };
    let found = file.metadata()?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(refusal("it is no file of its own"));
    }
    let keys_owner = { fs::metadata(keys).ok() }.map(|keys| (keys.uid(), keys.gid()));
    let me = geteuid().as_raw();
    let trusted = [
        Some(me),
        keys_owner.map(|owner| owner.0),
        { fs::metadata(folder_of(keys)).ok() }.map(|folder| folder.uid()),
    ];
    if !trusted.contains(&Some(found.uid())) {
        return Err(refusal("it belongs to somebody else"));
    }
    if found.mode() & 0o077 != 0 {
        fchmod(&file, private)?;
    }
    // Whoever owns the keys file shall be able to change it, also after an administrator did.
    if let Some((uid, gid)) = keys_owner.filter(|owner| me == 0 && owner.0 != found.uid()) {
        let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchown(file.as_fd(), owner.0, owner.1)?;
    }
    Ok(file)
}

fn refusal(what: &str) -> io::Error {
    io::Error::other(format!("{what}; expected one's own, so remove it"))
}

/// Whether an error says that nothing can be made in a folder.
pub(super) fn is_closed(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn try_lock(file: &File) -> io::Result<bool> {
    let lock = || flock(file, FlockOperation::NonBlockingLockExclusive);
    match rustix::io::retry_on_intr(lock) {
        Err(Errno::WOULDBLOCK) => Ok(false),
        locked => Ok(locked.map(|()| true)?),
    }
}

fn is_same(file: &File, now: &Metadata) -> bool {
    let id = |found: &Metadata| (found.dev(), found.ino());
    file.metadata().is_ok_and(|found| id(&found) == id(now))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a command that has nothing else to do"
)]
fn pause() {
    std::thread::sleep(LOCK_AGAIN);
}

#[cfg(test)]
mod tests;
