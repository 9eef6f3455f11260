//! One connection at a provider: it answers as the plan of each request says, checks what arrives,
//! and fails on purpose.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::moving::MOVING;
use super::plan::{Fault, Id, Kind, Plan, Shape};
use super::pool::{self, CROWDED, Refusal};
use super::port::ALL;
use super::receive::{Received, receive};
use super::text::{self, PAUSES, TUNNEL, kept_lines, pieces};
use super::world::{Entry, GATEWAY_KEY, World, message};
use crate::support::{End, Head, Wire};

/// How a connection goes on.
enum Next {
    Stay,
    /// The gateway has ended it.
    Gone,
    Reset,
    /// FIN alone, without TLS's own end.
    Truncate,
    Finish,
}

/// One connection's thread.
pub(crate) struct Serving {
    pub(crate) world: Arc<World>,
    /// Which port it is.
    pub(crate) station: usize,
    /// Which provider it is.
    pub(crate) index: usize,
    /// Which of its instances or addresses this is.
    pub(crate) place: usize,
    /// The port's when the connection came.
    pub(crate) epoch: u64,
    /// The place that a request has among those that the port takes at once.
    pub(crate) here: Cell<Option<u64>>,
}

/// Now and then a request takes this long at the limited provider: others wait for longer than they may.
const CROWDED_FOR: Duration = Duration::from_millis(250);

/// Longer than the gateway keeps an idle connection.
const IDLE: Duration = Duration::from_secs(30);

impl Serving {
    /// Serves the connection to its end.
    pub(crate) fn run(self, mut wire: Wire) {
        loop {
            let turn = AssertUnwindSafe(|| self.turn(&mut wire));
            let next = catch_unwind(turn).unwrap_or_else(|panic| {
                self.world.fail(format!("provider: {}", message(&*panic)));
                Next::Reset
            });
            if !matches!(next, Next::Stay) {
                self.go();
            }
            match next {
                Next::Stay => continue,
                Next::Gone => {}
                Next::Reset => wire.reset(),
                Next::Truncate => wire.truncate(),
                Next::Finish => self.finish(wire),
            }
            return;
        }
    }

    fn is_cut(&self) -> bool {
        self.world.down_since(self.station, self.epoch)
    }

    /// The request is as good as answered: from here on another one may come in its place.
    fn go(&self) {
        if let Some(serial) = self.here.take() {
            self.world.go(serial);
        }
    }

    fn turn(&self, wire: &mut Wire) -> Next {
        if wire.unread().is_empty() && wire.handshake().is_ok() {
            assert!(
                wire.has_plain() || readable(wire.socket(), IDLE),
                "an idle connection is kept for ever"
            );
        }
        let head = match wire.try_head() {
            Ok(head) => head,
            Err(end) => {
                let rest = String::from_utf8_lossy(wire.unread()).into_owned();
                let fine = rest.is_empty() || self.is_cut();
                assert!(fine, "{end:?} in the head {rest:?}");
                return Next::Gone;
            }
        };
        let Some(id) = id_in(&head.start) else {
            return hostile(wire);
        };
        if id.kind() == Kind::Hostile {
            return hostile(wire);
        }
        let plan = Plan::of(id);
        let entry = self.world.ledger.update(id, |entry| entry.heads += 1);
        let Some(entry) = entry else {
            // What had arrived when this provider went down can still be read.
            if self.is_cut() {
                return Next::Gone;
            }
            panic!(
                "{id}: nobody asks that now: {:?}",
                String::from_utf8_lossy(&head.raw)
            );
        };
        self.check(&plan, &head, &entry);
        self.here.set(self.world.come(id, self.station, self.epoch));
        if self.index == CROWDED && plan.at.is_multiple_of(20) {
            thread::sleep(CROWDED_FOR);
        }
        if id.kind() == Kind::Garbage {
            // What may not make a key good again says nothing.
            let refused = pool::is_refused(credential(&head), revision(&head).unwrap());
            return match refused {
                true => self.break_off(&plan),
                false => self.serve(wire, &plan, &head, entry.heads),
            };
        }
        match self.refusal(&plan, &head, &entry) {
            Some(refusal) => self.turn_down(wire, &plan.turned_down(&refusal), &head),
            None => self.serve(wire, &plan, &head, entry.heads),
        }
    }

    /// That it may come, and to this place.
    fn check_arrival(&self, plan: &Plan, entry: &Entry, revision: u64) {
        let id = plan.id;
        if self.index == MOVING {
            self.world.check_place(self.place, id, entry);
        }
        let there = pool::is_there(self.index, self.place, revision);
        assert!(there, "{id}: configuration {revision} has no such instance");
        // Retries of what may be sent twice are counted with the answer.
        let once = plan.is_idempotent() || entry.heads == 1 + entry.sent_on;
        assert!(once, "{id}: {} times here: {entry:?}", entry.heads);
        if entry.heads > 1 {
            self.world.rests_known(id);
        }
    }

    /// Whether this arrival is turned down, which is noted.
    fn refusal(&self, plan: &Plan, head: &Head, entry: &Entry) -> Option<Refusal> {
        let busy = self.world.busy[self.station].load(Ordering::SeqCst);
        let key = credential(head);
        let revision = revision(head).unwrap();
        let refusal = pool::refusal(plan, entry.heads, key, revision, busy);
        let goes_on = refusal.is_some_and(|refusal| plan.turned_down(&refusal).goes_on);
        self.world.ledger.update(plan.id, |entry| {
            entry.refusal = refusal;
            entry.sent_on += u32::from(goes_on);
        });
        if entry.heads > 1 && entry.sent_on > 0 {
            self.world.count("requests sent on by an answer");
        }
        if let Some(refusal) = &refusal {
            self.world.rests(key, plan.id, refusal);
            self.world.count(match refusal.status {
                401 => "requests turned down with 401",
                503 => "requests turned down with 503",
                _ => "requests turned down with 429 or 529",
            });
        }
        refusal
    }

    /// Answers what is not taken, mostly when it is whole.
    fn turn_down(&self, wire: &mut Wire, given: &Plan, head: &Head) -> Next {
        if given.fault == Fault::Refuses {
            return self.answer(wire, given, false);
        }
        if given.expects && wire.try_send("HTTP/1.1 100 Continue\r\n\r\n").is_err() {
            return self.ended(given, &End::Reset);
        }
        let received = receive(wire, head, Shape::Nothing, usize::MAX, given.slow_provider);
        match self.check_content(given, received) {
            Some(next) => next,
            None => self.answer(wire, given, false),
        }
    }

    /// That the request's head is what the client sent, with this provider's credential.
    fn check(&self, plan: &Plan, head: &Head, entry: &Entry) {
        let id = plan.id;
        let raw = String::from_utf8_lossy(&head.raw);
        assert_eq!(plan.provider, self.index, "{id}: another provider: {raw:?}");
        let start = format!("{} /base/soak/{id}?n=1 HTTP/1.1", plan.method);
        assert_eq!(head.start, start, "{id}");
        assert!(!raw.contains(GATEWAY_KEY), "{id}: {raw:?}");
        let floor = head
            .value("x-soak-floor")
            .and_then(|value| value.parse::<u64>().ok());
        let (Some(revision), Some(floor)) = (revision(head), floor) else {
            panic!("{id}: {raw:?}");
        };
        self.check_arrival(plan, entry, revision);
        let latest = self.world.latest.load(Ordering::SeqCst);
        assert!(
            (floor..=latest).contains(&revision),
            "{id}: configuration {revision}, expected {floor} to {latest}"
        );
        let (bearer, plain) = (head.value("authorization"), head.value("x-api-key"));
        let is_bearer = ALL[self.index].kind == "openai";
        assert_eq!(
            (bearer.is_some(), plain.is_some()),
            (is_bearer, !is_bearer),
            "{id}: {raw:?}"
        );
        let key = credential(head);
        let keys = pool::keys(self.index, revision);
        assert!(
            keys.iter().any(|one| one == key),
            "{id}: {raw:?}, not {keys:?}"
        );
        let begun = entry.begun.unwrap();
        self.world.check_rest(key, id, begun);
        self.world.check_session(plan, revision, key, begun);
        let upgrade = (plan.id.kind() == Kind::Tunnel).then_some("websocket");
        assert_eq!(head.value("upgrade"), upgrade, "{id}");
        for gone in ["cookie", "x-forwarded-for", "x-gone", "te"] {
            assert_eq!(head.values(gone).len(), 0, "{id}: {raw:?}");
        }
        let kept = |line: &&String| {
            let name = line.split(':').next().unwrap().to_ascii_lowercase();
            ["x-soak", "x-session", "content-", "transfer-", "expect"]
                .iter()
                .any(|begin| name.starts_with(begin))
        };
        let lines: Vec<&String> = head.lines.iter().filter(kept).collect();
        let expected = kept_lines(plan, floor);
        assert_eq!(lines, expected.iter().collect::<Vec<_>>(), "{id}");
    }

    fn serve(&self, wire: &mut Wire, plan: &Plan, head: &Head, attempt: u32) -> Next {
        let fault = match plan.once && attempt > 1 {
            true => Fault::Nothing,
            false => plan.fault,
        };
        if fault == Fault::Unread {
            return self.break_off(plan);
        }
        if fault == Fault::Refuses {
            return self.answer(wire, plan, false);
        }
        if plan.expects && wire.try_send("HTTP/1.1 100 Continue\r\n\r\n").is_err() {
            return self.ended(plan, &End::Reset);
        }
        if plan.id.kind() == Kind::Tunnel {
            return self.tunnel(wire, plan);
        }
        let received = receive(wire, head, Shape::Nothing, usize::MAX, plan.slow_provider);
        if let Some(next) = self.check_content(plan, received) {
            return next;
        }
        match fault {
            Fault::Silent => self.break_off(plan),
            Fault::LeavesWaiting => {
                let (rest, end) = wire.take_all();
                assert!(rest.is_empty(), "{}: bytes behind the request", plan.id);
                self.ended(plan, &end)
            }
            fault => self.answer(
                wire,
                plan,
                matches!(fault, Fault::InHead | Fault::InContent),
            ),
        }
    }

    /// That the content is the client's, or visibly cut where the client left; says if it is cut.
    fn check_content(&self, plan: &Plan, received: Received) -> Option<Next> {
        let expected = text::request_content(plan);
        let id = plan.id;
        assert!(
            expected.starts_with(&received.body),
            "{id}: not the content that was sent"
        );
        if let Some(end) = received.broken {
            return Some(self.ended(plan, &end));
        }
        assert_eq!(received.body.len(), expected.len(), "{id}: content is lost");
        let trailers = if plan.request.trailers && plan.request.shape == Shape::Chunked {
            vec![text::TRAILER.to_owned()]
        } else {
            Vec::new()
        };
        assert_eq!(received.trailers, trailers, "{id}");
        assert_ne!(plan.fault, Fault::LeavesInContent, "{id}: whole though cut");
        None
    }

    /// The gateway has ended the connection within an exchange: only because the client left.
    fn ended(&self, plan: &Plan, end: &End) -> Next {
        self.go();
        let entry = self.world.ledger.update(plan.id, |_| {});
        match entry.and_then(|entry| entry.left) {
            // It is not read to its end, where the request goes on to somewhere else.
            _ if plan.goes_on => self.world.count("answers left for another"),
            Some(left) => self
                .world
                .time("provider sees client leave", left.elapsed()),
            None => assert!(self.is_cut(), "{}: {end:?} in {plan:?}", plan.id),
        }
        Next::Gone
    }

    /// Leaves on purpose.
    fn break_off(&self, plan: &Plan) -> Next {
        self.go();
        let now = Instant::now();
        self.world
            .ledger
            .update(plan.id, |entry| entry.cut = Some(now));
        // Content that ends with the connection is only cut where that can be seen.
        let close = plan.response.shape == Shape::Close && plan.fault == Fault::InContent;
        match (plan.resets || close, ALL[self.index].tls) {
            (true, false) => Next::Reset,
            (true, true) if plan.at.is_multiple_of(2) => Next::Reset,
            (true, true) => Next::Truncate,
            (false, _) => Next::Finish,
        }
    }

    fn answer(&self, wire: &mut Wire, plan: &Plan, cut: bool) -> Next {
        let answer = text::response(plan);
        let len = match cut {
            true => text::cut(plan, &answer),
            false => answer.head.len() + answer.framed.len(),
        };
        let mut bytes = [answer.head, answer.framed].concat();
        let mut random = plan.id.random(PAUSES);
        for _ in 0..plan.interims {
            let interim = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 3\r\n\r\n";
            if let Err(end) = wire.try_send(interim) {
                return self.ended(plan, &end);
            }
        }
        if plan.id.kind() == Kind::Garbage {
            random.spoil(&mut bytes);
            self.go();
            let _ = wire.try_send(bytes);
            return Next::Finish;
        }
        let pieces = pieces(plan, 2, &bytes[..len]);
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.into_iter().enumerate() {
            if number == last {
                self.go();
            }
            if let Err(end) = wire.try_send(piece) {
                return self.ended(plan, &end);
            }
            if plan.slow_provider && random.percent(30) {
                thread::sleep(Duration::from_micros(random.below(4000) as u64));
            }
        }
        if cut {
            return self.break_off(plan);
        }
        let until_close = plan.response.shape == Shape::Close && plan.method != "HEAD";
        if until_close || plan.says_close || plan.fault == Fault::Refuses {
            return Next::Finish;
        }
        if plan.closes {
            thread::sleep(Duration::from_micros(random.below(3000) as u64));
            return Next::Finish;
        }
        Next::Stay
    }

    fn tunnel(&self, wire: &mut Wire, plan: &Plan) -> Next {
        let head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             X-Soak: {}\r\n\r\n",
            plan.id
        );
        if let Err(end) = wire.try_send(head) {
            return self.ended(plan, &end);
        }
        let rounds = plan.rounds();
        let last = rounds.len() - 1;
        for (round, (theirs, ours)) in rounds.into_iter().enumerate() {
            if plan.fault == Fault::InContent && round == plan.breaks_in() {
                return self.break_off(plan);
            }
            let aspect = TUNNEL + 2 * round as u64;
            match wire.take(theirs) {
                Ok(bytes) => assert!(bytes == plan.id.content(aspect, theirs), "{}", plan.id),
                Err(end) => return self.ended(plan, &end),
            }
            if round == last {
                self.go();
            }
            if let Err(end) = wire.try_send(plan.id.content(aspect + 1, ours)) {
                return self.ended(plan, &end);
            }
        }
        // Half of them end here, the others with the client.
        if plan.resets {
            return Next::Finish;
        }
        let (rest, end) = wire.take_all();
        assert!(rest.is_empty(), "{}: bytes nobody sent", plan.id);
        let fine = end == End::Clean || plan.client_leaves() || self.is_cut();
        assert!(fine, "{}: {end:?}", plan.id);
        Next::Gone
    }

    /// Says that nothing more will come, and waits for the gateway's end. A request that crosses
    /// that on its way is noted: its client may be told that the provider closed.
    fn finish(&self, mut wire: Wire) {
        wire.half_close();
        let begin = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| {
            let (mut seen, mut piece) = (wire.take_unread(), vec![0; 16 * 1024]);
            while let Ok(taken) = wire.read(&mut piece) {
                seen.extend_from_slice(&piece[..taken]);
                let from = self.note_raced(&seen);
                seen.drain(..from);
            }
        }));
        match read {
            Ok(()) => self
                .world
                .time("gateway sees provider leave", begin.elapsed()),
            Err(panic) => self
                .world
                .fail(format!("provider that leaves: {}", message(&*panic))),
        }
    }

    /// Notes the requests in these bytes; how many of the bytes need not be looked at again.
    fn note_raced(&self, seen: &[u8]) -> usize {
        const MARK: &[u8] = b"/base/soak/";
        let mut from = seen.len().saturating_sub(100);
        for at in 0..seen.len().saturating_sub(MARK.len() + 16) {
            if &seen[at..at + MARK.len()] != MARK {
                continue;
            }
            let text = String::from_utf8_lossy(&seen[at + MARK.len()..at + MARK.len() + 16]);
            if let Some(id) = Id::parse(&text) {
                self.world.ledger.update(id, |entry| entry.raced += 1);
                from = from.max(at + MARK.len() + 16);
            }
        }
        from
    }
}

/// A request of nobody's: any answer will do.
fn hostile(wire: &mut Wire) -> Next {
    let _ = wire.try_send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    Next::Finish
}

/// Of the configuration that a request was sent with.
fn revision(head: &Head) -> Option<u64> {
    head.value("x-revision")?.parse().ok()
}

/// The key that a request comes with.
fn credential(head: &Head) -> &str {
    let bearer = head
        .value("authorization")
        .and_then(|value| value.strip_prefix("Bearer "));
    bearer
        .or_else(|| head.value("x-api-key"))
        .unwrap_or_default()
}

fn id_in(start: &str) -> Option<Id> {
    let (_, rest) = start.split_once("/soak/")?;
    Id::parse(rest.get(..16)?)
}

/// Whether there is something to read, the end included, within this time.
pub(crate) fn readable(socket: impl std::os::fd::AsFd, within: Duration) -> bool {
    let timeout = Timespec::try_from(within).unwrap();
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
}
