//! Listening sockets that come from a service manager or from a predecessor, and what the former is told.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Gateway, PATIENCE, Rig, Scripted, Setup, Upstream, Wire, get, ok};

fn two_workers(setup: Setup) -> Setup {
    setup.env("SLUICEGATE_WORKERS", "2")
}

/// Clients that come and go until they are told to stop; none of their requests may fail.
struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    /// The number of requests served that somebody waits for.
    goal: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<()>>,
    begun: Instant,
}

impl Load {
    fn on(gateway: &Gateway) -> Self {
        let (stop, served, goal) = (Arc::default(), Arc::default(), Arc::default());
        let waiting = thread::current();
        let clients = (0..4).map(|client| {
            let (stop, waiting): (Arc<AtomicBool>, _) = (Arc::clone(&stop), waiting.clone());
            let (served, goal): (Arc<AtomicUsize>, Arc<AtomicUsize>) =
                (Arc::clone(&served), Arc::clone(&goal));
            let addr = gateway.addr();
            thread::spawn(move || {
                let mut kept: Option<Wire> = None;
                while !stop.load(Ordering::Relaxed) {
                    // Some clients keep their connection for as long as they may.
                    let mut wire = kept.take().unwrap_or_else(|| Wire::connect(addr));
                    wire.send(get("/p/openai/models"));
                    let got = wire.response();
                    assert_eq!((got.status(), got.text().as_str()), (200, "served"));
                    if served.fetch_add(1, Ordering::SeqCst) + 1 == goal.load(Ordering::SeqCst) {
                        waiting.unpark();
                    }
                    kept = (client % 2 == 0 && got.value("connection") != Some("close"))
                        .then_some(wire);
                }
            })
        });
        let clients = clients.collect();
        Self {
            stop,
            served,
            goal,
            clients,
            begun: Instant::now(),
        }
    }

    /// Until so many more requests were served.
    fn pass(&self, count: usize) {
        let goal = self.served.load(Ordering::SeqCst) + count;
        self.goal.store(goal, Ordering::SeqCst);
        let begin = Instant::now();
        while self.served.load(Ordering::SeqCst) < goal {
            assert!(self.clients.iter().all(|client| !client.is_finished()));
            assert!(begin.elapsed() < PATIENCE, "nothing is served");
            thread::park_timeout(PATIENCE);
        }
    }

    fn end(self) {
        let (served, took) = (self.served.load(Ordering::SeqCst), self.begun.elapsed());
        eprintln!("{served} requests in {took:?}, none failed");
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

fn served() -> Scripted {
    Scripted::start(|wire, _| {
        while wire.try_request().is_ok() {
            wire.send(ok("served"));
        }
    })
}

/// A stream that was begun before.
fn stream(gateway: &Gateway, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/messages"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    (client, peer)
}

/// How many streams are open across a change.
const STREAMS: usize = 200;

/// A gateway under load, with streams open that the test feeds.
struct Busy {
    gateway: Gateway,
    load: Load,
    streams: Vec<(Wire, Wire)>,
    _upstream: Scripted,
}

impl Busy {
    fn start() -> Self {
        let (upstream, streams) = (served(), Upstream::listen());
        let setup = two_workers(Setup::new()).base(&format!("{}/v1", upstream.url()));
        let gateway = setup.env("ANTHROPIC_BASE_URL", &streams.url()).start();
        let streams = (0..STREAMS).map(|_| stream(&gateway, &streams)).collect();
        let load = Load::on(&gateway);
        load.pass(500);
        Self {
            gateway,
            load,
            streams,
            _upstream: upstream,
        }
    }

    /// Every stream goes on.
    fn event(&mut self) {
        for (_, peer) in &mut self.streams {
            peer.send("5\r\nevent\r\n");
        }
        for (client, _) in &mut self.streams {
            client.expect("5\r\nevent\r\n");
        }
    }

    /// Every stream comes to its end.
    fn finish_streams(&mut self) {
        for (mut client, mut peer) in self.streams.drain(..) {
            peer.send("0\r\n\r\n");
            client.expect("0\r\n\r\n");
        }
    }
}

#[test]
fn an_upgrade_under_load_loses_nothing() {
    let mut busy = Busy::start();
    busy.gateway.signal(Signal::USR2);
    let mut successor = busy.gateway.successor(0);
    busy.load.pass(500);
    busy.event();
    busy.finish_streams();
    assert_eq!(busy.gateway.wait_succeeded(), Some(0));
    busy.load.pass(100);
    // The successor can have one too.
    for nth in 1..3 {
        kill_process(successor, Signal::USR2).unwrap();
        successor = busy.gateway.successor(nth);
        busy.load.pass(200);
    }
    busy.load.end();
}

#[test]
fn reloads_under_load_lose_nothing() {
    let mut busy = Busy::start();
    for _ in 0..10 {
        busy.gateway.signal(Signal::HUP);
        busy.load.pass(200);
        busy.event();
    }
    busy.finish_streams();
    let reloads = busy.gateway.log();
    assert_eq!(reloads.matches("configuration reloaded").count(), 10);
    busy.load.end();
}

#[test]
fn a_successor_that_cannot_start_changes_nothing() {
    let rig = Rig::with(|setup| setup.toml("[log]\n"));
    fs::write(
        rig.gateway.setup().dir().join("sluicegate.toml"),
        "[nonsense]\n",
    )
    .unwrap();
    for _ in 0..2 {
        rig.gateway.signal(Signal::USR2);
    }
    rig.gateway
        .wait_log(|line| line.contains("the successor did not start"));
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send(ok("goes on"));
    assert_eq!(client.response().text(), "goes on");
}

#[test]
fn an_upgrade_can_change_workers_and_addresses() {
    let upstream = served();
    let setup = Setup::new().base(&format!("{}/v1", upstream.url()));
    let setup = setup
        .without("SLUICEGATE_WORKERS")
        .without("SLUICEGATE_LISTEN");
    let toml = |workers: usize, more: &str| {
        format!("[server]\nworkers = {workers}\nlisten = [\"127.0.0.1:0\"{more}]\n")
    };
    let mut gateway = setup.toml(&toml(3, "")).start();
    let unix = gateway.setup().dir().join("gate.sock");
    let load = Load::on(&gateway);
    let mut successor: Option<Pid> = None;
    for (nth, workers) in [1, 4, 2].into_iter().enumerate() {
        let more = format!(", \"unix:{}\"", unix.display());
        let toml = toml(workers, &more);
        fs::write(gateway.setup().dir().join("sluicegate.toml"), toml).unwrap();
        match successor {
            None => gateway.signal(Signal::USR2),
            Some(pid) => kill_process(pid, Signal::USR2).unwrap(),
        }
        successor = Some(gateway.successor(nth));
        load.pass(100);
        std::os::unix::net::UnixStream::connect(&unix).unwrap();
    }
    assert_eq!(gateway.wait_succeeded(), Some(0));
    load.end();
}

#[test]
fn sockets_from_a_service_manager_are_shared_with_the_next_process() {
    let upstream = served();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let setup = || {
        two_workers(Setup::new())
            .base(&format!("{}/v1", upstream.url()))
            // Not used: the service manager's sockets stand in for it.
            .env("SLUICEGATE_LISTEN", "127.0.0.1:1")
    };
    let addr = socket.local_addr().unwrap();
    let mut first = setup().start_with_socket(socket.try_clone().unwrap().into());
    assert_eq!(first.addr(), addr);
    let load = Load::on(&first);
    load.pass(50);
    let mut second = setup().start_with_socket(socket.try_clone().unwrap().into());
    first.signal(Signal::TERM);
    assert_eq!(first.wait_exit(), Some(0));
    load.pass(50);
    // Its successor gets them as well.
    second.signal(Signal::USR2);
    second.successor(0);
    assert_eq!(second.wait_succeeded(), Some(0));
    load.pass(50);
    load.end();
}

#[test]
fn what_is_no_listening_socket_is_refused() {
    let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let finished = Setup::new().run_with_socket(one.into());
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("LISTEN_FDS"),
        "{}",
        finished.stderr
    );
}

/// What the service manager was told next.
fn told(socket: &UnixDatagram) -> Vec<String> {
    let mut packet = [0; 500];
    let n = loop {
        match socket.recv(&mut packet) {
            // A signal of another test's.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            n => break n.unwrap(),
        }
    };
    let text = String::from_utf8_lossy(&packet[..n]).into_owned();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_service_manager_is_told() {
    let dir = Setup::new();
    let path = dir.dir().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    is_told(&socket, path.to_str().unwrap());
}

/// As under `systemd --user` and in containers that systemd runs.
#[test]
fn a_service_manager_in_the_abstract_namespace_is_told() {
    let name = format!("sluicegate-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    is_told(&socket, &format!("@{name}"));
}

fn is_told(socket: &UnixDatagram, name: &str) {
    let patience = Some(PATIENCE);
    socket.set_read_timeout(patience).unwrap();
    let setup = Setup::new().env("NOTIFY_SOCKET", name);
    let gateway = setup.start();
    assert_eq!(told(socket), ["READY=1"]);
    gateway.signal(Signal::HUP);
    let reloading = told(socket);
    assert_eq!(reloading[0], "RELOADING=1");
    let micros = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0);
    assert_eq!(told(socket), ["READY=1"]);
    gateway.signal(Signal::USR2);
    let successor = gateway.successor(0);
    let main = format!("MAINPID={}", successor.as_raw_nonzero());
    assert_eq!(told(socket), [main]);
    // Not before the service manager knows it.
    assert_eq!(told(socket), ["READY=1"]);
    kill_process(successor, Signal::TERM).unwrap();
    assert_eq!(told(socket), ["STOPPING=1"]);
    let mut gateway = gateway;
    assert_eq!(gateway.wait_succeeded(), Some(0));
}
