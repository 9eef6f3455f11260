//! Request ids: 128 random bits in hexadecimal, or the client's own.

use std::cell::RefCell;

use crate::base::bytes::within;
use crate::base::hex;
use crate::system::random::Supply;

/// The id that an exchange goes by in answers.
#[derive(Clone, Debug)]
pub(crate) enum RequestId {
    /// Made here.
    Ours([u8; 32]),
    /// The client's `X-Request-ID`.
    Theirs(Box<[u8]>),
}

impl RequestId {
    /// The id's characters.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ours(id) => id,
            Self::Theirs(id) => id,
        }
    }

    /// The complete `X-Request-ID` line.
    #[must_use]
    pub(crate) fn line(&self) -> IdLine {
        let mut line = IdLine {
            bytes: [0; LINE_BYTES_MAX],
            len: 0,
        };
        for part in [&b"X-Request-ID: "[..], self.as_bytes(), b"\r\n"] {
            if let Some(room) = line.bytes.get_mut(line.len..line.len + part.len()) {
                room.copy_from_slice(part);
                line.len += part.len();
            }
        }
        line
    }

    /// The client's id, if it may be echoed: 1 to 200 visible ASCII bytes.
    #[must_use]
    pub(crate) fn theirs(value: &[u8]) -> Option<Self> {
        let visible = value.iter().all(u8::is_ascii_graphic);
        (visible && (1..=ID_BYTES_MAX).contains(&value.len())).then(|| Self::Theirs(value.into()))
    }
}

/// A field line without an allocation.
pub(crate) struct IdLine {
    bytes: [u8; LINE_BYTES_MAX],
    len: usize,
}

impl IdLine {
    /// The line, or nothing.
    #[must_use]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        within(&self.bytes, ..self.len)
    }

    /// No line.
    #[must_use]
    pub(crate) fn none() -> Self {
        Self {
            bytes: [0; LINE_BYTES_MAX],
            len: 0,
        }
    }
}

/// Longest client id that is echoed.
const ID_BYTES_MAX: usize = 200;
/// Name, colon, blank and CRLF around it.
const LINE_BYTES_MAX: usize = ID_BYTES_MAX + 16;

/// A worker's supply of random bits, for many requests.
#[derive(Default)]
pub(crate) struct Ids(RefCell<Supply>);

impl Ids {
    /// A new id.
    #[must_use]
    pub(crate) fn next(&self) -> RequestId {
        let bits = self.0.borrow_mut().take();
        let mut id = [b'0'; 32];
        for (pair, byte) in id.as_chunks_mut().0.iter_mut().zip(bits) {
            *pair = hex::digits(byte);
        }
        RequestId::Ours(id)
    }

    /// Some of the same bits, for where any number will do.
    #[must_use]
    pub(crate) fn random(&self) -> u64 {
        let bits = u128::from_ne_bytes(self.0.borrow_mut().take());
        u64::try_from(bits >> 64).unwrap_or_default()
    }
}
