//! A response in its steady state: its head is out, the request is all sent, and pieces of content pass on one
//! by one.
//!
//! An event mostly finds the core just woken and its caches cold, so that what it costs is how much code it runs
//! through, not how often: this is the shortest way from one socket to the other. It decides nothing. Whatever is
//! out of the ordinary ends it, and `pump` goes on from there.

use std::task::{Context, Poll};

use super::{Exchange, Flow, Wake};
use crate::net::connection::Connection;
use crate::net::sockets::turns::Work;
use crate::net::upstream::pool::Upstream;
use crate::policy::error::Fault;

impl Exchange {
    /// Whether nothing but further content is to be expected, and nothing waits to be sent.
    pub(super) fn is_steady(&self, connection: &Connection, upstream: &Upstream) -> bool {
        self.response.is_content()
            && self.up.cursor.is_done()
            && connection.client.is_flushed()
            && upstream.stream.is_flushed()
            && connection.may_carry()
            && !upstream.stream.is_bulk()
    }

    /// Passes content on as it comes; ready when something else is to be done. The state must be the steady one.
    ///
    /// # Cancel safety
    /// Nothing is lost: what was received is sent or kept before this returns.
    pub(super) fn poll_steady(
        &mut self,
        connection: &mut Connection,
        upstream: &mut Upstream,
        cx: &mut Context<'_>,
    ) -> Poll<Wake> {
        while !connection.budget.is_spent() {
            if upstream.stream.poll_readable(cx).is_pending() {
                if connection.client.poll_readable(cx).is_ready() {
                    return Poll::Ready(Wake::Progress);
                }
                connection.budget.renew();
                let late = { &connection.deadline }.poll_late(cx, || upstream.stream.has_news());
                return late.map(Wake::late);
            }
            connection.budget.spend(Work::Look, 0);
            match self.pass_on(connection, upstream) {
                Flow::Moved if self.is_steady(connection, upstream) => connection.deadline.renew(),
                Flow::Moved => return Poll::Ready(Wake::Progress),
                Flow::Idle => {}
                Flow::Over(after) => return Poll::Ready(Wake::Over(after)),
                // Never: what has begun is not asked for again.
                Flow::Again => {
                    let cut = self.give_up(connection, &Fault::UpstreamReset);
                    return Poll::Ready(Wake::Over(cut));
                }
            }
        }
        Poll::Ready(Wake::Rest)
    }

    fn pass_on(&mut self, connection: &mut Connection, upstream: &mut Upstream) -> Flow {
        let worker = connection.worker.clone();
        worker.spin.traffic();
        let scratch = &mut *worker.scratch.borrow_mut();
        self.pull_response(connection, upstream, scratch)
    }
}
