//! Log files that cannot be written, or only for a while, and what is no file: nothing ends, nothing waits, and
//! what was lost is counted.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::{Gateway, PATIENCE, Rig, Setup, Wire, get, ok};

const TOML: &str = "[log]\nfile = \"access.log\"\n";

fn fifo(path: &Path) {
    mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// Has so many lines written.
fn ask(client: &mut Wire, count: usize) {
    for _ in 0..count {
        client.send(get("/nowhere"));
        assert_eq!(client.response().status(), 404);
    }
}

/// Whole lines of an access log.
fn lines(path: &Path) -> usize {
    whole(&fs::read_to_string(path).unwrap())
}

fn whole(text: &str) -> usize {
    let whole = |line: &&str| {
        let line: Result<Value, _> = serde_json::from_str(line);
        line.is_ok_and(|line| line["path"] == "/nowhere")
    };
    text.lines().filter(whole).count()
}

/// Asks until a message says what was lost; how many lines that were, and how often it asked.
fn told(gateway: &Gateway, client: &mut Wire) -> (usize, usize) {
    let begin = Instant::now();
    let mut asked = 0;
    while !gateway.log().contains("log lines lost") {
        assert!(begin.elapsed() < PATIENCE, "{}", gateway.log());
        ask(client, 1);
        asked += 1;
    }
    let line = gateway.wait_log(|line| line.contains("log lines lost"));
    let line: Value = serde_json::from_str(&line).unwrap();
    let count = line["count"].as_u64().unwrap();
    (usize::try_from(count).unwrap(), asked)
}

/// Waits until the file holds so many lines.
fn wait_lines(path: &Path, count: usize) {
    let begin = Instant::now();
    while lines(path) != count {
        assert!(begin.elapsed() < PATIENCE, "{} lines", lines(path));
        std::thread::yield_now();
    }
}

#[test]
fn a_log_file_at_its_size_limit_loses_lines_and_nothing_else() {
    let rig = Rig::by(
        |setup| setup.toml(TOML),
        "ulimit -f 64 && exec \"$0\" \"$@\"",
    );
    let (mut streaming, mut source, _) = rig.exchange(&get("/p/anthropic/models"));
    source.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
    streaming.head();
    streaming.expect("hello");
    let path = rig.gateway.setup().dir().join("access.log");
    let mut client = rig.client();
    let full = |line: &str| line.contains("cannot write the access log");
    let mut asked = 0;
    while !rig.gateway.log().lines().any(full) {
        ask(&mut client, 1);
        asked += 1;
    }
    let line = rig.gateway.wait_log(full);
    assert!(line.contains("File too large"), "{line}");
    source.send("world");
    streaming.expect("world");
    // There is room again: what comes now arrives, and what did not is told.
    let before = fs::read_to_string(&path).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    let (lost, more) = told(&rig.gateway, &mut client);
    // The stream has a line as well, which was kept before, lost, or is there now.
    let streamed = before.matches("/p/anthropic/models").count();
    let begin = Instant::now();
    loop {
        let now = fs::read_to_string(&path).unwrap();
        let now = now.lines().filter(|line| line.starts_with('{')).count();
        if whole(&before) + streamed + lost + now == asked + more + 1 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{asked} {more} {lost} {now}");
        std::thread::yield_now();
    }
    assert_eq!(
        rig.gateway.log().lines().filter(|line| full(line)).count(),
        1
    );
}

#[test]
fn what_a_full_disk_or_a_broken_one_lost_is_told_once_lines_arrive_again() {
    // No space left; input/output error.
    for target in ["/dev/full", "/proc/version"] {
        let setup = Setup::new().toml(TOML);
        let path = setup.dir().join("access.log");
        symlink(target, &path).unwrap();
        let gateway = setup.start();
        let mut client = gateway.connect();
        ask(&mut client, 3);
        gateway.wait_log(|line| line.contains("cannot write the access log"));
        fs::remove_file(&path).unwrap();
        gateway.signal(Signal::USR1);
        let begin = Instant::now();
        let mut asked = 3;
        while !path.exists() {
            assert!(begin.elapsed() < PATIENCE, "{}", gateway.log());
            ask(&mut client, 1);
            asked += 1;
        }
        let (lost, more) = told(&gateway, &mut client);
        wait_lines(&path, asked + more - lost);
    }
}

#[test]
fn sigusr1_opens_the_file_anew_also_while_it_drains() {
    let mut rig = Rig::with(|setup| setup.toml(TOML));
    let dir = rig.gateway.setup().dir().to_owned();
    let (current, moved) = (dir.join("access.log"), dir.join("access.log.1"));
    let mut client = rig.client();
    ask(&mut client, 1);
    wait_lines(&current, 1);
    fs::rename(&current, &moved).unwrap();
    rig.gateway.signal(Signal::USR1);
    let begin = Instant::now();
    while !current.exists() {
        assert!(begin.elapsed() < PATIENCE, "{}", rig.gateway.log());
        std::thread::yield_now();
    }
    ask(&mut client, 1);
    wait_lines(&current, 1);
    // Nothing is read again but that.
    assert!(!rig.gateway.log().contains("configuration reloaded"));
    let (mut held, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    rig.gateway.signal(Signal::TERM);
    rig.gateway.wait_log(|line| line.contains("draining"));
    for signal in [Signal::USR1, Signal::HUP] {
        fs::rename(&current, &moved).unwrap();
        rig.gateway.signal(signal);
        while !current.exists() {
            assert!(begin.elapsed() < PATIENCE, "{}", rig.gateway.log());
            std::thread::yield_now();
        }
    }
    peer.send(ok("in flight"));
    assert_eq!(held.response().text(), "in flight");
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn what_cannot_take_a_log_is_said_at_the_start() {
    let named = |name: &str| {
        Setup::new()
            .toml(&format!("[log]\nfile = \"{name}\"\n"))
            .file("file", "")
    };
    for (name, why) in [
        ("fifo", "a FIFO that nobody reads"),
        (".", "Is a directory"),
        ("socket", "a socket"),
        ("file/access.log", "Not a directory"),
        ("/proc/access.log", "No such file"),
    ] {
        let setup = named(name);
        fifo(&setup.dir().join("fifo"));
        // Its name is too long for a socket's where the tests are.
        let _bound = (name == "socket").then(|| {
            let folder = File::open(setup.dir()).unwrap();
            let fd = std::os::fd::AsRawFd::as_raw_fd(&folder);
            UnixListener::bind(format!("/proc/self/fd/{fd}/socket")).unwrap()
        });
        let finished = setup.run();
        assert_eq!(finished.code, Some(1), "{name}: {finished:?}");
        for word in [name, why, "log.file"] {
            assert!(finished.stderr.contains(word), "{name}: {finished:?}");
        }
    }
}

#[test]
fn a_fifo_whose_reader_is_gone_stays_and_that_is_said() {
    let setup = Setup::new().toml("[log]\nfile = \"pipe\"\n");
    let path = setup.dir().join("pipe");
    fifo(&path);
    let reads = || {
        let mut reads = OpenOptions::new();
        let nonblock = OFlags::NONBLOCK.bits().try_into().unwrap();
        reads.read(true).custom_flags(nonblock).open(&path).unwrap()
    };
    let reader = reads();
    let mut gateway = setup.start();
    drop(reader);
    for signal in [Signal::HUP, Signal::USR1] {
        let said = |line: &&str| line.contains("cannot open the access log again");
        let before = gateway.log().lines().filter(said).count();
        gateway.signal(signal);
        let begin = Instant::now();
        while gateway.log().lines().filter(said).count() == before {
            assert!(begin.elapsed() < PATIENCE, "{}", gateway.log());
            std::thread::yield_now();
        }
        let line = gateway.wait_log(|line| said(&line));
        assert!(line.contains("a FIFO that nobody reads"), "{line}");
    }
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    // Messages still come, and say what becomes of the lines.
    let mut client = gateway.connect();
    ask(&mut client, 2);
    let line = gateway.wait_log(|line| line.contains("cannot write the access log"));
    assert!(line.contains("Broken pipe"), "{line}");
    // The next reader gets the next lines.
    let mut reader = reads();
    told(&gateway, &mut client);
    let mut text = vec![0; 1 << 16];
    let n = reader.read(&mut text).unwrap();
    assert!(String::from_utf8_lossy(&text[..n]).contains("/nowhere"));
    drop(reader);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(), Some(0));
}

/// More lines than a pipe, the buffer and the queue take.
fn flood(client: &mut Wire) {
    let asks = get("/nowhere").repeat(100);
    for _ in 0..60 {
        client.send(&asks);
        for _ in 0..100 {
            assert_eq!(client.response().status(), 404);
        }
    }
}

#[test]
fn messages_come_though_nobody_reads_the_access_log() {
    for name in ["pipe", "stdout"] {
        let setup = Setup::new().toml(&format!("[log]\nfile = \"{name}\"\n"));
        let path = setup.dir().join("pipe");
        fifo(&path);
        let mut pipe = OpenOptions::new();
        // This one never reads.
        let pipe = pipe.read(true).write(true).open(&path).unwrap();
        let mut gateway = setup.start_by("exec \"$0\" \"$@\" 3>&1 >pipe");
        let mut client = gateway.connect();
        flood(&mut client);
        gateway.wait_log(|line| line.contains("cannot write the access log"));
        gateway.signal(Signal::HUP);
        gateway.wait_log(|line| line.contains("configuration reloaded"));
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.wait_exit(), Some(0));
        drop(pipe);
    }
}
