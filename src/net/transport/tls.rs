//! TLS over a socket, either role.
//!
//! Received ciphertext is opened from the worker's scratch buffer straight into the caller's; what is sent is
//! sealed into the worker's [`SealRoom`] and leaves from there. The stream itself holds keys, the start of a
//! record whose rest has not arrived, and what the kernel did not take. The handshake has no phase of its own on the
//! server side: it is what receiving the first bytes does.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};

use rustls::HandshakeKind;

use crate::base::bytes::{within, within_mut};
use crate::base::reason;
use crate::tls::handshake::{Handshake, Role};
use crate::tls::traffic::{Opened, Traffic};
use crate::tls::{Fault, HEADER_BYTES, Header};

use super::outer::Outer;
use super::plain::PlainStream;
use super::scratch::{RECEIVE_BYTES_MAX, RECORD_BYTES_MAX, Scratch, SealRoom};
use crate::net::sockets::socket::{Received, Socket};
use crate::net::sockets::turns::Turns;

/// See the module's documentation.
pub struct TlsStream {
    /// What ciphertext goes through.
    pub(crate) plain: PlainStream,
    /// What it goes through before that, where a proxy is spoken to in TLS.
    outer: Option<Box<Outer>>,
    state: TlsState,
    /// The start of a record.
    partial: Vec<u8>,
    /// What is wrong with the record behind all that was handed out.
    fault: Option<Fault>,
    kind: Option<HandshakeKind>,
    /// How long the first record of the last receive was.
    last_record: usize,
    /// See [`take_records`](Self::take_records).
    records: usize,
    room: SealRoom,
}

/// What the peer of an idle connection has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Nothing more.
    Kept,
    /// What TLS says on its own, and perhaps more.
    More,
    /// Anything else, or it has ended.
    Broken,
}

/// Receives in a row before an idle connection is used: who has more to say than tickets is not quiet.
const SILENT_RECEIVES_MAX: usize = 4;
/// From this length on records are taken for bulk.
const BULK_RECORD_BYTES: usize = 8 * 1024;

enum TlsState {
    Handshake(Box<Handshake>),
    Traffic(Box<Traffic>),
    /// The client speaks HTTP without TLS, and is told so in its own words.
    Plain,
    Failed,
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").finish_non_exhaustive()
    }
}

impl TlsStream {
    /// Puts TLS over a connected socket.
    #[must_use]
    pub fn new(socket: Socket, role: Role, room: SealRoom) -> Self {
        Self::on(PlainStream::new(socket), role, room)
    }

    fn on(plain: PlainStream, role: Role, room: SealRoom) -> Self {
        Self {
            plain,
            outer: None,
            state: TlsState::Handshake(Box::new(Handshake::new(role))),
            partial: Vec::new(),
            fault: None,
            kind: None,
            last_record: 0,
            records: 0,
            room,
        }
    }

    /// Puts TLS over an established connection that speaks TLS already.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] where it is not established.
    pub fn over(outer: Self, role: Role) -> io::Result<Self> {
        let (TlsState::Traffic(traffic), None) = (outer.state, outer.outer) else {
            return Err(ErrorKind::InvalidData.into());
        };
        Ok(Self {
            outer: Some(Outer::new(*traffic, outer.partial, outer.fault)),
            ..Self::on(outer.plain, role, outer.room)
        })
    }

    /// Completes the handshake of a client.
    ///
    /// # Errors
    /// What kernel or rustls say; a peer's close is [`ErrorKind::UnexpectedEof`].
    ///
    /// # Cancel safety
    /// The handshake stays where it is, but the stream is of no use until it is completed.
    pub async fn handshake(&mut self, scratch: &RefCell<Scratch>, turns: &Turns) -> io::Result<()> {
        self.shake(&[])?;
        loop {
            self.plain.flush()?;
            if !self.plain.is_flushed() {
                self.plain.socket.writable().await;
                continue;
            }
            if !self.is_handshaking() {
                return Ok(());
            }
            poll_fn(|cx| self.poll_readable(cx)).await;
            turns.for_handshake().await;
            let scratch = &mut *scratch.borrow_mut();
            let room = within_mut(scratch.cipher(), ..RECEIVE_BYTES_MAX);
            match receive(&mut self.plain, &mut self.outer, room)? {
                Received::Data(n) => {
                    if let Some(rest) = self.shake(within(room, ..n))? {
                        // A server has no right to speak yet, but for tickets.
                        self.open_silence(&rest)?;
                    }
                }
                Received::Pending => {}
                Received::Eof => return Err(ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    /// See [`Stream::poll_readable`](super::stream::Stream::poll_readable).
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.is_readable() {
            true => Poll::Ready(()),
            false => self.plain.socket.poll_readable(cx),
        }
    }

    /// Goes on with the handshake; what was received behind it, once it is completed.
    fn shake(&mut self, received: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let TlsState::Handshake(handshake) = &mut self.state else {
            return Err(ErrorKind::InvalidData.into());
        };
        let mut out = Vec::new();
        let advanced = handshake.advance(received, &mut out);
        let sent = match advanced {
            _ if out.is_empty() => Ok(()),
            // A session ticket can wait for the answer, if the request is there.
            Ok(true) if handshake.is_server() => {
                self.plain.hold(out);
                Ok(())
            }
            _ => pass(&mut self.plain, &mut self.outer, &out),
        };
        if let Err(fault) = advanced {
            self.state = TlsState::Failed;
            return Err(invalid(fault));
        }
        sent?;
        if !matches!(advanced, Ok(true)) {
            return Ok(None);
        }
        self.kind = handshake.kind();
        let TlsState::Handshake(handshake) = std::mem::replace(&mut self.state, TlsState::Failed)
        else {
            return Ok(None);
        };
        let (traffic, rest) = handshake.finish().map_err(invalid)?;
        self.state = TlsState::Traffic(Box::new(traffic));
        Ok(Some(rest))
    }

    /// Whether the handshake is still under way.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, TlsState::Handshake(_))
    }

    /// Whether nothing of a handshake has come yet.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        matches!(&self.state, TlsState::Handshake(handshake) if handshake.is_untouched())
    }

    /// Whether the client speaks HTTP without TLS.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self.state, TlsState::Plain)
    }

    /// Whether the completed handshake took up an earlier session.
    #[must_use]
    pub fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.kind
    }

    /// See [`Stream::recv`](super::stream::Stream::recv).
    ///
    /// # Errors
    /// As there.
    pub fn recv(&mut self, out: &mut [u8], cipher: &mut [u8]) -> io::Result<Received> {
        if let Some(fault) = self.fault.take() {
            self.state = TlsState::Failed;
            return Err(invalid(fault));
        }
        let held = match &self.state {
            TlsState::Failed => return Err(ErrorKind::InvalidData.into()),
            TlsState::Traffic(traffic) if traffic.is_closed() => return Ok(Received::Eof),
            TlsState::Traffic(_) => self.partial.len(),
            TlsState::Handshake(_) => 0,
            TlsState::Plain => return self.plain.recv(out),
        };
        let end = self.receive_end(held, cipher.len().min(out.len()));
        let Some(room) = cipher.get_mut(held..end) else {
            return Ok(Received::Pending);
        };
        let n = match receive(&mut self.plain, &mut self.outer, room)? {
            Received::Pending => {
                if self.plain.is_holding() {
                    self.plain.flush()?;
                }
                return Ok(Received::Pending);
            }
            Received::Eof => return Err(ErrorKind::UnexpectedEof.into()),
            Received::Data(n) => n,
        };
        let filled = if let TlsState::Handshake(handshake) = &self.state {
            if handshake.is_plain_http(within(cipher, ..n)) {
                self.state = TlsState::Plain;
                return Err(invalid(Fault::PlainHttp));
            }
            match self.shake(within(cipher, ..n))? {
                None => 0,
                Some(rest) => self.open(&rest, out),
            }
        } else {
            if let Some(front) = cipher.get_mut(..held) {
                front.copy_from_slice(&self.partial);
            }
            self.open(within(cipher, ..held + n), out)
        };
        if filled > 0 {
            return Ok(Received::Data(filled));
        }
        // One receive is all that is tried: a peer that sends records without data could go on for ever. What is
        // held may still meet a request that has come meanwhile.
        if self.plain.is_holding() {
            self.plain.socket.wake();
        }
        Ok(Received::Pending)
    }

    /// Records opened since this was last asked.
    pub fn take_records(&mut self) -> usize {
        std::mem::take(&mut self.records)
    }

    /// Up to where to receive behind the start of a record that is held. In bulk that is the end of a record, if
    /// those to come are as long as the last one, so that nothing has to be held.
    fn receive_end(&self, held: usize, most: usize) -> usize {
        let begun = Header::parse(&self.partial).map_or(0, |header| HEADER_BYTES + header.len);
        match most.checked_sub(begun) {
            Some(room) if self.last_record >= BULK_RECORD_BYTES && room >= self.last_record => {
                begun + room - room % self.last_record
            }
            _ => most.min(held + RECEIVE_BYTES_MAX),
        }
    }

    /// Opens whole records from `cipher` into `out` and keeps the rest; returns how much application data it was.
    fn open(&mut self, cipher: &[u8], out: &mut [u8]) -> usize {
        let TlsState::Traffic(traffic) = &mut self.state else {
            return 0;
        };
        let Opened {
            consumed,
            filled,
            records,
            fault,
        } = traffic.open(cipher, out);
        self.records += records;
        let rest = within(cipher, consumed..);
        if let Some(header) = Header::parse(cipher) {
            self.last_record = HEADER_BYTES + header.len;
        }
        self.partial.clear();
        match rest.is_empty() {
            // Kept as long as there is a rest every time.
            false => self.partial.extend_from_slice(rest),
            true => self.partial = Vec::new(),
        }
        if let Some(alert) = fault.as_ref().and_then(Fault::alert) {
            let room = &mut *self.room.borrow_mut();
            if let Ok(len) = traffic.seal_alert(alert, room) {
                // The peer may be gone.
                let _ = pass(&mut self.plain, &mut self.outer, within(room, ..len));
            }
        }
        self.fault = fault;
        filled
    }

    /// Opens what may hold all but application data.
    fn open_silence(&mut self, cipher: &[u8]) -> io::Result<()> {
        let mut nowhere = vec![0; cipher.len()];
        match self.open(cipher, &mut nowhere) {
            0 if self.fault.is_none() => Ok(()),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Seals `bytes` and sends the records.
    ///
    /// # Errors
    /// What the kernel reports; [`ErrorKind::NotConnected`] before the handshake is completed.
    pub fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let traffic = match &mut self.state {
            TlsState::Traffic(traffic) => traffic,
            TlsState::Plain => return self.plain.send(bytes),
            TlsState::Handshake(_) | TlsState::Failed => return Err(ErrorKind::NotConnected.into()),
        };
        let room = &mut *self.room.borrow_mut();
        while !bytes.is_empty() {
            let (taken, sealed) = traffic.seal(bytes, room).map_err(invalid)?;
            pass(&mut self.plain, &mut self.outer, within(room, ..sealed))?;
            bytes = within(bytes, taken..);
        }
        Ok(())
    }

    /// Queues close_notify, and sends it if the kernel takes it at once.
    pub fn close_notify(&mut self) {
        if let TlsState::Traffic(traffic) = &mut self.state {
            let room = &mut *self.room.borrow_mut();
            if let Ok(len) = traffic.seal_close(room) {
                let _ = pass(&mut self.plain, &mut self.outer, within(room, ..len));
            }
            if let Some(outer) = &mut self.outer {
                outer.close_notify(&mut self.plain);
            }
        }
    }

    /// Whether there is something to receive without asking the kernel.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        let ended = matches!(&self.state, TlsState::Traffic(traffic) if traffic.is_closed());
        let outer = self.outer.as_ref().is_some_and(|outer| outer.has_ended());
        ended || outer || self.fault.is_some() || self.plain.socket.is_readable()
    }

    /// Whether the start of a record is held and its end has not come yet.
    #[must_use]
    pub fn is_amid_record(&self) -> bool {
        let outer = self
            .outer
            .as_ref()
            .is_some_and(|outer| outer.is_amid_record());
        outer || !self.partial.is_empty()
    }

    /// Whether the peer of an idle connection has said nothing but what TLS says on its own, a session
    /// ticket for instance, and that whole: a part of a record would be read as part of a later answer.
    pub fn is_quiet(&mut self, cipher: &mut [u8]) -> bool {
        for _ in 0..SILENT_RECEIVES_MAX {
            match self.receive_silence(cipher) {
                Silence::Kept => return true,
                Silence::More => {}
                Silence::Broken => return false,
            }
        }
        false
    }

    /// As [`is_quiet`](Self::is_quiet), with one receive of what the longest record may have; see
    /// [`Stream::listen`](super::stream::Stream::listen).
    pub fn listen(&mut self, cipher: &mut [u8]) -> Silence {
        let room = within_mut(cipher, ..RECORD_BYTES_MAX);
        let heard = self.receive_silence(room);
        if heard == Silence::More {
            // The next one tells whether a part of a record, or the end, was all that came behind.
            self.plain.socket.wake();
        }
        heard
    }

    fn receive_silence(&mut self, cipher: &mut [u8]) -> Silence {
        match &self.state {
            TlsState::Traffic(traffic) if !traffic.is_closed() && self.fault.is_none() => {}
            _ => return Silence::Broken,
        }
        match receive(&mut self.plain, &mut self.outer, cipher) {
            Ok(Received::Pending) if !self.is_amid_record() => Silence::Kept,
            Ok(Received::Data(n)) => {
                let received = within(cipher, ..n);
                self.partial.extend_from_slice(received);
                let whole = std::mem::take(&mut self.partial);
                match self.open_silence(&whole) {
                    Ok(()) => Silence::More,
                    Err(_) => Silence::Broken,
                }
            }
            Ok(Received::Pending | Received::Eof) | Err(_) => Silence::Broken,
        }
    }
}

/// One receive from whatever lies below.
fn receive(
    plain: &mut PlainStream,
    outer: &mut Option<Box<Outer>>,
    room: &mut [u8],
) -> io::Result<Received> {
    match outer {
        None => plain.socket.recv(room),
        Some(outer) => outer.recv(&mut plain.socket, room),
    }
}

/// Sends records through whatever lies below.
fn pass(plain: &mut PlainStream, outer: &mut Option<Box<Outer>>, records: &[u8]) -> io::Result<()> {
    match outer {
        None => plain.send(records),
        Some(outer) => outer.send(plain, records),
    }
}

/// Whether another handshake can help after one that failed with this. What the kernel says comes and goes.
#[must_use]
pub(crate) fn may_pass(error: &io::Error) -> bool {
    let fault = error.get_ref().map(|inner| inner.downcast_ref::<Fault>());
    match fault {
        Some(fault) => fault.is_some_and(Fault::may_pass),
        None => true,
    }
}

/// What ended the connection, in the words of a line of the log.
#[must_use]
pub(crate) fn reason_of(error: &io::Error) -> String {
    let fault = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Fault>());
    fault.map_or_else(|| reason::of(error), Fault::reason)
}

fn invalid(fault: Fault) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, fault)
}
