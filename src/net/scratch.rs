//! The one buffer of a worker: every connection receives into it, and what it holds is sent on or kept
//! elsewhere before the next task runs.
//!
//! It is borrowed only between two waits, never across one (clippy's `await_holding_refcell_ref` checks
//! it). It stays in the core's cache however many connections there are.

use crate::config::HEAD_ADDED_BYTES_MAX;
use crate::http::head::{Field, HEAD_BYTES_MAX, RESPONSE_FIELDS_MAX};

/// Most bytes received at once.
pub const RECEIVE_BYTES_MAX: usize = 64 * 1024;
/// Room in front of a received head, into which the rewritten one grows; configuration is refused when
/// what it adds to a head could need more.
pub const HEADROOM: usize = 16 * 1024;
/// The rest is for what does not depend on the configuration: request id, upgrade, transfer coding.
const _: () = assert!(HEAD_ADDED_BYTES_MAX + 1024 <= HEADROOM);
/// What a TLS record can hold beyond what its last received part brought.
pub const RECORD_BYTES_MAX: usize = 17 * 1024;

/// Kept head bytes, then one receive, and the rest of a TLS record that it completed.
const CAPACITY: usize = HEADROOM + HEAD_BYTES_MAX + RECEIVE_BYTES_MAX + RECORD_BYTES_MAX;

/// See the module's documentation.
pub struct Scratch {
    /// [`HEADROOM`] bytes of room, then received plain bytes.
    pub plain: Box<[u8]>,
    /// Received TLS records before they are opened.
    pub cipher: Box<[u8]>,
    /// The field lines of the head under way; kept for its capacity.
    pub fields: Vec<Field>,
}

impl Scratch {
    /// Allocates everything a worker's relaying needs, once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            plain: vec![0; CAPACITY].into_boxed_slice(),
            cipher: vec![0; RECEIVE_BYTES_MAX].into_boxed_slice(),
            fields: Vec::with_capacity(RESPONSE_FIELDS_MAX),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}
