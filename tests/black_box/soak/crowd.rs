//! How many requests a provider, or each of its instances, has at once, seen from its side.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::plan::Id;
use super::pool::at_once;
use super::world::World;

/// The requests at ports that are limited.
#[derive(Default)]
pub(crate) struct Crowd {
    next: AtomicU64,
    /// Ids, their ports, and the ports' epochs when their connections came.
    here: Mutex<HashMap<u64, (Id, usize, u64)>>,
    most: Mutex<BTreeMap<usize, usize>>,
}

impl World {
    /// A request comes to a port, whose place this is until `go`; nothing where so many may come as
    /// will. Who is there for certain has an answer to get that is not whole yet, and a client that
    /// waits for it: no gateway may have forgotten that.
    pub(crate) fn come(&self, id: Id, station: usize, epoch: u64) -> Option<u64> {
        let limit = at_once(station)?;
        let serial = self.crowd.next.fetch_add(1, Ordering::SeqCst);
        let mut here = self.crowd.here.lock().unwrap();
        here.insert(serial, (id, station, epoch));
        let waits = |id: &Id| {
            let entry = self.ledger.update(*id, |_| {});
            entry.is_some_and(|entry| entry.left.is_none())
        };
        let certain = here
            .values()
            .filter(|(id, at, since)| (*at, *since) == (station, epoch) && waits(id));
        let ids: Vec<Id> = certain.map(|(id, ..)| *id).collect();
        drop(here);
        assert!(
            ids.len() <= limit || self.down_since(station, epoch),
            "{} at once at port {station}, which takes {limit}: {ids:?}",
            ids.len()
        );
        let mut most = self.crowd.most.lock().unwrap();
        let most = most.entry(station).or_default();
        *most = ids.len().max(*most);
        Some(serial)
    }

    /// The last byte of its answer, or the end of its connection, is about to be sent.
    pub(crate) fn go(&self, serial: u64) {
        self.crowd.here.lock().unwrap().remove(&serial);
    }

    /// The most that were there at once for certain, by port.
    pub(crate) fn most_at_once(&self) -> BTreeMap<usize, usize> {
        self.crowd.most.lock().unwrap().clone()
    }
}
