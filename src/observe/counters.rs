//! One worker's figures. Only that worker writes them, so adding is a load and a store; whoever answers a
//! scrape adds the workers up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::histogram::Histogram;
use super::one_writer::add;
use super::times::{Times, Timing};
use super::{Ending, Method, Phase};

/// Providers with figures of their own; all beyond share the last.
pub(crate) const SLOTS_MAX: usize = 256;

/// See the module's documentation. On cache lines of its own: workers count all the time.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counters {
    /// Requests under way.
    pub in_flight: AtomicUsize,
    /// Client connections that are open.
    pub open: AtomicUsize,
    /// Clients on their way from other workers, which count here too.
    pub coming: AtomicUsize,
    /// Client connections on which a request may be on its way: none has come yet, or a part of one.
    pub beginning: AtomicUsize,
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections turned away, by what there were too many of or what was wrong with them.
    pub refused: [AtomicU64; Refused::ALL.len()],
    /// Answers to wrong keys that were held back.
    pub held_back: AtomicU64,
    /// TLS handshakes with clients that came to nothing.
    pub tls_failures: AtomicU64,
    /// Tasks that panicked.
    pub panics: AtomicU64,
    /// Requests whose connection was made ahead of them.
    pub warm_hits: AtomicU64,
    /// Requests that had to wait for a connection although some are made ahead.
    pub warm_misses: AtomicU64,
    /// Connections made ahead that no request took.
    pub warm_retired: AtomicU64,
    /// Addresses of providers that came to be tried last.
    pub addresses_shunned: AtomicU64,
    /// How long the worker's turns were.
    pub turns: Histogram,
    errors: Codes<CODES_MAX>,
    /// Requests by the slot of their key.
    keys: [AtomicU64; SLOTS_MAX],
    /// By slot; made when it is first used.
    providers: [OnceLock<Box<ProviderCounters>>; SLOTS_MAX],
}

/// Why a connection was turned away: the limit that it was beyond, or the setting that it does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// `limits.connections`, by so much that there is no answer to a request.
    Connections,
    /// `limits.connections_per_address`
    ConnectionsPerAddress,
    /// `limits.handshakes_per_address`
    HandshakesPerAddress,
    /// `server.proxy_protocol`: a PROXY header is wrong, missing, or of somebody who is not believed.
    ProxyProtocol,
}

impl Refused {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 4] = [
        Self::Connections,
        Self::ConnectionsPerAddress,
        Self::HandshakesPerAddress,
        Self::ProxyProtocol,
    ];

    /// The label.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::ConnectionsPerAddress => "connections_per_address",
            Self::HandshakesPerAddress => "handshakes_per_address",
            Self::ProxyProtocol => "proxy_protocol",
        }
    }
}

/// More than there are codes of errors.
const CODES_MAX: usize = 64;

impl Default for Counters {
    fn default() -> Self {
        Self {
            in_flight: AtomicUsize::default(),
            open: AtomicUsize::default(),
            coming: AtomicUsize::default(),
            beginning: AtomicUsize::default(),
            connections: AtomicU64::default(),
            refused: Default::default(),
            held_back: AtomicU64::default(),
            tls_failures: AtomicU64::default(),
            panics: AtomicU64::default(),
            warm_hits: AtomicU64::default(),
            warm_misses: AtomicU64::default(),
            warm_retired: AtomicU64::default(),
            addresses_shunned: AtomicU64::default(),
            turns: Histogram::default(),
            errors: Codes::default(),
            keys: [const { AtomicU64::new(0) }; SLOTS_MAX],
            providers: [const { OnceLock::new() }; SLOTS_MAX],
        }
    }
}

impl Counters {
    /// The figures of a slot.
    #[must_use]
    pub(crate) fn provider(&self, slot: usize) -> &ProviderCounters {
        let last = self.providers.len() - 1;
        match self.providers.get(slot.min(last)) {
            Some(counters) => counters.get_or_init(Box::default),
            None => &SPARE,
        }
    }

    /// The figures of a slot, if there are any.
    #[must_use]
    pub(crate) fn known(&self, slot: usize) -> Option<&ProviderCounters> {
        self.providers.get(slot)?.get().map(|counters| &**counters)
    }

    /// Counts a connection that was turned away.
    pub(crate) fn refuse(&self, why: Refused) {
        if let Some(counter) = self.refused.get(why as usize) {
            add(counter, 1);
        }
    }

    /// Counts a request by its key.
    pub(crate) fn by_key(&self, slot: usize) {
        if let Some(counter) = self.keys.get(slot).filter(|_| slot > 0) {
            add(counter, 1);
        }
    }

    /// Requests so far with the key of this slot.
    #[must_use]
    pub(crate) fn of_key(&self, slot: usize) -> u64 {
        let counter = self.keys.get(slot);
        counter.map_or(0, |counter| counter.load(Ordering::Relaxed))
    }

    /// Counts an error that the gateway answered with.
    pub(crate) fn error(&self, code: &'static str) {
        self.errors.count(code);
    }

    /// The errors so far.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.errors.all()
    }
}

/// Errors by code, in the order of their first occurrence; those of more than `N` are not counted.
#[derive(Debug)]
struct Codes<const N: usize>([(OnceLock<&'static str>, AtomicU64); N]);

impl<const N: usize> Default for Codes<N> {
    fn default() -> Self {
        Self([const { (OnceLock::new(), AtomicU64::new(0)) }; N])
    }
}

impl<const N: usize> Codes<N> {
    fn count(&self, code: &'static str) {
        for (name, count) in &self.0 {
            if *name.get_or_init(|| code) == code {
                return add(count, 1);
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let codes = self.0.iter();
        codes.map_while(|(name, count)| Some((*name.get()?, count.load(Ordering::Relaxed))))
    }
}

static SPARE: std::sync::LazyLock<ProviderCounters> =
    std::sync::LazyLock::new(ProviderCounters::default);

/// More than there are codes of errors of a request that names a provider.
const PROVIDER_CODES_MAX: usize = 32;

/// Measures in [`Timing`].
const TIMINGS: usize = Timing::Waited as usize + 1;
/// Classes of status codes; the first is for requests without an answer.
pub(crate) const CLASSES: usize = 6;

/// What one worker knows of one provider.
#[derive(Debug, Default)]
pub(crate) struct ProviderCounters {
    /// Requests by method and class of status.
    pub requests: [[AtomicU64; CLASSES]; Method::ALL.len()],
    /// Content received from clients.
    pub request_bytes: AtomicU64,
    /// Content sent to clients.
    pub response_bytes: AtomicU64,
    /// Connections made.
    pub connects: AtomicU64,
    /// Requests on a connection that had carried one before.
    pub reuses: AtomicU64,
    /// TLS handshakes without an earlier session.
    pub full_handshakes: AtomicU64,
    /// TLS handshakes that took up an earlier session.
    pub resumed_handshakes: AtomicU64,
    /// Requests sent again on a fresh connection.
    pub retries: AtomicU64,
    /// Clients that left before their answer was whole.
    pub gone: [AtomicU64; Phase::ALL.len()],
    /// Answers that broke off.
    pub broken: [AtomicU64; Ending::ALL.len()],
    /// Connections that wait for a request, as of the last tick.
    pub idle: AtomicU64,
    /// Connections that carry one or are being made, as of the last tick.
    pub busy: AtomicU64,
    /// When the oldest of those that wait was made, in milliseconds since boot; 0 without any.
    kept_since: AtomicU64,
    /// When the addresses of its host were asked for, in the same way.
    known_since: AtomicU64,
    errors: Codes<PROVIDER_CODES_MAX>,
    timings: [Histogram; TIMINGS],
}

/// A request that has ended.
#[derive(Debug, Default)]
pub(crate) struct Finished {
    /// Its method.
    pub method: Method,
    /// Its answer's status; 0 without one.
    pub status: u16,
    /// Content from the client.
    pub received: u64,
    /// Content to the client.
    pub sent: u64,
    /// What it was doing when the client left.
    pub phase: Phase,
}

impl ProviderCounters {
    /// Counts a request.
    pub(crate) fn finished(&self, request: &Finished, ending: Ending, times: &Times) {
        let class = usize::from(request.status / 100);
        let by_class = self.requests.get(request.method as usize);
        if let Some(counter) = by_class.and_then(|classes| classes.get(class)) {
            add(counter, 1);
        }
        add(&self.request_bytes, request.received);
        add(&self.response_bytes, request.sent);
        let counter = match ending {
            Ending::ClientGone => self.gone.get(request.phase as usize),
            ending if ending.is_broken() => self.broken.get(ending as usize),
            _ => None,
        };
        if let Some(counter) = counter {
            add(counter, 1);
        }
        times.each(|timing, time| self.observe(timing, time));
    }

    /// What is as of the last tick; 0 where there is nothing.
    pub(crate) fn gauges(&self) -> [&AtomicU64; 4] {
        [&self.idle, &self.busy, &self.kept_since, &self.known_since]
    }

    /// When the oldest connection that waits for a request was made, as the time since boot.
    pub(crate) fn has_kept_since(&self, made: Option<Duration>) {
        self.kept_since.store(since(made), Ordering::Relaxed);
    }

    /// When the addresses of its host were asked for, in the same way.
    pub(crate) fn has_known_since(&self, asked: Option<Duration>) {
        self.known_since.store(since(asked), Ordering::Relaxed);
    }

    /// See [`has_kept_since`](Self::has_kept_since).
    pub(crate) fn kept_since(&self) -> Option<Duration> {
        stored(&self.kept_since)
    }

    /// See [`has_known_since`](Self::has_known_since).
    pub(crate) fn known_since(&self) -> Option<Duration> {
        stored(&self.known_since)
    }

    /// Counts an error that the gateway answered with in the provider's stead.
    pub(crate) fn error(&self, code: &'static str) {
        self.errors.count(code);
    }

    /// The errors so far.
    pub(crate) fn errors(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.errors.all()
    }

    /// Counts a time.
    pub(crate) fn observe(&self, timing: Timing, time: Duration) {
        if let Some(histogram) = self.timings.get(timing as usize) {
            histogram.observe(time);
        }
    }

    /// The histogram of a measure.
    #[must_use]
    pub(crate) fn timing(&self, timing: Timing) -> Option<&Histogram> {
        self.timings.get(timing as usize)
    }
}

/// A time as it is stored: never 0, which is none.
fn since(time: Option<Duration>) -> u64 {
    time.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
    })
}

fn stored(millis: &AtomicU64) -> Option<Duration> {
    let millis = millis.load(Ordering::Relaxed);
    (millis > 0).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_code() {
        let counters = Counters::default();
        for code in ["missing_key", "not_found", "missing_key"] {
            counters.error(code);
        }
        let errors: Vec<_> = counters.errors().collect();
        assert_eq!(errors, [("missing_key", 2), ("not_found", 1)]);
    }

    #[test]
    fn any_slot_and_status_can_be_counted() {
        let counters = Counters::default();
        for status in [0, 101, 200, 999] {
            let request = Finished {
                status,
                ..Finished::default()
            };
            let times = Times::default();
            counters
                .provider(usize::MAX)
                .finished(&request, Ending::Complete, &times);
        }
        let last = counters.known(SLOTS_MAX - 1).unwrap();
        let other = &last.requests[Method::Other as usize];
        let counted: u64 = other.iter().map(|c| c.load(Ordering::Relaxed)).sum();
        assert_eq!(counted, 3);
        assert!(counters.known(0).is_none());
    }
}
