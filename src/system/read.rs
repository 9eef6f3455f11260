//! Reads the files that an operator names: none longer than a limit, and without waiting for ever where one is no
//! file but a pipe that nobody writes into, or one into which somebody writes all the time.

use std::fs::{File, FileType, Metadata};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// Most bytes of a configuration file, of `.env`, and of a file with a secret or with certificates.
pub(crate) const SETTINGS_BYTES_MAX: u64 = 4 << 20;

/// Most bytes of a keys file, which are some hundreds of thousands of keys.
pub(crate) const KEYS_BYTES_MAX: u64 = 64 << 20;

/// How long a pipe has to come to its end.
const PIPE_TIME: Duration = Duration::from_secs(3);

/// Reads a file, or a pipe as in `--config <(make-config)`.
///
/// # Errors
/// When it is longer than [`SETTINGS_BYTES_MAX`], or a pipe that does not come to its end within three seconds.
pub(crate) fn settings(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let found = file.metadata()?;
    let limit = Limit(SETTINGS_BYTES_MAX);
    match found.is_file() {
        true => limit.read(&file, &found),
        false => limit.read_pipe(&file),
    }
}

/// Reads a file with certificates or a key.
///
/// # Errors
/// When it is no file, which another reload could not read again, or longer than [`SETTINGS_BYTES_MAX`].
pub(crate) fn pem(path: &Path) -> io::Result<Vec<u8>> {
    let (file, found) = regular(path)?;
    Limit(SETTINGS_BYTES_MAX).read(&file, &found)
}

/// Reads a file that can be looked at again, and how it was found.
///
/// # Errors
/// When it is none, or longer than [`KEYS_BYTES_MAX`].
pub(crate) fn keys(path: &Path) -> io::Result<(String, Metadata)> {
    let (file, found) = regular(path)?;
    let content = Limit(KEYS_BYTES_MAX).read(&file, &found)?;
    let content =
        String::from_utf8(content).map_err(|_| io::Error::other("expected UTF-8 text"))?;
    Ok((content, found))
}

/// Without waiting for whoever may be at the other end, and without making a terminal ours.
///
/// # Errors
/// As the system's.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

/// A file that can be read again.
fn regular(path: &Path) -> io::Result<(File, Metadata)> {
    // A socket and a device that is not there cannot even be opened.
    let no_device = |error: &io::Error| error.raw_os_error() == Some(Errno::NXIO.raw_os_error());
    let file = open(path).map_err(|error| match std::fs::metadata(path) {
        Ok(found) if no_device(&error) => irregular(found.file_type()),
        _ => error,
    })?;
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found)),
        false => Err(irregular(found.file_type())),
    }
}

fn irregular(found: FileType) -> io::Error {
    let kind = match () {
        () if found.is_fifo() => "a pipe",
        () if found.is_socket() => "a socket",
        () if found.is_dir() => "a folder",
        () => "a device",
    };
    io::Error::other(format!("it is {kind}; expected a regular file"))
}

/// Most bytes.
struct Limit(u64);

impl Limit {
    fn read(&self, file: &File, found: &Metadata) -> io::Result<Vec<u8>> {
        self.check(found.len())?;
        let mut content = Vec::new();
        // It may have grown since; one byte more shows that.
        file.take(self.0 + 1).read_to_end(&mut content)?;
        self.check(content.len() as u64)?;
        Ok(content)
    }

    fn read_pipe(&self, mut file: &File) -> io::Result<Vec<u8>> {
        let end = Instant::now() + PIPE_TIME;
        let (mut content, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            wait(file, end)?;
            match file.read(&mut piece) {
                Ok(0) => return Ok(content),
                Ok(bytes) => content.extend_from_slice(piece.get(..bytes).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.check(content.len() as u64)?;
        }
    }

    fn check(&self, bytes: u64) -> io::Result<()> {
        match bytes <= self.0 {
            true => Ok(()),
            false => {
                let message = format!("expected at most {} MiB", self.0 >> 20);
                Err(io::Error::other(message))
            }
        }
    }
}

/// Waits until something can be read, be it the end.
fn wait(file: &File, end: Instant) -> io::Result<()> {
    let left = end.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut fds = [PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN)];
    // There may be something to read all the time.
    if !left.is_zero() && rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)))? > 0 {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "it is no regular file, and did not come to its end within {} s",
        PIPE_TIME.as_secs()
    )))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    use super::*;

    /// A pipe's reading end by name, as a shell's `<(…)` gives it.
    fn named(reader: &impl std::os::fd::AsRawFd) -> std::path::PathBuf {
        format!("/proc/self/fd/{}", reader.as_raw_fd()).into()
    }

    #[test]
    fn pipes_are_read_to_their_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"one").unwrap();
        let path = named(&reader);
        let read = std::thread::spawn(move || settings(&path).unwrap());
        writer.write_all(b"two").unwrap();
        drop(writer);
        assert_eq!(read.join().unwrap(), b"onetwo");
        assert!(keys(&named(&reader)).is_err());
        assert_eq!(settings(Path::new("/dev/null")).unwrap(), b"");
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let error = settings(Path::new("/dev/zero")).unwrap_err().to_string();
        assert_eq!(error, "expected at most 4 MiB");
        for (no_file, kind) in [
            ("/dev/zero", "a device"),
            ("/dev/null", "a device"),
            ("/", "a folder"),
        ] {
            let path = Path::new(no_file);
            let wanted = format!("it is {kind}; expected a regular file");
            assert_eq!(keys(path).unwrap_err().to_string(), wanted, "{no_file}");
            assert_eq!(pem(path).unwrap_err().to_string(), wanted, "{no_file}");
        }
        let folder = settings(Path::new("/")).unwrap_err();
        assert_eq!(folder.kind(), io::ErrorKind::IsADirectory);
        let (reader, mut writer) = io::pipe().unwrap();
        let error = pem(&named(&reader)).unwrap_err().to_string();
        assert_eq!(error, "it is a pipe; expected a regular file");
        writer.write_all(b"without end").unwrap();
        let past = Instant::now();
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        assert!(reader.as_raw_fd() > 0 && wait(&reader, past).is_err());
    }

    #[test]
    fn long_files_are_refused_before_they_are_read() {
        let path = std::env::temp_dir().join(format!("read-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        for (bytes, is_read) in [(SETTINGS_BYTES_MAX, true), (SETTINGS_BYTES_MAX + 1, false)] {
            file.set_len(bytes).unwrap();
            assert_eq!(settings(&path).is_ok(), is_read, "{bytes}");
        }
        file.set_len(KEYS_BYTES_MAX + 1).unwrap();
        let error = keys(&path).unwrap_err().to_string();
        assert_eq!(error, "expected at most 64 MiB");
        std::fs::remove_file(&path).unwrap();
    }
}
