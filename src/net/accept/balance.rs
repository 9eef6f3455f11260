//! Which worker a new client goes to.
//!
//! The kernel deals connections out by a hash (`SO_REUSEPORT`), which leaves some workers with many more long
//! streams than others. A worker that leads by much hands a new client on to the one that has fewest.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::observe::Counters;

/// Connections by which a worker leads at least before it hands one on: that costs waking another worker.
const LEAD_MIN: usize = 3;
/// And this part of what the other has.
const LEAD_SHARE: usize = 8;

/// How many clients a worker has, those counted that are on their way to it.
#[must_use]
pub(crate) fn load(counters: &Counters) -> usize {
    counters.open.load(Ordering::Relaxed) + counters.coming.load(Ordering::Acquire)
}

/// The worker that should have the next client instead of `own`.
#[must_use]
pub(crate) fn better(own: usize, loads: impl Iterator<Item = usize> + Clone) -> Option<usize> {
    let mine = loads.clone().nth(own)?;
    let (index, least) = loads.enumerate().min_by_key(|(_, load)| *load)?;
    let lead = mine.checked_sub(least)?;
    (lead >= LEAD_MIN && lead > least / LEAD_SHARE).then_some(index)
}

/// Counts a client as on its way, from another worker's thread.
pub(crate) fn comes(coming: &AtomicUsize) {
    coming.fetch_add(1, Ordering::AcqRel);
}

/// It has arrived.
pub(crate) fn came(coming: &AtomicUsize) {
    coming.fetch_sub(1, Ordering::AcqRel);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_handed_on_where_the_lead_is_worth_it() {
        let cases: [(&[usize], usize, Option<usize>); 9] = [
            (&[0], 0, None),
            (&[9, 9], 0, None),
            (&[2, 0], 0, None),
            (&[3, 0], 0, Some(1)),
            (&[3, 0], 1, None),
            (&[5, 9, 4, 3], 1, Some(3)),
            (&[100, 89], 0, None),
            (&[101, 89], 0, Some(1)),
            (&[7, 7], 9, None),
        ];
        for (loads, own, expected) in cases {
            assert_eq!(better(own, loads.iter().copied()), expected, "{loads:?}");
        }
    }

    #[test]
    fn however_the_kernel_deals_the_loads_stay_close() {
        let mut loads = [0_usize; 8];
        for client in 0_usize..1000 {
            // A hash that prefers some.
            let own = (client * client / 7) % 8;
            let at = better(own, loads.iter().copied()).unwrap_or(own);
            loads[at] += 1;
        }
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least <= least / LEAD_SHARE + LEAD_MIN, "{loads:?}");
    }
}
