//! What commands print where it cannot be written: an exit code and a message, and no panic.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use crate::support::{Scripted, Setup};

fn setup() -> Setup {
    let keys = "[[key]]\nid = \"one\"\nname = \"first\"\nsha256 = \"".to_owned()
        + &"0123456789abcdef".repeat(4)
        + "\"\n";
    Setup::new()
        .file("keys.toml", &keys)
        .env("SLUICEGATE_KEYS_FILE", "keys.toml")
        // Long enough not to be warned of.
        .env("GOMODEL_MASTER_KEY", "gk-test-and-long-enough")
}

/// Every command that prints, by its words.
const PRINTING: [&str; 14] = [
    "--help",
    "--version",
    "check",
    "check --help",
    "check --reference",
    "man",
    "completions bash",
    "completions zsh",
    "completions fish",
    "key list",
    "key list --json",
    "key show one",
    "key show one --json",
    "demo --once",
];

fn command(setup: &Setup, words: &str) -> Command {
    let words: Vec<&str> = words.split(' ').collect();
    setup.command(&words)
}

#[test]
fn what_cannot_be_written_is_said_and_exit_1() {
    let setup = setup();
    let more = ["key new two", "key rotate one"];
    for words in PRINTING.into_iter().chain(more) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = command(&setup, words).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(
            said.contains("standard output: No space left"),
            "{words}: {said}"
        );
        assert!(!said.contains("panicked"), "{words}: {said}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("sluicegate: "), "{words}: {said}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    // Long enough not to be warned of.
    let setup = setup().env("GOMODEL_MASTER_KEY", "gk-of-sixteen-letters");
    for words in PRINTING {
        // Closed before anything is written, and behind the first line.
        for first in [false, true] {
            let mut child = command(&setup, words)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut reader = BufReader::new(child.stdout.take().unwrap());
            if first {
                reader.read_line(&mut String::new()).unwrap();
            }
            drop(reader);
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                (output.status.code(), said.as_ref()),
                (Some(0), ""),
                "{words}"
            );
        }
    }
}

/// A key that nobody has seen is another matter.
#[test]
fn a_new_key_that_nobody_read_is_said() {
    let setup = setup();
    for words in ["key new two", "key rotate one"] {
        let mut child = command(&setup, words)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words}: {said}");
        assert!(said.contains("nobody has seen the key"), "{words}: {said}");
    }
}

#[test]
fn a_top_that_cannot_show_anything_says_so() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&upstream.url())
        .toml("[metrics]\nlisten = [\"127.0.0.1:0\"]\n")
        .start();
    let line = gateway.wait_log(|line| line.contains("serving metrics"));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let url = format!("http://{}/metrics", line["addr"].as_str().unwrap());
    for json in [&[][..], &["--json"]] {
        let words = [
            &["top", "--once", "--interval", "100ms", "--url", &url],
            json,
        ]
        .concat();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output = setup().command(&words).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains("No space left"), "{words:?}: {said}");
        let mut child = setup().command(&words).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    }
}

/// Where nobody can be told anything at all, the exit code still says it.
#[test]
fn a_message_that_cannot_be_written_is_no_panic() {
    for (words, code) in [("check", 2), ("--no-such-option", 2), ("key list", 2)] {
        let setup = Setup::bare().toml("[nonsense]\n");
        for script in ["exec \"$0\" \"$@\" 2>&-", "exec \"$0\" \"$@\" 2>/dev/full"] {
            let words: Vec<&str> = words.split(' ').collect();
            let output = setup.command_by(script, &words).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{words:?} {script}");
        }
    }
}
