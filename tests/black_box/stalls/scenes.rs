//! What could hold a worker up, one thing at a time.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use rustls::ClientConfig;

use super::goes_on_alike;
use super::probe::{Measured, Provider, measure};
use crate::support::metrics::Metrics;
use crate::support::tls::client_config;
use crate::support::{Gateway, KEY, PATIENCE, Setup};

/// One disturbance.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// The configuration, beside the provider `probe`.
    pub(crate) toml: fn(&Provider) -> String,
    pub(crate) start: fn(Setup) -> Gateway,
    /// Before the disturbed phase.
    pub(crate) prepare: fn(&Gateway),
    /// Runs until the phase is over; more than one at once.
    pub(crate) disturb: fn(&Gateway, &AtomicBool),
    pub(crate) threads: usize,
    pub(crate) tls: bool,
}

#[test]
fn names() {
    goes_on_alike(&Scene {
        name: "names",
        toml: many_unknown,
        start: with_silent_resolver,
        prepare: |_| {},
        disturb: ask_for_the_unknown,
        threads: 4,
        tls: false,
    });
}

#[test]
fn log() {
    goes_on_alike(&Scene {
        name: "log",
        toml: logging_to_a_pipe,
        start: with_pipe,
        prepare: leave_the_log_unread,
        disturb: |_, _| {},
        threads: 1,
        tls: false,
    });
}

#[test]
fn metrics() {
    goes_on_alike(&Scene {
        name: "metrics",
        toml: many_known,
        start: Setup::start,
        prepare: ask_all,
        disturb: scrape,
        threads: 2,
        tls: false,
    });
}

#[test]
fn reload() {
    goes_on_alike(&Scene {
        name: "reload",
        toml: large,
        start: with_keys,
        prepare: |_| {},
        disturb: read_again,
        threads: 1,
        tls: true,
    });
}

#[test]
fn heads() {
    goes_on_alike(&Scene {
        name: "heads",
        toml: |_| String::new(),
        start: Setup::start,
        prepare: |_| {},
        disturb: send_large_heads,
        threads: 2,
        tls: false,
    });
}

#[test]
fn timers() {
    goes_on_alike(&Scene {
        name: "timers",
        toml: |_| "[timeouts]\nrequest_header = 1\n".to_owned(),
        start: Setup::start,
        prepare: |_| {},
        disturb: idle,
        threads: 1,
        tls: false,
    });
}

impl Scene {
    /// A quiet phase and a disturbed one.
    pub(crate) fn play(&self, provider: &Provider, time: Duration) -> [Measured; 2] {
        let mut toml = (self.toml)(provider);
        table(&mut toml, "probe", &provider.url());
        let setup = Setup::new().toml(&toml).env("METRICS_ENABLED", "true");
        let (setup, tls) = match self.tls {
            true => (
                setup.tls(),
                Some(Arc::new(client_config(rustls::ALL_VERSIONS))),
            ),
            false => (setup, None),
        };
        let gateway = (self.start)(setup);
        warm_up(&gateway, tls.as_ref(), provider);
        let quiet = measure(&gateway, tls.as_ref(), provider, time);
        (self.prepare)(&gateway);
        let over = AtomicBool::new(false);
        let disturbed = thread::scope(|scope| {
            let _over = SetAtEnd(&over);
            for _ in 0..self.threads {
                scope.spawn(|| (self.disturb)(&gateway, &over));
            }
            measure(&gateway, tls.as_ref(), provider, time)
        });
        [quiet, disturbed]
    }
}

/// So that a failed measurement ends the disturbance too.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The first requests to run through it find nothing in any cache.
fn warm_up(gateway: &Gateway, tls: Option<&Arc<ClientConfig>>, provider: &Provider) {
    measure(gateway, tls, provider, Duration::from_millis(200));
}

fn table(toml: &mut String, name: &str, base_url: &str) {
    let _ = write!(
        toml,
        "[providers.{name}]\ntype = \"openai\"\nbase_url = \"{base_url}\"\ncredential = \"none\"\n"
    );
}

pub(crate) fn asks(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n\r\n")
}

// Names that nobody answers for.

const UNKNOWN: usize = 40;

fn many_unknown(_: &Provider) -> String {
    let mut toml = "[timeouts]\nconnect = \"500ms\"\n".to_owned();
    for index in 0..UNKNOWN {
        table(
            &mut toml,
            &format!("p{index}"),
            &format!("http://p{index}.invalid:9"),
        );
    }
    toml
}

/// With a name server that takes questions and never answers, where that can be arranged; else the system's,
/// which may answer at once that there are no such names.
fn with_silent_resolver(setup: Setup) -> Gateway {
    let Ok(silent) = UdpSocket::bind("127.9.9.9:53") else {
        return setup.start();
    };
    // Open until the process ends.
    Box::leak(Box::new(silent));
    let setup = setup.file("resolv.conf", "nameserver 127.9.9.9\n");
    let gateway = setup.start_by(
        "exec unshare -rm /bin/sh -c \
         'mount --bind resolv.conf /etc/resolv.conf; exec \"$0\" \"$@\"' \"$0\" \"$@\"",
    );
    let begin = Instant::now();
    let mut client = gateway.connect();
    client.send(asks("/p/p0/x"));
    let status = client.response().status();
    let took = begin.elapsed();
    println!("(asking for a name that nobody knows is a {status} after {took:.1?})");
    gateway
}

fn ask_for_the_unknown(gateway: &Gateway, over: &AtomicBool) {
    let mut client = gateway.connect();
    let mut index = 0;
    while !over.load(Ordering::SeqCst) {
        index = (index + 1) % UNKNOWN;
        client.send(asks(&format!("/p/p{index}/x")));
        assert!(client.response().status() >= 502);
    }
}

// A log that nobody reads.

fn logging_to_a_pipe(_: &Provider) -> String {
    "[log]\nfile = \"pipe\"\n".to_owned()
}

fn with_pipe(setup: Setup) -> Gateway {
    let path = setup.dir().join("pipe");
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    // Without a reader it could not be opened.
    let reader = rustix::fs::open(&path, OFlags::RDWR, Mode::empty()).unwrap();
    let gateway = setup.start();
    thread::spawn(move || {
        let mut piece = [0; 64 * 1024];
        while READING.load(Ordering::SeqCst) {
            let _ = rustix::io::read(&reader, &mut piece);
        }
        // Open and full from here on.
        Box::leak(Box::new(reader));
    });
    gateway
}

static READING: AtomicBool = AtomicBool::new(true);

/// Until lines are lost.
fn leave_the_log_unread(gateway: &Gateway) {
    READING.store(false, Ordering::SeqCst);
    let mut client = gateway.connect();
    let begin = Instant::now();
    while Metrics::of(gateway).get("log_lines_lost_total") == 0.0 {
        client.send(asks("/p/probe/x").repeat(16));
        for _ in 0..16 {
            client.response();
        }
        assert!(begin.elapsed() < PATIENCE, "the log was never full");
    }
}

// Metrics of many providers, on the main port.

const KNOWN: usize = 50;

fn many_known(provider: &Provider) -> String {
    let mut toml = "[log]\naccess = false\n".to_owned();
    for index in 0..KNOWN {
        table(&mut toml, &format!("p{index}"), &provider.url());
    }
    toml
}

/// What was never asked for has no figures.
fn ask_all(gateway: &Gateway) {
    let mut client = gateway.connect();
    for index in 0..KNOWN {
        client.send(asks(&format!("/p/p{index}/x")));
        assert_eq!(client.response().status(), 200);
    }
}

fn scrape(gateway: &Gateway, over: &AtomicBool) {
    let mut client = gateway.connect().without_record();
    while !over.load(Ordering::SeqCst) {
        client.send("GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
}

// A large configuration, read again and again.

fn large(provider: &Provider) -> String {
    let mut toml = "[log]\naccess = false\n[auth]\nkeys_file = \"keys.toml\"\n".to_owned();
    for index in 0..50 {
        table(&mut toml, &format!("p{index}"), &provider.url());
        table(
            &mut toml,
            &format!("q{index}"),
            &format!("https://q{index}.invalid"),
        );
    }
    toml
}

fn keys() -> String {
    let mut keys = String::new();
    for index in 0..10_000 {
        let _ = write!(
            keys,
            "[[key]]\nid = \"id{index}\"\nsha256 = \"{index:08x}{:056x}\"\n",
            0
        );
    }
    keys
}

fn with_keys(setup: Setup) -> Gateway {
    setup.file("keys.toml", &keys()).start()
}

fn read_again(gateway: &Gateway, over: &AtomicBool) {
    let mut reloads = 0;
    while !over.load(Ordering::SeqCst) {
        let path = gateway.setup().dir().join("keys.toml");
        fs::write(path, format!("{}# {reloads}\n", keys())).unwrap();
        gateway.signal(Signal::HUP);
        let begin = Instant::now();
        while !gateway
            .take_log()
            .iter()
            .any(|line| line.contains("configuration reloaded"))
        {
            thread::sleep(Duration::from_millis(1));
            assert!(begin.elapsed() < PATIENCE, "it does not reload");
        }
        reloads += 1;
    }
    println!("({reloads} reloads)");
}

// Heads as large as they may be.

/// Between two pairs of them, so that they are no load for a whole core.
const REST: Duration = Duration::from_millis(5);

fn send_large_heads(gateway: &Gateway, over: &AtomicBool) {
    let mut head = format!("GET /p/probe/x HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n");
    for index in 0..90 {
        let _ = write!(head, "X-Field-{index}: {}\r\n", "v".repeat(700));
    }
    head.push_str("\r\n");
    assert!(head.len() > 63_000 && head.len() <= 65_536);
    let mut client = gateway.connect().without_record();
    while !over.load(Ordering::SeqCst) {
        client.send(&head);
        assert_eq!(client.response().status(), 200);
        for piece in head.as_bytes().chunks(1400) {
            client.send(piece);
        }
        assert_eq!(client.response().status(), 200);
        thread::sleep(REST);
    }
}

// Idle connections, whose times run out all at once.

/// Where so many descriptors are to be had.
const IDLE: u64 = 3000;

/// The limit of descriptors, as it was before: programs that other tests start inherit it.
struct Restored(Rlimit);

impl Drop for Restored {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.0);
    }
}

fn idle(gateway: &Gateway, over: &AtomicBool) {
    let limit = getrlimit(Resource::Nofile);
    let _before = Restored(limit);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let _ = setrlimit(Resource::Nofile, raised);
    let count = limit.maximum.map_or(IDLE, |most| IDLE.min(most / 4));
    while !over.load(Ordering::SeqCst) {
        let clients: Vec<TcpStream> = (0..count)
            .map(|_| TcpStream::connect_timeout(&gateway.addr(), PATIENCE).unwrap())
            .collect();
        for client in &clients {
            let mut ended = [PollFd::new(client, PollFlags::IN)];
            let patience = PATIENCE.try_into().unwrap();
            assert_eq!(poll(&mut ended, Some(&patience)).unwrap(), 1);
        }
    }
    println!("({count} connections at once)");
}
