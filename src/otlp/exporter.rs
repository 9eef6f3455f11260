//! The thread that sends spans and metrics. It waits for a collector in nobody's stead: what it has no time for stays in
//! the ring before it until that is full, and is dropped and counted then.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::Builder;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message as _;
use rustls::ClientConfig;

use crate::base::reason;
use crate::config::Config;
use crate::log::{Log, Spool, Value, tap};
use crate::net::client::scrape::{Sources, Subjects};
use crate::observe::exports::{Outcome, Signal};
use crate::system::confine::{self, Rules};
use crate::system::random::Supply;

use super::message::{Resource, Span};
use super::metric;
use super::pace::Backoff;
use super::post::{Answer, Place, post};
use super::resource::resource;
use super::span::{self, Providers};

/// How long spans wait for others.
const SPANS_EVERY: Duration = Duration::from_secs(2);
/// Spans of one message.
const BATCH_SPANS: usize = 1024;
/// Messages of spans that are sent before it is looked at anything else.
const BATCHES_AT_ONCE: usize = 16;
/// How long the end of the process waits for what is left to be sent.
const FLUSH_MAX: Duration = Duration::from_secs(2);
/// The log says so often at most that something fails.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// What is configured, as far as it can change.
pub(crate) struct Settings {
    place: Place,
    spans: bool,
    metrics: bool,
    threshold: u64,
    interval: Duration,
    timeout: Duration,
    name: String,
    attributes: std::collections::BTreeMap<String, String>,
    providers: Providers,
    subjects: Subjects,
}

impl Settings {
    /// Those of a configuration; `None` where it is off. `tls` is towards the collector, `subjects` is what the metrics are
    /// about.
    #[must_use]
    pub(crate) fn of(
        config: &Config,
        tls: Option<Arc<ClientConfig>>,
        subjects: Subjects,
    ) -> Option<Self> {
        let otlp = &config.otlp;
        let providers = config.providers.iter();
        let providers = providers.map(|it| {
            let places = it.instances().map(|instance| instance.base.clone());
            (it.name.clone(), places.collect())
        });
        Some(Self {
            place: Place {
                base: otlp.place()?.clone(),
                tls,
                headers: otlp.headers.clone(),
            },
            spans: otlp.traces,
            metrics: otlp.metrics,
            threshold: otlp.sample.threshold(),
            interval: otlp.interval,
            timeout: otlp.timeout,
            name: otlp.service_name.clone(),
            attributes: otlp.resource.clone(),
            providers: Providers::new(providers),
            subjects,
        })
    }
}

enum Order {
    /// Other ones are in force.
    Settings(Box<Settings>),
    /// Many spans wait.
    Hurry,
    /// All that is left is sent by then; answered when it is.
    Flush(Instant, SyncSender<()>),
}

/// The main thread's handle: of a thread, where a collector is configured.
pub(crate) struct Exporter {
    rules: Rules,
    running: Option<Running>,
}

/// The thread ends with it, once it has sent what is left.
struct Running {
    orders: Sender<Order>,
    threshold: Arc<AtomicU64>,
}

impl Exporter {
    /// Of no thread yet; one would be confined by these.
    #[must_use]
    pub(crate) fn confined(rules: Rules) -> Self {
        let running = None;
        Self { rules, running }
    }

    /// Goes by these from now on, or sends nothing.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn go_by(
        &mut self,
        settings: Option<Settings>,
        sources: &Sources,
        log: &Log,
    ) -> io::Result<()> {
        match (settings, &self.running) {
            (Some(settings), Some(running)) => running.change(settings),
            (Some(settings), None) => {
                let rules = self.rules.clone();
                self.running = Some(Running::start(settings, sources.clone(), log, rules)?);
            }
            (None, Some(_)) => {
                log.lead(None);
                self.running = None;
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Has all that is left sent, and waits for that, but not for ever.
    pub(crate) fn flush(&self) {
        if let Some(running) = &self.running {
            running.flush();
        }
    }
}

impl Running {
    /// Starts the thread, and leads the log's records of traced requests there.
    fn start(settings: Settings, sources: Sources, log: &Log, rules: Rules) -> io::Result<Self> {
        let (orders, inbox) = channel();
        let threshold = Arc::new(AtomicU64::new(settings.threshold));
        let hurry = orders.clone();
        let (tap, spool) = tap(log.exports().clone(), threshold.clone(), move || {
            let _ = hurry.send(Order::Hurry);
        });
        let worker = Worker::new(settings, sources, log.clone(), spool);
        let thread = Builder::new().name("otlp".into());
        confine::spawn(thread, rules, move || worker.run(&inbox))?;
        log.exports().are_on();
        log.lead(Some(tap));
        Ok(Self { orders, threshold })
    }

    fn change(&self, settings: Settings) {
        self.threshold.store(settings.threshold, Ordering::Relaxed);
        let _ = self.orders.send(Order::Settings(Box::new(settings)));
    }

    fn flush(&self) {
        let (done, wait) = sync_channel(1);
        let until = Instant::now() + FLUSH_MAX;
        if self.orders.send(Order::Flush(until, done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_MAX);
        }
    }
}

/// Spans on their way.
struct Batch {
    message: Vec<u8>,
    spans: u64,
}

/// When something is to be sent next, and what was said of it.
struct Pace {
    due: Instant,
    backoff: Backoff,
    said: Option<Instant>,
}

impl Pace {
    fn at(due: Instant) -> Self {
        Self {
            due,
            backoff: Backoff::default(),
            said: None,
        }
    }
}

struct Worker {
    settings: Settings,
    resource: Resource,
    instance: [u8; 16],
    sources: Sources,
    log: Log,
    spool: Spool,
    batch: Option<Batch>,
    spans: Pace,
    metrics: Pace,
    random: Supply,
    /// Since when counters count, in nanoseconds since 1970.
    start: u64,
}

impl Worker {
    fn new(settings: Settings, sources: Sources, log: Log, spool: Spool) -> Self {
        let mut random = Supply::default();
        let (now, instance) = (Instant::now(), random.take());
        Self {
            resource: resource(&settings.name, &settings.attributes, instance),
            start: started(&sources),
            spans: Pace::at(now + SPANS_EVERY),
            metrics: Pace::at(now + settings.interval),
            batch: None,
            settings,
            instance,
            sources,
            log,
            spool,
            random,
        }
    }

    fn run(mut self, inbox: &Receiver<Order>) {
        loop {
            self.work(Instant::now());
            let due = match self.settings.metrics {
                true => self.spans.due.min(self.metrics.due),
                false => self.spans.due,
            };
            match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Order::Settings(settings)) => self.change(*settings),
                Ok(Order::Hurry) if self.batch.is_none() => self.spans.due = Instant::now(),
                Ok(Order::Hurry) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Order::Flush(until, done)) => {
                    self.flush(until);
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return self.flush(Instant::now() + FLUSH_MAX);
                }
            }
        }
    }

    /// What failed with the old ones may succeed with these.
    fn change(&mut self, settings: Settings) {
        let now = Instant::now();
        self.resource = resource(&settings.name, &settings.attributes, self.instance);
        if settings.interval != self.settings.interval || !self.settings.metrics {
            self.metrics = Pace::at(now + settings.interval);
        }
        self.metrics.due = self.metrics.due.min(now + settings.interval);
        self.spans = Pace::at(now);
        self.settings = settings;
    }

    /// Sends what is due.
    fn work(&mut self, now: Instant) {
        if self.spans.due <= now {
            self.spans.due = now + SPANS_EVERY;
            self.spool.look();
            for _ in 0..BATCHES_AT_ONCE {
                if !self.send_spans(self.settings.timeout) {
                    break;
                }
            }
            if self.batch.is_none() && !self.spool.is_empty() {
                self.spans.due = Instant::now();
            }
        }
        if self.settings.metrics && self.metrics.due <= now {
            self.metrics.due = now + self.settings.interval;
            self.send_metrics(self.settings.timeout);
        }
    }

    /// Sends the next spans; whether there may be more and they may be sent now.
    fn send_spans(&mut self, time: Duration) -> bool {
        let batch = self.batch.take();
        let Some(batch) = batch.or_else(|| self.next_batch()) else {
            return false;
        };
        let posted = post(&self.settings.place, Signal::Traces, &batch.message, time);
        let exports = self.log.exports().clone();
        match self.outcome(Signal::Traces, &posted) {
            Outcome::Taken => {
                let rejected = posted.map_or(0, |answer| answer.rejected).min(batch.spans);
                exports.drop_spans(rejected);
                exports.sent_spans(batch.spans - rejected);
                true
            }
            Outcome::Refused => {
                exports.drop_spans(batch.spans);
                true
            }
            Outcome::Again => {
                self.batch = Some(batch);
                false
            }
        }
    }

    fn next_batch(&mut self) -> Option<Batch> {
        let mut spans: Vec<Span> = Vec::new();
        while spans.len() < BATCH_SPANS
            && let Some(traced) = self.spool.next()
        {
            span::put(&traced, &self.settings.providers, &mut spans);
        }
        let count = spans.len() as u64;
        if !self.settings.spans {
            // Requests from before the reload that has ended this.
            self.log.exports().drop_spans(count);
            return None;
        }
        (count > 0).then(|| Batch {
            message: span::traces(&self.resource, spans).encode_to_vec(),
            spans: count,
        })
    }

    fn send_metrics(&mut self, time: Duration) {
        let families = self.sources.figures(&self.settings.subjects);
        let span = metric::Span {
            start: self.start,
            now: unix_nanos(),
        };
        let message = metric::metrics(&self.resource, families, span).encode_to_vec();
        let posted = post(&self.settings.place, Signal::Metrics, &message, time);
        self.outcome(Signal::Metrics, &posted);
    }

    /// What came of it: counted, said, and heeded for what is to be sent next.
    fn outcome(&mut self, signal: Signal, posted: &io::Result<Answer>) -> Outcome {
        let outcome = posted.as_ref().map_or(Outcome::Again, |it| it.outcome);
        self.log.exports().tried(signal, outcome);
        let now = Instant::now();
        let [chance, ..] = self.random.take();
        let pace = match signal {
            Signal::Traces => &mut self.spans,
            Signal::Metrics => &mut self.metrics,
        };
        match outcome {
            Outcome::Taken | Outcome::Refused => pace.backoff.reset(),
            Outcome::Again => {
                let asked = posted.as_ref().ok().and_then(|it| it.asked);
                let wait = pace.backoff.next(asked, chance);
                // Metrics that come at their time are as good.
                pace.due = match signal {
                    Signal::Traces => now + wait,
                    Signal::Metrics if asked.is_some() => pace.due.max(now + wait),
                    Signal::Metrics => pace.due.min(now + wait),
                };
            }
        }
        let is_whole = posted.as_ref().is_ok_and(|it| it.rejected == 0);
        if outcome == Outcome::Taken && is_whole {
            pace.said = None;
        } else if pace
            .said
            .is_none_or(|said| now.duration_since(said) >= SAID_EVERY)
        {
            pace.said = Some(now);
            self.say(signal, posted);
        }
        outcome
    }

    /// Never in the words of a collector: they could be anybody's.
    fn say(&self, signal: Signal, posted: &io::Result<Answer>) {
        let endpoint = ("endpoint", Value::Text(&self.settings.place.base));
        let signal = signal.as_str();
        let signal = ("signal", Value::Text(&signal));
        match posted {
            Ok(answer) if answer.rejected > 0 => {
                let count = ("rejected", Value::Number(answer.rejected));
                let message = "the collector has rejected a part of what it was sent";
                self.log.warn(message, &[signal, endpoint, count]);
            }
            Ok(answer) => {
                let status = ("status", Value::Number(answer.status.into()));
                let message = match answer.outcome {
                    Outcome::Refused => "the collector refuses what it is sent",
                    _ => "the collector takes nothing now; it is tried again",
                };
                self.log.warn(message, &[signal, endpoint, status]);
            }
            Err(error) => {
                let error = reason::of(error);
                let error = ("error", Value::Text(&error));
                let message = "the collector cannot be reached; it is tried again";
                self.log.warn(message, &[signal, endpoint, error]);
            }
        }
    }

    /// Sends what is left, once, as long as there is time.
    fn flush(&mut self, until: Instant) {
        let left = || until.saturating_duration_since(Instant::now());
        let longest = self.settings.timeout;
        while !left().is_zero() && self.send_spans(left().min(longest)) {}
        if self.settings.metrics && !left().is_zero() {
            self.send_metrics(left().min(longest));
        }
    }
}

/// When the process started: its counters began at nought.
fn started(sources: &Sources) -> u64 {
    let age = sources.process.look().start_seconds;
    age.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .and_then(|since| u64::try_from(since.as_nanos()).ok())
        .unwrap_or_else(unix_nanos)
}

fn unix_nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}
