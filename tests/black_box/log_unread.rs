//! A log that nobody reads any more: reload and end are not held up by it.

use std::fs::{self, OpenOptions};
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use crate::support::{PATIENCE, Setup, get};

const TOML: &str = "[log]\nfile = \"pipe\"\n";

#[test]
fn signals_are_heeded_though_the_log_is_full() {
    let setup = Setup::new().toml(TOML);
    let path = setup.dir().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    // Without a reader it could not be opened; this one never reads.
    let mut pipe = OpenOptions::new();
    let _pipe = pipe.read(true).write(true).open(&path).unwrap();
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
