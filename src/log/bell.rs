//! Wakes the log's thread, where it sleeps: that costs more than a line, so most of the time it merely rests.

use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

/// See the module's documentation. Clones ring the same; one that is dropped rings once more, so that it is seen that
/// nobody is left.
#[derive(Clone, Default)]
pub(super) struct Bell(Arc<Sleeper>);

#[derive(Default)]
struct Sleeper {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Bell {
    /// Something is there, put down before.
    pub(super) fn ring(&self) {
        // Either this sees that it sleeps, or it sees what is there.
        fence(Ordering::SeqCst);
        if self.0.asleep.load(Ordering::Relaxed)
            && self.0.asleep.swap(false, Ordering::Relaxed)
            && let Some(thread) = self.0.thread.get()
        {
            thread.unpark();
        }
    }

    /// Sleeps until it rings, unless something is there already.
    pub(super) fn sleep(&self, is_there: impl FnOnce() -> bool) {
        self.0.thread.get_or_init(thread::current);
        self.0.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_there() {
            self.0.asleep.store(false, Ordering::Relaxed);
            return;
        }
        while self.0.asleep.load(Ordering::Relaxed) {
            thread::park();
        }
    }

    /// Rests for so long, whatever comes.
    pub(super) fn rest(time: Duration) {
        thread::park_timeout(time);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}
