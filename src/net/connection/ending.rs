//! How a client connection goes on behind an answer, or ends: what is left of the request is read, the answer is taken, and
//! the end is one that the client can tell from a fault.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::base::bytes::within;
use crate::http::exchange::{After, DISCARD_BYTES_MAX};
use crate::http::framing::Cursor;
use crate::http::head::Side;
use crate::net::client::side::ClientSide;
use crate::net::sockets::socket::Received;
use crate::net::sockets::turns::Work;
use crate::net::transport::scratch::ONE_RECEIVE;

/// How long an ending connection is listened to, see [`After::Close`]: in all, and while it says nothing.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_IDLE: Duration = Duration::from_secs(2);
/// How long a client may take for an answer of the gateway's own.
const TAKEN_MAX: Duration = Duration::from_secs(10);

impl ClientSide {
    /// Brings the connection to where the next request can begin, or to its end; says which.
    pub(super) async fn settle(&mut self, after: After) -> bool {
        match after {
            After::Drop => false,
            After::Persist => self.flushed().await,
            After::Discard(cursor) => {
                let flushed = self.flushed().await;
                self.busy = None;
                // Boxed: rare, and large for the room that every connection would have to carry.
                if flushed && Box::pin(self.discard(cursor)).await {
                    return true;
                }
                self.close(true).await;
                false
            }
            After::Close { linger } => {
                self.close(linger).await;
                false
            }
            After::Truncate { reset } => {
                self.truncate(reset);
                false
            }
        }
    }

    /// Cuts the connection. Whoever has not taken what there was by now does not get it: there is no end to wait
    /// for, and a client that does not read would hold what it has for as long as it likes.
    fn truncate(&mut self, reset: bool) {
        let mut nobody = Context::from_waker(Waker::noop());
        match self.client.poll_flush(&mut nobody) {
            Poll::Ready(Ok(())) if reset => self.client.fail(),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) | Poll::Pending => self.client.abort(),
        }
    }

    /// Ends the connection in order; see [`After::Close`].
    async fn close(&mut self, linger: bool) {
        let sent = self.sent().await;
        self.busy = None;
        if !sent {
            return;
        }
        self.client.succeed();
        // Under TLS the last record has to be with the kernel before the FIN.
        self.client.close_notify();
        if self.sent().await {
            self.client.shutdown();
            let another = !self.carry.is_empty() || self.client.is_amid_record();
            if linger || another || self.client.has_unread() {
                // Boxed as well.
                Box::pin(self.linger()).await;
            }
        }
    }

    /// As [`flushed`](Self::flushed), before the connection ends: a client that has not taken everything must
    /// not take what it has for the whole.
    async fn sent(&mut self) -> bool {
        let flushed = self.flushed().await;
        if !flushed {
            self.client.abort();
        }
        flushed
    }

    /// Waits until the client has taken everything; false when it has not in time or has left. What comes from a
    /// provider may take as long as any content, and no longer than the request; an answer of the gateway's own
    /// has [`TAKEN_MAX`], and ends with a drain.
    async fn flushed(&mut self) -> bool {
        if self.client.is_flushed() {
            return true;
        }
        let own = self.busy.is_none();
        self.deadline.set_to(match own {
            true => Some(TAKEN_MAX),
            false => self.worker.core.gateway().config.timeouts.body_idle,
        });
        poll_fn(|cx| {
            match self.client.poll_flush(cx) {
                Poll::Ready(flushed) => return Poll::Ready(flushed.is_ok()),
                Poll::Pending if self.client.has_sent() && !own => self.deadline.renew(),
                Poll::Pending => {}
            }
            if self.poll_left(cx).is_ready() || (own && self.worker.core.drain.is_stopping()) {
                return Poll::Ready(false);
            }
            self.budget.renew();
            self.deadline.poll(cx).map(|()| false)
        })
        .await
    }

    /// Reads the rest of unwanted content; false when it is too long, malformed or too slow.
    async fn discard(&mut self, mut cursor: Cursor) -> bool {
        let gateway = self.worker.core.gateway();
        self.deadline.set(gateway.config.timeouts.request_header);
        let mut left = DISCARD_BYTES_MAX;
        while !cursor.is_done() {
            match self.discard_once(&mut cursor) {
                Ok(0) if !self.readable_in_time().await => return false,
                Ok(taken) if taken <= left => left -= taken,
                _ => return false,
            }
            self.budget.spend(Work::Look, 0);
            self.rest_if_spent().await;
        }
        true
    }

    /// One receive; how much of it was unwanted content.
    fn discard_once(&mut self, cursor: &mut Cursor) -> Result<usize, ()> {
        let worker = self.worker.clone();
        let scratch = &mut *worker.core.scratch.borrow_mut();
        let (room, cipher) = scratch.room(ONE_RECEIVE);
        match self.client.recv(room, cipher) {
            Ok(Received::Pending) => Ok(0),
            Ok(Received::Data(n)) => {
                let bytes = within(room, ..n);
                let advance = cursor.advance(bytes, Side::Request).map_err(|_| ())?;
                let records = self.client.take_records();
                self.budget.spend_receive(Work::Piece, n, records);
                self.carry.extend(within(bytes, advance.taken..));
                Ok(advance.taken)
            }
            Ok(Received::Eof) | Err(_) => Err(()),
        }
    }

    /// Reads and forgets until the client ends or its time is over.
    async fn linger(&mut self) {
        self.deadline.limit(Some(LINGER));
        loop {
            self.deadline.set(LINGER_IDLE);
            let received = {
                let worker = self.worker.clone();
                let scratch = &mut *worker.core.scratch.borrow_mut();
                let (room, cipher) = scratch.room(ONE_RECEIVE);
                self.client.recv(room, cipher)
            };
            let (work, n) = match received {
                Ok(Received::Data(n)) => (Work::Piece, n),
                Ok(Received::Pending) => (Work::Look, 0),
                Ok(Received::Eof) | Err(_) => return,
            };
            let records = self.client.take_records();
            self.budget.spend_receive(work, n, records);
            self.rest_if_spent().await;
            if self.deadline.is_over() || !self.readable_in_time().await {
                return;
            }
        }
    }
}
