//! What is done for connections to providers at every tick, and when the configuration changes.

use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::{Instance, Provider};
use crate::net::core::deadline::Tick;
use crate::observe;
use crate::policy::gateway::Gateway;

use super::upstreams::Upstreams;
use super::{probe, warm};

/// Between two looks at the names of providers.
const NAMES_EVERY: Duration = Duration::from_millis(500);

/// Runs at every tick; whether the next one is wanted.
pub(crate) fn tick(upstreams: &Rc<Upstreams>, now: Tick) -> bool {
    let idle = upstreams.pool.expire(now);
    look_after_names(upstreams, now);
    show(upstreams);
    let is_draining = upstreams.core.drain.is_draining();
    let warm = !is_draining && warm::look(upstreams, now);
    let probes = !is_draining && probe::look(upstreams, now);
    idle || warm || probes
}

/// Closes idle connections that end, speak or expire, for ever. The worker spawns it once.
///
/// # Cancel safety
/// As [`Pool::keep`](super::pool::Pool::keep).
pub(crate) async fn keep(upstreams: Rc<Upstreams>) {
    let core = &upstreams.core;
    let (scratch, turns) = (core.scratch.clone(), core.turns.clone());
    let retired = || observe::add(&core.counters().warm_retired, 1);
    upstreams.pool.clone().keep(scratch, turns, retired).await;
}

/// A new configuration is about to be in force in place of the old one: connections that would be made again as they
/// are stay.
pub(crate) fn reindex(upstreams: &Upstreams, old: &Gateway, new: &Gateway) {
    forget(upstreams, old);
    upstreams.pool.reindex(|index| new.index_of(old, index));
    upstreams.warmth.reindex(|index| new.place_of(old, index));
    upstreams.probes.forget();
}

/// Asks for the names of all providers ahead of need, and forgets others.
pub(crate) fn prefetch(upstreams: &Upstreams) {
    if upstreams.core.is_operator() {
        return;
    }
    let gateway = upstreams.core.gateway();
    let instances = || { gateway.config.providers.iter() }.flat_map(Provider::instances);
    let names = || instances().filter_map(Instance::reached_by_name);
    upstreams
        .names
        .retain(|host| names().any(|name| name == host));
    for name in names() {
        upstreams.names.prefetch(name, gateway.config.ages());
    }
}

/// What is connected to by name is looked up when that is old, also where no connection is made for long, and
/// connections to addresses that the name has left are let go.
fn look_after_names(upstreams: &Upstreams, now: Tick) {
    let Upstreams {
        names,
        names_due,
        pool,
        ..
    } = upstreams;
    if names_due.get().is_some_and(|at| now < at) {
        return;
    }
    names_due.set(Some(now.after(NAMES_EVERY)));
    let gateway = upstreams.core.gateway();
    let ages = gateway.config.ages();
    let mut left = Vec::new();
    for site in 0..gateway.site_count() {
        if pool.open_count(site) == 0 {
            continue;
        }
        let instance = gateway.at(site).map(|(_, instance)| instance);
        if let Some(name) = instance.and_then(Instance::reached_by_name) {
            names.prefetch(name, ages);
            let of_it = names.left(name, ages);
            left.extend(of_it.into_iter().map(|address| (site, address)));
        }
    }
    pool.leave(left);
}

/// A provider that is gone has no connections any more that anybody would count.
fn forget(upstreams: &Upstreams, gateway: &Gateway) {
    for index in 0..gateway.config.providers.len() {
        if let Some(counters) = upstreams.core.counters().known(gateway.slots.of(index)) {
            for gauge in counters.gauges() {
                gauge.store(0, Ordering::Relaxed);
            }
        }
    }
}

/// Puts the numbers and ages of connections, and those of addresses, where other workers can read them.
fn show(upstreams: &Upstreams) {
    let gateway = upstreams.core.gateway();
    if !gateway.config.is_counted() {
        return;
    }
    let pool = &upstreams.pool;
    for (index, provider) in gateway.config.providers.iter().enumerate() {
        let first = gateway.site_of(index, 0);
        let sites = first..first + provider.instances().count();
        let idle: usize = sites.clone().map(|site| pool.idle_count(site)).sum();
        let open: usize = sites.clone().map(|site| pool.open_count(site)).sum();
        if let Some(counters) = upstreams.core.counters().known(gateway.slots.of(index)) {
            let busy = open.saturating_sub(idle);
            counters.idle.store(idle as u64, Ordering::Relaxed);
            counters.busy.store(busy as u64, Ordering::Relaxed);
            let kept = sites.filter_map(|site| pool.oldest_idle(site));
            let names = { provider.instances() }.filter_map(Instance::reached_by_name);
            let known = names.filter_map(|name| upstreams.names.known(name));
            counters.has_kept_since(kept.min());
            counters.has_known_since(known.min());
        }
    }
}
