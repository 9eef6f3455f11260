//! Providers: from the environment's variables and the file's tables to instances.

mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::base::number;
use crate::config::kind::ProviderKind;
use crate::config::rules::Rules;
use crate::http::head::{Name, name};

use super::egress::{self, Egress, ProxyChoice};
use super::file::ProviderTable;
use super::source::{Env, Sources};
use super::url::base;
use super::{
    BaseUrl, ClientIdentity, ConfigError, Credential, Host, Provider, Proxy, Secret, Trust, value,
};

/// What a file says of providers.
pub(super) struct Tables<'a> {
    /// Its name for messages.
    pub(super) from: &'a str,
    /// It was found in the working directory, and nobody has named it.
    pub(super) is_stray: bool,
    pub(super) providers: BTreeMap<String, ProviderTable>,
    /// What holds for all of them.
    pub(super) egress: Egress,
}

/// Every instance that environment and file define and whose type is enabled, by name.
pub(super) fn resolve(
    sources: &Sources<'_>,
    env: &Env<'_>,
    mut tables: Tables<'_>,
    enabled: &[ProviderKind],
) -> Result<Vec<Provider>, ConfigError> {
    let named: BTreeMap<String, String> = instances(env);
    let names: BTreeSet<String> = tables
        .providers
        .keys()
        .chain(named.keys())
        .cloned()
        .collect();
    let mut providers = Vec::new();
    for name in names {
        let table = tables.providers.remove(&name);
        let instance = Instance {
            sources,
            env,
            path: tables.from,
            is_stray: tables.is_stray,
            egress: &tables.egress,
            prefix: named.get(&name),
            in_file: table.is_some(),
            name,
        };
        if let Some(provider) = instance.resolve(table)?
            && enabled.contains(&provider.kind)
        {
            providers.push(provider);
        }
    }
    Ok(providers)
}

/// `OPENAI_EAST_API_KEY` → `openai-east` with the prefix `OPENAI_EAST`.
fn instances(env: &Env<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for key in env.keys() {
        let Some(prefix) = VARIABLES.iter().find_map(|suffix| key.strip_suffix(suffix)) else {
            continue;
        };
        if kind_of_prefix(prefix).is_some() {
            found.insert(
                prefix.to_ascii_lowercase().replace('_', "-"),
                prefix.to_owned(),
            );
        }
    }
    found
}

/// What the variables of an instance end in.
const VARIABLES: [&str; 3] = ["_API_KEY_FILE", "_API_KEY", "_BASE_URL"];

/// The type that a variable's prefix begins with: all of it, or up to an underscore.
fn kind_of_prefix(prefix: &str) -> Option<ProviderKind> {
    ProviderKind::ALL
        .into_iter()
        .find(|kind| is_instance(prefix, &kind.as_str().to_ascii_uppercase(), '_'))
}

/// The type that an instance's name begins with: all of it, or up to a hyphen.
fn kind_of_name(name: &str) -> Option<ProviderKind> {
    ProviderKind::ALL
        .into_iter()
        .find(|kind| is_instance(name, kind.as_str(), '-'))
}

fn is_instance(text: &str, kind: &str, separator: char) -> bool {
    let Some(rest) = text.strip_prefix(kind) else {
        return false;
    };
    rest.is_empty()
        || rest
            .strip_prefix(separator)
            .is_some_and(|suffix| !suffix.is_empty())
}

/// Most connections made ahead per provider and worker.
const WARM_MAX: usize = 64;

struct Instance<'a> {
    sources: &'a Sources<'a>,
    env: &'a Env<'a>,
    path: &'a str,
    /// As of [`Tables`].
    is_stray: bool,
    egress: &'a Egress,
    /// Of its environment variables, if it has any.
    prefix: Option<&'a String>,
    /// The file has a table for it.
    in_file: bool,
    name: String,
}

impl Instance<'_> {
    fn resolve(self, table: Option<ProviderTable>) -> Result<Option<Provider>, ConfigError> {
        let in_file = self.in_file;
        let table = table.unwrap_or_default();
        if !is_segment(&self.name) {
            return Err(self.error(
                "",
                "expected a provider name of letters, digits, -, _ and ., not . or ..",
            ));
        }
        let kind = self.kind(&table)?;
        let key = self.api_key(&table)?;
        let base_url = self.base_url(&table)?;
        let credential = self.credential(&table, kind, key)?;
        // A key makes a provider exist; where none is needed, a base URL does.
        let keyless = kind == ProviderKind::Vllm
            || matches!(table.credential.as_deref(), Some("none" | "client"));
        match credential {
            Credential::None if !keyless && in_file => {
                return Err(self.error("api_key", KEY_EXPECTED));
            }
            Credential::None if !keyless => return Ok(None),
            Credential::None if base_url.is_none() && !in_file => return Ok(None),
            _ => {}
        }
        let base = match base_url {
            Some(base) => base,
            None => {
                base(default_base(kind)).map_err(|expected| self.error("base_url", expected))?
            }
        };
        let headers = self.headers(&table, &credential)?;
        let mut defaults = self.defaults(&table, kind)?;
        // A configured header replaces the client's, so there is nothing left to default.
        defaults.retain(|(name, _)| {
            !headers
                .iter()
                .any(|(set, _)| set.eq_ignore_ascii_case(name))
        });
        let idle_upstream = self.idle_upstream(&table, kind)?;
        let warm = self.warm(&table, base.tls)?;
        let (allow, deny) = self.policy(&table, kind)?;
        let proxy = self.proxy(&table, &base)?;
        let identity = self.identity(&table, &base)?;
        let trust = self.trust(&table, &base)?;
        let provider = Provider {
            name: self.name.clone(),
            kind,
            base,
            proxy,
            identity,
            trust,
            credential,
            defaults,
            headers,
            idle_upstream,
            warm,
            allow,
            deny,
        };
        if head_bytes_added(&provider) > HEAD_ADDED_BYTES_MAX {
            let message = format!(
                "expected at most {HEAD_ADDED_BYTES_MAX} bytes of base_url, api_key and headers in all"
            );
            return Err(self.error("", message));
        }
        self.doubt_place(&table, &provider);
        Ok(Some(provider))
    }

    fn error(&self, key: &str, message: impl ToString) -> ConfigError {
        if let Some((variable, from)) = self.origin() {
            return ConfigError::new(&from, &variable, message);
        }
        let dot = if key.is_empty() { "" } else { "." };
        ConfigError::new(
            self.path,
            &format!("providers.{}{dot}{key}", self.name),
            message,
        )
    }

    /// The variable that it exists for, and where that was set; `None` if it is for a table.
    fn origin(&self) -> Option<(String, String)> {
        let prefix = self.prefix.filter(|_| !self.in_file)?;
        let names = VARIABLES.map(|suffix| format!("{prefix}{suffix}"));
        names.into_iter().find_map(|name| {
            let (_, from) = self.env.located(&name)?;
            Some((name, from))
        })
    }

    fn base_url(&self, table: &ProviderTable) -> Result<Option<BaseUrl>, ConfigError> {
        if let Some(prefix) = self.prefix
            && let Some(base) = self.env.parsed(&format!("{prefix}_BASE_URL"), base)?
        {
            return Ok(Some(base));
        }
        let written = table.base_url.as_deref().map(base).transpose();
        written.map_err(|expected| self.error("base_url", expected))
    }

    /// The table's own, else what holds for all.
    fn proxy(&self, table: &ProviderTable, base: &BaseUrl) -> Result<Option<Proxy>, ConfigError> {
        let own = ProxyChoice::parse(table.proxy.as_deref().unwrap_or_default());
        match own.map_err(|expected| self.error("proxy", expected))? {
            ProxyChoice::Environment => self.egress.proxy.decide(self.env, base),
            ProxyChoice::Through(_) if matches!(base.host, Host::Unix(_)) => {
                Err(self.error("proxy", "expected no proxy on the way to a Unix socket"))
            }
            own => own.decide(self.env, base),
        }
    }

    /// As for the proxy. Without TLS nobody asks for it.
    fn identity(
        &self,
        table: &ProviderTable,
        base: &BaseUrl,
    ) -> Result<Option<Arc<ClientIdentity>>, ConfigError> {
        let (cert, key) = (table.client_cert.as_deref(), table.client_key.as_deref());
        let own = egress::identity(self.sources.read_pem, cert, key)
            .map_err(|(key, message)| self.error(key, message))?;
        match own {
            Some(_) if !base.tls => {
                let message = "expected an https:// base_url, since the certificate is for TLS";
                Err(self.error("client_cert", message))
            }
            own => Ok(own
                .or_else(|| self.egress.identity.clone())
                .filter(|_| base.tls)),
        }
    }

    /// As for the certificate.
    fn trust(&self, table: &ProviderTable, base: &BaseUrl) -> Result<Trust, ConfigError> {
        let Some(path) = table.ca_file.as_deref() else {
            return Ok(self.egress.trust.clone());
        };
        if !base.tls {
            let message = "expected an https:// base_url, since the roots are for TLS";
            return Err(self.error("ca_file", message));
        }
        let setting = format!("providers.{}.ca_file", self.name);
        let trust = Trust::from_file(self.sources.read_pem, &setting, path);
        trust.map_err(|message| self.error("ca_file", message))
    }

    fn kind(&self, table: &ProviderTable) -> Result<ProviderKind, ConfigError> {
        const EXPECTED: &str = "expected one of openai, anthropic, openrouter, zai, vllm, deepseek";
        let kind = match (&table.r#type, self.prefix) {
            (Some(kind), _) => kind.parse().ok(),
            (None, Some(prefix)) => kind_of_prefix(prefix),
            (None, None) => kind_of_name(&self.name),
        };
        kind.ok_or_else(|| self.error("type", EXPECTED))
    }

    fn api_key(&self, table: &ProviderTable) -> Result<Option<Secret>, ConfigError> {
        if let Some(prefix) = self.prefix
            && let Some(key) = self.env.secret(&format!("{prefix}_API_KEY"))?
        {
            return Ok(Some(key));
        }
        match (&table.api_key, &table.api_key_file) {
            (Some(_), Some(_)) => {
                Err(self.error("api_key", "expected only one of api_key and api_key_file"))
            }
            (Some(key), None) if key.is_empty() => Ok(None),
            (Some(key), None) => {
                let name = format!("providers.{}.api_key", self.name);
                self.env.doubt(self.path, &name, key);
                Secret::new(key)
                    .map(Some)
                    .map_err(|expected| self.error("api_key", expected))
            }
            (None, Some(file)) => {
                let key = format!("providers.{}.api_key_file", self.name);
                self.env.secret_file(Path::new(file), &key).map(Some)
            }
            (None, None) => Ok(None),
        }
    }

    fn credential(
        &self,
        table: &ProviderTable,
        kind: ProviderKind,
        key: Option<Secret>,
    ) -> Result<Credential, ConfigError> {
        let usual = if kind == ProviderKind::Anthropic {
            "x-api-key"
        } else {
            "bearer"
        };
        match (table.credential.as_deref().unwrap_or(usual), key) {
            ("none", _) => Ok(Credential::None),
            ("client", _) => Ok(Credential::Client),
            ("bearer", Some(key)) => Ok(Credential::Bearer(key)),
            ("x-api-key", Some(key)) => Ok(Credential::XApiKey(key)),
            ("bearer" | "x-api-key", None) if table.credential.is_some() => {
                Err(self.error("api_key", KEY_EXPECTED))
            }
            ("bearer" | "x-api-key", None) => Ok(Credential::None),
            _ => Err(self.error("credential", "expected bearer, x-api-key, none or client")),
        }
    }

    fn idle_upstream(
        &self,
        table: &ProviderTable,
        kind: ProviderKind,
    ) -> Result<Duration, ConfigError> {
        match &table.idle_upstream {
            Some(scalar) => {
                value::duration(&scalar.0).map_err(|expected| self.error("idle_upstream", expected))
            }
            // uvicorn, in front of vllm, closes after 5 s.
            None if kind == ProviderKind::Vllm => Ok(Duration::from_secs(4)),
            None => Ok(Duration::from_secs(60)),
        }
    }

    /// One where a handshake is saved; without TLS there is little to gain.
    fn warm(&self, table: &ProviderTable, tls: bool) -> Result<usize, ConfigError> {
        let parse = |text: &str| {
            let count = number::decimal(text).and_then(|count| usize::try_from(count).ok());
            count
                .filter(|count| *count <= WARM_MAX)
                .ok_or("expected a number of connections, at most 64")
        };
        if let Some(scalar) = &table.warm {
            return parse(&scalar.0).map_err(|expected| self.error("warm", expected));
        }
        let everywhere = self.env.parsed("SLUICEGATE_WARM", parse)?;
        Ok(everywhere.unwrap_or(usize::from(tls)))
    }

    /// What it may be asked for, and what not.
    fn policy(
        &self,
        table: &ProviderTable,
        kind: ProviderKind,
    ) -> Result<(Option<Rules>, Rules), ConfigError> {
        let rules = |key: &str, list: &[String]| {
            Rules::parse(list).map_err(|expected| self.error(key, expected))
        };
        let allow = table.allow.as_deref().map(|list| rules("allow", list));
        let deny = match &table.deny {
            Some(list) => rules("deny", list)?,
            None if kind == ProviderKind::Vllm => {
                let control = VLLM_CONTROL.map(|path| format!("* {path}"));
                rules("deny", &control)?
            }
            None => Rules::default(),
        };
        Ok((allow.transpose()?, deny))
    }

    fn defaults(
        &self,
        table: &ProviderTable,
        kind: ProviderKind,
    ) -> Result<Vec<(String, String)>, ConfigError> {
        let mut defaults = Vec::new();
        match kind {
            ProviderKind::Anthropic => {
                defaults.push(("anthropic-version".into(), "2023-06-01".into()))
            }
            ProviderKind::OpenRouter => {
                let referer = ("HTTP-Referer", "OPENROUTER_SITE_URL");
                let title = ("X-OpenRouter-Title", "OPENROUTER_APP_NAME");
                for ((field, variable), key, written) in [
                    (referer, "site_url", &table.site_url),
                    (title, "app_name", &table.app_name),
                ] {
                    let own = |text: &str| field_value(text).map(|()| text.to_owned());
                    let value = self.env.parsed(variable, own)?;
                    // A bad value in the file is an error also where the environment has another.
                    let written = written.as_deref().map(own).transpose();
                    let written = written.map_err(|expected| self.error(key, expected))?;
                    if let Some(value) = value.or(written) {
                        defaults.push((field.into(), value));
                    }
                }
            }
            _ => {}
        }
        if kind != ProviderKind::OpenRouter
            && (table.site_url.is_some() || table.app_name.is_some())
        {
            return Err(self.error(
                "site_url",
                "expected site_url and app_name only with type openrouter",
            ));
        }
        Ok(defaults)
    }

    fn headers(
        &self,
        table: &ProviderTable,
        credential: &Credential,
    ) -> Result<Vec<(String, String)>, ConfigError> {
        let mut headers: Vec<(String, String)> = Vec::new();
        let mut bytes = 0;
        for (name, value) in &table.headers {
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

/// Endpoints at vllm's root that steer the server or show how it is set up. It asks nobody for a key there, and
/// whoever may generate text may not therefore stop everybody else. `deny = []` opens them.
const VLLM_CONTROL: [&str; 17] = [
    "/pause",
    "/resume",
    "/abort_requests",
    "/sleep",
    "/wake_up",
    "/reset_prefix_cache",
    "/reset_mm_cache",
    "/reset_encoder_cache",
    "/collective_rpc",
    "/init_weight_transfer_engine",
    "/start_weight_update",
    "/update_weights",
    "/finish_weight_update",
    "/scale_elastic_ep",
    "/start_profile",
    "/stop_profile",
    "/server_info",
];

const KEY_EXPECTED: &str = "expected api_key, api_key_file or credential = \"none\"";

/// Whether a name can be a path segment as it is.
fn is_segment(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !matches!(name, "" | "." | "..") && name.bytes().all(plain)
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
fn head_bytes_added(provider: &Provider) -> usize {
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

/// Most bytes that a provider's settings may make a head longer by: they have to fit the room in front of it.
pub(crate) const HEAD_ADDED_BYTES_MAX: usize = 12 * 1024;

/// Most bytes of configured headers, and of any one value or path.
pub(super) const HEADER_BYTES_MAX: usize = 4096;

fn field_value(value: &str) -> Result<(), &'static str> {
    let plain = value
        .bytes()
        .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    if plain && value.trim() == value && value.len() <= HEADER_BYTES_MAX {
        Ok(())
    } else {
        Err("expected a header value without control characters or blanks around it")
    }
}

fn default_base(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::OpenAi => "https://api.openai.com/v1",
        ProviderKind::Anthropic => "https://api.anthropic.com/v1",
        ProviderKind::OpenRouter => "https://openrouter.ai/api/v1",
        ProviderKind::Zai => "https://api.z.ai/api/paas/v4",
        ProviderKind::Vllm => "http://localhost:8000/v1",
        ProviderKind::DeepSeek => "https://api.deepseek.com",
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
