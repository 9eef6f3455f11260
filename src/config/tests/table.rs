//! The tables of settings: nothing of an entry can be forgotten, and every error names all there is to name.

use std::collections::BTreeSet;

use super::super::provider::table::SETTINGS;
use super::super::reference;
use super::super::setting::Setting;
use super::super::tables::TABLES;
use super::super::written::Form;
use super::*;

/// What is asked of a setting here.
struct Row {
    table: &'static str,
    key: &'static str,
    variables: Vec<String>,
    form: Form,
    default: &'static str,
    is_secret: bool,
}

fn row<D, C>(table: &'static str, setting: &Setting<D, C>) -> Row {
    let own = format!("OPENROUTER{}", setting.suffix);
    let own = (!setting.suffix.is_empty()).then_some(own);
    let names = setting.variables.iter().map(|name| (*name).to_owned());
    Row {
        table,
        key: setting.key,
        variables: names.chain(own).collect(),
        form: setting.slot.form,
        default: setting.default,
        is_secret: setting.is_secret,
    }
}

fn rows() -> Vec<Row> {
    let of_tables = TABLES.iter().flat_map(|table| {
        table
            .settings
            .iter()
            .map(|setting| row(table.name, setting))
    });
    let of_providers = SETTINGS
        .iter()
        .map(|setting| row(table_of(setting.only_for), setting));
    of_tables.chain(of_providers).collect()
}

fn table_of(only_for: Option<ProviderKind>) -> &'static str {
    match only_for {
        Some(ProviderKind::Azure) => AZURE,
        _ => "providers.openrouter",
    }
}

const AZURE: &str = "providers.azure";

/// A file with this line in the table, and whatever the setting needs beside it.
fn file(row: &Row, line: &str) -> String {
    let beside = match (row.table, row.key) {
        ("server.tls", "cert") => "key = 'secret'\n",
        ("server.tls", "key") => "cert = 'secret'\n",
        ("server.tls", _) => "cert = 'secret'\nkey = 'secret'\n",
        (_, "client_cert") => "client_key = 'secret'\n",
        (_, "client_key") => "client_cert = 'secret'\n",
        ("server", "proxy_protocol") => "trusted = ['10.0.0.0/8']\n",
        ("providers.openrouter", "proxy_ca_file") => "proxy = 'https://h'\n",
        (_, "master_key_disabled") => "keys_file = 'secret'\n",
        (AZURE, _) => "base_url = 'http://h'\n[passthrough]\nproviders = ['azure']\n",
        _ => "",
    };
    let key = match row.key {
        "api_key" | "api_key_file" | "api_keys" | "api_keys_file" => "type = 'vllm'\n",
        "queue" => "api_key = 'k'\nconcurrency = 3\n",
        "health" => "api_key = 'k'\nbase_urls = ['http://a', 'http://b']\n",
        "replay_bytes" => {
            "api_key = 'k'\nfailover_on = [503]\nbase_urls = ['http://a', 'http://b']\n"
        }
        "failover_on" => "api_key = 'k'\nbase_urls = ['http://a', 'http://b']\n",
        "balance" => "api_key = 'k'\nbase_urls = ['http://a', 'http://b']\n",
        "session_headers" => "api_keys = ['k', 'l']\n",
        _ => "api_key = 'k'\n",
    };
    match row.table.starts_with("providers.") {
        true => format!("[{}]\n{line}\n{key}{beside}", row.table),
        false => format!(
            "[{}]\n{line}\n{beside}[providers.openrouter]\napi_key = 'k'\n",
            row.table
        ),
    }
}

const NOTHING: &str = "[providers.openrouter]\napi_key = 'k'\n";

#[test]
fn the_example_in_contrib_is_made_of_the_tables() {
    let example = include_str!("../../../contrib/sluicegate.toml");
    let made = reference();
    for (number, (example, made)) in example.lines().zip(made.lines()).enumerate() {
        assert_eq!(example, made, "line {}", number + 1);
    }
    let same = example == made;
    assert!(
        same,
        "sluicegate check --reference > contrib/sluicegate.toml"
    );
}

#[test]
fn every_setting_stands_once() {
    let mut names = BTreeSet::new();
    for row in rows().iter().filter(|row| !row.key.is_empty()) {
        assert!(names.insert((row.table, row.key)), "{}", row.key);
    }
    assert!(names.len() > 60, "{}", names.len());
    let mut variables = BTreeSet::new();
    for name in rows().into_iter().flat_map(|row| row.variables) {
        assert!(variables.insert(name.clone()), "{name}");
    }
}

/// Values of every kind; each setting takes one that is not its default.
const VALUES: [&str; 31] = [
    "7",
    "true",
    "false",
    "'7s'",
    "'1ms'",
    "'http://h:1'",
    "'/x'",
    "'secret'",
    "'none'",
    "'client'",
    "'epoll'",
    "'debug'",
    "'text'",
    "'optional'",
    "['10.0.0.0/8']",
    "'openai'",
    "['openai']",
    "['openai', 'vllm']",
    "['http://a', 'http://b']",
    "'first'",
    "'all'",
    "{ length = 7, wait = '7s' }",
    "{ path = '/health' }",
    "[503]",
    "['127.0.0.1:9']",
    "['https://a.example']",
    "['GET /a']",
    "{ X-A = 'b' }",
    "'x'",
    "1",
    "0",
];

#[test]
fn every_setting_is_read_and_seen() {
    for row in rows().iter().filter(|row| !row.key.is_empty()) {
        let shown = |toml: &str| {
            load_from(&[], "", toml)
                .ok()
                .map(|config| in_force(&config))
        };
        // A pair's other half alone is refused.
        let before = shown(&file(row, "")).or_else(|| shown(NOTHING));
        let seen = VALUES.iter().any(|value| {
            let after = shown(&file(row, &format!("{} = {value}", row.key)));
            after.is_some() && after != before
        });
        assert!(seen, "{}.{}", row.table, row.key);
    }
}

#[test]
fn every_value_of_the_file_is_shown_with_its_line() {
    let named = rows();
    let without_line = named.iter().filter(|row| {
        let places_it = |value: &&str| {
            let toml = file(row, &format!("{} = {value}", row.key));
            let shown = load_from(&[], "", &toml)
                .ok()
                .map(|config| config.describe());
            let shown = shown.unwrap_or_default();
            // Those of other settings are in other lines.
            shown.lines().any(|line| {
                let place = line.split_once("   # sluicegate.toml line 2");
                place.is_some_and(|(_, more)| more.is_empty() || more.starts_with(": "))
            })
        };
        !row.key.is_empty() && !VALUES.iter().any(places_it)
    });
    let without_line: Vec<&str> = without_line.map(|row| row.key).collect();
    assert_eq!(without_line, [""; 0]);
}

#[test]
fn every_default_is_in_force_where_nobody_says_anything() {
    let shown = |toml: &str| in_force(&load_from(&[], "", toml).unwrap());
    for row in rows().iter().filter(|row| !row.default.is_empty()) {
        let line = format!("{} = {}", row.key, row.default);
        assert_eq!(shown(&file(row, &line)), shown(&file(row, "")), "{line}");
    }
}

#[test]
fn what_cannot_be_used_is_named_with_line_value_and_expectation() {
    let mut refused = 0;
    for row in rows().iter().filter(|row| !row.key.is_empty()) {
        let (value, found) = match row.form {
            Form::Scalar | Form::Text => ("'so on'", "; found \"so on\""),
            Form::List | Form::Scalars => ("['so on']", ""),
            Form::Map | Form::Pairs => ("{ 'so on' = 'x' }", ""),
        };
        let toml = file(row, &format!("{} = {value}", row.key));
        let Err(error) = load_from(&[], "", &toml) else {
            continue;
        };
        refused += 1;
        let said = error.to_string();
        let place = format!("sluicegate.toml line 2: {}.{}", row.table, row.key);
        assert!(said.starts_with(&place), "{said}");
        // What is wrong with a file is said by the system.
        let of_file = said.contains(": so on: ");
        assert!(said.contains("expected") || of_file, "{said}");
        if !row.is_secret && !of_file {
            assert!(said.contains(found), "{said}");
        }
        assert!(!row.is_secret || !said.contains("; found"), "{said}");
    }
    assert!(refused > 45, "{refused}");
}

#[test]
fn what_cannot_be_used_of_a_variable_is_named_with_value_and_expectation() {
    let mut refused = 0;
    for row in rows().iter().filter(|row| !row.is_secret) {
        // One half of a pair is refused for the other.
        let variables = row.variables.iter().filter(|name| !name.contains("_TLS_"));
        for variable in variables {
            let env = [("OPENROUTER_API_KEY", "k"), (variable, "so\u{1}on")];
            let shown = [("OPENROUTER_API_KEY", "k"), (variable, "so on")];
            for (env, is_shown) in [(env, false), (shown, true)] {
                let Err(error) = load_from(&env, "", "") else {
                    continue;
                };
                refused += 1;
                let said = error.to_string();
                let begins = format!("environment: {variable}: ");
                assert!(said.starts_with(&begins), "{said}");
                assert!(said.contains("expected"), "{said}");
                let found = said.contains("; found ") && said.contains("so on");
                // What is wrong with a file is said by the system.
                let of_file = said.contains(": cannot read it: ");
                assert!(found == is_shown || of_file, "{said}");
            }
        }
    }
    assert!(refused > 25, "{refused}");
}

#[test]
fn what_a_variable_has_put_into_the_file_is_not_repeated() {
    for line in [
        "level = 'hunter2'",
        "level = '${A}'",
        "level = '${B:-hunter2}'",
    ] {
        let error = load_from(&[("A", "hunter2")], "", &format!("[log]\n{line}\n"));
        let said = error.unwrap_err().to_string();
        assert_eq!(said.contains("hunter2"), !line.contains('$'), "{said}");
    }
}
