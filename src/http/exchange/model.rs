//! The slow model of an exchange: it keeps nothing but what has happened, and reads all of a side anew whenever more of
//! it has come.

use std::ops::Range;

use super::script::Script;
use super::simulation::{Behind, End, Seen, Step};
use super::{DISCARD_BYTES_MAX, Failure, Stop, Terms};
use crate::base::bytes::within;
use crate::http::framing::{self, BodyLength, Cursor, FramingError};
use crate::http::head::{self, Fields, HeadError, HeadView, Name, ResponseHead, Side};
use crate::http::keep_alive::KeepAlive;

/// See the module's documentation.
pub(super) struct Model<'s> {
    script: &'s Script,
    room: &'s mut Room,
    /// How many of the client's bytes have come, and of the upstream's.
    client: usize,
    upstream: usize,
    /// What these are.
    request: Result<Request, FramingError>,
    received: Received,
    refused: bool,
    shut: bool,
    is_ending: bool,
    /// What the client was told with the final head.
    persists: bool,
    /// The time for the head runs.
    head_awaited: bool,
    pub(super) seen: &'s mut Seen,
}

/// Where responses are read, one model's after the other's.
#[derive(Default)]
pub(super) struct Room {
    bytes: Vec<u8>,
    fields: Fields,
}

/// What has come of the request's content.
#[derive(Clone, Copy)]
struct Request {
    /// Of what came with the head.
    with_head: usize,
    taken: usize,
    content: u64,
    remaining: Option<u64>,
    done: bool,
}

/// What has come of the response.
#[derive(Default)]
struct Received {
    interim: usize,
    /// A 100 was among them.
    continued: bool,
    /// The head under way or the last one is no response to this request.
    invalid: bool,
    /// Bytes of a head that is not whole.
    partial: bool,
    last: Option<Last>,
}

/// The last head, and what has come behind it.
struct Last {
    status: u16,
    length: Option<BodyLength>,
    keep_alive: KeepAlive,
    /// Of what came behind the head; it lies in the room.
    kept: Range<usize>,
    taken: usize,
    of: usize,
    done: bool,
    invalid: bool,
}

impl Last {
    fn is_tunnel(&self) -> bool {
        self.length.is_none()
    }

    fn until_close(&self) -> bool {
        self.length == Some(BodyLength::UntilClose)
    }
}

impl Request {
    /// Reads what has come from its first byte on.
    fn read(script: &Script, client: usize) -> Result<Self, FramingError> {
        let bytes = within(&script.client, ..client);
        let mut cursor = Cursor::new(script.length);
        // What came with the head was looked at by itself, and not judged.
        let (first, rest) = bytes.split_at(script.with_head);
        let with_head = cursor.advance(first, Side::Request)?.taken;
        let more = match script.terms.is_judged {
            true => cursor.advance_judged(rest)?.taken,
            false => cursor.advance(rest, Side::Request)?.taken,
        };
        Ok(Self {
            with_head,
            taken: with_head + more,
            content: cursor.content_bytes(),
            remaining: cursor.remaining(),
            done: cursor.is_done(),
        })
    }
}

impl Received {
    /// Reads what has come from its first byte on.
    fn read(script: &Script, upstream: usize, room: &mut Room) -> Self {
        let Room { bytes, fields } = room;
        bytes.clear();
        bytes.extend_from_slice(within(&script.upstream, ..upstream));
        let mut received = Self::default();
        let mut at = 0;
        while received.last.is_none() && !received.invalid {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            match head::parse_response(rest, fields) {
                Ok(Some(head)) => {
                    at += head.len;
                    received.next(script.terms, &head, fields, rest, at);
                }
                Ok(None) => {
                    received.partial = !rest.is_empty();
                    break;
                }
                Err(HeadError::BadFieldName) => match head::close_up(rest) {
                    Some(start) => at += start,
                    None => received.invalid = true,
                },
                Err(_) => received.invalid = true,
            }
        }
        received
    }

    /// A head at the front of `bytes`; what is behind it lies in the room from `behind` on.
    fn next(
        &mut self,
        terms: Terms,
        head: &ResponseHead,
        fields: &Fields,
        bytes: &mut [u8],
        behind: usize,
    ) {
        let of = bytes.len() - head.len;
        if head.status == 101 {
            let upgrades = fields.named(Name::Upgrade);
            let mut texts = upgrades.map(|field| {
                let value = field.value.of(bytes);
                String::from_utf8_lossy(value).to_ascii_lowercase()
            });
            let named = texts.any(|text| text.split(',').any(|word| word.trim() == "websocket"));
            self.invalid = !terms.upgrade || !named;
            if !self.invalid {
                self.last = Some(Last {
                    status: 101,
                    length: None,
                    keep_alive: KeepAlive::CLOSE,
                    kept: behind..behind + of,
                    taken: of,
                    of,
                    done: false,
                    invalid: false,
                });
            }
            return;
        }
        if head.status < 200 {
            self.invalid = self.interim == 16;
            if !self.invalid {
                self.interim += 1;
                self.continued |= head.status == 100;
            }
            return;
        }
        let view = HeadView::new(head, fields, &*bytes);
        let Ok(length) = framing::response_body(view, terms.head_only) else {
            self.invalid = true;
            return;
        };
        let keep_alive = match framing::persists(head.version, view.section) {
            true => KeepAlive::read(view.section),
            false => KeepAlive::CLOSE,
        };
        let content = bytes.get_mut(head.len..).unwrap_or_default();
        let mut cursor = Cursor::new(length);
        let strips = terms.http10 && length == BodyLength::Chunked;
        let taken = match strips {
            true => cursor.strip(content),
            false => cursor.relay(content),
        };
        self.last = Some(Last {
            status: head.status,
            length: Some(length),
            keep_alive,
            kept: behind..behind + taken.map_or(0, |taken| taken.kept),
            taken: taken.map_or(0, |taken| taken.taken),
            of,
            done: taken.is_ok_and(|taken| taken.done),
            invalid: taken.is_err(),
        });
    }

    fn is_tunnel(&self) -> bool {
        self.last.as_ref().is_some_and(Last::is_tunnel)
    }
}

impl<'s> Model<'s> {
    pub(super) fn new(script: &'s Script, room: &'s mut Room, seen: &'s mut Seen) -> Self {
        let request = Request::read(script, script.with_head);
        seen.to_upstream = request.map_or(0, |request| request.taken);
        Self {
            script,
            room,
            client: script.with_head,
            upstream: 0,
            request,
            received: Received::default(),
            refused: false,
            shut: false,
            is_ending: false,
            persists: false,
            head_awaited: false,
            seen,
        }
    }

    fn is_done(&self) -> bool {
        self.request.is_ok_and(|request| request.done)
    }

    /// Whether the client may still wait for a 100, as far as its content and these responses say.
    fn expects(&self, received: &Received) -> bool {
        let since = match self.request {
            Ok(request) => request.taken > request.with_head,
            Err(_) => true,
        };
        self.script.expects_continue && !since && !received.continued
    }

    /// Whether only the connection's end shows the client that the answer is whole.
    fn ends_with_connection(&self, last: &Last) -> bool {
        let strips = self.script.terms.http10 && last.length == Some(BodyLength::Chunked);
        last.is_tunnel() || last.until_close() || strips
    }

    /// What happens at a step.
    pub(super) fn step(&mut self, step: Step) {
        let is_tunnel = self.received.is_tunnel();
        match step {
            Step::ClientSends(n) => self.client_sends(n),
            Step::ClientEnds if is_tunnel => {
                self.seen.end = Some(End::Stopped(Stop::HungUp));
            }
            Step::ClientEnds | Step::ClientLeaves => {
                let last = self.received.last.as_ref();
                self.seen.end = Some(End::Stopped(Stop::Left {
                    abort_upstream: is_tunnel || !self.is_done(),
                    reset: last.is_some_and(|last| self.ends_with_connection(last)),
                }));
            }
            Step::UpstreamSends(n) => self.upstream_sends(n),
            Step::UpstreamEnds { orderly } => self.upstream_ends(orderly),
            Step::UpstreamRefuses if is_tunnel => self.shut = true,
            Step::UpstreamRefuses => self.refused = true,
            Step::Drain => self.is_ending = true,
            Step::TimeOut { upstream_flushed } => {
                let waits = !self.is_done() && !self.refused && upstream_flushed;
                self.fail(match waits && self.received.last.is_none() {
                    true => Failure::ContentLate,
                    false => Failure::UpstreamLate,
                });
            }
        }
    }

    fn client_sends(&mut self, n: usize) {
        let taken = self.request.map_or(0, |request| request.taken);
        self.client += n;
        self.request = Request::read(self.script, self.client);
        if self.received.is_tunnel() {
            self.seen.to_upstream += n;
            return;
        }
        let limit = self.script.terms.content_limit.0;
        match self.request {
            Err(error) => self.fail(Failure::Content(error)),
            Ok(request) if limit.is_some_and(|limit| request.content > limit) => {
                self.fail(Failure::ContentTooLong);
            }
            Ok(request) => self.seen.to_upstream += request.taken - taken,
        }
    }

    fn upstream_sends(&mut self, n: usize) {
        self.upstream += n;
        let now = Received::read(self.script, self.upstream, self.room);
        let before = std::mem::replace(&mut self.received, now);
        let now = &self.received;
        self.seen.interim = match self.script.terms.http10 {
            true => 0,
            false => now.interim,
        };
        let fault = now.invalid || now.last.as_ref().is_some_and(|last| last.invalid);
        if fault {
            self.seen.end = Some(self.end_by(Failure::ResponseInvalid, &before));
            return;
        }
        let Some(last) = &now.last else { return };
        if before.last.is_none() {
            self.seen.status = last.status;
            self.persists = self.lets_persist(last);
            self.seen.persists = self.persists;
        }
        let kept = within(&self.room.bytes, last.kept.clone());
        self.seen.to_client.clear();
        self.seen.to_client.extend_from_slice(kept);
    }

    fn lets_persist(&self, last: &Last) -> bool {
        if self.ends_with_connection(last) || self.is_ending || !self.script.terms.client_persists {
            return false;
        }
        let may_go_on =
            !self.refused && !self.expects(&self.received) && last.keep_alive.persists();
        self.is_done() || may_go_on
    }

    fn upstream_ends(&mut self, orderly: bool) {
        let failure = match orderly {
            true => Failure::UpstreamClosed,
            false => Failure::UpstreamReset,
        };
        match &self.received.last {
            None if self.received.partial => self.fail(Failure::ResponseInvalid),
            None if self.upstream == 0 && self.script.may_repeat && !self.seen.repeated => {
                self.seen.repeated = true;
                self.head_awaited = false;
            }
            Some(last) if last.is_tunnel() && orderly => {
                self.seen.end = Some(End::Stopped(Stop::HungUp))
            }
            Some(last) if last.until_close() && orderly => self.seen.closed = true,
            _ => self.fail(failure),
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.seen.end = Some(self.end_by(failure, &self.received));
    }

    /// How it ends with this failure, where so much of the response is out.
    fn end_by(&self, failure: Failure, out: &Received) -> End {
        match &out.last {
            Some(last) => End::Stopped(Stop::Cut {
                failure,
                reset: self.ends_with_connection(last),
            }),
            None => End::Refused {
                failure,
                behind: self.behind_refusal(failure, out),
            },
        }
    }

    fn behind_refusal(&self, failure: Failure, out: &Received) -> Behind {
        let fault_of_client = matches!(
            failure,
            Failure::Content(_) | Failure::ContentTooLong | Failure::ContentLate
        );
        let Ok(request) = self.request else {
            return Behind::Close { linger: true };
        };
        // What came with the fault counts as well.
        let expects = self.expects(out) && self.expects(&self.received);
        let stays = self.script.terms.client_persists && !self.is_ending;
        let too_long = request
            .remaining
            .is_some_and(|left| left > DISCARD_BYTES_MAX as u64);
        match request.done {
            _ if fault_of_client => Behind::Close { linger: true },
            true if stays => Behind::Persist,
            false if stays && !expects && !too_long => Behind::Discard(request.content),
            done => Behind::Close { linger: !done },
        }
    }

    /// Whether it has come to its end, and if so, to which; said once, after a step.
    pub(super) fn concludes(&mut self, upstream_flushed: bool) {
        let Some(last) = &self.received.last else {
            return;
        };
        let whole = last.done || self.seen.closed;
        let done = self.is_done();
        if self.seen.end.is_some() || !whole || (!done && !self.refused && self.persists) {
            return;
        }
        let stays = last.keep_alive.persists() && !last.until_close();
        let expects = self.expects(&self.received);
        let content = self.request.map_or(0, |request| request.content);
        let reusable = stays && done && !self.refused && upstream_flushed && last.taken == last.of;
        self.seen.end = Some(End::Concluded {
            reusable: reusable.then_some(last.keep_alive),
            upstream_closes: !stays,
            behind: match self.persists {
                true if done => Behind::Persist,
                true if !expects => Behind::Discard(content),
                _ => Behind::Close { linger: !done },
            },
        });
    }

    /// Whether bytes of the client's are of use, and bytes of the upstream's.
    pub(super) fn wants(&self, streams: super::Streams) -> [bool; 2] {
        let last = self.received.last.as_ref();
        let whole = last.is_some_and(|last| last.done) || self.seen.closed;
        let client = match self.is_done() {
            _ if self.received.is_tunnel() => {
                !self.shut && streams.upstream_flushed && streams.carry_empty
            }
            true => streams.may_carry,
            false => !self.refused && streams.upstream_flushed,
        };
        [client, streams.client_flushed && !whole]
    }

    /// What the time-out is for now; nothing where it goes on as it is.
    pub(super) fn awaits(&mut self, upstream_flushed: bool) -> Option<super::Awaited> {
        if self.received.is_tunnel() {
            return Some(super::Awaited::Tunnel);
        }
        let sent = self.refused || (self.is_done() && upstream_flushed);
        if self.received.last.is_some() || !sent {
            return Some(super::Awaited::Content);
        }
        let first = !self.head_awaited;
        self.head_awaited = true;
        first.then_some(super::Awaited::Head)
    }
}
