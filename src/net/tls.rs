//! TLS over a [`Socket`], either role, on rustls's buffered API.
//!
//! State is the socket and rustls's connection, nothing else: ciphertext is received into the worker's
//! scratch buffer and fed from there, plaintext is read straight into the caller's buffer, and all
//! records of one piece leave in one `sendmsg` from rustls's own memory. The handshake has no phase of
//! its own on the server side: it is what receiving the first bytes does.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use std::task::{Context, Poll};

use rustls::{Connection, HandshakeKind};

use super::scratch::RECORD_BYTES_MAX;
use super::socket::{Received, Socket};

/// See the module's documentation.
pub struct TlsStream {
    socket: Socket,
    tls: Connection,
    /// Opened bytes wait in rustls because the caller's buffer was full.
    opened: bool,
    /// A record was invalid: what came before it is still handed out, then the error.
    failed: bool,
    /// Where received ciphertext stands between record boundaries.
    edge: RecordEdge,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

impl TlsStream {
    /// Puts TLS over a connected socket. A client's first message goes out with the first flush.
    #[must_use]
    pub fn new(socket: Socket, mut tls: Connection) -> Self {
        // Writers wait until a piece is flushed, so rustls never has to refuse bytes.
        tls.set_buffer_limit(None);
        Self {
            socket,
            tls,
            opened: false,
            failed: false,
            edge: RecordEdge::default(),
        }
    }

    /// Completes the handshake of a client.
    ///
    /// # Errors
    /// What kernel or rustls say; a peer's close is [`ErrorKind::UnexpectedEof`].
    ///
    /// # Cancel safety
    /// The handshake stays where it is, but the stream is of no use until it is completed.
    pub async fn handshake(
        &mut self,
        cipher: &std::cell::RefCell<super::scratch::Scratch>,
    ) -> io::Result<()> {
        loop {
            self.flush()?;
            if !self.is_flushed() {
                self.socket.writable().await;
                continue;
            }
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            poll_fn(|cx| self.socket.poll_readable(cx)).await;
            let scratch = &mut *cipher.borrow_mut();
            match self.socket.recv(&mut scratch.cipher)? {
                Received::Data(n) => {
                    self.open(scratch.cipher.get(..n).unwrap_or_default(), &mut [])?;
                }
                Received::Pending => {}
                Received::Eof => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// Whether the handshake is still under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether the completed handshake took up an earlier session.
    #[must_use]
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.tls.handshake_kind()
    }

    /// See [`Stream::recv`](super::stream::Stream::recv). Whatever rustls wants to answer (a key update, a
    /// ticket, an alert) is flushed before it returns.
    ///
    /// # Errors
    /// As there.
    pub fn recv(&mut self, out: &mut [u8], cipher: &mut [u8]) -> io::Result<Received> {
        loop {
            match self.tls.reader().read(out) {
                Ok(0) => return Ok(Received::Eof),
                Ok(n) => {
                    self.opened = n == out.len();
                    return Ok(Received::Data(n));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.opened = false,
                Err(error) => return Err(error),
            }
            if self.failed {
                // What came before the fault was handed out; rustls keeps saying what it was.
                let fault = self.tls.process_new_packets().err();
                return Err(fault.map_or(ErrorKind::InvalidData.into(), invalid));
            }
            let limit = cipher.len().min(out.len().saturating_sub(RECORD_BYTES_MAX));
            let Some(room) = cipher.get_mut(..limit) else {
                return Ok(Received::Pending);
            };
            match self.socket.recv(room)? {
                Received::Pending => return Ok(Received::Pending),
                Received::Eof => {
                    self.tls.read_tls(&mut io::empty())?;
                }
                Received::Data(n) => {
                    let filled = self.open(room.get(..n).unwrap_or_default(), out)?;
                    if filled > 0 {
                        return Ok(Received::Data(filled));
                    }
                }
            }
        }
    }

    /// Feeds ciphertext to rustls and collects plaintext in `out`; returns how much.
    fn open(&mut self, mut cipher: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        self.edge.advance(cipher);
        while !cipher.is_empty() {
            if self.tls.read_tls(&mut cipher)? == 0 {
                // After close_notify nothing counts any more.
                break;
            }
            let state = match self.tls.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    self.failed = true;
                    // The alert that tells the peer; it may be gone.
                    let _ = self.flush();
                    let room = out.get_mut(filled..).unwrap_or_default();
                    // Records before the bad one count.
                    filled += self.tls.reader().read(room).unwrap_or_default();
                    return match filled {
                        0 => Err(invalid(error)),
                        filled => Ok(filled),
                    };
                }
            };
            if state.plaintext_bytes_to_read() > 0 {
                match out.get_mut(filled..) {
                    Some(room) if !room.is_empty() => filled += self.tls.reader().read(room)?,
                    // No room is given where the peer has no right to speak.
                    _ => return Err(ErrorKind::InvalidData.into()),
                }
            }
        }
        self.flush()?;
        Ok(filled)
    }

    /// Seals `bytes` and sends the records.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tls.writer().write_all(bytes)?;
        self.flush()
    }

    /// Gives the kernel what rustls has ready, until there is no more or it takes no more.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut Records(&self.socket)) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether everything is with the kernel.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        !self.tls.wants_write()
    }

    /// Queues close_notify, and sends it if the kernel takes it at once.
    pub fn close_notify(&mut self) {
        self.tls.send_close_notify();
        let _ = self.flush();
    }

    /// Whether bytes are there without asking the kernel.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.opened || self.failed || self.socket.is_readable()
    }

    /// Whether the peer of an idle connection has said nothing but what TLS says on its own, a session
    /// ticket for instance, and that whole.
    pub fn is_quiet(&mut self, cipher: &mut [u8]) -> bool {
        if self.opened || self.failed {
            return false;
        }
        loop {
            match self.socket.recv(cipher) {
                Ok(Received::Pending) => return self.edge.is_whole(),
                Ok(Received::Data(n)) => {
                    let opened = self.open(cipher.get(..n).unwrap_or_default(), &mut []);
                    let ended = self
                        .tls
                        .process_new_packets()
                        .map_or(true, |s| s.peer_has_closed());
                    if opened.is_err() || ended {
                        return false;
                    }
                }
                Ok(Received::Eof) | Err(_) => return false,
            }
        }
    }

    /// See [`Socket::poll_readable`].
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_readable() {
            return Poll::Ready(());
        }
        self.socket.poll_readable(cx)
    }

    /// See [`Socket::writable`].
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn writable(&mut self) {
        self.socket.writable().await;
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// rustls writes its queue of records with one vectored call.
struct Records<'a>(&'a Socket);

impl Write for Records<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .send(bytes)?
            .ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0
            .send_vectored(slices)?
            .ok_or_else(|| ErrorKind::WouldBlock.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Follows record boundaries (RFC 8446, section 5.1), so that an idle connection is known to hold no part of
/// a record: rustls keeps one without saying so, and it would be read as part of a later answer.
#[derive(Default)]
struct RecordEdge {
    /// Header bytes of the record under way, five at most.
    header: u8,
    /// Its length field so far, then what is left of it.
    left: u16,
}

impl RecordEdge {
    fn advance(&mut self, mut cipher: &[u8]) {
        while let Some((&byte, rest)) = cipher.split_first() {
            if self.header < 5 {
                self.header += 1;
                if self.header > 3 {
                    self.left = self.left << 8 | u16::from(byte);
                }
                cipher = rest;
            } else {
                let skip = cipher.len().min(usize::from(self.left));
                self.left -= u16::try_from(skip).unwrap_or(self.left);
                cipher = cipher.get(skip..).unwrap_or_default();
            }
            if self.header == 5 && self.left == 0 {
                self.header = 0;
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.header == 0
    }
}
