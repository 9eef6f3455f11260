//! The first minute: `init` from nothing to an answer, `health` for whoever looks after a container.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use rustix::process::Signal;

use crate::support::{Rig, Scripted, Setup, Sides, Upstream, get};

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(setup: &Setup, args: &[&str]) -> Said {
    let ended = setup.command(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said {
        code: ended.status.code(),
        out: text(ended.stdout),
        err: text(ended.stderr),
    }
}

#[test]
fn from_nothing_to_an_answer() {
    let upstream = Scripted::echo();
    let setup = Setup::bare();
    let said = run(&setup, &["init"]);
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let key = said
        .out
        .lines()
        .find_map(|line| line.trim().strip_prefix("sk_sg_"));
    let key = format!("sk_sg_{}", key.unwrap());
    // Wherever it is pasted from, it is the same.
    assert_eq!(
        said.out.matches(&*key).count(),
        said.out.matches("sk_sg_").count()
    );
    for client in ["curl ", "claude\n", "Anthropic(", "OpenAI(", "wire_api"] {
        assert!(said.out.contains(client), "{client}: {}", said.out);
    }
    let mode = |name: &str| {
        fs::metadata(setup.dir().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode("keys.toml"), 0o600);
    let stored = fs::read_to_string(setup.dir().join("keys.toml")).unwrap();
    assert!(!stored.contains(&key), "{stored}");
    let checked = run(&setup, &["check"]);
    assert_eq!(checked.code, Some(0), "{}", checked.err);
    assert!(checked.out.contains("127.0.0.1:8080"), "{}", checked.out);

    let gateway = setup
        .secret(&key)
        .env("ANTHROPIC_API_KEY", "sk-ant-x")
        .env("ANTHROPIC_BASE_URL", &upstream.url())
        .env("SLUICEGATE_LISTEN", "127.0.0.1:0")
        .start();
    let line = gateway.wait_log(|line| line.contains("\"configuration\""));
    let leads = format!("anthropic {}", upstream.url());
    for part in ["\"file\":\"sluicegate.toml\"", "\"keys\":1", &leads] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let mut client = gateway.connect();
    let asks = |key: &str| {
        format!("GET /p/anthropic/v1/models HTTP/1.1\r\nHost: g\r\nx-api-key: {key}\r\n\r\n")
    };
    client.send(asks(&key));
    assert_eq!(client.response().status(), 200);
    client.send(asks("sk_sg_other"));
    assert_eq!(client.response().status(), 401);
}

#[test]
fn what_is_there_is_left_alone() {
    for name in ["sluicegate.toml", "keys.toml"] {
        let setup = Setup::bare().file(name, "# mine\n");
        let said = run(&setup, &["init"]);
        assert_eq!((said.code, &*said.out), (Some(1), ""));
        assert!(
            said.err.contains(name) && said.err.contains("already"),
            "{}",
            said.err
        );
        assert_eq!(
            fs::read_to_string(setup.dir().join(name)).unwrap(),
            "# mine\n"
        );
        let files = fs::read_dir(setup.dir()).unwrap().count();
        assert_eq!(files, 1, "{name}");
    }
    let setup = Setup::bare();
    let said = run(&setup, &["init", "nowhere"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("nowhere/sluicegate.toml"), "{}", said.err);
    fs::create_dir(setup.dir().join("there")).unwrap();
    let said = run(&setup, &["init", "there"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("    cd there\n"), "{}", said.out);
    assert!(setup.dir().join("there/keys.toml").is_file());
}

#[test]
fn flags_say_where_to_listen_whatever_else_does() {
    let setup = || {
        Setup::new()
            .env("PORT", "1")
            .env("SLUICEGATE_LISTEN", "127.0.0.1:2")
            .toml("[server]\nlisten = [\"127.0.0.1:3\"]\n")
    };
    let gateway = setup().arg("--listen").arg("127.0.0.1:0").start();
    let mut client = gateway.connect();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
    for (flags, shown) in [
        (
            &["--port", "8099"][..],
            "listen = [\"0.0.0.0:8099\", \"[::]:8099\"]",
        ),
        (
            &["--listen", "127.0.0.1:8098,[::1]:8098"],
            "listen = [\"127.0.0.1:8098\", \"[::1]:8098\"]",
        ),
        (
            &["--listen", "unix:/x", "--listen", "127.0.0.1:8097"],
            "listen = [\"unix:/x\", \"127.0.0.1:8097\"]",
        ),
    ] {
        let said = run(&setup(), &[flags, &["check"]].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
        let line = said
            .out
            .lines()
            .find(|line| line.starts_with("listen"))
            .unwrap();
        let places = ["SLUICEGATE_LISTEN", "PORT"].map(|name| format!("# command line: {name}"));
        let is_told = places.iter().any(|place| line.ends_with(place));
        assert!(line.starts_with(shown) && is_told, "{line}");
    }
    for (flags, wrong) in [
        (&["--listen", "nonsense"][..], "nonsense"),
        (&["--port", "99999"], "99999"),
        (&["--port", "1", "--listen", "127.0.0.1:1"], "--listen"),
    ] {
        let said = run(&setup(), &[flags, &["check"]].concat());
        assert_eq!(said.code, Some(2), "{}", said.out);
        assert!(said.err.contains(wrong), "{}", said.err);
    }
}

#[test]
fn top_works_on_the_demo() {
    let setup = Setup::bare();
    let mut demo = setup
        .command(&["demo", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let url = lines.find_map(|line| {
        let line = line.unwrap();
        Some(
            line.trim()
                .strip_prefix("sluicegate top --url ")?
                .to_owned(),
        )
    });
    let said = run(
        &setup,
        &[
            "top",
            "--once",
            "--interval",
            "100ms",
            "--url",
            &url.unwrap(),
        ],
    );
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("anthropic"), "{}", said.out);
    demo.kill().unwrap();
    demo.wait().unwrap();
}

#[test]
fn health_is_an_exit_code() {
    let mut rig = Rig::on(Sides::PLAIN, |setup| setup.env("BASE_PATH", "/g"));
    let address = rig.gateway.addr();
    let ask = |rig: &Rig, url: &str| run(rig.gateway.setup(), &["health", url]);
    for url in [
        format!("http://{address}/g/health"),
        format!("{address}/g/health"),
        format!("http://{address}/g/health/"),
    ] {
        let said = ask(&rig, &url);
        assert_eq!(
            (said.code, &*said.out, &*said.err),
            (Some(0), "", ""),
            "{url}"
        );
    }
    let said = ask(&rig, &address.to_string());
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("answered 404"), "{}", said.err);
    // Draining, with an exchange that keeps it.
    let (mut client, mut peer, _) = rig.exchange(&get("/g/p/openai/models"));
    let mut idle = rig.gateway.connect();
    idle.send(get("/g/health"));
    idle.response();
    rig.gateway.signal(Signal::TERM);
    crate::support::rig::wait_refused(&rig.gateway);
    let said = ask(&rig, &format!("{address}/g/health"));
    assert_eq!(said.code, Some(1), "{}", said.err);
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    client.response();
    assert_eq!(rig.gateway.wait_exit(), Some(0));
}

#[test]
fn health_finds_the_gateway_by_its_configuration() {
    let socket = |setup: &Setup| format!("unix:{}", setup.dir().join("s").display());
    let setup = Setup::new();
    let listen = socket(&setup);
    let gateway = setup
        .env("SLUICEGATE_LISTEN", &format!("{listen},127.0.0.1:0"))
        .env("BASE_PATH", "/g");
    // Nobody is there yet.
    let said = run(&gateway, &["health"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(&listen), "{}", said.err);
    let gateway = gateway.start();
    let said = run(gateway.setup(), &["health"]);
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let said = run(gateway.setup(), &["health", &listen]);
    assert!(said.err.contains("answered 404"), "{}", said.err);
}

#[test]
fn health_speaks_tls_and_is_not_kept_waiting() {
    let rig = Rig::of(Sides::TLS_CLIENT);
    let address = rig.gateway.addr();
    let said = run(
        rig.gateway.setup(),
        &["health", &format!("https://{address}")],
    );
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let said = run(rig.gateway.setup(), &["health", &address.to_string()]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.err.contains("answered 400"), "{}", said.err);
    // Whoever accepts and says nothing is not ready.
    let silent = Upstream::listen();
    let said = run(rig.gateway.setup(), &["health", &silent.addr().to_string()]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no answer within"), "{}", said.err);
    let path = rig.gateway.setup().dir().join("silent");
    let _silent = UnixListener::bind(&path).unwrap();
    let said = run(
        rig.gateway.setup(),
        &["health", &format!("unix:{}", path.display())],
    );
    assert_eq!(said.code, Some(1));
    for url in ["ftp://x", "http://u@h", "https://"] {
        assert_eq!(
            run(rig.gateway.setup(), &["health", url]).code,
            Some(1),
            "{url}"
        );
    }
}
