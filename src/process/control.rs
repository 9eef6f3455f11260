//! The socket on which operators' commands (`sluicegate providers`) reach a running gateway, off the data path: threads of
//! its own take what is said, the main thread does it.
//!
//! A command sends one line and is sent one. Mode and the kernel's word for who asks let in the process's own account and
//! root; still nothing that a peer does costs more than one of few threads for a few seconds.

pub(crate) mod answer;
pub(crate) mod naming;
pub(crate) mod request;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, fchmod};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::geteuid;

use crate::base::bytes::within;
use crate::net::sockets::dial::{Bound, Socket, Timed};
use crate::process::listen;
use crate::system::confine::{self, Rules};

use answer::Answer;
use request::{LINE_BYTES_MAX, Request};

/// How long one connection may take, from its begin to its end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once; others are told to come again.
const CONNECTIONS_MAX: usize = 4;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;
/// How long none is accepted after the system had no descriptor for one.
const SHORTAGE: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Who is asked: called by several threads, at most [`CONNECTIONS_MAX`] at once.
pub(crate) type Obey = Arc<dyn Fn(Request) -> Answer + Send + Sync>;

/// The socket, as a process has it.
pub(crate) struct Control {
    place: Place,
    /// The thread that accepts ends with it.
    serving: Option<OwnedFd>,
}

/// A socket that is listened on, and its file.
pub(crate) struct Place {
    /// It listens; other processes may do so too.
    pub(crate) socket: OwnedFd,
    /// The file's path.
    pub(crate) path: PathBuf,
    /// Device and number of the file: another one there is somebody else's.
    file: Option<(u64, u64)>,
}

impl Place {
    /// A socket that another process made.
    #[must_use]
    pub(crate) fn inherited(socket: OwnedFd, path: PathBuf) -> Self {
        let file = file(&path);
        Self { socket, path, file }
    }

    /// Listens at a path, where only this account and root may connect.
    fn bind(path: &Path) -> io::Result<Self> {
        // The file gets the mode that the socket has when it is made, so nobody else gets in before it is changed.
        let private = |socket: BorrowedFd<'_>| fchmod(socket, Mode::RUSR | Mode::WUSR);
        let socket = listen::bind_unix(path, BACKLOG, private)?;
        let file = file(path);
        Ok(Self {
            socket,
            path: path.to_owned(),
            file,
        })
    }

    /// Removes the file, unless there is another one by now.
    pub(crate) fn remove(&self) {
        if self.file.is_some() && file(&self.path) == self.file {
            // What cannot be removed is taken for stale by whoever comes next.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn file(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

impl Control {
    /// Listens where the configuration says so, if anywhere, on what was `inherited` if that is there; and what was
    /// inherited and is of no use, to be removed once the process that left it is succeeded.
    ///
    /// # Errors
    /// A message that names the path.
    pub(crate) fn open(
        path: Option<&Path>,
        inherited: Option<Place>,
    ) -> Result<(Option<Self>, Option<Place>), String> {
        let is_here = |place: &Place| Some(&*place.path) == path;
        let (here, elsewhere) = match inherited.as_ref().is_some_and(is_here) {
            true => (inherited, None),
            false => (None, inherited),
        };
        let Some(path) = path else {
            return Ok((None, elsewhere));
        };
        let bound = here.map_or_else(|| Place::bind(path), Ok);
        let place = bound.map_err(|error| {
            format!(
                "server.control: cannot listen on {}: {error}",
                path.display()
            )
        })?;
        let serving = None;
        Ok((Some(Self { place, serving }), elsewhere))
    }

    /// Takes commands from now on, on threads that are confined by `rules`.
    ///
    /// # Errors
    /// When a thread cannot be started, or there is no descriptor left.
    pub(crate) fn serve(&mut self, rules: Rules, obey: Obey) -> io::Result<()> {
        let socket = self.place.socket.try_clone()?;
        let (end, serving) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread = Builder::new().name("control".into());
        confine::spawn(thread, rules, move || accept(&socket, &end, &obey))?;
        self.serving = Some(serving);
        Ok(())
    }

    /// What a successor is given.
    #[must_use]
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Takes no more commands; a successor does.
    pub(crate) fn leave(self) {}

    /// Takes no more commands, and nobody else does.
    pub(crate) fn close(self) {
        self.place.remove();
    }
}

/// Accepts until the other side of `end` is closed.
fn accept(socket: &OwnedFd, end: &OwnedFd, obey: &Obey) {
    let open = Arc::new(AtomicUsize::new(0));
    let is_over = |patience: Option<&Timespec>, with: Option<&OwnedFd>| {
        let ends = [Some(end), with].into_iter().flatten();
        let mut watched: Vec<_> = ends.map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        match poll(&mut watched, patience) {
            Err(Errno::INTR) => false,
            Err(_) => true,
            Ok(_) => watched.first().is_none_or(|end| !end.revents().is_empty()),
        }
    };
    while !is_over(None, Some(socket)) {
        match accept_with(socket, SocketFlags::CLOEXEC) {
            Ok(stream) => begin(stream, &open, obey),
            // Another process that listens here took it, or it has gone.
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => {}
            Err(_) => {
                if is_over(Some(&SHORTAGE), None) {
                    return;
                }
            }
        }
    }
}

/// A connection that counts until this is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    /// `None` where there are enough.
    fn one_more(of: &Arc<AtomicUsize>) -> Option<Self> {
        let before = of.fetch_add(1, Ordering::Relaxed);
        let open = Self(of.clone());
        (before < CONNECTIONS_MAX).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn begin(stream: OwnedFd, open: &Arc<AtomicUsize>, obey: &Obey) {
    let stream = UnixStream::from(stream);
    // An answer this short fits in the socket.
    let turn_away = |mut stream: &UnixStream, answer: Answer| {
        let _ = stream.set_nonblocking(true);
        let _ = stream.write_all(answer.line().as_bytes());
    };
    if !is_let_in(stream.as_fd()) {
        let why = "this socket is for the gateway's own account and root".to_owned();
        return turn_away(&stream, Answer::Refused { why });
    }
    let Some(counted) = Open::one_more(open) else {
        return turn_away(&stream, Answer::Again);
    };
    let obey = obey.clone();
    let thread = Builder::new().name("command".into());
    // Where there is no thread for it, the asker sees its connection end.
    let _ = thread.spawn(move || {
        let _counted = counted;
        let _ = converse(stream, &obey);
    });
}

/// Whether the kernel says that it is this process's account, or root.
fn is_let_in(peer: BorrowedFd<'_>) -> bool {
    sockopt::socket_peercred(peer).is_ok_and(|peer| peer.uid == geteuid() || peer.uid.is_root())
}

/// Takes one line and answers it.
fn converse(stream: UnixStream, obey: &Obey) -> io::Result<()> {
    let mut stream = Timed::new(Socket::Unix(stream), Bound::of(PATIENCE));
    let mut line = Vec::new();
    let mut piece = [0; 512];
    let end = loop {
        if let Some(end) = memchr::memchr(b'\n', &line) {
            break end;
        }
        let read = match line.len() < LINE_BYTES_MAX {
            true => stream.read(&mut piece)?,
            false => 0,
        };
        if read == 0 {
            return Ok(());
        }
        line.extend_from_slice(within(&piece, ..read));
    };
    line.truncate(end);
    let answer = match Request::read(&line) {
        Some(request) => obey(request),
        None => Answer::Refused {
            why: "this gateway does not know that command; it may be of another version".to_owned(),
        },
    };
    stream.write_all(answer.line().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("sluicegate-control-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn opened(path: &Path) -> Result<Control, String> {
        Control::open(Some(path), None).map(|(control, _)| control.unwrap())
    }

    #[test]
    fn it_is_private_and_takes_the_place_of_a_stale_one_only() {
        let folder = folder("place");
        let path = folder.join("c.sock");
        let control = opened(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let busy = opened(&path).err().unwrap();
        assert!(busy.contains("c.sock: Address"), "{busy}");
        drop(control);
        let next = opened(&path).unwrap();
        // A file that somebody else has put there stays.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        next.close();
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let other = opened(&path).err().unwrap();
        assert!(other.contains("no socket"), "{other}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_inherited_is_used_or_removed_when_it_is_of_no_use() {
        let folder = folder("inherited");
        let (one, two) = (folder.join("1"), folder.join("2"));
        let handed = |control: &Control| {
            let socket = control.place().socket.try_clone().unwrap();
            Some(Place::inherited(socket, control.place().path.clone()))
        };
        let first = opened(&one).unwrap();
        let (same, former) = Control::open(Some(&one), handed(&first)).unwrap();
        let same = same.unwrap();
        assert!(former.is_none());
        first.leave();
        let (elsewhere, former) = Control::open(Some(&two), handed(&same)).unwrap();
        let elsewhere = elsewhere.unwrap();
        same.leave();
        assert!(one.exists() && two.exists());
        former.unwrap().remove();
        assert!(!one.exists());
        let (none, former) = Control::open(None, handed(&elsewhere)).unwrap();
        assert!(none.is_none() && two.exists());
        former.unwrap().remove();
        assert!(!two.exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn each_connection_is_answered_once_and_too_many_are_told_to_come_again() {
        let folder = folder("serve");
        let path = folder.join("c.sock");
        let mut control = opened(&path).unwrap();
        let obey: Obey = Arc::new(|request| Answer::Refused {
            why: format!("{request:?}"),
        });
        control.serve(Rules::default(), obey).unwrap();
        let ask = |line: &[u8]| {
            let mut stream = UnixStream::connect(&path).unwrap();
            // It may be turned away before.
            let _ = stream.write_all(line);
            let mut answer = String::new();
            let _ = io::BufReader::new(stream).read_line(&mut answer);
            answer
        };
        assert!(ask(b"list\nlist\n").contains("List"));
        assert!(ask(b"nonsense\n").contains("does not know"));
        assert_eq!(ask(&[b'a'; 2 * LINE_BYTES_MAX]), "");
        let silent: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|_| UnixStream::connect(&path).unwrap())
            .collect();
        while !ask(b"list\n").contains("again") {}
        drop(silent);
        while !ask(b"list\n").contains("List") {}
        control.close();
        assert!(UnixStream::connect(&path).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
