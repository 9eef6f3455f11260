//! The client's side of whatever is under way on its connection: what those who answer it need of it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::http::head::HEAD_BYTES_MAX;
use crate::net::core::Core;
use crate::net::core::deadline::Deadline;
use crate::net::core::load::Busy;
use crate::net::sockets::peer::Peer;
use crate::net::sockets::turns::Budget;
use crate::net::transport::stream::Stream;
use crate::observe::Ending;
use crate::policy::gateway::Gateway;

use super::access::Access;
use super::carry::Carry;
use super::shared::Shared;

/// See the module's documentation.
pub(crate) struct ClientSide {
    /// What it shares with others.
    pub worker: Rc<Shared>,
    /// The connection's bytes.
    pub client: Stream,
    /// Received and not yet used. Empty while idle, but for empty lines.
    pub carry: Carry,
    /// What may be done before others have their turn.
    pub budget: Budget,
    /// Of what is waited for.
    pub deadline: Deadline,
    /// What the worker's was when the client was let in.
    door: u16,
    /// A request has come and its end is not recorded yet.
    answering: bool,
    /// Held while an admitted request is under way, until its answer is with the kernel or cut; not while one of
    /// the gateway's own is on its way.
    pub busy: Option<Busy>,
    /// The request under way.
    pub access: Access,
    /// Where it comes from.
    pub peer: Peer,
}

/// Most bytes read behind a message while its answer is under way.
const CARRY_BYTES_MAX: usize = HEAD_BYTES_MAX;

impl ClientSide {
    /// Nothing has come yet.
    #[must_use]
    pub(crate) fn new(worker: Rc<Shared>, client: Stream, peer: Peer) -> Self {
        Self {
            client,
            carry: Carry::default(),
            budget: Budget::default(),
            deadline: worker.core.clock.register(),
            door: worker.core.in_force.door(),
            answering: false,
            busy: None,
            access: Access::default(),
            peer,
            worker,
        }
    }

    /// What it shares with connections to providers too.
    #[must_use]
    pub(crate) fn core(&self) -> &Core {
        &self.worker.core
    }

    /// A request has come, unless one has already.
    pub(crate) fn begins(&mut self, gateway: &Gateway) {
        if !std::mem::replace(&mut self.answering, true) {
            let ready = self.client.take_ready();
            self.access = Access::begin(&self.worker, gateway, ready, self.client.is_tls());
        }
    }

    /// Nothing of a request is under way any more; see [`Access::end`].
    pub(crate) fn ends(&mut self, usual: Ending, delivered: bool) {
        self.busy = None;
        // What came behind it waited for its end.
        self.client.take_ready();
        if std::mem::take(&mut self.answering) {
            self.access.end(&self.worker, self.peer, usual, delivered);
        }
    }

    /// Whether the client would have to show something else if it came now. Then its request under way is the last:
    /// what came behind that was asked on terms that are no more.
    #[must_use]
    pub(crate) fn is_outdated(&self) -> bool {
        self.door != self.core().in_force.door()
    }

    /// Whether the answer under way ends the connection, whatever client and provider want.
    #[must_use]
    pub(crate) fn is_ending(&self) -> bool {
        self.core().drain.is_draining() || self.is_outdated()
    }

    /// Whether bytes came before the deadline.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn readable_in_time(&mut self) -> bool {
        poll_fn(|cx| {
            if self.client.poll_readable(cx).is_ready() {
                return Poll::Ready(true);
            }
            if self.is_outdated() {
                return Poll::Ready(false);
            }
            if self.core().drain.is_stopping() {
                // A request that has arrived is answered, whether readiness was reported yet or not.
                return Poll::Ready(self.client.look_again());
            }
            self.budget.renew();
            self.deadline.poll_late(cx, || self.client.has_news())
        })
        .await
    }

    /// Lets all others run, if this connection has had its share.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn rest_if_spent(&mut self) {
        if self.budget.is_spent() {
            self.core().turns.next().await;
            self.budget.renew();
        }
    }

    /// Ready once the client has closed or reset, whatever it had sent before.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.client.poll_ended(cx)
    }

    /// Ready once the client has reset; bytes that it sent before an orderly end still count.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.client.poll_broken(cx)
    }

    /// Whether bytes behind the request may be taken to see whether the client is still there.
    #[must_use]
    pub(crate) fn may_carry(&self) -> bool {
        self.carry.len() < CARRY_BYTES_MAX
    }
}
