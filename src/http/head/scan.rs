//! The end of a head that arrives in pieces.

use memchr::memchr2;

use super::grammar::{request_line, request_line_begun, status_line, status_line_begun};
use super::parts::{EMPTY_LINES_MAX, HEAD_BYTES_MAX, HeadError, Side, offset, window};
use crate::base::bytes::within;
use crate::base::steps;

/// Remembers how far a growing buffer has been looked at, so that a head that arrives byte by byte
/// is not read again from its start.
///
/// `line_start <= scanned <= HEAD_BYTES_MAX`, both counted from the head's first byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    /// Bytes already looked at.
    scanned: u32,
    /// Start of the line under way.
    line_start: u32,
    /// The start line has ended.
    in_fields: bool,
}

impl HeadScan {
    /// Looks for the end of a head in a buffer that only ever grows at its end; returns the head's
    /// length, blank line included, or `None` while it has not come.
    ///
    /// Work per byte is constant however the bytes arrive. Line ends and the start line are judged
    /// as soon as they are there, so that what is no HTTP is refused without waiting for more.
    ///
    /// # Errors
    ///
    /// Bare LF, bare CR, obs-fold, a malformed start line, or a limit that is already exceeded.
    pub fn find_end(&mut self, buf: &[u8], side: Side) -> Result<Option<usize>, HeadError> {
        let window = window(buf);
        loop {
            let line = within(window, self.line_start as usize..);
            let known = (self.scanned - self.line_start) as usize;
            let found = memchr2(b'\r', b'\n', within(line, known..));
            let text_len = found.map_or(line.len(), |at| known + at);
            steps::count(1 + text_len - known.min(text_len));
            let (text, end) = line.split_at_checked(text_len).unwrap_or((line, &[]));
            self.check_begun(text, side)?;
            match end {
                [] | [b'\r'] => {
                    self.scanned = self.line_start + offset(text_len);
                    break;
                }
                [b'\r', b'\n', ..] => {}
                [b'\r', ..] => return Err(HeadError::BareCr),
                _ => return Err(HeadError::BareLf),
            }
            let next = self.line_start + offset(text_len + 2);
            if self.in_fields && text.is_empty() {
                return Ok(Some(next as usize));
            }
            self.check_ended(text, side)?;
            (self.line_start, self.scanned) = (next, next);
        }
        if window.len() < HEAD_BYTES_MAX {
            Ok(None)
        } else {
            Err(HeadError::TooLong)
        }
    }

    /// Nothing has been looked at. Most heads come in one read: they are parsed at once, and only
    /// what is not a whole, fit head is scanned, which says what it lacks or why it is refused.
    pub(super) fn is_fresh(&self) -> bool {
        self.scanned == 0
    }

    /// Judges the part of a line that has come; for a whole line it says nothing else than the
    /// parser would, so that the answer does not depend on how the input was cut.
    fn check_begun(&self, text: &[u8], side: Side) -> Result<(), HeadError> {
        match side {
            _ if self.in_fields => match text.first() {
                Some(b' ' | b'\t') => Err(HeadError::ObsFold),
                _ => Ok(()),
            },
            Side::Request => request_line_begun(text),
            Side::Response => status_line_begun(text),
        }
    }

    /// Judges a line that has ended, if it is the start line or stands before it.
    fn check_ended(&mut self, text: &[u8], side: Side) -> Result<(), HeadError> {
        if self.in_fields {
            return Ok(());
        }
        match side {
            // Every line before the request line is empty, so two bytes long.
            Side::Request if text.is_empty() && self.line_start < offset(2 * EMPTY_LINES_MAX) => {
                return Ok(());
            }
            Side::Request => request_line(text).map(drop)?,
            Side::Response => status_line(text).map(drop)?,
        }
        steps::count(text.len());
        self.in_fields = true;
        Ok(())
    }
}
