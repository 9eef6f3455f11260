//! What a queue may give out while two processes share its limit: at an upgrade the old one and the new one.
//!
//! A permit is in one of them, or on its way. The new process has those of the limit that are not elsewhere; the old one has
//! what it was left with, and gives away what it does not need. Each knows how many requests wait in the other, and where
//! some wait in both, they take turns.

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Permits that this process was left with, held ones among them, whatever the limit says.
    left: Option<u32>,
    /// Permits of the limit that another process has.
    away: u32,
    /// Requests that wait in the other process.
    wanted: u32,
    /// Permits that were given to it, and are to be sent there.
    given: u32,
    /// The next contested permit stays here.
    stays: bool,
}

impl Share {
    /// How many may be held here.
    pub(super) fn allowed(&self, permits: u32) -> u32 {
        self.left.unwrap_or(permits.saturating_sub(self.away))
    }

    /// As many more places as permits are elsewhere: who would have had one of them waits for it.
    pub(super) fn places(&self, permits: u32) -> u32 {
        permits.saturating_sub(self.allowed(permits))
    }

    /// Gives a free permit to the other process, if that wants one and, where somebody waits here as well, it is its turn.
    pub(super) fn gives(&mut self, contested: bool) -> bool {
        if self.wanted == 0 {
            return false;
        }
        if contested {
            self.stays = !self.stays;
            if self.stays {
                return false;
            }
        }
        self.wanted -= 1;
        self.give(1);
        true
    }

    fn give(&mut self, count: u32) {
        match &mut self.left {
            Some(left) => *left = left.saturating_sub(count),
            None => self.away = self.away.saturating_add(count),
        }
        self.given = self.given.saturating_add(count);
    }

    /// Takes what the other process has given.
    pub(super) fn gain(&mut self, count: u32) {
        match &mut self.left {
            Some(left) => *left = left.saturating_add(count),
            None => self.away = self.away.saturating_sub(count),
        }
    }

    /// So many requests wait in the other process now.
    pub(super) fn want(&mut self, count: u32) {
        self.wanted = count;
    }

    /// Keeps the permits that are `held` and no more from now on. What was not sent yet is no gift any more: who all is left
    /// to has it.
    pub(super) fn leave(&mut self, held: u32) {
        self.left = Some(held);
        (self.wanted, self.given) = (0, 0);
    }

    /// There is nobody any more to whom permits were left: all are here that are not `away`, where so many requests wait.
    pub(super) fn stay(&mut self, away: u32, wanted: u32) {
        (self.left, self.given) = (None, 0);
        (self.away, self.wanted) = (away, wanted);
    }

    /// What is to be sent to the other process: a process that leaves keeps nothing that nobody here waits for.
    pub(super) fn take_given(&mut self, held: u32, waiting: u32) -> u32 {
        if let Some(left) = self.left.filter(|_| waiting == 0) {
            self.give(left.saturating_sub(held));
        }
        std::mem::take(&mut self.given)
    }
}
