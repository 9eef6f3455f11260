//! Clients: each takes its exchanges from its own generator and compares every byte that it gets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::judge::{Answer, Outcome, judge};
use super::plan::{Fault, Id, KINDS, Kind, Plan, Shape};
use super::port::ALL;
use super::random::{Random, mix};
use super::receive::receive;
use super::text::{self, Text, pieces};
use super::unread;
use super::unusual;
use super::world::{GATEWAY_KEY, World, message};
use crate::support::{End, Head, Wire};

/// One client.
pub(crate) struct Client<'a> {
    pub(crate) world: &'a World,
    pub(crate) random: Random,
    index: u64,
    pub(crate) turns: u64,
    /// A connection that stays open.
    kept: Option<Wire>,
    /// What the connection in use has carried.
    past: Vec<(Id, Fault)>,
}

/// The key of a configuration, which that one and the next take.
pub(crate) fn rotating_key(revision: u64) -> String {
    format!("{GATEWAY_KEY}-rotating-{revision}")
}

/// The key that is always valid.
pub(crate) fn stable_key() -> String {
    format!("{GATEWAY_KEY}-stable")
}

/// A credential, and whether it opens the gateway.
pub(crate) struct Credential {
    pub(crate) line: String,
    pub(crate) valid: Validity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Validity {
    Always,
    /// The configuration that brings it may not be in force yet, or not any more.
    Perhaps,
    Never,
}

impl<'a> Client<'a> {
    pub(crate) fn new(world: &'a World, index: u64) -> Self {
        Self {
            world,
            random: Random::new(0),
            index,
            turns: 0,
            kept: None,
            past: Vec::new(),
        }
    }

    /// Exchanges until the run is over, with a rest of up to `rest` behind each.
    pub(crate) fn run(mut self, rest: Duration) {
        while !self.world.is_over() {
            // However the last exchange went, this one is the same in every run.
            self.random = Random::new(mix(self.world.seed) ^ mix(self.index << 40 | self.turns));
            let kind = self.kind();
            let id = self.id(kind);
            let turn = AssertUnwindSafe(|| self.exchange(id));
            let failed = match catch_unwind(turn) {
                Ok(Ok(())) => None,
                Ok(Err(why)) => Some(why),
                Err(panic) => Some(message(&*panic)),
            };
            if let Some(why) = failed {
                self.world.fail(format!(
                    "client {} turn {}: {why}\n    in {:?}\n    behind {:?}",
                    self.index,
                    self.turns,
                    Plan::of(id),
                    self.past
                ));
            }
            let micros = rest.as_micros() as usize + 1;
            let pause = self.random.below(micros) as u64;
            thread::sleep(Duration::from_micros(pause));
        }
    }

    fn kind(&mut self) -> Kind {
        let mut lot = self
            .random
            .below(KINDS.iter().map(|(_, share)| share).sum());
        for (kind, share) in KINDS {
            if lot < share {
                return kind;
            }
            lot -= share;
        }
        Kind::Json
    }

    /// A new id.
    pub(crate) fn id(&mut self, kind: Kind) -> Id {
        self.turns += 1;
        Id::new(kind, mix(self.world.seed ^ self.index << 48 ^ self.turns))
    }

    /// A connection, new or kept.
    pub(crate) fn connection(&mut self) -> Wire {
        self.kept.take().unwrap_or_else(|| {
            self.past.clear();
            self.world.connect()
        })
    }

    /// Keeps a connection that carried this last.
    pub(crate) fn keep(&mut self, wire: Wire, plan: &Plan) {
        self.past.push((plan.id, plan.fault));
        if self.random.percent(90) {
            self.kept = Some(wire);
        }
    }

    pub(crate) fn credential(&mut self) -> Credential {
        let latest = self.world.latest.load(Ordering::SeqCst);
        let floor = self.world.floor.load(Ordering::SeqCst);
        let (key, valid) = match self.random.below(30) {
            0 => (rotating_key(latest), Validity::Perhaps),
            1 if floor >= 3 => (rotating_key(floor - 3), Validity::Never),
            _ => (stable_key(), Validity::Always),
        };
        let line = match self.random.below(4) {
            0 => format!("x-api-key: {key}"),
            1 => format!("api-key: {key}"),
            2 => format!("X-Sluicegate-Key: {key}"),
            _ => format!("Authorization: Bearer {key}"),
        };
        Credential { line, valid }
    }

    /// One exchange, from its plan to its judgement.
    pub(crate) fn exchange(&mut self, id: Id) -> Result<(), String> {
        match id.kind() {
            Kind::Piped => return unusual::pipeline(self, id),
            Kind::Hostile => return unusual::hostile(self, id),
            Kind::Unfinished => return unusual::unfinished(self, id),
            Kind::Unread => return unread::unread(self, id),
            _ => {}
        }
        let plan = Plan::of(id);
        if plan.own.is_some() {
            return unusual::at_once(self, &[plan]);
        }
        let credential = self.credential();
        let floor = self.world.floor.load(Ordering::SeqCst);
        let name = ALL[plan.provider].name;
        let request = text::request(&plan, name, &credential.line, floor);
        let epoch = self.world.epoch(plan.provider);
        let mut wire = self.connection();
        self.world.ledger.open(id, floor);
        let Some(mut sent) = self.send(&mut wire, &plan, &request) else {
            return self.leave(&plan, wire);
        };
        if plan.fault == Fault::LeavesWaiting {
            let micros = self.random.below(5000) as u64;
            thread::sleep(Duration::from_micros(micros));
            return self.leave(&plan, wire);
        }
        if plan.fault == Fault::LeavesReading && credential.valid == Validity::Always {
            return unusual::leaves_reading(self, &plan, wire, sent.first, epoch);
        }
        let first = sent.first.take();
        let answer = read(&mut wire, &plan, first, usize::MAX);
        let now = Instant::now();
        let outcome = judge(self.world, &plan, &answer, epoch, credential.valid)?;
        self.world.outcome(id.kind(), outcome.word());
        let entry = self.world.ledger.get(id);
        let cut = entry
            .cut
            .filter(|_| !outcome.is_whole() && !plan.slow_client);
        if let Some(cut) = cut {
            let since = now.saturating_duration_since(cut);
            self.world.time("client sees provider leave", since);
        }
        if plan.id.kind() == Kind::Garbage {
            self.world.ledger.leave(id);
            return Ok(());
        }
        if plan.id.kind() == Kind::Tunnel && outcome.is_whole() {
            return unusual::tunnel(self, &plan, wire, epoch);
        }
        self.world.ledger.close(id);
        let plan = entry.given(&plan);
        // Behind an error, or an answer that came before, the gateway reads this much of what nobody
        // wants, and closes if there is more.
        let unread = plan.request.shape == Shape::Chunked && request.framed.len() > DISCARDED;
        let is_early = outcome != Outcome::Whole || plan.fault == Fault::Refuses;
        let stays = answer.stays_open() && sent.whole && !(unread && is_early);
        self.go_on(&plan, wire, stays, &answer)
    }

    /// Keeps the connection, or sees that it ends as was said.
    fn go_on(
        &mut self,
        plan: &Plan,
        mut wire: Wire,
        stays: bool,
        answer: &Answer,
    ) -> Result<(), String> {
        if stays {
            self.keep(wire, plan);
            return Ok(());
        }
        let says_close = answer.says_close();
        if answer.is_whole() && says_close && !wire.unread().is_empty() {
            return Err(format!("{}: bytes behind the last answer", plan.id));
        }
        if answer.is_whole() && says_close && plan.fault == Fault::Nothing && !plan.expects {
            let (rest, end) = wire.take_all();
            if !rest.is_empty() || end != End::Clean {
                return Err(format!(
                    "{}: {end:?} after {} bytes more",
                    plan.id,
                    rest.len()
                ));
            }
        }
        Ok(())
    }

    /// Sends the request; none if the client leaves meanwhile.
    fn send(&mut self, wire: &mut Wire, plan: &Plan, request: &Text) -> Option<Sent> {
        let mut sent = Sent {
            whole: false,
            continued: false,
            first: None,
        };
        let (head, framed) = (&request.head, &request.framed);
        if plan.fault == Fault::LeavesInHead {
            let _ = wire.try_send(&head[..head.len() * plan.at / 1000]);
            return None;
        }
        if plan.fault == Fault::LeavesInContent {
            let _ = wire.try_send(head);
            let len = framed.len() * plan.at / 1000;
            let _ = wire.try_send(&framed[..len]);
            return None;
        }
        if plan.expects {
            if wire.try_send(head).is_err() {
                return Some(sent);
            }
            let Ok(first) = wire.try_head() else {
                return Some(sent);
            };
            sent.continued = first.status() == 100;
            if !sent.continued {
                sent.first = Some(first);
                return Some(sent);
            }
            sent.whole = pieces(plan, 1, framed)
                .into_iter()
                .all(|piece| wire.try_send(piece).is_ok());
            return Some(sent);
        }
        let bytes = [&head[..], &framed[..]].concat();
        sent.whole = pieces(plan, 1, &bytes)
            .into_iter()
            .all(|piece| wire.try_send(piece).is_ok());
        Some(sent)
    }

    /// Ends the connection in the middle.
    pub(crate) fn leave(&mut self, plan: &Plan, wire: Wire) -> Result<(), String> {
        self.world.ledger.leave(plan.id);
        match (plan.resets, self.random.percent(50)) {
            (true, _) => wire.reset(),
            (false, true) => wire.close(),
            (false, false) => wire.truncate(),
        }
        self.world.outcome(plan.id.kind(), "client left");
        Ok(())
    }
}

/// Bytes of unwanted content that leave a connection usable.
const DISCARDED: usize = 64 * 1024;

/// How far sending came.
struct Sent {
    whole: bool,
    /// The 100 that was asked for came.
    continued: bool,
    /// The head that came in its place.
    first: Option<Head>,
}

/// Reads an answer, interim ones included; stops behind `limit` bytes of a provider's content.
pub(crate) fn read(wire: &mut Wire, plan: &Plan, first: Option<Head>, limit: usize) -> Answer {
    let mut answer = Answer::default();
    let mut first = first;
    loop {
        let head = match first.take().map_or_else(|| wire.try_head(), Ok) {
            Ok(head) => head,
            Err(end) => {
                answer.rest = wire.take_unread();
                answer.end = Some(end);
                return answer;
            }
        };
        let status = head.status();
        if (100..200).contains(&status) && status != 101 {
            answer.interims += 1;
            continue;
        }
        let bare = plan.method == "HEAD" || matches!(status, 101 | 204 | 304);
        if !bare {
            let (slow, own) = (plan.slow_client, head.value("x-soak").is_none());
            let limit = if own { usize::MAX } else { limit };
            answer.content = Some(receive(wire, &head, Shape::Close, limit, slow));
        }
        answer.head = Some(head);
        return answer;
    }
}
