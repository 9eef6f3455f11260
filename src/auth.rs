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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{self, HeadScan};

    const NOW: u64 = 1000;

    fn keys(master: Option<&str>, managed: Option<&[(&str, Option<u64>)]>) -> Keys {
        let master = master.map(|key| Secret::new(key).unwrap());
        let managed = managed.map(|list| -> Vec<ManagedKey> {
            let entry = |(key, expires): &(&str, Option<u64>)| ManagedKey {
                id: "id".to_owned(),
                sha256: sha256(key.as_bytes()),
                expires: *expires,
            };
            list.iter().map(entry).collect()
        });
        Keys::new(master.as_ref(), managed.as_deref())
    }

    /// The indices of the fields that carried a key, or why there is no grant.
    fn check(keys: &Keys, lines: &[&str]) -> Result<Vec<usize>, AuthError> {
        let text = format!(
            "GET / HTTP/1.1\r\nHost: g\r\n{}\r\n",
            lines
                .iter()
                .map(|line| format!("{line}\r\n"))
                .collect::<String>()
        );
        let mut fields = Vec::new();
        head::request(&mut HeadScan::default(), text.as_bytes(), &mut fields)
            .unwrap()
            .unwrap();
        let grant = keys.check(&fields, text.as_bytes(), NOW)?;
        // `Host` is field 0.
        Ok((0..fields.len())
            .filter(|index| grant.used(*index))
            .map(|index| index - 1)
            .collect())
    }

    #[test]
    fn credential_fields() {
        let keys = keys(Some("key"), None);
        let (missing, invalid) = (Err(AuthError::MissingKey), Err(AuthError::InvalidKey));
        let repeated = Err(AuthError::RepeatedCredential);
        type Row<'a> = (&'a [&'a str], Result<Vec<usize>, AuthError>);
        let rows: &[Row<'_>] = &[
            (&[], missing.clone()),
            (&["X-Other: key"], missing),
            (&["Authorization: Bearer key"], Ok(vec![0])),
            (&["authorization: bEARER   key"], Ok(vec![0])),
            (&["X-Api-Key: key"], Ok(vec![0])),
            (&["api-key: key"], Ok(vec![0])),
            (&["X-Sluicegate-Key: key"], Ok(vec![0])),
            (&["Authorization: key"], invalid.clone()),
            (&["Authorization: Basic key"], invalid.clone()),
            (&["Authorization: Bearer"], invalid.clone()),
            (&["Authorization: Bearerkey"], invalid.clone()),
            (&["x-api-key: Bearer key"], invalid.clone()),
            (&["x-api-key:"], invalid.clone()),
            (&["x-api-key: KEY"], invalid.clone()),
            (&["x-api-key: key1"], invalid.clone()),
            (&["x-api-key: ke"], invalid.clone()),
            (&["x-goog-api-key: key"], Err(AuthError::MissingKey)),
            (
                &["Authorization: Bearer other", "x-api-key: key"],
                Ok(vec![1]),
            ),
            (
                &["Authorization: Bearer key", "x-api-key: key"],
                Ok(vec![0, 1]),
            ),
            (&["x-api-key: key", "X-API-KEY: key"], repeated.clone()),
            (&["x-api-key: key", "x-api-key: other"], repeated.clone()),
            (
                &["Authorization: Bearer key", "Authorization: Basic x"],
                repeated,
            ),
            (
                &["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.key"],
                Ok(vec![]),
            ),
            (
                &["Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.other"],
                invalid,
            ),
            (
                &["Sec-WebSocket-Protocol: realtime"],
                Err(AuthError::MissingKey),
            ),
        ];
        for (lines, expected) in rows {
            assert_eq!(check(&keys, lines), *expected, "{lines:?}");
        }
    }

    #[test]
    fn open_only_without_any_key_and_file() {
        assert_eq!(check(&keys(None, None), &[]), Ok(vec![]));
        assert_eq!(
            check(&keys(None, None), &["x-api-key: a", "x-api-key: b"]),
            Ok(vec![])
        );
        assert_eq!(
            check(&keys(None, Some(&[])), &[]),
            Err(AuthError::MissingKey)
        );
        assert_eq!(
            check(&keys(None, Some(&[])), &["x-api-key: a"]),
            Err(AuthError::InvalidKey)
        );
        assert_eq!(
            check(&keys(Some("a"), None), &[]),
            Err(AuthError::MissingKey)
        );
    }

    #[test]
    fn managed_keys_until_they_expire() {
        let list = [
            ("a", None),
            ("b", Some(NOW + 1)),
            ("c", Some(NOW)),
            ("d", Some(0)),
        ];
        let keys = keys(Some("m"), Some(&list));
        for (key, valid) in [
            ("m", true),
            ("a", true),
            ("b", true),
            ("c", false),
            ("d", false),
            ("e", false),
        ] {
            assert_eq!(
                check(&keys, &[&format!("api-key: {key}")]).is_ok(),
                valid,
                "{key}"
            );
        }
    }
}
