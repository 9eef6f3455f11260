//! A terminal that a program is run on.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::PATIENCE;

/// A terminal, with all that was ever written to it.
pub(crate) struct Screen {
    keys: File,
    pub(crate) tty: OwnedFd,
    /// What was not waited for yet, and all of it.
    written: Arc<(Mutex<(String, String)>, Condvar)>,
    pub(crate) child: Child,
}

impl Screen {
    /// Runs a command on it, with all three of its streams.
    pub(crate) fn start(mut command: Command) -> Self {
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let name = ptsname(&keys, Vec::new()).unwrap().into_string().unwrap();
        let tty = File::options().read(true).write(true).open(name).unwrap();
        let end = || Stdio::from(tty.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        resize(&tty, 100, 30);
        let child = command.spawn().unwrap();
        let keys = File::from(keys);
        let written = Arc::<(Mutex<(String, String)>, Condvar)>::default();
        let (mut from, into) = (keys.try_clone().unwrap(), written.clone());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = from.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
                let mut written = into.0.lock().unwrap();
                written.0.push_str(&text);
                written.1.push_str(&text);
                drop(written);
                into.1.notify_all();
            }
        });
        let tty = tty.into();
        Self {
            keys,
            tty,
            written,
            child,
        }
    }

    /// Waits for a text behind everything that was waited for before.
    #[track_caller]
    pub(crate) fn wait(&self, wanted: &str) {
        let until = Instant::now() + PATIENCE;
        let mut written = self.written.0.lock().unwrap();
        loop {
            if let Some(at) = written.0.find(wanted) {
                written.0.drain(..at + wanted.len());
                return;
            }
            let left = until.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("no {wanted:?} in {:?}", written.0));
            written = self.written.1.wait_timeout(written, left).unwrap().0;
        }
    }

    /// All that was written.
    pub(crate) fn seen(&self) -> String {
        self.written.0.lock().unwrap().1.clone()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub(crate) fn is_raw(&self) -> bool {
        !tcgetattr(&self.tty)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    }

    /// Waits for its end, which leaves the terminal as it was.
    #[track_caller]
    pub(crate) fn quits(mut self) {
        self.wait("\x1b[?1049l");
        assert!(self.child.wait().unwrap().success());
        assert!(!self.is_raw());
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn resize(tty: impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(tty, size).unwrap();
}
