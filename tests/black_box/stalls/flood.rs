//! Connections that send as fast as the other side takes it and read all that comes, many on one thread.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use crate::support::{Gateway, PATIENCE};

const READ_BYTES_MAX: usize = 256 * 1024;

/// One of them.
pub(crate) struct Flood {
    socket: TcpStream,
    /// Sent again and again, but for what of it comes only once.
    bytes: Vec<u8>,
    again_from: usize,
    at: usize,
    /// Most bytes read at a time.
    reads: usize,
    /// The other side sends no more. Whoever is told to go and does not goes on for as long as bytes are taken.
    told: bool,
}

/// What a turn of a [`Flood`] led to.
#[derive(PartialEq, Eq)]
pub(crate) enum Step {
    Moved,
    Stuck,
    Over,
}

impl Flood {
    /// Sends `once` and then `again` for ever.
    pub(crate) fn new(gateway: &Gateway, once: &[u8], again: &[u8]) -> Self {
        let socket = TcpStream::connect_timeout(&gateway.addr(), PATIENCE).unwrap();
        Self::over(socket, once, again)
    }

    /// The same on a connection that is there.
    pub(crate) fn over(socket: TcpStream, once: &[u8], again: &[u8]) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            bytes: [once, again].concat(),
            again_from: once.len(),
            at: 0,
            reads: READ_BYTES_MAX,
            told: false,
        }
    }

    /// Reads slowly.
    pub(crate) fn sipping(mut self, bytes: usize) -> Self {
        self.reads = bytes;
        self
    }

    fn step(&mut self, room: &mut [u8]) -> Step {
        let mut step = Step::Stuck;
        if self.at < self.bytes.len() {
            match self.socket.write(&self.bytes[self.at..]) {
                Ok(taken) => {
                    self.at += taken;
                    if self.at == self.bytes.len() && self.again_from < self.bytes.len() {
                        self.at = self.again_from;
                    }
                    step = Step::Moved;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return Step::Over,
            }
        }
        if self.told {
            return step;
        }
        match self.socket.read(&mut room[..self.reads]) {
            Ok(0) => {
                self.told = true;
                step
            }
            Ok(_) => Step::Moved,
            Err(error) if error.kind() == ErrorKind::WouldBlock => step,
            Err(_) => Step::Over,
        }
    }

    fn waits(&self) -> PollFd<'_> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, self.at < self.bytes.len());
        flags.set(PollFlags::IN, !self.told);
        PollFd::from_borrowed_fd(self.socket.as_fd(), flags)
    }
}

/// Keeps `count` of them going until the phase is over, with a new one for each that ends; returns how many there were.
pub(crate) fn keep(count: usize, over: &AtomicBool, new: impl Fn() -> Flood) -> usize {
    let mut floods: Vec<Flood> = (0..count).map(|_| new()).collect();
    let (mut made, mut room) = (count, vec![0; READ_BYTES_MAX]);
    while !over.load(Ordering::SeqCst) {
        let mut moved = false;
        for flood in &mut floods {
            match flood.step(&mut room) {
                Step::Moved => moved = true,
                Step::Stuck => {}
                Step::Over => {
                    *flood = new();
                    made += 1;
                }
            }
        }
        if !moved {
            let mut waits: Vec<_> = floods.iter().map(Flood::waits).collect();
            let time = Timespec::try_from(Duration::from_millis(10)).unwrap();
            let _ = poll(&mut waits, Some(&time)).unwrap();
        }
    }
    made
}

/// A connection with TLS, and the records that carry each of `pieces`.
pub(crate) fn sealed(
    gateway: &Gateway,
    config: &Arc<ClientConfig>,
    pieces: &[&[u8]],
) -> (TcpStream, Vec<Vec<u8>>) {
    let mut socket = TcpStream::connect_timeout(&gateway.addr(), PATIENCE).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(config.clone(), name).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    let records = pieces.iter().map(|piece| {
        let mut out = Vec::new();
        for byte in piece.chunks(1) {
            tls.writer().write_all(byte).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut out).unwrap();
            }
        }
        out
    });
    let records = records.collect();
    (socket, records)
}
