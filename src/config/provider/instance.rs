//! A provider as the program uses it.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::config::egress::ClientIdentity;
use crate::config::kind::{KeyField, ProviderKind};
use crate::config::places::Places;
use crate::config::proxy::Proxy;
use crate::config::rules::Rules;
use crate::config::secret::Secret;
use crate::config::trust::Trust;
use crate::config::url::{BaseUrl, Host};
use crate::providers::group::Balance;
use crate::providers::queue::Limits;

/// One provider: a name in paths, and the instances that serve what is asked for there.
#[derive(Clone)]
pub struct Provider {
    /// Its name in paths.
    pub name: String,
    /// Its type.
    pub kind: ProviderKind,
    /// Where it is, or the first place of several.
    pub first: Instance,
    /// The other ones, in order; their base URLs have the same path.
    pub others: Vec<Instance>,
    /// How requests are dealt out among them.
    pub balance: Balance,
    /// How many requests are under way at once, and how others wait, also where an instance has a limit of its own; nobody
    /// waits where there is none.
    pub limits: Option<Limits>,
    /// Answers behind which a request goes to another instance, or with another key.
    pub failover: Option<Failover>,
    /// How its instances are asked whether they are well.
    pub health: Option<HealthProbe>,
    /// What it is sent.
    pub credential: Credential,
    /// Fields that are set when the client does not send them.
    pub defaults: Vec<(String, String)>,
    /// Fields that are always set, in place of the client's.
    pub headers: Vec<(String, String)>,
    /// Fields by which clients name their sessions; each session keeps to one key.
    pub session_headers: Vec<String>,
    /// An entry that a list of the client's needs.
    pub entry: Option<ListEntry>,
    /// `api-version` for queries that have none.
    pub api_version: Option<String>,
    /// How long an idle connection is kept.
    pub idle_upstream: Duration,
    /// Connections made ahead of requests, per worker.
    pub warm: usize,
    /// The only endpoints it is asked for.
    pub allow: Option<Rules>,
    /// Endpoints it is not asked for, on the list above or not.
    pub deny: Rules,
    /// Where its settings were written.
    pub(in crate::config) places: Places,
}

impl Provider {
    /// Its instances, in order.
    pub fn instances(&self) -> impl Iterator<Item = &Instance> {
        [&self.first].into_iter().chain(&self.others)
    }

    /// The instance with this index; the first where there is none.
    #[must_use]
    pub fn instance(&self, index: usize) -> &Instance {
        let other = index
            .checked_sub(1)
            .and_then(|index| self.others.get(index));
        other.unwrap_or(&self.first)
    }

    /// Its keys; none where it is sent none of ours.
    pub fn keys(&self) -> impl Iterator<Item = &Secret> {
        let keys = match &self.credential {
            Credential::Key(_, keys) => Some(keys),
            Credential::None | Credential::Client => None,
        };
        keys.into_iter().flat_map(ApiKeys::iter)
    }

    /// Whether it is several servers, or may become that without another configuration.
    #[must_use]
    pub fn is_group(&self) -> bool {
        !self.others.is_empty() || self.first.resolve == Resolve::All
    }

    /// Whether they differ in their places only.
    #[must_use]
    pub(in crate::config) fn has_plain_instances(&self) -> bool {
        let is_plain = |instance: &Instance| {
            let trust = instance.trust == self.first.trust;
            let resolve = instance.resolve == self.first.resolve;
            let usual = instance.weight == 1 && instance.concurrency.is_none();
            usual && instance.headers.is_empty() && trust && resolve
        };
        self.instances().all(is_plain)
    }

    /// Whether something is to be chosen for each of its requests, but the key.
    #[must_use]
    pub fn has_choices(&self) -> bool {
        self.is_group() || self.limits.is_some() || self.failover.is_some()
    }

    /// Whether it matters which session a request belongs to.
    #[must_use]
    pub fn knows_sessions(&self) -> bool {
        let has_keys =
            matches!(&self.credential, Credential::Key(_, keys) if !keys.others.is_empty());
        has_keys || self.is_group() && self.balance == Balance::Session || self.limits.is_some()
    }

    /// Whether it is limited to methods and endpoints, or kept from some.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.allow.is_some() || !self.deny.is_empty()
    }

    /// Whether it is asked for `endpoint`, as it is written in a target and without a slash before it.
    #[must_use]
    pub fn serves(&self, method: &[u8], endpoint: &[u8]) -> bool {
        let allowed = |rules: &Rules| rules.allow(method, endpoint);
        self.allow.as_ref().is_none_or(allowed) && !self.deny.deny(method, endpoint)
    }
}

/// When a request that was answered goes elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// The statuses.
    pub on: Vec<u16>,
    /// So many bytes of a request are held for that at most, its head included.
    pub bytes_max: usize,
}

/// How instances are asked whether they are well, beside the requests that they get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthProbe {
    /// Path and perhaps query, from the server's root on.
    pub path: String,
    /// From one question to the next.
    pub interval: Duration,
    /// The status that is a good answer; else any of 200 to 299.
    pub expect: Option<u16>,
}

impl HealthProbe {
    /// Whether this is a good answer.
    #[must_use]
    pub fn is_good(&self, status: u16) -> bool {
        match self.expect {
            Some(expect) => status == expect,
            None => (200..300).contains(&status),
        }
    }
}

/// What a host name of several addresses stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolve {
    /// One server, which any of them leads to.
    #[default]
    One,
    /// As many servers as there are addresses.
    All,
}

/// One of the servers that a provider is.
#[derive(Clone)]
pub struct Instance {
    /// Its number as it is configured, from 1 on; all that one name stands for have the same.
    pub number: u8,
    /// Where it is.
    pub base: BaseUrl,
    /// What its host's name stands for.
    pub resolve: Resolve,
    /// The only address that it is reached at, where each address of its name is an instance.
    pub address: Option<IpAddr>,
    /// The proxy on the way there.
    pub proxy: Option<Proxy>,
    /// The certificate that it is shown if it asks for one.
    pub identity: Option<Arc<ClientIdentity>>,
    /// Whom its own certificate is trusted on the word of.
    pub trust: Trust,
    /// Its part of the requests.
    pub weight: u16,
    /// How many are under way there at once.
    pub concurrency: Option<NonZeroU32>,
    /// Fields that are always set for it, in place of the provider's and the client's.
    pub headers: Vec<(String, String)>,
}

impl Instance {
    /// Whether both are the same place, and the way there is. What their TLS depends on is not looked at.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        self.is_like(other) && self.address == other.address
    }

    /// Whether both are the same place, at whatever address, so that one can stand in for the other.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.base == other.base && self.proxy == other.proxy
    }

    /// The name that stands for as many instances as it has addresses.
    #[must_use]
    pub fn name_of_many(&self) -> Option<&str> {
        match (&self.base.host, self.resolve) {
            (Host::Name(name), Resolve::All) => Some(name),
            _ => None,
        }
    }

    /// By what it is told apart from the provider's others: its number, and its address where many have that.
    #[must_use]
    pub fn label(&self) -> String {
        match self.address {
            Some(address) => format!("{}-{address}", self.number),
            None => self.number.to_string(),
        }
    }

    /// The host name that a connection to it begins with, where it has one: the proxy's, or its own.
    #[must_use]
    pub fn reached_by_name(&self) -> Option<&str> {
        if self.address.is_some() {
            return None;
        }
        let proxy = self.proxy.as_ref().map(|proxy| &proxy.host);
        match proxy.unwrap_or(&self.base.host) {
            Host::Name(name) => Some(name),
            Host::Ip(_) | Host::Unix(_) => None,
        }
    }
}

/// Where it is, and at which address alone.
impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base.fmt(f)?;
        match self.address {
            Some(address) => write!(f, " at {address}"),
            None => Ok(()),
        }
    }
}

/// Names without what may be a credential.
fn names(headers: &[(String, String)]) -> Vec<&str> {
    headers.iter().map(|(name, _)| &**name).collect()
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("number", &self.number)
            .field("base", &self.base)
            .field("resolve", &self.resolve)
            .field("address", &self.address)
            .field("proxy", &self.proxy)
            .field("identity", &self.identity)
            .field("trust", &self.trust)
            .field("weight", &self.weight)
            .field("concurrency", &self.concurrency)
            .field("headers", &names(&self.headers))
            .finish()
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("first", &self.first)
            .field("others", &self.others)
            .field("balance", &self.balance)
            .field("limits", &self.limits)
            .field("failover", &self.failover)
            .field("health", &self.health)
            .field("credential", &self.credential)
            .field("defaults", &self.defaults)
            .field("headers", &names(&self.headers))
            .field("session_headers", &self.session_headers)
            .field("entry", &self.entry)
            .field("api_version", &self.api_version)
            .field("idle_upstream", &self.idle_upstream)
            .field("warm", &self.warm)
            .field("allow", &self.allow)
            .field("deny", &self.deny)
            .finish_non_exhaustive()
    }
}

/// An entry of a field whose value is a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListEntry {
    /// The field's name.
    pub field: &'static str,
    /// The entry.
    pub value: &'static str,
}

/// What a provider is sent as credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A key in this field.
    Key(KeyField, ApiKeys),
    /// Nothing.
    None,
    /// The client's own.
    Client,
}

/// The keys of a provider, no two alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKeys {
    /// The first.
    pub first: Secret,
    /// The others, in order.
    pub others: Vec<Secret>,
}

impl ApiKeys {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Secret> {
        [&self.first].into_iter().chain(&self.others)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// Bytes of the longest.
    #[must_use]
    pub(crate) fn longest(&self) -> usize {
        self.iter()
            .map(|key| key.expose().len())
            .max()
            .unwrap_or_default()
    }
}
