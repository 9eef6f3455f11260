//! Who has a permit and who waits for one, in which order. No lock, no clock: [`super::Queue`] holds it behind a lock.
//!
//! Waiting requests stand in one lane a key, first in first out. A free permit goes to the lane whose key holds the fewest
//! (max-min fairness), among those to the one whose last turn is longest ago. When all places are taken, a key with more
//! than another gives up its newest place to it. So however many one key asks for, the others get their share.
//!
//! Who wishes for an instance, where these are limited too, is let in with a seat there or not at all, and gets both at
//! once. Behind a reload, some wait for instances that others cannot have: then the first one in turn may be passed over by
//! one that comes with other instances to go to. Those that had their turn and have to go elsewhere stand in a lane of
//! their own, which comes first: they keep their permits, and lack but a seat. As some instances are none for them, one of
//! them may be passed over.

use std::collections::HashMap;
use std::num::NonZeroU32;

use slab::Slab;

use super::heap::Heap;
use super::pace::Pace;
use super::share::Share;
use super::wish::{Newest, Wish, seat};
use crate::providers::group::UnderWay;

/// Bounds of `Retry-After`, in seconds.
const RETRY_AFTER_MIN: u64 = 1;
const RETRY_AFTER_MAX: u64 = 60;

/// So many at most that had their turn wait for a seat elsewhere,
const MOVED_MAX: u32 = 256;

/// and so many of them are looked at for each seat that comes free.
const MOVED_LOOKED_AT: usize = 32;

/// So many lanes are looked at where those that come first may wait for other instances than those behind them.
const LANES_LOOKED_AT: usize = 16;

/// How many at once, and how many wait how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests at once; where there is none, only the instances' own limits hold.
    pub permits: Option<NonZeroU32>,
    /// As many as these let in together. There is room for so many from the start where `permits` says nothing.
    pub seats: u32,
    /// Places to wait in.
    pub length: u32,
    /// The longest wait, in microseconds.
    pub wait: u64,
}

/// A place to wait in, of one request only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    place: usize,
    number: u64,
}

/// The right to send a request, to be given back with [`super::Queue::release`].
#[derive(Debug)]
#[must_use = "a permit that is not released is lost to all"]
pub struct Permit {
    /// None where it had its turn before.
    lane: Option<usize>,
    seat: Option<UnderWay>,
}

impl Permit {
    /// The seat at an instance, where it wished for one and there is one that it could go to.
    pub fn take_seat(&mut self) -> Option<UnderWay> {
        self.seat.take()
    }

    /// Whether it counts among those of the provider; else the request has one already that does.
    #[must_use]
    pub fn is_turn(&self) -> bool {
        self.lane.is_some()
    }
}

/// The answer to a request that asks for its turn.
#[derive(Debug)]
#[must_use]
pub enum Asked {
    /// It may go on at once.
    Admitted(Permit),
    /// It waits.
    Waits {
        /// Its place.
        ticket: Ticket,
        /// Until when, in microseconds.
        deadline: u64,
        /// Who lost its place to this one, and is to be told so.
        displaced: Option<Call>,
    },
    /// There is no place for it.
    Full {
        /// Whole seconds after which there may be one, 1 to 60.
        retry_after: u32,
    },
}

/// Who is to be woken, and about what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What it is called by.
    pub caller: u64,
    /// Its ticket.
    pub ticket: Ticket,
}

/// What has become of a ticket.
#[derive(Debug)]
#[must_use]
pub enum Taken {
    /// Its turn has come.
    Admitted(Permit),
    /// Not yet.
    Waits,
    /// It is none any more.
    Gone {
        /// Whole seconds after which there may be a place, 1 to 60.
        retry_after: u32,
    },
}

/// What there is to see of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueState {
    /// Permits that are held.
    pub held: u32,
    /// Requests that wait.
    pub waiting: u32,
    /// Keys that have any of them.
    pub keys: u32,
}

#[derive(Debug)]
pub(super) struct Line {
    limits: Limits,
    held: u32,
    waiting: u32,
    /// The latest that wished for a seat got none.
    full: bool,
    /// Tickets and turns so far.
    number: u64,
    /// Those that had their turn.
    moved: Lane,
    newest: Newest,
    places: Slab<Place>,
    lanes: Slab<Lane>,
    lane_of: HashMap<u64, usize>,
    /// Lanes in which somebody waits, the next first.
    turns: Heap,
    /// The same lanes, that with the most first.
    hogs: Heap,
    /// Places of those that wait, by their deadline.
    deadlines: Heap,
    pace: Pace,
    /// What of the limit is this process's.
    share: Share,
}

/// A request that waits, or whose turn has come and was not taken yet.
#[derive(Debug)]
struct Place {
    number: u64,
    caller: u64,
    /// None where it had its turn.
    lane: Option<usize>,
    wish: Option<Wish>,
    admitted: bool,
    seat: Option<UnderWay>,
    before: Option<usize>,
    behind: Option<usize>,
}

/// A key with permits or places.
#[derive(Debug, Default)]
struct Lane {
    key: u64,
    held: u32,
    waiting: u32,
    /// The number of when its last turn began or ended, or it came.
    turn: u64,
    first: Option<usize>,
    last: Option<usize>,
}

impl Line {
    pub(super) fn new(limits: Limits) -> Self {
        let mut line = Self {
            limits,
            held: 0,
            waiting: 0,
            full: false,
            number: 0,
            moved: Lane::default(),
            newest: Newest::default(),
            places: Slab::new(),
            lanes: Slab::new(),
            lane_of: HashMap::new(),
            turns: Heap::new(),
            hogs: Heap::new(),
            deadlines: Heap::new(),
            pace: Pace::default(),
            share: Share::default(),
        };
        line.limit(limits);
        line
    }

    pub(super) fn limit(&mut self, limits: Limits) {
        self.limits = limits;
        // A lane and a place for each that may be there: those that hold, also from before, and those that wait.
        let permits = limits.permits.map_or(limits.seats, NonZeroU32::get);
        let held = permits.max(self.held);
        let all = u64::from(held) + u64::from(limits.length.max(self.waiting));
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        let moved = if limits.seats > 0 { MOVED_MAX } else { 0 };
        let places = all.saturating_add(usize::try_from(moved).unwrap_or(0));
        self.places
            .reserve(places.saturating_sub(self.places.len()));
        self.deadlines.reserve(places);
        self.lanes.reserve(all.saturating_sub(self.lanes.len()));
        // Twice as many: then traces of those that went are swept out within it, and it does not grow.
        let lanes = self.lane_of.len();
        self.lane_of
            .reserve(all.saturating_mul(2).saturating_sub(lanes));
        for heap in [&mut self.turns, &mut self.hogs] {
            heap.reserve(all);
        }
        self.mark();
    }

    pub(super) fn open(&mut self) {
        // Nobody else comes, so there is no room to be made.
        self.limits.permits = None;
        self.mark();
    }

    pub(super) fn ask(&mut self, key: u64, caller: u64, wish: Option<Wish>, now: u64) -> Asked {
        self.pace.tell(now);
        if !self.is_saturated() && self.comes_first(key, wish.as_ref()) {
            if let Some(seat) = self.seat(wish.as_ref(), now) {
                let lane = self.lane(key);
                self.admit(lane);
                let lane = Some(lane);
                return Asked::Admitted(Permit { lane, seat });
            }
            self.mark();
        }
        let displaced = match self.waiting < self.length() {
            true => None,
            false => match self.displace(key) {
                Some(call) => Some(call),
                None => {
                    let retry_after = self.retry_after();
                    return Asked::Full { retry_after };
                }
            },
        };
        let deadline = now.saturating_add(self.limits.wait);
        let lane = Some(self.lane(key));
        let ticket = self.enqueue(lane, caller, wish, deadline);
        Asked::Waits {
            ticket,
            deadline,
            displaced,
        }
    }

    /// Whether nobody waits who could have what this one asks for. Behind a reload that may also be so where somebody does;
    /// others of its own key it never passes but those of before.
    fn comes_first(&self, key: u64, wish: Option<&Wish>) -> bool {
        let lane = self.lane_of.get(&key).and_then(|it| self.lanes.get(*it));
        let is_mixed = self.newest.is_among(self.waiting);
        self.waiting == 0
            || self.newest.is_first(wish)
            || is_mixed && lane.is_none_or(|lane| lane.waiting == 0)
    }

    /// A request that had its turn wishes for another seat, and gets the next.
    pub(super) fn move_on(&mut self, caller: u64, wish: Wish, now: u64) -> Asked {
        self.pace.tell(now);
        if let Some(seat) = self.seat(Some(&wish), now) {
            return Asked::Admitted(Permit { lane: None, seat });
        }
        if self.moved.waiting >= MOVED_MAX {
            let retry_after = self.retry_after();
            return Asked::Full { retry_after };
        }
        let deadline = now.saturating_add(self.limits.wait);
        Asked::Waits {
            ticket: self.enqueue(None, caller, Some(wish), deadline),
            deadline,
            displaced: None,
        }
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Taken {
        match self.known(ticket) {
            None => Taken::Gone {
                retry_after: self.retry_after(),
            },
            Some(place) if !place.admitted => Taken::Waits,
            Some(place) => {
                let lane = place.lane;
                let place = self.places.try_remove(ticket.place);
                let seat = place.and_then(|place| place.seat);
                Taken::Admitted(Permit { lane, seat })
            }
        }
    }

    pub(super) fn release(&mut self, permit: Permit, now: u64) -> Option<Call> {
        self.pace.tell(now);
        let Permit { lane, seat } = permit;
        drop(seat);
        self.free(lane);
        self.next(now)
    }

    pub(super) fn leave(&mut self, ticket: Ticket, now: u64) -> Option<Call> {
        self.pace.tell(now);
        let place = self.known(ticket)?;
        let (lane, admitted) = (place.lane, place.admitted);
        match admitted {
            true => {
                drop(self.places.try_remove(ticket.place));
                self.free(lane);
            }
            false => drop(self.remove(ticket.place)),
        }
        self.next(now)
    }

    pub(super) fn expire(&mut self, now: u64) -> Option<Call> {
        self.pace.tell(now);
        let (_, place) = self.deadlines.first().filter(|((at, _), _)| *at <= now)?;
        self.remove(place)
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadlines.first().map(|((at, _), _)| at)
    }

    /// A ticket that is just over may still be let in: that serves its client better than to turn it away.
    pub(super) fn next(&mut self, now: u64) -> Option<Call> {
        self.pace.tell(now);
        if let Some(call) = self.next_moved(now) {
            return Some(call);
        }
        let limited = self.limits.permits.is_some();
        while limited && !self.is_saturated() && self.share.gives(self.waiting > 0) {}
        if self.is_saturated() {
            return None;
        }
        let mut passed = [None; LANES_LOOKED_AT];
        let mut found = None;
        for passed in &mut passed {
            let Some((_, lane)) = self.turns.first() else {
                break;
            };
            let Some(index) = self.lanes.get(lane).and_then(|lane| lane.first) else {
                break;
            };
            found = self.seat_of(index, now).map(|seat| (lane, index, seat));
            if found.is_some() || !self.newest.is_among(self.waiting) {
                break;
            }
            self.turns.remove(lane);
            *passed = Some(lane);
        }
        passed
            .into_iter()
            .flatten()
            .for_each(|lane| self.rank(lane));
        let Some((lane, index, seat)) = found else {
            self.mark();
            return None;
        };
        self.unlink(index);
        self.admit(lane);
        self.let_in(index, seat)
    }

    /// The first of those that had their turn that there is a seat for.
    fn next_moved(&mut self, now: u64) -> Option<Call> {
        let mut next = self.moved.first;
        for _ in 0..MOVED_LOOKED_AT {
            let index = next?;
            next = self.places.get(index)?.behind;
            if let Some(seat) = self.seat_of(index, now) {
                self.unlink(index);
                return self.let_in(index, seat);
            }
        }
        None
    }

    fn let_in(&mut self, index: usize, seat: Option<UnderWay>) -> Option<Call> {
        let place = self.places.get_mut(index)?;
        (place.admitted, place.seat) = (true, seat);
        Some(place.call(index))
    }

    /// The seat that a place wishes for: none where there is none to wish for any more; nothing while it has to wait.
    fn seat_of(&mut self, index: usize, now: u64) -> Option<Option<UnderWay>> {
        let wish = self.places.get(index).and_then(|place| place.wish.as_ref());
        let seat = seat(wish, now);
        self.full = seat.is_none();
        seat
    }

    fn seat(&mut self, wish: Option<&Wish>, now: u64) -> Option<Option<UnderWay>> {
        let seat = seat(wish, now);
        self.full = seat.is_none();
        seat
    }

    pub(super) fn state(&self) -> QueueState {
        QueueState {
            held: self.held,
            waiting: self.waiting + self.moved.waiting,
            keys: u32::try_from(self.lanes.len()).unwrap_or(u32::MAX),
        }
    }

    /// How large its tables are.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> [usize; 4] {
        let (places, lanes) = (self.places.capacity(), self.lanes.capacity());
        [
            places,
            lanes,
            self.lane_of.capacity(),
            self.turns.capacity(),
        ]
    }

    fn is_saturated(&self) -> bool {
        let permits = self.limits.permits;
        permits.is_some_and(|permits| self.held >= self.share.allowed(permits.get()))
    }

    /// Whether who asks has to wait, as far as is known.
    fn is_out(&self) -> bool {
        self.is_saturated() || self.full
    }

    fn mark(&mut self) {
        let out = self.is_out();
        self.pace.mark(out);
    }

    /// How many may wait.
    fn length(&self) -> u32 {
        let permits = self.limits.permits.map_or(0, NonZeroU32::get);
        let more = self.share.places(permits);
        self.limits.length.saturating_add(more)
    }

    /// Changes what of the limit is this process's. Afterwards [`next`](Self::next) is to be asked.
    pub(super) fn share(&mut self, change: impl FnOnce(&mut Share)) {
        change(&mut self.share);
        self.mark();
    }

    /// Keeps what is held and no more from now on; how much that is.
    pub(super) fn leave_all(&mut self) -> u32 {
        let held = self.held;
        self.share(|share| share.leave(held));
        held
    }

    /// Permits that are to be sent to the other process, and how many wait here.
    pub(super) fn take_given(&mut self) -> (u32, u32) {
        let given = self.share.take_given(self.held, self.waiting);
        (given, self.waiting)
    }

    fn number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn known(&self, ticket: Ticket) -> Option<&Place> {
        let place = self.places.get(ticket.place);
        place.filter(|place| place.number == ticket.number)
    }

    /// The key's lane, a new one where it has none.
    fn lane(&mut self, key: u64) -> usize {
        if let Some(lane) = self.lane_of.get(&key) {
            return *lane;
        }
        let turn = self.number();
        let lane = self.lanes.insert(Lane {
            key,
            turn,
            ..Lane::default()
        });
        self.lane_of.insert(key, lane);
        lane
    }

    /// Ranks a lane anew after it has changed, or forgets it.
    fn rank(&mut self, index: usize) {
        let Some(lane) = self.lanes.get(index) else {
            return;
        };
        if lane.waiting > 0 {
            self.turns.set(index, (lane.held.into(), lane.turn));
            self.hogs.set(index, (u64::MAX - lane.all(), lane.turn));
            return;
        }
        self.turns.remove(index);
        self.hogs.remove(index);
        if lane.held == 0 {
            self.lane_of.remove(&lane.key);
            let _ = self.lanes.try_remove(index);
        }
    }

    fn admit(&mut self, lane: usize) {
        let turn = self.number();
        self.held += 1;
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.held += 1;
            lane.turn = turn;
        }
        self.rank(lane);
        self.mark();
    }

    fn free(&mut self, lane: Option<usize>) {
        let Some(lane) = lane else { return };
        let was_out = self.is_out();
        self.full = false;
        // Who waits already comes before those behind the one that has ended.
        let turn = self.number();
        self.held = self.held.saturating_sub(1);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.held = lane.held.saturating_sub(1);
            lane.turn = turn;
        }
        self.rank(lane);
        if was_out {
            let still = self.is_out();
            self.pace.came_back(still);
        }
    }

    fn enqueue(
        &mut self,
        lane: Option<usize>,
        caller: u64,
        wish: Option<Wish>,
        deadline: u64,
    ) -> Ticket {
        let number = self.number();
        let before = self.lane_at(lane).and_then(|lane| lane.last);
        if lane.is_some() {
            self.newest.came(wish.as_ref());
        }
        let place = self.places.insert(Place {
            number,
            caller,
            lane,
            wish,
            admitted: false,
            seat: None,
            before,
            behind: None,
        });
        if let Some(before) = before.and_then(|before| self.places.get_mut(before)) {
            before.behind = Some(place);
        }
        if let Some(lane) = self.lane_at(lane) {
            lane.first = lane.first.or(Some(place));
            lane.last = Some(place);
            lane.waiting += 1;
        }
        self.deadlines.set(place, (deadline, number));
        if let Some(lane) = lane {
            self.waiting += 1;
            self.rank(lane);
        }
        Ticket { place, number }
    }

    /// The lane, or that of those that had their turn.
    fn lane_at(&mut self, lane: Option<usize>) -> Option<&mut Lane> {
        match lane {
            Some(lane) => self.lanes.get_mut(lane),
            None => Some(&mut self.moved),
        }
    }

    /// Takes the newest place of the key that has the most, if that leaves it no fewer than `key` then has.
    fn displace(&mut self, key: u64) -> Option<Call> {
        let (_, hog) = self.hogs.first().filter(|_| self.limits.length > 0)?;
        let hog = self.lanes.get(hog)?;
        let own = self
            .lane_of
            .get(&key)
            .and_then(|lane| self.lanes.get(*lane));
        if hog.all() < own.map_or(0, Lane::all) + 2 {
            return None;
        }
        let last = hog.last?;
        self.remove(last)
    }

    /// Ends a wait.
    fn remove(&mut self, place: usize) -> Option<Call> {
        self.unlink(place);
        let ended = self.places.try_remove(place)?;
        if let Some(lane) = ended.lane {
            self.rank(lane);
        }
        Some(ended.call(place))
    }

    /// Takes a place out of its lane, which is to be ranked anew then.
    fn unlink(&mut self, place: usize) {
        let Some(ended) = self.places.get_mut(place) else {
            return;
        };
        let (before, behind) = (ended.before.take(), ended.behind.take());
        let lane = ended.lane;
        if lane.is_some() {
            self.newest.left(ended.wish.as_ref());
        }
        if let Some(before) = before.and_then(|before| self.places.get_mut(before)) {
            before.behind = behind;
        }
        if let Some(behind) = behind.and_then(|behind| self.places.get_mut(behind)) {
            behind.before = before;
        }
        if let Some(lane) = self.lane_at(lane) {
            lane.waiting = lane.waiting.saturating_sub(1);
            lane.first = if before.is_none() { behind } else { lane.first };
            lane.last = if behind.is_none() { before } else { lane.last };
        }
        if lane.is_some() {
            self.waiting = self.waiting.saturating_sub(1);
        }
        self.deadlines.remove(place);
    }

    fn retry_after(&self) -> u32 {
        let seconds = self
            .pace
            .time_for(u64::from(self.waiting) + 1)
            .div_ceil(1_000_000);
        let seconds = seconds.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }
}

impl Place {
    fn call(&self, place: usize) -> Call {
        Call {
            caller: self.caller,
            ticket: Ticket {
                place,
                number: self.number,
            },
        }
    }
}

impl Lane {
    fn all(&self) -> u64 {
        u64::from(self.held) + u64::from(self.waiting)
    }
}
