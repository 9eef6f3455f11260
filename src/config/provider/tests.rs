//! Providers out of environment and file: which exist, what they are sent, what is refused.

use super::super::property::{Env, MARKER, load_from};
use super::*;
use crate::config::Config;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

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
        (
            "http+unix://%2Frun%2Fv.sock/v1",
            Some("localhost|0|/v1|false"),
        ),
        ("HTTP+UNIX://%2frun", Some("localhost|0||false")),
        ("http+unix:///run/v.sock/v1", None),
        ("http+unix://run/v1", None),
        ("http+unix://", None),
        ("http+unix://%2Frun%00", None),
        ("http+unix://%2Frun%2", None),
        ("http+unix://%2Frun/v1?q", None),
        ("https+unix://%2Frun/v1", None),
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

#[test]
fn sockets_have_any_path_that_fits() {
    let socket = |url: &str| base(url).map(|base| (base.host.clone(), base.to_string()));
    let (host, shown) = socket("http+unix://%2Frun%2Fa+b%20%C3%A9%FF/x/").unwrap();
    let path = std::ffi::OsStr::from_bytes(b"/run/a+b \xc3\xa9\xff");
    assert_eq!(host, Host::Unix(path.into()));
    assert_eq!(shown, "http+unix://%2Frun%2Fa%2Bb%20%C3%A9%FF/x");
    assert_eq!(socket(&shown).unwrap(), (host, shown));
    let long = |len: usize| format!("http+unix://%2F{}", "a".repeat(len - 1));
    assert!(socket(&long(107)).is_ok());
    assert_eq!(
        socket(&long(108)).unwrap_err(),
        "expected a socket's path of at most 107 bytes"
    );
}

/// One line an instance: name, type, authority and path, credential.
fn shown(config: &Config) -> Vec<String> {
    let line = |provider: &Provider| {
        let credential = match &provider.credential {
            Credential::Key(field, key) => {
                let key = String::from_utf8_lossy(key.first.expose());
                format!("{} {key}", field.setting())
            }
            Credential::None => "none".to_owned(),
            Credential::Client => "client".to_owned(),
        };
        let (name, kind, base) = (&provider.name, provider.kind, &provider.first.base);
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
            "environment: OPENAI_API_KEY_FILE: gone: cannot read it: ",
        ),
        (
            &[("OPENAI_BASE_URL", "x")],
            "",
            "environment: OPENAI_BASE_URL: expected https:// or http://",
        ),
        (
            &[],
            "[providers.x]\n",
            "sluicegate.toml line 1: providers.x.type: expected one of",
        ),
        (
            &[],
            "[providers.openai]\n",
            "sluicegate.toml line 1: providers.openai.api_key: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\napi_key_file = 'b'\n",
            "sluicegate.toml line 2: providers.openai.api_key: expected only one",
        ),
        (
            &[],
            "[providers.openai]\napi_key_file = 'gone'\n",
            "sluicegate.toml line 2: providers.openai.api_key_file: gone: ",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\ncredential = 'basic'\n",
            "sluicegate.toml line 3: providers.openai.credential: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\nheaders.Content-Length = '1'\n",
            "sluicegate.toml line 3: providers.openai.headers.Content-Length: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\nheaders.'a b' = '1'\n",
            "sluicegate.toml line 3: providers.openai.headers.a b: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\nheaders.a = ' 1'\n",
            "sluicegate.toml line 3: providers.openai.headers.a: expected",
        ),
        (
            &[],
            "[providers.openai]\napi_key = 'a'\napp_name = 'x'\n",
            "sluicegate.toml line 3: providers.openai.app_name: expected",
        ),
        (
            &[],
            "[providers.'é']\ntype = 'openai'\napi_key = 'a'\n",
            "sluicegate.toml line 1: providers.é: expected a provider name",
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

/// The only instance that `toml` makes, or why there is none.
fn only(toml: &str) -> Result<Provider, String> {
    let config = load_from(&[], "", toml).map_err(|error| error.to_string())?;
    Ok(config.providers.into_iter().next().unwrap())
}

#[test]
fn a_field_is_never_sent_twice() {
    let refused = [
        ("openai", "headers.Authorization = 'Bearer b'"),
        ("openai", "headers.authorization = 'Bearer b'"),
        ("anthropic", "headers.X-Api-Key = 'b'"),
        (
            "openai",
            "credential = 'x-api-key'\nheaders.X-API-Key = 'b'",
        ),
        ("openai", "headers.X-A = 'a'\nheaders.x-a = 'b'"),
    ];
    for (name, lines) in refused {
        let error = only(&format!("[providers.{name}]\napi_key = 'a'\n{lines}\n")).unwrap_err();
        let line = 3 + lines.matches("credential").count();
        let key = format!("sluicegate.toml line {line}: providers.{name}.headers.");
        assert!(error.starts_with(&key), "{lines}: {error}");
    }
    let accepted = [
        ("openai", "api_key = 'a'\nheaders.X-Api-Key = 'b'"),
        ("anthropic", "api_key = 'a'\nheaders.Authorization = 'b'"),
        (
            "openai",
            "credential = 'none'\nheaders.Authorization = 'Basic b'",
        ),
        ("vllm", "headers.Authorization = 'Basic b'"),
    ];
    for (name, lines) in accepted {
        assert!(
            only(&format!("[providers.{name}]\n{lines}\n")).is_ok(),
            "{name}: {lines}"
        );
    }
}

#[test]
fn a_configured_header_takes_the_place_of_a_default() {
    let toml = "[providers.anthropic]\napi_key = 'a'\nheaders.Anthropic-Version = '2026-01-01'\n";
    let provider = only(toml).unwrap();
    assert_eq!(provider.defaults, []);
    let expected = [("Anthropic-Version".to_owned(), "2026-01-01".to_owned())];
    assert_eq!(provider.headers, expected);
}

#[test]
fn what_a_provider_adds_fits_the_headroom() {
    let refused = [
        format!("api_key = '{}'", "k".repeat(20_000)),
        format!("api_key = '{}'", "k".repeat(HEAD_ADDED_BYTES_MAX)),
        format!(
            "api_key = '{0}'\nsite_url = '{0}'\napp_name = '{0}'\nheaders.X-A = '{0}'\n\
             base_url = 'http://h/{0}'",
            "k".repeat(4000)
        ),
    ];
    for lines in refused {
        let error = only(&format!("[providers.openrouter]\n{lines}\n")).unwrap_err();
        assert!(error.contains("expected at most"), "{error}");
        assert!(!error.contains("kkkk"), "{error}");
    }
    let long = format!("api_key = '{}'", "k".repeat(4096));
    assert!(only(&format!("[providers.openrouter]\n{long}\n")).is_ok());
}

#[test]
fn a_name_that_no_path_can_hold_is_refused() {
    for name in [".", "..", "", "a/b", "a b", "a%2e"] {
        let toml = format!("[providers.\"{name}\"]\ntype = 'openai'\napi_key = 'a'\n");
        assert!(only(&toml).is_err(), "{name}");
    }
    for name in ["...", "a.b", ".a", "A_1-b"] {
        let toml = format!("[providers.\"{name}\"]\ntype = 'openai'\napi_key = 'a'\n");
        assert_eq!(only(&toml).unwrap().name, name);
    }
}

#[test]
fn a_suffixed_name_tells_the_type() {
    let rows = [
        ("openai-east", Some(ProviderKind::OpenAi)),
        ("vllm-2", Some(ProviderKind::Vllm)),
        ("openrouter-a-b", Some(ProviderKind::OpenRouter)),
        ("openai-", None),
        ("openaix", None),
        ("east-openai", None),
        ("openai_east", None),
    ];
    for (name, kind) in rows {
        let found = only(&format!("[providers.{name}]\napi_key = 'a'\n")).ok();
        assert_eq!(found.map(|provider| provider.kind), kind, "{name}");
    }
}

#[test]
fn a_credential_that_is_asked_for_needs_a_key() {
    for credential in ["bearer", "x-api-key"] {
        let error = only(&format!("[providers.vllm]\ncredential = '{credential}'\n")).unwrap_err();
        let expected = "sluicegate.toml line 1: providers.vllm.api_key: expected api_key";
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn debugging_shows_no_configured_header() {
    let toml = format!(
        "[auth]\nmaster_key = '{MARKER}'\n[providers.openai]\napi_key = '{MARKER}'\n\
         headers.X-Proxy-Key = '{MARKER}'\n"
    );
    let config = load_from(&[], "", &toml).unwrap();
    let debugged = format!("{config:?} {config:#?}");
    assert!(!debugged.contains(MARKER), "{debugged}");
    assert!(debugged.contains("X-Proxy-Key"), "{debugged}");
}
