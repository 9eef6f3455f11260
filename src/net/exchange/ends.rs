//! Both ends of an exchange whose request is with an upstream: bytes from one stream to the other, and one wait for
//! whatever lets more of them move.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::base::bytes::within;
use crate::http::exchange::{After, Awaited, Exchange, Failure, Stop, Streams};
use crate::net::client::recipient::Recipient;
use crate::net::client::side::ClientSide;
use crate::net::sockets::socket::Received;
use crate::net::sockets::turns::Work;
use crate::net::transport::scratch::{BULK_BYTES_MAX, ONE_RECEIVE, Scratch};
use crate::net::upstream::pool::Upstream;
use crate::observe::{Ending, Phase};
use crate::policy::error::Fault;
use crate::policy::gateway::Gateway;

use super::choice::Choice;

/// See the module's documentation.
pub(super) struct Ends<'a> {
    pub gateway: &'a Gateway,
    /// Index of the provider, and of its key that the request was sent with.
    pub provider: usize,
    pub key: u8,
    /// What was chosen for it.
    pub choice: Option<&'a mut Choice>,
    pub exchange: &'a mut Exchange,
    pub recipient: &'a Recipient,
    pub upstream: &'a mut Upstream,
    pub connection: &'a mut ClientSide,
    /// Should the upstream turn out to have ended before the request came, it may be sent once more.
    pub may_repeat: bool,
}

/// What trying to move bytes in one direction came to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// There was nothing to move, or no room for it.
    Idle,
    /// Something was moved.
    Moved,
}

/// What a turn of the pump leads to.
pub(super) enum Pumped {
    Wait,
    /// There may be more to move, when others have had their turn.
    Rest,
}

/// What ended a wait.
pub(super) enum Wake {
    Progress,
    /// Others have their turn first.
    Rest,
    /// Time is up.
    Late,
}

/// What ends the relaying.
pub(super) enum Halt {
    /// The exchange is over before its time.
    Over(After),
    /// Both messages have ended.
    Concluded,
    /// The pooled connection was stale; the request goes out again on a fresh one.
    Again,
    /// It was not taken, and goes to another instance or with another key.
    Onward,
}

impl Wake {
    /// The deadline has passed, and what was waited for has come or not.
    pub(super) fn late(has_come: bool) -> Self {
        match has_come {
            true => Self::Progress,
            false => Self::Late,
        }
    }
}

impl Ends<'_> {
    /// Moves what can be moved, both ways, without waiting; sets the deadline for the wait.
    pub(super) fn pump(&mut self) -> Result<Pumped, Halt> {
        let worker = self.connection.worker.clone();
        worker.core.spin.traffic();
        let scratch = &mut *worker.core.scratch.borrow_mut();
        while !self.connection.budget.is_spent() {
            self.connection.budget.spend(Work::Look, 0);
            let pushed = self.push(scratch)?;
            let pulled = self.pull(scratch)?;
            if self.exchange.is_over() {
                return Err(Halt::Concluded);
            }
            if pushed == Flow::Idle && pulled == Flow::Idle {
                self.set_deadline();
                return Ok(Pumped::Wait);
            }
        }
        Ok(Pumped::Rest)
    }

    pub(super) fn streams(&self) -> Streams {
        Streams {
            client_flushed: self.connection.client.is_flushed(),
            upstream_flushed: self.upstream.stream.is_flushed(),
            carry_empty: self.connection.carry.is_empty(),
            may_carry: self.connection.may_carry(),
        }
    }

    /// Moves bytes of the client's to the upstream; else looks whether the client is there.
    fn push(&mut self, scratch: &mut Scratch) -> Result<Flow, Halt> {
        let streams = self.streams();
        if self.exchange.is_tunnel() && !streams.carry_empty && streams.upstream_flushed {
            let early = std::mem::take(&mut self.connection.carry);
            self.connection.access.received(early.len());
            self.send_upstream(early.bytes());
            return Ok(Flow::Moved);
        }
        if !self.exchange.wants_client(streams) || !self.connection.client.is_readable() {
            return Ok(Flow::Idle);
        }
        // Of what is behind the content there must be no more than one receive.
        let ahead = self.exchange.client_bytes_ahead();
        let ahead = usize::try_from(ahead).unwrap_or(BULK_BYTES_MAX);
        let most = ahead.clamp(ONE_RECEIVE, BULK_BYTES_MAX);
        let (room, cipher) = scratch.room(most);
        let received = match self.connection.client.recv(room, cipher) {
            Ok(Received::Data(n)) => n,
            Ok(Received::Pending) => return Ok(Flow::Idle),
            Ok(Received::Eof) => {
                if self.exchange.is_tunnel() {
                    self.upstream.finish();
                }
                let stop = self.exchange.client_ended();
                return Err(self.stop(stop));
            }
            Err(_) => return Err(self.left()),
        };
        let records = self.connection.client.take_records();
        self.connection
            .budget
            .spend_receive(Work::Piece, received, records);
        self.client_sent(within(room, ..received))
    }

    fn client_sent(&mut self, bytes: &[u8]) -> Result<Flow, Halt> {
        let expected = self.exchange.is_tunnel() || !self.exchange.upload().is_done();
        let taken = self.exchange.client_sent(bytes);
        let taken = taken.map_err(|stop| self.stop(stop))?;
        if taken < bytes.len() {
            self.connection.carry.extend(within(bytes, taken..));
        }
        if expected {
            self.connection.access.received(taken);
            self.send_upstream(within(bytes, ..taken));
        }
        if expected && !self.exchange.is_tunnel() {
            let whole = self.exchange.upload().is_done();
            self.connection.access.uploaded(whole);
        }
        Ok(Flow::Moved)
    }

    /// An upstream that takes no more may have answered already, or said its last words: those still go to the client.
    fn send_upstream(&mut self, bytes: &[u8]) {
        if let Some(choice) = &mut self.choice {
            choice.hold_more(bytes);
        }
        if self.upstream.stream.send(bytes).is_err() {
            self.exchange.upstream_refused();
        }
    }

    /// Ready when something can be moved, the client has left or time is up.
    pub(super) fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Result<Wake, Halt>> {
        if self.is_steady() {
            return self.poll_steady(cx);
        }
        let woken = self.poll_sides(cx);
        if woken.is_ready() {
            return woken;
        }
        self.connection.budget.renew();
        let streams = self.streams();
        let wants_client = self.exchange.wants_client(streams);
        let wants_upstream = self.exchange.wants_upstream(streams);
        let (upstream, client) = (&mut self.upstream.stream, &mut self.connection.client);
        let late = { &self.connection.deadline }.poll_late(cx, || {
            (wants_upstream && upstream.has_news()) || (wants_client && client.has_news())
        });
        late.map(|has_come| Ok(Wake::late(has_come)))
    }

    fn poll_sides(&mut self, cx: &mut Context<'_>) -> Poll<Result<Wake, Halt>> {
        let client = &mut self.connection.client;
        if !client.is_flushed() {
            self.upstream.stream.calm();
            match client.poll_flush(cx) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(Wake::Progress)),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(self.left())),
                Poll::Pending if client.has_sent() => self.connection.deadline.renew(),
                Poll::Pending => {}
            }
        } else if !self.exchange.is_response_over()
            && self.upstream.stream.poll_readable(cx).is_ready()
        {
            return Poll::Ready(Ok(Wake::Progress));
        }
        if !self.exchange.is_refused() && !self.upstream.stream.is_flushed() {
            self.connection.client.calm();
            if let Poll::Ready(flushed) = self.upstream.stream.poll_flush(cx) {
                if flushed.is_err() {
                    self.exchange.upstream_refused();
                }
                return Poll::Ready(Ok(Wake::Progress));
            }
            if self.upstream.stream.has_sent() && !self.exchange.is_head_awaited() {
                self.connection.deadline.renew();
            }
        }
        if self.exchange.wants_client(self.streams()) {
            let readable = self.connection.client.poll_readable(cx);
            return readable.map(|()| Ok(Wake::Progress));
        }
        let left = match self.exchange.is_tunnel() {
            true => self.connection.poll_reset(cx),
            false => self.connection.poll_left(cx),
        };
        left.map(|()| Err(self.left()))
    }

    /// Moves the deadline to what the exchange now waits for.
    pub(super) fn set_deadline(&mut self) {
        let timeouts = &self.gateway.config.timeouts;
        let flushed = self.upstream.stream.is_flushed();
        let deadline = &self.connection.deadline;
        match self.exchange.awaits(flushed) {
            Some(Awaited::Tunnel) => deadline.set(timeouts.tunnel_idle),
            Some(Awaited::Content) => deadline.set_to(timeouts.body_idle),
            Some(Awaited::Head) => deadline.set(timeouts.response_header),
            None => {}
        }
    }

    /// What was waited for has not come in time.
    pub(super) fn timed_out(&mut self) -> Halt {
        let stop = self.exchange.timed_out(self.upstream.stream.is_flushed());
        self.stop(stop)
    }

    /// The client has left.
    fn left(&mut self) -> Halt {
        let stop = self.exchange.left();
        self.stop(stop)
    }

    /// Tells the log why the exchange fails, as far as the failure's name does not say it.
    fn explain(&mut self, failure: Failure) {
        let defect = self.exchange.defect();
        let (is_answered, is_tunnel) = (self.exchange.is_answered(), self.exchange.is_tunnel());
        let timeouts = &self.gateway.config.timeouts;
        let (idle, to_head) = (timeouts.body_idle, Some(timeouts.response_header));
        let is_over = self.connection.deadline.is_past_limit();
        self.connection.access.because(|| match failure {
            Failure::ContentLate | Failure::UpstreamLate if is_over => {
                not_within("the request is not over", "request", timeouts.request)
            }
            Failure::ContentLate => not_within("no content from the client", "body_idle", idle),
            Failure::UpstreamLate if is_tunnel => {
                let time = Some(timeouts.tunnel_idle);
                not_within("no byte in the tunnel", "tunnel_idle", time)
            }
            Failure::UpstreamLate if is_answered => {
                not_within("no content from the provider", "body_idle", idle)
            }
            Failure::UpstreamLate => not_within("no answer", "response_header", to_head),
            Failure::ResponseInvalid => match defect {
                Some(defect) => Fault::invalid_response(defect).into_owned(),
                None => "the connection ended amid its head".to_owned(),
            },
            Failure::UpstreamClosed if is_answered => "closed before the content's end".to_owned(),
            Failure::UpstreamReset if is_answered => "reset before the content's end".to_owned(),
            failure => Fault::from(failure).reason().into_owned(),
        });
    }

    /// Does what ends the exchange before its time.
    pub(super) fn stop(&mut self, stop: Stop) -> Halt {
        self.judge_end(&stop);
        Halt::Over(match stop {
            Stop::Refuse(failure) => {
                self.explain(failure);
                let stays = !self.connection.is_ending();
                let after = { &*self.exchange }.after_refusal(Some(failure), stays);
                self.connection
                    .send_error(&failure.into(), self.recipient, after)
            }
            Stop::Cut { failure, reset } => {
                self.explain(failure);
                self.connection.access.ends(ending(failure));
                After::Truncate { reset }
            }
            Stop::Left {
                abort_upstream,
                reset,
            } => {
                self.connection.access.left(phase(self.exchange));
                self.connection.access.ends(Ending::ClientGone);
                if abort_upstream {
                    // A FIN would wait behind what the kernel holds for it, a reset does not.
                    self.upstream.stream.abort();
                }
                match reset {
                    true => After::Truncate { reset },
                    false => After::Drop,
                }
            }
            Stop::HungUp => After::Close { linger: false },
        })
    }
}

/// That something has not come in the time of this setting.
pub(super) fn not_within(what: &str, setting: &str, time: Option<Duration>) -> String {
    debug_assert!(time.is_some(), "what has no limit is not late");
    format!(
        "{what} within {:?} (timeouts.{setting})",
        time.unwrap_or_default()
    )
}

/// What it was doing when it ended, once the request was sent.
pub(super) fn phase(exchange: &Exchange) -> Phase {
    match () {
        () if exchange.is_tunnel() => Phase::Tunnel,
        () if exchange.is_answered() => Phase::Stream,
        () if !exchange.upload().is_done() => Phase::Upload,
        () => Phase::Wait,
    }
}

/// What the log says of an answer that breaks off.
fn ending(failure: Failure) -> Ending {
    match failure {
        Failure::Content(_) | Failure::ContentTooLong => Ending::RequestInvalid,
        Failure::ContentLate | Failure::UpstreamLate => Ending::Timeout,
        Failure::ResponseInvalid => Ending::UpstreamInvalid,
        Failure::UpstreamClosed => Ending::UpstreamClosed,
        Failure::UpstreamReset => Ending::UpstreamReset,
    }
}
