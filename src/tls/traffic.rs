//! An established connection: application data out of records and into them, and what else peers say then: alerts,
//! key updates, session tickets (RFC 8446, sections 4.6 and 6).

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ExtractedSecrets, ProtocolVersion, SupportedCipherSuite};

use crate::base::bytes::{within, within_mut};

use super::protection::{OVERHEAD_BYTES_MAX, PLAIN_BYTES_MAX, Protection};
use super::{Fault, Header, content};

/// What rustls keeps of a connection: the secrets behind the keys.
pub enum Kernel {
    /// Of a client, which gets tickets.
    Client(KernelConnection<ClientConnectionData>),
    /// Of a server.
    Server(KernelConnection<ServerConnectionData>),
}

/// See the module's documentation.
pub struct Traffic {
    opening: Protection,
    sealing: Protection,
    kernel: Kernel,
    suite: SupportedCipherSuite,
    /// A handshake message that goes on in the next record.
    partial: Vec<u8>,
    /// What the peer has sent since its last application data, weighed; see [`SILENCE_BYTES_MAX`].
    silence: u32,
    /// The peer wants to see a new key before it gets more.
    update_requested: bool,
    closed: bool,
}

/// What came of opening received bytes.
#[derive(Debug)]
pub struct Opened {
    /// How many of them were used; the rest is the start of a record.
    pub consumed: usize,
    /// How much application data was written.
    pub filled: usize,
    /// How many records were opened.
    pub records: usize,
    /// What is wrong with the record behind that data, for good.
    pub fault: Option<Fault>,
}

/// Most bytes of records in a row that bring no application data: two of the longest tickets. A peer that sends more
/// keeps us busy on purpose. Their time is bounded where the wait for data is: by the deadline of the handshake, of the
/// answer, or of the idle connection.
pub(crate) const SILENCE_BYTES_MAX: u32 = 128 * 1024;
/// As how many bytes more a ticket counts: it is derived from, copied and put into the session cache.
pub(crate) const TICKET_BYTES: u32 = 256;
/// The same for a key update, after which both keys are derived anew.
pub(crate) const KEY_UPDATE_BYTES: u32 = 4 * 1024;
/// As long a handshake message as rustls takes.
const TICKET_MESSAGE_BYTES_MAX: usize = u16::MAX as usize;

const WARNING: u8 = 1;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;
const USER_CANCELED: u8 = 90;
const HELLO_REQUEST: u8 = 0;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

impl Traffic {
    /// Takes over the keys of a completed handshake.
    ///
    /// # Errors
    /// As [`Protection::new`].
    pub fn new(secrets: ExtractedSecrets, kernel: Kernel) -> Result<Self, Fault> {
        let suite = match &kernel {
            Kernel::Client(kernel) => kernel.negotiated_cipher_suite(),
            Kernel::Server(kernel) => kernel.negotiated_cipher_suite(),
        };
        Ok(Self {
            opening: Protection::new(secrets.rx, suite)?,
            sealing: Protection::new(secrets.tx, suite)?,
            kernel,
            suite,
            partial: Vec::new(),
            silence: 0,
            update_requested: false,
            closed: false,
        })
    }

    /// Whether the peer has said that no more will come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Opens all whole records at the start of `cipher`; application data is written into `out`, which has to be as
    /// long as `cipher`. What follows close_notify is used up and ignored.
    pub fn open(&mut self, cipher: &[u8], out: &mut [u8]) -> Opened {
        let (mut consumed, mut filled, mut records, mut fault) = (0, 0, 0, None);
        while !self.closed {
            let rest = within(cipher, consumed..);
            let Some(end) = Header::end_of_record(rest) else {
                // A record that can never be whole is not waited for.
                fault = Header::parse(rest).and_then(|header| self.opening.refuses(header));
                break;
            };
            let record = within(rest, ..end);
            let room = within_mut(out, filled..);
            match self.open_record(record, room) {
                Ok(n) => filled += n,
                Err(why) => {
                    fault = Some(why);
                    break;
                }
            }
            consumed += end;
            records += 1;
        }
        Opened {
            consumed: if self.closed { cipher.len() } else { consumed },
            filled,
            records,
            fault,
        }
    }

    /// Opens one record; returns how much application data it brought.
    fn open_record(&mut self, record: &[u8], out: &mut [u8]) -> Result<usize, Fault> {
        let (kind, len) = self.opening.open(record, out)?;
        let whole = self.partial.is_empty();
        match kind {
            content::APPLICATION_DATA if len > 0 => self.silence = 0,
            _ => self.weigh(u32::try_from(record.len()).unwrap_or(u32::MAX))?,
        }
        let plain = within(out, ..len);
        match kind {
            content::APPLICATION_DATA if whole => Ok(len),
            content::ALERT if whole => self.alert(plain).map(|()| 0),
            content::HANDSHAKE => self.handshake(plain).map(|()| 0),
            // Nothing may come between the parts of a handshake message, and no type has another number.
            _ => Err(Fault::Unexpected),
        }
    }

    /// Adds to what has come without application data.
    fn weigh(&mut self, bytes: u32) -> Result<(), Fault> {
        self.silence = self.silence.saturating_add(bytes);
        match self.silence > SILENCE_BYTES_MAX {
            true => Err(Fault::Unexpected),
            false => Ok(()),
        }
    }

    fn alert(&mut self, alert: &[u8]) -> Result<(), Fault> {
        match *alert {
            [_, CLOSE_NOTIFY] => self.closed = true,
            // The level means nothing any more in TLS 1.3 (RFC 8446, section 6).
            [_, USER_CANCELED] if self.is_tls13() => {}
            [WARNING, _] if !self.is_tls13() => {}
            [_, alert] => return Err(Fault::Alert(alert)),
            _ => return Err(Fault::Malformed),
        }
        Ok(())
    }

    fn handshake(&mut self, plain: &[u8]) -> Result<(), Fault> {
        if plain.is_empty() {
            return Err(Fault::Unexpected);
        }
        let mut messages = std::mem::take(&mut self.partial);
        if messages.is_empty() {
            // Most come whole and need not be kept.
            let rest = self.messages(plain)?;
            self.partial.extend_from_slice(rest);
        } else {
            messages.extend_from_slice(plain);
            let rest = self.messages(&messages)?.len();
            messages.drain(..messages.len() - rest);
            if rest > 0 {
                self.partial = messages;
            }
        }
        Ok(())
    }

    /// Acts on all whole messages; returns the rest.
    fn messages<'a>(&mut self, mut rest: &'a [u8]) -> Result<&'a [u8], Fault> {
        while let Some((&[kind, high, mid, low], behind)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes([0, high, mid, low]) as usize;
            // One that cannot be right is not waited for.
            if len > self.message_bytes_max(kind)? {
                return Err(Fault::Malformed);
            }
            let Some((body, behind)) = behind.split_at_checked(len) else {
                break;
            };
            self.message(kind, body, behind.is_empty())?;
            rest = behind;
        }
        Ok(rest)
    }

    /// Most bytes of a message that may come now.
    fn message_bytes_max(&self, kind: u8) -> Result<usize, Fault> {
        match (kind, &self.kernel, self.is_tls13()) {
            (NEW_SESSION_TICKET, Kernel::Client(_), true) => Ok(TICKET_MESSAGE_BYTES_MAX),
            (KEY_UPDATE, _, true) => Ok(1),
            (HELLO_REQUEST, Kernel::Client(_), false) => Ok(0),
            _ => Err(Fault::Unexpected),
        }
    }

    /// Acts on one message, of a kind that may come now.
    fn message(&mut self, kind: u8, body: &[u8], last: bool) -> Result<(), Fault> {
        self.weigh(match kind {
            NEW_SESSION_TICKET => TICKET_BYTES,
            KEY_UPDATE => KEY_UPDATE_BYTES,
            _ => 0,
        })?;
        match (kind, &mut self.kernel) {
            (NEW_SESSION_TICKET, Kernel::Client(kernel)) => kernel
                .handle_new_session_ticket(body)
                .map_err(|_| Fault::Malformed),
            // The record layer changes keys between two records, so nothing may stand behind it.
            (KEY_UPDATE, _) if last => {
                let requested = match body {
                    [0] => false,
                    [1] => true,
                    [_] => return Err(Fault::Illegal),
                    _ => return Err(Fault::Malformed),
                };
                let secrets = match &mut self.kernel {
                    Kernel::Client(kernel) => kernel.update_rx_secret(),
                    Kernel::Server(kernel) => kernel.update_rx_secret(),
                };
                self.opening = Protection::new(secrets?, self.suite)?;
                self.update_requested |= requested;
                Ok(())
            }
            // It may be ignored (RFC 5246, section 7.4.1.1).
            (HELLO_REQUEST, _) => Ok(()),
            _ => Err(Fault::Unexpected),
        }
    }

    /// Seals as much of `plain` as fits into `out`, in records; returns how much it took and how long they are.
    ///
    /// # Errors
    /// [`Fault::Exhausted`]: a TLS 1.2 connection whose key is used up.
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<(usize, usize), Fault> {
        let (mut taken, mut sealed) = (0, 0);
        if self.update_requested || self.sealing.is_exhausted() {
            sealed = self.update_key(out)?;
        }
        while taken < plain.len() {
            let room = within_mut(out, sealed..);
            let most = room.len().saturating_sub(OVERHEAD_BYTES_MAX);
            let rest = within(plain, taken..);
            let piece = within(rest, ..rest.len().min(most).min(PLAIN_BYTES_MAX));
            // A short last record is not made for want of room; the next call makes a long one.
            if piece.is_empty() || (taken > 0 && piece.len() == most && most < rest.len()) {
                break;
            }
            sealed += self.sealing.seal(content::APPLICATION_DATA, piece, room)?;
            taken += piece.len();
        }
        Ok((taken, sealed))
    }

    /// Says that a new key follows, under the old one (RFC 8446, section 4.6.3).
    fn update_key(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        if !self.is_tls13() {
            return Err(Fault::Exhausted);
        }
        const NOT_REQUESTED: u8 = 0;
        let message = [KEY_UPDATE, 0, 0, 1, NOT_REQUESTED];
        let sealed = self.sealing.seal(content::HANDSHAKE, &message, out)?;
        let secrets = match &mut self.kernel {
            Kernel::Client(kernel) => kernel.update_tx_secret(),
            Kernel::Server(kernel) => kernel.update_tx_secret(),
        };
        self.sealing = Protection::new(secrets?, self.suite)?;
        self.update_requested = false;
        Ok(sealed)
    }

    /// Seals an alert into `out`; returns its record's length.
    ///
    /// # Errors
    /// As [`Protection::seal`].
    pub fn seal_alert(&mut self, alert: u8, out: &mut [u8]) -> Result<usize, Fault> {
        let level = if alert == CLOSE_NOTIFY {
            WARNING
        } else {
            FATAL
        };
        self.sealing.seal(content::ALERT, &[level, alert], out)
    }

    /// Seals close_notify into `out`; returns its record's length.
    ///
    /// # Errors
    /// As [`Protection::seal`].
    pub fn seal_close(&mut self, out: &mut [u8]) -> Result<usize, Fault> {
        self.seal_alert(CLOSE_NOTIFY, out)
    }

    /// Whether there are key updates and tickets.
    pub(super) fn is_tls13(&self) -> bool {
        self.suite.version().version == ProtocolVersion::TLSv1_3
    }
}

/// What a peer can do that does as it likes.
#[cfg(any(test, fuzzing))]
impl Traffic {
    /// Seals anything as one record.
    pub(super) fn forge(&mut self, kind: u8, plain: &[u8]) -> Vec<u8> {
        let mut room = vec![0; plain.len() + OVERHEAD_BYTES_MAX];
        let len = self.sealing.seal(kind, plain, &mut room).unwrap_or(0);
        room.truncate(len);
        room
    }

    /// Takes the next key without a word.
    pub(super) fn forge_key(&mut self) -> Result<(), Fault> {
        let secrets = match &mut self.kernel {
            Kernel::Client(kernel) => kernel.update_tx_secret(),
            Kernel::Server(kernel) => kernel.update_tx_secret(),
        };
        self.sealing = Protection::new(secrets?, self.suite)?;
        Ok(())
    }

    /// Begins anew with the keys of today; `left` as in [`Protection::rewind`], for both peers.
    pub(super) fn rewind(&mut self, opening: Option<u64>, sealing: Option<u64>) {
        self.opening.rewind(opening);
        self.sealing.rewind(sealing);
        self.partial.clear();
        self.silence = 0;
        self.update_requested = false;
        self.closed = false;
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self.kernel, Kernel::Client(_))
    }
}
