//! What workers are told of settings, keys and certificates that were read, and whether that may come behind what is in
//! force.

use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, Instance};
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

/// What workers need, and how the keys file is looked at from now on, or why that goes on as before; `before` and
/// `slots` are those so far.
pub(super) fn settings(
    read: Read,
    mut before: Option<Before<'_>>,
    slots: &Slots,
) -> Result<(WorkerConfig, Result<Watch, String>), String> {
    let Read {
        config,
        mut entries,
        tls,
    } = read;
    let unfinished = { before.as_mut() }.and_then(|it| it.stay(&config, &mut entries));
    let known = before.as_ref().map(|before| before.choices);
    let names = config.providers.iter().map(|provider| &*provider.name);
    let slots = slots.next(names);
    let old = before.as_ref().map(|before| before.keys);
    let keys = Keys::new(config.auth.master_key.as_ref(), entries.as_deref(), old);
    if let Some(before) = &before {
        check_last_key(&keys, before.keys, &config)?;
        config.may_follow(before.config)?;
    }
    let offers = config.providers.iter().map(|provider| Offer {
        name: &provider.name,
        keys: provider.keys().map(|key| sha256(key.expose())).collect(),
        balance: provider.balance,
        instances: provider.instances().map(listed).collect(),
        is_probed: provider.health.is_some(),
        limits: provider.limits,
    });
    // Behind all that can refuse it: what is chosen from is shared with what is in force, and changes with it.
    let choices = Choices::new(offers, known, monotonic_nanos());
    let workers = workers(&config);
    let connections = config.limits.connections;
    let settings = WorkerConfig {
        connections: connections.map_or_else(|| descriptors::connections(workers), Into::into),
        config: Arc::new(config),
        keys: Arc::new(keys),
        tls,
        choices,
        slots,
    };
    let file = settings.config.auth.keys_file.as_deref();
    let watch = unfinished.map_or_else(|| Ok(Watch::new(file, entries)), Err);
    Ok((settings, watch))
}

/// What is in force when other settings are read.
pub(super) struct Before<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The keys themselves.
    pub keys: &'a Keys,
    /// What is known of providers' keys.
    pub choices: &'a Choices,
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

/// An instance is known again by its place.
fn listed(instance: &Instance) -> Listed {
    Listed {
        identity: identity(instance.base.to_string().as_bytes()),
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
pub(super) fn warn_of_settings(log: &Log, settings: &WorkerConfig) {
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
