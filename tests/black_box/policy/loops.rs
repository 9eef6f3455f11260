//! Base URLs that lead back: a request that has been through this process is a 508, and not hundreds of requests.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use rustix::process::Signal;

use crate::support::proxy::copy;
use crate::support::{Gateway, Message, Setup, Upstream, get, ok, request};

const MARK: &str = "x-sluicegate-loop";

/// A provider `round` of a gateway without keys.
fn table(to: SocketAddr) -> String {
    format!(
        "[auth]\nopen = true\n[log]\nhealth = true\n[providers.round]\ntype = \"openai\"\ncredential = \"none\"\n\
         base_url = \"http://{to}/p/round\"\n"
    )
}

/// A gateway whose provider is at an address that may depend on its own.
fn leading(to: impl Fn(SocketAddr) -> SocketAddr) -> Gateway {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    let setup = Setup::new().without("GOMODEL_MASTER_KEY");
    let gateway = setup.toml(&table(nowhere)).start();
    let file = gateway.setup().dir().join("sluicegate.toml");
    fs::write(file, table(to(gateway.addr()))).unwrap();
    gateway.reload();
    gateway
}

/// Passes every connection on to this address, as a load balancer does.
fn forwarder(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    // Ends with the test's process: nobody waits for it.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let upstream = TcpStream::connect(to).unwrap();
            let back = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || copy(client, upstream));
            thread::spawn(move || copy(back.0, back.1));
        }
    });
    addr
}

/// The answer to a request, and how many requests the gateway made of it.
fn asked(gateway: &Gateway, text: &str) -> (Message, usize) {
    let mut client = gateway.connect();
    client.send(text);
    let got = client.response();
    // That of the client itself ends last.
    let address = client.socket().local_addr().unwrap().to_string();
    gateway.wait_log(|line| line.contains(&address));
    let passes = |line: &&str| line.contains("\"path\":\"/p/round/x\"");
    (got, gateway.log().lines().filter(passes).count())
}

#[track_caller]
fn is_refused(got: &Message) {
    assert_eq!(got.status(), 508, "{}", got.text());
    let text = got.text();
    assert!(
        text.contains("\"loop_detected\"") && text.contains("api_error"),
        "{text}"
    );
    assert!(text.contains("base URL"), "{text}");
    assert_eq!(got.value("x-should-retry"), Some("false"));
}

#[test]
fn a_base_url_that_leads_straight_back_is_found_at_once() {
    for line in ["X-A: b", "X-Request-ID: mine"] {
        let gateway = leading(|own| own);
        let (got, passes) = asked(&gateway, &request("POST", "/p/round/x", &[line], "content"));
        is_refused(&got);
        assert_eq!(passes, 2, "{line}");
        // The gateway is as well as before.
        let (got, _) = asked(&gateway, &get("/health"));
        assert_eq!(got.status(), 200);
    }
}

#[test]
fn a_way_back_through_others_is_found_too() {
    for (line, most) in [("X-A: b", 3), ("X-Request-ID: mine", 2)] {
        let gateway = leading(forwarder);
        let (got, passes) = asked(&gateway, &request("POST", "/p/round/x", &[line], "content"));
        is_refused(&got);
        assert_eq!(passes, most, "{line}");
    }
    // Two gateways that lead to each other.
    let first = leading(|own| own);
    let second = leading(|_| first.addr());
    let file = first.setup().dir().join("sluicegate.toml");
    fs::write(file, table(second.addr())).unwrap();
    let _ = first.take_log();
    first.signal(Signal::HUP);
    first.wait_log(|line| line.contains("configuration reloaded"));
    let (got, passes) = asked(&first, &get("/p/round/x"));
    is_refused(&got);
    assert!(passes <= 3, "{passes}");
}

#[test]
fn gateways_in_a_row_are_no_loop() {
    let upstream = Upstream::listen();
    let last = leading(|_| upstream.addr());
    let first = leading(|_| last.addr());
    let mut peer = None;
    for _ in 0..3 {
        let mut client = first.connect();
        client.send(get("/p/round/x"));
        let peer = peer.get_or_insert_with(|| upstream.accept());
        assert_eq!(peer.request().head.values(MARK).len(), 1);
        peer.send(ok("fine"));
        assert_eq!(client.response().text(), "fine");
    }
}

#[test]
fn a_provider_sees_a_mark_only_where_a_request_may_have_come_round() {
    let upstream = Upstream::listen();
    let gateway = leading(|_| upstream.addr());
    let mut client = gateway.connect();
    client.send(get("/p/round/x"));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().head.values(MARK), [""; 0]);
    peer.send(ok("fine"));
    let id = client.response().value("x-request-id").unwrap().to_owned();
    // With an id, as every request has that has been here.
    let lines = [
        format!("X-Request-ID: {id}"),
        format!("{MARK}: 0123456789abcdef"),
    ];
    let lines = lines.each_ref().map(String::as_str);
    client.send(request("GET", "/p/round/x", &lines, ""));
    let seen = peer.request();
    let marks = seen.head.values(MARK);
    assert_eq!((marks.len(), seen.value("x-request-id")), (2, Some(&*id)));
    assert!(
        marks.contains(&"0123456789abcdef"),
        "that of another process stays"
    );
    let own = marks
        .iter()
        .find(|mark| **mark != "0123456789abcdef")
        .unwrap();
    assert!(own.len() == 16 && own.bytes().all(|byte| byte.is_ascii_hexdigit()));
    peer.send(ok("fine"));
    client.response();
    let (got, _) = asked(
        &gateway,
        &request("GET", "/p/round/x", &[&format!("{MARK}: {own}")], ""),
    );
    is_refused(&got);
    // More processes than anybody puts in a row.
    let other = format!("{MARK}: 1");
    let others = [other.as_str(); 9];
    let (got, _) = asked(&gateway, &request("GET", "/p/round/x", &others, ""));
    is_refused(&got);
    assert!(!upstream.has_connection() && !peer.readable_now());
}
