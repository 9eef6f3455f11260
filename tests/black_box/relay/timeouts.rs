//! Time limits: what they end and what it is answered with. One second each; bounds are loose.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::chunked::CHUNKED;
use crate::support::{ALL_SIDES, End, KEY, Message, PATIENCE, Rig, Sides, Wire, get, ok, request};

/// Sets one limit to one second.
fn limited(name: &str) -> Rig {
    Rig::with(|setup| setup.toml(&format!("[timeouts]\n{name} = 1\n")))
}

/// Begins now; ends by asserting that between half a second and eight went by.
struct About(Instant);

impl About {
    fn now() -> Self {
        Self(Instant::now())
    }

    #[track_caller]
    fn a_second(self) {
        let after = self.0.elapsed();
        let range = Duration::from_millis(500)..Duration::from_secs(8);
        assert!(range.contains(&after), "after {after:?}");
    }
}

#[track_caller]
fn code(got: &Message, status: u16, kind: &str, retry: bool) -> String {
    assert_eq!(got.status(), status, "{}", got.text());
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["error"]["type"], kind);
    assert_eq!(
        got.value("x-should-retry"),
        Some(if retry { "true" } else { "false" })
    );
    body["error"]["code"].as_str().unwrap().to_owned()
}

#[test]
fn response_header_is_504_and_cuts_the_upstream() {
    let rig = limited("response_header");
    for begun in ["", "HTTP/1.1 103 Hints\r\n\r\n", "HTTP/1.1 200 OK\r\nX-A"] {
        let mut client = rig.client();
        client.send(request("POST", "/p/anthropic/messages", &[], "{}"));
        let about = About::now();
        let mut peer = rig.upstream.accept();
        peer.request();
        peer.send(begun);
        let mut got = client.response();
        if got.status() == 103 {
            got = client.response();
        }
        about.a_second();
        assert_eq!(
            code(&got, 504, "timeout_error", false),
            "upstream_timeout",
            "{begun:?}"
        );
        peer.wait_for_close();
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200, "{begun:?}");
    }
}

#[test]
fn response_header_has_a_variable() {
    let rig = Rig::with(|setup| setup.env("HTTP_RESPONSE_HEADER_TIMEOUT", "1"));
    let (mut client, _peer, _) = rig.exchange(&get("/p/anthropic/models"));
    assert_eq!(client.response().status(), 504);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "that time passes is what is tested"
)]
fn empty_lines_behind_a_message_are_no_request_that_has_begun() {
    let limits = "[timeouts]\nrequest_header = 1\nidle_client = 3\n";
    let rig = Rig::with(|setup| setup.toml(limits));
    let text = request("POST", "/p/anthropic/x", &[], "ab") + "\r\n\r";
    let (mut client, mut peer, _) = rig.exchange(&text);
    peer.send(ok("first"));
    client.response();
    let mut other = rig.client();
    other.send(get("/health"));
    other.response();
    other.send("\r\n");
    // Longer than a head may take.
    let begun = Instant::now();
    thread::sleep(Duration::from_millis(1500));
    other.send(get("/health"));
    assert_eq!(other.response().status(), 200);
    client.send("\n\r\n");
    assert_eq!(client.expect_end(), End::Clean);
    let after = begun.elapsed();
    assert!(after < Duration::from_secs(8), "idle for {after:?}");
}

#[test]
fn request_header_is_408_and_closes() {
    let rig = limited("request_header");
    let mut client = rig.client();
    let about = About::now();
    client.send("GET /p/anthropic/models HTTP/1.1\r\nHost: g\r\n");
    let got = client.response();
    about.a_second();
    code(&got, 408, "invalid_request_error", true_or_false(&got));
    assert_eq!(got.value("connection"), Some("close"));
    client.wait_for_close();
    rig.upstream.expect_untouched();
}

/// Nothing can have reached the provider when a head stalls; whether trying again can help is open.
fn true_or_false(got: &Message) -> bool {
    got.value("x-should-retry") == Some("true")
}

#[test]
fn request_header_counts_from_the_first_byte_and_slow_bytes_do_not_help() {
    let rig = limited("request_header");
    let mut client = rig.client();
    let about = About::now();
    let mut bytes = get("/p/anthropic/models").into_bytes().into_iter();
    // One byte each time that nothing came back for a fifth of a second.
    while !answered_within(&mut client, Duration::from_millis(200)) {
        client.try_send([bytes.next().unwrap()]).unwrap();
    }
    about.a_second();
    assert_eq!(client.response().status(), 408);
}

/// Waits a while for something to read.
fn answered_within(wire: &mut Wire, limit: Duration) -> bool {
    wire.socket().set_read_timeout(Some(limit)).unwrap();
    let peeked = wire.socket().peek(&mut [0]);
    wire.socket().set_read_timeout(Some(PATIENCE)).unwrap();
    peeked.is_ok()
}

#[test]
fn a_request_body_that_stalls_is_408() {
    let rig = limited("body_idle");
    let mut client = rig.client();
    client.send(request("PUT", "/p/anthropic/files", &["Content-Length: 1000"], "") + "begin");
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.expect("begin");
    let got = client.response();
    code(&got, 408, "invalid_request_error", false);
    peer.wait_for_close();
    client.wait_for_close();
}

#[test]
fn body_idle_ends_a_response_that_stalls() {
    let rig = limited("body_idle");
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    let about = About::now();
    client.head();
    client.expect_chunks("hello");
    let (rest, _) = client.take_all();
    about.a_second();
    assert_eq!(rest, b"");
    peer.wait_for_close();
}

#[test]
fn any_byte_keeps_a_response_alive() {
    let rig = limited("body_idle");
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    for _ in 0..3 {
        assert!(
            !answered_within(&mut client, Duration::from_millis(600)),
            "cut too early"
        );
        peer.send("2\r\n\n\n\r\n");
        client.expect_chunks("\n\n");
    }
    peer.send("0\r\n\r\n");
    assert_eq!(client.chunk().unwrap(), b"");
    client.trailers().unwrap();
}

#[test]
fn bytes_of_the_request_keep_a_response_alive() {
    let rig = limited("body_idle");
    let mut client = rig.client();
    client.send(request(
        "PUT",
        "/p/anthropic/files",
        &["Content-Length: 1000"],
        "",
    ));
    let mut peer = rig.upstream.accept();
    peer.head();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    client.head();
    for _ in 0..3 {
        assert!(
            !answered_within(&mut client, Duration::from_millis(600)),
            "cut too early"
        );
        client.send("more");
        peer.expect("more");
    }
    peer.send("hi");
    client.expect("hi");
}

#[test]
fn idle_client_closes_a_kept_connection_in_good_order() {
    for sides in [false, true].map(|client| Sides {
        client,
        upstream: false,
    }) {
        let rig = Rig::on(sides, |setup| setup.toml("[timeouts]\nidle_client = 2\n"));
        let mut client = rig.client();
        client.send(get("/health"));
        let got = client.response();
        assert_eq!(got.value("keep-alive"), Some("timeout=1"));
        let about = About::now();
        assert_eq!(client.expect_end(), End::Clean, "{sides:?}");
        about.a_second();
    }
}

#[test]
fn a_connection_without_a_request_is_closed_without_an_answer() {
    let rig = Rig::with(|setup| setup.toml("[timeouts]\nidle_client = 1\nrequest_header = 1\n"));
    let mut client = rig.client();
    assert_eq!(client.expect_end(), End::Clean);
}

/// Plain and under TLS, where a second for the handshake comes before it.
#[test]
fn a_fresh_connection_that_says_nothing_has_as_long_as_a_head() {
    for client in [false, true] {
        let sides = Sides {
            client,
            upstream: false,
        };
        let rig = Rig::on(sides, |setup| {
            setup.toml("[timeouts]\nrequest_header = 1\n")
        });
        let mut kept = rig.client();
        kept.send(get("/health"));
        kept.response();
        // Empty lines are no request that has begun.
        for nothing in ["", "\r\n"] {
            let mut silent = rig.client();
            if client {
                silent.handshake().unwrap();
            }
            silent.send(nothing);
            let about = About::now();
            assert_eq!(silent.expect_end(), End::Clean, "{sides:?} {nothing:?}");
            about.a_second();
        }
        // One that has asked is idle, not fresh.
        kept.send(get("/health"));
        assert_eq!(kept.response().status(), 200, "{sides:?}");
    }
}

#[test]
fn idle_client_does_not_count_while_a_request_is_answered() {
    let rig = limited("idle_client");
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    assert!(!answered_within(&mut client, Duration::from_millis(1500)));
    peer.send(ok("late"));
    assert_eq!(client.response().text(), "late");
}

#[test]
fn a_tls_handshake_that_stalls_is_closed() {
    let rig = Rig::on(Sides::TLS_CLIENT, |setup| {
        setup.toml("[timeouts]\nidle_client = 1\nrequest_header = 1\n")
    });
    for begun in [b"" as &[u8], b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = rig.gateway.connect();
        client.send(begun);
        client.wait_for_close();
    }
}

#[test]
fn connect_includes_tls_and_is_504_worth_a_retry() {
    let rig = Rig::with(|setup| {
        let url = setup
            .var("ANTHROPIC_BASE_URL")
            .replace("http://", "https://");
        setup.base(&url).toml("[timeouts]\nconnect = 1\n")
    });
    let mut client = rig.client();
    let about = About::now();
    client.send(request("POST", "/p/anthropic/messages", &[], "{}"));
    let mut peer = rig.upstream.accept();
    let got = client.response();
    about.a_second();
    code(&got, 504, "timeout_error", true);
    peer.wait_for_close();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn http_timeout_is_a_ceiling_on_the_whole_exchange() {
    for (toml, variable) in [("[timeouts]\nrequest = \"1s\"\n", None), ("", Some("1"))] {
        let rig = Rig::with(|setup| {
            let setup = setup.toml(toml);
            match variable {
                Some(time) => setup.env("HTTP_TIMEOUT", time),
                None => setup,
            }
        });
        // Silent: an answer can still be given.
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        let about = About::now();
        assert_eq!(client.response().status(), 504);
        about.a_second();
        peer.wait_for_close();
        // Silent in the middle of an answer: cut.
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        let about = About::now();
        peer.send(format!("{CHUNKED}1\r\na\r\n"));
        let broken = client.try_response().unwrap_err();
        about.a_second();
        let status = broken.head.map(|head| head.status());
        assert_eq!((broken.body, status), (b"a".to_vec(), Some(200)));
        assert!(matches!(broken.end, End::Clean | End::Reset));
        // Streaming, with bytes all the time: cut.
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        let about = About::now();
        peer.send(CHUNKED);
        client.head();
        while !answered_within(&mut peer, Duration::from_millis(200)) {
            if peer.try_send("1\r\nx\r\n").is_err() {
                break;
            }
        }
        about.a_second();
        let (rest, _) = client.take_all();
        assert!(!rest.ends_with(b"0\r\n\r\n"));
    }
}

/// Neither side ever waits for the other.
#[test]
fn http_timeout_ends_bulk_too() {
    for sides in ALL_SIDES {
        let rig = Rig::on(sides, |setup| setup.env("HTTP_TIMEOUT", "1"));
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        let length = 1_u64 << 40;
        peer.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        ));
        let begin = Instant::now();
        let sender = thread::spawn(move || {
            let piece = vec![b'x'; 256 * 1024];
            while peer.try_send(&piece).is_ok() {}
        });
        let mut room = vec![0; 256 * 1024];
        while client.read(&mut room).is_ok() {
            assert!(begin.elapsed() < PATIENCE, "{sides:?}: it goes on");
        }
        sender.join().unwrap();
    }
}

#[test]
fn tunnel_idle_ends_a_silent_tunnel_and_body_idle_does_not() {
    let rig = Rig::with(|setup| setup.toml("[timeouts]\nbody_idle = 1\ntunnel_idle = 3\n"));
    let lines = ["Connection: Upgrade", "Upgrade: websocket"];
    let (mut client, mut peer, _) = rig.exchange(&request("GET", "/p/openai/realtime", &lines, ""));
    peer.send("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    client.head();
    assert!(
        !answered_within(&mut client, Duration::from_millis(1500)),
        "cut by body_idle"
    );
    peer.send("x");
    client.expect("x");
    let begin = Instant::now();
    peer.wait_for_close();
    assert!(
        begin.elapsed() > Duration::from_secs(2),
        "after {:?}",
        begin.elapsed()
    );
    client.wait_for_close();
}

#[test]
fn a_client_that_reads_nothing_is_cut_after_body_idle() {
    let rig = limited("body_idle");
    let (client, mut peer, _) = rig.exchange(&format!(
        "GET /p/anthropic/models HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n\r\n"
    ));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    let piece = vec![b'x'; 64 * 1024];
    while peer.try_send(&piece).is_ok() {}
    drop(client);
}

/// A client that takes nothing of an answer that is larger than all buffers on its way.
fn expect_cut_unread(sides: Sides, timeouts: &str) {
    let mut rig = Rig::on(sides, |setup| {
        setup.toml(&format!("[timeouts]\n{timeouts}\n"))
    });
    rig.settle();
    let at_rest = rig.gateway.descriptors().len();
    let (_client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    let until = Instant::now() + PATIENCE;
    let length = 1_u64 << 40;
    peer.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
    ));
    let piece = vec![b'x'; 64 * 1024];
    while peer.try_send(&piece).is_ok() {}
    // A reset need not reach a client whose window is closed: what counts is what the gateway holds.
    while rig.gateway.descriptors().len() > at_rest {
        assert!(
            Instant::now() < until,
            "{sides:?}: it still holds the client"
        );
        thread::yield_now();
    }
}

#[test]
fn a_client_that_reads_nothing_does_not_outlast_http_timeout() {
    for sides in ALL_SIDES {
        expect_cut_unread(sides, "request = 1\nbody_idle = 60");
    }
}

#[test]
fn a_worker_that_spins_keeps_time() {
    let rig = Rig::with(|setup| {
        setup.toml(
            "[server]\nspin = \"10ms\"\n[timeouts]\nrequest_header = 1\nresponse_header = 1\n",
        )
    });
    let (mut silent, _peer, _) = rig.exchange(&get("/p/anthropic/models"));
    let mut slow = rig.client();
    slow.send("GET /");
    let about = About::now();
    // Never a moment without traffic.
    let mut busy = rig.client();
    while !slow.readable_now() || !silent.readable_now() {
        busy.send(get("/health"));
        assert_eq!(busy.response().status(), 200);
    }
    about.a_second();
    assert_eq!(
        code(&slow.response(), 408, "invalid_request_error", false),
        "request_timeout"
    );
    assert_eq!(
        code(&silent.response(), 504, "timeout_error", false),
        "upstream_timeout"
    );
}

#[test]
fn a_worker_that_spins_serves_meanwhile() {
    let rig = Rig::with(|setup| setup.toml("[server]\nspin = \"10ms\"\n"));
    let mut client = rig.client();
    let begin = Instant::now();
    for _ in 0..500 {
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
    }
    // Each within its window, not at the end of it.
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn time_goes_on_while_connections_come_and_go() {
    let rig = limited("request_header");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let mut client = rig.client();
                    client.send(get("/health"));
                    client.response();
                }
            });
        }
        let begin = About::now();
        let mut slow = rig.client();
        slow.send("GET /health HTTP/1.1\r\n");
        let got = slow.try_response();
        over.store(true, Ordering::SeqCst);
        assert_eq!(got.unwrap().status(), 408);
        begin.a_second();
    });
}
