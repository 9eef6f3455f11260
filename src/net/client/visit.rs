//! What a client connection has to do with its address: where it is counted, and how long the answer to a wrong key is
//! held back. Where no limit is set nothing is looked up.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::http::framing::Cursor;
use crate::observe;
use crate::policy::auth::AuthError;
use crate::policy::error::{Fault, Scarce};
use crate::policy::visitors::{Seat, Visitors};

use super::recipient::Asker;
use crate::http::exchange::After;
use crate::net::connection::{Connection, Step};
use crate::net::sockets::peer::Peer;
use crate::net::worker::{Worker, monotonic_nanos};

/// A client connection's places among those of its address; to be [given back](Self::end).
#[derive(Debug, Default)]
pub(crate) struct Visit {
    connection: Option<Seat>,
    handshake: Option<Seat>,
}

impl Visit {
    /// Counts a connection, and its handshake where it speaks TLS.
    ///
    /// # Errors
    /// What its address has too many of; nothing is counted then.
    pub(crate) fn begin(worker: &Worker, peer: Peer, tls: bool) -> Result<Self, Scarce> {
        let mut visit = Self::default();
        let Some(address) = peer.counted_as().filter(|_| !worker.is_operator()) else {
            return Ok(visit);
        };
        let (gateway, visitors) = (worker.gateway(), worker.visitors());
        let limits = &gateway.config.limits;
        if let Some(most) = limits.connections_per_address {
            let seat = visitors.connections().enter(address, most.get());
            visit.connection = seat.map_err(|_| Scarce::ConnectionsPerAddress)?;
        }
        if let Some(most) = limits.handshakes_per_address.filter(|_| tls) {
            let Ok(seat) = visitors.handshakes().enter(address, most.get()) else {
                visit.end(visitors);
                return Err(Scarce::HandshakesPerAddress);
            };
            visit.handshake = seat;
        }
        Ok(visit)
    }

    /// Whether the handshake counts.
    #[must_use]
    pub(crate) fn is_shaking(&self) -> bool {
        self.handshake.is_some()
    }

    /// The handshake is over.
    pub(crate) fn shaken(&mut self, visitors: &Visitors) {
        if let Some(seat) = self.handshake.take() {
            visitors.handshakes().leave(seat);
        }
    }

    /// The connection is over.
    pub(crate) fn end(&mut self, visitors: &Visitors) {
        self.shaken(visitors);
        if let Some(seat) = self.connection.take() {
            visitors.connections().leave(seat);
        }
    }
}

/// Answers that a worker holds back at once. Who comes with another wrong key then has to connect anew for the next.
const DELAYED_MAX: usize = 256;

/// The answer to a request with a wrong key, for as long as it is held back.
pub(crate) struct Delayed {
    time: Duration,
    fault: Fault,
    asker: Asker,
    cursor: Cursor,
    _place: Place,
}

/// One of those that are held back.
struct Place(Rc<Worker>);

impl Place {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
        let delayed = worker.delayed.get();
        (delayed < DELAYED_MAX).then(|| {
            worker.delayed.set(delayed + 1);
            Self(worker.clone())
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let delayed = &self.0.delayed;
        delayed.set(delayed.get().saturating_sub(1));
    }
}

impl Connection {
    /// Refuses a framed request, later if it brought a wrong key and its address has brought others.
    pub(crate) fn reject(&mut self, fault: &Fault, mut asker: Asker, cursor: Cursor) -> Step {
        let time = self.time_to_answer(fault);
        if !time.is_zero() {
            if let Some(place) = Place::take(&self.worker) {
                return Step::Delayed(Box::new(Delayed {
                    time,
                    fault: fault.clone(),
                    asker,
                    cursor,
                    _place: place,
                }));
            }
            asker.persists = false;
        }
        Step::After(self.refuse(fault, &asker, cursor))
    }

    /// How long an answer is held back.
    fn time_to_answer(&self, fault: &Fault) -> Duration {
        if *fault != Fault::Auth(AuthError::InvalidKey) {
            return Duration::ZERO;
        }
        let most = self.worker.gateway().config.auth.wrong_key_delay;
        let address = self.peer.counted_as().filter(|_| !most.is_zero());
        address.map_or(Duration::ZERO, |address| {
            let keys = self.worker.visitors().wrong_keys();
            keys.count(address, monotonic_nanos(), most)
        })
    }

    /// Holds an answer back, unless the client leaves or everything ends.
    ///
    /// # Cancel safety
    /// Dropped, the request goes unanswered.
    pub(crate) async fn answer_late(&mut self, delayed: Delayed) -> After {
        observe::add(&self.worker.counters().held_back, 1);
        self.deadline.limit(None);
        self.deadline.set(delayed.time);
        let stayed = poll_fn(|cx| match () {
            () if self.worker.is_stopping() => Poll::Ready(true),
            () if self.poll_left(cx).is_ready() => Poll::Ready(false),
            () => self.deadline.poll(cx).map(|()| true),
        });
        match stayed.await {
            true => self.refuse(&delayed.fault, &delayed.asker, delayed.cursor),
            false => After::Drop,
        }
    }
}
