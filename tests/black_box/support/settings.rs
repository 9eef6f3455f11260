//! Configurations that are only looked at: what `sluicegate check` says of them, and starts that are refused.

use super::gateway::Setup;
use super::tls::pki;
use super::upstream::Upstream;
use super::{get, ok};

/// What `sluicegate check` says about a setup that it accepts.
#[track_caller]
pub(crate) fn checked(setup: Setup) -> String {
    let finished = setup.arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    // What is said of keys as short as these, and of none, has tests of its own.
    let of_keys = |line: &&str| line.contains("gateway key") || line.contains("can be guessed");
    let said: Vec<&str> = { finished.stderr.lines() }
        .filter(|line| !of_keys(line))
        .collect();
    assert_eq!(said, [""; 0]);
    finished.stdout
}

/// A setup whose `check` needs nothing of the system.
pub(crate) fn bare() -> Setup {
    Setup::bare()
        .file("ca.pem", &pki().ca)
        .file("cert.pem", &pki().server.cert)
        .file("key.pem", &pki().server.key)
        .file("keys.toml", "")
        .file("secret.txt", "sk-from-file\n")
        .secret("sk-from-file")
        .env("SSL_CERT_FILE", "ca.pem")
}

/// Whether `check` says so, wherever that was written.
#[track_caller]
pub(crate) fn assert_line(described: &str, line: &str) {
    let mut bare = described.lines().map(without_place);
    assert!(
        bare.any(|found| found == line),
        "no line {line:?} in\n{described}"
    );
}

/// A line of `check` without what it says of where its value was written.
pub(crate) fn without_place(line: &str) -> &str {
    let bare = line.rsplit_once("   # ").map_or(line, |(bare, _)| bare);
    bare.trim_end()
}

/// Neither `check` nor a start accepts it; both exit with 2 and name all of this.
#[track_caller]
pub(crate) fn assert_refused(setup: impl Fn() -> Setup, named: &[&str]) {
    for finished in [setup().arg("check").run(), setup().run()] {
        assert_eq!(finished.code, Some(2), "{named:?}: {finished:?}");
        assert_eq!(finished.stdout, "");
        assert!(!finished.stderr.contains("listening"), "{finished:?}");
        for part in named {
            assert!(
                finished.stderr.contains(part),
                "no {part:?} in {}",
                finished.stderr
            );
        }
    }
}

/// What the upstream is sent as credential at `openai`.
#[track_caller]
pub(crate) fn credential(setup: Setup, upstream: &Upstream) -> String {
    let gateway = setup.env("OPENAI_BASE_URL", &upstream.url()).start();
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    let mut peer = upstream.accept();
    let sent = peer.request().value("authorization").unwrap().to_owned();
    peer.send(ok(""));
    client.response();
    sent
}
