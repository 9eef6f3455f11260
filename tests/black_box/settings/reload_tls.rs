//! What a reload does to connections that were made on other terms: other roots, other certificates, another door.

use std::fs;

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, SupportedProtocolVersion};

use crate::support::tls::{client_config_as, pki, server_config, server_config_of};
use crate::support::{End, Gateway, Setup, Upstream, Wire, get, ok, post, request};

const PATH: &str = "/p/anthropic/x";

fn put(gateway: &Gateway, name: &str, content: &str) {
    fs::write(gateway.setup().dir().join(name), content).unwrap();
}

/// Answers the next request on this connection.
#[track_caller]
fn answer(client: &mut Wire, peer: &mut Wire, text: &str) {
    peer.request();
    peer.send(ok(text));
    assert_eq!(client.response().text(), text);
}

/// A client whose request was answered, and the provider's side of the connection that is idle now.
#[track_caller]
fn idle(gateway: &Gateway, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = gateway.connect();
    client.send(get(PATH));
    let mut peer = upstream.accept();
    answer(&mut client, &mut peer, "first");
    (client, peer)
}

#[track_caller]
fn refused(client: &mut Wire, upstream: &Upstream) {
    client.send(post(PATH, "content"));
    let mut peer = upstream.accept();
    assert!(peer.try_head().is_err());
    let got = client.response();
    assert_eq!(got.status(), 502, "{}", got.text());
    assert!(got.text().contains("\"upstream_tls\""), "{}", got.text());
}

/// In front of a provider whose roots a file has.
fn before(upstream: &Upstream, more: &str) -> Setup {
    Setup::new()
        .base(&upstream.url())
        .without("SSL_CERT_FILE")
        .file("roots.pem", &pki().ca)
        .toml(&format!("[upstream]\nca_file = \"roots.pem\"\n{more}"))
}

#[test]
fn a_provider_that_is_not_trusted_any_more_gets_no_request_on_an_old_connection() {
    for version in [&TLS12, &TLS13] {
        for variable in [true, false] {
            let config = server_config_of(&pki().server, &[version], false);
            let upstream = Upstream::listen_tls(config);
            let setup = before(&upstream, "");
            let gateway = match variable {
                true => setup.toml("").env("SSL_CERT_FILE", "roots.pem").start(),
                false => setup.start(),
            };
            let (mut client, mut peer) = idle(&gateway, &upstream);
            put(&gateway, "roots.pem", &pki().stranger_ca);
            gateway.reload();
            peer.wait_for_close();
            // Nor by taking up its session, with which no certificate is shown.
            refused(&mut client, &upstream);
            // Trusted again, it is connected to from the start.
            put(&gateway, "roots.pem", &pki().ca);
            gateway.reload();
            client.send(get(PATH));
            let mut peer = upstream.accept();
            answer(&mut client, &mut peer, "trusted");
            assert_eq!(peer.tls().handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[test]
fn roots_that_say_the_same_in_another_order_keep_connections_and_sessions() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let gateway = before(&upstream, "").start();
    let both = |first: &str, second: &str| format!("{first}{second}");
    put(&gateway, "roots.pem", &both(&pki().ca, &pki().stranger_ca));
    gateway.reload();
    let (mut client, mut peer) = idle(&gateway, &upstream);
    put(&gateway, "roots.pem", &both(&pki().stranger_ca, &pki().ca));
    gateway.reload();
    client.send(get(PATH));
    answer(&mut client, &mut peer, "on the same connection");
    peer.close();
    // The other one is looked after by the gateway itself.
    client.send(get(PATH));
    let mut peer = upstream.accept();
    answer(&mut client, &mut peer, "resumed");
    assert_eq!(peer.tls().handshake_kind(), Some(HandshakeKind::Resumed));
}

#[test]
fn a_request_under_way_ends_where_it_began_and_its_connection_with_it() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let gateway = before(&upstream, "").start();
    let mut client = gateway.connect();
    client.send(get(PATH));
    let mut peer = upstream.accept();
    peer.request();
    put(&gateway, "roots.pem", &pki().stranger_ca);
    gateway.reload();
    peer.send(ok("from before"));
    assert_eq!(client.response().text(), "from before");
    peer.wait_for_close();
    refused(&mut client, &upstream);
}

#[test]
fn a_connection_in_the_making_counts_by_what_is_in_force_when_it_is_made() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let gateway = before(&upstream, "").start();
    for (roots, trusted) in [(&pki().stranger_ca, false), (&pki().ca, true)] {
        let mut client = gateway.connect();
        client.send(post(PATH, "content"));
        // Its ClientHello is here; what is answered is checked against roots that are no more.
        let mut first = upstream.accept();
        first.wait_readable();
        put(&gateway, "roots.pem", roots);
        gateway.reload();
        assert!(first.try_head().is_err());
        let mut second = upstream.accept();
        match trusted {
            true => answer(&mut client, &mut second, "trusted by now"),
            false => {
                assert!(second.try_head().is_err());
                let got = client.response();
                assert!(got.text().contains("\"upstream_tls\""), "{}", got.text());
            }
        }
    }
}

#[test]
fn a_provider_that_is_elsewhere_by_now_is_not_sent_to_where_it_was() {
    let [old, new] = [(); 2].map(|()| Upstream::listen_tls(server_config(&pki().server)));
    let toml = |base: &str| {
        format!(
            "[providers.moved]\ntype = \"openai\"\napi_key = \"sk-moved\"\nbase_url = \"{base}\"\n"
        )
    };
    let gateway = Setup::new().toml(&toml(&old.url())).secret("sk-moved");
    let gateway = gateway.start();
    let mut client = gateway.connect();
    client.send(post("/p/moved/x", "content"));
    let mut peer = old.accept();
    peer.wait_readable();
    put(&gateway, "sluicegate.toml", &toml(&new.url()));
    gateway.reload();
    assert!(peer.try_head().is_err());
    let got = client.response();
    assert_eq!(
        (got.status(), got.value("x-should-retry")),
        (502, Some("true"))
    );
    client.send(post("/p/moved/x", "content"));
    let mut peer = new.accept();
    answer(&mut client, &mut peer, "where it is");
}

#[test]
fn connections_made_ahead_on_other_terms_are_not_kept() {
    let upstream = Upstream::listen_tls(server_config(&pki().server));
    let gateway = before(&upstream, "").env("SLUICEGATE_WARM", "1").start();
    let mut client = gateway.connect();
    client.send(get(PATH));
    let mut peer = upstream.accept();
    peer.request();
    // One is made ahead, since the other is in use. Its handshake is not over when the terms change.
    let mut ahead = upstream.accept();
    ahead.wait_readable();
    let both = format!("{}{}", pki().ca, pki().stranger_ca);
    put(&gateway, "roots.pem", &both);
    gateway.reload();
    ahead.handshake().unwrap();
    // Unused ones are kept for 10 s.
    let at_once = |ahead: &mut Wire| ahead.wait_for_close().1.as_secs() < 5;
    assert!(at_once(&mut ahead));
    // The next one waits for a request when they change.
    let mut ahead = upstream.accept();
    ahead.handshake().unwrap();
    put(&gateway, "roots.pem", &pki().stranger_ca);
    gateway.reload();
    assert!(at_once(&mut ahead));
    let mut ahead = upstream.accept();
    assert!(ahead.try_head().is_err());
    answer_begun(&mut client, &mut peer);
}

/// Answers a request that has been read.
#[track_caller]
fn answer_begun(client: &mut Wire, peer: &mut Wire) {
    peer.send(ok("begun"));
    assert_eq!(client.response().text(), "begun");
}

/// With TLS towards clients, who have to show a certificate.
fn guarded() -> Setup {
    Setup::new()
        .tls()
        .file("clients.pem", &pki().ca)
        .toml(GUARDED)
}

const GUARDED: &str = "[server.tls]\nclient_ca = \"clients.pem\"\n";

fn with_certificate(gateway: &Gateway, version: &'static SupportedProtocolVersion) -> Wire {
    let config = client_config_as(&[version], Some(&pki().client));
    gateway.connect_tls(&std::sync::Arc::new(config))
}

#[track_caller]
fn healthy(client: &mut Wire) {
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_client_whose_authority_is_gone_is_sent_away_when_idle() {
    for version in [&TLS12, &TLS13] {
        let gateway = guarded().start();
        let config = std::sync::Arc::new(client_config_as(&[version], Some(&pki().client)));
        let mut client = gateway.connect_tls(&config);
        healthy(&mut client);
        put(&gateway, "clients.pem", &pki().stranger_ca);
        gateway.reload();
        assert_eq!(client.expect_end(), End::Clean);
        // Nor does its ticket let it in.
        let mut again = gateway.connect_tls(&config);
        let refused = again.try_send(get("/health")).is_err() || again.try_head().is_err();
        assert!(refused, "{version:?}");
    }
}

#[test]
fn its_request_under_way_is_answered_and_is_the_last() {
    let upstream = Upstream::listen();
    let gateway = guarded().base(&upstream.url()).start();
    let mut client = with_certificate(&gateway, &TLS13);
    client.send(get(PATH));
    let mut peer = upstream.accept();
    peer.request();
    // One that comes behind it was not asked on today's terms.
    client.send(get("/p/anthropic/late"));
    put(&gateway, "clients.pem", &pki().stranger_ca);
    gateway.reload();
    peer.send(ok("the last"));
    let got = client.response();
    assert_eq!(got.text(), "the last");
    assert_eq!(got.value("connection"), Some("close"));
    assert_eq!(client.expect_end(), End::Clean);
    assert!(
        !peer
            .record()
            .bytes()
            .windows(5)
            .any(|seen| seen == b"/late")
    );
}

#[test]
fn a_request_that_has_begun_is_told_to_connect_again() {
    let gateway = guarded().start();
    let mut client = with_certificate(&gateway, &TLS13);
    healthy(&mut client);
    let whole = request("POST", PATH, &[], "content");
    client.send(&whole[..20]);
    // So that it is there before the reload is.
    let mut other = with_certificate(&gateway, &TLS13);
    healthy(&mut other);
    put(&gateway, "clients.pem", &pki().stranger_ca);
    gateway.reload();
    let got = client.response();
    assert_eq!(
        (got.status(), got.value("x-should-retry")),
        (503, Some("true"))
    );
    assert!(got.text().contains("connection_outdated"), "{}", got.text());
    assert_eq!(client.expect_end(), End::Clean);
}

#[test]
fn a_door_that_opens_wider_or_stays_lets_everybody_stay() {
    let gateway = guarded().start();
    let mut client = with_certificate(&gateway, &TLS13);
    healthy(&mut client);
    // One authority more, then the certificate renewed.
    put(
        &gateway,
        "clients.pem",
        &format!("{}{}", pki().stranger_ca, pki().ca),
    );
    gateway.reload();
    healthy(&mut client);
    put(&gateway, "cert.pem", &pki().renewed.cert);
    put(&gateway, "key.pem", &pki().renewed.key);
    gateway.reload();
    healthy(&mut client);
}

#[test]
fn a_door_that_is_another_one_ends_what_came_by_the_old() {
    // Certificates demanded by now; demanded no more; TLS instead of none; none instead of TLS.
    let plain = || Setup::new().file("clients.pem", &pki().ca);
    let with_tls = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n";
    let guarded = format!("{with_tls}client_ca = \"clients.pem\"\n");
    for (old, new) in [
        (with_tls, &*guarded),
        (&guarded, with_tls),
        ("", with_tls),
        (with_tls, ""),
    ] {
        let setup = plain()
            .file("cert.pem", &pki().server.cert)
            .file("key.pem", &pki().server.key);
        let gateway = setup.toml(old).start();
        let mut client = match old {
            "" => gateway.connect(),
            _ => with_certificate(&gateway, &TLS13),
        };
        healthy(&mut client);
        put(&gateway, "sluicegate.toml", new);
        gateway.reload();
        assert_eq!(client.expect_end(), End::Clean, "{old} {new}");
        let mut client = match new {
            "" => gateway.connect(),
            _ => with_certificate(&gateway, &TLS13),
        };
        healthy(&mut client);
    }
}

#[test]
fn a_reload_that_changes_nothing_lets_clients_resume() {
    let gateway = guarded().start();
    let config = std::sync::Arc::new(client_config_as(&[&TLS13], Some(&pki().client)));
    let mut client = gateway.connect_tls(&config);
    healthy(&mut client);
    gateway.reload();
    healthy(&mut client);
    let mut again = gateway.connect_tls(&config);
    healthy(&mut again);
    assert_eq!(again.tls().handshake_kind(), Some(HandshakeKind::Resumed));
}
