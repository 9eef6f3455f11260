//! Plays one cell of the matrix: leads the exchange to its place, lets the fault strike, looks at
//! what both sides got, and asserts that the next exchanges are right.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde_json::Value;

use crate::support::{End, Gateway, KEY, Sides, Upstream, Wire, ok};

use super::script::{Fault, From, Limit, Met, NO_RECORD, On, Place, Seen, Stage, Step, Then, To};
use super::verdict::judge;

/// Tells "at once" from every time limit on a machine that does a lot else; `notice` measures how
/// soon it is.
const AT_ONCE: Duration = Duration::from_secs(4);
/// When a limit of three seconds may strike.
const LIMIT_AT_LEAST: Duration = Duration::from_millis(1500);
const LIMIT_AT_MOST: Duration = Duration::from_secs(12);

/// One fault at one place, and what it leads to.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    pub(super) place: &'static Place,
    pub(super) fault: Fault,
    pub(super) seen: Seen,
    pub(super) met: Met,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { stage, name, .. } = self.place;
        let (from, fault) = (self.place.from, self.fault);
        write!(f, "{stage:?}, {name}: {fault:?} from the {from:?}")
    }
}

impl Cell {
    /// Whether there is such a thing with TLS on these sides.
    pub(super) fn exists_on(&self, sides: Sides) -> bool {
        let place = match self.place.on {
            On::Any => true,
            On::TlsClient => sides.client,
            On::PlainUpstream => !sides.upstream,
            On::TlsUpstream => sides.upstream,
        };
        let tls = match self.place.from {
            From::Client => sides.client,
            From::Upstream => sides.upstream,
        };
        place && (tls || !matches!(self.fault, Fault::Vanish | Fault::BadRecord))
    }

    /// The limit that ends it.
    pub(super) fn limit(&self) -> Option<Limit> {
        match self.fault {
            Fault::Stall(limit) => Some(limit),
            _ => None,
        }
    }
}

/// A provider of its own for one thread, and the gateway before it.
pub(super) struct Lane<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) tls: Option<&'a Arc<ClientConfig>>,
    pub(super) upstream: &'a Upstream,
    pub(super) name: String,
}

/// The exchange that is under way.
pub(super) struct Scene<'a> {
    lane: &'a Lane<'a>,
    place: &'static Place,
    token: String,
    begun: Instant,
    /// What the client had received when the fault struck.
    received: usize,
    client: Option<Wire>,
    peer: Option<Wire>,
}

impl Lane<'_> {
    /// Plays a cell to its end.
    pub(super) fn play(&self, cell: &Cell) {
        let mut scene = self.lead(cell);
        let struck = Instant::now();
        scene.strike(cell.fault);
        if matches!(cell.met, Met::Again) {
            scene.peer = Some(self.upstream.accept());
            scene.asked();
            scene.peer().send(ok("again"));
        }
        let (kept, peer) = scene.look(cell, struck);
        self.go_on(kept, peer);
    }

    /// Brings an exchange to where the fault strikes.
    pub(super) fn lead(&self, cell: &Cell) -> Scene<'_> {
        let mut scene = Scene {
            lane: self,
            place: cell.place,
            token: token(),
            begun: Instant::now(),
            received: 0,
            client: Some(self.connect()),
            peer: None,
        };
        for step in cell.place.lead {
            scene.step(*step);
        }
        // A handshake that is to stay where it is must not go on with the first read.
        for wire in [&mut scene.client, &mut scene.peer].into_iter().flatten() {
            if wire.is_handshaking() {
                wire.below_tls();
            }
        }
        scene.received = scene.client().record().bytes().len();
        scene
    }

    /// Exchanges on the client's connection, if it should be there still, and on a new one: each
    /// has to be answered for itself, and on the provider's connection that should be there still.
    fn go_on(&self, kept: Option<Wire>, peer: Option<Wire>) {
        let clients = kept.into_iter().chain([self.connect()]);
        let last = clients.fold(peer, |peer, mut client| {
            Some(self.exchange(&mut client, peer))
        });
        assert!(!self.upstream.has_connection(), "a connection too many");
        if let Some(last) = last {
            last.close();
        }
    }

    fn exchange(&self, client: &mut Wire, peer: Option<Wire>) -> Wire {
        let token = token();
        client.send(self.head(&self.name, "GET", &token, "", "1.1"));
        let mut peer = peer.unwrap_or_else(|| self.upstream.accept());
        assert_eq!(peer.head().target(), format!("/v1/{token}"));
        peer.send(ok(&token));
        assert_eq!(client.response().text(), token, "another's answer");
        peer
    }

    fn connect(&self) -> Wire {
        match self.tls {
            None => self.gateway.connect(),
            Some(tls) => self.gateway.connect_tls(tls),
        }
    }

    fn head(
        &self,
        provider: &str,
        method: &str,
        token: &str,
        lines: &str,
        version: &str,
    ) -> String {
        format!(
            "{method} /p/{provider}/{token} HTTP/{version}\r\n\
             Host: gateway\r\nx-api-key: {KEY}\r\n{lines}\r\n"
        )
    }
}

/// A word that no other request holds.
fn token() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("x{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Scene<'_> {
    fn client(&mut self) -> &mut Wire {
        self.client.as_mut().unwrap()
    }

    fn peer(&mut self) -> &mut Wire {
        self.peer.as_mut().unwrap()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Handshake => self.client().handshake().unwrap(),
            Step::ClientRaw(bytes) => self.client().send_raw(bytes.as_bytes()),
            Step::Ask(method, lines) => self.ask(method, lines, "1.1"),
            Step::AskHttp10 => self.ask("GET", &[], "1.0"),
            Step::Client(bytes) => self.client().send(bytes),
            Step::ClientStuffs => {
                self.client().stuff();
            }
            Step::Accept => {
                let peer = self.lane.upstream.accept();
                peer.wait_readable();
                self.peer = Some(peer);
            }
            Step::Head => {
                if self.peer.is_none() {
                    self.peer = Some(self.lane.upstream.accept());
                }
                self.asked();
            }
            Step::Met(mark) => drop(self.peer().take_until(mark.as_bytes()).unwrap()),
            Step::Upstream(bytes) => self.peer().send(bytes),
            Step::UpstreamStuffs => {
                self.peer().stuff();
            }
            Step::Seen(mark) => drop(self.client().take_until(mark.as_bytes()).unwrap()),
            Step::Pooled => {
                self.peer = Some(self.lane.exchange(&mut self.lane.connect(), None));
            }
            Step::Exchanged => {
                let lane = self.lane;
                self.peer = Some(lane.exchange(self.client(), None));
            }
        }
    }

    fn ask(&mut self, method: &str, lines: &[&str], version: &str) {
        let provider = match self.place.to {
            To::Played => &self.lane.name,
            To::Nowhere => "nowhere",
            To::Refusing => "refusing",
            To::Full => "full",
        };
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let lane = self.lane;
        let head = lane.head(provider, method, &self.token, &lines, version);
        self.client().send(head);
    }

    /// Reads this exchange's own request head.
    fn asked(&mut self) {
        let target = format!("/v1/{}", self.token);
        assert_eq!(self.peer().head().target(), target);
    }

    fn strike(&mut self, fault: Fault) {
        let side = match self.place.from {
            From::Client => &mut self.client,
            From::Upstream => &mut self.peer,
        };
        let Some(mut wire) = side.take() else { return };
        match fault {
            Fault::Unreachable | Fault::Stall(_) => {}
            Fault::Reset => return wire.reset(),
            Fault::Close => return wire.close(),
            Fault::Vanish => return wire.truncate(),
            Fault::HalfClose => wire.half_close(),
            Fault::BadRecord => wire.send_raw(NO_RECORD.as_bytes()),
            Fault::Garbage(bytes) | Fault::Early(bytes) => wire.send(bytes),
        }
        *side = Some(wire);
    }

    /// Looks at what the fault that struck then led to; hands back the connections that go on.
    pub(super) fn look(&mut self, cell: &Cell, struck: Instant) -> (Option<Wire>, Option<Wire>) {
        let kept = self.see(cell.seen);
        let peer = self.meet(cell.met);
        let took = struck.elapsed();
        match cell.limit() {
            None => assert!(took < AT_ONCE, "it took {took:?}"),
            Some(_) => {
                assert!(
                    self.begun.elapsed() >= LIMIT_AT_LEAST,
                    "after {took:?} already"
                );
                assert!(took < LIMIT_AT_MOST, "after {took:?} only");
            }
        }
        (kept, peer)
    }

    /// What the client sees; its connection if that goes on.
    fn see(&mut self, seen: Seen) -> Option<Wire> {
        let mut client = self.client.take()?;
        match seen {
            Seen::Error(status, code, retry, then) => {
                let got = client.response();
                let body: Value = serde_json::from_slice(&got.body).unwrap();
                let hint = got.value("x-should-retry").map(|hint| hint == "true");
                let found = body["error"]["code"].as_str().unwrap();
                assert!(code.split('|').any(|code| code == found), "{found}");
                assert_eq!((got.status(), hint), (status, Some(retry)), "{found}");
                let closes = got.value("connection") == Some("close");
                assert_eq!(closes, then == Then::Closed, "{:?}", got.head.lines);
                return self.then(client, then);
            }
            Seen::Whole(status, Then::Kept) => {
                assert_eq!(client.response().status(), status);
                return self.then(client, Then::Kept);
            }
            Seen::Whole(status, Then::Closed) => {
                let (_, end) = client.take_all();
                let verdict = judge(From::Client, &client.record().bytes(), &end);
                assert_eq!((verdict.status, verdict.whole), (status, true), "{end:?}");
            }
            Seen::CutShort => {
                let (_, end) = client.take_all();
                let verdict = judge(From::Client, &client.record().bytes(), &end);
                assert!(!verdict.whole, "the client takes it for whole: {end:?}");
                let quiet = self.lane.tls.is_some() && end == End::Clean;
                assert!(!quiet, "close_notify behind a truncated message");
            }
            Seen::Nothing | Seen::Clean => {
                let (_, end) = client.take_all();
                let more = client.record().bytes().split_off(self.received);
                // An alert says no more of TLS than the end.
                let alert = self.place.stage == Stage::ClientHandshake && more.starts_with(b"\x15");
                assert!(
                    more.is_empty() || alert,
                    "{}",
                    String::from_utf8_lossy(&more)
                );
                assert!(
                    end == End::Clean || matches!(seen, Seen::Nothing),
                    "{end:?}"
                );
            }
            Seen::Kept => return Some(client),
        }
        None
    }

    /// Behind an answer: completes the request where the connection goes on, else awaits its end.
    fn then(&self, mut client: Wire, then: Then) -> Option<Wire> {
        if then == Then::Kept {
            client.send(self.place.rest);
            return Some(client);
        }
        let (rest, _) = client.take_all();
        assert_eq!(String::from_utf8_lossy(&rest), "", "behind the answer");
        None
    }

    /// What the provider sees; its connection if that goes on.
    fn meet(&mut self, met: Met) -> Option<Wire> {
        if matches!(met, Met::Untouched) {
            assert!(self.peer.is_none() && !self.lane.upstream.has_connection());
        }
        let mut peer = self.peer.take()?;
        if matches!(met, Met::Kept | Met::Again) {
            if matches!(met, Met::Kept) && !self.place.rest.is_empty() {
                peer.take_until(self.place.rest.as_bytes()).unwrap();
            }
            return Some(peer);
        }
        let (rest, end) = peer.take_all();
        let verdict = judge(From::Upstream, &peer.record().bytes(), &end);
        match met {
            Met::CutShort => assert!(!verdict.whole, "the provider takes it for whole: {end:?}"),
            Met::Ended => assert!(verdict.whole, "less than a whole request: {end:?}"),
            Met::Clean => assert_eq!((rest.as_slice(), end), (&b""[..], End::Clean)),
            Met::Gone | Met::Untouched | Met::Kept | Met::Again => {}
        }
        None
    }
}
