//! Limits and scarcity: what is over them is told so at once, what is under way does not notice.

use std::thread;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;

use crate::support::{ALL_SIDES, Message, PATIENCE, Rig, Setup, Wire, get, ok};

fn limited(limits: &str) -> impl Fn(Setup) -> Setup {
    let toml = format!("[limits]\n{limits}\n[timeouts]\nrequest_header = 2\n");
    move |setup| setup.toml(&toml)
}

/// A 503 that says what is scarce and that it is worth trying again.
#[track_caller]
fn expect_overloaded(got: &Message, code: &str) {
    assert_eq!(got.status(), 503, "{}", got.text());
    assert_eq!(got.value("retry-after"), Some("1"));
    assert_eq!(got.value("x-should-retry"), Some("true"));
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["error"]["type"], "overloaded_error");
    assert_eq!(body["error"]["code"], code);
}

/// A stream that is under way and stays so; `step` moves it on.
struct Stream(Wire, Wire);

impl Stream {
    fn open(rig: &Rig) -> Self {
        let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/stream"));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.head();
        Self(client, peer)
    }

    fn step(&mut self) {
        self.1.send("5\r\nevent\r\n");
        self.0.expect("5\r\nevent\r\n");
    }

    /// Ends in order; both connections stay usable.
    fn end(mut self) -> (Wire, Wire) {
        self.1.send("0\r\n\r\n");
        self.0.expect("0\r\n\r\n");
        (self.0, self.1)
    }
}

#[test]
fn connections_over_the_limit_get_503_and_health() {
    for sides in ALL_SIDES {
        let mut rig = Rig::on(sides, limited("connections = 2"));
        let mut streams = [Stream::open(&rig), Stream::open(&rig)];
        for _ in 0..3 {
            let mut surplus = rig.client();
            surplus.send(get("/p/openai/models"));
            let got = surplus.response();
            expect_overloaded(&got, "connection_limit");
            assert_eq!(got.value("connection"), Some("close"), "{sides:?}");
            surplus.expect_end();
            let mut health = rig.client();
            health.send(get("/health"));
            assert_eq!(health.response().status(), 200);
            health.expect_end();
            streams.iter_mut().for_each(Stream::step);
        }
        rig.upstream.expect_untouched();
        let [first, mut second] = streams;
        let (gone, _) = first.end();
        gone.close();
        // One that was accepted beyond the limit counts as soon as there is room.
        let mut waiting = rig.client();
        waiting.send("GET /p/openai/models HTTP/1.1\r\nHost: g\r\n");
        second.step();
        drop(second.end());
        rig.settle();
        waiting.send(format!(
            "Authorization: Bearer {}\r\n\r\n",
            crate::support::KEY
        ));
        let mut peer = rig.upstream.accept();
        peer.request();
        peer.send(ok("late"));
        assert_eq!(waiting.response().body, b"late", "{sides:?}");
    }
}

#[test]
fn a_crowd_beyond_the_limit_is_turned_away_unread() {
    let rig = Rig::with(limited("connections = 1"));
    let mut stream = Stream::open(&rig);
    let silent: Vec<Wire> = (0..64).map(|_| rig.client()).collect();
    for _ in 0..5 {
        let mut crowd = rig.client();
        expect_overloaded(&crowd.response(), "connection_limit");
        crowd.expect_end();
        stream.step();
    }
    // They are only heard out for as long as a head may take.
    for mut wire in silent {
        wire.expect_end();
    }
    stream.step();
    let mut next = rig.client();
    next.send(get("/health"));
    assert_eq!(next.response().status(), 200);
}

#[test]
fn requests_in_flight_over_the_limit() {
    for sides in ALL_SIDES {
        let rig = Rig::on(sides, limited("in_flight = 1"));
        let mut stream = Stream::open(&rig);
        let mut client = rig.client();
        for _ in 0..3 {
            client.send(get("/p/openai/models"));
            expect_overloaded(&client.response(), "in_flight_limit");
            client.send(get("/health"));
            assert_eq!(client.response().status(), 200);
            stream.step();
        }
        rig.upstream.expect_untouched();
        let (_client, mut peer) = stream.end();
        client.send(get("/p/openai/models"));
        peer.request();
        peer.send(ok("now"));
        assert_eq!(client.response().body, b"now", "{sides:?}");
    }
}

/// A valid request gets its answer.
#[track_caller]
fn expect_served(rig: &Rig) {
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
    peer.send(ok("served"));
    assert_eq!(client.response().body, b"served");
    client.close();
    peer.close();
}

/// What clients without a key, or with a request that nobody can read, may do with the answers.
#[test]
fn answers_of_the_gateways_own_take_no_slot() {
    let unread = [
        "GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n",
        "HEAD /health HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET /p/openai/models HTTP/1.1\r\nHost: g\r\n\r\n",
        "GET /p/nobody/models HTTP/1.1\r\nHost: g\r\nx-api-key: wrong\r\n\r\n",
    ];
    for sides in ALL_SIDES {
        let mut rig = Rig::on(sides, limited("in_flight = 1"));
        let stalled: Vec<Wire> = (unread.iter())
            .map(|request| {
                let mut client = rig.client();
                client.stuff_with(request.repeat(100).as_bytes());
                client
            })
            .collect();
        expect_served(&rig);
        // An answer that is taken, and more bytes behind the end of all requests.
        let mut malformed = rig.client();
        malformed.send("GET /p/openai/models HTTP/1.1\r\nHost g\r\n\r\n");
        assert_eq!(malformed.response().status(), 400);
        malformed.send("x");
        expect_served(&rig);
        // Nor does an ending process wait for them.
        rig.gateway.signal(Signal::TERM);
        assert_eq!(rig.gateway.wait_exit(), Some(0), "{sides:?}");
        drop(stalled);
    }
}

#[test]
fn an_answer_of_the_gateways_own_is_not_waited_for_long() {
    let mut rig = Rig::plain();
    rig.settle();
    let at_rest = rig.gateway.descriptors().len();
    let mut client = rig.client();
    let unread = "GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n".repeat(100);
    client.stuff_with(unread.as_bytes());
    // It has ten seconds.
    let until = Instant::now() + 3 * PATIENCE;
    while rig.gateway.descriptors().len() > at_rest {
        assert!(Instant::now() < until, "it may take as long as it likes");
        thread::yield_now();
    }
}

#[test]
fn upstream_connections_over_the_limit() {
    for sides in ALL_SIDES {
        let rig = Rig::on(sides, limited("upstream_connections = 1"));
        let mut stream = Stream::open(&rig);
        let mut client = rig.client();
        for _ in 0..3 {
            client.send(get("/p/openai/models"));
            expect_overloaded(&client.response(), "upstream_connection_limit");
            stream.step();
        }
        // The limit is each provider's own.
        client.send(get("/p/anthropic/models"));
        let mut other = rig.upstream.accept();
        other.request();
        other.send(ok("other"));
        assert_eq!(client.response().body, b"other");
        // An idle connection is no hindrance, and its end makes room.
        let (_client, mut peer) = stream.end();
        client.send(get("/p/openai/models"));
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1");
        assert_eq!(client.response().body, b"1");
        client.send(get("/p/openai/models"));
        let mut fresh = rig.upstream.accept();
        fresh.request();
        fresh.send(ok("2"));
        assert_eq!(client.response().body, b"2", "{sides:?}");
    }
}

/// The numbers of the gateway's descriptors.
fn descriptors(rig: &Rig) -> Vec<u64> {
    let pid = rig.gateway.pid().as_raw_nonzero();
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let number = |name: std::ffi::OsString| name.to_str().unwrap().parse().unwrap();
    fds.map(|entry| number(entry.unwrap().file_name()))
        .collect()
}

/// Lets the gateway have descriptors up to this number.
fn allow(rig: &Rig, highest: u64) {
    let limit = Rlimit {
        current: Some(highest + 1),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    prlimit(Some(rig.gateway.pid()), Resource::Nofile, limit).unwrap();
}

/// Leaves the gateway without a free descriptor: idle clients take those between others.
fn starve(rig: &mut Rig) -> Vec<Wire> {
    let mut idle = Vec::new();
    loop {
        let open = descriptors(rig);
        let highest = *open.iter().max().unwrap();
        if open.len() as u64 == highest + 1 {
            allow(rig, highest);
            return idle;
        }
        let mut wire = rig.client();
        wire.send(get("/health"));
        wire.response();
        idle.push(wire);
    }
}

#[test]
fn without_descriptors_streams_go_on_and_health_answers() {
    for sides in ALL_SIDES {
        let mut rig = Rig::on(sides, |setup| setup);
        let mut stream = Stream::open(&rig);
        let mut kept = rig.client();
        kept.send(get("/health"));
        kept.response();
        rig.settle();
        let _idle = starve(&mut rig);
        kept.send(get("/p/openai/models"));
        expect_overloaded(&kept.response(), "out_of_resources");
        for _ in 0..3 {
            stream.step();
            kept.send(get("/health"));
            assert_eq!(kept.response().status(), 200);
            let mut new = rig.client();
            new.send(get("/health"));
            assert_eq!(new.response().status(), 200);
            new.expect_end();
            let mut new = rig.client();
            new.send(get("/p/openai/models"));
            expect_overloaded(&new.response(), "out_of_resources");
            new.expect_end();
        }
        rig.gateway
            .wait_log(|line| line.contains("accepting rests"));
        allow(&rig, 500);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
        peer.send(ok("again"));
        assert_eq!(client.response().body, b"again", "{sides:?}");
        stream.step();
    }
}

#[test]
fn the_soft_limit_on_descriptors_is_raised() {
    let rig = Rig::plain();
    let limits = format!("/proc/{}/limits", rig.gateway.pid().as_raw_nonzero());
    let limits = std::fs::read_to_string(limits).unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let mut numbers = files.unwrap().split_whitespace().skip(3);
    assert_eq!(numbers.next(), numbers.next(), "{limits}");
}
