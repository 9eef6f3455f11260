//! One configuration made ready for the data path: routes, keys and, per provider, the field lines
//! that a request gets. Immutable; a reload makes a new one and workers swap it in between requests.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::{Config, Credential, Provider};
use crate::http::head::{Field, FieldSet};
use crate::observe::Slots;
use crate::policy::admission::DEFAULTS_MAX;
use crate::policy::auth::Keys;
use crate::policy::cors::Cors;
use crate::policy::route::{RouteEntry, Settings, Table};

/// See the module's documentation.
pub struct Gateway {
    /// What it was made from.
    pub config: Arc<Config>,
    /// Request target → provider and upstream target.
    pub table: Table,
    /// Gateway keys.
    pub keys: Arc<Keys>,
    /// What browsers are told, if pages may use the gateway.
    pub cors: Option<Cors>,
    /// In the order of `config.providers`, which is also the table's.
    pub upstreams: Vec<Lines>,
    /// What TLS with each of them depends on.
    pub terms: Arc<[Terms]>,
    /// Where each provider is counted.
    pub slots: Slots,
    /// `Keep-Alive` for answers after which the connection stays: a second less than it really does. `Connection`
    /// names it (RFC 9110, section 7.6.1).
    pub keep_alive: Box<[u8]>,
}

impl Gateway {
    /// Prepares `config`; `keys` were read from it and from the keys file.
    #[must_use]
    pub fn new(config: Arc<Config>, keys: Arc<Keys>) -> Self {
        let entries = config
            .providers
            .iter()
            .map(|provider| RouteEntry::new(&provider.name, provider.kind, &provider.base.path));
        let settings = Settings {
            base_path: &config.server.base_path,
            passthrough: config.passthrough.enabled,
            v1_alias: config.passthrough.v1_alias,
            metrics_endpoint: config
                .metrics
                .are_wanted()
                .then_some(&*config.metrics.endpoint),
        };
        let table = Table::new(settings, entries.collect());
        let upstreams = config.providers.iter().map(Lines::new).collect();
        let stays = config.timeouts.idle_client.as_secs().saturating_sub(1);
        let keep_alive = format!("Connection: keep-alive\r\nKeep-Alive: timeout={stays}\r\n");
        Self {
            table,
            keys,
            cors: Cors::new(&config.server.cors_origins),
            upstreams,
            terms: Arc::default(),
            slots: Slots::default(),
            keep_alive: keep_alive.into_bytes().into(),
            config,
        }
    }

    /// The index here of a provider of `other`, if a connection made there would be made here too: the same name
    /// and place, on the same terms.
    #[must_use]
    pub fn index_of(&self, other: &Self, index: usize) -> Option<usize> {
        if std::ptr::eq(self, other) {
            return Some(index);
        }
        let place = self.place_of(other, index)?;
        (self.terms.get(place) == other.terms.get(index)).then_some(place)
    }

    /// The same, whatever TLS depends on there and here.
    #[must_use]
    pub fn place_of(&self, other: &Self, index: usize) -> Option<usize> {
        let provider = other.config.providers.get(index)?;
        let same = |mine: &Provider| mine.is_at(provider);
        self.config.providers.iter().position(same)
    }

    /// The provider with this index and what its requests get.
    #[must_use]
    pub fn provider(&self, index: usize) -> Option<(&Provider, &Lines)> {
        self.config
            .providers
            .get(index)
            .zip(self.upstreams.get(index))
    }
}

/// A digest of all that a TLS connection to a provider depends on: roots, certificate and key of our own. `None`
/// without TLS.
pub(crate) type Terms = Option<[u8; 32]>;

/// The field lines that a provider's requests get, written out once.
pub struct Lines {
    /// `Host`, the credential and configured fields: always sent. Overwritten when it is given back.
    always: Zeroizing<Vec<u8>>,
    /// Sent unless the client sends the field itself.
    defaults: Vec<DefaultLine>,
    /// Names in `always` whose client lines are dropped, beyond those that every request loses.
    replaced: Vec<Box<[u8]>>,
    /// The client's own credential goes on (`credential = "client"`).
    pub keeps_credential: bool,
}

struct DefaultLine {
    name: Box<[u8]>,
    line: Box<[u8]>,
}

impl Lines {
    fn new(provider: &Provider) -> Self {
        // Never moved while it grows, which would leave the key behind.
        let mut always = Zeroizing::new(Vec::with_capacity(always_bytes(provider)));
        push(&mut always, b"Host", provider.base.authority.as_bytes());
        match &provider.credential {
            Credential::Bearer(key) => {
                push_parts(&mut always, b"Authorization", &[b"Bearer ", key.expose()]);
            }
            Credential::XApiKey(key) => push(&mut always, b"x-api-key", key.expose()),
            Credential::None | Credential::Client => {}
        }
        for (name, value) in &provider.headers {
            push(&mut always, name.as_bytes(), value.as_bytes());
        }
        let defaults = provider.defaults.iter().map(|(name, value)| {
            let mut line = Vec::new();
            push(&mut line, name.as_bytes(), value.as_bytes());
            DefaultLine {
                name: name.as_bytes().into(),
                line: line.into(),
            }
        });
        Self {
            always,
            defaults: defaults.collect(),
            replaced: provider
                .headers
                .iter()
                .map(|(name, _)| name.as_bytes().into())
                .collect(),
            keeps_credential: matches!(provider.credential, Credential::Client),
        }
    }

    /// The lines that every request gets.
    #[must_use]
    pub fn always(&self) -> &[u8] {
        &self.always
    }

    /// Adds the field lines whose place configured ones take.
    pub fn remove_replaced(&self, fields: &[Field], buf: &[u8], removed: &mut FieldSet) {
        for name in &self.replaced {
            for (index, field) in fields.iter().enumerate() {
                if field.is_named(name, buf) {
                    removed.insert(index);
                }
            }
        }
    }

    /// The default lines whose fields are not among those of `fields` that go on.
    #[must_use]
    pub fn missing(
        &self,
        fields: &[Field],
        buf: &[u8],
        removed: &FieldSet,
    ) -> [Option<&[u8]>; DEFAULTS_MAX] {
        let mut missing = [None; DEFAULTS_MAX];
        for (slot, default) in missing.iter_mut().zip(&self.defaults) {
            let sent = fields.iter().enumerate().any(|(index, field)| {
                field.is_named(&default.name, buf) && !removed.contains(index)
            });
            *slot = (!sent).then_some(&*default.line);
        }
        missing
    }
}

fn push(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    push_parts(out, name, &[value]);
}

fn push_parts(out: &mut Vec<u8>, name: &[u8], value: &[&[u8]]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    for part in value {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(b"\r\n");
}

/// At least as many as the lines that are always sent take.
fn always_bytes(provider: &Provider) -> usize {
    let line = |name: &str, value: usize| name.len() + value + ": \r\n".len();
    let credential = match &provider.credential {
        Credential::Bearer(key) => line("Authorization", "Bearer ".len() + key.expose().len()),
        Credential::XApiKey(key) => line("x-api-key", key.expose().len()),
        Credential::None | Credential::Client => 0,
    };
    let headers = provider.headers.iter();
    let headers: usize = headers.map(|(name, value)| line(name, value.len())).sum();
    line("Host", provider.base.authority.len()) + credential + headers
}
