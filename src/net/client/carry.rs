//! What a client has sent and nobody has used yet: part of a head, or what came behind a message.
//!
//! Used bytes are left where they are until they are half of all: so however many requests lie behind one another,
//! each byte is moved a bounded number of times.

use crate::base::bytes::within;

/// See the module's documentation. Empty, it holds no memory; every open connection has one.
#[derive(Debug, Default)]
pub(crate) struct Carry(Option<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: Vec<u8>,
    /// How many bytes at the start have been used; never all.
    used: usize,
}

impl Carry {
    /// What is left.
    #[must_use]
    pub(crate) fn bytes(&self) -> &[u8] {
        let left = self.0.as_ref();
        let left = left.map(|kept| within(&kept.bytes, kept.used..));
        left.unwrap_or_default()
    }

    /// How much is left.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether nothing is left.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a copy of what came behind.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let kept = self.0.get_or_insert_default();
        if kept.used > kept.bytes.len() / 2 {
            kept.bytes.drain(..kept.used);
            kept.used = 0;
        }
        kept.bytes.extend_from_slice(bytes);
    }

    /// The first `count` bytes are used.
    pub(crate) fn consume(&mut self, count: usize) {
        if let Some(kept) = &mut self.0 {
            kept.used = kept.used.saturating_add(count);
            if kept.used >= kept.bytes.len() {
                self.clear();
            }
        }
    }

    /// Gives everything up.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue_of_bytes(
            steps in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..200), 0_usize..300),
                0..100,
            ),
        ) {
            let (mut carry, mut model) = (Carry::default(), Vec::new());
            for (more, count) in steps {
                carry.extend(&more);
                model.extend(more);
                prop_assert_eq!(carry.bytes(), &model[..]);
                carry.consume(count);
                model.drain(..count.min(model.len()));
                prop_assert_eq!(carry.bytes(), &model[..]);
                prop_assert_eq!((carry.len(), carry.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }

    /// Many requests behind one another, used one by one while more come.
    #[test]
    fn what_is_moved_is_bounded_by_what_came() {
        let (mut carry, mut moved, mut came) = (Carry::default(), 0, 0);
        for round in 0..10_000 {
            let used = carry.0.as_ref().map_or(0, |kept| kept.used);
            carry.extend(&[0; 7]);
            came += 7;
            if carry.0.as_ref().is_some_and(|kept| kept.used < used) {
                moved += carry.len() - 7;
            }
            carry.consume(if round < 8_000 { 3 } else { 20 });
        }
        assert!(moved > 0 && moved <= came, "{moved} bytes moved of {came}");
    }
}
