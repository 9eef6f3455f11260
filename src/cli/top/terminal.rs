//! The terminal: its own screen, keys one by one, and everything as it was at the end, after a panic too.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::page::{Line, Weight};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// `q`, Esc or Ctrl-C.
    Quit,
    /// Scroll by lines; up where negative.
    Scroll(i32),
    /// To the first line.
    First,
    /// Ctrl-Z.
    Suspend,
}

/// A terminal in use; given back when dropped.
pub(super) struct Terminal(());

/// As the terminal was.
static BEFORE: OnceLock<Termios> = OnceLock::new();
/// It is to be given back. Once: a second time the cursor would go back to where it had been.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The other screen, no cursor, no wrapping.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &[u8] = b"\x1b[?7h\x1b[?25h\x1b[?1049l";
/// A long sequence may come in parts.
const SEQUENCE: Duration = Duration::from_millis(50);
const PAGE: i32 = 10;

/// Whether both ends are terminals that can do this.
pub(super) fn is_there() -> bool {
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

impl Terminal {
    /// Takes it over.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let _ = BEFORE.set(before.clone());
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
        let terminal = Self(());
        take(before)?;
        Ok(terminal)
    }

    /// Gives it back and stops the process, as a shell's job control has it; takes it over again when that goes on.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn suspend(&self) -> io::Result<()> {
        restore();
        // Not SIGTSTP, which the kernel ignores where no shell is there that could continue the process.
        kill_process(getpid(), Signal::STOP)?;
        take(tcgetattr(io::stdin())?)
    }

    /// Columns and rows.
    pub(super) fn size() -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Puts a page in the place of the last one, in one write.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn show(&self, lines: &[Line]) -> io::Result<()> {
        // Terminals that know it show the whole page at once.
        let mut out = "\x1b[?2026h\x1b[H".to_owned();
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                out.push_str("\r\n");
            }
            let look = match line.weight {
                Weight::Plain => "",
                Weight::Strong => "\x1b[1m",
                Weight::Heading => "\x1b[7m",
                Weight::Faint => "\x1b[2m",
                Weight::Warning => "\x1b[33m",
                Weight::Alarm => "\x1b[1;31m",
            };
            // Cleared first: behind the last column it would take that column's character. The last line clears
            // all below it.
            let clear = match index + 1 < lines.len() {
                true => "\x1b[K",
                false => "\x1b[J",
            };
            for part in [clear, look, &line.text, "\x1b[0m"] {
                out.push_str(part);
            }
        }
        out.push_str("\x1b[?2026l");
        write(out.as_bytes())
    }

    /// Waits that long for keys; an error when there will be no more.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn keys(&self, wait: Duration) -> io::Result<Vec<Key>> {
        let mut pressed = [0; 64];
        if !is_readable(wait)? {
            return Ok(Vec::new());
        }
        let stdin = io::stdin();
        let mut len = rustix::io::read(&stdin, &mut pressed)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if pressed.get(..len) == Some(b"\x1b")
            && is_readable(SEQUENCE)?
            && let Some(room) = pressed.get_mut(len..)
        {
            len += rustix::io::read(&stdin, room)?;
        }
        Ok(keys(pressed.get(..len).unwrap_or_default()))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Takes over a terminal that is as it was.
fn take(mut raw: Termios) -> io::Result<()> {
    raw.make_raw();
    TAKEN.store(true, Ordering::Relaxed);
    tcsetattr(io::stdin(), OptionalActions::Flush, &raw)?;
    write(ENTER)
}

fn restore() {
    if TAKEN.swap(false, Ordering::Relaxed)
        && let Some(before) = BEFORE.get()
    {
        // There is nobody left to tell.
        let _ = write(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

fn is_readable(wait: Duration) -> io::Result<bool> {
    let stdin = io::stdin();
    let wait = Timespec::try_from(wait).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&wait)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Keys in what a terminal sends; what none of them is means nothing.
fn keys(mut bytes: &[u8]) -> Vec<Key> {
    const KNOWN: [(&[u8], Key); 15] = [
        (b"\x1b[A", Key::Scroll(-1)),
        (b"\x1bOA", Key::Scroll(-1)),
        (b"k", Key::Scroll(-1)),
        (b"\x1b[B", Key::Scroll(1)),
        (b"\x1bOB", Key::Scroll(1)),
        (b"j", Key::Scroll(1)),
        (b"\x1b[5~", Key::Scroll(-PAGE)),
        (b"\x1b[6~", Key::Scroll(PAGE)),
        (b" ", Key::Scroll(PAGE)),
        (b"\x1b[H", Key::First),
        (b"g", Key::First),
        (b"q", Key::Quit),
        (b"Q", Key::Quit),
        (b"\x03", Key::Quit),
        (b"\x1a", Key::Suspend),
    ];
    let mut keys = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        if let Some((sequence, key)) = KNOWN.iter().find(|(known, _)| bytes.starts_with(known)) {
            keys.push(*key);
            bytes = bytes.get(sequence.len()..).unwrap_or_default();
        } else if *first == 0x1b && rest.is_empty() {
            keys.push(Key::Quit);
            bytes = rest;
        } else if *first == 0x1b {
            bytes = behind_sequence(rest);
        } else {
            bytes = rest;
        }
    }
    keys
}

/// Behind an unknown sequence, whose `ESC` is gone already.
fn behind_sequence(bytes: &[u8]) -> &[u8] {
    let Some(parameters) = bytes.strip_prefix(b"[") else {
        return bytes.get(1..).unwrap_or_default();
    };
    let end = parameters
        .iter()
        .position(|byte| (0x40..=0x7e).contains(byte));
    end.and_then(|end| parameters.get(end + 1..))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        for (bytes, wanted) in [
            (&b"q"[..], &[Key::Quit][..]),
            (b"\x1b", &[Key::Quit]),
            (b"\x03", &[Key::Quit]),
            (b"\x1ag", &[Key::Suspend, Key::First]),
            (
                b"\x1b[A\x1b[Bj",
                &[Key::Scroll(-1), Key::Scroll(1), Key::Scroll(1)],
            ),
            (b"\x1b[6~\x1bOA", &[Key::Scroll(PAGE), Key::Scroll(-1)]),
            (b"x\x1b[1;5Cg", &[Key::First]),
            (b"\x1bx", &[]),
            (b"\x1b[", &[]),
            (b"\x1b[200~", &[]),
            (b"", &[]),
        ] {
            assert_eq!(keys(bytes), wanted, "{bytes:?}");
        }
    }
}
