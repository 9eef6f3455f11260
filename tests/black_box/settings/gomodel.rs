//! The variables that GoModel documents, one by one and all at once: each takes effect, or is named in a warning.

use crate::support::settings::{assert_line, bare};
use crate::support::{Setup, get};

const BLOCK: &str = include_str!("gomodel.env");

/// What begins the one line that names those without effect.
const WITHOUT_EFFECT: &str = "GoModel's variables without effect here: ";

/// Every line as name and value.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    BLOCK.lines().map(|line| line.split_once('=').unwrap())
}

/// What `check` shows of those that take effect.
const SHOWN: &[(&str, &str)] = &[
    ("PORT", "listen = [\"0.0.0.0:8081\", \"[::]:8081\"]"),
    ("BASE_PATH", "base_path = \"/g\""),
    ("GOMODEL_MASTER_KEY", "master_key = \"[redacted]\""),
    ("USER_PATH_HEADER", "user_path_header = \"X-Team-Path\""),
    ("BODY_SIZE_LIMIT", "body = 1048576"),
    ("LOG_FORMAT", "format = \"text\""),
    ("LOG_LEVEL", "level = \"debug\""),
    ("ENABLE_PASSTHROUGH_ROUTES", "enabled = false"),
    ("ALLOW_PASSTHROUGH_V1_ALIAS", "v1_alias = false"),
    (
        "ENABLED_PASSTHROUGH_PROVIDERS",
        "providers = [\"openai\", \"anthropic\", \"cohere\", \"openrouter\", \"kilo\", \"zai\", \"sglang\", \"vllm\", \
         \"llamacpp\", \"llmd\", \"audiocpp\", \"deepseek\", \"hetzner\", \"edenai\", \"jev\"]",
    ),
    ("HTTP_TIMEOUT", "request = 601"),
    ("HTTP_RESPONSE_HEADER_TIMEOUT", "response_header = 600"),
    ("HTTP_STREAM_IDLE_TIMEOUT", "body_idle = 300"),
    ("METRICS_ENABLED", "enabled = true"),
    ("METRICS_ENDPOINT", "endpoint = \"/m\""),
    ("HTTPS_PROXY", "proxy = \"http://proxy.example:3128\""),
    ("OPENAI_API_KEY", "[providers.\"openai\"]"),
    ("OPENAI_API_KEY_2", "[providers.\"openai\"]"),
    (
        "OPENAI_BASE_URL",
        "base_url = \"https://openai.example/v1\"",
    ),
    ("OPENAI_PROXY_URL", "proxy = \"http://10.0.0.1:3128\""),
    ("OPENAI_LMSTUDIO_API_KEY", "[providers.\"openai-lmstudio\"]"),
    (
        "OPENAI_LMSTUDIO_BASE_URL",
        "base_url = \"http://localhost:1234/v1\"",
    ),
    (
        "OPENROUTER_SITE_URL",
        "# sent unless the client does: HTTP-Referer: https://site.example",
    ),
    (
        "OPENROUTER_APP_NAME",
        "# sent unless the client does: X-OpenRouter-Title: Our App",
    ),
    ("AZURE_API_VERSION", "api_version = \"2025-01-01\""),
    ("JEV_BASE_URL", "base_url = \"http://localhost:8009/v1\""),
    (
        "AUDIOCPP_BASE_URL",
        "base_url = \"http://audiocpp.example:8099/v1\"",
    ),
];

const TYPES: [&str; 24] = [
    "openai",
    "anthropic",
    "openrouter",
    "kilo",
    "zai",
    "sglang",
    "vllm",
    "llamacpp",
    "llmd",
    "deepseek",
    "edenai",
    "jev",
    "chutes",
    "cohere",
    "fireworks",
    "meta",
    "bailian",
    "minimax",
    "xiaomi",
    "elevenlabs",
    "kimicode",
    "hetzner",
    "audiocpp",
    "azure",
];

/// The line of `check` that shows that a variable has taken effect; none where it has none.
fn shown(name: &str, value: &str) -> Option<String> {
    if let Some((_, line)) = SHOWN.iter().find(|(known, _)| *known == name) {
        return Some((*line).to_owned());
    }
    let kind = |end: &str| {
        let kind = name.strip_suffix(end)?.to_lowercase();
        TYPES.contains(&&*kind).then_some(kind)
    };
    match (kind("_API_KEY"), kind("_BASE_URL")) {
        (Some(kind), _) => Some(format!("[providers.\"{kind}\"]")),
        (_, Some(_)) => Some(format!("base_url = \"{value}\"")),
        _ => None,
    }
}

/// A variable beside those that it needs to have an effect.
fn beside(name: &str, value: &str) -> Setup {
    let mut setup = bare()
        .env("GOMODEL_MASTER_KEY", "gk-of-at-least-16-letters")
        .env("ENABLED_PASSTHROUGH_PROVIDERS", &TYPES.join(","));
    let prefixes = TYPES.map(str::to_uppercase);
    let mut prefixes = ["OPENAI_LMSTUDIO"]
        .into_iter()
        .chain(prefixes.iter().map(|it| &**it));
    let kind = prefixes
        .find(|kind| name.starts_with(kind))
        .unwrap_or("ANTHROPIC");
    let needed = [format!("{kind}_API_KEY"), format!("{kind}_BASE_URL")];
    // A second key is the first where there is none.
    let needed = needed
        .iter()
        .filter(|it| !name.starts_with(&***it) || *it == name);
    for (name, value) in needed.flat_map(|it| lines().filter(move |(name, _)| name == it)) {
        setup = setup.env(name, value);
    }
    setup.env(name, value)
}

#[test]
fn every_documented_variable_works_or_is_named() {
    let mut named = 0;
    for (name, value) in lines().filter(|(name, _)| *name != "MASTER_KEY_DISABLED") {
        let finished = beside(name, value).arg("check").run();
        assert_eq!(finished.code, Some(0), "{name}: {finished:?}");
        match shown(name, value) {
            Some(line) => {
                assert_line(&finished.stdout, &line);
                assert_eq!(finished.stderr, "", "{name}");
            }
            None => {
                named += 1;
                // Variables of unknown types have a warning of their own, with what to write instead.
                let said = [
                    format!("{WITHOUT_EFFECT}{name}; "),
                    format!("environment: {name}: there is no provider type"),
                ];
                let mut said = said.iter();
                assert!(
                    said.any(|it| finished.stderr.contains(it)),
                    "{name}: {finished:?}"
                );
            }
        }
    }
    assert!(named > 90, "{named}");
}

#[test]
fn all_of_them_start_with_one_line_about_those_without_effect() {
    let set = |setup: Setup, (name, value): (&str, &str)| setup.env(name, value);
    let but = [
        "ENABLE_PASSTHROUGH_ROUTES",
        "MASTER_KEY_DISABLED",
        "LOG_FORMAT",
    ];
    let gateway = lines()
        .filter(|(name, _)| !but.contains(name))
        .fold(Setup::new().env("SLUICEGATE_WORKERS", "1"), set)
        .start();
    let mut client = gateway.connect();
    client.send(get("/g/health/ready"));
    assert_eq!(client.response().status(), 200);
    let log = gateway.log();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(WITHOUT_EFFECT))
        .collect();
    assert_eq!(said.len(), 1, "{log}");
    for (name, value) in lines() {
        let is_named = said[0].contains(&format!(" {name},"))
            || said[0].contains(&format!(" {name};"))
            || log.contains(&format!("environment: {name}: there is no provider type"));
        let is_unexposed = [
            "CHUTES",
            "FIREWORKS",
            "META",
            "BAILIAN",
            "MINIMAX",
            "XIAOMI",
            "ELEVENLABS",
            "KIMICODE",
            "AZURE",
        ]
        .iter()
        .any(|kind| name.starts_with(&format!("{kind}_")));
        let works = shown(name, value).is_some() && !is_unexposed || but.contains(&name);
        assert_eq!(is_named, !works, "{name}: {}", said[0]);
    }
}

#[test]
fn variables_that_others_have_too_are_named_beside_gomodels_own_only() {
    let shared = || {
        bare()
            .env("REDIS_URL", "redis://h")
            .env("GROQ_API_KEY", "sk-marker")
    };
    let finished = shared().arg("check").run();
    assert!(!finished.stderr.contains("REDIS_URL"), "{finished:?}");
    for (name, value) in [
        ("GOMODEL_MASTER_KEY", "gk-of-at-least-16-letters"),
        ("ADMIN_UI_ENABLED", "true"),
    ] {
        let finished = shared().env(name, value).arg("check").run();
        for name in ["REDIS_URL", "GROQ_API_KEY"] {
            assert!(finished.stderr.contains(name), "{finished:?}");
        }
    }
}

#[test]
fn a_master_key_that_is_disabled_lets_nobody_in() {
    let setup = || {
        Setup::new()
            .env("MASTER_KEY_DISABLED", "true")
            .file("keys.toml", "")
    };
    let gateway = setup().env("SLUICEGATE_KEYS_FILE", "keys.toml").start();
    let mut client = gateway.connect();
    client.send(get("/p/anthropic/models"));
    assert_eq!(client.response().status(), 401);
    let finished = setup().run();
    assert_eq!(finished.code, Some(2), "{finished:?}");
    let said = "MASTER_KEY_DISABLED (auth.master_key_disabled): nobody has a key then; expected";
    assert!(finished.stderr.contains(said), "{finished:?}");
}
