//! The TOML file as it is written: every key optional, unknown ones refused. Secrets are still plain text here,
//! so none of these types can be printed.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::ConfigError;
use super::syntax::syntax;

/// A whole file.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub server: ServerTable,
    pub auth: AuthTable,
    pub passthrough: PassthroughTable,
    pub limits: LimitsTable,
    pub timeouts: TimeoutsTable,
    pub metrics: MetricsTable,
    pub log: LogTable,
    pub tcp: TcpTable,
    pub upstream: UpstreamTable,
    pub providers: BTreeMap<String, ProviderTable>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServerTable {
    pub listen: Option<Vec<String>>,
    pub base_path: Option<String>,
    pub workers: Option<Scalar>,
    pub driver: Option<String>,
    pub spin: Option<Scalar>,
    pub landlock: Option<Scalar>,
    pub dumpable: Option<Scalar>,
    pub server_timing: Option<Scalar>,
    pub cors_origins: Option<Vec<String>>,
    pub tls: Option<TlsTable>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsTable {
    pub cert: Option<String>,
    pub key: Option<String>,
    pub client_ca: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuthTable {
    pub master_key: Option<String>,
    pub master_key_file: Option<String>,
    pub keys_file: Option<String>,
    pub open: Option<Scalar>,
    pub wrong_key_delay: Option<Scalar>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PassthroughTable {
    pub enabled: Option<Scalar>,
    pub v1_alias: Option<Scalar>,
    pub providers: Option<Vec<String>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsTable {
    pub body: Option<Scalar>,
    pub connections: Option<Scalar>,
    pub connections_per_address: Option<Scalar>,
    pub handshakes_per_address: Option<Scalar>,
    pub in_flight: Option<Scalar>,
    pub upstream_connections: Option<Scalar>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TimeoutsTable {
    pub request: Option<Scalar>,
    pub response_header: Option<Scalar>,
    pub connect: Option<Scalar>,
    pub request_header: Option<Scalar>,
    pub idle_client: Option<Scalar>,
    pub body_idle: Option<Scalar>,
    pub tunnel_idle: Option<Scalar>,
    pub drain_delay: Option<Scalar>,
    pub drain: Option<Scalar>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct MetricsTable {
    pub enabled: Option<Scalar>,
    pub endpoint: Option<String>,
    pub listen: Option<Vec<String>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LogTable {
    pub format: Option<String>,
    pub level: Option<String>,
    pub access: Option<Scalar>,
    pub file: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TcpTable {
    pub keepalive: Option<Scalar>,
    pub keepalive_interval: Option<Scalar>,
    pub keepalive_probes: Option<Scalar>,
    pub user_timeout: Option<Scalar>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UpstreamTable {
    pub address_age: Option<Scalar>,
    pub ca_file: Option<String>,
    pub client_cert: Option<String>,
    pub client_key: Option<String>,
    pub proxy: Option<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ProviderTable {
    pub r#type: Option<String>,
    pub api_key: Option<String>,
    pub api_key_file: Option<String>,
    pub base_url: Option<String>,
    pub ca_file: Option<String>,
    pub client_cert: Option<String>,
    pub client_key: Option<String>,
    pub credential: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub idle_upstream: Option<Scalar>,
    pub proxy: Option<String>,
    pub warm: Option<Scalar>,
    pub allow: Option<Vec<String>>,
    pub deny: Option<Vec<String>>,
    pub site_url: Option<String>,
    pub app_name: Option<String>,
}

/// A number, a switch or a string; which of them is right is decided where it is used.
#[derive(Clone)]
pub(super) struct Scalar(pub String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a boolean or a string")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }

            /// None is wanted anywhere, so it keeps its point and is refused where its key is known.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(format!("{value:?}")))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

/// Parses a file after expanding `${VAR}` and `${VAR:-default}` in its strings.
pub(super) fn parse<'e>(
    content: &str,
    path: &str,
    variable: impl Fn(&str, &str) -> Option<&'e str>,
) -> Result<File, ConfigError> {
    let mut table: toml::Table = content
        .parse()
        .map_err(|error| syntax(path, content, &error))?;
    // Read once without expansion: so a mistyped key is reported with its line.
    if let Err(error) = toml::from_str::<File>(content) {
        return Err(syntax(path, content, &error));
    }
    for (key, value) in &mut table {
        expand(value, key, path, &variable)?;
    }
    table
        .try_into()
        .map_err(|error: toml::de::Error| syntax(path, "", &error))
}

fn expand<'e>(
    value: &mut toml::Value,
    key: &str,
    path: &str,
    variable: &impl Fn(&str, &str) -> Option<&'e str>,
) -> Result<(), ConfigError> {
    match value {
        // Whatever is said of it could repeat the lines that lost quotes have made a part of it.
        toml::Value::String(text) if text.contains('\n') => {
            let message = "expected a string of one line; quotes may be missing";
            Err(ConfigError::new(path, key, message))
        }
        toml::Value::String(text) if text.contains("${") => {
            *text = expanded(text, &|name| variable(key, name))
                .map_err(|message| ConfigError::new(path, key, message))?;
            Ok(())
        }
        toml::Value::Array(items) => items
            .iter_mut()
            .try_for_each(|item| expand(item, key, path, variable)),
        toml::Value::Table(table) => table
            .iter_mut()
            .try_for_each(|(inner, item)| expand(item, &format!("{key}.{inner}"), path, variable)),
        _ => Ok(()),
    }
}

fn expanded<'e>(text: &str, variable: &impl Fn(&str) -> Option<&'e str>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("${") {
        let Some((inner, after)) = behind.split_once('}') else {
            return Err("expected a } behind ${".into());
        };
        let (name, default) = match inner.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inner, None),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err("expected the name of a variable between ${ and }".into());
        }
        let Some(value) = variable(name).or(default) else {
            return Err(format!(
                "expected the variable {name} to be set, or a default: ${{{name}:-…}}"
            ));
        };
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}
