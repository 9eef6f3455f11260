//! What holds for the credentials of every head, shared by a property test and a fuzz target: a naive reader finds the
//! same key or the same fault, and the same lines that carried one.

use super::{AuthError, Keys, Spellings, sha256};
use crate::config::Secret;
use crate::config::keys::ManagedKey;
use crate::http::head::{Fields, Section, parse_request};

/// Short, so that they are soon found: the master key, a managed one, one that is revoked, one that has expired.
const KEYS: [(&str, Verdict); 4] = [
    ("m", Verdict::Live("master")),
    ("k", Verdict::Live("live")),
    ("r", Verdict::Dead(AuthError::KeyDisabled)),
    ("e", Verdict::Dead(AuthError::KeyExpired)),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Live(&'static str),
    Dead(AuthError),
}

/// Keys as in [`KEYS`]; it is always after the time of the last.
///
/// # Panics
/// Never: they are good keys.
#[must_use]
pub fn keys() -> Keys {
    let managed = KEYS.iter().skip(1).map(|(key, verdict)| ManagedKey {
        id: match verdict {
            Verdict::Live(id) => (*id).to_owned(),
            Verdict::Dead(why) => format!("{why:?}"),
        },
        name: None,
        sha256: sha256(key.as_bytes()),
        disabled: *verdict == Verdict::Dead(AuthError::KeyDisabled),
        expires: (*verdict == Verdict::Dead(AuthError::KeyExpired)).then_some(10),
        providers: None,
        allow: None,
        rate: None,
        streams: None,
    });
    let managed: Vec<ManagedKey> = managed.collect();
    let master = Secret::new("m").ok();
    Keys::new(master.as_ref(), Some(&managed), None)
}

/// Reads `lines` as the field lines of a request and asserts what must hold.
pub fn holds(keys: &Keys, lines: &[u8]) {
    let head = [b"GET / HTTP/1.1\r\nHost: h\r\n", lines, b"\r\n\r\n"].concat();
    let mut fields = Fields::new();
    let Ok(Some(_)) = parse_request(&head, &mut fields) else {
        return;
    };
    let text = |bytes: &[u8]| -> String { bytes.iter().map(|&byte| char::from(byte)).collect() };
    let lines = fields.iter().map(|field| {
        let name = text(field.name_of(&head)).to_ascii_lowercase();
        (name, text(field.value.of(&head)))
    });
    let lines: Vec<(String, String)> = lines.collect();
    let shown = head.escape_ascii();
    let checked = keys.check(Section::new(&fields, &head), || 20);
    let expected = model(&lines);
    match (&checked, &expected) {
        (Ok(grant), Ok((id, used))) => {
            assert_eq!(grant.id(), Some(*id), "{shown}");
            let carried = (0..lines.len()).filter(|index| grant.used(*index));
            assert!(carried.eq(used.iter().copied()), "{shown}");
        }
        (Err(found), Err(wanted)) => assert_eq!(found.error, *wanted, "{shown}"),
        _ => unreachable!("{checked:?}, the model {expected:?}: {shown}"),
    }
    for (_, value) in &lines {
        spellings_are_found(keys, value);
    }
}

type Granted = (&'static str, Vec<usize>);

/// All that is tried, in order, then what it says together.
fn model(lines: &[(String, String)]) -> Result<Granted, AuthError> {
    let names = [
        "authorization",
        "x-api-key",
        "api-key",
        "xi-api-key",
        "x-sluicegate-key",
    ];
    let count = |name: &str| lines.iter().filter(|(n, _)| n == name).count();
    let entries = lines
        .iter()
        .filter(|(name, _)| name == "sec-websocket-protocol");
    let entries = entries.flat_map(|(_, value)| value.split(','));
    let prefixed = entries.filter(|entry| protocol_key(entry).is_some());
    if names.iter().any(|name| count(name) > 1) || prefixed.count() > 4 {
        return Err(AuthError::RepeatedCredential);
    }
    let mut tried: Vec<(usize, bool, String)> = Vec::new();
    for (index, (name, value)) in lines.iter().enumerate() {
        match name.as_str() {
            "authorization" => {
                let bearer = value.get(..7).filter(|s| s.eq_ignore_ascii_case("bearer "));
                let key = bearer.and_then(|_| value.get(7..)).unwrap_or_default();
                tried.push((index, true, key.trim_start_matches([' ', '\t']).to_owned()));
            }
            "sec-websocket-protocol" => {
                let keys = value.split(',').filter_map(protocol_key);
                tried.extend(keys.map(|key| (index, false, key.to_owned())));
            }
            _ if names.contains(&name.as_str()) => tried.push((index, true, value.clone())),
            _ => {}
        }
    }
    let verdict = |key: &str| {
        let known = KEYS.iter().find(|(known, _)| *known == key);
        known.map(|(_, verdict)| *verdict)
    };
    let verdicts: Vec<_> = tried.iter().map(|(_, _, key)| verdict(key)).collect();
    let live = verdicts.iter().find_map(|verdict| match verdict {
        Some(Verdict::Live(id)) => Some(*id),
        _ => None,
    });
    let dead = verdicts.iter().rev().find_map(|verdict| match verdict {
        Some(Verdict::Dead(why)) => Some(*why),
        _ => None,
    });
    let used = tried.iter().zip(&verdicts);
    let used = used.filter(|((_, is_line, _), verdict)| *is_line && verdict.is_some());
    let used = used.map(|((index, _, _), _)| *index).collect();
    match (live, dead, tried.is_empty()) {
        (Some(id), _, _) => Ok((id, used)),
        (None, Some(why), _) => Err(why),
        (None, None, false) => Err(AuthError::InvalidKey),
        (None, None, true) => Err(AuthError::MissingKey),
    }
}

fn protocol_key(entry: &str) -> Option<&str> {
    let entry = entry.trim_matches([' ', '\t']);
    let start = entry.get(.."openai-insecure-api-key.".len())?;
    let is_it = start.eq_ignore_ascii_case("openai-insecure-api-key.");
    is_it.then(|| entry.get(start.len()..)).flatten()
}

/// A key that is a word of a value, quoted or not, is found there.
fn spellings_are_found(keys: &Keys, value: &str) {
    let is_key = |word: &str| KEYS.iter().any(|(key, _)| *key == word);
    let bytes: Vec<u8> = value.chars().filter_map(|c| u8::try_from(c).ok()).collect();
    let words = || value.split([' ', '\t']);
    let there = words().any(|word| is_key(word) || is_key(word.trim_matches('"')));
    assert!(!there || Spellings::of(keys).are_in(&bytes), "{value:?}");
}
