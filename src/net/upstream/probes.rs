//! When each site is asked whether it is well.

use std::cell::RefCell;
use std::time::Duration;

use crate::net::core::deadline::Tick;

/// When each site is asked next.
#[derive(Default)]
pub(crate) struct Probes(RefCell<Vec<Option<Due>>>);

#[derive(Clone, Copy)]
struct Due {
    at: Tick,
    /// The last question has no answer yet.
    asked: bool,
}

impl Probes {
    /// Asks all anew: they may be others now.
    pub(crate) fn forget(&self) {
        self.0.borrow_mut().clear();
    }

    /// Whether to ask this site now; the next time is so much later.
    pub(super) fn begin(&self, site: usize, now: Tick, interval: Duration) -> bool {
        let mut all = self.0.borrow_mut();
        if all.len() <= site {
            all.resize(site + 1, None);
        }
        let Some(slot) = all.get_mut(site) else {
            return false;
        };
        if slot.is_some_and(|due| due.asked || now < due.at) {
            return false;
        }
        *slot = Some(Due {
            at: now.after(interval),
            asked: true,
        });
        true
    }

    /// It has answered, or not.
    pub(super) fn ended(&self, site: usize) {
        if let Some(Some(due)) = self.0.borrow_mut().get_mut(site) {
            due.asked = false;
        }
    }
}
