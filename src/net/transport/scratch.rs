//! The one buffer of a worker: every connection receives into it, and what it holds is sent on or kept
//! elsewhere before the next task runs.
//!
//! It is borrowed only between two waits, never across one (clippy's `await_holding_refcell_ref` checks
//! it). It stays in the core's cache however many connections there are.

use std::cell::RefCell;
use std::rc::Rc;

use crate::config::{HEAD_ADDED_BYTES_MAX, ORIGIN_BYTES_MAX};
use crate::http::head::{Fields, HEAD_BYTES_MAX, RESPONSE_FIELDS_MAX};

/// Most bytes received at once, but for bulk.
pub(crate) const RECEIVE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes received at once where much comes and leaves as fast (without TLS): a quarter of the system calls took
/// 15 to 30 % off what a byte of bulk costs.
pub(crate) const BULK_BYTES_MAX: usize = 256 * 1024;
/// Room in front of a received head, into which the rewritten one grows; configuration is refused when
/// what it adds to a head could need more.
pub(crate) const HEADROOM: usize = 16 * 1024;
/// The rest is for what does not depend on the configuration: request id, upgrade, transfer coding.
const _: () = assert!(HEAD_ADDED_BYTES_MAX + 1024 <= HEADROOM);
/// What a response gains is less: request id, timing, persistence, and what a browser is told.
const _: () = assert!(ORIGIN_BYTES_MAX + 1024 <= HEADROOM);
/// No TLS record is longer.
pub(crate) const RECORD_BYTES_MAX: usize = 19 * 1024;
/// One receive, and the rest of a TLS record that it completed.
pub(crate) const ONE_RECEIVE: usize = RECORD_BYTES_MAX + RECEIVE_BYTES_MAX;

/// One receive of bulk, or kept head bytes and one receive.
const CAPACITY: usize = HEADROOM + BULK_BYTES_MAX;
const _: () = assert!(HEAD_BYTES_MAX + ONE_RECEIVE <= BULK_BYTES_MAX);

/// See the module's documentation.
pub struct Scratch {
    /// [`HEADROOM`] bytes of room, then received plain bytes.
    pub plain: Box<[u8]>,
    /// Received TLS records before they are opened: the start of one, then one receive.
    pub cipher: Box<[u8]>,
    /// The field lines of the head under way; kept for its capacity.
    pub fields: Fields,
}

impl Scratch {
    /// Allocates everything a worker's relaying needs, once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            plain: vec![0; CAPACITY].into_boxed_slice(),
            cipher: vec![0; ONE_RECEIVE].into_boxed_slice(),
            fields: Fields::with_capacity(RESPONSE_FIELDS_MAX),
        }
    }
}

/// Where a worker seals TLS records before they are sent, borrowed only within one call. It is beside [`Scratch`]
/// because what is sealed mostly stands there.
pub(crate) type SealRoom = Rc<RefCell<Box<[u8]>>>;

/// Allocates it, once per worker.
#[must_use]
pub fn seal_room() -> SealRoom {
    Rc::new(RefCell::new(vec![0; ONE_RECEIVE].into_boxed_slice()))
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
