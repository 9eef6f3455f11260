//! Names that stand for an instance at each of their addresses (`resolve = "all"`): what is known of them, and how they are
//! looked up. [`Roster`] says when to ask and what an answer changes.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::config::Config;
use crate::log::{Log, Value};
use crate::net::core::deadline::since_boot;
use crate::net::upstream::resolve::{Post, Resolved, Resolver};
use crate::providers::roster::{self, Answers, Roster};
use crate::system::confine::Rules;

/// Most reports of addresses that were not reached which wait to be looked at; others are lost, and repeat themselves.
const REPORTS_MAX: usize = 64;

/// See the module's documentation.
pub(super) struct Names {
    resolver: Resolver,
    post: Arc<Post>,
    known: BTreeMap<Box<str>, Known>,
    /// Reports that wait to be looked at.
    reports: Arc<AtomicUsize>,
    /// Changes of addresses that not all workers have yet.
    given: u32,
}

#[derive(Default)]
struct Known {
    roster: Roster,
    answers: Arc<Answers>,
    /// The last question had no answer, which was said.
    is_failing: bool,
    /// When the last question was asked that is over, with an answer or without.
    settled: Duration,
}

/// Another set of addresses.
pub(super) struct Moved {
    name: Box<str>,
    change: roster::Change,
    /// How many there are now.
    count: usize,
}

impl Names {
    /// Starts the threads that look names up, confined by `rules`. Answers go to `resolved`, addresses that workers did not
    /// reach to `unreached`: both are to come back here.
    pub(super) fn start(
        rules: Rules,
        resolved: impl Fn(Resolved) + Send + Sync + 'static,
        unreached: impl Fn(Box<str>, IpAddr, Duration) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let reports = Arc::<AtomicUsize>::default();
        let waiting = reports.clone();
        let report = move |name: &str, address: IpAddr, at: Duration| match waiting
            .fetch_add(1, Ordering::Relaxed)
            < REPORTS_MAX
        {
            true => unreached(name.into(), address, at),
            false => drop(waiting.fetch_sub(1, Ordering::Relaxed)),
        };
        Ok(Self {
            resolver: Resolver::start(rules, Arc::new(report))?,
            post: Arc::new(resolved),
            known: BTreeMap::new(),
            reports,
            given: 0,
        })
    }

    /// Who looks names up.
    pub(super) fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Knows the names of this configuration, and no others.
    pub(super) fn go_by(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.known);
        for name in config.names_of_many() {
            if !self.known.contains_key(name) {
                let known = before.remove(name).unwrap_or_default();
                self.known.insert(name.into(), known);
            }
        }
    }

    /// The addresses of a name, in their order.
    pub(super) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let known = self.known.get(name);
        known.map_or_else(Vec::new, |known| known.roster.addresses().collect())
    }

    /// What came of asking for it.
    pub(super) fn answers(&self, name: &str) -> Arc<Answers> {
        let known = self.known.get(name);
        known.map_or_else(Arc::default, |known| known.answers.clone())
    }

    /// Asks whatever is due, and says in what time something is again.
    pub(super) fn ask(&mut self, every: Duration) -> Option<Duration> {
        let now = since_boot();
        for (name, known) in &mut self.known {
            if known.roster.due(every).is_some_and(|at| at <= now) {
                known.roster.ask(now);
                self.resolver.ask(name, self.post.clone());
            }
        }
        let due = self.known.values().filter_map(|it| it.roster.due(every));
        due.min().map(|at| at.saturating_sub(now))
    }

    /// Whether a question has no answer yet.
    pub(super) fn is_waiting(&self, every: Duration) -> bool {
        let mut known = self.known.values();
        known.any(|known| known.roster.due(every).is_none())
    }

    /// Takes an answer in; what it changes.
    pub(super) fn answered(
        &mut self,
        answer: Resolved,
        every: Duration,
        log: &Log,
    ) -> Option<Moved> {
        answer.tell(log);
        let (name, found) = answer.into_parts();
        // It may have gone with a reload.
        let known = self.known.get_mut(&name)?;
        known.settled = known.roster.asked();
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                known.roster.unanswered();
                known.fails(&name, &error, log);
                return None;
            }
        };
        if std::mem::take(&mut known.is_failing) {
            let fields = [("name", Value::Text(&name))];
            log.info("a name has an answer again", &fields);
        }
        let change = known.roster.answered(&found, every);
        let count = match &change {
            Some(_) => &known.answers.changed,
            None => &known.answers.same,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let count = known.roster.addresses().count();
        change.map(|change| Moved {
            name,
            change,
            count,
        })
    }

    /// Workers are given other addresses.
    pub(super) fn are_given(&mut self) {
        self.given += 1;
    }

    /// All of them have what they were given at one time.
    pub(super) fn are_in_force(&mut self) {
        self.given = self.given.saturating_sub(1);
        self.settle();
    }

    /// Says that workers go by the last answers, unless there are others on their way to them.
    pub(super) fn settle(&self) {
        for known in self.known.values().filter(|_| self.given == 0) {
            known.answers.are_in_force(known.settled);
        }
    }

    /// Nobody was reached at an address then.
    pub(super) fn is_unreached(&mut self, name: &str, address: IpAddr, at: Duration) {
        self.reports.fetch_sub(1, Ordering::Relaxed);
        if let Some(known) = self.known.get_mut(name) {
            known.roster.doubt(address, at);
        }
    }

    /// Says which names nothing is known of, beyond those that it was said of.
    pub(super) fn tell_of_unknown(&self, log: &Log) {
        let silent = self
            .known
            .iter()
            .filter(|(_, known)| !known.is_failing && known.roster.addresses().next().is_none());
        for (name, _) in silent {
            log.warn(NOT_YET, &[("name", Value::Text(name))]);
        }
    }
}

/// Said where nothing is known of a name.
const NOT_YET: &str = "a name has no address yet, and stands for one instance until it has";

impl Known {
    /// Says so once.
    fn fails(&mut self, name: &str, error: &io::Error, log: &Log) {
        self.answers.failed.fetch_add(1, Ordering::Relaxed);
        if std::mem::replace(&mut self.is_failing, true) {
            return;
        }
        let fields = [("name", Value::Text(&name)), ("error", Value::Text(error))];
        match self.roster.addresses().next() {
            Some(_) => log.warn("a name has no answer; its addresses stay", &fields),
            None => log.warn(NOT_YET, &fields),
        }
    }
}

impl Moved {
    /// Tells of it, once it is in force.
    pub(super) fn tell(&self, log: &Log) {
        let listed = |addresses: &[IpAddr]| {
            let each = addresses.iter().map(IpAddr::to_string);
            each.collect::<Vec<_>>().join(" ")
        };
        let (added, removed) = (listed(&self.change.added), listed(&self.change.removed));
        let mut fields = vec![("name", Value::Text(&self.name))];
        for (what, listed) in [("added", &added), ("removed", &removed)] {
            fields.extend((!listed.is_empty()).then_some((what, Value::Text(listed))));
        }
        fields.push(("addresses", Value::Number(self.count as u64)));
        log.info("a name stands for other addresses", &fields);
    }
}
