//! How other threads reach a worker: a queue and an eventfd that its runtime watches.
//!
//! The runtime's own cross-thread wakers are not used: they cost every turn of its loop.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{EventfdFlags, eventfd};

use super::socket::Socket;
use super::turns::Turns;

/// Messages handed over in one turn; clients that another worker has accepted are among them.
const MESSAGES_MAX: usize = 32;

/// The sending side; clones reach the same worker.
pub(crate) struct Mailbox<T> {
    queue: Sender<T>,
    bell: Arc<OwnedFd>,
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<T> Mailbox<T> {
    /// Queues a message and wakes the worker. A worker that has ended does not get it.
    pub(crate) fn send(&self, message: T) {
        if self.queue.send(message).is_ok() {
            // The counter cannot overflow in practice, and a full one has woken the worker already.
            let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
        }
    }
}

/// The worker's side before its runtime runs.
pub(crate) struct Inbox<T> {
    queue: Receiver<T>,
    bell: Arc<OwnedFd>,
}

/// A pair of ends.
///
/// # Errors
/// When there is no descriptor left for the eventfd.
pub(crate) fn mailbox<T>() -> io::Result<(Mailbox<T>, Inbox<T>)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
    let (sender, queue) = channel();
    Ok((
        Mailbox {
            queue: sender,
            bell: bell.clone(),
        },
        Inbox { queue, bell },
    ))
}

impl<T> Inbox<T> {
    /// Hands every message to `each`, for ever.
    ///
    /// # Errors
    /// When the runtime cannot watch the eventfd.
    ///
    /// # Cancel safety
    /// Messages not handed over stay queued.
    pub(crate) async fn run(self, turns: &Turns, mut each: impl FnMut(T)) -> io::Result<()> {
        let mut watch = Socket::from_fd(self.bell.try_clone()?)?;
        loop {
            watch.rest();
            poll_fn(|cx| watch.poll_readable(cx)).await;
            let mut count = [0_u8; 8];
            let _ = rustix::io::read(&*self.bell, &mut count);
            let mut handed = 0;
            while let Ok(message) = self.queue.try_recv() {
                each(message);
                handed += 1;
                if handed % MESSAGES_MAX == 0 {
                    turns.next().await;
                }
            }
        }
    }
}
