//! How many bytes of requests a worker holds that may have to be sent again.

use std::cell::Cell;
use std::rc::Rc;

/// Most bytes of all requests together: one beyond that is not held, and gets its answer.
pub(crate) const ALL_BYTES_MAX: usize = 16 * 1024 * 1024;

/// So many bytes are held; clones count together.
#[derive(Clone, Default)]
pub(crate) struct HeldBytes(Rc<Cell<usize>>);

impl HeldBytes {
    /// Whether there is room for so many more; then they count.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        let all = self.0.get().saturating_add(bytes);
        let fits = all <= ALL_BYTES_MAX;
        if fits {
            self.0.set(all);
        }
        fits
    }

    /// So many are held no longer.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_sub(bytes));
    }
}
