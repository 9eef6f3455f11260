//! Who runs beside whom: tests run beside each other, but one that measures has the machine for itself.

use std::cell::Cell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Tests that run and tests that want to be alone.
struct State {
    company: usize,
    waiting: usize,
    alone: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    company: 0,
    waiting: 0,
    alone: false,
});
static CHANGED: Condvar = Condvar::new();

thread_local! {
    /// The place of the test that this thread runs; left when the thread ends.
    static PLACE: Place = Place::take();
    /// The test that this thread runs is alone.
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait_while(condition: impl Fn(&State) -> bool) -> MutexGuard<'static, State> {
    let state = CHANGED.wait_while(state(), |state| condition(state));
    state.unwrap_or_else(PoisonError::into_inner)
}

/// Counts the calling thread among those that run tests, until it ends. New tests wait for one that is alone or wants
/// to be; one that runs never waits, whatever else it starts. A test whose threads start all of its programs joins
/// before them.
pub(crate) fn join() {
    // The main thread runs the tests where there is one for all of them, and does not end with them.
    let is_main = thread::current().name() == Some("main");
    if !is_main && !ALONE.get() {
        PLACE.with(|_| ());
    }
}

/// A thread that is counted.
struct Place;

impl Place {
    fn take() -> Self {
        // The thread of a test bears its name. One without helps a test that has waited.
        let mut state = match thread::current().name() {
            Some(_) => wait_while(|state| state.alone || state.waiting > 0),
            None => state(),
        };
        state.company += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        state().company -= 1;
        CHANGED.notify_all();
    }
}

/// The calling test is the only one; until this is dropped.
pub(crate) struct Alone(());

/// Waits until no other test runs. To be called before the test starts anything: it would wait for itself.
pub(crate) fn alone() -> Alone {
    state().waiting += 1;
    let mut state = wait_while(|state| state.alone || state.company > 0);
    state.waiting -= 1;
    state.alone = true;
    ALONE.set(true);
    Alone(())
}

impl Drop for Alone {
    fn drop(&mut self) {
        ALONE.set(false);
        state().alone = false;
        CHANGED.notify_all();
    }
}
