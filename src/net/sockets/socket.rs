//! A non-blocking stream socket: readiness from the runtime, system calls of our own.
//!
//! The [`reactor`](super::reactor) says whether a socket is readable or writable; bytes are moved by `recv` and `sendmsg`
//! straight between the kernel and the caller's buffer. A pending wait therefore owns no buffer and may be dropped or kept
//! at will.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::task::{Context, Poll};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix,
    SocketFlags, SocketType, sockopt,
};

use crate::config::Tcp;

use super::keepalive;
use super::reactor::{Interest, Registration};
use crate::system::time::Moment;

/// What one attempt to receive gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// This many bytes, at least one.
    Data(usize),
    /// Nothing now; wait until the socket is readable.
    Pending,
    /// The peer has ended its direction in order.
    Eof,
}

/// A connected (or connecting) stream socket, TCP or Unix.
pub struct Socket {
    registration: Registration,
    /// Bytes may be waiting: no receive since the last wake has come up short.
    readable: bool,
    /// No receive has followed the last wait.
    has_waited: bool,
    /// Since when what the last wait was for has been there, until it is asked for or received over.
    ready: Option<Moment>,
    /// A close would be a reset.
    resets: Cell<bool>,
    // Closed last.
    fd: OwnedFd,
}

impl Socket {
    /// Takes over a connected descriptor, which must be non-blocking.
    ///
    /// # Errors
    /// When the runtime cannot register it.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Self::with(fd, true)
    }

    fn with(fd: OwnedFd, is_connected: bool) -> io::Result<Self> {
        Ok(Self {
            registration: Registration::new(fd.as_fd(), !is_connected)?,
            readable: is_connected,
            has_waited: false,
            ready: None,
            resets: Cell::new(false),
            fd,
        })
    }

    /// Starts a TCP connection; it is established when [`poll_writable`](Self::poll_writable) is ready
    /// and [`take_error`](Self::take_error) has none.
    ///
    /// A kernel that cannot look after it as `tcp` says makes it none the worse otherwise.
    ///
    /// # Errors
    /// When there is no descriptor or no route.
    pub fn connect(addr: SocketAddr, tcp: &Tcp) -> io::Result<Self> {
        let family = if addr.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        let _ = keepalive::set_new(&fd, tcp);
        match rustix::net::connect(&fd, &addr) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        Self::with(fd, false)
    }

    /// Connects to a Unix socket of this machine, which is done at once; `None` when too many wait there to be
    /// accepted.
    ///
    /// # Errors
    /// When there is no descriptor, or nobody listens.
    pub fn connect_unix(path: &Path) -> io::Result<Option<Self>> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&fd, &address) {
            Ok(()) => Self::from_fd(fd).map(Some),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// One `recv`. `Eof` is the peer's FIN.
    ///
    /// # Errors
    /// What the kernel reports, a reset for instance.
    pub fn recv(&mut self, out: &mut [u8]) -> io::Result<Received> {
        debug_assert!(!out.is_empty(), "a receive needs room");
        let room = out.len();
        match rustix::net::recv(self.fd(), out, RecvFlags::DONTWAIT) {
            Ok((0, _)) => Ok(Received::Eof),
            Ok((n, _)) => {
                // A short receive has emptied the queue; the next wait is told of anything later.
                self.readable = n == room;
                if !std::mem::take(&mut self.has_waited) {
                    self.ready = None;
                }
                Ok(Received::Data(n))
            }
            Err(Errno::AGAIN) => {
                self.readable = false;
                Ok(Received::Pending)
            }
            Err(Errno::INTR) => Ok(Received::Pending),
            Err(error) => Err(error.into()),
        }
    }

    /// One `send`; how many bytes the kernel took, `None` when its buffer is full.
    ///
    /// # Errors
    /// What the kernel reports, a broken pipe for instance.
    pub fn send(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        self.registration.clock().sends();
        would_block(rustix::net::send(self.fd(), bytes, SEND))
    }

    /// One `sendmsg` of all the slices; see [`send`](Self::send).
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        self.registration.clock().sends();
        let mut control = SendAncillaryBuffer::default();
        would_block(rustix::net::sendmsg(self.fd(), slices, &mut control, SEND))
    }

    /// Whether a receive is worth trying without waiting first.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.readable
    }

    /// Bytes wait, as the kernel has said.
    pub fn wake(&mut self) {
        self.readable = true;
    }

    /// Makes the next wait one for something new: what there was has been seen.
    pub fn rest(&mut self) {
        self.readable = false;
        self.registration.forget();
    }

    /// Ready when bytes, the end or an error can be received.
    ///
    /// # Cancel safety
    /// Nothing is lost: the wait stays armed in the socket and the next poll goes on with it.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.readable {
            self.ready = std::task::ready!(self.registration.poll(Interest::Read, cx));
            (self.readable, self.has_waited) = (true, true);
        }
        Poll::Ready(())
    }

    /// Since when what was last received had been there: known once, of what came after a wait, where times are taken.
    pub(crate) fn take_ready(&mut self) -> Option<Moment> {
        self.ready.take()
    }

    /// Ready when the kernel takes bytes again, or the socket has failed.
    ///
    /// # Cancel safety
    /// As [`poll_readable`](Self::poll_readable).
    pub fn poll_writable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.want_room(self.fd.as_fd());
        self.registration.poll(Interest::Write, cx).map(drop)
    }

    /// Ready once the peer has ended its direction or all of it, whatever it had sent before.
    ///
    /// # Cancel safety
    /// As [`poll_readable`](Self::poll_readable).
    pub(crate) fn poll_ended(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.poll(Interest::End, cx).map(drop)
    }

    /// Ready once the peer has reset, or both directions have ended.
    ///
    /// # Cancel safety
    /// As [`poll_readable`](Self::poll_readable).
    pub(crate) fn poll_broken(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.registration.poll(Interest::Break, cx).map(drop)
    }

    /// Waits until [`poll_writable`](Self::poll_writable) is ready.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn writable(&mut self) {
        poll_fn(|cx| self.poll_writable(cx)).await;
    }

    /// Looks at the receive queue without taking anything: `Pending` means open and empty.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn peek(&self) -> io::Result<Received> {
        self.peek_into(&mut [0])
    }

    /// As [`peek`](Self::peek), with a copy of what is there.
    ///
    /// # Errors
    /// What the kernel reports.
    pub fn peek_into(&self, out: &mut [u8]) -> io::Result<Received> {
        debug_assert!(!out.is_empty(), "nothing to see is no end");
        let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
        match rustix::net::recv(self.fd(), out, flags) {
            Ok((0, _)) => Ok(Received::Eof),
            Ok((n, _)) => Ok(Received::Data(n)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Received::Pending),
            Err(error) => Err(error.into()),
        }
    }

    /// The error a connecting socket has met, if any; reading it clears it.
    ///
    /// # Errors
    /// The connection's error.
    pub fn take_error(&self) -> io::Result<()> {
        sockopt::socket_error(self.fd())??;
        Ok(())
    }

    /// Ends our direction with a FIN after what was sent.
    pub fn shutdown_write(&self) {
        // The peer may be gone already; then there is nothing to tell it.
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Write);
    }

    /// Makes the close that follows a reset: the peer cannot take it for an orderly end.
    pub fn reset_on_close(&self) {
        self.resets.set(true);
        let _ = sockopt::set_socket_linger(self.fd(), Some(std::time::Duration::ZERO));
    }

    /// Makes the close that follows an orderly end again.
    pub fn end_on_close(&self) {
        if self.resets.take() {
            let _ = sockopt::set_socket_linger(self.fd(), None);
        }
    }

    /// The descriptor.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.registration.end(self.fd.as_fd());
    }
}

/// Whether an error says that the process or the system is out of descriptors or memory.
#[must_use]
pub(crate) fn is_scarce(error: &io::Error) -> bool {
    const SCARCE: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| SCARCE.contains(&errno))
}

/// `MSG_NOSIGNAL`: a broken pipe is an error, not a signal.
const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

fn would_block(result: rustix::io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(n) => Ok(Some(n)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
