//! The choice of one instance among one, eight and sixty-four, by each balance: all well, some out or coming back, and all
//! with a limit that many have reached.

use std::hint::black_box;
use std::num::NonZeroU32;

use criterion::Criterion;
use sluicegate::door::providers::{Balance, Group, Listed, Outcome, Tried, identity};

const SECOND: u64 = 1_000_000;

fn group(
    balance: Balance,
    count: usize,
    weights: &[u16],
    limit: Option<NonZeroU32>,
) -> Result<Group, String> {
    let weights = weights.iter().cycle().take(count).enumerate();
    let listed: Vec<_> = weights
        .map(|(index, weight)| Listed {
            identity: identity(format!("http://server-{index}:8000/v1").as_bytes()),
            weight: *weight,
            limit,
        })
        .collect();
    Group::new(balance, &listed).map_err(|refused| refused.to_string())
}

/// Puts a quarter out, and lets an eighth come back.
fn trouble(group: &Group) -> Result<(), String> {
    for index in 0..group.instances() / 4 {
        let mut others = Tried::default();
        (0..64)
            .filter(|other| *other != index)
            .for_each(|other| others.add(other));
        for now in [0, 0, 0, 10 * SECOND] {
            let chosen = group.choose(0, others, 0, now).map_err(|_| "no choice")?;
            let outcome = match now > 0 && index % 2 == 0 {
                true => Outcome::Answered,
                false => Outcome::Failed,
            };
            group.judge(&chosen, outcome, now);
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    let mut benches = criterion.benchmark_group("choice");
    let balances = [
        ("least_loaded", Balance::LeastLoaded),
        ("session", Balance::Session),
        ("first", Balance::First),
    ];
    for (name, balance) in balances {
        for (kind, count, weights) in [
            ("equal", 1, &[1][..]),
            ("equal", 8, &[1]),
            ("equal", 64, &[1]),
            ("weighted", 64, &[1, 2, 3, 5]),
            ("trouble", 64, &[1]),
            // A thousand sessions, over and over.
            ("known", 64, &[1]),
            ("known weighted", 64, &[1, 2, 3, 5]),
            ("known trouble", 64, &[1]),
            ("limited", 64, &[1]),
        ] {
            // With as many under way as below, some have room and others have none.
            let limit = (kind == "limited").then_some(5).and_then(NonZeroU32::new);
            let group = group(balance, count, weights, limit)?;
            if kind.ends_with("trouble") {
                trouble(&group)?;
            }
            // As many under way as a busy gateway has.
            let under_way =
                |n: u64| group.choose(identity(&n.to_le_bytes()), Tried::default(), n, 0);
            let _others: Vec<_> = (0..4 * count as u64).map(under_way).collect();
            let mut chance = 1_u64;
            benches.bench_function(format!("{name}/{kind}/{count}"), |bencher| {
                bencher.iter(|| {
                    chance = chance
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let tried = Tried::default();
                    let session = match kind.starts_with("known") {
                        true => identity(&(chance >> 32).rem_euclid(1000).to_le_bytes()),
                        false => chance,
                    };
                    // Chosen, counted, and given back.
                    let chosen = black_box(&group).choose(session, tried, chance, 12 * SECOND);
                    chosen.map(|chosen| chosen.index())
                });
            });
        }
    }
    benches.finish();
    criterion.final_summary();
    Ok(())
}
