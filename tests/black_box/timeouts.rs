//! Every configured time: what it ends, with which answer, and not long before or after it is over.

use std::time::{Duration, Instant};

use crate::support::{End, Gateway, Message, Setup, Sides, Upstream, get, post, request};

const CHAT: &str = "/p/openai/chat/completions";
const MODELS: &str = "/p/openai/models";

/// Asserts that a time of one second has passed, on a machine that may be busy.
#[track_caller]
fn one_second(since: Instant, what: &str) {
    let took = since.elapsed();
    eprintln!("{what}: {took:?}");
    let bounds = Duration::from_millis(900)..Duration::from_secs(5);
    assert!(bounds.contains(&took), "{what}: {took:?}");
}

/// One second for this, the defaults for everything else.
fn timeout(name: &str) -> String {
    format!("[timeouts]\n{name} = \"1s\"\n")
}

fn before(upstream: &Upstream, name: &str) -> Gateway {
    let base = format!("{}/v1", upstream.url());
    Setup::new().base(&base).toml(&timeout(name)).start()
}

#[track_caller]
fn expect_error(answer: &Message, status: u16, code: &str, retry: &str) {
    assert_eq!(answer.status(), status, "{answer:?}");
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["error"]["code"], code);
    assert_eq!(answer.value("x-should-retry"), Some(retry));
}

#[test]
fn a_missing_response_head_is_a_504() {
    Sides::each(
        |setup| setup.toml(&timeout("response_header")),
        |sides| {
            let begin = Instant::now();
            let (mut client, mut peer) = sides.begin(post(CHAT, "{}"));
            expect_error(&client.response(), 504, "upstream_timeout", "false");
            one_second(begin, sides.name);
            peer.expect("{}");
            let _ = peer.expect_end();
            // The request was whole: its connection stays.
            client.send(get("/health"));
            assert_eq!(client.response().status(), 200);
        },
    );
}

#[test]
fn interim_responses_do_not_prolong_the_wait_for_the_head() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream, "response_header");
    let mut client = gateway.connect();
    let begin = Instant::now();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    let _ = peer.head();
    peer.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_eq!(client.response().status(), 103);
    expect_error(&client.response(), 504, "upstream_timeout", "false");
    one_second(begin, "behind a 103");
}

#[test]
fn half_a_response_head_counts_as_none() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream, "response_header");
    let mut client = gateway.connect();
    let begin = Instant::now();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    let _ = peer.head();
    peer.send("HTTP/1.1 200 OK\r\nContent-");
    expect_error(&client.response(), 504, "upstream_timeout", "false");
    one_second(begin, "half a head");
}

#[test]
fn the_wait_for_the_head_begins_when_the_request_is_sent() {
    let upstream = Upstream::listen();
    let toml = "[timeouts]\nresponse_header = \"1s\"\nbody_idle = \"2s\"\n";
    let base = format!("{}/v1", upstream.url());
    let gateway = Setup::new().base(&base).toml(toml).start();
    let mut client = gateway.connect();
    let begin = Instant::now();
    client.send(request("PUT", MODELS, &["Content-Length: 4"], ""));
    let mut peer = upstream.accept();
    let _ = peer.head();
    expect_error(&client.response(), 408, "request_timeout", "false");
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(1900), "{took:?}");
}

#[test]
fn half_a_request_head_is_a_408_and_closes() {
    Sides::each(
        |setup| setup.toml(&timeout("request_header")),
        |sides| {
            let mut client = sides.connect();
            client.handshake().unwrap();
            let begin = Instant::now();
            client.send("GET /p/openai/models HTTP/1.1\r\nHost: ");
            let answer = client.response();
            one_second(begin, sides.name);
            expect_error(&answer, 408, "request_timeout", "false");
            assert_eq!(answer.value("connection"), Some("close"));
            assert_eq!(client.expect_end(), End::Clean);
            assert!(!sides.upstream.has_connection());
        },
    );
}

#[test]
fn a_request_head_is_not_prolonged_byte_by_byte() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream, "request_header");
    let mut client = gateway.connect();
    let begin = Instant::now();
    client.send("GET /p/openai/models HTTP/1.1\r\n");
    // Each further piece follows an answer on another connection, so that no loop runs wild; the pieces stay
    // far below the limit for a head, which would end it as well.
    let mut other = gateway.connect();
    let mut due = Duration::ZERO;
    while !client.readable_now() && begin.elapsed() < Duration::from_secs(5) {
        if begin.elapsed() > due {
            due += Duration::from_millis(50);
            let _ = client.try_send("X");
        }
        other.send("OPTIONS * HTTP/1.1\r\nHost: gateway\r\n\r\n");
        assert_eq!(other.response().status(), 204);
    }
    expect_error(&client.response(), 408, "request_timeout", "false");
    one_second(begin, "byte by byte");
}

#[test]
fn a_client_that_never_speaks_is_let_go() {
    Sides::each(
        |setup| setup.toml(&timeout("idle_client")),
        |sides| {
            let begin = Instant::now();
            let mut client = sides.connect();
            client.handshake().unwrap();
            assert_eq!(client.expect_end(), End::Clean, "{}", sides.name);
            one_second(begin, sides.name);
        },
    );
}

#[test]
fn an_idle_client_is_let_go_in_order() {
    Sides::each(
        |setup| setup.toml(&timeout("idle_client")),
        |sides| {
            let mut client = sides.connect();
            client.send(get("/health"));
            assert_eq!(client.response().status(), 200);
            let begin = Instant::now();
            assert_eq!(client.expect_end(), End::Clean, "{}", sides.name);
            one_second(begin, sides.name);
        },
    );
}

#[test]
fn a_tls_handshake_that_stalls_ends() {
    let upstream = Upstream::listen();
    let base = format!("{}/v1", upstream.url());
    let both = "[timeouts]\nrequest_header = \"1s\"\nidle_client = \"1s\"\n";
    let gateway = Setup::new().base(&base).tls().toml(both).start();
    let mut client = gateway.connect();
    let begin = Instant::now();
    // The begin of a ClientHello's record.
    client.send([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]);
    let _ = client.wait_for_close();
    one_second(begin, "half a handshake");
}

#[test]
fn a_response_body_that_stalls_is_cut() {
    Sides::each(
        |setup| setup.toml(&timeout("body_idle")),
        |sides| {
            let (mut client, mut peer) = sides.begin(get(MODELS));
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
            let _ = client.head();
            client.expect("2\r\nhi\r\n");
            let begin = Instant::now();
            let _ = client.expect_end();
            one_second(begin, sides.name);
            let _ = peer.expect_end();
        },
    );
}

#[test]
fn a_close_delimited_body_that_stalls_is_cut_visibly() {
    Sides::each(
        |setup| setup.toml(&timeout("body_idle")),
        |sides| {
            let (mut client, mut peer) = sides.begin(get(MODELS));
            peer.send("HTTP/1.1 200 OK\r\n\r\nhi");
            let _ = client.head();
            client.expect("hi");
            let begin = Instant::now();
            assert_ne!(client.expect_end(), End::Clean, "{}", sides.name);
            one_second(begin, sides.name);
        },
    );
}

#[test]
fn every_body_byte_restarts_the_wait() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream, "body_idle");
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    let _ = peer.head();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let _ = client.head();
    // Well beyond the limit in all; an event stream's comment is a byte like any other.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(2500) {
        peer.send("2\r\n:\n\r\n");
        client.expect("2\r\n:\n\r\n");
    }
    peer.send("0\r\n\r\n");
    client.expect("0\r\n\r\n");
}

#[test]
fn an_upload_that_stalls_is_a_408() {
    Sides::each(
        |setup| setup.toml(&timeout("body_idle")),
        |sides| {
            let lines = ["Content-Length: 10"];
            let (mut client, mut peer) = sides.begin(request("PUT", MODELS, &lines, ""));
            client.send("half ");
            peer.expect("half ");
            let begin = Instant::now();
            let answer = client.response();
            one_second(begin, sides.name);
            expect_error(&answer, 408, "request_timeout", "false");
            assert_eq!(client.expect_end(), End::Clean);
            let _ = peer.expect_end();
        },
    );
}

#[test]
fn a_connect_that_stalls_is_a_504_worth_repeating() {
    // It accepts and never answers the TLS handshake, which is a part of connecting.
    let upstream = Upstream::listen();
    let base = format!("https://localhost:{}/v1", upstream.addr().port());
    let gateway = Setup::new().base(&base).toml(&timeout("connect")).start();
    let mut client = gateway.connect();
    let begin = Instant::now();
    client.send(post(CHAT, "{}"));
    let mut peer = upstream.accept();
    let answer = client.response();
    one_second(begin, "connect");
    expect_error(&answer, 504, "upstream_connect_timeout", "true");
    let (_, _) = peer.wait_for_close();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn the_ceiling_ends_an_exchange_that_is_silent() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream, "request");
    let mut client = gateway.connect();
    let begin = Instant::now();
    client.send(post(CHAT, "{}"));
    let mut peer = upstream.accept();
    let _ = peer.request();
    expect_error(&client.response(), 504, "upstream_timeout", "false");
    one_second(begin, "silent");
    let _ = peer.expect_end();
}

#[test]
fn the_ceiling_ends_an_exchange_that_is_busy() {
    Sides::each(
        |setup| setup.toml(&timeout("request")),
        |sides| {
            let begin = Instant::now();
            let (mut client, mut peer) = sides.begin(get(MODELS));
            peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let _ = client.head();
            while peer.try_send("2\r\nhi\r\n").is_ok() && client.take(7).is_ok() {
                assert!(begin.elapsed() < Duration::from_secs(8), "it goes on");
            }
            one_second(begin, sides.name);
            let (rest, _) = client.take_all();
            assert!(!rest.ends_with(b"0\r\n\r\n"));
        },
    );
}

#[test]
fn the_ceiling_holds_for_one_request_not_for_the_connection() {
    let upstream = Upstream::listen();
    let gateway = before(&upstream, "request");
    let mut client = gateway.connect();
    let begin = Instant::now();
    let mut peer = None;
    while begin.elapsed() < Duration::from_millis(2500) {
        client.send(get(MODELS));
        let peer = peer.get_or_insert_with(|| upstream.accept());
        let _ = peer.head();
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(client.response().status(), 204);
    }
}

#[test]
fn an_idle_tunnel_ends() {
    Sides::each(
        |setup| setup.toml(&timeout("tunnel_idle")),
        |sides| {
            let lines = ["Connection: Upgrade", "Upgrade: websocket"];
            let (mut client, mut peer) = sides.begin(request("GET", MODELS, &lines, ""));
            let answer = "HTTP/1.1 101 Switching Protocols\r\n\
                          Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
            peer.send(answer);
            assert_eq!(client.head().status(), 101);
            client.send("ping");
            peer.expect("ping");
            let begin = Instant::now();
            let _ = client.expect_end();
            one_second(begin, sides.name);
            let _ = peer.expect_end();
        },
    );
}
