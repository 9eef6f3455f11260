//! Takes clients from a listener: a few at a time, and when descriptors have run out, one to be told so.

mod announcement;
pub(crate) mod balance;
pub(crate) mod reception;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::log::Value;
use crate::net::core::Core;
use crate::net::sockets::peer::Peer;
use crate::net::sockets::socket::{Socket, is_scarce};

use reception::Reception;

/// How often the log says that accepting rests.
const WARN_EVERY: Duration = Duration::from_secs(5);
/// How long accepting rests when descriptors or memory have run out.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Connections accepted before others get their turn.
const ACCEPTS_MAX: usize = 32;

/// Accepts until the worker drains, then empties the queue and closes the listener.
pub(crate) async fn accept(reception: Rc<Reception>, listener: Socket) {
    let core = &reception.shared.core;
    let mut listener = Listener::of(listener);
    let mut spare = Spare::default();
    let mut warned: Option<Instant> = None;
    loop {
        let draining = core.drain.is_draining();
        if draining && !core.drain.empties_queues() {
            return;
        }
        match accept_some(&reception, &listener, &mut spare) {
            Ok(true) => {
                core.turns.next().await;
                continue;
            }
            Ok(false) if draining => return,
            Ok(false) => {}
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() > WARN_EVERY) {
                    warned = Some(Instant::now());
                    let error = Value::Text(&error);
                    core.log.warn("accepting rests", &[("error", error)]);
                }
                core.clock.sleep(ACCEPT_REST).await;
                spare.hold();
                continue;
            }
        }
        listener.socket.rest();
        poll_fn(|cx| poll_accept(core, &mut listener.socket, cx)).await;
    }
}

struct Listener {
    socket: Socket,
    /// It is reached over the loopback interface only.
    is_near: bool,
}

impl Listener {
    fn of(socket: Socket) -> Self {
        let address = rustix::net::getsockname(socket.fd()).ok();
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        let is_near = address.is_some_and(|address| address.ip().to_canonical().is_loopback());
        Self { socket, is_near }
    }
}

/// A descriptor held back: when there is no other, one client can still be told so, or ask for the health.
#[derive(Default)]
struct Spare(Option<OwnedFd>);

impl Spare {
    fn hold(&mut self) {
        if self.0.is_none() {
            self.0 = eventfd(0, EventfdFlags::CLOEXEC).ok();
        }
    }

    /// Whether it was there to be given up.
    fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }
}

fn poll_accept(core: &Core, listener: &mut Socket, cx: &mut Context<'_>) -> Poll<()> {
    if core.drain.is_draining() {
        return Poll::Ready(());
    }
    let ready = listener.poll_readable(cx);
    if ready.is_pending() {
        core.drain.watch(cx.waker());
    }
    ready
}

/// Accepts a few; whether there may be more.
fn accept_some(
    reception: &Rc<Reception>,
    listener: &Listener,
    spare: &mut Spare,
) -> io::Result<bool> {
    spare.hold();
    let load = &reception.shared.core.load;
    for _ in 0..ACCEPTS_MAX {
        match accept_one(listener) {
            Ok(Some((fd, peer))) => {
                load.starve(false);
                reception.place(fd, peer);
            }
            Ok(None) => return Ok(false),
            Err(error) if is_scarce(&error) => {
                load.starve(true);
                if spare.give_up()
                    && let Ok(Some((fd, peer))) = accept_one(listener)
                {
                    reception.welcome(fd, peer);
                }
                return Err(error);
            }
            // The connection that was next is gone already; there may be others behind it.
            Err(_) => {}
        }
    }
    Ok(true)
}

/// The next connection, `None` when the queue is empty.
fn accept_one(listener: &Listener) -> io::Result<Option<(OwnedFd, Peer)>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    match rustix::net::acceptfrom_with(listener.socket.fd(), flags) {
        Ok((fd, address)) => {
            let peer = Peer::from(address);
            let near = listener.is_near.then(|| peer.at_loopback());
            Ok(Some((fd, near.unwrap_or(peer))))
        }
        Err(Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
