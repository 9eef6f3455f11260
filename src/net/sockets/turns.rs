//! Turns of the event loop: how a task that always has something to do lets all others run.
//!
//! Readiness is no yield: a socket may be ready for ever, and a task that wakes itself is put before all others. So who
//! has spent his [`Budget`] waits here for a later turn: until the [reactor](super::reactor) has asked the kernel once more,
//! and everything else that was ready by then stands before him.
//!
//! Only [`RESTED_MAX`] of them go on in one turn, in the order in which they came, so that a turn does not get
//! longer the more of them there are. Steps of handshakes, which cost a hundred times what others do, have a queue
//! of their own: [`HANDSHAKES_MAX`] are taken in one turn.
//!
//! Thousands of requests that arrive at the same moment would make one long turn though no connection has spent its
//! budget. So what the heads of a turn cost comes out of a purse besides, and where that is empty further ones
//! wait for later turns, in order. Large heads have one of their own: whoever sends many of those is in nobody's
//! way but his own. What is under way, a stream's event for instance, asks neither. A purse knows of a new turn only
//! when it asks for one, which it does while half is left: once in some dozens of requests.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::http::head::HEAD_USUAL;

use super::reactor::Reactor;

/// Tasks in one turn that have rested: about a millisecond of bulk.
pub(crate) const RESTED_MAX: u64 = 16;
/// Steps of handshakes in one turn: some milliseconds at most.
pub(crate) const HANDSHAKES_MAX: u64 = 4;

/// What a task may do before it lets others run, in bytes moved or what takes as long: some tens of microseconds,
/// or one piece of bulk.
const BUDGET: u32 = 256 * 1024;

/// A TLS record in bytes: as much takes as long.
const RECORD: usize = 256;

/// What the heads of one turn may cost together, as far as they are not large: about a millisecond.
const PURSE: u32 = 16 * BUDGET;
/// The same for large ones: some of the largest and most laborious.
const PURSE_LARGE: u32 = 8 * BUDGET;
/// A byte of a head against one that is only moved: it may have to be decoded, compared and hashed.
const HEAD_BYTE: usize = 16;
/// The same for one that is kept until its head is whole.
const KEPT_BYTE: usize = 4;

/// Of those who wait for a purse, so many begin a turn.
const FIRST: u64 = 4;

/// What is taken off a [`Budget`] however few bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Work {
    /// A look at what can be moved.
    Look = 16 * 1024,
    /// A message, or a piece of one.
    Piece = 64 * 1024,
}

/// What a task may still do; see the module's documentation.
#[derive(Debug)]
pub(crate) struct Budget(u32);

impl Default for Budget {
    fn default() -> Self {
        Self(BUDGET)
    }
}

impl Budget {
    /// Takes off what some work and `bytes` moved by it cost.
    pub(crate) fn spend(&mut self, work: Work, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.0 = self.0.saturating_sub(bytes.max(work as u32));
    }

    /// Takes off what a receive costs that brought `bytes` in so many TLS records, which cost more than their bytes do.
    pub(crate) fn spend_receive(&mut self, work: Work, bytes: usize, records: usize) {
        self.spend(work, bytes);
        if records > 0 {
            self.spend(Work::Look, records.saturating_mul(RECORD));
        }
    }

    /// How many looks there are in one.
    #[cfg(test)]
    pub(crate) const LOOKS: usize = BUDGET as usize / Work::Look as usize;

    /// Whether it is another task's turn.
    #[must_use]
    pub(crate) fn is_spent(&self) -> bool {
        self.0 == 0
    }

    /// The task has waited: others ran.
    pub(crate) fn renew(&mut self) {
        self.0 = BUDGET;
    }
}

/// A worker's turns; see the module's documentation.
pub struct Turns {
    rested: Queue,
    handshakes: Queue,
    heads: Purse,
    large_heads: Purse,
    /// The task that takes turns, while there is no reason to.
    idle: RefCell<Option<Waker>>,
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

/// What work of one kind may cost in a turn.
struct Purse {
    left: Cell<u32>,
    full: u32,
    /// Those who wait for a turn that can pay for them.
    queue: Queue,
}

impl Purse {
    fn new(full: u32) -> Self {
        Self {
            left: Cell::new(full),
            full,
            queue: Queue::default(),
        }
    }

    /// Whether the next one has to wait.
    fn is_full(&self) -> bool {
        self.left.get() == 0 || !self.queue.is_empty()
    }

    fn is_low(&self) -> bool {
        self.left.get() < self.full / 2
    }

    /// Takes out what some work cost.
    fn take(&self, work: Work, bytes: usize) {
        let mut left = Budget(self.left.get());
        left.spend(work, bytes);
        self.left.set(left.0);
    }

    /// One that has waited goes on, and what it costs will have been taken before the next one does.
    fn passed(&self) {
        if self.left.get() > 0 {
            self.queue.admit(1);
        }
    }

    /// A new turn. Each that passes lets another one pass; some of these may have given up.
    fn begin(&self) {
        self.left.set(self.full);
        self.queue.admit(FIRST);
    }
}

impl Turns {
    /// The first turn.
    #[must_use]
    pub fn new() -> Rc<Self> {
        let turns = Self {
            rested: Queue::default(),
            handshakes: Queue::default(),
            heads: Purse::new(PURSE),
            large_heads: Purse::new(PURSE_LARGE),
            idle: RefCell::default(),
        };
        turns.handshakes.open(HANDSHAKES_MAX);
        Rc::new(turns)
    }

    /// Waits until everything that is ready has run and the kernel has been asked for more.
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

    /// Whether what may be a head has to wait [`for_head`](Self::for_head) before it is received.
    pub fn is_full(&self) -> bool {
        self.heads.is_full()
    }

    /// Waits until a head may be received.
    ///
    /// # Cancel safety
    /// As [`next`](Self::next); who comes behind passes at the next turn at the latest.
    pub async fn for_head(&self) {
        self.wait(&self.heads.queue).await;
        self.heads.passed();
    }

    /// Whether a head of so many bytes has to wait [`for_large_head`](Self::for_large_head) before it is decided on.
    pub fn is_full_for(&self, bytes: usize) -> bool {
        bytes > HEAD_USUAL && self.large_heads.is_full()
    }

    /// Waits until a large head may be decided on.
    ///
    /// # Cancel safety
    /// As [`for_head`](Self::for_head).
    pub async fn for_large_head(&self) {
        self.wait(&self.large_heads.queue).await;
        self.large_heads.passed();
    }

    /// A head is not whole yet, and so many bytes more of it are kept.
    pub fn kept(&self, bytes: usize) {
        self.heads.take(Work::Look, bytes.saturating_mul(KEPT_BYTE));
        self.ask_if_low();
    }

    /// A head of so many bytes has been decided on.
    pub fn decided(&self, bytes: usize) {
        let purse = match bytes > HEAD_USUAL {
            true => &self.large_heads,
            false => &self.heads,
        };
        purse.take(Work::Piece, bytes.saturating_mul(HEAD_BYTE));
        self.ask_if_low();
    }

    fn ask_if_low(&self) {
        if self.is_low() {
            self.ask();
        }
    }

    fn is_low(&self) -> bool {
        self.heads.is_low() || self.large_heads.is_low()
    }

    async fn wait(&self, queue: &Queue) {
        let (place, mut waits) = (queue.place(), false);
        poll_fn(|cx| {
            if place < queue.admitted.get() {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut waits, true) {
                queue.wakers.borrow_mut().push_back(cx.waker().clone());
                self.ask();
            }
            Poll::Pending
        })
        .await;
    }

    fn ask(&self) {
        if let Some(idle) = self.idle.take() {
            idle.wake();
        }
    }

    /// Takes turn after turn while anybody waits or a purse is low, for ever. The worker spawns it once.
    ///
    /// # Cancel safety
    /// Dropped, those who wait never run again.
    pub async fn run(self: Rc<Self>, reactor: Rc<Reactor>) {
        loop {
            poll_fn(|cx| {
                if self.is_awaited() {
                    return Poll::Ready(());
                }
                self.idle.replace(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
            reactor.next_look().await;
            self.begin();
        }
    }

    fn is_awaited(&self) -> bool {
        let queues = [
            &self.rested,
            &self.handshakes,
            &self.heads.queue,
            &self.large_heads.queue,
        ];
        self.is_low() || queues.iter().any(|queue| !queue.is_empty())
    }

    fn begin(&self) {
        self.rested.admit(RESTED_MAX);
        self.heads.begin();
        self.large_heads.begin();
        let left = self.handshakes.admit(HANDSHAKES_MAX);
        self.handshakes.open(left);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net;

    use super::*;
    use crate::net::sockets::driver;
    use crate::net::sockets::socket::Socket;

    fn on_both(play: impl AsyncFn(&Rc<Turns>) + 'static) {
        let play = Rc::new(play);
        driver::on_both(async || {
            let turns = Turns::new();
            let reactor = Reactor::current().unwrap();
            monoio::spawn(turns.clone().run(reactor));
            let play = play.clone();
            // The main task does not stand among the others.
            monoio::spawn(async move { play(&turns).await }).await;
        });
    }

    /// A task that always has something to do, and one that waits for the kernel.
    #[test]
    fn the_kernel_is_asked_in_between() {
        on_both(async |turns| asked_in_between(turns, 0).await);
    }

    /// The runtime does not ask its driver for what is ready while tasks make others ready.
    #[test]
    fn the_kernel_is_asked_whatever_tasks_wake() {
        on_both(async |turns| asked_in_between(turns, 40).await);
    }

    async fn asked_in_between(turns: &Rc<Turns>, woken: usize) {
        let (near, far) = net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut near = Socket::from_fd(near.into()).unwrap();
        near.rest();
        let seen = Rc::new(Cell::new(false));
        let sees = seen.clone();
        monoio::spawn(async move {
            poll_fn(|cx| near.poll_readable(cx)).await;
            sees.set(true);
        });
        for _ in 0..3 {
            turns.next().await;
        }
        rustix::io::write(&far, b"x").unwrap();
        let mut count = 0;
        while !seen.get() {
            turns.next().await;
            for _ in 0..woken {
                monoio::spawn(async {});
            }
            count += 1;
            assert!(count < 4, "the kernel was not asked");
        }
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

    const LARGEST: usize = 64 * 1024;

    /// As a connection does with a head that has come.
    async fn decide(turns: &Turns, bytes: usize) {
        if turns.is_full() {
            turns.for_head().await;
        }
        if turns.is_full_for(bytes) {
            turns.for_large_head().await;
        }
        turns.decided(bytes);
    }

    fn decide_many(turns: &Rc<Turns>, bytes: usize) -> Rc<Cell<usize>> {
        let count = Rc::new(Cell::new(0));
        for _ in 0..1000 {
            let (turns, count) = (turns.clone(), count.clone());
            monoio::spawn(async move {
                decide(&turns, bytes).await;
                count.set(count.get() + 1);
            });
        }
        count
    }

    #[test]
    fn heads_at_once_take_turns() {
        for (bytes, most) in [(LARGEST, 8), (1000, 80)] {
            on_both(async move |turns| {
                let count = decide_many(turns, bytes);
                let mut before = 0;
                while count.get() < 1000 {
                    turns.next().await;
                    let now = count.get();
                    assert!(now - before <= 2 * most, "{before} {now}");
                    before = now;
                }
            });
        }
    }

    #[test]
    fn large_heads_are_in_nobodys_way() {
        on_both(async |turns| {
            let large = decide_many(turns, LARGEST);
            turns.next().await;
            decide(turns, 1000).await;
            assert!(large.get() < 100, "{}", large.get());
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
