//! Connections that are ready before the request that needs them.
//!
//! While a provider has had traffic in the last minutes, its pool is looked at on every tick; where fewer idle
//! connections than `warm` are left, one is made in the background. It carries nothing until a request takes
//! it, and is retired if none does for [`UNUSED_MAX`]: so it never sits at a provider that would close it, and
//! is never probed.
//!
//! It may be in the way: a provider that serves one connection at a time would wait for a request on it while a request
//! waits elsewhere. So none is made, and those that are there are closed, for a provider that closes behind its answers,
//! until a connection has outlived one; and while a request has waited for a second to be connected.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::observe::habits::Habit;
use crate::policy::gateway::Gateway;

use super::connect::{ConnectError, Connected, connect};
use super::pool::{self, Upstream};
use crate::net::core::deadline::Tick;
use crate::net::worker::Worker;

/// How long an unused connection is kept: less than the ten seconds after which another gateway of this kind, as a
/// provider, takes it for a client that does not mean it.
pub(crate) const UNUSED_MAX: Duration = Duration::from_secs(8);
/// How long after its last request a provider is kept warm.
const LINGERING: Duration = Duration::from_secs(300);
/// How long a request waits for a connection until others make room for it.
const LONG: Duration = Duration::from_secs(1);
/// How long a provider that could not be reached is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// What is known of each provider.
#[derive(Default)]
pub(crate) struct Warm {
    providers: RefCell<Vec<State>>,
}

#[derive(Clone, Default)]
struct State {
    /// Kept warm until then; `None` before the first request.
    until: Option<Tick>,
    /// Not tried again before.
    not_before: Option<Tick>,
    connecting: bool,
    /// The task that connects.
    filling: Option<Waker>,
}

impl Warm {
    /// A request goes to `provider`.
    pub(crate) fn used(&self, provider: usize, now: Tick) {
        let mut providers = self.providers.borrow_mut();
        if providers.len() <= provider {
            providers.resize_with(provider + 1, State::default);
        }
        if let Some(state) = providers.get_mut(provider) {
            state.until = Some(now.after(LINGERING));
        }
    }

    /// Makes what is missing; whether there is anything to look after. Runs at every tick.
    pub(crate) fn look(worker: &Rc<Worker>, now: Tick) -> bool {
        let gateway = worker.gateway();
        let mut alive = false;
        for (index, provider) in gateway.config.providers.iter().enumerate() {
            let wanted = worker.warm.wanted(index, provider.warm, now);
            if wanted == 0 {
                continue;
            }
            alive = true;
            let habit = gateway.slots.habit(index);
            if !habit.allows_more() {
                Self::give_up(worker, index);
            } else if worker.pool.idle_count(index) < wanted && worker.warm.begin(index, now) {
                monoio::spawn(fill(worker.clone(), gateway.clone(), index));
            }
        }
        alive
    }

    /// Moves what is known to new indices, for a new configuration.
    pub(crate) fn reindex(&self, new_index: impl Fn(usize) -> Option<usize>) {
        let old = self.providers.take();
        self.providers.replace(pool::moved(old, new_index));
    }

    fn wanted(&self, provider: usize, configured: usize, now: Tick) -> usize {
        let providers = self.providers.borrow();
        match providers.get(provider).and_then(|state| state.until) {
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
            state.filling = None;
        }
    }

    fn watch(&self, provider: usize, waker: &Waker) {
        if let Some(state) = self.providers.borrow_mut().get_mut(provider) {
            state.filling = Some(waker.clone());
        }
    }

    /// An answer's end was its connection's; `provider` is the number that it has now, if it is still there.
    pub(crate) fn steps_back(worker: &Worker, provider: Option<usize>, habit: &Habit) {
        habit.closes();
        if let Some(provider) = provider {
            Self::give_up(worker, provider);
        }
    }

    /// Closes what was made ahead, and what is being made.
    fn give_up(worker: &Worker, provider: usize) {
        worker.pool.drop_unused(provider);
        let mut providers = worker.warm.providers.borrow_mut();
        if let Some(waker) = { providers.get_mut(provider) }.and_then(|it| it.filling.take()) {
            waker.wake();
        }
    }
}

/// Connects to a provider and puts the connection into the pool.
async fn fill(worker: Rc<Worker>, gateway: Rc<Gateway>, provider: usize) {
    // A reload may have come before the task's first turn, and may come while it connects.
    let began = worker.gateway();
    let Some(place) = began.place_of(&gateway, provider) else {
        return;
    };
    let habit = began.slots.habit(place);
    let connected = attempt(&worker, &began, place, &habit).await;
    let now = worker.clock.now();
    // Where it was given up there is nothing wrong, unless somebody needed the place.
    let failed = connected.is_none() && (habit.allows_more() || habit.is_awaited());
    let not_before = failed.then(|| now.after(AFTER_FAILURE));
    let gateway = worker.gateway();
    if let Some(place) = gateway.place_of(&began, place) {
        worker.warm.ended(place, not_before);
    }
    // One that was made on other terms than those in force is closed here.
    if let (Some(mut upstream), Some(current)) = (connected, gateway.index_of(&began, place))
        && habit.allows_more()
    {
        upstream.provider = current;
        let scratch = &mut *worker.scratch.borrow_mut();
        worker.pool.put(upstream, UNUSED_MAX, scratch);
    }
}

/// Connects to a provider of `gateway`, which is in force.
async fn attempt(
    worker: &Rc<Worker>,
    gateway: &Gateway,
    index: usize,
    habit: &Habit,
) -> Option<Box<Upstream>> {
    let limit = gateway.config.limits.upstream_connections;
    let seat = worker.pool.seat(index, limit)?;
    let deadline = worker.clock.register();
    deadline.set(gateway.config.timeouts.connect);
    let mut connect = Box::pin(connect(worker, index));
    let connected = poll_fn(|cx| match connect.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(connected.ok()),
        Poll::Pending if !habit.allows_more() => Poll::Ready(None),
        Poll::Pending => {
            if let Some(place) = worker.gateway().place_of(gateway, index) {
                worker.warm.watch(place, cx.waker());
            }
            deadline.poll(cx).map(|()| None)
        }
    });
    let connected = connected.await?;
    if gateway.config.metrics.are_wanted() {
        connected.count(worker.counters().provider(gateway.slots.of(index)));
    }
    let mut upstream = Upstream::fresh(connected.stream, index, seat, habit.clone());
    upstream.address = connected.address;
    Some(upstream)
}

/// Connects for a request that waits for it, which is known to all workers once it takes a second.
///
/// # Errors
/// As [`connect`].
///
/// # Cancel safety
/// As there.
pub(crate) async fn awaited(
    worker: &Worker,
    provider: usize,
    habit: Habit,
) -> Result<Connected, ConnectError> {
    let long = worker.clock.register();
    long.set(LONG);
    let mut waiting = None;
    let mut connect = pin!(connect(worker, provider));
    poll_fn(|cx| {
        let connected = connect.as_mut().poll(cx);
        if connected.is_pending() && waiting.is_none() && long.poll(cx).is_ready() {
            waiting = Some(habit.waits());
        }
        connected
    })
    .await
}
