//! What is chosen from, of all providers: made with each configuration, shared by all workers.

use std::sync::Arc;

use super::group::{Balance, Group, InstanceState, Listed, Seats};
use super::hash;
use super::keyring::{Keyring, Standing};
use super::queue::{Limits, Queue};
use super::roster::Answers;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Choices(Box<[Choice]>);

/// Of one provider.
#[derive(Debug)]
struct Choice {
    /// By this it is known again after a reload.
    name: Box<str>,
    /// Where there are several keys.
    keys: Option<Keyring>,
    /// Where there are several instances, or one with a limit of its own.
    group: Option<Arc<Group>>,
    /// By these they are told apart, in their order.
    labels: Box<[String]>,
    /// Names that stand for many of them, and what came of asking for their addresses.
    names: Box<[(String, Arc<Answers>)]>,
    /// Where so many requests at once are the most, of the provider or of an instance.
    queue: Option<Arc<Queue>>,
}

/// What there is of a provider.
#[derive(Debug)]
pub(crate) struct Offer<'p> {
    /// Its name.
    pub(crate) name: &'p str,
    /// Digests of its keys, in order.
    pub(crate) keys: Vec<[u8; 32]>,
    /// How requests are dealt out among its instances.
    pub(crate) balance: Balance,
    /// Those, where there are several or may be.
    pub(crate) instances: Vec<Listed>,
    /// By these they are told apart.
    pub(crate) labels: Vec<String>,
    /// Names that stand for many of them, and what came of asking for their addresses.
    pub(crate) names: Vec<(String, Arc<Answers>)>,
    /// They are asked whether they are well.
    pub(crate) is_probed: bool,
    /// How many requests it gets at once, and how others wait; there where an instance has a limit.
    pub(crate) limits: Option<Limits>,
}

impl Choices {
    /// Of these providers, in order; what is known `before` of keys and instances that stay goes on. `now` is in
    /// nanoseconds.
    #[must_use]
    pub(crate) fn new<'p>(
        providers: impl Iterator<Item = Offer<'p>>,
        before: Option<&Self>,
        now: u64,
    ) -> Arc<Self> {
        let choice = |offer: Offer<'_>| {
            let known = before.and_then(|all| all.0.iter().find(|one| *one.name == *offer.name));
            let keys = known.and_then(|one| one.keys.as_ref());
            let group = known.and_then(|one| one.group.as_ref());
            let (balance, instances) = (offer.balance, &*offer.instances);
            let group = match group {
                _ if instances.is_empty() => None,
                Some(group) => group.after(balance, instances, micros(now)).ok(),
                None => Group::new(balance, instances).ok(),
            };
            if let Some(group) = group.as_ref().filter(|_| !offer.is_probed) {
                group.is_not_probed(micros(now));
            }
            debug_assert!(
                group.is_some() || instances.is_empty(),
                "settings were checked"
            );
            Choice {
                name: offer.name.into(),
                keys: (offer.keys.len() > 1).then(|| Keyring::new(offer.keys.into_iter(), keys)),
                group: group.map(Arc::new),
                labels: offer.labels.into(),
                names: offer.names.into(),
                queue: offer
                    .limits
                    .map(|limits| match known.and_then(|one| one.queue.clone()) {
                        None => Arc::new(Queue::new(limits)),
                        Some(queue) => {
                            queue.limit(limits);
                            queue
                        }
                    }),
            }
        };
        let all = Self(providers.map(choice).collect());
        if let Some(before) = before {
            before.open_all_but(&all);
        }
        Arc::new(all)
    }

    /// Keeps nobody waiting for a limit that is not among those `after` a reload.
    fn open_all_but(&self, after: &Self) {
        for choice in &self.0 {
            let Some(queue) = &choice.queue else { continue };
            let mut stay = after.0.iter().filter_map(|choice| choice.queue.as_ref());
            if !stay.any(|stays| Arc::ptr_eq(stays, queue)) {
                choice.group.iter().for_each(|group| group.lift_limits());
                queue.open();
            }
        }
    }

    /// How each of several keys stands: its provider, its number from 1 on.
    pub(crate) fn standings(&self, now: u64) -> impl Iterator<Item = (&str, usize, Standing)> {
        self.0.iter().flat_map(move |choice| {
            let keys = choice.keys.iter().flat_map(move |keys| keys.standings(now));
            (1..)
                .zip(keys)
                .map(|(number, key)| (&*choice.name, number, key))
        })
    }

    /// The instances of the provider with this index, where it has several or their requests are limited.
    #[must_use]
    pub(crate) fn group(&self, provider: usize) -> Option<&Arc<Group>> {
        self.0.get(provider)?.group.as_ref()
    }

    /// Where requests to the provider with this index wait for their turn, if so many at once are the most.
    #[must_use]
    pub(crate) fn queue(&self, provider: usize) -> Option<&Arc<Queue>> {
        self.0.get(provider)?.queue.as_ref()
    }

    /// The same of the provider with this name.
    #[must_use]
    pub(crate) fn queue_of(&self, name: &str) -> Option<&Arc<Queue>> {
        let named = self.0.iter().find(|choice| *choice.name == *name);
        named?.queue.as_ref()
    }

    /// All such queues, and their providers' names.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (&str, &Arc<Queue>)> {
        let choices = self.0.iter();
        choices.filter_map(|choice| Some((&*choice.name, choice.queue.as_ref()?)))
    }

    /// All limits, by a hash of their names: the same in the next process.
    pub(crate) fn limits(&self) -> impl Iterator<Item = (u64, &Arc<Queue>)> {
        let choices = self.0.iter();
        choices.filter_map(|choice| {
            let name = hash::of(choice.name.as_bytes());
            Some((name, choice.queue.as_ref()?))
        })
    }

    /// Limits of instances: what they are called at a hand-over, the name of their provider's limit among
    /// [`limits`](Self::limits), and what other processes have there, which is nothing yet.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (u64, u64, Seats)> {
        self.0.iter().enumerate().flat_map(move |(index, choice)| {
            let group = choice.group.iter().filter(|group| group.is_limited());
            let provider = hash::of(choice.name.as_bytes());
            group.flat_map(move |group| {
                (0..group.instances()).filter_map(move |at| {
                    Some((self.handed(index, at)?, provider, group.seats(at)?))
                })
            })
        })
    }

    /// How each of several instances, or of those with a limit, stands: its provider, what it is told apart by.
    pub(crate) fn states(&self, now: u64) -> impl Iterator<Item = (&str, &str, InstanceState)> {
        self.0.iter().flat_map(move |choice| {
            let group = choice.group.iter();
            let all = group.flat_map(move |group| {
                (0..group.instances()).filter_map(move |index| group.state(index, micros(now)))
            });
            let labels = choice.labels.iter();
            labels
                .zip(all)
                .map(|(label, state)| (&*choice.name, &**label, state))
        })
    }

    /// Names that stand for many instances: their provider, the name, and what came of asking for its addresses.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str, &Answers)> {
        self.0.iter().flat_map(|choice| {
            let names = choice.names.iter();
            names.map(|(name, answers)| (&*choice.name, &**name, &**answers))
        })
    }

    /// What came of asking for a name that stands for many.
    #[must_use]
    pub(crate) fn answers_of(&self, name: &str) -> Option<&Answers> {
        let mut names = self.names();
        names.find_map(|(_, own, answers)| (own == name).then_some(answers))
    }

    /// The instances that are drained, by a hash of their providers' names and their identities: the same in the next process.
    pub(crate) fn drained(&self) -> Vec<u64> {
        let drained = |index: usize| {
            let group = self.group(index)?;
            let is_drained = move |at: &usize| group.state(*at, 0).is_some_and(|it| it.draining);
            let all = (0..group.instances()).filter(is_drained);
            Some(all.filter_map(move |at| self.handed(index, at)))
        };
        (0..self.0.len()).filter_map(drained).flatten().collect()
    }

    /// Drains those of `drained` that are there; their providers' indices and their own.
    pub(crate) fn drain(&self, drained: &[u64]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for index in 0..self.0.len() {
            let Some(group) = self.group(index) else {
                continue;
            };
            for at in 0..group.instances() {
                let handed = self.handed(index, at);
                if handed.is_some_and(|it| drained.contains(&it)) && group.drain(at) {
                    found.push((index, at));
                }
            }
        }
        found
    }

    /// What the instance of a provider is called at a hand-over.
    fn handed(&self, provider: usize, instance: usize) -> Option<u64> {
        let choice = self.0.get(provider)?;
        let identity = choice.group.as_ref()?.identity(instance)?;
        Some(hash::score(hash::of(choice.name.as_bytes()), identity))
    }

    /// The keys of the provider with this index, where it has several.
    #[must_use]
    pub(crate) fn keys(&self, provider: usize) -> Option<&Keyring> {
        self.0.get(provider)?.keys.as_ref()
    }
}

/// As groups count the time.
#[must_use]
pub(crate) const fn micros(nanos: u64) -> u64 {
    nanos / 1000
}
