//! The slow model of an exchange: it keeps nothing but what has happened, and reads all of that anew at each step.

use super::script::Script;
use super::simulation::{Behind, End, Seen, Step};
use super::{DISCARD_BYTES_MAX, Failure, Stop};
use crate::base::bytes::within;
use crate::http::framing::{self, BodyLength, Cursor, FramingError};
use crate::http::head::{self, Fields, HeadError, HeadView, Name, ResponseHead, Side};
use crate::http::keep_alive::KeepAlive;

/// See the module's documentation.
pub(super) struct Model<'s> {
    script: &'s Script,
    /// How many of the client's bytes have come, and of the upstream's.
    client: usize,
    upstream: usize,
    refused: bool,
    shut: bool,
    is_ending: bool,
    /// What the client was told with the final head.
    persists: bool,
    /// The time for the head runs.
    head_awaited: bool,
    pub(super) seen: Seen,
}

/// What has come of the request's content.
#[derive(Clone, Copy)]
struct Request {
    taken: usize,
    content: u64,
    remaining: Option<u64>,
    done: bool,
}

/// What has come of the response.
#[derive(Default)]
struct Received {
    interim: Vec<u16>,
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
    /// Of what came behind the head.
    kept: Vec<u8>,
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

impl<'s> Model<'s> {
    pub(super) fn new(script: &'s Script) -> Self {
        let mut model = Self {
            script,
            client: script.with_head,
            upstream: 0,
            refused: false,
            shut: false,
            is_ending: false,
            persists: false,
            head_awaited: false,
            seen: Seen::default(),
        };
        model.seen.to_upstream = model.request().map_or(0, |request| request.taken);
        model
    }

    fn request(&self) -> Result<Request, FramingError> {
        let bytes = within(&self.script.client, ..self.client);
        let mut cursor = Cursor::new(self.script.length);
        // What came with the head was looked at by itself, and not judged.
        let (first, rest) = bytes.split_at(self.script.with_head);
        let taken = cursor.advance(first, Side::Request)?.taken;
        let more = match self.script.terms.is_judged {
            true => cursor.advance_judged(rest)?.taken,
            false => cursor.advance(rest, Side::Request)?.taken,
        };
        Ok(Request {
            taken: taken + more,
            content: cursor.content_bytes(),
            remaining: cursor.remaining(),
            done: cursor.is_done(),
        })
    }

    fn is_done(&self) -> bool {
        self.request().is_ok_and(|request| request.done)
    }

    /// Whether the client may still wait for a 100.
    fn expects(&self, received: &Received) -> bool {
        let since = match self.request() {
            Ok(request) => request.taken > self.with_head(),
            Err(_) => true,
        };
        self.script.expects_continue && !since && !received.interim.contains(&100)
    }

    fn with_head(&self) -> usize {
        let mut cursor = Cursor::new(self.script.length);
        let with_head = within(&self.script.client, ..self.script.with_head);
        let advance = cursor.advance(with_head, Side::Request);
        advance.map_or(0, |advance| advance.taken)
    }

    fn received(&self) -> Received {
        let mut bytes = within(&self.script.upstream, ..self.upstream).to_vec();
        let mut received = Received::default();
        let mut fields = Fields::new();
        let mut at = 0;
        while received.last.is_none() && !received.invalid {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            match head::parse_response(rest, &mut fields) {
                Ok(Some(head)) => {
                    self.next(&mut received, &head, &fields, rest);
                    at += head.len;
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

    fn next(&self, received: &mut Received, head: &ResponseHead, fields: &Fields, bytes: &[u8]) {
        let terms = self.script.terms;
        let behind = within(bytes, head.len..);
        if head.status == 101 {
            let upgrades = fields.named(Name::Upgrade);
            let mut texts = upgrades.map(|field| {
                let value = field.value.of(bytes);
                String::from_utf8_lossy(value).to_ascii_lowercase()
            });
            let named = texts.any(|text| text.split(',').any(|word| word.trim() == "websocket"));
            received.invalid = !terms.upgrade || !named;
            if !received.invalid {
                received.last = Some(Last {
                    status: 101,
                    length: None,
                    keep_alive: KeepAlive::CLOSE,
                    kept: behind.to_vec(),
                    taken: behind.len(),
                    of: behind.len(),
                    done: false,
                    invalid: false,
                });
            }
            return;
        }
        if head.status < 200 {
            received.invalid = received.interim.len() == 16;
            if !received.invalid {
                received.interim.push(head.status);
            }
            return;
        }
        let view = HeadView::new(head, fields, bytes);
        let Ok(length) = framing::response_body(view, terms.head_only) else {
            received.invalid = true;
            return;
        };
        let keep_alive = match framing::persists(head.version, view.section) {
            true => KeepAlive::read(view.section),
            false => KeepAlive::CLOSE,
        };
        let mut content = behind.to_vec();
        let mut cursor = Cursor::new(length);
        let strips = terms.http10 && length == BodyLength::Chunked;
        let taken = match strips {
            true => cursor.strip(&mut content),
            false => cursor.relay(&mut content),
        };
        content.truncate(taken.map_or(0, |taken| taken.kept));
        received.last = Some(Last {
            status: head.status,
            length: Some(length),
            keep_alive,
            kept: content,
            taken: taken.map_or(0, |taken| taken.taken),
            of: behind.len(),
            done: taken.is_ok_and(|taken| taken.done),
            invalid: taken.is_err(),
        });
    }

    /// Whether only the connection's end shows the client that the answer is whole.
    fn ends_with_connection(&self, last: &Last) -> bool {
        let strips = self.script.terms.http10 && last.length == Some(BodyLength::Chunked);
        last.is_tunnel() || last.until_close() || strips
    }

    /// What happens at a step.
    pub(super) fn step(&mut self, step: Step) {
        let before = self.received();
        match step {
            Step::ClientSends(n) => self.client_sends(n, &before),
            Step::ClientEnds if before.last.as_ref().is_some_and(Last::is_tunnel) => {
                self.seen.end = Some(End::Stopped(Stop::HungUp));
            }
            Step::ClientEnds | Step::ClientLeaves => {
                let last = before.last.as_ref();
                self.seen.end = Some(End::Stopped(Stop::Left {
                    abort_upstream: last.is_some_and(Last::is_tunnel) || !self.is_done(),
                    reset: last.is_some_and(|last| self.ends_with_connection(last)),
                }));
            }
            Step::UpstreamSends(n) => self.upstream_sends(n, &before),
            Step::UpstreamEnds { orderly } => self.upstream_ends(orderly, &before),
            Step::UpstreamRefuses if before.last.as_ref().is_some_and(Last::is_tunnel) => {
                self.shut = true;
            }
            Step::UpstreamRefuses => self.refused = true,
            Step::Drain => self.is_ending = true,
            Step::TimeOut { upstream_flushed } => {
                let waits = !self.is_done() && !self.refused && upstream_flushed;
                self.fail(
                    match waits && before.last.is_none() {
                        true => Failure::ContentLate,
                        false => Failure::UpstreamLate,
                    },
                    &before,
                );
            }
        }
    }

    fn client_sends(&mut self, n: usize, before: &Received) {
        let taken = self.request().map_or(0, |request| request.taken);
        self.client += n;
        if before.last.as_ref().is_some_and(Last::is_tunnel) {
            self.seen.to_upstream += n;
            return;
        }
        let limit = self.script.terms.content_limit.0;
        match self.request() {
            Err(error) => self.fail(Failure::Content(error), before),
            Ok(request) if limit.is_some_and(|limit| request.content > limit) => {
                self.fail(Failure::ContentTooLong, before);
            }
            Ok(request) => self.seen.to_upstream += request.taken - taken,
        }
    }

    fn upstream_sends(&mut self, n: usize, before: &Received) {
        self.upstream += n;
        let now = self.received();
        self.seen.interim = match self.script.terms.http10 {
            true => 0,
            false => now.interim.len(),
        };
        if now.invalid {
            self.fail(Failure::ResponseInvalid, before);
            return;
        }
        let Some(last) = &now.last else { return };
        if last.invalid {
            self.fail(Failure::ResponseInvalid, before);
            return;
        }
        if before.last.is_none() {
            self.seen.status = last.status;
            self.persists = self.lets_persist(&now, last);
            self.seen.persists = self.persists;
        }
        self.seen.to_client.clone_from(&last.kept);
    }

    fn lets_persist(&self, now: &Received, last: &Last) -> bool {
        if self.ends_with_connection(last) || self.is_ending || !self.script.terms.client_persists {
            return false;
        }
        let may_go_on = !self.refused && !self.expects(now) && last.keep_alive.persists();
        self.is_done() || may_go_on
    }

    fn upstream_ends(&mut self, orderly: bool, before: &Received) {
        let failure = match orderly {
            true => Failure::UpstreamClosed,
            false => Failure::UpstreamReset,
        };
        match &before.last {
            None if before.partial => self.fail(Failure::ResponseInvalid, before),
            None if self.upstream == 0 && self.script.may_repeat && !self.seen.repeated => {
                self.seen.repeated = true;
                self.head_awaited = false;
            }
            Some(last) if last.is_tunnel() && orderly => {
                self.seen.end = Some(End::Stopped(Stop::HungUp))
            }
            Some(last) if last.until_close() && orderly => self.seen.closed = true,
            _ => self.fail(failure, before),
        }
    }

    fn fail(&mut self, failure: Failure, received: &Received) {
        self.seen.end = Some(match &received.last {
            Some(last) => End::Stopped(Stop::Cut {
                failure,
                reset: self.ends_with_connection(last),
            }),
            None => End::Refused {
                failure,
                behind: self.behind_refusal(failure, received),
            },
        });
    }

    fn behind_refusal(&self, failure: Failure, before: &Received) -> Behind {
        let fault_of_client = matches!(
            failure,
            Failure::Content(_) | Failure::ContentTooLong | Failure::ContentLate
        );
        let Ok(request) = self.request() else {
            return Behind::Close { linger: true };
        };
        // What came with the fault counts as well.
        let received = self.received();
        let expects = self.expects(before) && self.expects(&received);
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
        let received = self.received();
        let Some(last) = &received.last else { return };
        let whole = last.done || self.seen.closed;
        let done = self.is_done();
        if self.seen.end.is_some() || !whole || (!done && !self.refused && self.persists) {
            return;
        }
        let stays = last.keep_alive.persists() && !last.until_close();
        let expects = self.expects(&received);
        let content = self.request().map_or(0, |request| request.content);
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
        let received = self.received();
        let whole = received.last.as_ref().is_some_and(|last| last.done) || self.seen.closed;
        let client = match (received.last.as_ref(), self.is_done()) {
            (Some(last), _) if last.is_tunnel() => {
                !self.shut && streams.upstream_flushed && streams.carry_empty
            }
            (_, true) => streams.may_carry,
            (_, false) => !self.refused && streams.upstream_flushed,
        };
        [client, streams.client_flushed && !whole]
    }

    /// What the time-out is for now; nothing where it goes on as it is.
    pub(super) fn awaits(&mut self, upstream_flushed: bool) -> Option<super::Awaited> {
        let received = self.received();
        if received.last.as_ref().is_some_and(Last::is_tunnel) {
            return Some(super::Awaited::Tunnel);
        }
        let sent = self.refused || (self.is_done() && upstream_flushed);
        if received.last.is_some() || !sent {
            return Some(super::Awaited::Content);
        }
        let first = !self.head_awaited;
        self.head_awaited = true;
        first.then_some(super::Awaited::Head)
    }
}
