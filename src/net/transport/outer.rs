//! TLS around TLS: the layer that a proxy is spoken to in, below the one with a provider.
//!
//! A connection that has one holds it in a box; the others pay for it with a pointer that is null. The handshake is over
//! when this is made: it seals what goes out, opens what comes in, and knows nothing of what that is.

use std::io::{self, ErrorKind};

use crate::base::bytes::{within, within_mut};
use crate::net::sockets::socket::{Received, Socket};
use crate::tls::Fault;
use crate::tls::traffic::{Opened, Traffic};

use super::plain::PlainStream;
use super::scratch::RECORD_BYTES_MAX;

/// See the module's documentation.
pub(super) struct Outer {
    traffic: Traffic,
    /// The start of a record.
    partial: Vec<u8>,
    /// What is wrong with the record behind all that was handed out.
    fault: Option<Fault>,
    /// That was said.
    is_broken: bool,
    /// Where received records lie before they are opened, and records to be sent are sealed.
    room: Box<[u8]>,
}

/// Two records.
const ROOM_BYTES: usize = 2 * RECORD_BYTES_MAX;
/// Receives in a row that bring no data: what there is then waits for another turn.
const SILENT_RECEIVES_MAX: usize = 4;

impl Outer {
    /// Goes on with an established connection; `partial` is the start of a record, or what stands before a `fault`.
    pub(super) fn new(traffic: Traffic, partial: Vec<u8>, fault: Option<Fault>) -> Box<Self> {
        Box::new(Self {
            traffic,
            partial,
            fault,
            is_broken: false,
            room: vec![0; ROOM_BYTES].into_boxed_slice(),
        })
    }

    /// Receives into `out`, which has to have room for a record at least. `Pending` where no record that holds data is
    /// complete; `Eof` is the proxy's close_notify.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedEof`] where the connection ends without close_notify; else what kernel or records say.
    pub(super) fn recv(&mut self, socket: &mut Socket, out: &mut [u8]) -> io::Result<Received> {
        for _ in 0..SILENT_RECEIVES_MAX {
            if let Some(fault) = self.fault.take() {
                self.is_broken = true;
                return Err(io::Error::new(ErrorKind::InvalidData, fault));
            }
            match () {
                () if self.is_broken => return Err(ErrorKind::InvalidData.into()),
                () if self.traffic.is_closed() => return Ok(Received::Eof),
                () => {}
            }
            match self.receive(socket, out)? {
                Some(0) => {}
                Some(filled) => return Ok(Received::Data(filled)),
                None => return Ok(Received::Pending),
            }
        }
        socket.wake();
        Ok(Received::Pending)
    }

    /// One receive, and how much data came of it; `None` where nothing has come.
    fn receive(&mut self, socket: &mut Socket, out: &mut [u8]) -> io::Result<Option<usize>> {
        let held = self.partial.len();
        let end = self.room.len().min(out.len());
        let room = self.room.get_mut(held..end);
        let room = room.filter(|room| !room.is_empty());
        let received = match socket.recv(room.ok_or(ErrorKind::InvalidData)?)? {
            Received::Data(n) => held + n,
            Received::Pending => return Ok(None),
            Received::Eof => return Err(ErrorKind::UnexpectedEof.into()),
        };
        within_mut(&mut self.room, ..held).copy_from_slice(&self.partial);
        let cipher = within(&self.room, ..received);
        let Opened {
            consumed,
            filled,
            fault,
            ..
        } = self.traffic.open(cipher, out);
        self.partial.clear();
        self.partial.extend_from_slice(within(cipher, consumed..));
        self.fault = fault;
        Ok(Some(filled))
    }

    /// Whether the next receive tells something without asking the kernel.
    pub(super) fn has_ended(&self) -> bool {
        self.fault.is_some() || self.is_broken || self.traffic.is_closed()
    }

    /// Whether the end of a record has not come yet.
    pub(super) fn is_amid_record(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Seals `bytes` and sends the records.
    ///
    /// # Errors
    /// What the kernel reports.
    pub(super) fn send(&mut self, plain: &mut PlainStream, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (taken, sealed) = self
                .traffic
                .seal(bytes, &mut self.room)
                .map_err(io::Error::other)?;
            plain.send(within(&self.room, ..sealed))?;
            bytes = within(bytes, taken..);
        }
        Ok(())
    }

    /// Queues close_notify, and sends it if the kernel takes it at once.
    pub(super) fn close_notify(&mut self, plain: &mut PlainStream) {
        if let Ok(len) = self.traffic.seal_close(&mut self.room) {
            let _ = plain.send(within(&self.room, ..len));
        }
    }
}
