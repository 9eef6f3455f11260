//! Gateway keys: kept as digests, compared in constant time. Pure.

use aws_lc_rs::digest::{Digest, SHA256, digest};
use subtle::{Choice, ConstantTimeEq as _};

use crate::admission::KEY_PROTOCOL;
use crate::config::Secret;
use crate::config::keys::ManagedKey;
use crate::http::head::{Field, Name, list};
use crate::http::rewrite::FieldSet;

/// Every key that opens the gateway.
pub struct Keys {
    digests: Vec<Key>,
    open: bool,
}

struct Key {
    digest: [u8; 32],
    /// Seconds since 1970.
    expires: Option<u64>,
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
}

/// Leave to pass, and which fields carried a gateway key: those never go on.
#[derive(Debug)]
pub struct Grant(FieldSet);

impl Grant {
    /// Whether the field with this index carried a gateway key.
    #[must_use]
    pub fn used(&self, index: usize) -> bool {
        self.0.contains(index)
    }
}

impl Keys {
    /// The master key and the keys file's entries. Without a master key and without a file the gateway is
    /// open; a file without a usable key is not that.
    #[must_use]
    pub fn new(master: Option<&Secret>, managed: Option<&[ManagedKey]>) -> Self {
        let open = master.is_none() && managed.is_none();
        let master = master.map(|key| Key {
            digest: sha256(key.expose()),
            expires: None,
        });
        let managed = managed.unwrap_or_default().iter();
        let managed = managed.map(|key| Key {
            digest: key.sha256,
            expires: key.expires,
        });
        Self {
            digests: master.into_iter().chain(managed).collect(),
            open,
        }
    }

    /// Looks at every credential of a head, whether one before it was right or not. `now` is in seconds since
    /// 1970.
    ///
    /// # Errors
    /// Why it may not pass.
    pub fn check(&self, fields: &[Field], buf: &[u8], now: u64) -> Result<Grant, AuthError> {
        let mut grant = Grant(FieldSet::default());
        if self.open {
            return Ok(grant);
        }
        let (mut present, mut granted) = (false, false);
        let mut seen = [0_u8; 4];
        for (index, field) in fields.iter().enumerate() {
            let value = field.value.of(buf);
            let slot = match field.name {
                Name::Authorization => 0,
                Name::XApiKey => 1,
                Name::ApiKey => 2,
                Name::XSluicegateKey => 3,
                Name::SecWebsocketProtocol => {
                    for key in list(value).filter_map(|entry| entry.strip_prefix(KEY_PROTOCOL)) {
                        present = true;
                        granted |= self.holds(key, now);
                    }
                    continue;
                }
                _ => continue,
            };
            if let Some(count) = seen.get_mut(slot) {
                *count = count.saturating_add(1);
            }
            present = true;
            let key = if slot == 0 {
                bearer(value)
            } else {
                Some(value)
            };
            if key.is_some_and(|key| self.holds(key, now)) {
                granted = true;
                grant.0.insert(index);
            }
        }
        if seen.iter().any(|count| *count > 1) {
            return Err(AuthError::RepeatedCredential);
        }
        match (granted, present) {
            (true, _) => Ok(grant),
            (false, true) => Err(AuthError::InvalidKey),
            (false, false) => Err(AuthError::MissingKey),
        }
    }

    /// Compares with every key, so that the time says nothing about which one is near.
    fn holds(&self, key: &[u8], now: u64) -> bool {
        let digest = sha256(key);
        let mut found = Choice::from(0);
        for key in &self.digests {
            let valid = key.expires.is_none_or(|expires| now < expires);
            found |= key.digest.ct_eq(&digest) & Choice::from(u8::from(valid));
        }
        found.into()
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| rest.trim_ascii_start())
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest: Digest = digest(&SHA256, bytes);
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}
