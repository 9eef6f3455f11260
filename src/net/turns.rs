//! Turns of the event loop: how a task that always has something to do lets all others run.
//!
//! Readiness is no yield. On epoll the runtime asks the kernel at once whether a socket is still readable and the
//! task goes on; a task that wakes itself is put before all others, on either driver. So who has spent his
//! [`Budget`] waits here for the next turn: a bell is rung that only the driver reports, and those who wait are
//! woken behind everything else that was ready by then.
//!
//! Handshakes cost a hundred times what other steps do, so only [`HANDSHAKES_MAX`] of their steps are taken in one
//! turn, in the order in which they came.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Poll, Waker};

use rustix::event::{EventfdFlags, eventfd};

use super::socket::Socket;

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
    Look = 2 * 1024,
    /// A message, or a piece of one.
    Piece = 16 * 1024,
}

/// See [`BUDGET`].
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

    /// Takes off what opening these records cost beside what their bytes do.
    pub fn spend_records(&mut self, count: usize) {
        if count > 0 {
            self.spend(Work::Look, count.saturating_mul(RECORD));
        }
    }

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
    /// Turns that there were.
    count: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
    /// Places in the queue for handshakes given out, and how many of them have had their turn.
    places: Cell<u64>,
    admitted: Cell<u64>,
    /// Those in the queue whose turn is to come.
    queue: RefCell<VecDeque<Waker>>,
    /// The task that rings, while nobody waits.
    ringer: RefCell<Option<Waker>>,
    bell: OwnedFd,
}

impl Turns {
    /// The first turn.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn new() -> io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            count: Cell::new(0),
            waiting: RefCell::default(),
            places: Cell::new(0),
            admitted: Cell::new(HANDSHAKES_MAX),
            queue: RefCell::default(),
            ringer: RefCell::default(),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        }))
    }

    /// Waits until everything that is ready has run and the driver has been asked for more.
    ///
    /// # Cancel safety
    /// Dropped, the task is woken once for nothing.
    pub async fn next(&self) {
        let (turn, mut waits) = (self.count.get(), false);
        poll_fn(|cx| {
            if self.count.get() != turn {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut waits, true) {
                self.waiting.borrow_mut().push(cx.waker().clone());
                self.ring();
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits until a step of a handshake may be taken, which mostly is at once.
    ///
    /// # Cancel safety
    /// Dropped, its place is lost and nobody else's.
    pub async fn for_handshake(&self) {
        let (place, mut waits) = (self.places.replace(self.places.get() + 1), false);
        poll_fn(|cx| {
            if place < self.admitted.get() {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut waits, true) {
                self.queue.borrow_mut().push_back(cx.waker().clone());
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
                if !self.waiting.borrow().is_empty() || !self.queue.borrow().is_empty() {
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
        self.count.set(self.count.get() + 1);
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
        let had_turns = self.admitted.get().min(self.places.get());
        self.admitted.set(had_turns + HANDSHAKES_MAX);
        let mut queue = self.queue.borrow_mut();
        for _ in 0..HANDSHAKES_MAX {
            let Some(waker) = queue.pop_front() else {
                return;
            };
            waker.wake();
        }
    }
}
