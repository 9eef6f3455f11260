//! What one peer can do that would have a whole worker for itself: clients with a key and without, and providers.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ClientConfig;

use super::flood::{Flood, keep, sealed};
use super::goes_on;
use super::probe::Provider;
use super::scenes::{Scene, asks};
use crate::support::tls::client_config;
use crate::support::{Gateway, KEY, PATIENCE, Setup};

const fn scene(name: &'static str, disturb: fn(&Gateway, &AtomicBool)) -> Scene {
    Scene {
        name,
        toml: without_log,
        start: Setup::start,
        prepare: |_| {},
        disturb,
        threads: 1,
        tls: false,
    }
}

const fn tls(name: &'static str, disturb: fn(&Gateway, &AtomicBool)) -> Scene {
    Scene {
        tls: true,
        ..scene(name, disturb)
    }
}

fn without_log(_: &Provider) -> String {
    "[log]\naccess = false\n".to_owned()
}

#[test]
fn pipeline() {
    goes_on(&scene("pipeline", |gateway, over| {
        pipelined(gateway, over, 1)
    }));
}

#[test]
fn pipelines() {
    goes_on(&scene("pipelines", |gateway, over| {
        pipelined(gateway, over, 12)
    }));
}

#[test]
fn sipped() {
    goes_on(&scene("sipped", |gateway, over| {
        keep(4, over, || {
            Flood::new(gateway, b"", &nowhere()).sipping(100)
        });
    }));
}

#[test]
fn behind() {
    goes_on(&scene("behind", |gateway, over| {
        let once = b"GET / HTTP/1.1\r\nHost g\r\n\r\n";
        keep(4, over, || Flood::new(gateway, once, &[b'x'; 64 * 1024]));
    }));
}

#[test]
fn tiny_up() {
    goes_on(&scene("tiny up", |gateway, over| {
        let once = uploads("Transfer-Encoding: chunked");
        let again = b"1\r\nx\r\n".repeat(40_000);
        keep(1, over, || Flood::new(gateway, once.as_bytes(), &again));
    }));
}

#[test]
fn tiny_down() {
    goes_on(&scene("tiny down", |gateway, over| {
        let once = asks("/p/probe/tiny").replace("HTTP/1.1", "HTTP/1.0");
        keep(1, over, || Flood::new(gateway, once.as_bytes(), b""));
    }));
}

#[test]
fn bulk_down() {
    goes_on(&scene("bulk down", |gateway, over| {
        let once = asks("/p/probe/bulk");
        keep(2, over, || Flood::new(gateway, once.as_bytes(), b""));
    }));
}

#[test]
fn bulk_up() {
    goes_on(&scene("bulk up", |gateway, over| {
        let once = uploads("Content-Length: 1000000000000");
        keep(2, over, || {
            Flood::new(gateway, once.as_bytes(), &[b'x'; 256 * 1024])
        });
    }));
}

#[test]
fn options() {
    goes_on(&scene("options", |gateway, over| {
        keep(2, over, || Flood::new(gateway, b"", &many_options()));
    }));
}

#[test]
fn at_once() {
    goes_on(&scene("at once", |gateway, over| {
        heads_at_once(gateway, over, &many_options());
    }));
}

#[test]
fn at_door() {
    goes_on(&scene("at door", |gateway, over| {
        let head = String::from_utf8(many_options())
            .unwrap()
            .replace(KEY, "nobody's");
        heads_at_once(gateway, over, head.as_bytes());
    }));
}

#[test]
fn records() {
    goes_on(&tls("records", tiny_records));
}

#[test]
fn hellos() {
    goes_on(&tls("hellos", say_hello));
}

fn nowhere() -> Vec<u8> {
    b"GET /x HTTP/1.1\r\nHost: g\r\n\r\n".repeat(1000)
}

fn pipelined(gateway: &Gateway, over: &AtomicBool, count: usize) {
    let mut requests = Vec::new();
    for request in ["GET /x", "OPTIONS *", "HEAD /health"] {
        let request = format!("{request} HTTP/1.1\r\nHost: g\r\n\r\n");
        requests.extend(request.repeat(300).into_bytes());
    }
    keep(count, over, || Flood::new(gateway, b"", &requests));
}

fn uploads(framing: &str) -> String {
    format!("POST /p/probe/upload HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n{framing}\r\n\r\n")
}

/// As large a head as may be, of lines that name fields to be removed.
fn many_options() -> Vec<u8> {
    let mut head = format!("GET /p/probe/x HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n");
    for _ in 0..95 {
        let _ = write!(head, "Connection: {}b\r\n", "a,".repeat(330));
    }
    head.push_str("\r\n");
    assert!(head.len() > 60_000 && head.len() <= 65_536);
    head.into_bytes()
}

/// Many clients that each send the last byte of a head when all the others do.
fn heads_at_once(gateway: &Gateway, over: &AtomicBool, head: &[u8]) {
    let (last, most) = head.split_last().unwrap();
    let connect = |_| {
        let socket = TcpStream::connect_timeout(&gateway.addr(), PATIENCE).unwrap();
        // What others wait is what is tested; these are many, and each of them waits for all.
        socket.set_read_timeout(Some(6 * PATIENCE)).unwrap();
        socket
    };
    // A debug build takes ten times as long for each.
    let count = if cfg!(debug_assertions) { 100 } else { 600 };
    let mut sockets: Vec<TcpStream> = (0..count).map(connect).collect();
    let mut count = 0;
    while !over.load(Ordering::SeqCst) {
        for socket in &mut sockets {
            socket.write_all(most).unwrap();
        }
        for socket in &mut sockets {
            socket.write_all(&[*last]).unwrap();
        }
        for socket in &mut sockets {
            assert!(socket.read(&mut [0; 16 * 1024]).unwrap() > 0);
            count += 1;
        }
    }
    println!("({count} heads at once)");
}

fn client() -> Arc<ClientConfig> {
    Arc::new(client_config(rustls::ALL_VERSIONS))
}

/// Content in records of one byte. They are sealed before, so as many as that are sent and then others on a new
/// connection.
fn tiny_records(gateway: &Gateway, over: &AtomicBool) {
    let config = client();
    let head = uploads("Content-Length: 1000000000000");
    let content = vec![b'x'; 200_000];
    while !over.load(Ordering::SeqCst) {
        let (mut socket, records) = sealed(gateway, &config, &[head.as_bytes(), &content]);
        for records in records {
            if socket.write_all(&records).is_err() {
                break;
            }
        }
    }
}

/// The first message of a handshake, again and again: the answer is what costs.
fn say_hello(gateway: &Gateway, over: &AtomicBool) {
    let name = "localhost".try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(client(), name).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut count = 0;
    while !over.load(Ordering::SeqCst) {
        let sockets: Vec<TcpStream> = (0..100)
            .map(|_| {
                let mut socket = TcpStream::connect_timeout(&gateway.addr(), PATIENCE).unwrap();
                socket.write_all(&hello).unwrap();
                socket
            })
            .collect();
        for mut socket in sockets {
            count += usize::from(socket.read(&mut [0; 16 * 1024]).is_ok());
        }
    }
    println!("({count} handshakes)");
}
