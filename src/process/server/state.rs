//! A running gateway as the main thread knows it, and what happens to it.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::log::Log;
use crate::net::client::scrape::Scribe;
use crate::net::sockets::mailbox::Mailbox;
use crate::net::transport::tls_config::TlsConfigs;
use crate::net::upstream::resolve::Resolved;
use crate::net::worker::messages::Message;
use crate::observe::{Counters, Reloads, Slots};
use crate::otlp::Exporter;
use crate::policy::auth::Keys;
use crate::policy::visitors::Visitors;
use crate::process::control::answer::Answer;
use crate::process::control::{self, Control, Place};
use crate::process::handover::{Handle, Packet, Predecessor, Successor};
use crate::process::listen::Listener;
use crate::process::watch::Watch;
use crate::providers::Choices;
use crate::providers::queue::handed::To;
use crate::system::signals::Request;

use super::names::{Moved, Names};
use super::settings::{Load, Read};
use super::shared::Shared;

/// A running gateway.
pub(crate) struct Server {
    pub(super) workers: Vec<Mailbox<Message>>,
    pub(super) counters: Arc<[Counters]>,
    /// How the last reload went.
    pub(super) reloads: Arc<Reloads>,
    /// Writes the metrics.
    pub(super) scribe: Scribe,
    /// Sends spans and metrics, where a collector is configured.
    pub(super) exporter: Exporter,
    /// Where it listens. Kept to be handed over; the workers accept from clones.
    pub(super) listeners: Arc<[Listener]>,
    /// Where operators' commands come in, if anywhere.
    pub(super) control: Option<Control>,
    /// Where they came in to the process before, if nowhere now.
    pub(super) forsaken: Option<Place>,
    /// What is said of limits to the processes before and behind.
    pub(super) shared: Shared,
    /// The process before, of which it is known when it ends.
    pub(super) predecessor: Option<Predecessor>,
    /// The process that follows this one, and accepts.
    pub(super) succeeded_by: Option<Successor>,
    pub(super) log: Log,
    pub(super) load: Load,
    /// Whether a reload is under way.
    pub(super) reading: Reading,
    /// In force, as it was configured: names that stand for many instances stand in it. A reload replaces it.
    pub(super) config: Arc<Config>,
    /// In force, as workers have it: with an instance for each address of those names.
    pub(super) spread: Arc<Config>,
    /// In force; what is counted for a key goes on with the next ones.
    pub(super) keys: Arc<Keys>,
    /// In force; what is known of a provider's key goes on with the next ones.
    pub(super) choices: Arc<Choices>,
    /// In force; what stays the same in the next ones keeps its sessions.
    pub(super) tls: TlsConfigs,
    /// Were in force; freed here and not by the worker that lets go of them last, for they may be many.
    pub(super) retired: Vec<Arc<Keys>>,
    pub(super) watch: Watch,
    /// When the keys file is looked at next.
    pub(super) look_at: Instant,
    /// Names that stand for many instances.
    pub(super) names: Names,
    /// Where providers are counted, those of earlier configurations included.
    pub(super) slots: Slots,
    /// Started, and not known to accept.
    pub(super) successor: Option<Handle>,
    /// What is known of clients' addresses, whatever the configuration.
    pub(super) visitors: Arc<Visitors>,
    /// Where a hand-over reports.
    pub(super) events: Sender<Event>,
    pub(super) arrived: Receiver<Event>,
}

/// What the main thread waits for.
pub(super) enum Event {
    Asked(Request),
    /// A successor accepts, or never will.
    Succession(io::Result<Successor>),
    /// What a reload wanted to know.
    Read(Result<Box<Read>, String>),
    /// All workers have it.
    InForce(Change),
    /// A name that stands for many instances was looked up.
    Resolved(Resolved),
    /// Nobody could be reached at this address of such a name then.
    Unreached(Box<str>, IpAddr, Duration),
    /// An operator's.
    Command(Command),
    /// What the process before or behind says of limits, or its end.
    Heard(To, Option<Packet>),
}

/// What an operator wants of a running gateway, and who waits for the answer.
pub(super) struct Command {
    pub(super) request: control::request::Request,
    pub(super) asker: SyncSender<Answer>,
}

/// What workers are told anew while they run.
#[derive(Clone)]
pub(super) enum Change {
    Configuration,
    /// So many gateway keys.
    Keys(usize),
    /// A name stands for others.
    Addresses(Arc<Moved>),
}

/// Goes with a change to every worker; the last one to be done with it says so.
pub(super) struct Applied {
    pub(super) change: Change,
    pub(super) events: Sender<Event>,
}

impl Drop for Applied {
    fn drop(&mut self) {
        // Nobody waits for it any more when the process ends.
        let _ = self.events.send(Event::InForce(self.change.clone()));
    }
}

/// Whether settings are being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    No,
    Yes,
    /// Somebody has asked again meanwhile: what is being read may be old.
    Again,
}
