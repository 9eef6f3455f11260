//! Providers with several keys, several instances or a limit: what is said of them, and when one of
//! their instances turns a request down that is otherwise as any.

use std::fmt::Write as _;
use std::ops::Range;

use super::moving;
use super::plan::{Body, Fault, Id, PROVIDERS, Plan, Shape};
use super::port::ALL;
use super::world::SECRET;

/// What a provider has beside a kind and a name.
pub(crate) struct Pool {
    /// Ports.
    pub(crate) instances: usize,
    pub(crate) keys: usize,
    /// `balance`, where there are several instances.
    balance: &'static str,
    /// Statuses behind which a request may be sent to another instance or with another key.
    failover: &'static [u16],
    /// In its table; words about keys, instances and the statuses above excepted.
    more: &'static str,
    /// Of a thousand requests, those that its keys are too much for.
    limited: usize,
}

/// One instance, one key.
pub(crate) const SINGLE: Pool = Pool {
    instances: 1,
    keys: 1,
    balance: "",
    failover: &[],
    more: "",
    limited: 0,
};

/// Known by a name that may stand for each of two addresses.
pub(crate) const MOVES: Pool = Pool {
    instances: 2,
    ..SINGLE
};

/// One key keeps its place for ever; of the others one is refused for a time.
pub(crate) const KEYS: Pool = Pool {
    keys: 3,
    limited: 60,
    ..SINGLE
};

pub(crate) const LOADED: Pool = Pool {
    instances: 3,
    balance: "least_loaded",
    failover: &[503],
    ..SINGLE
};

pub(crate) const SESSIONS: Pool = Pool {
    instances: 3,
    keys: 2,
    balance: "session",
    failover: &[429, 503, 529],
    more: "replay_bytes = 2048\n",
    limited: 40,
};

/// Each takes so many at once.
pub(crate) const FIRST: Pool = Pool {
    instances: 3,
    balance: "first",
    more: "queue = { length = 1000, wait = \"30s\" }\n",
    ..SINGLE
};

const OF_FIRST: [usize; 3] = [2, 1, 2];

pub(crate) const LIMITED: Pool = Pool {
    more: "concurrency = 2\nqueue = { length = 3, wait = \"5ms\" }\n",
    ..SINGLE
};

/// How many a port may have at once, where that is limited: the only one of a provider, or each of several.
pub(crate) fn at_once(station: usize) -> Option<usize> {
    match at(station) {
        (CROWDED, _) => Some(2),
        (LIMITED_AT, place) => Some(OF_FIRST[place]),
        _ => None,
    }
}

/// Which provider these are.
pub(crate) const LOADED_AT: usize = 6;
pub(crate) const LIMITED_AT: usize = 8;
pub(crate) const CROWDED: usize = 9;

/// Those whose instances may be down for a while.
pub(crate) const POOLS: Range<usize> = LOADED_AT..CROWDED;

/// All ports of all providers.
pub(crate) const STATIONS: usize = 17;

/// The ports of a provider.
pub(crate) fn stations(provider: usize) -> Range<usize> {
    let before = |index: usize| ALL[..index].iter().map(|one| one.pool.instances).sum();
    before(provider)..before(provider + 1)
}

/// Whose port it is, and which of them.
pub(crate) fn at(station: usize) -> (usize, usize) {
    let provider = (0..PROVIDERS).find(|index| stations(*index).contains(&station));
    let provider = provider.unwrap();
    (provider, station - stations(provider).start)
}

/// Whether a revision's configuration has this instance: now and then one of them goes.
pub(crate) fn is_there(provider: usize, place: usize, revision: u64) -> bool {
    !(provider == LOADED_AT && place == 2 && revision % 4 == 3)
}

/// The keys of a provider in a configuration: with the next one some stay, and their order changes.
pub(crate) fn keys(provider: usize, revision: u64) -> Vec<String> {
    let one = |key: usize| {
        let name = ALL[provider].name;
        match (ALL[provider].pool.keys, key) {
            (1, _) => format!("sk-{SECRET}-{name}-{revision}"),
            (_, 0) => format!("sk-{SECRET}-{name}-stays"),
            (_, 1) => format!("sk-{SECRET}-{name}-second-{}", revision / 2),
            _ => format!("sk-{SECRET}-{name}-third-{revision}"),
        }
    };
    let mut keys: Vec<String> = (0..ALL[provider].pool.keys).map(one).collect();
    let first = revision as usize % keys.len();
    keys.rotate_left(first);
    keys
}

/// Whether a provider refuses a key for as long as a revision lasts.
pub(crate) fn is_refused(key: &str, revision: u64) -> bool {
    key.contains("-third-") && revision % 3 == 1
}

/// The lines of a provider's table that say where it is and with which keys.
pub(crate) fn lines(provider: usize, revision: u64, urls: &[String]) -> String {
    let pool = &ALL[provider].pool;
    let mut toml = match &keys(provider, revision)[..] {
        [one] => format!("api_key = \"{one}\"\n"),
        several => format!("api_keys = {several:?}\n"),
    };
    if pool.balance.is_empty() {
        writeln!(toml, "base_url = \"{}\"", urls[0]).unwrap();
        // One instance that goes where its name goes, and one at each address by turns.
        if urls[0].contains(moving::NAME) && revision % 2 == 1 {
            toml.push_str("resolve = \"all\"\n");
        }
    } else {
        let there = (0..urls.len()).filter(|place| is_there(provider, *place, revision));
        let balance = pool.balance;
        writeln!(toml, "balance = \"{balance}\"").unwrap();
        if provider == LIMITED_AT {
            let each = there.map(|place| {
                let (url, limit) = (&urls[place], OF_FIRST[place]);
                format!("{{ base_url = {url:?}, concurrency = {limit} }}")
            });
            let each = each.collect::<Vec<_>>().join(", ");
            writeln!(toml, "instance = [{each}]").unwrap();
        } else {
            let urls: Vec<&String> = there.map(|place| &urls[place]).collect();
            writeln!(toml, "base_urls = {urls:?}").unwrap();
        }
        // Not in the first configuration: a connection of theirs may not count among the first figures.
        if revision % 2 == 1 {
            toml.push_str("health = { path = \"/health\", interval = \"1s\" }\n");
        }
    }
    if !pool.failover.is_empty() {
        writeln!(toml, "failover_on = {:?}", pool.failover).unwrap();
    }
    toml + pool.more
}

/// Why and how a request is turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// For how long the key shall rest, in milliseconds.
    pub(crate) rest: Option<u64>,
    /// Which arrival of the request it answers, from 1 on.
    pub(crate) attempt: u32,
}

/// Aspects of an id that have numbers of their own.
const LIMITS: u64 = 10;
const REFUSAL: u64 = 11;
const SESSION: u64 = 12;

/// The session that a request says it belongs to.
pub(crate) fn session(id: Id) -> usize {
    id.random(SESSION).below(9)
}

/// Whether this arrival is turned down; `busy` says that its instance takes none now.
pub(crate) fn refusal(
    plan: &Plan,
    attempt: u32,
    key: &str,
    revision: u64,
    busy: bool,
) -> Option<Refusal> {
    let pool = &ALL[plan.provider].pool;
    let of = |status, rest| Refusal {
        status,
        rest,
        attempt,
    };
    if is_refused(key, revision) {
        return Some(of(401, None));
    }
    if busy {
        return Some(of(503, None));
    }
    let mut random = plan.id.random(LIMITS ^ u64::from(attempt) << 8);
    // Who moves on is often sent on again.
    let lots = pool.limited * if attempt > 1 { 8 } else { 1 };
    if random.below(1000) >= lots {
        return None;
    }
    let rest = 20 + random.below(120) as u64;
    Some(of(random.pick(&[429, 429, 529]), Some(rest)))
}

impl Plan {
    /// What becomes of the exchange when it is turned down.
    pub(crate) fn turned_down(&self, refusal: &Refusal) -> Self {
        let mut random = self.id.random(REFUSAL ^ u64::from(refusal.attempt) << 8);
        let mut plan = self.clone();
        plan.status = refusal.status;
        plan.rest = refusal.rest;
        // Behind an interim response that the client has got, the final one is that instance's too.
        let says_nothing = plan.interims == 0 || plan.http10;
        let failover = ALL[self.provider].pool.failover;
        plan.goes_on = says_nothing && failover.contains(&refusal.status);
        plan.response = Body {
            len: random.below(800),
            shape: random.pick(&[Shape::Length, Shape::Length, Shape::Chunked]),
            trailers: false,
        };
        // Sometimes before the content was read.
        let at_once = plan.request.shape != Shape::Nothing && random.percent(20);
        plan.fault = if at_once {
            Fault::Refuses
        } else {
            Fault::Nothing
        };
        plan
    }
}
