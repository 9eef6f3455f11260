//! What time it is in a worker's turns, and since when what a look at its sockets reported has been ready.
//!
//! Whoever is served late was ready while others were served: the kernel does not say since when, but a worker that had
//! something to do all the time since its look before found it ready half of that time later on average, and one that
//! slept was woken by it. What began to be waited for in that time and came in it too, the answer to what was sent then
//! for instance, came from somebody near, and most of that time is counted as waited: a quarter of it is what was measured
//! to be their own. So one reading of the clock a look says what a hundred requests have waited. What a task begins with is
//! the reading that the one before it ended with.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::time::Duration;

use crate::system::time::Moment;

/// See the module's documentation. Off at first.
pub(crate) struct TurnClock {
    on: Cell<bool>,
    /// The last look.
    looked: Cell<Moment>,
    /// What that reports was ready after this: the look before, or the last one itself where the worker slept.
    earliest: Cell<Moment>,
    /// The last reading of those that say when a piece of work was done.
    latest: Cell<Moment>,
    /// The last send began.
    sending: Cell<Moment>,
    /// Told how long each turn was.
    turned: OnceCell<Told>,
}

type Told = Box<dyn Fn(Duration)>;

/// A worker that has read no clock for longer before it looks has slept: asking the kernel takes half of it (2.5 µs were the
/// most, on either driver), and to sleep and be woken, by a peer on the same core even, takes twice as much.
const SLEPT: Duration = Duration::from_micros(5);

impl TurnClock {
    /// One that has never looked.
    pub(crate) fn new() -> Rc<Self> {
        let now = Moment::now();
        Rc::new(Self {
            on: Cell::new(false),
            looked: Cell::new(now),
            earliest: Cell::new(now),
            latest: Cell::new(now),
            sending: Cell::new(now),
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

    // What is done where it is on is kept apart, so that each look and send takes a few instructions where it is off.

    /// A send begins.
    pub(super) fn sends(&self) {
        if self.on.get() {
            self.sends_now();
        }
    }

    #[inline(never)]
    fn sends_now(&self) {
        self.sending.set(Moment::now());
    }

    /// What time it was when what has been sent was on its way: the middle of the send, for the kernel may let the peer run
    /// before it comes back.
    pub(crate) fn read_sent(&self) -> Moment {
        self.sent_by(Moment::now())
    }

    fn sent_by(&self, now: Moment) -> Moment {
        let (before, sending) = (self.latest.replace(now), self.sending.get());
        match sending > before {
            true => sending + now.since(sending) / 2,
            false => now,
        }
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

    /// The worker is about to look.
    pub(super) fn look(&self) {
        if self.on.get() {
            self.looks_at(Moment::now());
        }
    }

    /// Since when what the look reports has been ready that has been waited for since `waited`, where times are wanted.
    pub(super) fn since(&self, waited: Option<Moment>) -> Option<Moment> {
        self.on.get().then(|| self.ready(waited))
    }

    #[inline(never)]
    fn ready(&self, waited: Option<Moment>) -> Moment {
        let (earliest, looked) = (self.earliest.get(), self.looked.get());
        match waited.filter(|at| *at > earliest) {
            Some(waited) => waited + looked.since(waited) / 4,
            None => earliest + looked.since(earliest) / 2,
        }
    }

    #[inline(never)]
    fn looks_at(&self, now: Moment) {
        let (looked, latest) = (self.looked.replace(now), self.latest.replace(now));
        let slept = now.since(latest) > SLEPT;
        let turn = if slept { latest } else { now }.since(looked);
        if let Some(turned) = self.turned.get()
            && !turn.is_zero()
        {
            turned(turn);
        }
        self.earliest.set(if slept { now } else { looked });
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
        clock.looks_at(first + micros(100));
        assert_eq!(clock.ready(None), first + micros(50));
        assert_eq!(clock.latest(), first + micros(100));
        clock.latest.set(first + micros(106));
        clock.looks_at(first + micros(110));
        assert_eq!(clock.ready(None), first + micros(105));
    }

    #[test]
    fn what_was_asked_for_meanwhile_came_soon() {
        let (clock, first) = clock();
        clock.latest.set(first + micros(99));
        clock.looks_at(first + micros(100));
        clock.latest.set(first + micros(199));
        clock.looks_at(first + micros(200));
        for (waited, ready) in [(40, 150), (100, 150), (120, 140), (196, 197)] {
            assert_eq!(
                clock.ready(Some(first + micros(waited))),
                first + micros(ready)
            );
        }
    }

    #[test]
    fn what_wakes_a_worker_has_not_waited() {
        let (clock, first) = clock();
        clock.latest.set(first + micros(99));
        clock.looks_at(first + micros(105));
        assert_eq!(clock.ready(Some(first + micros(98))), first + micros(105));
        clock.looks_at(first + micros(200));
        assert_eq!(clock.ready(None), first + micros(200));
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
    fn what_was_sent_was_on_its_way_before_the_send_came_back() {
        let (clock, first) = clock();
        clock.latest.set(first + micros(10));
        clock.sending.set(first + micros(13));
        assert_eq!(clock.sent_by(first + micros(19)), first + micros(16));
        assert_eq!(clock.latest(), first + micros(19));
        // What else is done has no part in that.
        assert_eq!(clock.sent_by(first + micros(25)), first + micros(25));
        clock.sends();
        assert!(clock.sending.get() > first);
        clock.switch(false);
        clock.sending.set(first);
        clock.sends();
        assert_eq!(clock.sending.get(), first);
    }

    #[test]
    fn off_it_says_nothing() {
        let clock = TurnClock::new();
        assert_eq!(clock.since(None), None);
        clock.switch(true);
        assert!(clock.since(None).is_some());
        clock.switch(false);
        assert_eq!(clock.since(None), None);
    }
}
