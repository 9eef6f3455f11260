//! The process: listeners, workers, signals, reload, hand-over and drain.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::config::{Config, Listen};
use crate::log::{Log, Value};
use crate::net::client::scrape::{Scribe, Sources};
use crate::net::core::in_force::WorkerConfig;
use crate::net::core::load::Rank;
use crate::net::sockets::driver::{self, Rung};
use crate::net::sockets::mailbox::mailbox;
use crate::net::upstream::resolve::Resolver;
use crate::net::worker::messages::{Fellows, Message};
use crate::net::worker::{self, Start};
use crate::observe::{Counters, Reloads, Slots};
use crate::otlp::Exporter;
use crate::policy::auth::Keys;
use crate::process::control::Control;
use crate::process::handover::Inherited;
use crate::process::listen::{self, Listener};
use crate::process::watch::{self, Seen, Watch};
use crate::system::confine::{self, Confinement, Rules};
use crate::system::descriptors;
use crate::system::notify;
use crate::system::process;
use crate::system::signals::{self, Request};
use crate::system::time::unix_seconds;

mod commands;
mod drain;
mod export;
mod limits;
mod names;
mod reload;
mod resolution;
mod settings;
mod shared;
mod state;
mod succession;

use drain::Leaving;
use settings::{Load, Read, Settled, check_last_key, settings, warn_of_settings, workers};
use shared::Shared;
use state::{Applied, Change, Event, Reading};

pub(crate) use settings::Loaded;
pub(crate) use state::Server;

/// Why the process could not start.
#[derive(Debug)]
pub(crate) enum StartError {
    /// Configuration, certificates: exit code 2.
    Configuration(String),
    /// The system refused something, a port for instance: exit code 1.
    System(String),
}

/// What every worker is started with.
struct Common {
    /// Of those that serve clients.
    count: usize,
    rung: Rung,
    settings: WorkerConfig,
    fellows: Fellows,
    resolver: Resolver,
    rules: Rules,
}

impl Server {
    /// Loads the configuration, listens, on sockets that were `inherited` where they fit, and starts the
    /// workers. Instances that were drained are.
    ///
    /// # Errors
    /// Nothing is left running then.
    pub(crate) fn start(load: Load, inherited: Inherited) -> Result<Self, StartError> {
        let (events, arrived) = channel();
        // Watched before anyone can know that it runs: so none of them kills it in between.
        let starting = watch_signals(&events)?;
        descriptors::raise();
        let (settings, watch) = first_settings(&load).map_err(StartError::Configuration)?;
        let config = settings.config.clone();
        check_listeners(&config, &inherited.listeners)?;
        if config.server.dumpable {
            process::set_dumpable(true);
        }
        let confinement = Confinement::prepare(config.server.landlock, &config.log.file);
        let confinement = confinement.map_err(StartError::System)?;
        let log =
            Log::start(&config.log, colours(), confinement.log).map_err(|e| system("log", &e))?;
        let (rung, why) = driver::choose(config.server.driver, !config.server.spin.is_zero())
            .map_err(|e| system("driver", &e))?;
        let count = workers(&config);
        say_start(&log, &settings, (&rung, &why), (count, &confinement.state));
        let (threads, ends) = (confinement.names.clone(), (&events, &arrived));
        let begun = resolution::begin(threads, ends, &settings, &log);
        let (names, for_workers) = begun.map_err(|e| system("names", &e))?;
        let listeners =
            listeners(&config, inherited.listeners, count).map_err(StartError::System)?;
        let control = Control::open(config.server.control.as_deref(), inherited.control);
        let (control, forsaken) = control.map_err(StartError::System)?;
        let counters = counters(&config, count);
        let reloads = Arc::new(Reloads::since(unix_seconds()));
        let scribe = scribe(&counters, count, &log, &reloads);
        let mut server = Self {
            workers: Vec::new(),
            counters,
            reloads,
            scribe,
            exporter: Exporter::confined(confinement.names),
            listeners: listeners.into(),
            control,
            forsaken,
            shared: Shared::default(),
            predecessor: None,
            succeeded_by: None,
            log,
            load,
            reading: Reading::No,
            config,
            spread: for_workers.config.clone(),
            keys: settings.keys,
            choices: for_workers.choices.clone(),
            tls: settings.tls,
            retired: Vec::new(),
            watch,
            look_at: Instant::now() + watch::LOOK_EVERY,
            names,
            slots: settings.slots,
            successor: None,
            visitors: Arc::default(),
            events,
            arrived,
        };
        server.inherit(&inherited.drained, inherited.shares);
        let common = Common {
            count,
            rung,
            settings: for_workers,
            fellows: Fellows::default(),
            resolver: server.names.resolver().clone(),
            rules: confinement.workers,
        };
        server.begin(&common)?;
        starting.over();
        server.say_where();
        Ok(server)
    }

    /// Starts all threads.
    fn begin(&mut self, common: &Common) -> Result<(), StartError> {
        self.keep_alive();
        self.export();
        let started = self.start_workers(self.counters.len(), common);
        started.map_err(|error| system("worker", &error))?;
        self.take_commands(common.rules.clone())
    }

    /// Whoever waits for these lines may connect.
    fn say_where(&self) {
        for listener in self.listeners.iter() {
            let addr = Value::Text(&listener.address);
            let message = match listener.metrics {
                true => "serving metrics",
                false => "listening",
            };
            self.log.info(message, &[("addr", addr)]);
        }
    }

    /// Whoever opened the listening sockets, the kernel looks after what is accepted from them.
    fn keep_alive(&self) {
        for listener in self.listeners.iter() {
            if let Err(error) = listener.keep_alive(&self.config.tcp) {
                let addr = ("addr", Value::Text(&listener.address));
                let error = ("error", Value::Text(&error));
                self.log.warn("TCP keepalive cannot be set", &[addr, error]);
            }
        }
    }

    /// The addresses that it listens on.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Listen> {
        let clients = self.listeners.iter().filter(|listener| !listener.metrics);
        clients.map(|listener| &listener.address)
    }

    /// The addresses that it serves its metrics on.
    pub(crate) fn metrics_addresses(&self) -> impl Iterator<Item = &Listen> {
        let operators = self.listeners.iter().filter(|listener| listener.metrics);
        operators.map(|listener| &listener.address)
    }

    /// Starts so many workers, and has those that serve clients know each other.
    fn start_workers(&mut self, all: usize, common: &Common) -> io::Result<()> {
        for index in 0..all {
            self.start_worker(index, common)?;
        }
        // Set once, here.
        let fellows = self.workers.iter().take(common.count);
        let _ = common.fellows.set(fellows.cloned().collect());
        Ok(())
    }

    /// Starts one of the `count` workers that serve clients, or the one beyond them that serves metrics, so that
    /// an answer of many lines holds no stream up.
    fn start_worker(&mut self, index: usize, common: &Common) -> io::Result<()> {
        let mut listeners: Vec<OwnedFd> = Vec::new();
        let (count, rung) = (common.count, common.rung);
        let metrics = index >= count;
        for listener in self.listeners.iter().filter(|it| it.metrics == metrics) {
            listeners.extend(match metrics {
                true => listener.of_worker(0, 1)?,
                false => listener.of_worker(index, count)?,
            });
        }
        let (mailbox, inbox) = mailbox()?;
        let start = Start {
            listeners,
            mailbox: mailbox.clone(),
            inbox,
            config: common.settings.clone(),
            rank: Rank {
                index,
                counters: self.counters.clone(),
                workers: count,
            },
            fellows: common.fellows.clone(),
            visitors: self.visitors.clone(),
            resolver: common.resolver.clone(),
            log: self.log.clone(),
            scribe: self.scribe.clone(),
            dialler: None,
        };
        let log = self.log.clone();
        let thread = std::thread::Builder::new().name(match metrics {
            true => "metrics".into(),
            false => format!("worker-{index}"),
        });
        confine::spawn(thread, common.rules.clone(), move || {
            let _loud = Loud(log.clone());
            match driver::block_on(rung, worker::run(start)) {
                Ok(Err(error)) | Err(error) => {
                    log.error("a worker failed", &[("error", Value::Text(&error))])
                }
                Ok(Ok(())) => {}
            }
        })?;
        self.workers.push(mailbox);
        Ok(())
    }

    /// Handles signals until one ends the process: SIGTERM, SIGINT and SIGQUIT drain, a second one ends at once,
    /// SIGHUP reloads, SIGUSR1 opens the log file anew, SIGUSR2 starts a successor and drains once that accepts, which is
    /// no signal to end.
    #[must_use]
    pub(crate) fn run(mut self) -> ExitCode {
        notify::ready();
        while let Ok(event) = self.next_event() {
            let mut leaving = match event {
                Event::Asked(Request::Reload) => {
                    self.reload();
                    continue;
                }
                Event::Asked(Request::Reopen) => {
                    self.log.reopen();
                    continue;
                }
                Event::Asked(Request::Succeed) => {
                    self.succeed();
                    continue;
                }
                Event::Read(read) => {
                    self.has_read(read);
                    continue;
                }
                Event::InForce(change) => {
                    self.in_force(&change);
                    continue;
                }
                Event::Resolved(answer) => {
                    self.has_resolved(answer);
                    continue;
                }
                Event::Unreached(name, address, at) => {
                    self.names.is_unreached(&name, address, at);
                    continue;
                }
                Event::Heard(from, packet) => {
                    self.heard(from, packet);
                    continue;
                }
                Event::Command(command) => {
                    self.obey(command);
                    continue;
                }
                Event::Asked(Request::End) => Leaving::ForGood,
                Event::Succession(Ok(successor)) => {
                    self.successor = None;
                    self.announce(successor);
                    Leaving::Succeeded
                }
                Event::Succession(Err(error)) => {
                    self.successor = None;
                    self.succession_failed(&error);
                    continue;
                }
            };
            let code = self.drain(&mut leaving);
            self.log.flush();
            // Not after a second signal, which is to end it at once.
            if code == ExitCode::SUCCESS {
                self.exporter.flush();
                self.log.flush();
            }
            return code;
        }
        ExitCode::FAILURE
    }

    /// Waits for an event; meanwhile it looks at the keys file, has names looked up, and speaks of limits to other processes.
    fn next_event(&mut self) -> Result<Event, RecvTimeoutError> {
        // The sender is kept here, so there is always a next event.
        loop {
            let look = self.until_look();
            if look == Some(Duration::ZERO) {
                self.look();
                continue;
            }
            self.exchange_limits();
            let exchange = self.shared.is_on().then_some(limits::LOOK_EVERY);
            let ask = self.names.ask(self.config.address_age);
            match [look, exchange, ask].into_iter().flatten().min() {
                None => return Ok(self.arrived.recv()?),
                Some(time) => match self.arrived.recv_timeout(time) {
                    Err(RecvTimeoutError::Timeout) => {}
                    event => return event,
                },
            }
        }
    }

    /// How long until the keys file is looked at, where there is one.
    fn until_look(&self) -> Option<Duration> {
        self.config.auth.keys_file.as_ref()?;
        Some(self.look_at.saturating_duration_since(Instant::now()))
    }

    fn look(&mut self) {
        self.look_at = Instant::now() + watch::LOOK_EVERY;
        self.retired.retain(|keys| Arc::strong_count(keys) > 1);
        // What a reload has read is older than what would be seen now.
        if self.reading == Reading::No
            && let Some(path) = self.config.auth.keys_file.clone()
        {
            self.look_at_keys(&path);
        }
    }

    fn look_at_keys(&mut self, path: &Path) {
        match self.watch.look(path) {
            None => {}
            Some(Seen::Keys(entries)) => {
                let master = self.config.auth.master_key.as_ref();
                let keys = Keys::new(master, Some(&entries), Some(&self.keys));
                if let Err(error) = check_last_key(&keys, &self.keys, &self.config) {
                    self.watch.refused();
                    return self.say_keys_stay(&error);
                }
                self.put_in_force(Arc::new(keys));
                self.export();
                let applied = self.applied(Change::Keys(entries.len()));
                self.tell_all(|| Message::Keys(self.keys.clone(), applied.clone()));
            }
            Some(Seen::Broken(error)) => self.say_keys_stay(&error),
            Some(Seen::Unfinished(why)) => self.say_unfinished(&why),
        }
    }

    fn say_unfinished(&self, why: &str) {
        self.log.warn(
            "the keys file seems to be written just now; the old keys stay",
            &[("why", Value::Text(&why))],
        );
    }

    fn say_keys_stay(&self, error: &str) {
        self.log.error(
            "the new keys file is broken; the old keys stay",
            &[("error", Value::Text(&error))],
        );
    }

    fn applied(&self, change: Change) -> Arc<Applied> {
        let events = self.events.clone();
        Arc::new(Applied { change, events })
    }

    fn in_force(&mut self, change: &Change) {
        match change {
            Change::Configuration => {
                self.log.info("configuration reloaded", &[]);
                notify::ready();
            }
            Change::Keys(count) => {
                let count = Value::Number(*count as u64);
                self.log.info("keys reloaded", &[("keys", count)]);
            }
            Change::Addresses(moved) => {
                moved.tell(&self.log);
                self.names.are_in_force();
            }
        }
    }

    fn put_in_force(&mut self, keys: Arc<Keys>) {
        self.retired.retain(|keys| Arc::strong_count(keys) > 1);
        self.retired.push(std::mem::replace(&mut self.keys, keys));
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for worker in &self.workers {
            worker.send(message());
        }
    }
}

/// Has signals come as events; what is returned says when it has started.
fn watch_signals(events: &Sender<Event>) -> Result<signals::Starting, StartError> {
    let asked = events.clone();
    let starting = signals::watch(move |request| asked.send(Event::Asked(request)).is_ok());
    starting.map_err(|error| system("signals", &error))
}

/// Those of each thread that serves clients or metrics.
fn counters(config: &Config, workers: usize) -> Arc<[Counters]> {
    let all = workers + usize::from(!config.metrics.listen.is_empty());
    (0..all).map(|_| Counters::default()).collect()
}

fn first_settings(load: &Load) -> Result<(Settled, Watch), String> {
    let read = Read::with(load, None)?;
    let (settings, watch) = settings(read, None, &Slots::default())?;
    Ok((settings, watch.unwrap_or_else(|_| Watch::new(None, None))))
}

fn say_start(log: &Log, settings: &Settled, driver: (&Rung, &String), started: (usize, &String)) {
    let config = &settings.config;
    log.info(
        "starting",
        &[
            ("driver", Value::Text(driver.0)),
            ("why", Value::Text(driver.1)),
            ("workers", Value::Text(&started.0)),
            ("landlock", Value::Text(started.1)),
            ("version", Value::Text(&crate::base::VERSION)),
        ],
    );
    say_settings(log, settings);
    warn_of_settings(log, settings);
    if config.auth.is_open() && config.auth.open {
        log.warn(
            "no gateway key is configured, as auth.open says: anyone who reaches this gateway uses its providers",
            &[],
        );
    }
    if config.providers.is_empty() {
        log.warn("no provider is configured", &[]);
    }
}

/// What was read, and where it leads.
fn say_settings(log: &Log, settings: &Settled) {
    let config = &settings.config;
    let file = config.file.as_ref();
    let file = file.map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let providers = config.providers.iter();
    let providers = providers.map(|provider| {
        let bases = provider
            .instances()
            .map(|instance| instance.base.to_string());
        format!("{} {}", provider.name, bases.collect::<Vec<_>>().join(" "))
    });
    let providers: Vec<String> = providers.collect();
    log.info(
        "configuration",
        &[
            ("file", Value::Text(&file)),
            ("keys", Value::Number(settings.keys.count() as u64)),
            ("providers", Value::Text(&providers.join(", "))),
        ],
    );
}

/// Told from a port that another program holds; what a service manager has opened stands in for all of them.
fn check_listeners(config: &Config, inherited: &[Listener]) -> Result<(), StartError> {
    let activated = inherited.iter().any(|listener| listener.asked.is_none());
    let conflict = config.listen_conflict.as_ref().filter(|_| !activated);
    conflict.map_or(Ok(()), |error| {
        Err(StartError::Configuration(error.to_string()))
    })
}

/// Those that serve clients, and those that serve metrics.
fn listeners(
    config: &Config,
    inherited: Vec<Listener>,
    workers: usize,
) -> Result<Vec<Listener>, String> {
    let (for_metrics, inherited) = inherited.into_iter().partition(|it| it.metrics);
    let mut listeners = listen::open(&config.server.listen, inherited, workers)?;
    let metrics = listen::open_metrics(&config.metrics.listen, for_metrics)?;
    listeners.extend(metrics);
    Ok(listeners)
}

fn system(what: &str, error: &dyn std::fmt::Display) -> StartError {
    StartError::System(format!("{what}: {error}"))
}

/// Ends the process when a worker ends, which none should: half a gateway is worse than none.
struct Loud(Log);

/// Exit code for a defect of our own, as in `sysexits.h`.
const EXIT_SOFTWARE: i32 = 70;

impl Drop for Loud {
    fn drop(&mut self) {
        self.0
            .error("a worker has ended; the process goes with it", &[]);
        self.0.flush();
        std::process::exit(EXIT_SOFTWARE);
    }
}

fn scribe(counters: &Arc<[Counters]>, workers: usize, log: &Log, reloads: &Arc<Reloads>) -> Scribe {
    Scribe::new(Sources {
        counters: counters.clone(),
        workers,
        process: Arc::default(),
        log: log.clone(),
        reloads: reloads.clone(),
    })
}

/// Whether a terminal may be sent colours (no-color.org).
fn colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    is_set("NO_COLOR").is_none() && is_set("TERM").is_none_or(|term| term != "dumb")
}
