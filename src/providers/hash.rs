//! One number for some bytes, and one for two numbers: the same on every machine, in every version.
//!
//! What a session keeps to must not depend on the process, so this is neither the standard library's hash nor a seeded one.
//! Nobody gains anything by a collision: two sessions then share what they would share by chance.

/// FNV-1a over the bytes, mixed, since its upper bits hardly know of the last bytes.
#[must_use]
pub(crate) fn of(bytes: &[u8]) -> u64 {
    mix(fnv1a(bytes))
}

/// FNV-1a of 64 bits alone, for where it is mixed later.
#[must_use]
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// What a session says of one of several, for rendezvous hashing: the largest wins.
#[must_use]
pub(crate) const fn score(session: u64, one: u64) -> u64 {
    mix(session ^ mix(one))
}

/// Each bit of the result depends on each bit of `x` (the finisher of SplitMix64).
#[must_use]
pub(crate) const fn mix(x: u64) -> u64 {
    finish(x.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

/// The same of what is nearly a hash: SplitMix64's last steps alone.
#[must_use]
pub(crate) const fn finish(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another value would move every session of everybody at an upgrade.
    #[test]
    fn values_stay_what_they_were() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(of(b""), mix(0xcbf2_9ce4_8422_2325));
        assert_eq!(of(b"a"), mix(0xaf63_dc4c_8601_ec8c));
        assert_ne!(score(1, 2), score(2, 1));
    }

    #[test]
    fn shares_are_even() {
        let mut counts = [0_u32; 3];
        for session in 0..30_000_u64 {
            let session = of(&session.to_le_bytes());
            let best = (0..3)
                .max_by_key(|one| score(session, of(&[*one])))
                .unwrap();
            counts[usize::from(best)] += 1;
        }
        assert!(
            counts.iter().all(|n| (9_500..10_500).contains(n)),
            "{counts:?}"
        );
    }
}
