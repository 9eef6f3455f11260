//! `check --connect`: what is said of each provider that it goes to, what the provider is sent, and what nobody is shown.

use std::net::TcpListener;

use crate::support::proxy::{Relay, UnixUpstream};
use crate::support::tls::{pki, server_config, server_config_of};
use crate::support::{KEY, Scripted, Setup, Upstream, ok};

use rustls::version::{TLS12, TLS13};

/// A provider of this name at this URL, with the key `sk-here` and more lines.
fn table(name: &str, url: &str, lines: &str) -> String {
    format!(
        "[providers.{name}]\ntype = \"openai\"\nbase_url = \"{url}/v1\"\napi_key = \"sk-here\"\n{lines}\n"
    )
}

/// Exit code and lines of `check --connect` with this file.
#[track_caller]
fn tried(toml: &str) -> (Option<i32>, Vec<String>) {
    tried_by(Setup::new().toml(toml))
}

#[track_caller]
fn tried_by(setup: Setup) -> (Option<i32>, Vec<String>) {
    let setup = setup.secret("sk-here").secret("s3cret").secret(KEY);
    let finished = setup.arg("check").arg("--connect").run();
    let lines = finished.stdout.lines().map(str::to_owned);
    (finished.code, lines.collect())
}

/// Answers every request with this status and nothing.
fn answering(status: u16) -> Scripted {
    Scripted::start(move |wire, _| {
        if wire.try_request().is_ok() {
            wire.send(format!(
                "HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 {status} S\r\nContent-Length: 0\r\n\r\n"
            ));
        }
    })
}

#[test]
fn a_provider_is_asked_for_its_models_with_all_that_the_gateway_adds() {
    let upstream = Scripted::echo();
    let own = "headers = { X-Team = \"s3cret\", User-Agent = \"mine\" }\n";
    let anthropic = "[providers.anthropic]\napi_key = \"sk-here\"\nbase_url = \"URL\"\n";
    let anthropic = anthropic.replace("URL", &upstream.url());
    let (code, lines) = tried(&(anthropic + &table("here", &upstream.url(), own)));
    assert_eq!(code, Some(0), "{lines:?}");
    let (url, addr) = (upstream.url(), upstream.addr());
    assert_eq!(
        lines,
        [
            format!("anthropic: reachable: {url} at {addr}: answered 200"),
            format!("here: reachable: {url}/v1 at {addr}: answered 200"),
        ]
    );
    let mut seen = upstream.received();
    seen.sort();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        seen,
        [
            format!(
                "GET /models HTTP/1.1\r\nHost: {addr}\r\nx-api-key: sk-here\r\n\
                 anthropic-version: 2023-06-01\r\nAccept: application/json\r\n\
                 User-Agent: sluicegate/{version}\r\nConnection: close\r\n\r\n"
            ),
            format!(
                "GET /v1/models HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer sk-here\r\n\
                 User-Agent: mine\r\nX-Team: s3cret\r\nAccept: application/json\r\n\
                 Connection: close\r\n\r\n"
            ),
        ]
    );
}

#[test]
fn a_status_says_whether_the_credential_was_refused_and_nothing_else() {
    let none = "credential = \"none\"\n";
    let client = "credential = \"client\"\n";
    for (status, lines, code, verdict, more) in [
        (200, "", 0, "reachable", ""),
        (404, "", 0, "reachable", ""),
        (500, "", 0, "reachable", ""),
        (302, "", 0, "reachable", ""),
        (401, "", 1, "credential refused", ""),
        (403, "", 1, "credential refused", ""),
        (
            401,
            none,
            1,
            "credential refused",
            ", and none is configured",
        ),
        (
            401,
            client,
            0,
            "reachable",
            ", since clients bring the credential",
        ),
    ] {
        let upstream = answering(status);
        let (url, addr) = (upstream.url(), upstream.addr());
        let (found, said) = tried(&table("here", &url, lines));
        let line = format!("here: {verdict}: {url}/v1 at {addr}: answered {status}{more}");
        assert_eq!((found, said), (Some(code), vec![line]));
    }
}

#[test]
fn whoever_cannot_be_reached_is_named_with_the_step_that_failed() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = gone.local_addr().unwrap().port();
    drop(gone);
    let good = Scripted::echo();
    let ends = Scripted::start(|wire, _| drop(wire.try_request()));
    let other = Scripted::start(|wire, _| {
        if wire.try_request().is_ok() {
            wire.send("SSH-2.0-OpenSSH\r\n\r\n");
        }
    });
    let toml = [
        table("a", &format!("http://127.0.0.1:{port}"), ""),
        table("b", "http://nowhere.invalid", ""),
        table("c", &ends.url(), ""),
        table("d", &other.url(), ""),
        table("e", "http+unix://%2Fnowhere%2Fvllm.sock", ""),
        table("f", &good.url(), ""),
    ];
    let (code, lines) = tried(&toml.concat());
    assert_eq!(code, Some(1), "{lines:?}");
    let at = format!("http://127.0.0.1:{port}/v1 at 127.0.0.1:{port}");
    let begins = [
        format!("a: not reachable: {at}: no connection: Connection refused"),
        "b: not reachable: http://nowhere.invalid/v1: its name has no address: ".to_owned(),
        format!(
            "c: not reachable: {0}/v1 at {1}: no answer: ",
            ends.url(),
            ends.addr()
        ),
        format!(
            "d: not reachable: {0}/v1 at {1}: no answer: it is not HTTP/1.1",
            other.url(),
            other.addr()
        ),
        "e: not reachable: http+unix://%2Fnowhere%2Fvllm.sock/v1: no connection: No such file"
            .to_owned(),
        format!(
            "f: reachable: {0}/v1 at {1}: answered 200",
            good.url(),
            good.addr()
        ),
    ];
    assert_eq!(lines.len(), begins.len(), "{lines:?}");
    for (line, begin) in lines.iter().zip(&begins) {
        assert!(line.starts_with(begin), "no {begin} in {line}");
    }
}

#[test]
fn tls_is_named_with_its_version_or_the_fault_of_the_certificate() {
    let showing = |identity| Scripted::echo_as(Some(server_config(identity)));
    let at = |version| Scripted::echo_as(Some(server_config_of(&pki().server, &[version], false)));
    let asking = Scripted::echo_as(Some(server_config_of(&pki().server, &[&TLS13], true)));
    let own = "client_cert = \"one.pem\"\nclient_key = \"one.key\"\n";
    let roots = "ca_file = \"stranger.pem\"\n";
    for (upstream, lines, code, said) in [
        (at(&TLS13), "", 0, " with TLS 1.3: answered 200"),
        (at(&TLS12), "", 0, " with TLS 1.2: answered 200"),
        (
            showing(&pki().expired),
            "",
            1,
            ": TLS: invalid peer certificate: certificate expired",
        ),
        (
            showing(&pki().stranger),
            "",
            1,
            ": TLS: invalid peer certificate: UnknownIssuer",
        ),
        (
            showing(&pki().elsewhere),
            "",
            1,
            ": TLS: invalid peer certificate: certificate not valid for name",
        ),
        (
            showing(&pki().stranger),
            roots,
            0,
            " with TLS 1.3: answered 200",
        ),
        (asking, own, 0, " with TLS 1.3: answered 200"),
    ] {
        let setup = Setup::new()
            .file("one.pem", &pki().client.cert)
            .file("one.key", &pki().client.key)
            .file("stranger.pem", &pki().stranger_ca)
            .toml(&table("here", &upstream.url(), lines));
        let (found, lines) = tried_by(setup);
        assert_eq!(found, Some(code), "{lines:?}");
        let end = format!("/v1 at {}{said}", upstream.addr());
        assert!(lines[0].contains(&end), "no {end} in {lines:?}");
    }
    // One who wants a certificate says so when the handshake is over for us.
    let asking = Scripted::echo_as(Some(server_config_of(&pki().server, &[&TLS13], true)));
    let (code, lines) = tried(&table("here", &asking.url(), ""));
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(
        lines[0].contains(": TLS: received fatal alert: "),
        "{lines:?}"
    );
    // No TLS at all on the other side.
    let plain = Scripted::start(|wire, _| {
        let _ = wire.fill();
        wire.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    });
    let url = plain.url().replace("http://127.0.0.1", "https://localhost");
    let (code, lines) = tried(&table("here", &url, ""));
    assert_eq!(code, Some(1), "{lines:?}");
    assert!(lines[0].contains(": TLS: "), "{lines:?}");
}

#[test]
fn the_way_leads_through_the_proxy_that_is_set() {
    let secure = Upstream::listen_tls(server_config(&pki().elsewhere));
    let relay = Relay::to(&secure);
    let url = relay.url().replace("http://", "http://me:s3cret@");
    let answered = std::thread::spawn(move || {
        let mut peer = secure.accept();
        let request = peer.request();
        peer.send(ok(""));
        (peer, request)
    });
    let proxy = format!("proxy = \"{url}\"\n");
    let (code, lines) = tried(&table("far", "https://elsewhere.test", &proxy));
    let (_, request) = answered.join().unwrap();
    let shown = relay.url().replace("http://", "http://[redacted]@");
    let line = format!(
        "far: reachable: https://elsewhere.test/v1 through {shown} at {} with TLS 1.3: answered 200",
        relay.addr()
    );
    assert_eq!((code, lines), (Some(0), vec![line]));
    assert_eq!(request.head.target(), "/v1/models");
    let asked = "CONNECT elsewhere.test:443 HTTP/1.1\r\nHost: elsewhere.test:443\r\n\
                 Proxy-Authorization: Basic bWU6czNjcmV0\r\n\r\n";
    assert_eq!(relay.heads(), [asked]);
    let upstream = Upstream::listen();
    let refusing = Relay::to_with(
        &upstream,
        "HTTP/1.1 407 No s3cret\r\nContent-Length: 0\r\n\r\n",
    );
    let proxy = format!("proxy = \"{}\"\n", refusing.url());
    let (code, lines) = tried(&table("far", "http://elsewhere.test", &proxy));
    assert_eq!(code, Some(1), "{lines:?}");
    let said = "the proxy gave no tunnel: it answered 407: it wants other credentials";
    assert!(lines[0].ends_with(said), "{lines:?}");
}

#[test]
fn a_unix_socket_is_gone_to_as_well() {
    let setup = Setup::new();
    let path = setup.dir().join("vllm.sock");
    let upstream = UnixUpstream::listen(&path);
    let answered = std::thread::spawn(move || {
        let mut peer = upstream.accept();
        let target = peer.request().head.target().to_owned();
        peer.send(ok(""));
        (peer, target)
    });
    let url = format!("http+unix://{}", path.to_str().unwrap().replace('/', "%2F"));
    let toml = table("here", &url, "");
    let (code, lines) = tried_by(setup.toml(&toml));
    assert_eq!((code, lines.len()), (Some(0), 1), "{lines:?}");
    assert!(
        lines[0].ends_with("vllm.sock/v1: answered 200"),
        "{lines:?}"
    );
    assert_eq!(answered.join().unwrap().1, "/v1/models");
}

#[test]
fn nobody_is_waited_for_without_end() {
    // They connect, and say nothing.
    let silent = [
        Upstream::listen(),
        Upstream::listen_tls(server_config(&pki().server)),
        Upstream::listen(),
    ];
    let proxy = format!("proxy = \"{}\"\n", silent[2].url());
    let toml = [
        table("a", &silent[0].url(), ""),
        table("b", &silent[1].url(), ""),
        table("c", "http://elsewhere.test", &proxy),
    ];
    let setup = Setup::new().toml(&toml.concat());
    let output = setup.command(&["check", "--connect"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let steps = [
        "no answer: ",
        "TLS: ",
        "the proxy gave no tunnel: no connection to it: ",
    ];
    for (line, step) in said.lines().zip(steps) {
        let end = format!("{step}no answer within 10 s");
        assert!(line.ends_with(&end), "no {end} in {said}");
    }
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn what_cannot_be_used_is_refused_before_anybody_is_gone_to() {
    let upstream = Upstream::listen();
    let toml = table("here", &upstream.url(), "") + "[server]\nlisten = []\n";
    assert_eq!(tried(&toml), (Some(2), Vec::new()));
    assert!(!upstream.has_connection());
    assert_eq!(
        tried(""),
        (Some(0), vec!["no provider is configured".to_owned()])
    );
    // Warned of, and that counts.
    let good = Scripted::echo();
    let setup = Setup::new().toml(&table("here", &good.url(), ""));
    let setup = setup.without("GOMODEL_MASTER_KEY");
    let words = ["check", "--connect", "--strict"];
    let output = setup.command(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
