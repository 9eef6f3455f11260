//! Ages, doubts and orders of addresses, with times handed in.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const AGES: Ages = Ages {
    fresh: Duration::from_secs(30),
    most: Duration::from_secs(300),
};

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn call(since: u64) -> Call {
    Call {
        since: at(since),
        beyond: None,
    }
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn v6(last: u16) -> IpAddr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into()
}

/// Known since 0 ms.
fn known(addresses: &[IpAddr]) -> HostName {
    let mut name = HostName::default();
    assert_eq!(name.next(at(0), &call(0), AGES), Step::Ask);
    name.answered(addresses);
    name
}

#[test]
fn the_first_call_waits_for_as_long_as_it_takes() {
    let mut name = HostName::default();
    assert_eq!(name.next(at(5), &call(5), AGES), Step::Ask);
    assert_eq!(name.next(at(5), &call(5), AGES), Step::Wait(None));
    assert_eq!(name.next(at(9_000), &call(7), AGES), Step::Wait(None));
    name.unanswered(at(9_001));
    assert_eq!(name.next(at(9_002), &call(5), AGES), Step::Fail);
    // Who comes later asks again.
    assert_eq!(name.next(at(9_002), &call(9_002), AGES), Step::Ask);
    name.answered(&[v4(1)]);
    assert_eq!(name.next(at(9_003), &call(9_002), AGES), Step::Use);
}

#[test]
fn an_answer_has_an_age() {
    let mut name = known(&[v4(1)]);
    assert_eq!(name.next(at(29_999), &call(29_999), AGES), Step::Use);
    assert_eq!(name.next(at(30_000), &call(30_000), AGES), Step::Ask);
    // The old one would do: not waited for without end.
    let until = Step::Wait(Some(at(30_500)));
    assert_eq!(name.next(at(30_001), &call(30_000), AGES), until);
    assert_eq!(name.next(at(30_500), &call(30_000), AGES), Step::Use);
    // And nobody waits again for the same question.
    assert_eq!(name.next(at(31_000), &call(31_000), AGES), Step::Use);
    // Beyond the most it would not do.
    assert_eq!(
        name.next(at(300_000), &call(300_000), AGES),
        Step::Wait(None)
    );
    name.answered(&[v4(2)]);
    // As old as its question.
    assert_eq!(name.next(at(300_001), &call(300_000), AGES), Step::Ask);
    name.answered(&[v4(3)]);
    assert_eq!(name.next(at(300_002), &call(300_000), AGES), Step::Use);
    assert_eq!(name.order(at(300_002), 0), [v4(3)]);
}

#[test]
fn a_failing_resolver_leaves_the_old_answer_until_it_is_too_old() {
    let mut name = known(&[v4(1)]);
    assert_eq!(name.next(at(40_000), &call(40_000), AGES), Step::Ask);
    name.unanswered(at(40_010));
    assert_eq!(name.next(at(40_011), &call(40_000), AGES), Step::Use);
    assert_eq!(name.next(at(299_999), &call(299_999), AGES), Step::Ask);
    name.unanswered(at(300_000));
    assert_eq!(name.next(at(300_000), &call(299_999), AGES), Step::Fail);
}

#[test]
fn what_led_nowhere_is_asked_for_anew() {
    let mut name = known(&[v4(1)]);
    let failed = Call {
        since: at(20),
        beyond: Some(name.answer()),
    };
    // Not at once again, for everybody who fails would.
    assert_eq!(name.next(at(20), &failed, AGES), Step::Wait(Some(SPACING)));
    assert_eq!(name.next(SPACING, &failed, AGES), Step::Ask);
    assert_eq!(name.next(at(5_000), &failed, AGES), Step::Wait(None));
    name.answered(&[v4(2)]);
    assert_eq!(name.next(at(5_001), &failed, AGES), Step::Use);

    // Without an answer there is nothing newer.
    let failed = Call {
        since: at(6_000),
        beyond: Some(name.answer()),
    };
    assert_eq!(name.next(at(6_000), &failed, AGES), Step::Ask);
    name.unanswered(at(6_001));
    assert_eq!(name.next(at(6_002), &failed, AGES), Step::Fail);
    assert_eq!(name.next(at(6_002), &call(6_002), AGES), Step::Use);
}

#[test]
fn what_is_doubted_is_asked_for_before_its_use() {
    let mut name = known(&[v4(1)]);
    name.doubt(name.answer().wrapping_sub(1));
    assert_eq!(name.next(at(200), &call(200), AGES), Step::Use);
    name.doubt(name.answer());
    assert_eq!(
        name.next(at(50), &call(50), AGES),
        Step::Wait(Some(SPACING))
    );
    assert_eq!(name.next(at(200), &call(200), AGES), Step::Ask);
    assert_eq!(name.next(at(700), &call(200), AGES), Step::Use);
    name.answered(&[v4(1)]);
    assert_eq!(name.next(at(701), &call(701), AGES), Step::Use);
}

#[test]
fn nothing_is_fresh_without_an_age() {
    let ages = Ages::new(Duration::ZERO);
    let mut name = known(&[v4(1)]);
    assert_eq!(name.next(at(1), &call(1), ages), Step::Ask);
    assert_eq!(name.next(at(2), &call(1), ages), Step::Wait(None));
    // It is the answer to this call's question, however old that is.
    name.answered(&[v4(2)]);
    assert_eq!(name.next(at(9_000), &call(1), ages), Step::Use);
}

/// Asks at this time and is answered so.
fn asked(name: &mut HostName, millis: u64, addresses: &[IpAddr]) {
    assert!(name.is_due(at(millis), AGES));
    name.answered(addresses);
}

#[test]
fn a_name_has_left_an_address_when_no_answer_has_named_it_for_long() {
    let left = |name: &HostName| name.left(AGES).collect::<Vec<_>>();
    let mut name = known(&[v4(1), v4(2)]);
    asked(&mut name, 30_000, &[v4(2)]);
    asked(&mut name, 300_000, &[v4(3)]);
    assert!(left(&name).is_empty());
    asked(&mut name, 330_000, &[v4(3)]);
    assert_eq!(left(&name), [v4(1)]);
    // It is back.
    asked(&mut name, 360_000, &[v4(1)]);
    assert_eq!(left(&name), [v4(2)]);
    // Without an answer nothing is left.
    assert!(name.is_due(at(9_000_000), AGES));
    name.unanswered(at(9_000_001));
    assert_eq!(left(&name), [v4(2)]);
    for n in 0..200_u8 {
        asked(&mut name, 10_000_000 + 30_000 * u64::from(n), &[v4(n)]);
        assert!(name.named.len() <= 2 * ADDRESSES_MAX);
    }
}

#[test]
fn what_is_due_is_asked_for_once() {
    let mut name = HostName::default();
    assert!(name.is_due(at(0), AGES));
    assert!(!name.is_due(at(1), AGES));
    name.answered(&[v4(1)]);
    assert!(!name.is_due(at(29_999), AGES));
    assert!(name.is_due(at(30_000), AGES));
}

#[test]
fn the_preferred_family_is_first_and_the_other_second() {
    let name = known(&[v6(1), v6(2), v4(1), v4(2)]);
    assert_eq!(name.order(at(0), 0), [v6(1), v4(1), v6(2), v4(2)]);
    assert_eq!(name.order(at(0), 1), [v6(2), v4(1), v6(1), v4(2)]);
    assert_eq!(name.order(at(0), 1 << 32), [v6(1), v4(2), v6(2), v4(1)]);
    let name = known(&[v4(1), v6(1), v6(2)]);
    assert_eq!(name.order(at(0), 0), [v4(1), v6(1), v6(2)]);
    assert!(known(&[]).order(at(0), 7).is_empty());
}

#[test]
fn a_silent_address_is_last_for_a_minute() {
    let mut name = known(&[v4(1), v4(2)]);
    assert!(name.shun(v4(1), at(1_000)));
    assert!(!name.shun(v4(1), at(2_000)));
    for random in 0..4 {
        assert_eq!(name.order(at(61_999), random), [v4(2), v4(1)]);
    }
    assert_eq!(name.order(at(62_000), 0), [v4(1), v4(2)]);
    assert!(name.shun(v4(1), at(70_000)));
    name.trust(v4(1));
    assert_eq!(name.order(at(70_001), 0), [v4(1), v4(2)]);
}

#[test]
fn an_address_is_silent_if_it_had_more_time_than_the_winner() {
    let rows = [
        (300, Some(10), true),
        (100, Some(10), false),
        (300, Some(600), false),
        (5_000, None, true),
        (100, None, false),
    ];
    for (waited, winner, silent) in rows {
        assert_eq!(
            is_silent(at(waited), winner.map(at)),
            silent,
            "{waited} {winner:?}"
        );
    }
}

fn some_address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![(0..40_u8).prop_map(v4), (0..40_u16).prop_map(v6)]
}

proptest! {
    #[test]
    fn an_order_is_all_addresses_once_and_the_shunned_last(
        addresses in prop::collection::vec(some_address(), 0..100),
        shunned in prop::collection::vec((some_address(), 0..120_000_u64), 0..100),
        random: u64,
        now in 0..120_000_u64,
    ) {
        let mut name = known(&addresses);
        for (address, since) in &shunned {
            name.shun(*address, at(*since));
        }
        prop_assert!(name.shunned.len() <= ADDRESSES_MAX);
        let order = name.order(at(now), random);
        let kept: BTreeSet<_> = name.addresses.iter().copied().collect();
        prop_assert!(kept.len() <= ADDRESSES_MAX);
        prop_assert_eq!(order.len(), kept.len());
        prop_assert_eq!(&order.iter().copied().collect::<BTreeSet<_>>(), &kept);
        let last = |address: &IpAddr| {
            let found = |(shunned, until): &(IpAddr, Duration)| shunned == address && *until > at(now);
            name.shunned.iter().any(found)
        };
        prop_assert!(order.is_sorted_by_key(last));
    }

    #[test]
    fn every_address_of_the_first_family_is_first_as_often(count in 1..20_u8, from: u32) {
        let addresses: Vec<_> = (0..count).map(v4).collect();
        let name = known(&addresses);
        let firsts = (0..u64::from(count)).map(|n| name.order(at(0), u64::from(from) + n)[0]);
        prop_assert_eq!(firsts.collect::<BTreeSet<_>>().len(), addresses.len());
    }

    /// Whatever happens in whatever order: no address is used that is too old, nobody waits for nothing, and of
    /// questions there is one at a time.
    #[test]
    fn no_call_is_left_waiting_or_misled(
        events in prop::collection::vec((0..6_u8, 0..40_000_u64), 0..60),
    ) {
        let mut name = HostName::default();
        let (mut now, mut question, mut known) = (at(1), None, None);
        for (event, passes) in events {
            now += at(passes);
            match (event, question) {
                (0, Some(asked)) => { name.answered(&[v4(1)]); (question, known) = (None, Some(asked)); }
                (1, Some(_)) => { name.unanswered(now); question = None; }
                (2, _) => name.doubt(name.answer()),
                (event, _) => {
                    let beyond = (event == 3).then(|| name.answer());
                    let call = Call { since: now, beyond };
                    match name.next(now, &call, AGES) {
                        Step::Ask => { prop_assert!(question.is_none()); question = Some(now); }
                        Step::Wait(None) => prop_assert!(question.is_some()),
                        Step::Wait(Some(until)) => prop_assert!(until > now && until <= now + PATIENCE),
                        Step::Use => prop_assert!(known.is_some_and(|at| now - at < AGES.most)),
                        Step::Fail => prop_assert_eq!(name.failed, Some(now)),
                    }
                }
            }
        }
    }
}
