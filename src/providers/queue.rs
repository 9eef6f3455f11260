//! So many requests at once to a provider or one of its instances, and fair turns for those that wait.
//!
//! All workers share a queue behind one lock. That is an exception, and only for providers whose `concurrency` is limited:
//! such a server is slower than any lock, what is done under it takes logarithmic time, and nothing waits or
//! allocates there. Without a limit there is no queue. [`mod@line`] is what happens under the lock, [`heap`] keeps order there.
//!
//! Where instances have limits, a request lacks two things: a permit, if the provider has a limit as well, and a seat at
//! an instance ([`wish`]). Both are given under the lock, at once, to who asks when nobody waits before it, else to the next
//! in turn, by whoever makes room. The seats themselves are counted by the instances; nothing is summed up here, so there is
//! no sum that could be out of date: what is out, drains or is gone is no seat, and is one again when it is back.
//!
//! No wake-up is lost by that. Who waits found no seat under the lock. Whoever makes room does so first and takes the lock
//! then ([`Queue::release`], [`Queue::next`]): either that was before the other looked, which then saw it, or it comes after,
//! and finds the other waiting. That holds for the end of a request, for its going elsewhere, for an instance that comes
//! back by an answer, and for a reload. What only the clock, a probe or an operator does (an ejection is over) is looked for
//! at each tick while somebody waits. A wait ends by its own deadline in any case. Nobody holds a seat while it waits for
//! another, so none wait for one another.
//!
//! Nobody starves: turns go round as ever, and those that go before them (they had their turn and were not taken) have done
//! so a few times at most. Who began before a reload chooses among the instances of its own configuration and keeps its
//! place; who comes behind it and may go to one that the reload has added passes it there.

pub(crate) mod handed;
pub(crate) mod handed_seats;
mod heap;
mod line;
#[cfg(test)]
mod model;
mod pace;
#[cfg(test)]
mod seats;
mod share;
#[cfg(test)]
mod tests;
mod wish;

#[expect(
    clippy::disallowed_types,
    reason = "only where concurrency is limited; see above"
)]
use std::sync::Mutex;
use std::sync::{MutexGuard, PoisonError};

use line::Line;

pub use line::{Asked, Call, Limits, Permit, QueueState, Taken, Ticket};
pub use wish::Wish;

/// A limit on requests at once, and those that wait for it.
///
/// Whoever is given a [`Call`] wakes the one named there; where that one is no more, it leaves in its stead
/// ([`leave`](Self::leave)), so that the next gets its turn. Times are microseconds since the process began.
#[derive(Debug)]
pub struct Queue {
    #[expect(
        clippy::disallowed_types,
        reason = "only where concurrency is limited; see above"
    )]
    line: Mutex<Line>,
}

impl Queue {
    /// A queue that nobody waits in. Its tables are made here, for as many as the limits let in.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            line: Line::new(limits).into(),
        }
    }

    /// Asks for a turn of `key`, whose requests share fairly with those of other keys. `caller` is what the asker is called
    /// by.
    pub fn ask(&self, key: u64, caller: u64, now: u64) -> Asked {
        self.line().ask(key, caller, None, now)
    }

    /// The same for a request that wishes for a seat as well, and comes in with both: see [`Permit::take_seat`].
    pub fn ask_for(&self, key: u64, caller: u64, wish: Wish, now: u64) -> Asked {
        self.line().ask(key, caller, Some(wish), now)
    }

    /// Asks for a seat elsewhere for a request that had its turn, and holds no seat. It comes before all that had none; what
    /// it is let in with is no turn of its own.
    pub fn move_on(&self, caller: u64, wish: Wish, now: u64) -> Asked {
        self.line().move_on(caller, wish, now)
    }

    /// What has become of a ticket. Its permit is taken once; a ticket that is gone was displaced, is over, has left or was
    /// taken.
    pub fn take(&self, ticket: Ticket) -> Taken {
        self.line().take(ticket)
    }

    /// Gives a permit back: the request has ended. Who is called has its turn now.
    #[must_use]
    pub fn release(&self, permit: Permit, now: u64) -> Option<Call> {
        self.line().release(permit, now)
    }

    /// Gives a place up, or a turn that was not taken yet: the client has gone. Who is called has its turn now.
    #[must_use]
    pub fn leave(&self, ticket: Ticket, now: u64) -> Option<Call> {
        self.line().leave(ticket, now)
    }

    /// One of those that have waited too long, which is gone with this. Asked until there is none.
    #[must_use]
    pub fn expire(&self, now: u64) -> Option<Call> {
        self.line().expire(now)
    }

    /// When the next will have waited too long.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.line().deadline()
    }

    /// Changes the limits, at a reload: deadlines that were given stay, and with fewer permits or places those that have
    /// one keep it. Afterwards [`next`](Self::next) is to be asked.
    pub fn limit(&self, limits: Limits) {
        self.line().limit(limits);
    }

    /// Lifts the limit: a reload has taken it away. Afterwards [`next`](Self::next) is to be asked.
    pub fn open(&self) {
        self.line().open();
    }

    /// Lets one in, if there is room since the limits have changed. Asked until there is none.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<Call> {
        self.line().next(now)
    }

    /// Another process has given so many permits. Afterwards [`next`](Self::next) is to be asked.
    fn gain(&self, count: u32) {
        self.line().share(|share| share.gain(count));
    }

    /// So many requests wait in another process, which take turns with those here. Afterwards [`next`](Self::next) is to be
    /// asked.
    fn want(&self, count: u32) {
        self.line().share(|share| share.want(count));
    }

    /// The next process gets all permits but those that are held here; how many these are.
    fn leave_all(&self) -> u32 {
        self.line().leave_all()
    }

    /// There is no next process any more; one before has so many permits, and so many requests wait there. Afterwards
    /// [`next`](Self::next) is to be asked.
    fn stay(&self, away: u32, wanted: u32) {
        self.line().share(|share| share.stay(away, wanted));
    }

    /// Permits that are to be sent to the other process, once, and how many requests wait here.
    fn take_given(&self) -> (u32, u32) {
        self.line().take_given()
    }

    /// What there is to see of it.
    #[must_use]
    pub fn state(&self) -> QueueState {
        self.line().state()
    }

    /// What a worker that panicked left is whole: no function here can stop half-way but by a fault of ours.
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
