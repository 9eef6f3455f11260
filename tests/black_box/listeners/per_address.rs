//! What one client address may hold, and how often it may come with a wrong key.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::metrics::metrics_addr;
use crate::support::metrics::{Metrics, wait_metrics_at};
use crate::support::wire::connect_from;
use crate::support::{End, Gateway, KEY, Message, PATIENCE, Rig, Setup, Sides, Wire, get, ok};

/// Everything that belongs to the tests' own address is counted there; this one belongs to nobody else.
const OTHER: [u8; 4] = [127, 0, 0, 9];

/// With metrics on a listener of its own, which is not counted.
fn set_up(setup: Setup, toml: &str) -> Setup {
    setup.toml(&format!(
        "{toml}\n[metrics]\nlisten = [\"127.0.0.1:0\"]\n[timeouts]\nrequest_header = 60\n"
    ))
}

fn metrics(gateway: &Gateway) -> Metrics {
    Metrics::at(metrics_addr(gateway))
}

fn refused(gateway: &Gateway, limit: &str) -> f64 {
    let series = format!("client_connections_refused_total{{limit=\"{limit}\"}}");
    metrics(gateway).get(&series)
}

#[track_caller]
fn expect_crowded(mut client: Wire) {
    let got = client.response();
    assert_eq!(got.status(), 503, "{}", got.text());
    assert_eq!(got.value("retry-after"), Some("1"));
    assert_eq!(got.value("connection"), Some("close"));
    let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["error"]["type"], "overloaded_error");
    assert_eq!(body["error"]["code"], "connection_limit_per_address");
    client.wait_for_close();
}

/// Tries until a new client is served: the end of another one is seen when it is.
#[track_caller]
fn until_served(connect: impl Fn() -> Wire) -> Wire {
    let begin = Instant::now();
    loop {
        let mut client = connect();
        let _ = client.try_send(get("/health"));
        let status = client.take_until(b"\r\n").unwrap_or_default();
        if status.starts_with(b"HTTP/1.1 200") {
            return client;
        }
        assert!(begin.elapsed() < PATIENCE, "still turned away");
    }
}

#[test]
fn an_address_has_as_many_connections_as_it_may_over_all_workers() {
    let rig = Rig::with(|setup| {
        set_up(setup, "[limits]\nconnections_per_address = 4").env("SLUICEGATE_WORKERS", "2")
    });
    let mut clients: Vec<Wire> = (0..4).map(|_| rig.client()).collect();
    for client in &mut clients {
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
    }
    for _ in 0..3 {
        expect_crowded(rig.client());
    }
    // Another address is not concerned, and those that are open are served on.
    let mut other = connect_from(OTHER, rig.gateway.addr());
    other.send(get("/p/openai/models"));
    let mut peer = rig.upstream.accept();
    peer.request();
    peer.send(ok("other"));
    assert_eq!(other.response().body, b"other");
    assert_eq!(refused(&rig.gateway, "connections_per_address"), 3.0);
    clients.pop().unwrap().close();
    let served = until_served(|| rig.client());
    expect_crowded(rig.client());
    drop((clients, served));
}

#[test]
fn a_tls_client_too_many_is_closed() {
    let sides = Sides::TLS_CLIENT;
    let rig = Rig::on(sides, |setup| {
        set_up(setup, "[limits]\nconnections_per_address = 1")
    });
    let mut first = rig.client();
    first.send(get("/health"));
    assert_eq!(first.response().status(), 200);
    assert!(rig.client().handshake().is_err());
    assert_eq!(refused(&rig.gateway, "connections_per_address"), 1.0);
    first.send(get("/health"));
    assert_eq!(first.response().status(), 200);
}

#[test]
fn a_limit_changes_with_a_reload_and_what_is_open_goes_on_counting() {
    let limit = |most: u32| format!("[limits]\nconnections_per_address = {most}\n");
    let rig = Rig::with(|setup| setup.toml(&limit(1)));
    let reload = |most: u32, nth: usize| {
        let path = rig.gateway.setup().dir().join("sluicegate.toml");
        std::fs::write(path, limit(most)).unwrap();
        rig.gateway.signal(Signal::HUP);
        let begin = Instant::now();
        while rig.gateway.log().matches("configuration reloaded").count() < nth {
            assert!(begin.elapsed() < PATIENCE, "no reload");
            std::thread::yield_now();
        }
    };
    let mut first = rig.client();
    first.send(get("/health"));
    assert_eq!(first.response().status(), 200);
    expect_crowded(rig.client());
    reload(0, 1);
    let mut second = rig.client();
    second.send(get("/health"));
    assert_eq!(second.response().status(), 200);
    reload(1, 2);
    // The second one came when nobody counted.
    expect_crowded(rig.client());
    first.close();
    drop(until_served(|| rig.client()));
}

#[test]
fn a_unix_socket_has_no_address() {
    let setup = Setup::new().toml(
        "[limits]\nconnections_per_address = 1\nhandshakes_per_address = 1\n\
         [auth]\nwrong_key_delay = \"1m\"\n",
    );
    let path = setup.dir().join("gate.sock");
    let listen = format!("127.0.0.1:0,unix:{}", path.display());
    let _gateway = setup.env("SLUICEGATE_LISTEN", &listen).start();
    let clients: Vec<Wire> = (0..30)
        .map(|_| {
            let socket = UnixStream::connect(&path).unwrap();
            let mut client = Wire::new(TcpStream::from(std::os::fd::OwnedFd::from(socket)), None);
            client.send(wrong());
            assert_eq!(client.response().status(), 401);
            client
        })
        .collect();
    drop(clients);
}

#[test]
fn an_address_has_as_many_handshakes_under_way_as_it_may() {
    let sides = Sides::TLS_CLIENT;
    let rig = Rig::on(sides, |setup| {
        set_up(setup, "[limits]\nhandshakes_per_address = 2")
    });
    let ask = |client: &mut Wire| {
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
    };
    // Those that are over count no more.
    let mut done: Vec<Wire> = (0..3)
        .map(|_| {
            let mut client = rig.client();
            ask(&mut client);
            client
        })
        .collect();
    let begun = [rig.gateway.connect(), rig.gateway.connect()];
    // The worker has taken them in once it has answered on a connection that is no younger.
    ask(&mut done[0]);
    let begin = Instant::now();
    while rig.client().handshake().is_ok() {
        assert!(begin.elapsed() < PATIENCE, "nobody is turned away");
    }
    assert!(refused(&rig.gateway, "handshakes_per_address") >= 1.0);
    done.iter_mut().for_each(ask);
    begun.into_iter().for_each(Wire::close);
    let begin = Instant::now();
    while rig.client().handshake().is_err() {
        assert!(begin.elapsed() < PATIENCE, "still turned away");
    }
}

fn wrong() -> String {
    get("/p/openai/models").replace(KEY, "gk-wrong")
}

#[track_caller]
fn expect_wrong(got: &Message) {
    assert_eq!(got.status(), 401, "{}", got.text());
    let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(body["error"]["code"], "invalid_key");
}

/// So many wrong keys that the last ones are held back for longer than any test takes. Each has come before the next.
fn guess(rig: &mut Rig, count: usize) -> Vec<Wire> {
    let mut guesses = Vec::new();
    for _ in 0..count {
        let mut client = rig.client();
        client.send(wrong());
        rig.settle();
        guesses.push(client);
    }
    guesses
}

const DELAYED: &str = "[auth]\nwrong_key_delay = \"1m\"";

#[test]
fn wrong_keys_are_answered_ever_later_and_right_ones_at_once() {
    for client in [false, true] {
        let sides = Sides {
            client,
            upstream: false,
        };
        let mut rig = Rig::on(sides, |setup| set_up(setup, DELAYED));
        let mut guesses = guess(&mut rig, 30);
        for client in &mut guesses[..10] {
            expect_wrong(&client.response());
        }
        let mut last = guesses.pop().unwrap();
        // What there is may be a ticket.
        assert!(sides.client || !last.readable_now());
        let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/models"));
        peer.send(ok("right"));
        assert_eq!(client.response().body, b"right", "{sides:?}");
        if !sides.client {
            let mut other = connect_from(OTHER, rig.gateway.addr());
            other.send(wrong());
            expect_wrong(&other.response());
        }
        // Those that are held back are not under way.
        let metrics = wait_metrics_at(metrics_addr(&rig.gateway), &[("requests_in_flight", 0.0)]);
        assert_eq!(metrics.get("wrong_key_answers_delayed_total"), 20.0);
        // Held back they hold nothing up.
        rig.gateway.signal(Signal::TERM);
        let got = last.response();
        expect_wrong(&got);
        assert_eq!(got.value("connection"), Some("close"), "{sides:?}");
        assert_eq!(rig.gateway.wait_exit(), Some(0));
    }
}

#[test]
fn who_leaves_while_his_answer_is_held_back_is_let_go() {
    let mut rig = Rig::with(|setup| set_up(setup, DELAYED));
    let guesses = guess(&mut rig, 40);
    let begin = Instant::now();
    let open = || metrics(&rig.gateway).get("client_connections_open");
    let delayed = || metrics(&rig.gateway).get("wrong_key_answers_delayed_total");
    while delayed() != 30.0 {
        assert!(begin.elapsed() < PATIENCE, "{} held back", delayed());
    }
    drop(guesses);
    // The one that told when a guess had come.
    while open() != 1.0 {
        assert!(begin.elapsed() < PATIENCE, "{} are open", open());
    }
}

#[test]
fn what_cannot_be_held_back_any_more_is_answered_and_closed() {
    let mut rig = Rig::with(|setup| set_up(setup, DELAYED));
    let mut guesses = guess(&mut rig, 330);
    let mut last = guesses.pop().unwrap();
    let got = last.response();
    expect_wrong(&got);
    assert_eq!(got.value("connection"), Some("close"));
    assert_eq!(last.expect_end(), End::Clean);
}

#[test]
fn by_default_wrong_keys_are_answered_at_once() {
    let mut rig = Rig::plain();
    for client in &mut guess(&mut rig, 300) {
        expect_wrong(&client.response());
    }
}
