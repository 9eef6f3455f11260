//! Names that stand for an instance at each of their addresses are waited for at the start; later the main thread puts
//! other addresses in force as a reload would.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::log::Log;
use crate::net::core::in_force::WorkerConfig;
use crate::net::upstream::resolve::Resolved;
use crate::system::confine::Rules;

use super::names::Names;
use super::settings::Settled;
use super::state::{Change, Event, Server};

/// How long a start waits for the addresses of all names.
const START_WAIT: Duration = Duration::from_secs(3);

/// Both ends of what the main thread waits for.
pub(super) type Events<'e> = (&'e Sender<Event>, &'e Receiver<Event>);

/// Has names looked up, by threads that are confined by `rules`, and says what workers need once they have an answer, or
/// without one in the end.
///
/// # Errors
/// When there is no thread to be had.
pub(super) fn begin(
    rules: Rules,
    events: Events<'_>,
    settled: &Settled,
    log: &Log,
) -> io::Result<(Names, WorkerConfig)> {
    let (answers, reports) = (events.0.clone(), events.0.clone());
    // Nobody listens any more when the process ends.
    let mut names = Names::start(
        rules,
        move |answer| drop(answers.send(Event::Resolved(answer))),
        move |name, address, at| drop(reports.send(Event::Unreached(name, address, at))),
    )?;
    names.go_by(&settled.config);
    wait(&mut names, events, &settled.config, log);
    names.tell_of_unknown(log);
    let for_workers = settled.for_workers(&names, None, log);
    Ok((names, for_workers))
}

/// Waits until all names have an answer, for a while; other events keep.
fn wait(names: &mut Names, (events, arrived): Events<'_>, config: &Config, log: &Log) {
    let (every, began, mut others) = (config.address_age, Instant::now(), Vec::new());
    names.ask(every);
    while names.is_waiting(every)
        && let Some(left) = START_WAIT.checked_sub(began.elapsed())
    {
        match arrived.recv_timeout(left) {
            Ok(Event::Resolved(answer)) => {
                if let Some(moved) = names.answered(answer, every, log) {
                    moved.tell(log);
                }
            }
            Ok(other) => others.push(other),
            Err(_) => {}
        }
    }
    for event in others {
        // The other end is at hand.
        let _ = events.send(event);
    }
}

impl Server {
    /// An answer has come; other addresses are put in force as another configuration would be.
    pub(super) fn has_resolved(&mut self, answer: Resolved) {
        let every = self.config.address_age;
        let Some(moved) = self.names.answered(answer, every, &self.log) else {
            self.names.settle();
            return;
        };
        self.names.are_given();
        let settled = Settled {
            config: self.config.clone(),
            keys: self.keys.clone(),
            tls: self.tls.clone(),
            slots: self.slots.clone(),
        };
        let for_workers = settled.for_workers(&self.names, Some(&self.choices), &self.log);
        self.give_to_workers(&for_workers, Change::Addresses(Arc::new(moved)));
    }
}
