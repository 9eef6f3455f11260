//! WorkerConfig, keys and certificates read anew while everything goes on.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::log::Value;
use crate::net::core::in_force::WorkerConfig;
use crate::net::transport::tls_config::{self, TlsConfigs};
use crate::net::worker::messages::Message;
use crate::observe::Slots;
use crate::policy::auth::Keys;
use crate::process::watch::{Entries, Watch};
use crate::system::descriptors;
use crate::system::notify;

use super::{Change, Event, Load, Server, check_last_key, warn_of_settings, workers};

/// Whether settings are being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    No,
    Yes,
    /// Somebody has asked again meanwhile: what is being read may be old.
    Again,
}

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

impl Server {
    /// Has everything read anew by a thread of its own, so that signals are heeded whatever that waits for; an event
    /// brings what was read.
    pub(super) fn reload(&mut self) {
        self.log.reopen();
        if self.reading != Reading::No {
            self.reading = Reading::Again;
            return;
        }
        self.start_reading();
    }

    fn start_reading(&mut self) {
        notify::reloading();
        let (load, events, tls) = (self.load.clone(), self.events.clone(), self.tls.clone());
        let thread = std::thread::Builder::new().name("reload".into());
        let started = thread.spawn(move || {
            let _ = events.send(Event::Read(Read::with(&load, Some(&tls)).map(Box::new)));
        });
        match started {
            Ok(_) => self.reading = Reading::Yes,
            Err(error) => self.put_read_in_force(Err(format!("no thread to read it: {error}"))),
        }
    }

    /// Puts in force what was read, and reads once more if somebody has asked meanwhile.
    pub(super) fn has_read(&mut self, read: Result<Box<Read>, String>) {
        let asked = std::mem::replace(&mut self.reading, Reading::No);
        self.put_read_in_force(read);
        if asked == Reading::Again {
            self.start_reading();
        }
    }

    fn put_read_in_force(&mut self, read: Result<Box<Read>, String>) {
        let before = Before {
            keys: &self.keys,
            file: self.config.auth.keys_file.as_deref(),
            watch: &mut self.watch,
        };
        let read = read.and_then(|read| {
            let read = settings(*read, Some(before), &self.slots)?;
            read.0.config.may_follow(&self.config)?;
            Ok::<_, String>(read)
        });
        match read {
            Ok((settings, watch)) => {
                if self.config.fixed() != settings.config.fixed() {
                    self.log.warn(
                        "server.listen, workers, driver, spin, landlock, dumpable, metrics.listen and log \
                         take effect with the next start",
                        &[],
                    );
                }
                warn_of_settings(&self.log, &settings);
                self.config = settings.config.clone();
                self.keep_alive();
                self.put_in_force(settings.keys.clone());
                match watch {
                    Ok(watch) => self.watch = watch,
                    Err(why) => self.say_unfinished(&why),
                }
                self.tls = settings.tls.clone();
                self.slots = settings.slots.clone();
                let applied = self.applied(Change::Configuration);
                self.tell_all(|| Message::Reload(settings.clone(), applied.clone()));
            }
            Err(error) => {
                self.log.error(
                    "the new configuration is broken; the old one stays",
                    &[("error", Value::Text(&error))],
                );
                notify::ready();
            }
        }
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
    let before = before.map(|before| before.keys);
    let names = config.providers.iter().map(|provider| &*provider.name);
    let slots = slots.next(names);
    let keys = Keys::new(config.auth.master_key.as_ref(), entries.as_deref(), before);
    if let Some(before) = before {
        check_last_key(&keys, before, &config)?;
    }
    let workers = workers(&config);
    let connections = config.limits.connections;
    let settings = WorkerConfig {
        connections: connections.map_or_else(|| descriptors::connections(workers), Into::into),
        config: Arc::new(config),
        keys: Arc::new(keys),
        tls,
        slots,
    };
    let file = settings.config.auth.keys_file.as_deref();
    let watch = unfinished.map_or_else(|| Ok(Watch::new(file, entries)), Err);
    Ok((settings, watch))
}

/// What is in force when other settings are read.
pub(super) struct Before<'a> {
    keys: &'a Keys,
    /// The keys file.
    file: Option<&'a Path>,
    watch: &'a mut Watch,
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
