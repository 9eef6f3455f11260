//! One client connection: request heads, pipelining, what is answered without a provider. How it goes on behind an answer
//! or ends is in `ending`.

mod ending;
mod operators;

use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::base::bytes::within;
use crate::config::Limits;
use crate::http::exchange::After;
use crate::http::framing::{self, BodyLength, Cursor, FramingError};
use crate::http::head::{self, Fields, HEAD_BYTES_MAX, HeadScan, RequestHead, Side};
use crate::net::client::access::Access;
use crate::net::client::carry::Carry;
use crate::net::client::recipient::{Asker, request_id};
use crate::net::client::visit::{Delayed, Visit};
use crate::net::core::deadline::Deadline;
use crate::net::exchange::{Opening, Relay};
use crate::net::sockets::hangup::Hangup;
use crate::net::sockets::peer::Peer;
use crate::net::sockets::socket::Received;
use crate::net::sockets::turns::{Budget, Work};
use crate::net::transport::scratch::{HEADROOM, ONE_RECEIVE, Scratch};
use crate::net::transport::stream::Stream;
use crate::net::worker::{Busy, Worker, monotonic_nanos, unix_seconds};
use crate::observe::Ending;
use crate::observe::counters::{down, up};
use crate::policy::admission::{self, Admission, Decision, Now, Request};
use crate::policy::error::{ErrorResponse, Fault, Scarce};
use crate::policy::gateway::Gateway;

/// A client's connection between and during exchanges.
pub(crate) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) client: Stream,
    /// Received and not yet used. Empty while idle, but for empty lines.
    pub(super) carry: Carry,
    /// What may be done before others have their turn.
    pub(super) budget: Budget,
    scan: HeadScan,
    pub(super) deadline: Deadline,
    hangup: Hangup,
    /// Accepted beyond `limits.connections`: only told so, or asked for the health.
    surplus: bool,
    /// No request has come yet.
    fresh: bool,
    /// A request may be on its way; counted as that.
    beginning: bool,
    /// What the worker's was when the client was let in.
    door: u16,
    /// A request has come and its end is not recorded yet.
    answering: bool,
    /// Held while an admitted request is under way, until its answer is with the kernel or cut; not while one of
    /// the gateway's own is on its way.
    pub(super) busy: Option<Busy>,
    /// The request under way.
    pub(super) access: Access,
    pub(super) peer: Peer,
    /// Given back when the connection ends.
    visit: Visit,
}

/// What waiting for a request led to.
pub(crate) enum Step {
    Exchange(Box<Relay>),
    Metrics(Box<(Asker, Cursor)>),
    /// Other workers are asked first.
    Streams(Box<(Asker, Cursor)>),
    /// A wrong key, and not the first.
    Delayed(Box<Delayed>),
    After(After),
}

/// What a look for a request led to.
enum Look {
    /// It is not whole yet.
    Nothing,
    /// It is whole, kept, and to wait for its turn.
    Large,
    Found(Step),
}

/// What a connection without a request waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// The end of the TLS handshake.
    Handshake,
    /// The first byte of its first request.
    First,
    /// The first byte of another one.
    Another,
    /// The rest of a head.
    Rest,
}

/// What a byte of a head costs against one that is only moved: it is looked at several times.
const HEAD_BYTE: usize = 4;
/// Most bytes read behind a message while its answer is under way.
const CARRY_BYTES_MAX: usize = HEAD_BYTES_MAX;

/// Serves a client until its connection ends.
///
/// # Cancel safety
/// Dropped, the connection and its exchange are closed.
pub(crate) fn serve(
    worker: Rc<Worker>,
    client: Stream,
    surplus: bool,
    peer: Peer,
    visit: Visit,
) -> impl Future<Output = ()> {
    let mut connection = Connection {
        client,
        carry: Carry::default(),
        budget: Budget::default(),
        scan: HeadScan::default(),
        deadline: worker.clock.register(),
        hangup: Hangup::new(worker.hangups.clone()),
        surplus,
        fresh: true,
        beginning: false,
        door: worker.door(),
        answering: false,
        busy: None,
        access: Access::default(),
        peer,
        visit,
        worker,
    };
    // A block, for an asynchronous function would hold its arguments beside what it makes of them.
    async move {
        while connection.serve_one().await {
            connection.rest_if_spent().await;
        }
    }
}

impl Connection {
    /// One request and its response; whether another may follow.
    async fn serve_one(&mut self) -> bool {
        let after = match self.next_request().await {
            Step::Exchange(relay) => relay.run(self).await,
            // Boxed: rare, as below.
            Step::Metrics(asking) => Box::pin(self.answer_metrics(*asking)).await,
            // Boxed: rare, and only operators ask.
            Step::Streams(asked) => Box::pin(self.answer_streams(*asked)).await,
            // Boxed: rare as well.
            Step::Delayed(delayed) => Box::pin(self.answer_late(*delayed)).await,
            Step::After(after) => after,
        };
        let (usual, stays) = match after {
            After::Persist => (Ending::Complete, true),
            After::Discard(_) | After::Close { .. } => (Ending::Complete, false),
            After::Truncate { .. } => (Ending::Cut, false),
            After::Drop => (Ending::ClientGone, false),
        };
        if !self.client.is_flushed() {
            self.access.lingers();
        }
        let goes_on = self.settle(after).await;
        self.busy = None;
        if std::mem::take(&mut self.answering) {
            let delivered = goes_on || !stays;
            self.access.end(&self.worker, self.peer, usual, delivered);
        }
        goes_on
    }

    /// Waits for a whole request head and decides on it.
    async fn next_request(&mut self) -> Step {
        let gateway = self.worker.gateway();
        let timeouts = &gateway.config.timeouts;
        self.deadline.limit(None);
        let (mut awaited, mut has_waited) = (None, false);
        loop {
            if self.client.is_handshaking() && self.client.is_readable() {
                self.worker.turns.for_handshake().await;
            }
            if !has_waited && self.worker.turns.is_full() && self.has_input() {
                self.worker.turns.for_head().await;
            }
            match self.try_request(has_waited) {
                Look::Found(step) => return step,
                Look::Large => {
                    // Then it is looked for from its start.
                    self.scan = HeadScan::default();
                    self.worker.turns.for_large_head().await;
                    has_waited = true;
                    continue;
                }
                Look::Nothing => self.rest_if_spent().await,
            }
            // Set once for each: a head has to be whole in time, however slowly its bytes come.
            let now_awaited = self.awaits();
            if awaited != Some(now_awaited) {
                awaited = Some(now_awaited);
                let idle = now_awaited == Awaited::Another;
                self.begins(!idle);
                self.deadline.set(match idle && !self.surplus {
                    true => timeouts.idle_client,
                    false => timeouts.request_header,
                });
            }
            if !self.readable_in_time().await {
                return Step::After(match self.has_begun() {
                    false => {
                        self.carry.clear();
                        After::Close { linger: false }
                    }
                    true if self.worker.is_stopping() => self.refuse_unframed(Fault::Draining),
                    true if self.is_outdated() => self.refuse_unframed(Fault::Outdated),
                    true => self.refuse_unframed(Fault::RequestHeadTimeout),
                });
            }
        }
    }

    /// Whether the client would have to show something else if it came now. Then its request under way is the last:
    /// what came behind that was asked on terms that are no more.
    fn is_outdated(&self) -> bool {
        self.door != self.worker.door()
    }

    /// Whether the answer under way ends the connection, whatever client and provider want.
    pub(super) fn is_ending(&self) -> bool {
        self.worker.is_draining() || self.is_outdated()
    }

    /// Counts the connection among those on which a request may be on its way, or no longer.
    fn begins(&mut self, begins: bool) {
        if std::mem::replace(&mut self.beginning, begins) == begins {
            return;
        }
        let counter = &self.worker.counters().beginning;
        match begins {
            true => up(counter),
            false => down(counter),
        }
    }

    fn awaits(&self) -> Awaited {
        match () {
            () if self.client.is_handshaking() => Awaited::Handshake,
            () if self.has_begun() => Awaited::Rest,
            () if self.fresh => Awaited::First,
            () => Awaited::Another,
        }
    }

    /// Whether a byte of a request has come. Empty lines before it, which some clients send behind their content,
    /// are none yet (RFC 9112, section 2.2).
    fn has_begun(&self) -> bool {
        !self
            .carry
            .bytes()
            .iter()
            .all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Whether bytes came before the deadline.
    pub(super) async fn readable_in_time(&mut self) -> bool {
        poll_fn(|cx| {
            if self.client.poll_readable(cx).is_ready() {
                return Poll::Ready(true);
            }
            if self.is_outdated() {
                return Poll::Ready(false);
            }
            if self.worker.is_stopping() {
                // A request that has arrived is answered, whether readiness was reported yet or not.
                return Poll::Ready(self.client.look_again());
            }
            self.budget.renew();
            self.deadline.poll_late(cx, || self.client.has_news())
        })
        .await
    }

    /// Lets all others run, if this connection has had its share.
    pub(super) async fn rest_if_spent(&mut self) {
        if self.budget.is_spent() {
            self.worker.turns.next().await;
            self.budget.renew();
        }
    }

    /// Whether there may be something to look at, kept or with the kernel.
    fn has_input(&self) -> bool {
        !self.carry.is_empty() || self.client.is_readable()
    }

    /// One turn: looks at what is kept, receives once, decides if the head is whole. One that `has_waited` is not to
    /// wait again.
    fn try_request(&mut self, has_waited: bool) -> Look {
        let worker = self.worker.clone();
        let scratch = &mut *worker.scratch.borrow_mut();
        if !self.carry.is_empty() {
            match self.try_carried(scratch, has_waited) {
                Look::Nothing => {}
                look => return look,
            }
        }
        if !self.client.is_readable() {
            return Look::Nothing;
        }
        let Some(room) = scratch.plain.get_mut(HEADROOM..HEADROOM + ONE_RECEIVE) else {
            return Look::Nothing;
        };
        let received = self.client.recv(room, &mut scratch.cipher);
        let records = self.client.take_records();
        self.budget.spend_receive(Work::Look, 0, records);
        if self.visit.is_shaking() && !self.client.is_handshaking() {
            self.visit.shaken(worker.visitors());
        }
        let received = match received {
            Ok(Received::Data(n)) => n,
            Ok(Received::Pending) => return Look::Nothing,
            // A plain client that has ended needs no more than the close.
            Ok(Received::Eof) if self.client.is_tls() => {
                return Look::Found(Step::After(After::Close { linger: false }));
            }
            Ok(Received::Eof) | Err(_) => return Look::Found(Step::After(After::Drop)),
        };
        worker.spin.traffic();
        self.budget.spend(Work::Look, received);
        let bytes = within(room, ..received);
        if !self.carry.is_empty() {
            self.keep(bytes);
            return self.try_carried(scratch, has_waited);
        }
        match head::request(&mut self.scan, bytes, &mut scratch.fields) {
            Ok(Some(head)) if self.waits(&head, has_waited) => {
                self.keep(bytes);
                Look::Large
            }
            Ok(Some(head)) => {
                let framed = framed(&head, &scratch.fields, bytes);
                // What lies behind the message waits for its turn.
                let behind = within(bytes, message_len(&head, &framed)..);
                self.carry.extend(behind);
                Look::Found(self.arrived(scratch, &head, framed))
            }
            Ok(None) => {
                self.keep(bytes);
                Look::Nothing
            }
            Err(error) => Look::Found(Step::After(self.refuse_unframed(error.into()))),
        }
    }

    /// Keeps what may be part of a head.
    fn keep(&mut self, bytes: &[u8]) {
        self.worker.turns.kept(bytes.len());
        self.carry.extend(bytes);
    }

    /// Looks for a whole head in the kept bytes, and moves what has come of its message into the scratch buffer if
    /// there is one.
    fn try_carried(&mut self, scratch: &mut Scratch, has_waited: bool) -> Look {
        let carried = self.carry.bytes();
        match head::request(&mut self.scan, carried, &mut scratch.fields) {
            Ok(Some(head)) if self.waits(&head, has_waited) => Look::Large,
            Ok(Some(head)) => {
                let framed = framed(&head, &scratch.fields, carried);
                let message = within(carried, ..message_len(&head, &framed));
                let room = HEADROOM..HEADROOM + message.len();
                let Some(room) = scratch.plain.get_mut(room) else {
                    return Look::Nothing;
                };
                room.copy_from_slice(message);
                self.carry.consume(room.len());
                Look::Found(self.arrived(scratch, &head, framed))
            }
            Ok(None) => Look::Nothing,
            Err(error) => Look::Found(Step::After(self.refuse_unframed(error.into()))),
        }
    }

    /// Whether a head has to wait for its turn.
    fn waits(&self, head: &RequestHead, has_waited: bool) -> bool {
        !has_waited && self.worker.turns.is_full_for(head.len)
    }

    /// A request whose head, and the content that has come of it, lie in the scratch buffer.
    fn arrived(&mut self, scratch: &mut Scratch, head: &RequestHead, framed: Framing) -> Step {
        self.scan = HeadScan::default();
        self.answering = true;
        self.fresh = false;
        self.begins(false);
        let cost = head.len.saturating_mul(HEAD_BYTE);
        self.budget.spend(Work::Piece, cost);
        self.worker.turns.decided(head.len);
        let gateway = self.worker.gateway();
        self.access = Access::begin(&self.worker, &gateway);
        match framed {
            Ok(framed) => self.decide(scratch, &gateway, head, &framed),
            Err(error) => Step::After(self.refuse_misframed(&error.into(), head, scratch)),
        }
    }

    /// Decides on a request that can be told from what follows it.
    fn decide(
        &mut self,
        scratch: &mut Scratch,
        gateway: &Rc<Gateway>,
        head: &RequestHead,
        framed: &Framed,
    ) -> Step {
        let worker = self.worker.clone();
        let &Framed {
            length,
            cursor,
            taken,
        } = framed;
        let content = HEADROOM + head.len..HEADROOM + head.len + taken;
        let message = within(&scratch.plain, HEADROOM..content.end);
        let request = Request {
            buf: message,
            head,
            fields: &scratch.fields,
            length,
            is_near: self.peer.is_near() && !self.client.is_tls(),
        };
        let id = request_id(&worker, &scratch.fields, message);
        self.access.head(head, &scratch.fields, message, &id);
        self.access.received(taken);
        let mut asker = Asker::new(head, &scratch.fields, message, id);
        let crowded = worker.crowded().filter(|_| self.surplus);
        self.surplus = crowded.is_some();
        asker.persists &= !self.surplus;
        let limits = &gateway.config.limits;
        let too_long = limits
            .body
            .is_some_and(|limit| cursor.content_bytes() > limit);
        let now = Now {
            unix_seconds,
            monotonic_nanos,
        };
        let Decision { key, cors, outcome } = match worker.is_operator() {
            true => admission::admit_operator(gateway, request),
            false => admission::admit(gateway, request, now),
        };
        self.access.by(key);
        asker.cors = cors;
        let outcome = outcome.and_then(|admission| match &admission {
            _ if self.is_outdated() => Err(Fault::Outdated),
            Admission::Forward(forward) => { self.has_room(limits, too_long, crowded) }
                .and_then(|()| forward.check_trailers(request))
                .map(|()| admission),
            _ => Ok(admission),
        });
        match outcome {
            Ok(Admission::Forward(forward)) => {
                self.busy = Some(worker.busy());
                let opening = Opening {
                    forward,
                    head,
                    cursor,
                    asker,
                    content,
                };
                match Relay::open(self, scratch, gateway, opening) {
                    Ok(relay) => Step::Exchange(relay),
                    Err(after) => Step::After(after),
                }
            }
            Ok(Admission::Metrics) => Step::Metrics(Box::new((asker, cursor))),
            Ok(Admission::Streams) => Step::Streams(Box::new((asker, cursor))),
            Ok(local) => Step::After(self.answer_locally(&local, &asker, cursor, "")),
            Err(fault) => self.reject(&fault, asker, cursor),
        }
    }

    /// Whether a request to a provider is within what was configured.
    fn has_room(
        &self,
        limits: &Limits,
        too_long: bool,
        crowded: Option<Scarce>,
    ) -> Result<(), Fault> {
        match crowded {
            _ if too_long => Err(Fault::BodyTooLarge),
            Some(scarce) => Err(Fault::Overloaded(scarce)),
            None if self.worker.is_busy(limits.in_flight) => {
                Err(Fault::Overloaded(Scarce::InFlight))
            }
            None => Ok(()),
        }
    }

    /// Answers a request whose head is whole and whose framing is not to be trusted, and ends the connection.
    #[cold]
    fn refuse_misframed(&mut self, fault: &Fault, head: &RequestHead, scratch: &Scratch) -> After {
        let (fields, message) = (&scratch.fields, within(&scratch.plain, HEADROOM..));
        let id = request_id(&self.worker, fields, message);
        self.access.head(head, fields, message, &id);
        let asker = Asker {
            persists: false,
            ..Asker::new(head, fields, message, id)
        };
        self.send_error(fault, &asker);
        After::Close { linger: true }
    }

    /// Answers a request whose head nobody can read, or none yet, and ends the connection.
    pub(super) fn refuse_unframed(&mut self, fault: Fault) -> After {
        let id = self.worker.ids.next();
        if !std::mem::replace(&mut self.answering, true) {
            self.access = Access::begin(&self.worker, &self.worker.gateway());
        }
        let asker = Asker {
            id,
            head_only: false,
            http10: false,
            persists: false,
            expects_continue: false,
            cors: None,
        };
        self.send_error(&fault, &asker);
        After::Close { linger: true }
    }

    /// Answers a framed request with an error; its remaining content is unwanted.
    pub(super) fn refuse(&mut self, fault: &Fault, asker: &Asker, cursor: Cursor) -> After {
        let after = self.after_local(asker, cursor);
        let persists = !matches!(after, After::Close { .. });
        self.send_error(
            fault,
            &Asker {
                persists,
                ..asker.clone()
            },
        );
        after
    }

    /// Sends an error of the gateway's own.
    pub(super) fn send_error(&mut self, fault: &Fault, asker: &Asker) {
        self.busy = None;
        self.access.failed(fault.status(), fault.code());
        let gateway = self.worker.gateway();
        let mut out = Vec::with_capacity(512);
        let date = self.worker.http_date();
        let response = ErrorResponse {
            fault,
            request_id: asker.id.as_bytes(),
            date: date.as_bytes(),
            head_only: asker.head_only,
            connection: asker.persistence(gateway.config.timeouts.idle_client),
            cors: asker.cors(),
        };
        response.write(&mut out);
        // A client that cannot be told has left, which the next receive finds.
        let _ = self.client.send(&out);
    }

    /// `/health`, metrics, `OPTIONS *` and preflights.
    pub(super) fn answer_locally(
        &mut self,
        what: &Admission<'_>,
        asker: &Asker,
        cursor: Cursor,
        metrics: &str,
    ) -> After {
        let after = self.after_local(asker, cursor);
        let persists = !matches!(after, After::Close { .. });
        let (status, out) = self.worker.local_answer(
            what,
            &Asker {
                persists,
                ..asker.clone()
            },
            metrics,
        );
        self.access.answered(status);
        let _ = self.client.send(&out);
        after
    }

    /// Ready once the client has closed or reset, whatever it had sent before.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.hangup.poll(self.client.fd(), cx)
    }

    /// Ready once the client has reset; bytes that it sent before an orderly end still count.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.hangup.poll_reset(self.client.fd(), cx)
    }

    /// Whether bytes behind the request may be taken to see whether the client is still there.
    pub(super) fn may_carry(&self) -> bool {
        self.carry.len() < CARRY_BYTES_MAX
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.begins(false);
        self.visit.end(self.worker.visitors());
    }
}

/// What follows a request's head.
struct Framed {
    /// How the content is framed.
    length: BodyLength,
    /// Stands behind what came of it with the head.
    cursor: Cursor,
    /// How much that is.
    taken: usize,
}

type Framing = Result<Framed, FramingError>;

fn framed(head: &RequestHead, fields: &Fields, bytes: &[u8]) -> Framing {
    let length = framing::request_body(head, fields, bytes)?;
    let mut cursor = Cursor::new(length);
    let advance = cursor.advance(within(bytes, head.len..), Side::Request)?;
    Ok(Framed {
        length,
        cursor,
        taken: advance.taken,
    })
}

/// How much has come of a message; nobody asks for the content of one that is misframed.
fn message_len(head: &RequestHead, framed: &Framing) -> usize {
    head.len + framed.as_ref().map_or(0, |framed| framed.taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, D, E, F: Future>(_: impl FnOnce(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    /// What every open connection costs beside its socket; memory per stream depends on it.
    #[test]
    fn a_connection_stays_small() {
        assert!(
            size_of_future(serve) <= 560,
            "{} {}",
            size_of_future(serve),
            size_of::<Connection>()
        );
        // Glibc's allocator has no block between 280 and 296 bytes.
        assert!(size_of::<Relay>() <= 296, "{}", size_of::<Relay>());
    }
}
