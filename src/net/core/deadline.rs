//! One coarse clock and one list of deadlines per worker.
//!
//! Moving a deadline is a store: no timer is armed per read. A single task wakes every [`TICK`] while
//! any deadline is registered and wakes the connections whose time has come. While the machine is suspended the clock
//! goes on and the deadlines stand still: what is idle gets older, and nobody is late.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::net::sockets::timer::Timer;

/// How fine deadlines are: one is never early and at most this much late, scheduling apart, and unless very
/// many expire at once.
pub(crate) const TICK: Duration = Duration::from_nanos(TICK_NANOS as u64);
const TICK_NANOS: u32 = 100_000_000;
const TICKS_PER_SECOND: u64 = 10;

/// Ticks that nothing but a stopped process takes for one.
const STOPPED: u32 = 10;

/// Tasks woken at once by the time, and how long the next ones then wait.
const WAKES_MAX: usize = 32;
const PAUSE: Duration = Duration::from_millis(1);

/// A point in time, in ticks since the worker began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(u32);

impl Tick {
    const NEVER: Self = Self(u32::MAX);

    /// This much later, rounded up, and one tick more since the current one has begun already.
    #[must_use]
    pub(crate) fn after(self, wait: Duration) -> Self {
        self.plus(Self::in_ticks(wait))
    }

    /// See [`after`](Self::after).
    fn in_ticks(wait: Duration) -> u32 {
        let begun = wait.subsec_nanos().div_ceil(TICK_NANOS);
        let ticks = wait
            .as_secs()
            .saturating_mul(TICKS_PER_SECOND)
            .saturating_add(u64::from(begun) + 1);
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    fn plus(self, ticks: u32) -> Self {
        Self(self.0.saturating_add(ticks).min(u32::MAX - 1))
    }
}

/// The worker's clock and its registered deadlines.
pub(crate) struct Clock {
    /// In time since the machine was booted.
    start: Duration,
    now: Cell<u32>,
    /// The tick up to which expired deadlines have been woken.
    turned: Cell<Tick>,
    slots: RefCell<Slots>,
    /// Where waking goes on, if more had expired than are woken at once.
    rest: Cell<Option<usize>>,
    /// There is something to do at the next tick whatever is registered.
    goes_on: Cell<bool>,
    /// The sweeper, while it rests because nothing is registered.
    sweeper: RefCell<Option<Waker>>,
}

#[derive(Default)]
struct Slots {
    entries: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    at: Tick,
    /// It is over, and what was waited for was looked for once more.
    looked: bool,
    waker: Option<Waker>,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            start: since_boot(),
            now: Cell::new(0),
            turned: Cell::new(Tick(0)),
            rest: Cell::new(None),
            goes_on: Cell::new(false),
            slots: RefCell::default(),
            sweeper: RefCell::new(None),
        })
    }

    /// The current tick, at most one tick behind while anything is registered.
    #[must_use]
    pub(crate) fn now(&self) -> Tick {
        Tick(self.now.get())
    }

    /// The current tick, also where the process or the machine has just begun to run again.
    #[must_use]
    pub(crate) fn look(&self) -> Tick {
        self.refresh();
        self.now()
    }

    /// A slot for one task's deadline, unset at first.
    #[must_use]
    pub(crate) fn register(self: &Rc<Self>) -> Deadline {
        self.refresh();
        let mut slots = self.slots.borrow_mut();
        let slot = Slot {
            at: Tick::NEVER,
            looked: false,
            waker: None,
        };
        let index = match slots.free.pop() {
            Some(index) => index,
            None => slots.entries.len(),
        };
        match slots.entries.get_mut(index) {
            Some(entry) => *entry = slot,
            None => slots.entries.push(slot),
        }
        if let Some(sweeper) = self.sweeper.borrow_mut().take() {
            sweeper.wake();
        }
        Deadline {
            clock: self.clone(),
            index,
            wait: Cell::new(0),
            limit: Tick::NEVER,
        }
    }

    /// Sweeps for ever; `each` runs at every tick and says whether it has more to do, so that the clock goes on
    /// although nothing is registered. The worker spawns it once.
    ///
    /// # Cancel safety
    /// Dropped, no deadline fires any more.
    pub(crate) async fn sweep(self: Rc<Self>, mut timer: Timer, each: impl Fn(Tick) -> bool) {
        loop {
            poll_fn(|cx| self.poll_any(cx)).await;
            timer.sleep(TICK).await;
            self.turn(&each);
            while self.rest.get().is_some() {
                // Whoever has something to move meanwhile comes first.
                timer.sleep(PAUSE).await;
                self.turn(&each);
            }
        }
    }

    /// Wakes what has expired if a new tick has begun, and runs `each` then.
    fn turn(&self, each: impl Fn(Tick) -> bool) {
        self.refresh();
        // Others refresh the clock too: what counts is when this was last done.
        if self.now() > self.turned.replace(self.now()) {
            self.wake_expired();
            self.goes_on.set(each(self.now()));
        } else if self.rest.get().is_some() {
            self.wake_expired();
        }
    }

    /// Waits this long.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn sleep(self: &Rc<Self>, wait: Duration) {
        let deadline = self.register();
        deadline.set(wait);
        poll_fn(|cx| deadline.poll(cx)).await;
    }

    /// Wakes every task that waits with a deadline, so that it looks around.
    pub(crate) fn wake_all(&self) {
        for slot in &mut self.slots.borrow_mut().entries {
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    /// Moves all deadlines: this time did not pass for those who wait, and what they wait for may be there. Those that
    /// were set before this was noticed were set from a time long gone.
    fn postpone(&self, ticks: u32) {
        if ticks == 0 {
            return;
        }
        for slot in &mut self.slots.borrow_mut().entries {
            if slot.at != Tick::NEVER {
                slot.at = slot.at.plus(ticks);
            }
        }
    }

    fn poll_any(&self, cx: &mut Context<'_>) -> Poll<()> {
        let slots = self.slots.borrow();
        if self.goes_on.get() || slots.entries.len() > slots.free.len() {
            return Poll::Ready(());
        }
        *self.sweeper.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn refresh(&self) {
        let passed = since_boot().saturating_sub(self.start);
        let ticks = passed.as_millis() / TICK.as_millis();
        let now = u32::try_from(ticks).unwrap_or(u32::MAX - 1);
        self.postpone(stopped(self.now.replace(now), now));
    }

    /// Wakes some of those whose time has come: thousands at once, each of which ends a connection, would
    /// keep all others waiting.
    fn wake_expired(&self) {
        let (now, mut left) = (self.now(), WAKES_MAX);
        let first = self.rest.take().unwrap_or(0);
        let mut slots = self.slots.borrow_mut();
        for (index, slot) in slots.entries.iter_mut().enumerate().skip(first) {
            if slot.at > now || slot.waker.is_none() {
                continue;
            }
            if left == 0 {
                self.rest.set(Some(index));
                return;
            }
            left -= 1;
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Time since the machine was booted, with that for which it was suspended: a connection or an answer is not younger
/// because this side slept. No system call, like the other clocks.
#[must_use]
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let now = Duration::try_from(now).unwrap_or_default();
    #[cfg(test)]
    let now = now + SUSPENDED.get();
    now
}

/// The ticks for which the worker did not run: while anything is registered, it looks at every tick.
fn stopped(before: u32, now: u32) -> u32 {
    let passed = now.saturating_sub(before);
    match passed >= STOPPED {
        true => passed,
        false => 0,
    }
}

/// One task's deadline; the slot is given back on drop.
pub(crate) struct Deadline {
    clock: Rc<Clock>,
    index: usize,
    /// What it was last set to, in ticks from then.
    wait: Cell<u32>,
    /// Never later than this, whatever is set.
    limit: Tick,
}

impl Deadline {
    /// Moves the deadline to `wait` from now.
    pub(crate) fn set(&self, wait: Duration) {
        self.wait.set(Tick::in_ticks(wait));
        self.renew();
    }

    /// Moves the deadline to `wait` from now; `None` is no deadline but the limit.
    pub(crate) fn set_to(&self, wait: Option<Duration>) {
        self.set(wait.unwrap_or(Duration::MAX));
    }

    /// Moves the deadline as the last [`set`](Self::set) did, but from now.
    pub(crate) fn renew(&self) {
        self.store(self.clock.now().plus(self.wait.get()).min(self.limit));
    }

    /// No deadline but the limit.
    pub(crate) fn clear(&self) {
        self.store(self.limit);
    }

    /// Caps every later [`set`](Self::set): the hard ceiling on a whole exchange. `None` lifts it.
    pub(crate) fn limit(&mut self, wait: Option<Duration>) {
        self.limit = wait.map_or(Tick::NEVER, |wait| self.clock.now().after(wait));
    }

    /// Ready once the deadline has passed; else the sweeper wakes the caller when it has.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(slot) = self.clock.slots.borrow_mut().entries.get_mut(self.index) {
            if slot.at <= self.clock.now() {
                return Poll::Ready(());
            }
            if !slot
                .waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(cx.waker()))
            {
                slot.waker = Some(cx.waker().clone());
            }
        }
        Poll::Pending
    }

    /// As [`poll`](Self::poll), but nobody is late for what is there: this may be noticed long after its time, by a
    /// process that was stopped, and what was waited for has come before. So the first time since it was set `look`
    /// says whether it has, which is the result.
    pub(crate) fn poll_late(
        &self,
        cx: &mut Context<'_>,
        look: impl FnOnce() -> bool,
    ) -> Poll<bool> {
        std::task::ready!(self.poll(cx));
        let mut slots = self.clock.slots.borrow_mut();
        let slot = slots.entries.get_mut(self.index);
        let looked = slot.is_none_or(|slot| std::mem::replace(&mut slot.looked, true));
        drop(slots);
        Poll::Ready(!looked && look())
    }

    /// Whether it has passed, for a task that has something else to do than wait for that.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        let slots = self.clock.slots.borrow();
        let slot = slots.entries.get(self.index);
        slot.is_some_and(|slot| slot.at <= self.clock.now())
    }

    /// Whether the hard ceiling has passed.
    #[must_use]
    pub(crate) fn is_past_limit(&self) -> bool {
        self.limit <= self.clock.now()
    }

    fn store(&self, at: Tick) {
        if let Some(slot) = self.clock.slots.borrow_mut().entries.get_mut(self.index) {
            slot.at = at;
            // A ceiling that has passed is not looked beyond again, whatever comes.
            slot.looked &= at <= self.clock.now();
        }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        let mut slots = self.clock.slots.borrow_mut();
        if let Some(slot) = slots.entries.get_mut(self.index) {
            *slot = Slot {
                at: Tick::NEVER,
                looked: false,
                waker: None,
            };
            slots.free.push(self.index);
        }
    }
}

#[cfg(test)]
thread_local! {
    /// For how long a test has had the machine suspended.
    pub static SUSPENDED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may wait for a tick")]
    fn many_that_expire_at_once_are_woken_in_turns() {
        let clock = Clock::new();
        let waits: Vec<_> = (0..2 * WAKES_MAX + 1)
            .map(|_| {
                let (deadline, woken) = (clock.register(), Arc::new(Woken::default()));
                deadline.set(Duration::ZERO);
                let waker = Waker::from(woken.clone());
                assert!(deadline.poll(&mut Context::from_waker(&waker)).is_pending());
                (deadline, woken)
            })
            .collect();
        let count = || {
            let woken = |(_, woken): &&(_, Arc<Woken>)| woken.0.load(Ordering::SeqCst);
            waits.iter().filter(woken).count()
        };
        std::thread::sleep(TICK);
        for expected in [WAKES_MAX, 2 * WAKES_MAX, 2 * WAKES_MAX + 1] {
            clock.turn(|_| false);
            assert_eq!(count(), expected);
        }
        assert!(clock.rest.get().is_none());
    }

    #[test]
    fn the_time_for_which_it_was_stopped_is_no_time() {
        assert_eq!((stopped(7, 8), stopped(7, 7), stopped(7, 16)), (0, 0, 0));
        assert_eq!((stopped(7, 17), stopped(0, 36_000)), (10, 36_000));
        let clock = Clock::new();
        let [set, cleared] = [(); 2].map(|()| clock.register());
        set.set(Duration::from_secs(1));
        clock.now.set(36_000);
        clock.postpone(36_000);
        assert!(!set.is_over() && !cleared.is_over());
        clock.now.set(36_000 + 11);
        assert!(set.is_over() && !cleared.is_over());
    }

    #[test]
    fn a_suspended_machine_makes_nobody_late() {
        let clock = Clock::new();
        let deadline = clock.register();
        deadline.set(Duration::from_secs(60));
        let before = clock.now();
        SUSPENDED.set(Duration::from_secs(3600));
        assert!(clock.look() >= before.after(Duration::from_secs(3599)));
        assert!(!deadline.is_over());
    }

    #[test]
    fn what_is_there_when_it_is_over_counts_once() {
        let clock = Clock::new();
        let mut deadline = clock.register();
        deadline.limit(Some(Duration::from_secs(5)));
        deadline.set(Duration::from_secs(1));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(deadline.poll_late(cx, || true).is_pending());
        clock.now.set(20);
        assert_eq!(deadline.poll_late(cx, || true), Poll::Ready(true));
        assert_eq!(deadline.poll_late(cx, || true), Poll::Ready(false));
        deadline.renew();
        assert!(deadline.poll_late(cx, || true).is_pending());
        // Beyond the ceiling nothing is renewed.
        clock.now.set(100);
        assert_eq!(deadline.poll_late(cx, || true), Poll::Ready(true));
        deadline.renew();
        assert_eq!(deadline.poll_late(cx, || true), Poll::Ready(false));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may wait for a tick")]
    fn a_deadline_expires_though_others_look_at_the_clock_first() {
        let clock = Clock::new();
        let deadline = clock.register();
        deadline.set(Duration::ZERO);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        assert!(deadline.poll(&mut Context::from_waker(&waker)).is_pending());
        std::thread::sleep(TICK);
        let _other = clock.register();
        clock.turn(|_| false);
        assert!(woken.0.load(Ordering::SeqCst));
    }
}
