//! The response's half of an exchange: interim heads, the final one, content; or a tunnel.
//!
//! All transitions are in [`Response::after`]. What [`Final`] says was decided with the final head and holds from
//! there to the end.

use super::{Defect, Terms};
use crate::base::bytes::{within, within_mut};
use crate::http::framing::{self, BodyLength, Cursor, FramingError, Stripped};
use crate::http::head::{
    self, Fields, HeadError, HeadScan, HeadView, Name, ResponseHead, Section, Side,
};
use crate::http::keep_alive::KeepAlive;

/// Where the response stands.
#[derive(Debug)]
pub(crate) enum Response {
    /// Its final head has not come.
    Head(Heads),
    /// The final head is out, content follows.
    Content {
        /// Behind what has come.
        cursor: Cursor,
        /// What was decided with the head.
        decided: Final,
    },
    /// A 101 that was asked for is out: bytes are bytes, both ways (RFC 9110, section 7.8).
    Tunnel {
        /// The upstream takes no more; it may have said its last words.
        shut: bool,
    },
    /// All of it is out.
    Over {
        /// What was decided with the head.
        decided: Final,
        /// The upstream sent more than it.
        surplus: bool,
    },
}

/// What has come before the final head.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// Part of a head that is not whole.
    kept: Vec<u8>,
    scan: HeadScan,
    /// Interim responses.
    interim: u8,
    /// A byte has come.
    begun: bool,
    /// The time for it runs.
    pub(super) is_awaited: bool,
}

/// What is decided with the final head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Final {
    /// The chunked coding is taken off, for a client of HTTP/1.0.
    pub(super) strip: bool,
    /// The upstream's end is the content's end.
    pub(super) until_close: bool,
    /// The client is told that its connection stays.
    pub(super) client_persists: bool,
    /// For how long the upstream's stays, if it does.
    pub(super) keep_alive: KeepAlive,
}

/// What changes it.
#[derive(Debug)]
pub(super) enum Event<'a> {
    /// The request goes out once more, on another connection.
    Repetition,
    /// The final head is out.
    Answer(&'a Answer),
    /// A 101 is out.
    Switch,
    /// The last of the content has come, and more than it or not.
    Whole { surplus: bool },
    /// The upstream takes no more of the client's bytes.
    Refusal,
}

/// A final head that is to go out, and what came of its content with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    cursor: Cursor,
    decided: Final,
    /// Of the bytes behind the head.
    pub taken: Stripped,
    /// There was more than it.
    surplus: bool,
}

/// What comes next of a response whose final head is not out. Where a head is named, the fields are its own, and spans
/// count from its first byte.
#[derive(Debug)]
pub(crate) enum Next {
    /// More bytes are needed; what there was is kept.
    More,
    /// An interim response; to a client of HTTP/1.0 it is not passed on (RFC 9110, section 15.2).
    Interim { at: usize, head: ResponseHead },
    /// A 101 that was asked for. Behind its head the tunnel begins, once it is out.
    Switch { at: usize, head: ResponseHead },
    /// The final head. The state changes once it is out.
    Final {
        at: usize,
        head: ResponseHead,
        answer: Answer,
    },
}

/// Most interim responses to one request.
const INTERIM_MAX: u8 = 16;

impl Response {
    pub(super) fn new() -> Self {
        Self::Head(Heads::default())
    }

    /// Every transition there is; nothing where the state stays.
    fn after(&self, event: &Event<'_>) -> Option<Self> {
        match (self, event) {
            (Self::Head(_), Event::Repetition) => Some(Self::new()),
            (Self::Head(_), Event::Answer(answer)) => Some(match answer.taken.done {
                true => Self::Over {
                    decided: answer.decided,
                    surplus: answer.surplus,
                },
                false => Self::Content {
                    cursor: answer.cursor,
                    decided: answer.decided,
                },
            }),
            (Self::Head(_), Event::Switch) => Some(Self::Tunnel { shut: false }),
            (Self::Content { decided, .. }, Event::Whole { surplus }) => Some(Self::Over {
                decided: *decided,
                surplus: *surplus,
            }),
            (Self::Tunnel { .. }, Event::Refusal) => Some(Self::Tunnel { shut: true }),
            (Self::Head(_) | Self::Content { .. } | Self::Over { .. }, Event::Refusal) => None,
            // What has begun is not asked for again, a head comes once, and nothing follows an end.
            (
                Self::Content { .. } | Self::Tunnel { .. } | Self::Over { .. },
                Event::Repetition | Event::Answer(_) | Event::Switch,
            )
            | (Self::Head(_) | Self::Tunnel { .. } | Self::Over { .. }, Event::Whole { .. }) => {
                debug_assert!(false, "{event:?} in {self:?}");
                None
            }
        }
    }

    pub(super) fn apply(&mut self, event: &Event<'_>) {
        if let Some(state) = self.after(event) {
            *self = state;
        }
    }

    /// `n` bytes lie at the front of `room`, which has space for a head and one receive. Puts what was kept of the head
    /// before them; how much lies there then, or nothing while that cannot be a whole head.
    ///
    /// # Errors
    /// What cannot become a head.
    pub(super) fn gather(&mut self, room: &mut [u8], n: usize) -> Result<Option<usize>, Defect> {
        let Self::Head(heads) = self else {
            return Ok(Some(n));
        };
        heads.begun = true;
        if heads.kept.is_empty() {
            return Ok(Some(n));
        }
        heads.kept.extend_from_slice(within(room, ..n));
        match heads.scan.find_end(&heads.kept, Side::Response) {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(Defect::Head(error)),
        }
        let kept = std::mem::take(&mut heads.kept);
        heads.scan = HeadScan::default();
        let Some(room) = room.get_mut(..kept.len()) else {
            return Err(Defect::Head(HeadError::TooLong));
        };
        room.copy_from_slice(&kept);
        Ok(Some(kept.len()))
    }

    /// Reads on in `bytes`, which begin where the head before ended.
    ///
    /// # Errors
    /// What is no response, or not one that was asked for.
    pub(super) fn next(
        &mut self,
        bytes: &mut [u8],
        fields: &mut Fields,
        terms: &Terms,
        stays: impl FnOnce(KeepAlive) -> bool,
    ) -> Result<Next, Defect> {
        let Self::Head(heads) = self else {
            debug_assert!(false, "a head comes once");
            return Err(Defect::Unasked);
        };
        let mut at = 0;
        let head = loop {
            let rest = within(bytes, at..);
            match head::response(&mut heads.scan, rest, fields) {
                Ok(Some(head)) => break head,
                Ok(None) => {
                    heads.kept.extend_from_slice(rest);
                    return Ok(Next::More);
                }
                // Blanks before a colon are taken out, once for a head (RFC 9112, section 5.1).
                Err(HeadError::BadFieldName) => {
                    heads.scan = HeadScan::default();
                    let closed_up = head::close_up(within_mut(bytes, at..));
                    at += closed_up.ok_or(Defect::Head(HeadError::BadFieldName))?;
                }
                Err(error) => return Err(Defect::Head(error)),
            }
        };
        heads.scan = HeadScan::default();
        let bytes = within_mut(bytes, at..);
        match head.status {
            101 if terms.upgrade && names_websocket(Section::new(fields, bytes)) => {
                Ok(Next::Switch { at, head })
            }
            101 => Err(Defect::Unasked),
            100..=199 if heads.interim < INTERIM_MAX => {
                heads.interim += 1;
                Ok(Next::Interim { at, head })
            }
            100..=199 => Err(Defect::Interim),
            _ => {
                let answer = Answer::new(&head, fields, bytes, terms, stays);
                let answer = answer.map_err(Defect::Framing)?;
                Ok(Next::Final { at, head, answer })
            }
        }
    }

    /// A piece of content: how much of it is that, now at its front.
    ///
    /// # Errors
    /// Framing that nobody can follow.
    pub(super) fn piece(&mut self, piece: &mut [u8]) -> Result<Stripped, Defect> {
        let Self::Content { cursor, decided } = self else {
            debug_assert!(false, "no content outside of it");
            return Err(Defect::Unasked);
        };
        let taken = take(cursor, decided.strip, piece).map_err(Defect::Framing)?;
        if taken.done {
            let surplus = taken.taken < piece.len();
            self.apply(&Event::Whole { surplus });
        }
        Ok(taken)
    }

    /// Whether the answer to a repetition may be another one: nothing of this one has come.
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self, Self::Head(heads) if !heads.begun)
    }

    /// Whether the upstream is in the midst of a head.
    pub(super) fn is_amid_head(&self) -> bool {
        matches!(self, Self::Head(heads) if !heads.kept.is_empty())
    }

    /// Only the connection's end tells the client that the response is whole.
    pub(super) fn ends_with_connection(&self) -> bool {
        match self {
            Self::Head(_) => false,
            Self::Content { decided, .. } | Self::Over { decided, .. } => {
                decided.ends_with_connection()
            }
            Self::Tunnel { .. } => true,
        }
    }
}

impl Answer {
    /// `bytes` are the head and what came behind it; of that, content moves to its front.
    fn new(
        head: &ResponseHead,
        fields: &Fields,
        bytes: &mut [u8],
        terms: &Terms,
        stays: impl FnOnce(KeepAlive) -> bool,
    ) -> Result<Self, FramingError> {
        let view = HeadView::new(head, fields, &*bytes);
        let length = framing::response_body(view, terms.head_only)?;
        let keep_alive = match framing::persists(head.version, view.section) {
            true => KeepAlive::read(view.section),
            false => KeepAlive::CLOSE,
        };
        let mut decided = Final {
            strip: terms.http10 && length == BodyLength::Chunked,
            until_close: length == BodyLength::UntilClose,
            client_persists: false,
            keep_alive,
        };
        decided.client_persists = !decided.ends_with_connection() && stays(keep_alive);
        let mut cursor = Cursor::new(length);
        let piece = within_mut(bytes, head.len..);
        // Before the head goes out: so a fault in what came with it is still a 502.
        let taken = take(&mut cursor, decided.strip, piece)?;
        Ok(Self {
            cursor,
            decided,
            taken,
            surplus: taken.taken < piece.len(),
        })
    }

    /// Whether the client is told that its connection stays.
    pub(crate) fn persists(&self) -> bool {
        self.decided.client_persists
    }

    /// Whether only the connection's end tells the client that the response is whole.
    pub(crate) fn ends_with_connection(&self) -> bool {
        self.decided.ends_with_connection()
    }
}

impl Final {
    fn ends_with_connection(self) -> bool {
        self.until_close || self.strip
    }
}

/// Only a websocket was asked for (RFC 9110, section 7.8).
fn names_websocket(section: Section<'_>) -> bool {
    section.lists(Name::Upgrade, b"websocket")
}

/// How much of a piece belongs to the response, and how much of that goes to the client.
fn take(cursor: &mut Cursor, strip: bool, piece: &mut [u8]) -> Result<Stripped, FramingError> {
    match strip {
        true => cursor.strip(piece),
        false => cursor.relay(piece),
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn decided(until_close: bool) -> Final {
        Final {
            strip: false,
            until_close,
            client_persists: true,
            keep_alive: KeepAlive::default(),
        }
    }

    fn answer(done: bool, surplus: bool) -> Answer {
        Answer {
            cursor: Cursor::new(BodyLength::Length(4)),
            decided: decided(true),
            taken: Stripped {
                taken: 0,
                kept: 0,
                done,
            },
            surplus,
        }
    }

    fn states() -> [Response; 6] {
        [
            Response::Head(Heads {
                kept: b"HTTP/1.1 2".to_vec(),
                interim: 3,
                begun: true,
                is_awaited: true,
                ..Heads::default()
            }),
            Response::Content {
                cursor: Cursor::new(BodyLength::Length(9)),
                decided: decided(false),
            },
            Response::Tunnel { shut: false },
            Response::Tunnel { shut: true },
            Response::Over {
                decided: decided(false),
                surplus: false,
            },
            Response::Over {
                decided: decided(false),
                surplus: true,
            },
        ]
    }

    fn events(answers: &[Answer; 3]) -> [Event<'_>; 8] {
        let [begun, whole, more] = answers;
        [
            Event::Repetition,
            Event::Answer(begun),
            Event::Answer(whole),
            Event::Answer(more),
            Event::Switch,
            Event::Whole { surplus: false },
            Event::Whole { surplus: true },
            Event::Refusal,
        ]
    }

    /// A state in short.
    fn short(response: &Response) -> String {
        match response {
            Response::Head(heads) if heads.begun => format!("head of {}", heads.kept.len()),
            Response::Head(heads) => format!("head {} {}", heads.interim, heads.is_awaited),
            Response::Content { cursor, decided } => {
                format!("content {} {}", cursor.ahead(), decided.until_close)
            }
            Response::Tunnel { shut } => format!("tunnel {shut}"),
            Response::Over { decided, surplus } => {
                format!("over {surplus} {}", decided.until_close)
            }
        }
    }

    /// `-`: cannot be, and is found in a build with assertions.
    #[test]
    fn every_event_in_every_state() {
        let never = "-";
        let head = [
            "head 0 false",
            "content 4 true",
            "over false true",
            "over true true",
            "tunnel false",
            never,
            never,
            "head of 10",
        ];
        let ended = |state| [never, never, never, never, never, never, never, state];
        let mut content = ended("content 9 false");
        content[5..7].copy_from_slice(&["over false false", "over true false"]);
        let table = [
            head,
            content,
            ended("tunnel true"),
            ended("tunnel true"),
            ended("over false false"),
            ended("over true false"),
        ];
        let answers = [(false, false), (true, false), (true, true)];
        let answers = answers.map(|(done, surplus)| answer(done, surplus));
        for (state, row) in table.into_iter().enumerate() {
            for (event, expected) in row.into_iter().enumerate() {
                let from = states().into_iter().nth(state).unwrap();
                let by = &events(&answers)[event];
                let shown = format!("{by:?} in {from:?}");
                let after = catch_unwind(AssertUnwindSafe(|| {
                    short(from.after(by).as_ref().unwrap_or(&from))
                }));
                assert_eq!(after.as_deref().unwrap_or(never), expected, "{shown}");
            }
        }
    }
}
