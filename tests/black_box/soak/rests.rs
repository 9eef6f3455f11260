//! Which keys rest because their provider said so: what a gateway may not send with them, when it may
//! say that none is left, and that sessions keep their keys otherwise.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::plan::{Id, Plan};
use super::pool::{self, Refusal};
use super::world::World;

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Rests {
    /// What each key was told.
    told: Mutex<HashMap<String, Vec<Rest>>>,
    /// The key of each session, by provider and configuration.
    of_sessions: Mutex<HashMap<(usize, u64, usize), String>>,
}

struct Rest {
    id: Id,
    /// When it was said.
    from: Instant,
    /// None where nobody said for how long.
    time: Option<Duration>,
    /// When the gateway had certainly seen it.
    known: Option<Instant>,
}

/// How much longer than it was told to the gateway may let a key rest.
const SLACK: Duration = Duration::from_millis(100);

/// How late it may see what it was told, where nobody knows when it did.
const SEEN_LATE: Duration = Duration::from_secs(2);

/// Rests that a key may have had and that still are of interest.
const KEPT: usize = 256;

impl World {
    /// The provider is about to say this to a request that came with this key.
    pub(crate) fn rests(&self, key: &str, id: Id, refusal: &Refusal) {
        let is_about_key = matches!(refusal.status, 401 | 429 | 529);
        if !is_about_key {
            return;
        }
        let mut keys = self.rests.told.lock().unwrap();
        let rests = keys.entry(key.to_owned()).or_default();
        if rests.len() == KEPT {
            rests.remove(0);
        }
        rests.push(Rest {
            id,
            from: Instant::now(),
            time: refusal.rest.map(Duration::from_millis),
            known: None,
        });
    }

    /// What this exchange was told has come to its client, or sent it elsewhere.
    pub(crate) fn rests_known(&self, id: Id) {
        let now = Instant::now();
        let mut keys = self.rests.told.lock().unwrap();
        let told = keys.values_mut().flatten().filter(|rest| rest.id == id);
        told.for_each(|rest| rest.known = rest.known.or(Some(now)));
    }

    /// That a request which began then was right to come with this key.
    pub(crate) fn check_rest(&self, key: &str, id: Id, begun: Instant) {
        let now = Instant::now();
        let keys = self.rests.told.lock().unwrap();
        let rests = keys.get(key).into_iter().flatten();
        // A key that was refused is tried again, where the others rest.
        let mut wrong = rests.filter(|rest| {
            let known = rest.known.is_some_and(|known| known < begun);
            known && rest.time.is_some_and(|time| now < rest.from + time)
        });
        if let Some(rest) = wrong.next() {
            panic!("{id} comes with a key that rests since {}", rest.id);
        }
    }

    /// That a request which began then comes with the key that others of its session came with, as far as no key of the
    /// provider may have rested since.
    pub(crate) fn check_session(&self, plan: &Plan, revision: u64, key: &str, begun: Instant) {
        let keys = pool::keys(plan.provider, revision);
        let told = self.rests.told.lock().unwrap();
        if keys.len() < 2 || keys.iter().any(|key| may_have_rested(&told, key, begun)) {
            return;
        }
        let session = (plan.provider, revision, pool::session(plan.id));
        let mut all = self.rests.of_sessions.lock().unwrap();
        let first = all.entry(session).or_insert_with(|| key.to_owned());
        assert_eq!(first, key, "{}: another key of its session's", plan.id);
        self.count("requests with their session's key");
    }

    /// Whether all keys of the provider in one of these configurations may have rested at the same
    /// time since then.
    pub(crate) fn may_be_exhausted(
        &self,
        provider: usize,
        revisions: std::ops::RangeInclusive<u64>,
        since: Instant,
    ) -> bool {
        let keys = self.rests.told.lock().unwrap();
        let rested = |key: &String| may_have_rested(&keys, key, since);
        revisions
            .into_iter()
            .any(|revision| pool::keys(provider, revision).iter().all(rested))
    }
}

fn may_have_rested(told: &HashMap<String, Vec<Rest>>, key: &str, since: Instant) -> bool {
    let mut rests = told.get(key).into_iter().flatten();
    rests.any(|rest| {
        // It rests from when the gateway sees it, which a busy machine makes any time before it is known.
        let from = rest.known.unwrap_or(rest.from + SEEN_LATE);
        rest.time.is_none_or(|time| from + time + SLACK > since)
    })
}
