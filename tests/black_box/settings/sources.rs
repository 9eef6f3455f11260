//! Where settings come from, what is said about bad ones, and that secrets stay secret.

use std::net::TcpListener;

use crate::support::gateway::Finished;
use crate::support::{Scripted, Setup, Upstream, get, ok};

/// What is missing in its refusal to start; each of these words must be in the message.
fn complaint(setup: Setup, words: &[&str]) -> Option<String> {
    let finished = setup.run();
    let refused = finished.code == Some(2) && !finished.all().contains("listening");
    let named = words.iter().all(|word| finished.stderr.contains(word));
    (!refused || !named).then(|| format!("wanted {words:?}, got {finished:?}"))
}

/// Asserts that it refuses to start, and that the message holds each of these words.
#[track_caller]
fn refuses(setup: Setup, words: &[&str]) {
    if let Some(complaint) = complaint(setup, words) {
        panic!("{complaint}");
    }
}

/// Asserts that each of these is refused.
#[track_caller]
fn all_refused(rows: impl IntoIterator<Item = (Setup, Vec<&'static str>)>) {
    let complaints = rows
        .into_iter()
        .filter_map(|(setup, words)| complaint(setup, &words));
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What `check` prints about a configuration that is fine.
#[track_caller]
fn checked(setup: Setup) -> String {
    let finished: Finished = setup.arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished.stdout
}

#[test]
fn an_unknown_toml_key_is_named_with_its_file() {
    refuses(
        Setup::new().toml("[server]\nlisten_on = \"x\"\n"),
        &["sluicegate.toml", "listen_on"],
    );
    refuses(
        Setup::new().toml("[servers]\n"),
        &["sluicegate.toml", "servers"],
    );
    refuses(
        Setup::new().toml("[timeouts]\nconect = 1\n"),
        &["sluicegate.toml", "conect"],
    );
    let toml = "[providers.x]\ntype = \"openai\"\nbase_url = \"http://h\"\nkey = \"sk-1\"\n";
    refuses(
        Setup::new().toml(toml).secret("sk-1"),
        &["sluicegate.toml", "key"],
    );
}

#[test]
fn a_bad_value_in_the_file_is_named_with_its_file_and_key() {
    let rows = [
        ("[server]\nlisten = \"nowhere\"\n", "listen"),
        ("[server]\nlisten = [\"127.0.0.1:99999\"]\n", "listen"),
        ("[server]\nlisten = [8080]\n", "listen"),
        ("[server]\nworkers = -1\n", "workers"),
        ("[server]\nworkers = \"many\"\n", "workers"),
        ("[server]\ndriver = \"kqueue\"\n", "driver"),
        ("[server]\nbase_path = 7\n", "base_path"),
        ("[timeouts]\nconnect = \"soon\"\n", "connect"),
        ("[timeouts]\nconnect = -1\n", "connect"),
        ("[timeouts]\nconnect = [1]\n", "connect"),
        ("[timeouts]\nconnect = \"1h30\"\n", "connect"),
        ("[limits]\nbody = \"10X\"\n", "body"),
        ("[passthrough]\nenabled = \"perhaps\"\n", "enabled"),
        (
            "[metrics]\nenabled = true\nendpoint = \"/p/metrics\"\n",
            "endpoint",
        ),
        ("[log]\nformat = \"xml\"\n", "format"),
        ("[log]\nlevel = \"loud\"\n", "level"),
        (
            "[providers.x]\ntype = \"openia\"\nbase_url = \"http://h\"\n",
            "type",
        ),
        (
            "[providers.x]\ntype = \"openai\"\napi_key = \"k\"\nbase_url = \"ftp://h\"\n",
            "base_url",
        ),
        (
            "[providers.x]\ntype = \"openai\"\napi_key = \"k\"\nbase_url = \"http://\"\n",
            "base_url",
        ),
        (
            "[providers.x]\ntype = \"openai\"\ncredential = \"cookie\"\n",
            "credential",
        ),
        ("[server]\nworkers = \n", "line 2"),
        ("not toml at all", "line 1"),
    ];
    all_refused(rows.map(|(toml, key)| {
        let setup = Setup::new()
            .without("SLUICEGATE_WORKERS")
            .without("SLUICEGATE_LISTEN")
            .without("SLUICEGATE_DRIVER")
            .without("LOG_FORMAT");
        (setup.toml(toml), vec!["sluicegate.toml", key, "expected"])
    }));
}

#[test]
fn a_bad_value_in_the_environment_is_named_with_its_variable() {
    let rows = [
        ("SLUICEGATE_WORKERS", "many"),
        ("SLUICEGATE_WORKERS", "-1"),
        ("SLUICEGATE_DRIVER", "kqueue"),
        ("SLUICEGATE_LISTEN", "nowhere"),
        ("BASE_PATH", "no slash"),
        ("HTTP_TIMEOUT", "soon"),
        ("HTTP_RESPONSE_HEADER_TIMEOUT", "-1"),
        ("BODY_SIZE_LIMIT", "ten"),
        ("ENABLE_PASSTHROUGH_ROUTES", "perhaps"),
        ("ALLOW_PASSTHROUGH_V1_ALIAS", "2"),
        ("METRICS_ENABLED", "perhaps"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("OPENAI_BASE_URL", "api.openai.com"),
    ];
    all_refused(rows.map(|(name, value)| {
        let setup = Setup::new()
            .env("OPENAI_API_KEY", "sk-openai")
            .env(name, value);
        (setup, vec![name, "expected"])
    }));
    let port = Setup::new().without("SLUICEGATE_LISTEN");
    refuses(port.env("PORT", "http"), &["PORT", "expected"]);
    let metrics = Setup::new().env("METRICS_ENABLED", "true");
    refuses(
        metrics.env("METRICS_ENDPOINT", "/p/metrics"),
        &["METRICS_ENDPOINT", "/p/"],
    );
}

#[test]
fn a_missing_or_unreadable_file_is_named() {
    refuses(
        Setup::new().arg("--config").arg("missing.toml"),
        &["missing.toml"],
    );
    refuses(
        Setup::new().env("SLUICEGATE_CONFIG", "missing.toml"),
        &["missing.toml"],
    );
    refuses(
        Setup::new().env("OPENAI_API_KEY_FILE", "missing.key"),
        &["OPENAI_API_KEY_FILE", "missing.key"],
    );
    refuses(Setup::new().arg("--config").arg("."), &["."]);
    let tls = Setup::new()
        .env("SLUICEGATE_TLS_CERT", "no.pem")
        .env("SLUICEGATE_TLS_KEY", "no.pem");
    refuses(tls, &["no.pem"]);
    let tls = Setup::new()
        .file("empty.pem", "")
        .env("SLUICEGATE_TLS_CERT", "empty.pem")
        .env("SLUICEGATE_TLS_KEY", "empty.pem");
    refuses(tls, &["empty.pem"]);
    refuses(Setup::new().tls().without("SLUICEGATE_TLS_KEY"), &["TLS"]);
}

#[test]
fn check_prints_what_is_in_force_with_secrets_redacted() {
    let text = checked(
        Setup::new()
            .env("GOMODEL_MASTER_KEY", "gk-very-secret")
            .env("OPENAI_API_KEY", "sk-openai-secret")
            .env("HTTP_RESPONSE_HEADER_TIMEOUT", "33")
            .toml(
                "[timeouts]\nconnect = \"7s\"\n[providers.mine]\ntype = \"anthropic\"\n\
                   base_url = \"https://mine.test/v1\"\napi_key = \"sk-mine-secret\"\n\
                   headers = { \"X-Token\" = \"header-secret\" }\n",
            )
            .secret("sk-mine-secret")
            .secret("header-secret"),
    );
    for word in [
        "connect",
        "7",
        "33",
        "openai",
        "mine",
        "https://mine.test/v1",
        "https://api.openai.com/v1",
    ] {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

#[test]
fn check_says_what_is_wrong_with_exit_code_2() {
    refuses(
        Setup::new()
            .arg("check")
            .toml("[server]\nworkers = -1\n")
            .without("SLUICEGATE_WORKERS"),
        &["sluicegate.toml", "workers"],
    );
    refuses(
        Setup::new()
            .arg("check")
            .arg("--config")
            .arg("missing.toml"),
        &["missing.toml"],
    );
}

#[test]
fn check_knows_nothing_configured() {
    let text = checked(Setup::bare());
    assert!(text.contains("8080"), "{text}");
}

#[test]
fn a_secret_in_a_bad_place_is_not_shown() {
    let rows = [
        "[auth]\nmaster_key = [\"sk-oops\"]\n",
        "[auth]\nmaster_key = { key = \"sk-oops\" }\n",
        "[auth]\nmaster_key = \"sk-oops\n",
        "[auth]\nmaster_key = sk-oops\n",
        "[auth]\nmaster_key = \"sk-\\u0001sk-oops\"\n",
        "[providers.x]\ntype = \"openai\"\napi_key = \"sk-\\nsk-oops\"\n",
        "[providers.x]\ntype = \"openai\"\nbase_url = \"http://user:sk-oops@h\"\n",
        "[providers.x]\ntype = \"openai\"\nheaders = \"sk-oops\"\n",
        "[providers]\nopenai = \"sk-oops\"\n",
    ];
    // Each of these is looked through for the secret when it ends.
    all_refused(rows.map(|toml| {
        (
            Setup::new()
                .without("GOMODEL_MASTER_KEY")
                .secret("sk-oops")
                .toml(toml),
            vec!["sluicegate.toml"],
        )
    }));
    // A number is no key either, and is not shown.
    let number = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .secret("730003117")
        .toml("[auth]\nmaster_key = 730003117\n");
    refuses(number, &["sluicegate.toml", "master_key"]);
    refuses(
        Setup::new().env("OPENAI_API_KEY", "sk-with\nline"),
        &["OPENAI_API_KEY"],
    );
}

#[test]
fn environment_goes_before_dotenv_before_file_before_defaults() {
    // Each source names another key; the strongest one present opens the gateway.
    let all = || {
        Setup::new()
            .without("GOMODEL_MASTER_KEY")
            .secret("gk-file")
            .secret("gk-dotenv")
            .toml("[auth]\nmaster_key = \"gk-file\"\n")
    };
    let dotenv = "# comment\nexport GOMODEL_MASTER_KEY=\"gk-dotenv\"\nPORT=1\n";
    for (setup, key) in [
        (all(), "gk-file"),
        (all().file(".env", dotenv), "gk-dotenv"),
        (
            all()
                .file(".env", dotenv)
                .env("GOMODEL_MASTER_KEY", "gk-env"),
            "gk-env",
        ),
    ] {
        let upstream = Scripted::echo();
        let gateway = setup.base(&upstream.url()).start();
        for tried in ["gk-file", "gk-dotenv", "gk-env"] {
            let mut client = gateway.connect();
            client.send(get("/p/anthropic/x").replace("gk-test", tried));
            let status = client.response().status();
            assert_eq!(
                status,
                if tried == key { 200 } else { 401 },
                "{key}: {tried}"
            );
        }
    }
}

#[test]
fn the_file_is_looked_for_by_argument_then_variable_then_directory() {
    let named = |name: &str| format!("[timeouts]\nconnect = \"{name}s\"\n");
    let setup = || {
        Setup::new()
            .toml(&named("11"))
            .file("variable.toml", &named("12"))
            .file("argument.toml", &named("13"))
    };
    let variable = || setup().env("SLUICEGATE_CONFIG", "variable.toml");
    assert!(checked(setup()).contains("11"));
    assert!(checked(variable()).contains("12"));
    assert!(checked(variable().arg("--config").arg("argument.toml")).contains("13"));
}

#[test]
fn secrets_may_come_from_files() {
    let upstream = Upstream::listen();
    let url = upstream.url();
    let gateway = Setup::new()
        .without("GOMODEL_MASTER_KEY")
        .file("master", "gk-from-file\n")
        .file("openai", "sk-from-file\n")
        .file("mine", "sk-mine-from-file")
        .secret("gk-from-file")
        .secret("sk-from-file")
        .secret("sk-mine-from-file")
        .env("GOMODEL_MASTER_KEY_FILE", "master")
        .env("OPENAI_API_KEY_FILE", "openai")
        .env("OPENAI_BASE_URL", &url)
        .toml(&format!(
            "[providers.mine]\ntype = \"openai\"\nbase_url = \"{url}\"\napi_key_file = \"mine\"\n"
        ))
        .start();
    for (name, key) in [
        ("openai", "Bearer sk-from-file"),
        ("mine", "Bearer sk-mine-from-file"),
    ] {
        let mut client = gateway.connect();
        client.send(get(&format!("/p/{name}/x")).replace("gk-test", "gk-from-file"));
        assert_eq!(
            upstream.accept().request().value("authorization"),
            Some(key)
        );
    }
}

#[test]
fn variables_expand_inside_toml_strings() {
    let upstream = Upstream::listen();
    let gateway = Setup::new()
        .env("THE_URL", &upstream.url())
        .env("THE_KEY", "sk-expanded")
        .toml(
            "[providers.one]\ntype = \"openai\"\nbase_url = \"${THE_URL}/a\"\napi_key = \"${THE_KEY}\"\n\
             [providers.two]\ntype = \"openai\"\nbase_url = \"${NO_URL:-http://localhost}/b\"\ncredential = \"none\"\n",
        )
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/one/x"));
    let seen = upstream.accept().request();
    assert_eq!(seen.head.target(), "/a/x");
    assert_eq!(seen.value("authorization"), Some("Bearer sk-expanded"));
}

#[test]
fn a_default_in_a_toml_string_is_used_when_the_variable_is_unset() {
    let toml = "[providers.one]\ntype = \"openai\"\napi_key = \"k\"\n\
                base_url = \"http://${NO_HOST:-default.test}/v1\"\n";
    assert!(checked(Setup::new().toml(toml)).contains("http://default.test/v1"));
    refuses(
        Setup::new().toml(&toml.replace(":-default.test", "")),
        &["sluicegate.toml", "NO_HOST"],
    );
}

#[test]
fn durations_are_seconds_or_strings() {
    for (value, shown) in [("90", "90"), ("\"90s\"", "90"), ("\"1m30s\"", "90")] {
        let text = checked(Setup::new().toml(&format!("[timeouts]\nconnect = {value}\n")));
        let line = text.lines().find(|line| line.contains("connect")).unwrap();
        assert!(
            line.contains(shown) || line.contains("1m30s"),
            "{value}: {line}"
        );
    }
}

#[test]
fn port_0_binds_a_free_port_and_the_log_says_which() {
    let gateway = Setup::new()
        .without("SLUICEGATE_LISTEN")
        .env("PORT", "0")
        .start();
    assert_ne!(gateway.addr().port(), 0);
    let port = gateway.addr().port();
    let mut client = crate::support::Wire::connect(([127, 0, 0, 1], port).into());
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
}

#[test]
fn listen_takes_several_addresses_and_unix_sockets() {
    use std::io::{Read as _, Write as _};
    let dir = std::env::temp_dir().join(format!("sluicegate-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("s");
    let listen = format!("127.0.0.1:0,unix:{}", path.display());
    let gateway = Setup::new().env("SLUICEGATE_LISTEN", &listen).start();
    let mut client = gateway.connect();
    client.send(get("/health"));
    assert_eq!(client.response().status(), 200);
    gateway.wait_log(|line| line.contains("listening") && line.contains("unix:"));
    let mut socket = std::os::unix::net::UnixStream::connect(&path).unwrap();
    socket
        .set_read_timeout(Some(crate::support::PATIENCE))
        .unwrap();
    socket.write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"status\":\"ok\"}"));
    drop(gateway);
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_port_held_by_another_program_is_exit_code_1() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = held.local_addr().unwrap().to_string();
    let finished = Setup::new().env("SLUICEGATE_LISTEN", &addr).run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&addr), "{finished:?}");
}

#[test]
fn a_port_held_by_another_gateway_is_exit_code_1() {
    let gateway = Setup::new().start();
    let addr = gateway.addr().to_string();
    let finished = Setup::new().env("SLUICEGATE_LISTEN", &addr).run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&addr), "{finished:?}");
}

#[test]
fn a_provider_exists_once_it_has_a_key() {
    let upstream = Upstream::listen();
    // A base URL alone is enough for a keyless type only.
    let gateway = Setup::new()
        .env("OPENAI_BASE_URL", &upstream.url())
        .env("VLLM_BASE_URL", &upstream.url())
        .start();
    let mut client = gateway.connect();
    client.send(get("/p/openai/x"));
    assert_eq!(client.response().status(), 400);
    client.send(get("/p/vllm/x"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(ok("keyless"));
    assert_eq!(client.response().text(), "keyless");
}

#[test]
fn version_and_help_are_printed() {
    let finished = Setup::bare().arg("--version").run();
    assert_eq!(finished.code, Some(0));
    assert!(
        finished.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{finished:?}"
    );
    let finished = Setup::bare().arg("--help").run();
    assert_eq!(finished.code, Some(0));
    for word in ["check", "--config"] {
        assert!(
            finished.stdout.contains(word),
            "no {word:?} in {finished:?}"
        );
    }
    assert_eq!(Setup::bare().arg("--nonsense").run().code, Some(2));
}

/// As GoModel knows them.
const ITS_TYPES: &str =
    "openai, anthropic,openrouter,zai,vllm,deepseek,kilo,sglang,llamacpp,llmd,chutes";

#[test]
fn a_listed_type_that_is_not_known_is_warned_of() {
    let others =
        "kilo, sglang, llamacpp, llmd, chutes: unknown provider type, expected one of openai, ";
    let upstream = Scripted::echo();
    let by_variable = |types| {
        let setup = Setup::new().base(&format!("{}/v1", upstream.url()));
        setup.env("ENABLED_PASSTHROUGH_PROVIDERS", types)
    };
    let gateway = by_variable(ITS_TYPES).start();
    gateway.wait_log(|line| {
        let parts = ["\"warn\"", "ENABLED_PASSTHROUGH_PROVIDERS", others];
        parts.iter().all(|part| line.contains(part))
    });
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    assert_eq!(client.response().status(), 200);
    let checked = by_variable(ITS_TYPES).arg("check").run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.stderr.contains(others), "{checked:?}");
    // Only what is listed and known is served.
    let gateway = by_variable("kilo,anthropic").start();
    let mut client = gateway.connect();
    for (path, status) in [
        ("/p/anthropic/models", 200),
        ("/p/openai/models", 400),
        ("/p/kilo/models", 400),
    ] {
        client.send(get(path));
        assert_eq!(client.response().status(), status, "{path}");
    }
    let listed = "[passthrough]\nproviders = [\"openia\", \"openai\", \"Sk5-Marker-0\"]\n";
    let checked = Setup::new().toml(listed).arg("check").run();
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let said = "passthrough.providers: openia, entry 3: unknown provider type";
    assert!(checked.stderr.contains(said), "{checked:?}");
}
