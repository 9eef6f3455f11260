//! Providers out of environment and file: which exist, what they are sent, what is refused.

use super::super::property::{Env, MARKER, load_from};
use super::*;
use crate::config::Config;

#[test]
fn base_urls() {
    let rows = [
        (
            "https://api.openai.com/v1",
            Some("api.openai.com|443|/v1|true"),
        ),
        (
            "https://api.openai.com:443/v1/",
            Some("api.openai.com|443|/v1|true"),
        ),
        ("HTTP://LocalHost:8000", Some("localhost:8000|8000||false")),
        ("http://[::1]:9/x", Some("[::1]:9|9|/x|false")),
        ("http://127.0.0.1/", Some("127.0.0.1|80||false")),
        ("ftp://x", None),
        ("api.openai.com", None),
        ("https://", None),
        ("https://user@x/v1", None),
        ("https://x/v1?q=1", None),
        ("https://x/v1#f", None),
        ("https://x/a/../b", None),
        ("https://x:0/", None),
        ("https://x:99999/", None),
        ("https://x y/", None),
        ("https://[::1/", None),
    ];
    for (url, expected) in rows {
        let found = base(url).ok().map(|base| {
            format!(
                "{}|{}|{}|{}",
                base.authority, base.port, base.path, base.tls
            )
        });
        assert_eq!(found.as_deref(), expected, "{url}");
    }
}

/// One line an instance: name, type, authority and path, credential.
fn shown(config: &Config) -> Vec<String> {
    let line = |provider: &Provider| {
        let credential = match &provider.credential {
            Credential::Bearer(key) => format!("bearer {}", String::from_utf8_lossy(key.expose())),
            Credential::XApiKey(key) => {
                format!("x-api-key {}", String::from_utf8_lossy(key.expose()))
            }
            Credential::None => "none".to_owned(),
            Credential::Client => "client".to_owned(),
        };
        let (name, kind, base) = (&provider.name, provider.kind, &provider.base);
        format!("{name} {kind} {}{} {credential}", base.authority, base.path)
    };
    config.providers.iter().map(line).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn instances() {
    let rows: &[(Env<'_>, &str, &[&str])] = &[
        (&[], "", &[]),
        (
            &[("OPENAI_API_KEY", "k")],
            "",
            &["openai openai api.openai.com/v1 bearer k"],
        ),
        (
            &[("OPENAI_API_KEY", " k\n")],
            "",
            &["openai openai api.openai.com/v1 bearer k"],
        ),
        (&[("OPENAI_API_KEY", "")], "", &[]),
        (
            &[("ANTHROPIC_API_KEY", "k")],
            "",
            &["anthropic anthropic api.anthropic.com/v1 x-api-key k"],
        ),
        (&[("OPENAI_BASE_URL", "http://x")], "", &[]),
        (
            &[("VLLM_BASE_URL", "http://x/v1/")],
            "",
            &["vllm vllm x/v1 none"],
        ),
        (
            &[("VLLM_API_KEY", "k")],
            "",
            &["vllm vllm localhost:8000/v1 bearer k"],
        ),
        (
            &[("OPENAI_API_KEY_FILE", "secret")],
            "",
            &["openai openai api.openai.com/v1 bearer Sk5Marker"],
        ),
        (
            &[
                ("OPENAIX_API_KEY", "k"),
                ("OPENAI__API_KEY", "k"),
                ("X_API_KEY", "k"),
                ("_API_KEY", "k"),
            ],
            "",
            &[],
        ),
        (
            &[
                ("OPENAI_US_EAST_API_KEY", "k"),
                ("OPENAI_US_EAST_BASE_URL", "https://e:8443/x"),
            ],
            "",
            &["openai-us-east openai e:8443/x bearer k"],
        ),
        (
            &[
                ("VLLM_A_BASE_URL", "http://a"),
                ("VLLM_B_BASE_URL", "http://b"),
            ],
            "",
            &["vllm-a vllm a none", "vllm-b vllm b none"],
        ),
        (
            &[
                ("ENABLED_PASSTHROUGH_PROVIDERS", "openai"),
                ("OPENAI_API_KEY", "k"),
                ("ZAI_API_KEY", "k"),
            ],
            "",
            &["openai openai api.openai.com/v1 bearer k"],
        ),
        (
            &[],
            "[providers.zai]\napi_key = 'k'\n",
            &["zai zai api.z.ai/api/paas/v4 bearer k"],
        ),
        (
            &[("ZAI_API_KEY", "env")],
            "[providers.zai]\napi_key = 'k'\n",
            &["zai zai api.z.ai/api/paas/v4 bearer env"],
        ),
        (
            &[("ZAI_API_KEY", "env")],
            "[providers.zai]\nbase_url = 'http://f'\n",
            &["zai zai f bearer env"],
        ),
        (
            &[("OPENAI_EAST_API_KEY", "env")],
            "[providers.openai-east]\nbase_url = 'http://f'\ntype = 'anthropic'\n",
            &["openai-east anthropic f x-api-key env"],
        ),
        (
            &[],
            "[providers.own]\ntype = 'openai'\ncredential = 'client'\n",
            &["own openai api.openai.com/v1 client"],
        ),
        (
            &[],
            "[providers.own]\ntype = 'openai'\ncredential = 'none'\napi_key = 'k'\n",
            &["own openai api.openai.com/v1 none"],
        ),
        (
            &[],
            "[providers.own]\ntype = 'openai'\ncredential = 'x-api-key'\napi_key = 'k'\n",
            &["own openai api.openai.com/v1 x-api-key k"],
        ),
        (
            &[("K", "k")],
            "[providers.deepseek]\napi_key = '${K}'\nbase_url = 'http://${H:-h}:${P:-1}/${N:-}'\n",
            &["deepseek deepseek h:1 bearer k"],
        ),
    ];
    for (env, toml, expected) in rows {
        let config = load_from(env, "", toml).unwrap();
        assert_eq!(shown(&config), *expected, "{env:?} {toml}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn refused_instances_are_named() {
    let rows: &[(Env<'_>, &str, &str)] = &[
        (
            &[("OPENAI_API_KEY", "a b")],
            "",
            "environment: OPENAI_API_KEY: ",
        ),
        (
            &[("OPENAI_API_KEY", "k"), ("OPENAI_API_KEY_FILE", "secret")],
            "",
            "environment: OPENAI_API_KEY: OPENAI_API_KEY_FILE is set too",
        ),
        (
            &[("OPENAI_API_KEY_FILE", "gone")],
            "",
            "gone: OPENAI_API_KEY_FILE: ",
        ),
        (
            &[("OPENAI_BASE_URL", "x")],
            "",
            "environment: OPENAI_BASE_URL: expected a URL",
        ),
        (
            &[],
            "[providers.x]\n",
            "sluicegate.toml: providers.x.type: expected one of",
        ),
        (
            &[],
            "[providers.openai]\n",
            "sluicegate.toml: providers.openai.api_key: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\napi_key_file = 'b'\n",
            "sluicegate.toml: providers.openai.api_key: expected only one",
        ),
        (
            &[],
            "[providers.openai]\napi_key_file = 'gone'\n",
            "gone: providers.openai.api_key_file: ",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\ncredential = 'basic'\n",
            "sluicegate.toml: providers.openai.credential: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\nheaders.Content-Length = '1'\n",
            "sluicegate.toml: providers.openai.headers.Content-Length: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\nheaders.'a b' = '1'\n",
            "sluicegate.toml: providers.openai.headers.a b: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\nheaders.a = ' 1'\n",
            "sluicegate.toml: providers.openai.headers.a: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\napp_name = 'x'\n",
            "sluicegate.toml: providers.openai.site_url: expected",
        ),
        (
            &[],
            "[providers.'é']\ntype = 'openai'\napi_key = 'a'\n",
            "sluicegate.toml: providers.é: expected a provider name",
        ),
    ];
    for (env, toml, expected) in rows {
        let error = load_from(env, "", toml).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error} instead of {expected}");
    }
    let many = format!(
        "[providers.openai]\napi_key = 'a'\nheaders.a = '{0}'\nheaders.b = '{0}'\n",
        "x".repeat(2100)
    );
    assert!(
        load_from(&[], "", &many).is_err(),
        "they have to fit the headroom"
    );
}

#[test]
fn defaults_and_headers() {
    let env = [
        ("OPENROUTER_API_KEY", "k"),
        ("OPENROUTER_SITE_URL", "https://s"),
        ("OPENROUTER_APP_NAME", "n"),
    ];
    let config = load_from(&env, "", "[providers.openrouter]\nsite_url = 'https://t'\n").unwrap();
    let expected = [("HTTP-Referer", "https://s"), ("X-OpenRouter-Title", "n")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(config.providers[0].defaults, expected);
    let toml = "[providers.anthropic]\napi_key = 'k'\nidle_upstream = '1m'\nheaders = { X-A = '1', X-B = '' }\n";
    let config = load_from(&[], "", toml).unwrap();
    let provider = &config.providers[0];
    assert_eq!(
        provider.defaults,
        [("anthropic-version".to_owned(), "2023-06-01".to_owned())]
    );
    assert_eq!(provider.headers.len(), 2);
    assert_eq!(provider.idle_upstream, Duration::from_secs(60));
    assert!(!config.describe().contains(MARKER));
}
