//! A worker that a fuzz target steps by hand: no listeners, no network, no waiting.
//!
//! Its peers are ends of Unix socket pairs, so readiness and bytes come from the kernel as always and come
//! at once: whatever can happen has happened when [`Session::settle`] returns. One runtime and one worker
//! serve all executions; each starts with an empty pool.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use monoio::{LegacyDriver, Runtime, RuntimeBuilder};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::sockopt;

use crate::config::Config;
use crate::log::Log;
use crate::net::client::scrape::{Scribe, Sources};
use crate::net::client::side::ClientSide;
use crate::net::client::visit::Visit;
use crate::net::connection;
use crate::net::core::in_force::WorkerConfig;
use crate::net::core::listening::Listening;
use crate::net::core::load::Rank;
use crate::net::sockets::mailbox::mailbox;
use crate::net::sockets::peer::Peer;
use crate::net::sockets::reactor::Reactor;
use crate::net::sockets::socket::Socket;
use crate::net::transport::stream::Stream;
use crate::net::transport::tls_config;
use crate::net::upstream::pool::Upstream;
use crate::net::upstream::resolve::Resolver;
use crate::net::worker::messages::Fellows;
use crate::net::worker::{self, Start, Worker};
use crate::observe::{Counters, Slots};
use crate::policy::auth::Keys;
use crate::system::confine::Rules;

/// The runtime and its worker.
pub struct Harness {
    runtime: Runtime<LegacyDriver>,
    session: Session,
}

impl Harness {
    /// A worker with this configuration.
    ///
    /// # Errors
    /// When the system gives no thread or descriptor.
    pub fn new(config: Config) -> io::Result<Self> {
        let tls = tls_config::load(&config, None).map_err(io::Error::other)?;
        let keys = Keys::new(config.auth.master_key.as_ref(), None, None);
        let (mailbox, inbox) = mailbox()?;
        let counters: Arc<[Counters]> = Arc::from([Counters::default()]);
        let log = Log::start(&config.log, false, Rules::default())?;
        let start = Start {
            listeners: Vec::new(),
            mailbox,
            inbox,
            log: log.clone(),
            scribe: Scribe::new(Sources {
                counters: counters.clone(),
                workers: 1,
                process: Arc::default(),
                log,
                reloads: Arc::default(),
            }),
            config: WorkerConfig {
                config: Arc::new(config),
                keys: Arc::new(keys),
                tls,
                choices: Arc::default(),
                slots: Slots::default(),
                connections: usize::MAX,
            },
            rank: Rank {
                index: 0,
                workers: 1,
                counters,
            },
            visitors: Arc::default(),
            fellows: Fellows::default(),
            resolver: Resolver::start(Rules::default(), Arc::new(|_, _, _| {}))?,
            dialler: Some(|port| Box::pin(dialled(port))),
        };
        let mut runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
        let session = runtime.block_on(async {
            Reactor::start(true)?;
            Session::new(start)
        })?;
        Ok(Self { runtime, session })
    }

    /// Runs `play` to its end; the worker's tasks run whenever it settles.
    pub fn run<T>(&mut self, play: impl AsyncFnOnce(&mut Session) -> T) -> T {
        let session = &mut self.session;
        self.runtime.block_on(async {
            session.worker.shared.upstreams.pool.reindex(|_| None);
            play(session).await
        })
    }
}

/// What a script can do to the worker.
pub struct Session {
    worker: Worker,
    /// How often a served connection has been polled.
    polls: Rc<Cell<u64>>,
    bell: OwnedFd,
    rung: Socket,
}

/// A served client connection, seen from the gateway.
pub struct Served {
    /// A second name for the gateway's end, which keeps its options readable and the connection open.
    ours: OwnedFd,
    done: Rc<Cell<bool>>,
}

/// A connection that the worker is trying to make.
pub struct Dial {
    /// The port, which tells the provider.
    pub port: u16,
    answer: Weak<RefCell<DialAnswer>>,
}

#[derive(Default)]
struct DialAnswer {
    stream: Option<io::Result<Stream>>,
    waker: Option<Waker>,
}

thread_local! {
    /// Attempts since they were last looked at.
    static DIALS: RefCell<Vec<Dial>> = const { RefCell::new(Vec::new()) };
}

/// Turns without a poll of a connection after which nothing moves any more.
const QUIET_TURNS: u32 = 1;
/// More turns than any script can make use of.
const TURNS_MAX: u32 = 100_000;

impl Session {
    fn new(start: Start) -> io::Result<Self> {
        let (worker, _) = worker::open(start, Listening::default())?;
        let bell = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self {
            worker,
            polls: Rc::default(),
            rung: Socket::from_fd(bell.try_clone()?)?,
            bell,
        })
    }

    /// Serves a new client, whose end is the first part of the result.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn serve(&self, small: bool) -> io::Result<(UnixStream, Served)> {
        let (client, ours) = pair(small)?;
        let stream = Stream::plain(Socket::from_fd(ours.try_clone()?)?);
        let done = Rc::new(Cell::new(false));
        let (polls, over) = (self.polls.clone(), done.clone());
        let side = ClientSide::new(self.worker.shared.clone(), stream, Peer::Local);
        let spares = self.worker.spares.clone();
        let visit = Visit::default();
        let mut serve = Box::pin(connection::serve(side, false, visit, spares));
        let task = poll_fn(move |cx: &mut Context<'_>| {
            polls.set(polls.get() + 1);
            serve.as_mut().poll(cx)
        });
        monoio::spawn(async move {
            task.await;
            over.set(true);
        });
        Ok((client, Served { ours, done }))
    }

    /// Lets everything run that can run.
    pub async fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..TURNS_MAX {
            let before = self.polls.get();
            self.turn().await;
            quiet = if self.polls.get() == before {
                quiet + 1
            } else {
                0
            };
            if quiet == QUIET_TURNS {
                return;
            }
        }
        unreachable!("the worker keeps itself busy");
    }

    /// One turn of the event loop: the bell is rung once this task waits for it.
    async fn turn(&mut self) {
        self.rung.rest();
        let mut waits = false;
        poll_fn(|cx| {
            let ready = self.rung.poll_readable(cx);
            if !std::mem::replace(&mut waits, true) {
                let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
            }
            ready
        })
        .await;
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Attempts to connect that have begun since the last call.
    #[must_use]
    pub fn dials(&self) -> Vec<Dial> {
        DIALS.take()
    }

    /// Puts an idle connection to the provider with this index into the pool; the result is its other end.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn pool(&self, provider: usize, small: bool) -> io::Result<UnixStream> {
        let (theirs, ours) = pair(small)?;
        let stream = Stream::plain(Socket::from_fd(ours)?);
        let limit = std::time::Duration::from_secs(3600);
        let upstreams = &self.worker.shared.upstreams;
        let scratch = &mut *upstreams.core.scratch.borrow_mut();
        let seat = upstreams.pool.seat(provider, None);
        let seat = seat.ok_or(io::ErrorKind::Other)?;
        let habit = upstreams.core.gateway().slots.habit(provider);
        let mut upstream = Upstream::fresh(stream, provider, seat, habit);
        // As one that a request has left there.
        upstream.first_use();
        upstreams.pool.put(upstream, limit, scratch);
        Ok(theirs)
    }

    /// Closes all idle connections.
    pub fn empty_pool(&self) {
        self.worker.shared.upstreams.pool.reindex(|_| None);
    }
}

impl Served {
    /// Whether the gateway is done with it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Whether the gateway's close is a reset; Unix sockets do not show it by themselves.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        matches!(sockopt::socket_linger(&self.ours), Ok(Some(_)))
    }
}

impl Dial {
    /// Whether somebody still waits for an answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.answer.strong_count() > 0
    }

    /// Accepts; the result is the provider's end.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn accept(self, small: bool) -> io::Result<UnixStream> {
        let (theirs, ours) = pair(small)?;
        self.answer(Ok(Stream::plain(Socket::from_fd(ours)?)));
        Ok(theirs)
    }

    /// Refuses.
    pub fn refuse(self) {
        self.answer(Err(io::ErrorKind::ConnectionRefused.into()));
    }

    fn answer(self, stream: io::Result<Stream>) {
        if let Some(answer) = self.answer.upgrade() {
            let mut answer = answer.borrow_mut();
            answer.stream = Some(stream);
            if let Some(waker) = answer.waker.take() {
                waker.wake();
            }
        }
    }
}

/// Hands an attempt to the script and waits for its answer.
async fn dialled(port: u16) -> io::Result<Stream> {
    let answer: Rc<RefCell<DialAnswer>> = Rc::default();
    let dial = Dial {
        port,
        answer: Rc::downgrade(&answer),
    };
    DIALS.with_borrow_mut(|dials| dials.push(dial));
    poll_fn(|cx| {
        let mut answer = answer.borrow_mut();
        answer.waker = Some(cx.waker().clone());
        answer.stream.take().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// A connected pair, both ends non-blocking; `small` ones are full after a few KiB.
fn pair(small: bool) -> io::Result<(UnixStream, OwnedFd)> {
    let (theirs, ours) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    ours.set_nonblocking(true)?;
    if small {
        for end in [theirs.as_fd(), ours.as_fd()] {
            sockopt::set_socket_send_buffer_size(end, 1)?;
        }
    }
    Ok((theirs, ours.into()))
}
