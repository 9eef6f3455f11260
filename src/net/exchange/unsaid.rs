//! An answer behind which a request goes elsewhere, kept until the request has been sent there: where nobody else is
//! reached, nothing more was asked of anyone, and the client gets this answer.
//!
//! Kept are the connection and what was received on it; the rest of the answer stays with the kernel and the upstream.

use crate::net::core::held_bytes::HeldBytes;
use crate::net::upstream::pool::Upstream;
use crate::providers::group::UnderWay;

/// See the module's documentation.
pub(super) struct Unsaid {
    /// From the final head on.
    pub(super) bytes: Vec<u8>,
    all: HeldBytes,
    /// Where it came from, once that is known.
    pub(super) from: Option<From>,
}

/// Where an answer comes from.
pub(super) struct From {
    pub(super) upstream: Box<Upstream>,
    pub(super) instance: u8,
    pub(super) key: u8,
    /// The instance's, where there are several and it changes.
    pub(super) under_way: Option<UnderWay>,
}

impl Unsaid {
    /// Keeps what has been received of an answer; nothing where all that is held would be too much.
    pub(super) fn new(bytes: &[u8], all: &HeldBytes) -> Option<Self> {
        all.take(bytes.len()).then(|| Self {
            bytes: bytes.to_vec(),
            all: all.clone(),
            from: None,
        })
    }
}

impl Drop for Unsaid {
    fn drop(&mut self) {
        self.all.give_back(self.bytes.len());
    }
}
