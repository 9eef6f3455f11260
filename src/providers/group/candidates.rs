//! Those instances that may be chosen, and what they weigh at the moment.

use std::sync::Arc;

use super::instance::{Instance, Room};
use super::standing::{Millis, Phase, SCALE, Standing};
use super::tried::{Tried, bit};
use super::words::{INSTANCES_MAX, WEIGHT_MAX};

/// An instance and what this group knows of it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance: Arc<Instance>,
    pub(super) identity: u64,
    /// In units of [`SCALE`].
    pub(super) weight: u32,
}

/// Among which instances is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// Those in service, and those that are due to be tried.
    Well,
    /// Also those that are out: nothing else is left.
    All,
}

/// Weights by index, zero for those that may not be chosen.
#[derive(Debug)]
pub(super) struct Candidates {
    weights: [u32; INSTANCES_MAX],
    total: u32,
    due: u64,
    /// One was left out for its limit only.
    full: bool,
}

const WEIGHTS_MAX: u64 = INSTANCES_MAX as u64 * WEIGHT_MAX as u64 * SCALE as u64;

const _: () = assert!(WEIGHTS_MAX <= u32::MAX as u64);

impl Candidates {
    /// With `limited`, those are left out that have as many requests under way as they may.
    pub(super) fn gather(
        members: &[Member],
        tried: Tried,
        among: Among,
        now: Millis,
        limited: bool,
    ) -> Self {
        let mut weights = [0; INSTANCES_MAX];
        let (mut total, mut all_due, mut full) = (0, 0, false);
        for (index, (member, weight)) in members.iter().zip(&mut weights).enumerate() {
            if tried.has(index) {
                continue;
            }
            // Most were never out.
            let (whole, word) = (member.weight, member.instance.word());
            let (mut now_weight, due) = match word {
                0 => (whole, false),
                _ => weighed(whole, Standing::unpack(word), among, now),
            };
            if limited && now_weight > 0 {
                let room = member.instance.room();
                full |= room == Room::Full;
                now_weight = if room == Room::Free { now_weight } else { 0 };
            }
            if now_weight > 0 {
                *weight = now_weight;
                total += now_weight;
                all_due |= u64::from(due) << index;
            }
        }
        Self {
            weights,
            total,
            due: all_due,
            full,
        }
    }

    /// Whether it was out, and a request has to claim it to try it.
    pub(super) fn is_due(&self, index: usize) -> bool {
        self.due & bit(index) != 0
    }

    /// Whether one could be chosen, had it room.
    pub(super) fn is_any_full(&self) -> bool {
        self.full
    }

    /// Takes one out that another request was quicker to take the last place of, or that is no more.
    pub(super) fn has_no(&mut self, room: Room, index: usize) {
        self.full |= room == Room::Full;
        self.remove(index);
    }

    pub(super) fn remove(&mut self, index: usize) {
        if let Some(weight) = self.weights.get_mut(index) {
            self.total -= *weight;
            *weight = 0;
        }
    }

    /// All weights together.
    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// Zero where it may not be chosen.
    pub(super) fn weight(&self, index: usize) -> u32 {
        self.weights.get(index).copied().unwrap_or(0)
    }

    /// Each of them, of all that there are, with its index and weight.
    pub(super) fn of<'a>(
        &'a self,
        members: &'a [Member],
    ) -> impl Iterator<Item = (usize, &'a Member, u32)> {
        let all = members.iter().zip(&self.weights).enumerate();
        all.filter(|(_, (_, weight))| **weight > 0)
            .map(|(index, (member, weight))| (index, member, *weight))
    }

    /// Weights, in order, to the end of the table.
    pub(super) fn weights(&self) -> &[u32; INSTANCES_MAX] {
        &self.weights
    }
}

/// What it weighs now, and whether it is due.
fn weighed(weight: u32, standing: Standing, among: Among, now: Millis) -> (u32, bool) {
    let due = standing.is_due(now);
    let now_weight = match standing.phase {
        _ if standing.draining => 0,
        // Of a weight of 1 there are as many parts as of its time, so that none is lost.
        Phase::Serving => weight / SCALE * standing.slow_start(now),
        _ if due => weight,
        Phase::Ejected | Phase::Trial | Phase::Down => match among {
            Among::Well => 0,
            Among::All => weight,
        },
    };
    (now_weight, due)
}
