//! A log that nobody reads any more: reload and end are not held up by it.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::path::PathBuf;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::support::metrics::Metrics;
use crate::support::{PATIENCE, Setup, Upstream, get, ok};

const TOML: &str = "[log]\nfile = \"pipe\"\n";

/// A FIFO for the log, and a reader that never reads: without one it could not be opened.
fn unread(setup: &Setup) -> (PathBuf, File) {
    let path = setup.dir().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut options = OpenOptions::new();
    let pipe = options.read(true).write(true).open(&path).unwrap();
    (path, pipe)
}

#[test]
fn signals_are_heeded_though_the_log_is_full() {
    let setup = Setup::new().toml(TOML);
    let _pipe = unread(&setup);
    let mut gateway = setup.start();
    let mut client = gateway.connect();
    // More lines than pipe, buffer and queue take.
    let asks = get("/nowhere").repeat(100);
    for _ in 0..60 {
        client.send(&asks);
        for _ in 0..100 {
            assert_eq!(client.response().status(), 404);
        }
    }
    let moved = format!("[server]\nbase_path = \"/g\"\n{TOML}");
    fs::write(gateway.setup().dir().join("sluicegate.toml"), moved).unwrap();
    gateway.signal(Signal::HUP);
    let begin = Instant::now();
    loop {
        client.send(get("/g/health"));
        if client.response().status() == 200 {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "it does not reload");
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(), Some(0));
}

#[test]
fn a_client_without_a_key_pushes_no_lines_of_others_out() {
    let upstream = Upstream::listen();
    let setup = Setup::new()
        .toml(TOML)
        .env("METRICS_ENABLED", "true")
        .base(&upstream.url());
    let (path, pipe) = unread(&setup);
    let mut gateway = setup.start();
    let mut stranger = gateway.connect();
    let asks = "GET /p/anthropic/x HTTP/1.1\r\nHost: g\r\n\r\n".repeat(100);
    // More lines than pipe, buffer and queue take.
    for _ in 0..60 {
        stranger.send(&asks);
        for _ in 0..100 {
            assert_eq!(stranger.response().status(), 401);
        }
    }
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/asked"));
    let mut peer = upstream.accept();
    for _ in 1..100 {
        peer.request();
        peer.send(ok(""));
        assert_eq!(client.response().status(), 200);
        client.send(get("/p/anthropic/asked"));
    }
    peer.request();
    peer.send(ok(""));
    assert_eq!(client.response().status(), 200);
    let metrics = Metrics::of(&gateway);
    let mut reader = File::open(path).unwrap();
    drop(pipe);
    let reader = std::thread::spawn(move || {
        let mut read = String::new();
        reader.read_to_string(&mut read).unwrap();
        read
    });
    let line = gateway.wait_log(|line| line.contains("log lines lost"));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.wait_exit(), Some(0));
    let read = reader.join().unwrap();
    assert_eq!(read.matches("/p/anthropic/asked").count(), 100);
    let figure = |of: &str| metrics.get(&format!("log_lines_{of}_total"));
    assert!(figure("shed") > 0.0, "{}", metrics.0);
    assert_eq!(figure("lost"), figure("shed"), "{}", metrics.0);
    assert!(line.contains("\"of_own_answers\""), "{line}");
}
