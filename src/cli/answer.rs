//! Heads of answers that commands get. The data path's parser is left to the data path: with another caller it would not
//! be compiled into its place there any more. Pure.

use crate::base::number;

/// What an answer's head says.
pub(crate) struct Head {
    /// The status of the answer.
    pub status: u16,
    /// Where the content begins.
    pub length: usize,
    /// How much of it there is to be.
    pub declared: Option<u64>,
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
        let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(number::decimal).ok_or(NoHttp)?;
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        let declared = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        Ok(Some(Self {
            status: u16::try_from(status).map_err(|_| NoHttp)?,
            length: end + END.len(),
            declared: declared.and_then(|(_, digits)| number::decimal(digits.trim())),
        }))
    }

    /// What follows the head in the answer.
    #[must_use]
    pub(crate) fn content<'a>(&self, answer: &'a [u8]) -> &'a [u8] {
        answer.get(self.length..).unwrap_or_default()
    }
}

/// What every answer begins with.
const VERSION: &[u8] = b"HTTP/1.";
/// Behind a head.
const END: &[u8] = b"\r\n\r\n";
