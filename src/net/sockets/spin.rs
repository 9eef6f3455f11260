//! Polling for a while before sleeping, so that the next request or event does not pay for waking the core.
//!
//! Two tasks per worker wake each other for as long as there was traffic within the window. A queue that is not
//! empty makes the runtime ask the kernel for what is ready without waiting, and each of the two goes to its end:
//! so nothing starves, and nothing of the runtime is changed. (One task that wakes itself would not do: the
//! runtime puts that one before all others.)

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

/// See the module's documentation.
pub(crate) struct Spin {
    window: Duration,
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
    #[must_use]
    pub(crate) fn new(window: Duration) -> Rc<Self> {
        Rc::new(Self {
            window,
            traffic: Cell::new(false),
            resting: RefCell::default(),
            spinning: RefCell::default(),
            returning: RefCell::default(),
        })
    }

    /// Something was received or sent.
    pub(crate) fn traffic(&self) {
        if self.window.is_zero() {
            return;
        }
        self.traffic.set(true);
        if let Some(waker) = self.resting.take() {
            waker.wake();
        }
    }

    /// Spins whenever there is reason to, for ever. The worker spawns it once, and
    /// [`give_back`](Self::give_back) beside it.
    ///
    /// # Cancel safety
    /// Dropped, the worker sleeps at once again.
    pub(crate) async fn run(self: Rc<Self>) {
        let mut until = Instant::now();
        poll_fn(|cx| -> Poll<()> {
            let now = Instant::now();
            if self.traffic.take() {
                until = now + self.window;
            }
            if now >= until {
                self.resting.replace(Some(cx.waker().clone()));
                return Poll::Pending;
            }
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
    pub(crate) async fn give_back(self: Rc<Self>) {
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
    use std::io;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::config::Driver;
    use crate::net::sockets::driver::{Rung, block_on, choose};
    use crate::net::sockets::socket::{Received, Socket};

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

    /// A task and the main one exchange bytes while the worker spins without end.
    async fn exchange_while_spinning() {
        let spin = Spin::new(Duration::from_secs(3600));
        monoio::spawn(spin.clone().run());
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

    fn others_have_their_turns(rung: Rung) {
        let (done, wait) = mpsc::channel::<io::Result<()>>();
        thread::spawn(move || done.send(block_on(rung, exchange_while_spinning())));
        let result = wait.recv_timeout(Duration::from_secs(20));
        result.expect("the others never had their turns").unwrap();
    }

    #[test]
    fn others_have_their_turns_on_epoll() {
        others_have_their_turns(Rung::Epoll);
    }

    #[test]
    fn others_have_their_turns_on_the_best_driver() {
        others_have_their_turns(choose(Driver::Auto, true).unwrap().0);
    }
}
