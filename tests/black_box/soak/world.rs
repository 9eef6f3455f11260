//! What clients, providers and the operator of one run share.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::crowd::Crowd;
use super::moving::Places;
use super::own::References;
use super::plan::{Id, Kind, Plan};
use super::pool::{self, Refusal, STATIONS};
use super::rests::Rests;
use crate::support::{Wire, tls};

/// Every secret holds this, so one search finds any of them.
pub(crate) const SECRET: &str = "soaksecret";

/// What a client's gateway key begins with.
pub(crate) const GATEWAY_KEY: &str = "gk-soaksecret";

/// See the module's documentation.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) addr: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) stop: AtomicBool,
    /// One for each port; odd while it is down.
    pub(crate) epochs: [AtomicU64; STATIONS],
    /// Whether the instance at a port says that it takes nothing now.
    pub(crate) busy: [AtomicBool; STATIONS],
    /// The newest configuration that was written.
    pub(crate) latest: AtomicU64,
    /// A configuration that is in force for certain, or an older one than that.
    pub(crate) floor: AtomicU64,
    pub(crate) ledger: Ledger,
    pub(crate) tally: Mutex<Tally>,
    /// The gateway's own answers as they were the first time.
    pub(crate) references: References,
    pub(crate) places: Places,
    pub(crate) crowd: Crowd,
    pub(crate) rests: Rests,
    /// Connections on which nobody reads any more, until the run is over.
    pub(crate) silent: Mutex<Vec<Wire>>,
    failures: Mutex<Vec<String>>,
}

/// Counts for the table.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) outcomes: BTreeMap<(Kind, &'static str), u64>,
    pub(crate) events: BTreeMap<&'static str, u64>,
    /// Microseconds, by what they are the time of.
    pub(crate) times: BTreeMap<&'static str, Vec<u32>>,
}

/// The failures that are printed.
const FAILURES_MAX: usize = 20;

impl World {
    pub(crate) fn new(seed: u64, addr: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        Self {
            seed,
            addr,
            tls,
            stop: AtomicBool::new(false),
            epochs: Default::default(),
            busy: Default::default(),
            latest: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            ledger: Ledger::default(),
            tally: Mutex::default(),
            references: References::default(),
            places: Places::default(),
            crowd: Crowd::default(),
            rests: Rests::default(),
            silent: Mutex::default(),
            failures: Mutex::default(),
        }
    }

    pub(crate) fn connect(&self) -> Wire {
        let wire = match &self.tls {
            None => Wire::connect(self.addr),
            Some(config) => Wire::connect_tls(self.addr, tls::client(config)),
        };
        wire.without_record()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Odd while one of a provider's instances is down, and another number after that.
    pub(crate) fn epoch(&self, provider: usize) -> u64 {
        let stations = pool::stations(provider);
        let epochs = stations.map(|station| self.epochs[station].load(Ordering::SeqCst));
        let (sum, down) = epochs.fold((0, false), |(sum, down), epoch| {
            (sum + epoch, down || epoch % 2 == 1)
        });
        2 * sum + u64::from(down)
    }

    /// Whether the provider went down since it was in this epoch.
    pub(crate) fn restarted_since(&self, provider: usize, epoch: u64) -> bool {
        epoch % 2 == 1 || self.epoch(provider) != epoch
    }

    /// Whether the instance at a port went down since it was in this epoch.
    pub(crate) fn down_since(&self, station: usize, epoch: u64) -> bool {
        epoch % 2 == 1 || self.epochs[station].load(Ordering::SeqCst) != epoch
    }

    /// Notes what must not be; the run ends with it.
    pub(crate) fn fail(&self, what: String) {
        let mut failures = self.failures.lock().unwrap();
        eprintln!("FAILED: {what}");
        if failures.len() < FAILURES_MAX {
            failures.push(what);
        }
        self.stop.store(true, Ordering::SeqCst);
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, event: &'static str) {
        *self.tally.lock().unwrap().events.entry(event).or_default() += 1;
    }

    pub(crate) fn outcome(&self, kind: Kind, outcome: &'static str) {
        let mut tally = self.tally.lock().unwrap();
        *tally.outcomes.entry((kind, outcome)).or_default() += 1;
    }

    pub(crate) fn time(&self, what: &'static str, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let mut tally = self.tally.lock().unwrap();
        tally.times.entry(what).or_default().push(micros);
    }
}

/// What the provider knows of one exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    /// When its client began.
    pub(crate) begun: Option<Instant>,
    /// The configuration that was in force for certain then, or an older one.
    pub(crate) floor: u64,
    /// How often its head arrived and was to be answered.
    pub(crate) heads: u32,
    /// How often it arrived after the provider had begun to close.
    pub(crate) raced: u32,
    /// How the provider turned its last arrival down.
    pub(crate) refusal: Option<Refusal>,
    /// How often the provider's answer let it go on to somewhere else.
    pub(crate) sent_on: u32,
    /// When its client left.
    pub(crate) left: Option<Instant>,
    /// When the provider broke it off.
    pub(crate) cut: Option<Instant>,
}

impl Entry {
    /// What its client has to get, as far as the provider has seen to it.
    pub(crate) fn given(&self, plan: &Plan) -> Plan {
        match &self.refusal {
            Some(refusal) => plan.turned_down(refusal),
            None => plan.clone(),
        }
    }
}

/// Every exchange under way.
#[derive(Default)]
pub(crate) struct Ledger {
    entries: Mutex<HashMap<Id, Entry>>,
}

/// How long an exchange whose client left may still be seen at the provider.
const AFTERGLOW: Duration = Duration::from_secs(30);

impl Ledger {
    pub(crate) fn open(&self, id: Id, floor: u64) {
        let entry = Entry {
            begun: Some(Instant::now()),
            floor,
            ..Entry::default()
        };
        let old = self.entries.lock().unwrap().insert(id, entry);
        assert!(old.is_none(), "an id came twice");
    }

    /// Changes an exchange's entry; none if it is not under way.
    pub(crate) fn update(&self, id: Id, change: impl FnOnce(&mut Entry)) -> Option<Entry> {
        let mut entries = self.entries.lock().unwrap();
        let entry = entries.get_mut(&id)?;
        change(entry);
        Some(*entry)
    }

    pub(crate) fn get(&self, id: Id) -> Entry {
        self.update(id, |_| {}).unwrap()
    }

    /// The client is about to leave: the provider may still see the exchange for a while.
    pub(crate) fn leave(&self, id: Id) {
        self.update(id, |entry| entry.left = Some(Instant::now()));
    }

    /// The client has its answer: nothing of the exchange may be seen from here on.
    pub(crate) fn close(&self, id: Id) {
        self.entries.lock().unwrap().remove(&id);
    }

    /// Waits until the provider has said why it did not answer.
    pub(crate) fn wait_raced(&self, id: Id) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(5) {
            if self.get(id).raced > 0 {
                return true;
            }
            thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Forgets those whose clients left long ago.
    pub(crate) fn purge(&self) {
        let mut entries = self.entries.lock().unwrap();
        entries.retain(|_, entry| entry.left.is_none_or(|left| left.elapsed() < AFTERGLOW));
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
    text.unwrap_or_else(|| "a panic".to_owned())
}
