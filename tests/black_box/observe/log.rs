//! The access log: what a line says, how it looks, where it goes, and what never stops a request.

use std::fs::{self, File, OpenOptions};
use std::io::Read as _;
use std::path::Path;
use std::time::Instant;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;

use crate::support::metrics::wait_metrics;
use crate::support::{Gateway, PATIENCE, Rig, Scripted, Setup, get, ok, post, request, response};

/// Waits for the one access line with this path.
#[track_caller]
fn line(gateway: &Gateway, path: &str) -> Value {
    let quoted = format!("\"{path}\"");
    let line = gateway.wait_log(|line| line.contains(&quoted));
    serde_json::from_str(&line).unwrap()
}

#[test]
fn a_line_holds_the_path_and_nothing_else_of_a_target() {
    let gateway = Setup::new().secret("target-secret").start();
    for (number, (method, target, path)) in [
        ("GET", "http://user:target-secret@g/p/openai/x", "-"),
        ("GET", "http://g/p/nobody/a?target-secret", "/p/nobody/a"),
        ("GET", "/p/nobody/b#target-secret", "/p/nobody/b"),
        ("CONNECT", "user:target-secret@g:443", "-"),
        ("GET", "target-secret", "-"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("target-{number}");
        let mut client = gateway.connect();
        client.send(request(
            method,
            target,
            &[&format!("X-Request-ID: {id}")],
            "",
        ));
        client.response();
        let line = gateway.wait_log(|line| line.contains(&id));
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["path"], path, "{target}");
    }
}

#[test]
fn a_line_says_who_asked_whom_for_what_and_how_it_went() {
    let rig = Rig::plain();
    let text = request(
        "POST",
        "/p/anthropic/v1/messages?beta=query-secret",
        &[
            "X-Request-ID: our-id",
            "X-Stainless-Retry-Count: 2",
            "x-claude-code-session-id: session-1",
            "X-Client-Request-Id: client-1",
        ],
        "12345",
    );
    let (mut client, mut peer, _) = rig.exchange(&text);
    let address = client.socket().local_addr().unwrap().to_string();
    peer.send(response("200 OK", &["Request-Id: req_011"], "1234567"));
    client.response();
    let line = line(&rig.gateway, "/p/anthropic/v1/messages");
    for (name, value) in [
        ("message", "request"),
        ("request_id", "our-id"),
        ("upstream_request_id", "req_011"),
        ("client", &address),
        ("provider", "anthropic"),
        ("method", "POST"),
        ("path", "/p/anthropic/v1/messages"),
        ("end", "complete"),
        ("retry_count", "2"),
        ("session_id", "session-1"),
        ("client_request_id", "client-1"),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    for (name, value) in [("status", 200), ("bytes_in", 5), ("bytes_out", 7)] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    let times = [
        "request_overhead_us",
        "head_us",
        "first_byte_us",
        "response_overhead_us",
        "waited_us",
        "connect_us",
    ];
    let duration = line["duration_us"].as_u64().unwrap();
    for name in times {
        let time = line[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {line}"));
        assert!(time <= duration, "{name} in {line}");
    }
    for name in [
        "tls_us",
        "stream_us",
        "longest_gap_us",
        "retries",
        "error",
        "phase",
    ] {
        assert!(line.get(name).is_none(), "{name} in {line}");
    }
    assert!(!rig.gateway.log().contains("query-secret"));
}

#[test]
fn a_line_says_how_a_request_ended() {
    let rig = Rig::with(|setup| setup.toml("[timeouts]\nbody_idle = \"200ms\"\n"));
    let begin = |path: &str| {
        let (mut client, mut peer, _) = rig.exchange(&get(path));
        peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
        client.head();
        client.expect("2\r\nab\r\n");
        (client, peer)
    };
    let ends = |path: &str, status: u16, end: &str| {
        let line = line(&rig.gateway, path);
        assert_eq!(
            (&line["status"], &line["end"]),
            (&status.into(), &end.into()),
            "{line}"
        );
        line
    };
    let (mut client, peer) = begin("/p/openai/reset");
    peer.reset();
    client.wait_for_close();
    ends("/p/openai/reset", 200, "upstream_reset");
    let (mut client, peer) = begin("/p/openai/closed");
    peer.close();
    client.wait_for_close();
    ends("/p/openai/closed", 200, "upstream_closed");
    let (mut client, mut peer) = begin("/p/openai/invalid");
    peer.send("zz\r\n");
    client.wait_for_close();
    ends("/p/openai/invalid", 200, "upstream_invalid");
    let (client, _peer) = begin("/p/openai/left");
    client.reset();
    assert_eq!(
        ends("/p/openai/left", 200, "client_gone")["phase"],
        "stream"
    );
    let (mut client, _peer) = begin("/p/openai/stalled");
    client.wait_for_close();
    ends("/p/openai/stalled", 200, "timeout");
    let (client, _peer, _) = rig.exchange(&get("/p/openai/impatient"));
    client.reset();
    assert_eq!(
        ends("/p/openai/impatient", 0, "client_gone")["phase"],
        "wait"
    );
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/nonsense"));
    peer.send("nonsense\r\n\r\n");
    assert_eq!(client.response().status(), 502);
    let error = &ends("/p/openai/nonsense", 502, "error")["error"];
    assert_eq!(error, "upstream_invalid_response");
    let mut client = rig.client();
    client.send("GET /p/openai/keyless HTTP/1.1\r\nHost: g\r\n\r\n");
    client.response();
    assert_eq!(
        ends("/p/openai/keyless", 401, "error")["error"],
        "missing_key"
    );
}

#[test]
fn a_managed_key_is_named_by_its_id() {
    let upstream = Scripted::echo();
    // SHA-256 of "key-a".
    let digest = "f10f781241e2246678b6b45c857069208152a53863e47fac33f607ab405006f4";
    let gateway = Setup::new()
        .base(&upstream.url())
        .file(
            "keys.toml",
            &format!("[[key]]\nid = \"k-7\"\nname = \"n\"\nsha256 = \"{digest}\"\n"),
        )
        .env("SLUICEGATE_KEYS_FILE", "keys.toml")
        .secret("key-a")
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/openai/master"));
    client.response();
    client.send(get("/p/openai/managed").replace("gk-test", "key-a"));
    client.response();
    assert_eq!(line(&gateway, "/p/openai/managed")["key"], "k-7");
    assert_eq!(line(&gateway, "/p/openai/master")["key"], "master");
}

#[test]
fn a_tunnels_bytes_are_counted() {
    let rig = Rig::plain();
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket"];
    let (mut client, mut peer, _) =
        rig.exchange(&request("GET", "/p/openai/realtime", &upgrade, ""));
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    peer.send(format!("{switch}abc"));
    client.head();
    client.expect("abc");
    client.send("12345");
    peer.expect("12345");
    peer.send("defg");
    client.expect("defg");
    client.close();
    peer.expect_end();
    let line = line(&rig.gateway, "/p/openai/realtime");
    assert_eq!(
        (&line["status"], &line["end"]),
        (&101.into(), &"complete".into()),
        "{line}"
    );
    assert_eq!(
        (&line["bytes_in"], &line["bytes_out"]),
        (&5.into(), &7.into()),
        "{line}"
    );
}

#[test]
fn what_cannot_be_read_has_a_line_too() {
    let rig = Rig::plain();
    let mut client = rig.client();
    let address = client.socket().local_addr().unwrap().to_string();
    client.send("GET / HTTP/1.1\r\nHost g\r\n\r\n");
    client.response();
    let line = rig.gateway.wait_log(|line| line.contains("invalid_head"));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&line["status"], &line["client"]),
        (&400.into(), &address.into())
    );
}

#[test]
fn what_clients_choose_is_escaped_and_cut() {
    let rig = Rig::plain();
    let long = "x".repeat(5000);
    let fields = [
        format!("X-Client-Request-Id: {long}"),
        "X-Claude-Code-Session-Id: \"},{\"level\":\"forged\" \u{202e}é".to_owned(),
    ];
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let (mut client, mut peer, _) =
        rig.exchange(&request("GET", &format!("/p/openai/{long}"), &fields, ""));
    peer.send(ok(""));
    client.response();
    let line = rig.gateway.wait_log(|line| line.contains("/p/openai/xxx"));
    assert!(line.len() < 2500, "{line}");
    assert!(!line.contains('\u{202e}'), "{line}");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "info");
    assert_eq!(line["session_id"], "\"},{\"level\":\"forged\" \u{202e}é");
    for (name, most) in [("path", 1024), ("client_request_id", 128)] {
        let value = line[name].as_str().unwrap();
        assert_eq!(value.chars().count(), most + 1, "{name}");
        assert!(value.ends_with('…'), "{name}");
    }
}

#[test]
fn logfmt_is_names_and_values() {
    let rig = Rig::with(|setup| setup.env("LOG_FORMAT", "logfmt"));
    let (mut client, mut peer, _) = rig.exchange(&get("/p/openai/a=b"));
    peer.send(ok(""));
    client.response();
    let line = rig.gateway.wait_log(|line| line.contains("/p/openai"));
    assert!(line.starts_with("time=20"), "{line}");
    for word in [
        " level=info message=request request_id=",
        " path=\"/p/openai/a=b\" status=200 ",
        " end=complete",
    ] {
        assert!(line.contains(word), "no {word} in {line}");
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until a file has a line with this in it.
#[track_caller]
fn wait_file(path: &Path, wanted: &str) -> String {
    let until = Instant::now() + PATIENCE;
    loop {
        let text = read(path);
        if text.contains(wanted) && text.ends_with('\n') {
            return text;
        }
        assert!(Instant::now() < until, "no {wanted} in {text}");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_is_opened_anew_on_sighup() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&upstream.url())
        .toml("[log]\nfile = \"access.log\"\n")
        .start();
    let dir = gateway.setup().dir().to_owned();
    let (current, moved) = (dir.join("access.log"), dir.join("access.log.1"));
    let mut client = gateway.connect();
    client.send(get("/p/openai/before"));
    client.response();
    wait_file(&current, "/p/openai/before");
    fs::rename(&current, &moved).unwrap();
    client.send(get("/p/openai/between"));
    client.response();
    wait_file(&moved, "/p/openai/between");
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("configuration reloaded"));
    client.send(get("/p/openai/behind"));
    client.response();
    let text = wait_file(&current, "/p/openai/behind");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(read(&moved).lines().count(), 2);
    // Messages stay where people look for them.
    assert!(!gateway.log().contains("/p/openai/"), "{}", gateway.log());
    // A folder that is gone loses nothing.
    fs::rename(&current, &moved).unwrap();
    fs::create_dir(&current).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_log(|line| line.contains("cannot open the access log again"));
    client.send(get("/p/openai/stubborn"));
    client.response();
    wait_file(&moved, "/p/openai/stubborn");
}

#[test]
fn a_file_that_cannot_be_opened_is_said_at_the_start() {
    let finished = Setup::new()
        .toml("[log]\nfile = \"no/such/folder/access.log\"\n")
        .run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(
        finished.stderr.contains("no/such/folder/access.log"),
        "{finished:?}"
    );
}

#[test]
fn standard_output_can_take_it() {
    let upstream = Scripted::echo();
    let setup = Setup::new().base(&upstream.url());
    let gateway = setup.toml("[log]\nfile = \"stdout\"\n").start();
    let mut client = gateway.connect();
    client.send(get("/p/openai/x"));
    client.response();
    gateway.wait_log(|line| line.contains("/p/openai/x"));
}

#[test]
fn a_full_disk_is_said_once_and_stops_nothing() {
    let upstream = Scripted::echo();
    let gateway = Setup::new()
        .base(&upstream.url())
        .env("METRICS_ENABLED", "true")
        .toml("[log]\nfile = \"/dev/full\"\n")
        .start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        client.send(get("/p/openai/x"));
        assert_eq!(client.response().status(), 200);
        gateway.wait_log(|line| line.contains("cannot write the access log"));
    }
    // Each scrape is a line as well: at least three are lost by now.
    let until = Instant::now() + PATIENCE;
    while wait_metrics(&gateway, &[]).get("log_lines_lost_total") < 3.0 {
        assert!(Instant::now() < until);
    }
    let said = gateway.log().matches("cannot write the access log").count();
    assert_eq!(said, 1, "{}", gateway.log());
}

#[test]
fn a_reader_that_rests_holds_nobody_up_and_the_loss_is_said() {
    for (format, begin) in [
        ("json", "{\"time\":\"20"),
        ("text", "20"),
        ("logfmt", "time=20"),
    ] {
        let setup = Setup::new()
            .env("LOG_FORMAT", format)
            .toml("[log]\nfile = \"pipe\"\n");
        let path = setup.dir().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let mut pipe = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        let gateway = setup.start();
        let mut client = gateway.connect();
        // More lines than pipe, buffer and queue take.
        let asks = get("/nowhere").repeat(100);
        for _ in 0..60 {
            client.send(&asks);
            for _ in 0..100 {
                assert_eq!(client.response().status(), 404);
            }
        }
        drain_until(&mut pipe, &gateway);
        let line = gateway.wait_log(|line| line.contains("log lines lost"));
        assert!(line.starts_with(begin), "{line}");
        assert!(line.contains("warn") && line.contains("count"), "{line}");
    }
}

/// Reads from a pipe until the gateway says what was lost.
fn drain_until(pipe: &mut File, gateway: &Gateway) {
    let mut buffer = vec![0; 1 << 20];
    while !gateway.log().contains("log lines lost") {
        // What is lost is said behind the next line that can be written.
        let mut client = gateway.connect();
        client.send(get("/nowhere"));
        client.response();
        let n = pipe.read(&mut buffer).unwrap();
        assert!(n > 0);
    }
}

#[test]
fn neither_log_nor_metrics_hold_a_secret() {
    let rig = Rig::with(|setup| {
        setup
            .env("METRICS_ENABLED", "true")
            .toml("[log]\nfile = \"access.log\"\nlevel = \"debug\"\n")
    });
    let fields = [
        "Authorization: Bearer field-secret",
        "Cookie: a=field-secret",
        "X-Sluicegate-Key: field-secret",
    ];
    for path in [
        "/p/anthropic/x?key=query-secret",
        "/p/openai/y?api_key=query-secret",
    ] {
        let (mut client, mut peer, _) =
            rig.exchange(&request("POST", path, &fields, "body-secret"));
        peer.send(response(
            "200 OK",
            &["Set-Cookie: field-secret"],
            "body-secret",
        ));
        client.response();
    }
    let mut client = rig.client();
    client.send(post("/p/openai/z", "body-secret").replace("gk-test", "wrong-key-secret"));
    assert_eq!(client.response().status(), 401);
    let metrics = wait_metrics(
        &rig.gateway,
        &[("gateway_errors_total{code=\"invalid_key\"}", 1.0)],
    );
    let file = wait_file(&rig.gateway.setup().dir().join("access.log"), "/p/openai/z");
    for text in [&file, &metrics.0, &rig.gateway.log()] {
        for secret in ["secret", "gk-test", "sk-anthropic", "sk-openai"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
