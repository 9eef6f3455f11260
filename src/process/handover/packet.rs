//! Packets of a hand-over as bytes. Pure.
//!
//! A listening socket's packet is the configured address, a NUL, the actual one, and the word `metrics` behind another NUL
//! where it is one of `metrics.listen`. The others begin with a word that is no address. Limits on requests at once are
//! called by a hash of their names.

use std::path::PathBuf;

use crate::base::{hex, number};
use crate::config::Listen;
use crate::providers::queue::handed::Said;

/// The longest packet holds two paths of Unix sockets.
pub(super) const PACKET_BYTES_MAX: usize = 512;

/// Ends the text of a packet with sockets for metrics.
const METRICS: &str = "\0metrics";
/// Ends the list.
const END: &str = "\0";
const CONTROL: &str = "control";
const DRAINED: &str = "drained";
const READY: &str = "ready";
const READY_TO_SHARE: &str = "ready\0limits";
const LEFT: &str = "left";
const GIVE: &str = "give";
const WANT: &str = "want";
const ANNOUNCED: &str = "announced";

/// What one side tells the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    /// Comes with sockets that listen.
    Listener(Address),
    /// Comes with the socket for operators' commands, which listens at this path.
    Control(PathBuf),
    /// An instance that gets nothing new by an operator's word, by a hash of its provider and place.
    Drained(u64),
    /// There is nothing more to hand over.
    End,
    /// The successor accepts.
    Ready {
        /// It knows of limits that two processes share.
        shares: bool,
    },
    /// So many permits of a limit are not the successor's yet.
    Left(u64, u32),
    /// What one process says of a limit to the one before or behind.
    Said(u64, Said),
    /// The service manager knows the successor.
    Announced,
}

/// What is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
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
            READY => return Some(Self::Ready { shares: false }),
            READY_TO_SHARE => return Some(Self::Ready { shares: true }),
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
            LEFT | GIVE | WANT => {
                let (limit, count) = rest.split_once('\0')?;
                let (limit, count) = (hash(limit)?, permits(count)?);
                Some(match word {
                    LEFT => Self::Left(limit, count),
                    GIVE => Self::Said(limit, Said::Give(count)),
                    _ => Self::Said(limit, Said::Want(count)),
                })
            }
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
            Self::Ready { shares: false } => READY.to_owned(),
            Self::Ready { shares: true } => READY_TO_SHARE.to_owned(),
            Self::Left(limit, count) => counted(LEFT, *limit, *count),
            Self::Said(limit, Said::Give(count)) => counted(GIVE, *limit, *count),
            Self::Said(limit, Said::Want(count)) => counted(WANT, *limit, *count),
            Self::Announced => ANNOUNCED.to_owned(),
        }
    }
}

fn counted(word: &str, limit: u64, count: u32) -> String {
    format!("{word}\0{limit:016x}\0{count}")
}

/// A number as it is written here.
fn permits(text: &str) -> Option<u32> {
    let is_written_so = text == "0" || !text.starts_with('0');
    let number = number::decimal(text).filter(|_| is_written_so)?;
    u32::try_from(number).ok()
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
