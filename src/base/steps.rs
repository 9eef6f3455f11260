//! Counts what is done with peers' bytes, where tests ask for it; in the program it is nothing.
//!
//! Whatever goes over bytes or fields of a message says how many it looks at or moves. `linear` adds that up for inputs
//! made to multiply, since a clock would tell too little: a slow machine hides what a hostile client finds.

/// Says that so many bytes, fields or elements are looked at or moved.
#[inline(always)]
pub(crate) fn count(steps: usize) {
    #[cfg(test)]
    TAKEN.with(|taken| taken.set(taken.get() + steps as u64));
    #[cfg(not(test))]
    let _ = steps;
}

/// How many there were in `work`, on this thread.
#[cfg(test)]
pub(crate) fn of(work: impl FnOnce()) -> u64 {
    let before = TAKEN.get();
    work();
    TAKEN.get() - before
}

#[cfg(test)]
thread_local! {
    static TAKEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}
