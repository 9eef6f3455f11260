//! Random bits, many at once.

use crate::base::bytes::within;

/// A supply of random bits; one system call fills it for many takers.
pub(crate) struct Supply {
    bytes: [u8; 1024],
    used: usize,
}

impl Default for Supply {
    fn default() -> Self {
        Self {
            bytes: [0; 1024],
            used: 1024,
        }
    }
}

impl Supply {
    /// Bits that nobody had before.
    pub(crate) fn take(&mut self) -> [u8; 16] {
        if self.used >= self.bytes.len() {
            // Cannot fail for 1 KiB once the kernel has seeded its generator; ids are no secret in any case.
            let _ = rustix::rand::getrandom(&mut self.bytes, rustix::rand::GetRandomFlags::empty());
            self.used = 0;
        }
        let bits = within(&self.bytes, self.used..);
        self.used += 16;
        bits.first_chunk().copied().unwrap_or_default()
    }
}
