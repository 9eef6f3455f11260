//! A descriptor that takes lines. Nobody waits for it: lines are held until it has room, up to
//! [`HELD_BYTES`], and what it does not take is lost and counted. Lines of anybody's requests are held up to
//! [`ANYBODYS_BYTES`] only, so that there is room for others.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno;

use super::tally::Tally;

/// Lines on their way to a descriptor.
pub(super) struct Outlet {
    to: Descriptor,
    /// It always has room, or an error.
    is_file: bool,
    lines: Vec<u8>,
    /// The last write ended within a line that is lost.
    torn: bool,
    /// Lines are lost; until all that are held are written.
    failing: bool,
}

enum Descriptor {
    /// Standard output or error, which others may have too.
    Standard(BorrowedFd<'static>),
    Own(File),
}

/// Lines that wait for a reader.
const HELD_BYTES: usize = 256 * 1024;
/// With this much, no more of anybody's wait for one.
const ANYBODYS_BYTES: usize = HELD_BYTES / 2;
/// What a pipe, a socket or a terminal that has room takes without waiting.
const PIPE_BYTES: usize = 4096;
/// A buffer that held more once does not stay so large.
const KEPT_BYTES: usize = 128 * 1024;

impl Outlet {
    pub(super) fn stdout() -> Self {
        Self::of(Descriptor::Standard(rustix::stdio::stdout()))
    }

    pub(super) fn stderr() -> Self {
        Self::of(Descriptor::Standard(rustix::stdio::stderr()))
    }

    /// # Errors
    /// When lines cannot be appended to it. Nobody waits for anything.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self::of(Descriptor::Own(open(path)?)))
    }

    fn of(to: Descriptor) -> Self {
        Self {
            is_file: is_file(to.as_fd()),
            to,
            lines: Vec::new(),
            torn: false,
            failing: false,
        }
    }

    /// Goes on with another one, which gets what waits.
    pub(super) fn replace(&mut self, mut new: Self) {
        new.lines = std::mem::take(&mut self.lines);
        new.failing = self.failing && new.is_waiting();
        *self = new;
    }

    /// Whether lines are lost.
    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Whether lines wait to be written.
    pub(super) fn is_waiting(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Takes a line for the next [`write`](Self::write), where there is room for it.
    ///
    /// # Errors
    /// When it is lost, and none was before it.
    pub(super) fn push(&mut self, line: &[u8], tally: &Tally) -> io::Result<()> {
        if self.hold(line, HELD_BYTES) {
            return Ok(());
        }
        tally.lose(1);
        self.fail()
    }

    /// As [`push`](Self::push), but leaves room for others.
    ///
    /// # Errors
    /// As there.
    pub(super) fn push_anybodys(&mut self, line: &[u8], tally: &Tally) -> io::Result<()> {
        if self.hold(line, ANYBODYS_BYTES) {
            return Ok(());
        }
        tally.shed();
        self.fail()
    }

    /// Whether it is held: not beyond this many bytes.
    fn hold(&mut self, line: &[u8], bytes_max: usize) -> bool {
        let held = self.lines.len() + line.len() <= bytes_max;
        if held {
            self.lines.extend_from_slice(line);
        }
        held
    }

    fn fail(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.failing, true) {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it")),
        }
    }

    /// Writes as much of what waits as there is room for.
    ///
    /// # Errors
    /// When it fails, and has not failed before; all that waited is lost and counted then.
    pub(super) fn write(&mut self, tally: &Tally) -> io::Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let mut paced = Paced {
            is_file: self.is_file,
            to: self.to.as_fd(),
        };
        let torn = self.torn;
        let (written, result) = write_all(&mut paced, &mut self.torn, &self.lines);
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.lines.drain(..written);
            return Ok(());
        }
        let (done, rest) = self.lines.split_at_checked(written).unwrap_or_default();
        if !rest.is_empty() {
            let count = rest.iter().filter(|byte| **byte == b'\n').count();
            tally.lose(count as u64);
            self.torn = done.last().map_or(torn, |byte| *byte != b'\n');
        }
        self.lines.clear();
        self.lines.shrink_to(KEPT_BYTES);
        match std::mem::replace(&mut self.failing, result.is_err()) {
            true => Ok(()),
            false => result,
        }
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Standard(fd) => *fd,
            Self::Own(file) => file.as_fd(),
        }
    }
}

/// Writes only where there is room, whether the descriptor would block or not: those of others are not ours to
/// change.
struct Paced<'a> {
    to: BorrowedFd<'a>,
    is_file: bool,
}

impl Write for Paced<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_file {
            return Ok(rustix::io::write(self.to, bytes)?);
        }
        let mut watched = [PollFd::new(&self.to, PollFlags::OUT)];
        if poll(&mut watched, Some(&Timespec::default()))? == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = bytes.get(..PIPE_BYTES).unwrap_or(bytes);
        Ok(rustix::io::write(self.to, taken)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_file(fd: BorrowedFd<'_>) -> bool {
    fstat(fd).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile)
}

/// Writes `lines`, on a line of their own where the last one was `torn`; how much of them was written.
fn write_all(to: &mut impl Write, torn: &mut bool, lines: &[u8]) -> (usize, io::Result<()>) {
    if *torn && let Err(error) = to.write_all(b"\n") {
        return (0, Err(error));
    }
    *torn = false;
    let mut written = 0;
    while let Some(rest) = lines.get(written..)
        && !rest.is_empty()
    {
        match to.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

/// Appends, and is readable to its owner and group only: paths and addresses are nobody else's business. A FIFO
/// without a reader is refused rather than waited for, and no terminal becomes this process's own.
fn open(path: &Path) -> io::Result<File> {
    let append = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC;
    let flags = append | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    let opened = rustix::fs::open(path, flags, mode).map_err(|error| named(path, error));
    let file = File::from(opened?);
    if file.metadata()?.file_type().is_block_device() {
        let message = format!("{} (log.file): a block device; {EXPECTED}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(file)
}

const EXPECTED: &str = "expected a file, a FIFO with a reader or a character device";

fn named(path: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    let found = std::fs::metadata(path).map(|found| found.file_type());
    let why = match found {
        Ok(found) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {
            let what = match (found.is_fifo(), found.is_socket()) {
                (true, _) => "a FIFO that nobody reads",
                (_, true) => "a socket",
                _ => "a device that is not there",
            };
            format!("{what}; {EXPECTED}")
        }
        _ => error.to_string(),
    };
    io::Error::new(
        error.kind(),
        format!("{} (log.file): {why}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// Takes this many bytes, then fails.
    struct Full(usize, Vec<u8>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let n = bytes.len().min(self.0);
            self.0 -= n;
            self.1.extend_from_slice(&bytes[..n]);
            if n == 0 {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(n)
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_says_how_much_was_written() {
        let mut full = Full(6, Vec::new());
        let (written, result) = write_all(&mut full, &mut false, b"one\ntwo\n");
        assert_eq!((written, result.is_err()), (6, true));
        full.0 = 100;
        let (written, result) = write_all(&mut full, &mut true, b"three\n");
        assert_eq!((written, result.is_ok()), (6, true));
        assert_eq!(full.1, b"one\ntw\nthree\n");
    }

    #[test]
    fn what_a_reader_does_not_take_is_lost_and_what_comes_later_is_whole() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut outlet = Outlet::of(Descriptor::Own(writer.into()));
        let tally = Tally::default();
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let mut complaints = Vec::new();
        for _ in 0..10_000 {
            complaints.extend(outlet.push(&line, &tally).err());
            outlet.write(&tally).unwrap();
        }
        // Said once.
        assert_eq!(complaints.len(), 1);
        assert!(outlet.is_failing() && outlet.is_waiting());
        let lost_lines = tally.lost.load(Ordering::Relaxed);
        assert!((1..10_000).contains(&lost_lines));
        let (mut taken, mut room) = (Vec::new(), vec![0; 1 << 20]);
        let mut read = || {
            let n = rustix::io::read(&reader, &mut room).unwrap();
            taken.extend_from_slice(&room[..n]);
            n
        };
        while outlet.is_waiting() {
            read();
            outlet.write(&tally).unwrap();
        }
        assert!(!outlet.is_failing());
        read();
        outlet.push(b"later\n", &tally).unwrap();
        outlet.write(&tally).unwrap();
        drop(outlet);
        while read() > 0 {}
        let kept = usize::try_from(10_000 - lost_lines).unwrap();
        assert_eq!(taken, [line.repeat(kept), b"later\n".to_vec()].concat());
    }

    #[test]
    fn lines_of_anybody_leave_half_of_the_room_to_others() {
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let mut outlet = Outlet::of(Descriptor::Own(writer.into()));
        let tally = Tally::default();
        let figures = || {
            let load = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
            (load(&tally.lost), load(&tally.shed))
        };
        let line = [b'x'; 1024];
        let complaints = (0..200).filter(|_| outlet.push_anybodys(&line, &tally).is_err());
        assert_eq!(complaints.count(), 1, "said once");
        assert_eq!(figures(), (200 - 128, 200 - 128));
        for _ in 0..128 {
            outlet.push(&line, &tally).unwrap();
        }
        assert_eq!(figures(), (200 - 128, 200 - 128), "none of others' is lost");
        outlet.push(&line, &tally).unwrap();
        assert_eq!(figures(), (200 - 127, 200 - 128));
    }

    #[test]
    fn an_error_loses_what_waits_and_is_said_once() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut outlet = Outlet::of(Descriptor::Own(full));
        let tally = Tally::default();
        for (round, fails) in [(1, true), (2, false)] {
            outlet.push(b"one\ntwo\n", &tally).unwrap();
            assert_eq!(outlet.write(&tally).is_err(), fails);
            assert!(outlet.is_failing() && !outlet.is_waiting());
            assert_eq!(tally.lost.load(Ordering::Relaxed), 2 * round);
        }
    }
}
