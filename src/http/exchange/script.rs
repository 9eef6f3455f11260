//! What the peers of a played exchange have to say: mostly what they should.

use std::io::Write;

use super::Terms;
use super::choices::Choices;
use crate::http::framing::{BodyLength, ContentLimit};

/// One exchange's peers, and what was known before. Its room serves for one after the other.
#[derive(Debug)]
pub(super) struct Script {
    pub terms: Terms,
    /// How the request's content is framed.
    pub length: BodyLength,
    pub expects_continue: bool,
    /// The request's content, and what comes behind it.
    pub client: Vec<u8>,
    /// How much of it came with the head.
    pub with_head: usize,
    /// All that the upstream says.
    pub upstream: Vec<u8>,
    /// It had been used before, and the request may be sent twice.
    pub may_repeat: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            terms: Terms::default(),
            length: BodyLength::Empty,
            expects_continue: false,
            client: Vec::new(),
            with_head: 0,
            upstream: Vec::new(),
            may_repeat: false,
        }
    }
}

impl Script {
    /// Writes another one.
    pub(super) fn write(&mut self, choices: &mut Choices<'_>) {
        self.terms = Terms {
            http10: choices.once_in(6),
            head_only: choices.once_in(8),
            upgrade: choices.once_in(6),
            client_persists: !choices.once_in(4),
            is_judged: choices.once_in(2),
            content_limit: ContentLimit(choices.once_in(6).then(|| choices.below(24) as u64)),
        };
        let client = &mut self.client;
        client.clear();
        self.length = length(choices);
        content(choices, self.length, client);
        self.expects_continue = self.length != BodyLength::Empty && choices.once_in(4);
        if choices.once_in(16) {
            spoil(choices, client);
        }
        if choices.once_in(3) {
            client.extend_from_slice(choices.pick(&BEHIND, b"G"));
        }
        self.with_head = match choices.below(3) {
            0 => 0,
            1 => client.len(),
            _ => choices.below(client.len() + 1),
        };
        self.upstream.clear();
        response(choices, self.terms, &mut self.upstream);
        if choices.once_in(12) {
            spoil(choices, &mut self.upstream);
        }
        self.may_repeat = choices.once_in(3);
    }
}

const BEHIND: [&[u8]; 3] = [b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"P"];

fn length(choices: &mut Choices<'_>) -> BodyLength {
    match choices.below(5) {
        0 | 1 => BodyLength::Empty,
        2 | 3 => BodyLength::Length(1 + choices.below(40) as u64),
        _ => BodyLength::Chunked,
    }
}

/// As `length` says.
fn content(choices: &mut Choices<'_>, length: BodyLength, out: &mut Vec<u8>) {
    match length {
        BodyLength::Empty | BodyLength::UntilClose => {}
        BodyLength::Length(length) => {
            let length = usize::try_from(length).unwrap_or(0);
            out.resize(out.len() + length, b'c');
        }
        BodyLength::Chunked => chunked(choices, out),
    }
}

fn chunked(choices: &mut Choices<'_>, out: &mut Vec<u8>) {
    for _ in 0..choices.below(3) {
        let size = 1 + choices.below(15);
        let digit = b"0123456789abcdef".get(size).copied().unwrap_or(b'1');
        out.push(digit);
        if choices.once_in(6) {
            out.extend_from_slice(choices.pick(&EXTENSIONS, b";"));
        }
        out.extend_from_slice(b"\r\n");
        out.resize(out.len() + size, b'd');
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n");
    if choices.once_in(4) {
        out.extend_from_slice(choices.pick(&TRAILERS, b"a:b\r\n"));
    }
    out.extend_from_slice(b"\r\n");
}

const EXTENSIONS: [&[u8]; 3] = [b";a=b", b" ", b";"];
const TRAILERS: [&[u8]; 5] = [
    b"Date: today\r\n",
    b"X-Sum : 1\r\n",
    b"Authorization: a\r\n",
    b"X-HTTP-Method-Override: GET\r\n",
    b"A: b\r\nB: c\r\n",
];

fn response(choices: &mut Choices<'_>, terms: Terms, out: &mut Vec<u8>) {
    let interim = match choices.below(32) {
        0 => 15 + choices.below(4),
        n @ 1..6 => 1 + n % 2,
        _ => 0,
    };
    for _ in 0..interim {
        out.extend_from_slice(choices.pick(&INTERIM, b"HTTP/1.1 100 \r\n\r\n"));
    }
    let switches = choices.below(4) < if terms.upgrade { 3 } else { 0 } || choices.once_in(64);
    if switches {
        out.extend_from_slice(choices.pick(&SWITCHING, b"HTTP/1.1 101 \r\n\r\n"));
        out.resize(out.len() + choices.below(24), b't');
        return;
    }
    out.extend_from_slice(choices.pick(&STATUS, b"HTTP/1.1 200 OK\r\n"));
    for lines in [&CONNECTION[..], &KEEP_ALIVE, &OTHERS] {
        if choices.once_in(3) {
            out.extend_from_slice(choices.pick(lines, b"A: b\r\n"));
        }
    }
    let length = length(choices);
    match length {
        BodyLength::Length(length) => {
            // Mostly the true one.
            let declared = match choices.below(8) {
                0 => choices.below(48) as u64,
                _ => length,
            };
            let written = write!(out, "Content-Length: {declared}\r\n");
            debug_assert!(written.is_ok());
        }
        BodyLength::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyLength::Empty if choices.once_in(2) => {
            out.extend_from_slice(b"Content-Length: 0\r\n");
        }
        BodyLength::Empty | BodyLength::UntilClose => {}
    }
    out.extend_from_slice(b"\r\n");
    content(choices, length, out);
    if choices.once_in(8) {
        out.resize(out.len() + choices.below(24), b's');
    }
}

const INTERIM: [&[u8]; 5] = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\nContent-Length: 4\r\n\r\n",
    b"HTTP/1.0 199 What\r\n\r\n",
];
const SWITCHING: [&[u8]; 4] = [
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c, WebSocket\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
];
const STATUS: [&[u8]; 9] = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.1 429 \r\n",
    b"HTTP/1.1 600 What\r\n",
];
const CONNECTION: [&[u8]; 3] = [
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: a, close\r\n",
];
const KEEP_ALIVE: [&[u8]; 3] = [
    b"Keep-Alive: timeout=5\r\n",
    b"Keep-Alive: max=1\r\n",
    b"Keep-Alive: timeout=0\r\n",
];
const OTHERS: [&[u8]; 3] = [b"Server: a\r\n", b"Server : a\r\n", b"Set-Cookie: a=b\r\n"];

/// Changes a byte, takes one away, puts one in, or cuts.
fn spoil(choices: &mut Choices<'_>, bytes: &mut Vec<u8>) {
    let at = choices.below(bytes.len());
    let byte = choices.pick(b"\r\n :;01aF\0\xff", b'x');
    match choices.below(4) {
        0 => {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        1 if at < bytes.len() => drop(bytes.remove(at)),
        2 => bytes.insert(at, byte),
        _ => bytes.truncate(at),
    }
}
