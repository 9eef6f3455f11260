//! Tables of settings from every source, and configurations made at random.

mod broken;
mod example;
mod table;
mod tcp;

use std::num::NonZeroUsize;
use std::time::Duration;

use proptest::prelude::*;

use super::property::{Env, MARKER, holds, load_from, shown};
use super::*;

#[test]
fn sources_in_order() {
    let rows = [
        ("", "", "", None),
        ("", "", "[server]\nworkers = 2\n", Some(2)),
        (
            "",
            "SLUICEGATE_WORKERS=3\n",
            "[server]\nworkers = 2\n",
            Some(3),
        ),
        (
            "4",
            "SLUICEGATE_WORKERS=3\n",
            "[server]\nworkers = 2\n",
            Some(4),
        ),
        (
            "",
            "SLUICEGATE_WORKERS=\n",
            "[server]\nworkers = 2\n",
            Some(2),
        ),
        ("0", "", "[server]\nworkers = 2\n", None),
        (" 5 ", "", "", Some(5)),
    ];
    for (env, dotenv, toml, expected) in rows {
        let config = load_from(&[("SLUICEGATE_WORKERS", env)], dotenv, toml).unwrap();
        assert_eq!(
            config.server.workers.map(NonZeroUsize::get),
            expected,
            "{env} {dotenv} {toml}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn master_keys() {
    let toml = "[auth]\nmaster_key = 'file'\n";
    let rows: &[(Env<'_>, &str, &str, Option<&str>)] = &[
        (&[], "", "", None),
        (&[], "", toml, Some("file")),
        (
            &[],
            "",
            "[auth]\nmaster_key_file = 'secret'\n",
            Some(MARKER),
        ),
        (&[("GOMODEL_MASTER_KEY", "a")], "", toml, Some("a")),
        (&[("SLUICEGATE_MASTER_KEY", "a")], "", toml, Some("a")),
        (
            &[("SLUICEGATE_MASTER_KEY", "a"), ("GOMODEL_MASTER_KEY", "a")],
            "",
            "",
            Some("a"),
        ),
        (
            &[("GOMODEL_MASTER_KEY_FILE", "secret")],
            "",
            toml,
            Some(MARKER),
        ),
        (
            &[("GOMODEL_MASTER_KEY", "a")],
            "GOMODEL_MASTER_KEY_FILE=gone\n",
            "",
            Some("a"),
        ),
        (
            &[("GOMODEL_MASTER_KEY_FILE", "secret")],
            "GOMODEL_MASTER_KEY=a\n",
            "",
            Some(MARKER),
        ),
    ];
    let both_names: &[(Env<'_>, &str, &str, Option<&str>)] = &[
        (
            &[("GOMODEL_MASTER_KEY", "a")],
            "SLUICEGATE_MASTER_KEY=b\n",
            "",
            Some("a"),
        ),
        (
            &[("SLUICEGATE_MASTER_KEY", "a")],
            "GOMODEL_MASTER_KEY_FILE=gone\n",
            toml,
            Some("a"),
        ),
        (
            &[("SLUICEGATE_MASTER_KEY_FILE", "secret")],
            "GOMODEL_MASTER_KEY=b\n",
            "",
            Some(MARKER),
        ),
        (&[], "SLUICEGATE_MASTER_KEY=b\n", toml, Some("b")),
    ];
    for (env, dotenv, toml, expected) in rows.iter().chain(both_names) {
        let config = load_from(env, dotenv, toml).unwrap();
        let found = config.auth.master_key.as_ref().map(Secret::expose);
        assert_eq!(
            found,
            expected.map(str::as_bytes),
            "{env:?} {dotenv} {toml}"
        );
    }
    let refused: &[(Env<'_>, &str, &str)] = &[
        (
            &[("SLUICEGATE_MASTER_KEY", "a"), ("GOMODEL_MASTER_KEY", "b")],
            "",
            "",
        ),
        (
            &[
                ("GOMODEL_MASTER_KEY", "a"),
                ("GOMODEL_MASTER_KEY_FILE", "secret"),
            ],
            "",
            "",
        ),
        (
            &[],
            "GOMODEL_MASTER_KEY=a\nGOMODEL_MASTER_KEY_FILE=secret\n",
            "",
        ),
        (
            &[],
            "",
            "[auth]\nmaster_key = 'a'\nmaster_key_file = 'secret'\n",
        ),
        (&[], "GOMODEL_MASTER_KEY=a\nSLUICEGATE_MASTER_KEY=b\n", ""),
        (&[], "", "[auth]\nmaster_key = 'a b'\n"),
        (&[("GOMODEL_MASTER_KEY", "caf\u{e9}")], "", ""),
    ];
    for (env, dotenv, toml) in refused {
        assert!(
            load_from(env, dotenv, toml).is_err(),
            "{env:?} {dotenv} {toml}"
        );
    }
}

#[test]
fn addresses() {
    let rows = [
        ("127.0.0.1:1", Some("127.0.0.1:1")),
        ("[::1]:1, unix:/a b", Some("[::1]:1 unix:/a b")),
        ("0.0.0.0:0,", Some("0.0.0.0:0")),
        (",", None),
        ("127.0.0.1", None),
        ("localhost:1", None),
        ("::1:1", None),
        ("127.0.0.1:65536", None),
        ("unix:", None),
        ("unix:a", None),
    ];
    for (text, expected) in rows {
        let config = load_from(&[("SLUICEGATE_LISTEN", text)], "", "").ok();
        let shown = config.map(|config| {
            let shown: Vec<_> = config.server.listen.iter().map(Listen::to_string).collect();
            shown.join(" ")
        });
        assert_eq!(shown.as_deref(), expected, "{text}");
    }
}

#[test]
fn base_paths() {
    let rows = [
        ("/", Some("")),
        ("g", Some("/g")),
        ("/g/", Some("/g")),
        ("/a/b-c_d.e~", Some("/a/b-c_d.e~")),
        ("/a%2fb", None),
        ("/a?b", None),
        ("/a b", None),
        ("/..", None),
        ("/caf\u{e9}", None),
    ];
    for (text, expected) in rows {
        let config = load_from(&[("BASE_PATH", text)], "", "").ok();
        assert_eq!(
            config.map(|c| c.server.base_path).as_deref(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn a_body_limit_of_zero_is_none() {
    let rows = [
        ("", "", None),
        ("", "[limits]\nbody = 0\n", None),
        ("", "[limits]\nbody = '0M'\n", None),
        ("", "[limits]\nbody = '1K'\n", Some(1024)),
        ("0", "[limits]\nbody = '1K'\n", None),
        ("1", "[limits]\nbody = 0\n", Some(1)),
    ];
    for (env, toml, expected) in rows {
        let config = load_from(&[("BODY_SIZE_LIMIT", env)], "", toml).unwrap();
        assert_eq!(config.limits.body, expected, "{env} {toml}");
        assert_eq!(config.describe().contains("\nbody = "), expected.is_some());
    }
}

#[test]
fn times() {
    let seconds = |toml: &str| load_from(&[], "", toml).map(|config| config.timeouts);
    let timeouts = seconds("[timeouts]\nrequest = 0\ndrain = '0'\ndrain_delay = '1m'\n").unwrap();
    assert_eq!((timeouts.request, timeouts.drain), (None, Duration::ZERO));
    assert_eq!(timeouts.drain_delay, Duration::from_secs(60));
    for key in [
        "response_header",
        "connect",
        "request_header",
        "idle_client",
        "tunnel_idle",
    ] {
        for value in ["0", "'0s'", "-1", "1.5", "'x'", "[]"] {
            assert!(
                seconds(&format!("[timeouts]\n{key} = {value}\n")).is_err(),
                "{key} = {value}"
            );
        }
        assert!(
            seconds(&format!("[timeouts]\n{key} = '1ms'\n")).is_ok(),
            "{key}"
        );
    }
}

#[test]
fn references() {
    let rows = [
        ("${A}", Some("a")),
        ("x${A}y${A}", Some("xaya")),
        ("${B:-b}", Some("b")),
        ("${A:-b}", Some("a")),
        ("${B:-}x", Some("x")),
        ("$A", Some("$A")),
        ("${B}", None),
        ("${A", None),
        ("${}", None),
        ("${A B:-x}", None),
    ];
    for (text, expected) in rows {
        let config = load_from(
            &[("A", "a")],
            "",
            &format!("[auth]\nmaster_key = '{text}'\n"),
        );
        let key = config.ok().and_then(|config| config.auth.master_key);
        let key = key.map(|key| String::from_utf8_lossy(key.expose()).into_owned());
        assert_eq!(key.as_deref(), expected, "{text}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_shown() {
    for toml in [
        "[providers]\nopenai = '@'\n",
        "providers = '@'\n",
        "auth = '@'\n",
        "[auth]\nmaster_key = ['@']\n",
        "[auth]\nmaster_key = '@\n",
        "[auth]\nmaster_key = '${@'\n",
        "[auth]\nmaster_key = 'a${@-}'\n",
        "[auth]\nmaster_key = @\n",
        "[auth]\nmaster_key = 'a @'\n",
        "[providers.openai]\napi_key = 'a @'\n",
        "[providers.openai]\napi_key = { a = '@' }\n",
        "[providers.openai]\napi_key = 'a'\nheaders = '@'\n",
        "[providers.openai]\napi_key = 'a'\nheaders.a = '@\\n'\n",
        "[providers.openai]\napi_key = 'a'\nheaders.a = ['@']\n",
        "[providers.openai]\napi_key = 'a'\nheaders.X-Key = '@'\n",
        "[providers.openai]\napi_key = 'a'\nbase_url = 'https://@:@x'\n",
    ] {
        let shown = shown(&[], "", &toml.replace('@', MARKER));
        assert!(!shown.contains(MARKER), "{toml}: {shown}");
    }
    for content in [
        "key = '@'\n",
        "[[key]]\nid = 'a'\nsha256 = '@'\n",
        "[[key]]\nid = 'a'\nsha256 = ['@']\n",
    ] {
        let error = keys::parse(&content.replace('@', MARKER), "k").unwrap_err();
        assert!(!error.to_string().contains(MARKER), "{content}: {error}");
    }
}

#[test]
fn metrics_endpoints_can_be_asked_for() {
    let rows = [
        ("/metrics", true),
        ("/internal/metrics", true),
        ("/p", false),
        ("/p/metrics", false),
        ("/health", false),
        ("/health/live", false),
        ("/healthy", true),
        ("metrics", false),
        ("/metrics?a", false),
        ("/metrics#a", false),
        ("/a/../metrics", false),
        ("/a b", false),
        ("/caf\u{e9}", false),
        ("/a\u{7}", false),
    ];
    for (text, usable) in rows {
        let config = load_from(&[("METRICS_ENDPOINT", text)], "", "");
        assert_eq!(config.is_ok(), usable, "{text}");
    }
}

#[test]
fn a_comment_is_no_value() {
    let rows = [
        ("GOMODEL_MASTER_KEY= # set me", None),
        ("GOMODEL_MASTER_KEY=\t#todo", None),
        ("GOMODEL_MASTER_KEY=a # b", Some("a")),
        ("GOMODEL_MASTER_KEY=a#b", Some("a#b")),
        ("GOMODEL_MASTER_KEY=#b", Some("#b")),
        ("GOMODEL_MASTER_KEY='#b' # c", Some("#b")),
    ];
    for (line, expected) in rows {
        // One without a value is refused.
        let config = load_from(&[], &format!("{line}\n"), "").ok();
        let key = config.and_then(|config| config.auth.master_key);
        let key = key.as_ref().map(Secret::expose);
        assert_eq!(key, expected.map(str::as_bytes), "{line}");
    }
}

fn value() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "",
        "0",
        "1",
        "-1",
        "65536",
        "18446744073709551616",
        "true",
        "no",
        "1h30m",
        "10M",
        "text",
        "/x",
        "/p/x",
        "auto",
        "openai,vllm",
        "http://x:1/v1",
        "https://[::1]/",
        "127.0.0.1:0",
        "unix:/x",
        "secret",
        "gone",
        "bearer",
        "client",
        "${A:-1}",
        "${",
        "a b",
        "\u{2603}",
    ]);
    prop_oneof![known.prop_map(str::to_owned), "\\PC{0,12}", "[ -~]{0,24}"]
}

fn variable() -> impl Strategy<Value = (String, String)> {
    let names = prop::sample::select(vec![
        "PORT",
        "SLUICEGATE_LISTEN",
        "BASE_PATH",
        "SLUICEGATE_WORKERS",
        "SLUICEGATE_DRIVER",
        "SLUICEGATE_LANDLOCK",
        "SLUICEGATE_DUMPABLE",
        "SLUICEGATE_TLS_CERT",
        "SLUICEGATE_TLS_KEY",
        "SLUICEGATE_KEYS_FILE",
        "ENABLE_PASSTHROUGH_ROUTES",
        "ALLOW_PASSTHROUGH_V1_ALIAS",
        "ENABLED_PASSTHROUGH_PROVIDERS",
        "BODY_SIZE_LIMIT",
        "HTTP_TIMEOUT",
        "HTTP_RESPONSE_HEADER_TIMEOUT",
        "METRICS_ENABLED",
        "METRICS_ENDPOINT",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "OPENAI_BASE_URL",
        "VLLM_EAST_BASE_URL",
        "OPENROUTER_SITE_URL",
    ]);
    let secrets = prop::sample::select(vec![
        "GOMODEL_MASTER_KEY",
        "SLUICEGATE_MASTER_KEY",
        "OPENAI_API_KEY",
        "VLLM_EAST_API_KEY",
        "OPENROUTER_API_KEY",
        "ANTHROPIC__API_KEY",
    ]);
    let around = prop::sample::select(vec!["@", " @ ", "a @", "@\u{7f}", "\u{e9}@"]);
    let secret = (secrets, around).prop_map(|(n, v)| (n.to_owned(), v.replace('@', MARKER)));
    prop_oneof![3 => (names.prop_map(str::to_owned), value()), 1 => secret]
}

fn line() -> impl Strategy<Value = String> {
    let tables = prop::sample::select(vec![
        "[server]",
        "[server.tls]",
        "[auth]",
        "[passthrough]",
        "[limits]",
        "[timeouts]",
        "[metrics]",
        "[log]",
        "[upstream]",
        "[providers]",
        "[providers.openai]",
        "[providers.x]",
        "[[providers]]",
        "[",
    ]);
    let keys = prop::sample::select(vec![
        "listen",
        "base_path",
        "workers",
        "driver",
        "cert",
        "key",
        "client_ca",
        "keys_file",
        "enabled",
        "v1_alias",
        "providers",
        "body",
        "request",
        "connect",
        "drain",
        "endpoint",
        "format",
        "level",
        "access",
        "ca_file",
        "type",
        "base_url",
        "credential",
        "idle_upstream",
        "site_url",
        "app_name",
        "allow",
        "deny",
        "master_key_file",
        "unknown",
    ]);
    let secret = prop::sample::select(vec![
        "master_key = '@'",
        "master_key = ['@']",
        "api_key = '@'",
        "api_key = 'a @'",
        "api_key = { a = '@' }",
        "headers = { X-Key = '@' }",
        "headers = '@'",
        "openai = '@'",
        "api_key = '@",
        "master_key = @",
    ]);
    prop_oneof![
        tables.prop_map(str::to_owned),
        (keys.clone(), value()).prop_map(|(key, value)| format!("{key} = {value:?}")),
        (keys, value()).prop_map(|(key, value)| format!("{key} = [{value:?}]")),
        secret.prop_map(|line| line.replace('@', MARKER)),
        "\\PC{0,20}",
    ]
}

/// Without comments: they hold what a file cannot say.
fn settings(described: &str) -> String {
    let code = |line: &&str| !line.starts_with('#');
    without_places(described)
        .lines()
        .filter(code)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Without where anything was written.
fn without_places(described: &str) -> String {
    let bare = |line: &str| {
        let bare = line.rsplit_once("   # ").map_or(line, |(bare, _)| bare);
        format!("{}\n", bare.trim_end())
    };
    described.lines().map(bare).collect()
}

/// What is in force, wherever it was written.
fn in_force(config: &Config) -> String {
    without_places(&config.describe())
}

#[test]
fn what_is_described_is_quoted_as_toml() {
    let rows = [
        ("/a b", "\"/a b\""),
        ("/a\"b\\c", "\"/a\\\"b\\\\c\""),
        ("/\u{1b}\r[2J", "\"/\\u001b\\u000d[2J\""),
        ("/\u{7f}\u{9b}", "\"/\\u007f\\u009b\""),
        ("/\u{2603}\u{e0100}", "\"/\u{2603}\u{e0100}\""),
    ];
    for (path, quoted) in rows {
        let config = load_from(&[("SLUICEGATE_KEYS_FILE", path)], "", "").unwrap();
        let described = in_force(&config);
        assert!(
            described.contains(&format!("\nkeys_file = {quoted}\n")),
            "{described}"
        );
        let again = load_from(&[], "", &described).unwrap();
        assert_eq!(again.auth.keys_file.as_deref(), Some(path.as_ref()));
    }
    let config = load_from(&[("VLLM_BASE_URL", "http://h/a\"b")], "", "").unwrap();
    let described = in_force(&config);
    assert!(
        described.contains("\nbase_url = \"http://h/a\\\"b\"\n"),
        "{described}"
    );
    assert!(load_from(&[], "", &described).is_ok());
}

#[test]
fn control_endpoints_of_vllm_are_closed_unless_they_are_opened() {
    let serves = |toml: &str, method: &str, endpoint: &str| {
        let config = load_from(&[("VLLM_BASE_URL", "http://h")], "", toml).unwrap();
        let served = config.providers[0].serves(method.as_bytes(), endpoint.as_bytes());
        // What is described is in force again.
        let again = load_from(&[], "", &config.describe()).unwrap();
        let again = again.providers[0].serves(method.as_bytes(), endpoint.as_bytes());
        assert_eq!(served, again, "{toml} {method} {endpoint}");
        served
    };
    let closed =
        "pause resume abort_requests sleep wake_up collective_rpc update_weights pause/ %70ause";
    for endpoint in closed.split(' ') {
        assert!(!serves("", "POST", endpoint), "{endpoint}");
        assert!(serves("[providers.vllm]\ndeny = []", "POST", endpoint));
        let allow = "[providers.vllm]\nallow = ['* /*']";
        assert!(!serves(allow, "POST", endpoint), "deny goes first");
    }
    let served = "tokenize pooling rerank health version ping metrics invocations v1/load_lora_adapter \
                  chat/completions v1/models is_paused";
    for endpoint in served.split_whitespace() {
        assert!(serves("", "POST", endpoint), "{endpoint}");
    }
    let own = "[providers.vllm]\nallow = ['POST /chat/*']\ndeny = ['* /chat/secret']";
    assert!(serves(own, "POST", "chat/completions"));
    assert!(!serves(own, "GET", "chat/completions"));
    assert!(!serves(own, "POST", "chat/secret"));
    for broken in ["allow = ['x']", "deny = ['GET x']", "deny = 'GET /x'"] {
        let toml = format!("[providers.vllm]\n{broken}\n");
        assert!(load_from(&[], "", &toml).is_err(), "{broken}");
    }
}

#[test]
fn deep_nesting_is_refused() {
    for deep in [
        format!("a = {}", "[".repeat(50_000)),
        format!("a = {}", "{a=".repeat(50_000)),
        format!("{}a = 1", "a.".repeat(50_000)),
        format!("[{}a]", "a.".repeat(50_000)),
        format!("providers.{}a = 1", "a.".repeat(50_000)),
    ] {
        holds(deep.as_bytes());
        assert!(load_from(&[], "", &deep).is_err());
    }
}

proptest! {
    #[test]
    fn a_description_is_a_configuration_that_is_described_alike(
        env in prop::collection::vec(variable(), 0..6),
        lines in prop::collection::vec(line(), 0..10),
    ) {
        let env: Vec<_> = env.iter().map(|(name, value)| (&**name, &**value)).collect();
        if let Ok(config) = load_from(&env, "", &lines.join("\n")) {
            let described = config.describe();
            // A reference cannot be escaped.
            prop_assume!(!described.contains("${"));
            let again = load_from(&[], "", &described).map_err(|error| error.to_string());
            let again = again.map(|config| settings(&config.describe()));
            prop_assert_eq!(again, Ok(settings(&described)), "{}", described);
        }
    }

    #[test]
    fn no_configuration_panics_or_shows_a_secret(
        env in prop::collection::vec(variable(), 0..6),
        dotenv in prop::collection::vec(variable(), 0..4),
        lines in prop::collection::vec(line(), 0..10),
    ) {
        let env: Vec<_> = env.iter().map(|(name, value)| (&**name, &**value)).collect();
        let dotenv: String = dotenv.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let shown = shown(&env, &dotenv, &lines.join("\n"));
        prop_assert!(!shown.contains(MARKER), "{}", shown);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        holds(text.as_bytes());
        holds(&bytes);
    }
}
