//! The fault matrix: every stage of an exchange × every fault × the side it comes from × TLS on
//! either side.
//!
//! Each cell says what the client and the provider see; behind each the next exchanges have to be
//! right, and behind the whole table the gateway has as many descriptors and as much memory as
//! before. What ends by a time limit is the table of the limits: each is a few seconds there, on a
//! gateway of its own.

mod client;
mod notice;
mod response;
mod script;
mod stage;
mod upstream;
mod verdict;

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use rustix::net::listen;
use rustix::process::Signal;
use rustls::ClientConfig;

use crate::support::ports::{addr, bound};
use crate::support::tls::{client_config, pki, server_config};
use crate::support::{ALL_SIDES, Gateway, PATIENCE, Setup, Sides, Upstream, company, get};

use script::Limit;
use stage::{Cell, Lane};

/// Cells that are played at a time; all of them where all wait for a limit.
const LANES: usize = 4;
/// The limit that a cell needs. On a busy machine an exchange takes a while to get to its place, and the limit must not
/// strike before.
const LIMIT_SECONDS: u64 = 3;
/// What one pass over the table may leave behind.
const GROWTH_KIB: u64 = 512;
/// Passes of which one has to leave less than that.
const PASSES_MAX: usize = 4;

/// Every cell that exists with TLS on these sides, by the limit that it needs.
fn cells(sides: Sides) -> BTreeMap<Option<Limit>, Vec<Cell>> {
    let mut cells: BTreeMap<_, Vec<Cell>> = BTreeMap::new();
    let tables = [upstream::PLACES, response::PLACES, client::PLACES];
    for place in tables.into_iter().flatten() {
        for (faults, seen, met) in place.cells {
            for fault in *faults {
                let cell = Cell {
                    place,
                    fault: *fault,
                    seen: *seen,
                    met: *met,
                };
                if cell.exists_on(sides) {
                    cells.entry(cell.limit()).or_default().push(cell);
                }
            }
        }
    }
    cells
}

/// A gateway, a provider for each lane, and providers that nobody reaches.
struct Bench {
    gateway: Gateway,
    tls: Option<Arc<ClientConfig>>,
    upstreams: Vec<Upstream>,
    _unreachable: [OwnedFd; 2],
    _filling: TcpStream,
}

impl Bench {
    fn start(sides: Sides, limit: Option<Limit>, lanes: usize) -> Self {
        let upstreams: Vec<Upstream> = (0..lanes)
            .map(|_| match sides.upstream {
                true => Upstream::listen_tls(server_config(&pki().server)),
                false => Upstream::listen(),
            })
            .collect();
        // One that does not read is full then and stays so; a window grows of itself else.
        upstreams.iter().for_each(Upstream::narrow);
        let (refusing, full) = (bound(), bound());
        listen(&full, 0).unwrap();
        let filling = TcpStream::connect(addr(&full)).unwrap();
        let scheme = if sides.upstream { "https" } else { "http" };
        let mut toml = timeouts(limit);
        let mut provider = |name: &str, url: &str| {
            let idle = match limit {
                Some(Limit::IdleUpstream) => LIMIT_SECONDS,
                _ => 60,
            };
            toml.push_str(&format!(
                "[providers.{name}]\ntype = \"openai\"\nbase_url = \"{url}/v1\"\n\
                 api_key = \"sk-lane\"\nidle_upstream = {idle}\n"
            ));
        };
        for (index, upstream) in upstreams.iter().enumerate() {
            provider(&format!("lane{index}"), &upstream.url());
        }
        // No label is as long as this: the resolver says so without asking the network.
        let nowhere = "x".repeat(64);
        provider("nowhere", &format!("{scheme}://{nowhere}.invalid"));
        provider("refusing", &format!("{scheme}://{}", addr(&refusing)));
        provider("full", &format!("{scheme}://{}", addr(&full)));
        let setup = Setup::new().toml(&toml);
        let config = || Arc::new(client_config(rustls::ALL_VERSIONS));
        Self {
            gateway: if sides.client { setup.tls() } else { setup }.start(),
            tls: sides.client.then(config),
            upstreams,
            _unreachable: [refusing, full],
            _filling: filling,
        }
    }

    fn lane(&self, index: usize) -> Lane<'_> {
        Lane {
            gateway: &self.gateway,
            tls: self.tls.as_ref(),
            upstream: &self.upstreams[index],
            name: format!("lane{index}"),
        }
    }

    /// Plays all cells, a few at a time; says of each that failed how it did.
    fn pass(&self, cells: &[Cell]) -> Vec<String> {
        let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for index in 0..self.upstreams.len() {
                let lane = self.lane(index);
                let (next, failures) = (&next, &failures);
                scope.spawn(move || {
                    while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let played = catch_unwind(AssertUnwindSafe(|| lane.play(cell)));
                        if let Err(panic) = played {
                            let why = panic.downcast_ref::<String>().cloned();
                            let why = why.unwrap_or_default();
                            failures.lock().unwrap().push(format!("{cell}\n    {why}"));
                            // The next cell must not meet its remains.
                            while lane.upstream.has_connection() {
                                drop(lane.upstream.accept());
                            }
                        }
                    }
                });
            }
        });
        failures.into_inner().unwrap()
    }

    /// The descriptors that the gateway has open with one connection. While it is starting it may
    /// have others for a moment: the lowest of a few counts is right.
    fn descriptors_at_rest(&self) -> Vec<String> {
        let mut client = match &self.tls {
            None => self.gateway.connect(),
            Some(tls) => self.gateway.connect_tls(tls),
        };
        let counts = (0..10).map(|_| {
            client.send(get("/p/nowhere/x"));
            assert_eq!(client.response().status(), 502);
            self.gateway.descriptors()
        });
        counts.min_by_key(Vec::len).unwrap_or_default()
    }

    /// Waits until the gateway has open what it has at rest, but for the one connection there.
    #[track_caller]
    fn expect_descriptors(&self, at_rest: &[String]) {
        let until = Instant::now() + PATIENCE;
        loop {
            let open = self.gateway.descriptors();
            if open.len() + 1 == at_rest.len() {
                return;
            }
            assert!(Instant::now() < until, "{open:?}, before {at_rest:?}");
            thread::yield_now();
        }
    }
}

/// Plays the cells of one limit, or of none: the first pass warms up, a later one leaves nothing. What
/// grows with every pass is a leak; what grows once is a peak that was not met before.
fn play(sides: Sides, limit: Option<Limit>, cells: &[Cell]) {
    let lanes = match limit {
        None => LANES,
        Some(_) => cells.len(),
    };
    let bench = Bench::start(sides, limit, lanes);
    let begin = Instant::now();
    let before = bench.descriptors_at_rest();
    let mut residents = Vec::new();
    while residents.len() < 2 || grown(&residents) > GROWTH_KIB {
        let pass = residents.len();
        assert!(pass < PASSES_MAX, "{sides:?}, {limit:?}: {residents:?} KiB");
        let failures = bench.pass(cells);
        assert!(failures.is_empty(), "{sides:?}:\n{}", failures.join("\n"));
        bench.expect_descriptors(&before);
        let now = bench.gateway.resident_kib();
        eprintln!(
            "{sides:?}, {limit:?}, pass {pass}: {} cells, {} descriptors, {now} KiB, {:?}",
            cells.len(),
            before.len() - 1,
            begin.elapsed()
        );
        residents.push(now);
    }
}

/// What the last pass left behind, in KiB.
fn grown(residents: &[u64]) -> u64 {
    match residents {
        [.., before, last] => last.saturating_sub(*before),
        _ => 0,
    }
}

/// Every limit is out of reach but one.
fn timeouts(limit: Option<Limit>) -> String {
    let name = match limit {
        None | Some(Limit::IdleUpstream) => return String::new(),
        Some(Limit::Connect) => "connect",
        Some(Limit::RequestHeader) => "request_header",
        Some(Limit::ResponseHeader) => "response_header",
        Some(Limit::IdleClient) => "idle_client",
        Some(Limit::BodyIdle) => "body_idle",
        Some(Limit::TunnelIdle) => "tunnel_idle",
        Some(Limit::Request) => "request",
        Some(Limit::Drain) => "drain",
    };
    let connect = match limit {
        Some(Limit::Drain) => "connect = 60\n",
        _ => "",
    };
    format!("[timeouts]\n{connect}{name} = {LIMIT_SECONDS}\n")
}

fn faults(sides: Sides) {
    play(sides, None, &cells(sides)[&None]);
}

fn limits(sides: Sides) {
    company::join();
    thread::scope(|scope| {
        for (limit, cells) in cells(sides) {
            match limit {
                None => {}
                Some(Limit::Drain) => drop(scope.spawn(move || drain(sides, &cells))),
                Some(_) => drop(scope.spawn(move || play(sides, limit, &cells))),
            }
        }
    });
}

/// Brings every cell to its place, then tells the gateway to end.
fn drain(sides: Sides, cells: &[Cell]) {
    let mut bench = Bench::start(sides, Some(Limit::Drain), cells.len());
    let lanes: Vec<Lane<'_>> = (0..cells.len()).map(|index| bench.lane(index)).collect();
    let pairs = lanes.iter().zip(cells);
    let mut scenes: Vec<_> = pairs.map(|(lane, cell)| lane.lead(cell)).collect();
    let told = Instant::now();
    bench.gateway.signal(Signal::TERM);
    for (scene, cell) in scenes.iter_mut().zip(cells) {
        let looked = catch_unwind(AssertUnwindSafe(|| scene.look(cell, told)));
        assert!(looked.is_ok(), "{sides:?}: {cell}");
    }
    drop(scenes);
    assert_eq!(bench.gateway.wait_exit(), Some(0));
    eprintln!("{sides:?}, Drain: {} cells", cells.len());
}

#[test]
fn every_fault_is_contained() {
    faults(ALL_SIDES[0]);
}

#[test]
fn every_fault_is_contained_with_tls_upstream() {
    faults(ALL_SIDES[1]);
}

#[test]
fn every_fault_is_contained_with_tls_towards_clients() {
    faults(ALL_SIDES[2]);
}

#[test]
fn every_fault_is_contained_with_tls_everywhere() {
    faults(ALL_SIDES[3]);
}

#[test]
fn every_stall_ends_in_time() {
    limits(ALL_SIDES[0]);
}

#[test]
fn every_stall_ends_in_time_with_tls_upstream() {
    limits(ALL_SIDES[1]);
}

#[test]
fn every_stall_ends_in_time_with_tls_towards_clients() {
    limits(ALL_SIDES[2]);
}

#[test]
fn every_stall_ends_in_time_with_tls_everywhere() {
    limits(ALL_SIDES[3]);
}
