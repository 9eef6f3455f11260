//! One limit while processes follow each other: what each tells the one before it and the one behind it.
//!
//! Three may share it, where a process is succeeded that still hears of its predecessor: what those two give to each other
//! goes through it. A process that has left gives away what it does not need, so all of a limit is with the last one in the
//! end, and at once where another one ends.

use super::Queue;

/// One process tells another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Permits are the other's from now on.
    Give(u32),
    /// So many requests wait.
    Want(u32),
}

/// Whom a process tells something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// The process before.
    Older,
    /// The process behind.
    Younger,
}

/// What the other process takes for the number of those that wait here has changed with what it gave: as many may wait as
/// before, and it is to be told so again.
const UNKNOWN: u32 = u32::MAX;

/// What a process knows of a limit beside its queue, which it may not have: the configuration that is in force need not have
/// the limit.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// Permits that the older processes have.
    away: u32,
    /// Requests that wait there.
    older_wants: u32,
    /// Requests that wait in younger ones.
    younger_wants: u32,
    told_older: u32,
    told_younger: u32,
    /// This process has left all but what it needs to a younger one.
    has_left: bool,
}

impl Handed {
    /// The older process has so many permits.
    #[must_use]
    pub(crate) fn new(away: u32) -> Self {
        Self {
            away,
            ..Self::default()
        }
    }

    /// How many requests wait in the older process.
    #[must_use]
    pub(crate) fn older_wants(&self) -> u32 {
        self.older_wants
    }

    /// Has a queue that is new here know what is elsewhere. Afterwards [`next`](Queue::next) is to be asked.
    pub(crate) fn apply(&self, queue: &Queue) {
        queue.stay(self.away, self.older_wants);
    }

    /// Leaves all but what is needed to a younger process, which is to be told how much that is.
    #[must_use]
    pub(crate) fn leave(&mut self, queue: Option<&Queue>) -> u32 {
        self.has_left = true;
        let held = queue.map_or(0, Queue::leave_all);
        held.saturating_add(self.away)
    }

    /// Takes what the older process says; what is to be passed on.
    pub(crate) fn hear_older(&mut self, said: Said, queue: Option<&Queue>) -> Option<(To, Said)> {
        match said {
            Said::Give(count) => {
                self.told_older = UNKNOWN;
                self.comes_back(count.min(self.away), queue)
            }
            Said::Want(count) => {
                self.older_wants = count;
                if let Some(queue) = queue.filter(|_| !self.has_left) {
                    queue.want(count);
                }
                None
            }
        }
    }

    /// Takes what the younger process says; what is to be passed on.
    pub(crate) fn hear_younger(&mut self, said: Said, queue: Option<&Queue>) -> Option<(To, Said)> {
        match said {
            Said::Give(count) => {
                self.told_younger = UNKNOWN;
                // Who waits here comes before those of the older process; what nobody needs goes back.
                let waiting = queue.map_or(0, |queue| queue.state().waiting);
                let older = count.saturating_sub(waiting).min(self.older_wants);
                if let Some(queue) = queue {
                    queue.gain(count - older);
                }
                self.older_wants -= older;
                self.away = self.away.saturating_add(older);
                (older > 0).then_some((To::Older, Said::Give(older)))
            }
            Said::Want(count) => {
                self.younger_wants = count;
                if let Some(queue) = queue {
                    queue.want(count);
                }
                None
            }
        }
    }

    /// The older process has ended: nothing is there any more. What is to be passed on.
    pub(crate) fn older_ended(&mut self, queue: Option<&Queue>) -> Option<(To, Said)> {
        (self.older_wants, self.told_older) = (0, 0);
        let passed = self.comes_back(self.away, queue);
        // Also what was given and not sent yet.
        if let Some(queue) = queue.filter(|_| !self.has_left) {
            self.apply(queue);
        }
        passed
    }

    /// The younger process has ended: this one is the last again.
    pub(crate) fn younger_ended(&mut self, queue: Option<&Queue>) {
        self.has_left = false;
        (self.younger_wants, self.told_younger) = (0, 0);
        if let Some(queue) = queue {
            queue.stay(self.away, self.older_wants);
        }
    }

    fn comes_back(&mut self, count: u32, queue: Option<&Queue>) -> Option<(To, Said)> {
        self.away -= count;
        if self.has_left {
            return (count > 0).then_some((To::Younger, Said::Give(count)));
        }
        if let Some(queue) = queue {
            queue.gain(count);
        }
        None
    }

    /// What there is to tell, since the last time that was asked.
    pub(crate) fn news(&mut self, queue: Option<&Queue>) -> impl Iterator<Item = (To, Said)> {
        let (given, waiting) = queue.map_or((0, 0), Queue::take_given);
        let to = match self.has_left {
            true => To::Younger,
            false => To::Older,
        };
        if to == To::Older {
            self.away = self.away.saturating_add(given);
        }
        let (for_older, for_younger) = match self.has_left {
            true => (self.younger_wants, waiting.saturating_add(self.older_wants)),
            false => (waiting, 0),
        };
        let news = |told: &mut u32, now: u32| {
            let before = std::mem::replace(told, now);
            (before != now).then_some(Said::Want(now))
        };
        let older = news(&mut self.told_older, for_older).map(|said| (To::Older, said));
        let younger = news(&mut self.told_younger, for_younger).map(|said| (To::Younger, said));
        let given = (given > 0).then_some((to, Said::Give(given)));
        older.into_iter().chain(younger).chain(given)
    }
}

#[cfg(test)]
mod tests;
