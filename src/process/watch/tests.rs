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

fn ids(looked: Option<Seen>) -> String {
    match looked {
        None => "nothing new".to_owned(),
        Some(Seen::Keys(entries)) => entries.iter().map(|key| &*key.id).collect(),
        Some(Seen::Broken(_)) => "broken".to_owned(),
        Some(Seen::Unfinished(_)) => "unfinished".to_owned(),
    }
}

#[test]
fn what_was_renamed_to_the_name_is_read_at_once() {
    let folder = Folder::new("renamed");
    let file = folder.file();
    fs::write(&file, entry("a")).unwrap();
    let mut watch = Watch::new(Some(&file), Some(read_keys(&file).unwrap()));
    assert_eq!(ids(watch.look(&file)), "nothing new");
    for id in ["b", "c"] {
        let new = folder.0.join("new");
        fs::write(&new, entry(id)).unwrap();
        // At the next look where it was within the same tick of the file system's clock: see `settling`.
        let written = SystemTime::now() - Duration::from_secs(1);
        let opened = fs::File::options().write(true).open(&new).unwrap();
        opened.set_modified(written).unwrap();
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
    let mut watch = Watch::new(Some(&file), Some(read_keys(&file).unwrap()));
    assert_eq!(ids(watch.look(&file)), "nothing new");
    fs::write(&file, entry("a") + "[[key").unwrap();
    assert_eq!(ids(watch.look(&file)), "nothing new");
    fs::write(&file, entry("a") + &entry("c")).unwrap();
    assert_eq!(ids(watch.look(&file)), "nothing new");
    assert_eq!(ids(watch.look(&file)), "ac");
}

#[test]
fn what_is_written_in_place_and_lacks_keys_is_not_taken() {
    let folder = Folder::new("less");
    let file = folder.file();
    let whole = entry("a") + &entry("b");
    fs::write(&file, &whole).unwrap();
    let mut watch = Watch::new(Some(&file), Some(read_keys(&file).unwrap()));
    assert_eq!(ids(watch.look(&file)), "nothing new");
    for part in ["", &entry("a")] {
        fs::write(&file, part).unwrap();
        assert_eq!(ids(watch.look(&file)), "nothing new");
        assert_eq!(ids(watch.look(&file)), "unfinished");
        assert_eq!(ids(watch.look(&file)), "nothing new", "it is told once");
        let entries = read_keys(&file).unwrap();
        let doubts = watch.doubts(&file, &entries).is_some();
        assert_eq!(doubts, part.is_empty(), "a reload takes it");
        assert_eq!(watch.entries().unwrap().len(), 2);
    }
    fs::write(&file, whole + &entry("c")).unwrap();
    assert_eq!(ids(watch.look(&file)), "nothing new");
    assert_eq!(ids(watch.look(&file)), "abc");
}

#[test]
fn what_was_refused_is_not_what_others_come_after() {
    let folder = Folder::new("refused");
    let file = folder.file();
    fs::write(&file, entry("a")).unwrap();
    let mut watch = Watch::new(Some(&file), Some(read_keys(&file).unwrap()));
    assert_eq!(ids(watch.look(&file)), "nothing new");
    fs::write(&file, entry("a") + &entry("b")).unwrap();
    assert_eq!(ids(watch.look(&file)), "nothing new");
    assert_eq!(ids(watch.look(&file)), "ab");
    watch.refused();
    assert_eq!(ids(watch.look(&file)), "nothing new");
    assert_eq!(watch.entries().unwrap().len(), 1);
}

#[test]
fn each_fault_is_told_once_and_the_end_of_it_is_noticed() {
    let folder = Folder::new("faults");
    let file = folder.file();
    let mut watch = Watch::new(Some(&file), None);
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
