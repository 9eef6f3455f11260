//! What workers are told of settings, keys and certificates that were read, and whether that may come behind what is in
//! force.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, Instance, Provider, Surplus};
use crate::log::{Log, Value};
use crate::net::core::in_force::WorkerConfig;
use crate::net::transport::tls_config::{self, TlsConfigs};
use crate::observe::Slots;
use crate::policy::auth::{Keys, sha256};
use crate::process::watch::{Entries, Watch};
use crate::providers::group::{Listed, identity};
use crate::providers::{Choices, Offer};
use crate::system::descriptors;
use crate::system::time::{monotonic_nanos, unix_seconds};

use super::names::Names;

/// Reads the configuration; called at the start and on every SIGHUP, by a thread of its own then.
pub(crate) type Load = Arc<dyn Fn() -> Result<Loaded, String> + Send + Sync>;

/// A configuration and the entries of its keys file, if it names one.
pub(crate) type Loaded = (Config, Option<Entries>);

/// What files and environment say.
pub(super) struct Read {
    config: Config,
    entries: Option<Entries>,
    tls: TlsConfigs,
}

impl Read {
    /// Reads all of it. May wait: for a file system on a network, or a configuration that is a FIFO.
    /// Certificates and roots that are as they were `before` keep their sessions.
    pub(super) fn with(load: &Load, before: Option<&TlsConfigs>) -> Result<Self, String> {
        let (config, entries) = load()?;
        let tls = tls_config::load(&config, before)?;
        Ok(Self {
            config,
            entries,
            tls,
        })
    }
}

/// What is to be in force, whatever its names stand for.
pub(super) struct Settled {
    pub(super) config: Arc<Config>,
    pub(super) keys: Arc<Keys>,
    /// Towards the instances as they are configured.
    pub(super) tls: TlsConfigs,
    pub(super) slots: Slots,
}

/// What is to be in force, and how the keys file is looked at from now on, or why that goes on as before; `before` and
/// `slots` are those so far.
pub(super) fn settings(
    read: Read,
    mut before: Option<Before<'_>>,
    slots: &Slots,
) -> Result<(Settled, Result<Watch, String>), String> {
    let Read {
        config,
        mut entries,
        tls,
    } = read;
    let unfinished = { before.as_mut() }.and_then(|it| it.stay(&config, &mut entries));
    let names = config.providers.iter().map(|provider| &*provider.name);
    let slots = slots.next(names);
    let old = before.as_ref().map(|before| before.keys);
    let keys = Keys::new(config.auth.master_key.as_ref(), entries.as_deref(), old);
    if let Some(before) = &before {
        check_last_key(&keys, before.keys, &config)?;
        config.may_follow(before.config)?;
    }
    let settings = Settled {
        config: Arc::new(config),
        keys: Arc::new(keys),
        tls,
        slots,
    };
    let file = settings.config.auth.keys_file.as_deref();
    let watch = unfinished.map_or_else(|| Ok(Watch::new(file, entries)), Err);
    Ok((settings, watch))
}

impl Settled {
    /// What workers need of it, with an instance for each address that is known of a name which stands for many. It can be
    /// refused no more: what is chosen from is shared with what was in force `before`, and changes with it.
    pub(super) fn for_workers(
        &self,
        names: &Names,
        before: Option<&Choices>,
        log: &Log,
    ) -> WorkerConfig {
        let (config, surplus) = self.config.spread(|name| names.addresses(name));
        warn_of_surplus(log, &surplus);
        let offers = config.providers.iter();
        let offers = offers.map(|provider| offer(provider, names));
        let choices = Choices::new(offers, before, monotonic_nanos());
        let workers = workers(&config);
        let connections = config.limits.connections;
        WorkerConfig {
            connections: connections.map_or_else(|| descriptors::connections(workers), Into::into),
            tls: match Arc::ptr_eq(&config, &self.config) {
                true => self.tls.clone(),
                false => self
                    .tls
                    .of_sites(&sites_as_configured(&self.config, &config)),
            },
            config,
            keys: self.keys.clone(),
            choices,
            slots: self.slots.clone(),
        }
    }
}

/// What there is to choose from.
fn offer<'p>(provider: &'p Provider, names: &Names) -> Offer<'p> {
    let are_told_apart = provider.is_group() || provider.first.concurrency.is_some();
    let instances = || provider.instances().filter(move |_| are_told_apart);
    let many: BTreeSet<&str> = instances().filter_map(Instance::name_of_many).collect();
    Offer {
        name: &provider.name,
        keys: provider.keys().map(|key| sha256(key.expose())).collect(),
        balance: provider.balance,
        instances: instances().map(listed).collect(),
        labels: instances().map(Instance::label).collect(),
        names: { many.into_iter() }
            .map(|name| (name.to_owned(), names.answers(name)))
            .collect(),
        is_probed: provider.health.is_some(),
        limits: provider.limits,
    }
}

/// The number that the site of each instance of `spread` has in the configuration that it was made of.
fn sites_as_configured(configured: &Config, spread: &Config) -> Vec<usize> {
    let (mut sites, mut first) = (Vec::new(), 0);
    for (as_configured, provider) in configured.providers.iter().zip(&spread.providers) {
        let numbers = provider.instances().map(|it| usize::from(it.number));
        sites.extend(numbers.map(|number| first + number.saturating_sub(1)));
        first += as_configured.instances().count();
    }
    sites
}

/// Says that some addresses of a name get nothing.
fn warn_of_surplus(log: &Log, surplus: &[Surplus]) {
    for of in surplus {
        log.warn(
            "a name has more addresses than there can be instances",
            &[
                ("provider", Value::Text(&of.provider)),
                ("name", Value::Text(&of.name)),
                ("addresses", Value::Number(of.addresses as u64)),
                ("used", Value::Number(of.used as u64)),
            ],
        );
    }
}

/// What is in force when other settings are read.
pub(super) struct Before<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The keys themselves.
    pub keys: &'a Keys,
    /// The keys file.
    pub file: Option<&'a Path>,
    /// Who looks at it.
    pub watch: &'a mut Watch,
}

impl Before<'_> {
    /// Puts the entries in force in the place of those that were read, if the same file cannot be meant as it is;
    /// why not.
    fn stay(&mut self, config: &Config, entries: &mut Option<Entries>) -> Option<String> {
        let file = self
            .file
            .filter(|file| Some(*file) == config.auth.keys_file.as_deref())?;
        let why = self.watch.doubts(file, entries.as_ref()?)?;
        *entries = self.watch.entries();
        Some(why)
    }
}

/// An instance is known again by its place, and by its address where it is one of many of a name.
fn listed(instance: &Instance) -> Listed {
    Listed {
        identity: identity(instance.to_string().as_bytes()),
        weight: instance.weight,
        limit: instance.concurrency,
    }
}

/// Whether these keys may come after those in force.
pub(super) fn check_last_key(keys: &Keys, before: &Keys, config: &Config) -> Result<(), String> {
    let allowed = config.auth.open.then_some(Ok(()));
    let checked = allowed.unwrap_or_else(|| keys.may_follow(before, unix_seconds()));
    checked.map_err(|why| format!("auth: {why}"))
}

/// Says what is in force and can hardly be meant so.
pub(super) fn warn_of_settings(log: &Log, settings: &Settled) {
    for warning in settings.tls.warnings(unix_seconds()) {
        let fields = [("certificate", Value::Text(&warning))];
        log.warn("a certificate needs care", &fields);
    }
    for warning in &settings.config.warnings {
        let fields = [("setting", Value::Text(warning))];
        log.warn("a setting can hardly be meant so", &fields);
    }
}

/// Those that serve clients.
pub(super) fn workers(config: &Config) -> usize {
    config.server.workers.map_or_else(usable_cores, Into::into)
}

/// Cores that this process may run on: the affinity mask and the cgroup's quota count.
fn usable_cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}
