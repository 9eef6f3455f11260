//! One instance: its load, its counts and its health, shared by all workers and by the groups before and after a reload.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

use super::standing::{FAILURES_IN_A_ROW, Millis, Phase, SCALE, Standing};
use super::window::Window;
use super::words::{Change, Health, InstanceState, Outcome};

/// So many probes in a row that succeed bring an instance back,
const PROBES_TO_RISE: i32 = 2;

/// and so many that fail put it out.
const PROBES_TO_FALL: i32 = 3;

/// The lower bits of the traffic: requests under way. No machine holds as many.
const UNDER_WAY_BITS: u32 = 24;

/// A request that is under way, and that the instance was chosen for.
const ONE: u64 = 1 << UNDER_WAY_BITS | 1;

/// The limit of an instance that has none,
const UNLIMITED: u32 = u32::MAX;

/// and of one that a reload has taken away: those who still wait for it are to go elsewhere.
const GONE: u32 = 0;

/// On cache lines of its own: neighbours are used by other workers.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Instance {
    /// Requests under way, and above them those that it was chosen for, so that a choice is one step.
    traffic: AtomicU64,
    /// A [`Standing`], packed.
    standing: AtomicU64,
    failed: AtomicU64,
    /// Probes in a row that succeeded, or, below zero, failed.
    probes: AtomicI32,
    /// Requests under way at once, for groups of all configurations.
    limit: AtomicU32,
    window: Window,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            traffic: AtomicU64::default(),
            standing: AtomicU64::default(),
            failed: AtomicU64::default(),
            probes: AtomicI32::default(),
            limit: UNLIMITED.into(),
            window: Window::default(),
        }
    }
}

/// Whether an instance takes one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    Free,
    Full,
    /// A reload has taken it away.
    Gone,
}

/// A request that was sent to an instance; it counts there until this is dropped.
#[derive(Debug)]
pub struct UnderWay {
    instance: Arc<Instance>,
    index: usize,
    /// Since when it tries an instance that was out, until it is judged.
    trial: Cell<Option<Millis>>,
}

impl UnderWay {
    /// Counts a request that is under way, whatever the limit.
    pub(super) fn begin(instance: &Arc<Instance>, index: usize, trial: Option<Millis>) -> Self {
        instance.traffic.fetch_add(ONE, Ordering::Relaxed);
        Self {
            instance: instance.clone(),
            index,
            trial: Cell::new(trial),
        }
    }

    /// The same, unless there are as many as may be: of several workers that see the last place one gets it.
    pub(super) fn begin_within(
        instance: &Arc<Instance>,
        index: usize,
        trial: Option<Millis>,
    ) -> Result<Self, Room> {
        let limit = instance.limit.load(Ordering::Relaxed);
        if limit == UNLIMITED {
            return Ok(Self::begin(instance, index, trial));
        }
        let order = Ordering::Relaxed;
        let one_more = |traffic| (under_way(traffic) < limit).then_some(traffic + ONE);
        match instance.traffic.fetch_update(order, order, one_more) {
            Ok(_) => Ok(Self {
                instance: instance.clone(),
                index,
                trial: Cell::new(trial),
            }),
            Err(_) if limit == GONE => Err(Room::Gone),
            Err(_) => Err(Room::Full),
        }
    }

    /// The instance's place in the group that chose it.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    pub(super) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Since when it tried the instance, the first time that this is asked.
    pub(super) fn end_trial(&self) -> Option<Millis> {
        self.trial.take()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.instance.traffic.fetch_sub(1, Ordering::Relaxed);
        if let Some(began) = self.trial.take() {
            self.instance.give_up_trial(began);
        }
    }
}

impl Instance {
    /// Requests under way.
    pub(super) fn load(&self) -> u32 {
        under_way(self.traffic.load(Ordering::Relaxed))
    }

    /// Whether it takes one more, which may be over in a moment.
    pub(super) fn room(&self) -> Room {
        match self.limit.load(Ordering::Relaxed) {
            UNLIMITED => Room::Free,
            GONE => Room::Gone,
            limit if self.load() < limit => Room::Free,
            _ => Room::Full,
        }
    }

    /// Sets how many may be under way at once from now on; those that are go on.
    pub(super) fn set_limit(&self, limit: Option<NonZeroU32>) {
        let limit = limit.map_or(UNLIMITED, NonZeroU32::get);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes the seats that are free, `most` at most, where there is a limit: how many, and how many were taken before. It is
    /// chosen for none of them.
    pub(super) fn occupy(&self, most: u32) -> (u32, u32) {
        let limit = match self.limit.load(Ordering::Relaxed) {
            UNLIMITED => GONE,
            limit => limit,
        };
        let free = |traffic| limit.saturating_sub(under_way(traffic)).min(most);
        let order = Ordering::Relaxed;
        let more = |traffic| Some(traffic + u64::from(free(traffic)));
        let (Ok(before) | Err(before)) = self.traffic.fetch_update(order, order, more);
        (free(before), under_way(before))
    }

    /// Frees so many of those that were taken so.
    pub(super) fn free(&self, count: u32) {
        self.traffic.fetch_sub(count.into(), Ordering::Relaxed);
    }

    /// It is no more: where its requests were limited, nobody is to wait for it.
    pub(super) fn is_gone(&self) {
        let limited = |limit| (limit != UNLIMITED).then_some(GONE);
        let order = Ordering::Relaxed;
        let _ = self.limit.fetch_update(order, order, limited);
    }

    pub(super) fn standing(&self) -> Standing {
        // Those who put instances out have to see each other: one order for all.
        Standing::unpack(self.standing.load(Ordering::SeqCst))
    }

    /// The standing as a choice needs it, which may be a moment old.
    pub(super) fn word(&self) -> u64 {
        self.standing.load(Ordering::Relaxed)
    }

    /// Changes the standing as `change` says, once; `None` leaves it.
    fn alter(&self, change: impl Fn(Standing) -> Option<Standing>) -> Option<Standing> {
        let packed = |word| change(Standing::unpack(word)).map(Standing::pack);
        let before = self
            .standing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, packed);
        before.ok().map(Standing::unpack)
    }

    pub(super) fn count(&self, outcome: Outcome, now: Millis) {
        let failed = outcome == Outcome::Failed;
        self.window.count(failed, now);
        self.failed.fetch_add(failed.into(), Ordering::Relaxed);
    }

    /// No failure is in a row with those before.
    pub(super) fn forgive(&self) {
        if Standing::unpack(self.word()).failures > 0 {
            self.alter(|standing| {
                Some(Standing {
                    failures: 0,
                    ..standing
                })
            });
        }
    }

    /// A failure in service, in a row with others. Whether it is one too many.
    pub(super) fn fail(&self, now: Millis) -> bool {
        let serving = |standing: &Standing| standing.phase == Phase::Serving;
        let one_more = |standing: Standing| Standing {
            failures: standing.failures.saturating_add(1),
            ..standing
        };
        let before = self.alter(|standing| Some(standing).filter(serving).map(one_more));
        before.map(one_more).is_some_and(|standing| {
            standing.failures >= FAILURES_IN_A_ROW || self.window.is_bad(standing.at, now)
        })
    }

    /// Says that it is about to leave; `false` where it does not serve, or somebody said so already.
    pub(super) fn begin_leaving(&self) -> bool {
        let may = |standing: &Standing| !standing.is_out_or_leaving() && !standing.draining;
        let leaving = |standing| Standing {
            leaving: true,
            ..standing
        };
        self.alter(|standing| Some(standing).filter(may).map(leaving))
            .is_some()
    }

    /// Ends what [`begin_leaving`](Self::begin_leaving) began, with what it comes to.
    pub(super) fn end_leaving(&self, out: impl Fn(Standing) -> Standing) {
        self.alter(|standing| {
            Some(out(Standing {
                leaving: false,
                ..standing
            }))
        });
    }

    /// Takes it into service, whatever there is against it.
    pub(super) fn let_in(&self, now: Millis) {
        let out = |standing: &Standing| standing.phase != Phase::Serving;
        self.alter(|standing| Some(standing).filter(out).map(|out| out.returned(now)));
    }

    /// Whether the caller's request is the one to try it, now that its ejection is over.
    pub(super) fn claim_trial(&self, now: Millis) -> bool {
        let due = |standing: &Standing| standing.is_due(now) && !standing.draining;
        self.alter(|standing| Some(standing).filter(due).map(|due| due.on_trial(now)))
            .is_some()
    }

    /// What came of the trial that began then, unless it is none any more: probes may have found it down.
    pub(super) fn end_trial(&self, began: Millis, outcome: Outcome, now: Millis) -> Option<Change> {
        let next = |standing: Standing| match outcome {
            Outcome::Answered => standing.returned(now),
            Outcome::Failed => standing.ejected(now),
        };
        let before =
            self.alter(|standing| Some(standing).filter(|s| s.is_trial(began)).map(next))?;
        Some(match outcome {
            Outcome::Answered => Change::Returned,
            Outcome::Failed => Change::Ejected {
                time: next(before).time_left(now),
            },
        })
    }

    /// The trial that began then did not take place.
    pub(super) fn give_up_trial(&self, began: Millis) {
        self.alter(|standing| {
            let trial = Some(standing).filter(|standing| standing.is_trial(began));
            trial.map(Standing::due_again)
        });
    }

    /// Counts a probe. Whether there were enough in a row.
    pub(super) fn probed(&self, ok: bool) -> bool {
        let next = |run: i32| match ok {
            true => run.max(0).saturating_add(1),
            false => run.min(0).saturating_sub(1),
        };
        let order = Ordering::Relaxed;
        let before = self
            .probes
            .fetch_update(order, order, |run| Some(next(run)));
        let (Ok(run) | Err(run)) = before.map(next);
        run >= PROBES_TO_RISE || run <= -PROBES_TO_FALL
    }

    /// Back in service, if it was down.
    pub(super) fn up(&self, now: Millis) -> bool {
        let down = |standing: &Standing| standing.phase == Phase::Down;
        self.alter(|standing| Some(standing).filter(down).map(|down| down.returned(now)))
            .is_some()
    }

    /// To be tried, if it was down: no probe will say that it is up.
    pub(super) fn is_not_probed(&self, now: Millis) {
        self.probes.store(0, Ordering::Relaxed);
        let down = |standing: &Standing| standing.phase == Phase::Down;
        self.alter(|standing| Some(standing).filter(down).map(|down| down.due(now)));
    }

    /// Down, if it was out for another reason.
    pub(super) fn fall_from_out(&self) -> bool {
        let out = |standing: &Standing| matches!(standing.phase, Phase::Ejected | Phase::Trial);
        self.alter(|standing| Some(standing).filter(out).map(Standing::down))
            .is_some()
    }

    /// Whether this changed anything.
    pub(super) fn drain(&self) -> bool {
        let serves = |standing: &Standing| !standing.draining;
        let drained = |standing| Standing {
            draining: true,
            ..standing
        };
        self.alter(|standing| Some(standing).filter(serves).map(drained))
            .is_some()
    }

    /// Whether this changed anything.
    pub(super) fn undrain(&self, now: Millis) -> bool {
        let drained = |standing: &Standing| standing.draining;
        self.alter(|standing| Some(standing).filter(drained).map(|it| it.undrained(now)))
            .is_some()
    }

    pub(super) fn state(&self, now: Millis) -> InstanceState {
        let standing = self.standing();
        InstanceState {
            health: match standing.phase {
                Phase::Serving => match standing.slow_start(now) {
                    SCALE => Health::Well,
                    part => Health::SlowStart(u16::try_from(part * 1000 / SCALE).unwrap_or(0)),
                },
                _ if standing.is_due(now) => Health::Due,
                Phase::Ejected => Health::Ejected(standing.time_left(now)),
                Phase::Trial => Health::Trial,
                Phase::Down => Health::Down,
            },
            draining: standing.draining,
            under_way: self.load(),
            limit: Some(self.limit.load(Ordering::Relaxed)).filter(|limit| *limit != UNLIMITED),
            chosen: self.traffic.load(Ordering::Relaxed) >> UNDER_WAY_BITS,
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// Requests under way, of a traffic word.
fn under_way(traffic: u64) -> u32 {
    let count = traffic & ((1 << UNDER_WAY_BITS) - 1);
    u32::try_from(count).unwrap_or(u32::MAX)
}
