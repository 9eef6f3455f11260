//! Whom a limit per address counts together.

use std::num::NonZeroU64;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Address(NonZeroU64);

impl Address {
    /// One address.
    #[must_use]
    pub(crate) fn v4(octets: [u8; 4]) -> Self {
        // No host has an IPv6 address that begins like this: 0000::/8 is reserved (RFC 4291, section 2.4).
        Self(V4 | u64::from(u32::from_be_bytes(octets)))
    }

    /// A network of 64 bits; an IPv4 address that is written as one of IPv6 is that IPv4 address.
    #[must_use]
    pub(crate) fn v6(octets: [u8; 16]) -> Self {
        match octets {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Self::v4([a, b, c, d]),
            [a, b, c, d, e, f, g, h, ..] => {
                let network = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
                // Of the loopback address these are all zero.
                Self(NonZeroU64::new(network).unwrap_or(NonZeroU64::MIN))
            }
        }
    }
}

/// Where those of IPv4 are among those of IPv6.
const V4: NonZeroU64 = NonZeroU64::MIN.saturating_mul(NonZeroU64::new(1 << 32).unwrap());
