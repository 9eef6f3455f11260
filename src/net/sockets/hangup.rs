//! Notices that a peer has left although bytes of it are still unread.
//!
//! Readiness for reading cannot tell: unread bytes make a socket readable for ever. So for the rare
//! connections that wait for something else in that state, one epoll instance per worker reports
//! `EPOLLRDHUP`, and the runtime watches that instance.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use slab::Slab;

use super::socket::Socket;

/// A worker's watch for hang-ups.
pub(crate) struct Hangups {
    epoll: OwnedFd,
    slots: RefCell<Slab<Slot>>,
    /// Of the newest slot.
    generation: Cell<u32>,
}

#[derive(Default)]
struct Slot {
    /// Tells a late event of an earlier holder of the place from one of this.
    generation: u32,
    gone: bool,
    /// The connection as a whole is over, not just the peer's direction.
    reset: bool,
    waker: Option<Waker>,
}

impl Hangups {
    /// Nothing watched yet.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn new() -> io::Result<Rc<Self>> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Rc::new(Self {
            epoll,
            slots: RefCell::default(),
            generation: Cell::new(0),
        }))
    }

    /// Hands events to those who wait, for ever. The worker spawns it once.
    ///
    /// # Errors
    /// When the runtime cannot watch the epoll instance.
    ///
    /// # Cancel safety
    /// Dropped, hang-ups are noticed no more.
    pub(crate) async fn run(self: Rc<Self>) -> io::Result<()> {
        let mut watch = Socket::from_fd(self.epoll.try_clone()?)?;
        let mut events = Vec::with_capacity(64);
        loop {
            watch.rest();
            poll_fn(|cx| watch.poll_readable(cx)).await;
            events.clear();
            let now = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            if epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                Some(&now),
            )
            .is_err()
            {
                continue;
            }
            for event in &events {
                self.fired(event.data.u64(), event.flags);
            }
        }
    }

    fn fired(&self, data: u64, flags: EventFlags) {
        let mut slots = self.slots.borrow_mut();
        let index = u32::try_from(data & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        if let Some(slot) = slots.get_mut(index as usize)
            && u64::from(slot.generation) == data >> 32
        {
            slot.gone = true;
            slot.reset |= flags.intersects(EventFlags::HUP | EventFlags::ERR);
            if let Some(waker) = slot.waker.take() {
                waker.wake();
            }
        }
    }

    fn add(&self, fd: BorrowedFd<'_>) -> io::Result<u32> {
        let mut slots = self.slots.borrow_mut();
        let index = u32::try_from(slots.vacant_key()).map_err(io::Error::other)?;
        let generation = self.generation.get().wrapping_add(1);
        let flags = EventFlags::RDHUP | EventFlags::ONESHOT;
        epoll::add(&self.epoll, fd, data(index, generation), flags)?;
        self.generation.set(generation);
        slots.insert(Slot {
            generation,
            ..Slot::default()
        });
        Ok(index)
    }
}

fn data(index: u32, generation: u32) -> EventData {
    EventData::new_u64(u64::from(generation) << 32 | u64::from(index))
}

/// One connection's registration, made when it is first needed and kept until the connection ends.
pub(crate) struct Hangup {
    hangups: Rc<Hangups>,
    /// Small, for every open connection has one.
    index: Option<u32>,
}

impl Hangup {
    /// Not registered yet.
    #[must_use]
    pub(crate) fn new(hangups: Rc<Hangups>) -> Self {
        Self {
            hangups,
            index: None,
        }
    }

    /// Ready once the peer of `fd` has closed or reset; always the same connection's `fd`.
    ///
    /// # Cancel safety
    /// Nothing is lost: the event is remembered.
    pub(crate) fn poll(&mut self, fd: BorrowedFd<'_>, cx: &mut Context<'_>) -> Poll<()> {
        if self.index.is_none() {
            // Without a registration the deadlines still end the wait.
            self.index = self.hangups.add(fd).ok();
        }
        let mut slots = self.hangups.slots.borrow_mut();
        let Some(slot) = self.index.and_then(|index| slots.get_mut(index as usize)) else {
            return Poll::Pending;
        };
        if slot.gone {
            return Poll::Ready(());
        }
        if !slot
            .waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(cx.waker()))
        {
            slot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Ready once the peer of `fd` has reset; an orderly end does not count. Otherwise as [`poll`](Self::poll).
    ///
    /// # Cancel safety
    /// Nothing is lost: the event is remembered.
    pub(crate) fn poll_reset(&mut self, fd: BorrowedFd<'_>, cx: &mut Context<'_>) -> Poll<()> {
        std::task::ready!(self.poll(fd, cx));
        let mut slots = self.hangups.slots.borrow_mut();
        let Some((index, slot)) = self
            .index
            .and_then(|index| Some((index, slots.get_mut(index as usize)?)))
        else {
            return Poll::Pending;
        };
        if slot.reset {
            return Poll::Ready(());
        }
        slot.waker = Some(cx.waker().clone());
        // The orderly end has used the registration up. Without a new one the deadlines still end the wait.
        let data = data(index, slot.generation);
        let _ = epoll::modify(&self.hangups.epoll, fd, data, EventFlags::ONESHOT);
        Poll::Pending
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        let Some(index) = self.index else { return };
        self.hangups.slots.borrow_mut().try_remove(index as usize);
    }
}
