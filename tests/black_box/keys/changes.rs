//! Changes of the keys file while the gateway runs, without a signal.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Instant, SystemTime};

use rustix::process::Signal;

use crate::support::keys::{status, until};
use crate::support::metrics::wait_metrics;
use crate::support::{Gateway, PATIENCE, Setup, Upstream, get, ok};

/// A gateway with the keys file that a first `key new` made, and that key.
fn with_a_key(configure: impl FnOnce(Setup) -> Setup) -> (Gateway, String) {
    let setup = configure(Setup::new()).env("SLUICEGATE_KEYS_FILE", "keys.toml");
    let key = key(&setup, &["new", "first", "--id", "first"]);
    (setup.secret(&key).start(), key)
}

/// Runs `sluicegate key`; what it prints.
#[track_caller]
fn key(setup: &Setup, args: &[&str]) -> String {
    let args = [&["key"], args].concat();
    let output = setup.command(&args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn commands_take_effect_without_a_signal() {
    let (gateway, first) = with_a_key(|setup| setup);
    let mut client = gateway.connect();
    assert_eq!(status(&mut client, &first), 400);
    let second = key(gateway.setup(), &["new", "second", "--id", "second"]);
    until(&mut client, &second, 400);
    key(gateway.setup(), &["revoke", "first"]);
    until(&mut client, &first, 401);
    let third = key(gateway.setup(), &["rotate", "second"]);
    until(&mut client, &third, 400);
    assert_eq!(status(&mut client, &second), 401);
    for key in [first, second, third] {
        assert!(!gateway.log().contains(&key), "a key in the log");
    }
    assert!(!gateway.log().contains("configuration reloaded"));
}

#[test]
fn a_broken_file_leaves_the_old_keys_in_force() {
    let (gateway, first) = with_a_key(|setup| setup);
    let file = gateway.setup().dir().join("keys.toml");
    let good = fs::read_to_string(&file).unwrap();
    let mut client = gateway.connect();
    let complaint = |word: &'static str| {
        move |line: &str| line.contains("old keys stay") && line.contains(word)
    };
    fs::write(&file, "[[key]]\nid = \"x\"\nsha256 = \"\"\n").unwrap();
    gateway.wait_log(complaint("64 hexadecimal digits"));
    assert_eq!(status(&mut client, &first), 400);
    fs::remove_file(&file).unwrap();
    gateway.wait_log(complaint("cannot read it"));
    assert_eq!(status(&mut client, &first), 400);
    // In its place, and by a rename.
    let entry = "[[key]]\nid = \"b\"\nsha256 = \"\
                 a30534a53b23547377ddccbd1ac85a8a84c13db43493c16e55a6abc7b0eba634\"\n";
    fs::write(&file, entry).unwrap();
    until(&mut client, "key-b", 400);
    assert_eq!(status(&mut client, &first), 401);
    let new = file.with_extension("tmp");
    fs::write(&new, good).unwrap();
    fs::rename(&new, &file).unwrap();
    until(&mut client, &first, 400);
    assert_eq!(status(&mut client, "key-b"), 401);
    // Said once, not twice a second.
    let log = gateway.log();
    assert_eq!(log.matches("cannot read it").count(), 1, "{log}");
}

#[test]
fn only_the_keys_are_read_again() {
    let upstream = Upstream::listen();
    let toml = format!(
        "[providers.here]\ntype = \"openai\"\napi_key = \"sk-here\"\nbase_url = \"{}\"\n",
        upstream.url()
    );
    let (gateway, _) = with_a_key(|setup| setup.toml(&toml).secret("sk-here"));
    let mut client = gateway.connect();
    client.send(get("/p/here/one"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    client.head();
    client.expect("1\r\na\r\n");
    fs::write(gateway.setup().dir().join("sluicegate.toml"), "broken = ").unwrap();
    let output = { gateway.setup() }
        .command(&["key", "new", "second", "--file", "keys.toml"])
        .output()
        .unwrap();
    let second = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    let mut other = gateway.connect();
    until(&mut other, &second, 400);
    // What was under way goes on, and its upstream connection is used again.
    peer.send("0\r\n\r\n");
    client.expect("0\r\n\r\n");
    client.send(get("/p/here/two"));
    peer.request();
    peer.send(ok("again"));
    assert_eq!(client.response().text(), "again");
    assert!(!gateway.log().contains("configuration reloaded"));
}

#[test]
fn requests_are_counted_for_their_provider_behind_a_change() {
    let upstream = Upstream::listen();
    let (gateway, first) =
        with_a_key(|setup| setup.env("METRICS_ENABLED", "true").base(&upstream.url()));
    let mut client = gateway.connect();
    key(gateway.setup(), &["new", "second", "--id", "second"]);
    key(gateway.setup(), &["revoke", "first"]);
    until(&mut client, &first, 401);
    let third = key(gateway.setup(), &["new", "third", "--id", "third"]);
    until(&mut client, &third, 400);
    client.send(format!(
        "GET /p/anthropic/x HTTP/1.1\r\nHost: g\r\nx-api-key: {third}\r\n\r\n"
    ));
    let mut peer = upstream.accept();
    peer.head();
    peer.send(ok("counted"));
    assert_eq!(client.response().text(), "counted");
    let name = "requests_total{provider=\"anthropic\",method=\"GET\",class=\"2xx\"}";
    wait_metrics(&gateway, &[(name, 1.0)]);
}

/// As `(…; cat new) > keys.toml` does it: emptied at once, and written when the rest has come.
#[test]
fn a_file_that_is_written_slowly_takes_no_key_away() {
    let (gateway, first) = with_a_key(|setup| setup);
    let second = key(gateway.setup(), &["new", "second", "--id", "second"]);
    let mut client = gateway.connect();
    until(&mut client, &second, 400);
    let file = gateway.setup().dir().join("keys.toml");
    let whole = fs::read_to_string(&file).unwrap();
    let cut = whole.rfind("[[key]]").unwrap();
    let mut writer = fs::File::create(&file).unwrap();
    let unfinished = |why: &'static str| {
        move |line: &str| {
            line.contains("\"warn\"") && line.contains("old keys stay") && line.contains(why)
        }
    };
    gateway.wait_log(unfinished("it is empty where there were keys"));
    assert_eq!(
        (status(&mut client, &first), status(&mut client, &second)),
        (400, 400)
    );
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    assert_eq!(
        (status(&mut client, &first), status(&mut client, &second)),
        (400, 400)
    );
    // As far as the first entry, which is a file that parses.
    writer.write_all(&whole.as_bytes()[..cut]).unwrap();
    gateway.wait_log(unfinished("it lacks keys"));
    assert_eq!(
        (status(&mut client, &first), status(&mut client, &second)),
        (400, 400)
    );
    writer.write_all(&whole.as_bytes()[cut..]).unwrap();
    let third = key(gateway.setup(), &["new", "third", "--id", "third"]);
    until(&mut client, &third, 400);
    assert_eq!(
        (status(&mut client, &first), status(&mut client, &second)),
        (400, 400)
    );
    assert!(!gateway.log().contains("broken"), "{}", gateway.log());
}

#[test]
fn an_entry_that_is_taken_out_by_hand_is_worth_nothing_once_the_file_rests() {
    let (gateway, first) = with_a_key(|setup| setup);
    let second = key(gateway.setup(), &["new", "second"]);
    let mut client = gateway.connect();
    until(&mut client, &second, 400);
    let file = gateway.setup().dir().join("keys.toml");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, &whole[..whole.rfind("[[key]]").unwrap()]).unwrap();
    until(&mut client, &second, 401);
    assert_eq!(status(&mut client, &first), 400);
}

/// Puts `content` at the file's name by a rename, and so that its times do not tell: as within one tick of the file
/// system's clock.
fn rename_to(file: &Path, content: &str) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    let opened = fs::File::options().write(true).open(&new).unwrap();
    opened.set_modified(SystemTime::now() + PATIENCE).unwrap();
    fs::rename(&new, file).unwrap();
}

#[test]
fn a_file_that_is_renamed_to_its_name_again_and_again_is_taken() {
    let (gateway, first) = with_a_key(|setup| setup);
    let second = key(gateway.setup(), &["new", "second"]);
    let mut client = gateway.connect();
    until(&mut client, &second, 400);
    let file = gateway.setup().dir().join("keys.toml");
    let whole = fs::read_to_string(&file).unwrap();
    let less = &whole[..whole.rfind("[[key]]").unwrap()];
    let begin = Instant::now();
    while status(&mut client, &second) != 401 {
        assert!(begin.elapsed() < PATIENCE, "{}", gateway.log());
        rename_to(&file, less);
    }
    assert_eq!(status(&mut client, &first), 400);
}

#[test]
fn a_signal_has_an_entry_that_is_taken_out_by_hand_believed_at_once() {
    let (gateway, first) = with_a_key(|setup| setup);
    let second = key(gateway.setup(), &["new", "second"]);
    let mut client = gateway.connect();
    until(&mut client, &second, 400);
    let file = gateway.setup().dir().join("keys.toml");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, &whole[..whole.rfind("[[key]]").unwrap()]).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    assert_eq!(
        (status(&mut client, &first), status(&mut client, &second)),
        (400, 401)
    );
}
