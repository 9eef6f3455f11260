//! One configuration made ready for the data path: routes, keys and, per provider, the field lines
//! that a request gets. Immutable; a reload makes a new one and workers swap it in between requests.

use std::sync::Arc;

use crate::config::{Config, Instance, Provider};
use crate::http::framing::ContentLimit;
use crate::http::head::{Name, name};
use crate::observe::Slots;
use crate::policy::auth::Keys;
use crate::policy::cors::Cors;
use crate::policy::operators::MetricsKey;
use crate::policy::provider_lines::ProviderLines;
use crate::policy::route::{RouteEntry, Settings, Table};
use crate::providers::Choices;

/// See the module's documentation.
pub struct Gateway {
    /// What it was made from.
    pub config: Arc<Config>,
    /// Request target → provider and upstream target.
    pub table: Table,
    /// Gateway keys.
    pub keys: Arc<Keys>,
    /// The key for the metrics.
    pub(crate) metrics_key: MetricsKey,
    /// What browsers are told, if pages may use the gateway.
    pub cors: Option<Cors>,
    /// In the order of `config.providers`, which is also the table's.
    pub upstreams: Vec<ProviderLines>,
    /// Every place that connections lead to, provider by provider.
    sites: Box<[Site]>,
    /// What TLS with each of them depends on.
    pub terms: Arc<[Terms]>,
    /// Which of several keys a request is sent with; shared by all workers.
    pub(crate) choices: Arc<Choices>,
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
        let entries = config.providers.iter().map(|provider| {
            let path = &provider.first.base.path;
            RouteEntry::new(&provider.name, provider.kind, path)
        });
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
        // The usual one is taken away by its name.
        let user_path = Some(&*config.passthrough.user_path_header);
        let user_path = user_path.filter(|it| name(it.as_bytes()) == Name::Other);
        let lines = |provider: &Provider| ProviderLines::new(provider, user_path);
        let upstreams = config.providers.iter().map(lines).collect();
        let stays = config.timeouts.idle_client.as_secs().saturating_sub(1);
        let keep_alive = format!("Connection: keep-alive\r\nKeep-Alive: timeout={stays}\r\n");
        Self {
            table,
            keys,
            metrics_key: MetricsKey::new(config.metrics.key.as_ref()),
            cors: Cors::new(&config.server.cors_origins),
            upstreams,
            sites: sites(&config),
            terms: Arc::default(),
            choices: Arc::default(),
            slots: Slots::default(),
            keep_alive: keep_alive.into_bytes().into(),
            config,
        }
    }

    /// The number here of a site of `other`, if a connection made there would be made here too: the same provider's
    /// name and place, on the same terms.
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
        let (provider, instance) = other.at(index)?;
        let (own, first) = self.named(&provider.name)?;
        let place = own.instances().position(|at| at.is_at(instance))?;
        Some(first + place)
    }

    /// The provider of this name, and the number of its first site.
    fn named(&self, name: &str) -> Option<(&Provider, usize)> {
        let mut providers = self.config.providers.iter().enumerate();
        let (number, own) = providers.find(|(_, own)| own.name == name)?;
        Some((own, self.site_of(number, 0)))
    }

    /// The number of a site that can stand in for one of `other`: an address of the same name, one that is new if there is
    /// one, or the name where it stands for many no more, or did not before. `random` decides which.
    #[must_use]
    pub fn stand_in_of(&self, other: &Self, index: usize, random: u64) -> Option<usize> {
        let (provider, instance) = other.at(index)?;
        let (own, first) = self.named(&provider.name)?;
        let like = own.instances().enumerate();
        let like = like.filter(|(_, at)| at.is_like(instance));
        let mut sites: Vec<usize> = like.map(|(place, _)| first + place).collect();
        let is_new = |site: &usize| other.place_of(self, *site).is_none();
        if sites.iter().any(is_new) {
            sites.retain(is_new);
        }
        let at = usize::try_from(random.checked_rem(sites.len() as u64)?).ok()?;
        sites.get(at).copied()
    }

    /// Whether there is another address now for a name that `other` has a site of: one that it has not, or any in place of
    /// one that is not here any more.
    #[must_use]
    pub fn has_another_for(&self, other: &Self, index: usize) -> bool {
        let site = self.stand_in_of(other, index, 0);
        let is_new = |site: usize| other.place_of(self, site).is_none();
        site.is_some_and(|site| is_new(site) || self.place_of(other, index).is_none())
    }

    /// The number of the site where a provider has this instance.
    #[must_use]
    pub fn site_of(&self, provider: usize, instance: usize) -> usize {
        let first = self.sites.partition_point(|site| site.provider < provider);
        first + instance
    }

    /// How many sites there are.
    #[must_use]
    pub fn site_count(&self) -> usize {
        self.sites.len()
    }

    /// The number of the provider whose site this is.
    #[must_use]
    pub fn provider_at(&self, site: usize) -> Option<usize> {
        Some(self.sites.get(site)?.provider)
    }

    /// Whose site it is, and what is there.
    #[must_use]
    pub fn at(&self, site: usize) -> Option<(&Provider, &Instance)> {
        let Site { provider, instance } = *self.sites.get(site)?;
        let provider = self.config.providers.get(provider)?;
        Some((provider, provider.instance(instance)))
    }

    /// How much content a request may have.
    #[must_use]
    pub(crate) fn content_limit(&self) -> ContentLimit {
        ContentLimit(self.config.limits.body)
    }

    /// The provider with this index and what its requests get.
    #[must_use]
    pub fn provider(&self, index: usize) -> Option<(&Provider, &ProviderLines)> {
        self.config
            .providers
            .get(index)
            .zip(self.upstreams.get(index))
    }
}

/// A place that connections lead to: an instance of a provider.
#[derive(Clone, Copy)]
struct Site {
    provider: usize,
    instance: usize,
}

fn sites(config: &Config) -> Box<[Site]> {
    let providers = config.providers.iter().enumerate();
    let sites = providers.flat_map(|(provider, of)| {
        let instances = 0..of.instances().count();
        instances.map(move |instance| Site { provider, instance })
    });
    sites.collect()
}

/// A digest of all that a TLS connection to a provider depends on: roots, certificate and key of our own. `None`
/// without TLS.
pub(crate) type Terms = Option<[u8; 32]>;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::config::property::load_from;

    /// Two providers, of which one has an instance at each of these addresses of a name, between two others.
    fn gateway(last: &[u8]) -> Gateway {
        resolving("all", last)
    }

    /// The same, where the name stands for all of them or for one server.
    fn resolving(what: &str, last: &[u8]) -> Gateway {
        let toml = "[providers.openai]\napi_key = 'k'\n[providers.vllm]\n\
             [[providers.vllm.instance]]\nbase_url = 'http://first.example/v1'\n\
             [[providers.vllm.instance]]\nbase_url = 'http://many.example/v1'\nresolve = 'WHAT'\n\
             [[providers.vllm.instance]]\nbase_url = 'http://last.example/v1'\n";
        let toml = toml.replace("WHAT", what);
        let config = Arc::new(load_from(&[], "", &toml).unwrap());
        let addresses: Vec<IpAddr> = { last.iter() }
            .map(|last| Ipv4Addr::new(10, 0, 0, *last).into())
            .collect();
        let (config, _) = config.spread(|_| addresses.clone());
        Gateway::new(config, Arc::new(Keys::new(None, None, None)))
    }

    #[test]
    fn a_site_is_known_again_by_its_address() {
        let (old, new) = (gateway(&[1, 2, 4]), gateway(&[2, 3, 4, 5]));
        let places: Vec<_> = (0..7).map(|site| new.place_of(&old, site)).collect();
        // openai, the first, 10.0.0.1, .2, .4, the last, and none.
        let expected = [Some(0), Some(1), None, Some(2), Some(4), Some(6), None];
        assert_eq!(places, expected);
        let same = (0..6).map(|site| old.place_of(&old, site));
        assert!(same.eq((0..6).map(Some)));
    }

    #[test]
    fn another_address_of_its_name_stands_in_for_one_that_left() {
        let (old, new) = (gateway(&[1]), gateway(&[2, 3]));
        let stand_ins = (0..4).map(|random| new.stand_in_of(&old, 2, random));
        assert!(stand_ins.eq([Some(2), Some(3), Some(2), Some(3)]));
        // What is new was not tried.
        let (old, new) = (gateway(&[1, 2]), gateway(&[2, 3]));
        let stand_ins = (0..2).map(|random| new.stand_in_of(&old, 2, random));
        assert!(stand_ins.eq([Some(3), Some(3)]));
        let (old, new) = (gateway(&[1]), gateway(&[2, 3]));
        // Nothing is known of it yet, or any more.
        let unknown = gateway(&[]);
        assert_eq!(unknown.stand_in_of(&old, 2, 7), Some(2));
        assert_eq!(new.stand_in_of(&unknown, 2, 1), Some(3));
        // A reload has changed what it stands for.
        let one = resolving("one", &[]);
        assert_eq!(one.stand_in_of(&old, 2, 7), Some(2));
        assert_eq!(new.stand_in_of(&one, 2, 1), Some(3));
        assert_eq!(one.place_of(&old, 2), None);
        assert_eq!(one.place_of(&resolving("all", &[]), 2), Some(2));
        let (old, more, less) = (gateway(&[1, 2]), gateway(&[1, 2, 3]), gateway(&[2]));
        let another = [&old, &more, &less].map(|new| new.has_another_for(&old, 2));
        assert_eq!(another, [false, true, true]);
        // Others are what they are.
        let (old, new) = (gateway(&[1]), gateway(&[2, 3]));
        let others = [0, 1, 3].map(|site| new.stand_in_of(&old, site, 7));
        assert_eq!(others, [Some(0), Some(1), Some(4)]);
    }
}
