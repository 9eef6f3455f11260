//! One core's worker: starts its tasks and does what other threads tell it.
//!
//! What its tasks share is in the storeys below; nothing of it is shared with another worker, messages come through
//! the mailbox.

pub(crate) mod messages;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use crate::log::Log;
use crate::net::accept::accept;
use crate::net::accept::reception::{HandOn, Reception};
use crate::net::client::records::Records;
use crate::net::client::scrape::{Scrapes, Scribe};
use crate::net::client::shared::Shared;
use crate::net::client::survey::Survey;
use crate::net::client::waiting::Waiting;
use crate::net::core::Core;
use crate::net::core::complaints::Complaints;
use crate::net::core::deadline::Clock;
use crate::net::core::drain::Drain;
use crate::net::core::held_bytes::HeldBytes;
use crate::net::core::ids::Ids;
use crate::net::core::in_force::{InForce, WorkerConfig};
use crate::net::core::listening::Listening;
use crate::net::core::load::{Load, Rank};
use crate::net::exchange::Spares;
use crate::net::sockets::mailbox::{Inbox, Mailbox};
use crate::net::sockets::reactor::Reactor;
use crate::net::sockets::socket::Socket;
use crate::net::sockets::spin::Spin;
use crate::net::sockets::timer::Timer;
use crate::net::sockets::turn_clock::TurnClock;
use crate::net::sockets::turns::Turns;
use crate::net::transport::scratch::seal_room;
use crate::net::upstream::resolve::{Names, Resolver};
use crate::net::upstream::upstreams::{Dialler, Upstreams};
use crate::net::upstream::{probe, upkeep};
use crate::policy::visitors::Visitors;

use messages::{Fellows, Message};

/// What a worker starts with.
pub(crate) struct Start {
    /// Bound and listening.
    pub listeners: Vec<OwnedFd>,
    /// Its own mailbox, for answers to what it asks.
    pub mailbox: Mailbox<Message>,
    /// The other end of it.
    pub inbox: Inbox<Message>,
    /// The first configuration.
    pub config: WorkerConfig,
    /// Where it is among all workers.
    pub rank: Rank,
    /// Those that clients are dealt out among.
    pub fellows: Fellows,
    /// What is known of clients' addresses, for all workers.
    pub visitors: Arc<Visitors>,
    /// Where messages for people go.
    pub log: Log,
    /// Who writes the metrics.
    pub scribe: Scribe,
    /// Who looks names up.
    pub resolver: Resolver,
    /// Who connects to providers in place of the network.
    pub dialler: Option<Dialler>,
}

/// A worker that serves whatever connection it is handed.
pub(crate) struct Worker {
    /// What its clients' connections share.
    pub shared: Rc<Shared>,
    /// Room for their exchanges.
    pub spares: Rc<Spares>,
    reception: Rc<Reception>,
}

/// Runs a worker for as long as the process lives.
///
/// # Errors
/// When it cannot get the descriptors that it needs for itself.
pub(crate) async fn run(mut start: Start) -> io::Result<()> {
    let listeners = std::mem::take(&mut start.listeners);
    let (worker, inbox) = open(start, Listening::of(&listeners)?)?;
    for listener in listeners {
        monoio::spawn(accept(worker.reception.clone(), Socket::from_fd(listener)?));
    }
    let turns = worker.core().turns.clone();
    inbox.run(&turns, |message| worker.told(message)).await
}

/// A worker with its tasks; [`run`] adds the listeners and the messages.
///
/// # Errors
/// As [`run`].
pub(super) fn open(start: Start, listening: Listening) -> io::Result<(Worker, Inbox<Message>)> {
    let mailbox = start.mailbox;
    let turns = Turns::new();
    let index = start.rank.index;
    let core = Rc::new(Core {
        scratch: Rc::default(),
        seal_room: seal_room(),
        clock: Clock::new(),
        turns,
        spin: Spin::new(start.config.config.server.spin),
        in_force: InForce::new(&start.config),
        load: Load::new(start.rank, start.config.connections),
        drain: Drain::default(),
        ids: Ids::default(),
        listening,
        held_bytes: HeldBytes::default(),
        visitors: start.visitors,
        log: start.log,
        complaints: Complaints::default(),
    });
    let (clock, asked) = (core.clock.clone(), mailbox.clone());
    let names = Names::new(clock, asked, Message::Resolved, start.resolver);
    let upstreams = Upstreams::new(core.clone(), names, start.dialler);
    let asked = mailbox.clone();
    let take_back = move |ticket, text| asked.send(Message::Scraped(ticket, text));
    let lane = RefCell::new(core.log.lane());
    let records = Records::new(turn_clock(&core)?);
    let shared = Rc::new(Shared {
        core,
        upstreams,
        records,
        lane,
        waiting: Waiting::new(index, call(start.fellows.clone())),
        survey: survey(start.fellows.clone(), mailbox),
        scrapes: Scrapes::new(start.scribe, Arc::new(take_back)),
        held_back: Cell::new(0),
    });
    let spares = Rc::new(Spares::default());
    let hand_on = hand_on(start.fellows);
    let reception = Reception::new(shared.clone(), spares.clone(), hand_on);
    let worker = Worker {
        reception: Rc::new(reception),
        spares,
        shared,
    };
    worker.begin()?;
    Ok((worker, start.inbox))
}

/// The clock of this thread's turns, which are counted.
fn turn_clock(core: &Rc<Core>) -> io::Result<Rc<TurnClock>> {
    let clock = Reactor::current()?.clock().clone();
    let load = core.load.clone();
    clock.tell(move |turn| load.counters().turns.observe(turn));
    clock.switch(core.takes_times());
    Ok(clock)
}

/// Asks all `fellows` what they have under way; they answer to `mine`.
fn survey(fellows: Fellows, mine: Mailbox<Message>) -> Survey {
    Survey::new(move |number| {
        let all = fellows.get().map_or(&[][..], Vec::as_slice);
        for fellow in all {
            fellow.send(Message::Look(number, mine.clone()));
        }
        all.len()
    })
}

/// Calls a request of another worker: it is its turn.
fn call(fellows: Fellows) -> impl Fn(usize, u64) {
    move |worker, caller| {
        if let Some(fellow) = fellows.get().and_then(|fellows| fellows.get(worker)) {
            fellow.send(Message::Turn(caller));
        }
    }
}

fn hand_on(fellows: Fellows) -> HandOn {
    Box::new(
        move |index, (fd, peer)| match fellows.get().and_then(|fellows| fellows.get(index)) {
            Some(fellow) => {
                fellow.send(Message::Client(fd, peer));
                Ok(())
            }
            None => Err((fd, peer)),
        },
    )
}

impl Worker {
    fn core(&self) -> &Rc<Core> {
        &self.shared.core
    }

    fn upstreams(&self) -> &Rc<Upstreams> {
        &self.shared.upstreams
    }

    /// Starts the tasks that do not belong to a connection.
    fn begin(&self) -> io::Result<()> {
        upkeep::prefetch(self.upstreams());
        let (core, upstreams) = (self.core(), self.upstreams().clone());
        let waiting = self.shared.waiting.clone();
        let each = move |now| {
            waiting.look_around(&upstreams.core.gateway());
            upkeep::tick(&upstreams, now)
        };
        monoio::spawn(core.turns.clone().run(Reactor::current()?));
        monoio::spawn(core.spin.clone().run());
        monoio::spawn(core.spin.clone().give_back());
        monoio::spawn(core.clock.clone().sweep(Timer::new()?, each));
        monoio::spawn(upkeep::keep(self.upstreams().clone()));
        probe::start(self.upstreams());
        Ok(())
    }

    fn told(&self, message: Message) {
        let (shared, core) = (&self.shared, self.core());
        match message {
            Message::Reload(config, _receipt) => self.reload(&config),
            Message::Keys(keys, _receipt) => {
                core.in_force.replace_keys(keys);
                self.spares.clear();
            }
            Message::Unhealthy => core.drain.announce(),
            Message::Drain { empty_queues } => core.drain.begin(empty_queues),
            Message::Stop => {
                core.drain.stop();
                core.clock.wake_all();
            }
            Message::Resolved(answer) => {
                answer.tell(&core.log);
                self.upstreams().names.answered(answer);
            }
            Message::Client(fd, peer) => self.reception.receive(fd, peer),
            Message::Scraped(ticket, text) => shared.scrapes.arrived(ticket, text),
            Message::Turn(caller) => shared.waiting.called(caller),
            Message::Look(number, fellow) => {
                fellow.send(Message::Seen(number, shared.records.look()));
            }
            Message::Seen(number, answer) => shared.survey.answered(number, answer),
        }
    }

    /// Requests under way go on with the configuration they began with; idle connections that would be made again
    /// as they are stay too.
    fn reload(&self, config: &WorkerConfig) {
        let (shared, core) = (&self.shared, self.core());
        let new = config.gateway();
        let old = core.gateway();
        upkeep::reindex(self.upstreams(), &old, &new);
        let admits = core.in_force.replace(new, config.tls.clone());
        shared.records.clock().switch(core.takes_times());
        // Nobody waits in what is new; what is gone keeps nobody any more.
        shared.waiting.limits_have_changed(&old);
        self.spares.clear();
        if !core.is_operator() && !admits {
            core.in_force.change_door();
            core.clock.wake_all();
        }
        probe::start(self.upstreams());
        core.load.limit(config.connections);
        upkeep::prefetch(self.upstreams());
    }
}
