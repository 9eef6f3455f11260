//! The files beside the program, as the tests of this folder read them.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What it says.
pub(super) fn text(name: &str) -> String {
    let path = path(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Its lines without comments and blanks.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    { text.lines().map(str::trim) }.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// `NAME=value` lines.
pub(super) fn variables(text: &str) -> Vec<(String, String)> {
    let pairs = lines(text).map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line}")));
    pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
}
