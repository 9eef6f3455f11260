//! Providers behind a proxy: the tunnel, what goes through it, and who decides that there is one.

use std::fs;

use rustix::process::Signal;
use rustls::HandshakeKind;

use crate::support::proxy::{ESTABLISHED, Relay, asked};
use crate::support::settings::assert_line;
use crate::support::tls::{pki, server, server_config};
use crate::support::{End, Gateway, Setup, Upstream, Wire, get, ok, post};

const MODELS: &str = "/p/far/models";

/// A provider `far` at this URL, reached as `lines` say.
fn far(url: &str, lines: &str) -> Setup {
    Setup::new().toml(&table(url, lines))
}

fn table(url: &str, lines: &str) -> String {
    format!(
        "[providers.far]\ntype = \"openai\"\napi_key = \"sk-far\"\nbase_url = \"{url}/v1\"\n{lines}\n"
    )
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

#[test]
fn tls_goes_from_end_to_end_and_the_tunnel_is_used_again() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let relay = Relay::to(&upstream);
    let gateway = far(&upstream.url(), &format!("proxy = \"{}\"", relay.url())).start();
    let mut peer = exchange(&gateway, &upstream);
    let rustls::Connection::Server(tls) = peer.tls() else {
        unreachable!()
    };
    assert_eq!(tls.server_name(), Some("localhost"));
    again(&gateway, &mut peer);
    let authority = format!("localhost:{}", upstream.addr().port());
    let expected = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    assert_eq!(relay.heads(), [expected]);
}

#[test]
fn plain_http_goes_through_a_tunnel_too() {
    let upstream = Upstream::listen();
    let relay = Relay::to(&upstream);
    let gateway = far(&upstream.url(), &format!("proxy = \"{}\"", relay.url())).start();
    let mut peer = exchange(&gateway, &upstream);
    again(&gateway, &mut peer);
    let heads = relay.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with(&format!("CONNECT {} HTTP/1.1\r\n", upstream.addr())));
}

#[test]
fn sessions_are_resumed_through_tunnels() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let relay = Relay::to(&upstream);
    let gateway = far(&upstream.url(), &format!("proxy = \"{}\"", relay.url())).start();
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
    assert_eq!(relay.heads().len(), 2);
}

#[test]
fn credentials_go_to_the_proxy_and_nowhere_else() {
    let upstream = Upstream::listen();
    let relay = Relay::to(&upstream);
    let url = relay.url().replace("http://", "http://me:s%40cret%20word@");
    // base64 of `me:s@cret word`
    let basic = "bWU6c0BjcmV0IHdvcmQ=";
    let setup = far(&upstream.url(), &format!("proxy = \"{url}\""))
        .secret("s%40cret")
        .secret("s@cret")
        .secret(basic);
    let check = setup.command(&["check"]).output().unwrap();
    let described = String::from_utf8(check.stdout).unwrap();
    let shown = relay.url().replace("http://", "http://[redacted]@");
    assert_line(&described, &format!("proxy = \"{shown}\""));
    assert!(!described.contains("cret"), "{described}");
    let gateway = setup.start();
    let peer = exchange(&gateway, &upstream);
    let got = String::from_utf8(peer.record().bytes()).unwrap();
    assert!(
        !got.to_ascii_lowercase().contains("proxy") && !got.contains(basic),
        "{got}"
    );
    let line = format!("\r\nProxy-Authorization: Basic {basic}\r\n");
    assert!(relay.heads()[0].contains(&line), "{:?}", relay.heads());
}

#[test]
fn the_environment_names_a_proxy_for_each_scheme() {
    let secure = Upstream::listen_tls(server_config(&pki().elsewhere));
    let plain = Upstream::listen();
    let (for_https, for_http) = (Relay::to(&secure), Relay::to(&plain));
    // Nobody here knows the name: it is the proxy's to resolve.
    for (scheme, port, upstream, relay) in [
        ("https", 443, &secure, &for_https),
        ("http", 80, &plain, &for_http),
    ] {
        let gateway = far(&format!("{scheme}://elsewhere.test"), "")
            .env("HTTPS_PROXY", &for_https.url())
            .env("http_proxy", &for_http.addr().to_string())
            .start();
        exchange(&gateway, upstream);
        let asked = format!("CONNECT elsewhere.test:{port} HTTP/1.1\r\n");
        assert!(relay.heads()[0].starts_with(&asked), "{:?}", relay.heads());
    }
    assert_eq!((for_https.heads().len(), for_http.heads().len()), (1, 1));
}

#[test]
fn loopback_and_what_is_listed_is_reached_without_the_environments_proxy() {
    let upstream = Upstream::listen();
    let relay = Relay::to(&upstream);
    let gateway = far(&upstream.url(), "")
        .env("HTTP_PROXY", &relay.url())
        .start();
    exchange(&gateway, &upstream);
    let described = |no_proxy: &str| {
        let setup = far("https://api.test", "")
            .env("HTTPS_PROXY", "http://proxy.test:3128")
            .env("NO_PROXY", no_proxy)
            .arg("check");
        setup.run().stdout
    };
    let line = "\nproxy = \"http://proxy.test:3128\"        # environment: HTTPS_PROXY\n";
    assert!(described("other.test").contains(line));
    assert!(!described("other.test, .test").contains("\nproxy = "));
    assert_eq!(relay.heads(), [""; 0]);
}

#[test]
fn the_file_wins_and_a_table_wins_over_all() {
    let upstream = Upstream::listen();
    let (all, own) = (Relay::to(&upstream), Relay::to(&upstream));
    let table = |lines: &str| table(&upstream.url(), lines);
    let for_all = format!("[upstream]\nproxy = \"{}\"\n", all.url());
    let rows = [
        (format!("{for_all}{}", table("")), [1, 0]),
        (format!("{for_all}{}", table("proxy = \"none\"")), [1, 0]),
        (
            format!("{for_all}{}", table(&format!("proxy = \"{}\"", own.url()))),
            [1, 1],
        ),
    ];
    for (toml, expected) in rows {
        let gateway = Setup::new()
            .toml(&toml)
            .env("HTTP_PROXY", "http://127.0.0.1:1")
            .start();
        exchange(&gateway, &upstream);
        assert_eq!([all.heads().len(), own.heads().len()], expected, "{toml}");
    }
}

#[test]
fn warm_connections_are_made_through_the_proxy() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let relay = Relay::to(&upstream);
    let lines = format!("proxy = \"{}\"\nwarm = 1", relay.url());
    let gateway = far(&upstream.url(), &lines).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    peer.request();
    // Nobody asked for this one; it comes because the first one is in use.
    let mut ready = upstream.accept();
    ready.handshake().unwrap();
    peer.send(ok("first"));
    assert_eq!(client.response().text(), "first");
    assert_eq!(relay.heads().len(), 2);
}

#[test]
fn a_tunnel_that_ends_while_idle_is_replaced() {
    let upstream = Upstream::listen();
    let proxy = Upstream::listen();
    let gateway = far(&upstream.url(), &format!("proxy = \"{}\"", proxy.url())).start();
    for round in ["first", "second"] {
        let mut client = gateway.connect();
        client.send(post("/p/far/x", round));
        let mut tunnel = proxy.accept();
        asked(&mut tunnel);
        tunnel.send(ESTABLISHED);
        assert_eq!(tunnel.request().text(), round);
        tunnel.send(ok(round));
        assert_eq!(client.response().text(), round);
        tunnel.close();
    }
    upstream.expect_untouched();
}

#[test]
fn an_answer_in_pieces_opens_the_tunnel_too() {
    let proxy = Upstream::listen();
    let gateway = far(
        "https://localhost:9",
        &format!("proxy = \"{}\"", proxy.url()),
    )
    .start();
    let answers = [
        "HTTP/1.0 200 OK\r\nProxy-agent: tiny\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nProxy-agent : blank\r\nX\t : y\r\n\r\n".to_owned(),
        format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n{ESTABLISHED}"),
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nX: {}\r\n\r\n",
            "x".repeat(9000)
        ),
    ];
    for answer in answers {
        let mut client = gateway.connect();
        client.send(get(MODELS));
        let mut tunnel = proxy.accept();
        assert_eq!(asked(&mut tunnel).target(), "localhost:9");
        // Bytes that come one by one, as far as loopback lets them.
        let (few, rest) = answer.split_at(60.min(answer.len()));
        few.bytes().for_each(|byte| tunnel.send([byte]));
        tunnel.send(rest);
        tunnel.secure(server(&server_config(&pki().server)));
        tunnel.request();
        tunnel.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        assert_eq!(client.response().text(), "hi");
    }
}

#[test]
fn bytes_behind_the_answer_belong_to_the_tunnel() {
    let proxy = Upstream::listen();
    let url = proxy.url();
    let gateway = far("http://localhost:9", &format!("proxy = \"{url}\"")).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut tunnel = proxy.accept();
    asked(&mut tunnel);
    // A server that is about to close says so before it is asked.
    tunnel.send(format!(
        "{ESTABLISHED}HTTP/1.1 408 Too late\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
    ));
    let got = client.response();
    assert_eq!((got.status(), got.text().as_str()), (408, "hi"));
    // A server that wants no TLS from us: an alert.
    let gateway = far("https://localhost:9", &format!("proxy = \"{url}\"")).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut tunnel = proxy.accept();
    asked(&mut tunnel);
    tunnel.send([ESTABLISHED.as_bytes(), &[0x15, 3, 3, 0, 2, 2, 40]].concat());
    let got = client.response();
    assert_eq!(got.status(), 502);
    assert!(got.text().contains("\"upstream_tls\""), "{}", got.text());
}

#[test]
fn a_client_that_leaves_ends_the_wait_for_the_proxy() {
    let proxy = Upstream::listen();
    let gateway = far(
        "http://localhost:9",
        &format!("proxy = \"{}\"", proxy.url()),
    )
    .start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut tunnel = proxy.accept();
    asked(&mut tunnel);
    client.reset();
    assert!(matches!(tunnel.expect_end(), End::Clean | End::Reset));
}

#[test]
fn a_reload_puts_another_way_in_force() {
    let upstream = Upstream::listen();
    let relay = Relay::to(&upstream);
    let gateway = far(&upstream.url(), "").start();
    let mut idle = exchange(&gateway, &upstream);
    again(&gateway, &mut idle);
    let file = gateway.setup().dir().join("sluicegate.toml");
    let broken = table(
        &upstream.url(),
        "proxy = \"socks4://u:p4ssw0rd@127.0.0.1:1\"",
    );
    fs::write(&file, broken).unwrap();
    gateway.signal(Signal::HUP);
    let line = gateway.wait_log(|line| line.contains("the old one stays"));
    assert!(
        line.contains("SOCKS") && !line.contains("p4ssw0rd"),
        "{line}"
    );
    again(&gateway, &mut idle);
    fs::write(
        &file,
        table(&upstream.url(), &format!("proxy = \"{}\"", relay.url())),
    )
    .unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    // The connection without the proxy is not used again.
    idle.wait_for_close();
    exchange(&gateway, &upstream);
    assert_eq!(relay.heads().len(), 1);
}
