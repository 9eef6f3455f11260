//! What is known of one instance's health, in one word, so that it changes at once or not at all.
//!
//! An instance serves; after failures it is ejected until a time, then one request tries it, and by that it serves again
//! or is ejected for longer. Where probes say so it is down instead. Everything here is a function of a word and a time.

use std::time::Duration;

/// Milliseconds since the process began: enough for 34 years in [`TIME_BITS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Millis(pub(super) u64);

impl Millis {
    pub(super) fn of(micros: u64) -> Self {
        Self((micros / 1000).min((1 << TIME_BITS) - 1))
    }

    fn after(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    fn plus(self, millis: u64) -> Self {
        Self((self.0 + millis).min((1 << TIME_BITS) - 1))
    }
}

/// Parts that a weight of 1 is cut into, for those that are in their slow start.
pub(super) const SCALE: u32 = 1024;

/// How many failures in a row eject.
pub(super) const FAILURES_IN_A_ROW: u8 = 3;

/// The first ejection; each one after that is twice as long, up to the longest.
pub(super) const EJECTION_MILLIS: u64 = 10_000;
pub(super) const EJECTION_MILLIS_MAX: u64 = 300_000;

/// As many doublings as reach the longest.
pub(super) const LEVEL_MAX: u8 = 6;

const _: () = assert!(EJECTION_MILLIS << (LEVEL_MAX - 1) >= EJECTION_MILLIS_MAX);

/// Serving for so long takes one doubling back.
pub(super) const HEALTHY_SPELL_MILLIS: u64 = 60_000;

/// A request that tries an instance and has no answer for so long is not waited for: another one may try. Until it
/// does, an answer that takes longer counts.
pub(super) const TRIAL_MILLIS_MAX: u64 = 10_000;

/// How long it takes until an instance that came back gets its whole weight.
pub(super) const SLOW_START_MILLIS: u64 = 30_000;

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It serves, since a time; 0 where it was never out.
    Serving,
    /// It is out until a time, and from then on waits for a request that tries it.
    Ejected,
    /// One request tries it, since a time.
    Trial,
    /// Its probes fail.
    Down,
}

/// The word, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) phase: Phase,
    pub(super) at: Millis,
    /// Ejections that followed upon each other: 1 at the first.
    pub(super) level: u8,
    /// Failures in a row.
    pub(super) failures: u8,
    /// Somebody is about to put it out, and looks whether that may be. Until then it serves.
    pub(super) leaving: bool,
    pub(super) draining: bool,
}

const TIME_BITS: u32 = 40;
const PHASE_SHIFT: u32 = TIME_BITS;
const LEVEL_SHIFT: u32 = PHASE_SHIFT + 2;
const FAILURES_SHIFT: u32 = LEVEL_SHIFT + 8;
const LEAVING: u64 = 1 << 62;
const DRAINING: u64 = 1 << 63;

const _: () = assert!(FAILURES_SHIFT + 8 <= 62);

impl Standing {
    /// Zero is an instance that was never out.
    pub(super) fn unpack(word: u64) -> Self {
        let byte = |shift: u32| (word >> shift).to_le_bytes()[0];
        Self {
            phase: match (word >> PHASE_SHIFT) & 3 {
                0 => Phase::Serving,
                1 => Phase::Ejected,
                2 => Phase::Trial,
                _ => Phase::Down,
            },
            at: Millis(word & ((1 << TIME_BITS) - 1)),
            level: byte(LEVEL_SHIFT),
            failures: byte(FAILURES_SHIFT),
            leaving: word & LEAVING != 0,
            draining: word & DRAINING != 0,
        }
    }

    pub(super) fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Serving => 0,
            Phase::Ejected => 1,
            Phase::Trial => 2,
            Phase::Down => 3_u64,
        };
        self.at.0
            | phase << PHASE_SHIFT
            | u64::from(self.level) << LEVEL_SHIFT
            | u64::from(self.failures) << FAILURES_SHIFT
            | if self.leaving { LEAVING } else { 0 }
            | if self.draining { DRAINING } else { 0 }
    }

    pub(super) fn is_out_or_leaving(self) -> bool {
        self.phase != Phase::Serving || self.leaving
    }

    /// Whether the next request may try it.
    pub(super) fn is_due(self, now: Millis) -> bool {
        match self.phase {
            Phase::Ejected => self.at <= now,
            Phase::Trial => now.after(self.at) >= TRIAL_MILLIS_MAX,
            Phase::Serving | Phase::Down => false,
        }
    }

    /// Whether it serves with its whole weight.
    pub(super) fn is_whole(self, now: Millis) -> bool {
        self.phase == Phase::Serving && !self.draining && self.slow_start(now) == SCALE
    }

    /// Whether it is tried by the request that began to do so then.
    pub(super) fn is_trial(self, began: Millis) -> bool {
        self.phase == Phase::Trial && self.at == began
    }

    /// Until an ejection is over.
    pub(super) fn time_left(self, now: Millis) -> Duration {
        Duration::from_millis(self.at.after(now))
    }

    /// After failures, in service or when tried.
    pub(super) fn ejected(self, now: Millis) -> Self {
        let level = self.level_at(now).saturating_add(1).min(LEVEL_MAX);
        let time = EJECTION_MILLIS << (level.saturating_sub(1));
        Self {
            phase: Phase::Ejected,
            at: now.plus(time.min(EJECTION_MILLIS_MAX)),
            level,
            failures: 0,
            ..self
        }
    }

    /// After probes that failed.
    pub(super) fn down(self) -> Self {
        Self {
            phase: Phase::Down,
            at: Millis(0),
            failures: 0,
            ..self
        }
    }

    /// To be tried from now on.
    pub(super) fn due(self, now: Millis) -> Self {
        Self {
            phase: Phase::Ejected,
            at: now,
            ..self
        }
    }

    /// In service again.
    pub(super) fn returned(self, now: Millis) -> Self {
        Self {
            phase: Phase::Serving,
            at: now.max(Millis(1)),
            failures: 0,
            ..self
        }
    }

    /// In service again by an operator's word. What it had of a healthy spell is taken account of before it begins anew.
    pub(super) fn undrained(self, now: Millis) -> Self {
        let undrained = Self {
            draining: false,
            ..self
        };
        match self.phase {
            Phase::Serving => Self {
                level: self.level_at(now),
                ..undrained.returned(now)
            },
            Phase::Ejected | Phase::Trial | Phase::Down => undrained,
        }
    }

    /// The first of a request that tries it.
    pub(super) fn on_trial(self, now: Millis) -> Self {
        Self {
            phase: Phase::Trial,
            at: now,
            ..self
        }
    }

    /// Nothing came of a trial: the next request may try.
    pub(super) fn due_again(self) -> Self {
        Self {
            phase: Phase::Ejected,
            ..self
        }
    }

    /// Doublings that still count, less those that serving well has taken back.
    fn level_at(self, now: Millis) -> u8 {
        let spells = match self.phase {
            Phase::Serving => now.after(self.at) / HEALTHY_SPELL_MILLIS,
            Phase::Ejected | Phase::Trial | Phase::Down => 0,
        };
        self.level
            .saturating_sub(u8::try_from(spells).unwrap_or(u8::MAX))
    }

    /// The part of its weight that an instance in service gets, 1 to [`SCALE`].
    pub(super) fn slow_start(self, now: Millis) -> u32 {
        let since = now.after(self.at);
        if self.at == Millis(0) || since >= SLOW_START_MILLIS {
            return SCALE;
        }
        let part = since * u64::from(SCALE) / SLOW_START_MILLIS;
        u32::try_from(part).unwrap_or(SCALE).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn new() -> Standing {
        Standing::unpack(0)
    }

    #[test]
    fn ejections_grow_and_a_healthy_spell_takes_back() {
        let mut standing = new();
        let mut now = Millis(5);
        for seconds in [10, 20, 40, 80, 160, 300, 300, 300] {
            standing = standing.ejected(now);
            assert_eq!(standing.time_left(now), Duration::from_secs(seconds));
            assert!(!standing.is_due(Millis(standing.at.0 - 1)));
            assert!(standing.is_due(standing.at));
            now = standing.at;
            standing = standing.on_trial(now).returned(now);
        }
        for (spell, seconds) in [(0, 300), (1, 300), (2, 160), (3, 80), (6, 10), (1000, 10)] {
            let later = Millis(now.0 + spell * HEALTHY_SPELL_MILLIS);
            let ejected = standing.ejected(later);
            assert_eq!(
                ejected.time_left(later),
                Duration::from_secs(seconds),
                "{spell}"
            );
        }
    }

    #[test]
    fn a_slow_start_is_linear() {
        assert_eq!(new().slow_start(Millis(0)), SCALE);
        let back = new().ejected(Millis(0)).returned(Millis(10_000));
        for (millis, part) in [
            (0, 1),
            (15_000, SCALE / 2),
            (29_999, SCALE - 1),
            (30_000, SCALE),
        ] {
            assert_eq!(back.slow_start(Millis(10_000 + millis)), part, "{millis}");
        }
        // A clock that is a little behind another worker's.
        assert_eq!(back.slow_start(Millis(9_999)), 1);
    }

    #[test]
    fn what_an_operator_lets_in_again_starts_slowly_and_keeps_its_past() {
        let drained = |standing: Standing| Standing {
            draining: true,
            ..standing
        };
        let now = Millis(5 * HEALTHY_SPELL_MILLIS);
        let back = drained(new()).undrained(now);
        assert!(!back.draining && back.slow_start(now) == 1);
        let sick = new().ejected(now);
        assert_eq!(drained(sick).undrained(Millis(now.0 + 1)), sick);
        // Two ejections, one of them taken back by a spell before the drain.
        let twice = new().ejected(Millis(1)).ejected(Millis(2));
        let served = drained(twice.returned(Millis(3)));
        let back = served.undrained(Millis(3 + HEALTHY_SPELL_MILLIS));
        assert_eq!(back.level, 1);
    }

    proptest! {
        #[test]
        fn a_word_holds_it_all(
            phase in prop::sample::select(vec![Phase::Serving, Phase::Ejected, Phase::Trial, Phase::Down]),
            at in 0..1_u64 << TIME_BITS,
            level: u8, failures: u8, leaving: bool, draining: bool,
        ) {
            let standing = Standing { phase, at: Millis(at), level, failures, leaving, draining };
            prop_assert_eq!(Standing::unpack(standing.pack()), standing);
        }
    }
}
