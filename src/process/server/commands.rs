//! What operators' commands do to a running gateway: instances are drained, and that is ended.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crate::config::Provider;
use crate::log::Value;
use crate::process::control::Obey;
use crate::process::control::answer::{Answer, Instance};
use crate::process::control::naming;
use crate::process::control::request::Request;
use crate::process::handover::Predecessor;
use crate::providers::group::{Group, Health, InstanceState};
use crate::providers::micros;
use crate::system::confine::Rules;
use crate::system::time::monotonic_nanos;

use super::state::{Command, Event, Server};
use super::{StartError, system};

/// How long a command waits for the main thread, which may be at a file.
const PATIENCE: Duration = Duration::from_secs(4);

impl Server {
    /// Takes commands from now on, if that is configured.
    pub(super) fn take_commands(&mut self, rules: Rules) -> Result<(), StartError> {
        let events = self.events.clone();
        let obey: Obey = Arc::new(move |request| {
            let (asker, answer) = sync_channel(1);
            let _ = events.send(Event::Command(Command { request, asker }));
            answer.recv_timeout(PATIENCE).unwrap_or(Answer::Again)
        });
        let Some(control) = &mut self.control else {
            return Ok(());
        };
        let served = control.serve(rules, obey);
        served.map_err(|error| system("server.control", &error))
    }

    /// Does what an operator wants, and says so.
    pub(super) fn obey(&self, command: Command) {
        let Command { request, asker } = command;
        let answer = match request {
            Request::List => self.list(),
            // What is handed over to the next process is known already.
            _ if self.successor.is_some() => Answer::Again,
            Request::Drain { name, force } => self.change(&name, |it| it.drain(force)),
            Request::Undrain { name } => self.change(&name, |it| Ok(it.undrain())),
        };
        // Whoever asked may have gone.
        let _ = asker.try_send(answer);
    }

    fn list(&self) -> Answer {
        let providers = self.spread.providers.iter().enumerate();
        let instances = providers.flat_map(|(index, provider)| {
            let group = self.choices.group(index).map(Arc::as_ref);
            (0..provider.instances().count()).map(move |at| shown(provider, group, at))
        });
        Answer::Instances {
            instances: instances.collect(),
            predecessor: self.predecessor.as_ref().is_some_and(Predecessor::is_there),
        }
    }

    fn change(&self, name: &str, change: impl Fn(&Site<'_>) -> Result<bool, String>) -> Answer {
        let changed = naming::find(&self.spread, name).and_then(|(provider, instance)| {
            let site = self.site(provider, instance).ok_or("it has gone")?;
            let changed = change(&site)?;
            Ok((site, changed))
        });
        match changed {
            Err(why) => Answer::Refused { why },
            Ok((site, changed)) => {
                let instance = shown(site.provider, Some(site.group), site.instance);
                if changed {
                    self.say(&instance);
                }
                Answer::Done { changed, instance }
            }
        }
    }

    fn site(&self, provider: usize, instance: usize) -> Option<Site<'_>> {
        Some(Site {
            group: self.choices.group(provider)?,
            provider: self.spread.providers.get(provider)?,
            instance,
        })
    }

    fn say(&self, instance: &Instance) {
        let fields = [
            ("provider", Value::Text(&instance.provider)),
            ("instance", Value::Number(instance.instance)),
            ("base_url", Value::Text(&instance.base_url)),
            ("under_way", Value::Number(instance.under_way.unwrap_or(0))),
        ];
        let address = { instance.address.iter() }.map(|address| ("address", Value::Text(address)));
        let fields: Vec<_> = fields.into_iter().chain(address).collect();
        match instance.drained {
            true => self
                .log
                .info("an instance is drained: it gets nothing new", &fields),
            false => self
                .log
                .info("an instance is not drained any more", &fields),
        }
    }

    /// Drains what was drained in the process before.
    pub(super) fn drain_again(&self, drained: &[u64]) {
        for (provider, instance) in self.choices.drain(drained) {
            if let Some(site) = self.site(provider, instance) {
                self.say(&shown(site.provider, Some(site.group), instance));
            }
        }
    }

    /// Says which providers serve nobody, as a reload left them drained instances alone.
    pub(super) fn warn_of_drained(&self) {
        for (index, provider) in self.config.providers.iter().enumerate() {
            let group = self.choices.group(index);
            if group.is_some_and(|group| !group.has_any()) {
                let provider = ("provider", Value::Text(&provider.name));
                let what =
                    "all instances of a provider are drained or weigh nothing: it serves nobody";
                self.log.warn(what, &[provider]);
            }
        }
    }
}

/// An instance of several.
struct Site<'a> {
    provider: &'a Provider,
    group: &'a Group,
    instance: usize,
}

impl Site<'_> {
    /// Whether this changed anything.
    fn drain(&self, force: bool) -> Result<bool, String> {
        let is_drained = self.state().is_some_and(|state| state.draining);
        if !force && !is_drained && !self.group.serves_without(self.instance) {
            return Err(format!(
                "{}/{} is the last instance that serves; --force drains it all the same",
                self.provider.name,
                self.provider.instance(self.instance).label()
            ));
        }
        Ok(self.group.drain(self.instance))
    }

    fn undrain(&self) -> bool {
        self.group.undrain(self.instance, now())
    }

    fn state(&self) -> Option<InstanceState> {
        self.group.state(self.instance, now())
    }
}

fn now() -> u64 {
    micros(monotonic_nanos())
}

/// How an instance is.
fn shown(provider: &Provider, group: Option<&Group>, instance: usize) -> Instance {
    let state = group.and_then(|group| group.state(instance, now()));
    let out_s = match state.map(|state| state.health) {
        Some(Health::Ejected(time)) => Some(time.as_secs()),
        _ => None,
    };
    let at = provider.instance(instance);
    Instance {
        provider: provider.name.clone(),
        instance: at.number.into(),
        address: at.address.map(|address| address.to_string()),
        base_url: at.base.to_string(),
        drained: state.is_some_and(|state| state.draining),
        health: state.map(|state| word(state.health).to_owned()),
        out_s,
        under_way: state.map(|state| state.under_way.into()),
        requests_total: state.map(|state| state.chosen),
        failures_total: state.map(|state| state.failed),
    }
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Well => "serves",
        Health::SlowStart(_) => "comes back",
        Health::Ejected(_) | Health::Due => "out",
        Health::Trial => "is tried",
        Health::Down => "down",
    }
}
