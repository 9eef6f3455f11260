//! Where a client connection is counted with its address. Where no limit is set nothing is looked up.

use crate::net::core::Core;
use crate::net::sockets::peer::Peer;
use crate::policy::error::Scarce;
use crate::policy::visitors::{Seat, Visitors};

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
    pub(crate) fn begin(core: &Core, peer: Peer, tls: bool) -> Result<Self, Scarce> {
        let mut visit = Self::default();
        let Some(address) = peer.counted_as().filter(|_| !core.is_operator()) else {
            return Ok(visit);
        };
        let (gateway, visitors) = (core.gateway(), &core.visitors);
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
