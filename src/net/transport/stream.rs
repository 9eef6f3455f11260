//! A byte stream to a peer, plain or TLS, with the same non-blocking calls for both.
//!
//! [`Stream::send`] takes everything it is given: what the kernel does not take at once is kept, and the
//! caller reads no more from the other side until [`Stream::is_flushed`]. So at most one piece per
//! direction is ever held, and only while the reader is slower than the writer.

use std::io;
use std::task::{Context, Poll};

use super::plain::PlainStream;
use super::tls::{Silence, TlsStream};
use crate::net::sockets::socket::{Received, Socket};
use crate::system::time::Moment;

/// One side of an exchange.
pub enum Stream {
    /// TCP or a Unix socket.
    Plain(PlainStream),
    /// TLS over it.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// A stream without TLS.
    #[must_use]
    pub fn plain(socket: Socket) -> Self {
        Self::Plain(PlainStream::new(socket))
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(stream) => &stream.socket,
            Self::Tls(stream) => &stream.plain.socket,
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(stream) => &mut stream.socket,
            Self::Tls(stream) => &mut stream.plain.socket,
        }
    }

    /// Receives what is there into `out`: one `recv` on a plain socket, as many as it takes to complete a
    /// record under TLS, whose ciphertext passes through `cipher`. `Eof` is the orderly end: FIN, or
    /// close_notify under TLS.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when TLS ends without close_notify; else what kernel or rustls say.
    pub fn recv(&mut self, out: &mut [u8], cipher: &mut [u8]) -> io::Result<Received> {
        match self {
            Self::Plain(stream) => stream.recv(out),
            Self::Tls(stream) => stream.recv(out, cipher),
        }
    }

    /// Sends `bytes`, keeping what the kernel does not take now.
    ///
    /// # Errors
    /// What the kernel reports; nothing is kept then.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.send(bytes),
            Self::Tls(stream) => stream.send(bytes),
        }
    }

    /// Whether everything given to [`send`](Self::send) is with the kernel.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_flushed(),
            Self::Tls(stream) => stream.plain.is_flushed(),
        }
    }

    /// Gives the kernel what was kept, waiting until it takes some.
    ///
    /// # Errors
    /// What the kernel reports.
    ///
    /// # Cancel safety
    /// Nothing is lost: what is not sent stays kept.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let flushed = match self {
                Self::Plain(stream) => stream.flush(),
                Self::Tls(stream) => stream.plain.flush(),
            };
            match flushed {
                Ok(()) if self.is_flushed() => return Poll::Ready(Ok(())),
                Ok(()) => std::task::ready!(self.socket_mut().poll_writable(cx)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// See [`Socket::poll_readable`]; under TLS, bytes already opened count.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_readable() {
            return Poll::Ready(());
        }
        self.socket_mut().poll_readable(cx)
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Whether a TLS handshake is still under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_handshaking())
    }

    /// Whether nothing of a TLS handshake has come yet.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_untouched())
    }

    /// Whether the client speaks HTTP where TLS is spoken.
    #[must_use]
    pub fn is_misled(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_plain())
    }

    /// Whether a receive is worth trying without waiting.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.socket.is_readable(),
            Self::Tls(stream) => stream.is_readable(),
        }
    }

    /// Whether one receive may bring [`BULK_BYTES_MAX`](super::scratch::BULK_BYTES_MAX).
    #[must_use]
    pub fn is_bulk(&self) -> bool {
        matches!(self, Self::Plain(stream) if stream.is_bulk())
    }

    /// What is received here leaves more slowly than it comes.
    pub fn calm(&mut self) {
        if let Self::Plain(stream) = self {
            stream.calm();
        }
    }

    /// Makes the next wait ask the kernel again although bytes may be left; see [`Socket::rest`].
    pub fn rest(&mut self) {
        self.socket_mut().rest();
    }

    /// See [`Socket::take_ready`].
    pub(crate) fn take_ready(&mut self) -> Option<Moment> {
        self.socket_mut().take_ready()
    }

    /// Whether some of what was kept has left since this was last asked.
    pub fn has_sent(&mut self) -> bool {
        match self {
            Self::Plain(stream) => stream.has_sent(),
            Self::Tls(stream) => stream.plain.has_sent(),
        }
    }

    /// TLS records opened since this was last asked.
    pub fn take_records(&mut self) -> usize {
        match self {
            Self::Plain(_) => 0,
            Self::Tls(stream) => stream.take_records(),
        }
    }

    /// Whether an idle stream is open and has nothing to say: one `recv`, which takes away nothing but
    /// what TLS says on its own.
    pub fn is_quiet(&mut self, cipher: &mut [u8]) -> bool {
        match self {
            Self::Plain(stream) => matches!(stream.socket.peek(), Ok(Received::Pending)),
            Self::Tls(stream) => stream.is_quiet(cipher),
        }
    }

    /// What an idle stream has said, as far as one `recv` shows; that takes away nothing but what TLS says on its own.
    pub fn listen(&mut self, cipher: &mut [u8]) -> Silence {
        match self {
            Self::Plain(stream) => match stream.socket.peek() {
                Ok(Received::Pending) => Silence::Kept,
                _ => Silence::Broken,
            },
            Self::Tls(stream) => stream.listen(cipher),
        }
    }

    /// Whether bytes wait that have not been received: closing now would reset the connection.
    #[must_use]
    pub fn has_unread(&self) -> bool {
        matches!(self.socket().peek(), Ok(Received::Data(_)))
    }

    /// Whether the end of a TLS record has not come yet.
    #[must_use]
    pub fn is_amid_record(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_amid_record())
    }

    /// As [`has_unread`](Self::has_unread), and makes the next receive worth trying if so.
    pub fn look_again(&mut self) -> bool {
        let unread = self.has_unread();
        if unread {
            self.socket_mut().wake();
        }
        unread
    }

    /// Whether there is anything to be received, the end included; then the next receive is worth trying.
    pub fn has_news(&mut self) -> bool {
        let news = !matches!(self.socket().peek(), Ok(Received::Pending));
        if news {
            self.socket_mut().wake();
        }
        news
    }

    /// Says under TLS that no more will come; it may have to be flushed.
    pub fn close_notify(&mut self) {
        if let Self::Tls(stream) = self {
            stream.close_notify();
        }
    }

    /// Ends our direction with a FIN behind everything that the kernel has; in order under TLS only behind
    /// a [`close_notify`](Self::close_notify).
    pub fn shutdown(&self) {
        self.socket().shutdown_write();
    }

    /// Makes the coming close visible as a fault: a reset on a plain socket. Under TLS the missing
    /// close_notify says it, and what was sent still arrives.
    pub fn fail(&self) {
        if let Self::Plain(stream) = self {
            stream.socket.reset_on_close();
        }
    }

    /// Takes [`fail`](Self::fail) back: the coming close is the orderly end.
    pub fn succeed(&self) {
        if let Self::Plain(stream) = self {
            stream.socket.end_on_close();
        }
    }

    /// Makes the coming close a reset, under TLS too: what the kernel still holds is thrown away.
    pub fn abort(&self) {
        self.socket().reset_on_close();
    }

    /// Ready once the peer has closed or reset, whatever it had sent before.
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket().poll_ended(cx)
    }

    /// Ready once the peer has reset; bytes that it sent before an orderly end still count.
    pub(crate) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket().poll_broken(cx)
    }
}
