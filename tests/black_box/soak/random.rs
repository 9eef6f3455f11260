//! Numbers and content that are the same in every run with the same seed.

/// A small generator.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbouring seeds must not begin alike, and the state must not be zero.
        Self(mix(seed) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From 0 to `limit`, which is excluded.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 16) % limit as u64) as usize
    }

    /// Whether one of a hundred lots, of which this many win, wins.
    pub(crate) fn percent(&mut self, lots: usize) -> bool {
        self.below(100) < lots
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// One fault, sometimes two: a byte changed, taken away, doubled or put in.
    pub(crate) fn spoil(&mut self, bytes: &mut Vec<u8>) {
        const ODD: &[u8] = b"\r\n\0 \t:;,\"%/\\.-+_0159afAFxX\x0b\x0c\x7f\x80\xffGHTP";
        for _ in 0..1 + self.below(4) / 3 {
            let at = self.below(bytes.len());
            let odd = self.pick(ODD);
            match self.below(5) {
                0 => bytes[at] = odd,
                1 => bytes[at] ^= 1 << self.below(8),
                2 => drop(bytes.remove(at)),
                3 => bytes.insert(at, odd),
                _ => bytes.insert(at, bytes[at]),
            }
        }
    }
}

/// Spreads every bit of a number over all of them.
pub(crate) fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `len` bytes that no other seed gives.
pub(crate) fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
