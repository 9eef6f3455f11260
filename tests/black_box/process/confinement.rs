//! Threads that are confined to the files that they need (Landlock), and memory that nobody else looks at: what an
//! operator does goes on to work. On a kernel without Landlock the first line of the log has to say so.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use rustix::process::{Signal, kill_process};

use crate::support::{Gateway, PATIENCE, Scripted, Setup, Upstream, get, ok};

/// What the first line of the log says of it.
fn state(gateway: &Gateway) -> String {
    let line = gateway.wait_log(|line| line.contains("\"starting\""));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    line["landlock"].as_str().unwrap().to_owned()
}

/// A field of the status of each thread, by the thread's name.
fn of_threads(gateway: &Gateway, field: &str) -> BTreeMap<String, String> {
    let tasks = format!("/proc/{}/task", gateway.pid().as_raw_nonzero());
    let statuses = fs::read_dir(tasks).unwrap().map(|task| {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |name: &str| {
            let mut lines = status.lines();
            lines
                .find_map(|line| line.strip_prefix(name))
                .unwrap()
                .trim()
                .to_owned()
        };
        (value("Name:"), value(field))
    });
    statuses.collect()
}

/// It is an attempt of the program's own; the unit tests show what comes of it.
fn kernel_has_it() -> bool {
    let gateway = Setup::new().start();
    state(&gateway).starts_with("ABI ")
}

/// The kernel shows no rules, but that a confined thread gets no new privileges, which goes before.
#[test]
fn whoever_meets_bytes_from_outside_is_confined_and_the_main_thread_is_not() {
    let setup = || Setup::new().toml("[metrics]\nlisten = [\"127.0.0.1:0\"]\n");
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let own = own
        .lines()
        .find_map(|line| line.strip_prefix("NoNewPrivs:"));
    let own = own.unwrap().trim();
    for (wish, is_on) in [("auto", kernel_has_it()), ("false", false)] {
        let gateway = setup().env("SLUICEGATE_LANDLOCK", wish).start();
        assert_eq!(
            state(&gateway).starts_with("ABI "),
            is_on,
            "{}",
            gateway.log()
        );
        let threads = of_threads(&gateway, "NoNewPrivs:");
        let confined = if is_on { "1" } else { own };
        for name in ["worker-0", "metrics", "names", "log"] {
            assert_eq!(threads[name], confined, "{name} {wish}: {threads:?}");
        }
        assert_eq!(threads["sluicegate"], own, "{threads:?}");
    }
}

#[test]
fn demanded_it_is_on_or_nothing_starts() {
    let has_it = kernel_has_it();
    let setup = Setup::new().env("SLUICEGATE_LANDLOCK", "true");
    if has_it {
        let gateway = setup.start();
        assert!(state(&gateway).starts_with("ABI "));
    } else {
        let finished = setup.run();
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(finished.stderr.contains("server.landlock"), "{finished:?}");
    }
}

fn toml(base_url: &str, log: &str) -> String {
    format!(
        "[metrics]\nenabled = true\n[log]\nfile = \"{log}\"\n[providers.one]\ntype = \"openai\"\n\
         base_url = \"{base_url}\"\napi_key_file = \"keys/one\"\n"
    )
}

/// Names, Unix sockets, a key, a log file: all of them new ones, after a reload and after an upgrade.
#[test]
fn reload_and_upgrade_reach_files_that_nobody_named_at_the_start() {
    let (first, second) = (Upstream::listen(), Scripted::echo());
    let setup = Setup::new();
    let dir = setup.dir().to_owned();
    let write = |name: &str, content: &str| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("keys/one", "sk-first-secret");
    let port = first.url().rsplit(':').next().unwrap().to_owned();
    let by_name = format!("http://localhost:{port}");
    fs::create_dir_all(dir.join("logs")).unwrap();
    let setup = setup.secret("sk-first-secret").secret("sk-second-secret");
    let mut gateway = setup.toml(&toml(&by_name, "logs/access.log")).start();
    let mut client = gateway.connect();
    client.send(get("/p/one/models"));
    let mut peer = first.accept();
    let seen = peer.request();
    assert_eq!(seen.value("authorization"), Some("Bearer sk-first-secret"));
    peer.send(ok("by name"));
    assert_eq!(client.response().text(), "by name");
    // A new key, a new folder, a new provider.
    write("elsewhere/two", "sk-second-secret");
    let two = toml(&by_name, "logs/access.log")
        + &format!(
            "[providers.two]\ntype = \"openai\"\nbase_url = \"{}\"\napi_key_file = \"elsewhere/two\"\n",
            second.url()
        );
    write("sluicegate.toml", &two);
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    client.send(get("/p/two/models"));
    assert_eq!(client.response().status(), 200);
    // The process is looked at by a thread that can open nothing.
    client.send(get("/metrics"));
    let metrics = client.response().text();
    for name in [
        "process_open_fds ",
        "process_resident_memory_bytes ",
        "process_threads ",
    ] {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        let value: f64 = value
            .unwrap_or_else(|| panic!("{name} {metrics}"))
            .parse()
            .unwrap();
        assert!(value > 0.0, "{name}");
    }
    // The log is rotated, its file a new one in the old folder.
    let (current, moved) = (dir.join("logs/access.log"), dir.join("logs/access.log.1"));
    fs::rename(&current, &moved).unwrap();
    gateway.signal(Signal::USR1);
    wait_for(&current, &gateway);
    // An upgrade writes elsewhere, and listens on a Unix socket besides.
    let socket = dir.join("run/gate.sock");
    fs::create_dir_all(dir.join("run")).unwrap();
    fs::create_dir_all(dir.join("other")).unwrap();
    let listen = format!(
        "[server]\nlisten = [\"{}\", \"unix:{}\"]\n",
        gateway.addr(),
        socket.display()
    );
    write(
        "sluicegate.toml",
        &(listen + &two.replace("logs/", "other/")),
    );
    gateway.signal(Signal::USR2);
    let successor = gateway.successor(0);
    assert_eq!(gateway.wait_succeeded(), Some(0));
    let mut client = gateway.connect();
    client.send(get("/p/two/models"));
    assert_eq!(client.response().status(), 200);
    wait_for(&dir.join("other/access.log"), &gateway);
    // And so does the next one: nothing is handed on that would narrow it.
    kill_process(successor, Signal::USR2).unwrap();
    gateway.successor(1);
    let mut client = gateway.connect();
    client.send(get("/p/two/models"));
    assert_eq!(client.response().status(), 200);
}

fn wait_for(path: &std::path::Path, gateway: &Gateway) {
    let begin = Instant::now();
    while !path.exists() {
        assert!(
            begin.elapsed() < PATIENCE,
            "{} {}",
            path.display(),
            gateway.log()
        );
        std::thread::yield_now();
    }
}

#[test]
fn a_log_folder_that_was_replaced_is_out_of_reach_and_that_is_said() {
    if !kernel_has_it() {
        return;
    }
    let setup = Setup::new().toml("[log]\nfile = \"logs/access.log\"\n");
    let logs = setup.dir().join("logs");
    fs::create_dir_all(&logs).unwrap();
    let gateway = setup.start();
    fs::rename(&logs, logs.with_extension("old")).unwrap();
    fs::create_dir_all(&logs).unwrap();
    gateway.signal(Signal::USR1);
    let line = gateway.wait_log(|line| line.contains("cannot open the access log again"));
    assert!(line.contains("server.landlock"), "{line}");
}

const DUMPS: &str = "ulimit -c unlimited; exec \"$0\" \"$@\"";

/// Whether an aborted process of this machine leaves a core dump.
fn dumps_are_made() -> bool {
    let place = Setup::bare();
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", "ulimit -c unlimited; kill -ABRT $$"]);
    shell
        .current_dir(place.dir())
        .status()
        .unwrap()
        .core_dumped()
}

#[test]
fn memory_is_in_no_core_dump_unless_it_is_dumpable() {
    for (dumpable, is_dumped) in [("false", false), ("true", dumps_are_made())] {
        let setup = Setup::new().env("SLUICEGATE_DUMPABLE", dumpable);
        let mut gateway = setup.start_by(DUMPS);
        gateway.signal(Signal::ABORT);
        let status = gateway.wait_status();
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
        assert_eq!(status.core_dumped(), is_dumped, "dumpable = {dumpable}");
    }
}

/// How often this stands in the gateway's memory.
fn copies(gateway: &Gateway, text: &str) -> usize {
    use std::os::unix::fs::FileExt as _;
    let process = format!("/proc/{}", gateway.pid().as_raw_nonzero());
    let maps = fs::read_to_string(format!("{process}/maps")).unwrap();
    let memory = fs::File::open(format!("{process}/mem")).unwrap();
    let regions = maps.lines().filter(|line| line.contains(" rw"));
    let counts = regions.map(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|end| i64::from_str_radix(end, 16).unwrap_or(0));
        // A region may be gone meanwhile, or be no memory; a sanitizer's are larger than any machine.
        let mut bytes = vec![0; (to - from).clamp(0, 1 << 28).try_into().unwrap()];
        let from = from.try_into().unwrap();
        let n = memory.read_at(&mut bytes, from).unwrap_or_default();
        memchr::memmem::find_iter(&bytes[..n], text).count()
    });
    counts.sum()
}

/// Keys of providers that stand in files of their own, and no request with them yet: what cannot be held to it is
/// said in the handbook.
#[test]
fn keys_that_are_replaced_do_not_stay_in_memory() {
    let old = [
        "sk-the-old-key-of-a-bearer-0123456789",
        "sk-the-old-key-of-anthropic-0123456789",
    ];
    let setup = Setup::new()
        .env("SLUICEGATE_DUMPABLE", "true")
        .file("one.key", old[0])
        .file("two.key", old[1])
        .secret(old[0])
        .secret(old[1]);
    let toml = "[providers.one]\ntype = \"openai\"\nbase_url = \"http://127.0.0.1:1\"\n\
                api_key_file = \"one.key\"\n[providers.two]\ntype = \"anthropic\"\n\
                base_url = \"http://127.0.0.1:1\"\napi_key_file = \"two.key\"\n";
    let gateway = setup.toml(toml).start();
    for key in old {
        // As a secret, and in a field line, which the worker prepares for itself.
        let begin = Instant::now();
        while copies(&gateway, key) < 2 {
            assert!(begin.elapsed() < PATIENCE, "{key}");
            std::thread::yield_now();
        }
    }
    for name in ["one.key", "two.key"] {
        fs::write(gateway.setup().dir().join(name), "sk-new-key-0123456789").unwrap();
    }
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    let begin = Instant::now();
    while old.iter().any(|key| copies(&gateway, key) > 0) {
        let left = old.map(|key| copies(&gateway, key));
        assert!(begin.elapsed() < PATIENCE, "{left:?}");
        std::thread::yield_now();
    }
}
