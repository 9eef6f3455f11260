//! Where a provider is counted: by its name, so that its figures go on when a new configuration gives it
//! another number, and those of a provider that is gone stay what they were.

use std::sync::Arc;

use super::counters::SLOTS_MAX;
use super::habits::{Habit, Habits};

/// The slot of requests that go to no provider, and its label.
const NOWHERE: &str = "-";
/// The label of the last slot.
const OTHERS: &str = "other";

/// The slots of one configuration's providers, and the names of all that there ever were.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// From slot 1 on.
    names: Arc<[Box<str>]>,
    /// By a provider's number.
    of: Arc<[usize]>,
    /// By slot.
    habits: Habits,
}

impl Slots {
    /// Those of the next configuration, whose providers have these names.
    #[must_use]
    pub fn next<'n>(&self, providers: impl Iterator<Item = &'n str>) -> Self {
        let mut names = self.names.to_vec();
        let of = providers.map(|provider| {
            let known = names.iter().position(|name| **name == *provider);
            let at = known.unwrap_or(names.len());
            if at + 1 >= SLOTS_MAX - 1 {
                return SLOTS_MAX - 1;
            }
            if known.is_none() {
                names.push(provider.into());
            }
            at + 1
        });
        let of = of.collect();
        Self {
            names: names.into(),
            of,
            habits: self.habits.clone(),
        }
    }

    /// The slot of a provider; the one for no provider where there is none with this number.
    #[must_use]
    pub fn of(&self, provider: usize) -> usize {
        self.of.get(provider).copied().unwrap_or_default()
    }

    /// What a provider does with connections.
    #[must_use]
    pub fn habit(&self, provider: usize) -> Habit {
        self.habits.of(self.of(provider))
    }

    /// The name of a slot.
    #[must_use]
    pub fn name(&self, slot: usize) -> &str {
        match slot.checked_sub(1) {
            None => NOWHERE,
            Some(at) => self.names.get(at).map_or(OTHERS, |name| name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_slot() {
        let first = Slots::default().next(["a", "b"].into_iter());
        let second = first.next(["c", "b"].into_iter());
        assert_eq!(first.of(1), second.of(1));
        assert_eq!(second.name(second.of(0)), "c");
        assert_eq!(second.name(first.of(0)), "a");
        assert_eq!(second.name(second.of(2)), "-");
        assert_eq!(second.name(0), "-");
    }

    #[test]
    fn too_many_share_the_last() {
        let names: Vec<String> = (0..SLOTS_MAX + 10).map(|n| format!("p{n}")).collect();
        let slots = Slots::default().next(names.iter().map(String::as_str));
        let last = slots.of(names.len() - 1);
        assert_eq!(last, SLOTS_MAX - 1);
        assert_eq!(slots.name(last), "other");
        assert_eq!(slots.name(slots.of(SLOTS_MAX - 3)), "p253");
        assert_eq!(slots.of(SLOTS_MAX - 2), last);
    }
}
