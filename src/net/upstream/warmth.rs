//! Which sites are kept warm, and where connections are being made for that.

use std::cell::RefCell;
use std::task::Waker;
use std::time::Duration;

use crate::net::core::deadline::Tick;

use super::pool;

/// How long after its last request a provider is kept warm.
const LINGERING: Duration = Duration::from_secs(300);

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Warmth {
    sites: RefCell<Vec<OfSite>>,
}

#[derive(Clone, Default)]
struct OfSite {
    /// Kept warm until then; `None` before the first request.
    until: Option<Tick>,
    /// Not tried again before.
    not_before: Option<Tick>,
    connecting: bool,
    /// The task that connects.
    filling: Option<Waker>,
}

impl Warmth {
    /// A request goes to `site`.
    pub(crate) fn used(&self, site: usize, now: Tick) {
        let mut sites = self.sites.borrow_mut();
        if sites.len() <= site {
            sites.resize_with(site + 1, OfSite::default);
        }
        if let Some(it) = sites.get_mut(site) {
            it.until = Some(now.after(LINGERING));
        }
    }

    /// Moves what is known to new indices, for a new configuration.
    pub(crate) fn reindex(&self, new_index: impl Fn(usize) -> Option<usize>) {
        let old = self.sites.take();
        self.sites.replace(pool::moved(old, new_index));
    }

    /// How many idle connections `site` is to have, of so many `configured`.
    #[must_use]
    pub(crate) fn wanted(&self, site: usize, configured: usize, now: Tick) -> usize {
        let sites = self.sites.borrow();
        match sites.get(site).and_then(|it| it.until) {
            Some(until) if now < until => configured,
            _ => 0,
        }
    }

    /// Whether a connection may be made now; then one is.
    #[must_use]
    pub(crate) fn begin(&self, site: usize, now: Tick) -> bool {
        let mut sites = self.sites.borrow_mut();
        let Some(it) = sites.get_mut(site) else {
            return false;
        };
        let early = it.not_before.is_some_and(|at| now < at);
        let may = !it.connecting && !early;
        it.connecting |= may;
        may
    }

    /// It is made, or not; the next one may be from this time on.
    pub(crate) fn ended(&self, site: usize, not_before: Option<Tick>) {
        if let Some(it) = self.sites.borrow_mut().get_mut(site) {
            it.connecting = false;
            it.not_before = not_before;
            it.filling = None;
        }
    }

    /// The task that makes it.
    pub(crate) fn watch(&self, site: usize, waker: &Waker) {
        if let Some(it) = self.sites.borrow_mut().get_mut(site) {
            it.filling = Some(waker.clone());
        }
    }

    /// Has that task look whether it is still wanted.
    pub(crate) fn disturb(&self, site: usize) {
        let mut sites = self.sites.borrow_mut();
        if let Some(waker) = { sites.get_mut(site) }.and_then(|it| it.filling.take()) {
            waker.wake();
        }
    }
}
