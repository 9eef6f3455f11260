//! Which instances a request has been to already.

use super::words::INSTANCES_MAX;

/// A set of instances, by their index in a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried(u64);

const _: () = assert!(INSTANCES_MAX == u64::BITS as usize);

impl Tried {
    /// Adds one.
    pub fn add(&mut self, index: usize) {
        self.0 |= bit(index);
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(self, index: usize) -> bool {
        self.0 & bit(index) != 0
    }

    /// How many there are.
    #[must_use]
    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// No bit beyond the last instance.
pub(super) fn bit(index: usize) -> u64 {
    u32::try_from(index).map_or(0, |index| 1_u64.checked_shl(index).unwrap_or(0))
}
