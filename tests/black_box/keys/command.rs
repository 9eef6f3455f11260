//! `sluicegate key`: what it prints, what it writes, and that nothing is lost when two write or one is killed.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Instant;

use rustix::fs::{FlockOperation, flock};

use crate::support::{Setup, not_tried};

const FILE: &str = "keys.toml";
const LOCK: &str = ".keys.toml.lock";

/// An empty directory whose environment names a keys file that is not there.
fn folder() -> Setup {
    Setup::bare().env("SLUICEGATE_KEYS_FILE", FILE)
}

fn run(setup: &Setup, args: &[&str]) -> Output {
    setup.command(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that has to succeed; its standard output.
#[track_caller]
fn good(setup: &Setup, args: &[&str]) -> String {
    let output = run(setup, args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    text(&output.stdout)
}

/// Runs a command that has to fail; its standard error.
#[track_caller]
fn bad(setup: &Setup, args: &[&str], code: i32) -> String {
    let output = run(setup, args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    text(&output.stderr)
}

fn listed(setup: &Setup) -> Vec<serde_json::Value> {
    let list = good(setup, &["key", "list", "--json"]);
    serde_json::from_str::<serde_json::Value>(&list)
        .unwrap()
        .as_array()
        .unwrap()
        .clone()
}

fn names(setup: &Setup) -> Vec<String> {
    let name = |key: &serde_json::Value| key["name"].as_str().unwrap().to_owned();
    let mut names: Vec<_> = listed(setup).iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_new_key_is_printed_once_and_kept_as_a_digest() {
    let setup = folder();
    let output = run(&setup, &["key", "new", "search team"]);
    assert!(output.status.success(), "{output:?}");
    let key = text(&output.stdout);
    let key = key.strip_suffix('\n').unwrap();
    let digits = key.strip_prefix("sk_sg_").unwrap();
    assert_eq!(digits.len(), 43);
    assert!(digits.bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
    let file = setup.dir().join(FILE);
    let written = fs::read_to_string(&file).unwrap();
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    for shown in [
        &written,
        &text(&output.stderr),
        &good(&setup, &["key", "list"]),
    ] {
        assert!(!shown.contains(digits), "{shown}");
        assert!(shown.contains("search team"), "{shown}");
    }
    assert_eq!(written.matches("sha256 = ").count(), 1);
    let other = good(&setup, &["key", "new", "search team"]);
    assert_ne!(other.trim(), key);
    let error = bad(&setup, &["key", "revoke", "search team"], 1);
    assert!(error.contains("more than one"), "{error}");
}

#[test]
fn limits_are_written_listed_and_shown() {
    let setup = folder();
    let new = "key new ci --id ci-1 --providers openai,local --expires 2999-01-31T00:00:00Z --rate 60/m \
               --streams 3 --allow";
    let mut args: Vec<&str> = new.split_whitespace().collect();
    args.extend(["POST /chat/*", "--allow", "GET /models"]);
    good(&setup, &args);
    let expected = serde_json::json!({
        "id": "ci-1",
        "name": "ci",
        "state": "active",
        "expires": "2999-01-31T00:00:00Z",
        "providers": ["openai", "local"],
        "rate": "60/m",
        "streams": 3,
        "allow": ["POST /chat/*", "GET /models"],
    });
    assert_eq!(listed(&setup), std::slice::from_ref(&expected));
    for id in ["ci-1", "ci"] {
        let shown = good(&setup, &["key", "show", id, "--json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown, expected);
        let shown = good(&setup, &["key", "show", id]);
        assert!(shown.contains("rate       60/m\n"), "{shown}");
    }
    let table = good(&setup, &["key", "list"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table}");
    assert!(lines[0].starts_with("ID "), "{table}");
    assert_eq!(lines[0].find("RATE"), lines[1].find("60/m"), "{table}");
}

#[test]
fn revoke_and_rotate_change_one_entry() {
    let setup = folder();
    for name in ["a", "b"] {
        good(&setup, &["key", "new", name, "--id", name, "--rate", "5/s"]);
    }
    let before = fs::read_to_string(setup.dir().join(FILE)).unwrap();
    let key = good(&setup, &["key", "rotate", "b"]);
    assert!(key.starts_with("sk_sg_"), "{key}");
    let after = fs::read_to_string(setup.dir().join(FILE)).unwrap();
    let changed = before.lines().zip(after.lines()).filter(|(a, b)| a != b);
    assert_eq!(changed.count(), 1);
    assert_eq!(good(&setup, &["key", "revoke", "a"]), "");
    good(&setup, &["key", "revoke", "a"]);
    let states: Vec<_> = listed(&setup)
        .iter()
        .map(|key| key["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["revoked", "active"]);
    let error = bad(&setup, &["key", "rotate", "a"], 1);
    assert!(error.contains("revoked"), "{error}");
    good(&setup, &["key", "rotate", "b", "--expires", "30d"]);
    assert!(listed(&setup)[1]["expires"].is_string());
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_written() {
    let setup = folder();
    for args in [
        &["key", "new"][..],
        &["key", "new", "a", "--rate", "60"],
        &["key", "new", "a", "--rate", "0/m"],
        &["key", "new", "a", "--expires", "30"],
        &["key", "new", "a", "--expires", "2020-01-31T00:00:00Z"],
        &["key", "new", "a", "--allow", "/chat"],
        &["key", "new", "a", "--streams", "0"],
        &["key", "new", "a", "--providers", ""],
        &["key", "new", "a", "--providers", "openai, local"],
        &["key", "new", "a", "--id", "a b"],
        &["key", "new", ""],
        &["key", "new", "a\nb"],
        &["key"],
    ] {
        bad(&setup, args, 2);
    }
    assert!(!setup.dir().join(FILE).exists());
    for args in [
        &["key", "list"][..],
        &["key", "show", "a"],
        &["key", "revoke", "a"],
        &["key", "rotate", "a"],
    ] {
        let error = bad(&setup, args, 1);
        assert!(error.contains(FILE), "{error}");
    }
    good(&setup, &["key", "new", "a", "--id", "a"]);
    let before = fs::read_to_string(setup.dir().join(FILE)).unwrap();
    let error = bad(&setup, &["key", "new", "b", "--id", "a"], 1);
    assert!(error.contains("once"), "{error}");
    // A key in the place of its id is not shown.
    let error = bad(&setup, &["key", "revoke", "sk_sg_secret"], 1);
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(fs::read_to_string(setup.dir().join(FILE)).unwrap(), before);
    let setup = setup.file(FILE, "[[key]]\nid = \"a\"\n");
    for command in ["list", "new", "revoke", "rotate"] {
        let error = bad(
            &setup,
            &["key", command, "a"][..2 + usize::from(command != "list")],
            1,
        );
        assert!(error.contains("keys.toml line 1"), "{error}");
    }
}

#[test]
fn the_file_is_the_one_that_is_named_or_configured() {
    let setup = Setup::bare();
    let error = bad(&setup, &["key", "list"], 2);
    assert!(error.contains("--file"), "{error}");
    good(&setup, &["key", "new", "a", "--file", "named.toml"]);
    assert!(setup.dir().join("named.toml").exists());
    let setup = setup.file("other.toml", "[auth]\nkeys_file = \"configured.toml\"\n");
    good(&setup, &["key", "new", "b", "--config", "other.toml"]);
    assert!(setup.dir().join("configured.toml").exists());
    let setup = setup.toml("[auth]\nkeys = 1\n");
    let error = bad(&setup, &["key", "list"], 2);
    assert!(
        error.contains("sluicegate.toml") && error.contains("--file"),
        "{error}"
    );
    good(&setup, &["key", "list", "--file", "named.toml"]);
}

#[test]
fn a_provider_that_is_not_configured_is_remarked_on() {
    let setup = folder().env("OPENAI_API_KEY", "sk-openai");
    let output = run(&setup, &["key", "new", "a", "--providers", "openai,opanai"]);
    assert!(output.status.success(), "{output:?}");
    let told = text(&output.stderr);
    assert!(
        told.contains("no provider opanai") && !told.contains("no provider openai"),
        "{told}"
    );
}

#[test]
fn a_key_that_could_not_be_printed_is_told_of() {
    let setup = folder();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut command = setup.command(&["key", "new", "a", "--id", "lost"]);
    let output = command.stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.contains("revoke lost"), "{told}");
}

#[test]
fn two_commands_at_once_lose_nothing() {
    let setup = folder();
    let mut expected = Vec::new();
    for round in 0..20 {
        let new = |side: &str| {
            let name = format!("{round:02}-{side}");
            (
                name.clone(),
                setup.command(&["key", "new", &name]).spawn().unwrap(),
            )
        };
        // Both run before either is waited for.
        for (name, child) in [new("a"), new("b")] {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
            expected.push(name);
        }
    }
    assert_eq!(names(&setup), expected);
}

#[test]
fn many_commands_of_all_kinds_lose_nothing() {
    let setup = folder();
    for n in 0..6 {
        good(
            &setup,
            &[
                "key",
                "new",
                &format!("old-{n}"),
                "--id",
                &format!("old-{n}"),
            ],
        );
    }
    thread::scope(|scope| {
        for n in 0..6 {
            let setup = &setup;
            scope.spawn(move || good(setup, &["key", "new", &format!("new-{n}")]));
            let command = if n % 2 == 0 { "revoke" } else { "rotate" };
            scope.spawn(move || good(setup, &["key", command, &format!("old-{n}")]));
        }
    });
    assert_eq!(names(&setup).len(), 12);
    let revoked = listed(&setup)
        .iter()
        .filter(|key| key["state"] == "revoked")
        .count();
    assert_eq!(revoked, 3);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "when the command is killed is what is tested"
)]
fn a_command_that_is_killed_loses_nothing() {
    let setup = folder();
    let begin = Instant::now();
    good(&setup, &["key", "new", "first"]);
    let whole = begin.elapsed();
    let mut sure = vec!["first".to_owned()];
    for round in 0..30 {
        let name = format!("{round:02}");
        let mut child = setup.command(&["key", "new", &name]).spawn().unwrap();
        // At another moment each time, from before it has begun until about its end.
        thread::sleep(whole * round / 25);
        child.kill().unwrap();
        if child.wait_with_output().unwrap().status.success() {
            sure.push(name);
        }
        // What a command has confirmed is there, and the file is whole.
        let names = names(&setup);
        assert!(
            sure.iter().all(|name| names.contains(name)),
            "{sure:?}: {names:?}"
        );
    }
    good(&setup, &["key", "new", "last"]);
    assert!(names(&setup).contains(&"last".to_owned()));
    let left = fs::read_dir(setup.dir()).unwrap().count();
    assert_eq!(left, 2, "only the file and its lock are left");
}

#[test]
fn a_command_waits_for_the_lock_and_a_dead_one_does_not_hold_it() {
    let setup = folder();
    let lock = File::create(setup.dir().join(LOCK)).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    let waits = |name: &str| {
        let mut command = setup.command(&["key", "new", name]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stderr = child.stderr.take().unwrap();
        let mut stderr = BufReader::new(stderr);
        stderr.read_line(&mut line).unwrap();
        assert!(line.contains("waiting"), "{line}");
        (child, stderr)
    };
    let ((mut killed, _), (mut waiting, _stderr)) = (waits("killed"), waits("waiting"));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(waiting.try_wait().unwrap().is_none());
    assert!(!setup.dir().join(FILE).exists());
    drop(lock);
    assert!(waiting.wait().unwrap().success());
    assert_eq!(names(&setup), ["waiting"]);
}

#[test]
fn who_can_only_look_holds_no_command_up() {
    let setup = folder();
    good(&setup, &["key", "new", "first"]);
    let held = [setup.dir().to_owned(), setup.dir().join(FILE)].map(|path| {
        let file = File::open(path).unwrap();
        flock(&file, FlockOperation::LockExclusive).unwrap();
        file
    });
    let output = run(&setup, &["key", "revoke", "first"]);
    assert!(output.status.success(), "{output:?}");
    assert!(!text(&output.stderr).contains("waiting"), "{output:?}");
    assert_eq!(listed(&setup)[0]["state"], "revoked");
    drop(held);
    let lock = fs::metadata(setup.dir().join(LOCK)).unwrap();
    assert_eq!(lock.permissions().mode() & 0o7777, 0o600);
}

/// Runs a shell script as root of a mount namespace of its own; its `$0` is the program. `None` where the system
/// does not let it, which a test machine may, but not one that is to find faults.
fn in_a_namespace(setup: &Setup, script: &str) -> Option<Output> {
    let program = setup.command(&[]).get_program().to_owned();
    let run = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--map-root-user", "sh", "-ec", script])
            .arg(&program);
        command
            .current_dir(setup.dir())
            .env("SLUICEGATE_KEYS_FILE", FILE)
            .output()
    };
    if run("mount --bind . .").is_ok_and(|output| output.status.success()) {
        return Some(run(script).unwrap());
    }
    not_tried("this system lets nobody make a mount namespace (unshare --mount)");
    None
}

#[test]
fn a_keys_file_that_is_a_mount_point_is_written_over() {
    let setup = folder();
    good(&setup, &["key", "new", "first", "--id", "first"]);
    fs::create_dir(setup.dir().join("elsewhere")).unwrap();
    fs::rename(
        setup.dir().join(FILE),
        setup.dir().join("elsewhere/kept.toml"),
    )
    .unwrap();
    fs::write(setup.dir().join(FILE), "").unwrap();
    let script = "mount --bind elsewhere/kept.toml keys.toml
        \"$0\" key new second >/dev/null
        \"$0\" key revoke first
        mount -o remount,bind,ro keys.toml
        ! \"$0\" key new third";
    let Some(output) = in_a_namespace(&setup, script) else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stderr);
    assert!(
        said.contains("cannot write it: it is mounted read-only; mount it writable"),
        "{said}"
    );
    fs::rename(
        setup.dir().join("elsewhere/kept.toml"),
        setup.dir().join(FILE),
    )
    .unwrap();
    assert_eq!(names(&setup), ["first", "second"]);
    assert_eq!(listed(&setup)[0]["state"], "revoked");
    let left = fs::read_dir(setup.dir()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        left.len(),
        3,
        "only the file, its lock and the folder: {left:?}"
    );
}

/// The usual container: nothing of it can be written but the file that is mounted into it.
#[test]
fn a_keys_file_in_a_folder_that_cannot_be_written_is_written_over() {
    let setup = folder();
    good(&setup, &["key", "new", "first"]);
    fs::create_dir(setup.dir().join("read-only")).unwrap();
    fs::write(setup.dir().join("read-only/keys.toml"), "").unwrap();
    let script = "mount --bind read-only read-only
        mount -o remount,bind,ro read-only
        mount --bind keys.toml read-only/keys.toml
        export SLUICEGATE_KEYS_FILE=read-only/keys.toml
        \"$0\" key new second >/dev/null";
    let Some(output) = in_a_namespace(&setup, script) else {
        return;
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(&setup), ["first", "second"]);
}
