//! Gateway keys: kept as digests; who holds one, and what it is good for. Pure.

mod spelling;
mod usage;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

use crate::base::steps;
use crate::config::Secret;
use crate::config::keys::{ManagedKey, Rate};
use crate::config::rules::Rules;
use crate::http::head::{FieldSet, NameSet, Section, Value, list};
use crate::observe::Slots;

pub(crate) use spelling::Spellings;
pub(crate) use usage::{Lease, Usage};

/// Every key that opens the gateway; one for all workers.
pub struct Keys {
    master: Option<Digest>,
    /// Indices of `managed`.
    ///
    /// A lookup takes as long as the digest's place in the table and what lies beside it have it, and that
    /// leaks nothing useful: the table's own hash has a random key, so that places say nothing of digests, a
    /// digest does not lead back to its key, and keys are random. What is found is compared in constant time.
    by_digest: HashMap<Digest, usize>,
    managed: Box<[Key]>,
    /// Where requests are counted by their key; the master key is the first.
    slots: Slots,
    open: bool,
}

/// A managed key.
struct Key {
    id: Box<str>,
    disabled: bool,
    /// Seconds since 1970.
    expires: Option<u64>,
    providers: Option<Box<[Box<[u8]>]>>,
    allow: Option<Rules>,
    rate: Option<Rate>,
    streams: Option<u32>,
    usage: Arc<Usage>,
    slot: usize,
}

impl Key {
    fn is_dead(&self, error: AuthError) -> Found<'_> {
        let id = Some(&*self.id);
        Found::Dead(Refused { error, id })
    }
}

/// SHA-256 of a key.
#[derive(Clone, Copy)]
struct Digest([u8; 32]);

impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As random as all of it.
        let (first, _) = self.0.split_first_chunk().unwrap_or((&[0; 8], &[]));
        state.write_u64(u64::from_ne_bytes(*first));
    }
}

/// Why a request may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// No credential field at all.
    MissingKey,
    /// None of the credentials is a key.
    InvalidKey,
    /// Two lines of the same credential field.
    RepeatedCredential,
    /// The key was revoked.
    KeyDisabled,
    /// The key's time is over.
    KeyExpired,
    /// The key is not for this provider.
    ProviderNotAllowed,
    /// The key is not for this method and endpoint.
    EndpointNotAllowed,
    /// As much is under way with this key as may be.
    TooManyStreams,
    /// The key's rate is used up.
    RateExceeded {
        /// Seconds until the next request passes, if none comes before it.
        retry_after: u32,
    },
}

/// Why a request may not pass, and the id of the key that is worth nothing any more, if it is that.
#[derive(Debug)]
pub struct Refused<'k> {
    /// Why.
    pub error: AuthError,
    /// Of the key.
    pub id: Option<&'k str>,
}

impl From<Refused<'_>> for AuthError {
    fn from(refused: Refused<'_>) -> Self {
        refused.error
    }
}

impl Refused<'_> {
    fn by(error: AuthError) -> Self {
        Self { error, id: None }
    }
}

/// What a request asks for, as far as a key may be limited in it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// As it is written in the target.
    pub provider: &'a [u8],
    /// Method.
    pub method: &'a [u8],
    /// As it is written in the target, without a slash before it.
    pub endpoint: &'a [u8],
}

/// Leave to pass: whose it is, and which fields carried a gateway key; those never go on.
#[derive(Debug)]
pub struct Grant<'k> {
    used: FieldSet,
    holder: Holder<'k>,
}

#[derive(Clone, Copy)]
enum Holder<'k> {
    /// There are no keys.
    Anyone,
    Master,
    Managed(&'k Key),
}

impl std::fmt::Debug for Holder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id().unwrap_or("anyone"))
    }
}

impl<'k> Holder<'k> {
    fn id(self) -> Option<&'k str> {
        match self {
            Self::Anyone => None,
            Self::Master => Some(MASTER),
            Self::Managed(key) => Some(&key.id),
        }
    }
}

/// What the master key is called.
const MASTER: &str = "master";
/// Where its requests are counted.
const MASTER_SLOT: usize = 1;

impl<'k> Grant<'k> {
    /// Whether the field with this index carried a gateway key.
    #[must_use]
    pub fn used(&self, index: usize) -> bool {
        self.used.contains(index)
    }

    /// The id of the key, `master` for the master key; none where the gateway is open.
    #[must_use]
    pub fn id(&self) -> Option<&'k str> {
        self.holder.id()
    }

    /// Where requests with this key are counted; 0 where the gateway is open.
    #[must_use]
    pub fn slot(&self) -> usize {
        match self.holder {
            Holder::Anyone => 0,
            Holder::Master => MASTER_SLOT,
            Holder::Managed(key) => key.slot,
        }
    }

    /// Whether the key is limited to methods and endpoints.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        matches!(self.holder, Holder::Managed(key) if key.allow.is_some())
    }

    /// Whether the key is good for this.
    ///
    /// # Errors
    /// The limit that it goes beyond.
    pub fn permit(&self, asked: Asked<'_>) -> Result<(), AuthError> {
        let Holder::Managed(key) = self.holder else {
            return Ok(());
        };
        if let Some(providers) = &key.providers
            && !providers.iter().any(|name| **name == *asked.provider)
        {
            return Err(AuthError::ProviderNotAllowed);
        }
        match &key.allow {
            Some(rules) if !rules.allow(asked.method, asked.endpoint) => {
                Err(AuthError::EndpointNotAllowed)
            }
            _ => Ok(()),
        }
    }

    /// Counts a request; what it returns is held until the exchange is over. `now` is asked only for a key with
    /// a rate, and tells nanoseconds since some moment, the same for all threads.
    ///
    /// # Errors
    /// The limit that is reached. A request that is one stream too many does not count for the rate.
    pub fn enter(&self, now: impl Fn() -> u64) -> Result<Option<Lease>, AuthError> {
        let Holder::Managed(key) = self.holder else {
            return Ok(None);
        };
        let lease = match key.streams {
            Some(most) => Some(key.usage.begin(most).ok_or(AuthError::TooManyStreams)?),
            None => None,
        };
        if let Some(rate) = key.rate {
            let counted = key.usage.count(rate, now());
            counted.map_err(|retry_after| AuthError::RateExceeded { retry_after })?;
        }
        Ok(lease)
    }
}

/// What a credential turned out to be.
enum Found<'k> {
    Live(Holder<'k>),
    /// A key that is worth nothing any more.
    Dead(Refused<'k>),
    Unknown,
}

impl Keys {
    /// The master key and the keys file's entries. Without a master key and without a file the gateway is
    /// open; a file without a usable key is not that. What was counted for a key of `before` goes on
    /// under the same id.
    #[must_use]
    pub fn new(
        master: Option<&Secret>,
        managed: Option<&[ManagedKey]>,
        before: Option<&Self>,
    ) -> Self {
        let open = master.is_none() && managed.is_none();
        let slots = before.map_or_else(Slots::default, |keys| keys.slots.clone());
        let before = before.map_or(&[][..], |keys| &*keys.managed).iter();
        let before: HashMap<&str, &Arc<Usage>> = before.map(|key| (&*key.id, &key.usage)).collect();
        let managed = managed.unwrap_or_default();
        let ids = managed.iter().map(|key| key.id.as_str());
        let slots = slots.next([MASTER].into_iter().chain(ids));
        let digests = managed.iter().map(|key| Digest(key.sha256));
        let key = |(number, key): (usize, &ManagedKey)| Key {
            slot: slots.of(number + 1),
            id: key.id.as_str().into(),
            disabled: key.disabled,
            expires: key.expires,
            providers: key.providers.as_ref().map(|names| {
                let names = names.iter().map(|name| name.as_bytes().into());
                names.collect()
            }),
            allow: key.allow.clone(),
            rate: key.rate,
            streams: key.streams,
            usage: before
                .get(key.id.as_str())
                .map_or_else(Arc::default, |usage| Arc::clone(usage)),
        };
        Self {
            master: master.map(|key| Digest(sha256(key.expose()))),
            by_digest: digests.zip(0..).collect(),
            managed: managed.iter().enumerate().map(key).collect(),
            slots,
            open,
        }
    }

    /// Whether these may come after `before`: not where they take the last key away, be it that everybody gets in then
    /// or nobody does. `now` is seconds since 1970.
    ///
    /// Keys that a file goes on to list as worth nothing were not lost, but revoked; that is put in force.
    ///
    /// # Errors
    /// Why not.
    pub fn may_follow(&self, before: &Self, now: u64) -> Result<(), &'static str> {
        let opens = self.open && !before.open;
        let some = |keys: &Self| keys.master.is_some() || !keys.managed.is_empty();
        let usable = |key: &Key| !key.disabled && key.expires.is_none_or(|end| now < end);
        let has_any = self.master.is_some() || self.managed.iter().any(usable);
        let were_revoked = before.master.is_none() && some(self);
        match opens || some(before) && !has_any && !were_revoked {
            true => {
                Err("this would take the last gateway key away, which only auth.open = true allows")
            }
            false => Ok(()),
        }
    }

    /// How many keys there are, those that are worth nothing any more included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.managed.len() + usize::from(self.master.is_some())
    }

    /// Names of the slots that requests are counted in by their key.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Whether nobody is asked for a key.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.open
    }

    /// Looks at every credential of a head. The first that is a usable key counts, in the order of the field
    /// lines. `now` tells the seconds since 1970, and is asked only for a key that expires.
    ///
    /// # Errors
    /// Why it may not pass.
    pub fn check(
        &self,
        section: Section<'_>,
        now: impl Fn() -> u64,
    ) -> Result<Grant<'_>, Refused<'_>> {
        let mut used = FieldSet::default();
        if self.open {
            let holder = Holder::Anyone;
            return Ok(Grant { used, holder });
        }
        let (mut holder, mut failed) = (None, Refused::by(AuthError::MissingKey));
        let mut look = |key: &[u8]| match self.find(key, &now) {
            Found::Live(found) => {
                holder.get_or_insert(found);
                true
            }
            Found::Dead(why) => {
                failed = why;
                true
            }
            Found::Unknown => {
                if failed.error == AuthError::MissingKey {
                    failed.error = AuthError::InvalidKey;
                }
                false
            }
        };
        let (mut seen, mut is_repeated, mut in_protocols) = (NameSet::NONE, false, 0);
        for (index, field) in section.fields.known() {
            let value = section.value(field);
            let key = match field.name.value() {
                Value::Plain | Value::Secret => continue,
                Value::Keys => {
                    for key in list(value).filter_map(key_of_protocol) {
                        in_protocols += 1;
                        if in_protocols > PROTOCOL_KEYS_MAX {
                            return Err(Refused::by(AuthError::RepeatedCredential));
                        }
                        look(key);
                    }
                    continue;
                }
                // What is no bearer token is no key either.
                Value::Bearer => bearer(value).unwrap_or_default(),
                Value::Key => value,
            };
            is_repeated |= seen.has(field.name);
            seen = seen.with(field.name);
            if look(key) {
                used.insert(index);
            }
        }
        if is_repeated {
            return Err(Refused::by(AuthError::RepeatedCredential));
        }
        holder.map(|holder| Grant { used, holder }).ok_or(failed)
    }

    /// Whether this is a key, be it worth something or not.
    fn know(&self, key: &[u8]) -> bool {
        let digest = Digest(sha256(key));
        self.master == Some(digest) || self.by_digest.contains_key(&digest)
    }

    /// One digest and one lookup, however many keys there are.
    fn find(&self, key: &[u8], now: impl Fn() -> u64) -> Found<'_> {
        if key.is_empty() {
            return Found::Unknown;
        }
        let digest = Digest(sha256(key));
        if self.master == Some(digest) {
            return Found::Live(Holder::Master);
        }
        let index = self.by_digest.get(&digest);
        match index.and_then(|index| self.managed.get(*index)) {
            None => Found::Unknown,
            Some(key) if key.disabled => key.is_dead(AuthError::KeyDisabled),
            Some(key) if key.expires.is_some_and(|expires| now() >= expires) => {
                key.is_dead(AuthError::KeyExpired)
            }
            Some(key) => Found::Live(Holder::Managed(key)),
        }
    }
}

/// Whether an id is a managed key's, which is for one client or a few.
#[must_use]
pub(crate) fn is_managed(id: &str) -> bool {
    id != MASTER
}

/// The key that an entry of `Sec-WebSocket-Protocol` carries (OpenAI's browser clients).
#[must_use]
pub(crate) fn key_of_protocol(entry: &[u8]) -> Option<&[u8]> {
    let (start, key) = entry.split_at_checked(KEY_PROTOCOL.len())?;
    start.eq_ignore_ascii_case(KEY_PROTOCOL).then_some(key)
}

/// Most such entries of a request. One line has room for thousands, and each is a try.
const PROTOCOL_KEYS_MAX: usize = 4;

/// What such an entry begins with, in any case: names of subprotocols are compared exactly (RFC 6455), but a provider
/// that did not would get the key. What opens the gateway and what is taken out is one thing.
const KEY_PROTOCOL: &[u8] = b"openai-insecure-api-key.";

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| rest.trim_ascii_start())
}

/// SHA-256 of a key, as keys files have it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    // A digest is made of whole blocks.
    steps::count(bytes.len() + 64);
    let digest = digest(&SHA256, bytes);
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}
