//! What is chosen from, of all providers: made with each configuration, shared by all workers.

use std::sync::Arc;

use super::keyring::{Keyring, Standing};

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
}

impl Choices {
    /// Of providers with these names and digests of keys, in order; what is known `before` of those that stay goes on.
    #[must_use]
    pub(crate) fn new<'p>(
        providers: impl Iterator<Item = (&'p str, Vec<[u8; 32]>)>,
        before: Option<&Self>,
    ) -> Arc<Self> {
        let choice = |(name, digests): (&str, Vec<[u8; 32]>)| {
            let known = before.and_then(|all| all.0.iter().find(|one| *one.name == *name));
            let known = known.and_then(|one| one.keys.as_ref());
            Choice {
                name: name.into(),
                keys: (digests.len() > 1).then(|| Keyring::new(digests.into_iter(), known)),
            }
        };
        Arc::new(Self(providers.map(choice).collect()))
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

    /// The keys of the provider with this index, where it has several.
    #[must_use]
    pub(crate) fn keys(&self, provider: usize) -> Option<&Keyring> {
        self.0.get(provider)?.keys.as_ref()
    }
}
