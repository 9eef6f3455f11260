//! House rules that the compiler does not know, checked on the sources.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "that is how a test fails"
)]

#[path = "architecture/imports.rs"]
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(found.len() > 30, "only {} sources found", found.len());
    found
}

/// Lines of code: no comments, no tests behind `#[cfg(test)]` at the end of a file.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text.get(..end).unwrap_or(text).lines();
    lines.filter(|line| !line.trim_start().starts_with("//"))
}

/// The rooms of `src`, from the ground up: each stands on those before it only.
const ROOMS: [&str; 14] = [
    "base",
    "http",
    "tls",
    "providers",
    "hops",
    "config",
    "observe",
    "policy",
    "system",
    "log",
    "net",
    "otlp",
    "process",
    "cli",
];

/// The first of them that know sockets, clocks, files and runtimes.
const FIRST_IMPURE: &str = "system";

/// The room that a source lies in, or its own name where it lies in none.
fn room(path: &Path) -> String {
    let name = path.components().nth(1).unwrap().as_os_str();
    name.to_string_lossy().trim_end_matches(".rs").to_owned()
}

#[test]
fn rooms_stand_on_those_below_them_only() {
    let floor = |name: &str| ROOMS.iter().position(|room| *room == name);
    for (path, text) in sources() {
        let room = room(&path);
        if ["lib", "main", "door", "guide"].contains(&&*room) {
            continue;
        }
        let own = floor(&room).unwrap_or_else(|| panic!("{} is in no room", path.display()));
        for line in code(&text) {
            for used in line.split("crate::").skip(1) {
                let used = used
                    .split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap();
                assert!(
                    floor(used).is_some_and(|used| used <= own),
                    "{}: {used} in {line:?}",
                    path.display()
                );
            }
        }
    }
}

/// The storeys of `src/net`, in the same way: folders, and the files that begin them.
const STOREYS: [&str; 10] = [
    "sockets",
    "transport",
    "core",
    "upstream",
    "client",
    "exchange",
    "connection",
    "accept",
    "worker",
    "harness",
];

#[test]
fn storeys_of_the_network_stand_on_those_below_them_only() {
    let storey = |path: &Path| {
        let name = path.strip_prefix("src/net").ok()?.components().next()?;
        let name = name.as_os_str().to_string_lossy();
        let name = name.trim_end_matches(".rs");
        let storey = STOREYS.iter().position(|storey| *storey == name);
        Some(storey.unwrap_or_else(|| panic!("{} is in no storey", path.display())))
    };
    let mut seen = [false; STOREYS.len()];
    for (file, used) in imports::imports(&sources()) {
        let Some(own) = storey(&file) else { continue };
        seen[own] = true;
        for used in used {
            assert!(
                storey(&used).is_none_or(|used| used <= own),
                "{} imports {}",
                file.display(),
                used.display()
            );
        }
    }
    assert_eq!(seen, [true; STOREYS.len()], "a storey is empty");
}

#[test]
fn no_files_import_each_other() {
    let imports = imports::imports(&sources());
    assert!(imports.len() > 30, "only {} files found", imports.len());
    let circles = imports::circles(&imports);
    for circle in &circles {
        for file in circle {
            let used: Vec<_> = imports[file].intersection(circle).collect();
            eprintln!("{} imports {used:?}", file.display());
        }
        eprintln!();
    }
    assert!(circles.is_empty(), "there are circles");
}

#[test]
fn imports_are_read_from_sources() {
    let source = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
    let sources = [
        source("src/lib.rs", "mod a;\nmod b;\n#[cfg(test)]\nmod c;\n"),
        source(
            "src/a.rs",
            "mod deep;\nmod other;\npub(crate) use deep::Thing;\n",
        ),
        source(
            "src/a/deep.rs",
            "use crate::b::{self, f as g};\nfn h() { g(); }\n#[cfg(test)]\nmod tests {\n    use super::super::other;\n}\n",
        ),
        source(
            "src/a/other.rs",
            "// use crate::b;\nfn f() { super::deep::h() }\n",
        ),
        source(
            "src/b.rs",
            "use crate::a::Thing;\nfn f() { Thing::new() }\n",
        ),
        source("src/c.rs", "use crate::a::other;\n"),
    ];
    let imports = imports::imports(&sources);
    let found: Vec<_> = imports
        .iter()
        .flat_map(|(file, used)| used.iter().map(move |used| (file.to_str(), used.to_str())))
        .collect();
    let expected = [
        (Some("src/a/deep.rs"), Some("src/b.rs")),
        (Some("src/a/other.rs"), Some("src/a/deep.rs")),
        (Some("src/b.rs"), Some("src/a/deep.rs")),
    ];
    assert_eq!(found, expected);
    let circle = ["src/a/deep.rs", "src/b.rs"].map(PathBuf::from);
    assert_eq!(imports::circles(&imports), [circle.into()]);
}

#[test]
fn the_pure_rooms_know_no_socket_clock_file_or_runtime() {
    let pure = ROOMS.iter().take_while(|room| **room != FIRST_IMPURE);
    let pure: Vec<_> = pure.collect();
    let banned = [
        "monoio",
        "rustix",
        "rustls",
        "std::fs",
        "std::process",
        "std::thread",
        "Instant",
        "SystemTime",
        "TcpStream",
        "TcpListener",
        "std::env",
        "async ",
    ];
    for (path, text) in sources() {
        let first = room(&path);
        let tests = path
            .file_stem()
            .is_some_and(|stem| stem == "tests" || stem == "property");
        if tests || !(pure.contains(&&&*first) || path.ends_with("net/upstream/addresses.rs")) {
            continue;
        }
        for line in code(&text) {
            // The TLS layer stands on rustls, and is as far from sockets as the others.
            for word in banned
                .into_iter()
                .filter(|word| first != "tls" || *word != "rustls")
            {
                assert!(
                    !line.contains(word),
                    "{}: {word} in {line:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn there_is_no_unsafe_code() {
    for (path, text) in sources() {
        for line in code(&text) {
            assert!(!line.contains("unsafe"), "{}: {line:?}", path.display());
        }
    }
}

#[test]
fn files_say_what_they_own_and_fit_in_the_head() {
    for (path, text) in sources() {
        assert!(
            text.starts_with("//! "),
            "{} has no opening words",
            path.display()
        );
        assert!(
            text.lines().count() <= 700,
            "{} is too long",
            path.display()
        );
        for (number, line) in text.lines().enumerate() {
            let width = line.chars().count();
            assert!(
                width <= 130,
                "{} line {}: {width} columns",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn nothing_names_a_place_of_one_machine() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Written in two parts, so that this file does not name them.
    let places = ["home/", "root/", "Users/", "work/"].map(|place| format!("/{place}"));
    let mut texts = sources();
    for name in ["README.md", "CHANGELOG.md", "Cargo.toml", ".ci/run"] {
        texts.push((name.into(), fs::read_to_string(root.join(name)).unwrap()));
    }
    for (path, text) in texts {
        for place in &places {
            assert!(!text.contains(place), "{}: {place}", path.display());
        }
    }
}
