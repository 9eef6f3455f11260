//! The answer to a request with a wrong key, which is held back the longer the more of them its address has sent.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::http::exchange::After;
use crate::http::framing::Cursor;
use crate::net::client::recipient::Recipient;
use crate::net::client::shared::Shared;
use crate::net::client::side::ClientSide;
use crate::observe;
use crate::policy::auth::AuthError;
use crate::policy::error::Fault;
use crate::policy::operators::Hidden;
use crate::system::time::monotonic_nanos;

/// Answers that a worker holds back at once. Who comes with another wrong key then has to connect anew for the next.
const DELAYED_MAX: usize = 256;

/// The answer to a request with a wrong key, for as long as it is held back.
pub(super) struct Delayed {
    time: Duration,
    fault: Fault,
    recipient: Recipient,
    cursor: Cursor,
    _held_back: HeldBack,
}

/// One of those that are held back.
struct HeldBack(Rc<Shared>);

impl HeldBack {
    fn take(worker: &Rc<Shared>) -> Option<Self> {
        let held_back = worker.held_back.get();
        (held_back < DELAYED_MAX).then(|| {
            worker.held_back.set(held_back + 1);
            Self(worker.clone())
        })
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        let held_back = &self.0.held_back;
        held_back.set(held_back.get().saturating_sub(1));
    }
}

/// How a request is refused.
pub(super) enum Refusal {
    /// It is answered, and the connection goes on like this.
    Now(After),
    /// Its answer is to be held back.
    Later(Box<Delayed>),
}

impl ClientSide {
    /// Refuses a framed request, later if it brought a wrong key and its address has brought others.
    pub(super) fn reject(
        &mut self,
        fault: &Fault,
        mut recipient: Recipient,
        cursor: Cursor,
    ) -> Refusal {
        let time = self.time_to_answer(fault);
        if !time.is_zero() {
            if let Some(held_back) = HeldBack::take(&self.worker) {
                return Refusal::Later(Box::new(Delayed {
                    time,
                    fault: fault.clone(),
                    recipient,
                    cursor,
                    _held_back: held_back,
                }));
            }
            recipient.persists = false;
        }
        Refusal::Now(self.refuse(fault, &recipient, cursor))
    }

    /// How long an answer is held back.
    fn time_to_answer(&self, fault: &Fault) -> Duration {
        let is_wrong_key = matches!(
            fault,
            Fault::Auth(AuthError::InvalidKey) | Fault::Metrics(Hidden::InvalidKey)
        );
        if !is_wrong_key {
            return Duration::ZERO;
        }
        let most = self.worker.core.gateway().config.auth.wrong_key_delay;
        let address = self.peer.counted_as().filter(|_| !most.is_zero());
        address.map_or(Duration::ZERO, |address| {
            let keys = self.worker.core.visitors.wrong_keys();
            keys.count(address, monotonic_nanos(), most)
        })
    }

    /// Holds an answer back, unless the client leaves or everything ends.
    ///
    /// # Cancel safety
    /// Dropped, the request goes unanswered.
    pub(super) async fn answer_late(&mut self, delayed: Delayed) -> After {
        observe::add(&self.worker.core.counters().held_back, 1);
        self.deadline.limit(None);
        self.deadline.set(delayed.time);
        let stayed = poll_fn(|cx| match () {
            () if self.worker.core.drain.is_stopping() => Poll::Ready(true),
            () if self.poll_left(cx).is_ready() => Poll::Ready(false),
            () => self.deadline.poll(cx).map(|()| true),
        });
        match stayed.await {
            true => self.refuse(&delayed.fault, &delayed.recipient, delayed.cursor),
            false => After::Drop,
        }
    }
}
