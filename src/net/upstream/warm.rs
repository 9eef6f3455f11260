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
    for site in 0..gateway.site_count() {
        let configured = gateway.at(site).map_or(0, |(provider, _)| provider.warm);
        let wanted = upstreams.warmth.wanted(site, configured, now);
        if wanted == 0 {
            continue;
        }
        alive = true;
        if !habit(&gateway, site).allows_more() {
            give_up(upstreams, site);
        } else if upstreams.pool.idle_count(site) < wanted && upstreams.warmth.begin(site, now) {
            monoio::spawn(fill(upstreams.clone(), gateway.clone(), site));
        }
    }
    alive
}

/// What the provider does with connections whose site this is.
fn habit(gateway: &Gateway, site: usize) -> Habit {
    let provider = gateway.provider_at(site).unwrap_or(usize::MAX);
    gateway.slots.habit(provider)
}

/// An answer's end was its connection's; `site` is the number that its place has now, if it is still there.
pub(crate) fn steps_back(upstreams: &Upstreams, site: Option<usize>, habit: &Habit) {
    habit.closes();
    if let Some(site) = site {
        give_up(upstreams, site);
    }
}

/// Closes what was made ahead, and what is being made.
fn give_up(upstreams: &Upstreams, site: usize) {
    upstreams.pool.drop_unused(site);
    upstreams.warmth.disturb(site);
}

/// Connects to a site and puts the connection into the pool.
async fn fill(upstreams: Rc<Upstreams>, gateway: Rc<Gateway>, site: usize) {
    // A reload may have come before the task's first turn, and may come while it connects.
    let began = upstreams.core.gateway();
    let Some(place) = began.place_of(&gateway, site) else {
        return;
    };
    let habit = habit(&began, place);
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
        upstream.site = current;
        let scratch = &mut *upstreams.core.scratch.borrow_mut();
        upstreams.pool.put(upstream, UNUSED_MAX, scratch);
    }
}

/// Connects to a site of `gateway`, which is in force.
async fn attempt(
    upstreams: &Upstreams,
    gateway: &Gateway,
    site: usize,
    habit: &Habit,
) -> Option<Box<Upstream>> {
    let limit = gateway.config.limits.upstream_connections;
    let seat = upstreams.pool.seat(site, limit)?;
    let deadline = upstreams.core.clock.register();
    deadline.set(gateway.config.timeouts.connect);
    let mut connect = Box::pin(connect(upstreams, site));
    let connected = poll_fn(|cx| match connect.as_mut().poll(cx) {
        Poll::Ready(connected) => Poll::Ready(connected.ok()),
        Poll::Pending if !habit.allows_more() => Poll::Ready(None),
        Poll::Pending => {
            if let Some(place) = upstreams.core.gateway().place_of(gateway, site) {
                upstreams.warmth.watch(place, cx.waker());
            }
            deadline.poll(cx).map(|()| None)
        }
    });
    let connected = connected.await?;
    if let Some((provider, _)) = gateway.at(site) {
        connected.tell(&upstreams.core.log, &provider.name);
    }
    if gateway.config.is_counted() {
        let slot = gateway.slots.of(gateway.provider_at(site)?);
        connected.count(upstreams.core.counters().provider(slot));
    }
    let mut upstream = Upstream::fresh(connected.stream, site, seat, habit.clone());
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
    site: usize,
    habit: Habit,
) -> Result<Connected, ConnectError> {
    let long = upstreams.core.clock.register();
    long.set(LONG);
    let mut waiting = None;
    let mut connect = pin!(connect(upstreams, site));
    poll_fn(|cx| {
        let connected = connect.as_mut().poll(cx);
        if connected.is_pending() && waiting.is_none() && long.poll(cx).is_ready() {
            waiting = Some(habit.waits());
        }
        connected
    })
    .await
}
