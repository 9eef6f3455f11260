//! TLS on both sides: versions, certificates, resumption, and what is not TLS.

use std::io::Write as _;
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind, ProtocolVersion};

use crate::support::tls::{client_config, client_config_as, pki, server_config, server_config_of};
use crate::support::{End, Gateway, Scripted, Setup, Upstream, Wire, get, ok, post};

const MODELS: &str = "/p/anthropic/v1/models";

/// A gateway on TLS in front of this provider.
fn before(upstream: &Scripted) -> Gateway {
    Setup::new().base(&upstream.url()).tls().start()
}

#[track_caller]
fn assert_served(client: &mut Wire) {
    client.send(get(MODELS));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn clients_speak_tls_1_2_and_1_3_and_http_1_1() {
    let upstream = Scripted::echo();
    let gateway = before(&upstream);
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = Arc::new(client_config(&[version]));
        let mut client = gateway.connect_tls(&config);
        for body in ["", "small", &"l".repeat(300_000)] {
            client.send(post(MODELS, body));
            assert_eq!(client.response().text(), body);
        }
        assert_eq!(client.tls().protocol_version(), Some(expected));
        assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
        client.send(crate::support::request(
            "GET",
            MODELS,
            &["Connection: close"],
            "",
        ));
        client.response();
        assert_eq!(client.expect_end(), End::Clean, "with close_notify");
    }
}

#[test]
fn a_client_without_alpn_is_served_and_one_that_wants_only_h2_is_refused() {
    let upstream = Scripted::echo();
    let gateway = before(&upstream);
    let mut config = client_config(ALL_VERSIONS);
    config.alpn_protocols.clear();
    assert_served(&mut gateway.connect_tls(&Arc::new(config)));
    let mut config = client_config(ALL_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let mut client = gateway.connect_tls(&Arc::new(config));
    assert_served(&mut client);
    assert_eq!(client.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut config = client_config(ALL_VERSIONS);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = gateway.connect_tls(&Arc::new(config));
    assert!(matches!(client.handshake(), Err(End::Tls(_))));
}

#[test]
fn a_second_handshake_is_resumed() {
    let upstream = Scripted::echo();
    let gateway = before(&upstream);
    for version in [&TLS12, &TLS13] {
        let config: Arc<ClientConfig> = client_config(&[version]).into();
        for expected in [
            HandshakeKind::Full,
            HandshakeKind::Resumed,
            HandshakeKind::Resumed,
        ] {
            let mut client = gateway.connect_tls(&config);
            assert_served(&mut client);
            assert_eq!(client.tls().handshake_kind(), Some(expected), "{version:?}");
        }
    }
}

#[test]
fn events_arrive_one_by_one_through_tls_on_both_sides() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let gateway = Setup::new().base(&upstream.url()).tls().start();
    let mut client = gateway.connect_tls(&client_config(ALL_VERSIONS).into());
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    peer.request();
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.head();
    for index in 0..100 {
        let event = format!("8\r\ndata: {}\n\r\n", index % 10);
        peer.send(&event);
        client.expect(&event);
    }
    peer.send("0\r\n\r\n");
    client.expect("0\r\n\r\n");
    client.send(get(MODELS));
    assert_eq!(peer.request().head.method(), "GET", "both connections stay");
}

#[test]
fn a_client_certificate_is_demanded_where_configured() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&upstream.url())
        .file("cert.pem", &pki().server.cert)
        .file("key.pem", &pki().server.key)
        .toml("[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\nclient_ca = \"ca.pem\"\n")
        .start();
    for version in [&TLS12, &TLS13] {
        let known = client_config_as(&[version], Some(&pki().client));
        assert_served(&mut gateway.connect_tls(&known.into()));
        let rows = [("none", None), ("stranger", Some(&pki().stranger))];
        for (name, identity) in rows {
            let mut client = gateway.connect_tls(&client_config_as(&[version], identity).into());
            // With TLS 1.3 the refusal comes only behind the client's own end of the handshake.
            let refused = client
                .handshake()
                .and_then(|()| client.try_send(get(MODELS)))
                .and_then(|()| client.fill());
            assert!(refused.is_err(), "{name} {version:?}");
            assert!(client.unread().is_empty());
        }
    }
    let received = upstream.received();
    assert_eq!(
        received.len(),
        1,
        "only those with a certificate: {received:?}"
    );
}

#[test]
fn plain_http_on_the_tls_port_ends_that_connection_only() {
    let upstream = Scripted::echo();
    let gateway = before(&upstream);
    for bytes in [
        get(MODELS),
        "\0\0\0".into(),
        "\x16\x03\x01\0\0".into(),
        "x".repeat(20_000),
    ] {
        let mut client = gateway.connect();
        let _ = client.socket().write_all(bytes.as_bytes());
        let (_, took) = client.wait_for_close();
        assert!(took.as_secs() < 9, "{bytes:?}");
    }
    assert_served(&mut gateway.connect_tls(&client_config(ALL_VERSIONS).into()));
}

#[test]
fn a_slow_handshake_is_ended_in_time() {
    let gateway = Setup::new()
        .tls()
        .toml("[timeouts]\nrequest_header = \"300ms\"\n")
        .start();
    // A record that announces 512 bytes and brings a few, or nothing at all.
    for bytes in ["", "\x16\x03\x01\x02\0\x01\0\x01"] {
        let mut client = gateway.connect();
        let _ = client.socket().write_all(bytes.as_bytes());
        let (_, took) = client.wait_for_close();
        assert!(took.as_millis() >= 250 && took.as_secs() < 5, "{took:?}");
    }
}

#[test]
fn the_upstream_is_asked_for_by_its_name() {
    for version in [&TLS12, &TLS13] {
        let upstream = Upstream::listen_tls(server_config_of(&pki().server, &[version], false));
        let gateway = Setup::new().base(&upstream.url()).start();
        let mut client = gateway.connect();
        client.send(get(MODELS));
        let mut peer = upstream.accept();
        let sent = peer.request();
        let port = upstream.addr().port();
        assert_eq!(sent.value("host"), Some(&*format!("localhost:{port}")));
        let rustls::Connection::Server(tls) = peer.tls() else {
            unreachable!();
        };
        assert_eq!(tls.server_name(), Some("localhost"));
        assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
        peer.send(ok("hi"));
        assert_eq!(client.response().text(), "hi");
    }
}

#[test]
fn an_upstream_without_a_name_is_known_by_its_address() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let url = format!("https://127.0.0.1:{}", upstream.addr().port());
    let gateway = Setup::new().base(&url).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let mut peer = upstream.accept();
    peer.request();
    let rustls::Connection::Server(tls) = peer.tls() else {
        unreachable!();
    };
    assert_eq!(tls.server_name(), None, "an address is no server name");
    peer.send(ok("hi"));
    assert_eq!(client.response().text(), "hi");
}

#[test]
fn an_upstream_that_cannot_be_trusted_is_a_502() {
    let identities = [&pki().stranger, &pki().elsewhere];
    for identity in identities {
        let upstream = Scripted::echo_as(Some(server_config(identity)));
        let gateway = Setup::new().base(&upstream.url()).start();
        let mut client = gateway.connect();
        client.send(get(MODELS));
        let answer = client.response();
        assert_eq!(answer.status(), 502);
        assert!(
            answer.text().contains("\"code\":\"upstream_tls\""),
            "{}",
            answer.text()
        );
        assert_eq!(upstream.received().concat(), "", "nothing was sent");
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200, "the connection stays");
    }
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_a_502() {
    let upstream = Scripted::start(|wire, _| {
        let _ = wire.try_send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        wire.take_all();
    });
    let url = upstream
        .url()
        .replace("http://127.0.0.1", "https://localhost");
    let gateway = Setup::new().base(&url).start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let answer = client.response();
    assert_eq!(answer.status(), 502);
    assert!(
        answer.text().contains("\"code\":\"upstream_tls\""),
        "{}",
        answer.text()
    );
}

#[test]
fn a_slow_upstream_handshake_is_a_504() {
    let upstream = Upstream::listen();
    let url = format!("https://localhost:{}", upstream.addr().port());
    let gateway = Setup::new()
        .base(&url)
        .toml("[timeouts]\nconnect = \"300ms\"\n")
        .start();
    let mut client = gateway.connect();
    client.send(get(MODELS));
    let answer = client.response();
    assert_eq!(answer.status(), 504);
    assert!(
        answer
            .text()
            .contains("\"code\":\"upstream_connect_timeout\""),
        "{}",
        answer.text()
    );
}
