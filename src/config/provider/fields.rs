//! Fields that a provider's settings add to the heads that it is sent.

use std::collections::BTreeMap;

use super::instance::{ApiKeys, Credential, ListEntry, Provider};
use crate::config::kind::{KeyField, ProviderKind};
use crate::config::secret::Secret;
use crate::config::value::{self, HEADER_BYTES_MAX};
use crate::http::head::{NameSet, name};

/// Most bytes that a provider's settings may make a head longer by: they have to fit the room in front of it.
pub(crate) const HEAD_ADDED_BYTES_MAX: usize = 12 * 1024;

/// Those that are sent unless the client does. A configured header replaces the client's, so there is nothing left to
/// default.
pub(super) fn defaults(
    kind: ProviderKind,
    site_url: Option<String>,
    app_name: Option<String>,
    headers: &[(String, String)],
) -> Vec<(String, String)> {
    let version = (kind == ProviderKind::Anthropic).then(|| "2023-06-01".to_owned());
    let defaults = [
        ("anthropic-version", version),
        ("HTTP-Referer", site_url),
        ("X-OpenRouter-Title", app_name),
    ];
    let defaults =
        { defaults.into_iter() }.filter_map(|(name, value)| Some((name.to_owned(), value?)));
    defaults
        .filter(|(name, _)| !is_among(name, headers))
        .collect()
}

/// Those that are always sent; or which of them cannot be, with what was expected.
pub(super) fn headers(
    written: &BTreeMap<String, String>,
    credential: &Credential,
) -> Result<Vec<(String, String)>, (String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    let mut bytes = 0;
    for (name, value) in written {
        let checked = header(name, value, credential, &headers);
        checked.map_err(|expected| (format!("headers.{name}"), expected.to_owned()))?;
        bytes += line_bytes(name, value);
        headers.push((name.clone(), value.clone()));
    }
    if bytes > HEADER_BYTES_MAX {
        let message = format!("expected at most {HEADER_BYTES_MAX} bytes in all");
        return Err(("headers".to_owned(), message));
    }
    Ok(headers)
}

/// Those of one instance; or which of them cannot be: what a provider's requests have unless something else is
/// configured is said once, for all instances.
pub(super) fn of_instance(
    headers: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, (String, String)> {
    let shared = [
        ENTRY.field,
        "anthropic-version",
        "http-referer",
        "x-openrouter-title",
    ];
    let is_shared = |name: &str| {
        shared
            .iter()
            .any(|shared| shared.eq_ignore_ascii_case(name))
    };
    match headers.iter().find(|(name, _)| is_shared(name)) {
        Some((name, _)) => {
            let expected =
                "expected it in the provider's headers, since it is the same for all instances";
            Err((format!("headers.{name}"), expected.to_owned()))
        }
        None => Ok(headers),
    }
}

fn header(
    name: &str,
    value: &str,
    credential: &Credential,
    before: &[(String, String)],
) -> Result<(), &'static str> {
    if !is_token(name) || !may_configure(name.as_bytes()) {
        return Err("expected an end-to-end header name");
    }
    if credential_field(credential).is_some_and(|field| field.eq_ignore_ascii_case(name)) {
        return Err("expected another header, since the credential is sent in this one");
    }
    if is_among(name, before) {
        return Err("expected each header once; their case does not matter");
    }
    value::field(value)
}

fn is_among(name: &str, headers: &[(String, String)]) -> bool {
    headers
        .iter()
        .any(|(set, _)| set.eq_ignore_ascii_case(name))
}

/// Whether this can be the name of a field.
pub(in crate::config) fn is_token(name: &str) -> bool {
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(tchar)
}

/// The field that the gateway writes the credential into.
fn credential_field(credential: &Credential) -> Option<&'static str> {
    match credential {
        Credential::Key(field, _) => Some(field.name()),
        Credential::None | Credential::Client => None,
    }
}

/// What a token of a subscription begins with (`claude setup-token`).
const SUBSCRIPTION_TOKEN: &[u8] = b"sk-ant-oat";

/// The field that a provider's key is sent in where nobody says otherwise. Anthropic takes a token of a subscription
/// for a bearer token only.
pub(super) fn usual_field(kind: ProviderKind, keys: Option<&ApiKeys>) -> KeyField {
    match keys {
        Some(keys) if kind == ProviderKind::Anthropic && is_of_subscription(&keys.first) => {
            KeyField::Authorization
        }
        _ => kind.key_field(),
    }
}

fn is_of_subscription(key: &Secret) -> bool {
    key.expose().starts_with(SUBSCRIPTION_TOKEN)
}

/// Whether some of them are sent in one way and some in another, as only one can be.
pub(super) fn are_mixed(kind: ProviderKind, keys: &ApiKeys) -> bool {
    let first = is_of_subscription(&keys.first);
    kind == ProviderKind::Anthropic && keys.iter().any(|key| is_of_subscription(key) != first)
}

const ENTRY: ListEntry = ListEntry {
    field: "anthropic-beta",
    value: "oauth-2025-04-20",
};

/// The entry that a list of the client's needs. One that is configured, and so takes its place, gets it here.
pub(super) fn entry(
    kind: ProviderKind,
    credential: &Credential,
    headers: &mut [(String, String)],
) -> Option<ListEntry> {
    let entry = ENTRY;
    let is_needed = match credential {
        Credential::Key(KeyField::Authorization, keys) => {
            kind == ProviderKind::Anthropic && is_of_subscription(&keys.first)
        }
        _ => false,
    };
    let named = |(name, _): &&mut (String, String)| name.eq_ignore_ascii_case(entry.field);
    match headers.iter_mut().find(named) {
        _ if !is_needed => None,
        None => Some(entry),
        Some((_, list)) => {
            if !value::list(list).any(|listed| listed == entry.value) {
                list.push(',');
                list.push_str(entry.value);
            }
            None
        }
    }
}

/// Most bytes that a provider's settings can make a head longer by.
pub(super) fn head_bytes_added(provider: &Provider) -> usize {
    let instances = provider.instances();
    let host = instances.map(|instance| {
        let own = instance.headers.iter();
        let own: usize = own.map(|(name, value)| line_bytes(name, value)).sum();
        line_bytes("host", &instance.base.authority) + own
    });
    let host = host.max().unwrap_or_default();
    let credential = match &provider.credential {
        Credential::Key(field, keys) => line_bytes(field.name(), field.scheme()) + keys.longest(),
        Credential::None | Credential::Client => 0,
    };
    let lines = provider.defaults.iter().chain(&provider.headers);
    let lines: usize = lines.map(|(name, value)| line_bytes(name, value)).sum();
    let entry = { provider.entry }.map_or(0, |entry| line_bytes(entry.field, entry.value));
    let version = provider.api_version.as_ref();
    let version = version.map_or(0, |version| "?api-version=".len() + version.len());
    provider.first.base.path.len() + host + credential + lines + entry + version
}

/// Bytes of `name: value` and its line end.
fn line_bytes(name: &str, value: &str) -> usize {
    name.len() + value.len() + 4
}

/// Whether a configured extra field may have this name: not one that the gateway decides on itself.
fn may_configure(field_name: &[u8]) -> bool {
    NameSet::CONFIGURABLE.has(name(field_name))
}
