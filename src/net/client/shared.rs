//! What the connections of a worker's clients share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::log::Lane;
use crate::net::core::Core;
use crate::net::upstream::upstreams::Upstreams;

use super::records::Records;
use super::scrape::Scrapes;
use super::survey::Survey;
use super::waiting::Waiting;

/// See the module's documentation.
pub(crate) struct Shared {
    /// What they share with connections to providers.
    pub core: Rc<Core>,
    /// Connections to providers.
    pub upstreams: Rc<Upstreams>,
    /// Records of requests under way, and room for those to come.
    pub records: Records,
    /// Where their lines go.
    pub lane: RefCell<Lane>,
    /// Requests that wait for their turn.
    pub waiting: Rc<Waiting>,
    /// How to learn what all workers have under way.
    pub survey: Survey,
    /// The metrics' texts that somebody waits for.
    pub scrapes: Rc<Scrapes>,
    /// Answers to wrong keys that are held back.
    pub held_back: Cell<usize>,
}
