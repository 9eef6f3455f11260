//! The last gateway key goes with nobody's mistake: a reload without any is refused, a revocation is not.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::keys::{status, until};
use crate::support::tls::pki;
use crate::support::{Gateway, KEY, PATIENCE, Setup};

// SHA-256 of "key-a".
const A: &str = "f10f781241e2246678b6b45c857069208152a53863e47fac33f607ab405006f4";
const WITH_MASTER: &str = "[auth]\nmaster_key = \"gk-test\"\n";
const WITH_FILE: &str = "[auth]\nkeys_file = \"keys.toml\"\n";
/// What a refusal says.
const REFUSED: &str = "the last gateway key";

fn entry(more: &str) -> String {
    format!("[[key]]\nid = \"a\"\nsha256 = \"{A}\"\n{more}\n")
}

fn bare() -> Setup {
    Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .secret(KEY)
        .secret("key-a")
}

fn write(gateway: &Gateway, file: &str, content: &str) {
    fs::write(gateway.setup().dir().join(file), content).unwrap();
}

/// Asks for a reload, which is refused; nothing changes.
#[track_caller]
fn refused(gateway: &Gateway, key: &str) {
    let said = || gateway.log().matches(REFUSED).count();
    let (before, begin) = (said(), Instant::now());
    gateway.signal(Signal::HUP);
    while said() == before {
        assert!(begin.elapsed() < PATIENCE, "not refused: {}", gateway.log());
    }
    gateway.wait_log(|line| {
        let parts = ["\"error\"", "auth.open", "the old one stays"];
        line.contains(REFUSED) && parts.iter().all(|part| line.contains(part))
    });
    let mut client = gateway.connect();
    assert_eq!(
        (status(&mut client, key), status(&mut client, "")),
        (400, 401)
    );
    client.send("GET /g/health HTTP/1.1\r\nHost: g\r\n\r\n");
    assert_eq!(client.response().status(), 404, "nothing of it is in force");
}

#[test]
fn a_reload_without_the_master_key_is_refused() {
    let gateway = bare().toml(WITH_MASTER).start();
    write(
        &gateway,
        "sluicegate.toml",
        "[server]\nbase_path = \"/g\"\n",
    );
    refused(&gateway, KEY);
    let gateway = bare().file(".env", "GOMODEL_MASTER_KEY=gk-test\n").start();
    write(&gateway, ".env", "BASE_PATH=/g\n");
    refused(&gateway, KEY);
    // Nor does a file take its place whose keys are worth nothing.
    let gateway = bare()
        .toml(WITH_MASTER)
        .file("keys.toml", &entry("disabled = true"))
        .start();
    write(&gateway, "sluicegate.toml", WITH_FILE);
    refused(&gateway, KEY);
    write(
        &gateway,
        "keys.toml",
        &entry("expires = \"2020-01-31T00:00:00Z\""),
    );
    refused(&gateway, KEY);
    write(&gateway, "keys.toml", &entry(""));
    gateway.signal(Signal::HUP);
    until(&mut gateway.connect(), "key-a", 400);
    assert_eq!(status(&mut gateway.connect(), KEY), 401);
}

#[test]
fn a_reload_without_the_keys_file_is_refused() {
    let setup = || bare().toml(WITH_FILE).file("keys.toml", &entry(""));
    let gateway = setup().start();
    write(
        &gateway,
        "sluicegate.toml",
        "[server]\nbase_path = \"/g\"\n",
    );
    refused(&gateway, "key-a");
    // Nor does one open a gateway that lets nobody in.
    let gateway = bare().toml(WITH_FILE).file("keys.toml", "").start();
    write(&gateway, "sluicegate.toml", "");
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains(REFUSED));
    assert_eq!(status(&mut gateway.connect(), ""), 401);
}

#[test]
fn a_keys_file_without_an_entry_leaves_the_old_keys() {
    let gateway = bare().toml(WITH_FILE).file("keys.toml", &entry("")).start();
    let mut client = gateway.connect();
    // Noticed without a signal.
    write(&gateway, "keys.toml", "# nothing\n");
    gateway.wait_log(|line| line.contains("old keys stay") && line.contains(REFUSED));
    assert_eq!(
        (status(&mut client, "key-a"), status(&mut client, "")),
        (400, 401)
    );
    refused(&gateway, "key-a");
    write(&gateway, "keys.toml", &entry("disabled = true"));
    until(&mut client, "key-a", 401);
}

#[test]
fn the_last_key_can_be_revoked_and_nobody_gets_in_then() {
    let gateway = bare().toml(WITH_FILE).file("keys.toml", &entry("")).start();
    let mut client = gateway.connect();
    assert_eq!(status(&mut client, "key-a"), 400);
    write(&gateway, "keys.toml", &entry("disabled = true"));
    until(&mut client, "key-a", 401);
    assert_eq!(status(&mut client, ""), 401);
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    assert_eq!(
        (status(&mut client, "key-a"), status(&mut client, "")),
        (401, 401)
    );
}

#[test]
fn who_says_open_gets_it_open() {
    let gateway = bare().toml(WITH_MASTER).start();
    let mut client = gateway.connect();
    assert_eq!(status(&mut client, ""), 401);
    write(&gateway, "sluicegate.toml", "[auth]\nopen = true\n");
    gateway.signal(Signal::HUP);
    until(&mut client, "", 400);
    // With a key, it is asked for whatever that says.
    write(
        &gateway,
        "sluicegate.toml",
        &format!("{WITH_MASTER}open = true\n"),
    );
    gateway.signal(Signal::HUP);
    until(&mut client, "", 401);
    assert_eq!(status(&mut client, KEY), 400);
}

#[test]
fn nor_does_a_successor_start_without_it() {
    let mut gateway = bare().toml(WITH_MASTER).start();
    write(&gateway, "sluicegate.toml", "");
    gateway.signal(Signal::USR2);
    gateway.wait_log(|line| line.contains("the successor did not start") && line.contains(REFUSED));
    let mut client = gateway.connect();
    assert_eq!(
        (status(&mut client, KEY), status(&mut client, "")),
        (400, 401)
    );
    // Nothing of it stands in the way of the next one.
    write(&gateway, "sluicegate.toml", WITH_MASTER);
    gateway.signal(Signal::USR2);
    gateway.successor(0);
    assert_eq!(gateway.wait_succeeded(), Some(0));
    let mut client = gateway.connect();
    assert_eq!(
        (status(&mut client, KEY), status(&mut client, "")),
        (400, 401)
    );
}

#[test]
fn a_reload_without_the_client_certificates_is_refused_where_there_is_no_key() {
    let tls = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    let demanding = format!("{tls}client_ca = \"ca.pem\"\n");
    let without_tls = { bare() }
        .file("cert.pem", &pki().server.cert)
        .file("key.pem", &pki().server.key);
    let gateway = without_tls.toml(&demanding).start();
    for new in [tls, ""] {
        let said = || gateway.log().matches("server.tls.client_ca").count();
        let (before, begin) = (said(), Instant::now());
        write(&gateway, "sluicegate.toml", new);
        gateway.signal(Signal::HUP);
        while said() == before {
            assert!(begin.elapsed() < PATIENCE, "not refused: {}", gateway.log());
        }
        assert!(!gateway.log().contains("configuration reloaded"));
    }
    write(
        &gateway,
        "sluicegate.toml",
        &format!("{tls}[auth]\nopen = true\n"),
    );
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
}
