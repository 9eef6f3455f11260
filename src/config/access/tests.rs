//! Keys that are set and empty, where a gateway without any listens, and what is warned of.

use std::time::Duration;

use super::super::property::{Env, load_from};
use super::super::*;

/// What is warned of, a line each.
fn warnings(env: Env<'_>, dotenv: &str, toml: &str) -> Vec<String> {
    let config = load_from(env, dotenv, toml).unwrap();
    config.warnings.iter().map(ConfigError::to_string).collect()
}

#[test]
fn a_key_that_is_set_and_empty_is_refused_by_name() {
    for name in [
        "GOMODEL_MASTER_KEY",
        "SLUICEGATE_MASTER_KEY",
        "GOMODEL_MASTER_KEY_FILE",
        "SLUICEGATE_MASTER_KEY_FILE",
        "SLUICEGATE_KEYS_FILE",
        "OPENAI_API_KEY",
        "OPENAI_API_KEY_FILE",
        "VLLM_API_KEY",
        "ANTHROPIC_EAST_API_KEY",
    ] {
        let refused = |env: Env<'_>, dotenv: &str, place: &str| {
            let error = load_from(env, dotenv, "").err();
            let error = error.map(|error| error.to_string()).unwrap_or_default();
            let named = error.starts_with(&format!("{place}: {name}: "));
            assert!(
                named && error.contains("empty"),
                "{env:?} {dotenv}: {error}"
            );
        };
        for blank in ["", " ", "\t\n"] {
            refused(&[(name, blank)], "", "environment");
            // Whatever it stands for is not what `.env` says.
            refused(&[(name, blank)], &format!("{name}=a\n"), "environment");
        }
        for line in ["=", "=\"\"", "=' '", "= # not yet", "=${UNSET}"] {
            refused(&[], &format!("{name}{line}\n"), ".env line 1");
        }
    }
    let another = [("GOMODEL_MASTER_KEY", "a"), ("SLUICEGATE_MASTER_KEY", "")];
    let error = load_from(&another, "", "").unwrap_err().to_string();
    assert!(error.contains("SLUICEGATE_MASTER_KEY"), "{error}");
    for toml in [
        "[auth]\nmaster_key = ''\n",
        "[auth]\nmaster_key = ' '\n",
        "[auth]\nmaster_key = '${UNSET:-}'\n",
    ] {
        let error = load_from(&[], "", toml).unwrap_err().to_string();
        assert!(error.contains("auth.master_key"), "{error}");
    }
}

#[test]
fn an_empty_variable_that_nobody_looks_at_is_none() {
    let key = "k".repeat(16);
    let env = [("OPENAI_API_KEY", &*key), ("GOMODEL_MASTER_KEY", &*key)];
    // The environment wins.
    let config = load_from(&env, "OPENAI_API_KEY=\nGOMODEL_MASTER_KEY=\n", "").unwrap();
    assert!(config.auth.master_key.is_some() && config.providers.len() == 1);
    let others = "OPENAI_BASE_URL=\nSOMEBODYS_API_KEY=\nPORT=\nVLLM_BASE_URL=\n";
    let config = load_from(&env, others, "").unwrap();
    assert_eq!(config.providers.len(), 1);
    // The last line counts.
    assert!(load_from(&[], "ZAI_API_KEY=\nZAI_API_KEY=k\n", "").is_ok());
    assert!(load_from(&[], "ZAI_API_KEY=k\nZAI_API_KEY=\n", "").is_err());
}

#[test]
fn without_keys_it_listens_where_it_is_told_or_on_loopback() {
    const LOOPBACK: &str = "127.0.0.1:8080 [::1]:8080";
    const ALL: &str = "0.0.0.0:8080 [::]:8080";
    let key = ("GOMODEL_MASTER_KEY", "0123456789abcdef");
    let rows: &[(Env<'_>, &str, &str)] = &[
        (&[], "", LOOPBACK),
        (&[key], "", ALL),
        (&[("SLUICEGATE_KEYS_FILE", "keys.toml")], "", ALL),
        (&[], "[auth]\nkeys_file = 'keys.toml'\n", ALL),
        (&[], "[server]\ntls = { cert = 'c', key = 'k' }\n", LOOPBACK),
        // Certificates keep people out too.
        (
            &[],
            "[server]\ntls = { cert = 'c', key = 'k', client_ca = 'a' }\n",
            ALL,
        ),
        (&[], "[auth]\nopen = true\n", ALL),
        (&[], "[auth]\nopen = false\n", LOOPBACK),
        (&[("PORT", "9")], "", "127.0.0.1:9 [::1]:9"),
        (&[("PORT", "9"), key], "", "0.0.0.0:9 [::]:9"),
        (
            &[("PORT", "9")],
            "[auth]\nopen = true\n",
            "0.0.0.0:9 [::]:9",
        ),
        (&[], "[server]\nlisten = ['0.0.0.0:7']\n", "0.0.0.0:7"),
        (&[("SLUICEGATE_LISTEN", "0.0.0.0:7")], "", "0.0.0.0:7"),
        (
            &[("PORT", "9")],
            "[server]\nlisten = ['0.0.0.0:7']\n",
            "0.0.0.0:9 [::]:9",
        ),
        // The port alone says nothing of addresses.
        (
            &[("PORT", "9")],
            "[server]\nlisten = ['127.0.0.1:7']\n",
            "127.0.0.1:9 [::1]:9",
        ),
        (
            &[("PORT", "9"), key],
            "[server]\nlisten = ['127.0.0.1:7']\n",
            "0.0.0.0:9 [::]:9",
        ),
    ];
    for (env, toml, expected) in rows {
        let config = load_from(env, "", toml).unwrap();
        let listen: Vec<_> = config.server.listen.iter().map(Listen::to_string).collect();
        assert_eq!(listen.join(" "), *expected, "{env:?} {toml}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_hardly_meant_so_is_warned_of() {
    let key = ("GOMODEL_MASTER_KEY", "0123456789abcdef");
    let listen = ("SLUICEGATE_LISTEN", "0.0.0.0:7");
    let rows: &[(Env<'_>, &str, &[&str])] = &[
        (&[key], "", &[]),
        (&[], "[auth]\nopen = true\n", &[]),
        (&[("SLUICEGATE_KEYS_FILE", "keys.toml")], "", &[]),
        (
            &[],
            "[server]\ntls = { cert = 'c', key = 'k', client_ca = 'a' }\n",
            &[],
        ),
        (
            &[],
            "",
            &[
                "no gateway key",
                "loopback",
                "SLUICEGATE_LISTEN",
                "server.listen",
                "auth.open",
            ],
        ),
        (&[listen], "", &["no gateway key", "auth.open"]),
        (&[key], "[auth]\nopen = true\n", &["auth.open", "asked for"]),
        (
            &[("SLUICEGATE_KEYS_FILE", "k")],
            "[auth]\nopen = true\n",
            &["auth.open", "asked for"],
        ),
        (
            &[("GOMODEL_MASTER_KEY", "0123456789abcde")],
            "",
            &["GOMODEL_MASTER_KEY", "16 bytes"],
        ),
        (
            &[("SLUICEGATE_MASTER_KEY", "a")],
            "",
            &["SLUICEGATE_MASTER_KEY", "16 bytes"],
        ),
        (
            &[("SLUICEGATE_MASTER_KEY_FILE", "secret")],
            "",
            &["SLUICEGATE_MASTER_KEY_FILE", "16 bytes"],
        ),
        (
            &[],
            "[auth]\nmaster_key = 'short'\n",
            &["sluicegate.toml", "auth.master_key", "16 bytes"],
        ),
        (
            &[],
            "[auth]\nmaster_key_file = 'secret'\n",
            &["auth.master_key_file", "16 bytes"],
        ),
    ];
    for (env, toml, parts) in rows {
        let found = warnings(env, "", toml);
        assert_eq!(
            found.len(),
            usize::from(!parts.is_empty()),
            "{env:?} {toml}: {found:?}"
        );
        let text = found.concat();
        for part in *parts {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(
            !text.contains("0123456789") && !text.contains(property::MARKER),
            "{text}"
        );
    }
    let on_all = warnings(&[listen], "", "").concat();
    assert!(!on_all.contains("loopback"), "{on_all}");
}

#[test]
fn wrong_keys_are_delayed_where_that_is_set_and_by_no_more_than_a_minute() {
    let delay = |toml: &str| load_from(&[], "", toml).map(|config| config.auth.wrong_key_delay);
    assert_eq!(delay("").unwrap(), Duration::ZERO);
    let seconds = delay("[auth]\nwrong_key_delay = \"5s\"\n").unwrap();
    assert_eq!(seconds, Duration::from_secs(5));
    for bad in ["61", "\"2m\"", "-1", "\"soon\""] {
        let error = delay(&format!("[auth]\nwrong_key_delay = {bad}\n")).err();
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("auth.wrong_key_delay"), "{bad}: {error}");
    }
}
