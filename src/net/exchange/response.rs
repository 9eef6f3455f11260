//! The response half of an exchange: interim and final heads, content, tunnels.

use super::{Exchange, Flow};
use crate::base::bytes::{within, within_mut};
use crate::http::framing::{self, BodyLength, Cursor, FramingError, Stripped};
use crate::http::head::{
    self, Field, FieldSet, HeadError, HeadScan, Name, ResponseHead, Side, list_has,
};
use crate::http::keep_alive::KeepAlive;
use crate::http::rewrite;
use crate::net::client::server_timing::TimingLine;
use crate::net::connection::{After, Connection};
use crate::net::core::ids::IdLine;
use crate::net::sockets::socket::Received;
use crate::net::sockets::turns::Work;
use crate::net::transport::scratch::{HEADROOM, Scratch};
use crate::net::upstream::pool::Upstream;
use crate::observe::Ending;
use crate::policy::cors;
use crate::policy::error::Fault;

/// Where the response stands.
pub(crate) struct Response {
    state: State,
    /// Part of a head that is not whole yet.
    carry: Vec<u8>,
    scan: HeadScan,
    interim: u8,
    /// The request was a HEAD: no content follows whatever the fields say.
    head_only: bool,
    /// A byte of it has arrived.
    begun: bool,
    /// The client was told that its connection stays open.
    pub(super) client_persists: bool,
    /// For how long the upstream's stays, if it does.
    pub(super) keep_alive: KeepAlive,
    /// The client waits for a 100 and has sent no content.
    pub(super) expects_continue: bool,
    /// The chunked coding is taken off for a client of HTTP/1.0.
    strip: bool,
    close_delimited: bool,
    /// The upstream sent more than the response.
    surplus: bool,
}

enum State {
    Head,
    Content(Cursor),
    Tunnel,
    Over,
}

/// Most interim responses to one request.
const INTERIM_MAX: u8 = 16;

impl Response {
    pub(super) fn new(head_only: bool) -> Self {
        Self {
            state: State::Head,
            carry: Vec::new(),
            scan: HeadScan::default(),
            interim: 0,
            head_only,
            begun: false,
            client_persists: false,
            keep_alive: KeepAlive::CLOSE,
            expects_continue: false,
            strip: false,
            close_delimited: false,
            surplus: false,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// The head is out and content follows.
    pub(super) fn is_content(&self) -> bool {
        matches!(self.state, State::Content(_))
    }

    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel)
    }

    /// The client has been sent the final head.
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self.state, State::Head)
    }

    /// Only the connection's end tells the client that the response is whole.
    pub(super) fn ends_with_connection(&self) -> bool {
        self.close_delimited || self.strip || self.is_tunnel()
    }

    /// The upstream closes behind this response, or has.
    pub(super) fn upstream_closes(&self) -> bool {
        self.is_over() && (!self.keep_alive.persists() || self.close_delimited)
    }

    /// Nothing of this response is left on the upstream connection, and it stays open.
    pub(super) fn leaves_reusable(&self) -> bool {
        self.is_over() && self.keep_alive.persists() && !self.surplus && !self.close_delimited
    }
}

impl Exchange {
    /// Moves one piece of the response to the client, if there is one and the client has room.
    pub(super) fn pull_response(
        &mut self,
        connection: &mut Connection,
        upstream: &mut Upstream,
        scratch: &mut Scratch,
    ) -> Flow {
        let ready = connection.client.is_flushed() && upstream.stream.is_readable();
        if self.response.is_over() || !ready {
            return Flow::Idle;
        }
        let Some(room) = scratch.plain.get_mut(HEADROOM..) else {
            return Flow::Idle;
        };
        match upstream.stream.recv(room, &mut scratch.cipher) {
            Ok(Received::Pending) => Flow::Idle,
            Ok(Received::Data(n)) => {
                let records = upstream.stream.take_records();
                connection.budget.spend_receive(Work::Piece, n, records);
                self.response.begun = true;
                if !self.response.is_answered() {
                    connection.access.head_arrived();
                }
                self.received(connection, scratch, n)
            }
            Ok(Received::Eof) => self.upstream_ended(connection, upstream, true),
            Err(_) => self.upstream_ended(connection, upstream, false),
        }
    }

    /// `n` bytes lie at [`HEADROOM`].
    fn received(&mut self, connection: &mut Connection, scratch: &mut Scratch, n: usize) -> Flow {
        match &mut self.response.state {
            State::Head => self.received_head(connection, scratch, n),
            State::Content(cursor) => {
                let Some(piece) = scratch.plain.get_mut(HEADROOM..HEADROOM + n) else {
                    return Flow::Idle;
                };
                let Ok(taken) = take(cursor, self.response.strip, piece) else {
                    connection.access.ends(Ending::UpstreamInvalid);
                    return Flow::Over(After::Truncate {
                        reset: self.response.ends_with_connection(),
                    });
                };
                let sent = connection.client.send(within(piece, ..taken.kept));
                self.content_sent(connection, sent.is_ok(), &taken, n)
            }
            State::Tunnel => {
                let piece = within(&scratch.plain, HEADROOM..HEADROOM + n);
                connection.access.sent(n);
                match connection.client.send(piece) {
                    Ok(()) => Flow::Moved,
                    Err(_) => Flow::Over(After::Drop),
                }
            }
            State::Over => Flow::Idle,
        }
    }

    fn content_sent(
        &mut self,
        connection: &mut Connection,
        sent: bool,
        taken: &Stripped,
        of: usize,
    ) -> Flow {
        connection.access.sent(taken.kept);
        connection.access.passed_on(taken.kept > 0);
        if !sent {
            return Flow::Over(After::Drop);
        }
        self.response.surplus |= taken.taken < of;
        if taken.done {
            self.response.state = State::Over;
        }
        Flow::Moved
    }

    fn received_head(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        n: usize,
    ) -> Flow {
        let mut end = HEADROOM + n;
        if !self.response.carry.is_empty() {
            let bytes = within(&scratch.plain, HEADROOM..end);
            self.response.carry.extend_from_slice(bytes);
            match self
                .response
                .scan
                .find_end(&self.response.carry, Side::Response)
            {
                Ok(Some(_)) => {}
                Ok(None) => return Flow::Moved,
                Err(_) => return self.invalid(connection),
            }
            let carried = std::mem::take(&mut self.response.carry);
            self.response.scan = HeadScan::default();
            end = HEADROOM + carried.len();
            let Some(room) = scratch.plain.get_mut(HEADROOM..end) else {
                return self.invalid(connection);
            };
            room.copy_from_slice(&carried);
        }
        self.heads(connection, scratch, end)
    }

    /// Goes through the heads in the scratch buffer up to `end`: interim ones, then the final one.
    fn heads(&mut self, connection: &mut Connection, scratch: &mut Scratch, end: usize) -> Flow {
        let mut at = HEADROOM;
        loop {
            let bytes = within(&scratch.plain, at..end);
            let scan = &mut self.response.scan;
            let head = match head::response(scan, bytes, &mut scratch.fields) {
                Ok(Some(head)) => head,
                Ok(None) => {
                    self.response.carry.extend_from_slice(bytes);
                    return Flow::Moved;
                }
                Err(HeadError::BadFieldName) => {
                    self.response.scan = HeadScan::default();
                    let bytes = within_mut(&mut scratch.plain, at..end);
                    let Some(start) = head::close_up(bytes) else {
                        return self.invalid(connection);
                    };
                    at += start;
                    continue;
                }
                Err(_) => return self.invalid(connection),
            };
            self.response.scan = HeadScan::default();
            match head.status {
                101 if self.upgrade => return self.switch(connection, scratch, &head, at, end),
                101 => return self.invalid(connection),
                100..=199 => {
                    if let Some(over) = self.interim(connection, scratch, &head, at) {
                        return over;
                    }
                    at += head.len;
                }
                _ => return self.answer(connection, scratch, &head, at, end),
            }
        }
    }

    /// Relays an interim response (RFC 9110, section 15.2); says if that ends the exchange.
    fn interim(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        head: &ResponseHead,
        at: usize,
    ) -> Option<Flow> {
        self.response.interim += 1;
        if self.response.interim > INTERIM_MAX {
            return Some(self.invalid(connection));
        }
        if head.status == 100 {
            self.response.expects_continue = false;
        }
        if self.asker.http10 {
            return None;
        }
        let bytes = within(&scratch.plain, at..);
        let mut removed = rewrite::response_removals(bytes, &scratch.fields, false);
        remove_framing(scratch, &mut removed);
        let start = rewrite::response(&mut scratch.plain, at, head, &scratch.fields, &removed, &[]);
        let Some(start) = start else {
            return Some(self.invalid(connection));
        };
        let sent = connection
            .client
            .send(within(&scratch.plain, start..at + head.len));
        sent.is_err().then_some(Flow::Over(After::Drop))
    }

    /// A 101 that was asked for: from here on bytes are bytes.
    fn switch(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        head: &ResponseHead,
        at: usize,
        end: usize,
    ) -> Flow {
        let bytes = within(&scratch.plain, at..);
        // Only a websocket was asked for (RFC 9110, section 7.8).
        let names_it = |field: &Field| list_has(field.value.of(bytes), b"websocket");
        if !scratch.fields.named(Name::Upgrade).any(names_it) {
            return self.invalid(connection);
        }
        let mut removed = rewrite::response_removals(bytes, &scratch.fields, true);
        remove_framing(scratch, &mut removed);
        connection
            .access
            .response(head.status, &scratch.fields, bytes);
        let id = self.id_line(&scratch.fields);
        let lines = [id.as_bytes()];
        let start = rewrite::response(
            &mut scratch.plain,
            at,
            head,
            &scratch.fields,
            &removed,
            &lines,
        );
        let Some(start) = start else {
            return self.invalid(connection);
        };
        self.response.state = State::Tunnel;
        connection.access.passed_on(false);
        connection.access.sent(end.saturating_sub(at + head.len));
        connection.client.fail();
        match connection.client.send(within(&scratch.plain, start..end)) {
            Ok(()) => Flow::Moved,
            Err(_) => Flow::Over(After::Drop),
        }
    }

    /// The final response: decides on framing and persistence, sends head and first content in one piece.
    fn answer(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        head: &ResponseHead,
        at: usize,
        end: usize,
    ) -> Flow {
        let bytes = within(&scratch.plain, at..end);
        let head_only = self.response.head_only;
        let Ok(length) = framing::response_body(head, &scratch.fields, bytes, head_only) else {
            return self.invalid(connection);
        };
        self.response.strip = self.asker.http10 && length == BodyLength::Chunked;
        self.response.close_delimited = length == BodyLength::UntilClose;
        self.response.keep_alive = match framing::persists(head.version, &scratch.fields, bytes) {
            true => KeepAlive::read(&scratch.fields, bytes),
            false => KeepAlive::CLOSE,
        };
        let mut cursor = Cursor::new(length);
        let content = at + head.len;
        // Framing is looked at before the head is rewritten: so a fault in it is still a 502.
        let Some(piece) = scratch.plain.get_mut(content..end) else {
            return self.invalid(connection);
        };
        let Ok(taken) = take(&mut cursor, self.response.strip, piece) else {
            return self.invalid(connection);
        };
        let bytes = within(&scratch.plain, at..end);
        connection
            .access
            .response(head.status, &scratch.fields, bytes);
        self.response.client_persists = self.lets_persist(connection);
        let timed = self.gateway.config.server.server_timing;
        let line = || connection.access.timed(TimingLine::new);
        let timing = timed.then(line).flatten();
        let Some(start) = self.rewrite_answer(scratch, head, at, timing.as_ref()) else {
            return self.invalid(connection);
        };
        let out = within(&scratch.plain, start..content + taken.kept);
        // Where the connection's end is the answer's, only an end that was meant may look like one: not that
        // of a process that is killed or a task that fails.
        if self.response.ends_with_connection() {
            connection.client.fail();
        }
        let sent = connection.client.send(out);
        self.response.state = State::Content(cursor);
        self.content_sent(connection, sent.is_ok(), &taken, end - content)
    }

    /// Whether the client's connection can stay open behind this response.
    fn lets_persist(&self, connection: &Connection) -> bool {
        let response = &self.response;
        let uploaded = self.up.cursor.is_done();
        self.asker.persists
            && !connection.is_ending()
            && !response.close_delimited
            && !response.strip
            && (uploaded
                || (response.keep_alive.persists()
                    && !response.expects_continue
                    && !self.up.refused))
    }

    fn rewrite_answer(
        &self,
        scratch: &mut Scratch,
        head: &ResponseHead,
        at: usize,
        timing: Option<&TimingLine>,
    ) -> Option<usize> {
        let bytes = within(&scratch.plain, at..);
        let mut removed = rewrite::response_removals(bytes, &scratch.fields, false);
        let listed = framing::listed_length(&scratch.fields, bytes).filter(|_| head.status != 204);
        let length = listed.map(|length| format!("Content-Length: {length}\r\n"));
        let lengths_kept = if length.is_some() { 0 } else { 1 };
        self.framing_removals(scratch, head, lengths_kept, &mut removed);
        if self.asker.cors.is_some() {
            cors::remove(&scratch.fields, bytes, &mut removed);
        }
        let id = self.id_line(&scratch.fields);
        let persistence: &[u8] = match self.response.client_persists {
            true => &self.gateway.keep_alive,
            false => b"Connection: close\r\n",
        };
        let lines = [
            id.as_bytes(),
            timing.map_or(&[][..], TimingLine::as_bytes),
            self.asker.cors(),
            persistence,
            length.as_deref().unwrap_or_default().as_bytes(),
        ];
        rewrite::response(
            &mut scratch.plain,
            at,
            head,
            &scratch.fields,
            &removed,
            &lines,
        )
    }

    /// Framing fields that must not go on: all where there can be no content (RFC 9110, section 8.6), the
    /// coding towards a client of HTTP/1.0, also where there is no content for it to be taken off, repetitions
    /// of an equal length beyond those that are kept.
    fn framing_removals(
        &self,
        scratch: &Scratch,
        head: &ResponseHead,
        lengths_kept: usize,
        removed: &mut FieldSet,
    ) {
        let mut lengths = 0;
        for (index, field) in scratch.fields.known() {
            let remove = match field.name {
                Name::TransferEncoding => self.asker.http10 || head.status == 204,
                Name::ContentLength => {
                    lengths += 1;
                    lengths > lengths_kept || head.status == 204
                }
                Name::Trailer => self.asker.http10,
                _ => false,
            };
            if remove {
                removed.insert(index);
            }
        }
    }

    /// The `X-Request-ID` line, or nothing when the provider sent one.
    fn id_line(&self, fields: &head::Fields) -> IdLine {
        match fields.has(Name::XRequestId) {
            true => IdLine::none(),
            false => self.asker.id.line(),
        }
    }

    /// The upstream connection has ended, in order or not.
    fn upstream_ended(
        &mut self,
        connection: &mut Connection,
        upstream: &Upstream,
        orderly: bool,
    ) -> Flow {
        let reset = self.response.ends_with_connection();
        match &self.response.state {
            // Behind whole interim responses there is no answer either.
            State::Head if self.response.carry.is_empty() => {
                if !self.response.begun && upstream.reused && self.may_repeat() {
                    return Flow::Again;
                }
                let fault = if orderly {
                    Fault::UpstreamClosed
                } else {
                    Fault::UpstreamReset
                };
                Flow::Over(self.give_up(connection, &fault))
            }
            State::Head => self.invalid(connection),
            State::Content(_) if orderly && self.response.close_delimited => {
                self.response.state = State::Over;
                Flow::Moved
            }
            State::Tunnel if orderly => Flow::Over(After::Close { linger: false }),
            State::Content(_) | State::Tunnel => {
                connection.access.ends(match orderly {
                    true => Ending::UpstreamClosed,
                    false => Ending::UpstreamReset,
                });
                Flow::Over(After::Truncate { reset })
            }
            State::Over => Flow::Idle,
        }
    }

    fn invalid(&self, connection: &mut Connection) -> Flow {
        Flow::Over(self.give_up(connection, &Fault::UpstreamInvalidResponse))
    }
}

/// How much of a piece belongs to the response, and how much of that goes to the client.
fn take(cursor: &mut Cursor, strip: bool, piece: &mut [u8]) -> Result<Stripped, FramingError> {
    match strip {
        true => cursor.strip(piece),
        false => cursor.relay(piece),
    }
}

/// Interim responses and 101 have no content, so nothing may say that they have.
fn remove_framing(scratch: &Scratch, removed: &mut FieldSet) {
    for (index, field) in scratch.fields.known() {
        if matches!(field.name, Name::ContentLength | Name::TransferEncoding) {
            removed.insert(index);
        }
    }
}
