//! Which keys rest because their provider said so: what a gateway may not send with them, and when it
//! may say that none is left.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::plan::Id;
use super::pool::{self, Refusal};
use super::world::World;

/// What each key was told.
#[derive(Default)]
pub(crate) struct Rests(Mutex<HashMap<String, Vec<Rest>>>);

struct Rest {
    id: Id,
    /// None where nobody said until when.
    until: Option<Instant>,
    /// When the gateway had certainly seen it.
    known: Option<Instant>,
}

/// How much longer than it was told to the gateway may let a key rest.
const SLACK: Duration = Duration::from_millis(100);

/// Rests that a key may have had and that still are of interest.
const KEPT: usize = 256;

impl World {
    /// The provider is about to say this to a request that came with this key.
    pub(crate) fn rests(&self, key: &str, id: Id, refusal: &Refusal) {
        let is_about_key = matches!(refusal.status, 401 | 429 | 529);
        if !is_about_key {
            return;
        }
        let from = Instant::now();
        let mut keys = self.rests.0.lock().unwrap();
        let rests = keys.entry(key.to_owned()).or_default();
        if rests.len() == KEPT {
            rests.remove(0);
        }
        rests.push(Rest {
            id,
            until: refusal.rest.map(|rest| from + Duration::from_millis(rest)),
            known: None,
        });
    }

    /// What this exchange was told has come to its client, or sent it elsewhere.
    pub(crate) fn rests_known(&self, id: Id) {
        let now = Instant::now();
        let mut keys = self.rests.0.lock().unwrap();
        let told = keys.values_mut().flatten().filter(|rest| rest.id == id);
        told.for_each(|rest| rest.known = rest.known.or(Some(now)));
    }

    /// That a request which began then was right to come with this key.
    pub(crate) fn check_rest(&self, key: &str, id: Id, begun: Instant) {
        let now = Instant::now();
        let keys = self.rests.0.lock().unwrap();
        let rests = keys.get(key).into_iter().flatten();
        // A key that was refused is tried again, where the others rest.
        let mut wrong = rests.filter(|rest| {
            let known = rest.known.is_some_and(|known| known < begun);
            known && rest.until.is_some_and(|until| now < until)
        });
        if let Some(rest) = wrong.next() {
            panic!("{id} comes with a key that rests since {}", rest.id);
        }
    }

    /// Whether all keys of the provider in one of these configurations may have rested at the same
    /// time since then.
    pub(crate) fn may_be_exhausted(
        &self,
        provider: usize,
        revisions: std::ops::RangeInclusive<u64>,
        since: Instant,
    ) -> bool {
        let keys = self.rests.0.lock().unwrap();
        let rested = |key: &String| {
            let mut rests = keys.get(key).into_iter().flatten();
            rests.any(|rest| rest.until.is_none_or(|until| until + SLACK > since))
        };
        revisions
            .into_iter()
            .any(|revision| pool::keys(provider, revision).iter().all(rested))
    }
}
