//! Host names to addresses, off the workers: the system's resolver blocks, so threads call it.
//!
//! A worker keeps the last answer of every host and uses it at once, asking for a new one in the background
//! when it is older than [`FRESH`]; a failed refresh leaves the old answer in force. Only the very first
//! connection to a host can have to wait.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Poll, Waker};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::mailbox::Mailbox;

/// How old an answer may be before a new one is asked for.
pub const FRESH: Duration = Duration::from_secs(30);

/// An answer on its way to the worker that asked.
pub struct Answer {
    host: Box<str>,
    addresses: io::Result<Vec<IpAddr>>,
}

/// A worker's view of all host names.
pub struct Names {
    entries: RefCell<HashMap<Box<str>, Entry>>,
    /// Once there is something to look up.
    asker: RefCell<Option<Sender<Question>>>,
    post: Arc<Post>,
}

/// Wraps an answer into the worker's message and posts it.
type Post = dyn Fn(Answer) + Send + Sync;

#[derive(Default)]
struct Entry {
    addresses: Option<Rc<[IpAddr]>>,
    answered: Option<Instant>,
    failure: Option<Rc<io::Error>>,
    asked: bool,
    waiting: Vec<Waker>,
}

impl Names {
    /// No names yet; answers come back through `mailbox` as messages made by `wrap`.
    #[must_use]
    pub fn new<T: Send + 'static>(mailbox: Mailbox<T>, wrap: fn(Answer) -> T) -> Self {
        Self {
            entries: RefCell::default(),
            asker: RefCell::default(),
            post: Arc::new(move |answer| mailbox.send(wrap(answer))),
        }
    }

    /// Asks for a host's addresses ahead of need, unless they are known.
    pub fn prefetch(&self, host: &str) {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(host.into()).or_default();
        if !entry.is_fresh() {
            self.ask(host, entry);
        }
    }

    /// The addresses of `host` with `port`, in the system's order; waits only when none is known.
    ///
    /// # Errors
    /// The system's, when the host has never been resolved.
    ///
    /// # Cancel safety
    /// Nothing is lost: the answer is kept for the next caller.
    pub async fn lookup(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let mut first = true;
        let addresses = poll_fn(|cx| {
            let mut entries = self.entries.borrow_mut();
            let entry = entries.entry(host.into()).or_default();
            if let Some(addresses) = &entry.addresses {
                let addresses = addresses.clone();
                if !entry.is_fresh() {
                    self.ask(host, entry);
                }
                return Poll::Ready(Ok(addresses));
            }
            if !std::mem::replace(&mut first, false)
                && !entry.asked
                && let Some(failure) = &entry.failure
            {
                return Poll::Ready(Err(io::Error::new(failure.kind(), failure.to_string())));
            }
            self.ask(host, entry);
            entry.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await?;
        Ok(addresses
            .iter()
            .map(|address| SocketAddr::new(*address, port))
            .collect())
    }

    /// Takes in an answer and wakes who waits for it.
    pub fn answered(&self, answer: Answer) {
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(answer.host).or_default();
        entry.asked = false;
        // Also after a failure: the old answer is good for another while.
        entry.answered = Some(Instant::now());
        match answer.addresses {
            Ok(addresses) => entry.addresses = Some(addresses.into()),
            Err(error) => entry.failure = Some(Rc::new(error)),
        }
        for waker in entry.waiting.drain(..) {
            waker.wake();
        }
    }

    /// Has a host looked up unless that is under way. Look-ups are rare: one per host and [`FRESH`] at most,
    /// and only when connections are made.
    fn ask(&self, host: &str, entry: &mut Entry) {
        if std::mem::replace(&mut entry.asked, true) {
            return;
        }
        let question = Question {
            host: host.into(),
            post: self.post.clone(),
        };
        let mut asker = self.asker.borrow_mut();
        if asker.is_none() {
            match start_asker() {
                Ok(started) => *asker = Some(started),
                Err(error) => return question.answer(Err(error)),
            }
        }
        if let Some(asker) = &*asker {
            // Its thread goes on for as long as there is somebody to ask it.
            let _ = asker.send(question);
        }
    }
}

impl Entry {
    /// What is known is not old yet, be it that the host has no address.
    fn is_fresh(&self) -> bool {
        self.answered.is_some_and(|at| at.elapsed() < FRESH)
    }
}

/// A host to look up, and where the answer goes.
#[derive(Clone)]
struct Question {
    host: Box<str>,
    post: Arc<Post>,
}

impl Question {
    fn answer(self, addresses: io::Result<Vec<IpAddr>>) {
        (self.post)(Answer {
            host: self.host,
            addresses,
        });
    }
}

/// Starts a thread that starts the threads: a worker whose providers have many hosts would stand still
/// meanwhile.
fn start_asker() -> io::Result<Sender<Question>> {
    let (asker, questions) = channel::<Question>();
    thread("names").spawn(move || {
        for question in questions {
            let asked = question.clone();
            let look_up = move || {
                let addresses = resolve(&asked.host);
                asked.answer(addresses);
            };
            // A thread for each: one that gets no answer holds up no other.
            if let Err(error) = thread("resolve").spawn(look_up) {
                question.answer(Err(error));
            }
        }
    })?;
    Ok(asker)
}

fn thread(name: &str) -> Builder {
    Builder::new().name(name.into()).stack_size(STACK_BYTES)
}

/// Enough for the C library's resolver.
const STACK_BYTES: usize = 256 * 1024;

#[expect(
    clippy::disallowed_methods,
    reason = "runs on a thread of its own, where blocking is right"
)]
fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    use std::net::ToSocketAddrs;
    let found: Vec<IpAddr> = (host, 0)
        .to_socket_addrs()?
        .map(|address| address.ip())
        .collect();
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(found)
}
