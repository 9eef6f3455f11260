//! A limit on requests at once holds for the processes of an upgrade together.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::metrics::wait_metrics;
use crate::support::queue::{ADMITTED, WAITING, answer, waits};
use crate::support::{
    Gateway, PATIENCE, Scripted, Setup, Upstream, Wire, get, ok, request, response,
};

fn toml(url: &str, lines: &str) -> String {
    format!("[metrics]\nenabled = true\n[providers.vllm]\nbase_url = \"{url}/v1\"\n{lines}\n")
}

fn start(upstream: &Upstream, lines: &str) -> Gateway {
    Setup::new().toml(&toml(&upstream.url(), lines)).start()
}

fn of(session: &str) -> String {
    request(
        "GET",
        "/p/vllm/models",
        &[&format!("session-id: {session}")],
        "",
    )
}

/// A request that is at the provider.
#[track_caller]
fn held(gateway: &Gateway, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = gateway.connect();
    client.send(of("held"));
    (client, taken(upstream))
}

#[track_caller]
fn taken(upstream: &Upstream) -> Wire {
    let mut peer = upstream.accept();
    peer.request();
    peer
}

/// Has the newest process read this, and waits until that is in force.
#[track_caller]
fn reload(gateway: &Gateway, pid: Pid, toml: &str) {
    fs::write(gateway.setup().dir().join("sluicegate.toml"), toml).unwrap();
    let count = || gateway.log().matches("configuration reloaded").count();
    let before = count();
    kill_process(pid, Signal::HUP).unwrap();
    until(|| count() > before);
}

#[track_caller]
fn until(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < PATIENCE, "it does not come to that");
        thread::yield_now();
    }
}

/// The listening sockets of a gateway, as their descriptors are called.
fn listeners(gateway: &Gateway) -> Vec<String> {
    let port = format!(":{:04X}", gateway.addr().port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let listening = rows.filter(|row| row[1].ends_with(&port) && row[3] == "0A");
    listening
        .map(|row| format!("socket:[{}]", row[9]))
        .collect()
}

/// Has a process of the gateway succeeded by the next; whoever connects from now on reaches that.
#[track_caller]
fn succeed(gateway: &Gateway, pid: Pid, nth: usize) -> Pid {
    let listeners = listeners(gateway);
    assert!(!listeners.is_empty());
    kill_process(pid, Signal::USR2).unwrap();
    let successor = gateway.successor(nth);
    until(|| {
        let open = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
        let open = open
            .into_iter()
            .flatten()
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let mut open = open.map(|behind| behind.display().to_string());
        !open.any(|behind| listeners.contains(&behind))
    });
    successor
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let closed = self
            .opened
            .wait_while(self.open.lock().unwrap(), |open| !*open);
        drop(closed.unwrap());
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// A provider that begins its answers at once and ends them when the gate is open.
struct Gated {
    at: Scripted,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Gated {
    fn start(gate: &Arc<Gate>) -> Self {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, counts) = (gate.clone(), (now.clone(), most.clone()));
        let at = Scripted::start(move |wire, _| {
            let (now, most) = &counts;
            while wire.try_request().is_ok() {
                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                let begun = wire
                    .try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
                gate.pass();
                // Others come meanwhile.
                (0..300).for_each(|_| thread::yield_now());
                now.fetch_sub(1, Ordering::SeqCst);
                if begun.is_err() || wire.try_send("3\r\nend\r\n0\r\n\r\n").is_err() {
                    return;
                }
            }
        });
        Self { at, now, most }
    }
}

/// Thirty clients with four requests each, an upgrade amid them, and as many again: so many are at each provider, and never
/// more.
fn upgrade_amid_many(toml: impl FnOnce(&[Gated]) -> String, limits: &[usize]) {
    let gate = Arc::new(Gate::default());
    let all: Vec<_> = limits.iter().map(|_| Gated::start(&gate)).collect();
    let mut gateway = { Setup::new().toml(&toml(&all)) }
        .env("SLUICEGATE_WORKERS", "3")
        .start();
    let counts = |of: fn(&Gated) -> &AtomicUsize| -> Vec<usize> {
        all.iter()
            .map(|one| of(one).load(Ordering::SeqCst))
            .collect()
    };
    let together = limits.iter().sum::<usize>() as f64;
    thread::scope(|scope| {
        let client = |number: usize| {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut kept: Option<Wire> = None;
                for _ in 0..4 {
                    let mut wire = kept.take().unwrap_or_else(|| gateway.connect());
                    wire.send(of(&number.to_string()));
                    let got = wire.response();
                    assert_eq!((got.status(), got.text().as_str()), (200, "oneend"));
                    kept = (got.value("connection") != Some("close")).then_some(wire);
                }
            });
        };
        (0..30).for_each(client);
        wait_metrics(
            &gateway,
            &[(ADMITTED, together), (WAITING, 30.0 - together)],
        );
        succeed(&gateway, gateway.pid(), 0);
        (30..45).for_each(client);
        // They wait in the new process: all of the limit is in the old one.
        wait_metrics(&gateway, &[(ADMITTED, 0.0), (WAITING, 15.0)]);
        assert_eq!(counts(|it| &it.now), limits);
        gate.open();
    });
    assert_eq!(counts(|it| &it.most), limits);
    assert_eq!(gateway.wait_succeeded(), Some(0));
    wait_metrics(&gateway, &[(ADMITTED, 0.0), (WAITING, 0.0)]);
}

const QUEUE: &str = "queue = { length = 200, wait = \"5m\" }";

#[test]
fn never_more_than_the_limit_are_at_the_provider_of_both_processes() {
    let lines = format!("concurrency = 4\n{QUEUE}");
    upgrade_amid_many(|all| toml(&all[0].at.url(), &lines), &[4]);
}

#[test]
fn never_more_than_its_limit_are_at_an_instance_of_both_processes() {
    let instance = |one: &Gated, limit: usize| {
        let url = one.at.url();
        format!("[[providers.vllm.instance]]\nbase_url = \"{url}/v1\"\nconcurrency = {limit}\n")
    };
    let toml = |all: &[Gated]| {
        let instances = [instance(&all[0], 3), instance(&all[1], 1)].concat();
        format!("[metrics]\nenabled = true\n[providers.vllm]\n{QUEUE}\n{instances}")
    };
    upgrade_amid_many(toml, &[3, 1]);
}

#[test]
fn where_the_old_process_is_killed_all_of_the_limit_is_in_the_new_one() {
    let upstream = Upstream::listen();
    old_is_killed(&upstream, &toml(&upstream.url(), "concurrency = 2"));
}

#[test]
fn where_the_old_process_is_killed_an_instance_takes_as_many_as_ever() {
    let (upstream, unused) = (Upstream::listen(), Upstream::listen());
    let toml = format!(
        "[metrics]\nenabled = true\n\
         [[providers.vllm.instance]]\nbase_url = \"{}/v1\"\nconcurrency = 2\n\
         [[providers.vllm.instance]]\nbase_url = \"{}/v1\"\nweight = 0\n",
        upstream.url(),
        unused.url()
    );
    old_is_killed(&upstream, &toml);
}

/// Two requests are let in, three wait in the successor, and the old process is killed.
fn old_is_killed(upstream: &Upstream, toml: &str) {
    let mut gateway = Setup::new().toml(toml).start();
    let old = [held(&gateway, upstream), held(&gateway, upstream)];
    succeed(&gateway, gateway.pid(), 0);
    let mut clients = [
        waits(&gateway, of("waits"), 1),
        waits(&gateway, of("waits"), 2),
        waits(&gateway, of("waits"), 3),
    ];
    assert!(!upstream.has_connection());
    gateway.signal(Signal::KILL);
    gateway.wait_succeeded();
    let peers = [taken(upstream), taken(upstream)];
    wait_metrics(&gateway, &[(ADMITTED, 2.0), (WAITING, 1.0)]);
    assert!(!upstream.has_connection());
    drop(old);
    // Whichever of them was first.
    let mut all = clients.each_mut().into_iter();
    for (peer, client) in peers.into_iter().zip(all.by_ref()) {
        answer(peer, client);
    }
    let last = all.next().unwrap();
    answer(taken(upstream), last);
}

#[test]
fn a_late_request_to_the_old_process_is_served_though_the_new_one_has_all_of_the_limit() {
    let (upstream, other) = (Upstream::listen(), Upstream::listen());
    let lines = format!(
        "concurrency = 1\n[providers.openai]\nbase_url = \"{}/v1\"\napi_key = \"sk-other\"",
        other.url()
    );
    let setup = Setup::new().secret("sk-other");
    let mut gateway = setup.toml(&toml(&upstream.url(), &lines)).start();
    // Keeps the old process from its end.
    let mut stream = gateway.connect();
    stream.send(get("/p/openai/models"));
    let mut of_stream = taken(&other);
    let mut idle = gateway.connect();
    idle.send(of("idle"));
    let mut peer = taken(&upstream);
    peer.send(response("200 OK", &["Connection: close"], "first"));
    assert_eq!(idle.response().text(), "first");
    succeed(&gateway, gateway.pid(), 0);
    let (mut client, peer) = held(&gateway, &upstream);
    idle.send(of("idle"));
    // Its turn comes with the end of the one that is under way in the new process.
    let mut behind = waits(&gateway, of("waits"), 1);
    assert!(!upstream.has_connection());
    answer(peer, &mut client);
    for _ in 0..2 {
        let mut peer = taken(&upstream);
        assert!(!upstream.has_connection());
        peer.send(response("200 OK", &["Connection: close"], "late"));
    }
    for client in [&mut idle, &mut behind] {
        assert_eq!(client.response().text(), "late");
    }
    of_stream.send(ok("end"));
    assert_eq!(stream.response().text(), "end");
    assert_eq!(gateway.wait_succeeded(), Some(0));
}

#[test]
fn reloads_of_the_new_process_do_not_forget_what_is_in_the_old_one() {
    let upstream = Upstream::listen();
    let mut gateway = start(&upstream, "concurrency = 2");
    let (mut old_client, old_peer) = held(&gateway, &upstream);
    let new = succeed(&gateway, gateway.pid(), 0);
    let toml = |lines: &str| toml(&upstream.url(), lines);
    reload(&gateway, new, &toml("concurrency = 1"));
    let mut one = waits(&gateway, of("waits"), 1);
    reload(&gateway, new, &toml("concurrency = 3"));
    let peer_of_one = taken(&upstream);
    let (mut two, peer_of_two) = held(&gateway, &upstream);
    let mut three = waits(&gateway, of("waits"), 1);
    assert!(!upstream.has_connection());
    answer(peer_of_one, &mut one);
    answer(taken(&upstream), &mut three);
    answer(peer_of_two, &mut two);
    // Taken away and set again, it is another limit of the same name.
    reload(&gateway, new, &toml(""));
    reload(&gateway, new, &toml("concurrency = 1"));
    let mut four = waits(&gateway, of("waits"), 1);
    assert!(!upstream.has_connection());
    answer(old_peer, &mut old_client);
    answer(taken(&upstream), &mut four);
    assert_eq!(gateway.wait_succeeded(), Some(0));
}

#[test]
fn three_processes_share_it_too() {
    let upstream = Upstream::listen();
    let mut gateway = start(&upstream, "concurrency = 2");
    let (mut old_client, old_peer) = held(&gateway, &upstream);
    let second = succeed(&gateway, gateway.pid(), 0);
    let (mut client, peer) = held(&gateway, &upstream);
    succeed(&gateway, second, 1);
    let (mut one, mut two) = (
        waits(&gateway, of("waits"), 1),
        waits(&gateway, of("waits"), 2),
    );
    assert!(!upstream.has_connection());
    // What the first gives goes through the second.
    answer(old_peer, &mut old_client);
    answer(taken(&upstream), &mut one);
    let of_two = taken(&upstream);
    assert_eq!(gateway.wait_succeeded(), Some(0));
    let mut three = waits(&gateway, of("waits"), 1);
    assert!(!upstream.has_connection());
    answer(peer, &mut client);
    answer(taken(&upstream), &mut three);
    answer(of_two, &mut two);
    wait_metrics(&gateway, &[(ADMITTED, 0.0), (WAITING, 0.0)]);
}

#[test]
fn a_successor_that_cannot_start_leaves_the_limit_where_it_is() {
    let upstream = Upstream::listen();
    let gateway = start(&upstream, "concurrency = 2");
    let (mut client, peer) = held(&gateway, &upstream);
    fs::write(
        gateway.setup().dir().join("sluicegate.toml"),
        "[nonsense]\n",
    )
    .unwrap();
    gateway.signal(Signal::USR2);
    gateway.wait_log(|line| line.contains("the successor did not start"));
    let (mut other, of_other) = held(&gateway, &upstream);
    answer(peer, &mut client);
    answer(of_other, &mut other);
}

#[test]
fn where_the_queue_has_no_place_a_request_waits_for_what_is_in_the_old_process() {
    let upstream = Upstream::listen();
    let mut gateway = start(&upstream, "concurrency = 1\nqueue = { length = 0 }");
    let (mut old_client, old_peer) = held(&gateway, &upstream);
    succeed(&gateway, gateway.pid(), 0);
    let mut one = waits(&gateway, of("waits"), 1);
    let mut full = gateway.connect();
    full.send(of("full"));
    assert!(full.response().text().contains("queue_full"));
    answer(old_peer, &mut old_client);
    answer(taken(&upstream), &mut one);
    assert_eq!(gateway.wait_succeeded(), Some(0));
}
