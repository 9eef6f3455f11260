//! Providers behind a proxy that speaks TLS itself: TLS in TLS, plain HTTP in TLS, and whom the proxy is believed to be.

use std::fs;
use std::sync::Arc;

use rustix::process::Signal;
use rustls::{HandshakeKind, ServerConfig};

use crate::support::hops::Hop;
use crate::support::proxy::{ESTABLISHED, asked};
use crate::support::settings::assert_line;
use crate::support::tls::{pki, server_config, server_config_of};
use crate::support::{End, Gateway, Setup, Upstream, Wire, get, ok, post, response};

const MODELS: &str = "/p/far/models";

fn table(url: &str, proxy: &str, more: &str) -> String {
    format!(
        "[providers.far]\ntype = \"openai\"\napi_key = \"sk-far\"\nbase_url = \"{url}/v1\"\n\
         proxy = \"{proxy}\"\n{more}\n"
    )
}

/// A provider `far` at this URL, behind this proxy.
fn behind(url: &str, proxy: &str) -> Setup {
    Setup::new().toml(&table(url, proxy, ""))
}

fn certified() -> Arc<ServerConfig> {
    server_config(&pki().server)
}

/// One exchange on a new client connection; the provider's side of it.
#[track_caller]
fn exchange(gateway: &Gateway, upstream: &Upstream) -> Wire {
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    assert_eq!(peer.request().head.target(), "/v1/models");
    peer.send(ok("from afar"));
    assert_eq!(client.response().text(), "from afar");
    peer
}

/// One more exchange over the same connection to the provider.
#[track_caller]
fn again(gateway: &Gateway, peer: &mut Wire) {
    let mut client = gateway.connect();
    client.send(post("/p/far/chat/completions", "content"));
    assert_eq!(peer.request().text(), "content");
    peer.send(ok("once more"));
    assert_eq!(client.response().text(), "once more");
}

/// Bytes that are different everywhere.
fn content(len: usize) -> String {
    (0..len / 8).map(|n| format!("{n:08}")).collect()
}

#[test]
fn tls_goes_in_tls_from_end_to_end_and_the_tunnel_is_used_again() {
    for versions in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
        let outer = server_config_of(&pki().server, versions, false);
        for inner in [&[&rustls::version::TLS12][..], &[&rustls::version::TLS13]] {
            let upstream = Upstream::listen_tls(server_config_of(&pki().server, inner, false));
            let hop = Hop::tls(&upstream, &outer);
            let gateway = behind(&upstream.url(), &hop.url()).start();
            let mut peer = exchange(&gateway, &upstream);
            assert_eq!(peer.tls().protocol_version(), Some(inner[0].version));
            again(&gateway, &mut peer);
            let authority = format!("localhost:{}", upstream.addr().port());
            let expected = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
            assert_eq!(hop.asked(), [expected]);
            // One that ends while idle is replaced.
            peer.close();
            exchange(&gateway, &upstream);
        }
    }
}

#[test]
fn much_goes_both_ways_unchanged() {
    for upstream in [Upstream::listen_tls(certified()), Upstream::listen()] {
        let hop = Hop::tls(&upstream, &certified());
        let gateway = behind(&upstream.url(), &hop.url()).start();
        let (up, down) = (content(3 << 20), content(5 << 20));
        let mut client = gateway.connect();
        let sent = up.clone();
        let sending = std::thread::spawn(move || {
            client.send(post("/p/far/x", &sent));
            client
        });
        let mut peer = upstream.accept();
        assert!(peer.request().text() == up);
        let mut client = sending.join().unwrap();
        let answer = down.clone();
        let answering = std::thread::spawn(move || {
            peer.send(ok(&answer));
            peer
        });
        assert!(client.response().text() == down);
        // Events, each of which has to come through before the next is there.
        let mut peer = answering.join().unwrap();
        client.send(get(MODELS));
        peer.request();
        peer.send(
            response("200 OK", &["Content-Type: text/event-stream"], "")
                .replace("Content-Length: 0", "Transfer-Encoding: chunked"),
        );
        client.head();
        for n in 0..50 {
            let event = format!("data: {n}\n\n");
            peer.send(format!("{:x}\r\n{event}\r\n", event.len()));
            client.expect_chunks(&event);
        }
        peer.send("0\r\n\r\n");
        assert_eq!(hop.asked().len(), 1);
    }
}

#[test]
fn plain_http_goes_through_it_as_well() {
    let upstream = Upstream::listen();
    let hop = Hop::tls(&upstream, &certified());
    let gateway = behind(&upstream.url(), &hop.url()).start();
    let mut peer = exchange(&gateway, &upstream);
    again(&gateway, &mut peer);
    assert!(hop.asked()[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", upstream.addr())));
    // An end that is none: the way is over, and more was said to come.
    let mut client = gateway.connect();
    client.send(get(MODELS));
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nless");
    assert_eq!(client.head().status(), 200);
    peer.close();
    let (got, end) = client.take_all();
    assert_eq!((&got[..], end), (&b"less"[..], End::Clean));
}

#[test]
fn sessions_are_resumed_with_both() {
    let upstream = Upstream::listen_tls(certified());
    let hop = Hop::tls(&upstream, &certified());
    let gateway = behind(&upstream.url(), &hop.url()).start();
    let kinds = [(); 2].map(|()| {
        let mut client = gateway.connect();
        client.send(get(MODELS));
        let mut peer = upstream.accept();
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        assert_eq!(client.response().text(), "hi");
        peer.tls().handshake_kind()
    });
    assert_eq!(
        kinds,
        [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]
    );
}

#[test]
fn credentials_go_to_the_proxy_and_nowhere_else() {
    let upstream = Upstream::listen_tls(certified());
    let hop = Hop::tls(&upstream, &certified());
    let url = hop.url().replace("://", "://me:s%40cret%20word@");
    let basic = "bWU6c0BjcmV0IHdvcmQ=";
    let setup = behind(&upstream.url(), &url)
        .secret("s%40cret")
        .secret("s@cret")
        .secret(basic);
    let check = setup.command(&["check"]).output().unwrap();
    let described = String::from_utf8(check.stdout).unwrap();
    let shown = hop.url().replace("://", "://[redacted]@");
    assert_line(&described, &format!("proxy = \"{shown}\""));
    let gateway = setup.start();
    let peer = exchange(&gateway, &upstream);
    let got = String::from_utf8(peer.record().bytes()).unwrap();
    assert!(!got.to_ascii_lowercase().contains("proxy"), "{got}");
    let line = format!("\r\nProxy-Authorization: Basic {basic}\r\n");
    assert!(hop.asked()[0].contains(&line), "{:?}", hop.asked());
}

/// What is said of a request that does not reach its provider.
#[track_caller]
fn failure(gateway: &Gateway) -> (String, String) {
    let mut client = gateway.connect();
    client.send(post("/p/far/x", "content"));
    let got = client.response();
    assert_eq!(got.status(), 502, "{}", got.text());
    let body: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
    let text = |key: &str| body["error"][key].as_str().unwrap().to_owned();
    (text("code"), text("message"))
}

#[test]
fn a_proxy_has_to_be_who_it_is_said_to_be() {
    let upstream = Upstream::listen_tls(certified());
    let stranger = server_config(&pki().stranger);
    let hop = Hop::tls(&upstream, &stranger);
    let gateway = behind(&upstream.url(), &hop.url()).start();
    let (code, message) = failure(&gateway);
    assert_eq!(code, "upstream_proxy", "{message}");
    assert!(
        message.contains("TLS with it failed: certificate"),
        "{message}"
    );
    gateway.wait_log(|line| line.contains("\"detail\":\"proxy: TLS with it failed: certificate"));
    assert_eq!(hop.asked(), [""; 0]);

    // What the provider alone is trusted on the word of says nothing of the proxy, and the other way round.
    let start = |more: &str, upstream_table: &str| {
        let provider = table(&upstream.url(), &hop.url(), more);
        Setup::new()
            .file("stranger.pem", &pki().stranger_ca)
            .file("known.pem", &pki().ca)
            .toml(&format!("{upstream_table}{provider}"))
            .start()
    };
    let own = "ca_file = \"stranger.pem\"";
    assert_eq!(failure(&start(own, "")).0, "upstream_proxy");
    exchange(&start("proxy_ca_file = \"stranger.pem\"", ""), &upstream);
    let all = "[upstream]\nproxy_ca_file = \"stranger.pem\"\n";
    exchange(&start("", all), &upstream);
    let both = "[upstream]\nca_file = \"stranger.pem\"\n";
    exchange(&start("ca_file = \"known.pem\"", both), &upstream);
    let gateway = start("", both);
    let mut client = gateway.connect();
    client.send(get(MODELS));
    assert!(upstream.accept().handshake().is_err());
    let got = client.response();
    assert!(got.text().contains("\"upstream_tls\""), "{}", got.text());
    assert_eq!(
        failure(&start("proxy_ca_file = \"known.pem\"", all)).0,
        "upstream_proxy"
    );

    let proxy = Upstream::listen_tls(server_config(&pki().elsewhere));
    let gateway = behind(
        &upstream.url(),
        &format!("https://localhost:{}", proxy.addr().port()),
    )
    .start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    assert!(proxy.accept().handshake().is_err());
    let got = client.response();
    assert!(got.text().contains("\"upstream_proxy\""), "{}", got.text());
}

#[test]
fn what_it_refuses_is_said_with_its_status_and_no_word_of_its_own() {
    let upstream = Upstream::listen_tls(certified());
    let rows = [
        (
            "HTTP/1.1 407 Gossip\r\nX: gossip\r\n\r\n",
            "it answered 407: it wants other credentials",
        ),
        ("HTTP/1.1 503 Gossip\r\n\r\ngossip", "it answered 503"),
        ("gossip gossip\r\n\r\n", "its answer is not valid HTTP/1.1"),
        (
            "HTTP/1.1 200 OK\r\n\r\ngossip",
            "it spoke behind its answer before it was asked",
        ),
    ];
    for (answer, said) in rows {
        let hop = Hop::tls_with(&upstream, &certified(), answer);
        let gateway = behind(&upstream.url(), &hop.url()).secret("ossip").start();
        let (code, message) = failure(&gateway);
        assert_eq!(code, "upstream_proxy");
        assert!(message.ends_with(said), "{message}");
    }
    // One that does not speak TLS, one that ends in order instead of answering, and one that just ends.
    let proxy = Upstream::listen();
    let url = format!("https://localhost:{}", proxy.addr().port());
    let gateway = behind(&upstream.url(), &url).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut tunnel = proxy.accept();
    tunnel.wait_readable();
    tunnel.send("HTTP/1.1 400 Bad Request\r\n\r\n");
    let got = client.response();
    assert!(got.text().contains("TLS with it failed"), "{}", got.text());
    let mut proxy = proxy;
    proxy.secure(certified());
    for truncated in [false, true] {
        let mut client = gateway.connect();
        client.send(get(MODELS));
        let mut tunnel = proxy.accept();
        asked(&mut tunnel);
        match truncated {
            true => tunnel.truncate(),
            false => tunnel.close(),
        }
        let got = client.response();
        let said = "it closed the connection without an answer";
        assert!(got.text().contains(said), "{}", got.text());
    }
}

#[test]
fn an_answer_in_pieces_opens_the_tunnel_too() {
    let proxy = Upstream::listen_tls(certified());
    let url = format!("https://localhost:{}", proxy.addr().port());
    let gateway = behind("http://localhost:9", &url).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut tunnel = proxy.accept();
    assert_eq!(asked(&mut tunnel).target(), "localhost:9");
    ESTABLISHED.bytes().for_each(|byte| tunnel.send([byte]));
    tunnel.request();
    tunnel.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
    // Records of its own in between are no answer of the provider's.
    tunnel.update_keys();
    let mut client = gateway.connect();
    client.send(post("/p/far/x", "more"));
    assert_eq!(tunnel.request().text(), "more");
    tunnel.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn a_reload_puts_another_way_in_force() {
    let upstream = Upstream::listen_tls(certified());
    let hop = Hop::tls(&upstream, &certified());
    let gateway = behind(&upstream.url(), "none").start();
    let mut direct = exchange(&gateway, &upstream);
    let file = gateway.setup().dir().join("sluicegate.toml");
    let put = |proxy: &str, more: &str| {
        fs::write(&file, table(&upstream.url(), proxy, more)).unwrap();
        gateway.signal(Signal::HUP);
    };
    put(&hop.url(), "");
    direct.wait_for_close();
    let mut tunnelled = exchange(&gateway, &upstream);
    assert_eq!(hop.asked().len(), 1);
    again(&gateway, &mut tunnelled);
    // The same proxy on another word is another way.
    put(&hop.url(), "proxy_ca_file = \"ca.pem\"");
    tunnelled.wait_for_close();
    exchange(&gateway, &upstream);
    assert_eq!(hop.asked().len(), 2);
}

#[test]
fn check_goes_through_it_too() {
    let upstream = Upstream::listen_tls(certified());
    for (answer, said) in [
        (ESTABLISHED, "far: reachable: https://localhost:"),
        (
            "HTTP/1.1 407 No\r\n\r\n",
            "the proxy gave no tunnel: it answered 407: it wants other credentials",
        ),
    ] {
        let hop = Hop::tls_with(&upstream, &certified(), answer);
        let setup = behind(&upstream.url(), &hop.url());
        let checking = std::thread::spawn(move || setup.arg("check").arg("--connect").run());
        if answer == ESTABLISHED {
            let mut peer = upstream.accept();
            peer.request();
            peer.send(ok("[]"));
        }
        let finished = checking.join().unwrap();
        assert!(finished.stdout.contains(said), "{finished:?}");
    }
    let hop = Hop::tls(&upstream, &server_config(&pki().stranger));
    let setup = behind(&upstream.url(), &hop.url());
    let finished = setup.arg("check").arg("--connect").run();
    let said = "the proxy gave no tunnel: TLS with it failed";
    assert!(finished.stdout.contains(said), "{finished:?}");
}
