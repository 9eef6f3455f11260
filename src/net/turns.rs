//! Turns of the event loop: how a task that always has something to do lets all others run.
//!
//! Readiness is no yield. On epoll the runtime asks the kernel at once whether a socket is still readable and the
//! task goes on; a task that wakes itself is put before all others, on either driver. So who has spent his
//! [`Budget`] waits here for a later turn: a bell is rung that only the driver reports, and those who wait are
//! woken behind everything else that was ready by then.
//!
//! Only [`RESTED_MAX`] of them go on in one turn, in the order in which they came, so that a turn does not get
//! longer the more of them there are. Steps of handshakes, which cost a hundred times what others do, have a queue
//! of their own: [`HANDSHAKES_MAX`] are taken in one turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustix::event::{EventfdFlags, eventfd};

use super::socket::Socket;

/// Tasks in one turn that have rested: about a millisecond of bulk.
pub const RESTED_MAX: u64 = 16;
/// Steps of handshakes in one turn: some milliseconds at most.
pub const HANDSHAKES_MAX: u64 = 4;

/// What a task may do before it lets others run, in bytes moved or what takes as long: some tens of microseconds,
/// or one piece of bulk.
const BUDGET: u32 = 256 * 1024;

/// A TLS record in bytes: as much takes as long.
const RECORD: usize = 256;

/// What is taken off a [`Budget`] however few bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Work {
    /// A look at what can be moved.
    Look = 16 * 1024,
    /// A message, or a piece of one.
    Piece = 64 * 1024,
}

/// What a task may still do; see the module's documentation.
#[derive(Debug)]
pub struct Budget(u32);

impl Default for Budget {
    fn default() -> Self {
        Self(BUDGET)
    }
}

impl Budget {
    /// Takes off what some work and `bytes` moved by it cost.
    pub fn spend(&mut self, work: Work, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.0 = self.0.saturating_sub(bytes.max(work as u32));
    }

    /// Takes off what a receive costs that brought `bytes` in so many TLS records, which cost more than their bytes do.
    pub fn spend_receive(&mut self, work: Work, bytes: usize, records: usize) {
        self.spend(work, bytes);
        if records > 0 {
            self.spend(Work::Look, records.saturating_mul(RECORD));
        }
    }

    /// How many looks there are in one.
    #[cfg(test)]
    pub const LOOKS: usize = BUDGET as usize / Work::Look as usize;

    /// Whether it is another task's turn.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.0 == 0
    }

    /// The task has waited: others ran.
    pub fn renew(&mut self) {
        self.0 = BUDGET;
    }
}

/// A worker's turns; see the module's documentation.
pub struct Turns {
    rested: Queue,
    handshakes: Queue,
    /// The task that rings, while nobody waits.
    ringer: RefCell<Option<Waker>>,
    bell: OwnedFd,
}

/// Those who wait, in the order in which they came.
#[derive(Default)]
struct Queue {
    /// Places given out so far, and how many of them have had their turn.
    places: Cell<u64>,
    admitted: Cell<u64>,
    /// Those that are still to be admitted.
    wakers: RefCell<VecDeque<Waker>>,
}

impl Queue {
    /// The next place.
    fn place(&self) -> u64 {
        self.places.replace(self.places.get() + 1)
    }

    /// Admits as many as wait, `most` at most; returns how many more it might have been.
    fn admit(&self, most: u64) -> u64 {
        let mut wakers = self.wakers.borrow_mut();
        for left in (1..=most).rev() {
            let Some(waker) = wakers.pop_front() else {
                return left;
            };
            self.admitted.set(self.admitted.get() + 1);
            waker.wake();
        }
        0
    }

    /// Lets as many as `count` more pass that come before anybody waits.
    fn open(&self, count: u64) {
        if self.wakers.borrow().is_empty() {
            self.admitted.set(self.places.get() + count);
        }
    }

    fn is_empty(&self) -> bool {
        self.wakers.borrow().is_empty()
    }
}

impl Turns {
    /// The first turn.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Rc<Self>> {
        let turns = Self {
            rested: Queue::default(),
            handshakes: Queue::default(),
            ringer: RefCell::default(),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        };
        turns.handshakes.open(HANDSHAKES_MAX);
        Ok(Rc::new(turns))
    }

    /// Waits until everything that is ready has run and the driver has been asked for more.
    ///
    /// # Cancel safety
    /// Dropped, its place is lost and nobody else's.
    pub async fn next(&self) {
        self.wait(&self.rested).await;
    }

    /// Waits until a step of a handshake may be taken, which mostly is at once.
    ///
    /// # Cancel safety
    /// As [`next`](Self::next).
    pub async fn for_handshake(&self) {
        self.wait(&self.handshakes).await;
    }

    async fn wait(&self, queue: &Queue) {
        let (place, mut waits) = (queue.place(), false);
        poll_fn(|cx| {
            if place < queue.admitted.get() {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut waits, true) {
                queue.wakers.borrow_mut().push_back(cx.waker().clone());
                self.ring();
            }
            Poll::Pending
        })
        .await;
    }

    fn ring(&self) {
        if let Some(ringer) = self.ringer.take() {
            ringer.wake();
        }
    }

    /// Takes turn after turn while anybody waits, for ever. The worker spawns it once.
    ///
    /// # Errors
    /// When the runtime cannot watch the bell.
    ///
    /// # Cancel safety
    /// Dropped, those who wait never run again.
    pub async fn run(self: Rc<Self>) -> io::Result<()> {
        let mut heard = Socket::from_fd(self.bell.try_clone()?)?;
        loop {
            poll_fn(|cx| {
                if !self.rested.is_empty() || !self.handshakes.is_empty() {
                    return Poll::Ready(());
                }
                self.ringer.replace(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
            self.pass(&mut heard).await;
            self.begin();
        }
    }

    /// Rings, and waits until the driver has heard it. The wait is armed before the bell rings: on epoll nothing
    /// else keeps the runtime from finding it rung without asking the driver.
    async fn pass(&self, heard: &mut Socket) {
        heard.rest();
        let mut rung = false;
        poll_fn(|cx| {
            let ready = heard.poll_readable(cx);
            if !std::mem::replace(&mut rung, true) {
                let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
            }
            ready
        })
        .await;
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    fn begin(&self) {
        self.rested.admit(RESTED_MAX);
        let left = self.handshakes.admit(HANDSHAKES_MAX);
        self.handshakes.open(left);
    }
}

#[cfg(test)]
mod tests {
    use super::super::driver::{Rung, block_on, choose};
    use super::*;
    use crate::config::Driver;

    fn on_both(play: impl AsyncFn(&Rc<Turns>)) {
        let best = choose(Driver::Auto, false).unwrap().0;
        for rung in [best, Rung::Epoll] {
            block_on(rung, async {
                let turns = Turns::new().unwrap();
                monoio::spawn(turns.clone().run());
                play(&turns).await;
            })
            .unwrap();
        }
    }

    /// A task that always has something to do, and one that waits for the driver.
    #[test]
    fn the_driver_is_asked_in_between() {
        on_both(async |turns| {
            let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let mut near = Socket::from_fd(near.into()).unwrap();
            near.rest();
            let reader = monoio::spawn(async move {
                poll_fn(|cx| near.poll_readable(cx)).await;
            });
            turns.next().await;
            rustix::io::write(&far, b"x").unwrap();
            let seen = Rc::new(Cell::new(false));
            let sees = seen.clone();
            monoio::spawn(async move {
                reader.await;
                sees.set(true);
            });
            let mut count = 0;
            while !seen.get() {
                turns.next().await;
                count += 1;
                assert!(count < 4, "the driver was not asked");
            }
        });
    }

    #[test]
    fn a_turn_is_no_longer_the_more_of_them_there_are() {
        on_both(async |turns| {
            let count = Rc::new(Cell::new(0));
            for _ in 0..10 * RESTED_MAX {
                let (turns, count) = (turns.clone(), count.clone());
                monoio::spawn(async move {
                    turns.next().await;
                    count.set(count.get() + 1);
                });
            }
            let mut before = 0;
            // This task may be run in the middle of a turn.
            while count.get() < 10 * RESTED_MAX {
                turns.for_handshake().await;
                assert!(
                    count.get() - before <= 2 * RESTED_MAX,
                    "{before} {}",
                    count.get()
                );
                before = count.get();
            }
        });
    }

    #[test]
    fn handshakes_take_turns_in_order() {
        on_both(async |turns| {
            let done = Rc::new(RefCell::new(Vec::new()));
            for number in 0..100 {
                let (turns, done) = (turns.clone(), done.clone());
                monoio::spawn(async move {
                    turns.for_handshake().await;
                    done.borrow_mut().push(number);
                });
            }
            let mut before = 0;
            while done.borrow().len() < 100 {
                turns.next().await;
                let now = done.borrow().len();
                assert!(
                    now - before <= 2 * usize::try_from(HANDSHAKES_MAX).unwrap(),
                    "{before}, {now}"
                );
                before = now;
            }
            assert!(done.borrow().is_sorted());
        });
    }

    #[test]
    fn who_gives_up_takes_nobody_along() {
        on_both(async |turns| {
            for _ in 0..3 * RESTED_MAX {
                let mut given_up = Box::pin(turns.next());
                let mut nobody = std::task::Context::from_waker(Waker::noop());
                assert!(given_up.as_mut().poll(&mut nobody).is_pending());
            }
            turns.next().await;
        });
    }
}
