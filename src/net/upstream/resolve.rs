//! Host names to addresses, off the workers: the system's resolver blocks, so threads call it.
//!
//! A worker keeps the last answer of every host. [`HostName`] says when it is asked for anew and what it is good for
//! until then; here questions are asked, and waited for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};
use std::thread::Builder;
use std::time::Duration;

use crate::config::Ages;
use crate::log::{Log, Value};
use crate::net::core::deadline::{Clock, Deadline, since_boot};
use crate::net::sockets::mailbox::Mailbox;
use crate::net::upstream::addresses::{Call, HostName, Step};
use crate::system::confine::{self, Rules};

/// An answer on its way to the worker that asked.
pub(crate) struct Resolved {
    host: Box<str>,
    addresses: io::Result<Vec<IpAddr>>,
}

impl Resolved {
    /// The host, and what it stands for.
    pub(crate) fn into_parts(self) -> (Box<str>, io::Result<Vec<IpAddr>>) {
        (self.host, self.addresses)
    }

    /// Tells of it who looks for a fault.
    pub(crate) fn tell(&self, log: &Log) {
        if !log.tells_all() {
            return;
        }
        let said = match &self.addresses {
            Ok(addresses) => format!("{addresses:?}"),
            Err(error) => error.to_string(),
        };
        let host = Value::Text(&self.host);
        log.debug(
            "looked up",
            &[("host", host), ("answer", Value::Text(&said))],
        );
    }
}

/// Where a host is to be tried, in this order.
pub(crate) struct Found {
    /// Never none, unless the system says so.
    pub addresses: Vec<IpAddr>,
    /// Which answer it is, see [`Call::beyond`].
    pub answer: u32,
}

/// A worker's view of all host names.
pub(crate) struct Names {
    clock: Rc<Clock>,
    entries: RefCell<HashMap<Box<str>, Entry>>,
    resolver: Resolver,
    post: Arc<Post>,
}

/// Takes an answer to who asked.
pub(crate) type Post = dyn Fn(Resolved) + Send + Sync;

/// Is told of an address that could not be reached and is an instance of its own, of the name that it is one of, and when
/// that was, as [`since_boot`] counts.
pub(crate) type Unreached = dyn Fn(&str, IpAddr, Duration) + Send + Sync;

#[derive(Default)]
struct Entry {
    name: HostName,
    failure: Option<Rc<io::Error>>,
    waiting: Vec<Waker>,
}

impl Names {
    /// No names yet; answers come back through `mailbox` as messages made by `wrap`.
    #[must_use]
    pub(crate) fn new<T: Send + 'static>(
        clock: Rc<Clock>,
        mailbox: Mailbox<T>,
        wrap: fn(Resolved) -> T,
        resolver: Resolver,
    ) -> Self {
        Self {
            clock,
            entries: RefCell::default(),
            resolver,
            post: Arc::new(move |answer| mailbox.send(wrap(answer))),
        }
    }

    /// Asks for a host's addresses ahead of need, unless they are known and not old.
    pub(crate) fn prefetch(&self, host: &str, ages: Ages) {
        let now = since_boot();
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(host.into()).or_default();
        if entry.name.is_due(now, ages) {
            self.ask(host);
        }
    }

    /// When a host's addresses were asked for, as [`since_boot`] counts, if they are known.
    #[must_use]
    pub(crate) fn known(&self, host: &str) -> Option<Duration> {
        self.entries.borrow().get(host)?.name.known()
    }

    /// See [`HostName::left`].
    #[must_use]
    pub(crate) fn left(&self, host: &str, ages: Ages) -> Vec<IpAddr> {
        let entries = self.entries.borrow();
        let name = entries.get(host).map(|entry| &entry.name);
        name.map_or_else(Vec::new, |name| name.left(ages).collect())
    }

    /// Forgets the hosts that nobody needs any more.
    pub(crate) fn retain(&self, is_needed: impl Fn(&str) -> bool) {
        let mut entries = self.entries.borrow_mut();
        entries.retain(|host, entry| !entry.waiting.is_empty() || is_needed(host));
    }

    /// The addresses of `host`, none of them too old; `beyond` is the answer that led nowhere. `random` decides
    /// which one is first.
    ///
    /// # Errors
    /// The system's, when there is no answer to be used.
    ///
    /// # Cancel safety
    /// Nothing is lost: the answer is kept for the next caller.
    pub(crate) async fn lookup(
        &self,
        host: &str,
        ages: Ages,
        beyond: Option<u32>,
        random: u64,
    ) -> io::Result<Found> {
        let call = Call {
            since: since_boot(),
            beyond,
        };
        let mut deadline = None;
        poll_fn(|cx| self.poll_lookup(host, ages, &call, &mut deadline, cx)).await?;
        let now = since_boot();
        let entries = self.entries.borrow();
        let name = entries.get(host).map(|entry| &entry.name);
        Ok(name.map_or_else(none, |name| Found {
            addresses: name.order(now, random),
            answer: name.answer(),
        }))
    }

    fn poll_lookup(
        &self,
        host: &str,
        ages: Ages,
        call: &Call,
        deadline: &mut Option<Deadline>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let now = since_boot();
            let mut entries = self.entries.borrow_mut();
            let entry = entries.entry(host.into()).or_default();
            let until = match entry.name.next(now, call, ages) {
                Step::Use => return Poll::Ready(Ok(())),
                Step::Fail => return Poll::Ready(Err(entry.failure())),
                Step::Ask => {
                    self.ask(host);
                    continue;
                }
                Step::Wait(until) => until,
            };
            if !entry
                .waiting
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                entry.waiting.push(cx.waker().clone());
            }
            drop(entries);
            let Some(until) = until else {
                return Poll::Pending;
            };
            let deadline = deadline.get_or_insert_with(|| self.clock.register());
            deadline.set(until.saturating_sub(now));
            if deadline.poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Nothing that this answer says could be connected to.
    pub(crate) fn doubt(&self, host: &str, answer: u32) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(host) {
            entry.name.doubt(answer);
        }
    }

    /// See [`HostName::shun`].
    pub(crate) fn shun(&self, host: &str, address: IpAddr) -> bool {
        let now = since_boot();
        let mut entries = self.entries.borrow_mut();
        let entry = entries.get_mut(host);
        entry.is_some_and(|entry| entry.name.shun(address, now))
    }

    /// See [`HostName::trust`].
    pub(crate) fn trust(&self, host: &str, address: IpAddr) {
        if let Some(entry) = self.entries.borrow_mut().get_mut(host) {
            entry.name.trust(address);
        }
    }

    /// Nobody could be reached at this address of a name whose addresses are instances.
    pub(crate) fn is_unreached(&self, host: &str, address: IpAddr) {
        (self.resolver.unreached)(host, address, since_boot());
    }

    /// Takes in an answer and wakes who waits for it.
    pub(crate) fn answered(&self, answer: Resolved) {
        let now = since_boot();
        let mut entries = self.entries.borrow_mut();
        let entry = entries.entry(answer.host).or_default();
        match answer.addresses {
            Ok(addresses) => entry.name.answered(&addresses),
            Err(error) => {
                entry.name.unanswered(now);
                entry.failure = Some(Rc::new(error));
            }
        }
        for waker in entry.waiting.drain(..) {
            waker.wake();
        }
    }

    /// Has a host looked up. Look-ups are rare: one at a time per host, and only where connections are made.
    fn ask(&self, host: &str) {
        self.resolver.ask(host, self.post.clone());
    }
}

impl Entry {
    fn failure(&self) -> io::Error {
        match &self.failure {
            Some(failure) => io::Error::new(failure.kind(), failure.to_string()),
            None => no_address(),
        }
    }
}

/// Never: what was looked up is kept.
fn none() -> Found {
    Found {
        addresses: Vec::new(),
        answer: 0,
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// A host to look up, and where the answer goes.
#[derive(Clone)]
struct Question {
    host: Box<str>,
    post: Arc<Post>,
}

impl Question {
    fn answer(self, addresses: io::Result<Vec<IpAddr>>) {
        (self.post)(Resolved {
            host: self.host,
            addresses,
        });
    }
}

/// Has names looked up; clones ask the same thread.
#[derive(Clone)]
pub(crate) struct Resolver {
    questions: Sender<Question>,
    unreached: Arc<Unreached>,
}

impl Resolver {
    /// Starts a thread that starts the threads, all of them confined by `rules`: a worker whose providers have
    /// many hosts would stand still meanwhile. `unreached` is told of addresses that are instances.
    ///
    /// # Errors
    /// When there is no thread to be had, or it cannot be confined.
    pub(crate) fn start(rules: Rules, unreached: Arc<Unreached>) -> io::Result<Self> {
        let (asking, questions) = channel::<Question>();
        confine::spawn(thread("names"), rules, move || {
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
        Ok(Self {
            questions: asking,
            unreached,
        })
    }

    /// Has a host looked up.
    pub(crate) fn ask(&self, host: &str, post: Arc<Post>) {
        let host = host.into();
        // Its thread goes on for as long as there is somebody to ask it.
        if let Err(refused) = self.questions.send(Question { host, post }) {
            refused.0.answer(Err(io::ErrorKind::BrokenPipe.into()));
        }
    }
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
        return Err(no_address());
    }
    Ok(found)
}
