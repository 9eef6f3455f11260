//! Providers: from the environment's variables and the file's tables to instances.

mod control;
pub(super) mod fields;
pub(super) mod instance;
pub(super) mod instances;
mod keys;
mod names;
mod origins;
mod place;
pub(super) mod shares;
pub(super) mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::config::kind::{self, ProviderKind};
use crate::config::rules::Rules;

use self::fields::{HEAD_ADDED_BYTES_MAX, head_bytes_added};
use self::instance::{ApiKeys, Credential, Failover, Instance, Provider, Resolve};
use self::names::{instances, kind_of_name};
pub(super) use self::names::{is_unexposed, kind_of_prefix, numbered, suffixes};
use self::shares::QueueBounds;
use self::table::{CredentialChoice, Draft, SETTINGS};
use super::egress::{self, ClientIdentity, Egress, ProxyChoice};
use super::error::ConfigError;
use super::near::near;
use super::places::Places;
use super::proxy::{Proxy, ProxyKind};
use super::source::{Env, Sources};
use super::trust::Trust;
use super::url::{BaseUrl, Host, base};
use super::written::Section;
use crate::providers::USUAL_FIELDS;
use crate::providers::group::Balance;
use crate::providers::queue::Limits;

/// What a file says of providers.
pub(super) struct Tables<'a> {
    /// Its name for messages.
    pub(super) from: &'a str,
    /// It was found in the working directory, and nobody has named it.
    pub(super) is_stray: bool,
    pub(super) providers: BTreeMap<String, Section>,
    /// What holds for all of them.
    pub(super) egress: Egress,
    /// Where that was written.
    pub(super) shared: &'a Places,
}

/// Every instance that environment and file define and whose type is enabled, by name.
pub(super) fn resolve(
    sources: &Sources<'_>,
    env: &Env<'_>,
    mut tables: Tables<'_>,
    enabled: &[ProviderKind],
) -> Result<Vec<Provider>, ConfigError> {
    let mut named: BTreeMap<String, String> = instances(env);
    // The variables of a type that is not exposed may be another program's, unless the file has a table for them.
    let is_chosen = tables.shared.get("passthrough.providers").is_some();
    named.retain(|name, prefix| match kind_of_prefix(prefix) {
        Some(kind) if !enabled.contains(&kind) && !tables.providers.contains_key(name) => {
            if !is_chosen {
                warn_of_unexposed(env, prefix, kind);
            }
            false
        }
        kind => kind.is_some(),
    });
    let names: BTreeSet<String> = tables
        .providers
        .keys()
        .chain(named.keys())
        .cloned()
        .collect();
    let mut providers = Vec::new();
    for name in names {
        let section = tables.providers.remove(&name);
        let builder = Builder {
            sources,
            env,
            path: tables.from,
            is_stray: tables.is_stray,
            egress: &tables.egress,
            shared: tables.shared,
            prefix: named.get(&name),
            in_file: section.is_some(),
            section: section.unwrap_or_default(),
            name,
        };
        if let Some(provider) = builder.resolve()? {
            match enabled.contains(&provider.kind) {
                true => providers.push(provider),
                false => builder.warn_of_type(provider.kind),
            }
        }
    }
    Ok(providers)
}

/// Nobody has said which types are exposed, and a variable is set for one that is not.
fn warn_of_unexposed(env: &Env<'_>, prefix: &str, kind: ProviderKind) {
    let is_its = |name: &&str| {
        name.strip_prefix(prefix)
            .is_some_and(|rest| rest.starts_with('_'))
    };
    if let Some(name) = env.keys().find(is_its) {
        env.warn(ConfigError::new(&env.place(name), name, unexposed(kind)));
    }
}

fn unexposed(kind: ProviderKind) -> String {
    format!(
        "it has no effect, since its type is not exposed; expected {kind} in passthrough.providers \
         (ENABLED_PASSTHROUGH_PROVIDERS)"
    )
}

struct Builder<'a> {
    sources: &'a Sources<'a>,
    env: &'a Env<'a>,
    path: &'a str,
    /// As of [`Tables`].
    is_stray: bool,
    egress: &'a Egress,
    /// As of [`Tables`].
    shared: &'a Places,
    /// Of its environment variables, if it has any.
    prefix: Option<&'a String>,
    /// The file has a table for it.
    in_file: bool,
    /// What that says.
    section: Section,
    name: String,
}

impl Builder<'_> {
    fn resolve(&self) -> Result<Option<Provider>, ConfigError> {
        if !is_segment(&self.name) {
            return Err(self.error(
                "",
                "expected a provider name of letters, digits, -, _ and ., not . or ..",
            ));
        }
        let mut draft = Draft::default();
        let kind = self.read(&mut draft)?;
        let keys = self.api_keys(&draft)?;
        let credential = self.credential(&draft, kind, keys)?;
        // A key makes a provider exist; where none is needed, a base URL does.
        let keyless = !kind.needs_key()
            || matches!(
                draft.credential,
                Some(CredentialChoice::None | CredentialChoice::Client)
            );
        match credential {
            Credential::None if !keyless && self.in_file => return Err(self.key_is_missing()),
            Credential::None if !keyless => {
                self.warn_of_base_url();
                return Ok(None);
            }
            Credential::None if draft.base.is_none() && !self.in_file => return Ok(None),
            _ => {}
        }
        let Some((first, others)) = self.instances(&mut draft, kind, &credential)? else {
            return Ok(None);
        };
        let mut headers = fields::headers(&draft.headers, &credential)
            .map_err(|(key, expected)| self.error(&key, expected))?;
        let entry = fields::entry(kind, &credential, &mut headers);
        let (allow, deny) = self.policy(&mut draft, kind)?;
        let limits = self.limits(draft.concurrency, draft.queue, &first, &others)?;
        let mut provider = Provider {
            name: self.name.clone(),
            kind,
            // One where a handshake is saved; without TLS there is little to gain.
            warm: draft.warm.unwrap_or(usize::from(first.base.tls)),
            api_version: self.api_version(draft.api_version.take(), kind, &first.base),
            first,
            others,
            balance: draft.balance.unwrap_or(Balance::LeastLoaded),
            limits,
            health: draft.health.take(),
            failover: self.failover(draft.failover_on.take(), draft.replay_bytes)?,
            credential,
            defaults: fields::defaults(kind, draft.site_url, draft.app_name, &headers),
            headers,
            session_headers: draft
                .session_headers
                .unwrap_or_else(|| USUAL_FIELDS.map(str::to_owned).into()),
            entry,
            idle_upstream: draft.idle_upstream.unwrap_or_else(|| kind.idle()),
            allow,
            deny,
            places: Places::default(),
        };
        provider.places = self.places(draft.places, &provider);
        if head_bytes_added(&provider) > HEAD_ADDED_BYTES_MAX {
            let message = format!(
                "expected at most {HEAD_ADDED_BYTES_MAX} bytes of base_url, api_key and headers in all"
            );
            return Err(self.error("", message));
        }
        self.doubt_place(&provider);
        self.doubt_health(&provider);
        Ok(Some(provider))
    }

    /// Reads every setting, from where it counts.
    fn read(&self, draft: &mut Draft) -> Result<ProviderKind, ConfigError> {
        for setting in SETTINGS
            .iter()
            .filter(|setting| !self.is_in_variable(setting.suffix))
        {
            let place = setting.set_from_file(draft, &self.section)?;
            draft.places.note(&self.key(setting.key), place);
        }
        let kind = self.kind(draft)?;
        for setting in SETTINGS {
            let is_for_another = setting.only_for.is_some_and(|only| only != kind);
            if is_for_another && self.section.get(setting.key).is_some() {
                let only = setting.only_for.map_or("", ProviderKind::as_str);
                let message = format!("expected {} only with type {only}", setting.key);
                return Err(self.error(setting.key, message));
            }
            let is_written = setting.is_file_first && self.section.get(setting.key).is_some();
            if !is_for_another && !is_written {
                let prefix = self.prefix.map(String::as_str);
                let place = setting.set_from_env(draft, self.env, prefix)?;
                draft.places.note(&self.key(setting.key), place);
            }
        }
        Ok(kind)
    }

    /// Whether the instance's own variable says so, in place of its table.
    fn is_in_variable(&self, suffix: &str) -> bool {
        let prefix = self.prefix.filter(|_| !suffix.is_empty());
        prefix.is_some_and(|prefix| self.env.get(&format!("{prefix}{suffix}")).is_some())
    }

    fn error(&self, key: &str, message: impl ToString) -> ConfigError {
        if let Some((variable, from)) = self.origin() {
            return ConfigError::new(&from, &variable, message);
        }
        let place = match self
            .section
            .place(key.split('.').next().unwrap_or_default())
        {
            "" => self.path,
            place => place,
        };
        let key = self.key(key);
        ConfigError::new(place, key.strip_suffix('.').unwrap_or(&key), message)
    }

    /// A key with its table.
    fn key(&self, key: &str) -> String {
        format!("providers.{}.{key}", self.name)
    }

    /// The variable that it exists for, and where that was set; `None` if it is for a table.
    fn origin(&self) -> Option<(String, String)> {
        let prefix = self.prefix.filter(|_| !self.in_file)?;
        let names = suffixes().map(|suffix| format!("{prefix}{suffix}"));
        names.chain(self.numbered_keys()).find_map(|name| {
            let (_, from) = self.env.located(&name)?;
            Some((name, from))
        })
    }

    /// The table's own, else what holds for all.
    fn proxy(&self, draft: &Draft, base: &BaseUrl) -> Result<Option<Proxy>, ConfigError> {
        let proxy = match &draft.proxy {
            ProxyChoice::Environment => self.egress.proxy.decide(self.env, base)?,
            ProxyChoice::Through(_) if matches!(base.host, Host::Unix(_)) => {
                return Err(self.error("proxy", "expected no proxy on the way to a Unix socket"));
            }
            own => own.decide(self.env, base)?,
        };
        match (proxy, &draft.proxy_ca_file) {
            (Some(proxy), own) if proxy.kind == ProxyKind::Https => {
                let trust = match own {
                    Some(written) => Trust::from_file(self.sources.read_pem, written)?,
                    None => self.egress.proxy_trust.clone(),
                };
                Ok(Some(Proxy { trust, ..proxy }))
            }
            // The environment keeps this host from the proxy that it names.
            (None, Some(_))
                if matches!(draft.proxy, ProxyChoice::Environment)
                    && self.egress.proxy.is_kept_from(self.env, base) =>
            {
                Ok(None)
            }
            (_, Some(written)) => {
                Err(written
                    .refused("expected an https:// proxy, since the roots are for TLS with it"))
            }
            (proxy, None) => Ok(proxy),
        }
    }

    /// As for the proxy. Without TLS nobody asks for it.
    fn identity(
        &self,
        draft: &Draft,
        base: &BaseUrl,
    ) -> Result<Option<Arc<ClientIdentity>>, ConfigError> {
        let (cert, key) = (draft.client_cert.as_ref(), draft.client_key.as_ref());
        match egress::identity(self.sources.read_pem, cert, key)? {
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
    fn trust(&self, draft: &Draft, base: &BaseUrl) -> Result<Trust, ConfigError> {
        match &draft.ca_file {
            None => Ok(self.egress.trust.clone()),
            Some(written) if base.tls => Trust::from_file(self.sources.read_pem, written),
            Some(written) => Err(written.refused(CA_FILE_EXPECTED)),
        }
    }

    fn kind(&self, draft: &Draft) -> Result<ProviderKind, ConfigError> {
        let kind = match (draft.kind, self.prefix) {
            (Some(kind), _) => Some(kind),
            (None, Some(prefix)) => kind_of_prefix(prefix),
            (None, None) => kind_of_name(&self.name),
        };
        kind.ok_or_else(|| self.error("type", format!("{}; {}", kind::expected(), self.no_type())))
    }

    /// Why its name says nothing of its type, and which one it may have been meant to have.
    fn no_type(&self) -> String {
        let (begin, rest) = match self.name.split_once('-') {
            Some((begin, rest)) => (begin, format!("-{rest}")),
            None => (&*self.name, String::new()),
        };
        match near(begin, kind::words()) {
            Some(kind) if kind.eq_ignore_ascii_case(begin) => {
                format!("did you mean [providers.{kind}{rest}]? capital letters count in a name")
            }
            Some(kind) => format!("did you mean [providers.{kind}{rest}]?"),
            None => "there is no type here, and the name begins with none of them".to_owned(),
        }
    }

    /// Said of a table whose type is not exposed; what only variables name was sorted out before.
    fn warn_of_type(&self, kind: ProviderKind) {
        self.env.warn(self.error("", unexposed(kind)));
    }

    fn key_is_missing(&self) -> ConfigError {
        match self.section.get("api_key") {
            Some(_) => self.error(
                "api_key",
                "it is empty; expected a key, or credential = \"none\"",
            ),
            None => self.error("api_key", KEY_EXPECTED),
        }
    }

    /// Said of a base URL that leads nowhere.
    fn warn_of_base_url(&self) {
        let Some(prefix) = self.prefix else { return };
        let key = format!("{prefix}_BASE_URL");
        let set = self.env.located(&key);
        if let Some((_, from)) = set.filter(|_| !self.env.is_put_in(&key)) {
            let message = format!("it has no effect without {prefix}_API_KEY");
            self.env.warn(ConfigError::new(&from, &key, message));
        }
    }

    /// Where it is; `None` where only a key says that there is one, and nobody where.
    fn base(
        &self,
        written: Option<BaseUrl>,
        kind: ProviderKind,
    ) -> Result<Option<BaseUrl>, ConfigError> {
        let mut found = match (written, kind.base_url()) {
            (Some(written), _) => written,
            (None, "") => return self.is_nowhere(kind).map(|()| None),
            (None, usual) => base(usual).map_err(|expected| self.error("base_url", expected))?,
        };
        // Everything is below it there, whether people write it or not.
        let is_below_v1 = matches!(kind, ProviderKind::Jev | ProviderKind::AudioCpp);
        if is_below_v1 && !found.path.ends_with("/v1") {
            found.path.push_str("/v1");
        }
        Ok(Some(found))
    }

    /// Refuses a table that does not say where it is, and warns of such variables.
    fn is_nowhere(&self, kind: ProviderKind) -> Result<(), ConfigError> {
        let message = format!("expected a base URL; for type {kind} there is none that is usual");
        let (Some(prefix), Some((variable, from))) = (self.prefix, self.origin()) else {
            return Err(self.error("base_url", message));
        };
        let message = format!("{message}; without {prefix}_BASE_URL it has no effect");
        self.env.warn(ConfigError::new(&from, &variable, message));
        Ok(())
    }

    /// Azure's newer endpoints, below `/v1`, have no dated versions.
    fn api_version(
        &self,
        written: Option<String>,
        kind: ProviderKind,
        base: &BaseUrl,
    ) -> Option<String> {
        let has_one = kind == ProviderKind::Azure && !base.path.ends_with("/v1");
        written.or_else(|| has_one.then(|| "2024-10-21".to_owned()))
    }

    fn credential(
        &self,
        draft: &Draft,
        kind: ProviderKind,
        keys: Option<ApiKeys>,
    ) -> Result<Credential, ConfigError> {
        let usual = fields::usual_field(kind, keys.as_ref());
        if keys
            .as_ref()
            .is_some_and(|keys| fields::are_mixed(kind, keys))
        {
            return Err(self.error("api_keys", KEYS_MIXED));
        }
        match (draft.credential, keys) {
            (Some(CredentialChoice::None), _) => Ok(Credential::None),
            (Some(CredentialChoice::Client), _) => Ok(Credential::Client),
            (Some(CredentialChoice::Key(field)), Some(keys)) => Ok(Credential::Key(field, keys)),
            (Some(CredentialChoice::Key(_)), None) => Err(self.key_is_missing()),
            (None, Some(keys)) => Ok(Credential::Key(usual, keys)),
            (None, None) => Ok(Credential::None),
        }
    }

    /// How many requests it gets at once, and how the others wait.
    fn limits(
        &self,
        permits: Option<NonZeroU32>,
        queue: Option<QueueBounds>,
        first: &Instance,
        others: &[Instance],
    ) -> Result<Option<Limits>, ConfigError> {
        let seats = shares::seats([first].into_iter().chain(others));
        // What a lone one takes is what all of them take.
        let is_alone = others.is_empty() && first.resolve == Resolve::One;
        let alone = first.concurrency.filter(|_| is_alone);
        let permits = [permits, alone].into_iter().flatten().min();
        if permits.is_none() && seats == 0 {
            // Where a variable says where it is, the tables of instances do not count, nor what waits for them.
            let is_moot = self.section.parts.iter();
            let is_moot = { is_moot }.any(|part| part.get("concurrency").is_some());
            return match queue.filter(|_| !is_moot) {
                None => Ok(None),
                Some(_) => Err(self.error("queue", self.queue_without())),
            };
        }
        let bounds = queue.unwrap_or(QueueBounds::USUAL);
        Ok(Some(Limits {
            permits,
            seats,
            length: bounds.length,
            wait: u64::try_from(bounds.wait.as_micros()).unwrap_or(u64::MAX),
        }))
    }

    /// What a queue is for.
    fn queue_without(&self) -> String {
        format!(
            "expected concurrency beside it, or in tables [[providers.{}.instance]], which is what it waits for",
            self.name
        )
    }

    /// When a request that was answered goes elsewhere.
    fn failover(
        &self,
        on: Option<Vec<u16>>,
        bytes_max: Option<usize>,
    ) -> Result<Option<Failover>, ConfigError> {
        match (on, bytes_max) {
            (Some(on), bytes_max) if !on.is_empty() => Ok(Some(Failover {
                on,
                bytes_max: bytes_max.unwrap_or(REPLAY_BYTES),
            })),
            (_, Some(1..)) => {
                let message =
                    "expected failover_on beside it, which says when a request is sent again";
                Err(self.error("replay_bytes", message))
            }
            _ => Ok(None),
        }
    }

    /// Warns of questions that nobody would draw a conclusion from.
    fn doubt_health(&self, provider: &Provider) {
        if provider.health.is_some() && !provider.is_group() {
            let message = "it has no effect: with one instance there is no other to go to";
            self.env.warn(self.error("health", message));
        }
    }

    /// What it may be asked for, and what not.
    fn policy(
        &self,
        draft: &mut Draft,
        kind: ProviderKind,
    ) -> Result<(Option<Rules>, Rules), ConfigError> {
        let deny = match draft.deny.take() {
            Some(deny) => deny,
            None => Rules::parse(control::denied(kind))
                .map_err(|expected| self.error("deny", expected))?,
        };
        Ok((draft.allow.take(), deny))
    }
}

/// What of a request is held where requests go elsewhere and nobody says how much.
const REPLAY_BYTES: usize = 64 * 1024;

const CA_FILE_EXPECTED: &str = "expected an https:// base_url, since the roots are for TLS";

const KEY_EXPECTED: &str = "expected api_key, api_key_file or credential = \"none\"";

const KEYS_MIXED: &str = "expected either API keys or tokens of subscriptions (sk-ant-oat…), which are sent in other \
                          fields; two providers can have one kind each";

/// Whether a name can be a path segment as it is.
fn is_segment(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !matches!(name, "" | "." | "..") && name.bytes().all(plain)
}
