//! Signals: drain, end at once, reload; and that one exhausted connection does not end the process.

use std::fs;

use rustix::process::Signal;

use crate::support::tls::pki;
use crate::support::{
    End, Gateway, Rig, Setup, Sides, Upstream, Wire, drained_answer, get, ok, request, wait_refused,
};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n";

/// Asks for the health on a kept connection until it is this.
fn wait_health(client: &mut Wire, status: u16) {
    loop {
        client.send(HEALTH);
        let got = client.response();
        if got.status() == status {
            let word = if status == 200 { "ok" } else { "draining" };
            assert_eq!(got.text(), format!("{{\"status\":\"{word}\"}}"));
            return;
        }
    }
}

#[test]
fn an_idle_gateway_ends_with_0_on_sigterm_and_on_sigint() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut gateway = Setup::new().start();
        gateway.signal(signal);
        assert_eq!(gateway.wait_exit(), Some(0));
    }
}

/// Under io_uring the kernel keeps a killed process's listener for some milliseconds.
#[test]
fn a_gateway_starts_at_once_where_one_was_killed() {
    // For its directory.
    let place = Setup::bare();
    let unix = format!("unix:{}", place.dir().join("gate.sock").display());
    let mut gateway = Setup::new().start();
    for round in 0..6 {
        let listen = match round % 2 {
            0 => gateway.addr().to_string(),
            _ => format!("{},{unix}", gateway.addr()),
        };
        let next = Setup::new().env("SLUICEGATE_LISTEN", &listen);
        // Something is left to be taken down with it.
        let _kept: Vec<Wire> = (0..50).map(|_| gateway.connect()).collect();
        gateway.signal(Signal::KILL);
        assert_eq!(gateway.wait_exit(), None);
        let next = next.start();
        let mut client = next.connect();
        wait_health(&mut client, 200);
        gateway = next;
    }
}

#[test]
fn idle_connections_do_not_hold_up_a_drain() {
    for sides in [false, true].map(|client| Sides {
        client,
        upstream: client,
    }) {
        let mut rig = Rig::of(sides);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        peer.send(ok("done"));
        client.response();
        rig.gateway.signal(Signal::TERM);
        assert_eq!(client.expect_end(), End::Clean, "{sides:?}");
        assert_eq!(rig.gateway.wait_exit(), Some(0));
    }
}

#[test]
fn what_is_in_flight_goes_on_and_its_response_says_close() {
    let mut rig = Rig::plain();
    let mut health = rig.client();
    wait_health(&mut health, 200);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    let (mut streaming, mut source, _) = rig.exchange(&get("/p/anthropic/models"));
    source.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    streaming.head();
    rig.gateway.signal(Signal::TERM);
    wait_refused(&rig.gateway);
    for turn in 0..5 {
        let event = format!("data: {turn}\n\n");
        source.send(format!("{:x}\r\n{event}\r\n", event.len()));
        streaming.expect_chunks(event);
    }
    drained_answer(&mut client, &mut peer);
    source.send("0\r\n\r\n");
    assert_eq!(streaming.chunk().unwrap(), b"");
    streaming.trailers().unwrap();
    assert_eq!(streaming.expect_end(), End::Clean);
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn health_is_503_at_once_while_requests_are_still_served() {
    let mut rig = Rig::with(|setup| setup.toml("[timeouts]\ndrain_delay = 2\n"));
    let mut health = rig.client();
    wait_health(&mut health, 200);
    rig.gateway.signal(Signal::TERM);
    wait_health(&mut health, 503);
    // New connections and new requests are served until the delay is over.
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(ok("still served"));
    assert_eq!(client.response().text(), "still served");
    let mut fresh = rig.client();
    fresh.send(HEALTH);
    assert_eq!(fresh.response().status(), 503);
    wait_refused(&rig.gateway);
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn drain_has_a_limit() {
    let mut rig = Rig::with(|setup| setup.toml("[timeouts]\ndrain = 1\n"));
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    rig.gateway.signal(Signal::TERM);
    rig.gateway.wait_exit();
    client.wait_for_close();
    peer.wait_for_close();
}

#[test]
fn a_second_signal_ends_at_once() {
    for second in [Signal::TERM, Signal::INT] {
        let mut rig = Rig::plain();
        let mut health = rig.client();
        wait_health(&mut health, 200);
        let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
        rig.gateway.signal(Signal::TERM);
        wait_refused(&rig.gateway);
        rig.gateway.signal(second);
        rig.gateway.wait_exit();
        client.wait_for_close();
        peer.wait_for_close();
    }
}

/// Rewrites a file in the gateway's directory.
fn rewrite(gateway: &Gateway, name: &str, content: &str) {
    fs::write(gateway.setup().dir().join(name), content).unwrap();
}

fn keyed(key: &str, url: &str) -> String {
    format!(
        "[auth]\nmaster_key = \"{key}\"\n[providers.one]\ntype = \"openai\"\nbase_url = \"{url}\"\n\
         credential = \"none\"\n"
    )
}

/// A gateway whose key and provider are in its file.
fn reloadable(url: &str) -> Gateway {
    let setup = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .secret("gk-first")
        .secret("gk-second");
    setup.toml(&keyed("gk-first", url)).start()
}

/// The status that a key gets at `/p/one` when the provider would be asked, without asking it.
fn status_of(client: &mut Wire, key: &str) -> u16 {
    client.send(request("GET", "/p/one", &[], "").replace("gk-test", key));
    client.response().status()
}

#[test]
fn sighup_rereads_the_configuration_without_dropping_a_connection() {
    let (one, two) = (Upstream::listen(), Upstream::listen());
    let gateway = reloadable(&one.url());
    let mut kept = gateway.connect();
    assert_eq!(status_of(&mut kept, "gk-first"), 400);
    // In flight across the reload.
    let mut client = gateway.connect();
    client.send(get("/p/one/models").replace("gk-test", "gk-first"));
    let mut peer = one.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
    client.head();
    client.expect("first");
    rewrite(&gateway, "sluicegate.toml", &keyed("gk-second", &two.url()));
    gateway.signal(Signal::HUP);
    while status_of(&mut kept, "gk-second") != 400 {}
    assert_eq!(status_of(&mut kept, "gk-first"), 401);
    peer.send(" half");
    client.expect(" half");
    // The same connection now reaches the new provider, with the new key.
    client.send(get("/p/one/models").replace("gk-test", "gk-second"));
    let mut fresh = two.accept();
    fresh.request();
    fresh.send(ok("new"));
    assert_eq!(client.response().text(), "new");
}

#[test]
fn after_a_reload_no_request_reaches_what_was_another_providers_connection() {
    let (one, two) = (Upstream::listen(), Upstream::listen());
    let provider = |name: &str, upstream: &Upstream| {
        format!(
            "[providers.{name}]\ntype = \"openai\"\nbase_url = \"{}\"\napi_key = \"sk-of-{name}\"\n",
            upstream.url()
        )
    };
    let gateway = Setup::new().toml(&provider("b", &one)).start();
    let mut client = gateway.connect();
    // Two connections to the provider: one idle, one in use across the reload.
    client.send(get("/p/b/models"));
    let mut in_use = one.accept();
    in_use.request();
    let mut other = gateway.connect();
    other.send(get("/p/b/models"));
    let mut idle = one.accept();
    idle.request();
    idle.send(ok("idle now"));
    other.response();
    // A new one comes before it, whatever order the gateway keeps them in.
    let content = ["a", "aa", "c"].map(|name| provider(name, &two)).concat() + &provider("b", &one);
    rewrite(&gateway, "sluicegate.toml", &content);
    gateway.signal(Signal::HUP);
    loop {
        other.send(get("/p/c"));
        if !other.response().text().contains("provider_not_enabled") {
            break;
        }
    }
    in_use.send(ok("done"));
    assert_eq!(client.response().text(), "done");
    for name in ["a", "aa", "c"] {
        client.send(get(&format!("/p/{name}/models")));
        let mut peer = two.accept();
        let seen = peer.request();
        assert_eq!(
            seen.value("authorization"),
            Some(format!("Bearer sk-of-{name}").as_str())
        );
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response().status(), 200);
    }
    for peer in [in_use, idle] {
        assert!(!String::from_utf8_lossy(&peer.record().bytes()).contains("sk-of-a"));
    }
}

#[test]
fn a_broken_new_configuration_changes_nothing_and_is_logged() {
    let upstream = Upstream::listen();
    let gateway = reloadable(&upstream.url());
    let mut kept = gateway.connect();
    for (content, word) in [
        ("[server]\nno_such_key = 1\n", "no_such_key"),
        ("not toml", "sluicegate.toml"),
    ] {
        rewrite(&gateway, "sluicegate.toml", content);
        gateway.signal(Signal::HUP);
        let line = gateway.wait_log(|line| line.contains(word) && line.contains("\"error\""));
        assert!(line.contains("sluicegate.toml"), "{line}");
        assert_eq!(status_of(&mut kept, "gk-first"), 400);
    }
    // It still listens to the next, good one.
    rewrite(
        &gateway,
        "sluicegate.toml",
        &keyed("gk-second", &upstream.url()),
    );
    gateway.signal(Signal::HUP);
    while status_of(&mut kept, "gk-second") != 400 {}
}

#[test]
fn sighup_rereads_the_certificate() {
    let gateway = Setup::new().tls().start();
    let config = std::sync::Arc::new(crate::support::tls::client_config(rustls::ALL_VERSIONS));
    let mut kept = gateway.connect_tls(&config);
    kept.send(HEALTH);
    assert_eq!(kept.response().status(), 200);
    rewrite(&gateway, "cert.pem", &pki().elsewhere.cert);
    rewrite(&gateway, "key.pem", &pki().elsewhere.key);
    gateway.signal(Signal::HUP);
    // From now on another name is shown, which this client refuses.
    loop {
        let fresh = std::sync::Arc::new(crate::support::tls::client_config(rustls::ALL_VERSIONS));
        if matches!(gateway.connect_tls(&fresh).handshake(), Err(End::Tls(_))) {
            break;
        }
    }
    kept.send(HEALTH);
    assert_eq!(kept.response().status(), 200);
    // A certificate that cannot be read changes nothing.
    rewrite(&gateway, "cert.pem", "broken");
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("cert.pem") && line.contains("\"error\""));
    kept.send(HEALTH);
    assert_eq!(kept.response().status(), 200);
}

#[test]
fn a_reload_while_draining_does_not_undo_the_drain() {
    let mut rig = Rig::plain();
    let mut health = rig.client();
    wait_health(&mut health, 200);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    rig.gateway.signal(Signal::TERM);
    wait_refused(&rig.gateway);
    rig.gateway.signal(Signal::HUP);
    drained_answer(&mut client, &mut peer);
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn connections_open_while_draining_still_get_the_503() {
    let mut rig = Rig::plain();
    let mut health = rig.client();
    wait_health(&mut health, 200);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    // A second connection whose request is under way when the listeners close.
    let mut other = rig.client();
    other.send("GET /health HTTP/1.1\r\nHost: g\r\n");
    rig.settle();
    rig.gateway.signal(Signal::TERM);
    wait_refused(&rig.gateway);
    other.send("\r\n");
    let got = other.response();
    assert_eq!(
        (got.status(), got.value("connection")),
        (503, Some("close"))
    );
    peer.send(ok(""));
    client.response();
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn more_workers_than_one_serve_and_drain() {
    let upstream = crate::support::Scripted::echo();
    let mut gateway = Setup::new()
        .base(&upstream.url())
        .env("SLUICEGATE_WORKERS", "3")
        .start();
    let mut clients: Vec<Wire> = (0..30).map(|_| gateway.connect()).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.send(request(
            "POST",
            "/p/anthropic/x",
            &[],
            &format!("content {index}"),
        ));
    }
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response().text(), format!("content {index}"));
    }
    gateway.signal(Signal::TERM);
    for client in &mut clients {
        assert_eq!(client.expect_end(), End::Clean);
    }
    assert_eq!(gateway.wait_exit(), Some(0));
}

#[test]
fn out_of_file_descriptors_the_process_lives_and_serves_again() {
    use rustix::process::{Resource, Rlimit, prlimit};
    let rig = Rig::plain();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(ok("before"));
    assert_eq!(client.response().text(), "before");
    let limit = Rlimit {
        current: Some(40),
        maximum: Some(40),
    };
    prlimit(Some(rig.gateway.pid()), Resource::Nofile, limit).unwrap();
    let crowd: Vec<Wire> = (0..60).map(|_| rig.client()).collect();
    rig.gateway
        .wait_log(|line| line.contains("\"error\"") || line.contains("\"warn"));
    // Those that were there before are still served.
    client.send(get("/p/anthropic/models"));
    peer.request();
    peer.send(ok("during"));
    assert_eq!(client.response().text(), "during");
    drop(crowd);
    let mut later = rig.client();
    later.send(HEALTH);
    assert_eq!(later.response().status(), 200);
}

#[test]
fn a_worker_that_cannot_run_takes_the_process_with_it() {
    // One descriptor more each time: too few to start the worker, then too few for the worker itself.
    let failed_itself = (8..64).any(|count| {
        let setup = Setup::new().env("SLUICEGATE_WORKERS", "1");
        let finished = setup.run_with_descriptors(count);
        let code = finished.code.unwrap();
        assert!(code == 1 || code == 70, "{code}: {}", finished.all());
        assert!(!finished.stderr.is_empty());
        code == 70 && finished.stderr.contains("a worker has ended")
    });
    assert!(failed_itself);
}

/// Nothing else is under way: what is to come counts all the same.
#[test]
fn clients_that_have_connected_or_begun_are_served_though_the_process_ends() {
    for signal in [Signal::TERM, Signal::USR2] {
        let mut rig = Rig::plain();
        let (mut fresh, mut half) = (rig.client(), rig.client());
        let request = get("/p/openai/models");
        let (begin, rest) = request.split_at(request.len() - 2);
        half.send(begin);
        rig.settle();
        rig.gateway.signal(signal);
        match signal {
            Signal::TERM => wait_refused(&rig.gateway),
            _ => drop(rig.gateway.successor(0)),
        }
        half.send(rest);
        let mut peer = rig.upstream.accept();
        peer.request();
        fresh.send(&request);
        let mut other = rig.upstream.accept();
        other.request();
        for (client, peer) in [(&mut half, &mut peer), (&mut fresh, &mut other)] {
            peer.send(ok("served"));
            let got = client.response();
            assert_eq!(
                (got.text(), got.value("connection")),
                ("served".into(), Some("close"))
            );
        }
        let ended = match signal {
            Signal::TERM => rig.gateway.wait_exit(),
            _ => rig.gateway.wait_succeeded(),
        };
        assert_eq!(ended, Some(0));
    }
}

#[test]
fn a_request_that_is_not_whole_when_the_process_ends_gets_503() {
    let mut rig = Rig::plain();
    let mut half = rig.client();
    half.send("GET /p/anthropic/models HTTP/1.1\r\nHost: g\r\n");
    rig.settle();
    rig.gateway.signal(Signal::TERM);
    let got = half.response();
    assert_eq!((got.status(), got.value("retry-after")), (503, Some("1")));
    assert!(
        got.text().contains("\"code\":\"draining\""),
        "{}",
        got.text()
    );
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}
