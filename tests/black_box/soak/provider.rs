//! One connection at a provider: it answers as the plan of each request says, checks what arrives,
//! and fails on purpose.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::plan::{Fault, Id, Kind, Plan, Shape};
use super::port::{ALL, key};
use super::receive::{Received, receive};
use super::text::{self, PAUSES, TUNNEL, kept_lines, pieces};
use super::world::{GATEWAY_KEY, World, message};
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
    /// Which provider it is.
    pub(crate) index: usize,
    /// Which of its addresses this is, where it has two.
    pub(crate) place: Option<usize>,
    /// The provider's when the connection came.
    pub(crate) epoch: u64,
}

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
        self.world.restarted_since(self.index, self.epoch)
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
        if let Some(place) = self.place {
            self.world.check_place(place, id, &entry);
        }
        self.check(&plan, &head);
        self.serve(wire, &plan, &head, entry.heads)
    }

    /// That the request's head is what the client sent, with this provider's credential.
    fn check(&self, plan: &Plan, head: &Head) {
        let id = plan.id;
        let raw = String::from_utf8_lossy(&head.raw);
        assert_eq!(plan.provider, self.index, "{id}: another provider: {raw:?}");
        let start = format!("{} /base/soak/{id}?n=1 HTTP/1.1", plan.method);
        assert_eq!(head.start, start, "{id}");
        assert!(!raw.contains(GATEWAY_KEY), "{id}: {raw:?}");
        let number = |name: &str| head.value(name).and_then(|value| value.parse::<u64>().ok());
        let (Some(revision), Some(floor)) = (number("x-revision"), number("x-soak-floor")) else {
            panic!("{id}: {raw:?}");
        };
        let latest = self.world.latest.load(Ordering::SeqCst);
        assert!(
            (floor..=latest).contains(&revision),
            "{id}: configuration {revision}, expected {floor} to {latest}"
        );
        let key = key(self.index, revision);
        let (bearer, plain) = (head.value("authorization"), head.value("x-api-key"));
        match ALL[self.index].kind {
            "openai" => assert_eq!((bearer, plain), (Some(&*format!("Bearer {key}")), None)),
            _ => assert_eq!((bearer, plain), (None, Some(&*key)), "{id}"),
        }
        let upgrade = (plan.id.kind() == Kind::Tunnel).then_some("websocket");
        assert_eq!(head.value("upgrade"), upgrade, "{id}");
        for gone in ["cookie", "x-forwarded-for", "x-gone", "te"] {
            assert_eq!(head.values(gone).len(), 0, "{id}: {raw:?}");
        }
        let kept = |line: &&String| {
            let name = line.split(':').next().unwrap().to_ascii_lowercase();
            ["x-soak", "content-", "transfer-", "expect"]
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
        let entry = self.world.ledger.update(plan.id, |_| {});
        match entry.and_then(|entry| entry.left) {
            Some(left) => self
                .world
                .time("provider sees client leave", left.elapsed()),
            None => assert!(self.is_cut(), "{}: {end:?} in {plan:?}", plan.id),
        }
        Next::Gone
    }

    /// Leaves on purpose.
    fn break_off(&self, plan: &Plan) -> Next {
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
            let _ = wire.try_send(bytes);
            return Next::Finish;
        }
        for piece in pieces(plan, 2, &bytes[..len]) {
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
        for (round, (theirs, ours)) in plan.rounds().into_iter().enumerate() {
            if plan.fault == Fault::InContent && round == plan.breaks_in() {
                return self.break_off(plan);
            }
            let aspect = TUNNEL + 2 * round as u64;
            match wire.take(theirs) {
                Ok(bytes) => assert!(bytes == plan.id.content(aspect, theirs), "{}", plan.id),
                Err(end) => return self.ended(plan, &end),
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
