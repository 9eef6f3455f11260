//! How many requests a provider has at once, seen from its side.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::plan::Id;
use super::pool::{AT_ONCE, CROWDED, stations};
use super::world::World;

/// The requests at the limited provider.
#[derive(Default)]
pub(crate) struct Crowd {
    next: AtomicU64,
    /// Ids, and the provider's epoch when their connections came.
    here: Mutex<HashMap<u64, (Id, u64)>>,
    most: AtomicU64,
}

impl World {
    /// A request comes, whose place this is until `go`. Who is there for certain has an answer to get
    /// that is not whole yet, and a client that waits for it: no gateway may have forgotten that.
    pub(crate) fn come(&self, id: Id, epoch: u64) -> u64 {
        let serial = self.crowd.next.fetch_add(1, Ordering::SeqCst);
        let mut here = self.crowd.here.lock().unwrap();
        here.insert(serial, (id, epoch));
        let waits = |id: &Id| {
            let entry = self.ledger.update(*id, |_| {});
            entry.is_some_and(|entry| entry.left.is_none())
        };
        let certain = here
            .values()
            .filter(|(id, since)| *since == epoch && waits(id));
        let ids: Vec<Id> = certain.map(|(id, _)| *id).collect();
        drop(here);
        assert!(
            ids.len() <= AT_ONCE || self.down_since(stations(CROWDED).start, epoch),
            "{} at once at the limited provider: {ids:?}",
            ids.len()
        );
        self.crowd
            .most
            .fetch_max(ids.len() as u64, Ordering::SeqCst);
        serial
    }

    /// The last byte of its answer, or the end of its connection, is about to be sent.
    pub(crate) fn go(&self, serial: u64) {
        self.crowd.here.lock().unwrap().remove(&serial);
    }

    /// The most that were there at once for certain.
    pub(crate) fn most_at_once(&self) -> u64 {
        self.crowd.most.load(Ordering::SeqCst)
    }
}
