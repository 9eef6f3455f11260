//! A table of numbers by address, of fixed size and without a lock: each entry is one atomic, so that it is made, changed
//! and taken away in one step.
//!
//! An entry can only be in one of [`BUCKET`] places, which one look takes in: no entry has to be moved when another
//! goes. Where all of them are taken there is no room for one more.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::address::Address;

/// Places in which an address can be.
pub(super) const BUCKET: usize = 16;
/// With 16 places each, 65 536 addresses and 512 KiB; a power of two.
const BUCKETS: usize = 4096;
const _: () = assert!(BUCKETS.is_power_of_two());

/// See the module's documentation.
pub(super) struct Table {
    places: Box<[AtomicU64]>,
    /// Its keys are random: nobody can choose addresses that meet in a bucket.
    hashes: RandomState,
}

/// Where an address may be.
#[derive(Clone)]
pub(super) struct Home {
    /// What stands in for the address in its places: with the bucket 44 bits of its hash.
    tag: u32,
    /// Its bucket.
    pub(super) places: Range<usize>,
}

/// What is in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry(u64);

impl Entry {
    /// Nobody's.
    pub(super) const FREE: Self = Self(0);

    /// The number in it; a free place has none, which is 0.
    pub(super) fn number(self) -> u32 {
        let [_, _, _, _, a, b, c, d] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// The same address's, with another number, which must not be 0.
    pub(super) fn with(self, number: u32) -> Self {
        Self(self.0 & !u64::from(u32::MAX) | u64::from(number))
    }
}

impl Home {
    /// This address's entry with this number, which must not be 0.
    pub(super) fn entry(&self, number: u32) -> Entry {
        Entry(u64::from(self.tag) << 32 | u64::from(number))
    }

    /// Whether it is this address's.
    pub(super) fn owns(&self, entry: Entry) -> bool {
        entry != Entry::FREE && entry.0 >> 32 == u64::from(self.tag)
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::of(BUCKETS)
    }
}

impl Table {
    /// With so many buckets, a power of two.
    pub(super) fn of(buckets: usize) -> Self {
        Self {
            places: (0..buckets * BUCKET).map(|_| AtomicU64::new(0)).collect(),
            hashes: RandomState::new(),
        }
    }

    /// Where this address may be.
    pub(super) fn home(&self, address: Address) -> Home {
        let hash = self.hashes.hash_one(address);
        let [a, b, c, d, rest @ ..] = hash.to_be_bytes();
        let buckets = (self.places.len() / BUCKET).max(1);
        let bucket = usize::try_from(u32::from_be_bytes(rest)).unwrap_or_default() & (buckets - 1);
        Home {
            tag: u32::from_be_bytes([a, b, c, d]),
            places: bucket * BUCKET..(bucket + 1) * BUCKET,
        }
    }

    /// What is in this place now.
    pub(super) fn entry(&self, place: usize) -> Entry {
        // In one order with all changes: who has put something in sees who did so before.
        let place = self.places.get(place);
        Entry(place.map_or(0, |place| place.load(Ordering::SeqCst)))
    }

    /// Puts `new` where `old` is; whether it was still there.
    pub(super) fn replace(&self, place: usize, old: Entry, new: Entry) -> bool {
        let Some(place) = self.places.get(place) else {
            return false;
        };
        place
            .compare_exchange(old.0, new.0, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// Whether there is no entry.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        (0..self.places.len()).all(|place| self.entry(place) == Entry::FREE)
    }
}
