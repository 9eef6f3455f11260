//! What time it is in a worker's turns, and since when what a look at its sockets reported has been ready.
//!
//! Whoever is served late was ready while others were served: the kernel does not say since when, but a worker that had
//! something to do all the time since its look before found it ready half of that time later on average, and one that
//! slept was woken by it. So one reading of the clock a look says what a hundred requests have waited. What a task begins
//! with is the reading that the one before it ended with.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use crate::system::time::Moment;

/// See the module's documentation. Off at first.
pub(crate) struct TurnClock {
    on: Cell<bool>,
    /// The last look.
    looked: Cell<Moment>,
    /// The last reading.
    latest: Cell<Moment>,
    /// Told how long each turn was.
    turned: OnceCell<Told>,
}

type Told = Box<dyn Fn(Duration)>;

/// A worker that has read no clock for longer before it looks has slept: asking the kernel takes a fraction of it, and to
/// be woken takes more.
const SLEPT: Duration = Duration::from_micros(10);

impl TurnClock {
    /// One that has never looked.
    pub(crate) fn new() -> Rc<Self> {
        let now = Moment::now();
        Rc::new(Self {
            on: Cell::new(false),
            looked: Cell::new(now),
            latest: Cell::new(now),
            turned: OnceCell::new(),
        })
    }

    /// Whether times are wanted at all.
    pub(crate) fn switch(&self, on: bool) {
        if self.on.replace(on) != on {
            self.looked.set(self.read());
        }
    }

    /// The first `turned` of all is told how long each turn was: from a look to the last reading behind it, or to the next look
    /// where the worker did not sleep before that.
    pub(crate) fn tell(&self, turned: impl Fn(Duration) + 'static) {
        self.turned.get_or_init(|| Box::new(turned));
    }

    /// What time it is: when a piece of work is done.
    pub(crate) fn read(&self) -> Moment {
        let now = Moment::now();
        self.latest.set(now);
        now
    }

    /// A piece of work is done of which nobody takes the time.
    pub(crate) fn done(&self) {
        if self.on.get() {
            self.read();
        }
    }

    /// When the last piece of work was done, or the worker looked: when the one now under way began.
    pub(crate) fn latest(&self) -> Moment {
        self.latest.get()
    }

    /// The worker looks: since when what it now sees has been ready, where times are wanted.
    pub(super) fn look(&self) -> Option<Moment> {
        self.on.get().then(|| self.looks_at(Moment::now()))
    }

    fn looks_at(&self, now: Moment) -> Moment {
        let (looked, latest) = (self.looked.replace(now), self.latest.replace(now));
        let slept = now.since(latest) > SLEPT;
        let turn = if slept { latest } else { now }.since(looked);
        if let Some(turned) = self.turned.get()
            && !turn.is_zero()
        {
            turned(turn);
        }
        match slept {
            true => now,
            false => looked + turn / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const fn micros(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    fn clock() -> (Rc<TurnClock>, Moment) {
        let clock = TurnClock::new();
        clock.switch(true);
        let first = clock.latest();
        clock.looks_at(first);
        (clock, first)
    }

    #[test]
    fn what_came_while_others_were_served_was_ready_half_of_that_time_later() {
        let (clock, first) = clock();
        clock.latest.set(first + micros(99));
        assert_eq!(clock.looks_at(first + micros(100)), first + micros(50));
        assert_eq!(clock.latest(), first + micros(100));
        clock.latest.set(first + micros(106));
        assert_eq!(clock.looks_at(first + micros(110)), first + micros(105));
    }

    #[test]
    fn what_wakes_a_worker_has_not_waited() {
        let (clock, first) = clock();
        clock.latest.set(first + micros(99));
        assert_eq!(clock.looks_at(first + micros(200)), first + micros(200));
    }

    #[test]
    fn a_turn_ends_before_the_sleep() {
        let (clock, first) = clock();
        let turns = Rc::new(RefCell::new(Vec::new()));
        let told = turns.clone();
        clock.tell(move |turn| told.borrow_mut().push(turn));
        clock.latest.set(first + micros(99));
        clock.looks_at(first + micros(100));
        clock.latest.set(first + micros(107));
        clock.looks_at(first + micros(1000));
        clock.looks_at(first + micros(2000));
        assert_eq!(*turns.borrow(), [micros(100), micros(7)]);
    }

    #[test]
    fn off_it_says_nothing() {
        let clock = TurnClock::new();
        assert_eq!(clock.look(), None);
        clock.switch(true);
        assert!(clock.look().is_some());
        clock.switch(false);
        assert_eq!(clock.look(), None);
    }
}
