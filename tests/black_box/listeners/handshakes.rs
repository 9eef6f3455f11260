//! Handshakes that go slowly or wrong, on either side.

use std::io::Write as _;

use crate::support::{PATIENCE, Scripted, Setup, Upstream, Wire, get};

const MODELS: &str = "/p/anthropic/v1/models";

#[test]
fn a_slow_handshake_is_ended_in_time() {
    let gateway = Setup::new()
        .tls()
        .toml("[timeouts]\nrequest_header = \"300ms\"\n")
        .start();
    // A record that announces 512 bytes and brings a few, or nothing at all.
    for bytes in ["", "\x16\x03\x01\x02\0\x01\0\x01"] {
        let mut client = gateway.connect();
        let _ = client.socket().write_all(bytes.as_bytes());
        let (_, took) = client.wait_for_close();
        assert!(took.as_millis() >= 250 && took.as_secs() < 5, "{took:?}");
    }
}

/// The start of a ClientHello of 40 000 bytes, each byte in a record of its own.
fn tiny_records(count: usize) -> Vec<u8> {
    let hello = [1, 0, 0x9c, 0x40, 3, 3].into_iter();
    let bytes = hello.chain(std::iter::repeat(0)).take(count);
    let records = bytes.flat_map(|byte| [22, 3, 1, 0, 1, byte]);
    records.collect()
}

#[test]
fn a_hello_in_tiny_records_ends_with_an_alert_long_before_it_is_whole() {
    let gateway = Setup::new()
        .tls()
        .toml("[timeouts]\nrequest_header = 60\n")
        .start();
    let mut client = gateway.connect();
    // The rest of it may come when nobody reads any more.
    let _ = client.try_send(tiny_records(38_000));
    let (got, _) = client.take_all();
    // A record that is too long, says TLS, which has no other word for it.
    assert_eq!(got, [21, 3, 3, 0, 2, 2, 22]);
}

/// The contract's limit, and twice that for what the allocator and the measuring add.
const HELD_KIB_MAX: u64 = 2 * 32;

#[test]
fn clients_that_do_not_finish_their_hello_hold_little() {
    const CLIENTS: u64 = 200;
    let gateway = Setup::new()
        .tls()
        .toml("[timeouts]\nrequest_header = 60\n")
        .start();
    let before = gateway.resident_kib();
    let mut clients: Vec<Wire> = (0..CLIENTS).map(|_| gateway.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        // Half of them as much as is waited for, half of them more.
        let _ = client.try_send(tiny_records([4_000, 38_000][index % 2]));
    }
    // The worker has dealt with all of them once it has with one more.
    let mut last = gateway.connect();
    let _ = last.try_send(tiny_records(38_000));
    last.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    last.take_all();
    let held = gateway.resident_kib().saturating_sub(before);
    assert!(held <= CLIENTS * HELD_KIB_MAX, "{held} KiB");
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_a_502() {
    let upstream = Scripted::start(|wire, _| {
        let _ = wire.try_send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        wire.take_all();
    });
    let url = upstream
        .url()
        .replace("http://127.0.0.1", "https://localhost");
    let gateway = Setup::new().base(&url).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let answer = client.response();
    assert_eq!(answer.status(), 502);
    assert!(
        answer.text().contains("\"code\":\"upstream_tls\""),
        "{}",
        answer.text()
    );
}

#[test]
fn a_slow_upstream_handshake_is_a_504() {
    let upstream = Upstream::listen();
    let url = format!("https://localhost:{}", upstream.addr().port());
    let gateway = Setup::new()
        .base(&url)
        .toml("[timeouts]\nconnect = \"300ms\"\n")
        .start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let answer = client.response();
    assert_eq!(answer.status(), 504);
    assert!(
        answer
            .text()
            .contains("\"code\":\"upstream_connect_timeout\""),
        "{}",
        answer.text()
    );
}
