//! Which sockets of a worker are ready: one epoll instance that the runtime's driver watches.
//!
//! Each socket is registered once, edge-triggered, and an event only sets a flag and wakes whoever waits. So a wait costs
//! no system call and no operation of the driver's, on io_uring as on epoll, and a turn of the loop costs the same few
//! however many sockets became ready in it.

use std::cell::RefCell;
use std::future::{Future as _, poll_fn};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use monoio::net::TcpStream;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;

use super::turn_clock::TurnClock;
use crate::system::time::Moment;

/// See the module's documentation.
pub struct Reactor {
    epoll: OwnedFd,
    slots: RefCell<Slab<Slot>>,
    relay: RefCell<Relay>,
    is_epoll: bool,
    clock: Rc<TurnClock>,
    /// [`run`](Self::run), while it waits for the driver.
    waits: RefCell<Option<Waker>>,
    /// Who waits for its next look.
    asks: RefCell<Option<Waker>>,
}

/// The two tasks that wake one another; see [`Reactor::give_back`].
#[derive(Default)]
struct Relay {
    looks: Option<Waker>,
    gives_back: Option<Waker>,
}

#[derive(Default)]
struct Slot {
    /// What has been reported since it was last waited for.
    read: bool,
    write: bool,
    /// The peer's direction has ended, or all of it: readable for ever.
    ended: bool,
    /// All of it has.
    broken: bool,
    /// Who waits for anything but room.
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Since when what was last reported of reading has been there, where that is taken; until it is, since when it has been
    /// waited for.
    ready: Option<Moment>,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Bytes, the end or an error.
    Read,
    /// Room for sending, or an error.
    Write,
    /// The end of the peer's direction, whatever came before it.
    End,
    /// The end of both.
    Break,
}

/// Sockets reported at once.
const EVENTS_MAX: usize = 256;

/// Everything a socket is told of its reading side.
const READ: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

impl Reactor {
    /// Makes this thread's, which its runtime is to run from now on.
    ///
    /// # Errors
    /// When there is no descriptor left, or the runtime cannot watch it.
    pub fn start(is_epoll: bool) -> io::Result<()> {
        let reactor = Rc::new(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            slots: RefCell::default(),
            relay: RefCell::default(),
            is_epoll,
            clock: TurnClock::new(),
            waits: RefCell::default(),
            asks: RefCell::default(),
        });
        let watch = TcpStream::from_std(reactor.epoll.try_clone()?.into())?;
        monoio::spawn(reactor.clone().run(watch));
        monoio::spawn(reactor.clone().give_back());
        CURRENT.set(Some(reactor));
        Ok(())
    }

    /// This thread's.
    ///
    /// # Errors
    /// When it is no worker's.
    pub fn current() -> io::Result<Rc<Self>> {
        let current = CURRENT.with_borrow(Clone::clone);
        current.ok_or_else(|| io::Error::other("no worker"))
    }

    /// What time it is in its turns.
    pub(crate) fn clock(&self) -> &Rc<TurnClock> {
        &self.clock
    }

    async fn run(self: Rc<Self>, watch: TcpStream) {
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut wait = pin!(None);
        loop {
            let mut waits = false;
            let at_once = poll_fn(|cx| {
                let has_waited = std::mem::replace(&mut waits, true);
                // On epoll the driver would ask the kernel once more what it has just reported.
                if self.asks.borrow().is_some() || has_waited && self.is_epoll {
                    return Poll::Ready(false);
                }
                if wait.is_none() {
                    wait.set(Some(watch.readable(false)));
                }
                if let Some(wait) = wait.as_mut().as_pin_mut() {
                    self.waits.replace(Some(cx.waker().clone()));
                    ready!(wait.poll(cx)).ok();
                }
                wait.set(None);
                Poll::Ready(!has_waited)
            })
            .await;
            self.waits.take();
            if at_once {
                self.others().await;
            }
            self.look(&mut events);
            if let Some(waker) = self.asks.take() {
                waker.wake();
            }
        }
    }

    /// Waits until everything that is ready has run and the kernel has been asked for more, which stands before what waits
    /// here: one task.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(super) async fn next_look(&self) {
        let mut waits = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waits, true) && self.asks.borrow().is_none() {
                return Poll::Ready(());
            }
            give_way(
                &mut self.asks.borrow_mut(),
                &mut self.waits.borrow_mut(),
                cx,
            );
            Poll::Pending
        })
        .await;
    }

    /// Hands out what is ready.
    fn look(&self, events: &mut Vec<Event>) {
        events.clear();
        let room = rustix::buffer::spare_capacity(events);
        self.clock.look();
        if epoll::wait(&self.epoll, room, Some(&Timespec::default())).is_err() {
            return;
        }
        let mut slots = self.slots.borrow_mut();
        for event in events {
            let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            if let Some(slot) = slots.get_mut(index) {
                slot.fired(event.flags, &self.clock);
            }
        }
    }

    /// Waits until all have run that were ready.
    async fn others(&self) {
        let mut waits = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut waits, true) {
                return Poll::Ready(());
            }
            let relay = &mut *self.relay.borrow_mut();
            give_way(&mut relay.looks, &mut relay.gives_back, cx);
            Poll::Pending
        })
        .await;
    }

    /// Takes turns with [`run`](Self::run): a task that wakes itself would be put before all others, one that wakes another
    /// stands behind them.
    async fn give_back(self: Rc<Self>) {
        poll_fn(|cx| -> Poll<()> {
            let relay = &mut *self.relay.borrow_mut();
            give_way(&mut relay.gives_back, &mut relay.looks, cx);
            Poll::Pending
        })
        .await;
    }
}

/// Leaves a waker to be found, and wakes the task whose turn it is.
fn give_way(own: &mut Option<Waker>, others: &mut Option<Waker>, cx: &Context<'_>) {
    *own = Some(cx.waker().clone());
    if let Some(waker) = others.take() {
        waker.wake();
    }
}

impl Slot {
    fn fired(&mut self, flags: EventFlags, clock: &TurnClock) {
        let broken = EventFlags::HUP | EventFlags::ERR;
        self.broken |= flags.intersects(broken);
        self.ended |= flags.intersects(broken | EventFlags::RDHUP);
        if flags.intersects(READ | broken) {
            if !std::mem::replace(&mut self.read, true) {
                self.ready = clock.since(self.ready);
            }
            if let Some(waker) = self.reader.take() {
                waker.wake();
            }
        }
        if flags.intersects(EventFlags::OUT | broken) {
            self.write = true;
            if let Some(waker) = self.writer.take() {
                waker.wake();
            }
        }
    }

    /// Whether it is there; a report counts once, an end for ever.
    fn take(&mut self, interest: Interest) -> bool {
        match interest {
            Interest::Read => std::mem::replace(&mut self.read, self.ended),
            Interest::Write => std::mem::replace(&mut self.write, self.broken),
            Interest::End => self.ended,
            Interest::Break => self.broken,
        }
    }
}

/// A socket's registration, which has to be [ended](Self::end) before its descriptor is closed.
pub(super) struct Registration {
    reactor: Rc<Reactor>,
    /// Small, for every open connection has one.
    index: u32,
    /// Room for sending is reported too.
    writes: bool,
}

impl Registration {
    /// Of this thread's worker.
    ///
    /// # Errors
    /// When the kernel refuses it, or the thread is no worker.
    pub(super) fn new(fd: BorrowedFd<'_>, writes: bool) -> io::Result<Self> {
        let reactor = Reactor::current()?;
        let mut slots = reactor.slots.borrow_mut();
        let room = slots.vacant_entry();
        let index = u32::try_from(room.key()).map_err(io::Error::other)?;
        epoll::add(&reactor.epoll, fd, data(index), flags(writes))?;
        room.insert(Slot::default());
        drop(slots);
        Ok(Self {
            reactor,
            index,
            writes,
        })
    }

    /// The worker's.
    pub(super) fn clock(&self) -> &TurnClock {
        &self.reactor.clock
    }

    /// Ready once it is there; and since when there has been something to read, where times are taken.
    ///
    /// # Cancel safety
    /// Nothing is lost: what is reported is remembered.
    pub(super) fn poll(&self, interest: Interest, cx: &mut Context<'_>) -> Poll<Option<Moment>> {
        let mut slots = self.reactor.slots.borrow_mut();
        let Some(slot) = slots.get_mut(self.index as usize) else {
            return Poll::Pending;
        };
        if slot.take(interest) {
            return Poll::Ready(slot.ready);
        }
        if interest == Interest::Read {
            slot.ready = Some(self.reactor.clock.latest());
        }
        let waker = match interest {
            Interest::Read | Interest::End | Interest::Break => &mut slot.reader,
            Interest::Write => &mut slot.writer,
        };
        if waker.as_ref().is_some_and(|it| it.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        let before = waker.replace(cx.waker().clone());
        // It may be the last that there is of a task, which then ends here, and its sockets with it.
        drop(slots);
        drop(before);
        Poll::Pending
    }

    /// Forgets what was reported of reading: it has been seen.
    pub(super) fn forget(&self) {
        let mut slots = self.reactor.slots.borrow_mut();
        if let Some(slot) = slots.get_mut(self.index as usize) {
            slot.take(Interest::Read);
        }
    }

    /// Wants room for sending reported too, which most sockets never need to know of.
    pub(super) fn want_room(&mut self, fd: BorrowedFd<'_>) {
        if !std::mem::replace(&mut self.writes, true) {
            // Without it the deadlines still end the wait.
            let _ = epoll::modify(&self.reactor.epoll, fd, data(self.index), flags(true));
        }
    }

    /// No event of the descriptor's comes any more, whoever else has it open: so the next socket in this place gets none
    /// of them.
    pub(super) fn end(&self, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.reactor.epoll, fd);
        let slot = { self.reactor.slots.borrow_mut() }.try_remove(self.index as usize);
        // Behind the borrow: its wakers may be the last that there is of a task.
        drop(slot);
    }
}

fn data(index: u32) -> EventData {
    EventData::new_u64(index.into())
}

fn flags(writes: bool) -> EventFlags {
    match writes {
        true => READ | EventFlags::OUT,
        false => READ,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::net::sockets::driver::on_both;
    use crate::net::sockets::socket::{Received, Socket};

    /// A peer's end, and ours.
    fn ends() -> (UnixStream, Socket) {
        let (theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (theirs, Socket::from_fd(ours.into()).unwrap())
    }

    async fn readable(socket: &mut Socket) {
        poll_fn(|cx| socket.poll_readable(cx)).await;
    }

    /// Lets all events arrive that are there.
    async fn settle() {
        let (mut theirs, mut ours) = ends();
        for _ in 0..3 {
            ours.rest();
            theirs.write_all(b".").unwrap();
            readable(&mut ours).await;
            ours.recv(&mut [0; 8]).unwrap();
        }
    }

    fn is_readable(socket: &mut Socket) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        socket.poll_readable(&mut cx).is_ready()
    }

    #[test]
    fn an_end_behind_the_last_bytes_is_seen() {
        on_both(async || {
            let (mut theirs, mut ours) = ends();
            ours.rest();
            theirs.write_all(b"last").unwrap();
            drop(theirs);
            readable(&mut ours).await;
            // Fewer than there was room for: nothing else is there, but for the end.
            assert_eq!(ours.recv(&mut [0; 8]).unwrap(), Received::Data(4));
            readable(&mut ours).await;
            assert_eq!(ours.recv(&mut [0; 8]).unwrap(), Received::Eof);
            poll_fn(|cx| ours.poll_ended(cx)).await;
            poll_fn(|cx| ours.poll_broken(cx)).await;
        });
    }

    #[test]
    fn an_end_is_seen_with_bytes_unread_and_is_no_break() {
        on_both(async || {
            let (mut theirs, mut ours) = ends();
            theirs.write_all(b"unread").unwrap();
            readable(&mut ours).await;
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            poll_fn(|cx| ours.poll_ended(cx)).await;
            let mut cx = Context::from_waker(Waker::noop());
            assert!(ours.poll_broken(&mut cx).is_pending());
            drop(theirs);
            poll_fn(|cx| ours.poll_broken(cx)).await;
            assert_eq!(ours.recv(&mut [0; 8]).unwrap(), Received::Data(6));
        });
    }

    #[test]
    fn what_was_seen_is_not_reported_again_and_what_comes_later_is() {
        on_both(async || {
            let (mut theirs, mut ours) = ends();
            settle().await;
            assert!(is_readable(&mut ours), "at first nobody knows");
            assert_eq!(ours.recv(&mut [0; 8]).unwrap(), Received::Pending);
            assert!(!is_readable(&mut ours));
            theirs.write_all(b"0123456789").unwrap();
            settle().await;
            readable(&mut ours).await;
            assert_eq!(ours.recv(&mut [0; 4]).unwrap(), Received::Data(4));
            assert!(is_readable(&mut ours), "there may be more");
            assert_eq!(ours.recv(&mut [0; 8]).unwrap(), Received::Data(6));
            assert!(!is_readable(&mut ours));
            theirs.write_all(b"x").unwrap();
            settle().await;
            assert!(is_readable(&mut ours));
        });
    }

    #[test]
    fn what_was_waited_for_says_since_when_it_was_there() {
        on_both(async || {
            let clock = Reactor::current().unwrap().clock().clone();
            clock.switch(true);
            let (mut theirs, mut ours) = ends();
            let before = clock.latest();
            settle().await;
            ours.rest();
            theirs.write_all(b"x").unwrap();
            readable(&mut ours).await;
            assert_eq!(ours.recv(&mut [0; 8]).unwrap(), Received::Data(1));
            let ready = ours.take_ready().unwrap();
            assert!(ready > before && ready <= clock.read(), "{ready:?}");
            assert_eq!(ours.take_ready(), None);
            // What is received without a wait came just now as far as anybody knows.
            theirs.write_all(b"0123").unwrap();
            ours.rest();
            readable(&mut ours).await;
            assert_eq!(ours.recv(&mut [0; 2]).unwrap(), Received::Data(2));
            assert_eq!(ours.recv(&mut [0; 2]).unwrap(), Received::Data(2));
            assert_eq!(ours.take_ready(), None);
        });
    }

    #[test]
    fn room_is_reported_once_there_is_some() {
        on_both(async || {
            let (mut theirs, mut ours) = ends();
            let piece = [0; 64 * 1024];
            let mut sent = 0;
            while let Some(n) = ours.send(&piece).unwrap() {
                sent += n;
            }
            // What was true before the socket was full does not count for longer than one try.
            let mut cx = Context::from_waker(Waker::noop());
            settle().await;
            let _ = ours.poll_writable(&mut cx);
            settle().await;
            assert!(ours.poll_writable(&mut cx).is_pending());
            theirs.read_exact(&mut vec![0; sent]).unwrap();
            ours.writable().await;
            assert!(ours.send(&piece).unwrap().is_some());
        });
    }

    #[test]
    fn a_socket_gets_no_event_of_the_one_before_it() {
        on_both(async || {
            let (mut theirs, ours) = ends();
            // Whoever else has it open keeps it from being closed.
            let other = ours.fd().try_clone_to_owned().unwrap();
            theirs.write_all(b"x").unwrap();
            drop(ours);
            let (_theirs, mut next) = ends();
            next.rest();
            settle().await;
            assert!(!is_readable(&mut next));
            drop(other);
        });
    }

    #[test]
    fn others_run_however_much_is_ready() {
        on_both(async || {
            // More than are reported at once, each ready again whenever it has been looked at.
            for _ in 0..2 * EVENTS_MAX {
                let (mut theirs, mut ours) = ends();
                theirs.set_nonblocking(true).unwrap();
                monoio::spawn(async move {
                    loop {
                        theirs.write_all(b"x").unwrap();
                        readable(&mut ours).await;
                        ours.recv(&mut [0; 8]).unwrap();
                        ours.rest();
                    }
                });
            }
            let (mut theirs, mut ours) = ends();
            for _ in 0..100 {
                ours.rest();
                theirs.write_all(b"x").unwrap();
                readable(&mut ours).await;
                ours.recv(&mut [0; 8]).unwrap();
            }
        });
    }
}
