//! Judges what one end of a connection received: could its reader take it for whole?

use crate::support::message::hex;
use crate::support::wire::lossy;
use crate::support::{End, Head};

use super::script::From;

/// What a recipient made of everything that came.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// The status of the last response that began, 0 while there is none.
    pub(super) status: u16,
    /// Every message that began came to its end.
    pub(super) whole: bool,
}

/// Reads the messages that `to` received, byte by byte the slow way, until `end`.
pub(super) fn judge(to: From, mut bytes: &[u8], end: &End) -> Verdict {
    let mut verdict = Verdict::default();
    loop {
        if bytes.is_empty() {
            verdict.whole = true;
            return verdict;
        }
        let Some(at) = find(bytes, b"\r\n\r\n") else {
            return verdict;
        };
        let head = Head::parse(bytes[..at + 4].to_vec());
        bytes = &bytes[at + 4..];
        if to == From::Client {
            verdict.status = head.status();
        }
        let content = match head.value("content-length") {
            Some(length) => bytes.get(length.parse().unwrap_or(usize::MAX)..),
            None if head.value("transfer-encoding").is_some() => behind_chunks(bytes),
            None if to == From::Upstream || matches!(verdict.status, 100 | 102..=199 | 204) => {
                Some(bytes)
            }
            // Only the connection's end tells, behind a 101 as well.
            None => {
                verdict.whole = *end == End::Clean;
                return verdict;
            }
        };
        match content {
            Some(rest) => bytes = rest,
            None => return verdict,
        }
    }
}

/// What follows the trailer section.
fn behind_chunks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let at = find(bytes, b"\r\n")?;
        let line = lossy(&bytes[..at]);
        let size = hex(&line);
        bytes = &bytes[at + 2..];
        if size == 0 {
            break;
        }
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
    loop {
        let at = find(bytes, b"\r\n")?;
        bytes = &bytes[at + 2..];
        if at == 0 {
            return Some(bytes);
        }
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}
