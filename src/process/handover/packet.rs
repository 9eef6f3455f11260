//! Packets of a hand-over as bytes. Pure.
//!
//! A listening socket's packet is the configured address, a NUL, the actual one, and the word `metrics` behind another NUL
//! where it is one of `metrics.listen`. The others begin with a word that is no address.

use std::path::PathBuf;

use crate::base::hex;
use crate::config::Listen;

/// The longest packet holds two paths of Unix sockets.
pub(super) const PACKET_BYTES_MAX: usize = 512;

/// Ends the text of a packet with sockets for metrics.
const METRICS: &str = "\0metrics";
/// Ends the list.
const END: &str = "\0";
const CONTROL: &str = "control";
const DRAINED: &str = "drained";
const READY: &str = "ready";
const ANNOUNCED: &str = "announced";

/// What one side tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    /// Comes with sockets that listen.
    Listener(Address),
    /// Comes with the socket for operators' commands, which listens at this path.
    Control(PathBuf),
    /// An instance that gets nothing new by an operator's word, by a hash of its provider and place.
    Drained(u64),
    /// There is nothing more to hand over.
    End,
    /// The successor accepts.
    Ready,
    /// The service manager knows the successor.
    Announced,
}

/// What is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// As it was configured; `None` where a service manager chose it.
    pub(super) asked: Option<Listen>,
    /// With the port that was really taken.
    pub(super) address: Listen,
    /// It is one of `metrics.listen`.
    pub(super) metrics: bool,
}

impl Packet {
    /// What a packet says; `None` where it is none.
    #[must_use]
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let text = str::from_utf8(packet).ok()?;
        match text {
            END => return Some(Self::End),
            READY => return Some(Self::Ready),
            ANNOUNCED => return Some(Self::Announced),
            _ => {}
        }
        let (word, rest) = text.split_once('\0')?;
        match word {
            CONTROL => {
                let is_path = rest.starts_with('/') && !rest.contains('\0');
                is_path.then(|| Self::Control(rest.into()))
            }
            DRAINED => Some(Self::Drained(hash(rest)?)),
            _ => address(text).map(Self::Listener),
        }
    }

    /// The packet.
    #[must_use]
    pub(super) fn text(&self) -> String {
        match self {
            Self::Listener(Address {
                asked,
                address,
                metrics,
            }) => {
                let asked = asked.as_ref().map(Listen::to_string).unwrap_or_default();
                let purpose = if *metrics { METRICS } else { "" };
                format!("{asked}\0{address}{purpose}")
            }
            Self::Control(path) => format!("{CONTROL}\0{}", path.display()),
            Self::Drained(instance) => format!("{DRAINED}\0{instance:016x}"),
            Self::End => END.to_owned(),
            Self::Ready => READY.to_owned(),
            Self::Announced => ANNOUNCED.to_owned(),
        }
    }
}

/// 16 hexadecimal digits.
fn hash(text: &str) -> Option<u64> {
    let is_written_so = !text.bytes().any(|byte| byte.is_ascii_uppercase());
    let bytes = hex::bytes(text).filter(|_| is_written_so)?;
    Some(u64::from_be_bytes(bytes))
}

fn address(text: &str) -> Option<Address> {
    let (text, metrics) = match text.strip_suffix(METRICS) {
        Some(rest) => (rest, true),
        None => (text, false),
    };
    let (asked, address) = text.split_once('\0')?;
    let asked = match asked {
        "" => None,
        asked => Some(asked.parse().ok()?),
    };
    Some(Address {
        asked,
        address: address.parse().ok()?,
        metrics,
    })
}
