//! The end of a process: what is under way ends before it, for as long as it may take.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::net::accept::balance;
use crate::net::worker::messages::Message;
use crate::observe::Counters;
use crate::system::notify;
use crate::system::signals::Request;

use super::state::{Event, Server};

/// Why a drain begins.
pub(super) enum Leaving {
    /// Nobody comes after.
    ForGood,
    /// A successor has the listening sockets.
    Succeeded,
}

/// How long idle connections have for their end when the process stops.
const GOODBYE: Duration = Duration::from_millis(500);

/// How long clients that have connected, or begun a request head, have to make a request of it when a drain begins.
const BEGINNERS: Duration = Duration::from_secs(2);

/// How often a drain looks whether it is over.
const DRAIN_POLL: Duration = Duration::from_millis(20);

impl Server {
    /// Ends what is under way, and says how the process ends.
    pub(super) fn drain(&mut self, leaving: &mut Leaving) -> ExitCode {
        let empty_queues = matches!(leaving, Leaving::ForGood);
        let (delay, limit) = (self.config.timeouts.drain_delay, self.config.timeouts.drain);
        self.log.info("draining", &[]);
        match (self.control.take(), &leaving) {
            (None, _) => {}
            (Some(control), Leaving::Succeeded) => control.leave(),
            (Some(control), Leaving::ForGood) => control.close(),
        }
        if let Leaving::ForGood = leaving {
            notify::stopping();
            if let Some(successor) = self.successor.take() {
                // Whoever ends this process wants no other in its place.
                successor.end();
            }
            self.tell_all(|| Message::Unhealthy);
            if self.second_signal(leaving, delay, |_| false) {
                return ExitCode::FAILURE;
            }
        }
        // The queues end with their last descriptor, unless a successor has them too.
        self.listeners = Arc::new([]);
        self.tell_all(|| Message::Drain { empty_queues });
        // One turn more than none: connections in the accept queue are requests to come.
        if self.second_signal(leaving, DRAIN_POLL, |_| false) {
            return ExitCode::FAILURE;
        }
        // Nor is a request that a client has connected for, or begun to send, lost where it comes soon.
        let begin = Instant::now();
        let quiet = |server: &Self| server.is_idle() && !server.awaits_requests();
        if self.second_signal(leaving, limit.min(BEGINNERS), quiet) {
            return ExitCode::FAILURE;
        }
        if self.second_signal(
            leaving,
            limit.saturating_sub(begin.elapsed()),
            Self::is_done,
        ) {
            return ExitCode::FAILURE;
        }
        if !self.is_idle() {
            self.log
                .warn("drain time is over; requests under way are cut", &[]);
        }
        self.tell_all(|| Message::Stop);
        // Idle connections get their orderly end; none of them is worth waiting for.
        if self.second_signal(leaving, GOODBYE, Self::is_deserted) {
            return ExitCode::FAILURE;
        }
        self.log.info("stopped", &[]);
        ExitCode::SUCCESS
    }

    /// Whether no client connection is open.
    fn is_deserted(&self) -> bool {
        self.counters
            .iter()
            .all(|worker| balance::load(worker) == 0)
    }

    /// Whether no request is under way.
    fn is_idle(&self) -> bool {
        self.counters.iter().all(|worker| {
            let coming = worker.coming.load(Ordering::Acquire);
            coming + worker.in_flight.load(Ordering::Relaxed) == 0
        })
    }

    /// Whether nothing is under way here, and nothing goes through this process of what others say of limits.
    fn is_done(&self) -> bool {
        self.is_idle() && !self.shared.passes_on()
    }

    /// Whether a client has connected and not asked for anything, or is in the middle of a request head.
    fn awaits_requests(&self) -> bool {
        let begins = |worker: &Counters| worker.beginning.load(Ordering::Relaxed) > 0;
        self.counters.iter().any(begins)
    }

    /// Waits until `done`, for `time` or until another ending signal; whether it was that. The first one behind a
    /// hand-over is none: a service manager sends it to every process of a service that stops, and nobody has asked
    /// this one for an end before.
    fn second_signal(
        &mut self,
        leaving: &mut Leaving,
        time: Duration,
        done: impl Fn(&Self) -> bool,
    ) -> bool {
        let begin = Instant::now();
        while let Some(left) = time.checked_sub(begin.elapsed())
            && !done(self)
        {
            self.exchange_limits();
            match self.arrived.recv_timeout(DRAIN_POLL.min(left)) {
                Ok(Event::Asked(Request::End)) => {
                    if let Leaving::Succeeded = std::mem::replace(leaving, Leaving::ForGood) {
                        self.log.info("asked to end: draining already", &[]);
                        continue;
                    }
                    self.log.warn("second signal: ending at once", &[]);
                    return true;
                }
                Ok(Event::Asked(Request::Reload | Request::Reopen)) => self.log.reopen(),
                Ok(Event::Heard(from, packet)) => self.heard(from, packet),
                // Too late for a successor, for what is in force, or for a command, whose asker tries again.
                Ok(
                    Event::Asked(Request::Succeed)
                    | Event::Succession(_)
                    | Event::Read(_)
                    | Event::Resolved(_)
                    | Event::Unreached(..)
                    | Event::InForce(_)
                    | Event::Command(_),
                )
                | Err(_) => {}
            }
        }
        false
    }
}
