//! The keys file: managed keys as entries with digests.

use super::ConfigError;
use super::file::syntax;

/// One managed key that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedKey {
    /// Its public name in logs.
    pub id: String,
    /// SHA-256 of the whole key.
    pub sha256: [u8; 32],
    /// Seconds since 1970 from which it is worth nothing.
    pub expires: Option<u64>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    #[expect(dead_code, reason = "for people")]
    name: Option<String>,
    sha256: String,
    #[serde(default)]
    disabled: bool,
    expires: Option<String>,
    providers: Option<Vec<String>>,
    rate: Option<String>,
    allow: Option<Vec<String>>,
}

/// The entries that are not disabled. Limits on a key that this version cannot enforce make the file
/// unusable: a key must not be worth more than was written.
///
/// # Errors
/// Names the file and the entry.
pub fn parse(content: &str, path: &str) -> Result<Vec<ManagedKey>, ConfigError> {
    let file: File = toml::from_str(content).map_err(|error| syntax(path, content, &error))?;
    let mut keys = Vec::new();
    for entry in file.key {
        let key = format!("key {}", entry.id);
        let error = |message: &str| ConfigError::new(path, &key, message);
        let sha256 = digest(&entry.sha256)
            .ok_or_else(|| error("expected sha256 as 64 hexadecimal digits"))?;
        let expires =
            match &entry.expires {
                Some(time) => Some(crate::date::parse_rfc3339(time).ok_or_else(|| {
                    error("expected expires as a time such as 2027-01-31T00:00:00Z")
                })?),
                None => None,
            };
        if entry.providers.is_some() || entry.rate.is_some() || entry.allow.is_some() {
            return Err(error(
                "limits by providers, rate and allow are not supported by this version",
            ));
        }
        if !entry.disabled {
            keys.push(ManagedKey {
                id: entry.id,
                sha256,
                expires,
            });
        }
    }
    Ok(keys)
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        for digit in pair {
            let value = char::from(*digit).to_digit(16)?;
            *byte = *byte << 4 | u8::try_from(value).ok()?;
        }
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let digest = "ab".repeat(32);
        let good = format!(
            "[[key]]\nid = \"a\"\nname = \"n\"\nsha256 = \"{digest}\"\nexpires = \"1970-01-02T00:00:00Z\"\n\
             [[key]]\nid = \"b\"\nsha256 = \"{digest}\"\ndisabled = true\n"
        );
        let keys = parse(&good, "f").unwrap();
        assert_eq!(
            keys,
            [ManagedKey {
                id: "a".into(),
                sha256: [0xab; 32],
                expires: Some(86_400)
            }]
        );
        for broken in [
            "[[key]]\nid = \"a\"\nsha256 = \"xyz\"\n".to_owned(),
            format!("[[key]]\nid = \"a\"\nsha256 = \"{digest}\"\nrate = \"1/s\"\n"),
            format!("[[key]]\nid = \"a\"\nsha256 = \"{digest}\"\nexpires = \"soon\"\n"),
            "[[keys]]\n".to_owned(),
        ] {
            assert!(parse(&broken, "f").is_err(), "{broken}");
        }
    }
}
