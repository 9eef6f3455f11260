//! Groups: tables of what is chosen, and threads that share one.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::providers::hash;

const SECOND: u64 = 1_000_000;

pub(super) fn listed(weights: &[u16]) -> Vec<Listed> {
    let one = |(index, weight): (usize, &u16)| Listed {
        identity: identity(format!("http://server-{index}:8000/v1").as_bytes()),
        weight: *weight,
        limit: None,
    };
    weights.iter().enumerate().map(one).collect()
}

fn group(balance: Balance, weights: &[u16]) -> Group {
    Group::new(balance, &listed(weights)).unwrap()
}

/// A number for each `n` that looks like chance.
fn random(n: u64) -> u64 {
    hash::finish(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn chosen(group: &Group, session: u64, now: u64) -> Option<usize> {
    let under_way = group.choose(session, Tried::default(), random(session), now);
    under_way.ok().map(|under_way| under_way.index())
}

/// Requests to all until the one at `index` has failed so often in a row.
fn fail(group: &Group, index: usize, times: u32, now: u64) -> Option<Change> {
    let mut others = Tried::default();
    let others_in = (0..group.instances()).filter(|other| *other != index);
    others_in.for_each(|other| others.add(other));
    let mut change = None;
    for _ in 0..times {
        let under_way = group.choose(0, others, 0, now).unwrap();
        change = group.judge(&under_way, Outcome::Failed, now);
    }
    change
}

fn health(group: &Group, index: usize, now: u64) -> Health {
    group.state(index, now).unwrap().health
}

const fn ejected(seconds: u64) -> Option<Change> {
    Some(Change::Ejected {
        time: Duration::from_secs(seconds),
    })
}

#[test]
fn what_no_group_can_be_made_of_is_refused() {
    let made = |listed: &[Listed]| Group::new(Balance::First, listed).map(|_| ());
    assert_eq!(made(&[]), Err(Refused::Empty));
    assert_eq!(made(&listed(&[1; 64])), Ok(()));
    assert_eq!(made(&listed(&[1; 65])), Err(Refused::TooMany));
    assert_eq!(made(&listed(&[1, 1000, 1001])), Err(Refused::Weight(2)));
    let twice = [listed(&[1, 1]), listed(&[2])].concat();
    assert_eq!(made(&twice), Err(Refused::Twice(2)));
    assert_eq!(Refused::Twice(2).to_string(), "instance 3 is there twice");
}

#[test]
fn identities_are_the_same_everywhere() {
    assert_eq!(identity(b""), 0xcbf2_9ce4_8422_2325);
    assert_eq!(identity(b"foobar"), 0x8594_4171_f739_67e8);
}

#[test]
fn the_first_that_is_well_gets_everything() {
    let group = group(Balance::First, &[1, 0, 1]);
    assert!((0..50).all(|session| chosen(&group, session, 0) == Some(0)));
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    assert!((0..50).all(|session| chosen(&group, session, SECOND) == Some(2)));
    let trial = group.choose(0, Tried::default(), 0, 10 * SECOND).unwrap();
    assert_eq!(trial.index(), 0);
    assert_eq!(chosen(&group, 1, 10 * SECOND), Some(2));
    let judged = group.judge(&trial, Outcome::Answered, 11 * SECOND);
    assert_eq!(judged, Some(Change::Returned));
    assert!((0..50).all(|session| chosen(&group, session, 11 * SECOND) == Some(0)));
}

#[test]
fn weights_are_shares_and_zero_is_none() {
    for balance in [Balance::LeastLoaded, Balance::Session] {
        let group = group(balance, &[1, 2, 0, 5, 1000]);
        let mut counts = [0; 5];
        for n in 0..200_000 {
            counts[chosen(&group, random(n), 0).unwrap()] += 1;
        }
        for (count, weight) in counts.iter().zip([1, 2, 0, 5, 1000]) {
            let share = f64::from(200_000 * weight) / 1008.0;
            let off = (f64::from(*count) - share).abs();
            assert!(
                off <= share * 0.02 + 4.0 * share.sqrt(),
                "{balance:?} {counts:?}"
            );
        }
    }
}

#[test]
fn requests_under_way_level_out_by_weight() {
    let group = group(Balance::LeastLoaded, &[1, 1, 2, 4]);
    let all: Vec<_> = (0..800)
        .filter_map(|n| group.choose(0, Tried::default(), random(n), 0).ok())
        .collect();
    let loads: Vec<_> = (0..4)
        .map(|index| group.state(index, 0).unwrap().under_way)
        .collect();
    for (load, expected) in loads.iter().zip([100_u32, 100, 200, 400]) {
        assert!(load.abs_diff(expected) <= expected / 10, "{loads:?}");
    }
    drop(all);
    assert!((0..4).all(|index| group.state(index, 0).unwrap().under_way == 0));
}

/// Sessions, by the instance that each has.
fn sessions(group: &Group, now: u64) -> BTreeMap<u64, usize> {
    let session = |n| (n, chosen(group, random(n), now).unwrap());
    (0..10_000).map(session).collect()
}

#[test]
fn only_sessions_of_what_is_removed_move() {
    for count in [2_usize, 3, 8, 64] {
        let all = listed(&vec![1; count]);
        let whole = Group::new(Balance::Session, &all).unwrap();
        let before = sessions(&whole, 0);
        let without = |gone: usize| [&all[..gone], &all[gone + 1..]].concat();
        for gone in [0, count / 2, count - 1] {
            let after = sessions(&Group::new(Balance::Session, &without(gone)).unwrap(), 0);
            let moved = before.values().filter(|index| **index == gone).count();
            for (session, index) in &before {
                if *index != gone {
                    let now = index - usize::from(*index > gone);
                    assert_eq!(after[session], now, "{count} {gone}");
                }
            }
            assert!(
                moved as f64 <= 10_000.0 * (1.0 / count as f64 + 0.02),
                "{count}: {moved}"
            );
        }
        // Also where it is out for a while.
        assert_eq!(fail(&whole, 0, 3, 0), ejected(10));
        let after = sessions(&whole, SECOND);
        let moved = before
            .iter()
            .filter(|(session, index)| after[session] != **index);
        assert!(moved.clone().all(|(_, index)| *index == 0) && moved.count() > 0);
    }
}

#[test]
fn few_sessions_leave_their_instance_for_want_of_room() {
    for (count, load) in [
        (2, 8),
        (3, 16),
        (3, 32),
        (4, 64),
        (8, 64),
        (64, 128),
        (64, 512),
    ] {
        let group = group(Balance::Session, &vec![1; count]);
        let home: Vec<_> = (0..1000).map(|n| chosen(&group, random(n), 0)).collect();
        let mut all = Vec::new();
        let mut away = 0;
        for n in 0..20_000_u64 {
            if all.len() == load {
                all.swap_remove(usize::try_from(random(n) >> 32).unwrap() % load);
            }
            let session = random(n ^ 0xabcd) % 1000;
            let under_way = group
                .choose(random(session), Tried::default(), 0, 0)
                .unwrap();
            away += usize::from(home[usize::try_from(session).unwrap()] != Some(under_way.index()));
            all.push(under_way);
        }
        assert!(away <= 20_000 * 3 / 100, "{count} {load}: {away}");
    }
}

#[test]
fn one_session_alone_cannot_fill_an_instance() {
    let group = group(Balance::Session, &[1; 4]);
    let all: Vec<_> = (0..400)
        .filter_map(|_| group.choose(7, Tried::default(), 0, 0).ok())
        .collect();
    let load = |index| group.state(index, 0).unwrap().under_way;
    let mut loads = [load(0), load(1), load(2), load(3)];
    loads.sort_unstable();
    assert_eq!(loads, [25, 125, 125, 125]);
    drop(all);
}

#[test]
fn failures_in_a_row_eject_and_an_answer_between_them_does_not() {
    let group = group(Balance::LeastLoaded, &[1, 1, 1]);
    let all = [1, 2]
        .into_iter()
        .fold(Tried::default(), |mut tried, index| {
            tried.add(index);
            tried
        });
    for _ in 0..4 {
        assert_eq!(fail(&group, 0, 2, 0), None);
        let good = group.choose(0, all, 0, 0).unwrap();
        assert_eq!(group.judge(&good, Outcome::Answered, 0), None);
    }
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    let time = Duration::from_secs(6);
    assert_eq!(health(&group, 0, 4 * SECOND), Health::Ejected(time));
    assert!((0..99).all(|n| chosen(&group, n, 9_999_000) != Some(0)));
}

#[test]
fn failures_among_answers_eject_by_their_ratio() {
    let group = group(Balance::First, &[1, 1]);
    let mut change = None;
    for n in 0..20 {
        let under_way = group.choose(0, Tried::default(), 0, n * 100_000).unwrap();
        let outcome = if n % 2 == 1 {
            Outcome::Failed
        } else {
            Outcome::Answered
        };
        assert_eq!(change, None, "{n}");
        change = group.judge(&under_way, outcome, n * 100_000);
    }
    assert_eq!(change, ejected(10));
}

#[test]
fn ejections_grow_until_it_serves_well() {
    let group = group(Balance::First, &[1, 1]);
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    let mut now = 10 * SECOND;
    for seconds in [20, 40, 80, 160, 300, 300] {
        assert_eq!(health(&group, 0, now), Health::Due);
        assert_eq!(fail(&group, 0, 1, now), ejected(seconds));
        now += seconds * SECOND;
    }
    let trial = group.choose(0, Tried::default(), 0, now).unwrap();
    assert_eq!(
        group.judge(&trial, Outcome::Answered, now),
        Some(Change::Returned)
    );
    assert_eq!(fail(&group, 0, 3, now + 4 * 60 * SECOND), ejected(40));
}

#[test]
fn a_trial_that_comes_to_nothing_is_free_for_the_next() {
    let group = group(Balance::First, &[1, 1]);
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    let trial = group.choose(0, Tried::default(), 0, 10 * SECOND).unwrap();
    assert_eq!(
        (trial.index(), health(&group, 0, 10 * SECOND)),
        (0, Health::Trial)
    );
    assert_eq!(chosen(&group, 0, 11 * SECOND), Some(1));
    drop(trial);
    assert_eq!(health(&group, 0, 11 * SECOND), Health::Due);
    // Chosen, and given up.
    assert_eq!(chosen(&group, 0, 11 * SECOND), Some(0));
}

#[test]
fn a_trial_that_stalls_is_not_the_last_one() {
    let group = group(Balance::First, &[1, 1]);
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    let stalled = group.choose(0, Tried::default(), 0, 10 * SECOND).unwrap();
    assert_eq!(chosen(&group, 0, 20 * SECOND - 1000), Some(1));
    assert_eq!(health(&group, 0, 20 * SECOND), Health::Due);
    let next = group.choose(0, Tried::default(), 0, 20 * SECOND).unwrap();
    assert_eq!((stalled.index(), next.index()), (0, 0));
    // What becomes of the first one says nothing now.
    assert_eq!(group.judge(&stalled, Outcome::Failed, 21 * SECOND), None);
    drop(stalled);
    assert_eq!(health(&group, 0, 21 * SECOND), Health::Trial);
    assert_eq!(
        group.judge(&next, Outcome::Answered, 22 * SECOND),
        Some(Change::Returned)
    );
}

#[test]
fn requests_from_before_an_ejection_do_not_end_it() {
    let group = group(Balance::First, &[1, 1]);
    let early: Vec<_> = (0..4)
        .filter_map(|_| group.choose(0, Tried::default(), 0, 0).ok())
        .collect();
    for under_way in &early[..2] {
        assert_eq!(group.judge(under_way, Outcome::Failed, 0), None);
    }
    assert_eq!(group.judge(&early[2], Outcome::Failed, 0), ejected(10));
    assert_eq!(group.judge(&early[3], Outcome::Failed, 0), None);
    assert_eq!(group.judge(&early[3], Outcome::Answered, 0), None);
    let trial = group.choose(0, Tried::default(), 0, 10 * SECOND).unwrap();
    assert_eq!(group.judge(&early[3], Outcome::Failed, 10 * SECOND), None);
    assert_eq!(
        group.judge(&trial, Outcome::Answered, 10 * SECOND),
        Some(Change::Returned)
    );
}

#[test]
fn what_came_back_gets_more_by_and_by() {
    let group = group(Balance::LeastLoaded, &[1, 1]);
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    let mut others = Tried::default();
    others.add(1);
    let trial = group.choose(0, others, 0, 10 * SECOND).unwrap();
    assert_eq!(
        group.judge(&trial, Outcome::Answered, 10 * SECOND),
        Some(Change::Returned)
    );
    drop(trial);
    for (second, share) in [(10, 0.0), (16, 0.1667), (25, 0.3333), (40, 0.5), (99, 0.5)] {
        let now = second * SECOND;
        let count = (0..20_000)
            .filter(|n| chosen(&group, *n, now) == Some(0))
            .count();
        let off = (count as f64 / 20_000.0 - share).abs();
        assert!(off < 0.02, "{second}: {count}");
    }
    assert_eq!(health(&group, 0, 25 * SECOND), Health::SlowStart(500));
}

#[test]
fn at_most_half_are_out_and_a_lone_one_never() {
    for (count, most) in [(1, 0), (2, 1), (3, 1), (4, 2), (64, 32)] {
        let group = group(Balance::LeastLoaded, &vec![1; count]);
        let changes = (0..count).filter(|index| match index % 2 {
            0 => fail(&group, *index, 9, 0).is_some() || health(&group, *index, 0) != Health::Well,
            _ => (0..9).any(|_| group.probed(*index, false, 0).is_some()),
        });
        assert_eq!(changes.count(), most, "{count}");
        assert!(chosen(&group, 5, 0).is_some());
    }
}

#[test]
fn what_is_out_is_chosen_when_nothing_else_is_left() {
    let group = group(Balance::Session, &[1, 1, 0]);
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    let mut tried = Tried::default();
    tried.add(1);
    assert_eq!(group.choose(0, tried, 0, 0).map(|one| one.index()), Ok(0));
    tried.add(0);
    assert_eq!(
        group.choose(0, tried, 0, 0).map(|one| one.index()),
        Err(Unseated::Nowhere)
    );
    group.drain(0);
    group.drain(1);
    assert_eq!(chosen(&group, 0, 0), None);
}

#[test]
fn probes_put_out_and_bring_back() {
    let group = group(Balance::First, &[1, 1]);
    let probe = |ok| group.probed(0, ok, SECOND);
    assert_eq!(
        [probe(false), probe(false), probe(true), probe(false)],
        [None; 4]
    );
    assert_eq!(
        [probe(false), probe(false), probe(false)],
        [None, Some(Change::Down), None]
    );
    assert_eq!(
        (chosen(&group, 0, SECOND), health(&group, 0, SECOND)),
        (Some(1), Health::Down)
    );
    assert_eq!([probe(true), probe(false), probe(true)], [None; 3]);
    assert_eq!([probe(true), probe(true)], [Some(Change::Returned), None]);
    assert_eq!(chosen(&group, 0, SECOND), Some(0));
    assert_eq!(group.probed(2, false, 0), None);
}

#[test]
fn probes_overrule_an_ejection_and_its_trial() {
    let group = group(Balance::First, &[1, 1]);
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    let trial = group.choose(0, Tried::default(), 0, 10 * SECOND).unwrap();
    let probes: Vec<_> = (0..3)
        .filter_map(|_| group.probed(0, false, 10 * SECOND))
        .collect();
    assert_eq!(probes, [Change::Down]);
    assert_eq!(group.judge(&trial, Outcome::Answered, 10 * SECOND), None);
    drop(trial);
    assert_eq!(health(&group, 0, 99 * SECOND), Health::Down);
    let probes: Vec<_> = (0..3)
        .filter_map(|_| group.probed(0, true, 99 * SECOND))
        .collect();
    assert_eq!(probes, [Change::Returned]);
}

#[test]
fn what_drains_gets_nothing_new() {
    for balance in [Balance::LeastLoaded, Balance::Session, Balance::First] {
        let group = group(balance, &[1, 1]);
        let under_way = group.choose(0, Tried::default(), 0, 0).unwrap();
        let index = under_way.index();
        assert!(group.drain(index) && !group.drain(index));
        assert!((0..100).all(|n| chosen(&group, n, 0) == Some(1 - index)));
        let state = group.state(index, 0).unwrap();
        assert_eq!(
            (state.draining, state.under_way, state.chosen),
            (true, 1, 1)
        );
        drop(under_way);
        assert_eq!(group.state(index, 0).unwrap().under_way, 0);
        assert!(group.serves_without(index) && !group.serves_without(1 - index));
        assert!(group.undrain(index, SECOND) && !group.undrain(index, SECOND) && !group.drain(2));
        // By and by, as after an ejection.
        let health = |now| group.state(index, now).unwrap().health;
        assert_eq!(health(16 * SECOND), Health::SlowStart(500));
        assert_eq!(health(31 * SECOND), Health::Well);
        let gets = |now| {
            (0..200)
                .filter(|n| chosen(&group, *n, now) == Some(index))
                .count()
        };
        let (first, then) = (gets(SECOND + 1000), gets(31 * SECOND));
        assert!(
            balance == Balance::First || first < 5 && then > 50,
            "{balance:?} {first} {then}"
        );
    }
}

#[test]
fn a_reload_keeps_what_is_known_of_those_that_stay() {
    let all = listed(&[1, 1, 1, 1]);
    let old = Group::new(Balance::First, &all).unwrap();
    let under_way = old.choose(0, Tried::default(), 0, 0).unwrap();
    assert_eq!(
        (fail(&old, 0, 3, 0), fail(&old, 1, 3, SECOND)),
        (ejected(10), ejected(10))
    );
    old.drain(2);
    let new = old
        .after(Balance::First, &[all[3], all[2], all[0], all[1]], SECOND)
        .unwrap();
    let state = |index| new.state(index, SECOND).unwrap();
    assert!(state(1).draining && !state(0).draining);
    assert_eq!(
        (state(2).under_way, state(2).chosen, state(2).failed),
        (1, 4, 3)
    );
    // Of three in service one may be out: the one that would be tried first is let in.
    let time = Duration::from_secs(10);
    assert_eq!(
        (state(2).health, state(3).health),
        (Health::SlowStart(0), Health::Ejected(time))
    );
    drop(under_way);
    assert_eq!(state(2).under_way, 0);
    // What has gone is judged without effect.
    let under_way = old.choose(0, Tried::default(), 0, SECOND).unwrap();
    let less = new.after(Balance::First, &all[3..], SECOND).unwrap();
    assert!((0..5).all(|_| less.judge(&under_way, Outcome::Failed, SECOND).is_none()));
}

#[test]
fn threads_that_share_a_group_lose_no_count_and_never_put_out_too_many() {
    let group = group(Balance::LeastLoaded, &[1; 6]);
    let most = std::sync::atomic::AtomicUsize::new(0);
    let work = |thread: u64| {
        let mut held = Vec::new();
        for n in 0..20_000 {
            let chance = random(n * 8 + thread);
            let now = n * 20_000;
            if let Ok(under_way) = group.choose(chance, Tried::default(), chance, now) {
                let outcome = if chance.is_multiple_of(3) {
                    Outcome::Answered
                } else {
                    Outcome::Failed
                };
                group.judge(&under_way, outcome, now);
                held.push(under_way);
            }
            group.probed(usize::try_from(chance % 6).unwrap(), chance % 5 > 2, now);
            if held.len() > 5 {
                held.swap_remove(usize::try_from(chance % 5).unwrap());
            }
            let out = group
                .members
                .iter()
                .filter(|member| member.instance.standing().phase != Phase::Serving);
            most.fetch_max(out.count(), std::sync::atomic::Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        (0..4).for_each(|thread| drop(scope.spawn(move || work(thread))));
    });
    let states = (0..6).map(|index| group.state(index, 0).unwrap());
    let (under_way, chosen) = states.fold((0, 0), |(under_way, chosen), state| {
        (under_way + state.under_way, chosen + state.chosen)
    });
    assert_eq!((under_way, chosen), (0, 80_000));
    assert!(
        group
            .members
            .iter()
            .all(|member| !member.instance.standing().leaving)
    );
    // Who looks at one after another may see one that has returned and one that left meanwhile: what is out together
    // is known when all have ended.
    assert!(most.into_inner() > 0, "nobody was ever out");
    let out = group.members.iter();
    let out = out.filter(|member| member.instance.standing().phase != Phase::Serving);
    assert!(out.count() <= 3);
}

#[test]
fn one_thread_of_many_gets_the_trial() {
    let group = group(Balance::First, &[1, 1]);
    assert_eq!(fail(&group, 0, 3, 0), ejected(10));
    for round in 0..200 {
        let barrier = std::sync::Barrier::new(4);
        let try_it = || {
            barrier.wait();
            let under_way = group
                .choose(0, Tried::default(), 0, 10 * SECOND + round)
                .unwrap();
            let index = under_way.index();
            barrier.wait();
            index
        };
        let first: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(try_it)).collect();
            threads
                .into_iter()
                .filter(|_| true)
                .map(|thread| usize::from(thread.join().unwrap() == 0))
                .sum()
        });
        assert_eq!(first, 1, "{round}");
    }
}

#[test]
fn an_instance_that_is_full_is_passed_over_and_one_that_is_out_is_no_way_round() {
    let limit = |limits: [u32; 3]| {
        let all = listed(&[1; 3]).into_iter().zip(limits);
        let all = all.map(|(one, limit)| Listed {
            limit: NonZeroU32::new(limit),
            ..one
        });
        all.collect::<Vec<_>>()
    };
    let group = Group::new(Balance::First, &limit([2, 1, 1])).unwrap();
    let seat = |group: &Group, now| group.choose(0, Tried::default(), 0, now);
    let index =
        |seat: &Result<UnderWay, Unseated>| seat.as_ref().map(UnderWay::index).map_err(|why| *why);
    let all: Vec<_> = (0..5).map(|_| seat(&group, 0)).collect();
    let at: Vec<_> = all.iter().map(index).collect();
    assert_eq!(at, [Ok(0), Ok(0), Ok(1), Ok(2), Err(Unseated::Full)]);
    // A trial that finds no room is none, and waits for the next.
    let one = all[2].as_ref().unwrap();
    let changes = (0..3).filter_map(|_| group.judge(one, Outcome::Failed, 0));
    assert_eq!(changes.last(), ejected(10));
    assert_eq!(index(&seat(&group, 10 * SECOND)), Err(Unseated::Full));
    assert_eq!(health(&group, 1, 10 * SECOND), Health::Due);
    // Nor is there one for who may go to what is out only.
    let mut tried = Tried::default();
    [0, 2].into_iter().for_each(|index| tried.add(index));
    let of_it = group.choose(0, tried, 0, 5 * SECOND);
    assert_eq!(index(&of_it), Err(Unseated::Full));
    // Limits are the instances', whatever configuration a request is of, and those that go are waited for no more.
    let next = group
        .after(Balance::First, &limit([3, 1, 0])[..2], 11 * SECOND)
        .unwrap();
    let more = seat(&group, 11 * SECOND);
    assert_eq!(
        (index(&more), index(&seat(&group, 11 * SECOND))),
        (Ok(0), Err(Unseated::Full))
    );
    assert_eq!(index(&seat(&next, 11 * SECOND)), Err(Unseated::Full));
    [0, 1].into_iter().for_each(|index| tried.add(index));
    assert_eq!(index(&group.choose(0, tried, 0, 0)), Err(Unseated::Nowhere));
    // Who is not limited is no other's business.
    assert_eq!(
        group
            .choose_unlimited(0, Tried::default(), 0, 0)
            .map(|it| it.index()),
        Some(0)
    );
    next.lift_limits();
    assert_eq!(index(&seat(&group, 11 * SECOND)), Ok(0));
    assert_eq!(next.state(0, 0).unwrap().limit, None);
    drop((all, more));
    assert_eq!(next.state(0, 0).unwrap().under_way, 0);
}

#[test]
fn what_nobody_probes_any_more_is_tried() {
    let group = group(Balance::First, &[1, 1]);
    let changes: Vec<_> = (0..3).filter_map(|_| group.probed(0, false, 0)).collect();
    assert_eq!(changes, [Change::Down]);
    assert_eq!(chosen(&group, 0, SECOND), Some(1));
    group.is_not_probed(SECOND);
    assert_eq!(health(&group, 0, SECOND), Health::Due);
    let trial = group.choose(0, Tried::default(), 0, SECOND).unwrap();
    let change = group.judge(&trial, Outcome::Answered, 2 * SECOND);
    assert_eq!((trial.index(), change), (0, Some(Change::Returned)));
}
