//! Requests of this worker that stand in queues for their providers, and how those of other workers are called.
//!
//! A queue is shared by all workers and calls nobody itself: whoever gives a permit back is told whose turn it is, and
//! sends a message to that one's worker. A call may come too late, or wake somebody whose turn it is not: who is woken
//! asks the queue.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use crate::policy::gateway::Gateway;
use crate::providers::group::UnderWay;
use crate::providers::micros;
use crate::providers::queue::{Asked, Call, Permit, Queue, Taken, Ticket, Wish};
use crate::system::time::monotonic_nanos;

/// Sends a call to the worker with this index.
type Put = dyn Fn(usize, u64);

/// See the module's documentation.
pub(crate) struct Waiting {
    worker: usize,
    put: Box<Put>,
    wakers: RefCell<Slab<Option<Waker>>>,
}

/// The lower half of what one is called by is its place here, the upper one its worker.
const PLACE_BITS: u32 = 32;

impl Waiting {
    /// Nobody waits; calls for others are `put` to their workers, and come back through [`called`](Self::called).
    #[must_use]
    pub(crate) fn new(worker: usize, put: impl Fn(usize, u64) + 'static) -> Rc<Self> {
        Rc::new(Self {
            worker,
            put: Box::new(put),
            wakers: RefCell::default(),
        })
    }

    /// It is the turn of one here, or was.
    pub(crate) fn called(&self, caller: u64) {
        let place = caller & ((1 << PLACE_BITS) - 1);
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let mut wakers = self.wakers.borrow_mut();
        if let Some(waker) = wakers.get_mut(place).and_then(Option::take) {
            waker.wake();
        }
    }

    /// Whoever is called has to learn it.
    fn call(&self, call: Option<Call>) {
        let Some(Call { caller, .. }) = call else {
            return;
        };
        let worker = worker_of(caller);
        match worker == self.worker {
            true => self.called(caller),
            false => (self.put)(worker, caller),
        }
    }

    /// Limits of this configuration have changed since, or are gone: those who may go on by that are called.
    pub(crate) fn limits_have_changed(&self, gateway: &Gateway) {
        for (_, queue) in gateway.choices.queues() {
            self.look(queue);
        }
    }

    /// Somebody may go on by what time alone has changed, if any of this worker wait. At every tick.
    pub(crate) fn look_around(&self, gateway: &Gateway) {
        if !self.wakers.borrow().is_empty() {
            self.limits_have_changed(gateway);
        }
    }

    /// There may be room at an instance: those who may go on by that are called.
    pub(crate) fn look(&self, queue: &Queue) {
        self.call_all(queue, queue.next(now()));
    }

    /// Calls this one, and whoever may go on beside it: one that has made room may have done so for several.
    fn call_all(&self, queue: &Queue, mut call: Option<Call>) {
        while call.is_some() {
            self.call(call);
            call = queue.next(now());
        }
    }
}

/// The worker that somebody waits at, who is called by this.
#[must_use]
pub(crate) fn worker_of(caller: u64) -> usize {
    usize::try_from(caller >> PLACE_BITS).unwrap_or(usize::MAX)
}

fn now() -> u64 {
    micros(monotonic_nanos())
}

/// A request's turn: it has come, or is waited for.
pub(crate) enum Turn {
    /// It has come.
    Held(Held),
    /// It stands in the queue.
    Stands(Stand),
}

/// A permit, or a seat at an instance for who has one; given back when this is dropped.
pub(crate) struct Held {
    queue: Arc<Queue>,
    waiting: Rc<Waiting>,
    permit: Option<Permit>,
}

impl Held {
    /// The seat that it came with.
    pub(crate) fn take_seat(&mut self) -> Option<UnderWay> {
        self.permit.as_mut().and_then(Permit::take_seat)
    }

    /// There may be room for others: those who may go on by that are called.
    pub(crate) fn look(&self) {
        self.waiting.look(&self.queue);
    }

    /// Whether it is a turn; else the request had its turn before.
    #[must_use]
    pub(crate) fn is_turn(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::is_turn)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let call = self.queue.release(permit, now());
            self.waiting.call_all(&self.queue, call);
        }
    }
}

/// A place in a queue; given up when this is dropped.
pub(crate) struct Stand {
    queue: Arc<Queue>,
    waiting: Rc<Waiting>,
    ticket: Option<Ticket>,
    place: usize,
    /// Until when, in microseconds.
    deadline: u64,
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = self.waiting.wakers.borrow_mut().try_remove(self.place);
        self.leave();
    }
}

impl Turn {
    /// Asks for one of `key`, and for a seat as well where there is such a wish.
    ///
    /// # Errors
    /// There is no place; whole seconds after which there may be one.
    pub(crate) fn ask(
        queue: &Arc<Queue>,
        waiting: &Rc<Waiting>,
        key: u64,
        wish: Option<Wish>,
    ) -> Result<Self, u32> {
        Self::with(queue, waiting, |caller| match wish {
            Some(wish) => queue.ask_for(key, caller, wish, now()),
            None => queue.ask(key, caller, now()),
        })
    }

    /// Asks for another seat for a request that had its turn.
    ///
    /// # Errors
    /// As for [`ask`](Self::ask).
    pub(crate) fn move_on(
        queue: &Arc<Queue>,
        waiting: &Rc<Waiting>,
        wish: Wish,
    ) -> Result<Self, u32> {
        Self::with(queue, waiting, |caller| queue.move_on(caller, wish, now()))
    }

    fn with(
        queue: &Arc<Queue>,
        waiting: &Rc<Waiting>,
        ask: impl FnOnce(u64) -> Asked,
    ) -> Result<Self, u32> {
        let place = waiting.wakers.borrow_mut().insert(None);
        let caller = ((waiting.worker as u64) << PLACE_BITS) | place as u64;
        let (queue, waiting) = (queue.clone(), waiting.clone());
        let asked = ask(caller);
        let mut stand = Stand {
            queue,
            waiting,
            ticket: None,
            place,
            deadline: 0,
        };
        match asked {
            Asked::Full { retry_after } => Err(retry_after),
            Asked::Admitted(permit) => Ok(Self::Held(stand.held(permit))),
            Asked::Waits {
                ticket,
                deadline,
                displaced,
            } => {
                stand.waiting.call(displaced);
                (stand.ticket, stand.deadline) = (Some(ticket), deadline);
                Ok(Self::Stands(stand))
            }
        }
    }
}

impl Stand {
    fn held(&self, permit: Permit) -> Held {
        Held {
            queue: self.queue.clone(),
            waiting: self.waiting.clone(),
            permit: Some(permit),
        }
    }

    /// How long it may still wait.
    #[must_use]
    pub(crate) fn time_left(&self) -> std::time::Duration {
        std::time::Duration::from_micros(self.deadline.saturating_sub(now()))
    }

    /// It has waited too long; whole seconds after which there may be a turn for it.
    pub(crate) fn give_up(&mut self) -> u32 {
        let Some(ticket) = self.leave() else {
            return 1;
        };
        match self.queue.take(ticket) {
            Taken::Gone { retry_after } => retry_after,
            Taken::Waits | Taken::Admitted(_) => 1,
        }
    }

    fn leave(&mut self) -> Option<Ticket> {
        let ticket = self.ticket.take()?;
        let call = self.queue.leave(ticket, now());
        self.waiting.call_all(&self.queue, call);
        Some(ticket)
    }

    /// Ready when its turn has come, or its place was taken from it: then whole seconds after which there may be one.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Held, u32>> {
        let Some(ticket) = self.ticket else {
            return Poll::Pending;
        };
        if let Some(waker) = self.waiting.wakers.borrow_mut().get_mut(self.place) {
            *waker = Some(cx.waker().clone());
        }
        match self.queue.take(ticket) {
            Taken::Waits => Poll::Pending,
            Taken::Admitted(permit) => {
                self.ticket = None;
                Poll::Ready(Ok(self.held(permit)))
            }
            Taken::Gone { retry_after } => {
                self.ticket = None;
                Poll::Ready(Err(retry_after))
            }
        }
    }
}
