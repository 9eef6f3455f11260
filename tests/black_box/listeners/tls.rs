//! TLS towards clients and towards providers: versions, names, certificates, resumption, good and bad ends.

use std::sync::Arc;

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group::{SECP256R1, X25519, X25519MLKEM768};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, SupportedProtocolVersion};
use serde_json::Value;

use crate::support::tls::{
    client_config, client_config_as, client_config_with, pki, server_config, server_config_of,
    server_config_with,
};
use crate::support::{
    ALL_SIDES, End, Gateway, Rig, Scripted, Setup, Sides, Upstream, Wire, get, ok, request,
};

fn trusting(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    Arc::new(client_config(versions))
}

#[test]
fn a_request_passes_with_tls_on_any_side() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        let body = "b".repeat(100_000);
        let mut client = rig.client();
        client.send(request("POST", "/p/anthropic/messages", &[], &body));
        let mut peer = rig.upstream.accept();
        assert_eq!(peer.request().body.len(), body.len(), "{sides:?}");
        peer.send(ok(&body));
        assert_eq!(client.response().body.len(), body.len(), "{sides:?}");
    }
}

#[test]
fn clients_may_speak_tls_1_2_and_1_3_with_alpn_http_1_1() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let mut client = rig.gateway.connect_tls(&trusting(&[version]));
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
        assert_eq!(client.tls().protocol_version(), Some(expected));
        assert_eq!(client.tls().alpn_protocol(), Some(b"http/1.1".as_slice()));
    }
}

#[test]
fn a_client_without_alpn_and_one_that_prefers_h2_are_served_http_1_1() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    for offered in [vec![], vec![b"h2".to_vec(), b"http/1.1".to_vec()]] {
        let mut config = client_config(rustls::ALL_VERSIONS);
        config.alpn_protocols = offered;
        let mut client = rig.gateway.connect_tls(&Arc::new(config));
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
        assert_ne!(client.tls().alpn_protocol(), Some(b"h2".as_slice()));
    }
}

#[test]
fn a_client_that_comes_again_resumes_its_session() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    for version in [&TLS12, &TLS13] {
        let config = trusting(&[version]);
        let kinds: Vec<_> = (0..3)
            .map(|_| {
                let mut client = rig.gateway.connect_tls(&config);
                client.send(get("/health"));
                assert_eq!(client.response().status(), 200);
                let kind = client.tls().handshake_kind();
                client.close();
                kind
            })
            .collect();
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert_eq!(kinds[1], Some(HandshakeKind::Resumed), "{version:?}");
        assert_eq!(kinds[2], Some(HandshakeKind::Resumed), "{version:?}");
    }
}

#[test]
fn a_client_that_has_nothing_to_ask_yet_gets_its_ticket() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let mut client = rig.gateway.connect_tls(&trusting(&[&TLS13]));
    client.handshake().unwrap();
    client.wait_readable();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_client_certificate_is_demanded_where_a_ca_is_configured() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&upstream.url())
        .file("cert.pem", &pki().server.cert)
        .file("key.pem", &pki().server.key)
        .toml("[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\nclient_ca = \"ca.pem\"\n")
        .start();
    for version in [&TLS12, &TLS13] {
        let shown = client_config_as(&[version], Some(&pki().client));
        let mut client = gateway.connect_tls(&Arc::new(shown));
        client.send(get("/p/anthropic/x"));
        assert_eq!(client.response().status(), 200);
        for identity in [None, Some(&pki().stranger)] {
            let config = client_config_as(&[version], identity);
            let mut client = gateway.connect_tls(&Arc::new(config));
            let refused =
                client.try_send(get("/p/anthropic/evil")).is_err() || client.try_head().is_err();
            assert!(refused, "{version:?}");
        }
    }
    assert!(!upstream.received().concat().contains("evil"));
}

#[test]
fn plain_http_on_a_tls_port_reaches_nobody() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let mut client = rig.gateway.connect();
    client.send(get("/p/anthropic/x"));
    let (answer, _) = client.take_all();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    rig.upstream.expect_untouched();
}

#[test]
fn noise_in_a_tls_connection_ends_it_and_others_are_served() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let mut client = rig.client();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
    use std::io::Write as _;
    client
        .socket()
        .write_all(&[0x17, 3, 3, 0, 32].repeat(20))
        .unwrap();
    client.wait_for_close();
    let mut client = rig.client();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_closed_connection_ends_with_close_notify() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let mut client = rig.client();
    client.send(request("GET", "/health", &["Connection: close"], ""));
    assert_eq!(client.response().status(), 200);
    assert_eq!(client.expect_end(), End::Clean);
    let mut client = rig.client();
    client.send("GET / HTTP/1.1\r\n bad\r\n\r\n");
    assert_eq!(client.response().status(), 400);
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn a_close_delimited_response_ends_with_close_notify() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let (mut client, mut peer, _) =
        rig.exchange("GET /p/anthropic/x HTTP/1.0\r\nx-api-key: gk-test\r\n\r\n");
    peer.send("HTTP/1.1 200 OK\r\n\r\nall of it");
    peer.close();
    let got = client.response();
    assert_eq!(
        (got.text().as_str(), got.end.clone()),
        ("all of it", Some(End::Clean))
    );
}

#[test]
fn the_last_answer_is_not_lost_to_a_record_still_being_sent_behind_it() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/x"));
    let record = client.seal(get("/p/anthropic/y").as_bytes());
    let (begun, rest) = record.split_at(record.len() / 2);
    client.send_raw(begun);
    // So that it has come in before the answer has.
    peer.send("HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_eq!(client.response().status(), 103);
    peer.send("HTTP/1.0 200 OK\r\n\r\nwhole");
    peer.close();
    assert!(client.is_cut_unread());
    for byte in rest.chunks(1) {
        client.send_raw(byte);
    }
    let got = client.response();
    assert_eq!(
        (got.text().as_str(), got.end.clone()),
        ("whole", Some(End::Clean))
    );
}

#[test]
fn the_provider_gets_its_name_as_sni_and_alpn_http_1_1() {
    let rig = Rig::of(Sides::TLS_UPSTREAM);
    let (_, peer, seen) = rig.exchange(&get("/p/anthropic/x"));
    let rustls::Connection::Server(tls) = peer.tls() else {
        unreachable!()
    };
    assert_eq!(tls.server_name(), Some("localhost"));
    assert!(matches!(tls.alpn_protocol(), None | Some(b"http/1.1")));
    let port = rig.upstream.addr().port();
    assert_eq!(seen.value("host").unwrap(), format!("localhost:{port}"));
}

#[test]
fn a_provider_may_be_an_ip_address() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let url = upstream.url().replace("localhost", "127.0.0.1");
    let gateway = Setup::new().base(&url).start();
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/x"));
    let mut peer = upstream.accept();
    assert_eq!(
        peer.request().value("host").unwrap(),
        upstream.addr().to_string()
    );
    let rustls::Connection::Server(tls) = peer.tls() else {
        unreachable!()
    };
    assert_eq!(tls.server_name(), None);
    peer.send(ok("by address"));
    assert_eq!(client.response().text(), "by address");
}

#[test]
fn a_provider_may_speak_tls_1_2_or_1_3_only() {
    for version in [&TLS12, &TLS13] {
        let upstream = Scripted::echo_as(Some(server_config_of(&pki().server, &[version], false)));
        let gateway = Gateway::before_scripted(&upstream);
        let mut client = gateway.connect();
        client.send(request("POST", "/p/anthropic/x", &[], "content"));
        assert_eq!(client.response().text(), "content", "{version:?}");
    }
}

/// The code of the 502 that a request gets.
fn refused(gateway: &Gateway) -> (String, Option<String>) {
    let mut client = gateway.connect();
    client.send(request("POST", "/p/anthropic/x", &[], "content"));
    let got = client.response();
    assert_eq!(got.status(), 502, "{}", got.text());
    let body: Value = serde_json::from_slice(&got.body).unwrap();
    let retry = got.value("x-should-retry").map(str::to_owned);
    (body["error"]["code"].as_str().unwrap().to_owned(), retry)
}

#[test]
fn a_certificate_of_an_unknown_authority_is_502_upstream_tls() {
    let upstream = Scripted::echo_as(Some(server_config(&pki().stranger)));
    let gateway = Gateway::before_scripted(&upstream);
    assert_eq!(
        refused(&gateway),
        ("upstream_tls".to_owned(), Some("false".to_owned()))
    );
    assert_eq!(upstream.received().concat(), "");
}

#[test]
fn a_certificate_that_has_expired_or_is_not_valid_yet_is_502_without_a_retry() {
    for identity in [&pki().expired, &pki().early] {
        let upstream = Scripted::echo_as(Some(server_config(identity)));
        let gateway = Gateway::before_scripted(&upstream);
        assert_eq!(
            refused(&gateway),
            ("upstream_tls".to_owned(), Some("false".to_owned()))
        );
        assert_eq!(upstream.received().concat(), "");
    }
}

#[test]
fn a_handshake_that_may_succeed_the_next_time_is_worth_a_retry() {
    let upstream = Upstream::listen();
    let url = format!("https://localhost:{}", upstream.addr().port());
    let gateway = Setup::new().base(&url).start();
    // Nothing, an end amid a record, internal_error; handshake_failure, which stays.
    let rows: [(&[u8], &str); 4] = [
        (b"", "true"),
        (b"\x16\x03\x03\x01", "true"),
        (b"\x15\x03\x03\0\x02\x02\x50", "true"),
        (b"\x15\x03\x03\0\x02\x02\x28", "false"),
    ];
    for (said, expected) in rows {
        let mut client = gateway.connect();
        client.send(request("POST", "/p/anthropic/x", &[], "content"));
        let mut peer = upstream.accept();
        peer.fill().unwrap();
        peer.send(said);
        peer.close();
        let got = client.response();
        assert!(got.text().contains("\"upstream_tls\""), "{}", got.text());
        assert_eq!(got.value("x-should-retry"), Some(expected), "{said:?}");
    }
}

#[test]
fn a_provider_that_demands_a_certificate_is_502() {
    // With TLS 1.3 the refusal may come after the request went out.
    for version in [&TLS12, &TLS13] {
        let config = server_config_of(&pki().server, &[version], true);
        let upstream = Scripted::echo_as(Some(config));
        let gateway = Gateway::before_scripted(&upstream);
        let (code, _) = refused(&gateway);
        assert!(code.starts_with("upstream_"), "{version:?}: {code}");
        assert_eq!(upstream.received().concat(), "");
    }
}

#[test]
fn a_wrong_name_is_502_upstream_tls_with_nothing_sent() {
    let upstream = Scripted::echo_as(Some(server_config(&pki().elsewhere)));
    let gateway = Gateway::before_scripted(&upstream);
    for _ in 0..2 {
        let expected = ("upstream_tls".to_owned(), Some("false".to_owned()));
        assert_eq!(refused(&gateway), expected);
    }
    assert_eq!(upstream.received().concat(), "");
}

#[test]
fn without_the_ca_in_the_trust_store_the_provider_is_not_trusted() {
    let upstream = Scripted::echo_as(Some(server_config(&pki().server)));
    let gateway = Setup::new()
        .base(&upstream.url())
        .file("other.pem", &pki().stranger.cert)
        .env("SSL_CERT_FILE", "other.pem")
        .start();
    assert_eq!(refused(&gateway).0, "upstream_tls");
}

#[test]
fn the_trust_store_can_be_named_in_the_file_too() {
    let upstream = Scripted::echo_as(Some(server_config(&pki().server)));
    let gateway = Setup::new()
        .base(&upstream.url())
        .without("SSL_CERT_FILE")
        .toml("[upstream]\nca_file = \"ca.pem\"\n")
        .start();
    let mut client = gateway.connect();
    client.send(request("POST", "/p/anthropic/x", &[], "trusted"));
    assert_eq!(client.response().text(), "trusted");
}

#[test]
fn sessions_with_the_provider_are_resumed() {
    for version in [&TLS12, &TLS13] {
        let config = server_config_of(&pki().server, &[version], false);
        let upstream = Upstream::listen_tls(config);
        let gateway = Setup::new().base(&upstream.url()).start();
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut client = gateway.connect();
            client.send(get("/p/anthropic/x"));
            let mut peer: Wire = upstream.accept();
            peer.request();
            kinds.push(peer.tls().handshake_kind());
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
            peer.close();
            assert_eq!(client.response().text(), "hi");
        }
        assert_eq!(
            kinds,
            [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)],
            "{version:?}"
        );
    }
}

/// What two ends agreed on, and how.
fn agreed(wire: &Wire) -> (NamedGroup, Option<HandshakeKind>) {
    let group = wire.tls().negotiated_key_exchange_group().unwrap();
    (group.name(), wire.tls().handshake_kind())
}

#[test]
fn keys_are_agreed_on_as_no_quantum_computer_breaks_where_the_peer_can() {
    let old: &[&'static dyn SupportedKxGroup] = &[X25519, SECP256R1];
    let new: &[&'static dyn SupportedKxGroup] = &[X25519MLKEM768, X25519, SECP256R1];
    for (groups, expected) in [
        (new, NamedGroup::X25519MLKEM768),
        // With both shares in the first message nobody has to ask for the other.
        (old, NamedGroup::X25519),
    ] {
        let upstream = Upstream::listen_tls(server_config_with(&pki().server, groups));
        let gateway = Setup::new().base(&upstream.url()).tls().start();
        let mut client = gateway.connect_tls(&Arc::new(client_config_with(groups)));
        client.send(get("/p/anthropic/x"));
        let mut peer = upstream.accept();
        peer.request();
        assert_eq!(agreed(&peer), (expected, Some(HandshakeKind::Full)));
        peer.send(ok("agreed"));
        assert_eq!(client.response().text(), "agreed");
        assert_eq!(agreed(&client), (expected, Some(HandshakeKind::Full)));
    }
}

#[test]
fn tickets_in_a_row_are_no_fault_of_a_provider() {
    for tickets in [33, 250] {
        let mut config = (*server_config_of(&pki().server, &[&TLS13], false)).clone();
        config.send_tls13_tickets = tickets;
        // So that they come in a record each, or more.
        config.max_fragment_size = Some(128);
        let upstream = Scripted::echo_as(Some(Arc::new(config)));
        let gateway = Gateway::before_scripted(&upstream);
        let mut client = gateway.connect();
        client.send(request("POST", "/p/anthropic/x", &[], "content"));
        assert_eq!(client.response().text(), "content", "{tickets} tickets");
    }
}

#[test]
fn records_of_any_size_make_no_difference() {
    let rig = Rig::of(Sides::TLS);
    let mut client = rig.client();
    let text = request("POST", "/p/anthropic/x", &[], "0123456789");
    for byte in text.bytes() {
        client.send([byte]);
    }
    let mut peer = rig.upstream.accept();
    assert_eq!(peer.request().text(), "0123456789");
    for byte in ok("answer").bytes() {
        peer.send([byte]);
    }
    assert_eq!(client.response().text(), "answer");
}
