//! From the upstream to the client: heads are rewritten, content passes on.

use std::io;
use std::ops::Range;

use crate::base::bytes::within;
use crate::http::exchange::{After, Answer, Failure, Next, UpstreamEnd};
use crate::http::framing::{self, Stripped};
use crate::http::head::{self, FieldSet, Name, NameSet, ResponseHead, Section};
use crate::http::rewrite;
use crate::net::client::server_timing::TimingLine;
use crate::net::core::ids::IdLine;
use crate::net::sockets::socket::Received;
use crate::net::sockets::turns::Work;
use crate::net::transport::scratch::{Rewritten, Scratch};
use crate::net::transport::tls::reason_of;
use crate::policy::cors;

use super::ends::{Ends, Flow, Halt};

impl Ends<'_> {
    /// Moves one piece of the response to the client, if there is one and the client has room.
    pub(super) fn pull(&mut self, scratch: &mut Scratch) -> Result<Flow, Halt> {
        let ready = self.connection.client.is_flushed() && self.upstream.stream.is_readable();
        if self.exchange.is_response_over() || !ready {
            return Ok(Flow::Idle);
        }
        let (room, cipher) = scratch.room(usize::MAX);
        match self.upstream.stream.recv(room, cipher) {
            Ok(Received::Pending) => Ok(Flow::Idle),
            Ok(Received::Data(n)) => {
                let records = self.upstream.stream.take_records();
                self.connection
                    .budget
                    .spend_receive(Work::Piece, n, records);
                self.upstream_sent(scratch, n)?;
                Ok(Flow::Moved)
            }
            Ok(Received::Eof) => self.upstream_ended(None),
            Err(error) => self.upstream_ended(Some(&error)),
        }
    }

    /// `n` bytes have come.
    fn upstream_sent(&mut self, scratch: &mut Scratch, n: usize) -> Result<(), Halt> {
        if self.exchange.is_content() {
            return self.pass_content(scratch, n);
        }
        if self.exchange.is_tunnel() {
            self.connection.access.sent(n);
            return self.send_client(scratch.received(0..n));
        }
        let ready = self.upstream.stream.take_ready();
        self.connection.access.head_arrived(ready);
        let (room, _) = scratch.room(usize::MAX);
        let gathered = self.exchange.upstream_sent(room, n);
        match gathered.map_err(|stop| self.stop(stop))? {
            Some(len) => self.pass_heads(scratch, len),
            None => Ok(()),
        }
    }

    fn pass_content(&mut self, scratch: &mut Scratch, n: usize) -> Result<(), Halt> {
        let piece = scratch.received_mut(0..n);
        let taken = self.exchange.content(piece);
        let taken = taken.map_err(|stop| self.stop(stop))?;
        let sent = self.send_client(within(piece, ..taken.kept));
        self.content_passed(&taken);
        sent
    }

    fn content_passed(&mut self, taken: &Stripped) {
        self.connection.access.sent(taken.kept);
        self.connection.access.passed_on(taken.kept > 0);
    }

    fn send_client(&mut self, bytes: &[u8]) -> Result<(), Halt> {
        let sent = self.connection.client.send(bytes);
        sent.map_err(|_| Halt::Over(After::Drop))
    }

    /// Goes on with an answer that was kept, as if these bytes of it had only come now.
    pub(super) fn resume(&mut self, scratch: &mut Scratch, bytes: &[u8]) -> Result<(), Halt> {
        if !scratch.put(bytes) {
            return Err(self.unfit());
        }
        let (room, _) = scratch.room(usize::MAX);
        let gathered = self.exchange.upstream_sent(room, bytes.len());
        match gathered.map_err(|stop| self.stop(stop))? {
            Some(len) => self.pass_heads(scratch, len),
            None => Ok(()),
        }
    }

    /// Goes through the heads in the scratch buffer up to `end`: interim ones, then the final one.
    fn pass_heads(&mut self, scratch: &mut Scratch, end: usize) -> Result<(), Halt> {
        let mut begin = 0;
        loop {
            let (bytes, fields) = scratch.parts(begin..end);
            let is_ending = self.connection.is_ending();
            let next = { &mut *self.exchange }.next_head(bytes, fields, is_ending);
            match next.map_err(|stop| self.stop(stop))? {
                Next::More => return Ok(()),
                Next::Interim { at, head } => {
                    if self.exchange.passes_interim() && !self.is_told_again(head.status) {
                        // But for a 100, which only asks for the rest of the request, it is of this one's answer.
                        if head.status != 100 {
                            self.stays();
                        }
                        self.pass_interim(scratch, &head, begin + at)?;
                    }
                    begin += at + head.len;
                }
                Next::Switch { at, head } => return self.switch(scratch, &head, begin + at, end),
                Next::Final { at, head, answer } => {
                    return self.answer(scratch, &head, begin + at..end, &answer);
                }
            }
        }
    }

    /// Whether this tells the client once more to go on: all of its request had come when that went elsewhere.
    fn is_told_again(&self, status: u16) -> bool {
        let moved = self.choice.as_ref().is_some_and(|choice| choice.moves > 0);
        status == 100 && moved && self.exchange.upload().is_done()
    }

    /// Relays an interim response (RFC 9110, section 15.2).
    fn pass_interim(
        &mut self,
        scratch: &mut Scratch,
        head: &ResponseHead,
        at: usize,
    ) -> Result<(), Halt> {
        let section = Section::new(scratch.fields(), scratch.message(at));
        let mut removed = rewrite::response_removals(section, false);
        remove_framing(scratch, &mut removed);
        let start = scratch.rewrite(at, |buf, at, fields| {
            rewrite::response(buf, at, head, fields, &removed, &[])
        });
        let start = start.ok_or_else(|| self.unfit())?;
        self.send_client(scratch.rewritten(start, at + head.len))
    }

    /// A 101 that was asked for: from here on bytes are bytes.
    fn switch(
        &mut self,
        scratch: &mut Scratch,
        head: &ResponseHead,
        at: usize,
        end: usize,
    ) -> Result<(), Halt> {
        let section = Section::new(scratch.fields(), scratch.message(at));
        let mut removed = rewrite::response_removals(section, true);
        remove_framing(scratch, &mut removed);
        let access = &mut self.connection.access;
        access.response(head.status, section);
        self.judge(head.status, section);
        let id = self.id_line(scratch.fields());
        let lines = [id.as_bytes()];
        let start = scratch.rewrite(at, |buf, at, fields| {
            rewrite::response(buf, at, head, fields, &removed, &lines)
        });
        let start = start.ok_or_else(|| self.unfit())?;
        self.stays();
        self.exchange.switched();
        self.connection.access.passed_on(false);
        self.connection
            .access
            .sent(end.saturating_sub(at + head.len));
        self.connection.client.fail();
        self.send_client(scratch.rewritten(start, end))
    }

    /// The final response: sends head and first content in one piece.
    fn answer(
        &mut self,
        scratch: &mut Scratch,
        head: &ResponseHead,
        all: Range<usize>,
        answer: &Answer,
    ) -> Result<(), Halt> {
        let at = all.start;
        let section = Section::new(scratch.fields(), scratch.message(at));
        self.judge(head.status, section);
        if self.goes_onward(head.status) {
            self.leave_unsaid(scratch.received(all));
            self.exchange.goes_elsewhere();
            return Err(Halt::Onward);
        }
        self.stays();
        let access = &mut self.connection.access;
        access.response(head.status, section);
        let timed = self.gateway.config.server.server_timing;
        let line = || self.connection.access.timed(TimingLine::new);
        let timing = timed.then(line).flatten();
        let start = self.rewrite_answer(scratch, head, at, answer, timing.as_ref());
        let start = start.ok_or_else(|| self.unfit())?;
        // Where the connection's end is the answer's, only an end that was meant may look like one: not that
        // of a process that is killed or a task that fails.
        if answer.ends_with_connection() {
            self.connection.client.fail();
        }
        self.exchange.answered(answer);
        let end = at + head.len + answer.taken.kept;
        let sent = self.send_client(scratch.rewritten(start, end));
        self.content_passed(&answer.taken);
        sent
    }

    fn rewrite_answer(
        &self,
        scratch: &mut Scratch,
        head: &ResponseHead,
        at: usize,
        answer: &Answer,
        timing: Option<&TimingLine>,
    ) -> Option<Rewritten> {
        let section = Section::new(scratch.fields(), scratch.message(at));
        let mut removed = rewrite::response_removals(section, false);
        let listed = framing::listed_length(section).filter(|_| head.status != 204);
        let length = listed.map(|length| format!("Content-Length: {length}\r\n"));
        let lengths_kept = if length.is_some() { 0 } else { 1 };
        self.framing_removals(scratch, head, lengths_kept, &mut removed);
        if self.recipient.cors.is_some() {
            cors::remove(section, &mut removed);
        }
        let id = self.id_line(scratch.fields());
        let persistence: &[u8] = match answer.persists() {
            true => &self.gateway.keep_alive,
            false => b"Connection: close\r\n",
        };
        let lines = [
            id.as_bytes(),
            timing.map_or(&[][..], TimingLine::as_bytes),
            self.recipient.cors(),
            persistence,
            length.as_deref().unwrap_or_default().as_bytes(),
        ];
        scratch.rewrite(at, |buf, at, fields| {
            rewrite::response(buf, at, head, fields, &removed, &lines)
        })
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
        for (index, field) in scratch.fields().known() {
            let remove = match field.name {
                Name::TransferEncoding => self.recipient.http10 || head.status == 204,
                Name::ContentLength => {
                    lengths += 1;
                    lengths > lengths_kept || head.status == 204
                }
                Name::Trailer => self.recipient.http10,
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
            false => self.recipient.id.line(),
        }
    }

    /// The upstream connection has ended, in order or not.
    fn upstream_ended(&mut self, broken: Option<&io::Error>) -> Result<Flow, Halt> {
        let orderly = broken.is_none();
        match self.exchange.upstream_ended(orderly, self.may_repeat) {
            Ok(UpstreamEnd::Whole) => Ok(Flow::Moved),
            Ok(UpstreamEnd::Repeat) => Err(Halt::Again),
            Err(stop) => {
                if let Some(error) = broken {
                    self.connection.access.because(|| reason_of(error));
                }
                Err(self.stop(stop))
            }
        }
    }

    /// A head that does not fit the buffer, or cannot be rewritten.
    fn unfit(&mut self) -> Halt {
        let stop = self.exchange.fail(Failure::ResponseInvalid);
        self.stop(stop)
    }
}

/// Interim responses and 101 have no content, so nothing may say that they have.
fn remove_framing(scratch: &Scratch, removed: &mut FieldSet) {
    for (index, _) in scratch.fields().among(NameSet::FRAMING) {
        removed.insert(index);
    }
}
