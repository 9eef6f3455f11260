//! Seats at an instance with a limit that nobody of this process may take: at an upgrade they are another process's.

use std::sync::Arc;

use super::instance::Instance;

/// So many seats are occupied for as long as this is there.
#[derive(Debug)]
pub(crate) struct Seats {
    instance: Arc<Instance>,
    count: u32,
}

impl Seats {
    /// None yet.
    pub(super) fn at(instance: &Arc<Instance>) -> Self {
        Self {
            instance: instance.clone(),
            count: 0,
        }
    }

    /// How many are occupied by this.
    #[must_use]
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Occupies those that are free, `most` at most: how many, and how many were taken before by whomever.
    pub(crate) fn occupy(&mut self, most: u32) -> (u32, u32) {
        let (taken, before) = self.instance.occupy(most);
        self.count += taken;
        (taken, before)
    }

    /// Frees so many of them. Whoever waits for one is to be called afterwards.
    pub(crate) fn free(&mut self, count: u32) {
        let count = count.min(self.count);
        self.count -= count;
        self.instance.free(count);
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.instance.free(self.count);
    }
}
