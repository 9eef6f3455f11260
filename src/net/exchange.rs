//! One request and its response: the request goes out, content flows both ways at once, the upstream
//! connection is given back or closed.
//!
//! What is to happen [`Exchange`] decides, on bytes; here are the sockets, the waits and the pool. [`Relay::run`]
//! alternates between `pump`, which moves whatever can be moved and never waits, and one wait for everything that could
//! let it move more. Nothing is in flight while it waits, so there is nothing to cancel: a deadline or a client that
//! leaves simply ends the loop.

mod choice;
mod ends;
mod establish;
mod held;
mod judging;
mod moving;
mod onward;
mod place;
mod relay;
mod renewal;
mod response;
mod resuming;
mod spares;
mod steady;
mod turn;
mod unsaid;

use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::http::exchange::{After, Exchange, Terms};
use crate::http::framing::Cursor;
use crate::http::head::{HeadError, RequestHead, Section};
use crate::log::Value;
use crate::net::client::recipient::Recipient;
use crate::net::client::side::ClientSide;
use crate::net::core::ids::IdLine;
use crate::net::transport::scratch::{Rewritten, Scratch};
use crate::net::upstream::pool::Upstream;
use crate::net::upstream::warm;
use crate::observe;
use crate::policy::error::Fault;
use crate::policy::forward::Forward;
use crate::policy::gateway::Gateway;

use choice::Choice;
use ends::{Ends, Halt, Pumped, Wake, phase};
use relay::Leg;

pub(crate) use relay::Relay;
pub(crate) use spares::Spares;

/// An admitted request that lies in the scratch buffer.
pub(crate) struct Opening<'a> {
    /// Where it goes and what is changed.
    pub forward: Forward<'a>,
    /// Its head, with which the buffer begins.
    pub head: &'a RequestHead,
    /// Stands behind the content that came with the head.
    pub cursor: Cursor,
    /// What answers depend on.
    pub recipient: Recipient,
    /// The content that came with the head.
    pub content: Range<usize>,
    /// The id of its gateway key.
    pub key: Option<&'a str>,
    /// Where there is room for it.
    pub spares: &'a Spares,
}

impl Relay {
    /// Rewrites the request and sends it, if an idle connection is there; else keeps it.
    ///
    /// # Errors
    /// How the connection goes on when there is no exchange.
    pub(crate) fn open(
        connection: &mut ClientSide,
        scratch: &mut Scratch,
        gateway: &Rc<Gateway>,
        opening: Opening<'_>,
    ) -> Result<Box<Self>, After> {
        let Opening {
            mut forward,
            head,
            cursor,
            recipient,
            content,
            key,
            spares,
        } = opening;
        let worker = connection.worker.clone();
        let Some((provider, _)) = gateway.provider(forward.provider) else {
            return Err(After::Drop);
        };
        let section = Section::new(scratch.fields(), scratch.received(0..content.end));
        let choice = Choice::of(connection, gateway, &mut forward, section, key);
        let mut choice = match choice {
            Ok(choice) => choice,
            Err(fault) => {
                let slot = gateway.slots.of(forward.provider);
                connection.access.was_for(slot);
                return Err(connection.refuse(&fault, &recipient, cursor));
            }
        };
        let idempotent = is_idempotent(head.method.of(section.buf));
        let has_id = forward.has_id(section);
        let id = match has_id {
            true => IdLine::none(),
            false => recipient.id.line(),
        };
        let mark = worker.core.listening.mark(provider, has_id);
        let lines = [id.as_bytes(), mark];
        let rewritten = scratch.rewrite(0, |buf, at, fields| {
            forward.rewrite(buf, at, head, fields, lines)
        });
        let Some(start) = rewritten else {
            // The headroom is sized for every configuration; only a defect leads here.
            return Err(connection.refuse_unframed(Fault::Head(HeadError::TooLong)));
        };
        connection.access.routed(gateway.slots.of(forward.provider));
        connection.deadline.limit(gateway.config.timeouts.request);
        let terms = terms(gateway, &recipient, &forward);
        if let Some(choice) = &mut choice {
            let request = scratch.rewritten(start, content.end);
            choice.idempotent = idempotent;
            choice.hold(connection, gateway, &forward, request);
        }
        let mut relay = spares.fill(Self {
            gateway: gateway.clone(),
            provider: forward.provider,
            instance: forward.instance,
            elsewhere: false,
            choice,
            key: forward.key,
            exchange: Exchange::new(terms, cursor, recipient.expects_continue),
            leg: Leg::Unsent(Vec::new()),
            recipient,
            lease: forward.lease,
        });
        match relay.is_waiting() {
            true => relay.leg = Leg::Unsent(scratch.rewritten(start, content.end).to_vec()),
            false => relay.dispatch(connection, scratch, (start, content.end), idempotent),
        }
        Ok(relay)
    }

    /// Sends the rewritten request, if an idle connection is there; else keeps it.
    fn dispatch(
        &mut self,
        connection: &mut ClientSide,
        scratch: &mut Scratch,
        (start, end): (Rewritten, usize),
        idempotent: bool,
    ) {
        let worker = connection.worker.clone();
        let counters = worker.core.counters();
        let now = worker.core.clock.now();
        worker.upstreams.warmth.used(self.site(), now);
        let pooled = worker.upstreams.pool.take(self.site(), scratch);
        let request = scratch.rewritten(start, end);
        let Some(upstream) = pooled else {
            let provider = self.gateway.config.providers.get(self.provider);
            let habit = self.gateway.slots.habit(self.provider);
            if provider.is_some_and(|provider| provider.warm > 0) && habit.allows_more() {
                observe::add(&counters.warm_misses, 1);
            }
            self.leg = Leg::Unsent(request.to_vec());
            return;
        };
        self.use_again(connection, upstream, request, idempotent);
    }

    /// Sends the request on a connection from the pool.
    fn use_again(
        &mut self,
        connection: &mut ClientSide,
        mut upstream: Box<Upstream>,
        request: &[u8],
        idempotent: bool,
    ) {
        let worker = connection.worker.clone();
        let counters = worker.core.counters();
        let slot = self.gateway.slots.of(self.provider);
        let counter = match upstream.first_use() {
            true => &counters.warm_hits,
            false => &counters.provider(slot).reuses,
        };
        observe::add(counter, 1);
        self.tell(connection, "a connection is used again");
        self.leg = self.send_pooled(upstream, request, idempotent);
        if let Leg::Sent { .. } = self.leg {
            let whole = self.exchange.upload().is_done();
            connection.access.request_sent(whole);
        }
    }

    /// The first send on a connection from the pool. If not a byte of it went out, or the method allows it,
    /// the request may go out once more on a fresh one.
    fn send_pooled(
        &mut self,
        mut upstream: Box<Upstream>,
        request: &[u8],
        idempotent: bool,
    ) -> Leg {
        let sent = upstream.stream.send(request);
        // A plain send that fails has sent nothing; under TLS a first record may be out.
        if sent.is_err() && (idempotent || !upstream.stream.is_tls()) {
            return Leg::Unsent(request.to_vec());
        }
        if sent.is_err() {
            self.exchange.upstream_refused();
        }
        let repeatable = sent.is_ok() && idempotent && self.exchange.upload().is_done();
        Leg::Sent {
            upstream,
            replay: repeatable.then(|| request.to_vec()),
        }
    }

    /// Carries the exchange to its end.
    ///
    /// # Cancel safety
    /// Dropped, the upstream connection is closed.
    pub(crate) async fn run(&mut self, connection: &mut ClientSide) -> After {
        let after = self.drive(connection).await;
        if let After::Drop = after {
            connection.access.left(phase(&self.exchange));
        }
        after
    }

    async fn drive(&mut self, connection: &mut ClientSide) -> After {
        loop {
            if self.is_waiting()
                && let Err(after) = Box::pin(self.wait_for_turn(connection)).await
            {
                return after;
            }
            if matches!(self.leg, Leg::Unsent(_))
                && let Err(after) = self.establish(connection).await
            {
                return after;
            }
            match self.relay(connection).await {
                Halt::Over(after) => return after,
                Halt::Concluded => return self.conclude(connection),
                Halt::Again => self.again(connection),
                Halt::Onward => self.go_onward(connection),
            }
        }
    }

    /// Moves bytes both ways, until that ends.
    async fn relay(&mut self, connection: &mut ClientSide) -> Halt {
        loop {
            let turn = match self.ends(connection) {
                Some(mut ends) => ends.pump(),
                None => return Halt::Again,
            };
            let woken = match turn {
                Ok(Pumped::Wait) => poll_fn(|cx| self.poll_wake(connection, cx)).await,
                Ok(Pumped::Rest) => Ok(Wake::Rest),
                Err(halt) => return halt,
            };
            match woken {
                Ok(Wake::Progress) => {}
                Ok(Wake::Rest) => {
                    if let Some(mut ends) = self.ends(connection) {
                        ends.set_deadline();
                    }
                    connection.rest_if_spent().await;
                    // However much there is to move, the request has its end.
                    if connection.deadline.is_over() {
                        return self.late(connection);
                    }
                }
                Ok(Wake::Late) => return self.late(connection),
                Err(halt) => return halt,
            }
        }
    }

    fn poll_wake(
        &mut self,
        connection: &mut ClientSide,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Wake, Halt>> {
        match self.ends(connection) {
            Some(mut ends) => ends.poll_wake(cx),
            None => Poll::Ready(Err(Halt::Again)),
        }
    }

    fn late(&mut self, connection: &mut ClientSide) -> Halt {
        match self.ends(connection) {
            Some(mut ends) => ends.timed_out(),
            None => Halt::Again,
        }
    }

    /// Both ends, once the request is with an upstream.
    fn ends<'a>(&'a mut self, connection: &'a mut ClientSide) -> Option<Ends<'a>> {
        let Leg::Sent { upstream, replay } = &mut self.leg else {
            return None;
        };
        Some(Ends {
            may_repeat: replay.is_some() && upstream.reused,
            gateway: &self.gateway,
            provider: self.provider,
            key: self.key,
            choice: self.choice.as_deref_mut(),
            exchange: &mut self.exchange,
            recipient: &self.recipient,
            upstream,
            connection,
        })
    }

    /// Prepares the one repetition.
    fn again(&mut self, connection: &mut ClientSide) {
        connection.access.retried();
        // Nor is it repeated once more where it goes from here.
        if let Some(choice) = &mut self.choice {
            choice.idempotent = false;
        }
        self.tell(
            connection,
            "the connection had ended; the request is sent once more",
        );
        let replay = match &mut self.leg {
            Leg::Sent { replay, .. } => replay.take(),
            Leg::Unsent(request) => Some(std::mem::take(request)),
        };
        debug_assert!(replay.is_some(), "only what is kept is asked for again");
        self.leg = Leg::Unsent(replay.unwrap_or_default());
    }

    /// Tells who looks for a fault what is done with the provider.
    fn tell(&self, connection: &ClientSide, what: &str) {
        let log = &connection.core().log;
        let provider = self.gateway.config.providers.get(self.provider);
        if let Some(provider) = provider.filter(|_| log.tells_all()) {
            log.debug(what, &[("provider", Value::Text(&provider.name))]);
        }
    }

    /// Ends the exchange with an error of our own, for want of a connection.
    fn give_up(&self, connection: &mut ClientSide, fault: &Fault) -> After {
        let after = { &self.exchange }.after_refusal(None, !connection.is_ending());
        connection.send_error(fault, &self.recipient, after)
    }

    /// Both messages have ended, or the request's end is of no more use: the one place where an upstream
    /// connection goes back to the pool.
    fn conclude(&mut self, connection: &mut ClientSide) -> After {
        let leg = std::mem::replace(&mut self.leg, Leg::Unsent(Vec::new()));
        let Leg::Sent { mut upstream, .. } = leg else {
            return After::Drop;
        };
        let worker = connection.worker.clone();
        let conclusion = self.exchange.conclusion(upstream.stream.is_flushed());
        // After a reload numbers mean other providers, and this one may be gone.
        let current = worker.core.gateway().index_of(&self.gateway, self.site());
        if conclusion.upstream_closes {
            warm::steps_back(&worker.upstreams, current, &upstream.habit);
        }
        if let Some(keep_alive) = conclusion.reusable
            && !upstream.is_strange
            && let Some(site) = current
            && let Some((settings, _)) = self.gateway.provider(self.provider)
            && let Some(idle) = keep_alive.idle(settings.idle_upstream, upstream.served())
        {
            upstream.site = site;
            let scratch = &mut *worker.core.scratch.borrow_mut();
            worker.upstreams.pool.put(upstream, idle, scratch);
        }
        conclusion.after
    }
}

/// On what terms a request and its response pass.
fn terms(gateway: &Gateway, recipient: &Recipient, forward: &Forward<'_>) -> Terms {
    Terms {
        http10: recipient.http10,
        head_only: recipient.head_only,
        upgrade: forward.upgrade,
        client_persists: recipient.persists,
        is_judged: forward.is_judged,
        content_limit: gateway.content_limit(),
    }
}

/// Methods that may be sent twice (RFC 9110, section 9.2.2).
fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"PUT" | b"DELETE")
}
