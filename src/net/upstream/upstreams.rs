//! What a worker's connections to providers share.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use crate::net::core::Core;
use crate::net::core::deadline::Tick;
use crate::net::transport::stream::Stream;

use super::pool::Pool;
use super::probes::Probes;
use super::resolve::Names;
use super::warmth::Warmth;

/// Connects to a port in place of the network; for those who step a worker by hand.
pub(crate) type Dialler = fn(u16) -> Pin<Box<dyn Future<Output = io::Result<Stream>>>>;

/// See the module's documentation.
pub(crate) struct Upstreams {
    /// What they share with clients' connections.
    pub core: Rc<Core>,
    /// Idle connections.
    pub pool: Rc<Pool>,
    /// Resolved host names.
    pub names: Names,
    /// When those of providers are looked at next.
    pub names_due: Cell<Option<Tick>>,
    /// Which providers have connections made ahead of need.
    pub warmth: Warmth,
    /// When instances are asked whether they are well.
    pub probes: Probes,
    /// In place of the network.
    pub dialler: Option<Dialler>,
}

impl Upstreams {
    /// None yet.
    #[must_use]
    pub(crate) fn new(core: Rc<Core>, names: Names, dialler: Option<Dialler>) -> Rc<Self> {
        Rc::new(Self {
            pool: Rc::new(Pool::new(core.clock.clone())),
            names,
            names_due: Cell::default(),
            warmth: Warmth::default(),
            probes: Probes::default(),
            dialler,
            core,
        })
    }
}
