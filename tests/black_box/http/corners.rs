//! Corners where limits, backpressure and departures meet.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::{
    ALL_SIDES, KEY, PATIENCE, Rig, Scripted, Setup, Sides, Wire, get, ok, request,
};

/// A POST without a length of its own.
fn put(line: &str) -> String {
    request("PUT", "/p/anthropic/files", &[line], "")
}

#[test]
fn heads_close_to_the_limit_arrive_intact_or_are_431() {
    let upstream = Scripted::echo();
    let gateway = Setup::new().base(&upstream.url()).start();
    let body = "b".repeat(300);
    let empty = request("POST", "/p/anthropic/x", &["X-Long: "], &body).len() - body.len();
    for head in (64 * 1024 - 400..64 * 1024 + 4)
        .step_by(13)
        .chain(64 * 1024 - 2..64 * 1024 + 3)
    {
        let line = format!("X-Long: {}", "v".repeat(head - empty));
        let mut client = gateway.connect();
        client.send(request("POST", "/p/anthropic/x", &[&line], &body));
        let got = client.response();
        if head <= 64 * 1024 {
            assert_eq!(
                (got.status(), got.text()),
                (200, body.clone()),
                "a head of {head} bytes"
            );
        } else {
            assert_eq!(got.status(), 431, "a head of {head} bytes");
        }
    }
}

#[test]
fn response_heads_close_to_the_limit_arrive_intact_or_are_502() {
    let rig = Rig::plain();
    let body = "b".repeat(300);
    let begin = "HTTP/1.1 200 OK\r\nContent-Length: 300\r\nConnection: close\r\nX-Long: ";
    let empty = begin.len() + 4;
    for head in (64 * 1024 - 400..64 * 1024 + 4).step_by(13) {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/x"));
        let value = "v".repeat(head - empty);
        peer.send(format!("{begin}{value}\r\n\r\n{body}"));
        let got = client.response();
        if head <= 64 * 1024 {
            assert_eq!(
                (got.status(), got.text()),
                (200, body.clone()),
                "a head of {head} bytes"
            );
            assert_eq!(got.value("x-long").unwrap().len(), value.len());
        } else {
            assert_eq!(got.status(), 502, "a head of {head} bytes");
        }
    }
}

#[test]
fn targets_close_to_the_limit_arrive_intact_or_are_414() {
    let upstream = Scripted::echo();
    let gateway = Setup::new().base(&upstream.url()).start();
    for len in 16 * 1024 - 3..16 * 1024 + 3 {
        let target = format!("/p/anthropic/{}", "t".repeat(len - "/p/anthropic/".len()));
        let mut client = gateway.connect();
        client.send(get(&target));
        let status = client.response().status();
        assert_eq!(
            status,
            if len <= 16 * 1024 { 200 } else { 414 },
            "a target of {len} bytes"
        );
    }
}

#[test]
fn lengths_and_chunk_sizes_of_any_magnitude_do_no_harm() {
    let rig = Rig::plain();
    for length in [
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
    ] {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/x"));
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello"
        ));
        match client.head().status() {
            200 => client.expect("hello"),
            status => assert_eq!(status, 502, "{length}"),
        }
        drop((client, peer));
        let mut client = rig.client();
        client.send(put(&format!("Content-Length: {length}")) + "hello");
        if !refused(&rig, &client) {
            let mut peer = rig.upstream.accept();
            assert_eq!(peer.head().value("content-length"), Some(length));
            peer.expect("hello");
        }
    }
    for size in [
        "7fffffffffffffff",
        "8000000000000000",
        "ffffffffffffffff",
        "fffffffffffffff",
    ] {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/x"));
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nhello"
        ));
        if client.head().status() == 200 {
            let _ = client.take_until(b"hello");
        }
        drop((client, peer));
        let mut client = rig.client();
        client.send(put("Transfer-Encoding: chunked") + &format!("{size}\r\nhello"));
        if !refused(&rig, &client) {
            let mut peer = rig.upstream.accept();
            peer.head();
            let _ = peer.take_until(b"hello");
        }
    }
    let mut client = rig.client();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

/// Whether the gateway answers by itself rather than ask the provider.
fn refused(rig: &Rig, client: &Wire) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if rig.upstream.has_connection() {
            return false;
        }
        if client.readable_now() {
            return !rig.upstream.has_connection();
        }
    }
    panic!("neither an answer nor a connection upstream");
}

#[test]
fn leading_zeros_change_no_length() {
    let upstream = Scripted::echo();
    let gateway = Setup::new().base(&upstream.url()).start();
    let chunked = |body: &str| put("Transfer-Encoding: chunked") + body;
    for text in [
        put("Content-Length: 0000000005") + "hello",
        put("Content-Length: 00000000000000000000000000000005") + "hello",
        chunked("0000000005\r\nhello\r\n0\r\n\r\n"),
        chunked("000000000000000000000000000005\r\nhello\r\n00000000\r\n\r\n"),
    ] {
        let mut client = gateway.connect();
        client.send(&text);
        let got = client.response();
        if got.status() != 400 {
            assert_eq!(got.text(), "hello", "{text}");
        }
    }
}

#[test]
fn content_behind_a_refused_expectation_is_never_taken_for_a_request() {
    let smuggled = get("/p/anthropic/smuggled");
    let rig = Rig::plain();
    for answer in ["417 Expectation Failed", "413 Content Too Large", "200 OK"] {
        let mut client = rig.client();
        let length = format!("Content-Length: {}", smuggled.len());
        client.send(request(
            "PUT",
            "/p/anthropic/x",
            &["Expect: 100-continue", &length],
            "",
        ));
        let mut peer = rig.upstream.accept();
        peer.head();
        peer.send(crate::support::response(answer, &[], "no"));
        let got = client.response();
        assert_eq!(got.text(), "no");
        let _ = client.try_send(&smuggled);
        let (rest, _) = client_end(&mut client);
        assert!(!rest.contains("HTTP/1.1 200"), "{answer}: {rest}");
        while rig.upstream.has_connection() {
            assert_eq!(rig.upstream.accept().take_all().0, b"", "{answer}");
        }
    }
}

/// What comes until the end, which a half-close brings about.
fn client_end(client: &mut Wire) -> (String, crate::support::End) {
    client.half_close();
    let (rest, end) = client.take_all();
    (String::from_utf8_lossy(&rest).into_owned(), end)
}

#[test]
fn a_thousand_pipelined_requests_that_nobody_reads_the_answers_of_wait_and_go_on() {
    let upstream = Scripted::echo();
    let gateway = Setup::new().base(&upstream.url()).start();
    let mut client = gateway.connect();
    let body = "b".repeat(10_000);
    let all: String = (0..1000)
        .map(|i| request("POST", &format!("/p/anthropic/r{i}"), &[], &body))
        .collect();
    let mut writer = client.socket().try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(all.as_bytes()).unwrap());
    // Answers are read only once the gateway has stopped taking requests, or has taken all of them.
    let mut before = 0;
    loop {
        let received = upstream.received().iter().map(String::len).sum();
        if received == before && received > 0 {
            break;
        }
        before = received;
        client
            .socket()
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        assert!(client.socket().peek(&mut [0]).is_ok());
        wait(&client, Duration::from_millis(300));
    }
    client.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    for i in 0..1000 {
        let got = client.response();
        assert_eq!(got.value("x-target"), Some(format!("/r{i}").as_str()));
        assert_eq!(got.body.len(), body.len());
    }
    sender.join().unwrap();
    assert!(gateway.resident_peak_kib() < 64 * 1024);
}

/// Waits for what never comes.
fn wait(client: &Wire, limit: Duration) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let timeout = Timespec {
        tv_sec: 0,
        tv_nsec: limit.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(client.socket(), PollFlags::PRI)];
    let _ = poll(&mut fds, Some(&timeout));
}

/// Writes until nothing is taken any more.
fn fill_up(wire: &mut Wire) {
    wire.socket()
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let piece = vec![b'x'; 1 << 16];
    while (&mut wire.socket()).write(&piece).is_ok() {}
    wire.socket().set_write_timeout(Some(PATIENCE)).unwrap();
}

#[test]
fn a_client_that_leaves_without_having_read_cuts_an_upstream_that_waits() {
    for reset in [true, false] {
        let rig = Rig::plain();
        let (client, mut peer, _) = rig.exchange(&get("/p/anthropic/x"));
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        fill_up(&mut peer);
        let begin = Instant::now();
        if reset {
            client.reset()
        } else {
            drop(client)
        }
        while peer.try_send([b'x'; 1 << 16]).is_ok() {}
        assert!(
            begin.elapsed() < Duration::from_secs(2),
            "after {:?}",
            begin.elapsed()
        );
    }
}

/// With a reset only: an orderly end waits behind the bytes that nobody takes, and is not seen by anyone.
#[test]
fn a_client_that_resets_while_the_upstream_does_not_read_is_noticed() {
    let rig = Rig::plain();
    let mut client = rig.client();
    client.send(put("Content-Length: 1000000000"));
    let mut peer = rig.upstream.accept();
    peer.head();
    fill_up(&mut client);
    let begin = Instant::now();
    client.reset();
    // The provider reads nothing, so the end of the exchange shows in the access log only.
    rig.gateway
        .wait_log(|line| line.contains("/p/anthropic/files"));
    let after = begin.elapsed();
    assert!(after < Duration::from_secs(2), "after {after:?}");
    peer.wait_for_close();
}

#[test]
fn a_close_notify_alone_is_leaving_too() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/x"));
    client.close_notify();
    let (_, after) = peer.wait_for_close();
    assert!(after < Duration::from_secs(2), "after {after:?}");
}

#[test]
fn one_client_that_leaves_does_not_disturb_another() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let (mut stays, mut source, _) = rig.exchange(&get("/p/anthropic/stays"));
        source.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        stays.head();
        for turn in 0..10 {
            let (leaves, mut peer, _) = rig.exchange(&get("/p/anthropic/leaves"));
            leaves.reset();
            peer.wait_for_close();
            let event = format!("data: {turn}\n\n");
            source.send(format!("{:x}\r\n{event}\r\n", event.len()));
            stays.expect_chunks(event);
        }
    }
}

#[test]
fn a_client_that_leaves_between_requests_costs_no_upstream_connection() {
    let mut rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/x"));
    peer.send(ok("first"));
    client.response();
    client.reset();
    rig.settle();
    let mut other = rig.client();
    other.send(get("/p/anthropic/x"));
    peer.request();
    peer.send(ok("second"));
    assert_eq!(other.response().text(), "second");
    assert!(!rig.upstream.has_connection());
}

#[test]
fn an_upgrade_with_content_does_no_harm() {
    let rig = Rig::plain();
    let lines = ["Connection: Upgrade", "Upgrade: websocket"];
    let (mut client, mut peer, seen) =
        rig.exchange(&request("GET", "/p/openai/realtime", &lines, "content"));
    assert_eq!(seen.text(), "content");
    peer.send(ok("no"));
    assert_eq!(client.response().text(), "no");
    client.send(get("/health"));
    assert_eq!(client.response().text(), "{\"status\":\"ok\"}");
}

#[test]
fn a_close_delimited_answer_to_an_http_1_0_client_that_asked_to_stay_ends_the_connection() {
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&format!(
        "GET /p/anthropic/x HTTP/1.0\r\nConnection: keep-alive\r\nx-api-key: {KEY}\r\n\r\n"
    ));
    peer.send("HTTP/1.1 200 OK\r\n\r\nall");
    peer.close();
    let got = client.response();
    assert_eq!(
        (got.text().as_str(), got.value("connection")),
        ("all", Some("close"))
    );
}
