//! The counts of a run.

use std::time::Duration;

use super::operator::Figures;
use super::world::World;

/// Prints everything that was counted; `figures` are before, peak and after.
pub(crate) fn print(world: &World, listen: &str, took: Duration, figures: &[Figures; 3]) {
    let mut tally = world.tally.lock().unwrap();
    let total: u64 = tally.outcomes.values().sum();
    let driver = std::env::var("SLUICEGATE_TEST_DRIVER").unwrap_or_else(|_| "auto".to_owned());
    println!(
        "\nsoak: seed {}, driver {driver}, clients on {listen}, {} s, {total} exchanges, {:.0}/s",
        world.seed,
        took.as_secs(),
        total as f64 / took.as_secs_f64()
    );
    let mut outcomes: Vec<&str> = tally.outcomes.keys().map(|(_, outcome)| *outcome).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    print!("| {:<11} |", "kind");
    for outcome in &outcomes {
        print!(" {outcome:>13} |");
    }
    println!();
    for (kind, _) in super::plan::KINDS {
        print!("| {:<11} |", format!("{kind:?}"));
        for outcome in &outcomes {
            print!(
                " {:>13} |",
                tally.outcomes.get(&(kind, outcome)).unwrap_or(&0)
            );
        }
        println!();
    }
    for (event, count) in &tally.events {
        println!("{event}: {count}");
    }
    println!(
        "requests at limited ports at once: {:?}",
        world.most_at_once()
    );
    println!("retries by the gateway: {}", figures[2].retries);
    for (what, times) in &mut tally.times {
        times.sort_unstable();
        let at = |share: usize| millis(times[(times.len() - 1) * share / 1000]);
        println!(
            "{what}: {} times, p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms",
            times.len(),
            at(500),
            at(990),
            at(1000)
        );
    }
    println!("| gateway | resident KiB | descriptors | open connections | in flight |");
    for (when, figures) in ["before", "peak", "after"].iter().zip(figures) {
        println!(
            "| {when:<7} | {:>12} | {:>11} | {:>16} | {:>9} |",
            figures.resident_kib, figures.descriptors, figures.open, figures.in_flight
        );
    }
}

fn millis(micros: u32) -> f64 {
    f64::from(micros) / 1000.0
}
