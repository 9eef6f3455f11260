//! One client connection: request heads, pipelining, what is answered without a provider. How it goes on behind an answer
//! or ends is in `ending`.

mod ending;
mod operators;
mod wrong_keys;

use std::future::Future;
use std::rc::Rc;

use crate::base::bytes::within;
use crate::http::exchange::After;
use crate::http::framing::{self, BodyLength, Cursor, FramingError};
use crate::http::head::{self, HeadScan, HeadView, RequestHead, RequestView, Side};
use crate::net::client::recipient::{Recipient, request_id};
use crate::net::client::side::ClientSide;
use crate::net::client::visit::Visit;
use crate::net::exchange::{Opening, Relay, Spares};
use crate::net::sockets::socket::Received;
use crate::net::sockets::turns::Work;
use crate::net::transport::scratch::{ONE_RECEIVE, Scratch};
use crate::net::transport::tls::reason_of;
use crate::observe::Ending;
use crate::observe::one_writer::{down, up};
use crate::policy::admission::{self, Admission, Decision, Now, Request};
use crate::policy::error::Fault;
use crate::policy::gateway::Gateway;
use crate::system::time::{monotonic_nanos, unix_seconds};

use wrong_keys::{Delayed, Refusal};

/// A client's connection between and during exchanges.
struct Connection {
    side: ClientSide,
    scan: HeadScan,
    /// Accepted beyond `limits.connections`: only told so, or asked for the health.
    surplus: bool,
    /// No request has come yet.
    fresh: bool,
    /// A request may be on its way; counted as that.
    beginning: bool,
    /// Given back when the connection ends.
    visit: Visit,
    /// Room for exchanges.
    spares: Rc<Spares>,
}

/// What waiting for a request led to.
enum Step {
    Exchange(Box<Relay>),
    Metrics(Box<(Recipient, Cursor)>),
    /// Other workers are asked first.
    Streams(Box<(Recipient, Cursor)>),
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

/// Serves a client until its connection ends.
///
/// # Cancel safety
/// Dropped, the connection and its exchange are closed.
pub(crate) fn serve(
    side: ClientSide,
    surplus: bool,
    visit: Visit,
    spares: Rc<Spares>,
) -> impl Future<Output = ()> {
    let mut connection = Connection {
        side,
        scan: HeadScan::default(),
        surplus,
        fresh: true,
        beginning: false,
        visit,
        spares,
    };
    // A block, for an asynchronous function would hold its arguments beside what it makes of them.
    async move {
        while connection.serve_one().await {
            connection.side.rest_if_spent().await;
        }
    }
}

/// Ends a connection that does not begin as it has to; whoever is there `is_told` or not.
///
/// # Cancel safety
/// Dropped, it is closed.
pub(crate) async fn turn_down(mut side: ClientSide, reason: &'static str, is_told: bool) {
    let after = side.turn_down(reason, is_told);
    side.settle(after).await;
    side.ends(Ending::Complete, true);
}

impl Connection {
    /// One request and its response; whether another may follow.
    async fn serve_one(&mut self) -> bool {
        let step = self.next_request().await;
        let side = &mut self.side;
        let after = match step {
            Step::Exchange(mut relay) => {
                let after = relay.run(side).await;
                self.spares.keep(relay, side.worker.core.gateway());
                after
            }
            // Boxed: rare, as below.
            Step::Metrics(asking) => Box::pin(side.answer_metrics(*asking)).await,
            // Boxed: rare, and only operators ask.
            Step::Streams(asked) => Box::pin(side.answer_streams(*asked)).await,
            // Boxed: rare as well.
            Step::Delayed(delayed) => Box::pin(side.answer_late(*delayed)).await,
            Step::After(after) => after,
        };
        let (usual, stays) = match after {
            After::Persist => (Ending::Complete, true),
            After::Discard(_) | After::Close { .. } => (Ending::Complete, false),
            After::Truncate { .. } => (Ending::Cut, false),
            After::Drop => (Ending::ClientGone, false),
        };
        if !side.client.is_flushed() {
            side.access.lingers();
        }
        let goes_on = side.settle(after).await;
        side.ends(usual, goes_on || !stays);
        goes_on
    }

    /// Waits for a whole request head and decides on it.
    async fn next_request(&mut self) -> Step {
        let gateway = self.side.core().gateway();
        let timeouts = &gateway.config.timeouts;
        self.side.deadline.limit(None);
        let (mut awaited, mut has_waited) = (None, false);
        loop {
            if self.side.client.is_handshaking() && self.side.client.is_readable() {
                self.side.core().turns.for_handshake().await;
            }
            if !has_waited && self.side.core().turns.is_full() && self.has_input() {
                self.side.core().turns.for_head().await;
            }
            match self.try_request(has_waited) {
                Look::Found(step) => return step,
                Look::Large => {
                    // Then it is looked for from its start.
                    self.scan = HeadScan::default();
                    self.side.core().turns.for_large_head().await;
                    has_waited = true;
                    continue;
                }
                Look::Nothing => self.side.rest_if_spent().await,
            }
            // Set once for each: a head has to be whole in time, however slowly its bytes come.
            let now_awaited = self.awaits();
            if awaited != Some(now_awaited) {
                awaited = Some(now_awaited);
                let idle = now_awaited == Awaited::Another;
                self.counts_as_beginning(!idle);
                self.side.deadline.set(match idle && !self.surplus {
                    true => timeouts.idle_client,
                    false => timeouts.request_header,
                });
            }
            if !self.side.readable_in_time().await {
                return Step::After(match self.has_begun() {
                    false if now_awaited == Awaited::Handshake => {
                        self.side.unshaken("the handshake did not end in time");
                        After::Close { linger: false }
                    }
                    false => {
                        self.side.carry.clear();
                        After::Close { linger: false }
                    }
                    true if self.side.core().drain.is_stopping() => {
                        self.side.refuse_unframed(Fault::Draining)
                    }
                    true if self.side.is_outdated() => self.side.refuse_unframed(Fault::Outdated),
                    true => self.side.refuse_unframed(Fault::RequestHeadTimeout),
                });
            }
        }
    }

    /// Counts the connection among those on which a request may be on its way, or no longer.
    fn counts_as_beginning(&mut self, begins: bool) {
        if std::mem::replace(&mut self.beginning, begins) == begins {
            return;
        }
        let counter = &self.side.core().counters().beginning;
        match begins {
            true => up(counter),
            false => down(counter),
        }
    }

    fn awaits(&self) -> Awaited {
        match () {
            () if self.side.client.is_handshaking() => Awaited::Handshake,
            () if self.has_begun() => Awaited::Rest,
            () if self.fresh => Awaited::First,
            () => Awaited::Another,
        }
    }

    /// Whether a byte of a request has come. Empty lines before it, which some clients send behind their content,
    /// are none yet (RFC 9112, section 2.2).
    fn has_begun(&self) -> bool {
        !self
            .side
            .carry
            .bytes()
            .iter()
            .all(|byte| matches!(byte, b'\r' | b'\n'))
    }

    /// Whether there may be something to look at, kept or with the kernel.
    fn has_input(&self) -> bool {
        !self.side.carry.is_empty() || self.side.client.is_readable()
    }

    /// One turn: looks at what is kept, receives once, decides if the head is whole. One that `has_waited` is not to
    /// wait again.
    fn try_request(&mut self, has_waited: bool) -> Look {
        let core = self.side.worker.core.clone();
        let scratch = &mut *core.scratch.borrow_mut();
        if !self.side.carry.is_empty() {
            match self.try_carried(scratch, has_waited) {
                Look::Nothing => {}
                look => return look,
            }
        }
        if !self.side.client.is_readable() {
            return Look::Nothing;
        }
        let (room, cipher) = scratch.room(ONE_RECEIVE);
        let was_handshaking = self.side.client.is_handshaking();
        let received = self.side.client.recv(room, cipher);
        if was_handshaking {
            self.side.worker.records.clock().done();
        }
        let records = self.side.client.take_records();
        self.side.budget.spend_receive(Work::Look, 0, records);
        if self.visit.is_shaking() && !self.side.client.is_handshaking() {
            self.visit.shaken(&core.visitors);
        }
        let received = match received {
            Ok(Received::Data(n)) => n,
            Ok(Received::Pending) => return Look::Nothing,
            // A plain client that has ended needs no more than the close.
            Ok(Received::Eof) if self.side.client.is_tls() => {
                return Look::Found(Step::After(After::Close { linger: false }));
            }
            Err(error) if was_handshaking => {
                let after = self.side.unshaken(&reason_of(&error));
                return Look::Found(Step::After(after));
            }
            Ok(Received::Eof) | Err(_) => return Look::Found(Step::After(After::Drop)),
        };
        core.spin.traffic();
        self.side.budget.spend(Work::Look, received);
        let (bytes, fields) = scratch.parts(0..received);
        if !self.side.carry.is_empty() {
            self.keep(bytes);
            return self.try_carried(scratch, has_waited);
        }
        match head::request(&mut self.scan, bytes, fields) {
            Ok(Some(head)) if self.waits(&head, has_waited) => {
                self.keep(bytes);
                Look::Large
            }
            Ok(Some(head)) => {
                let framed = framed(HeadView::new(&head, fields, bytes));
                // What lies behind the message waits for its turn.
                let behind = within(bytes, message_len(&head, &framed)..);
                self.side.carry.extend(behind);
                Look::Found(self.arrived(scratch, &head, framed))
            }
            Ok(None) => {
                self.keep(bytes);
                Look::Nothing
            }
            Err(error) => Look::Found(Step::After(self.side.refuse_unframed(error.into()))),
        }
    }

    /// Keeps what may be part of a head.
    fn keep(&mut self, bytes: &[u8]) {
        self.side.core().turns.kept(bytes.len());
        self.side.carry.extend(bytes);
    }

    /// Looks for a whole head in the kept bytes, and moves what has come of its message into the scratch buffer if
    /// there is one.
    fn try_carried(&mut self, scratch: &mut Scratch, has_waited: bool) -> Look {
        let carried = self.side.carry.bytes();
        match head::request(&mut self.scan, carried, scratch.fields_mut()) {
            Ok(Some(head)) if self.waits(&head, has_waited) => Look::Large,
            Ok(Some(head)) => {
                let framed = framed(HeadView::new(&head, scratch.fields(), carried));
                let message = within(carried, ..message_len(&head, &framed));
                if !scratch.put(message) {
                    return Look::Nothing;
                }
                let used = message.len();
                self.side.carry.consume(used);
                Look::Found(self.arrived(scratch, &head, framed))
            }
            Ok(None) => Look::Nothing,
            Err(error) => Look::Found(Step::After(self.side.refuse_unframed(error.into()))),
        }
    }

    /// Whether a head has to wait for its turn.
    fn waits(&self, head: &RequestHead, has_waited: bool) -> bool {
        !has_waited && self.side.core().turns.is_full_for(head.len)
    }

    /// A request whose head, and the content that has come of it, lie in the scratch buffer.
    fn arrived(&mut self, scratch: &mut Scratch, head: &RequestHead, framed: Framing) -> Step {
        self.scan = HeadScan::default();
        self.fresh = false;
        self.counts_as_beginning(false);
        let cost = head.len.saturating_mul(HEAD_BYTE);
        self.side.budget.spend(Work::Piece, cost);
        self.side.core().turns.decided(head.len);
        let gateway = self.side.core().gateway();
        self.side.begins(&gateway);
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
        let core = self.side.worker.core.clone();
        let cursor = framed.cursor;
        let content = head.len..head.len + framed.taken;
        let message = scratch.received(0..content.end);
        let view = HeadView::new(head, scratch.fields(), message);
        let id = request_id(&core.ids, view.section);
        self.side.access.head(view, &id);
        self.side.access.received(framed.taken);
        let mut recipient = Recipient::new(view, framed.length, id);
        let crowded = core.load.crowded().filter(|_| self.surplus);
        self.surplus = crowded.is_some();
        recipient.persists &= !self.surplus;
        let request = Request {
            view,
            length: framed.length,
            content: cursor.content_bytes(),
            is_near: self.side.peer.is_near() && !self.side.client.is_tls(),
            from: self.side.peer.address().map(|address| address.ip()),
        };
        let now = Now {
            unix_seconds,
            monotonic_nanos,
            is_outdated: self.side.is_outdated(),
            crowded,
            in_flight: core.load.in_flight(),
        };
        let Decision {
            key,
            key_slot,
            provider,
            cors,
            outcome,
        } = match core.is_operator() {
            true => admission::admit_operator(gateway, request, now),
            false => admission::admit(gateway, request, now),
        };
        self.side.access.by(key, key_slot);
        recipient.cors = cors;
        match outcome {
            Ok(Admission::Forward(forward)) => {
                self.side.busy = Some(core.load.busy());
                let opening = Opening {
                    forward,
                    head,
                    cursor,
                    recipient,
                    content,
                    key,
                    spares: &self.spares,
                };
                let relay = Relay::open(&mut self.side, scratch, gateway, opening);
                relay.map_or_else(Step::After, Step::Exchange)
            }
            Ok(Admission::Metrics) => Step::Metrics(Box::new((recipient, cursor))),
            Ok(Admission::Streams) => Step::Streams(Box::new((recipient, cursor))),
            Ok(Admission::Page) => Step::After(self.side.answer_page(&recipient, cursor)),
            Ok(local) => Step::After(self.side.answer_locally(&local, &recipient, cursor, "")),
            Err(fault) => {
                if let Some(provider) = provider {
                    self.side.access.was_for(gateway.slots.of(provider));
                }
                match self.side.reject(&fault, recipient, cursor) {
                    Refusal::Now(after) => Step::After(after),
                    Refusal::Later(delayed) => Step::Delayed(delayed),
                }
            }
        }
    }

    /// Answers a request whose head is whole and whose framing is not to be trusted, and ends the connection.
    #[cold]
    fn refuse_misframed(&mut self, fault: &Fault, head: &RequestHead, scratch: &Scratch) -> After {
        let view = HeadView::new(head, scratch.fields(), scratch.message(0));
        let id = request_id(&self.side.core().ids, view.section);
        self.side.access.head(view, &id);
        let recipient = Recipient::new(view, BodyLength::Empty, id);
        let after = After::Close { linger: true };
        self.side.send_error(fault, &recipient, after)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.counts_as_beginning(false);
        self.visit.end(&self.side.core().visitors);
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

fn framed(request: RequestView<'_>) -> Framing {
    let length = framing::request_body(request)?;
    let mut cursor = Cursor::new(length);
    let content = within(request.buf, request.head.len..);
    let advance = cursor.advance(content, Side::Request)?;
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

    fn size_of_future<A, B, C, D, F: Future>(_: impl FnOnce(A, B, C, D) -> F) -> usize {
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
