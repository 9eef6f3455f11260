//! Fields that a provider's settings add to the heads that it is sent.

use super::Instance;
use super::instance::{Credential, Provider};
use super::table::Draft;
use crate::config::error::ConfigError;
use crate::config::kind::ProviderKind;
use crate::config::value::HEADER_BYTES_MAX;
use crate::http::head::{Name, name};

/// Most bytes that a provider's settings may make a head longer by: they have to fit the room in front of it.
pub(crate) const HEAD_ADDED_BYTES_MAX: usize = 12 * 1024;

impl Instance<'_> {
    /// Those that are sent unless the client does. A configured header replaces the client's, so there is nothing left
    /// to default.
    pub(super) fn defaults(
        draft: &mut Draft,
        kind: ProviderKind,
        headers: &[(String, String)],
    ) -> Vec<(String, String)> {
        let version = (kind == ProviderKind::Anthropic).then(|| "2023-06-01".to_owned());
        let (site_url, app_name) = (draft.site_url.take(), draft.app_name.take());
        let defaults = [
            ("anthropic-version", version),
            ("HTTP-Referer", site_url),
            ("X-OpenRouter-Title", app_name),
        ];
        let is_free = |name: &str| {
            !headers
                .iter()
                .any(|(set, _)| set.eq_ignore_ascii_case(name))
        };
        let defaults = defaults
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        defaults.filter(|(name, _)| is_free(name)).collect()
    }

    /// Those that are always sent.
    pub(super) fn headers(
        &self,
        draft: &Draft,
        credential: &Credential,
    ) -> Result<Vec<(String, String)>, ConfigError> {
        let mut headers: Vec<(String, String)> = Vec::new();
        let mut bytes = 0;
        for (name, value) in &draft.headers {
            let refuse = |expected: &str| Err(self.error(&format!("headers.{name}"), expected));
            if !is_token(name) || !may_configure(name.as_bytes()) {
                return refuse("expected an end-to-end header name");
            }
            if credential_field(credential).is_some_and(|field| field.eq_ignore_ascii_case(name)) {
                return refuse("expected another header, since the credential is sent in this one");
            }
            if headers
                .iter()
                .any(|(set, _)| set.eq_ignore_ascii_case(name))
            {
                return refuse("expected each header once; their case does not matter");
            }
            if let Err(expected) = field_value(value) {
                return refuse(expected);
            }
            bytes += line_bytes(name, value);
            headers.push((name.clone(), value.clone()));
        }
        if bytes > HEADER_BYTES_MAX {
            return Err(self.error(
                "headers",
                format!("expected at most {HEADER_BYTES_MAX} bytes in all"),
            ));
        }
        Ok(headers)
    }
}

fn is_token(name: &str) -> bool {
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(tchar)
}

/// The field that the gateway writes the credential into.
fn credential_field(credential: &Credential) -> Option<&'static str> {
    match credential {
        Credential::Bearer(_) => Some("authorization"),
        Credential::XApiKey(_) => Some("x-api-key"),
        Credential::None | Credential::Client => None,
    }
}

/// Most bytes that a provider's settings can make a head longer by.
pub(super) fn head_bytes_added(provider: &Provider) -> usize {
    let host = line_bytes("host", &provider.base.authority);
    let credential = match &provider.credential {
        Credential::Bearer(key) | Credential::XApiKey(key) => {
            line_bytes("authorization", "bearer ") + key.expose().len()
        }
        Credential::None | Credential::Client => 0,
    };
    let lines = provider.defaults.iter().chain(&provider.headers);
    let lines: usize = lines.map(|(name, value)| line_bytes(name, value)).sum();
    provider.base.path.len() + host + credential + lines
}

/// Bytes of `name: value` and its line end.
fn line_bytes(name: &str, value: &str) -> usize {
    name.len() + value.len() + 4
}

pub(super) fn field_value(value: &str) -> Result<(), &'static str> {
    let plain = value
        .bytes()
        .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    if plain && value.trim() == value && value.len() <= HEADER_BYTES_MAX {
        Ok(())
    } else {
        Err("expected a header value without control characters or blanks around it")
    }
}

/// Whether a configured extra field may have this name: not one that the gateway decides on itself.
fn may_configure(field_name: &[u8]) -> bool {
    matches!(
        name(field_name),
        Name::Other
            | Name::Date
            | Name::Authorization
            | Name::XApiKey
            | Name::ApiKey
            | Name::XGoogApiKey
            | Name::Override
            | Name::Disguised
    )
}
