//! Clients behind balancers: what is said of them first, by whom, and what counts by it.

use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use serde_json::Value;

use crate::support::hops::{SIGNATURE, binary, block, line, local};
use crate::support::metrics::{Metrics, metrics_addr};
use crate::support::tls::{client, client_config};
use crate::support::wire::connect_from;
use crate::support::{End, Gateway, KEY, PATIENCE, Rig, Setup, Sides, Upstream, Wire, get, ok};

/// The balancer; the tests' own address is somebody else's.
const BALANCER: [u8; 4] = [127, 0, 0, 9];
const MODELS: &str = "/p/openai/models";

fn set_up(setup: Setup, mode: &str, more: &str) -> Setup {
    setup.toml(&format!(
        "[server]\nproxy_protocol = \"{mode}\"\ntrusted = [\"127.0.0.8/31\"]\n\
         [metrics]\nlisten = [\"127.0.0.1:0\"]\n{more}"
    ))
}

fn rig(sides: Sides, mode: &str, more: &str) -> Rig {
    Rig::on(sides, |setup| set_up(setup, mode, more))
}

fn trusting() -> Arc<ClientConfig> {
    Arc::new(client_config(rustls::ALL_VERSIONS))
}

/// The balancer's next connection.
fn balancer(gateway: &Gateway) -> Wire {
    connect_from(BALANCER, gateway.addr())
}

/// A client behind the balancer, of whom this was said, over TLS or not.
fn announced(rig: &Rig, header: &[u8]) -> Wire {
    let mut wire = balancer(&rig.gateway);
    wire.send(header);
    if rig.sides.client {
        wire.secure(client(&trusting()));
    }
    wire
}

/// One exchange on this connection; what the provider was sent.
#[track_caller]
fn exchange(rig: &Rig, client: &mut Wire) -> Vec<u8> {
    client.send(get(MODELS));
    let mut peer = rig.upstream.accept();
    peer.request();
    let got = peer.record().bytes();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
    assert_eq!(client.response().text(), "hi");
    got
}

/// Lines of the access log so far.
fn requests(gateway: &Gateway) -> Vec<Value> {
    let log = gateway.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line.get("end").is_some())
        .collect()
}

/// So many of them, once they are there.
#[track_caller]
fn wait_requests(gateway: &Gateway, count: usize) -> Vec<Value> {
    let begin = Instant::now();
    loop {
        let lines = requests(gateway);
        if lines.len() >= count {
            return lines;
        }
        assert!(begin.elapsed() < PATIENCE, "{lines:?}");
    }
}

/// The line about a connection that was refused for this reason.
#[track_caller]
fn refusal(gateway: &Gateway, reason: &str) -> Value {
    let line = gateway.wait_log(|line| line.contains("proxy_header") && line.contains(reason));
    serde_json::from_str(&line).unwrap()
}

fn refused(gateway: &Gateway) -> f64 {
    let series = "client_connections_refused_total{limit=\"proxy_protocol\"}";
    Metrics::at(metrics_addr(gateway)).get(series)
}

/// Waits until the worker has seen what was sent before.
fn settle(barrier: &mut Wire) {
    barrier.send("GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n");
    assert_eq!(barrier.response().status(), 200);
}

#[test]
fn a_client_is_who_its_balancer_says_and_the_provider_learns_nothing_of_it() {
    for sides in [Sides::PLAIN, Sides::TLS_CLIENT] {
        for mode in ["optional", "required"] {
            let rig = rig(sides, mode, "");
            let rows = [
                (line("192.0.2.7"), "192.0.2.7:4711"),
                (line("2001:db8::7"), "[2001:db8::7]:4711"),
                (block("192.0.2.8"), "192.0.2.8:4711"),
                (block("2001:db8::8"), "[2001:db8::8]:4711"),
                (block("::ffff:192.0.2.9"), "192.0.2.9:4711"),
            ];
            for (header, address) in rows {
                let mut client = announced(&rig, &header);
                let got = exchange(&rig, &mut client);
                let got = String::from_utf8(got).unwrap().to_ascii_lowercase();
                for name in ["forwarded", "real-ip", "proxy", "192.0.2", "2001:db8"] {
                    assert!(!got.contains(name), "{name} in {got}");
                }
                let said = format!("\"client\":\"{address}\"");
                rig.gateway.wait_log(|line| line.contains(&said));
                // It holds for the whole connection.
                exchange(&rig, &mut client);
            }
            // What the client itself says is taken away as ever.
            let mut client = announced(&rig, &line("192.0.2.7"));
            let forged = format!(
                "GET {MODELS} HTTP/1.1\r\nHost: gateway\r\nx-api-key: {KEY}\r\n\
                 X-Forwarded-For: 203.0.113.1\r\nForwarded: for=203.0.113.1\r\n\r\n"
            );
            client.send(forged);
            let mut peer = rig.upstream.accept();
            assert!(peer.request().head.values("x-forwarded-for").is_empty());
            assert!(
                !String::from_utf8(peer.record().bytes())
                    .unwrap()
                    .contains("203.0.113")
            );
            peer.send(ok("hi"));
            client.response();
        }
    }
}

#[test]
fn a_header_may_come_in_any_pieces_and_takes_no_byte_of_what_follows() {
    for sides in [Sides::PLAIN, Sides::TLS_CLIENT] {
        let rig = rig(sides, "optional", "");
        let mut barrier = announced(&rig, &local());
        for header in [line("192.0.2.7"), block("2001:db8::7"), local()] {
            for cut in 1..header.len() {
                let mut wire = balancer(&rig.gateway);
                wire.send(&header[..cut]);
                settle(&mut barrier);
                wire.send(&header[cut..]);
                if sides.client {
                    wire.secure(client(&trusting()));
                }
                wire.send("GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n");
                assert_eq!(wire.response().status(), 200, "{sides} at {cut}");
            }
            // All of it at once, and byte by byte.
            if !sides.client {
                let request = get(MODELS);
                let mut wire = balancer(&rig.gateway);
                wire.send([&header[..], request.as_bytes()].concat());
                let mut peer = rig.upstream.accept();
                assert_eq!(peer.request().head.target(), "/v1/models");
                peer.send(ok("hi"));
                assert_eq!(wire.response().text(), "hi");
                let mut wire = balancer(&rig.gateway);
                for byte in header
                    .iter()
                    .chain(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
                {
                    wire.send([*byte]);
                }
                assert_eq!(wire.response().status(), 200);
            }
        }
    }
}

#[test]
fn where_it_is_optional_trusted_peers_may_say_nothing() {
    for sides in [Sides::PLAIN, Sides::TLS_CLIENT] {
        let rig = rig(sides, "optional", "");
        exchange(&rig, &mut announced(&rig, b""));
        rig.gateway
            .wait_log(|line| line.contains("\"client\":\"127.0.0.9:"));
        // And everybody else may not say anything.
        exchange(&rig, &mut rig.client());
        rig.gateway
            .wait_log(|line| line.contains("\"client\":\"127.0.0.1:"));
        if sides.client {
            continue;
        }
        // What begins like a header and is none, whole or in pieces.
        for request in ["POST", "P", "PROXYING", "\r\n\r\nGET"] {
            let mut wire = balancer(&rig.gateway);
            let (first, rest) = request.split_at(1);
            wire.send(first);
            let mut barrier = rig.client();
            settle(&mut barrier);
            wire.send(format!("{rest} {MODELS} HTTP/1.1\r\nHost: gateway\r\n\r\n"));
            assert_eq!(wire.response().status(), 401, "{request}");
        }
        // One that ends there is a client that has left.
        let mut wire = balancer(&rig.gateway);
        wire.send("PRO");
        wire.half_close();
        assert_eq!(wire.expect_end(), End::Clean);
        assert_eq!(refused(&rig.gateway), 0.0);
    }
}

#[test]
fn a_header_of_a_peer_that_is_not_trusted_is_refused() {
    let untrusted = "a PROXY header from an address that is not in server.trusted";
    for sides in [Sides::PLAIN, Sides::TLS_CLIENT] {
        let rig = rig(sides, "optional", "");
        let headers = [
            line("192.0.2.7"),
            block("192.0.2.7"),
            local(),
            b"PROXY ".to_vec(),
        ];
        for (header, count) in headers.iter().zip(1_u8..) {
            let mut wire = rig.gateway.connect();
            wire.send(header);
            if sides.client {
                assert!(matches!(wire.expect_end(), End::Clean | End::Reset));
            } else {
                let got = wire.response();
                assert_eq!(
                    (got.status(), got.value("connection")),
                    (400, Some("close"))
                );
                let text = got.text();
                assert!(
                    text.contains("\"proxy_header\"") && text.contains(untrusted),
                    "{text}"
                );
                wire.wait_for_close();
            }
            let said = refusal(&rig.gateway, untrusted);
            assert!(
                said["client"].as_str().unwrap().starts_with("127.0.0.1:"),
                "{said}"
            );
            assert_eq!(refused(&rig.gateway), f64::from(count));
        }
        assert!(!rig.gateway.log().contains("192.0.2.7"));
    }
}

#[test]
fn where_it_is_required_there_is_no_other_way_in() {
    for sides in [Sides::PLAIN, Sides::TLS_CLIENT] {
        let rig = rig(sides, "required", "");
        // Nobody is asked who has no right to connect.
        let mut wire = rig.gateway.connect();
        assert!(matches!(wire.expect_end(), End::Clean | End::Reset));
        let said = refusal(&rig.gateway, "not from an address of server.trusted");
        assert!(
            said["client"].as_str().unwrap().starts_with("127.0.0.1:"),
            "{said}"
        );
        assert_eq!(refused(&rig.gateway), 1.0);
        // And a balancer has to say something, and that right.
        let wrong = binary(0x21, 0x11, &[1; 11]);
        let long = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
        let rows: [(&[u8], &str); 6] = [
            (
                b"GET / HTTP/1.1\r\n",
                "expected a PROXY header, found another beginning",
            ),
            (
                b"\x16\x03\x01\x00",
                "expected a PROXY header, found another beginning",
            ),
            (b"PROXY TCP4 1.2.3.4\r\n", "the PROXY header is malformed"),
            (&[b'P'; 1], "the connection ended within the PROXY header"),
            (&wrong, "the PROXY header is too short for its addresses"),
            (&long, "the PROXY header is longer than 4 KiB"),
        ];
        for (begin, reason) in rows {
            let before = refused(&rig.gateway);
            let mut wire = balancer(&rig.gateway);
            wire.send(begin);
            if reason.contains("ended") {
                wire.half_close();
            }
            if sides.client {
                assert!(
                    matches!(wire.expect_end(), End::Clean | End::Reset),
                    "{reason}"
                );
            } else {
                let got = wire.response();
                assert_eq!(got.status(), 400, "{reason}");
                assert!(got.text().contains(reason), "{}", got.text());
            }
            wire.close();
            let said = refusal(&rig.gateway, reason);
            assert!(
                said["client"].as_str().unwrap().starts_with("127.0.0.9:"),
                "{said}"
            );
            assert_eq!(refused(&rig.gateway), before + 1.0);
        }
        exchange(&rig, &mut announced(&rig, &line("192.0.2.7")));
    }
}

#[test]
fn a_balancer_that_looks_whether_anybody_listens_makes_no_noise() {
    for sides in [Sides::PLAIN, Sides::TLS_CLIENT] {
        for mode in ["optional", "required"] {
            let rig = rig(sides, mode, "");
            let mut barrier = announced(&rig, &local());
            for header in [&b""[..], &local(), b"PROXY UNKNOWN\r\n"] {
                let mut wire = balancer(&rig.gateway);
                wire.send(header);
                wire.half_close();
                wire.wait_for_close();
                let mut wire = balancer(&rig.gateway);
                wire.send(header);
                settle(&mut barrier);
                wire.reset();
            }
            settle(&mut barrier);
            assert_eq!(refused(&rig.gateway), 0.0);
            // A request of the balancer's own is the first that is written of.
            exchange(&rig, &mut announced(&rig, &local()));
            let lines = wait_requests(&rig.gateway, 1);
            assert_eq!(lines.len(), 1, "{sides} {mode}: {lines:?}");
            assert!(
                lines[0]["client"]
                    .as_str()
                    .unwrap()
                    .starts_with("127.0.0.9:")
            );
        }
    }
}

#[test]
fn limits_count_clients_and_not_their_balancer() {
    let crowded = |mut client: Wire| {
        let got = client.response();
        assert_eq!(got.status(), 503);
        assert!(
            got.text().contains("connection_limit_per_address"),
            "{}",
            got.text()
        );
    };
    for mode in ["optional", "required"] {
        let rig = rig(
            Sides::PLAIN,
            mode,
            "[limits]\nconnections_per_address = 1\n",
        );
        let served = |header: &[u8]| {
            let mut client = announced(&rig, header);
            settle(&mut client);
            client
        };
        let first = served(&line("192.0.2.7"));
        crowded(announced(&rig, &line("192.0.2.7")));
        crowded(announced(&rig, &block("192.0.2.7")));
        let second = served(&block("192.0.2.8"));
        // One customer's network of IPv6 is one address.
        let third = served(&block("2001:db8::1"));
        crowded(announced(&rig, &line("2001:db8::2")));
        // Whoever the balancer knows nothing of is not counted as one of it.
        let own: Vec<Wire> = [local(), b"PROXY UNKNOWN\r\n".to_vec(), local()]
            .iter()
            .map(|header| served(header))
            .collect();
        let series = "client_connections_refused_total{limit=\"connections_per_address\"}";
        assert_eq!(Metrics::at(metrics_addr(&rig.gateway)).get(series), 3.0);
        drop((first, second, third, own));
        if mode == "optional" {
            let held = served(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
            served(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n");
            drop(held);
            // Those who speak for themselves are counted before they say anything.
            let mut other = rig.gateway.connect();
            settle(&mut other);
            crowded(rig.gateway.connect());
        }
    }
}

#[test]
fn handshakes_and_wrong_keys_are_counted_with_the_client() {
    let rig = rig(
        Sides::TLS_CLIENT,
        "required",
        "[limits]\nhandshakes_per_address = 1\n",
    );
    let mut barrier = announced(&rig, &local());
    settle(&mut barrier);
    let begun = {
        let mut wire = balancer(&rig.gateway);
        wire.send(line("192.0.2.7"));
        wire
    };
    settle(&mut barrier);
    assert!(announced(&rig, &line("192.0.2.7")).handshake().is_err());
    assert!(announced(&rig, &line("192.0.2.8")).handshake().is_ok());
    drop(begun);

    let rig = self::rig(
        Sides::PLAIN,
        "required",
        "[auth]\nwrong_key_delay = \"1m\"\n",
    );
    let wrong = |header: &[u8]| {
        let mut client = announced(&rig, header);
        client.send(get(MODELS).replace(KEY, "gk-wrong"));
        client
    };
    let mut barrier = announced(&rig, &local());
    let mut late = Vec::new();
    for _ in 0..30 {
        late.push(wrong(&line("192.0.2.7")));
        settle(&mut barrier);
    }
    assert!(!late.pop().unwrap().readable_now());
    assert_eq!(wrong(&line("192.0.2.8")).response().status(), 401);
    // Of the balancer itself nobody knows who it was.
    for _ in 0..30 {
        assert_eq!(wrong(&local()).response().status(), 401);
    }
}

#[test]
fn a_header_has_as_much_time_as_a_head() {
    for sides in [Sides::PLAIN, Sides::TLS_CLIENT] {
        let rig = rig(
            sides,
            "required",
            "[timeouts]\nrequest_header = \"300ms\"\n",
        );
        for begin in [&b"PROXY TCP4 "[..], &SIGNATURE[..5]] {
            let before = refused(&rig.gateway);
            let mut wire = balancer(&rig.gateway);
            wire.send(begin);
            if sides.client {
                wire.wait_for_close();
            } else {
                assert_eq!(wire.response().status(), 400);
            }
            wire.close();
            refusal(&rig.gateway, "the PROXY header did not arrive in time");
            assert_eq!(refused(&rig.gateway), before + 1.0);
        }
        // Who says nothing is closed without a word.
        let mut wire = balancer(&rig.gateway);
        assert_eq!(wire.expect_end(), End::Clean);
        exchange(&rig, &mut announced(&rig, &line("192.0.2.7")));
        let lines = wait_requests(&rig.gateway, 3);
        let is_of_client = |line: &&Value| line["client"] == "192.0.2.7:4711";
        let served = lines.iter().filter(is_of_client).count();
        assert_eq!((lines.len(), served), (3, 1), "{lines:?}");
    }
}

#[test]
fn peers_of_a_unix_socket_are_believed() {
    let upstream = Upstream::listen();
    let setup = Setup::new()
        .base(&format!("{}/v1", upstream.url()))
        .toml("[server]\nproxy_protocol = \"required\"\ntrusted = [\"192.0.2.1\"]\n");
    let path = setup.dir().join("gate.sock");
    let listen = format!("127.0.0.1:0,unix:{}", path.display());
    let gateway = setup.env("SLUICEGATE_LISTEN", &listen).start();
    let connect = || {
        let socket = UnixStream::connect(&path).unwrap();
        Wire::new(TcpStream::from(OwnedFd::from(socket)), None)
    };
    for header in [line("192.0.2.7"), block("192.0.2.7"), local()] {
        let mut client = connect();
        client.send(&header);
        settle(&mut client);
        client.send(get("/nowhere"));
        assert_eq!(client.response().status(), 404);
    }
    gateway.wait_log(|line| line.contains("\"client\":\"192.0.2.7:4711\""));
    let mut client = connect();
    client.send(get(MODELS));
    assert_eq!(client.response().status(), 400);
    // Of a client over a Unix socket of the balancer's there is no address.
    let mut client = connect();
    client.send(binary(0x21, 0x31, &[0; 216]));
    settle(&mut client);
}

#[test]
fn a_reload_changes_who_may_say_what() {
    let rig = rig(Sides::PLAIN, "required", "");
    let mut stays = announced(&rig, &line("192.0.2.7"));
    settle(&mut stays);
    let file = rig.gateway.setup().dir().join("sluicegate.toml");
    std::fs::write(file, "[metrics]\nlisten = [\"127.0.0.1:0\"]\n").unwrap();
    rig.gateway.reload();
    settle(&mut stays);
    settle(&mut rig.client());
    let mut wire = balancer(&rig.gateway);
    wire.send(line("192.0.2.7"));
    assert_eq!(wire.response().status(), 400);
}

#[test]
fn the_listener_for_metrics_is_for_operators() {
    let rig = rig(Sides::PLAIN, "required", "");
    let mut operator = Wire::connect(metrics_addr(&rig.gateway));
    operator.send(get("/metrics"));
    assert_eq!(operator.response().status(), 200);
}

#[test]
fn commands_of_an_operator_find_a_way_in() {
    let toml = "[server]\nproxy_protocol = \"required\"\ntrusted = [\"10.0.0.0/8\"]\n";
    let setup = Setup::new().toml(toml);
    let listen = format!(
        "unix:{},127.0.0.1:0",
        setup.dir().join("gate.sock").display()
    );
    let gateway = setup.env("SLUICEGATE_LISTEN", &listen).start();
    let said = |setup: &Setup, args: &[&str]| {
        let output = setup.command(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    // It says first that it is nobody's client.
    assert_eq!(said(gateway.setup(), &["health"]), (Some(0), String::new()));
    let url = gateway.addr().to_string();
    assert_eq!(said(gateway.setup(), &["health", &url]).0, Some(1));
    let setup = Setup::new()
        .toml(toml)
        .env("SLUICEGATE_LISTEN", "127.0.0.1:1");
    let (code, why) = said(&setup, &["health"]);
    assert_eq!(code, Some(1));
    assert!(
        why.contains("lets nobody in from 127.0.0.1; set metrics.listen"),
        "{why}"
    );
    let setup = setup.env("METRICS_ENABLED", "true");
    let (_, why) = said(&setup, &["top", "--once"]);
    assert!(why.contains("whoever a balancer speaks for"), "{why}");
}

#[test]
fn whom_nobody_has_named_nobody_believes() {
    let run = |listen: &str, toml: &str| {
        let setup = Setup::new().env("SLUICEGATE_LISTEN", listen).arg("check");
        setup.toml(&format!("[server]\n{toml}\n")).run()
    };
    for mode in ["optional", "required"] {
        let mode = format!("proxy_protocol = \"{mode}\"");
        let refused = run("127.0.0.1:0", &mode);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        let said = "sluicegate.toml line 2: server.proxy_protocol: whoever connects could say to be anybody; \
                    expected the addresses of the balancers in server.trusted";
        assert!(refused.stderr.contains(said), "{refused:?}");
        for (listen, more) in [
            ("unix:/tmp/nobody-listens.sock", ""),
            ("127.0.0.1:0", "\ntrusted = [\"10.0.0.0/8\", \"::1\"]"),
        ] {
            let fine = run(listen, &format!("{mode}{more}"));
            assert_eq!(fine.code, Some(0), "{fine:?}");
            assert!(fine.stdout.contains(&mode), "{fine:?}");
        }
    }
    let warned = run("127.0.0.1:0", "trusted = [\"10.0.0.0/8\"]");
    assert_eq!(warned.code, Some(0), "{warned:?}");
    assert!(
        warned
            .stderr
            .contains("server.trusted: it has no effect without server.proxy_protocol"),
        "{warned:?}"
    );
    for (toml, said) in [
        (
            "proxy_protocol = \"on\"",
            "expected off, optional or required; found \"on\"",
        ),
        (
            "trusted = [\"10.0.0.1/8\"]",
            "only zeros behind its first bits",
        ),
        (
            "trusted = [\"balancer\"]",
            "expected addresses and networks such as",
        ),
    ] {
        let refused = run("127.0.0.1:0", toml);
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.stderr.contains(said), "{refused:?}");
    }
}
