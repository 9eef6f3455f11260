//! Who may have the lock, and for how long others wait for it.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lock-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("keys.toml"), "").unwrap();
        Self(path)
    }

    fn keys(&self) -> PathBuf {
        self.0.join("keys.toml")
    }

    fn own(&self) -> PathBuf {
        self.0.join(".keys.toml.lock")
    }

    fn take(&self) -> Result<Lock, String> {
        Lock::take(&self.keys(), Duration::ZERO, || {})
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn one_holds_it_and_another_is_told() {
    let folder = Folder::new("held");
    let held = folder.take().unwrap();
    let mode = fs::metadata(folder.own()).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let mut waited = 0;
    let error = Lock::take(&folder.keys(), LOCK_AGAIN, || waited += 1)
        .err()
        .unwrap();
    assert_eq!(waited, 1);
    assert!(
        error.contains(".keys.toml.lock: cannot lock it: another process"),
        "{error}"
    );
    drop(held);
    folder.take().unwrap();
}

/// Whoever may look into the folder, or even read the keys file, holds nobody up.
#[test]
fn what_others_can_open_is_not_locked() {
    let folder = Folder::new("others");
    let open = [&folder.0, &folder.keys()].map(|path| File::open(path).unwrap());
    assert!(open.iter().all(|file| try_lock(file).unwrap()));
    folder.take().unwrap();
    // One of an earlier version, or of a careless copy.
    fs::set_permissions(folder.own(), fs::Permissions::from_mode(0o666)).unwrap();
    folder.take().unwrap();
    assert_eq!(fs::metadata(folder.own()).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn what_is_not_ones_own_is_refused() {
    let folder = Folder::new("foreign");
    let elsewhere = folder.0.join("elsewhere");
    let refused = |expected: &str| {
        let error = folder.take().err().unwrap();
        assert!(
            error.contains(expected) && error.contains("remove it"),
            "{error}"
        );
    };
    symlink(&elsewhere, folder.own()).unwrap();
    refused("it is a link");
    assert!(!elsewhere.exists(), "nothing is made where it leads");
    fs::remove_file(folder.own()).unwrap();
    fs::write(&elsewhere, "").unwrap();
    fs::hard_link(&elsewhere, folder.own()).unwrap();
    refused("it is no file of its own");
    fs::remove_file(folder.own()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        folder.own(),
        rustix::fs::FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
    refused("it ");
    fs::remove_file(folder.own()).unwrap();
    fs::create_dir(folder.own()).unwrap();
    assert!(folder.take().is_err());
    fs::remove_dir(folder.own()).unwrap();
    if geteuid().is_root() {
        fs::write(folder.own(), "").unwrap();
        std::os::unix::fs::chown(folder.own(), Some(4242), Some(4242)).unwrap();
        refused("it belongs to somebody else");
        // Its owner may have made it where the keys file is his.
        std::os::unix::fs::chown(folder.keys(), Some(4242), Some(4242)).unwrap();
        folder.take().unwrap();
        fs::remove_file(folder.own()).unwrap();
        // And an administrator leaves him one that he can open.
        folder.take().unwrap();
        assert_eq!(fs::metadata(folder.own()).unwrap().uid(), 4242);
    }
}

#[test]
fn one_that_was_taken_away_is_held_by_nobody() {
    let folder = Folder::new("away");
    let _held = folder.take().unwrap();
    fs::remove_file(folder.own()).unwrap();
    let _again = folder.take().unwrap();
    assert!(folder.take().is_err());
}
