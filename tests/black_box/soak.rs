//! Mixed traffic for a given time: every byte that anyone gets is compared with what has to come.
//!
//! One gateway, many clients, ten providers and an operator, on threads of their own. What happens
//! in an exchange is a function of its id (`plan`), so each side knows what the other must have
//! sent. For an hour, and with its figures shown:
//!
//! ```text
//! SLUICEGATE_SOAK_SECONDS=3600 SLUICEGATE_SOAK_SEED=7 \
//!     cargo test --release --test black_box soak -- --nocapture
//! ```
//!
//! Half of the time clients speak TLS, unless `SLUICEGATE_SOAK_LISTEN` says `plain` or `tls`.
//! `SLUICEGATE_TEST_DRIVER` picks the event loop, `SLUICEGATE_SOAK_CLIENTS` the number of clients,
//! `SLUICEGATE_SOAK_CLIENT` one of them, whose exchanges are the same as among the others.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it shows its figures, and its clients rest now and then: pauses are part of what is tested"
)]

mod client;
mod crowd;
mod judge;
mod moving;
mod operator;
mod own;
mod plan;
mod pool;
mod port;
mod provider;
mod random;
mod receive;
mod rests;
mod table;
mod text;
mod unread;
mod unusual;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use client::Client;
use moving::{MOVING, Mover};
use operator::{Figures, Operator, write_configuration};
use pool::STATIONS;
use port::{ALL, Port};
use world::World;

use crate::support::tls::client_config;
use crate::support::{Setup, company};

/// What the environment asks for.
struct Asked {
    time: Duration,
    seed: u64,
    clients: std::ops::Range<u64>,
    listen: Option<String>,
}

/// In a run that asks for nothing.
const SECONDS: u64 = 6;
const CLIENTS: u64 = 24;

/// What resident memory may grow by: buffers that the allocator keeps for the next peak.
const SLACK_KIB: u64 = 24 * 1024;

/// The longest rest of a client between two exchanges.
const REST: Duration = Duration::from_millis(12);

#[test]
fn what_arrives_is_what_was_sent() {
    let _alone = company::alone();
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap())
    };
    let asked = Asked {
        time: Duration::from_secs(number("SLUICEGATE_SOAK_SECONDS").unwrap_or(SECONDS)),
        seed: number("SLUICEGATE_SOAK_SEED").unwrap_or(1),
        clients: match number("SLUICEGATE_SOAK_CLIENT") {
            Some(one) => one..one + 1,
            None => 0..number("SLUICEGATE_SOAK_CLIENTS").unwrap_or(CLIENTS),
        },
        listen: std::env::var("SLUICEGATE_SOAK_LISTEN").ok(),
    };
    let sides = match asked.listen.as_deref() {
        Some("plain") => vec![false],
        Some("tls") => vec![true],
        _ => vec![false, true],
    };
    let time = asked.time / sides.len() as u32;
    for tls in sides {
        soak(&asked, time, tls);
    }
}

/// One gateway from its start to its end.
fn soak(asked: &Asked, time: Duration, tls: bool) {
    let moves = moving::is_possible();
    let ports = bind(moves);
    let setup = Setup::new()
        .env("SLUICEGATE_WORKERS", "2")
        .env("GOMODEL_MASTER_KEY", &client::stable_key());
    let setup = if tls { setup.tls() } else { setup };
    write_configuration(setup.dir(), &ports, 0);
    let mut gateway = match moves {
        true => setup.hosts(&moving::hosts(0)).start_with_hosts(),
        false => setup.start(),
    };
    let config = tls.then(|| Arc::new(client_config(rustls::ALL_VERSIONS)));
    let world = Arc::new(World::new(asked.seed, gateway.addr(), config));
    let over = Arc::new(AtomicBool::new(false));
    let servers: Vec<_> = ports
        .iter()
        .enumerate()
        .map(|(station, port)| port.serve(&world, station, &over))
        .collect();
    let mut operator = Operator::new(&world, &gateway, &ports);
    let before = baseline(&operator);
    let begin = Instant::now();
    thread::scope(|scope| {
        for index in asked.clients.clone() {
            let client = Client::new(&world, index);
            scope.spawn(move || client.run(REST));
        }
        let mover = moves.then(|| Mover::new(&world, &gateway, &ports));
        operator.run(time, mover);
        world.stop.store(true, Ordering::SeqCst);
    });
    let took = begin.elapsed();
    let after = let_go(&world, &operator, &before);
    world.silent.lock().unwrap().clear();
    let peak = operator.peak;
    operator.read_log();
    let mut tail = operator.tail();
    gateway.signal(Signal::TERM);
    let code = gateway.wait_exit();
    if code != Some(0) {
        world.fail(format!("exit code {code:?}"));
    }
    let mut operator = Operator::new(&world, &gateway, &ports);
    operator.read_log();
    tail.push_str(&operator.tail());
    over.store(true, Ordering::SeqCst);
    for server in servers {
        server.join().unwrap();
    }
    let listen = if tls { "TLS" } else { "plain" };
    if !moves {
        println!("\naddresses did not change: `unshare -rm` does not work here");
    }
    table::print(&world, listen, took, &[before, peak, after]);
    let failures = world.failures();
    assert!(
        failures.is_empty(),
        "the end of the log:\n{tail}\nseed {}, clients on {listen}:\n  FAILED: {}",
        asked.seed,
        failures.join("\n  FAILED: ")
    );
}

/// All providers' ports.
fn bind(moves: bool) -> Vec<Port> {
    let fixed = |provider: usize| match ALL[provider].tls {
        true => Port::bind("localhost"),
        false => Port::bind("127.0.0.1"),
    };
    let mut ports = Vec::new();
    for station in 0..STATIONS {
        match pool::at(station) {
            (MOVING, 0) => ports.extend(moving::bind(moves)),
            (MOVING, _) => {}
            (provider, _) => ports.push(fixed(provider)),
        }
    }
    ports
}

/// What it holds while nobody but the operator asks, whose last connection may still be ending. Asked
/// often enough that every worker has answered: one that has not begun holds nothing yet.
fn baseline(operator: &Operator<'_>) -> Figures {
    for _ in 0..ASKED_BEFORE {
        operator.figures();
    }
    loop {
        let figures = operator.figures();
        if figures.open == 1 {
            return figures;
        }
    }
}

/// Connections that are not all given to the same one of two workers.
const ASKED_BEFORE: usize = 20;

/// How long the gateway may take to let everything go: longer than any connection may idle.
const LETTING_GO: Duration = Duration::from_secs(20);

/// Waits until the gateway holds no more than before, memory excepted; what it then holds.
fn let_go(world: &World, operator: &Operator<'_>, before: &Figures) -> Figures {
    let begin = Instant::now();
    let holds = |figures: &Figures| {
        let requests = [figures.in_flight, figures.at_instances, figures.queued];
        (requests, figures.open, figures.descriptors)
    };
    let after = loop {
        let figures = operator.figures();
        if holds(&figures) == holds(before) || begin.elapsed() > LETTING_GO {
            break figures;
        }
        thread::sleep(Duration::from_millis(100));
    };
    if holds(&after) != holds(before) {
        world.fail(format!("still held: {after:?}, before: {before:?}"));
    }
    if after.resident_kib > before.resident_kib + SLACK_KIB {
        world.fail(format!("memory: {after:?}, before: {before:?}"));
    }
    if after.at_instances + after.queued > 0 {
        world.fail(format!("instances or places that are held: {after:?}"));
    }
    if after.in_flight > 0 {
        world.fail(format!("{} in flight, though all is over", after.in_flight));
    }
    if after.panics > 0 {
        world.fail(format!("{} panics", after.panics));
    }
    after
}
