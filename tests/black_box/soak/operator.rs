//! The operator: reloads, also with a broken file, changes keys and certificates, restarts
//! providers, reads the log, asks for health and metrics.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::client::rotating_key;
use super::moving::{ADDRESS_AGE, MOVING, Mover};
use super::own::DENY;
use super::pool::{self, POOLS, STATIONS};
use super::port::{ALL, DENYING, Port};
use super::random::{Random, mix};
use super::unusual::HEAD_TIMEOUT;
use super::world::{SECRET, World};
use crate::support::tls::pki;
use crate::support::{Gateway, Wire};

/// Writes the configuration of this revision.
pub(crate) fn write_configuration(dir: &Path, ports: &[Port], revision: u64) {
    write(dir, "keys.toml", &keys(revision));
    let identity = match revision % 2 {
        0 => &pki().server,
        _ => &pki().renewed,
    };
    write(dir, "cert.pem", &identity.cert);
    write(dir, "key.pem", &identity.key);
    write(dir, "sluicegate.toml", &configuration(ports, revision));
}

/// No reader may see half of it, nor take it for a file that is being written: what was renamed in the
/// very tick of the file system's clock in which it was written looks like one.
fn write(dir: &Path, name: &str, content: &str) {
    let new = dir.join("new");
    fs::write(&new, content).unwrap();
    let ticked = || {
        let found = fs::metadata(&new).unwrap();
        fs::set_permissions(&new, found.permissions()).unwrap();
        let found = fs::metadata(&new).unwrap();
        (found.ctime(), found.ctime_nsec()) > (found.mtime(), found.mtime_nsec())
    };
    while !ticked() {
        thread::yield_now();
    }
    fs::rename(&new, dir.join(name)).unwrap();
}

fn configuration(ports: &[Port], revision: u64) -> String {
    let mut toml = format!(
        "[auth]\nkeys_file = \"keys.toml\"\n[metrics]\nenabled = true\n\
         [timeouts]\nrequest_header = {}\nbody_idle = 30\nidle_client = 60\n\
         [upstream]\naddress_age = \"{}ms\"\n",
        HEAD_TIMEOUT.as_secs(),
        ADDRESS_AGE.as_millis()
    );
    // Comes and goes, so that every other provider changes its place.
    if revision % 3 == 1 {
        toml.push_str("[providers.aardvark]\ntype = \"vllm\"\nbase_url = \"http://127.0.0.1:1\"\n");
    }
    for (index, provider) in ALL.iter().enumerate() {
        let scheme = if provider.tls { "https" } else { "http" };
        let idle = 1 + index % 2;
        let url = |port: &Port| format!("{scheme}://{}:{}/base", port.host, port.addr.port());
        let urls: Vec<String> = ports[pool::stations(index)].iter().map(url).collect();
        toml.push_str(&format!(
            "[providers.{}]\ntype = \"{}\"\n{}\
             headers = {{ X-Revision = \"{revision}\" }}\nidle_upstream = {idle}\n",
            provider.name,
            provider.kind,
            pool::lines(index, revision, &urls),
        ));
        if index == DENYING {
            toml.push_str(DENY);
        }
    }
    toml
}

/// A key that comes with this revision, and the one that goes with it.
fn keys(revision: u64) -> String {
    let mut toml = String::new();
    for revision in [revision.checked_sub(1), Some(revision)]
        .into_iter()
        .flatten()
    {
        let digest = aws_lc_rs::digest::digest(
            &aws_lc_rs::digest::SHA256,
            rotating_key(revision).as_bytes(),
        );
        let hex: String = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        toml.push_str(&format!(
            "[[key]]\nid = \"k{revision}\"\nsha256 = \"{hex}\"\n"
        ));
    }
    toml
}

/// What the gateway says and holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) resident_kib: u64,
    pub(crate) descriptors: usize,
    pub(crate) in_flight: u64,
    pub(crate) open: u64,
    pub(crate) panics: u64,
    pub(crate) retries: u64,
    /// Requests under way at the instances of providers that have several.
    pub(crate) at_instances: u64,
    /// Requests that have a place at a provider with a limit, or wait for one.
    pub(crate) queued: u64,
}

/// See the module's documentation.
pub(crate) struct Operator<'a> {
    world: &'a World,
    gateway: &'a Gateway,
    ports: &'a [Port],
    random: Random,
    /// The last lines of the log.
    tail: Vec<String>,
    errors_expected: usize,
    errors: usize,
    reloads: usize,
    /// A port where nobody listens.
    down: Option<usize>,
    pub(crate) peak: Figures,
}

/// Log lines kept for a report.
const TAIL: usize = 10;

impl<'a> Operator<'a> {
    pub(crate) fn new(world: &'a World, gateway: &'a Gateway, ports: &'a [Port]) -> Self {
        Self {
            world,
            gateway,
            ports,
            random: Random::new(mix(world.seed) ^ u64::MAX),
            tail: Vec::new(),
            errors_expected: 0,
            errors: 0,
            reloads: 0,
            down: None,
            peak: Figures::default(),
        }
    }

    /// Works until the time is over or something failed.
    pub(crate) fn run(&mut self, time: Duration, mut mover: Option<Mover<'_>>) {
        let begin = Instant::now();
        let (mut reload, mut restart, mut trouble) = (begin, begin, begin);
        while begin.elapsed() < time && !self.world.is_over() {
            let now = Instant::now();
            if reload <= now {
                reload = now + self.within(300, 1500);
                self.reload();
            }
            if restart <= now {
                restart = now + self.within(200, 1500);
                self.restart();
            }
            if trouble <= now {
                trouble = now + self.within(300, 1500);
                self.trouble();
            }
            if let Some(mover) = &mut mover {
                mover.turn();
            }
            self.read_log();
            self.world.ledger.purge();
            let figures = self.figures();
            self.peak.resident_kib = self.peak.resident_kib.max(figures.resident_kib);
            self.peak.descriptors = self.peak.descriptors.max(figures.descriptors);
            self.peak.in_flight = self.peak.in_flight.max(figures.in_flight);
            self.peak.open = self.peak.open.max(figures.open);
            self.rest();
        }
    }

    /// Restarts somebody, but for the one that moves, which has no bad times but those of its
    /// addresses, and for those of whose instances one is down already.
    fn restart(&mut self) {
        let station = self.random.below(STATIONS);
        let (provider, _) = pool::at(station);
        let is_down = self.down.is_some_and(|down| pool::at(down).0 == provider);
        if provider != MOVING && !is_down {
            self.ports[station].restart();
        }
    }

    /// One instance of many listens no more for a while, and another one takes nothing, which may be
    /// the same provider's.
    fn trouble(&mut self) {
        let stations = pool::stations(POOLS.start).start..pool::stations(POOLS.end - 1).end;
        if let Some(down) = self.down.take() {
            self.ports[down].open();
        } else {
            let down = stations.start + self.random.below(stations.len());
            self.take_down(down);
        }
        for busy in &self.world.busy {
            busy.store(false, Ordering::SeqCst);
        }
        if self.random.percent(70) {
            let busy = stations.start + self.random.below(stations.len());
            self.world.busy[busy].store(true, Ordering::SeqCst);
            self.world.count("instances that took nothing for a while");
        }
    }

    /// Nobody listens there from now on, unless another of its provider's instances is down.
    fn take_down(&mut self, station: usize) {
        let (provider, _) = pool::at(station);
        let settled = pool::stations(provider).all(|one| self.ports[one].is_settled());
        if settled && self.world.epoch(provider).is_multiple_of(2) {
            self.ports[station].close();
            self.world
                .count("instances where nobody listened for a while");
            self.down = Some(station);
        }
    }

    /// Rests, and notes by how much longer than it wanted to: what the machine adds to every time.
    fn rest(&self) {
        let (begin, rest) = (Instant::now(), Duration::from_millis(50));
        thread::sleep(rest);
        self.world
            .time("the machine is late", begin.elapsed().saturating_sub(rest));
    }

    fn within(&mut self, least: usize, most: usize) -> Duration {
        Duration::from_millis((least + self.random.below(most - least)) as u64)
    }

    fn reload(&mut self) {
        let dir = self.gateway.setup().dir();
        let latest = self.world.latest.load(Ordering::SeqCst);
        // What was reloaded a while ago has reached every worker.
        self.world.floor.store(latest, Ordering::SeqCst);
        if self.random.percent(25) {
            let broken = match self.random.below(3) {
                0 => "[providers.alpha\n".to_owned(),
                1 => configuration(self.ports, latest) + "[nowhere]\nx = 1\n",
                _ => String::from_utf8_lossy(&self.random.next().to_le_bytes()).into_owned() + "\0",
            };
            write(dir, "sluicegate.toml", &broken);
            self.errors_expected += 1;
            self.gateway.signal(Signal::HUP);
            self.wait_log(
                |operator| operator.errors == operator.errors_expected,
                "no error line",
            );
            write(dir, "sluicegate.toml", &configuration(self.ports, latest));
            self.world.count("reloads of a broken configuration");
            return;
        }
        let revision = latest + u64::from(self.random.percent(70));
        self.world.latest.store(revision, Ordering::SeqCst);
        write_configuration(dir, self.ports, revision);
        let seen = self.reloads;
        self.gateway.signal(Signal::HUP);
        self.wait_log(|operator| operator.reloads > seen, "no word of a reload");
        self.world.count(match revision == latest {
            true => "reloads without a change",
            false => "reloads with new keys and certificates",
        });
    }

    fn wait_log(&mut self, done: impl Fn(&Self) -> bool, otherwise: &str) {
        let begin = Instant::now();
        while !done(self) {
            if begin.elapsed() > Duration::from_secs(10) {
                self.world.fail(otherwise.to_owned());
                return;
            }
            thread::sleep(Duration::from_millis(2));
            self.read_log();
        }
    }

    /// Looks at what the gateway wrote: no secret, no error but those that were provoked.
    pub(crate) fn read_log(&mut self) {
        for line in self.gateway.take_log() {
            if line.contains(SECRET) {
                self.world.fail(format!("a secret in the log: {line}"));
            }
            if line.contains("panick") || line.contains("log lines lost") {
                self.world.fail(line.clone());
            }
            if line.contains("\"level\":\"error\"") {
                self.errors += 1;
                if !line.contains("the new configuration is broken") {
                    self.world.fail(format!("an error in the log: {line}"));
                }
            }
            if line.contains("configuration reloaded") {
                self.reloads += 1;
            }
            if line.contains("\"warn\"") {
                self.world.count("warnings in the log");
            }
            if line.contains("\"path\":\"/health\"") || line.contains("\"path\":\"/metrics\"") {
                continue;
            }
            if self.tail.len() == TAIL {
                self.tail.remove(0);
            }
            self.tail.push(line);
        }
    }

    pub(crate) fn tail(&self) -> String {
        self.tail.join("\n")
    }

    /// Asks for the metrics, which also shows that a worker answers.
    pub(crate) fn figures(&self) -> Figures {
        let begin = Instant::now();
        let mut wire = self.world.connect();
        let text = scrape(&mut wire);
        wire.close();
        self.world
            .time("health and metrics answered", begin.elapsed());
        Figures {
            resident_kib: self.gateway.resident_kib(),
            descriptors: self.gateway.descriptors().len(),
            in_flight: metric(&text, "sluicegate_requests_in_flight"),
            open: metric(&text, "sluicegate_client_connections_open"),
            panics: metric(&text, "sluicegate_panics_total"),
            retries: metric(&text, "sluicegate_upstream_retries_total"),
            at_instances: metric(&text, "sluicegate_upstream_instance_requests_in_flight"),
            queued: metric(&text, "sluicegate_upstream_queue_requests"),
        }
    }
}

fn scrape(wire: &mut Wire) -> String {
    for path in ["/health", "/metrics"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: gateway\r\n\r\n"));
        let answer = wire.response();
        assert_eq!(answer.status(), 200, "{path}");
        if path == "/metrics" {
            return answer.text();
        }
    }
    String::new()
}

fn metric(text: &str, name: &str) -> u64 {
    assert!(
        text.contains(&format!("# TYPE {name} ")),
        "no {name} in {text}"
    );
    // One line, or one per provider, instance or state.
    let ours = text.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    let numbers = ours.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()));
    numbers
        .sum::<Option<u64>>()
        .unwrap_or_else(|| panic!("{name} is no number in {text}"))
}
