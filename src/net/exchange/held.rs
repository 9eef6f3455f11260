//! A request that is held while it is under way, so that it can go elsewhere behind an answer that did not take it.

use crate::net::core::held_bytes::HeldBytes;
use crate::policy::provider_lines::Address;

/// See the module's documentation.
pub(super) struct Held {
    bytes: Vec<u8>,
    bytes_max: usize,
    /// Where it was addressed to.
    pub(super) address: Address,
    all: HeldBytes,
}

impl Held {
    /// Holds a rewritten request, or its first part; nothing where that is more than may be.
    pub(super) fn new(
        request: &[u8],
        bytes_max: usize,
        address: Address,
        all: &HeldBytes,
    ) -> Option<Self> {
        let mut held = Self {
            bytes: Vec::new(),
            bytes_max,
            address,
            all: all.clone(),
        };
        held.add(request).then_some(held)
    }

    /// Holds more of it; whether all of it still may be.
    pub(super) fn add(&mut self, bytes: &[u8]) -> bool {
        let fits = self.bytes.len() + bytes.len() <= self.bytes_max;
        if !fits || !self.all.take(bytes.len()) {
            return false;
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// A copy to be sent.
    pub(super) fn request(&self) -> Vec<u8> {
        self.bytes.clone()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.give_back(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::core::held_bytes::ALL_BYTES_MAX;

    #[test]
    fn no_more_is_held_than_may_be_of_one_and_of_all() {
        let (all, address) = (
            HeldBytes::default(),
            Address {
                instance: 0,
                key: 0,
            },
        );
        let mut one = Held::new(b"12345", 8, address, &all).unwrap();
        assert!(one.add(b"678") && !one.add(b"9"));
        assert_eq!(one.request(), b"12345678");
        assert!(Held::new(b"123456789", 8, address, &all).is_none());
        let large = vec![0; ALL_BYTES_MAX - 8];
        let rest = Held::new(&large, ALL_BYTES_MAX, address, &all).unwrap();
        assert!(Held::new(b"1", 8, address, &all).is_none());
        drop((one, rest));
        assert!(Held::new(&large, ALL_BYTES_MAX, address, &all).is_some());
    }
}
