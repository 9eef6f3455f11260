//! Managed keys: entries of the keys file with digests.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::{Gateway, KEY, PATIENCE, Setup, Wire};

// SHA-256 of "key-a" and "key-b".
const A: &str = "f10f781241e2246678b6b45c857069208152a53863e47fac33f607ab405006f4";
const B: &str = "a30534a53b23547377ddccbd1ac85a8a84c13db43493c16e55a6abc7b0eba634";

fn entry(id: &str, digest: &str, more: &str) -> String {
    format!("[[key]]\nid = \"{id}\"\nname = \"test\"\nsha256 = \"{digest}\"\n{more}\n")
}

/// With this keys file, and no master key.
fn with_keys(content: &str) -> Setup {
    Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .file("keys.toml", content)
        .env("SLUICEGATE_KEYS_FILE", "keys.toml")
        .secret("key-a")
        .secret("key-b")
}

/// The status for a key: 400 where it is valid, since there is no such provider.
fn status(client: &mut Wire, line: &str) -> (u16, String) {
    client.send(format!(
        "GET /p/nobody/x HTTP/1.1\r\nHost: g\r\n{line}\r\n\r\n"
    ));
    let answer = client.response();
    (answer.status(), answer.text())
}

#[track_caller]
fn assert_valid(gateway: &Gateway, line: &str) {
    let (status, text) = status(&mut gateway.connect(), line);
    assert_eq!(status, 400, "{line}: {text}");
}

#[track_caller]
fn assert_invalid(gateway: &Gateway, line: &str, code: &str) {
    let (status, text) = status(&mut gateway.connect(), line);
    assert_eq!(status, 401, "{line}: {text}");
    assert!(text.contains(code), "{line}: {text}");
}

#[test]
fn a_valid_entry_opens_the_gateway_in_every_credential_field() {
    let gateway = with_keys(&entry("a", A, "")).start();
    for line in [
        "x-api-key: key-a",
        "api-key: key-a",
        "X-Sluicegate-Key: key-a",
        "Authorization: Bearer key-a",
        "Authorization: bEARER key-a",
        "Authorization: Bearer other\r\nx-api-key: key-a",
    ] {
        assert_valid(&gateway, line);
    }
    for line in [
        "x-api-key: key-b",
        "x-api-key: KEY-A",
        "Authorization: key-a",
        "x-api-key: key-",
        "x-api-key:",
    ] {
        assert_invalid(&gateway, line, "invalid_key");
    }
    assert_invalid(&gateway, &format!("x-api-key: {A}"), "invalid_key");
    assert_invalid(&gateway, "X-Other: key-a", "missing_key");
    assert_invalid(
        &gateway,
        "x-api-key: key-a\r\nx-api-key: key-a",
        "invalid_key",
    );
}

#[test]
fn upper_case_digests_are_read_too() {
    assert_valid(
        &with_keys(&entry("a", &A.to_uppercase(), "")).start(),
        "api-key: key-a",
    );
}

#[test]
fn disabled_and_expired_entries_are_refused() {
    for more in ["disabled = true", "expires = \"2020-01-31T00:00:00Z\""] {
        let content =
            entry("a", A, more) + &entry("b", B, "expires = \"2999-01-31T00:00:00+01:00\"");
        let gateway = with_keys(&content).start();
        assert_invalid(&gateway, "x-api-key: key-a", "invalid_key");
        assert_valid(&gateway, "x-api-key: key-b");
    }
}

#[test]
fn a_file_without_a_usable_key_is_not_an_open_gateway() {
    for content in ["", "# nothing\n", &entry("a", A, "disabled = true")] {
        let gateway = with_keys(content).start();
        assert_invalid(&gateway, "X-Other: 1", "missing_key");
        assert_invalid(&gateway, "x-api-key: key-a", "invalid_key");
        assert!(!gateway.log().contains("no gateway key is configured"));
    }
}

#[test]
fn the_master_key_is_valid_beside_the_file() {
    let gateway = with_keys(&entry("a", A, ""))
        .env("GOMODEL_MASTER_KEY", KEY)
        .start();
    assert_valid(&gateway, &format!("x-api-key: {KEY}"));
    assert_valid(&gateway, "x-api-key: key-a");
}

#[test]
fn a_broken_file_is_named_and_nothing_starts() {
    for (content, named) in [
        (entry("a", "abc", ""), "key a"),
        (entry("a", A, "expires = \"soon\""), "expires"),
        (entry("a", A, "disable = true"), "disable"),
        ("[[key]]\nsha256 = \"\"\n".to_owned(), "id"),
        ("key = \"key-a\"\n".to_owned(), "line 1"),
        ("x = [\n".to_owned(), "line"),
    ] {
        for setup in [with_keys(&content), with_keys(&content).arg("check")] {
            let finished = setup.run();
            assert_eq!(finished.code, Some(2), "{finished:?}");
            for part in ["keys.toml", named] {
                assert!(
                    finished.stderr.contains(part),
                    "no {part:?} in {finished:?}"
                );
            }
        }
    }
}

#[test]
fn a_reload_puts_the_new_file_in_force_unless_it_is_broken() {
    let gateway = with_keys(&entry("a", A, "")).start();
    let file = gateway.setup().dir().join("keys.toml");
    let mut client = gateway.connect();
    fs::write(&file, entry("b", "abc", "")).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("\"error\"") && line.contains("keys.toml"));
    assert_eq!(
        status(&mut client, "x-api-key: key-a").0,
        400,
        "the old keys stay"
    );
    fs::write(&file, entry("b", B, "")).unwrap();
    gateway.signal(Signal::HUP);
    let begin = Instant::now();
    while status(&mut client, "x-api-key: key-b").0 == 401 {
        assert!(begin.elapsed() < PATIENCE, "the new key is not in force");
    }
    assert_eq!(status(&mut client, "x-api-key: key-a").0, 401);
}
