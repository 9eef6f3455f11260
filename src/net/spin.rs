//! Polling for a while before sleeping, so that the next request or event does not pay for waking the core.
//!
//! Two tasks per worker wake each other for as long as there was traffic within the window. A queue that is not
//! empty makes the runtime ask the kernel for what is ready without waiting, and each of the two goes to its end:
//! so nothing starves, and nothing of the runtime is changed. (One task that wakes itself would not do: the
//! runtime puts that one before all others.) The runtime's timers rest meanwhile; the clock is turned from here
//! instead.

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
    /// The task that looks, while it rests.
    resting: RefCell<Option<Waker>>,
    /// The same, while it spins: for the other to wake.
    spinning: RefCell<Option<Waker>>,
    /// The other one.
    returning: RefCell<Option<Waker>>,
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
    /// spawns it once, and [`give_back`](Self::give_back) beside it.
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
            if now >= until {
                self.resting.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
            clock.turn(&each);
            self.spinning.replace(Some(cx.waker().clone()));
            if let Some(waker) = self.returning.take() {
                waker.wake();
            }
            Poll::Pending
        })
        .await;
    }

    /// The other half of [`run`](Self::run): gives every turn back to it.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn give_back(self: Rc<Self>) {
        poll_fn(|cx| -> Poll<()> {
            self.returning.replace(Some(cx.waker().clone()));
            if let Some(waker) = self.spinning.take() {
                waker.wake();
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

    use super::super::socket::{Received, Socket};
    use super::*;

    fn ends() -> (Socket, Socket) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        let end = |stream: UnixStream| Socket::from_fd(stream.into()).unwrap();
        (end(a), end(b))
    }

    async fn receive(socket: &mut Socket) {
        let mut room = [0; 8];
        loop {
            poll_fn(|cx| socket.poll_readable(cx)).await;
            if socket.recv(&mut room).unwrap() == Received::Data(1) {
                return;
            }
        }
    }

    /// Two tasks and the main one exchange bytes while the worker spins without end.
    async fn exchange_while_spinning() {
        let (spin, clock) = (Rc::new(Spin::default()), Clock::new());
        spin.set(Duration::from_secs(3600));
        let ticks = Cell::new(0);
        let each = move |_| {
            ticks.set(ticks.get() + 1);
            assert!(ticks.get() < 100, "the others never had their turn");
            true
        };
        monoio::spawn(spin.clone().run(clock, each));
        monoio::spawn(spin.clone().give_back());
        spin.traffic();
        let (mut near, mut far) = ends();
        monoio::spawn(async move {
            for _ in 0..100 {
                receive(&mut far).await;
                far.send(b"x").unwrap();
            }
        });
        for _ in 0..100 {
            near.send(b"x").unwrap();
            receive(&mut near).await;
        }
        assert!(spin.resting.borrow().is_none(), "it did not spin");
    }

    #[test]
    fn others_have_their_turns_on_epoll() {
        let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build();
        runtime.unwrap().block_on(exchange_while_spinning());
    }

    #[test]
    fn others_have_their_turns_on_io_uring() {
        // Not every kernel lets us have a ring.
        if let Ok(mut runtime) = RuntimeBuilder::<IoUringDriver>::new()
            .enable_timer()
            .build()
        {
            runtime.block_on(exchange_while_spinning());
        }
    }
}
