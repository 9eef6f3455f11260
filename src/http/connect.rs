//! CONNECT to a proxy (RFC 9110, section 9.3.6): the request, and what the answer to it means.
//!
//! A proxy is trusted with reachability and nothing else: its answer is read as strictly as a provider's, of
//! its text only the status is kept, and the bytes behind it belong to the tunnel.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
#[cfg(test)]
mod tests;

use super::head::{Fields, HeadError, HeadScan, ResponseHead, Side, close_up, response};
use crate::base::bytes::within;
use crate::base::steps;

/// Longest answer, in bytes, interim responses and the last blank line included.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The request for a tunnel to `authority`, host and port; `basic` is user and password in base64.
#[must_use]
pub(crate) fn request(authority: &str, basic: Option<&[u8]>) -> Vec<u8> {
    let mut out = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(basic) = basic {
        out.extend_from_slice(b"Proxy-Authorization: Basic ");
        out.extend_from_slice(basic);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Why there is no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerError {
    /// The proxy refused, with this status.
    Refused(u16),
    /// The answer is no HTTP/1.1 response.
    Malformed(HeadError),
    /// It is longer than [`ANSWER_BYTES_MAX`].
    TooLong,
}

/// Reads an answer as it comes.
#[derive(Default)]
pub(crate) struct TunnelAnswer {
    /// Bytes of interim responses.
    interim: usize,
    scan: HeadScan,
    fields: Fields,
}

impl TunnelAnswer {
    /// The length of the answer that opens the tunnel, once it is at the front of `buf`, which holds all that
    /// has come and only ever grows. Any 2xx opens it, without content whatever its fields say. `None`: more
    /// bytes are needed.
    ///
    /// # Errors
    /// As early as the bytes show it; the connection is of no use then.
    pub(crate) fn read(&mut self, buf: &[u8]) -> Result<Option<usize>, AnswerError> {
        let window = buf.get(..ANSWER_BYTES_MAX).unwrap_or(buf);
        loop {
            let rest = within(window, self.interim..);
            let head = match response(&mut self.scan, rest, &mut self.fields) {
                Err(HeadError::BadFieldName) => self.closed_up(rest).map(Some),
                read => read,
            };
            match head.map_err(AnswerError::Malformed)? {
                Some(head) => match head.status {
                    200..=299 => return Ok(Some(self.interim + head.len)),
                    // Nobody asked for another protocol.
                    100 | 102..=199 => {
                        self.interim += head.len;
                        self.scan = HeadScan::default();
                    }
                    status => return Err(AnswerError::Refused(status)),
                },
                None if window.len() == ANSWER_BYTES_MAX => return Err(AnswerError::TooLong),
                None => return Ok(None),
            }
        }
    }

    /// Reads a whole head once more, without the blanks before its colons; its length is as it was.
    #[cold]
    fn closed_up(&mut self, buf: &[u8]) -> Result<ResponseHead, HeadError> {
        let len = self.scan.find_end(buf, Side::Response)?.unwrap_or(0);
        let mut head = within(buf, ..len).to_vec();
        steps::count(len);
        let start = close_up(&mut head).ok_or(HeadError::BadFieldName)?;
        let closed_up = within(&head, start..);
        let head = response(&mut HeadScan::default(), closed_up, &mut self.fields)?;
        let head = head.ok_or(HeadError::BadFieldName)?;
        Ok(ResponseHead { len, ..head })
    }
}
