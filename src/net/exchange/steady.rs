//! A response in its steady state: its head is out, the request is all sent, and pieces of content pass on one
//! by one.
//!
//! An event mostly finds the core just woken and its caches cold, so that what it costs is how much code it runs
//! through, not how often: this is the shortest way from one socket to the other. It decides nothing. Whatever is
//! out of the ordinary ends it, and `pump` goes on from there.

use std::task::{Context, Poll};

use crate::net::sockets::turns::Work;

use super::ends::{Ends, Flow, Halt, Wake};

impl Ends<'_> {
    /// Whether nothing but further content is to be expected, and nothing waits to be sent.
    pub(super) fn is_steady(&self) -> bool {
        self.exchange.is_steady(self.streams()) && !self.upstream.stream.is_bulk()
    }

    /// Passes content on as it comes; ready when something else is to be done. The state must be the steady one.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was received is sent or kept before this returns.
    pub(super) fn poll_steady(&mut self, cx: &mut Context<'_>) -> Poll<Result<Wake, Halt>> {
        while !self.connection.budget.is_spent() {
            if self.upstream.stream.poll_readable(cx).is_pending() {
                if self.connection.client.poll_readable(cx).is_ready() {
                    return Poll::Ready(Ok(Wake::Progress));
                }
                self.connection.budget.renew();
                let upstream = &mut self.upstream.stream;
                let late = { &self.connection.deadline }.poll_late(cx, || upstream.has_news());
                return late.map(|has_come| Ok(Wake::late(has_come)));
            }
            self.connection.budget.spend(Work::Look, 0);
            match self.pass_on() {
                Ok(Flow::Moved) if self.is_steady() => self.connection.deadline.renew(),
                Ok(Flow::Moved) => return Poll::Ready(Ok(Wake::Progress)),
                Ok(Flow::Idle) => {}
                Err(halt) => return Poll::Ready(Err(halt)),
            }
        }
        Poll::Ready(Ok(Wake::Rest))
    }

    fn pass_on(&mut self) -> Result<Flow, Halt> {
        let worker = self.connection.worker.clone();
        worker.core.spin.traffic();
        let scratch = &mut *worker.core.scratch.borrow_mut();
        self.pull(scratch)
    }
}
