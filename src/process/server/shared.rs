//! Who shares limits on requests at once with this process, and what is known of each limit.

use std::collections::BTreeMap;

use crate::process::handover::Packet;
use crate::process::handover::link::Link;
use crate::providers::Choices;
use crate::providers::queue::Queue;
use crate::providers::queue::handed::{Handed, Said, To};
use crate::providers::queue::handed_seats::{HandedSeats, Waiting};

/// Those that share limits with this process, and what is known of the limits, by a hash of their names.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) older: Option<Link>,
    pub(super) younger: Option<Link>,
    pub(super) limits: BTreeMap<u64, Handed>,
    /// The same of instances, and the name of their provider's limit.
    pub(super) seats: BTreeMap<u64, (u64, HandedSeats)>,
}

impl Shared {
    /// Whether there is anybody.
    pub(super) fn is_on(&self) -> bool {
        self.older.is_some() || self.younger.is_some()
    }

    /// Whether the process before is spoken for: what it and the one behind give to each other goes through this one.
    pub(super) fn passes_on(&self) -> bool {
        self.older.is_some() && self.younger.is_some()
    }

    /// Tells the process behind that the service manager knows it; whether there is one to be told here.
    pub(super) fn announce(&mut self) -> bool {
        let younger = self.younger.as_mut();
        younger.map(|link| link.say(Packet::Announced)).is_some()
    }

    fn link(&mut self, to: To) -> Option<&mut Link> {
        match to {
            To::Older => self.older.as_mut(),
            To::Younger => self.younger.as_mut(),
        }
    }

    /// Tells one of them something of a limit.
    pub(super) fn say(&mut self, limit: u64, (to, said): (To, Said)) {
        if let Some(link) = self.link(to) {
            link.say(Packet::Said(limit, said));
        }
    }

    /// Says what there is to say.
    pub(super) fn exchange(&mut self, choices: &Choices) {
        for to in [To::Older, To::Younger] {
            if let Some(link) = self.link(to) {
                link.flush();
                // One that takes nothing is told no more for now.
                if !link.is_flushed() {
                    return;
                }
            }
        }
        let names: Vec<u64> = self.limits.keys().copied().collect();
        for name in names {
            let queue = queue(choices, name);
            let handed = self.limits.get_mut(&name);
            let news: Vec<_> = handed.map_or_else(Vec::new, |handed| handed.news(queue).collect());
            news.into_iter().for_each(|said| self.say(name, said));
        }
        self.exchange_seats(choices);
    }

    fn exchange_seats(&mut self, choices: &Choices) {
        let mut news = Vec::new();
        for (name, (provider, handed)) in &mut self.seats {
            let waiting = Waiting {
                here: queue(choices, *provider).map_or(0, |queue| queue.state().waiting),
                in_older: { self.limits.get(provider) }.map_or(0, Handed::older_wants),
            };
            news.extend(handed.news(waiting).map(|said| (*name, said)));
        }
        for (name, said) in news {
            self.say(name, said);
        }
    }
}

/// The limit of this name, if the configuration has it.
pub(super) fn queue(choices: &Choices, name: u64) -> Option<&Queue> {
    let mut limits = choices.limits();
    limits
        .find(|(known, _)| *known == name)
        .map(|(_, queue)| &**queue)
}
