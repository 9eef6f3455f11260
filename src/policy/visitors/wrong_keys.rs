//! How long the answer to a wrong key is held back: not at all for the first ones of an address, then ever longer.
//!
//! Of each address one number is kept, the time at which all its wrong keys are forgiven; every one of them puts that off.
//! How many are not forgiven yet follows from it. Where there is no room, who is forgiven first makes it, if that is
//! sooner than the new one: so nobody gets rid of a bad name by using others.

use std::time::Duration;

use super::address::Address;
use super::table::{Entry, Home, Table};

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct WrongKeys(Table);

/// So many are answered at once: typing errors, and clients behind one address.
const FREE: u32 = 10;
/// After so long one wrong key is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(6);
/// No more are held against an address: after five minutes all are forgiven.
const HELD_AGAINST_MAX: u32 = 50;
/// How long the first answer is held back that is; the next one twice as long.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Times are counted in so many nanoseconds, which makes 13 years of them.
const TICK_NANOS: u64 = 100_000_000;
const TICKS_TO_FORGIVE: u32 = 60;
const _: () = assert!(FORGIVEN_AFTER.as_nanos() == TICKS_TO_FORGIVE as u128 * TICK_NANOS as u128);

/// How often others may come first before a wrong key goes uncounted.
const TRIES_MAX: usize = 64;

impl WrongKeys {
    /// Counts a wrong key of this address at `now` nanoseconds; how long its answer is to be held back, `most` if
    /// that were more.
    #[must_use]
    pub(crate) fn count(&self, address: Address, now: u64, most: Duration) -> Duration {
        // Never 0, which is a free place.
        let now = u32::try_from(now / TICK_NANOS).unwrap_or(u32::MAX);
        let now = now.clamp(1, u32::MAX - HELD_AGAINST_MAX * TICKS_TO_FORGIVE);
        let home = self.0.home(address);
        for _ in 0..TRIES_MAX {
            let Some((place, entry)) = self.place_for(&home, now) else {
                return Duration::ZERO;
            };
            let since = match home.owns(entry) {
                true => entry.number().max(now),
                false => now,
            };
            let until = since.saturating_add(TICKS_TO_FORGIVE);
            let until = until.min(now + HELD_AGAINST_MAX * TICKS_TO_FORGIVE);
            if self.0.replace(place, entry, home.entry(until)) {
                return delay((until - now).div_ceil(TICKS_TO_FORGIVE), most);
            }
        }
        Duration::ZERO
    }

    /// The address's entry, else the place of who is forgiven first, if that is sooner than a new one would be.
    fn place_for(&self, home: &Home, now: u32) -> Option<(usize, Entry)> {
        let entries = home
            .places
            .clone()
            .map(|place| (place, self.0.entry(place)));
        let mut first: Option<(usize, Entry)> = None;
        for (place, entry) in entries {
            if home.owns(entry) {
                return Some((place, entry));
            }
            if first.is_none_or(|(_, least)| entry.number() < least.number()) {
                first = Some((place, entry));
            }
        }
        first.filter(|(_, entry)| entry.number() <= now + TICKS_TO_FORGIVE)
    }
}

/// For the `nth` wrong key that is not forgiven.
fn delay(nth: u32, most: Duration) -> Duration {
    match nth.checked_sub(FREE + 1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_DELAY
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
            .min(most),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const MOST: Duration = Duration::from_secs(5);

    fn address(number: u8) -> Address {
        Address::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0, 1])
    }

    #[test]
    fn the_first_ones_are_free_and_then_it_takes_ever_longer() {
        let keys = WrongKeys::default();
        let mut delays = (0..20).map(|_| keys.count(address(1), 0, MOST).as_millis());
        for _ in 0..FREE {
            assert_eq!(delays.next(), Some(0));
        }
        let rest: Vec<u128> = delays.collect();
        assert_eq!(
            rest,
            [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]
        );
        assert_eq!(keys.count(address(2), 0, MOST), Duration::ZERO);
        // Nobody is held back for longer than this, whatever he did.
        for _ in 0..1000 {
            let _ = keys.count(address(1), SECOND, MOST);
        }
        assert_eq!(keys.count(address(1), 302 * SECOND, MOST), Duration::ZERO);
    }

    #[test]
    fn a_bad_name_is_not_lost_in_a_crowd() {
        let keys = WrongKeys(Table::of(1));
        for _ in 0..20 {
            let _ = keys.count(address(0), 0, MOST);
        }
        // Many more than there is room for, some of them as bad.
        for number in 1..200 {
            for _ in 0..number % 15 {
                let _ = keys.count(address(number), SECOND, MOST);
            }
        }
        assert_eq!(keys.count(address(0), SECOND, MOST), MOST);
    }

    proptest! {
        /// A slow model: per address the times at which each wrong key is forgiven, one behind the other.
        #[test]
        fn wrong_keys_are_forgiven_one_by_one(
            steps in prop::collection::vec((0_u8..4, 0_u64..40), 0..300),
            most in 0_u64..9_000,
        ) {
            let keys = WrongKeys::default();
            let most = Duration::from_millis(most);
            let mut model: HashMap<u8, Vec<u64>> = HashMap::new();
            let mut now = 1;
            for (number, wait) in steps {
                now += wait;
                let held = model.entry(number).or_default();
                held.retain(|until| *until > now);
                if held.len() < 50 {
                    held.push(held.last().unwrap_or(&now) + 6);
                } else {
                    *held = (1..=50).map(|n| now + n * 6).collect();
                }
                let wanted = match held.len() {
                    0..=10 => Duration::ZERO,
                    n => (Duration::from_millis(100) * (1 << (n - 11).min(20))).min(most),
                };
                prop_assert_eq!(keys.count(address(number), now * SECOND, most), wanted);
            }
        }
    }
}
