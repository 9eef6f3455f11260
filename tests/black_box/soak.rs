//! Hundreds of exchanges of random shape at once: every client gets its own content back, whole.

use std::sync::Arc;
use std::thread;

use crate::support::tls::{client_config, pki, server_config};
use crate::support::{ALL_SIDES, KEY, Message, Scripted, Setup, Sides, Wire};

/// Clients at a time.
const CLIENTS: u64 = 6;

/// Exchanges of each client.
const TURNS: u64 = 60;

/// A small generator; the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn size(&mut self) -> usize {
        let limit = [1, 20, 3000, 20_000, 150_000][self.below(5) as usize];
        self.below(limit) as usize
    }

    fn content(&mut self) -> Vec<u8> {
        let (size, begin) = (self.size(), self.below(256) as usize);
        (begin..begin + size).map(|i| (i * i / 7) as u8).collect()
    }

    /// The lines and bytes of a body in a framing of any kind.
    fn framed(&mut self, content: &[u8]) -> (String, Vec<u8>) {
        if self.below(2) == 0 {
            return (
                format!("Content-Length: {}\r\n", content.len()),
                content.to_vec(),
            );
        }
        let mut bytes = Vec::new();
        let mut rest = content;
        while !rest.is_empty() {
            let limit = [3, 200, 70_000][self.below(3) as usize];
            let (piece, after) = rest.split_at(rest.len().min(1 + self.below(limit) as usize));
            let extension = ["", ";x", ";a=\"b;c\""][self.below(3) as usize];
            bytes.extend_from_slice(format!("{:X}{extension}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
            rest = after;
        }
        bytes.extend_from_slice(
            ["0\r\n\r\n", "0\r\nX-T: v\r\n\r\n"][self.below(2) as usize].as_bytes(),
        );
        ("Transfer-Encoding: chunked\r\n".to_owned(), bytes)
    }

    /// Sends in pieces of any size.
    fn send(&mut self, wire: &mut Wire, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let limit = [2, 100, 100_000][self.below(3) as usize];
            let (piece, rest) = bytes.split_at(bytes.len().min(1 + self.below(limit) as usize));
            // Many tiny pieces of a large body would only cost time.
            let (piece, rest) = if bytes.len() > 5000 && piece.len() < 50 {
                (bytes, &[][..])
            } else {
                (piece, rest)
            };
            wire.send(piece);
            bytes = rest;
        }
    }
}

fn answer(random: &mut Random, wire: &mut Wire, request: &Message) -> bool {
    for _ in 0..random.below(3) {
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
    }
    let id = request.value("x-id").unwrap();
    let how = random.below(8);
    if how == 0 {
        let head = format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\n\r\n");
        random.send(wire, &[head.as_bytes(), &request.body].concat());
        wire.half_close();
        return false;
    }
    let close = if how == 1 {
        "Connection: close\r\n"
    } else {
        ""
    };
    let (lines, body) = random.framed(&request.body);
    let head = format!("HTTP/1.1 200 OK\r\nX-Id: {id}\r\n{close}{lines}\r\n");
    random.send(wire, &[head.as_bytes(), &body].concat());
    how > 1
}

fn client(mut wire: impl FnMut() -> Wire, seed: u64) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (seed << 32 | seed));
    let mut kept: Option<Wire> = None;
    for turn in 0..TURNS {
        let mut connection = kept.take().unwrap_or_else(&mut wire);
        let content = random.content();
        let (lines, body) = random.framed(&content);
        let id = format!("{seed}-{turn}");
        let head = format!(
            "POST /p/anthropic/soak HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\nX-Id: {id}\r\n{lines}\r\n"
        );
        random.send(&mut connection, &[head.as_bytes(), &body].concat());
        let mut got = connection.response();
        while got.status() == 103 {
            got = connection.response();
        }
        assert_eq!(got.status(), 200, "{id}: {}", got.text());
        assert_eq!(got.value("x-id"), Some(id.as_str()));
        assert!(
            got.body == content,
            "{id}: {} bytes, not {}",
            got.body.len(),
            content.len()
        );
        if got.value("connection") == Some("close") {
            connection.expect_end();
        } else if random.below(10) > 0 {
            kept = Some(connection);
        }
    }
}

fn soak(sides: Sides) {
    let tls = sides.upstream.then(|| server_config(&pki().server));
    let upstream = Scripted::start_as(tls, |wire, index| {
        let mut random = Random(index as u64 + 77);
        while let Ok(request) = wire.try_request() {
            if !answer(&mut random, wire, &request) {
                return;
            }
        }
    });
    let setup = Setup::new()
        .base(&upstream.url())
        .env("SLUICEGATE_WORKERS", "2");
    let gateway = if sides.client { setup.tls() } else { setup }.start();
    let config = Arc::new(client_config(rustls::ALL_VERSIONS));
    thread::scope(|scope| {
        for seed in 1..=CLIENTS {
            let (gateway, config) = (&gateway, &config);
            let connect = move || {
                if sides.client {
                    gateway.connect_tls(config)
                } else {
                    gateway.connect()
                }
            };
            scope.spawn(move || client(connect, seed));
        }
    });
}

#[test]
fn content_of_any_shape_comes_back_whole_to_whoever_sent_it() {
    soak(ALL_SIDES[0]);
}

#[test]
fn content_of_any_shape_comes_back_whole_with_tls_upstream() {
    soak(ALL_SIDES[1]);
}

#[test]
fn content_of_any_shape_comes_back_whole_with_tls_towards_clients() {
    soak(ALL_SIDES[2]);
}

#[test]
fn content_of_any_shape_comes_back_whole_with_tls_everywhere() {
    soak(ALL_SIDES[3]);
}
