//! Plays a script against the gateway and writes down what happened.

use std::os::unix::net::UnixStream;

use sluicegate::door::fuzzing::harness::{Dial, Session};

use crate::peer::Peer;
use crate::record::{Record, Upstream};
use crate::script::{Script, Step};

struct Player<'a> {
    session: &'a mut Session,
    client: Peer,
    upstreams: Vec<(usize, Peer)>,
    /// A connection to a provider was refused.
    refused: bool,
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

/// Plays the script, then lets everything still to come come, then closes everything.
pub async fn play(script: &Script, session: &mut Session) -> Record {
    let small = script.0.iter().any(|step| matches!(step, Step::Small));
    let (client, served) = session.serve(small).expect("a descriptor");
    let mut player = Player {
        session,
        client: Peer::new(client),
        upstreams: Vec::new(),
        refused: false,
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
    let left = player.client.side.left.is_some();
    if left && !player.upstreams.iter().any(|(_, peer)| peer.stalled) {
        assert!(served.is_done(), "the client has left and is still served");
    }
    player.finish().await;
    let (closed, reset) = (served.is_done(), served.is_reset());
    if closed {
        player.session.settle().await;
    }
    // It has not left of its own accord: this is the script's end.
    let left = player.client.side.left;
    player.client.close();
    player.client.side.left = left;
    player.settle().await;
    assert!(
        served.is_done(),
        "the client has closed and is still served"
    );
    drop(served);
    player.session.empty_pool();
    player.settle().await;
    let over = |(_, peer): &(usize, Peer)| peer.is_over();
    assert!(
        player.upstreams.iter().all(over),
        "a connection to a provider is left over"
    );
    let upstreams = player.upstreams.into_iter();
    Record {
        client: player.client.side,
        upstreams: upstreams
            .map(|(provider, peer)| Upstream {
                provider,
                side: peer.side,
            })
            .collect(),
        refused: player.refused,
        closed,
        reset,
    }
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
            Step::Reads(reads) => self.with(turn, |peer| peer.stalled = !reads),
            Step::Fin => self.with(turn, Peer::fin),
            Step::Close => self.with(turn, Peer::close),
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

    fn with(&mut self, turn: usize, act: impl FnOnce(&mut Peer)) {
        let count = self.upstreams.len();
        match turn {
            CLIENT => act(&mut self.client),
            _ if count > 0 => act(&mut self.upstreams[self.current % count].1),
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
        self.with(turn, |peer| peer.send(&mut outbox, most));
        self.outbox[turn] = outbox;
    }

    fn add(&mut self, provider: usize, stream: UnixStream) {
        self.current = self.upstreams.len();
        self.upstreams.push((provider, Peer::new(stream)));
    }

    fn answer_dial(&mut self, accept: bool) {
        self.dials.retain(Dial::is_open);
        if self.dials.is_empty() {
            return;
        }
        let dial = self.dials.remove(0);
        if !accept {
            self.refused = true;
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
            let mut moved = self.client.receive(self.small);
            for (index, (_, peer)) in self.upstreams.iter_mut().enumerate() {
                let before = peer.side.received.len();
                moved |= peer.receive(self.small);
                if peer.side.received.len() > before {
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
        self.client.stalled = false;
        for (_, peer) in &mut self.upstreams {
            peer.stalled = false;
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
