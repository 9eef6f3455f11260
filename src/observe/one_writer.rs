//! Counters and gauges that one thread writes and others read: no instruction of theirs has to be atomic with another.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Adds to a counter that has one writer.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(n);
    counter.store(sum, Ordering::Relaxed);
}

/// Moves a gauge that has one writer up.
pub(crate) fn up(gauge: &AtomicUsize) {
    let sum = gauge.load(Ordering::Relaxed).wrapping_add(1);
    gauge.store(sum, Ordering::Relaxed);
}

/// And down.
pub(crate) fn down(gauge: &AtomicUsize) {
    let sum = gauge.load(Ordering::Relaxed).saturating_sub(1);
    gauge.store(sum, Ordering::Relaxed);
}
