//! How many of something each address has, never more than it may.
//!
//! Two workers can make an entry for the same address in two places at once. So who has counted itself adds up all
//! entries of the address, itself included, and goes again if that is too much: at the limit two that come in the same
//! instant may both be turned away, but never both let in.

use std::num::NonZeroU32;

use super::address::Address;
use super::table::{Entry, Home, Table};

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Counts(Table);

/// One of those that an address has; to be [given back](Counts::leave).
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Seat(NonZeroU32);

/// An address has as many as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded;

/// How often others may come first before one goes uncounted.
const TRIES_MAX: usize = 64;

impl Counts {
    /// Counts one more of this address, unless it has `most`. Without room in the table it is let in uncounted: whoever
    /// has so many addresses is not held by a limit on each.
    ///
    /// # Errors
    /// That it has as many as it may.
    pub(crate) fn enter(&self, address: Address, most: usize) -> Result<Option<Seat>, Crowded> {
        let home = self.0.home(address);
        for _ in 0..TRIES_MAX {
            if self.sum(&home) >= most {
                return Err(Crowded);
            }
            let Some((place, entry)) = self.place_for(&home) else {
                return Ok(None);
            };
            let more = match entry {
                Entry::FREE => home.entry(1),
                // More than a process can have descriptors.
                entry => entry.with(entry.number().saturating_add(1)),
            };
            if !self.0.replace(place, entry, more) {
                continue;
            }
            let number = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
            let Some(seat) = number.map(Seat) else {
                return Ok(None);
            };
            if self.sum(&home) > most {
                self.leave(seat);
                return Err(Crowded);
            }
            return Ok(Some(seat));
        }
        Ok(None)
    }

    /// Gives a seat back.
    pub(crate) fn leave(&self, seat: Seat) {
        let place = usize::try_from(seat.0.get()).map_or(usize::MAX, |number| number - 1);
        loop {
            let entry = self.0.entry(place);
            let less = match entry.number() {
                // No seat stands for it.
                0 => return,
                1 => Entry::FREE,
                number => entry.with(number - 1),
            };
            if self.0.replace(place, entry, less) {
                return;
            }
        }
    }

    fn sum(&self, home: &Home) -> usize {
        let entries = home.places.clone().map(|place| self.0.entry(place));
        let own = entries.filter(|entry| home.owns(*entry));
        let numbers = own.map(|entry| usize::try_from(entry.number()).unwrap_or(usize::MAX));
        numbers.fold(0, usize::saturating_add)
    }

    /// The address's entry, else a free place.
    fn place_for(&self, home: &Home) -> Option<(usize, Entry)> {
        let mut free = None;
        for place in home.places.clone() {
            let entry = self.0.entry(place);
            if home.owns(entry) {
                return Some((place, entry));
            }
            if entry == Entry::FREE {
                free = free.or(Some((place, entry)));
            }
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use proptest::prelude::*;

    use super::super::table::BUCKET;
    use super::*;

    fn address(number: u8) -> Address {
        Address::v4([10, 0, 0, number])
    }

    proptest! {
        /// A slow model: a map of numbers.
        #[test]
        fn each_address_has_what_it_may(
            steps in prop::collection::vec((any::<bool>(), 0_u8..9, 0_usize..6), 0..200),
        ) {
            let counts = Counts::default();
            let mut seats: Vec<(u8, Seat)> = Vec::new();
            let mut model: HashMap<u8, usize> = HashMap::new();
            for (enters, number, pick) in steps {
                if enters {
                    let had = model.entry(number).or_default();
                    // The limit may change with any reload.
                    match counts.enter(address(number), pick) {
                        Ok(seat) => {
                            prop_assert!(*had < pick);
                            *had += 1;
                            seats.push((number, seat.unwrap()));
                        }
                        Err(Crowded) => prop_assert!(*had >= pick),
                    }
                } else if !seats.is_empty() {
                    let (number, seat) = seats.swap_remove(pick % seats.len());
                    counts.leave(seat);
                    *model.get_mut(&number).unwrap() -= 1;
                }
            }
            for (_, seat) in seats {
                counts.leave(seat);
            }
            prop_assert!(counts.0.is_empty());
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_let_in_uncounted() {
        let counts = Counts(Table::of(1));
        let mut seats = Vec::new();
        for number in 0..u8::try_from(BUCKET).unwrap() {
            seats.push(counts.enter(address(number), 1).unwrap().unwrap());
        }
        assert_eq!(counts.enter(address(99), 1), Ok(None));
        // The others are held to their limit as before.
        assert_eq!(counts.enter(address(3), 1), Err(Crowded));
        counts.leave(seats.swap_remove(3));
        assert!(matches!(counts.enter(address(99), 1), Ok(Some(_))));
    }

    #[test]
    fn workers_at_once_never_let_in_one_too_many() {
        const MOST: usize = 3;
        // So small that entries come and go beside each other.
        let counts = Counts(Table::of(1));
        let open = [const { AtomicUsize::new(0) }; 4];
        let most = AtomicUsize::new(0);
        thread::scope(|scope| {
            for thread in 0..4 {
                let (counts, open, most) = (&counts, &open, &most);
                scope.spawn(move || {
                    for step in 0..20_000_usize {
                        let number = (step * 7 + thread) % open.len();
                        let who = address(u8::try_from(number).unwrap());
                        let first = counts.enter(who, MOST);
                        let second = counts.enter(who, MOST);
                        for seat in [first, second] {
                            let Ok(seat) = seat else { continue };
                            let now = open[number].fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            open[number].fetch_sub(1, Ordering::SeqCst);
                            counts.leave(seat.unwrap());
                        }
                    }
                });
            }
        });
        assert!((1..=MOST).contains(&most.into_inner()));
        assert!(counts.0.is_empty());
    }
}
