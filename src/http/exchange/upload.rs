//! The request's half of an exchange: content that goes on to the upstream as it comes.
//!
//! All transitions are in [`Upload::after`]. A request without content, or whose content came with its head, begins
//! as [`Upload::Done`].

use super::{Failure, Terms};
use crate::http::framing::Cursor;
use crate::http::head::Side;

/// Where the request's content stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upload {
    /// The client may wait for a 100 and has sent no more of its content since its head (RFC 9110,
    /// section 10.1.1): nobody can tell whether content or another request comes next.
    Expecting {
        /// Behind what came with the head.
        cursor: Cursor,
    },
    /// Content goes on as it comes.
    Sending {
        /// Behind what has come.
        cursor: Cursor,
    },
    /// The upstream takes no more, before the content's end; an answer of it counts.
    Refused {
        /// Behind what has come.
        cursor: Cursor,
        /// The client may still wait for a 100.
        expecting: bool,
    },
    /// All of it has come.
    Done {
        /// The upstream did not take its end.
        refused: bool,
    },
}

/// What changes it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// Content has come, up to here.
    Content(Cursor),
    /// The client was told to go on.
    Continued,
    /// The upstream takes no more.
    Refusal,
}

impl Upload {
    /// Before the first wait; `cursor` stands behind what came with the head.
    pub(super) fn new(cursor: Cursor, expects_continue: bool) -> Self {
        match (cursor.is_done(), expects_continue) {
            (true, _) => Self::Done { refused: false },
            (false, true) => Self::Expecting { cursor },
            (false, false) => Self::Sending { cursor },
        }
    }

    /// Every transition there is.
    fn after(self, event: Event) -> Self {
        match (self, event) {
            (Self::Expecting { .. } | Self::Sending { .. }, Event::Content(cursor)) => {
                Self::new(cursor, false)
            }
            (Self::Expecting { cursor }, Event::Continued) => Self::Sending { cursor },
            (Self::Expecting { cursor }, Event::Refusal) => Self::Refused {
                cursor,
                expecting: true,
            },
            (Self::Sending { cursor }, Event::Refusal) => Self::Refused {
                cursor,
                expecting: false,
            },
            (Self::Refused { .. }, Event::Content(cursor)) => match cursor.is_done() {
                true => Self::Done { refused: true },
                false => Self::Refused {
                    cursor,
                    expecting: false,
                },
            },
            (Self::Refused { cursor, .. }, Event::Continued) => Self::Refused {
                cursor,
                expecting: false,
            },
            (Self::Done { .. }, Event::Refusal) => Self::Done { refused: true },
            (Self::Sending { .. } | Self::Done { .. }, Event::Continued)
            | (Self::Refused { .. }, Event::Refusal)
            | (Self::Done { .. }, Event::Content(_)) => self,
        }
    }

    pub(super) fn apply(&mut self, event: Event) {
        *self = self.after(event);
    }

    /// Bytes from the client: how many of them are content. The rest is behind the request.
    ///
    /// # Errors
    /// Content that no provider shall take for whole, or that is too long.
    pub(super) fn content(&mut self, bytes: &[u8], terms: &Terms) -> Result<usize, Failure> {
        let mut cursor = match *self {
            Self::Expecting { cursor }
            | Self::Sending { cursor }
            | Self::Refused { cursor, .. } => cursor,
            Self::Done { .. } => return Ok(0),
        };
        let advance = match terms.is_judged {
            true => cursor.advance_judged(bytes),
            false => cursor.advance(bytes, Side::Request),
        };
        let taken = advance.map_err(Failure::Content)?.taken;
        if !terms.content_limit.allows(cursor.content_bytes()) {
            return Err(Failure::ContentTooLong);
        }
        self.apply(Event::Content(cursor));
        Ok(taken)
    }

    /// The request has come whole.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done { .. })
    }

    /// The upstream still takes what comes.
    pub(super) fn is_wanted(&self) -> bool {
        matches!(self, Self::Expecting { .. } | Self::Sending { .. })
    }

    /// The upstream takes no more.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Done { refused: true })
    }

    /// What is still to come of it, and whether the client may be waiting for a 100.
    pub(crate) fn rest(&self) -> Option<(Cursor, bool)> {
        match *self {
            Self::Expecting { cursor } => Some((cursor, true)),
            Self::Sending { cursor } => Some((cursor, false)),
            Self::Refused { cursor, expecting } => Some((cursor, expecting)),
            Self::Done { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::framing::{BodyLength, ContentLimit, FramingError};

    fn cursor(left: u64) -> Cursor {
        Cursor::new(BodyLength::Length(left))
    }

    /// A state in short: its name, and what is left of the content.
    fn short(upload: Upload) -> String {
        let left = |cursor: Cursor| cursor.remaining().unwrap();
        match upload {
            Upload::Expecting { cursor } => format!("expecting {}", left(cursor)),
            Upload::Sending { cursor } => format!("sending {}", left(cursor)),
            Upload::Refused { cursor, expecting } => {
                format!("refused {} {expecting}", left(cursor))
            }
            Upload::Done { refused } => format!("done {refused}"),
        }
    }

    #[test]
    fn every_event_in_every_state() {
        let refused = |expecting| Upload::Refused {
            cursor: cursor(9),
            expecting,
        };
        let states = [
            Upload::Expecting { cursor: cursor(9) },
            Upload::Sending { cursor: cursor(9) },
            refused(true),
            refused(false),
            Upload::Done { refused: false },
            Upload::Done { refused: true },
        ];
        let events = [
            Event::Content(cursor(4)),
            Event::Content(cursor(0)),
            Event::Continued,
            Event::Refusal,
        ];
        let table = [
            ["sending 4", "done false", "sending 9", "refused 9 true"],
            ["sending 4", "done false", "sending 9", "refused 9 false"],
            [
                "refused 4 false",
                "done true",
                "refused 9 false",
                "refused 9 true",
            ],
            [
                "refused 4 false",
                "done true",
                "refused 9 false",
                "refused 9 false",
            ],
            ["done false", "done false", "done false", "done true"],
            ["done true", "done true", "done true", "done true"],
        ];
        for (state, row) in states.into_iter().zip(table) {
            for (event, expected) in events.into_iter().zip(row) {
                assert_eq!(
                    short(state.after(event)),
                    expected,
                    "{event:?} in {state:?}"
                );
            }
        }
    }

    #[test]
    fn it_begins_where_the_head_left_it() {
        let rows = [
            (9, true, "expecting 9"),
            (9, false, "sending 9"),
            (0, true, "done false"),
            (0, false, "done false"),
        ];
        for (left, expects, state) in rows {
            assert_eq!(short(Upload::new(cursor(left), expects)), state);
        }
    }

    #[test]
    fn content_is_told_from_what_is_behind_it() {
        let terms = Terms {
            content_limit: ContentLimit(Some(6)),
            ..Terms::default()
        };
        let sending = |left| Upload::new(cursor(left), false);
        let mut upload = sending(6);
        assert_eq!(upload.content(b"abc", &terms), Ok(3));
        assert_eq!(short(upload), "sending 3");
        assert_eq!(upload.content(b"defGET", &terms), Ok(3));
        assert_eq!(short(upload), "done false");
        assert_eq!(upload.content(b"GET", &terms), Ok(0));
        assert_eq!(
            sending(7).content(b"abcdefg", &terms),
            Err(Failure::ContentTooLong)
        );
        let mut chunked = Upload::new(Cursor::new(BodyLength::Chunked), false);
        assert_eq!(
            chunked.content(b"x\r\n", &terms),
            Err(Failure::Content(FramingError::ChunkSizeInvalid))
        );
    }
}
