//! Where a play's decisions come from: a fuzzer's bytes, or a seed.

/// Decisions, the same for the same bytes and seed.
pub struct Choices<'a> {
    bytes: &'a [u8],
    state: u64,
}

impl<'a> Choices<'a> {
    /// From these bytes as long as they last, then from their number.
    #[must_use]
    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            state: bytes.len() as u64,
        }
    }

    /// From a seed alone.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        Self {
            bytes: &[],
            state: seed,
        }
    }

    #[inline]
    fn next(&mut self) -> u64 {
        if let Some((&first, rest)) = self.bytes.split_first() {
            self.bytes = rest;
            return first.into();
        }
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of the numbers below `n`, or nothing of none. Inlined, since most callers know `n`, and division is slow.
    #[inline]
    pub(super) fn below(&mut self, n: usize) -> usize {
        let next = self.next();
        let index = next.checked_rem(n as u64).unwrap_or(0);
        usize::try_from(index).unwrap_or(0)
    }

    /// Once in `n` times.
    #[inline]
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    #[inline]
    pub(super) fn pick<T: Copy>(&mut self, from: &[T], default: T) -> T {
        let index = self.below(from.len());
        from.get(index).copied().unwrap_or(default)
    }
}
