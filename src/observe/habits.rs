//! What providers do with connections, as any worker has seen it: whether one made ahead of need would be in the way.
//!
//! Shared by all workers, where everything else is each worker's own: a server that serves one connection at a time
//! is kept from a worker's request by what another worker made ahead. Written only when something changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::counters::SLOTS_MAX;

/// Those of all providers, by slot.
#[derive(Clone, Debug)]
pub(crate) struct Habits(Arc<[Seen]>);

#[derive(Debug, Default)]
struct Seen {
    /// It closes after each answer.
    closes: AtomicBool,
    /// Requests that wait long for a connection.
    waiting: AtomicUsize,
}

impl Default for Habits {
    fn default() -> Self {
        Self((0..SLOTS_MAX).map(|_| Seen::default()).collect())
    }
}

impl Habits {
    /// Those of the provider that is counted in this slot.
    #[must_use]
    pub(crate) fn of(&self, slot: usize) -> Habit {
        Habit {
            all: self.0.clone(),
            slot,
        }
    }
}

/// One provider's.
#[derive(Clone, Debug)]
pub struct Habit {
    all: Arc<[Seen]>,
    slot: usize,
}

impl Habit {
    fn seen(&self) -> Option<&Seen> {
        // The last one is shared by providers that have nothing else in common.
        self.all
            .get(self.slot)
            .filter(|_| self.slot < SLOTS_MAX - 1)
    }

    /// It has closed behind an answer, or says that it will.
    pub fn closes(&self) {
        if let Some(seen) = self.seen() {
            seen.closes.store(true, Ordering::Relaxed);
        }
    }

    /// A connection that has carried an answer was still there for another request.
    pub fn persists(&self) {
        if let Some(seen) = self.seen()
            && seen.closes.load(Ordering::Relaxed)
        {
            seen.closes.store(false, Ordering::Relaxed);
        }
    }

    /// A request has waited long for a connection, and goes on waiting until the result is dropped.
    #[must_use]
    pub fn waits(&self) -> Waiting {
        if let Some(seen) = self.seen() {
            seen.waiting.fetch_add(1, Ordering::Relaxed);
        }
        Waiting(self.clone())
    }

    /// Whether there is nothing against a connection made ahead of need.
    #[must_use]
    pub fn allows_more(&self) -> bool {
        let closes = |seen: &Seen| seen.closes.load(Ordering::Relaxed);
        !self.seen().is_some_and(closes) && !self.is_awaited()
    }

    /// Whether a request waits long for a connection.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        let awaited = |seen: &Seen| seen.waiting.load(Ordering::Relaxed) > 0;
        self.seen().is_some_and(awaited)
    }
}

/// See [`Habit::waits`].
pub struct Waiting(Habit);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(seen) = self.0.seen() {
            seen.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_worker_sees_holds_for_all_until_it_changes() {
        let habits = Habits::default();
        let (one, other) = (habits.of(1), habits.clone().of(1));
        assert!(other.allows_more());
        one.closes();
        assert!(!other.allows_more());
        assert!(habits.of(2).allows_more());
        other.persists();
        assert!(one.allows_more());
        let waiting = [one.waits(), other.waits()];
        assert!(!one.allows_more());
        drop(waiting);
        assert!(one.allows_more());
    }

    #[test]
    fn strangers_that_share_a_slot_share_no_habits() {
        for slot in [SLOTS_MAX - 1, SLOTS_MAX] {
            let habit = Habits::default().of(slot);
            habit.closes();
            let _waiting = habit.waits();
            assert!(habit.allows_more());
        }
    }
}
