//! Drives rustls through a handshake, record by record, until the connection is established and can be taken over.

use rustls::client::UnbufferedClientConnection;
use rustls::kernel::KernelConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ExtractedSecrets, HandshakeKind};

use crate::base::bytes::{within, within_mut};

use super::traffic::{Kernel, Traffic};
use super::{Fault, HEADER_BYTES, Header, content};

/// rustls's side of it.
pub enum Role {
    /// Towards a provider.
    Client(UnbufferedClientConnection),
    /// Towards a client.
    Server(UnbufferedServerConnection),
}

/// See the module's documentation.
pub struct Handshake {
    role: Role,
    /// Received and not used yet. rustls leaves the parts of a message here until it is whole.
    incoming: Vec<u8>,
    /// How much of it rustls has seen: whole records only, so that it sees none behind the last one that it needs.
    seen: usize,
    /// Something was sent.
    spoke: bool,
}

/// What is kept of a client that has not shown a key yet: its certificates, five of the longest that rustls takes, fit in
/// there as well. With rustls's own state less than 32 KiB for a connection. Records count as they are received: each
/// has a header, so that tiny ones fill it with little.
pub(super) const FROM_CLIENT_BYTES_MAX: usize = 24 * 1024;
/// Of a server, which the operator has chosen: the longest message that rustls takes, 64 KiB, and what is around it.
const FROM_SERVER_BYTES_MAX: usize = 96 * 1024;

impl Handshake {
    /// A handshake before its first byte.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            role,
            incoming: Vec::new(),
            seen: 0,
            spoke: false,
        }
    }

    /// Goes on with what was received; what has to be sent is put behind `out`, on an error too: the alert that
    /// tells the peer. Whether the connection is established, so that it can be [taken over](Self::finish).
    ///
    /// # Errors
    /// What rustls finds wrong, and [`Fault::Overflow`] when a message in its records is too long to be held.
    pub fn advance(&mut self, received: &[u8], out: &mut Vec<u8>) -> Result<bool, Fault> {
        self.incoming.extend_from_slice(received);
        let most = self.incoming_bytes_max();
        let advanced = match self.go_on(out) {
            Ok(false) if self.incoming.len() > most => Err(Fault::Overflow),
            advanced => advanced,
        };
        self.spoke |= !out.is_empty();
        if let Err(fault) = &advanced {
            self.say_why(fault, out);
        }
        // It grows by doubling.
        self.incoming.shrink_to(most);
        advanced
    }

    /// Whether nothing has come yet.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.incoming.is_empty() && !self.spoke && self.seen == 0
    }

    /// Whether `received`, the first bytes of a client, begin a request of plain HTTP: no record's type is a letter.
    #[must_use]
    pub fn is_plain_http(&self, received: &[u8]) -> bool {
        self.is_server()
            && self.is_untouched()
            && received.first().is_some_and(u8::is_ascii_uppercase)
    }

    fn incoming_bytes_max(&self) -> usize {
        match self.role {
            Role::Client(_) => FROM_SERVER_BYTES_MAX,
            Role::Server(_) => FROM_CLIENT_BYTES_MAX,
        }
    }

    /// How many bytes are held for the peer.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.incoming.capacity()
    }

    /// Shows rustls record by record; see [`advance`](Self::advance).
    fn go_on(&mut self, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let most = self.incoming_bytes_max();
        // Once there is no whole record left, rustls looks at the header of the one that has begun.
        let mut whole = true;
        loop {
            let end = if whole {
                self.seen
            } else {
                self.incoming.len()
            };
            let shown = within_mut(&mut self.incoming, ..end);
            let (discard, step) = match &mut self.role {
                Role::Client(connection) => step(connection.process_tls_records(shown), out),
                Role::Server(connection) => step(connection.process_tls_records(shown), out),
            };
            let discard = discard.min(self.seen);
            self.incoming.drain(..discard);
            self.seen -= discard;
            match step {
                Step::Again => {}
                Step::Failed(fault) => return Err(fault),
                Step::Blocked if !self.is_handshaking() => return Ok(true),
                Step::Blocked => {
                    let rest = within(&self.incoming, self.seen..);
                    // An empty record is no part of a handshake. As rejected early data it would cost nothing of what
                    // rustls skips of that, and rustls tries to open all that it has skipped again each time.
                    match Header::end_of_record(rest) {
                        Some(HEADER_BYTES) => return Err(Fault::Malformed),
                        // Nothing of a message goes before it is whole.
                        Some(end) if self.seen + end > most => return Err(Fault::Overflow),
                        Some(end) => self.seen += end,
                        None if whole => whole = false,
                        None => return Ok(false),
                    }
                }
            }
        }
    }

    /// Behind an error rustls still has the alert that tells the peer; it looks at no more records before that is
    /// taken. Of what we find ourselves it knows nothing: that is said as long as no key is agreed on.
    fn say_why(&mut self, fault: &Fault, out: &mut Vec<u8>) {
        if let Some(alert) = fault.alert().filter(|_| self.is_server() && !self.spoke) {
            out.extend([content::ALERT, 3, 3, 0, 2, 2, alert]);
        }
        let shown = &mut self.incoming[..];
        match &mut self.role {
            Role::Client(connection) => {
                while connection.wants_write() {
                    step(connection.process_tls_records(shown), out);
                }
            }
            Role::Server(connection) => {
                while connection.wants_write() {
                    step(connection.process_tls_records(shown), out);
                }
            }
        }
    }

    fn is_handshaking(&self) -> bool {
        match &self.role {
            Role::Client(connection) => connection.is_handshaking(),
            Role::Server(connection) => connection.is_handshaking(),
        }
    }

    /// Whether this is the server's side.
    #[must_use]
    pub fn is_server(&self) -> bool {
        matches!(self.role, Role::Server(_))
    }

    /// Whether an earlier session was taken up, once that is known.
    #[must_use]
    pub fn kind(&self) -> Option<HandshakeKind> {
        match &self.role {
            Role::Client(connection) => connection.handshake_kind(),
            Role::Server(connection) => connection.handshake_kind(),
        }
    }

    /// Takes an established connection over; what was received behind the handshake comes with it.
    ///
    /// # Errors
    /// When it is not established.
    pub fn finish(mut self) -> Result<(Traffic, Vec<u8>), Fault> {
        let (secrets, kernel) = match self.role {
            Role::Client(connection) => taken(
                connection.dangerous_into_kernel_connection(),
                Kernel::Client,
            )?,
            Role::Server(connection) => taken(
                connection.dangerous_into_kernel_connection(),
                Kernel::Server,
            )?,
        };
        self.incoming.drain(..self.seen);
        Ok((Traffic::new(secrets, kernel)?, self.incoming))
    }
}

fn taken<D>(
    result: Result<(ExtractedSecrets, KernelConnection<D>), rustls::Error>,
    kernel: fn(KernelConnection<D>) -> Kernel,
) -> Result<(ExtractedSecrets, Kernel), Fault> {
    let (secrets, connection) = result?;
    Ok((secrets, kernel(connection)))
}

/// What one call of rustls leads to.
enum Step {
    Again,
    /// It needs the next record, or nothing any more.
    Blocked,
    Failed(Fault),
}

/// Does what rustls says; returns how many bytes are used up, and how it goes on.
fn step<D>(status: UnbufferedStatus<'_, '_, D>, out: &mut Vec<u8>) -> (usize, Step) {
    let UnbufferedStatus { discard, state } = status;
    let step = match state {
        Ok(ConnectionState::EncodeTlsData(mut data)) => encode(out, |room| data.encode(room)),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // All that is in `out` leaves in order, whenever that is.
            data.done();
            Step::Again
        }
        Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Step::Blocked,
        // The peer ends before it has begun, or speaks without waiting for keys.
        Ok(_) => Step::Failed(Fault::Unexpected),
        Err(error) => Step::Failed(error.into()),
    };
    (discard, step)
}

/// Puts a message behind `out`.
fn encode(
    out: &mut Vec<u8>,
    mut message: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Step {
    let begin = out.len();
    let mut room = 0;
    loop {
        out.resize(begin + room, 0);
        match message(within_mut(out, begin..)) {
            Ok(len) => {
                out.truncate(begin + len);
                return Step::Again;
            }
            Err(EncodeError::InsufficientSize(size)) if size.required_size > room => {
                room = size.required_size;
            }
            Err(_) => {
                out.truncate(begin);
                return Step::Failed(Fault::Unexpected);
            }
        }
    }
}
