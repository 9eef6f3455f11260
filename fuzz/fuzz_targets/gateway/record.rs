//! What happened on a client's connection and on those to providers, as these peers of the gateway saw it.
//! Nothing but bytes and ends: however they were moved.

/// How a peer's view of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Fin,
    Reset,
    /// A FIN, later a reset: the gateway may have met the one or the other.
    FinOrReset,
}

/// One connection as the peer of the gateway sees it.
#[derive(Default)]
pub struct Side {
    /// Bytes that went out.
    pub sent: Vec<u8>,
    /// Bytes that the gateway sent, those included that the peer has not read yet.
    pub received: Vec<u8>,
    /// How the gateway ended it.
    pub end: Option<End>,
    /// How it ended its own direction.
    pub left: Option<End>,
}

impl std::fmt::Debug for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Side")
            .field("sent", &String::from_utf8_lossy(&self.sent))
            .field("received", &String::from_utf8_lossy(&self.received))
            .field("end", &self.end)
            .field("left", &self.left)
            .finish()
    }
}

/// A connection to a provider.
#[derive(Debug)]
pub struct Upstream {
    pub provider: usize,
    pub side: Side,
}

/// What happened.
#[derive(Debug)]
pub struct Record {
    pub client: Side,
    pub upstreams: Vec<Upstream>,
    /// A connection to a provider was refused.
    pub refused: bool,
    /// The gateway had closed the client's connection before the client did, or that and why it had not.
    pub closed: bool,
    /// With a reset.
    pub reset: bool,
}
