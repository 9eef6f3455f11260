//! How a worker comes to its end: it is unhealthy first, then drains, then stops.

use std::cell::{Cell, RefCell};
use std::task::Waker;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Drain {
    unhealthy: Cell<bool>,
    draining: Cell<bool>,
    /// Clients that wait to be accepted are not let in any more when the worker drains.
    leaves_queues: Cell<bool>,
    stopping: Cell<bool>,
    /// Accept tasks, woken to close their listeners.
    watching: RefCell<Vec<Waker>>,
}

impl Drain {
    /// `/health` says 503 from now on.
    pub(crate) fn announce(&self) {
        self.unhealthy.set(true);
    }

    /// What `/health` says.
    #[must_use]
    pub(crate) fn is_healthy(&self) -> bool {
        !self.unhealthy.get()
    }

    /// Answers end their connections from now on, and listeners are closed: their queues first emptied or not.
    pub(crate) fn begin(&self, empty_queues: bool) {
        self.draining.set(true);
        self.leaves_queues.set(!empty_queues);
        for waker in self.watching.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    /// Whether answers end their connections.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether clients that wait to be accepted are let in although the worker drains.
    #[must_use]
    pub(crate) fn empties_queues(&self) -> bool {
        !self.leaves_queues.get()
    }

    /// Wakes this task when the drain begins.
    pub(crate) fn watch(&self, waker: &Waker) {
        let mut watching = self.watching.borrow_mut();
        if !watching.iter().any(|other| other.will_wake(waker)) {
            watching.push(waker.clone());
        }
    }

    /// Idle connections end from now on.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
    }

    /// Whether idle connections end.
    #[must_use]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }
}
