//! Plays a script against the gateway and writes down what happened.

use std::os::unix::net::UnixStream;

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use sluicegate::net::harness::{Dial, Session};

use crate::script::{Script, Step};

/// How a peer's view of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
    /// A FIN, later a reset: the gateway may have met the one or the other.
    FinOrReset,
}

/// One connection as the peer of the gateway sees it.
#[derive(Default)]
pub struct Side {
    stream: Option<UnixStream>,
    /// Bytes that the kernel took.
    pub sent: Vec<u8>,
    /// Bytes that the gateway sent, those included that the peer has not read yet.
    pub received: Vec<u8>,
    /// How many of them it has read.
    read: usize,
    /// How the gateway ended it.
    pub end: Option<End>,
    /// How it ended its own direction.
    pub left: Option<End>,
    /// The kernel takes no more of it.
    broken: bool,
    stalled: bool,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side")
            .field("sent", &String::from_utf8_lossy(&self.sent))
            .field("received", &String::from_utf8_lossy(&self.received))
            .field("end", &self.end)
            .field("left", &self.left)
            .finish()
    }
}

/// A connection to a provider.
#[derive(Debug)]
pub struct Upstream {
    pub provider: usize,
    pub side: Side,
}

/// What happened.
#[derive(Debug)]
pub struct Record {
    pub client: Side,
    pub upstreams: Vec<Upstream>,
    /// A connection to a provider was refused.
    pub refused: bool,
    /// The gateway had closed the client's connection before the client did, or that and why it had not.
    pub closed: bool,
    /// With a reset.
    pub reset: bool,
}

struct Player<'a> {
    session: &'a mut Session,
    record: Record,
    dials: Vec<Dial>,
    small: bool,
    holds: bool,
    /// To be sent by the client, and by a provider.
    outbox: [Vec<u8>; 2],
    filled: usize,
    /// Which connection a provider's steps are meant for.
    current: usize,
}

const CLIENT: usize = 0;
const UPSTREAM: usize = 1;

/// Equal letters of filler in a row: no divisor of a piece, so that what is lost or moved shows.
const FILLER_RUN: usize = 61;
/// Most of them in a script.
const FILLER_RUNS_MAX: usize = 256 * 1024 / FILLER_RUN;

/// Most pieces of a text that is sent bit by bit.
const PIECES_MAX: usize = 24;

/// What an ordinary socket can hold without anybody having to wait.
const ROOMY_BYTES_MAX: usize = 16 * 1024;

/// More than a socket can hold.
const LOOK_BYTES_MAX: usize = 1 << 20;

/// Plays the script, then lets everything still to come come, then closes everything.
pub async fn play(script: &Script, session: &mut Session) -> Record {
    let small = script.0.iter().any(|step| matches!(step, Step::Small));
    let (client, served) = session.serve(small).expect("a descriptor");
    let record = Record {
        client: Side::new(client),
        upstreams: Vec::new(),
        refused: false,
        closed: false,
        reset: false,
    };
    let mut player = Player {
        session,
        record,
        dials: Vec::new(),
        small,
        holds: false,
        outbox: Default::default(),
        filled: 0,
        current: 0,
    };
    let mut turn = CLIENT;
    for step in &script.0 {
        match step {
            Step::Client => turn = CLIENT,
            Step::Upstream => turn = UPSTREAM,
            _ => player.step(turn, *step).await,
        }
    }
    player.settle().await;
    let left = player.record.client.left.is_some();
    let stalled = |upstream: &Upstream| upstream.side.stalled;
    if left && !player.record.upstreams.iter().any(stalled) {
        assert!(served.is_done(), "the client has left and is still served");
    }
    player.finish().await;
    player.record.closed = served.is_done();
    player.record.reset = served.is_reset();
    if served.is_done() {
        player.session.settle().await;
    }
    // It has not left of its own accord: this is the script's end.
    let left = player.record.client.left;
    player.record.client.close();
    player.record.client.left = left;
    player.settle().await;
    assert!(
        served.is_done(),
        "the client has closed and is still served"
    );
    drop(served);
    player.session.empty_pool();
    player.settle().await;
    for upstream in &player.record.upstreams {
        let side = &upstream.side;
        let over = side.end.is_some() || side.stream.is_none();
        assert!(over, "a connection to a provider is left over");
    }
    player.record
}

impl Player<'_> {
    async fn step(&mut self, turn: usize, step: Step) {
        match step {
            Step::Text(byte) => self.outbox[turn].push(byte),
            Step::Filler(count) => self.fill(turn, count),
            Step::Push => self.send(turn, usize::MAX),
            Step::PushSome(count) => self.send(turn, count),
            Step::Send => {
                self.send(turn, usize::MAX);
                self.settle().await;
            }
            Step::Dribble(size) => {
                // A long text is not worth a turn a byte.
                let size = size.max(self.outbox[turn].len() / PIECES_MAX);
                for _ in 0..self.outbox[turn].len().div_ceil(size) {
                    self.send(turn, size);
                    self.settle().await;
                }
            }
            Step::Settle => self.settle().await,
            Step::Reads(reads) => self.with(turn, |side| side.stalled = !reads),
            Step::Fin => self.with(turn, Side::fin),
            Step::Close => self.with(turn, Side::close),
            Step::HoldDials => self.holds = true,
            Step::AnswerDial(accept) => {
                self.settle().await;
                self.answer_dial(accept);
            }
            Step::Pool(provider) => {
                // What the gateway is told between two turns of its own.
                self.settle().await;
                let theirs = self.session.pool(provider, self.small);
                self.add(provider, theirs.expect("a descriptor"));
            }
            Step::Next => self.current += 1,
            Step::Client | Step::Upstream | Step::Small => {}
        }
    }

    fn with(&mut self, turn: usize, act: impl FnOnce(&mut Side)) {
        let count = self.record.upstreams.len();
        match turn {
            CLIENT => act(&mut self.record.client),
            _ if count > 0 => act(&mut self.record.upstreams[self.current % count].side),
            _ => {}
        }
    }

    /// Filler that shows who sent it and where it belongs.
    fn fill(&mut self, turn: usize, count: usize) {
        let letters = if turn == CLIENT { b'A' } else { b'a' };
        for _ in 0..(count / FILLER_RUN).min(FILLER_RUNS_MAX.saturating_sub(self.filled)) {
            let letter = letters + u8::try_from(self.filled % 26).unwrap_or_default();
            self.outbox[turn].extend([letter; FILLER_RUN]);
            self.filled += 1;
        }
    }

    fn send(&mut self, turn: usize, most: usize) {
        let mut outbox = std::mem::take(&mut self.outbox[turn]);
        self.with(turn, |side| side.send(&mut outbox, most));
        self.outbox[turn] = outbox;
    }

    fn add(&mut self, provider: usize, stream: UnixStream) {
        self.current = self.record.upstreams.len();
        self.record.upstreams.push(Upstream {
            provider,
            side: Side::new(stream),
        });
    }

    fn answer_dial(&mut self, accept: bool) {
        self.dials.retain(Dial::is_open);
        if self.dials.is_empty() {
            return;
        }
        let dial = self.dials.remove(0);
        if !accept {
            self.record.refused = true;
            return dial.refuse();
        }
        let provider = usize::from(dial.port) - 1;
        let theirs = dial.accept(self.small).expect("a descriptor");
        self.add(provider, theirs);
    }

    /// The gateway acts until nothing moves; those who read, read.
    async fn settle(&mut self) {
        loop {
            self.session.settle().await;
            let mut moved = self.record.client.receive(self.small);
            for (index, upstream) in self.record.upstreams.iter_mut().enumerate() {
                let before = upstream.side.received.len();
                moved |= upstream.side.receive(self.small);
                if upstream.side.received.len() > before {
                    self.current = index;
                }
            }
            self.dials.extend(self.session.dials());
            while !self.holds && self.dials.iter().any(Dial::is_open) {
                self.answer_dial(true);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    /// Everybody reads, accepts and sends what is still to be sent.
    async fn finish(&mut self) {
        self.holds = false;
        self.record.client.stalled = false;
        for upstream in &mut self.record.upstreams {
            upstream.side.stalled = false;
        }
        loop {
            let left = self.outbox.each_ref().map(Vec::len);
            self.send(CLIENT, usize::MAX);
            self.send(UPSTREAM, usize::MAX);
            self.settle().await;
            if left == self.outbox.each_ref().map(Vec::len) {
                return;
            }
        }
    }
}

impl Side {
    fn new(stream: UnixStream) -> Self {
        Self {
            stream: Some(stream),
            ..Self::default()
        }
    }

    fn send(&mut self, outbox: &mut Vec<u8>, most: usize) {
        let count = most.min(outbox.len());
        let Some(stream) = self.stream.as_ref().filter(|_| !self.broken) else {
            outbox.clear();
            return;
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match rustix::net::send(stream, &outbox[..count], flags) {
            Ok(taken) => self.sent.extend(outbox.drain(..taken)),
            Err(Errno::AGAIN) => {}
            Err(_) => {
                self.broken = true;
                outbox.clear();
            }
        }
    }

    /// Receives what is there, or only looks at it; whether that may have made room for more.
    fn receive(&mut self, small: bool) -> bool {
        let Some(stream) = &self.stream else {
            return false;
        };
        self.received.truncate(self.read);
        if self.stalled {
            self.received.reserve(LOOK_BYTES_MAX);
            let _ = rustix::net::recv(stream, spare_capacity(&mut self.received), RecvFlags::PEEK);
            return false;
        }
        let before = self.received.len();
        while self.end.is_none() {
            self.received.reserve(2048);
            let spare = spare_capacity(&mut self.received);
            match rustix::net::recv(stream, spare, RecvFlags::empty()) {
                Ok((0, _)) => self.end = Some(End::Fin),
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.end = Some(End::Reset),
            }
        }
        self.read = self.received.len();
        let received = self.read - before;
        received > if small { 0 } else { ROOMY_BYTES_MAX }
    }

    fn fin(&mut self) {
        if let Some(stream) = &self.stream {
            let _ = rustix::net::shutdown(stream, Shutdown::Write);
            self.left.get_or_insert(End::Fin);
            self.broken = true;
        }
    }

    fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            let unread = matches!(
                rustix::net::recv(&stream, &mut [0; 1], RecvFlags::PEEK),
                Ok((1, _))
            );
            match (unread, self.left) {
                (true, None) => self.left = Some(End::Reset),
                (true, Some(_)) => self.left = Some(End::FinOrReset),
                (false, None) => self.left = Some(End::Fin),
                (false, Some(_)) => {}
            }
        }
    }
}
