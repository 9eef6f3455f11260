//! How much a worker has to do, where that is counted, and when it is too much.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};

use crate::base::bytes::within;
use crate::observe::Counters;
use crate::observe::one_writer::{down, up};
use crate::policy::error::Scarce;

/// Where a worker is among all of them.
#[derive(Clone)]
pub(crate) struct Rank {
    /// Which of `counters` is this worker's.
    pub index: usize,
    /// The counters of all workers.
    pub counters: Arc<[Counters]>,
    /// How many of them serve clients. One beyond serves metrics and health and nothing else, and is not
    /// counted itself.
    pub workers: usize,
}

/// See the module's documentation.
pub(crate) struct Load {
    rank: Rank,
    /// `limits.connections`, or what stands in for it.
    connections: Cell<usize>,
    /// The last attempt to accept found no descriptor.
    starving: Cell<bool>,
}

static SPARE: LazyLock<Counters> = LazyLock::new(Counters::default);

/// Connections beyond the limit that are read from, to answer `/health` and to say 503 in order.
const SURPLUS_MAX: usize = 64;

impl Load {
    /// Nothing yet, of at most so many connections.
    #[must_use]
    pub(crate) fn new(rank: Rank, connections: usize) -> Rc<Self> {
        Rc::new(Self {
            rank,
            connections: Cell::new(connections),
            starving: Cell::new(false),
        })
    }

    /// This worker's counters.
    #[must_use]
    pub(crate) fn counters(&self) -> &Counters {
        // The index is in range: the slice was made for the workers.
        let counters = self.rank.counters.get(self.rank.index);
        counters.unwrap_or(&SPARE)
    }

    /// The counters of the workers that serve clients.
    #[must_use]
    pub(crate) fn all(&self) -> &[Counters] {
        within(&self.rank.counters, ..self.rank.workers)
    }

    /// Which of them is this worker.
    #[must_use]
    pub(crate) fn index(&self) -> usize {
        self.rank.index
    }

    /// Whether it serves metrics and health and nothing else.
    #[must_use]
    pub(crate) fn is_operator(&self) -> bool {
        self.rank.index >= self.rank.workers
    }

    /// Whether it does what only one worker has to.
    #[must_use]
    pub(crate) fn is_first(&self) -> bool {
        self.rank.index == 0 && !self.is_operator()
    }

    /// Whether somebody may ask what is under way.
    #[must_use]
    pub(crate) fn is_listed(&self) -> bool {
        self.rank.counters.len() > self.rank.workers
    }

    /// Another limit.
    pub(crate) fn limit(&self, connections: usize) {
        self.connections.set(connections);
    }

    /// Whether an attempt to accept found no descriptor.
    pub(crate) fn starve(&self, starving: bool) {
        self.starving.set(starving);
    }

    /// Counts a client connection as open until the result is dropped.
    #[must_use]
    pub(crate) fn open(self: &Rc<Self>) -> Open {
        up(&self.counters().open);
        Open(self.clone())
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

    /// Whether there are so many clients that another one cannot even be answered in order.
    #[must_use]
    pub(crate) fn is_overrun(&self) -> bool {
        let most = self.connections.get().saturating_add(SURPLUS_MAX);
        self.counters().open.load(Ordering::Relaxed) > most
    }

    /// How many requests are under way.
    #[must_use]
    pub(crate) fn in_flight(&self) -> usize {
        self.counters().in_flight.load(Ordering::Relaxed)
    }
}

/// A client connection that is open.
pub(crate) struct Open(Rc<Load>);

impl Drop for Open {
    fn drop(&mut self) {
        down(&self.0.counters().open);
    }
}

/// A request under way.
pub(crate) struct Busy(Rc<Load>);

impl Drop for Busy {
    fn drop(&mut self) {
        down(&self.0.counters().in_flight);
    }
}
