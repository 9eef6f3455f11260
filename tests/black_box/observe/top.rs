//! `sluicegate top`: figures of a running gateway as a table, as JSON and live, and what it says where there are none.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;

use crate::support::metrics::metrics_addr;
use crate::support::screen::{Screen, resize};
use crate::support::{KEY, PATIENCE, Rig, Scripted, Setup, get, ok, post};

fn rig() -> Rig {
    Rig::with(|setup| setup.toml("[metrics]\nlisten = [\"127.0.0.1:0\"]\n"))
}

fn url(rig: &Rig) -> String {
    format!("http://{}", metrics_addr(&rig.gateway))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn top(setup: &Setup, args: &[&str]) -> Output {
    let args = [&["top", "--interval", "100ms"], args].concat();
    setup.command(&args).output().unwrap()
}

/// On a terminal.
fn live(setup: &Setup, url: &str) -> Screen {
    let mut command = setup.command(&["top", "--interval", "100ms", "--url", url]);
    command.env("TERM", "xterm");
    Screen::start(command)
}

/// What it says on standard error when it fails with this code.
#[track_caller]
fn refusal(setup: &Setup, code: i32, args: &[&str]) -> String {
    let ended = top(setup, args);
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{said}");
    assert_eq!(text(&ended.stdout), "");
    assert!(said.starts_with("sluicegate: "), "{said}");
    said
}

#[track_caller]
fn table(setup: &Setup, args: &[&str]) -> String {
    let ended = top(setup, args);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let shown = text(&ended.stdout);
    assert!(!shown.contains('\x1b'), "{shown}");
    shown
}

#[test]
fn one_table_shows_providers_and_requests_under_way() {
    let rig = rig();
    let (_client, mut peer, _) =
        rig.exchange(&post("/p/anthropic/v1/messages?q=query-secret", "{}"));
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    let mut refused = rig.client();
    refused.send("GET /p/openai/models HTTP/1.1\r\nHost: g\r\nx-api-key: key-secret\r\n\r\n");
    refused.response();
    let until = Instant::now() + PATIENCE;
    // Without a terminal it is the same without --once.
    let shown = loop {
        let shown = table(rig.gateway.setup(), &["--url", &url(&rig)]);
        if shown.contains(" stream ") && shown.contains("invalid_key") {
            break shown;
        }
        assert!(Instant::now() < until, "{shown}");
    };
    let row = |word: &str| {
        let found = shown.lines().find(|line| line.contains(word));
        found.unwrap_or_else(|| panic!("no {word} in {shown}"))
    };
    for word in ["stream", "anthropic", "master", "POST", "200"] {
        assert!(row("/p/anthropic/v1/messages").contains(word), "{shown}");
    }
    assert!(row("PROVIDER").contains("+RESP p50"), "{shown}");
    assert!(row("errors").contains("invalid_key 1"), "{shown}");
    assert!(
        row("under way ").contains("under way 1 (workers 1)"),
        "{shown}"
    );
    for secret in ["query-secret", "key-secret", KEY, "sk-anthropic"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn json_has_rates_and_quantiles_of_what_happens_meanwhile() {
    let rig = rig();
    let (mut client, mut peer, _) = rig.exchange(&get("/p/anthropic/models"));
    peer.send(ok("first"));
    client.response();
    let args = ["top", "--json", "--interval", "100ms", "--url", &url(&rig)];
    let mut command = rig.gateway.setup().command(&args);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let until = Instant::now() + PATIENCE;
    let busy = loop {
        client.send(get("/p/anthropic/models"));
        peer.request();
        peer.send(ok("again"));
        client.response();
        let figures = next();
        let provider = figures["providers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|provider| provider["provider"] == "anthropic");
        let rate = provider.and_then(|provider| provider["requests_per_second"].as_f64());
        // A look may fall into the middle of what a request's end is counted with.
        let whole =
            provider.is_some_and(|provider| provider["response_added"]["p50_us"].is_number());
        if whole && rate.is_some_and(|rate| rate > 0.0) {
            break figures;
        }
        assert!(Instant::now() < until, "{figures}");
    };
    let provider = busy["providers"].as_array().unwrap().last().unwrap();
    for measure in ["request_added", "response_added", "head"] {
        let times = &provider[measure];
        let (p50, p99) = (times["p50_us"].as_f64(), times["p99_us"].as_f64());
        assert!(p50 > Some(0.0) && p99 >= p50, "{measure}: {provider}");
    }
    assert_eq!(busy["version"], env!("CARGO_PKG_VERSION"));
    assert!(busy["seconds"].as_f64() >= Some(0.1), "{busy}");
    assert!(busy["streams"]["streams"].is_array(), "{busy}");
    // Whoever has seen enough closes the pipe.
    drop(lines);
    assert!(child.wait().unwrap().success());
}

#[test]
fn once_is_one_object() {
    let rig = rig();
    let ended = top(
        rig.gateway.setup(),
        &["--json", "--once", "--url", &url(&rig)],
    );
    let shown = text(&ended.stdout);
    assert_eq!(shown.lines().count(), 1, "{shown}");
    let figures: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(figures["in_flight"], 0);
}

#[test]
fn the_configuration_says_where_it_is() {
    let setup = Setup::new();
    let path = setup.dir().join("m.sock");
    let toml = format!(
        "[server]\nbase_path = \"/g\"\n[metrics]\nendpoint = \"/m\"\nlisten = [\"unix:{}\"]\n",
        path.display()
    );
    let gateway = setup.toml(&toml).start();
    let shown = table(gateway.setup(), &["--once"]);
    assert!(
        shown.contains(&format!("unix:{}", path.display())),
        "{shown}"
    );
    assert!(shown.contains("0 under way"), "{shown}");
}

#[test]
fn the_main_listener_has_figures_but_no_list() {
    let rig = Rig::with(|setup| setup.env("METRICS_ENABLED", "true"));
    let url = rig.gateway.addr().to_string();
    let shown = table(rig.gateway.setup(), &["--once", "--url", &url]);
    assert!(shown.contains("where metrics.listen is set"), "{shown}");
    let ended = top(rig.gateway.setup(), &["--json", "--once", "--url", &url]);
    let figures: Value = serde_json::from_str(&text(&ended.stdout)).unwrap();
    assert_eq!(figures["streams"], Value::Null);
}

#[test]
fn where_there_is_nothing_to_show_it_says_why() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = closed.local_addr().unwrap().to_string();
    drop(closed);
    let setup = Setup::new();
    let said = refusal(&setup, 1, &["--once", "--url", &nobody]);
    assert!(
        said.contains("not reachable") && said.contains(&nobody),
        "{said}"
    );
    let said = refusal(&setup, 2, &["--once"]);
    assert!(
        said.contains("metrics.listen") && said.contains("METRICS_ENABLED"),
        "{said}"
    );
    let said = refusal(&setup, 2, &["--url", "https://gateway"]);
    assert!(said.contains("TLS"), "{said}");
    let other = Scripted::echo();
    let said = refusal(&setup, 1, &["--json", "--url", &other.url()]);
    assert!(said.contains("no metrics of a sluicegate"), "{said}");
    let off = Rig::plain();
    let said = refusal(&setup, 1, &["--url", &off.gateway.addr().to_string()]);
    assert!(
        said.contains("metrics.listen") && said.contains("METRICS_ENABLED"),
        "{said}"
    );
}

#[test]
fn a_key_is_shown_where_it_is_asked_for() {
    let key = "a-key-for-the-metrics";
    let toml = "[metrics]\nlisten = [\"127.0.0.1:0\"]\nkey_file = \"key\"\n";
    let setup = Setup::new().secret(key).file("key", &format!("{key}\n"));
    let gateway = setup.toml(toml).start();
    let url = format!("http://{}", metrics_addr(&gateway));
    let elsewhere = || Setup::bare().secret(key).file("key", key);
    let asked = ["--once", "--url", &url];
    let said = refusal(&elsewhere(), 1, &asked);
    for part in ["401", "SLUICEGATE_METRICS_KEY", "--key-file"] {
        assert!(said.contains(part), "{said}");
    }
    let said = refusal(
        &elsewhere().env("SLUICEGATE_METRICS_KEY", "another-key"),
        1,
        &asked,
    );
    assert!(said.contains("401"), "{said}");
    let by_file = [&asked[..], &["--key-file", "key"]].concat();
    for (setup, args) in [
        (elsewhere(), &by_file[..]),
        (elsewhere().env("SLUICEGATE_METRICS_KEY", key), &asked),
        (
            elsewhere().env("SLUICEGATE_METRICS_KEY_FILE", "key"),
            &asked,
        ),
        // What the command line names counts.
        (elsewhere().env("SLUICEGATE_METRICS_KEY", "other"), &by_file),
    ] {
        let shown = table(&setup, args);
        assert!(shown.contains("0 under way"), "{shown}");
    }
    for (name, value) in [
        ("SLUICEGATE_METRICS_KEY", ""),
        ("SLUICEGATE_METRICS_KEY_FILE", "gone"),
    ] {
        let said = refusal(&elsewhere().env(name, value), 2, &asked);
        assert!(said.contains("gone") || said.contains(name), "{said}");
    }
    // Where the configuration says where it is, it has the key as well.
    let path = gateway.setup().dir().join("m.sock");
    let toml = format!(
        "[metrics]\nkey_file = \"key\"\nlisten = [\"unix:{}\"]\n",
        path.display()
    );
    let gateway = Setup::new()
        .secret(key)
        .file("key", key)
        .toml(&toml)
        .start();
    assert!(table(gateway.setup(), &["--once"]).contains("0 under way"));
}

#[test]
fn a_terminal_shows_it_live_and_is_given_back() {
    let rig = rig();
    let address: SocketAddr = metrics_addr(&rig.gateway);
    let mut screen = live(rig.gateway.setup(), &address.to_string());
    screen.wait("\x1b[?1049h");
    screen.wait("under way 0");
    assert!(screen.is_raw());
    let (_client, _peer, _) = rig.exchange(&post("/p/anthropic/v1/messages", "{}"));
    screen.wait("1 under way");
    screen.wait(" wait ");
    resize(&screen.tty, 30, 5);
    screen.wait("30x5 is too small");
    resize(&screen.tty, 90, 20);
    screen.wait("PROVIDER");
    drop(rig);
    screen.wait("not reachable");
    screen.press("\x1b[Bxq");
    screen.quits();
}

#[test]
fn control_z_gives_the_terminal_back_until_it_goes_on() {
    let rig = rig();
    let mut screen = live(rig.gateway.setup(), &url(&rig));
    screen.wait("under way");
    let pid = Pid::from_child(&screen.child);
    screen.press("\x1a");
    screen.wait("\x1b[?1049l");
    let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
    assert!(status.stopped(), "{status:?}");
    assert!(!screen.is_raw());
    kill_process(pid, Signal::CONT).unwrap();
    screen.wait("\x1b[?1049h");
    screen.wait("under way");
    assert!(screen.is_raw());
    screen.press("q");
    screen.quits();
}

#[test]
fn escape_control_c_and_signals_end_it() {
    let rig = rig();
    for keys in ["\x1b", "\x03", ""] {
        let mut screen = live(rig.gateway.setup(), &url(&rig));
        screen.wait("under way 0");
        if keys.is_empty() {
            let pid = Pid::from_child(&screen.child);
            kill_process(pid, Signal::TERM).unwrap();
        }
        screen.press(keys);
        screen.quits();
    }
}
