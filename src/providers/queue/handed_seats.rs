//! The limit of one instance while processes follow each other, as [`super::handed`] is that of a provider.
//!
//! A seat that another process has is occupied here, so nothing else has to know of it. A process that has left gives the
//! seats away that nobody waits for; it is lent one again where a late request waits there, and none here.

use super::handed::{Said, To};
use crate::providers::group::Seats;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct HandedSeats {
    /// Those of other processes, as far as there are so many.
    seats: Seats,
    /// What the older processes have.
    away: u32,
    /// What the younger one has.
    given: u32,
    /// This process has left all but what is under way to a younger one.
    has_left: bool,
}

/// Who waits for seats of the instance's provider.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) here: u32,
    pub(crate) in_older: u32,
}

impl HandedSeats {
    /// None is another process's.
    #[must_use]
    pub(crate) fn new(seats: Seats) -> Self {
        Self {
            seats,
            away: 0,
            given: 0,
            has_left: false,
        }
    }

    /// So many are the older processes'. What is free again may be waited for.
    pub(crate) fn are_away(&mut self, count: u32) {
        self.away = count;
        self.fit();
    }

    /// Leaves all but what is under way to a younger process, which is to be told how much that is.
    #[must_use]
    pub(crate) fn leave(&mut self) -> u32 {
        self.has_left = true;
        let (taken, before) = self.seats.occupy(u32::MAX);
        self.given += taken;
        before
    }

    /// Takes what the older process gives; what is to be passed on.
    pub(crate) fn hear_older(&mut self, said: Said) -> Option<(To, Said)> {
        match said {
            Said::Give(count) => self.comes_back(count),
            Said::Want(_) => None,
        }
    }

    /// Takes what the younger process lends.
    pub(crate) fn hear_younger(&mut self, said: Said) {
        if let Said::Give(count) = said {
            self.given = self.given.saturating_sub(count);
            self.fit();
        }
    }

    /// The older process has ended: nothing is there any more. What is to be passed on.
    pub(crate) fn older_ended(&mut self) -> Option<(To, Said)> {
        self.comes_back(self.away)
    }

    /// The younger process has ended: this one is the last again.
    pub(crate) fn younger_ended(&mut self) {
        (self.has_left, self.given) = (false, 0);
        self.fit();
    }

    /// What there is to give to another process.
    pub(crate) fn news(&mut self, waiting: Waiting) -> Option<(To, Said)> {
        if waiting.here > 0 {
            return None;
        }
        if waiting.in_older > 0 {
            let (taken, _) = self.seats.occupy(1);
            self.away += taken;
            return (taken > 0).then_some((To::Older, Said::Give(taken)));
        }
        if !self.has_left {
            return None;
        }
        let (taken, _) = self.seats.occupy(u32::MAX);
        self.given += taken;
        (taken > 0).then_some((To::Younger, Said::Give(taken)))
    }

    fn comes_back(&mut self, count: u32) -> Option<(To, Said)> {
        let count = count.min(self.away);
        self.away -= count;
        if self.has_left {
            self.given += count;
            return (count > 0).then_some((To::Younger, Said::Give(count)));
        }
        self.fit();
        None
    }

    /// Occupies what is others', and no more.
    fn fit(&mut self) {
        let others = self.away.saturating_add(self.given);
        self.seats.free(self.seats.count().saturating_sub(others));
        self.seats.occupy(others - self.seats.count());
    }
}

#[cfg(test)]
mod tests;
