//! What each signal asks for, when the process starts, when it runs and when it ends.

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Signal, kill_process};

use crate::support::{
    Gateway, PATIENCE, Rig, Setup, Upstream, Wire, drained_answer, get, ok, wait_refused,
};

#[test]
fn sigquit_drains_as_sigterm_does() {
    let mut rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    rig.gateway.signal(Signal::QUIT);
    rig.gateway.wait_log(|line| line.contains("draining"));
    wait_refused(&rig.gateway);
    drained_answer(&mut client, &mut peer);
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn of_two_that_end_the_second_ends_at_once() {
    for (first, second) in [
        (Signal::QUIT, Signal::QUIT),
        (Signal::QUIT, Signal::TERM),
        (Signal::TERM, Signal::QUIT),
        (Signal::INT, Signal::INT),
    ] {
        let mut rig = Rig::plain();
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        rig.gateway.signal(first);
        rig.gateway.wait_log(|line| line.contains("draining"));
        // None of these ends anything, nor is any of them heeded any more.
        for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::HUP] {
            rig.gateway.signal(signal);
        }
        rig.gateway.signal(second);
        assert_eq!(rig.gateway.wait_exit(), Some(1), "{first:?} {second:?}");
        rig.gateway.wait_log(|line| line.contains("second signal"));
        let log = rig.gateway.log();
        assert!(!log.contains("handing over"), "{log}");
        client.wait_for_close();
        peer.wait_for_close();
    }
}

#[test]
fn many_signals_at_once_are_one_reload_or_some_and_nothing_is_lost() {
    let mut rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    for _ in 0..200 {
        rig.gateway.signal(Signal::HUP);
        rig.gateway.signal(Signal::USR1);
    }
    for signal in [Signal::STOP, Signal::CONT] {
        rig.gateway.signal(signal);
    }
    rig.gateway
        .wait_log(|line| line.contains("configuration reloaded"));
    peer.send(ok("still there"));
    assert_eq!(client.response().text(), "still there");
    rig.gateway.signal(Signal::TERM);
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

/// A start that waits for a file, a FIFO that nobody writes here, can be ended.
#[test]
fn a_start_that_waits_is_ended_by_a_signal() {
    use std::os::unix::process::ExitStatusExt as _;
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let setup = Setup::new();
        let path = setup.dir().join("sluicegate.toml");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut child = setup
            .command(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It has opened the FIFO once this opens.
        let _writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
        kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begin.elapsed() > PATIENCE {
                child.kill().unwrap();
                panic!("{signal:?} is not heeded");
            }
            std::thread::yield_now();
        };
        assert_eq!(status.signal(), Some(signal.as_raw()));
    }
}

/// A configuration in a FIFO that nobody writes.
fn wait_for_configuration(gateway: &Gateway) -> PathBuf {
    let path = gateway.setup().dir().join("sluicegate.toml");
    fs::remove_file(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

/// The successor waits for its configuration when the process is told to end.
#[test]
fn whoever_ends_a_process_that_hands_over_ends_its_successor_too() {
    let mut gateway = Setup::new().toml("").start();
    let path = wait_for_configuration(&gateway);
    gateway.signal(Signal::USR2);
    let line = gateway.wait_log(|line| line.contains("handing over"));
    gateway.succeeded_by(&line);
    let writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    gateway.signal(Signal::TERM);
    // Its output ends when nobody has it any more: both are gone.
    assert_eq!(gateway.wait_exit(), Some(0));
    drop(writer);
}

/// A gateway that was succeeded while an answer was under way.
fn succeeded() -> (Rig, Wire, Wire) {
    let rig = Rig::plain();
    let (client, peer, _) = rig.exchange(&get("/p/anthropic/models"));
    rig.gateway.signal(Signal::USR2);
    rig.gateway.successor(0);
    rig.gateway.wait_log(|line| line.contains("draining"));
    (rig, client, peer)
}

/// A service manager that stops a service sends SIGTERM to all its processes, also to one that was succeeded just
/// before and is no more than asked to end.
#[test]
fn the_first_signal_behind_a_hand_over_cuts_nothing() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let (mut rig, mut client, mut peer) = succeeded();
        // Too late for another one.
        rig.gateway.signal(Signal::USR2);
        rig.gateway.signal(signal);
        rig.gateway
            .wait_log(|line| line.contains("draining already"));
        peer.send(ok("in flight"));
        assert_eq!(client.response().text(), "in flight", "{signal:?}");
        assert_eq!(rig.gateway.wait_succeeded(), Some(0), "{signal:?}");
        // The successor was not meant.
        let mut other = rig.gateway.connect();
        other.send("GET /health HTTP/1.1\r\nHost: g\r\n\r\n");
        assert_eq!(other.response().status(), 200);
        let log = rig.gateway.log();
        assert_eq!(log.matches("handing over").count(), 1, "{log}");
    }
}

#[test]
fn the_second_signal_behind_a_hand_over_ends_at_once() {
    for (first, second) in [(Signal::TERM, Signal::TERM), (Signal::QUIT, Signal::INT)] {
        let (mut rig, mut client, mut peer) = succeeded();
        rig.gateway.signal(first);
        rig.gateway
            .wait_log(|line| line.contains("draining already"));
        rig.gateway.signal(second);
        assert_eq!(
            rig.gateway.wait_succeeded(),
            Some(1),
            "{first:?} {second:?}"
        );
        client.wait_for_close();
        peer.wait_for_close();
    }
}

/// Whom the service manager follows by then is the successor.
#[test]
fn a_service_manager_hears_nothing_from_one_that_was_succeeded() {
    let place = Setup::bare();
    let path = place.dir().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut rig = Rig::with(|setup| setup.env("NOTIFY_SOCKET", path.to_str().unwrap()));
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    rig.gateway.signal(Signal::USR2);
    rig.gateway.successor(0);
    rig.gateway.wait_log(|line| line.contains("draining"));
    rig.gateway.signal(Signal::TERM);
    peer.send(ok("in flight"));
    assert_eq!(client.response().text(), "in flight");
    assert_eq!(rig.gateway.wait_succeeded(), Some(0));
    socket.set_nonblocking(true).unwrap();
    let mut told = String::new();
    let mut packet = [0; 500];
    while let Ok(n) = socket.recv(&mut packet) {
        told.push_str(std::str::from_utf8(&packet[..n]).unwrap());
    }
    assert!(
        told.contains("MAINPID=") && !told.contains("STOPPING"),
        "{told}"
    );
}

/// What a reload waits for holds up nothing: neither its successors nor requests nor the end.
#[test]
fn signals_are_heeded_while_a_reload_waits() {
    let upstream = Upstream::listen();
    let setup = Setup::new().base(&upstream.url()).toml("");
    let mut gateway = setup.start();
    let path = wait_for_configuration(&gateway);
    gateway.signal(Signal::HUP);
    // It has opened the FIFO once this opens.
    let writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/models"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(ok("meanwhile"));
    assert_eq!(client.response().text(), "meanwhile");
    // Another one is not forgotten: it comes behind the first.
    gateway.signal(Signal::HUP);
    drop(writer);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    let writer = fs::OpenOptions::new().write(true).open(&path).unwrap();
    client.send(get("/p/anthropic/models"));
    peer.request();
    gateway.signal(Signal::TERM);
    gateway.wait_log(|line| line.contains("draining"));
    peer.send(ok("at the end"));
    assert_eq!(client.response().text(), "at the end");
    assert_eq!(gateway.wait_exit(), Some(0));
    drop(writer);
}

/// In a container the gateway is process 1, with which everything ends.
#[test]
fn process_1_does_not_hand_over() {
    let place = Setup::bare();
    let socket = place.dir().join("gate.sock");
    let upstream = crate::support::Scripted::echo();
    let setup = Setup::new().base(&upstream.url()).env(
        "SLUICEGATE_LISTEN",
        &format!("127.0.0.1:0,unix:{}", socket.display()),
    );
    // Whoever is not root needs a user namespace for the other one.
    let unshare = "exec unshare --user --map-root-user --pid --fork --kill-child \"$0\" \"$@\"";
    let gateway = setup.start_by(unshare);
    let children = format!(
        "/proc/{0}/task/{0}/children",
        gateway.pid().as_raw_nonzero()
    );
    let child = fs::read_to_string(children).unwrap();
    let child = rustix::process::Pid::from_raw(child.trim().parse().unwrap()).unwrap();
    for _ in 0..2 {
        kill_process(child, Signal::USR2).unwrap();
        let line = gateway.wait_log(|line| line.contains("SIGUSR2"));
        assert!(
            line.contains("\"error\"") && line.contains("container"),
            "{line}"
        );
    }
    UnixStream::connect(&socket).unwrap();
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    assert_eq!(client.response().status(), 200);
    assert!(!gateway.log().contains("handing over"), "{}", gateway.log());
}
