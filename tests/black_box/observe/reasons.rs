//! Why, where the operator reads: what each answer in a provider's stead and each cut says in the log.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use rustls::version::TLS13;
use serde_json::Value;

use crate::support::metrics::wait_metrics;
use crate::support::tls::{client_config, pki, server_config, server_config_of};
use crate::support::{Gateway, PATIENCE, Rig, Setup, Sides, Upstream, Wire, get, post, request};

/// Waits for the one access line that holds this.
#[track_caller]
fn line_with(gateway: &Gateway, part: &str) -> Value {
    let line = gateway.wait_log(|line| line.contains("\"request\"") && line.contains(part));
    serde_json::from_str(&line).unwrap()
}

/// Asks for `path` and gets an error of the gateway's own: its line, which says how much content it has.
#[track_caller]
fn failed(gateway: &Gateway, path: &str, play: impl FnOnce()) -> Value {
    let mut client = gateway.connect();
    client.send(get(path));
    play();
    let answer = client.response();
    let line = line_with(gateway, &format!("\"{path}\""));
    assert_eq!(line["bytes_out"], answer.body.len(), "{line}");
    assert_eq!(line["status"], answer.status(), "{line}");
    line
}

#[track_caller]
fn assert_says(line: &Value, wanted: &[(&str, &str)]) {
    for (name, value) in wanted {
        assert_eq!(line[name], *value, "{name} in {line}");
    }
}

/// SHA-256 of "key-a".
const KEY_A: &str = "f10f781241e2246678b6b45c857069208152a53863e47fac33f607ab405006f4";

/// What asks for a websocket.
const UPGRADE: &[&str] = &["Connection: Upgrade", "Upgrade: websocket"];

/// What a provider does, and what two fields of the line say then.
type Play = (fn(Wire), &'static str, &'static str);

/// An address where nobody listens.
fn nowhere() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn a_connect_that_fails_says_where_and_the_client_does_not_learn_it() {
    let address = nowhere();
    let gateway = Setup::new().base(&format!("http://{address}/v1")).start();
    let line = failed(&gateway, "/p/openai/models", || {});
    let detail = format!("connection refused ({address})");
    assert_says(
        &line,
        &[
            ("level", "warn"),
            ("error", "upstream_connect"),
            ("detail", &detail),
            ("provider", "openai"),
        ],
    );
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    let port = address.port().to_string();
    assert!(!client.response().text().contains(&port));
}

#[test]
fn a_path_and_a_name_that_lead_nowhere_say_so() {
    let toml = "[providers.path]\ntype = \"vllm\"\nbase_url = \"http+unix://%2Fnowhere%2Fat%2Fall/v1\"\n\
                [providers.name]\ntype = \"vllm\"\nbase_url = \"http://nowhere.invalid/v1\"\n";
    let gateway = Setup::new().toml(toml).start();
    let line = failed(&gateway, "/p/path/models", || {});
    assert_says(&line, &[("error", "upstream_connect")]);
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.ends_with("(unix:/nowhere/at/all)"), "{detail}");
    let line = failed(&gateway, "/p/name/models", || {});
    assert_says(&line, &[("error", "upstream_resolve"), ("level", "warn")]);
    assert!(line["detail"].is_string(), "{line}");
}

#[test]
fn a_certificate_says_what_is_wrong_with_it() {
    for (identity, detail) in [
        (&pki().stranger, "certificate: unknown issuer"),
        (&pki().expired, "certificate: expired"),
        (&pki().elsewhere, "certificate: not valid for name"),
    ] {
        let upstream = Upstream::listen_tls(server_config(identity));
        let gateway = Setup::new().base(&format!("{}/v1", upstream.url())).start();
        let line = failed(&gateway, "/p/openai/models", || {
            let _ = upstream.accept().handshake();
        });
        assert_says(&line, &[("error", "upstream_tls"), ("detail", detail)]);
    }
}

#[test]
fn an_answer_that_is_none_says_what_is_wrong_with_it() {
    let rig = Rig::plain();
    for (number, (bytes, detail)) in [
        (
            "HTTP/1.1 200 OK\nX: 1\r\n\r\n",
            "a line of the head ends in LF without CR",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "malformed Content-Length, or one over 2^63-1",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "a head that nobody has asked for",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/p/openai/{number}");
        let line = failed(&rig.gateway, &path, || {
            let mut peer = rig.upstream.accept();
            peer.request();
            peer.send(bytes);
        });
        assert_says(
            &line,
            &[("error", "upstream_invalid_response"), ("detail", detail)],
        );
    }
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/interim"));
    peer.send("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17));
    client.take_until(b"HTTP/1.1 502 ").unwrap();
    let line = line_with(&rig.gateway, "\"/p/openai/interim\"");
    assert_says(&line, &[("detail", "more than 16 interim responses")]);
    let ends: [Play; 2] = [
        (
            Wire::close,
            "upstream_closed",
            "the provider closed the connection without an answer",
        ),
        (Wire::reset, "upstream_reset", "connection reset"),
    ];
    for (end, error, detail) in ends {
        let path = format!("/p/openai/{error}");
        let line = failed(&rig.gateway, &path, || {
            let mut peer = rig.upstream.accept();
            peer.request();
            end(peer);
        });
        assert_says(
            &line,
            &[("error", error), ("detail", detail), ("level", "warn")],
        );
    }
}

#[test]
fn a_cut_says_why() {
    let rig = Rig::with(|setup| setup.toml("[timeouts]\nbody_idle = \"200ms\"\n"));
    let plays: [Play; 4] = [
        (
            |mut peer| peer.send("zz\r\n"),
            "upstream_invalid",
            "malformed chunk size",
        ),
        (
            Wire::close,
            "upstream_closed",
            "closed before the content's end",
        ),
        (Wire::reset, "upstream_reset", "connection reset"),
        (
            |mut peer| {
                peer.wait_for_close();
            },
            "timeout",
            "no content from the provider within 200ms (timeouts.body_idle)",
        ),
    ];
    for (play, end, detail) in plays {
        let path = format!("/p/openai/{end}");
        let (mut client, mut peer, _) = rig.exchange(&get(&path));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
        client.head();
        client.expect("2\r\nab\r\n");
        play(peer);
        client.wait_for_close();
        let line = line_with(&rig.gateway, &format!("\"{path}\""));
        assert_says(
            &line,
            &[("end", end), ("detail", detail), ("level", "info")],
        );
    }
}

#[test]
fn what_does_not_come_in_time_names_the_setting() {
    let rig = Rig::with(|setup| setup.toml("[timeouts]\nresponse_header = \"200ms\"\n"));
    let line = failed(&rig.gateway, "/p/openai/silent", || {
        let mut peer = rig.upstream.accept();
        peer.request();
        peer.wait_for_close();
    });
    let detail = "no answer within 200ms (timeouts.response_header)";
    assert_says(&line, &[("error", "upstream_timeout"), ("detail", detail)]);
    let rig = Rig::with(|setup| setup.toml("[timeouts]\nrequest = \"1s\"\n"));
    let line = failed(&rig.gateway, "/p/openai/ceiling", || {
        let mut peer = rig.upstream.accept();
        peer.request();
        peer.wait_for_close();
    });
    let detail = "the request is not over within 1s (timeouts.request)";
    assert_says(&line, &[("error", "upstream_timeout"), ("detail", detail)]);
}

#[test]
fn a_silent_tunnel_names_its_own_setting() {
    let rig = Rig::with(|setup| setup.toml("[timeouts]\ntunnel_idle = \"1s\"\nbody_idle = 0\n"));
    let path = "/p/openai/realtime";
    let (mut client, mut peer, _) = rig.exchange(&request("GET", path, UPGRADE, ""));
    peer.send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    client.head();
    client.wait_for_close();
    let line = line_with(&rig.gateway, path);
    let detail = "no byte in the tunnel within 1s (timeouts.tunnel_idle)";
    assert_says(&line, &[("end", "timeout"), ("detail", detail)]);
}

#[test]
fn a_refusal_names_the_provider_and_the_key() {
    let revoked =
        format!("[[key]]\nid = \"gone\"\nname = \"n\"\nsha256 = \"{KEY_A}\"\ndisabled = true\n");
    let gateway = Setup::new()
        .file("keys.toml", &revoked)
        .env("SLUICEGATE_KEYS_FILE", "keys.toml")
        .secret("key-a")
        .toml("[providers.shut]\ntype = \"vllm\"\nallow = [\"GET /models\"]\n")
        .start();
    let line = failed(&gateway, "/p/shut/files", || {});
    assert_says(
        &line,
        &[
            ("error", "endpoint_denied"),
            ("provider", "shut"),
            ("level", "info"),
        ],
    );
    assert!(
        line["detail"]
            .as_str()
            .unwrap()
            .contains("providers.NAME.allow"),
        "{line}"
    );
    let mut client = gateway.connect();
    client.send("GET /p/shut/models HTTP/1.1\r\nHost: g\r\nX-Api-Key: key-a\r\n\r\n");
    assert_eq!(client.response().status(), 401);
    let line = line_with(&gateway, "invalid_key");
    assert_says(
        &line,
        &[("key", "gone"), ("detail", "the gateway key is revoked")],
    );
}

#[test]
fn errors_are_counted_by_provider_and_code() {
    let gateway = Setup::new()
        .base(&format!("http://{}/v1", nowhere()))
        .env("METRICS_ENABLED", "true")
        .start();
    for path in [
        "/p/openai/a",
        "/p/openai/b",
        "/p/anthropic/a",
        "/p/nobody/a",
    ] {
        failed(&gateway, path, || {});
    }
    let of = |provider: &str| {
        format!("provider_errors_total{{provider=\"{provider}\",code=\"upstream_connect\"}}")
    };
    wait_metrics(
        &gateway,
        &[
            (&of("openai"), 2.0),
            (&of("anthropic"), 1.0),
            ("gateway_errors_total{code=\"upstream_connect\"}", 3.0),
            ("gateway_errors_total{code=\"provider_not_enabled\"}", 1.0),
        ],
    );
}

#[test]
fn the_health_is_no_news_unless_it_is_asked_for() {
    for (toml, is_there) in [("", false), ("[log]\nhealth = true\n", true)] {
        let gateway = Setup::new().toml(toml).start();
        let mut client = gateway.connect();
        client.send(get("/health"));
        assert_eq!(client.response().status(), 200);
        client.send(get("/nothing"));
        client.response();
        line_with(&gateway, "\"/nothing\"");
        assert_eq!(gateway.log().contains("\"/health\""), is_there, "{toml}");
    }
}

#[test]
fn who_looks_for_a_fault_is_told_what_is_done() {
    let upstream = Upstream::listen();
    let base = format!("http://localhost:{}/v1", upstream.addr().port());
    let gateway = Setup::new().base(&base).env("LOG_LEVEL", "debug").start();
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    let mut peer = upstream.accept();
    for _ in 0..2 {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        client.response();
        client.send(get("/p/openai/models"));
    }
    for (message, field) in [
        ("looked up", "\"host\":\"localhost\""),
        ("connected", "\"provider\":\"openai\""),
        ("a connection is used again", "\"provider\":\"openai\""),
    ] {
        let of = format!("\"message\":\"{message}\"");
        let line = gateway.wait_log(|line| line.contains(&of) && line.contains(field));
        assert!(line.contains("\"level\":\"debug\""), "{line}");
    }
}

/// What a gateway that hides all below a warning has said when it has answered these on its socket, the last with 404.
fn said_quietly(toml: &str, requests: &[String]) -> String {
    let setup = Setup::new()
        .base(&format!("http://{}/v1", nowhere()))
        .env("LOG_LEVEL", "warn")
        .toml(toml);
    let socket = setup.dir().join("s");
    let setup = setup.env("SLUICEGATE_LISTEN", &format!("unix:{}", socket.display()));
    let mut command = setup.command(&[]);
    let mut gateway = command.stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    let mut client = loop {
        match UnixStream::connect(&socket) {
            Ok(client) => break client,
            Err(_) => assert!(begun.elapsed() < PATIENCE, "it does not listen"),
        }
        std::thread::yield_now();
    };
    for request in requests {
        client.write_all(request.as_bytes()).unwrap();
    }
    let (mut answers, mut room) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&answers).contains(" 404 ") {
        let n = client.read(&mut room).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&answers));
        answers.extend_from_slice(&room[..n]);
    }
    drop(client);
    kill_process(Pid::from_child(&gateway), Signal::TERM).unwrap();
    let mut said = String::new();
    gateway
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(gateway.wait().unwrap().success(), "{said}");
    said
}

#[test]
fn a_level_that_hides_lines_does_not_hide_failures() {
    let requests = [
        request("GET", "/p/openai/x", &["X-Request-ID: failed-1"], ""),
        request("GET", "/p/openai/x", &["X-Request-ID: failed-2"], ""),
        get("/nothing"),
    ];
    let said = said_quietly("", &requests);
    let line = said.lines().find(|line| line.contains("failed-1")).unwrap();
    let line: Value = serde_json::from_str(line).unwrap();
    assert_says(
        &line,
        &[
            ("level", "warn"),
            ("message", "a request failed"),
            ("error", "upstream_connect"),
        ],
    );
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.starts_with("connection refused"), "{line}");
    // One a second.
    assert!(
        !said.contains("failed-2") && !said.contains("/nothing"),
        "{said}"
    );
    // The access log has a switch of its own.
    let said = said_quietly("[log]\naccess = true\n", &requests);
    for part in ["failed-1", "failed-2", "/nothing"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!said.contains("a request failed"), "{said}");
}

#[test]
fn http_without_tls_on_a_tls_address_is_told_so() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    for head in [get("/p/openai/models"), post("/p/openai/x", "content")] {
        let mut client = Wire::connect(rig.gateway.addr());
        client.send(head);
        let answer = client.response();
        assert_eq!(answer.status(), 400);
        assert!(
            answer.text().contains("\"code\":\"tls_required\""),
            "{}",
            answer.text()
        );
        client.expect_end();
    }
    let line = line_with(&rig.gateway, "tls_required");
    assert_says(
        &line,
        &[("detail", "this address speaks TLS; use https://")],
    );
    // The others go on.
    let mut client = rig.client();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn a_handshake_that_fails_says_why_and_one_that_never_began_is_nothing() {
    let setup = |toml: &str| Setup::new().tls().env("METRICS_ENABLED", "true").toml(toml);
    let gateway = setup("").start();
    Wire::connect(gateway.addr()).close();
    let mut client = Wire::connect(gateway.addr());
    client.send([22, 3, 1, 0, 4, 9, 9, 9, 9]);
    client.wait_for_close();
    let line = line_with(&gateway, "tls_handshake");
    assert_says(&line, &[("level", "info"), ("end", "error")]);
    assert!(
        line["detail"].as_str().unwrap().starts_with("client: "),
        "{line}"
    );
    let trusting: Arc<ClientConfig> = Arc::new(client_config(rustls::ALL_VERSIONS));
    let mut metrics = gateway.connect_tls(&trusting);
    metrics.send(get("/metrics"));
    let text = metrics.response().text();
    assert!(
        text.contains("\nsluicegate_client_tls_failures_total 1\n"),
        "{text}"
    );

    let toml = "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\nclient_ca = \"ca.pem\"\n";
    let gateway = setup(toml).file("ca.pem", &pki().ca).start();
    let mut client = gateway.connect_tls(&trusting);
    let _ = client.try_send(get("/health"));
    client.wait_for_close();
    let line = line_with(&gateway, "tls_handshake");
    assert_says(&line, &[("detail", "client: certificate required")]);
}

#[test]
fn a_certificate_that_a_provider_demands_is_named() {
    let demanding = server_config_of(&pki().server, &[&TLS13], true);
    let upstream = Upstream::listen_tls(demanding);
    let gateway = Setup::new().base(&format!("{}/v1", upstream.url())).start();
    let line = failed(&gateway, "/p/openai/models", || {
        let _ = upstream.accept().handshake();
    });
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains("certificate required"), "{line}");
}
