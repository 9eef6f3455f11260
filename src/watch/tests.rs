//! Looks at a file that changes.

use std::path::PathBuf;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("watch-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("keys.toml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entry(id: &str) -> String {
    let digest = id.repeat(64);
    format!("[[key]]\nid = \"{id}\"\nsha256 = \"{digest}\"\n")
}

fn ids(looked: Option<Result<Entries, String>>) -> String {
    match looked {
        None => "nothing new".to_owned(),
        Some(Ok(entries)) => entries.iter().map(|key| &*key.id).collect(),
        Some(Err(_)) => "broken".to_owned(),
    }
}

#[test]
fn what_was_renamed_to_the_name_is_read_at_once() {
    let folder = Folder::new("renamed");
    let file = folder.file();
    fs::write(&file, entry("a")).unwrap();
    let mut watch = Watch::new(Some(read_keys(&file).unwrap()));
    assert_eq!(ids(watch.look(&file)), "nothing new");
    for id in ["b", "c"] {
        let new = folder.0.join("new");
        fs::write(&new, entry(id)).unwrap();
        fs::rename(&new, &file).unwrap();
        assert_eq!(ids(watch.look(&file)), id);
        assert_eq!(ids(watch.look(&file)), "nothing new");
    }
}

#[test]
fn what_is_written_in_place_is_read_once_it_rests() {
    let folder = Folder::new("in-place");
    let file = folder.file();
    fs::write(&file, entry("a")).unwrap();
    let mut watch = Watch::new(Some(read_keys(&file).unwrap()));
    assert_eq!(ids(watch.look(&file)), "nothing new");
    fs::write(&file, entry("b") + "[[key").unwrap();
    assert_eq!(ids(watch.look(&file)), "nothing new");
    fs::write(&file, entry("b") + &entry("c")).unwrap();
    assert_eq!(ids(watch.look(&file)), "nothing new");
    assert_eq!(ids(watch.look(&file)), "bc");
}

#[test]
fn a_change_that_leaves_no_trace_is_seen_while_the_file_is_young() {
    let folder = Folder::new("young");
    let file = folder.file();
    fs::write(&file, entry("a")).unwrap();
    let mut watch = Watch::new(Some(read_keys(&file).unwrap()));
    assert_eq!(ids(watch.look(&file)), "nothing new");
    let stamp = Stamp::of(&file).unwrap();
    assert!(stamp.is_young());
    assert_eq!(watch.read, None);
    let old = Stamp {
        modified: (1, 0),
        ..stamp
    };
    assert!(!old.is_young());
    assert!(!watch.is_due(old) && watch.is_due(old) && !watch.is_due(old));
}

#[test]
fn each_fault_is_told_once_and_the_end_of_it_is_noticed() {
    let folder = Folder::new("faults");
    let file = folder.file();
    let mut watch = Watch::default();
    assert_eq!(ids(watch.look(&file)), "broken");
    assert_eq!(ids(watch.look(&file)), "nothing new");
    fs::write(&file, "[[key").unwrap();
    assert_eq!(ids(watch.look(&file)), "broken");
    assert_eq!(ids(watch.look(&file)), "nothing new");
    fs::remove_file(&file).unwrap();
    assert_eq!(ids(watch.look(&file)), "broken");
    let new = folder.0.join("new");
    fs::write(&new, entry("a")).unwrap();
    fs::rename(&new, &file).unwrap();
    assert_eq!(ids(watch.look(&file)), "a");
}
