//! One process after another: a successor is started and takes over, and the process before is heard of until its end.

use std::io;

use crate::config::Config;
use crate::log::Value;
use crate::policy::auth::Keys;
use crate::process::handover::{self, Estate, Handle, Predecessor, Successor};
use crate::system::notify;

use super::settings::{Load, check_last_key};
use super::state::{Event, Server};

impl Server {
    /// Starts a successor, unless there is one; an event says what became of it.
    pub(super) fn succeed(&mut self) {
        if self.successor.is_some() {
            return;
        }
        if !handover::is_possible() {
            self.log.error(
                "SIGUSR2 as process 1 would end the container: replace the container instead",
                &[],
            );
            return;
        }
        match self.start_successor() {
            Ok(handle) => {
                let fields = [("successor", Value::Number(handle.pid().into()))];
                self.log.info("handing over", &fields);
                self.successor = Some(handle);
            }
            Err(error) => self.succession_failed(&error),
        }
    }

    fn start_successor(&self) -> io::Result<Handle> {
        let mut successor = Successor::start()?;
        let handle = successor.handle();
        let (events, estate) = (self.events.clone(), self.estate()?);
        let (load, config, keys) = (self.load.clone(), self.config.clone(), self.keys.clone());
        std::thread::Builder::new()
            .name("hand-over".into())
            .spawn(move || {
                let allowed = || may_succeed(&load, &config, &keys).map_err(io::Error::other);
                let handed = successor.hand_over(&estate, allowed);
                let _ = events.send(Event::Succession(handed.map(|()| successor)));
            })?;
        Ok(handle)
    }

    /// As it is now; nothing is drained from now on until it is known what became of the successor.
    fn estate(&self) -> io::Result<Estate> {
        let control = self.control.as_ref().map(|control| {
            let place = control.place();
            let socket = place.socket.try_clone()?;
            Ok::<_, io::Error>((socket, place.path.clone()))
        });
        Ok(Estate {
            listeners: self.listeners.clone(),
            control: control.transpose()?,
            drained: self.choices.drained(),
        })
    }

    pub(super) fn succession_failed(&self, error: &io::Error) {
        self.log.error(
            "the successor did not start; this process goes on",
            &[("error", Value::Text(error))],
        );
    }

    pub(super) fn announce(&mut self, successor: Successor) {
        let link = successor.link();
        if let Some(link) = link.ok().filter(|_| successor.shares()) {
            self.leave_limits(link);
        }
        notify::succeeded_by(successor.pid());
        // Behind what it was told of limits.
        if !self.shared.announce() {
            successor.announced();
        }
        let pid = Value::Number(successor.pid().into());
        self.log
            .info("the successor accepts", &[("successor", pid)]);
        // It takes this process for ended when that is dropped.
        self.succeeded_by = Some(successor);
    }

    /// Has what the process before has said, ahead of any request.
    pub(super) fn inherit(&mut self, drained: &[u64], shares: bool) {
        self.drain_again(drained);
        if shares {
            self.wait_for_limits();
        }
    }

    /// Takes the place of the process before, which still ends what it has under way.
    pub(crate) fn follow(&mut self, predecessor: Predecessor) {
        let left = predecessor.ready();
        self.have_limits(left, predecessor.link().ok().flatten());
        if let Some(forsaken) = self.forsaken.take() {
            forsaken.remove();
        }
        self.predecessor = Some(predecessor);
    }
}

/// Whether a successor may have the sockets: it does not know that there was a key. What cannot be read here it says
/// itself, and may be a setting that only its version has. May wait, as reading does.
fn may_succeed(load: &Load, before: &Config, keys_before: &Keys) -> Result<(), String> {
    let Ok((config, entries)) = load() else {
        return Ok(());
    };
    let keys = Keys::new(config.auth.master_key.as_ref(), entries.as_deref(), None);
    check_last_key(&keys, keys_before, &config)?;
    Ok(config.may_follow(before)?)
}
