//! Connections made ahead of the requests that need them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::{
    Rig, Scripted, Setup, Sides, Upstream, Wire, company, get, ok, post, response, tls,
};

/// A provider that is kept warm.
fn warm(sides: Sides, count: usize) -> Rig {
    warm_and_idle(sides, count, "1s")
}

fn warm_and_idle(sides: Sides, count: usize, idle: &str) -> Rig {
    Rig::on(sides, |setup| {
        let url = setup.var("ANTHROPIC_BASE_URL");
        setup.env("METRICS_ENABLED", "true").toml(&format!(
            "[providers.warm]\ntype = \"openai\"\nbase_url = \"{url}\"\ncredential = \"none\"\n\
             warm = {count}\nidle_upstream = \"{idle}\"\n"
        ))
    })
}

fn metric(rig: &Rig, name: &str) -> u64 {
    let mut client = rig.client();
    client.send(get("/metrics"));
    let text = client.response().text();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn a_connection_is_ready_for_the_next_request() {
    for sides in [Sides::TLS_UPSTREAM, Sides::PLAIN] {
        let rig = warm(sides, 2);
        let (_busy, _peer, _) = rig.exchange(&get("/p/warm/first"));
        // Nobody asked for these; they come because the first one is in use.
        let ready = [(); 2].map(|()| {
            let mut wire = rig.upstream.accept();
            if sides.upstream {
                wire.handshake().unwrap();
            }
            wire
        });
        let misses = "sluicegate_upstream_warm_misses_total";
        assert_eq!(metric(&rig, misses), 1);
        // They are in the pool once the gateway has nothing more to do for them.
        let hits = "sluicegate_upstream_warm_hits_total";
        let mut client = rig.client();
        client.send(get("/p/warm/second"));
        let (tell, told) = channel();
        for mut wire in ready {
            let tell = tell.clone();
            thread::spawn(move || {
                // The one that is not used closes when the gateway goes.
                if let Ok(request) = wire.try_request() {
                    wire.send(ok(request.head.target()));
                    tell.send(()).unwrap();
                    let _ = wire.try_request();
                }
            });
        }
        assert_eq!(client.response().text(), "/v1/second");
        told.recv().unwrap();
        assert_eq!(
            (metric(&rig, misses), metric(&rig, hits)),
            (1, 1),
            "{sides:?}"
        );
    }
}

#[test]
fn an_unused_one_is_retired_and_replaced() {
    let rig = warm(Sides::TLS_UPSTREAM, 1);
    let (_busy, _peer, _) = rig.exchange(&get("/p/warm/first"));
    let begin = Instant::now();
    let mut ready = rig.upstream.accept();
    ready.handshake().unwrap();
    // Closed after 10 s, and another one takes its place; not a byte was sent on it.
    let mut next = loop {
        if rig.upstream.has_connection() {
            break rig.upstream.accept();
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "it is kept");
        thread::yield_now();
    };
    assert!(
        begin.elapsed() > Duration::from_secs(8),
        "{:?}",
        begin.elapsed()
    );
    next.handshake().unwrap();
    assert_eq!(ready.take_all().0, b"");
    assert_eq!(metric(&rig, "sluicegate_upstream_warm_retired_total"), 1);
}

#[test]
fn without_traffic_or_wish_there_is_none() {
    for count in [0, 1] {
        let rig = warm(Sides::TLS_UPSTREAM, count);
        if count == 0 {
            let (_busy, _peer, _) = rig.exchange(&get("/p/warm/first"));
        }
        // A few ticks of its clock, told by a client that is cut for its silence.
        thread::yield_now();
        let mut idle = rig.client();
        idle.send("GET /");
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(1) {
            assert!(!rig.upstream.has_connection(), "warm = {count}");
            thread::yield_now();
        }
    }
}

/// A server that serves one connection after the other, on a thread of its own, for so many requests. Before it
/// answers it gives others the time to come in between.
fn one_at_a_time(upstream: Upstream, requests: usize) -> JoinHandle<usize> {
    thread::spawn(move || {
        let (mut served, mut unused) = (0, 0);
        while served < requests {
            let mut wire = upstream.accept();
            let _ = wire.handshake();
            match wire.try_request() {
                Ok(_) => {
                    upstream.waits_for(Duration::from_millis(300));
                    wire.send(response("200 OK", &["Connection: close"], "fine"));
                    served += 1;
                }
                Err(_) => unused += 1,
            }
            wire.close();
        }
        unused
    })
}

#[test]
fn what_is_made_ahead_never_blocks_a_server_of_one_connection() {
    let upstream = Upstream::listen_tls(tls::server_config(&tls::pki().server));
    let setup = Setup::new().base(&format!("{}/v1", upstream.url()));
    let gateway = setup
        .env("SLUICEGATE_WARM", "1")
        .env("SLUICEGATE_WORKERS", "2")
        .start();
    let server = one_at_a_time(upstream, 8);
    for _ in 0..8 {
        // Each on a connection of its own, so that both workers have some.
        let mut client = gateway.connect();
        client.send(post("/p/openai/chat/completions", "content"));
        let got = client.response();
        assert_eq!((got.status(), &*got.text()), (200, "fine"));
    }
    // Before the first answer nobody could know.
    let unused = server.join().unwrap();
    assert!(unused <= 1, "{unused}");
}

/// No connection comes for ten looks of the gateway at its pool.
#[track_caller]
fn none_comes(rig: &Rig, what: &str) {
    assert!(!rig.upstream.waits_for(Duration::from_secs(1)), "{what}");
}

#[test]
fn none_is_made_ahead_where_the_provider_closes_behind_its_answers() {
    for says in [true, false] {
        let rig = warm_and_idle(Sides::TLS_UPSTREAM, 1, "60s");
        let close: &[&str] = if says { &["Connection: close"] } else { &[] };
        let (mut client, mut peer, _) = rig.exchange(&get("/p/warm/first"));
        // Nobody could know yet.
        let mut ahead = rig.upstream.accept();
        let _ = ahead.handshake();
        peer.send(response("200 OK", close, "first"));
        peer.close();
        assert_eq!(client.response().text(), "first");
        // It is given up at once.
        assert_eq!(ahead.take_all().0, b"", "{says}");
        let (mut client, mut peer, _) = rig.exchange(&get("/p/warm/second"));
        none_comes(&rig, "a second one");
        // And there is a way back: a connection that outlives an answer.
        peer.send(ok("second"));
        assert_eq!(client.response().text(), "second");
        none_comes(&rig, "one beside an idle one");
        client.send(get("/p/warm/third"));
        peer.request();
        let mut ahead = rig.upstream.accept();
        ahead.handshake().unwrap();
    }
}

#[test]
fn one_that_is_being_made_ahead_makes_room_for_a_request() {
    let rig = Rig::on(Sides::TLS_UPSTREAM, |setup| {
        let setup = setup.env("SLUICEGATE_WARM", "1");
        setup.toml("[timeouts]\nconnect = 60\n")
    });
    let (_busy, _peer, _) = rig.exchange(&get("/p/openai/first"));
    // Nobody speaks Sides::TLS_UPSTREAM with it.
    let mut ahead = rig.upstream.accept();
    let mut client = rig.client();
    client.send(get("/p/openai/second"));
    let mut late = rig.upstream.accept();
    ahead.below_tls();
    ahead.wait_for_close();
    late.request();
    late.send(ok("late"));
    assert_eq!(client.response().text(), "late");
}

/// Passes bytes on after this long, both ways.
fn delayed(to: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            thread::spawn(move || {
                // The far end answers the SYN.
                wait(2 * delay);
                let server = TcpStream::connect(to).unwrap();
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || late(back.0, back.1, delay));
                late(client, server, delay);
            });
        }
    });
    addr
}

fn late(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (queue, due) = channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (at, bytes) in due {
            wait(at.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let mut room = vec![0; 65536];
    while let Ok(n @ 1..) = from.read(&mut room) {
        let _ = queue.send((Instant::now() + delay, room[..n].to_vec()));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "distance and pauses are what is tested"
)]
fn wait(time: Duration) {
    thread::sleep(time);
}

/// How far away the provider is, there and back.
const DISTANCE: Duration = Duration::from_millis(100);

#[test]
fn a_distant_provider_is_near_after_a_pause() {
    company::join();
    let took = thread::scope(|scope| {
        [0, 1]
            .map(|count| scope.spawn(move || after_a_pause(count)))
            .map(|thread| thread.join().unwrap())
    });
    // Connecting takes two round trips and more.
    assert!(took[1] + DISTANCE < took[0], "{took:?}");
}

/// How long a request takes when a pause was longer than connections may idle, with so many kept warm.
fn after_a_pause(count: usize) -> Duration {
    let upstream = Scripted::echo_as(Some(tls::server_config(&tls::pki().server)));
    let far = delayed(upstream.addr(), DISTANCE / 2);
    let gateway = Setup::new()
        .toml(&format!(
            "[providers.far]\ntype = \"openai\"\nbase_url = \"https://localhost:{}\"\n\
             credential = \"none\"\nwarm = {count}\nidle_upstream = \"1s\"\n",
            far.port()
        ))
        .start();
    let mut client: Wire = gateway.connect();
    let mut ask = || {
        let begin = Instant::now();
        client.send(get("/p/far/x"));
        client.response();
        begin.elapsed()
    };
    let first = ask();
    // The pause is what is tested.
    wait(Duration::from_millis(2500));
    let later = ask();
    eprintln!("warm = {count}: first {first:?}, after a pause {later:?}");
    later
}
