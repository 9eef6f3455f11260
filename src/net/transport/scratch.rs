//! The one buffer of a worker: every connection receives into it, and what it holds is sent on or kept
//! elsewhere before the next task runs.
//!
//! It is borrowed only between two waits, never across one (clippy's `await_holding_refcell_ref` checks
//! it). It stays in the core's cache however many connections there are.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use crate::base::bytes::{within, within_mut};
use crate::config::{HEAD_ADDED_BYTES_MAX, ORIGIN_BYTES_MAX};
use crate::http::head::{Fields, HEAD_BYTES_MAX, RESPONSE_FIELDS_MAX};

/// Most bytes received at once, but for bulk.
pub(crate) const RECEIVE_BYTES_MAX: usize = 64 * 1024;
/// Most bytes received at once where much comes and leaves as fast (without TLS): a quarter of the system calls took
/// 15 to 30 % off what a byte of bulk costs.
pub(crate) const BULK_BYTES_MAX: usize = 256 * 1024;
/// Room in front of a received head, into which the rewritten one grows; configuration is refused when
/// what it adds to a head could need more.
const HEADROOM: usize = 16 * 1024;
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

/// See the module's documentation. Places in it are counted from where received bytes begin.
pub struct Scratch {
    /// [`HEADROOM`] bytes of room, then received plain bytes.
    plain: Box<[u8]>,
    /// Received TLS records before they are opened: the start of one, then one receive.
    cipher: Box<[u8]>,
    /// The field lines of the head under way; kept for its capacity.
    fields: Fields,
}

/// Where a rewritten head begins, in front of the one that was received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rewritten(usize);

impl Scratch {
    /// Allocates everything a worker's relaying needs, once.
    #[must_use]
    pub fn new() -> Self {
        Self {
            plain: vec![0; CAPACITY].into_boxed_slice(),
            cipher: vec![0; ONE_RECEIVE].into_boxed_slice(),
            fields: Fields::remembering(RESPONSE_FIELDS_MAX),
        }
    }

    /// Room to receive so many bytes into, and that which TLS records pass through before.
    pub fn room(&mut self, most: usize) -> (&mut [u8], &mut [u8]) {
        let plain = within_mut(&mut self.plain, HEADROOM..);
        let most = most.min(plain.len());
        (within_mut(plain, ..most), &mut self.cipher)
    }

    /// Room for what is no part of a message.
    pub(crate) fn cipher(&mut self) -> &mut [u8] {
        &mut self.cipher
    }

    /// Puts bytes where received ones lie; whether there is room for them.
    #[must_use]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> bool {
        let room = self.plain.get_mut(HEADROOM..HEADROOM + bytes.len());
        room.is_some_and(|room| {
            room.copy_from_slice(bytes);
            true
        })
    }

    /// What was received, this part of it.
    #[must_use]
    pub(crate) fn received(&self, part: Range<usize>) -> &[u8] {
        within(&self.plain, HEADROOM + part.start..HEADROOM + part.end)
    }

    /// What lies from this place on: a head, and what may have come behind it.
    #[must_use]
    pub(crate) fn message(&self, at: usize) -> &[u8] {
        within(&self.plain, HEADROOM + at..)
    }

    /// What was received, this part of it, to be changed.
    pub(crate) fn received_mut(&mut self, part: Range<usize>) -> &mut [u8] {
        self.parts(part).0
    }

    /// The field lines of the head under way.
    #[must_use]
    pub(crate) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The same, for those of a head that lies elsewhere.
    pub(crate) fn fields_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }

    /// A part of what was received and the field lines of the head under way, to be changed.
    pub(crate) fn parts(&mut self, part: Range<usize>) -> (&mut [u8], &mut Fields) {
        let part = HEADROOM + part.start..HEADROOM + part.end;
        (within_mut(&mut self.plain, part), &mut self.fields)
    }

    /// Has the head at `at` rewritten, in place and into the room in front of it, with the lines that were read of it.
    /// `rewrite` gets the buffer and where the head is in that, and says where it begins then.
    #[must_use]
    pub(crate) fn rewrite(
        &mut self,
        at: usize,
        rewrite: impl FnOnce(&mut [u8], usize, &Fields) -> Option<usize>,
    ) -> Option<Rewritten> {
        let start = rewrite(&mut self.plain, HEADROOM + at, &self.fields)?;
        debug_assert!(start <= CAPACITY, "a head begins in its buffer");
        Some(Rewritten(start))
    }

    /// From a rewritten head to this place.
    #[must_use]
    pub(crate) fn rewritten(&self, start: Rewritten, end: usize) -> &[u8] {
        within(&self.plain, start.0..HEADROOM + end)
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
