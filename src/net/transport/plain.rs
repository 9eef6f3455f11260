//! A socket and what it has not taken yet, with TLS above it or without.

use std::io::{self, IoSlice};

use crate::base::bytes::within_mut;

use super::scratch::{BULK_BYTES_MAX, RECEIVE_BYTES_MAX};
use crate::net::sockets::socket::{Received, Socket};

/// See the module's documentation.
pub struct PlainStream {
    /// The socket.
    pub socket: Socket,
    unsent: Vec<u8>,
    /// How much of `unsent` has been sent.
    sent: usize,
    /// `unsent` waits for company.
    held: bool,
    /// See [`has_sent`](Self::has_sent).
    moved: bool,
    /// How many receives in a row brought all that one brings at first.
    full: u8,
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
            unsent: Vec::new(),
            sent: 0,
            held: false,
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
        self.held || self.unsent.is_empty()
    }

    /// Keeps `bytes` to leave in one piece with what is sent next, or with [`flush`](Self::flush).
    pub fn hold(&mut self, bytes: Vec<u8>) {
        if self.unsent.is_empty() {
            self.held = !bytes.is_empty();
            self.unsent = bytes;
        } else {
            self.unsent.extend_from_slice(&bytes);
        }
    }

    /// Whether [`flush`](Self::flush) has got rid of something since this was last asked.
    pub fn has_sent(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether something is held.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        self.held
    }

    /// Sends `bytes`, keeping a copy of what the kernel does not take now.
    ///
    /// # Errors
    /// What the kernel reports; nothing is kept then.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.held) {
            return self.send_held(bytes);
        }
        // Behind what is kept already: an interim response, then the final one.
        let sent = match self.unsent.is_empty() {
            true => self.socket.send(bytes)?.unwrap_or(0),
            false => 0,
        };
        if let Some(rest) = bytes.get(sent..)
            && !rest.is_empty()
        {
            self.unsent.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Sends what was held and `bytes` in one piece.
    #[cold]
    fn send_held(&mut self, bytes: &[u8]) -> io::Result<()> {
        let slices = [IoSlice::new(&self.unsent), IoSlice::new(bytes)];
        let sent = self.socket.send_vectored(&slices)?.unwrap_or(0);
        if sent == self.unsent.len() + bytes.len() {
            self.unsent = Vec::new();
            return Ok(());
        }
        self.unsent.extend_from_slice(bytes);
        self.sent = sent;
        Ok(())
    }

    /// Gives the kernel what was kept, until there is no more or it takes no more.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn flush(&mut self) -> io::Result<()> {
        self.held = false;
        while let Some(rest) = self.unsent.get(self.sent..)
            && !rest.is_empty()
        {
            match self.socket.send(rest)? {
                Some(n) => {
                    self.sent += n;
                    self.moved = true;
                }
                None => return Ok(()),
            }
        }
        // Given back whole: a stream that was slow once does not stay large.
        self.unsent = Vec::new();
        self.sent = 0;
        Ok(())
    }
}
