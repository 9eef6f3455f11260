//! One core: its event loop's tasks, what its connections share, accepting, draining.
//!
//! Nothing here is shared with another worker; messages come through the mailbox.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::{SendFlags, Shutdown};
use rustls::ClientConfig;
use rustls::server::UnbufferedServerConnection;

use crate::base::bytes::within;
use crate::base::date::imf_fixdate;
use crate::base::number;
use crate::config::{Config, Provider};
use crate::log::{Log, Value};
use crate::net::accept::accept;
use crate::net::accept::balance::{self, Peers};
use crate::net::client::local_answer::Answer;
use crate::net::client::recipient::Asker;
use crate::net::client::records::Records;
use crate::net::client::scrape::{Awaited, Scrapes, Scribe, Subjects};
use crate::net::client::under_way::Asking;
use crate::net::client::visit::Visit;
use crate::net::connection;
use crate::net::core::deadline::{Clock, Tick};
use crate::net::core::ids::Ids;
use crate::net::core::listening::Doors;
use crate::net::exchange::Spares;
use crate::net::sockets::hangup::Hangups;
use crate::net::sockets::mailbox::{Inbox, Mailbox};
use crate::net::sockets::peer::Peer;
use crate::net::sockets::socket::Socket;
use crate::net::sockets::spin::Spin;
use crate::net::sockets::timer::Alarm;
use crate::net::sockets::turns::Turns;
use crate::net::transport::scratch::{Scratch, SealRoom, seal_room};
use crate::net::transport::stream::Stream;
use crate::net::transport::tls::TlsStream;
use crate::net::transport::tls_config::TlsConfigs;
use crate::net::upstream::pool::Pool;
use crate::net::upstream::resolve::{self, Names};
use crate::net::upstream::warm::Warm;
use crate::observe::counters::{Refused, down, up};
use crate::observe::streams::UnderWay;
use crate::observe::{self, Counters, Slots};
use crate::policy::admission::Admission;
use crate::policy::auth::Keys;
use crate::policy::error::{ErrorResponse, Fault, Persistence, Scarce};
use crate::policy::gateway::Gateway;
use crate::policy::visitors::Visitors;
use crate::tls::handshake::Role;

/// One configuration as workers get it.
#[derive(Clone)]
pub(crate) struct Settings {
    /// What was configured.
    pub config: Arc<Config>,
    /// Gateway keys, the same for all workers.
    pub keys: Arc<Keys>,
    /// Certificates and roots.
    pub tls: TlsConfigs,
    /// Where providers are counted.
    pub slots: Slots,
    /// Most client connections per worker.
    pub connections: usize,
}

/// What other threads tell a worker.
pub(crate) enum Message {
    /// A new configuration.
    Reload(Settings, Receipt),
    /// New gateway keys; the configuration stays.
    Keys(Arc<Keys>, Receipt),
    /// `/health` says 503 from now on.
    Unhealthy,
    /// Close the listeners, end connections with their next answer.
    Drain {
        /// Accept what is queued before: nobody else will.
        empty_queues: bool,
    },
    /// Nothing is under way any more: end idle connections.
    Stop,
    /// A host name was resolved.
    Resolved(resolve::Answer),
    /// A client that another worker has accepted.
    Client(OwnedFd, Peer),
    /// The metrics' text that was asked for with this ticket.
    Scraped(u64, Arc<str>),
    /// Tell this mailbox what is under way, with this number.
    Look(u64, Mailbox<Self>),
    /// A worker's answer to that.
    Seen(u64, UnderWay),
}

/// Dropped by a worker once what came with it is in force there.
pub(crate) type Receipt = Arc<dyn Any + Send + Sync>;

/// What a worker starts with.
pub(crate) struct Start {
    /// Bound and listening.
    pub listeners: Vec<OwnedFd>,
    /// Its own mailbox, for answers to what it asks.
    pub mailbox: Mailbox<Message>,
    /// The other end of it.
    pub inbox: Inbox<Message>,
    /// The first configuration.
    pub settings: Settings,
    /// Which of `counters` is this worker's.
    pub index: usize,
    /// The counters of all workers.
    pub counters: Arc<[Counters]>,
    /// How many of them serve clients. One beyond serves metrics and health and nothing else, and is not
    /// counted itself.
    pub workers: usize,
    /// Those that clients are dealt out among.
    pub peers: Peers,
    /// What is known of clients' addresses, for all workers.
    pub visitors: Arc<Visitors>,
    /// Where messages for people go.
    pub log: Log,
    /// Who writes the metrics.
    pub scribe: Scribe,
    /// Who looks names up.
    pub asker: resolve::Asker,
}

/// What the connections of one core share.
pub(crate) struct Worker {
    /// The receive buffer.
    pub scratch: Rc<RefCell<Scratch>>,
    /// Where TLS records are sealed.
    pub seal_room: SealRoom,
    /// Deadlines.
    pub clock: Rc<Clock>,
    /// Idle upstream connections.
    pub pool: Rc<Pool>,
    /// Peers that leave while bytes of theirs are unread.
    pub hangups: Rc<Hangups>,
    /// Resolved host names.
    pub names: Names,
    /// Request ids.
    pub ids: Ids,
    /// Where it listens.
    pub doors: Doors,
    /// Room for exchanges to come.
    pub spares: Spares,
    /// Records of requests under way, and room for those to come.
    pub records: Records,
    /// How to learn what all workers have under way.
    pub asking: Asking,
    /// Connections made ahead of need.
    pub warm: Warm,
    /// Polling before sleeping.
    pub spin: Rc<Spin>,
    /// How the busy let others run.
    pub turns: Rc<Turns>,
    /// When the names of providers are looked at next.
    names_due: Cell<Option<Tick>>,
    gateway: RefCell<Rc<Gateway>>,
    tls: RefCell<TlsConfigs>,
    /// How often those who had been let in would not have been any more.
    door: Cell<u16>,
    /// `limits.connections`, or what stands in for it.
    connections: Cell<usize>,
    /// The last attempt to accept found no descriptor.
    pub(super) starving: Cell<bool>,
    /// Answers to wrong keys that are held back.
    pub(super) delayed: Cell<usize>,
    visitors: Arc<Visitors>,
    index: usize,
    counters: Arc<[Counters]>,
    workers: usize,
    peers: Peers,
    healthy: Cell<bool>,
    pub(super) draining: Cell<bool>,
    /// Clients that wait to be accepted are still let in when the worker drains.
    pub(super) empty_queues: Cell<bool>,
    stopping: Cell<bool>,
    /// Accept tasks, woken to close their listeners.
    pub(super) woken_by_drain: RefCell<Vec<Waker>>,
    log: Log,
    /// For answers to what it asks other threads.
    mailbox: Mailbox<Message>,
    scribe: Scribe,
    scrapes: Rc<Scrapes>,
}

static SPARE: LazyLock<Counters> = LazyLock::new(Counters::default);

/// Connections beyond the limit that are read from, to answer `/health` and to say 503 in order.
const SURPLUS_MAX: usize = 64;
/// Between two looks at the names of providers.
const NAMES_EVERY: Duration = Duration::from_millis(500);

/// Runs a worker for as long as the process lives.
///
/// # Errors
/// When it cannot get the descriptors that it needs for itself.
pub(crate) async fn run(mut start: Start) -> io::Result<()> {
    let listeners = std::mem::take(&mut start.listeners);
    let (worker, inbox) = open(start, Doors::of(&listeners)?)?;
    for listener in listeners {
        monoio::spawn(accept(worker.clone(), Socket::from_fd(listener)?));
    }
    inbox
        .run(&worker.turns, |message| worker.told(message))
        .await
}

/// A worker that serves whatever connection it is handed; [`run`] adds the listeners and the messages.
///
/// # Errors
/// As [`run`].
pub(super) fn open(start: Start, doors: Doors) -> io::Result<(Rc<Worker>, Inbox<Message>)> {
    let clock = Clock::new();
    let tls = start.settings.tls.clone();
    let (turns, bell) = Turns::new()?;
    let worker = Rc::new(Worker {
        scratch: Rc::default(),
        seal_room: seal_room(),
        pool: Rc::new(Pool::new(clock.clone())),
        hangups: Hangups::new()?,
        asking: Asking::new(start.peers.clone(), start.mailbox.clone()),
        names: Names::new(
            clock.clone(),
            start.mailbox.clone(),
            Message::Resolved,
            start.asker.clone(),
        ),
        clock,
        ids: Ids::default(),
        doors,
        spares: Spares::default(),
        records: Records::default(),
        warm: Warm::default(),
        spin: Spin::new(start.settings.config.server.spin),
        turns,
        names_due: Cell::default(),
        gateway: RefCell::new(prepare(&start.settings)),
        tls: RefCell::new(tls),
        door: Cell::new(0),
        connections: Cell::new(start.settings.connections),
        starving: Cell::new(false),
        delayed: Cell::new(0),
        visitors: start.visitors,
        index: start.index,
        counters: start.counters,
        workers: start.workers,
        peers: start.peers,
        healthy: Cell::new(true),
        draining: Cell::new(false),
        empty_queues: Cell::new(true),
        stopping: Cell::new(false),
        woken_by_drain: RefCell::default(),
        log: start.log,
        mailbox: start.mailbox,
        scribe: start.scribe,
        scrapes: Rc::default(),
    });
    worker.prefetch();
    let upkeep = worker.clone();
    let each = move |now| upkeep.look_after_upstreams(now);
    monoio::spawn(worker.turns.clone().run(bell));
    monoio::spawn(worker.spin.clone().run());
    monoio::spawn(worker.spin.clone().give_back());
    monoio::spawn(worker.clock.clone().sweep(Alarm::new()?, each));
    monoio::spawn(keep_upstreams(worker.clone()));
    monoio::spawn(worker.hangups.clone().run());
    Ok((worker, start.inbox))
}

async fn keep_upstreams(worker: Rc<Worker>) {
    let (scratch, turns) = (worker.scratch.clone(), worker.turns.clone());
    let retired = || observe::add(&worker.counters().warm_retired, 1);
    worker.pool.clone().keep(scratch, turns, retired).await;
}

fn prepare(settings: &Settings) -> Rc<Gateway> {
    let keys = settings.keys.clone();
    let mut gateway = Gateway::new(settings.config.clone(), keys);
    gateway.slots = settings.slots.clone();
    gateway.terms = settings.tls.terms();
    Rc::new(gateway)
}

impl Worker {
    /// The configuration in force; a request keeps the one that it began with.
    #[must_use]
    pub(crate) fn gateway(&self) -> Rc<Gateway> {
        self.gateway.borrow().clone()
    }

    /// TLS towards the provider with this index; `None` where it speaks none.
    #[must_use]
    pub(crate) fn client_tls(&self, provider: usize) -> Option<Arc<ClientConfig>> {
        self.tls.borrow().client(provider)
    }

    /// Changes when clients that were let in so far would have to show something else now.
    #[must_use]
    pub(crate) fn door(&self) -> u16 {
        self.door.get()
    }

    /// Whether answers end their connections.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Whether idle connections end.
    #[must_use]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// The time for a `Date` field.
    #[must_use]
    pub(crate) fn http_date(&self) -> String {
        imf_fixdate(unix_seconds())
    }

    /// This worker's counters.
    #[must_use]
    pub(crate) fn counters(&self) -> &Counters {
        // The index is in range: the slice was made for the workers.
        self.counters.get(self.index).unwrap_or(&SPARE)
    }

    /// Whether it serves metrics and health and nothing else.
    #[must_use]
    pub(crate) fn is_operator(&self) -> bool {
        self.index >= self.workers
    }

    /// Whether somebody may ask what is under way.
    #[must_use]
    pub(crate) fn is_listed(&self) -> bool {
        self.counters.len() > self.workers
    }

    /// Counts an admitted request as under way until the result is dropped.
    #[must_use]
    pub(crate) fn busy(self: &Rc<Self>) -> Busy {
        up(&self.counters().in_flight);
        Busy(self.clone())
    }

    /// Why one client more is too many, if that is so.
    #[must_use]
    pub(crate) fn crowded(&self) -> Option<Scarce> {
        if self.starving.get() {
            return Some(Scarce::System);
        }
        let open = self.counters().open.load(Ordering::Relaxed);
        (open > self.connections.get()).then_some(Scarce::Connections)
    }

    /// Whether as many requests as may be are under way.
    #[must_use]
    pub(crate) fn is_busy(&self, limit: Option<NonZeroUsize>) -> bool {
        let busy = self.counters().in_flight.load(Ordering::Relaxed);
        limit.is_some_and(|limit| busy >= limit.get())
    }

    /// What is known of clients' addresses.
    #[must_use]
    pub(crate) fn visitors(&self) -> &Visitors {
        &self.visitors
    }

    /// Where messages for people go.
    #[must_use]
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Health, metrics as they are given, `OPTIONS *`, preflights.
    #[must_use]
    pub(crate) fn local_answer(
        &self,
        what: &Admission<'_>,
        asker: &Asker,
        metrics: &str,
    ) -> (u16, Vec<u8>) {
        let answer = Answer::to(what, self.healthy.get(), metrics);
        let persistence = asker.persistence(self.gateway().config.timeouts.idle_client);
        let status = number::decimal(answer.status.split(' ').next().unwrap_or_default());
        let status = status
            .and_then(|status| u16::try_from(status).ok())
            .unwrap_or_default();
        (status, answer.write(asker, &persistence, unix_seconds()))
    }

    /// The metrics, written elsewhere.
    #[must_use]
    pub(crate) fn scrape(&self) -> Awaited {
        let mailbox = self.mailbox.clone();
        let subjects = Subjects {
            slots: self.gateway().slots.clone(),
            expiries: self.tls.borrow().expiries(),
        };
        self.scrapes
            .ask(&self.scribe, subjects, move |ticket, text| {
                mailbox.send(Message::Scraped(ticket, text));
            })
    }

    fn told(self: &Rc<Self>, message: Message) {
        match message {
            Message::Reload(settings, _receipt) => self.reload(&settings),
            Message::Keys(keys, _receipt) => {
                let old = self.gateway();
                let mut gateway = Gateway::new(old.config.clone(), keys);
                gateway.slots = old.slots.clone();
                gateway.terms = old.terms.clone();
                *self.gateway.borrow_mut() = Rc::new(gateway);
                self.spares.clear();
            }
            Message::Unhealthy => self.healthy.set(false),
            Message::Drain { empty_queues } => {
                self.draining.set(true);
                self.empty_queues.set(empty_queues);
                for waker in self.woken_by_drain.borrow_mut().drain(..) {
                    waker.wake();
                }
            }
            Message::Stop => {
                self.stopping.set(true);
                self.clock.wake_all();
            }
            Message::Resolved(answer) => self.names.answered(answer),
            Message::Client(fd, peer) => {
                // Counted as open before it is not counted as coming any more.
                self.welcome(fd, peer);
                balance::came(&self.counters().coming);
            }
            Message::Scraped(ticket, text) => self.scrapes.arrived(ticket, text),
            Message::Look(number, asker) => {
                asker.send(Message::Seen(number, self.records.look()));
            }
            Message::Seen(number, answer) => self.asking.answered(number, answer),
        }
    }

    /// Requests under way go on with the configuration they began with; idle connections that would be made again
    /// as they are stay too.
    fn reload(&self, settings: &Settings) {
        let new = prepare(settings);
        let old = self.gateway();
        self.forget_upstreams(&old);
        self.pool.reindex(|index| new.index_of(&old, index));
        self.warm.reindex(|index| new.place_of(&old, index));
        *self.gateway.borrow_mut() = new;
        self.spares.clear();
        let old = self.tls.replace(settings.tls.clone());
        if !self.is_operator() && !settings.tls.door().admits_those_of(&old.door()) {
            self.door.set(self.door.get().wrapping_add(1));
            self.clock.wake_all();
        }
        self.connections.set(settings.connections);
        self.prefetch();
    }

    /// Runs at every tick; whether the next one is wanted.
    fn look_after_upstreams(self: &Rc<Self>, now: Tick) -> bool {
        let idle = self.pool.expire(now);
        self.look_after_names(now);
        self.show_upstreams();
        let warm = !self.draining.get() && Warm::look(self, now);
        idle || warm
    }

    /// What is connected to by name is looked up when that is old, also where no connection is made for long, and
    /// connections to addresses that the name has left are let go.
    fn look_after_names(&self, now: Tick) {
        if self.names_due.get().is_some_and(|at| now < at) {
            return;
        }
        self.names_due.set(Some(now.after(NAMES_EVERY)));
        let gateway = self.gateway();
        let ages = gateway.config.ages();
        let mut left = Vec::new();
        for (index, provider) in gateway.config.providers.iter().enumerate() {
            if self.pool.open_count(index) == 0 {
                continue;
            }
            if let Some(name) = provider.reached_by_name() {
                self.names.prefetch(name, ages);
                let of_it = self.names.left(name, ages);
                left.extend(of_it.into_iter().map(|address| (index, address)));
            }
        }
        self.pool.leave(left);
    }

    /// A provider that is gone has no connections any more that anybody would count.
    fn forget_upstreams(&self, gateway: &Gateway) {
        for index in 0..gateway.config.providers.len() {
            if let Some(counters) = self.counters().known(gateway.slots.of(index)) {
                counters.idle.store(0, Ordering::Relaxed);
                counters.busy.store(0, Ordering::Relaxed);
            }
        }
    }

    /// Puts the numbers of connections where other workers can read them.
    fn show_upstreams(&self) {
        let gateway = self.gateway();
        if !gateway.config.metrics.are_wanted() {
            return;
        }
        for index in 0..gateway.config.providers.len() {
            let (idle, open) = (self.pool.idle_count(index), self.pool.open_count(index));
            if let Some(counters) = self.counters().known(gateway.slots.of(index)) {
                let busy = open.saturating_sub(idle);
                counters.idle.store(idle as u64, Ordering::Relaxed);
                counters.busy.store(busy as u64, Ordering::Relaxed);
            }
        }
    }

    fn prefetch(&self) {
        if self.is_operator() {
            return;
        }
        let gateway = self.gateway();
        let names = || { gateway.config.providers.iter() }.filter_map(Provider::reached_by_name);
        self.names.retain(|host| names().any(|name| name == host));
        for name in names() {
            self.names.prefetch(name, gateway.config.ages());
        }
    }

    /// Serves a client that was accepted here, or hands it on to a worker with fewer.
    pub(super) fn place(self: &Rc<Self>, fd: OwnedFd, peer: Peer) {
        let workers = within(&self.counters, ..self.workers);
        let peers = self.peers.get().filter(|_| !self.draining.get());
        let other = balance::better(self.index, workers.iter().map(balance::load));
        let mailbox = other.and_then(|other| peers?.get(other));
        let counters = other.and_then(|other| workers.get(other));
        match (mailbox, counters) {
            (Some(mailbox), Some(counters)) => {
                balance::comes(&counters.coming);
                mailbox.send(Message::Client(fd, peer));
            }
            _ => self.welcome(fd, peer),
        }
    }

    /// A new client: its task is fenced, so that a defect ends one connection and not the worker.
    pub(super) fn welcome(self: &Rc<Self>, fd: OwnedFd, peer: Peer) {
        let open = Open::new(self.clone());
        let surplus = self.crowded().is_some();
        let most = self.connections.get().saturating_add(SURPLUS_MAX);
        if self.counters().open.load(Ordering::Relaxed) > most {
            return self.turn_away(&fd, Scarce::Connections);
        }
        let mut visit = match Visit::begin(self, peer, self.speaks_tls()) {
            Ok(visit) => visit,
            Err(scarce) => return self.turn_away(&fd, scarce),
        };
        match self.stream(fd) {
            Ok(stream) => {
                observe::add(&self.counters().connections, 1);
                self.spin.traffic();
                let task = connection::serve(self.clone(), stream, surplus, peer, visit);
                monoio::spawn(Fenced {
                    task: Box::pin(task),
                    worker: self.clone(),
                    _open: open,
                });
            }
            Err(error) => {
                visit.end(&self.visitors);
                let error = Value::Text(&error);
                self.log
                    .warn("cannot take a connection", &[("error", error)]);
            }
        }
    }

    /// Whether it speaks TLS with clients.
    fn speaks_tls(&self) -> bool {
        self.tls.borrow().server().is_some() && !self.is_operator()
    }

    fn stream(&self, fd: OwnedFd) -> io::Result<Stream> {
        let socket = Socket::from_fd(fd)?;
        let tls = self.tls.borrow().server();
        let Some(config) = tls.filter(|_| !self.is_operator()) else {
            return Ok(Stream::plain(socket));
        };
        let tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        let tls = TlsStream::new(socket, Role::Server(tls), self.seal_room.clone());
        Ok(Stream::Tls(Box::new(tls)))
    }

    /// Says 503 without having been asked, which costs two system calls. A TLS client is only closed.
    fn turn_away(&self, fd: &OwnedFd, scarce: Scarce) {
        self.counters().refuse(match scarce {
            Scarce::ConnectionsPerAddress => Refused::ConnectionsPerAddress,
            Scarce::HandshakesPerAddress => Refused::HandshakesPerAddress,
            _ => Refused::Connections,
        });
        if self.speaks_tls() {
            return;
        }
        let mut out = Vec::with_capacity(512);
        ErrorResponse {
            fault: &Fault::Overloaded(scarce),
            request_id: self.ids.next().as_bytes(),
            date: self.http_date().as_bytes(),
            head_only: false,
            connection: Persistence::Close,
            cors: b"",
        }
        .write(&mut out);
        // A client that is gone need not be told.
        let _ = rustix::net::send(fd, &out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        let _ = rustix::net::shutdown(fd, Shutdown::Write);
    }
}

/// A client connection that is open.
struct Open(Rc<Worker>);

impl Open {
    fn new(worker: Rc<Worker>) -> Self {
        up(&worker.counters().open);
        Self(worker)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        down(&self.0.counters().open);
    }
}

/// A request under way.
pub(crate) struct Busy(Rc<Worker>);

impl Drop for Busy {
    fn drop(&mut self) {
        down(&self.0.counters().in_flight);
    }
}

/// A connection's task, behind a fence: a panic in it is logged and ends it alone.
struct Fenced<F> {
    // Boxed, for it would be held twice here: as an argument and as what is awaited.
    task: Pin<Box<F>>,
    worker: Rc<Worker>,
    _open: Open,
}

impl<F: Future<Output = ()>> Future for Fenced<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // What the task shares with others is left consistent: cells are written whole, and the scratch
        // buffer's content means nothing between two borrows.
        let polled = catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| {
            observe::add(&self.worker.counters().panics, 1);
            let message = "a connection's task panicked; this is a defect";
            self.worker.log.error(message, &[]);
            Poll::Ready(())
        })
    }
}

/// Nanoseconds since some time in this process, the same for all threads and never less than before.
#[must_use]
pub(crate) fn monotonic_nanos() -> u64 {
    static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(EPOCH.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds since 1970.
#[must_use]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
