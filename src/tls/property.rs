//! What holds whatever a peer sends that has the keys: a slow model foretells what comes of its records.
//!
//! Two ends of ours, one of which seals anything it likes: key updates, half messages, padding, nothing at all.

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;

use super::handshake::{Handshake, Role};
use super::traffic::Traffic;
use super::{HEADER_BYTES, Header, content};

/// Shakes hands; both ends have nothing left to read.
///
/// # Panics
/// When that fails.
#[must_use]
pub fn established(
    client: UnbufferedClientConnection,
    server: UnbufferedServerConnection,
) -> (Traffic, Traffic) {
    let mut client = Handshake::new(Role::Client(client));
    let mut server = Handshake::new(Role::Server(server));
    let (mut to_client, mut to_server, mut unread) = (Vec::new(), Vec::new(), Vec::new());
    let mut done = (advance(&mut client, &[], &mut to_server), false);
    while done != (true, true) {
        let bytes = std::mem::take(&mut to_server);
        done.1 = done.1 || advance(&mut server, &bytes, &mut to_client);
        let bytes = std::mem::take(&mut to_client);
        match done.0 {
            true => unread.extend(bytes),
            false => done.0 = advance(&mut client, &bytes, &mut to_server),
        }
    }
    let (mut ours, mut rest) = finish(client);
    rest.extend(unread);
    let mut out = vec![0; rest.len()];
    assert!(ours.open(&rest, &mut out).fault.is_none());
    let (theirs, rest) = finish(server);
    assert!(rest.is_empty());
    (ours, theirs)
}

fn advance(handshake: &mut Handshake, received: &[u8], out: &mut Vec<u8>) -> bool {
    let advanced = handshake.advance(received, out);
    assert!(advanced.is_ok(), "{advanced:?}");
    advanced.is_ok_and(|done| done)
}

fn finish(handshake: Handshake) -> (Traffic, Vec<u8>) {
    #[expect(clippy::expect_used, reason = "only for tests")]
    handshake.finish().expect("an established connection")
}

/// Plaintext for one record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its type.
    pub kind: u8,
    /// What stands in it.
    pub plain: Vec<u8>,
    /// How many zeros follow, under TLS 1.3.
    pub padding: usize,
}

/// Us and a peer that does as it likes, established.
pub struct Duel {
    ours: Traffic,
    theirs: Traffic,
}

impl Duel {
    /// Between two ends of one connection.
    #[must_use]
    pub fn between(ours: Traffic, theirs: Traffic) -> Self {
        Self { ours, theirs }
    }

    /// Receives these records, and `tail` behind them as it is, in pieces of `cut` bytes: what was opened is what the
    /// model says, neither less nor more.
    ///
    /// # Panics
    /// When it is not.
    pub fn holds(&mut self, records: &[Record], tail: &[u8], cut: usize) {
        self.ours.rewind(None, None);
        self.theirs.rewind(None, None);
        let mut model = Model::of(&self.ours);
        let mut wire = Vec::new();
        for record in records {
            let sealed = self.seal(record);
            let updates = model.updates;
            model.record(record, sealed.len());
            wire.extend(sealed);
            if model.updates > updates {
                assert!(self.theirs.forge_key().is_ok());
            }
        }
        wire.extend_from_slice(tail);
        let (data, failed, left) = self.receive(&wire, cut);
        assert_eq!(data, model.data);
        assert_eq!(self.ours.is_closed(), model.end == End::Closed);
        match model.end {
            End::Open => {
                let waits = Header::parse(tail).is_none_or(|header| {
                    (20..=23).contains(&header.content) && HEADER_BYTES + header.len > tail.len()
                });
                assert!(failed || (waits && left == tail), "{tail:?}");
            }
            End::Closed => assert!(!failed && left.is_empty()),
            End::Failed => assert!(failed),
        }
    }

    fn seal(&mut self, record: &Record) -> Vec<u8> {
        if !self.ours.is_tls13() || record.padding == 0 {
            return self.theirs.forge(record.kind, &record.plain);
        }
        // What the sealing side takes for the type is the last byte of the padding.
        let mut inner = record.plain.clone();
        inner.push(record.kind);
        inner.resize(inner.len() + record.padding - 1, 0);
        self.theirs.forge(0, &inner)
    }

    /// What was opened, whether that failed, and what is waited with.
    fn receive(&mut self, wire: &[u8], cut: usize) -> (Vec<u8>, bool, Vec<u8>) {
        let (mut data, mut held) = (Vec::new(), Vec::new());
        for piece in wire.chunks(cut.max(1)) {
            held.extend_from_slice(piece);
            let mut out = vec![0; held.len()];
            let opened = self.ours.open(&held, &mut out);
            assert!(opened.consumed <= held.len() && opened.filled <= opened.consumed);
            out.truncate(opened.filled);
            data.extend(out);
            held.drain(..opened.consumed);
            if opened.fault.is_some() {
                return (data, true, held);
            }
        }
        (data, false, held)
    }

    /// Sends `plain` from a room of `room` bytes, with a key for `left` more records: the peer reads the same,
    /// under a new key if it has asked for one or there is need.
    ///
    /// # Panics
    /// When it does not.
    pub fn answers(&mut self, plain: &[u8], room: usize, left: Option<u64>) {
        let tls13 = self.ours.is_tls13();
        // TLS 1.2 has no other key.
        let left = left.filter(|_| tls13);
        self.ours.rewind(None, left);
        self.theirs.rewind(left, None);
        let mut room = vec![0; room.max(128)];
        let (mut rest, mut got) = (plain, Vec::new());
        while !rest.is_empty() {
            let sealed = self.ours.seal(rest, &mut room);
            assert!(sealed.is_ok(), "{sealed:?}");
            let (taken, len) = sealed.unwrap_or_default();
            assert!(taken > 0);
            rest = rest.get(taken..).unwrap_or_default();
            let mut out = vec![0; len];
            let opened = self
                .theirs
                .open(room.get(..len).unwrap_or_default(), &mut out);
            assert!(opened.fault.is_none() && opened.consumed == len);
            got.extend_from_slice(out.get(..opened.filled).unwrap_or_default());
        }
        assert!(got == plain);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Closed,
    Failed,
}

/// What has to come of records, by the letter of the RFCs.
struct Model {
    tls13: bool,
    client: bool,
    data: Vec<u8>,
    message: Vec<u8>,
    /// Bytes since the last application data, and what messages among them weigh beside.
    silence: usize,
    updates: usize,
    end: End,
}

impl Model {
    fn of(ours: &Traffic) -> Self {
        Self {
            tls13: ours.is_tls13(),
            client: ours.is_client(),
            data: Vec::new(),
            message: Vec::new(),
            silence: 0,
            updates: 0,
            end: End::Open,
        }
    }

    fn record(&mut self, record: &Record, sealed: usize) {
        if self.end != End::Open {
            return;
        }
        let plain = record.plain.as_slice();
        let brings = record.kind == content::APPLICATION_DATA && !plain.is_empty();
        self.silence = if brings { 0 } else { self.silence + sealed };
        if self.silence > 128 << 10 {
            self.end = End::Failed;
            return;
        }
        self.end = match record.kind {
            content::HANDSHAKE if !plain.is_empty() => {
                self.message.extend_from_slice(plain);
                self.messages()
            }
            content::APPLICATION_DATA if self.message.is_empty() => {
                self.data.extend_from_slice(plain);
                End::Open
            }
            content::ALERT if self.message.is_empty() => self.alert(plain),
            _ => End::Failed,
        };
    }

    fn alert(&self, alert: &[u8]) -> End {
        match *alert {
            [_, 0] => End::Closed,
            [_, 90] if self.tls13 => End::Open,
            [1, _] if !self.tls13 => End::Open,
            _ => End::Failed,
        }
    }

    fn messages(&mut self) -> End {
        while let [kind, lengths @ ..] = self.message.as_slice()
            && let [high, mid, low, ..] = *lengths
        {
            let len = usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low);
            let whole = self.message.get(4..4 + len);
            let last = self.message.len() == 4 + len;
            let fine = match (*kind, self.tls13, self.client) {
                (24, true, _) => len == 1 && whole.is_none_or(|body| last && body <= &[1][..]),
                (4, true, true) => len < 1 << 16 && whole.is_none_or(is_ticket),
                (0, false, true) => len == 0,
                _ => false,
            };
            let weighs = match kind {
                4 => 256,
                24 => 4 << 10,
                _ => 0,
            };
            match whole {
                _ if !fine => return End::Failed,
                None => return End::Open,
                Some(_) if self.silence + weighs > 128 << 10 => return End::Failed,
                Some(_) => {
                    self.updates += usize::from(*kind == 24);
                    self.silence += weighs;
                }
            }
            self.message.drain(..4 + len);
        }
        End::Open
    }
}

/// Lifetime and age, nonce, ticket, extensions (RFC 8446, section 4.6.1). rustls does not mind what follows.
fn is_ticket(body: &[u8]) -> bool {
    let Some(rest) = body.get(8..) else {
        return false;
    };
    let Some((_nonce, rest)) = field(rest, 1) else {
        return false;
    };
    let (Some((ticket, _)), Some((mut extensions, _))) = (
        field(rest, 2),
        field(rest, 2).and_then(|(_, rest)| field(rest, 2)),
    ) else {
        return false;
    };
    let mut kinds = Vec::new();
    while !extensions.is_empty() {
        let Some((kind, rest)) = extensions.split_first_chunk::<2>() else {
            return false;
        };
        let Some((body, rest)) = field(rest, 2) else {
            return false;
        };
        if kinds.contains(kind) || (*kind == [0, 42] && body.len() != 4) {
            return false;
        }
        kinds.push(*kind);
        extensions = rest;
    }
    !ticket.is_empty()
}

/// What a length of `width` bytes stands before, and the rest.
fn field(bytes: &[u8], width: usize) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(width)?;
    let len = length
        .iter()
        .fold(0, |len, byte| len << 8 | usize::from(*byte));
    rest.split_at_checked(len)
}
