//! One request and its response: the request goes out, content flows both ways at once, the upstream
//! connection is given back or closed.
//!
//! [`Exchange::run`] alternates between `pump`, which moves whatever can be moved and never
//! waits, and one wait for everything that could let it move more. Nothing is in flight while it waits, so
//! there is nothing to cancel: a deadline or a client that leaves simply ends the loop.

mod establish;
mod response;
mod spares;
mod steady;

use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};

use self::response::Response;
use crate::base::bytes::within;
use crate::http::framing::{Advance, Cursor, FramingError};
use crate::http::head::{HeadError, Name, RequestHead, Side};
use crate::net::client::recipient::Asker;
use crate::net::connection::{After, Connection};
use crate::net::core::ids::IdLine;
use crate::net::sockets::socket::Received;
use crate::net::sockets::turns::Work;
use crate::net::transport::scratch::{BULK_BYTES_MAX, HEADROOM, ONE_RECEIVE, Scratch};
use crate::net::upstream::pool::Upstream;
use crate::net::upstream::warm::Warm;
use crate::observe::{self, Ending, Phase};
use crate::policy::admission::Forward;
use crate::policy::auth::Lease;
use crate::policy::error::Fault;
use crate::policy::gateway::Gateway;

pub(crate) use spares::Spares;

/// An admitted request that lies in the scratch buffer.
pub(crate) struct Opening<'a> {
    /// Where it goes and what is changed.
    pub forward: Forward<'a>,
    /// Its head, at [`HEADROOM`].
    pub head: &'a RequestHead,
    /// Stands behind the content that came with the head.
    pub cursor: Cursor,
    /// What answers depend on.
    pub asker: Asker,
    /// The content that came with the head.
    pub content: Range<usize>,
}

/// See the module's documentation.
pub(crate) struct Exchange {
    pub(super) gateway: Rc<Gateway>,
    provider: usize,
    upstream: Option<Box<Upstream>>,
    /// The rewritten request while there is no connection for it.
    unsent: Vec<u8>,
    /// The whole rewritten request, while it may be sent again.
    replay: Option<Vec<u8>>,
    /// Request content.
    pub(super) up: Upload,
    pub(super) response: Response,
    pub(super) asker: Asker,
    pub(super) upgrade: bool,
    /// The deadline for the response head has been set.
    head_awaited: bool,
    /// Counts for the gateway key until the exchange is over.
    lease: Option<Lease>,
}

/// Where the request's content stands.
pub(super) struct Upload {
    pub(super) cursor: Cursor,
    /// The upstream takes no more of it.
    pub(super) refused: bool,
    /// As of the [`Forward`].
    is_judged: bool,
}

impl Upload {
    fn advance(&mut self, bytes: &[u8]) -> Result<Advance, FramingError> {
        match self.is_judged {
            true => self.cursor.advance_judged(bytes),
            false => self.cursor.advance(bytes, Side::Request),
        }
    }
}

/// What trying to move bytes in one direction came to.
pub(super) enum Flow {
    /// There was nothing to move, or no room for it.
    Idle,
    /// Something was moved.
    Moved,
    /// The exchange is over.
    Over(After),
    /// The pooled connection was stale; the request goes out again on a fresh one.
    Again,
}

/// What a turn of the pump leads to.
enum Turn {
    Wait,
    /// There may be more to move, when others have had their turn.
    Rest,
    Over(After),
    Again,
}

/// What ended a wait.
pub(super) enum Wake {
    Progress,
    /// Others have their turn first.
    Rest,
    /// The exchange is over.
    Over(After),
    ClientLeft,
    Deadline,
}

impl Wake {
    /// The deadline has passed, and what was waited for has come or not.
    pub(super) fn late(has_come: bool) -> Self {
        match has_come {
            true => Self::Progress,
            false => Self::Deadline,
        }
    }
}

impl Exchange {
    /// Rewrites the request and sends it, if an idle connection is there; else keeps it.
    ///
    /// # Errors
    /// How the connection goes on when there is no exchange.
    pub(crate) fn open(
        connection: &mut Connection,
        scratch: &mut Scratch,
        gateway: &Rc<Gateway>,
        opening: Opening<'_>,
    ) -> Result<Box<Self>, After> {
        let Opening {
            forward,
            head,
            cursor,
            asker,
            content,
        } = opening;
        let worker = connection.worker.clone();
        let Some((provider, lines)) = gateway.provider(forward.provider) else {
            return Err(After::Drop);
        };
        let message = within(&scratch.plain, HEADROOM..content.end);
        let idempotent = is_idempotent(head.method.of(message));
        let has_id = forward.carries_on(&scratch.fields, Name::XRequestId);
        let id = match has_id {
            true => IdLine::none(),
            false => asker.id.line(),
        };
        let mark = worker.doors.mark(&provider.base, has_id);
        let fields = &scratch.fields;
        let Some(start) = forward.rewrite(
            lines,
            &mut scratch.plain,
            HEADROOM,
            head,
            fields,
            [id.as_bytes(), mark],
        ) else {
            // The headroom is sized for every configuration; only a defect leads here.
            return Err(connection.refuse_unframed(Fault::Head(HeadError::TooLong)));
        };
        connection.access.routed(gateway.slots.of(forward.provider));
        connection.deadline.limit(gateway.config.timeouts.request);
        let mut exchange = worker.spares.fill(Self {
            gateway: gateway.clone(),
            provider: forward.provider,
            upstream: None,
            unsent: Vec::new(),
            replay: None,
            up: Upload {
                cursor,
                refused: false,
                is_judged: forward.is_judged,
            },
            response: Response::new(asker.head_only),
            asker,
            upgrade: forward.upgrade,
            head_awaited: false,
            lease: forward.lease,
        });
        exchange.response.expects_continue = forward.expects_continue;
        worker.warm.used(exchange.provider, worker.clock.now());
        exchange.dispatch(connection, scratch, start..content.end, idempotent);
        Ok(exchange)
    }

    /// Sends the rewritten request, if an idle connection is there; else keeps it.
    fn dispatch(
        &mut self,
        connection: &mut Connection,
        scratch: &mut Scratch,
        request: Range<usize>,
        idempotent: bool,
    ) {
        let worker = connection.worker.clone();
        let counters = worker.counters();
        let pooled = worker.pool.take(self.provider, scratch);
        let request = within(&scratch.plain, request);
        let Some(mut upstream) = pooled else {
            let provider = self.gateway.config.providers.get(self.provider);
            let habit = self.gateway.slots.habit(self.provider);
            if provider.is_some_and(|provider| provider.warm > 0) && habit.allows_more() {
                observe::add(&counters.warm_misses, 1);
            }
            self.unsent.extend_from_slice(request);
            return;
        };
        let slot = self.gateway.slots.of(self.provider);
        let counter = match upstream.first_use() {
            true => &counters.warm_hits,
            false => &counters.provider(slot).reuses,
        };
        observe::add(counter, 1);
        self.send_pooled(upstream, request, idempotent);
        if self.upstream.is_some() {
            connection.access.request_sent(self.up.cursor.is_done());
        }
    }

    /// The first send on a connection from the pool. If not a byte of it went out, or the method allows it,
    /// the request may go out once more on a fresh one.
    fn send_pooled(&mut self, mut upstream: Box<Upstream>, request: &[u8], idempotent: bool) {
        if upstream.stream.send(request).is_err() {
            // A plain send that fails has sent nothing; under TLS a first record may be out.
            if idempotent || !upstream.stream.is_tls() {
                self.unsent.extend_from_slice(request);
            } else {
                self.up.refused = true;
                self.upstream = Some(upstream);
            }
            return;
        }
        if idempotent && self.up.cursor.is_done() {
            self.replay = Some(request.to_vec());
        }
        self.upstream = Some(upstream);
    }

    /// Carries the exchange to its end.
    ///
    /// # Cancel safety
    /// Dropped, the upstream connection is closed.
    pub(crate) async fn run(mut self: Box<Self>, connection: &mut Connection) -> After {
        let after = self.drive(connection).await;
        if let After::Drop = after {
            connection.access.left(self.phase());
        }
        let worker = &connection.worker;
        worker.spares.keep(self, worker.gateway());
        after
    }

    /// What it was doing when it ended, once the request was sent.
    fn phase(&self) -> Phase {
        match () {
            () if self.response.is_tunnel() => Phase::Tunnel,
            () if self.response.is_answered() => Phase::Stream,
            () if !self.up.cursor.is_done() => Phase::Upload,
            () => Phase::Wait,
        }
    }

    async fn drive(&mut self, connection: &mut Connection) -> After {
        loop {
            if self.upstream.is_none()
                && let Err(after) = self.establish(connection).await
            {
                return after;
            }
            self.head_awaited = false;
            loop {
                let woken = match self.pump(connection) {
                    Turn::Wait => {
                        self.set_deadline(connection);
                        poll_fn(|cx| self.poll_wake(connection, cx)).await
                    }
                    Turn::Rest => Wake::Rest,
                    Turn::Over(after) => return after,
                    Turn::Again => break,
                };
                match woken {
                    Wake::Progress => {}
                    Wake::Rest => {
                        self.set_deadline(connection);
                        connection.rest_if_spent().await;
                        // However much there is to move, the request has its end.
                        if connection.deadline.is_over() {
                            return self.timed_out(connection);
                        }
                    }
                    Wake::Over(after) => return after,
                    Wake::ClientLeft => return self.left(connection, self.upstream.as_deref()),
                    Wake::Deadline => return self.timed_out(connection),
                }
            }
        }
    }

    /// Moves what can be moved, both ways, without waiting.
    fn pump(&mut self, connection: &mut Connection) -> Turn {
        let worker = connection.worker.clone();
        worker.spin.traffic();
        let scratch = &mut *worker.scratch.borrow_mut();
        let Some(mut upstream) = self.upstream.take() else {
            return Turn::Again;
        };
        while !connection.budget.is_spent() {
            connection.budget.spend(Work::Look, 0);
            let pushed = self.push_request(connection, &mut upstream, scratch);
            let pulled = match pushed {
                Flow::Idle | Flow::Moved => self.pull_response(connection, &mut upstream, scratch),
                Flow::Over(after) => return Turn::Over(after),
                Flow::Again => return self.again(connection),
            };
            match pulled {
                Flow::Idle | Flow::Moved if self.is_over() => {
                    return Turn::Over(self.conclude(connection, upstream, scratch));
                }
                Flow::Idle if matches!(pushed, Flow::Idle) => {
                    self.upstream = Some(upstream);
                    return Turn::Wait;
                }
                Flow::Idle | Flow::Moved => {}
                Flow::Over(after) => return Turn::Over(after),
                Flow::Again => return self.again(connection),
            }
        }
        self.upstream = Some(upstream);
        Turn::Rest
    }

    /// Whether the request is still whole in memory and may be sent once more.
    pub(super) fn may_repeat(&self) -> bool {
        self.replay.is_some()
    }

    /// Prepares the one repetition.
    fn again(&mut self, connection: &mut Connection) -> Turn {
        connection.access.retried();
        self.unsent = self.replay.take().unwrap_or_default();
        Turn::Again
    }

    /// Whether both messages have ended, or the request's end is of no more use.
    fn is_over(&self) -> bool {
        let uploading = !self.up.cursor.is_done() && !self.up.refused;
        self.response.is_over() && !(uploading && self.response.client_persists)
    }

    /// Moves request content to the upstream, or tunnelled bytes; else looks whether the client is there.
    fn push_request(
        &mut self,
        connection: &mut Connection,
        upstream: &mut Upstream,
        scratch: &mut Scratch,
    ) -> Flow {
        let tunnel = self.response.is_tunnel();
        if tunnel && !connection.carry.is_empty() && upstream.stream.is_flushed() {
            let early = std::mem::take(&mut connection.carry);
            connection.access.received(early.len());
            self.up.refused = upstream.stream.send(early.bytes()).is_err();
            return Flow::Moved;
        }
        if !self.wants_client(connection, upstream) || !connection.client.is_readable() {
            return Flow::Idle;
        }
        // Of what is behind the content there must be no more than one receive.
        let bulk = match tunnel {
            true => BULK_BYTES_MAX,
            false => usize::try_from(self.up.cursor.ahead()).unwrap_or(BULK_BYTES_MAX),
        };
        let most = bulk.clamp(ONE_RECEIVE, BULK_BYTES_MAX);
        let Some(room) = scratch.plain.get_mut(HEADROOM..HEADROOM + most) else {
            return Flow::Idle;
        };
        let received = match connection.client.recv(room, &mut scratch.cipher) {
            Ok(Received::Data(n)) => n,
            Ok(Received::Pending) => return Flow::Idle,
            Ok(Received::Eof) if tunnel => {
                upstream.finish();
                return Flow::Over(After::Close { linger: false });
            }
            // Half-closed is gone: the two cannot be told apart.
            Ok(Received::Eof) | Err(_) => {
                return Flow::Over(self.left(connection, Some(upstream)));
            }
        };
        let records = connection.client.take_records();
        connection
            .budget
            .spend_receive(Work::Piece, received, records);
        let bytes = within(room, ..received);
        if tunnel {
            connection.access.received(received);
            // One that takes no more may have said its last words: they still go to the client.
            self.up.refused = upstream.stream.send(bytes).is_err();
            return Flow::Moved;
        }
        if self.up.cursor.is_done() {
            connection.carry.extend(bytes);
            return Flow::Moved;
        }
        self.push_content(connection, upstream, bytes)
    }

    fn push_content(
        &mut self,
        connection: &mut Connection,
        upstream: &mut Upstream,
        bytes: &[u8],
    ) -> Flow {
        let taken = match self.up.advance(bytes) {
            Ok(advance) => advance.taken,
            Err(error) => return Flow::Over(self.abort_upload(connection, error.into())),
        };
        let limit = self.gateway.config.limits.body;
        if limit.is_some_and(|limit| self.up.cursor.content_bytes() > limit) {
            return Flow::Over(self.abort_upload(connection, Fault::BodyTooLarge));
        }
        connection.carry.extend(within(bytes, taken..));
        self.response.expects_continue = false;
        connection.access.received(taken);
        // An upstream that takes no more may have answered already: its answer counts.
        if upstream.stream.send(within(bytes, ..taken)).is_err() {
            self.up.refused = true;
        }
        connection.access.uploaded(self.up.cursor.is_done());
        Flow::Moved
    }

    /// The client's own fault in the middle of its content: the upstream must not take it for whole.
    fn abort_upload(&self, connection: &mut Connection, fault: Fault) -> After {
        if self.response.is_answered() {
            connection.access.ends(Ending::RequestInvalid);
            return After::Truncate {
                reset: self.response.ends_with_connection(),
            };
        }
        connection.send_error(
            &fault,
            &Asker {
                persists: false,
                ..self.asker.clone()
            },
        );
        After::Close { linger: true }
    }

    /// The client has left, or closed its half and still reads: then the cut must not look like the end. An
    /// upstream that was still to receive something may have stopped reading: a FIN would wait behind what the
    /// kernel holds for it, a reset does not.
    fn left(&self, connection: &mut Connection, upstream: Option<&Upstream>) -> After {
        connection.access.left(self.phase());
        connection.access.ends(Ending::ClientGone);
        if (self.response.is_tunnel() || !self.up.cursor.is_done())
            && let Some(upstream) = upstream
        {
            upstream.stream.abort();
        }
        match self.response.is_answered() && self.response.ends_with_connection() {
            true => After::Truncate { reset: true },
            false => After::Drop,
        }
    }

    /// Whether bytes from the client can be used now: content for the upstream, or, behind the request,
    /// whatever shows that the client is there.
    fn wants_client(&self, connection: &Connection, upstream: &Upstream) -> bool {
        if self.response.is_tunnel() {
            !self.up.refused && upstream.stream.is_flushed() && connection.carry.is_empty()
        } else if self.up.cursor.is_done() {
            connection.may_carry()
        } else {
            !self.up.refused && upstream.stream.is_flushed()
        }
    }

    /// Ready when something can be moved, the client has left or time is up.
    fn poll_wake(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<Wake> {
        let Some(mut upstream) = self.upstream.take() else {
            return Poll::Ready(Wake::Progress);
        };
        if self.is_steady(connection, &upstream) {
            let woken = self.poll_steady(connection, &mut upstream, cx);
            self.upstream = Some(upstream);
            return woken;
        }
        let woken = self.poll_sides(connection, &mut upstream, cx);
        if woken.is_pending() {
            connection.budget.renew();
            let wants_client = self.wants_client(connection, &upstream);
            let wants_upstream = connection.client.is_flushed() && !self.response.is_over();
            let late = { &connection.deadline }.poll_late(cx, || {
                (wants_upstream && upstream.stream.has_news())
                    || (wants_client && connection.client.has_news())
            });
            self.upstream = Some(upstream);
            return late.map(Wake::late);
        }
        self.upstream = Some(upstream);
        woken
    }

    fn poll_sides(
        &mut self,
        connection: &mut Connection,
        upstream: &mut Upstream,
        cx: &mut Context<'_>,
    ) -> Poll<Wake> {
        if !connection.client.is_flushed() {
            upstream.stream.calm();
            if let Poll::Ready(flushed) = connection.client.poll_flush(cx) {
                let wake = if flushed.is_ok() {
                    Wake::Progress
                } else {
                    Wake::ClientLeft
                };
                return Poll::Ready(wake);
            }
            if connection.client.has_sent() {
                connection.deadline.renew();
            }
        } else if !self.response.is_over() && upstream.stream.poll_readable(cx).is_ready() {
            return Poll::Ready(Wake::Progress);
        }
        if !self.up.refused && !upstream.stream.is_flushed() {
            connection.client.calm();
            if let Poll::Ready(flushed) = upstream.stream.poll_flush(cx) {
                self.up.refused = flushed.is_err();
                return Poll::Ready(Wake::Progress);
            }
            if upstream.stream.has_sent() && !self.head_awaited {
                connection.deadline.renew();
            }
        }
        if self.wants_client(connection, upstream) {
            return connection.client.poll_readable(cx).map(|()| Wake::Progress);
        }
        let left = match self.response.is_tunnel() {
            true => connection.poll_reset(cx),
            false => connection.poll_left(cx),
        };
        left.map(|()| Wake::ClientLeft)
    }

    /// Moves the deadline to what the exchange now waits for.
    fn set_deadline(&mut self, connection: &Connection) {
        let timeouts = &self.gateway.config.timeouts;
        if self.response.is_tunnel() {
            connection.deadline.set(timeouts.tunnel_idle);
        } else if self.response.is_answered() || !self.request_is_sent() {
            connection.deadline.set(timeouts.body_idle);
        } else if !std::mem::replace(&mut self.head_awaited, true) {
            // Interim responses do not prolong it.
            connection.deadline.set(timeouts.response_header);
        }
    }

    fn request_is_sent(&self) -> bool {
        let flushed = self
            .upstream
            .as_ref()
            .is_none_or(|upstream| upstream.stream.is_flushed());
        self.up.refused || (self.up.cursor.is_done() && flushed)
    }

    fn timed_out(&self, connection: &mut Connection) -> After {
        if self.response.is_answered() {
            connection.access.ends(Ending::Timeout);
            return After::Truncate {
                reset: self.response.ends_with_connection(),
            };
        }
        let waits_for_client = !self.up.cursor.is_done()
            && self
                .upstream
                .as_ref()
                .is_some_and(|upstream| upstream.stream.is_flushed());
        match waits_for_client && !self.up.refused {
            true => self.abort_upload(connection, Fault::RequestBodyTimeout),
            false => self.give_up(connection, &Fault::UpstreamTimeout),
        }
    }

    /// Ends the exchange with an error of our own, or by cutting an answer that has begun.
    pub(super) fn give_up(&self, connection: &mut Connection, fault: &Fault) -> After {
        if self.response.is_answered() {
            return After::Truncate {
                reset: self.response.ends_with_connection(),
            };
        }
        let asker = Asker {
            expects_continue: self.response.expects_continue,
            ..self.asker.clone()
        };
        connection.refuse(fault, &asker, self.up.cursor)
    }

    /// Both messages have ended, or the request's end is of no more use: the one place where an upstream
    /// connection goes back to the pool.
    fn conclude(
        &mut self,
        connection: &mut Connection,
        mut upstream: Box<Upstream>,
        scratch: &mut Scratch,
    ) -> After {
        let sent = self.up.cursor.is_done() && !self.up.refused && upstream.stream.is_flushed();
        // After a reload numbers mean other providers, and this one may be gone.
        let current = connection
            .worker
            .gateway()
            .index_of(&self.gateway, self.provider);
        if self.response.upstream_closes() {
            Warm::steps_back(&connection.worker, current, &upstream.habit);
        }
        if sent
            && self.response.leaves_reusable()
            && let Some(provider) = current
            && let Some((settings, _)) = self.gateway.provider(self.provider)
            && let Some(idle) =
                { self.response.keep_alive }.idle(settings.idle_upstream, upstream.served())
        {
            upstream.provider = provider;
            connection.worker.pool.put(upstream, idle, scratch);
        }
        let done = self.up.cursor.is_done();
        match self.response.client_persists {
            true if done => After::Persist,
            true if !self.response.expects_continue => After::Discard(self.up.cursor),
            _ => After::Close { linger: !done },
        }
    }
}

/// Methods that may be sent twice (RFC 9110, section 9.2.2).
fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
}
