//! The records of a worker's requests under way, in the order in which they began, and room for those to come.
//!
//! A record is used again, so that a request allocates nothing for it. Where requests under way can be looked
//! at, each has a place in a list that is linked through a table: to enter and to leave it takes the same few
//! instructions however many there are, and the oldest are the first.

use std::cell::RefCell;
use std::rc::Rc;

use slab::Slab;

use crate::observe::streams::UnderWay;

use super::record::{Place, Record};
use crate::net::sockets::turn_clock::TurnClock;

/// A record, held by its connection and by the list.
pub(crate) type SharedRecord = Rc<RefCell<Record>>;

/// See the module's documentation.
pub(crate) struct Records {
    clock: Rc<TurnClock>,
    spare: RefCell<Vec<SharedRecord>>,
    list: RefCell<List>,
}

/// Records kept; more requests than that at once are worth an allocation.
const SPARE_MAX: usize = 64;
/// Requests shown of one worker, which serves nobody meanwhile: a quarter of a microsecond for each.
const SHOWN_MAX: usize = 250;

impl Records {
    /// None yet, their times taken by this clock.
    pub(crate) fn new(clock: Rc<TurnClock>) -> Self {
        Self {
            clock,
            spare: RefCell::default(),
            list: RefCell::default(),
        }
    }

    /// What their times are taken by.
    pub(crate) fn clock(&self) -> &TurnClock {
        &self.clock
    }

    /// A record of a request, `listed` among those under way or not; `begin` says when it begins.
    pub(crate) fn begin(&self, listed: bool, begin: impl FnOnce(&mut Record)) -> SharedRecord {
        let spare = self.spare.borrow_mut().pop();
        let new = || Rc::new(RefCell::new(Record::new(self.clock.clone())));
        let shared = spare.unwrap_or_else(new);
        let mut record = shared.borrow_mut();
        begin(&mut record);
        record.place = match listed {
            true => self.list.borrow_mut().enter(shared.clone()),
            false => None,
        };
        drop(record);
        shared
    }

    /// The request has ended.
    pub(crate) fn end(&self, shared: SharedRecord) {
        let mut record = shared.borrow_mut();
        if let Some(place) = record.place.take() {
            self.list.borrow_mut().leave(place);
        }
        record.clear();
        drop(record);
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(shared);
        }
    }

    /// The oldest requests under way, and how many there are.
    pub(crate) fn look(&self) -> UnderWay {
        let mut list = self.list.borrow_mut();
        let now = self.clock.read();
        let mut seen = UnderWay::with_room(list.links.len().min(SHOWN_MAX));
        let mut next = list.first;
        while let Some(place) = next {
            let Some(link) = list.links.get(place as usize) else {
                break;
            };
            next = link.after;
            match Rc::strong_count(&link.shared) {
                // The task panicked that held the other end: this request does not end any more.
                1 => list.leave(place),
                _ => link.shared.borrow().show(now, &mut seen),
            }
            if seen.streams.len() >= SHOWN_MAX {
                break;
            }
        }
        seen.in_flight = list.links.len() as u64;
        seen
    }
}

/// Links are places in the table.
#[derive(Default)]
struct List {
    links: Slab<Link>,
    first: Option<Place>,
    last: Option<Place>,
}

struct Link {
    shared: SharedRecord,
    before: Option<Place>,
    after: Option<Place>,
}

impl List {
    /// Behind all others; `None` where the table is full, which takes four thousand million.
    fn enter(&mut self, shared: SharedRecord) -> Option<Place> {
        let place = Place::try_from(self.links.vacant_key()).ok()?;
        self.links.insert(Link {
            shared,
            before: self.last,
            after: None,
        });
        self.join(self.last, Some(place));
        self.last = Some(place);
        Some(place)
    }

    fn leave(&mut self, place: Place) {
        let Some(Link { before, after, .. }) = self.links.try_remove(place as usize) else {
            return;
        };
        self.join(before, after);
        match after.and_then(|after| self.at_mut(after)) {
            Some(after) => after.before = before,
            None => self.last = before,
        }
    }

    /// Makes `after` the one behind `before`, or the first.
    fn join(&mut self, before: Option<Place>, after: Option<Place>) {
        match before.and_then(|before| self.at_mut(before)) {
            Some(link) => link.after = after,
            None => self.first = after,
        }
    }

    fn at_mut(&mut self, place: Place) -> Option<&mut Link> {
        self.links.get_mut(place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Places in the list's order, which has to be the same from both ends.
    fn order(list: &List) -> Vec<Place> {
        let follow = |first: Option<Place>, next: fn(&Link) -> Option<Place>| {
            let mut found = Vec::new();
            let mut at = first;
            while let Some(place) = at {
                assert!(found.len() < list.links.len(), "a ring");
                found.push(place);
                at = next(&list.links[place as usize]);
            }
            found
        };
        let forth = follow(list.first, |link| link.after);
        let mut back = follow(list.last, |link| link.before);
        back.reverse();
        assert_eq!(forth, back);
        assert_eq!(forth.len(), list.links.len());
        forth
    }

    fn shared() -> SharedRecord {
        Rc::new(RefCell::new(Record::new(TurnClock::new())))
    }

    #[test]
    fn the_list_agrees_with_a_plain_one() {
        let mut list = List::default();
        let mut model: Vec<Place> = Vec::new();
        let mut random = 1_u64;
        for _ in 0..5_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let draw = (random >> 33) as usize;
            if model.len() < 3 || draw.is_multiple_of(2) && model.len() < 40 {
                model.push(list.enter(shared()).unwrap());
            } else {
                list.leave(model.remove(draw / 2 % model.len()));
            }
            assert_eq!(order(&list), model);
        }
        let most = list.links.iter().map(|(place, _)| place).max();
        assert!(most < Some(40), "places are not used again");
    }

    #[test]
    fn the_oldest_are_shown_and_all_are_counted() {
        let records = Records::new(TurnClock::new());
        let held: Vec<SharedRecord> = (0..SHOWN_MAX + 10)
            .map(|n| records.begin(true, |record| record.slot = n))
            .collect();
        for shared in held.iter().take(5) {
            records.end(shared.clone());
        }
        let unlisted = records.begin(false, |_| {});
        let seen = records.look();
        assert_eq!(seen.in_flight, SHOWN_MAX as u64 + 5);
        assert_eq!(seen.streams.len(), SHOWN_MAX);
        assert_eq!(seen.streams[0].slot, 5);
        records.end(unlisted);
    }

    #[test]
    fn a_request_whose_task_is_gone_is_forgotten() {
        let records = Records::new(TurnClock::new());
        let stays = records.begin(true, |_| {});
        drop(records.begin(true, |_| {}));
        for _ in 0..2 {
            let seen = records.look();
            assert_eq!((seen.in_flight, seen.streams.len()), (1, 1));
        }
        records.end(stays);
        assert_eq!(records.look().in_flight, 0);
    }
}
