//! The process: listeners, workers, signals, reload and drain.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::keys::ManagedKey;
use crate::config::{Config, Listen};
use crate::descriptors;
use crate::listen::{self, Bound};
use crate::log::{Log, Value};
use crate::net::driver::{self, Rung};
use crate::net::mailbox::{Mailbox, mailbox};
use crate::net::tls_config;
use crate::net::worker::{self, Message, Settings, Start};
use crate::observe::Counters;

/// Reads the configuration; called at the start and on every SIGHUP.
pub type Load = Box<dyn Fn() -> Result<Loaded, String> + Send>;

/// A configuration and the entries of its keys file, if it names one.
pub type Loaded = (Config, Option<Arc<[ManagedKey]>>);

/// Why the process could not start.
#[derive(Debug)]
pub enum StartError {
    /// Configuration, certificates: exit code 2.
    Configuration(String),
    /// The system refused something, a port for instance: exit code 1.
    System(String),
}

/// A running gateway.
pub struct Server {
    workers: Vec<Mailbox<Message>>,
    counters: Arc<[Counters]>,
    /// Where it listens.
    pub addresses: Vec<Listen>,
    log: Log,
    load: Load,
    /// In force; a reload replaces it.
    config: Arc<Config>,
    signals: Signals,
}

/// How long idle connections have for their end when the process stops.
const GOODBYE: Duration = Duration::from_millis(500);

/// How often a drain looks whether it is over.
const DRAIN_POLL: Duration = Duration::from_millis(20);

impl Server {
    /// Loads the configuration, binds and starts the workers.
    ///
    /// # Errors
    /// Nothing is left running then.
    pub fn start(load: Load) -> Result<Self, StartError> {
        // Watched before anyone can know that it runs: so none of them kills it in between.
        let signals =
            Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| system("signals", &error))?;
        descriptors::raise();
        let settings = settings(&load).map_err(StartError::Configuration)?;
        let config = settings.config.clone();
        let log = Log::start(config.log.format, config.log.level).map_err(|e| system("log", &e))?;
        let (rung, why) = driver::choose(config.server.driver).map_err(|e| system("driver", &e))?;
        let count = workers(&config);
        log.info(
            "starting",
            &[
                ("driver", Value::Text(&rung)),
                ("why", Value::Text(&why)),
                ("workers", Value::Text(&count)),
                ("version", Value::Text(&crate::VERSION)),
            ],
        );
        if config.auth.master_key.is_none() && config.auth.keys_file.is_none() {
            log.warn(
                "no gateway key is configured: anyone who reaches this gateway uses its providers",
                &[],
            );
        }
        if config.providers.is_empty() {
            log.warn("no provider is configured", &[]);
        }
        let Bound {
            addresses,
            per_worker,
        } = listen::bind(&config.server.listen, count).map_err(StartError::System)?;
        let mut server = Self {
            workers: Vec::new(),
            counters: (0..count).map(|_| Counters::default()).collect(),
            addresses,
            log,
            load,
            config,
            signals,
        };
        for (index, listeners) in per_worker.into_iter().enumerate() {
            let started = server.start_worker(index, listeners, rung, &settings);
            started.map_err(|error| system("worker", &error))?;
        }
        for address in &server.addresses {
            server
                .log
                .info("listening", &[("addr", Value::Text(address))]);
        }
        Ok(server)
    }

    fn start_worker(
        &mut self,
        index: usize,
        listeners: Vec<OwnedFd>,
        rung: Rung,
        settings: &Settings,
    ) -> io::Result<()> {
        let (mailbox, inbox) = mailbox()?;
        let start = Start {
            listeners,
            mailbox: mailbox.clone(),
            inbox,
            settings: settings.clone(),
            index,
            counters: self.counters.clone(),
            log: self.log.clone(),
        };
        let log = self.log.clone();
        std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
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

    /// Handles signals until one ends the process: SIGTERM and SIGINT drain, a second one ends at once,
    /// SIGHUP reloads.
    #[must_use]
    pub fn run(mut self) -> ExitCode {
        loop {
            let arrived: Vec<_> = self.signals.wait().collect();
            for signal in arrived {
                if signal == SIGHUP {
                    self.reload();
                } else {
                    let code = self.drain();
                    self.log.flush();
                    return code;
                }
            }
        }
    }

    fn reload(&mut self) {
        match settings(&self.load) {
            Ok(settings) => {
                if self.config.fixed() != settings.config.fixed() {
                    self.log.warn(
                        "server.listen, workers, driver and log take effect with the next start",
                        &[],
                    );
                }
                self.config = settings.config.clone();
                for worker in &self.workers {
                    worker.send(Message::Reload(settings.clone()));
                }
                self.log.info("configuration reloaded", &[]);
            }
            Err(error) => {
                self.log.error(
                    "the new configuration is broken; the old one stays",
                    &[("error", Value::Text(&error))],
                );
            }
        }
    }

    fn drain(&mut self) -> ExitCode {
        let (delay, limit) = (self.config.timeouts.drain_delay, self.config.timeouts.drain);
        self.log.info("draining", &[]);
        self.tell_all(|| Message::Unhealthy);
        if self.second_signal(delay, |_| false) {
            return ExitCode::FAILURE;
        }
        self.tell_all(|| Message::Drain);
        // One turn more than none: connections in the accept queue are requests to come.
        if self.second_signal(DRAIN_POLL, |_| false) {
            return ExitCode::FAILURE;
        }
        if self.second_signal(limit, Self::is_idle) {
            return ExitCode::FAILURE;
        }
        if !self.is_idle() {
            self.log
                .warn("drain time is over; requests under way are cut", &[]);
        }
        self.tell_all(|| Message::Stop);
        // Idle connections get their orderly end; none of them is worth waiting for.
        if self.second_signal(GOODBYE, Self::is_deserted) {
            return ExitCode::FAILURE;
        }
        self.log.info("stopped", &[]);
        ExitCode::SUCCESS
    }

    /// Whether no client connection is open.
    fn is_deserted(&self) -> bool {
        self.counters
            .iter()
            .all(|worker| worker.open.load(Ordering::Relaxed) == 0)
    }

    /// Whether no request is under way.
    fn is_idle(&self) -> bool {
        self.counters
            .iter()
            .all(|worker| worker.in_flight.load(Ordering::Relaxed) == 0)
    }

    /// Waits until `done`, for `time` or until another ending signal; whether it was that.
    fn second_signal(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let begin = Instant::now();
        while let Some(left) = time.checked_sub(begin.elapsed())
            && !done(self)
        {
            pause(DRAIN_POLL.min(left));
            if self.signals.pending().any(|signal| signal != SIGHUP) {
                self.log.warn("second signal: ending at once", &[]);
                return true;
            }
        }
        false
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for worker in &self.workers {
            worker.send(message());
        }
    }
}

fn settings(load: &Load) -> Result<Settings, String> {
    let (config, keys) = load()?;
    let tls = tls_config::load(&config)?;
    let workers = workers(&config);
    let connections = config.limits.connections;
    Ok(Settings {
        connections: connections.map_or_else(|| descriptors::connections(workers), Into::into),
        config: Arc::new(config),
        keys,
        tls,
    })
}

fn system(what: &str, error: &dyn std::fmt::Display) -> StartError {
    StartError::System(format!("{what}: {error}"))
}

fn workers(config: &Config) -> usize {
    config.server.workers.map_or_else(usable_cores, Into::into)
}

/// Cores that this process may run on: the affinity mask and the cgroup's quota count.
fn usable_cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

#[expect(clippy::disallowed_methods, reason = "the main thread serves nobody")]
fn pause(time: Duration) {
    std::thread::sleep(time);
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
