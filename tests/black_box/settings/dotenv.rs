//! `.env` files as GoModel's users have them, values as environments have them, and what is said of those that
//! cannot be meant so.

use std::fs;

use crate::support::settings::{self, assert_line, assert_refused, bare};
use crate::support::{Setup, Upstream, get, ok};

/// Lines of other programs, each of which stopped the start once.
const FOREIGN: &[u8] = b"my.var=1\nmy-var=1\nA: b\nDEBUG\nJ=\"{\\\"a\\\": 1}\"\nexport\tA=1\n\
    PEM=\"-----BEGIN PRIVATE KEY-----\nMIIE+a/b==\n-----END PRIVATE KEY-----\"\n\
    NAME=Andr\xe9\n# caf\xe9\ncl\xe9=1\nOPEN='it\n{\n[section]\nFOO+BAR=1\n";

fn with_dotenv(setup: Setup, content: &[u8]) -> Setup {
    fs::write(setup.dir().join(".env"), content).unwrap();
    setup
}

/// What the upstream is sent as credential for a `.env` and `more` variables.
#[track_caller]
fn credential(dotenv: &[u8], more: &[(&str, &str)]) -> String {
    let upstream = Upstream::listen();
    let setup = with_dotenv(Setup::new(), dotenv);
    let set = |setup: Setup, (name, value): &(&str, &str)| setup.env(name, value);
    settings::credential(more.iter().fold(setup, set), &upstream)
}

#[test]
fn lines_of_other_programs_never_stop_the_start() {
    let ours = b"\nOPENAI_API_KEY=sk-dotenv\n";
    assert_eq!(
        credential(&[FOREIGN, ours].concat(), &[]),
        "Bearer sk-dotenv"
    );
    let windows = b"\xef\xbb\xbfexport OPENAI_API_KEY='sk-dotenv' # c\r\nDEBUG\r\n";
    assert_eq!(credential(windows, &[]), "Bearer sk-dotenv");
    for line in FOREIGN.split(|byte| *byte == b'\n') {
        let setup = bare().env("SLUICEGATE_KEYS_FILE", "keys.toml");
        let finished = with_dotenv(setup, line).arg("check").run();
        assert_eq!(
            finished.code,
            Some(0),
            "{}: {finished:?}",
            line.escape_ascii()
        );
        assert_eq!(finished.stderr, "");
    }
}

#[test]
fn variables_expand_in_dotenv() {
    for (dotenv, expected) in [
        ("BASE=sk-1\nOPENAI_API_KEY=${BASE}", "sk-1"),
        ("BASE=sk-1\nOPENAI_API_KEY=\"$BASE-x\"", "sk-1-x"),
        ("BASE=sk-1\nOPENAI_API_KEY='$BASE'", "$BASE"),
        ("OPENAI_API_KEY=${TEAM}", "sk-team"),
        ("TEAM=sk-2\nOPENAI_API_KEY=${TEAM}", "sk-2"),
        ("OPENAI_API_KEY=\"sk\\$TEAM\"", "sk$TEAM"),
    ] {
        let sent = credential(dotenv.as_bytes(), &[("TEAM", "sk-team")]);
        assert_eq!(sent, format!("Bearer {expected}"), "{dotenv}");
    }
}

#[test]
fn a_file_of_utf_16_is_warned_of() {
    let content = "OPENAI_API_KEY=sk\r\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes);
    let content: Vec<u8> = [0xff, 0xfe].into_iter().chain(content).collect();
    let finished = with_dotenv(bare(), &content).arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let said = "warning: .env: expected UTF-8 text; this is UTF-16";
    assert!(finished.stderr.contains(said), "{finished:?}");
}

#[test]
fn a_wrong_value_of_ours_names_file_line_and_key() {
    let rows: &[(&[u8], &str)] = &[
        (
            b"A=1\n\nPORT=eighty\n",
            ".env line 3: PORT: expected a port",
        ),
        (
            b"A='\n'\nexport OPENAI_API_KEY=\"sk\n",
            ".env line 3: OPENAI_API_KEY: expected a closing quote",
        ),
        (
            b"# c\nOPENAI_API_KEY sk-marker",
            ".env line 2: OPENAI_API_KEY: expected KEY=value",
        ),
        (
            b"OPENAI_API_KEY=sk-marker\xe9",
            ".env line 1: OPENAI_API_KEY: expected UTF-8 text",
        ),
        (
            b"\nSLUICEGATE_KEYS_FILE='/a\nOPENAI_API_KEY=sk-marker\nA='b'\n",
            ".env line 2: SLUICEGATE_KEYS_FILE: expected a value of one line; a quote",
        ),
        (
            b"OPENAI_API_KEY=sk marker",
            ".env line 1: OPENAI_API_KEY: expected a key",
        ),
        (
            b"ENABLED_PASSTHROUGH_PROVIDERS=\"openai,\nOPENAI_API_KEY=sk-marker\nA=\"b\"\n",
            ".env line 1: ENABLED_PASSTHROUGH_PROVIDERS: expected a value of one line; a quote",
        ),
        (
            b"\nSLUICEGATE_CORS_ORIGINS=*",
            ".env line 2: SLUICEGATE_CORS_ORIGINS: entry 1: expected",
        ),
        (
            b"SLUICEGATE_TLS_CERT=cert.pem",
            ".env line 1: SLUICEGATE_TLS_KEY (server.tls.key): expected",
        ),
        (
            b"OPENAI_API_KEY=a\nOPENAI_API_KEY_FILE=b",
            ".env line 1: OPENAI_API_KEY: OPENAI_API_KEY_FILE is set too",
        ),
    ];
    for (dotenv, said) in rows {
        let setup = || with_dotenv(bare(), dotenv).secret("marker");
        assert_refused(setup, &[said]);
    }
    // What the environment has is not asked for in the file.
    let setup = with_dotenv(bare(), b"PORT=eighty\nOPENAI_API_KEY sk\nOPENAI_BASE_URL='");
    let setup = setup
        .env("PORT", "1")
        .env("OPENAI_API_KEY", "sk-env")
        .env("OPENAI_BASE_URL", "http://env");
    let finished = setup.arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn values_of_variables_are_trimmed() {
    let setup = bare()
        .env("OPENROUTER_API_KEY", " sk-or\t")
        .env("OPENROUTER_BASE_URL", " http://x:1 ")
        .env("OPENROUTER_SITE_URL", "\thttps://me.test\n")
        .env("SLUICEGATE_KEYS_FILE", " keys.toml\n")
        .env("LOG_LEVEL", " debug ")
        .env("VLLM_API_KEY_FILE", " secret.txt ")
        .env("GOMODEL_MASTER_KEY", "\u{a0}gk-of-16-letters\u{a0}");
    let finished = with_dotenv(setup, b"OPENROUTER_APP_NAME=\"My App \"\n")
        .arg("check")
        .run();
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    for line in [
        "# sent unless the client does: X-OpenRouter-Title: My App",
        "# sent unless the client does: HTTP-Referer: https://me.test",
        "base_url = \"http://x:1\"",
        "keys_file = \"keys.toml\"",
        "level = \"debug\"",
    ] {
        assert_line(&finished.stdout, line);
    }
}

#[test]
fn a_value_of_a_variable_is_blamed_on_the_variable() {
    let rows: &[(&[(&str, &str)], &str)] = &[
        (
            &[
                ("OPENROUTER_API_KEY", "sk"),
                ("OPENROUTER_APP_NAME", "a\u{7}b"),
            ],
            "environment: OPENROUTER_APP_NAME: expected a header value",
        ),
        (
            &[
                ("OPENROUTER_API_KEY", "sk"),
                ("OPENROUTER_SITE_URL", "a\nb"),
            ],
            "environment: OPENROUTER_SITE_URL: expected a header value",
        ),
        (
            &[("OPENAI_Ä_API_KEY", "sk")],
            "environment: OPENAI_Ä_API_KEY: expected a provider name",
        ),
        (
            &[("SLUICEGATE_TLS_KEY", "key.pem")],
            "environment: SLUICEGATE_TLS_CERT (server.tls.cert): expected a PEM file",
        ),
    ];
    for (variables, said) in rows {
        let set = |setup: Setup, (name, value): &(&str, &str)| setup.env(name, value);
        let setup = || variables.iter().fold(bare(), set);
        assert_refused(setup, &[said]);
        assert!(!setup().run().stderr.contains("configuration"));
    }
    let long = "x".repeat(13_000);
    let setup = || bare().env("OPENAI_API_KEY", &long);
    assert_refused(setup, &["environment: OPENAI_API_KEY: expected at most"]);
}

#[test]
fn log_settings_are_read_in_any_case_and_in_gomodels_words() {
    for (name, value, line) in [
        ("LOG_FORMAT", "JSON", "format = \"json\""),
        ("LOG_FORMAT", "Text", "format = \"text\""),
        ("LOG_FORMAT", "LOGFMT", "format = \"logfmt\""),
        ("LOG_FORMAT", "auto", "format = \"json\""),
        ("LOG_FORMAT", " Auto ", "format = \"json\""),
        ("LOG_LEVEL", "dbg", "level = \"debug\""),
        ("LOG_LEVEL", "DEBUG", "level = \"debug\""),
        ("LOG_LEVEL", "inf", "level = \"info\""),
        ("LOG_LEVEL", "WARNING", "level = \"warn\""),
        ("LOG_LEVEL", "Err", "level = \"error\""),
    ] {
        let key = name.to_lowercase().replace("log_", "");
        let toml = format!("[log]\n{key} = {value:?}\n");
        for setup in [bare().env(name, value), bare().toml(&toml)] {
            if toml.contains(" A") && setup.dir().join("sluicegate.toml").exists() {
                // Only variables are trimmed.
                continue;
            }
            let finished = setup.arg("check").run();
            assert_eq!(finished.code, Some(0), "{value}: {finished:?}");
            assert_line(&finished.stdout, line);
        }
    }
}

#[test]
fn quotes_that_were_kept_are_warned_of() {
    let upstream = Upstream::listen();
    let setup = || {
        Setup::new()
            .env("OPENAI_API_KEY", "\"sk-marker\"")
            .env("ANTHROPIC_API_KEY_FILE", "secret.txt")
            .file("secret.txt", "'sk-in-file'\n")
            .secret("sk-marker")
            .secret("sk-in-file")
            .env("OPENAI_BASE_URL", &upstream.url())
    };
    let kept = "the quotes around its value are taken as a part of it";
    let named = [
        "environment: OPENAI_API_KEY: ",
        "secret.txt: ANTHROPIC_API_KEY_FILE: ",
    ];
    let finished = setup().arg("check").run();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for name in named {
        let warning = format!("sluicegate: warning: {name}{kept}");
        assert!(finished.stderr.contains(&warning), "{finished:?}");
    }
    let gateway = setup().start();
    for name in named {
        gateway
            .wait_log(|line| line.contains("\"warn\"") && line.contains(&format!("{name}{kept}")));
    }
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    let mut peer = upstream.accept();
    assert_eq!(
        peer.request().value("authorization"),
        Some("Bearer \"sk-marker\"")
    );
    peer.send(ok(""));
    client.response();
    // Where they make the value unusable, the message says so.
    let setup = || bare().env("PORT", "\"8080\"");
    assert_refused(
        setup,
        &["environment: PORT: expected a port from 0 to 65535; the quotes around"],
    );
}
