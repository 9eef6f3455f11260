//! A socket and what it has not taken yet, with TLS above it or without.

use std::io::{self, IoSlice};

use crate::base::bytes::{within, within_mut};

use super::scratch::{BULK_BYTES_MAX, RECEIVE_BYTES_MAX};
use crate::net::sockets::socket::{Received, Socket};

/// See the module's documentation.
pub struct PlainStream {
    /// The socket.
    pub socket: Socket,
    kept: Kept,
    /// See [`has_sent`](Self::has_sent).
    moved: bool,
    /// How many receives in a row brought all that one brings at first.
    full: u8,
}

/// What is kept of that which was to be sent.
#[derive(Default)]
enum Kept {
    #[default]
    Nothing,
    /// It waits for company.
    Holding(Vec<u8>),
    /// The kernel has not taken it yet, but for the first `sent` bytes.
    Unsent { bytes: Vec<u8>, sent: usize },
}

impl Kept {
    /// Nothing that is kept is empty, or was sent already.
    fn invariants(&self) {
        match self {
            Self::Nothing => {}
            Self::Holding(bytes) => debug_assert!(!bytes.is_empty(), "nothing is held"),
            Self::Unsent { bytes, sent } => {
                debug_assert!(*sent < bytes.len(), "{sent} of {} bytes", bytes.len());
            }
        }
    }
}

/// From this many full receives in a row on, more is received at once: what is small, or comes no faster than it
/// leaves, does not take as much memory at its worst.
const FULL_FOR_BULK: u8 = 4;

impl PlainStream {
    /// Nothing is kept at first.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            kept: Kept::Nothing,
            moved: false,
            full: 0,
        }
    }

    /// One receive, of up to [`RECEIVE_BYTES_MAX`] or, in bulk, [`BULK_BYTES_MAX`].
    ///
    /// # Errors
    /// As [`Socket::recv`].
    pub fn recv(&mut self, out: &mut [u8]) -> io::Result<Received> {
        let most = match self.is_bulk() {
            true => BULK_BYTES_MAX,
            false => RECEIVE_BYTES_MAX,
        };
        let room = out.len().min(most);
        let received = self.socket.recv(within_mut(out, ..room))?;
        if let Received::Data(n) = received {
            self.full = match n >= RECEIVE_BYTES_MAX {
                true => self.full.saturating_add(1),
                false => 0,
            };
        }
        Ok(received)
    }

    /// Whether what is received here is bulk.
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        self.full >= FULL_FOR_BULK
    }

    /// What is received here leaves more slowly: it is no bulk.
    pub fn calm(&mut self) {
        self.full = 0;
    }

    /// Whether everything given to [`send`](Self::send) is with the kernel.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        !matches!(self.kept, Kept::Unsent { .. })
    }

    /// Keeps `bytes` to leave in one piece with what is sent next, or with [`flush`](Self::flush).
    pub fn hold(&mut self, bytes: Vec<u8>) {
        match &mut self.kept {
            Kept::Nothing if bytes.is_empty() => {}
            Kept::Nothing => self.kept = Kept::Holding(bytes),
            Kept::Holding(kept) | Kept::Unsent { bytes: kept, .. } => {
                kept.extend_from_slice(&bytes);
            }
        }
        self.kept.invariants();
    }

    /// Whether [`flush`](Self::flush) has got rid of something since this was last asked.
    pub fn has_sent(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether something is held.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        matches!(self.kept, Kept::Holding(_))
    }

    /// Sends `bytes`, keeping a copy of what the kernel does not take now.
    ///
    /// # Errors
    /// What the kernel reports; nothing of `bytes` is kept then.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.kept {
            Kept::Nothing => {
                let sent = self.socket.send(bytes)?.unwrap_or(0);
                if let Some(rest) = bytes.get(sent..)
                    && !rest.is_empty()
                {
                    self.kept = Kept::Unsent {
                        bytes: rest.to_vec(),
                        sent: 0,
                    };
                }
            }
            Kept::Holding(_) => self.send_held(bytes)?,
            // Behind what is kept already: an interim response, then the final one.
            Kept::Unsent { bytes: kept, .. } => kept.extend_from_slice(bytes),
        }
        self.kept.invariants();
        Ok(())
    }

    /// Sends what was held and `bytes` in one piece.
    #[cold]
    fn send_held(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.release();
        let Kept::Unsent { bytes: kept, sent } = &mut self.kept else {
            return Ok(());
        };
        let slices = [IoSlice::new(kept), IoSlice::new(bytes)];
        *sent = self.socket.send_vectored(&slices)?.unwrap_or(0);
        if *sent == kept.len() + bytes.len() {
            self.kept = Kept::Nothing;
        } else {
            kept.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// What is held waits no longer.
    fn release(&mut self) {
        if let Kept::Holding(bytes) = &mut self.kept {
            let bytes = std::mem::take(bytes);
            self.kept = Kept::Unsent { bytes, sent: 0 };
        }
    }

    /// Gives the kernel what was kept, until there is no more or it takes no more.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn flush(&mut self) -> io::Result<()> {
        self.release();
        while let Kept::Unsent { bytes, sent } = &mut self.kept {
            let Some(n) = self.socket.send(within(bytes, *sent..))? else {
                break;
            };
            *sent += n;
            self.moved = true;
            if *sent >= bytes.len() {
                // Given back whole: a stream that was slow once does not stay large.
                self.kept = Kept::Nothing;
            }
        }
        self.kept.invariants();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::net::sockets::driver::on_both;

    #[test]
    fn what_is_held_leaves_with_what_comes_next_and_what_is_unsent_in_order() {
        on_both(async || {
            let (near, mut far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let mut stream = PlainStream::new(Socket::from_fd(near.into()).unwrap());
            stream.hold(Vec::new());
            assert!(!stream.is_holding());
            stream.hold(b"held, ".to_vec());
            stream.hold(b"more, ".to_vec());
            assert!(stream.is_holding() && stream.is_flushed());
            stream.send(b"sent").unwrap();
            assert!(!stream.is_holding() && stream.is_flushed());
            let mut read = [0; 16];
            far.read_exact(&mut read).unwrap();
            assert_eq!(&read, b"held, more, sent");

            // More than the kernel takes at once, behind it what comes meanwhile.
            let content: Vec<u8> = (0..4 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
            stream.send(&content).unwrap();
            assert!(!stream.is_flushed() && !stream.has_sent());
            stream.hold(b"behind, ".to_vec());
            stream.send(b"last").unwrap();
            assert!(!stream.is_holding());
            let (mut received, mut piece) = (Vec::new(), vec![0; 1 << 20]);
            while received.len() < content.len() + 12 {
                stream.flush().unwrap();
                let n = far.read(&mut piece).unwrap();
                received.extend_from_slice(&piece[..n]);
            }
            assert!(stream.is_flushed() && stream.has_sent() && !stream.has_sent());
            assert!(received.starts_with(&content) && received.ends_with(b"behind, last"));
        });
    }
}
