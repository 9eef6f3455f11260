//! Polling for a while before sleeping, so that the next request or event does not pay for waking the core.
//!
//! One task per worker goes round the runtime's queue for as long as there was traffic within the window. A
//! queue that is not empty makes the runtime ask the kernel for what is ready without waiting, after every
//! other task has had its turn: so nothing starves, and nothing of the runtime is changed. The runtime's timers
//! rest meanwhile; the clock is turned from here instead.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::deadline::{Clock, Tick};

/// See the module's documentation.
#[derive(Default)]
pub struct Spin {
    window: Cell<Duration>,
    /// There was traffic since the last look.
    traffic: Cell<bool>,
    /// The spinning task while it rests.
    resting: RefCell<Option<Waker>>,
}

impl Spin {
    /// Polls for this long after traffic; zero is not at all.
    pub fn set(&self, window: Duration) {
        self.window.set(window);
    }

    /// Something was received or sent.
    pub fn traffic(&self) {
        if self.window.get().is_zero() {
            return;
        }
        self.traffic.set(true);
        if let Some(waker) = self.resting.take() {
            waker.wake();
        }
    }

    /// Spins whenever there is reason to, for ever; `each` runs at every tick that passes meanwhile. The worker
    /// spawns it once.
    ///
    /// # Cancel safety
    /// Dropped, the worker sleeps at once again.
    pub async fn run(self: Rc<Self>, clock: Rc<Clock>, each: impl Fn(Tick) -> bool) {
        let mut until = Instant::now();
        poll_fn(|cx| -> Poll<()> {
            let now = Instant::now();
            if self.traffic.take() {
                until = now + self.window.get();
            }
            if now < until {
                clock.turn(&each);
                cx.waker().wake_by_ref();
            } else {
                self.resting.replace(Some(cx.waker().clone()));
            }
            Poll::Pending
        })
        .await;
    }
}
