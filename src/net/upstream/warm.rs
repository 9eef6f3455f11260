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

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::observe::habits::Habit;
use crate::policy::gateway::Gateway;

use super::connect::{Connected, connect};
use super::failure::ConnectError;
use super::pool::Upstream;
use super::upstreams::Upstreams;
use crate::net::core::deadline::Tick;

/// How long an unused connection is kept: less than the ten seconds after which another gateway of this kind, as a
/// provider, takes it for a client that does not mean it.
pub(crate) const UNUSED_MAX: Duration = Duration::from_secs(8);
/// How long a request waits for a connection until others make room for it.
const LONG: Duration = Duration::from_secs(1);
/// How long a provider that could not be reached is left alone.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// Makes what is missing; whether there is anything to look after. Runs at every tick.
pub(crate) fn look(upstreams: &Rc<Upstreams>, now: Tick) -> bool {
    let gateway = upstreams.core.gateway();
    let mut alive = false;
    for (index, provider) in gateway.config.providers.iter().enumerate() {
        let wanted = upstreams.warmth.wanted(index, provider.warm, now);
        if wanted == 0 {
            continue;
        }
        alive = true;
        if !gateway.slots.habit(index).allows_more() {
            give_up(upstreams, index);
        } else if upstreams.pool.idle_count(index) < wanted && upstreams.warmth.begin(index, now) {
            monoio::spawn(fill(upstreams.clone(), gateway.clone(), index));
        }
    }
    alive
}

/// An answer's end was its connection's; `provider` is the number that it has now, if it is still there.
pub(crate) fn steps_back(upstreams: &Upstreams, provider: Option<usize>, habit: &Habit) {
    habit.closes();
    if let Some(provider) = provider {
        give_up(upstreams, provider);
    }
}

/// Closes what was made ahead, and what is being made.
fn give_up(upstreams: &Upstreams, provider: usize) {
    upstreams.pool.drop_unused(provider);
    upstreams.warmth.disturb(provider);
}

/// Connects to a provider and puts the connection into the pool.
async fn fill(upstreams: Rc<Upstreams>, gateway: Rc<Gateway>, provider: usize) {
    // A reload may have come before the task's first turn, and may come while it connects.
    let began = upstreams.core.gateway();
    let Some(place) = began.place_of(&gateway, provider) else {
        return;
    };
    let habit = began.slots.habit(place);
    let connected = attempt(&upstreams, &began, place, &habit).await;
    let now = upstreams.core.clock.now();
    // Where it was given up there is nothing wrong, unless somebody needed the place.
    let failed = connected.is_none() && (habit.allows_more() || habit.is_awaited());
    let not_before = failed.then(|| now.after(AFTER_FAILURE));
    let gateway = upstreams.core.gateway();
    if let Some(place) = gateway.place_of(&began, place) {
        upstreams.warmth.ended(place, not_before);
    }
    // One that was made on other terms than those in force is closed here.
    if let (Some(mut upstream), Some(current)) = (connected, gateway.index_of(&began, place))
        && habit.allows_more()
    {
        upstream.provider = current;
        let scratch = &mut *upstreams.core.scratch.borrow_mut();
        upstreams.pool.put(upstream, UNUSED_MAX, scratch);
    }
}

/// Connects to a provider of `gateway`, which is in force.
async fn attempt(
    upstreams: &Upstreams,
    gateway: &Gateway,
    index: usize,
    habit: &Habit,
) -> Option<Box<Upstream>> {
    let limit = gateway.config.limits.upstream_connections;
    let seat = upstreams.pool.seat(index, limit)?;
    let deadline = upstreams.core.clock.register();
    deadline.set(gateway.config.timeouts.connect);
    let mut connect = Box::pin(connect(upstreams, index));
    let connected = poll_fn(|cx| match connect.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(connected.ok()),
        Poll::Pending if !habit.allows_more() => Poll::Ready(None),
        Poll::Pending => {
            if let Some(place) = upstreams.core.gateway().place_of(gateway, index) {
                upstreams.warmth.watch(place, cx.waker());
            }
            deadline.poll(cx).map(|()| None)
        }
    });
    let connected = connected.await?;
    if let Some((provider, _)) = gateway.provider(index) {
        connected.tell(&upstreams.core.log, &provider.name);
    }
    if gateway.config.metrics.are_wanted() {
        connected.count(upstreams.core.counters().provider(gateway.slots.of(index)));
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
    upstreams: &Upstreams,
    provider: usize,
    habit: Habit,
) -> Result<Connected, ConnectError> {
    let long = upstreams.core.clock.register();
    long.set(LONG);
    let mut waiting = None;
    let mut connect = pin!(connect(upstreams, provider));
    poll_fn(|cx| {
        let connected = connect.as_mut().poll(cx);
        if connected.is_pending() && waiting.is_none() && long.poll(cx).is_ready() {
            waiting = Some(habit.waits());
        }
        connected
    })
    .await
}
