//! Configuration that cannot be used: what is said about it, and that nothing starts.

use crate::support::Setup;
use crate::support::settings::{assert_refused, bare};

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_cannot_be_used_is_named_and_nothing_starts() {
    let rows: &[(&str, &str, &[&str])] = &[
        (
            "PORT",
            "eighty",
            &["environment", "PORT", "expected a port"],
        ),
        ("PORT", "65536", &["PORT", "expected a port"]),
        (
            "SLUICEGATE_LISTEN",
            "nowhere",
            &["SLUICEGATE_LISTEN", "expected addresses"],
        ),
        ("SLUICEGATE_LISTEN", ",", &["SLUICEGATE_LISTEN", "expected"]),
        (
            "SLUICEGATE_LISTEN",
            "unix:relative",
            &["SLUICEGATE_LISTEN", "expected an absolute path"],
        ),
        ("BASE_PATH", "/a b", &["BASE_PATH", "expected a path"]),
        ("BASE_PATH", "/a/../b", &["BASE_PATH", "expected a path"]),
        (
            "SLUICEGATE_WORKERS",
            "-1",
            &["SLUICEGATE_WORKERS", "expected a number"],
        ),
        (
            "SLUICEGATE_DRIVER",
            "kqueue",
            &["SLUICEGATE_DRIVER", "expected auto"],
        ),
        (
            "SLUICEGATE_TLS_CERT",
            "cert.pem",
            &["SLUICEGATE_TLS_KEY", "expected a PEM file"],
        ),
        (
            "SLUICEGATE_TLS_KEY",
            "key.pem",
            &["SLUICEGATE_TLS_CERT", "expected a PEM file"],
        ),
        (
            "GOMODEL_MASTER_KEY",
            "two words",
            &["GOMODEL_MASTER_KEY", "expected a key"],
        ),
        (
            "GOMODEL_MASTER_KEY_FILE",
            "nowhere",
            &["nowhere", "GOMODEL_MASTER_KEY_FILE"],
        ),
        (
            "SLUICEGATE_KEYS_FILE",
            "nowhere",
            &[
                "environment: SLUICEGATE_KEYS_FILE: nowhere: cannot read it",
                "sluicegate key new NAME makes it",
            ],
        ),
        (
            "ENABLE_PASSTHROUGH_ROUTES",
            "maybe",
            &["ENABLE_PASSTHROUGH_ROUTES", "expected true"],
        ),
        (
            "ALLOW_PASSTHROUGH_V1_ALIAS",
            "2",
            &["ALLOW_PASSTHROUGH_V1_ALIAS", "expected true"],
        ),
        (
            "BODY_SIZE_LIMIT",
            "10X",
            &["BODY_SIZE_LIMIT", "expected a size"],
        ),
        (
            "BODY_SIZE_LIMIT",
            "-1",
            &["BODY_SIZE_LIMIT", "expected a size"],
        ),
        (
            "HTTP_TIMEOUT",
            "soon",
            &["HTTP_TIMEOUT", "expected whole seconds"],
        ),
        (
            "HTTP_RESPONSE_HEADER_TIMEOUT",
            "0",
            &["HTTP_RESPONSE_HEADER_TIMEOUT", "expected more than 0"],
        ),
        (
            "METRICS_ENABLED",
            "ja",
            &["METRICS_ENABLED", "expected true"],
        ),
        (
            "METRICS_ENDPOINT",
            "/p/metrics",
            &["METRICS_ENDPOINT", "expected a path"],
        ),
        (
            "METRICS_ENDPOINT",
            "metrics",
            &["METRICS_ENDPOINT", "expected a path"],
        ),
        (
            "LOG_FORMAT",
            "xml",
            &["LOG_FORMAT", "expected text, json, logfmt or auto"],
        ),
        ("LOG_LEVEL", "loud", &["LOG_LEVEL", "expected error"]),
        (
            "SLUICEGATE_CONFIG",
            "nowhere.toml",
            &["nowhere.toml", "cannot read it"],
        ),
        (
            "OPENAI_API_KEY",
            "two words",
            &["OPENAI_API_KEY", "expected a key"],
        ),
        (
            "OPENAI_API_KEY_FILE",
            "nowhere",
            &["nowhere", "OPENAI_API_KEY_FILE"],
        ),
        (
            "VLLM_BASE_URL",
            "ftp://x",
            &["environment", "VLLM_BASE_URL", "expected a URL"],
        ),
        (
            "VLLM_EAST_BASE_URL",
            "http://x?y",
            &["environment", "VLLM_EAST_BASE_URL", "expected a URL"],
        ),
    ];
    for (name, value, named) in rows {
        assert_refused(|| bare().env(name, value), named);
    }
    for (name, value) in [
        ("PORT", "http"),
        ("SLUICEGATE_WORKERS", "many"),
        ("BASE_PATH", "no slash"),
        ("HTTP_RESPONSE_HEADER_TIMEOUT", "-1"),
        ("BODY_SIZE_LIMIT", "ten"),
        ("ENABLE_PASSTHROUGH_ROUTES", "perhaps"),
        ("METRICS_ENABLED", "perhaps"),
        ("OPENAI_BASE_URL", "api.openai.com"),
    ] {
        let setup = || bare().env("OPENAI_API_KEY", "sk-openai").env(name, value);
        assert_refused(setup, &[name, "expected"]);
    }
    let metrics = || bare().env("METRICS_ENABLED", "true");
    assert_refused(
        || metrics().env("METRICS_ENDPOINT", "/p/metrics"),
        &["METRICS_ENDPOINT", "/p/"],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_cannot_be_used_in_a_file_is_named_and_nothing_starts() {
    let rows: &[(&str, &[&str])] = &[
        (
            "[server]\nlisten_on = 1\n",
            &["line 2", "listen_on", "expected"],
        ),
        ("[servers]\n", &["line 1", "servers", "expected"]),
        (
            "[timeouts]\nconnect = \"soon\"\n",
            &["timeouts.connect", "expected whole seconds"],
        ),
        (
            "[timeouts]\nidle_client = 0\n",
            &["timeouts.idle_client", "expected more than 0"],
        ),
        (
            "[server]\nworkers = [1]\n",
            &["line 2", "expected a number"],
        ),
        (
            "[server]\nlisten = []\n",
            &["server.listen", "expected at least one"],
        ),
        (
            "[server]\nlisten = [\"x\"]\n",
            &["server.listen", "expected address"],
        ),
        (
            "[limits]\nbody = \"much\"\n",
            &["limits.body", "expected a size"],
        ),
        (
            "[log]\nlevel = \"loud\"\n",
            &["log.level", "expected error"],
        ),
        (
            "[metrics]\nendpoint = \"/p/x\"\n",
            &["metrics.endpoint", "expected a path"],
        ),
        (
            "[metrics]\nlisten = [\"9090\"]\n",
            &["metrics.listen", "expected an address before the port"],
        ),
        (
            "[server]\nlandlock = \"maybe\"\n",
            &["server.landlock", "expected auto, true or false"],
        ),
        (
            "[server]\nserver_timing = \"often\"\n",
            &["server.server_timing", "expected"],
        ),
        (
            "[auth]\nmaster_key = \"${NOT_SET}\"\n",
            &["auth.master_key", "NOT_SET", "expected"],
        ),
        ("[auth]\nmaster_key = \"gk-marker\nx\"\n", &["line"]),
        (
            "[auth]\nmaster_key = \"a\"\nmaster_key_file = \"b\"\n",
            &["auth.master_key", "expected only one"],
        ),
        (
            "[auth]\nkeys_file = \"nowhere\"\n",
            &["line 2: auth.keys_file: nowhere: cannot read it"],
        ),
        (
            "[auth]\nkeys_file = \"\"\n",
            &["auth.keys_file", "expected the path"],
        ),
        (
            "[timeouts]\nconnect = 1.5\n",
            &["timeouts.connect", "expected whole seconds"],
        ),
        (
            "[timeouts]\nconnect = 2.0\n",
            &["timeouts.connect", "expected whole seconds"],
        ),
        (
            "[server]\nworkers = 1\nworkers = 2\n",
            &["line 3", "server.workers", "duplicate key"],
        ),
        (
            "[limits]\nin_flight = true\n",
            &["limits.in_flight", "expected a number"],
        ),
        (
            "[limits]\nbody = [1]\n",
            &["line 2", "limits.body", "expected"],
        ),
        (
            "[server.tls]\ncert = \"nowhere\"\nkey = \"key.pem\"\n",
            &["line 2: server.tls.cert: nowhere: ", "expected"],
        ),
        (
            "[server.tls]\ncert = \"cert.pem\"\nkey = \"nowhere\"\n",
            &["line 3: server.tls.key: nowhere: ", "expected"],
        ),
        (
            "[providers]\nopenai = \"gk-marker\"\n",
            &["line 2", "expected a table"],
        ),
        (
            "[auth]\nmaster_key = \"pass${gk-marker}\"\n",
            &["auth.master_key", "expected"],
        ),
        (
            "[providers.here]\napi_key = \"a\"\n",
            &["providers.here.type", "expected one of"],
        ),
        (
            "[providers.here]\ntype = \"gemini\"\n",
            &["providers.here.type", "expected one of"],
        ),
        (
            "[providers.openai]\n",
            &["providers.openai.api_key", "expected api_key"],
        ),
        (
            "[providers.openai]\napi_key = \"a\"\nbase_url = \"x\"\n",
            &["providers.openai.base_url", "expected https://"],
        ),
        (
            "[providers.openai]\napi_key = \"a\"\ncredential = \"x\"\n",
            &["providers.openai.credential", "expected bearer"],
        ),
        (
            "[providers.openai]\napi_key = \"a\"\nheaders.Host = \"x\"\n",
            &["providers.openai.headers.Host", "expected"],
        ),
        (
            "[providers.openai]\napi_key = \"a\"\nheaders.X-A = \"x\\ny\"\n",
            &["providers.openai.headers.X-A", "expected"],
        ),
        (
            "[providers.openai]\napi_key = \"a\"\nsite_url = \"x\"\n",
            &["providers.openai.site_url", "expected"],
        ),
        (
            "[providers.openai]\napi_key = \"a\"\nidle_upstream = \"x\"\n",
            &["providers.openai.idle_upstream", "expected"],
        ),
        (
            "[providers.\"a/b\"]\ntype = \"openai\"\napi_key = \"a\"\n",
            &["providers.a/b", "expected a provider name"],
        ),
    ];
    for (toml, named) in rows {
        let named = [*named, &["sluicegate.toml"]].concat();
        assert_refused(|| bare().toml(toml).secret("gk-marker"), &named);
    }
    for (toml, key) in [
        ("[timeouts]\nconect = 1\n", "conect"),
        (
            "[providers.x]\ntype = \"openai\"\nbase_url = \"http://h\"\nkey = \"sk-1\"\n",
            "key",
        ),
        ("[server]\nlisten = \"nowhere\"\n", "listen"),
        ("[server]\nlisten = [\"127.0.0.1:99999\"]\n", "listen"),
        ("[server]\nlisten = [8080]\n", "listen"),
        ("[server]\nworkers = -1\n", "workers"),
        ("[server]\nworkers = \"many\"\n", "workers"),
        ("[server]\ndriver = \"kqueue\"\n", "driver"),
        ("[server]\nbase_path = 7\n", "base_path"),
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
    ] {
        let setup = || bare().toml(toml).secret("sk-1");
        assert_refused(setup, &["sluicegate.toml", key, "expected"]);
    }
}

#[test]
fn a_missing_or_unreadable_file_is_named() {
    for (name, said) in [
        ("gone.toml", &["gone.toml", "cannot read it"][..]),
        (".", &["."]),
    ] {
        assert_refused(|| bare().arg("--config").arg(name), said);
    }
    assert_refused(
        || bare().env("SLUICEGATE_CONFIG", "missing.toml"),
        &["missing.toml"],
    );
    assert_refused(
        || bare().env("OPENAI_API_KEY_FILE", "missing.key"),
        &["OPENAI_API_KEY_FILE", "missing.key"],
    );
    for name in ["no.pem", "empty.pem"] {
        let tls = || {
            bare()
                .file("empty.pem", "")
                .env("SLUICEGATE_TLS_CERT", name)
                .env("SLUICEGATE_TLS_KEY", name)
        };
        assert_refused(tls, &[name]);
    }
}

#[test]
fn a_secret_in_a_bad_place_is_not_shown() {
    // The output of each of these is looked through for the secret when it ends.
    for toml in [
        "[auth]\nmaster_key = [\"sk-oops\"]\n",
        "[auth]\nmaster_key = { key = \"sk-oops\" }\n",
        "[auth]\nmaster_key = \"sk-oops\n",
        "[auth]\nmaster_key = sk-oops\n",
        "[auth]\nmaster_key = \"sk-\\u0001sk-oops\"\n",
        "[providers.x]\ntype = \"openai\"\napi_key = \"sk-\\nsk-oops\"\n",
        "[providers.x]\ntype = \"openai\"\nbase_url = \"http://user:sk-oops@h\"\n",
        "[providers.x]\ntype = \"openai\"\nheaders = \"sk-oops\"\n",
        "[providers]\nopenai = \"sk-oops\"\n",
    ] {
        assert_refused(|| bare().secret("sk-oops").toml(toml), &["sluicegate.toml"]);
    }
    // A number is no key either, and is not shown.
    let number = "[auth]\nmaster_key = 730003117\n";
    assert_refused(
        || bare().secret("730003117").toml(number),
        &["sluicegate.toml", "master_key"],
    );
    assert_refused(
        || bare().env("OPENAI_API_KEY", "sk-with\nline"),
        &["OPENAI_API_KEY"],
    );
}

#[test]
fn a_variable_of_ours_that_is_no_text_is_named_and_nothing_starts() {
    for name in [
        "GOMODEL_MASTER_KEY",
        "SLUICEGATE_MASTER_KEY",
        "GOMODEL_MASTER_KEY_FILE",
        "SLUICEGATE_KEYS_FILE",
        "SLUICEGATE_CONFIG",
        "OPENAI_API_KEY",
        "OPENAI_EAST_API_KEY_FILE",
        "VLLM_BASE_URL",
        "BODY_SIZE_LIMIT",
        "SLUICEGATE_TLS_CERT",
        "SSL_CERT_DIR",
    ] {
        let setup = || bare().env_bytes(name, b"gk-marker\xff").secret("gk-marker");
        assert_refused(setup, &["environment", name, "expected UTF-8"]);
    }
    // Also where a file refers to it, and has a default.
    let toml = "[auth]\nmaster_key = \"${MINE:-gk-default}\"\n";
    let setup = || bare().toml(toml).env_bytes("MINE", b"\xff");
    assert_refused(setup, &["MINE", "expected UTF-8"]);
    let foreign = bare().env_bytes("LS_COLORS", b"\xff").arg("check").run();
    assert_eq!(foreign.code, Some(0), "{foreign:?}");
}

#[test]
fn a_port_that_another_program_holds_is_named_and_ends_with_1() {
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let finished = Setup::new().env("SLUICEGATE_LISTEN", &address).run();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains(&address), "{}", finished.stderr);
    let first = Setup::new().start();
    let address = first.addr().to_string();
    let second = Setup::new().env("SLUICEGATE_LISTEN", &address).run();
    assert_eq!(second.code, Some(1), "another of its kind: {second:?}");
    assert!(second.stderr.contains(&address), "{second:?}");
}
