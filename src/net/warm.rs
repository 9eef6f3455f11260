//! Connections that are ready before the request that needs them.
//!
//! While a provider has had traffic in the last minutes, its pool is looked at on every tick; where fewer idle
//! connections than `warm` are left, one is made in the background. It carries nothing until a request takes
//! it, and is retired if none does for [`UNUSED_MAX`]: so it never sits at a provider that would close it, and
//! is never probed.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::gateway::Gateway;

use super::connect::connect;
use super::deadline::Tick;
use super::pool::{self, Upstream};
use super::worker::Worker;

/// How long an unused connection is kept: less than the ten seconds after which another gateway of this kind, as a
/// provider, takes it for a client that does not mean it.
pub const UNUSED_MAX: Duration = Duration::from_secs(8);
/// How long after its last request a provider is kept warm.
const LINGERING: Duration = Duration::from_secs(300);
/// How long a provider that could not be reached is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// What is known of each provider.
#[derive(Default)]
pub struct Warm {
    providers: RefCell<Vec<State>>,
}

#[derive(Clone, Copy, Default)]
struct State {
    /// Kept warm until then; `None` before the first request.
    until: Option<Tick>,
    /// Not tried again before.
    not_before: Option<Tick>,
    connecting: bool,
}

impl Warm {
    /// A request goes to `provider`.
    pub fn used(&self, provider: usize, now: Tick) {
        let mut providers = self.providers.borrow_mut();
        if providers.len() <= provider {
            providers.resize(provider + 1, State::default());
        }
        if let Some(state) = providers.get_mut(provider) {
            state.until = Some(now.after(LINGERING));
        }
    }

    /// Makes what is missing; whether there is anything to look after. Runs at every tick.
    pub fn look(worker: &Rc<Worker>, now: Tick) -> bool {
        let gateway = worker.gateway();
        let mut alive = false;
        for (index, provider) in gateway.config.providers.iter().enumerate() {
            let wanted = worker.warm.wanted(index, provider.warm, now);
            alive |= wanted > 0;
            if worker.pool.idle_count(index) < wanted && worker.warm.begin(index, now) {
                monoio::spawn(fill(worker.clone(), gateway.clone(), index));
            }
        }
        alive
    }

    /// Moves what is known to new indices, for a new configuration.
    pub fn reindex(&self, new_index: impl Fn(usize) -> Option<usize>) {
        let old = self.providers.take();
        self.providers.replace(pool::moved(old, new_index));
    }

    fn wanted(&self, provider: usize, configured: usize, now: Tick) -> usize {
        let providers = self.providers.borrow();
        let state = providers.get(provider).copied().unwrap_or_default();
        match state.until {
            Some(until) if now < until => configured,
            _ => 0,
        }
    }

    /// Whether a connection may be made now.
    fn begin(&self, provider: usize, now: Tick) -> bool {
        let mut providers = self.providers.borrow_mut();
        let Some(state) = providers.get_mut(provider) else {
            return false;
        };
        let early = state.not_before.is_some_and(|at| now < at);
        let may = !state.connecting && !early;
        state.connecting |= may;
        may
    }

    fn ended(&self, provider: usize, not_before: Option<Tick>) {
        if let Some(state) = self.providers.borrow_mut().get_mut(provider) {
            state.connecting = false;
            state.not_before = not_before;
        }
    }
}

/// Connects to a provider and puts the connection into the pool.
async fn fill(worker: Rc<Worker>, gateway: Rc<Gateway>, provider: usize) {
    let connected = attempt(&worker, &gateway, provider).await;
    // A reload meanwhile may have moved or removed the provider.
    let current = worker.gateway().index_of(&gateway, provider);
    let now = worker.clock.now();
    let failed = connected.is_none().then(|| now.after(AFTER_FAILURE));
    worker.warm.ended(current.unwrap_or(provider), failed);
    if let (Some(mut upstream), Some(current)) = (connected, current) {
        upstream.provider = current;
        let scratch = &mut *worker.scratch.borrow_mut();
        worker.pool.put(upstream, UNUSED_MAX, scratch);
    }
}

async fn attempt(worker: &Rc<Worker>, gateway: &Gateway, index: usize) -> Option<Box<Upstream>> {
    let (provider, _) = gateway.provider(index)?;
    let limit = gateway.config.limits.upstream_connections;
    let current = worker.gateway().index_of(gateway, index)?;
    let seat = worker.pool.seat(current, limit)?;
    let deadline = worker.clock.register();
    deadline.set(gateway.config.timeouts.connect);
    let mut connect = Box::pin(connect(worker, provider));
    let connected = poll_fn(|cx| match connect.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(connected.ok()),
        Poll::Pending => deadline.poll(cx).map(|()| None),
    });
    let connected = connected.await?;
    if gateway.config.metrics.are_wanted() {
        connected.count(worker.counters().provider(gateway.slots.of(index)));
    }
    Some(Upstream::fresh(connected.stream, index, seat))
}
