//! One end of a connection that the script plays: a socket that moves what it can, and never waits.

use std::os::unix::net::UnixStream;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use crate::record::{End, Side};

/// What an ordinary socket can hold without anybody having to wait.
const ROOMY_BYTES_MAX: usize = 16 * 1024;

/// More than a socket can hold.
const LOOK_BYTES_MAX: usize = 1 << 20;

/// A socket, and what went over it.
#[derive(Default)]
pub struct Peer {
    stream: Option<UnixStream>,
    pub side: Side,
    /// How many of the bytes that the gateway sent it has read.
    read: usize,
    /// The kernel takes no more of it.
    broken: bool,
    /// It reads no more, and only looks.
    pub stalled: bool,
}

impl Peer {
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream: Some(stream),
            ..Self::default()
        }
    }

    /// Whether one of both has ended it.
    pub fn is_over(&self) -> bool {
        self.side.end.is_some() || self.stream.is_none()
    }

    pub fn send(&mut self, outbox: &mut Vec<u8>, most: usize) {
        let count = most.min(outbox.len());
        let Some(stream) = self.stream.as_ref().filter(|_| !self.broken) else {
            outbox.clear();
            return;
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(stream, &outbox[..count], flags) {
            Ok(taken) => self.side.sent.extend(outbox.drain(..taken)),
            Err(Errno::AGAIN) => {}
            Err(_) => {
                self.broken = true;
                outbox.clear();
            }
        }
    }

    /// Receives what is there, or only looks at it; whether that may have made room for more.
    pub fn receive(&mut self, small: bool) -> bool {
        let Some(stream) = &self.stream else {
            return false;
        };
        self.side.received.truncate(self.read);
        if self.stalled {
            self.side.received.reserve(LOOK_BYTES_MAX);
            let _ = rustix::net::recv(
                stream,
                spare_capacity(&mut self.side.received),
                RecvFlags::PEEK,
            );
            return false;
        }
        let before = self.side.received.len();
        while self.side.end.is_none() {
            self.side.received.reserve(2048);
            let spare = spare_capacity(&mut self.side.received);
            match rustix::net::recv(stream, spare, RecvFlags::empty()) {
                Ok((0, _)) => self.side.end = Some(End::Fin),
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.side.end = Some(End::Reset),
            }
        }
        self.read = self.side.received.len();
        let received = self.read - before;
        received > if small { 0 } else { ROOMY_BYTES_MAX }
    }

    pub fn fin(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = rustix::net::shutdown(stream, Shutdown::Write);
            self.side.left.get_or_insert(End::Fin);
            self.broken = true;
        }
    }

    pub fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            let unread = matches!(
                rustix::net::recv(&stream, &mut [0; 1], RecvFlags::PEEK),
                Ok((1, _))
            );
            match (unread, self.side.left) {
                (true, None) => self.side.left = Some(End::Reset),
                (true, Some(_)) => self.side.left = Some(End::FinOrReset),
                (false, None) => self.side.left = Some(End::Fin),
                (false, Some(_)) => {}
            }
        }
    }
}
