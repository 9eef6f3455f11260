//! One exchange as a machine on bytes: a request's content, its response, and what the two have to do with one
//! another (RFC 9110, RFC 9112). No socket, clock or runtime.
//!
//! Bytes, ends and time-outs go in; what is to be sent on, refused or cut comes out. [`Upload`] is the request's half,
//! [`Response`] the other; each has its transitions in one function. What they need of each other is here: whether the
//! client's connection stays, when the exchange is over, what is waited for, what may be sent once more. Heads are
//! rewritten and sent by the caller, who says when that is done.

#[cfg(any(test, fuzzing))]
mod choices;
#[cfg(any(test, fuzzing))]
mod model;
mod response;
#[cfg(any(test, fuzzing))]
mod script;
#[cfg(any(test, fuzzing))]
pub mod simulation;
mod terms;
#[cfg(test)]
mod tests;
mod upload;

#[cfg(any(test, fuzzing))]
pub use choices::Choices;

pub(crate) use response::{Answer, Next, Response};
pub(crate) use terms::{Defect, Failure, Terms};
pub(crate) use upload::Upload;

use self::response::Event as ResponseEvent;
use self::upload::Event as UploadEvent;
use super::framing::{Cursor, Stripped};
use super::head::{Fields, ResponseHead};
use super::keep_alive::KeepAlive;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Exchange {
    terms: Terms,
    upload: Upload,
    response: Response,
    /// Why what came is no response, where that is known.
    defect: Option<Defect>,
}

/// What ends an exchange before both messages have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Nothing of the answer is out: an error of the gateway's own takes its place.
    Refuse(Failure),
    /// The answer breaks off, and the client has to see that.
    Cut {
        /// Why.
        failure: Failure,
        /// Only a reset shows it.
        reset: bool,
    },
    /// The client has left, or closed its half and still reads: the two cannot be told apart.
    Left {
        /// The upstream was to receive more; it may have stopped reading, and only a reset tells it.
        abort_upstream: bool,
        /// Of the answer too the end would look like one.
        reset: bool,
    },
    /// A side of the tunnel has ended it in order.
    HungUp,
}

/// How the client's connection goes on behind an exchange.
#[derive(Debug)]
pub(crate) enum After {
    /// The next request may come.
    Persist,
    /// As `Persist`, once the rest of this request's unwanted content has been read.
    Discard(Cursor),
    /// Orderly end once everything is sent; `linger` goes on reading what the client may still be sending,
    /// so that a reset does not overtake the answer. So does the start of another request.
    Close {
        /// Whether the client may still be sending this request.
        linger: bool,
    },
    /// The answer broke off and the client has to see that; `reset` where only a reset shows it.
    Truncate {
        /// The answer's end was to be the connection's end.
        reset: bool,
    },
    /// The client has left.
    Drop,
}

/// What is done when both messages have ended.
#[derive(Debug)]
pub(crate) struct Conclusion {
    /// The upstream's connection may serve another request, for so long.
    pub reusable: Option<KeepAlive>,
    /// The upstream closes behind this response, or has.
    pub upstream_closes: bool,
    /// How the client's connection goes on.
    pub after: After,
}

/// What came of an upstream's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UpstreamEnd {
    /// It was the response's.
    Whole,
    /// The request goes out once more, on another connection.
    Repeat,
}

/// What an exchange waits for, as far as a time-out is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// Anything in a tunnel.
    Tunnel,
    /// That content moves, either way.
    Content,
    /// The head of the response. Interim responses do not prolong it, so it is said once.
    Head,
}

/// How far the streams to both sides have got: what a machine on bytes has to be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// The client has, or its kernel, what was sent to it.
    pub client_flushed: bool,
    /// The upstream has what was sent to it.
    pub upstream_flushed: bool,
    /// Nothing of what the client sent waits behind the request.
    pub carry_empty: bool,
    /// More may wait there.
    pub may_carry: bool,
}

impl Exchange {
    /// Before the request goes out. `cursor` stands behind the content that came with its head; `expects_continue` is a
    /// client that may wait for a 100 before it sends the rest.
    pub(crate) fn new(terms: Terms, cursor: Cursor, expects_continue: bool) -> Self {
        Self {
            terms,
            upload: Upload::new(cursor, expects_continue),
            response: Response::new(),
            defect: None,
        }
    }

    /// The request's half.
    pub(crate) fn upload(&self) -> &Upload {
        &self.upload
    }

    /// Bytes from the client: how many of them belong to this request, or the tunnel, and go on unless the upstream takes
    /// no more. The rest is behind the request.
    ///
    /// # Errors
    /// Content that cannot go on ends the exchange; none of these bytes may.
    pub(crate) fn client_sent(&mut self, bytes: &[u8]) -> Result<usize, Stop> {
        if self.is_tunnel() {
            return Ok(bytes.len());
        }
        let taken = self.upload.content(bytes, &self.terms);
        taken.map_err(|failure| self.fail(failure))
    }

    /// The client has ended its direction.
    pub(crate) fn client_ended(&self) -> Stop {
        match self.response {
            Response::Tunnel { .. } => Stop::HungUp,
            Response::Head(_) | Response::Content { .. } | Response::Over { .. } => self.left(),
        }
    }

    /// The client's connection has broken, or it was seen to leave.
    pub(crate) fn left(&self) -> Stop {
        Stop::Left {
            abort_upstream: self.is_tunnel() || !self.upload.is_done(),
            reset: self.response.ends_with_connection(),
        }
    }

    /// The upstream takes no more.
    pub(crate) fn upstream_refused(&mut self) {
        match self.response {
            Response::Tunnel { .. } => self.response.apply(&ResponseEvent::Refusal),
            Response::Head(_) | Response::Content { .. } | Response::Over { .. } => {
                self.upload.apply(UploadEvent::Refusal);
            }
        }
    }

    /// `n` bytes from the upstream lie at the front of `room`; how many are to be looked at there, with those of a head
    /// that were kept. `None`: that needs more.
    ///
    /// # Errors
    /// What cannot become a head.
    pub(crate) fn upstream_sent(
        &mut self,
        room: &mut [u8],
        n: usize,
    ) -> Result<Option<usize>, Stop> {
        let gathered = self.response.gather(room, n);
        gathered.map_err(|defect| self.invalid(defect))
    }

    /// The next head in `bytes`. With an [`Answer`] the client's connection does not stay where it `is_ending`.
    ///
    /// # Errors
    /// What is no response to this request.
    pub(crate) fn next_head(
        &mut self,
        bytes: &mut [u8],
        fields: &mut Fields,
        is_ending: bool,
    ) -> Result<Next, Stop> {
        let (terms, upload) = (&self.terms, &self.upload);
        let stays = |upstream: KeepAlive| {
            terms.client_persists
                && !is_ending
                && match upload {
                    Upload::Done { .. } => true,
                    Upload::Sending { .. } => upstream.persists(),
                    // Nobody can tell where the next request would begin, or nobody reads up to there.
                    Upload::Expecting { .. } | Upload::Refused { .. } => false,
                }
        };
        let next = self.response.next(bytes, fields, terms, stays);
        let next = next.map_err(|defect| self.invalid(defect))?;
        if let Next::Interim {
            head: ResponseHead { status: 100, .. },
            ..
        } = next
        {
            self.upload.apply(UploadEvent::Continued);
        }
        Ok(next)
    }

    /// Whether an interim response is passed on.
    pub(crate) fn passes_interim(&self) -> bool {
        !self.terms.http10
    }

    /// The final head is out, with the content that came with it.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        self.response.apply(&ResponseEvent::Answer(answer));
    }

    /// The final head has come and does not go out: the request, all of which was sent, goes elsewhere.
    pub(crate) fn goes_elsewhere(&mut self) {
        debug_assert!(
            self.upload.is_done(),
            "what is not whole cannot be sent again"
        );
        self.response.apply(&ResponseEvent::Repetition);
    }

    /// A 101 is out.
    pub(crate) fn switched(&mut self) {
        self.response.apply(&ResponseEvent::Switch);
    }

    /// A piece of content from the upstream: how much of it is that, now at its front.
    ///
    /// # Errors
    /// Framing that nobody can follow; none of it may go on.
    pub(crate) fn content(&mut self, piece: &mut [u8]) -> Result<Stripped, Stop> {
        let taken = self.response.piece(piece);
        taken.map_err(|defect| self.invalid(defect))
    }

    /// The upstream's connection has ended, `orderly` or not. `may_repeat`: it had been used before and may have ended
    /// before the request arrived, which is whole in memory and may be sent twice.
    ///
    /// # Errors
    /// What that means for the client.
    pub(crate) fn upstream_ended(
        &mut self,
        orderly: bool,
        may_repeat: bool,
    ) -> Result<UpstreamEnd, Stop> {
        let failure = match orderly {
            _ if self.response.is_amid_head() => Failure::ResponseInvalid,
            true => Failure::UpstreamClosed,
            false => Failure::UpstreamReset,
        };
        match &self.response {
            response if may_repeat && response.is_untouched() => {
                self.response.apply(&ResponseEvent::Repetition);
                Ok(UpstreamEnd::Repeat)
            }
            Response::Content { decided, .. } if orderly && decided.until_close => {
                self.response
                    .apply(&ResponseEvent::Whole { surplus: false });
                Ok(UpstreamEnd::Whole)
            }
            Response::Tunnel { .. } if orderly => Err(Stop::HungUp),
            Response::Over { .. } => Ok(UpstreamEnd::Whole),
            Response::Head(_) | Response::Content { .. } | Response::Tunnel { .. } => {
                Err(self.fail(failure))
            }
        }
    }

    /// What was waited for has not come in time.
    pub(crate) fn timed_out(&self, upstream_flushed: bool) -> Stop {
        let waits_for_client = self.upload.is_wanted() && upstream_flushed;
        self.fail(match waits_for_client && !self.is_answered() {
            true => Failure::ContentLate,
            false => Failure::UpstreamLate,
        })
    }

    fn invalid(&mut self, defect: Defect) -> Stop {
        self.defect = Some(defect);
        self.fail(Failure::ResponseInvalid)
    }

    /// What made what came no response, where that is known.
    pub(crate) fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// How it ends with this failure.
    pub(crate) fn fail(&self, failure: Failure) -> Stop {
        match self.is_answered() {
            true => Stop::Cut {
                failure,
                reset: self.response.ends_with_connection(),
            },
            false => Stop::Refuse(failure),
        }
    }

    /// How the client's connection goes on behind an error of the gateway's own, where it `stays` if it can.
    pub(crate) fn after_refusal(&self, failure: Option<Failure>, stays: bool) -> After {
        // What a client that is at fault sends next is anybody's guess.
        if failure.is_some_and(Failure::is_clients) {
            return After::Close { linger: true };
        }
        after_own(stays && self.terms.client_persists, self.upload.rest())
    }

    /// Whether both messages have ended, or the request's end is of no more use.
    pub(crate) fn is_over(&self) -> bool {
        match &self.response {
            Response::Over { decided, .. } => !(self.upload.is_wanted() && decided.client_persists),
            Response::Head(_) | Response::Content { .. } | Response::Tunnel { .. } => false,
        }
    }

    /// What is done then.
    pub(crate) fn conclusion(&self, upstream_flushed: bool) -> Conclusion {
        let (decided, surplus) = match self.response {
            Response::Over { decided, surplus } => (Some(decided), surplus),
            Response::Head(_) | Response::Content { .. } | Response::Tunnel { .. } => {
                debug_assert!(false, "not over");
                (None, true)
            }
        };
        let keep_alive = decided.map_or(KeepAlive::CLOSE, |decided| decided.keep_alive);
        let until_close = decided.is_none_or(|decided| decided.until_close);
        let upstream_closes = until_close || !keep_alive.persists();
        let sent = matches!(self.upload, Upload::Done { refused: false }) && upstream_flushed;
        let persists = decided.is_some_and(|decided| decided.client_persists);
        Conclusion {
            reusable: (sent && !surplus && !upstream_closes).then_some(keep_alive),
            upstream_closes,
            after: match self.upload.rest() {
                None if persists => After::Persist,
                Some((cursor, expecting)) if persists => {
                    debug_assert!(!expecting, "then it was told that the connection ends");
                    After::Discard(cursor)
                }
                rest => After::Close {
                    linger: rest.is_some(),
                },
            },
        }
    }

    /// Whether bytes from the client can be used now: for the upstream, or, behind the request, as a sign that the
    /// client is there.
    pub(crate) fn wants_client(&self, streams: Streams) -> bool {
        match (&self.response, &self.upload) {
            (Response::Tunnel { shut }, _) => {
                !shut && streams.upstream_flushed && streams.carry_empty
            }
            (_, Upload::Done { .. }) => streams.may_carry,
            (_, Upload::Expecting { .. } | Upload::Sending { .. }) => streams.upstream_flushed,
            (_, Upload::Refused { .. }) => false,
        }
    }

    /// Whether bytes from the upstream can be used now.
    pub(crate) fn wants_upstream(&self, streams: Streams) -> bool {
        streams.client_flushed && !matches!(self.response, Response::Over { .. })
    }

    /// How many bytes from the client there may be that belong to this request; behind it only so many as show that the
    /// client is there are worth receiving.
    pub(crate) fn client_bytes_ahead(&self) -> u64 {
        match (&self.response, self.upload.rest()) {
            (Response::Tunnel { .. }, _) => u64::MAX,
            (_, Some((cursor, _))) => cursor.ahead(),
            (_, None) => 0,
        }
    }

    /// Whether nothing but further content is to be expected, one piece after the other, and nothing waits.
    pub(crate) fn is_steady(&self, streams: Streams) -> bool {
        matches!(self.response, Response::Content { .. })
            && self.upload.is_done()
            && streams.client_flushed
            && streams.upstream_flushed
            && streams.may_carry
    }

    /// What is waited for now, where that is another thing than before.
    pub(crate) fn awaits(&mut self, upstream_flushed: bool) -> Option<Awaited> {
        let is_sent = match self.upload {
            Upload::Done { refused } => refused || upstream_flushed,
            Upload::Refused { .. } => true,
            Upload::Expecting { .. } | Upload::Sending { .. } => false,
        };
        match &mut self.response {
            Response::Tunnel { .. } => Some(Awaited::Tunnel),
            Response::Head(heads) if is_sent => {
                let is_awaited = std::mem::replace(&mut heads.is_awaited, true);
                (!is_awaited).then_some(Awaited::Head)
            }
            Response::Head(_) | Response::Content { .. } | Response::Over { .. } => {
                Some(Awaited::Content)
            }
        }
    }

    /// Whether the time for the response's head runs, which nothing prolongs.
    pub(crate) fn is_head_awaited(&self) -> bool {
        matches!(&self.response, Response::Head(heads) if heads.is_awaited)
    }

    /// Whether the upstream takes no more.
    pub(crate) fn is_refused(&self) -> bool {
        match self.response {
            Response::Tunnel { shut } => shut,
            Response::Head(_) | Response::Content { .. } | Response::Over { .. } => {
                self.upload.is_refused()
            }
        }
    }

    /// Whether bytes are bytes, both ways.
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self.response, Response::Tunnel { .. })
    }

    /// Whether content follows, and no head.
    pub(crate) fn is_content(&self) -> bool {
        matches!(self.response, Response::Content { .. })
    }

    /// Whether the final head is out.
    pub(crate) fn is_answered(&self) -> bool {
        !matches!(self.response, Response::Head(_))
    }

    /// Whether all of the response has come.
    pub(crate) fn is_response_over(&self) -> bool {
        matches!(self.response, Response::Over { .. })
    }
}

/// Most bytes of unwanted content that are read to keep a connection usable.
pub(crate) const DISCARD_BYTES_MAX: usize = 64 * 1024;

/// How a connection that `persists` goes on behind an answer of the gateway's own. `rest` is what is still to come of
/// the request, and whether its client may wait for a 100: such a one may send its content or not, and nobody can tell
/// where its next request would begin.
pub(crate) fn after_own(persists: bool, rest: Option<(Cursor, bool)>) -> After {
    let too_long = |cursor: Cursor| {
        let left = cursor.remaining();
        left.is_some_and(|left| left > DISCARD_BYTES_MAX as u64)
    };
    match rest {
        None if persists => After::Persist,
        Some((cursor, false)) if persists && !too_long(cursor) => After::Discard(cursor),
        rest => After::Close {
            linger: rest.is_some(),
        },
    }
}
