//! The least of several, where each may change its rank: a binary heap that knows where each stands.

/// Ranks by slot, a small number that the caller chooses. Allocates only for slots beyond its capacity.
#[derive(Debug)]
pub(super) struct Heap {
    order: Vec<(Rank, usize)>,
    /// Where each slot stands in the order.
    places: Vec<Option<usize>>,
}

/// The least comes first.
pub(super) type Rank = (u64, u64);

impl Heap {
    pub(super) fn new() -> Self {
        Self {
            order: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Makes room for slots below `slots`.
    pub(super) fn reserve(&mut self, slots: usize) {
        self.order.reserve(slots.saturating_sub(self.order.len()));
        if self.places.len() < slots {
            self.places.resize(slots, None);
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.order.capacity() + self.places.capacity()
    }

    /// The slot with the least rank.
    pub(super) fn first(&self) -> Option<(Rank, usize)> {
        self.order.first().copied()
    }

    /// Puts a slot in, or moves it.
    pub(super) fn set(&mut self, slot: usize, rank: Rank) {
        let place = match self.places.get(slot).copied().flatten() {
            Some(place) => place,
            None => {
                self.reserve(slot + 1);
                self.order.push((rank, slot));
                self.order.len() - 1
            }
        };
        self.put(place, (rank, slot));
        self.settle(place);
    }

    /// Takes a slot out, if it is there.
    pub(super) fn remove(&mut self, slot: usize) {
        let Some(place) = self.places.get_mut(slot).and_then(Option::take) else {
            return;
        };
        let Some(last) = self.order.pop() else { return };
        if place < self.order.len() {
            self.put(place, last);
            self.settle(place);
        }
    }

    fn put(&mut self, place: usize, what: (Rank, usize)) {
        if let Some(there) = self.order.get_mut(place) {
            *there = what;
        }
        if let Some(known) = self.places.get_mut(what.1) {
            *known = Some(place);
        }
    }

    /// Moves what stands at `place` up or down to where it belongs.
    fn settle(&mut self, mut place: usize) {
        while let Some(above) = place.checked_sub(1).map(|below| below / 2) {
            if self.order.get(above) <= self.order.get(place) {
                break;
            }
            self.exchange(place, above);
            place = above;
        }
        while let Some(below) = self.lesser(2 * place + 1, 2 * place + 2) {
            if self.order.get(place) <= self.order.get(below) {
                break;
            }
            self.exchange(place, below);
            place = below;
        }
    }

    /// The place with the lesser rank of two, of which the second or both may be beyond the end.
    fn lesser(&self, one: usize, two: usize) -> Option<usize> {
        let first = self.order.get(one)?;
        Some(match self.order.get(two) {
            Some(second) if second < first => two,
            _ => one,
        })
    }

    fn exchange(&mut self, one: usize, two: usize) {
        if let (Some(first), Some(second)) =
            (self.order.get(one).copied(), self.order.get(two).copied())
        {
            self.put(one, second);
            self.put(two, first);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_least_is_first_whatever_moves(
            steps in prop::collection::vec((0..40_usize, prop::option::weighted(0.7, (0..9_u64, 0..9_u64))), 1..300),
        ) {
            let (mut heap, mut model) = (Heap::new(), BTreeMap::new());
            heap.reserve(20);
            for (slot, rank) in steps {
                match rank {
                    Some(rank) => {
                        heap.set(slot, rank);
                        model.insert(slot, rank);
                    }
                    None => {
                        heap.remove(slot);
                        model.remove(&slot);
                    }
                }
                let least = model.iter().map(|(slot, rank)| (*rank, *slot)).min();
                prop_assert_eq!(heap.first(), least);
                prop_assert_eq!(heap.order.len(), model.len());
            }
        }
    }
}
