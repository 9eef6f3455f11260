//! The keys of one provider, by tables, by a slow model, and by many sessions.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn digest(n: u8) -> [u8; 32] {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&hash::of(&[n]).to_be_bytes());
    digest
}

fn ring(keys: u8) -> Keyring {
    Keyring::new((0..keys).map(digest), None)
}

fn session(n: u64) -> Session {
    Session(hash::of(&n.to_le_bytes()))
}

/// The keys of so many sessions.
fn chosen(ring: &Keyring, now: u64) -> Vec<u8> {
    (0..1000)
        .map(|n| ring.choose(session(n), now).unwrap())
        .collect()
}

#[test]
fn sessions_stay_and_shares_are_even() {
    let ring = ring(3);
    let before = chosen(&ring, 0);
    assert_eq!(chosen(&ring, 77 * SECOND), before);
    for key in 0..3 {
        let share = before.iter().filter(|chosen| **chosen == key).count();
        assert!((280..390).contains(&share), "{share}");
    }
    // Another order of the same keys changes nothing but their numbers.
    let turned = Keyring::new([2, 0, 1].map(digest).into_iter(), None);
    let numbers = [1, 2, 0];
    let turned: Vec<u8> = chosen(&turned, 0);
    let wanted: Vec<u8> = before
        .iter()
        .map(|key| numbers[usize::from(*key)])
        .collect();
    assert_eq!(turned, wanted);
}

#[test]
fn only_the_sessions_of_a_key_that_rests_move_and_they_come_back() {
    let ring = ring(3);
    let before = chosen(&ring, 0);
    let seven = Duration::from_secs(7);
    let change = ring.judge(1, Verdict::Limited(seven), SECOND);
    assert_eq!(change, Some(Change::Cools(seven)));
    let during = chosen(&ring, 2 * SECOND);
    for (before, during) in before.iter().zip(&during) {
        assert!(*during != 1 && (*before == 1 || before == during));
    }
    assert_eq!(chosen(&ring, 8 * SECOND - 256), during);
    assert_eq!(chosen(&ring, 8 * SECOND), before);
}

#[test]
fn what_was_under_way_together_is_told_once_and_the_latest_time_counts() {
    let ring = ring(2);
    let limited = |secs, now| ring.judge(0, Verdict::Limited(Duration::from_secs(secs)), now);
    assert_eq!(limited(9, 0), Some(Change::Cools(Duration::from_secs(9))));
    assert_eq!(limited(3, SECOND), None);
    let rests = |now| ring.standings(now).next().unwrap().rests.as_secs();
    assert_eq!(rests(2 * SECOND), 7);
    assert_eq!(limited(20, SECOND), None);
    assert_eq!(rests(2 * SECOND), 19);
    // Nobody is believed to want a rest of days.
    assert_eq!(limited(999_999, SECOND), None);
    assert_eq!(rests(SECOND), 3600);
    assert_eq!(ring.judge(0, Verdict::Good, SECOND), None);
    assert_eq!(ring.standings(0).next().unwrap().limited, 4);
}

#[test]
fn a_refused_key_rests_longer_and_longer_and_a_good_answer_brings_it_back() {
    let ring = ring(2);
    let mut now = 0;
    for (times, secs) in [
        (1, 60),
        (2, 120),
        (3, 240),
        (4, 480),
        (5, 960),
        (6, 1920),
        (7, 3600),
        (8, 3600),
    ] {
        let time = Duration::from_secs(secs);
        assert_eq!(
            ring.judge(0, Verdict::Refused, now),
            Some(Change::Refused(time, times))
        );
        assert_eq!(ring.judge(0, Verdict::Refused, now + 1), None);
        assert!(chosen(&ring, now + 1).iter().all(|key| *key == 1));
        now += secs * SECOND;
    }
    assert_eq!(ring.judge(0, Verdict::Good, now), Some(Change::Returns));
    assert_eq!(ring.judge(0, Verdict::Good, now), None);
    let first = Change::Refused(REFUSED, 1);
    assert_eq!(ring.judge(0, Verdict::Refused, now), Some(first));
}

#[test]
fn all_at_rest_is_an_answer_and_doubtful_ones_are_asked_before_it() {
    let ring = ring(2);
    ring.judge(0, Verdict::Limited(Duration::from_secs(30)), 0);
    ring.judge(1, Verdict::Limited(Duration::from_secs(7)), 0);
    let wait = ring.choose(session(1), SECOND).unwrap_err().wait;
    assert!(
        wait <= Duration::from_secs(6) && wait > Duration::from_secs(5),
        "{wait:?}"
    );
    let ring = self::ring(2);
    ring.judge(0, Verdict::Limited(Duration::from_secs(30)), 0);
    let mut now = 0;
    for secs in [60, 120] {
        ring.judge(1, Verdict::Refused, now);
        ring.judge(0, Verdict::Limited(Duration::from_secs(300)), now);
        assert_eq!(ring.choose(session(1), now + 1), Ok(1));
        now += secs * SECOND;
    }
    ring.judge(1, Verdict::Refused, now);
    assert!(ring.choose(session(1), now + 1).is_err());
}

#[test]
fn a_reload_keeps_what_is_known_of_keys_that_stay() {
    let before = ring(2);
    before.judge(1, Verdict::Limited(Duration::from_secs(30)), 0);
    let after = Keyring::new([5, 1].map(digest).into_iter(), Some(&before));
    assert!(chosen(&after, 1).iter().all(|key| *key == 0));
    // Those under way with the configuration before tell of the same keys.
    before.judge(1, Verdict::Limited(Duration::from_secs(60)), 1);
    assert_eq!(after.standings(0).nth(1).unwrap().limited, 2);
}

#[test]
fn statuses_say_what_providers_mean_by_them() {
    let time = Duration::from_secs(7);
    let of = |status| Verdict::of(status, || time);
    assert_eq!([429, 529].map(of), [Verdict::Limited(time); 2]);
    assert_eq!([401, 403].map(of), [Verdict::Refused; 2]);
    assert_eq!([101, 200, 204, 304].map(of), [Verdict::Good; 4]);
    assert_eq!([400, 404, 408, 500, 503].map(of), [Verdict::Nothing; 5]);
}

/// What is known of a key, as one would write it down.
#[derive(Clone, Copy, Default)]
struct Plain {
    until: u64,
    refused: u64,
}

proptest! {
    /// One worker, any keys, any answers at any time: as a model that keeps plain figures says.
    #[test]
    fn it_does_what_a_slow_model_does(
        keys in 1_u8..9,
        steps in prop::collection::vec((0_u8..9, 0_u8..5, 0_u64..100, 0_u64..90, 0_u64..1000), 1..60),
    ) {
        let ring = ring(keys);
        let mut model = vec![Plain::default(); usize::from(keys)];
        let mut now = 0;
        for (key, what, secs, pause, who) in steps {
            now += pause * SECOND;
            let index = key % keys;
            let verdict = match what {
                0 => Verdict::Good,
                1 | 2 => Verdict::Limited(Duration::from_secs(secs)),
                3 => Verdict::Refused,
                _ => Verdict::Nothing,
            };
            ring.judge(index, verdict, now);
            let plain = &mut model[usize::from(index)];
            match verdict {
                Verdict::Good if plain.refused > 0 => *plain = Plain::default(),
                Verdict::Limited(time) => {
                    let until = (now + nanos(time)) & !255;
                    // A later time stands, whatever it was for.
                    if until > plain.until || (until == plain.until && plain.refused == 0) {
                        *plain = Plain { until, refused: 0 };
                    }
                }
                Verdict::Refused if plain.until <= now => {
                    let time = (60 << plain.refused.min(10)).min(3600);
                    let until = (now + time * SECOND) & !255;
                    *plain = Plain { until, refused: plain.refused + 1 };
                }
                _ => {}
            }
            let usable = |wanted: &dyn Fn(&Plain) -> bool| {
                let some = (0..).zip(&model).filter(|(_, key)| wanted(key)).map(|(index, _)| index);
                some.max_by_key(|index: &u8| {
                    let [a, b, c, d, e, f, g, h, ..] = digest(*index);
                    hash::score(session(who).0, u64::from_be_bytes([a, b, c, d, e, f, g, h]))
                })
            };
            let wanted = usable(&|key| key.until <= now)
                .or_else(|| usable(&|key| (1..3).contains(&key.refused)));
            prop_assert_eq!(ring.choose(session(who), now).ok(), wanted);
        }
    }
}

#[test]
fn workers_that_learn_at_once_lose_nothing() {
    let ring = ring(4);
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let ring = &ring;
            scope.spawn(move || {
                for n in 0..1000 {
                    let time = Duration::from_secs(worker + 1);
                    ring.judge(0, Verdict::Limited(time), n);
                    ring.sent_with(ring.choose(session(n), n).unwrap());
                }
            });
        }
    });
    let first = ring.standings(999).next().unwrap();
    assert_eq!((first.limited, first.rests.as_secs()), (4000, 3));
    let requests: u64 = ring.standings(0).map(|key| key.requests).sum();
    assert_eq!(requests, 4000);
}
