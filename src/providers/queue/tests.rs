//! Queues: tables of turns, a hog among others, and threads that share one.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::providers::group::{Balance, Tried, UnderWay};
use crate::providers::hash::finish;

const SECOND: u64 = 1_000_000;

fn limits(permits: u32, length: u32, seconds: u64) -> Limits {
    Limits {
        permits: NonZeroU32::new(permits),
        seats: 0,
        length,
        wait: seconds * SECOND,
    }
}

fn queue(permits: u32, length: u32) -> Queue {
    Queue::new(limits(permits, length, 30))
}

fn permit(asked: Asked) -> Permit {
    match asked {
        Asked::Admitted(permit) => permit,
        other => panic!("{other:?}"),
    }
}

fn ticket(asked: Asked) -> Ticket {
    match asked {
        Asked::Waits {
            ticket,
            displaced: None,
            ..
        } => ticket,
        other => panic!("{other:?}"),
    }
}

fn full(asked: Asked) -> u32 {
    match asked {
        Asked::Full { retry_after } => retry_after,
        other => panic!("{other:?}"),
    }
}

fn taken(queue: &Queue, call: Option<Call>) -> (u64, Permit) {
    let call = call.unwrap();
    match queue.take(call.ticket) {
        Taken::Admitted(permit) => (call.caller, permit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn turns_go_round_by_key() {
    let queue = queue(1, 9);
    let mut permit = permit(queue.ask(b'a'.into(), 0, 0));
    for (caller, key) in b"aaabbc".iter().enumerate() {
        ticket(queue.ask((*key).into(), caller as u64 + 1, 0));
    }
    let mut order = Vec::new();
    for _ in 0..6 {
        let (caller, next) = taken(&queue, queue.release(permit, SECOND));
        order.push(caller);
        permit = next;
    }
    // a has just had one.
    assert_eq!(order, [4, 6, 1, 5, 2, 3]);
    assert_eq!(queue.release(permit, SECOND), None);
    assert_eq!(
        queue.state(),
        QueueState {
            held: 0,
            waiting: 0,
            keys: 0
        }
    );
}

#[test]
fn a_permit_goes_to_who_holds_the_fewest() {
    let queue = queue(3, 9);
    let mut of_hog: Vec<_> = (0..3)
        .map(|caller| permit(queue.ask(1, caller, 0)))
        .collect();
    for caller in 3..6 {
        ticket(queue.ask(1, caller, 0));
    }
    for caller in 6..9 {
        ticket(queue.ask(2, caller, 0));
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let (caller, _held) = taken(&queue, queue.release(of_hog.pop().unwrap(), 0));
        order.push(caller);
    }
    // Two against none, one against one whose turn ended later, none against two.
    assert_eq!(order, [6, 7, 3]);
}

#[test]
fn a_full_queue_takes_from_who_has_the_most() {
    let queue = queue(1, 3);
    let _held = permit(queue.ask(1, 0, 0));
    let tickets: Vec<_> = (1..4)
        .map(|caller| ticket(queue.ask(1, caller, 0)))
        .collect();
    assert_eq!(full(queue.ask(1, 4, 0)), 1);
    for (caller, gone) in [(5, 3), (6, 2)] {
        match queue.ask(caller, caller, 0) {
            Asked::Waits {
                displaced: Some(call),
                ..
            } => {
                let ticket = tickets[usize::try_from(gone - 1).unwrap()];
                assert_eq!(
                    call,
                    Call {
                        caller: gone,
                        ticket
                    }
                );
                assert!(matches!(queue.take(ticket), Taken::Gone { .. }));
            }
            other => panic!("{other:?}"),
        }
    }
    // Two against none would leave it less than the newcomer has.
    assert!(matches!(
        queue.ask(7, 7, 0),
        Asked::Waits {
            displaced: Some(_),
            ..
        }
    ));
    assert_eq!(full(queue.ask(8, 8, 0)), 1);
    assert_eq!(queue.state().waiting, 3);
}

#[test]
fn who_leaves_gives_its_place_or_its_turn_up() {
    let queue = queue(1, 3);
    let held = permit(queue.ask(1, 1, 0));
    let tickets: Vec<_> = (2..5)
        .map(|caller| ticket(queue.ask(caller, caller, 0)))
        .collect();
    assert!(matches!(queue.take(tickets[0]), Taken::Waits));
    assert_eq!(queue.leave(tickets[0], 0), None);
    assert_eq!(queue.leave(tickets[0], 0), None);
    let call = queue.release(held, 0).unwrap();
    assert_eq!(
        call,
        Call {
            caller: 3,
            ticket: tickets[1]
        }
    );
    // Its worker is no more, and somebody leaves in its stead.
    let (caller, held) = taken(&queue, queue.leave(call.ticket, 0));
    assert_eq!((caller, queue.state().held), (4, 1));
    assert_eq!(queue.leave(tickets[2], 0), None);
    assert_eq!(queue.release(held, 0), None);
    assert_eq!(
        queue.state(),
        QueueState {
            held: 0,
            waiting: 0,
            keys: 0
        }
    );
}

#[test]
fn waits_end() {
    let queue = queue(1, 5);
    let _held = permit(queue.ask(1, 0, 0));
    assert_eq!(queue.deadline(), None);
    ticket(queue.ask(1, 1, 0));
    queue.limit(limits(1, 5, 10));
    let shorter = ticket(queue.ask(1, 2, 5 * SECOND));
    assert_eq!(
        (queue.deadline(), queue.expire(15 * SECOND - 1)),
        (Some(15 * SECOND), None)
    );
    assert_eq!(queue.expire(15 * SECOND).map(|call| call.caller), Some(2));
    assert!(matches!(
        queue.take(shorter),
        Taken::Gone {
            retry_after: 1..=60
        }
    ));
    assert_eq!(
        (queue.deadline(), queue.expire(15 * SECOND)),
        (Some(30 * SECOND), None)
    );
    assert_eq!(queue.expire(30 * SECOND).map(|call| call.caller), Some(1));
    assert_eq!((queue.deadline(), queue.state().waiting), (None, 0));
}

#[test]
fn a_reload_lets_more_in_or_fewer() {
    let queue = queue(2, 4);
    let mut held: Vec<_> = (0..2)
        .map(|caller| permit(queue.ask(caller, caller, 0)))
        .collect();
    for caller in 2..6 {
        ticket(queue.ask(caller, caller, 0));
    }
    queue.limit(limits(4, 2, 30));
    // Who asks before the others were called does not overtake them.
    full(queue.ask(9, 9, 0));
    for expected in [2, 3] {
        let (caller, permit) = taken(&queue, queue.next(0));
        assert_eq!(caller, expected);
        held.push(permit);
    }
    assert_eq!(queue.next(0), None);
    queue.limit(limits(2, 2, 30));
    assert_eq!(queue.release(held.pop().unwrap(), 0), None);
    assert_eq!(queue.release(held.pop().unwrap(), 0), None);
    assert_eq!(
        queue
            .release(held.pop().unwrap(), 0)
            .map(|call| call.caller),
        Some(4)
    );
    queue.limit(limits(2, 0, 30));
    full(queue.ask(9, 9, 0));
    assert_eq!(
        queue
            .release(held.pop().unwrap(), 0)
            .map(|call| call.caller),
        Some(5)
    );
    assert_eq!(
        queue.state(),
        QueueState {
            held: 2,
            waiting: 0,
            keys: 2
        }
    );
}

#[test]
fn retry_after_is_what_the_pace_makes_likely() {
    let queue = queue(2, 3);
    let mut held: Vec<_> = (0..2)
        .map(|caller| permit(queue.ask(caller, caller, 0)))
        .collect();
    let mut now = 0;
    // Nothing came back yet: as long again for each.
    for caller in 2..5 {
        ticket(queue.ask(caller, caller, 0));
    }
    assert_eq!(full(queue.ask(0, 9, 0)), 1);
    assert_eq!(full(queue.ask(0, 9, 2 * SECOND)), 8);
    assert_eq!(full(queue.ask(0, 9, 20 * SECOND)), 60);
    for caller in 5..99 {
        now += 3 * SECOND;
        let (_, permit) = taken(&queue, queue.release(held.remove(0), now));
        held.push(permit);
        ticket(queue.ask(caller, caller, now));
    }
    // One each three seconds, and three before.
    assert!((12..=13).contains(&full(queue.ask(100, 9, now + 1))));
    // It has come to a standstill.
    assert_eq!(full(queue.ask(100, 9, now + 10 * SECOND)), 40);
}

struct Client {
    key: u64,
    asked: u64,
}

/// Clients that ask again as soon as they were served: how much of the time each key held permits, its longest wait, and
/// how many were turned away.
struct Crowd {
    queue: Queue,
    clients: Vec<Client>,
    /// Permits and when they end, by client.
    served: BTreeMap<(u64, u64), Permit>,
    held: BTreeMap<u64, u64>,
    most_waited: BTreeMap<u64, u64>,
    away: BTreeMap<u64, u64>,
    most: u32,
    chance: u64,
}

impl Crowd {
    fn new(permits: u32, length: u32, clients: &[(u64, u64)]) -> Self {
        let each = |(key, count): &(u64, u64)| (0..*count).map(|_| *key).collect::<Vec<_>>();
        let clients = clients.iter().flat_map(each);
        Self {
            queue: queue(permits, length),
            clients: clients.map(|key| Client { key, asked: 0 }).collect(),
            served: BTreeMap::new(),
            held: BTreeMap::new(),
            most_waited: BTreeMap::new(),
            away: BTreeMap::new(),
            most: 0,
            chance: 7,
        }
    }

    fn serve(&mut self, client: u64, permit: Permit, now: u64) {
        self.chance = self
            .chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let time = SECOND / 2 + (self.chance >> 33) % SECOND;
        let one = &self.clients[usize::try_from(client).unwrap()];
        *self.held.entry(one.key).or_default() += time;
        let waited = self.most_waited.entry(one.key).or_default();
        *waited = (*waited).max(now - one.asked);
        self.served.insert((now + time, client), permit);
        self.most = self.most.max(self.queue.state().held);
    }

    fn turned_away(&mut self, client: u64) {
        let key = self.clients[usize::try_from(client).unwrap()].key;
        *self.away.entry(key).or_default() += 1;
    }

    fn ask(&mut self, client: u64, now: u64) {
        let one = &mut self.clients[usize::try_from(client).unwrap()];
        one.asked = now;
        match self.queue.ask(one.key, client, now) {
            Asked::Admitted(permit) => self.serve(client, permit, now),
            Asked::Waits { displaced, .. } => {
                if let Some(call) = displaced {
                    self.turned_away(call.caller);
                }
            }
            Asked::Full { .. } => self.turned_away(client),
        }
    }

    fn run(&mut self, seconds: u64) {
        (0..self.clients.len() as u64).for_each(|client| self.ask(client, 0));
        while let Some(((now, client), permit)) = self.served.pop_first() {
            if now > seconds * SECOND {
                break;
            }
            if let Some(call) = self.queue.release(permit, now) {
                let (next, permit) = taken(&self.queue, Some(call));
                self.serve(next, permit, now);
            }
            self.ask(client, now);
            while let Some(call) = self.queue.expire(now) {
                self.turned_away(call.caller);
            }
        }
    }
}

#[test]
fn a_hog_gets_no_more_than_its_share() {
    // Ten others want one each, and there are eight.
    let all: Vec<_> = (1..11).map(|key| (key, 1)).chain([(0, 90)]).collect();
    for length in [92, 40] {
        let mut crowd = Crowd::new(8, length, &all);
        crowd.run(1000);
        let whole: u64 = crowd.held.values().sum();
        let share = whole as f64 / 11.0;
        assert_eq!(crowd.most, 8);
        for (key, held) in &crowd.held {
            assert!(
                (*held as f64 - share).abs() <= share * 0.1,
                "{key}: {held} of {whole}"
            );
        }
        for key in 1..11 {
            assert!(
                crowd.most_waited[&key] < 3 * SECOND,
                "{key}: {}",
                crowd.most_waited[&key]
            );
            assert_eq!(crowd.away.get(&key), None, "{key}");
        }
    }
    // Three others want one each; what they leave is the hog's.
    let mut crowd = Crowd::new(8, 100, &[(0, 90), (1, 1), (2, 1), (3, 1)]);
    crowd.run(1000);
    let whole: u64 = crowd.held.values().sum();
    let hog = crowd.held[&0] as f64 / whole as f64;
    assert!((0.6..=0.7).contains(&hog), "{hog}");
}

#[test]
fn threads_that_share_a_queue_lose_no_turn() {
    const THREADS: u64 = 8;
    let queue = queue(3, 6);
    let (at_once, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let channels = (0..THREADS).map(|_| mpsc::channel::<Ticket>());
    let (bells, rung): (Vec<_>, Vec<_>) = channels.unzip();
    let call = |call: Option<Call>| {
        if let Some(call) = call {
            // Who is done needs no call any more.
            let _ = bells[usize::try_from(call.caller).unwrap()].send(call.ticket);
        }
    };
    let serve = |permit| {
        most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        at_once.fetch_sub(1, Ordering::SeqCst);
        call(queue.release(permit, 0));
    };
    let wait = |ticket: Ticket, rung: &mpsc::Receiver<Ticket>| {
        loop {
            let called = rung.recv_timeout(Duration::from_secs(20)).expect("a call");
            // Calls for tickets before this one may come late.
            if called == ticket {
                match queue.take(ticket) {
                    Taken::Admitted(permit) => return serve(permit),
                    Taken::Gone { .. } => return,
                    Taken::Waits => panic!("called in vain"),
                }
            }
        }
    };
    let work = |thread: u64, rung: mpsc::Receiver<Ticket>| {
        for n in 0..3000 {
            match queue.ask(thread % 3, thread, 0) {
                Asked::Admitted(permit) => serve(permit),
                Asked::Full { .. } => std::thread::yield_now(),
                Asked::Waits {
                    ticket, displaced, ..
                } => {
                    call(displaced);
                    match (n + thread) % 5 {
                        0 => call(queue.leave(ticket, 0)),
                        _ => wait(ticket, &rung),
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for (thread, rung) in (0..THREADS).zip(rung) {
            let work = &work;
            scope.spawn(move || work(thread, rung));
        }
    });
    assert!(most.into_inner() <= 3);
    assert_eq!(
        queue.state(),
        QueueState {
            held: 0,
            waiting: 0,
            keys: 0
        }
    );
}

#[test]
fn where_the_limit_is_lifted_nobody_waits() {
    let queue = queue(1, 10);
    let first = permit(queue.ask(1, 1, 0));
    let tickets: Vec<_> = (2..5).map(|key| ticket(queue.ask(key, key, 0))).collect();
    queue.open();
    let mut permits = Vec::new();
    while let Some(call) = queue.next(1) {
        let (_, permit) = taken(&queue, Some(call));
        permits.push(permit);
    }
    assert_eq!(permits.len(), tickets.len());
    for permit in permits.into_iter().chain([first]) {
        assert_eq!(queue.release(permit, 2), None);
    }
    let state = queue.state();
    assert_eq!((state.held, state.waiting, state.keys), (0, 0, 0));
}

#[test]
#[expect(clippy::too_many_lines, reason = "threads, and what they share")]
fn threads_that_share_instances_never_sit_in_one_seat_and_none_waits_for_ever() {
    const THREADS: u64 = 8;
    const LIMITS: [u32; 3] = [2, 1, 1];
    let group = seats::group(Balance::LeastLoaded, &LIMITS);
    let queue = Queue::new(Limits {
        permits: None,
        seats: 4,
        ..limits(1, 6, 30)
    });
    let at_once = [0; 3].map(AtomicU32::new);
    let over = AtomicBool::new(false);
    let channels = (0..THREADS).map(|_| mpsc::channel::<Ticket>());
    let (bells, rung): (Vec<_>, Vec<_>) = channels.unzip();
    let call_all = |mut call: Option<Call>| {
        while let Some(one) = call {
            // Who is done needs no call any more.
            let _ = bells[usize::try_from(one.caller).unwrap()].send(one.ticket);
            call = queue.next(0);
        }
    };
    let sit = |seat: &UnderWay| {
        let count = &at_once[seat.index()];
        let now = count.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(now <= LIMITS[seat.index()], "{now} at {}", seat.index());
        std::thread::yield_now();
        count.fetch_sub(1, Ordering::SeqCst);
    };
    let wait = |ticket: Ticket, rung: &mpsc::Receiver<Ticket>| loop {
        let called = rung.recv_timeout(Duration::from_secs(20)).expect("a call");
        // Calls for tickets before this one may come late.
        if called == ticket {
            match queue.take(ticket) {
                Taken::Admitted(permit) => return Some(permit),
                Taken::Gone { .. } => return None,
                Taken::Waits => panic!("called in vain"),
            }
        }
    };
    let get = |asked: Asked, leaves: bool, rung: &mpsc::Receiver<Ticket>| match asked {
        Asked::Admitted(permit) => Some(permit),
        Asked::Full { .. } => None,
        Asked::Waits {
            ticket, displaced, ..
        } => {
            if let Some(gone) = displaced {
                let _ = bells[usize::try_from(gone.caller).unwrap()].send(gone.ticket);
            }
            if leaves {
                call_all(queue.leave(ticket, 0));
                return None;
            }
            wait(ticket, rung)
        }
    };
    let work = |thread: u64, rung: mpsc::Receiver<Ticket>| {
        for n in 0..3000 {
            let chance = finish(n * THREADS + thread);
            let wished = seats::wish(&group, chance, Tried::default());
            let asked = queue.ask_for(thread % 3, thread, wished, 0);
            let Some(mut turn) = get(asked, chance.is_multiple_of(5), &rung) else {
                continue;
            };
            let seat = turn.take_seat().unwrap();
            sit(&seat);
            if chance.is_multiple_of(3) {
                let mut tried = Tried::default();
                tried.add(seat.index());
                drop(seat);
                call_all(queue.next(0));
                let moved = queue.move_on(thread, seats::wish(&group, chance, tried), 0);
                if let Some(mut permit) = get(moved, chance.is_multiple_of(2), &rung) {
                    let seat = permit.take_seat().unwrap();
                    assert!(!tried.has(seat.index()));
                    sit(&seat);
                    drop(seat);
                    call_all(queue.release(permit, 0));
                }
            } else {
                drop(seat);
            }
            call_all(queue.release(turn, 0));
        }
    };
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..THREADS)
            .zip(rung)
            .map(|(thread, rung)| scope.spawn(move || work(thread, rung)))
            .collect();
        // An operator, who never takes more than one out.
        scope.spawn(|| {
            for index in (0..3).cycle() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                group.drain(index);
                call_all(queue.next(0));
                std::thread::yield_now();
                group.undrain(index, 0);
                call_all(queue.next(0));
            }
        });
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        over.store(true, Ordering::SeqCst);
        ended.into_iter().for_each(Result::unwrap);
    });
    let state = queue.state();
    assert_eq!((state.held, state.waiting, state.keys), (0, 0, 0));
    for index in 0..3 {
        assert_eq!(group.state(index, 0).unwrap().under_way, 0);
    }
}
