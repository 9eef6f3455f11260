//! What a change leaves of the file, of its mode and of others' changes.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use rustix::io::Errno;

use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("key-file-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(name: &str, content: &str) -> Self {
        let folder = Self::new(name);
        fs::write(folder.file(), content).unwrap();
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.join("keys.toml")
    }

    fn open(&self) -> Result<KeyFile, String> {
        KeyFile::open(&self.file(), Missing::Create, || {})
    }

    fn content(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    /// Nothing but the file and its lock is left.
    fn assert_tidy(&self) {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, [".keys.toml.lock", "keys.toml"]);
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn entry(id: &str, digit: &str) -> NewEntry {
    NewEntry {
        id: id.to_owned(),
        name: "a \"quoted\" name".to_owned(),
        sha256: digit.repeat(64),
        ..NewEntry::default()
    }
}

fn append(folder: &Folder, entry: NewEntry) -> Result<(), String> {
    let mut file = folder.open()?;
    file.append(entry)?;
    file.write()
}

const WRITTEN: &str = "# Keys of the search team\n\n[[key]] # the first\nid = \"a\" # short\n\
                       sha256 = \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n\
                       disabled = false # for now\n\n# [[key]]\n# id = \"later\"";

#[test]
fn an_entry_is_appended_behind_whatever_there_is() {
    let full = NewEntry {
        expires: Some("2999-01-31T00:00:00Z".into()),
        providers: vec!["x".into(), "y".into()],
        rate: Some("60/m".into()),
        streams: Some(3),
        allow: vec!["POST /chat/*".into()],
        ..entry("b", "b")
    };
    let folder = Folder::with("append", WRITTEN);
    append(&folder, full).unwrap();
    assert_eq!(
        folder.content(),
        format!(
            "{WRITTEN}\n\n[[key]]\nid = \"b\"\nname = 'a \"quoted\" name'\nsha256 = \"{}\"\n\
             expires = \"2999-01-31T00:00:00Z\"\nrate = \"60/m\"\nstreams = 3\n\
             providers = [\"x\", \"y\"]\nallow = [\"POST /chat/*\"]\n",
            "b".repeat(64)
        )
    );
    append(&folder, entry("c", "c")).unwrap();
    assert!(folder.content().contains("*\"]\n\n[[key]]\nid = \"c\"\n"));
    folder.assert_tidy();
    for (name, content) in [
        ("none", None),
        ("empty", Some("")),
        ("comment", Some("# c\n")),
    ] {
        let folder = Folder::new(name);
        if let Some(content) = content {
            fs::write(folder.file(), content).unwrap();
        }
        append(&folder, entry("a", "a")).unwrap();
        let written = folder.content();
        let rest = written.strip_prefix(content.unwrap_or_default()).unwrap();
        assert!(
            rest.trim_start().starts_with("[[key]]\nid = \"a\"\n"),
            "{written}"
        );
        assert_eq!(keys::parse(&written, "f").unwrap().len(), 1);
    }
}

#[test]
fn comments_beside_a_changed_value_stay() {
    let folder = Folder::with("comments", WRITTEN);
    let mut file = folder.open().unwrap();
    file.disable("a").unwrap();
    file.replace("a", &"d".repeat(64), Some("2999-01-31T00:00:00Z"))
        .unwrap();
    file.write().unwrap();
    let expected = WRITTEN
        .replace("disabled = false", "disabled = true")
        .replace(&"a".repeat(64), &"d".repeat(64))
        .replace("for now\n", "for now\nexpires = \"2999-01-31T00:00:00Z\"\n");
    assert_eq!(folder.content(), expected);
}

#[test]
fn what_the_gateway_would_not_read_is_neither_changed_nor_written() {
    for broken in ["[[key", "[[key]]\nid = \"a\"\n", "x = 1\n", "\u{0}"] {
        let folder = Folder::with("broken", broken);
        let error = append(&folder, entry("b", "b")).unwrap_err();
        assert!(error.contains("keys.toml"), "{error}");
        assert_eq!(folder.content(), broken);
    }
    let folder = Folder::with("repeated", "");
    append(&folder, entry("a", "a")).unwrap();
    let before = folder.content();
    for again in [entry("a", "b"), entry("b", "a"), entry("b", "x")] {
        assert!(append(&folder, again).is_err());
        assert_eq!(folder.content(), before);
        folder.assert_tidy();
    }
    let inline = format!(
        "key = [{{ id = \"a\", sha256 = \"{}\" }}]\n",
        "a".repeat(64)
    );
    let folder = Folder::with("inline", &inline);
    let error = append(&folder, entry("b", "b")).unwrap_err();
    assert!(error.contains("[[key]]"), "{error}");
    assert!(folder.open().unwrap().disable("a").is_err());
    assert_eq!(folder.content(), inline);
    let missing = Folder::new("missing");
    assert!(KeyFile::open(&missing.file(), Missing::Refuse, || {}).is_err());
    assert!(folder.open().unwrap().disable("b").is_err());
}

#[test]
fn the_mode_stays_and_a_new_file_is_private() {
    let folder = Folder::new("mode");
    let mode = || fs::metadata(folder.file()).unwrap().mode() & 0o7777;
    append(&folder, entry("a", "a")).unwrap();
    assert_eq!(mode(), 0o600);
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o640)).unwrap();
    append(&folder, entry("b", "b")).unwrap();
    assert_eq!(mode(), 0o640);
}

#[test]
fn a_link_stays_a_link() {
    let (folder, elsewhere) = (Folder::new("link"), Folder::with("target", ""));
    std::os::unix::fs::symlink(elsewhere.file(), folder.file()).unwrap();
    append(&folder, entry("a", "a")).unwrap();
    assert!(fs::symlink_metadata(folder.file()).unwrap().is_symlink());
    assert!(elsewhere.content().contains("id = \"a\""));
    elsewhere.assert_tidy();
}

#[test]
fn what_was_left_or_changed_meanwhile_is_not_mistaken() {
    let folder = Folder::with("meanwhile", "");
    // Left by a command that was killed.
    fs::write(folder.0.join(".keys.toml.new"), "half of").unwrap();
    append(&folder, entry("a", "a")).unwrap();
    folder.assert_tidy();
    let mut file = folder.open().unwrap();
    file.append(entry("b", "b")).unwrap();
    fs::write(folder.file(), "# by hand\n").unwrap();
    let error = file.write().unwrap_err();
    assert!(error.contains("changed meanwhile"), "{error}");
    assert_eq!(folder.content(), "# by hand\n");
    folder.assert_tidy();
}

/// As a mount point refuses to be renamed to.
fn append_in_place(folder: &Folder, entry: NewEntry) -> Result<(), String> {
    let mut file = folder.open()?;
    file.append(entry)?;
    file.write_by(|_, _| Err(Errno::BUSY.into()))
}

#[test]
fn a_file_that_cannot_be_replaced_is_written_over() {
    let folder = Folder::with("in-place", WRITTEN);
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o640)).unwrap();
    let look = || {
        let found = fs::metadata(folder.file()).unwrap();
        (found.ino(), found.mode())
    };
    let before = look();
    append_in_place(&folder, entry("b", "b")).unwrap();
    assert_eq!(look(), before, "it is the same file");
    let longer = folder.content();
    assert!(
        longer.starts_with(WRITTEN) && longer.contains("id = \"b\""),
        "{longer}"
    );
    folder.assert_tidy();
    // A shorter one leaves nothing of the longer one.
    let mut file = folder.open().unwrap();
    file.disable("a").unwrap();
    file.write_by(|_, _| Err(Errno::XDEV.into())).unwrap();
    let shorter = longer.replace("disabled = false", "disabled = true");
    assert_eq!(folder.content(), shorter);
    folder.assert_tidy();
    // Others' changes count here too, and no other error makes it write over anything.
    let mut file = folder.open().unwrap();
    file.append(entry("c", "c")).unwrap();
    let error = file.write_by(|_, to| {
        fs::write(to, "# by hand\n").unwrap();
        Err(Errno::BUSY.into())
    });
    assert!(error.unwrap_err().contains("changed meanwhile"));
    assert_eq!(folder.content(), "# by hand\n");
    let mut file = folder.open().unwrap();
    file.append(entry("c", "c")).unwrap();
    assert!(file.write_by(|_, _| Err(Errno::NOSPC.into())).is_err());
    assert_eq!(folder.content(), "# by hand\n");
    folder.assert_tidy();
}

#[test]
fn a_file_that_is_not_there_is_not_written_over() {
    let folder = Folder::new("in-place-new");
    assert!(append_in_place(&folder, entry("a", "a")).is_err());
    assert!(!folder.file().exists());
}

#[test]
fn a_torn_file_names_what_it_was_to_be() {
    let folder = Folder::with("torn", "[[key]]\nid = ");
    let error = || append(&folder, entry("b", "b")).unwrap_err();
    assert!(!error().contains("cut off"));
    fs::write(folder.0.join(".keys.toml.new"), "whole").unwrap();
    let error = error();
    let said = "cut off as it wrote it, and ";
    assert!(
        error.contains(said) && error.contains(".keys.toml.new is"),
        "{error}"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn properties_hold(
        entries in "((#c\n)?\\[\\[key\\]\\]\nid = \"[a-c]\" # c\nsha256 = \"[ab]{64}\"\n\
            (disabled = (true|false)\n|streams = [0-9]\n|rate = \"[0-9]/[mx]\"\n|allow = \\[\"GET /[a-c*]\"\\]\n|\
            expires = (2030-01-01T00:00:00Z|\"x\")\n)?){0,3}",
    ) {
        let folder = Folder::new("properties");
        property::holds(&folder.file(), entries.as_bytes());
    }
}
