//! Answers one by one and at random, held against a model that knows their whole history.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

const EVERY: Duration = Duration::from_secs(30);

fn ip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

fn ips(numbers: &[u8]) -> Vec<IpAddr> {
    numbers.iter().map(|number| ip(*number)).collect()
}

/// A name whose questions are answered at once.
struct Name {
    roster: Roster,
    now: Duration,
}

impl Name {
    fn new() -> Self {
        let (roster, now) = (Roster::default(), Duration::from_secs(1));
        Self { roster, now }
    }

    /// When a question is due, this is the answer.
    fn next(&mut self, found: &[IpAddr]) -> Option<Change> {
        self.now = self.now.max(self.roster.due(EVERY).unwrap());
        self.roster.ask(self.now);
        assert_eq!(self.roster.due(EVERY), None);
        self.roster.answered(found, EVERY)
    }

    fn known(&self) -> Vec<IpAddr> {
        self.roster.addresses().collect()
    }
}

#[test]
fn what_is_named_is_in_at_once_and_in_order() {
    let mut name = Name::new();
    let change = name.next(&ips(&[3, 1, 3])).unwrap();
    assert_eq!((change.added, change.removed), (ips(&[1, 3]), vec![]));
    assert_eq!(name.next(&ips(&[1, 3])), None);
    let change = name.next(&ips(&[1, 2, 3])).unwrap();
    assert_eq!((change.added, change.removed), (ips(&[2]), vec![]));
    assert_eq!(name.known(), ips(&[1, 2, 3]));
}

#[test]
fn what_is_missing_leaves_with_the_third_answer() {
    let mut name = Name::new();
    name.next(&ips(&[1, 2]));
    assert_eq!(name.next(&ips(&[1])), None);
    assert_eq!(name.next(&ips(&[1])), None);
    let change = name.next(&ips(&[1])).unwrap();
    assert_eq!((change.added, change.removed), (vec![], ips(&[2])));
}

#[test]
fn answers_that_fail_or_are_empty_change_nothing() {
    let mut name = Name::new();
    name.next(&ips(&[1, 2]));
    for _ in 0..100 {
        assert_eq!(name.next(&[]), None);
        name.roster.ask(name.now);
        name.roster.unanswered();
    }
    assert_eq!(name.known(), ips(&[1, 2]));
}

#[test]
fn of_two_families_the_first_counts() {
    let six: IpAddr = Ipv6Addr::LOCALHOST.into();
    let mut name = Name::new();
    name.next(&[ip(2), six, ip(1)]);
    assert_eq!(name.known(), ips(&[1, 2]));
    let mut name = Name::new();
    name.next(&[six, ip(1)]);
    assert_eq!(name.known(), [six]);
}

#[test]
fn one_that_is_not_reached_leaves_with_the_next_answer_that_lacks_it() {
    let mut name = Name::new();
    name.next(&ips(&[1, 2]));
    name.now += Duration::from_secs(2);
    name.roster.doubt(ip(2), name.now);
    assert_eq!(name.roster.due(EVERY), Some(Duration::from_secs(2)));
    // It is still named.
    assert_eq!(name.next(&ips(&[1, 2])), None);
    // What was asked for before says nothing of what happened since.
    name.roster.ask(name.now);
    name.now += Duration::from_millis(1);
    name.roster.doubt(ip(2), name.now);
    assert_eq!(name.roster.answered(&ips(&[1]), EVERY), None);
    let change = name.next(&ips(&[1])).unwrap();
    assert_eq!(change.removed, ips(&[2]));
    // Nobody asks because of one that is gone.
    name.roster.doubt(ip(2), name.now);
    assert_eq!(name.roster.due(EVERY), Some(name.now + EVERY));
}

#[test]
fn what_happened_since_a_question_keeps_none_that_could_not_be_reached_before() {
    let mut name = Name::new();
    name.next(&ips(&[1, 2, 3]));
    name.now += Duration::from_secs(2);
    name.roster.doubt(ip(3), name.now);
    name.roster.ask(name.now);
    // A report may be late: what it says was before that question.
    name.roster
        .doubt(ip(1), name.now - Duration::from_millis(1));
    name.now += Duration::from_millis(1);
    name.roster.doubt(ip(3), name.now);
    let change = name.roster.answered(&ips(&[2, 4]), EVERY).unwrap();
    assert_eq!((change.added, change.removed), (ips(&[4]), ips(&[1, 3])));
}

#[test]
fn answers_that_come_early_let_nobody_go() {
    let mut name = Name::new();
    name.next(&ips(&[1, 2]));
    for _ in 0..20 {
        name.roster.doubt(ip(1), name.now);
        assert_eq!(name.next(&ips(&[1])), None);
    }
    assert_eq!(name.now, Duration::from_secs(21));
}

#[test]
fn one_that_nobody_knows_is_asked_for_every_second() {
    let mut name = Name::new();
    assert_eq!(name.roster.due(EVERY), Some(Duration::ZERO));
    name.next(&[]);
    assert_eq!(name.roster.due(EVERY), Some(Duration::from_secs(2)));
    let soon = Duration::from_millis(1100);
    assert_eq!(name.roster.due(Duration::ZERO), Some(soon));
}

#[test]
fn a_window_that_moves_over_the_addresses_comes_to_rest() {
    let all: Vec<u8> = (0..20).collect();
    let mut name = Name::new();
    let mut changes = 0;
    for turn in 0..200 {
        let from = turn * 5 % 20;
        let change = name.next(&ips(&all[from..from + 5]));
        changes += usize::from(turn >= 20 && change.is_some());
    }
    assert_eq!((changes, name.known().len()), (0, 20));
}

#[test]
fn there_are_never_more_than_are_kept() {
    let many = |from: u16, count: u16| -> Vec<IpAddr> {
        (from..from + count)
            .map(|n| Ipv4Addr::from_bits(u32::from(n)).into())
            .collect()
    };
    let mut name = Name::new();
    name.next(&many(100, 300));
    assert_eq!(name.known(), many(100, 256));
    for turn in 0..50 {
        name.next(&many(turn * 300, 300));
        assert!(name.known().len() <= ADDRESSES_MAX);
        assert!(name.roster.members.len() <= 2 * ADDRESSES_MAX);
    }
}

/// The same from the answers' whole history, without any state.
fn model(history: &[Vec<IpAddr>]) -> BTreeSet<IpAddr> {
    let mut inside: BTreeSet<IpAddr> = BTreeSet::new();
    let mut gaps: Vec<usize> = Vec::new();
    let mut last: BTreeMap<IpAddr, usize> = BTreeMap::new();
    for (turn, answer) in history.iter().enumerate() {
        let missed = |last: &BTreeMap<IpAddr, usize>, address| turn - last[address] - 1;
        let back = answer
            .iter()
            .filter(|address| last.contains_key(address))
            .map(|address| missed(&last, address))
            .filter(|missed| *missed < 30);
        gaps.push(back.max().unwrap_or_default());
        for address in answer {
            last.insert(*address, turn);
            inside.insert(*address);
        }
        let widest = gaps.iter().rev().take(MEMORY).max().unwrap();
        let patience = (3 * widest).clamp(3, 30);
        inside.retain(|address| turn - last[address] < patience);
    }
    inside
}

fn answers(among: u8, most: usize, count: usize) -> impl Strategy<Value = Vec<Vec<IpAddr>>> {
    let answer = prop::collection::vec((0..among).prop_map(ip), 1..=most);
    prop::collection::vec(answer, 1..=count)
}

/// What befalls a name.
#[derive(Clone, Debug)]
enum Step {
    Answer(Vec<IpAddr>),
    Failure,
    Doubt(IpAddr),
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0..6_u8).prop_map(ip), 0..6).prop_map(Step::Answer),
        1 => Just(Step::Failure),
        2 => (0..6_u8).prop_map(|number| Step::Doubt(ip(number))),
        2 => (0..40_000_u64).prop_map(Step::Time),
    ]
}

proptest! {
    #[test]
    fn the_whole_history_says_the_same(history in answers(12, 8, 60)) {
        let mut name = Name::new();
        for turn in 0..history.len() {
            name.next(&history[turn]);
            let expected: Vec<IpAddr> = model(&history[..=turn]).into_iter().collect();
            prop_assert_eq!(name.known(), expected);
        }
    }

    /// What is true however questions, failures and doubts follow each other.
    #[test]
    fn changes_tell_the_difference_and_nothing_named_is_lost(steps in prop::collection::vec(step(), 0..80)) {
        let mut name = Name::new();
        let mut known: BTreeSet<IpAddr> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Answer(found) => {
                    let change = name.next(&found);
                    if let Some(change) = &change {
                        prop_assert!(change.added.iter().all(|one| known.insert(*one)));
                        prop_assert!(change.removed.iter().all(|one| known.remove(one)));
                    }
                    prop_assert!(found.iter().all(|one| known.contains(one)));
                    prop_assert!(!found.is_empty() || change.is_none());
                }
                Step::Failure => {
                    name.now = name.now.max(name.roster.due(EVERY).unwrap());
                    name.roster.ask(name.now);
                    name.roster.unanswered();
                }
                Step::Doubt(address) => name.roster.doubt(address, name.now),
                Step::Time(millis) => name.now += Duration::from_millis(millis),
            }
            prop_assert_eq!(name.known(), known.iter().copied().collect::<Vec<_>>());
            let due = name.roster.due(EVERY).unwrap();
            prop_assert!(due <= name.now + EVERY);
        }
    }

    #[test]
    fn whole_answers_are_believed_within_thirty(
        before in answers(12, 8, 30),
        last in prop::collection::vec((0..12_u8).prop_map(ip), 1..8),
    ) {
        let mut name = Name::new();
        before.iter().for_each(|answer| { name.next(answer); });
        for _ in 0..MISSES_MAX {
            name.next(&last);
        }
        let whole: BTreeSet<IpAddr> = last.into_iter().collect();
        prop_assert_eq!(name.known(), whole.into_iter().collect::<Vec<_>>());
    }

    /// Eight of twenty at a time, at random: after a time of learning hardly anybody leaves.
    #[test]
    fn parts_of_a_name_do_not_make_it_flap(
        parts in prop::collection::vec(prop::sample::subsequence((0..20_u8).collect::<Vec<_>>(), 8), 300),
    ) {
        let mut name = Name::new();
        let mut left = 0;
        for (turn, part) in parts.iter().enumerate() {
            let change = name.next(&ips(part));
            left += change.filter(|_| turn >= 20).map_or(0, |change| change.removed.len());
        }
        // Of some 5,600 that could have.
        prop_assert!(left <= 20, "{left}");
    }
}
