//! Heads of answers that commands and the exporter get. The data path's parser is left to the data path: with another caller
//! it would not be compiled into its place there any more.

use std::io::{self, Read};

use crate::base::bytes::within;
use crate::base::number;

/// What an answer's head says.
pub(crate) struct Head {
    /// The status of the answer.
    pub status: u16,
    /// Where the content begins.
    pub length: usize,
    /// How much of it there is to be.
    pub declared: Option<u64>,
    /// When to ask again, as it is written.
    pub retry_after: Option<String>,
}

/// Whoever answers speaks something else.
#[derive(Debug)]
pub(crate) struct NoHttp;

impl Head {
    /// The head at the beginning of an answer; `None` while it is not whole.
    ///
    /// # Errors
    /// As early as the bytes show that it is none.
    pub(crate) fn read(answer: &[u8]) -> Result<Option<Self>, NoHttp> {
        if !answer
            .iter()
            .zip(VERSION)
            .all(|(byte, wanted)| byte == wanted)
        {
            return Err(NoHttp);
        }
        let Some(end) = answer.windows(END.len()).position(|bytes| bytes == END) else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(within(answer, ..end));
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(number::decimal).ok_or(NoHttp)?;
        let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
        let value = |name: &str| {
            let named = |(found, _): &&(&str, &str)| found.eq_ignore_ascii_case(name);
            fields.iter().find(named).map(|(_, value)| value.trim())
        };
        Ok(Some(Self {
            status: u16::try_from(status).map_err(|_| NoHttp)?,
            length: end + END.len(),
            declared: value("content-length").and_then(number::decimal),
            retry_after: value("retry-after").map(str::to_owned),
        }))
    }

    /// What follows the head in the answer.
    #[must_use]
    pub(crate) fn content<'a>(&self, answer: &'a [u8]) -> &'a [u8] {
        within(answer, self.length..)
    }
}

/// Reads up to the end of the final head; interim ones go before it.
///
/// # Errors
/// Why there is none.
pub(crate) fn final_status(stream: &mut impl Read) -> io::Result<u16> {
    Ok(final_head(stream)?.0.status)
}

/// Reads up to the end of the final head, and says what has come of the content behind it.
///
/// # Errors
/// Why there is none.
pub(crate) fn final_head(stream: &mut impl Read) -> io::Result<(Head, Vec<u8>)> {
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut piece)?;
        if read == 0 {
            return Err(io::Error::other("it closed the connection"));
        }
        seen.extend_from_slice(within(&piece, ..read));
        let no_http = |_| io::Error::other("it is not HTTP/1.1");
        while let Some(head) = Head::read(&seen).map_err(no_http)? {
            match head.status {
                100..=199 => drop(seen.drain(..head.length)),
                _ => {
                    let content = seen.split_off(head.length.min(seen.len()));
                    return Ok((head, content));
                }
            }
        }
        if seen.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("its head is over 64 KiB"));
        }
    }
}

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// What every answer begins with.
const VERSION: &[u8] = b"HTTP/1.";
/// Behind a head.
const END: &[u8] = b"\r\n\r\n";
