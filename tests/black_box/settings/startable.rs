//! What could not start is refused by `check` too, and what is refused is said in plain words: source, line, key.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::support::settings::{assert_refused, bare};
use crate::support::tls::pki;
use crate::support::{Setup, get, ok};

#[track_caller]
fn assert_checked(setup: Setup) {
    let finished = setup.arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[test]
fn tables_in_the_wrong_place_are_named() {
    for (toml, said) in [
        (
            "[server.listen]\naddress = \"127.0.0.1:1\"\n",
            "sluicegate.toml line 1: server.listen: expected a list of strings in brackets",
        ),
        (
            "[server]\nworkers = 1\n\n[auth]\n[server] # again\ndriver = \"epoll\"\n",
            "sluicegate.toml line 5: server: expected the table [server] only once",
        ),
        (
            "[server]\nlisten = \"127.0.0.1:1\"\n",
            "sluicegate.toml line 2: server.listen: expected a list of strings in brackets",
        ),
        (
            "[timeouts.connect]\n",
            "sluicegate.toml line 1: timeouts.connect: expected a number",
        ),
    ] {
        assert_refused(|| bare().toml(toml), &[said]);
    }
}

#[test]
fn a_file_of_another_format_is_told_that_toml_is_expected() {
    for (name, content, format) in [
        (
            "gate.yaml",
            "# c\nserver:\n  listen: [\"127.0.0.1:1\"]\n",
            "YAML",
        ),
        ("gate.yml", "---\nserver: {}\n", "YAML"),
        ("gate.json", "{ \"server\": { \"workers\": 1 } }\n", "JSON"),
    ] {
        let setup = || bare().file(name, content).arg("--config").arg(name);
        assert_refused(setup, &[name, "expected TOML, and this looks like", format]);
        let setup = || bare().file(name, content).env("SLUICEGATE_KEYS_FILE", name);
        assert_refused(setup, &[name, "expected TOML, and this looks like", format]);
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_file() {
    let entry = "\u{feff}[[key]]\nid = \"a\"\nsha256 = \"\
                 a30534a53b23547377ddccbd1ac85a8a84c13db43493c16e55a6abc7b0eba634\"\n";
    let setup = bare()
        .toml("\u{feff}[server]\nworkers = 3\n[auth]\nkeys_file = \"keys.toml\"\n")
        .file("keys.toml", entry);
    let list = setup.command(&["key", "list"]).output().unwrap();
    assert!(list.status.success(), "{list:?}");
    let output = setup.command(&["key", "revoke", "a"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let finished = setup.arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.stdout.contains("workers = 3"), "{finished:?}");
}

#[test]
fn addresses_that_take_each_other_are_refused() {
    let toml = |listen: &str, metrics: &str| {
        format!("[server]\nlisten = [{listen}]\n[metrics]\nlisten = [{metrics}]\n")
    };
    let (one, all) = ("\"127.0.0.1:18080\"", "\"0.0.0.0:18080\"");
    for (content, key) in [
        (
            toml(&format!("{one}, {one}"), ""),
            "sluicegate.toml line 2: server.listen: ",
        ),
        (toml(one, one), "sluicegate.toml line 4: metrics.listen: "),
        (toml(all, one), "sluicegate.toml line 4: metrics.listen: "),
        (
            toml("\"unix:/a\", \"unix:/a\"", ""),
            "sluicegate.toml line 2: server.listen: ",
        ),
    ] {
        assert_refused(
            || bare().toml(&content),
            &[key, "is taken by", "expected another address"],
        );
    }
    let setup = || bare().env("SLUICEGATE_LISTEN", "127.0.0.1:18080,127.0.0.1:18080");
    assert_refused(
        setup,
        &["environment: SLUICEGATE_LISTEN: 127.0.0.1:18080 is taken by"],
    );
    assert_checked(bare().toml(&toml("\"127.0.0.1:0\", \"127.0.0.1:0\"", "\"127.0.0.1:0\"")));
}

#[test]
fn a_log_file_that_cannot_be_opened_is_refused() {
    for path in ["nowhere/access.log", ".", "keys.toml/x"] {
        let toml = format!("[log]\nfile = \"{path}\"\n");
        let finished = bare().toml(&toml).arg("check").run();
        assert_eq!(finished.code, Some(2), "{finished:?}");
        let said = format!("sluicegate.toml line 2: log.file: {path}: cannot open it: ");
        assert!(finished.stderr.contains(&said), "{finished:?}");
    }
    let setup = bare().toml("[log]\nfile = \"new.log\"\n");
    let made = setup.dir().join("new.log");
    let output = setup.command(&["check"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!made.exists(), "check only looks");
    fs::write(&made, "old\n").unwrap();
    let output = setup.command(&["check"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(&made).unwrap(), "old\n");
    // Nor does it wait for a reader.
    fs::remove_file(&made).unwrap();
    fifo(&made);
    assert_checked(setup);
}

#[test]
fn a_socket_path_with_another_file_is_said_to_be_one() {
    let setup = || bare().toml("[server]\nlisten = [\"127.0.0.1:0\"]\n");
    let listen = |setup: &Setup, name: &str| format!("unix:{}/{name}", setup.dir().display());
    for key in ["server.listen", "metrics.listen"] {
        let setup = setup();
        let path = listen(&setup, "keys.toml");
        let setup = match key {
            "server.listen" => setup.env("SLUICEGATE_LISTEN", &path),
            _ => setup.toml(&format!("[metrics]\nlisten = [\"{path}\"]\n")),
        };
        let finished = setup.command(&["check"]).output().unwrap();
        let said = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(finished.status.code(), Some(2), "{said}");
        let place = match key {
            "server.listen" => "environment: SLUICEGATE_LISTEN",
            _ => "sluicegate.toml line 2: metrics.listen",
        };
        let message = format!("{place}: {path}: there is a file that is no socket");
        assert!(said.contains(&message), "{said}");
        let finished = setup.env("PORT", "0").run();
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let message = format!("{path}: there is a file that is no socket");
        assert!(finished.stderr.contains(&message), "{finished:?}");
    }
    let nowhere = setup();
    let path = listen(&nowhere, "nowhere/gate.sock");
    let finished = nowhere.env("SLUICEGATE_LISTEN", &path).arg("check").run();
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains(&path), "{finished:?}");
}

#[test]
fn what_is_no_file_holds_up_no_start() {
    let with_fifo = || {
        let setup = bare();
        fifo(&setup.dir().join("pipe"));
        setup
    };
    // A keys file is looked at again and again, and a pipe is not.
    let setup = || with_fifo().env("SLUICEGATE_KEYS_FILE", "pipe");
    assert_refused(
        setup,
        &[
            "SLUICEGATE_KEYS_FILE: pipe: ",
            "it is a pipe; expected a regular file",
        ],
    );
    for device in ["/dev/zero", "/dev/null", "/"] {
        let setup = || bare().env("SLUICEGATE_KEYS_FILE", device);
        assert_refused(
            setup,
            &[device, "SLUICEGATE_KEYS_FILE", "expected a regular file"],
        );
    }
    let output = with_fifo()
        .command(&["key", "new", "a", "--file", "/dev/zero"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let setup = || bare().env("OPENAI_API_KEY_FILE", "/dev/zero");
    assert_refused(
        setup,
        &["OPENAI_API_KEY_FILE: /dev/zero: cannot read it: expected at most 4 MiB"],
    );
    let setup = || bare().env("OPENAI_API_KEY_FILE", ".");
    assert_refused(setup, &["OPENAI_API_KEY_FILE: .: "]);
    let finished = with_fifo()
        .env("GOMODEL_MASTER_KEY_FILE", "pipe")
        .arg("check")
        .run();
    assert_eq!(finished.code, Some(2), "{finished:?}");
    let said =
        "GOMODEL_MASTER_KEY_FILE: pipe: cannot read it: it is no regular file, and did not come";
    assert!(finished.stderr.contains(said), "{finished:?}");
    let large = bare();
    fs::File::create(large.dir().join("large.toml"))
        .unwrap()
        .set_len(5 << 20)
        .unwrap();
    let finished = large
        .env("SLUICEGATE_CONFIG", "large.toml")
        .arg("check")
        .run();
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(
        finished
            .stderr
            .contains("large.toml: cannot read it: expected at most 4 MiB"),
        "{finished:?}"
    );
    // A folder of that name is a virtual environment of Python's.
    let folder = bare();
    fs::create_dir(folder.dir().join(".env")).unwrap();
    assert_checked(folder);
}

#[test]
fn certificates_that_are_no_files_hold_up_no_start() {
    let https = "[providers.openai]\napi_key = \"gk-marker\"\n";
    let server = |more: &str| format!("[server.tls]\n{more}");
    let client_ca = "cert = \"cert.pem\"\nkey = \"key.pem\"\nclient_ca = \"FILE\"\n";
    let identity = |more: &str| format!("{https}client_cert = \"cert.pem\"\n{more}");
    let tables = [
        server("cert = \"FILE\"\nkey = \"key.pem\"\n"),
        server("cert = \"cert.pem\"\nkey = \"FILE\"\n"),
        server(client_ca),
        "[upstream]\nca_file = \"FILE\"\n".to_owned(),
        format!("{https}ca_file = \"FILE\"\n"),
        identity("client_key = \"FILE\"\n"),
        https.to_owned(),
    ];
    for (file, kind) in [
        ("pipe", "a pipe"),
        ("/dev/zero", "a device"),
        ("sock", "a socket"),
    ] {
        for table in &tables {
            let setup = || {
                let setup = { bare().without("SSL_CERT_FILE") }
                    .file("cert.pem", &pki().server.cert)
                    .file("key.pem", &pki().server.key)
                    .secret("gk-marker")
                    .toml(&table.replace("FILE", file));
                fifo(&setup.dir().join("pipe"));
                UnixListener::bind(setup.dir().join("sock")).unwrap();
                match table.contains("FILE") {
                    true => setup,
                    false => setup.env("SSL_CERT_FILE", file),
                }
            };
            let said = format!("it is {kind}; expected a regular file");
            assert_refused(setup, &[file, &said]);
        }
    }
}

#[test]
fn a_configuration_may_come_through_a_pipe() {
    let upstream = crate::support::Upstream::listen();
    let toml = format!(
        "[providers.here]\ntype = \"openai\"\napi_key = \"sk-here\"\nbase_url = \"{}\"\n",
        upstream.url()
    );
    let setup = Setup::new().file("made.toml", &toml).secret("sk-here");
    fifo(&setup.dir().join("pipe"));
    let gateway = setup.start_by("cat made.toml >pipe & exec \"$0\" --config pipe");
    let mut client = gateway.connect();
    client.send(get("/p/here/x"));
    let mut peer = upstream.accept();
    assert_eq!(
        peer.request().value("authorization"),
        Some("Bearer sk-here")
    );
    peer.send(ok(""));
    client.response();
}
