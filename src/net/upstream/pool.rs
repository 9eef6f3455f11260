//! A worker's idle upstream connections, per site (an instance of a provider), newest on top.
//!
//! Every idle connection keeps its readiness wait armed, with the keeper task's waker: its end, or a byte
//! that nobody asked for, is noticed when it happens and closes it. [`Pool::take`] looks once more. Where thousands end,
//! speak or expire at once, the keeper looks at a few of them in each turn.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::net::core::deadline::{Clock, Tick, since_boot};
use crate::net::sockets::turns::{Budget, Turns, Work};
use crate::net::transport::scratch::Scratch;
use crate::net::transport::stream::Stream;
use crate::net::transport::tls::Silence;
use crate::observe::habits::Habit;

/// Idle connections kept per site and worker.
const IDLE_MAX: usize = 1024;
/// A provider that closes this soon behind an answer does so behind each.
const YOUNG: Duration = Duration::from_secs(1);

/// A connection to a provider, established.
pub(crate) struct Upstream {
    /// The bytes.
    pub stream: Stream,
    /// Which site it leads to.
    pub site: usize,
    /// It came out of the pool.
    pub reused: bool,
    /// When it was made, as [`since_boot`] counts.
    made: Duration,
    /// Requests that went out on it.
    served: u32,
    /// Until when it is idle at most.
    idle_until: Option<Tick>,
    /// If it ends before, the provider closes behind its answers.
    young_until: Option<Tick>,
    /// What its provider does with connections.
    pub habit: Habit,
    /// What the provider's name stood for when it was made.
    pub address: Option<IpAddr>,
    /// It was made on other terms than its request began on, maybe to somebody else, and is for that request alone.
    pub is_strange: bool,
    /// What was sent is to arrive before the end.
    finished: bool,
    _seat: Seat,
}

/// A place among a provider's connections, taken before connecting and given back on drop.
pub(crate) struct Seat(Rc<Cell<usize>>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Upstream {
    /// A connection that has carried nothing yet.
    #[must_use]
    pub(crate) fn fresh(stream: Stream, site: usize, seat: Seat, habit: Habit) -> Box<Self> {
        Box::new(Self {
            stream,
            site,
            reused: false,
            made: since_boot(),
            served: 0,
            idle_until: None,
            young_until: None,
            habit,
            address: None,
            is_strange: false,
            finished: false,
            _seat: seat,
        })
    }

    /// Whether no request went out on it before; one has now.
    pub(crate) fn first_use(&mut self) -> bool {
        let first = self.served == 0;
        self.served = self.served.saturating_add(1);
        first
    }

    /// Whether it has been idle for as long as it may.
    fn is_expired(&self, now: Tick) -> bool {
        self.idle_until.is_some_and(|until| until <= now)
    }

    /// It has ended while idle.
    fn has_ended(&self, now: Tick) {
        if self.served > 0 && self.young_until.is_some_and(|until| now < until) {
            self.habit.closes();
        }
    }

    /// Requests that went out on it.
    #[must_use]
    pub(crate) fn served(&self) -> u32 {
        self.served
    }

    /// Ends our direction in order, behind what was sent; under TLS as far as the kernel takes it at once.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
        self.stream.close_notify();
        self.stream.shutdown();
    }
}

impl Drop for Upstream {
    /// A provider that has stopped reading would see a FIN only behind all that the kernel still holds
    /// for it, perhaps never. It does see a reset.
    fn drop(&mut self) {
        if !self.finished && !self.stream.is_flushed() {
            self.stream.abort();
        }
    }
}

/// One site's idle connections, the newest last. Boxed once for life: they move between pool and exchanges.
type Stack = Vec<Box<Upstream>>;

/// See the module's documentation.
pub(crate) struct Pool {
    clock: Rc<Clock>,
    idle: RefCell<Vec<Stack>>,
    /// Addresses that providers' names have left: nothing that leads there is kept. Mostly there are none.
    left: RefCell<Vec<(usize, IpAddr)>>,
    /// Connections per site, idle and busy ones.
    open: RefCell<Vec<Rc<Cell<usize>>>>,
    keeper: RefCell<Option<Waker>>,
}

impl Pool {
    /// An empty pool.
    #[must_use]
    pub(crate) fn new(clock: Rc<Clock>) -> Self {
        Self {
            clock,
            idle: RefCell::default(),
            left: RefCell::default(),
            open: RefCell::default(),
            keeper: RefCell::new(None),
        }
    }

    /// A place for one more connection to `site`; `None` when it has `limit` already.
    pub(crate) fn seat(&self, site: usize, limit: Option<NonZeroUsize>) -> Option<Seat> {
        let mut open = self.open.borrow_mut();
        if open.len() <= site {
            open.resize_with(site + 1, Rc::default);
        }
        let count = open.get(site)?;
        if limit.is_some_and(|limit| count.get() >= limit.get()) {
            return None;
        }
        count.set(count.get() + 1);
        Some(Seat(count.clone()))
    }

    /// Closes the oldest idle connection of whichever provider has most: descriptors have run out.
    pub(crate) fn shed(&self) {
        let mut idle = self.idle.borrow_mut();
        if let Some(stack) = idle.iter_mut().max_by_key(|stack| stack.len())
            && !stack.is_empty()
        {
            stack.remove(0);
        }
    }

    /// The newest idle connection to `site` that is still open and quiet; others found on the way are closed. Who
    /// finds many of them does better with a new one, and leaves the rest to the keeper.
    pub(crate) fn take(&self, site: usize, scratch: &mut Scratch) -> Option<Box<Upstream>> {
        let mut idle = self.idle.borrow_mut();
        let stack = idle.get_mut(site)?;
        let mut budget = Budget::default();
        while !budget.is_spent()
            && let Some(mut upstream) = stack.pop()
        {
            // What waits for a request may run first behind a suspension, which this connection did not survive.
            if upstream.is_expired(self.clock.look()) {
                budget.spend(Work::Look, 0);
                continue;
            }
            if upstream.stream.is_quiet(scratch.cipher()) {
                upstream.reused = true;
                if upstream.served > 0 {
                    upstream.habit.persists();
                }
                return Some(upstream);
            }
            let records = upstream.stream.take_records();
            budget.spend_receive(Work::Look, 0, records);
            upstream.has_ended(self.clock.now());
        }
        None
    }

    /// Keeps a connection for the next request, for `limit` at most.
    pub(crate) fn put(&self, mut upstream: Box<Upstream>, limit: Duration, scratch: &mut Scratch) {
        let Some(keeper) = self.keeper.borrow().clone() else {
            return;
        };
        if self.has_left(upstream.site, &upstream) {
            return;
        }
        let now = self.clock.now();
        upstream.idle_until = Some(now.after(limit));
        upstream.young_until = Some(now.after(YOUNG));
        match look(&mut upstream, &mut Context::from_waker(&keeper), scratch) {
            Seen::Waiting | Seen::Quiet => {}
            Seen::More => keeper.wake_by_ref(),
            Seen::Over => {
                // It has something to say already, which nobody asked for.
                upstream.has_ended(now);
                return;
            }
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() <= upstream.site {
            idle.resize_with(upstream.site + 1, Vec::new);
        }
        if let Some(stack) = idle.get_mut(upstream.site)
            && stack.len() < IDLE_MAX
        {
            stack.push(upstream);
        }
    }

    /// Has the keeper close what leads to these addresses, and closes it whenever it comes to be idle, until the next
    /// call. No request gets it any more.
    pub(crate) fn leave(&self, left: Vec<(usize, IpAddr)>) {
        *self.left.borrow_mut() = left;
        let (now, mut any) = (self.clock.now(), false);
        for (site, stack) in self.idle.borrow_mut().iter_mut().enumerate() {
            for upstream in stack {
                if self.has_left(site, upstream) {
                    upstream.idle_until = Some(now);
                    any = true;
                }
            }
        }
        if any {
            self.wake_keeper();
        }
    }

    fn wake_keeper(&self) {
        if let Some(keeper) = &*self.keeper.borrow() {
            keeper.wake_by_ref();
        }
    }

    fn has_left(&self, site: usize, upstream: &Upstream) -> bool {
        let is_it = |left: &(usize, IpAddr)| upstream.address == Some(left.1) && left.0 == site;
        self.left.borrow().iter().any(is_it)
    }

    /// Closes the connections to `site` that have not carried a request.
    pub(crate) fn drop_unused(&self, site: usize) {
        if let Some(stack) = self.idle.borrow_mut().get_mut(site) {
            stack.retain(|upstream| upstream.served > 0);
        }
    }

    /// Idle connections to `site`.
    #[must_use]
    pub(crate) fn idle_count(&self, site: usize) -> usize {
        self.idle.borrow().get(site).map_or(0, Vec::len)
    }

    /// When the oldest idle connection to `site` was made, as [`since_boot`] counts.
    #[must_use]
    pub(crate) fn oldest_idle(&self, site: usize) -> Option<Duration> {
        let idle = self.idle.borrow();
        let all = idle.get(site)?.iter();
        all.map(|upstream| upstream.made).min()
    }

    /// Connections to `site`, idle, busy and in the making.
    #[must_use]
    pub(crate) fn open_count(&self, site: usize) -> usize {
        self.open.borrow().get(site).map_or(0, |count| count.get())
    }

    /// Has the keeper close what has been idle for too long; whether there is still something idle. Runs at every tick.
    pub(crate) fn expire(&self, now: Tick) -> bool {
        let idle = self.idle.borrow();
        let mut all = idle.iter().flatten();
        if all.any(|upstream| upstream.is_expired(now)) {
            self.wake_keeper();
        }
        idle.iter().any(|stack| !stack.is_empty())
    }

    /// Moves every site's connections to its new number; `None` closes them. For a new configuration.
    pub(crate) fn reindex(&self, new_index: impl Fn(usize) -> Option<usize>) {
        // Known again by the next look.
        self.left.take();
        let mut idle = moved(self.idle.take(), &new_index);
        for (index, stack) in idle.iter_mut().enumerate() {
            for upstream in stack {
                upstream.site = index;
            }
        }
        *self.idle.borrow_mut() = idle;
        let open = moved(self.open.take(), &new_index);
        *self.open.borrow_mut() = open;
    }

    /// The keeper: closes idle connections that end, speak or expire. The worker spawns it once. `retired` is called for
    /// every connection that expires without use.
    ///
    /// # Cancel safety
    /// Dropped, the pool keeps nothing any more.
    pub(crate) async fn keep(
        self: Rc<Self>,
        scratch: Rc<RefCell<Scratch>>,
        turns: Rc<Turns>,
        retired: impl Fn(),
    ) {
        let mut place = Place::default();
        loop {
            poll_fn(|cx| {
                let mut keeper = self.keeper.borrow_mut();
                if !keeper
                    .as_ref()
                    .is_some_and(|waker| waker.will_wake(cx.waker()))
                {
                    *keeper = Some(cx.waker().clone());
                }
                drop(keeper);
                self.look_around(cx, &mut place, &mut scratch.borrow_mut(), &retired)
            })
            .await;
            turns.next().await;
        }
    }

    /// Looks at the connections one after the other, from `place` on. Ready where others have to have their turn before
    /// it goes on; pending when all of them wait: one that has something to say by now wakes the task.
    fn look_around(
        &self,
        cx: &mut Context<'_>,
        place: &mut Place,
        scratch: &mut Scratch,
        retired: &impl Fn(),
    ) -> Poll<()> {
        let mut idle = self.idle.borrow_mut();
        let (mut budget, mut more) = (Budget::default(), false);
        // Each is looked at once, whatever was woken while this task rested: there is one waker for all.
        for _ in 0..idle.iter().map(Vec::len).sum() {
            if budget.is_spent() {
                return Poll::Ready(());
            }
            let Some((stack, at)) = place.find(&mut idle) else {
                break;
            };
            let Some(upstream) = stack.get_mut(at) else {
                break;
            };
            let expired = upstream.is_expired(self.clock.now());
            // A defect that a provider's bytes bring out costs their connection, as everywhere else.
            let look = AssertUnwindSafe(|| look(upstream, cx, scratch));
            let seen = match expired {
                true => Seen::Over,
                false => catch_unwind(look).unwrap_or(Seen::Over),
            };
            if let Seen::Waiting = seen {
                place.at = at + 1;
                continue;
            }
            let records = upstream.stream.take_records();
            budget.spend_receive(Work::Look, 0, records);
            if let Seen::Quiet | Seen::More = seen {
                more |= matches!(seen, Seen::More);
                place.at = at + 1;
                continue;
            }
            match expired {
                true if upstream.served == 0 => retired(),
                true => {}
                false => upstream.has_ended(self.clock.now()),
            }
            // What comes behind it is at its place now.
            stack.remove(at);
        }
        match more {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

/// Where the keeper looks next. Those who come and go meanwhile move it by a few places, but it goes round.
#[derive(Default)]
struct Place {
    site: usize,
    at: usize,
}

impl Place {
    /// The stack and the index in it of the first connection from here on; `None` where there is none at all.
    fn find<'a>(&mut self, idle: &'a mut [Stack]) -> Option<(&'a mut Stack, usize)> {
        let count = idle.len();
        // The first stack once more, for what lies before the place in it.
        for _ in 0..=count {
            match idle.get(self.site) {
                Some(stack) if self.at < stack.len() => {
                    return idle.get_mut(self.site).map(|stack| (stack, self.at));
                }
                _ => {}
            }
            self.site = (self.site + 1).checked_rem(count)?;
            self.at = 0;
        }
        None
    }
}

/// The same entries at their new indices.
pub(crate) fn moved<T: Default>(old: Vec<T>, new_index: impl Fn(usize) -> Option<usize>) -> Vec<T> {
    let mut new = Vec::new();
    for (index, entry) in old.into_iter().enumerate() {
        let Some(index) = new_index(index) else {
            continue;
        };
        if new.len() <= index {
            new.resize_with(index + 1, T::default);
        }
        if let Some(slot) = new.get_mut(index) {
            *slot = entry;
        }
    }
    new
}

/// What a look at an idle connection has shown.
enum Seen {
    /// Nothing has come since its wait was armed.
    Waiting,
    /// Something that TLS says on its own; its wait is armed again.
    Quiet,
    /// The same, and there may be more.
    More,
    /// It has ended, or said what nobody asked for.
    Over,
}

/// Looks at a connection once.
fn look(upstream: &mut Upstream, cx: &mut Context<'_>, scratch: &mut Scratch) -> Seen {
    let stream = &mut upstream.stream;
    if stream.poll_readable(cx).is_pending() {
        return Seen::Waiting;
    }
    match stream.listen(scratch.cipher()) {
        Silence::Broken => Seen::Over,
        Silence::More => Seen::More,
        Silence::Kept => {
            stream.rest();
            match stream.poll_readable(cx) {
                Poll::Ready(()) => Seen::More,
                Poll::Pending => Seen::Quiet,
            }
        }
    }
}

#[cfg(test)]
mod tests;
