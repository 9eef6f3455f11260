//! A socket and what it has not taken yet, with TLS above it or without.

use std::io;

use super::socket::Socket;

/// See the module's documentation.
pub struct PlainStream {
    /// The socket.
    pub socket: Socket,
    unsent: Vec<u8>,
    /// How much of `unsent` has been sent.
    sent: usize,
}

impl PlainStream {
    /// Nothing is kept at first.
    #[must_use]
    pub fn new(socket: Socket) -> Self {
        Self {
            socket,
            unsent: Vec::new(),
            sent: 0,
        }
    }

    /// Whether everything given to [`send`](Self::send) is with the kernel.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }

    /// Sends `bytes`, keeping a copy of what the kernel does not take now.
    ///
    /// # Errors
    /// What the kernel reports; nothing is kept then.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
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

    /// Gives the kernel what was kept, until there is no more or it takes no more.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.unsent.get(self.sent..)
            && !rest.is_empty()
        {
            match self.socket.send(rest)? {
                Some(n) => self.sent += n,
                None => return Ok(()),
            }
        }
        // Given back whole: a stream that was slow once does not stay large.
        self.unsent = Vec::new();
        self.sent = 0;
        Ok(())
    }
}
