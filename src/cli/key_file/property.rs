//! What holds for every keys file, shared by a property test and a fuzz target: both parsers agree on what it is, and
//! a change changes one entry and nothing else.

use std::fs;
use std::path::Path;

use super::{KeyFile, Missing, NewEntry};
use crate::base::hex;
use crate::config::keys::{self, ManagedKey};

/// A digest that no file has.
const OTHER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddee00";

/// Writes `content` to the file at `path`, which is this caller's own, and asserts what must hold of it.
///
/// # Panics
/// When it does not, or the file cannot be written.
#[expect(clippy::expect_used, reason = "runs in tests and fuzz targets only")]
pub fn holds(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("a writable file");
    let opened = || KeyFile::open(path, Missing::Refuse, || {});
    let text = std::str::from_utf8(content).ok();
    let parsed = text.and_then(|text| keys::parse(text, "keys").ok());
    let (Some(before), Some(text)) = (parsed, text) else {
        assert!(opened().is_err(), "a broken file was opened");
        return;
    };
    well_formed(&before);
    // Two parsers of TOML: what one of them refuses is not rewritten.
    let Ok(file) = opened() else { return };
    assert_eq!(file.read().as_ref(), Ok(&before), "read in another way");
    assert!(!file.is_new());
    drop(file);
    let tables = before.is_empty() || text.contains("[[");
    for key in &before {
        let changed = |change: &dyn Fn(&mut KeyFile) -> Result<(), String>| {
            let mut file = opened().expect("opened before");
            change(&mut file).map(|()| file.read().expect("a file that was changed is read"))
        };
        let disabled = changed(&|file| file.disable(&key.id));
        only(&before, disabled, key, tables, |key| key.disabled = true);
        let replaced = changed(&|file| file.replace(&key.id, OTHER, Some("2100-01-01T00:00:00Z")));
        only(&before, replaced, key, tables, |key| {
            key.sha256 = hex::bytes(OTHER).unwrap_or_default();
            key.expires = Some(4_102_444_800);
        });
    }
    let mut file = opened().expect("opened before");
    assert!(file.disable("nobody").is_err());
    if !before
        .iter()
        .any(|key| key.id == "added" || hex::bytes(OTHER) == Some(key.sha256))
    {
        let entry = NewEntry {
            id: "added".to_owned(),
            name: "a \"name\"\n".to_owned(),
            sha256: OTHER.to_owned(),
            allow: vec!["POST /chat/*".to_owned()],
            ..NewEntry::default()
        };
        if file.append(entry).is_ok() {
            let after = file.read().expect("a file that was changed is read");
            let (added, others) = after.split_last().expect("an entry more");
            assert_eq!((others, added.id.as_str()), (&*before, "added"));
        } else {
            assert!(
                !before.is_empty() || text.contains("key"),
                "not appended without need"
            );
        }
    }
}

/// What no entry may lack.
fn well_formed(entries: &[ManagedKey]) {
    for (index, key) in entries.iter().enumerate() {
        let others = entries.iter().skip(index + 1);
        assert!(keys::is_id(&key.id) && key.streams != Some(0));
        assert!(
            others
                .clone()
                .all(|other| other.id != key.id && other.sha256 != key.sha256)
        );
    }
}

/// Whether a change is that of one entry, or was refused where the file has no tables to change.
fn only(
    before: &[ManagedKey],
    after: Result<Vec<ManagedKey>, String>,
    key: &ManagedKey,
    tables: bool,
    change: impl Fn(&mut ManagedKey),
) {
    let mut expected = before.to_vec();
    expected
        .iter_mut()
        .filter(|other| other.id == key.id)
        .for_each(change);
    match after {
        Ok(after) => assert_eq!(after, expected),
        Err(error) => assert!(!tables || error.contains("[[key]]"), "{error}"),
    }
}
