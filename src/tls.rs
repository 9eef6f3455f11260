//! TLS on bytes, without a socket: rustls shakes hands, the records of an established connection are opened and
//! sealed here, straight from one buffer of the worker into another.
//!
//! rustls's own record layer allocates for each record and copies each byte up to four times; its kernel API is made for
//! a record layer that is elsewhere. So [`handshake`] drives rustls's unbuffered connection until it has agreed on
//! keys, [`traffic`] takes those over and leaves to rustls what it derives from its secrets (key updates, session
//! tickets), and [`protection`] is the AEAD of one direction.

pub(crate) mod certificate;
pub(crate) mod handshake;
pub(crate) mod protection;
pub(crate) mod traffic;

#[cfg(any(test, fuzzing))]
pub mod property;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::base::reason;

/// What ends a TLS connection.
#[derive(Debug)]
pub enum Fault {
    /// What rustls found wrong.
    Rustls(rustls::Error),
    /// A record that its key does not open.
    BadRecord,
    /// A record longer than RFC 8446, section 5.1 allows.
    Overflow,
    /// A message at a time when it may not come.
    Unexpected,
    /// A message that is not what its type says.
    Malformed,
    /// A message with a value that does not exist.
    Illegal,
    /// The peer says that it failed, with this alert.
    Alert(u8),
    /// As many records as this key may protect.
    Exhausted,
    /// The peer has begun with what is HTTP and no TLS.
    PlainHttp,
}

impl Fault {
    /// The alert that tells the peer (RFC 8446, section 6.2), unless rustls has one of its own or the peer
    /// has failed itself.
    #[must_use]
    pub fn alert(&self) -> Option<u8> {
        match self {
            Self::Rustls(_) | Self::Alert(_) | Self::Exhausted | Self::PlainHttp => None,
            Self::BadRecord => Some(20),
            Self::Overflow => Some(22),
            Self::Unexpected => Some(10),
            Self::Malformed => Some(50),
            Self::Illegal => Some(47),
        }
    }
}

impl Fault {
    /// It in the words of a line of the log.
    #[must_use]
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Rustls(rustls::Error::InvalidCertificate(error)) => {
                format!("certificate: {}", reason::words(&format!("{error:?}")))
            }
            Self::Rustls(rustls::Error::NoCertificatesPresented) => {
                "certificate required".to_owned()
            }
            Self::Rustls(rustls::Error::AlertReceived(alert)) => alert_reason(*alert),
            Self::Alert(alert) => alert_reason((*alert).into()),
            other => other.to_string(),
        }
    }

    /// Whether another handshake can help. What is wrong with a certificate or with what the peers have in common
    /// only an operator changes.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Exhausted => true,
            Self::BadRecord | Self::Overflow | Self::PlainHttp => false,
            Self::Unexpected | Self::Malformed | Self::Illegal => false,
            Self::Alert(alert) => alert_may_pass(*alert),
            Self::Rustls(error) => match error {
                rustls::Error::AlertReceived(alert) => alert_may_pass((*alert).into()),
                // Bytes were changed on the way, or our own system was short of something.
                rustls::Error::DecryptError
                | rustls::Error::FailedToGetRandomBytes
                | rustls::Error::FailedToGetCurrentTime => true,
                _ => false,
            },
        }
    }
}

fn alert_reason(alert: rustls::AlertDescription) -> String {
    format!("it said: {}", reason::words(&format!("{alert:?}")))
}

/// close_notify, bad_record_mac, internal_error and user_canceled say nothing of what the peers want.
fn alert_may_pass(alert: u8) -> bool {
    matches!(alert, 0 | 20 | 80 | 90)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustls(error) => error.fmt(f),
            Self::BadRecord => f.write_str("cannot decrypt peer's message"),
            Self::Overflow => f.write_str("peer sent a record that is too long"),
            Self::Unexpected => f.write_str("peer sent an unexpected message"),
            Self::Malformed => f.write_str("peer sent a malformed message"),
            Self::Illegal => f.write_str("peer sent a message with an illegal value"),
            Self::Alert(alert) => write!(f, "peer sent alert {alert}"),
            Self::Exhausted => f.write_str("the connection's key is used up"),
            Self::PlainHttp => f.write_str("peer speaks HTTP without TLS"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<rustls::Error> for Fault {
    fn from(error: rustls::Error) -> Self {
        Self::Rustls(error)
    }
}

/// Bytes of a record's header.
pub(crate) const HEADER_BYTES: usize = 5;

/// The header of a record: its outer type and how many bytes follow (RFC 8446, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The outer content type.
    pub content: u8,
    /// Bytes behind the header.
    pub len: usize,
}

impl Header {
    /// Reads a header from the start of `bytes`; `None` while it is not whole.
    #[must_use]
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, _) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let [content, _, _, high, low] = *header;
        Some(Self {
            content,
            len: u16::from_be_bytes([high, low]).into(),
        })
    }

    /// Where the record ends that begins `bytes`, if it is whole.
    #[must_use]
    pub(crate) fn end_of_record(bytes: &[u8]) -> Option<usize> {
        let end = HEADER_BYTES + Self::parse(bytes)?.len;
        (end <= bytes.len()).then_some(end)
    }
}

/// Content types (RFC 8446, section 5.1).
pub(crate) mod content {
    /// Alerts.
    pub(crate) const ALERT: u8 = 21;
    /// Handshake messages.
    pub(crate) const HANDSHAKE: u8 = 22;
    /// What the peers have to say to each other.
    pub(crate) const APPLICATION_DATA: u8 = 23;
}
