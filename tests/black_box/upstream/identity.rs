//! Certificates that the gateway shows to providers: which one, to whom, and from when on.

use std::fs;

use rustix::process::Signal;
use rustls::HandshakeKind;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};

use crate::support::tls::{Identity, pki, server_config_of};
use crate::support::{Gateway, Setup, Upstream, Wire, get, ok};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";

/// Two identities in files.
fn with_files(setup: Setup) -> Setup {
    let files = [("one", &pki().client), ("two", &pki().other_client)];
    files.into_iter().fold(setup, |setup, (name, identity)| {
        setup
            .file(&format!("{name}.pem"), &identity.cert)
            .file(&format!("{name}.key"), &identity.key)
    })
}

fn table(provider: &str, upstream: &Upstream, lines: &str) -> String {
    format!(
        "[providers.{provider}]\ntype = \"openai\"\ncredential = \"none\"\nbase_url = \"{}\"\n{lines}\n",
        upstream.url()
    )
}

fn files(name: &str) -> String {
    format!("client_cert = \"{name}.pem\"\nclient_key = \"{name}.key\"\n")
}

/// A request that began on a connection to the provider.
#[track_caller]
fn begun(gateway: &Gateway, upstream: &Upstream, provider: &str) -> (Wire, Wire) {
    let mut client = gateway.connect();
    client.send(get(&format!("/p/{provider}/x")));
    let mut peer = upstream.accept();
    peer.request();
    (client, peer)
}

#[track_caller]
fn shows(peer: &Wire, identity: &Identity) {
    let expected = CertificateDer::from_pem_slice(identity.cert.as_bytes()).unwrap();
    let shown = peer.tls().peer_certificates().map(<[_]>::to_vec);
    assert_eq!(shown, Some(vec![expected]));
}

#[test]
fn providers_never_share_connections_or_sessions_across_certificates() {
    for version in [&TLS12, &TLS13] {
        let upstream = Upstream::listen_tls(server_config_of(&pki().server, &[version], true));
        let toml = table("a", &upstream, &files("one")) + &table("b", &upstream, &files("two"));
        let gateway = with_files(Setup::new()).toml(&toml).start();
        let identities = [("a", &pki().client), ("b", &pki().other_client)];
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            for (provider, identity) in identities {
                let (mut client, mut peer) = begun(&gateway, &upstream, provider);
                shows(&peer, identity);
                assert_eq!(
                    peer.tls().handshake_kind(),
                    Some(kind),
                    "{provider} {version:?}"
                );
                peer.send(ANSWER);
                peer.close();
                assert_eq!(client.response().text(), "hi");
            }
        }
        // Connections that stay open are each provider's own.
        let mut idle = identities.map(|(provider, identity)| {
            let (mut client, mut peer) = begun(&gateway, &upstream, provider);
            shows(&peer, identity);
            peer.send(ok("idle"));
            assert_eq!(client.response().text(), "idle");
            peer
        });
        for ((provider, _), peer) in identities.iter().zip(&mut idle) {
            let mut client = gateway.connect();
            client.send(get(&format!("/p/{provider}/again")));
            assert_eq!(peer.request().head.target(), "/again");
            peer.send(ok("again"));
            assert_eq!(client.response().text(), "again");
        }
    }
}

#[test]
fn one_for_all_is_shown_where_a_table_names_no_other() {
    let upstream = Upstream::listen_tls(server_config_of(&pki().server, &[&TLS13], true));
    let toml = format!(
        "[upstream]\n{}{}{}",
        files("one"),
        table("a", &upstream, ""),
        table("b", &upstream, &files("two"))
    );
    let gateway = with_files(Setup::new()).toml(&toml).start();
    for (provider, identity) in [("a", &pki().client), ("b", &pki().other_client)] {
        let (_client, peer) = begun(&gateway, &upstream, provider);
        shows(&peer, identity);
    }
}

#[test]
fn files_that_cannot_be_used_are_refused_at_start() {
    let upstream = Upstream::listen();
    let url = upstream
        .url()
        .replace("http://127.0.0.1", "https://localhost");
    let rows = [
        ("gone.pem", "one.key", "gone.pem"),
        ("one.pem", "gone.key", "gone.key"),
        (
            "one.pem",
            "two.key",
            "one.pem: certificate and key do not fit",
        ),
        (
            "one.key",
            "one.key",
            "one.key: expected a certificate chain",
        ),
        ("one.pem", "one.pem", "one.pem: expected a private key"),
        ("one.pem", "", "client_key: expected PEM files for both"),
    ];
    for (cert, key, said) in rows {
        let toml = format!(
            "[providers.a]\ntype = \"openai\"\ncredential = \"none\"\nbase_url = \"{url}\"\n\
             client_cert = \"{cert}\"\nclient_key = \"{key}\"\n"
        );
        for arg in [None, Some("check")] {
            let setup = with_files(Setup::new()).toml(&toml);
            let finished = arg.into_iter().fold(setup, Setup::arg).run();
            assert_eq!(finished.code, Some(2), "{finished:?}");
            assert!(finished.stderr.contains(said), "{said}: {finished:?}");
        }
    }
}

#[test]
fn a_reload_rotates_them_and_a_broken_one_changes_nothing() {
    let upstream = Upstream::listen_tls(server_config_of(&pki().server, &[&TLS13], true));
    let toml = table("a", &upstream, &files("one"));
    let gateway = with_files(Setup::new()).toml(&toml).start();
    let (mut client, mut idle) = begun(&gateway, &upstream, "a");
    shows(&idle, &pki().client);
    idle.send(ok("first"));
    assert_eq!(client.response().text(), "first");
    let put =
        |name: &str, content: &str| fs::write(gateway.setup().dir().join(name), content).unwrap();
    // The key alone does not fit the certificate.
    put("one.key", &pki().other_client.key);
    gateway.signal(Signal::HUP);
    let line = gateway.wait_log(|line| line.contains("the old one stays"));
    assert!(line.contains("do not fit"), "{line}");
    client.send(get("/p/a/again"));
    idle.request();
    idle.send(ok("again"));
    assert_eq!(client.response().text(), "again");
    // A request under way during the change ends where it began.
    client.send(get("/p/a/long"));
    idle.request();
    put("one.pem", &pki().other_client.cert);
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    idle.send(ok("long"));
    assert_eq!(client.response().text(), "long");
    // What was made with the old certificate is not used again.
    idle.wait_for_close();
    client.send(get("/p/a/new"));
    let mut peer = upstream.accept();
    peer.request();
    shows(&peer, &pki().other_client);
    assert_eq!(peer.tls().handshake_kind(), Some(HandshakeKind::Full));
    peer.send(ok("new"));
    assert_eq!(client.response().text(), "new");
}

#[test]
fn a_reload_that_changes_nothing_keeps_the_connections() {
    let upstream = Upstream::listen_tls(server_config_of(&pki().server, &[&TLS13], true));
    let gateway = with_files(Setup::new())
        .toml(&table("a", &upstream, &files("one")))
        .start();
    let (mut client, mut idle) = begun(&gateway, &upstream, "a");
    idle.send(ok("first"));
    assert_eq!(client.response().text(), "first");
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    client.send(get("/p/a/again"));
    idle.request();
    idle.send(ok("again"));
    assert_eq!(client.response().text(), "again");
}
