//! Settings, keys and certificates read anew while everything goes on.

use crate::log::Value;
use crate::net::core::in_force::WorkerConfig;
use crate::net::worker::messages::Message;
use crate::system::notify;
use crate::system::time::unix_seconds;

use super::settings::{Before, Read, settings, warn_of_settings};
use super::state::{Change, Event, Reading, Server};

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
            config: &self.config,
            keys: &self.keys,
            file: self.config.auth.keys_file.as_deref(),
            watch: &mut self.watch,
        };
        let read = read.and_then(|read| settings(*read, Some(before), &self.slots));
        match read {
            Ok((settings, watch)) => {
                self.reloads.succeeded(unix_seconds());
                if self.config.fixed() != settings.config.fixed() {
                    self.log.warn(
                        "server.listen, workers, driver, spin, landlock, dumpable, control, metrics.listen and log \
                         take effect with the next start",
                        &[],
                    );
                }
                warn_of_settings(&self.log, &settings);
                self.names.go_by(&settings.config);
                let for_workers = settings.for_workers(&self.names, Some(&self.choices), &self.log);
                self.config = settings.config.clone();
                self.keep_alive();
                self.put_in_force(settings.keys.clone());
                match watch {
                    Ok(watch) => self.watch = watch,
                    Err(why) => self.say_unfinished(&why),
                }
                self.tls = settings.tls;
                self.slots = settings.slots;
                self.give_to_workers(&for_workers, Change::Configuration);
            }
            Err(error) => {
                self.reloads.failed();
                self.log.error(
                    "the new configuration is broken; the old one stays",
                    &[("error", Value::Text(&error))],
                );
                notify::ready();
            }
        }
    }

    /// Has workers go by this, which differs by `change` from what they went by.
    pub(super) fn give_to_workers(&mut self, for_workers: &WorkerConfig, change: Change) {
        self.share_limits(&for_workers.choices);
        (self.spread, self.choices) = (for_workers.config.clone(), for_workers.choices.clone());
        self.export();
        self.warn_of_drained();
        let applied = self.applied(change);
        self.tell_all(|| Message::Reload(for_workers.clone(), applied.clone()));
    }
}
