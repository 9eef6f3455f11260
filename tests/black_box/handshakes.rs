//! Handshakes that go slowly or wrong, on either side.

use std::io::Write as _;

use crate::support::{Scripted, Setup, Upstream, get};

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
