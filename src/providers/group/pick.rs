//! Which of the candidates gets a request. In whole numbers only, so that a session finds its instance from any machine.

use super::candidates::{Candidates, Member};
use super::words::Balance;
use crate::providers::hash;

/// By how much an instance's load may be above its share before it takes no further session's request, in hundredths.
const ROOM_PERCENT: u64 = 25;

/// and by how many requests at least. With few under way chance alone heaps several sessions upon one instance: with one
/// request more than the share, every third would be sent away from what is cached for it; with eight, one in fifty at most.
const ROOM_REQUESTS: u64 = 8;

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) balance: Balance,
    pub(super) session: u64,
    pub(super) random: u64,
    /// Whom the session likes best while all have their whole weight, where that is known.
    pub(super) first: Option<usize>,
}

impl Wish {
    /// An instance by its index; `None` where there is no candidate.
    pub(super) fn pick(self, members: &[Member], candidates: &Candidates) -> Option<usize> {
        if candidates.total() == 0 {
            return None;
        }
        match self.balance {
            Balance::LeastLoaded => less_loaded(members, candidates, self.random),
            Balance::Session => {
                // Others that weigh less do not change who is liked best.
                let is_whole = |first: &usize| {
                    let whole = members.get(*first).map(|member| member.weight);
                    whole == Some(candidates.weight(*first))
                };
                let first = self.first.filter(is_whole);
                let first = first.or_else(|| best(self.session, candidates.of(members)))?;
                Some(self.with_room(first, members, candidates))
            }
            Balance::First => candidates.weights().iter().position(|weight| *weight > 0),
        }
    }

    /// The session's first choice, or the first that has room. They cannot all be without, unless others fill them
    /// meanwhile.
    fn with_room(self, first: usize, members: &[Member], candidates: &Candidates) -> usize {
        let load = |member: &Member| u64::from(member.instance.load());
        let own = members.get(first).map_or(0, load);
        if has_room_anyway(own) {
            return first;
        }
        let loads = candidates.of(members).map(|(_, member, _)| load(member));
        let room = Room {
            together: loads.sum(),
            total: candidates.total().into(),
        };
        if room.is_for(own, candidates.weight(first).into()) {
            return first;
        }
        let have_room = { candidates.of(members) }
            .filter(|(_, member, weight)| room.is_for(load(member), (*weight).into()));
        best(self.session, have_room).unwrap_or(first)
    }
}

/// Whether one with this load has room whatever the others have.
pub(super) fn has_room_anyway(load: u64) -> bool {
    load < ROOM_REQUESTS
}

/// Whom a session likes best of these, each with its index and weight.
pub(super) fn best<'a>(
    session: u64,
    among: impl Iterator<Item = (usize, &'a Member, u32)>,
) -> Option<usize> {
    let mut best: Option<Rank> = None;
    for (index, member, weight) in among {
        let (hash, weight) = (hash::finish(session ^ member.identity), weight.into());
        if { best.as_mut() }.is_none_or(|best| best.is_behind(hash, weight)) {
            best = Some(Rank {
                hash,
                weight,
                halvings: None,
                index,
            });
        }
    }
    Some(best?.index)
}

/// The power of two choices: the second drawn has to be better.
fn less_loaded(members: &[Member], candidates: &Candidates, random: u64) -> Option<usize> {
    let (high, low) = (random >> 32, random & u64::from(u32::MAX));
    let first = draw(candidates, None, high)?;
    let Some(second) = draw(candidates, Some(first), low) else {
        return Some(first);
    };
    let load = |index: usize| Some(members.get(index)?.instance.load());
    let (one, two) = (u64::from(load(first)?), u64::from(load(second)?));
    let (weight_one, weight_two) = (candidates.weight(first), candidates.weight(second));
    match two * u64::from(weight_one) < one * u64::from(weight_two) {
        true => Some(second),
        false => Some(first),
    }
}

/// Draws one other than `without`, in proportion to its weight, by 32 bits of chance.
fn draw(candidates: &Candidates, without: Option<usize>, chance: u64) -> Option<usize> {
    let left_out = without.map_or(0, |index| candidates.weight(index));
    let total = candidates.total() - left_out;
    let mut rest = (u64::from(total) * chance) >> 32;
    let weights = candidates.weights().iter().enumerate();
    for (index, weight) in weights.filter(|(index, _)| Some(*index) != without) {
        match rest.checked_sub(u64::from(*weight)) {
            Some(less) => rest = less,
            None => return Some(index),
        }
    }
    None
}

/// The load of all candidates and their weights.
struct Room {
    together: u64,
    total: u64,
}

impl Room {
    /// Whether `load` is below the bound: a quarter more than the share of that weight, or some requests.
    fn is_for(&self, load: u64, weight: u64) -> bool {
        let share = self.together * weight;
        let more = (share * ROOM_PERCENT).max(ROOM_REQUESTS * self.total * 100);
        load * self.total * 100 < share * 100 + more
    }
}

/// How a session likes an instance: by -log(hash) / weight, the least first. That gives each weight its share, and of
/// instances that are added or removed nothing goes but to or from them.
struct Rank {
    /// Uniform.
    hash: u64,
    weight: u64,
    /// [`halvings`] of the hash, once they were asked for.
    halvings: Option<u64>,
    index: usize,
}

impl Rank {
    /// Whether one with this hash and weight is liked better. Equal weights need no logarithm, and of the others most are
    /// worse by far.
    fn is_behind(&mut self, hash: u64, weight: u64) -> bool {
        match weight == self.weight {
            true => hash > self.hash,
            false => self.may_be_outdone(hash, weight) && self.is_outdone(hash, weight),
        }
    }

    fn may_be_outdone(&self, hash: u64, weight: u64) -> bool {
        halvings_at_least(hash) * self.weight <= self.halvings.unwrap_or(HALVINGS_MAX) * weight
    }

    #[inline(never)]
    fn is_outdone(&mut self, hash: u64, weight: u64) -> bool {
        let own = *self.halvings.get_or_insert_with(|| halvings(self.hash));
        halvings(hash) * self.weight < own * weight
    }
}

const LOG_BITS: u32 = 32;
const TABLE_BITS: u32 = 7;
const STEPS: usize = 1 << TABLE_BITS;

/// No [`halvings`] are more.
const HALVINGS_MAX: u64 = 64 << LOG_BITS;

/// Binary logarithms of 1 to 2 in equal steps, in units of 2^-[`LOG_BITS`].
const LOGS: [u64; STEPS + 1] = logs();

/// The binary logarithm of 2^64 / `hash`, in units of 2^-[`LOG_BITS`]: below 2^39. A straight line between two steps.
fn halvings(hash: u64) -> u64 {
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    let mantissa = (hash << zeros << 1) >> (64 - LOG_BITS);
    let rest_bits = LOG_BITS - TABLE_BITS;
    let step = usize::try_from(mantissa >> rest_bits).unwrap_or(0);
    let rest = mantissa & ((1 << rest_bits) - 1);
    let log = |step| LOGS.get(step).copied().unwrap_or(0);
    let (low, high) = (log(step), log(step + 1));
    let log = low + (((high - low) * rest) >> rest_bits);
    ((u64::from(zeros) + 1) << LOG_BITS) - log
}

/// No more than [`halvings`], for less: the logarithm of 1 to 2 is less than a straight line and 0.0861.
fn halvings_at_least(hash: u64) -> u64 {
    const BEYOND: u64 = (1 << LOG_BITS) * 861 / 10_000;
    let hash = hash | 1;
    let zeros = hash.leading_zeros();
    let mantissa = (hash << zeros << 1) >> (64 - LOG_BITS);
    ((u64::from(zeros) + 1) << LOG_BITS).saturating_sub(mantissa + BEYOND)
}

#[expect(clippy::indexing_slicing, reason = "happens while compiling")]
const fn logs() -> [u64; STEPS + 1] {
    let mut logs = [0; STEPS + 1];
    let mut step = 0;
    while step < STEPS {
        // Squared, a number of 1 to 2 is beyond 2 where the next bit of its logarithm is one.
        let mut number: u128 = (1 << 63) + ((step as u128) << (63 - TABLE_BITS));
        let mut bit = 0;
        while bit < LOG_BITS {
            number = (number * number) >> 63;
            logs[step] <<= 1;
            if number >= 1 << 64 {
                number >>= 1;
                logs[step] |= 1;
            }
            bit += 1;
        }
        step += 1;
    }
    logs[STEPS] = 1 << LOG_BITS;
    logs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bound_is_a_quarter_above_the_share_or_some_requests() {
        // Of four equal ones.
        for (together, first_without) in [(0, 8), (1, 9), (4, 9), (40, 18), (128, 40), (400, 125)] {
            let room = Room {
                together,
                total: 400,
            };
            assert!(room.is_for(first_without - 1, 100), "{together}");
            assert!(!room.is_for(first_without, 100), "{together}");
        }
        // A tenth of the weight, and all of it.
        let room = Room {
            together: 100,
            total: 10,
        };
        assert!(room.is_for(17, 1) && !room.is_for(18, 1));
        assert!(room.is_for(124, 10) && !room.is_for(125, 10));
    }

    proptest! {
        #[test]
        fn somebody_always_has_room(
            listed in prop::collection::vec((1..1_024_000_u64, 0..100_000_u64), 1..=64),
        ) {
            let room = Room {
                together: listed.iter().map(|(_, load)| load).sum(),
                total: listed.iter().map(|(weight, _)| weight).sum(),
            };
            prop_assert!(listed.iter().any(|(weight, load)| room.is_for(*load, *weight)));
        }

        #[test]
        fn logarithms_are_right(hash in prop_oneof![any::<u64>(), (0..64_u32).prop_map(|bits| u64::MAX >> bits)]) {
            let exact = 64.0 - ((hash | 1) as f64).log2();
            let ours = halvings(hash) as f64 / 2_f64.powi(32);
            prop_assert!((ours - exact).abs() < 2e-5 && ours >= 0.0, "{ours} {exact}");
            prop_assert!(halvings_at_least(hash) <= halvings(hash) && halvings(hash) <= HALVINGS_MAX);
        }
    }
}
