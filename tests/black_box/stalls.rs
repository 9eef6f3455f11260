//! Whatever else a worker has to do, small exchanges go on: each thing that could hold it up is done under
//! their steady traffic, one after the other, and their times are compared with those of a quiet phase.
//!
//! One gateway with one worker per scene. Exchanges begin at fixed moments, so that one who is late makes all
//! behind it late as well; beside them a client asks the provider itself, whose times say what the machine
//! does to anybody. `worker` is the most that the worker's thread ran for while one of them took place. Each scene is a
//! test that has the machine for itself, and prints a table. One for longer, with its figures shown:
//!
//! ```text
//! SLUICEGATE_STALLS_SECONDS=20 cargo test --release --test black_box stalls::scenes::reload -- --nocapture
//! ```
//!
//! `SLUICEGATE_TEST_DRIVER` picks the event loop.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "it shows its figures, and its clients are threads that keep time: time is what is tested"
)]

mod flood;
mod peers;
mod probe;
mod scenes;

use std::time::Duration;

use probe::{Measured, Provider, Times};
use scenes::Scene;

use crate::support::company;

/// How long each phase of a scene takes in a run that asks for nothing.
const SECONDS: u64 = 3;

/// What exchanges may take beyond ten times what they take in quiet: a test's machine is anybody's.
const SLACK: Duration = Duration::from_secs(1);
/// The same for the longest of them.
const SLACK_LONGEST: Duration = Duration::from_secs(2);
/// The same for what the worker runs during one of them, which others on the machine have less part in.
const SLACK_WORKER: Duration = match cfg!(debug_assertions) {
    true => Duration::from_millis(50),
    false => Duration::from_millis(10),
};

/// What a stream's gap may be, and the 99th of 100 answers of `/health`: on a quiet machine a tenth of it. A debug
/// build works for up to 8 ms on each of the heads that an answer may have to wait for.
const GAP_MAX: Duration = Duration::from_secs(1);
const HEALTH_MAX: Duration = Duration::from_millis(match cfg!(debug_assertions) {
    true => 2000,
    false => 200,
});

/// Plays a scene under which streams go on and the gateway is well; exchanges too, which are like quiet ones.
fn goes_on_alike(scene: &Scene) {
    let [quiet, disturbed] = plays(scene);
    let alike = holds(&quiet.exchanges, &disturbed.exchanges, &disturbed.direct);
    assert!(alike & flows(&disturbed), "{} holds others up", scene.name);
}

/// The same where exchanges may be slower: a peer takes all that it can get, and a debug build is slow.
fn goes_on(scene: &Scene) {
    let [_, disturbed] = plays(scene);
    assert!(flows(&disturbed), "{} holds others up", scene.name);
}

/// The quiet phase and the disturbed one.
fn plays(scene: &Scene) -> [Measured; 2] {
    let _alone = company::alone();
    let asked = std::env::var("SLUICEGATE_STALLS_SECONDS");
    let seconds = asked.map_or(SECONDS, |text| text.parse().unwrap());
    let provider = Provider::start();
    let [quiet, disturbed] = scene.play(&provider, Duration::from_secs(seconds));
    println!(
        "{:<9} {:<9} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8}   in ms",
        "scene", "phase", "count", "p50", "p99", "p99.9", "longest", "worker"
    );
    show(scene.name, "quiet", &quiet.exchanges);
    show("", "disturbed", &disturbed.exchanges);
    show("", "direct", &disturbed.direct);
    show("", "health", &disturbed.health);
    show("", "gaps", &disturbed.gaps);
    show("", "direct", &disturbed.direct_gaps);
    [quiet, disturbed]
}

/// Whether a stream had no gap and the gateway was well, whoever did what: ten times what they may be where the
/// machine is quiet, and as much as a stream without the gateway.
fn flows(disturbed: &Measured) -> bool {
    let within = |what, took: Duration, allowed: Duration| {
        if took > allowed {
            println!("  FAILED: {what} is {took:?} where {allowed:?} is allowed");
        }
        took <= allowed
    };
    let direct = disturbed.direct_gaps.quantile(1.0);
    within("a gap", disturbed.gaps.quantile(1.0), GAP_MAX + direct)
        & within(
            "health",
            disturbed.health.quantile(0.99),
            HEALTH_MAX + direct,
        )
}

fn show(scene: &str, phase: &str, times: &Times) {
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1000.0);
    println!(
        "{scene:<9} {phase:<9} {:>7} {:>7} {:>7} {:>7} {:>8} {:>8}",
        times.count(),
        ms(times.quantile(0.5)),
        ms(times.quantile(0.99)),
        ms(times.quantile(0.999)),
        ms(times.quantile(1.0)),
        times.worker().map_or_else(String::new, ms),
    );
}

/// Whether the disturbed exchanges were like quiet ones, or like those that the gateway has no part in.
fn holds(quiet: &Times, disturbed: &Times, direct: &Times) -> bool {
    let within = |what, took: Duration, usual: Duration, slack| {
        let allowed = 10 * usual + slack;
        if took > allowed {
            println!("  FAILED: {what} is {took:?} where {allowed:?} is allowed");
        }
        took <= allowed
    };
    let like_others = |what, share, slack| {
        let usual = quiet.quantile(share).max(direct.quantile(share));
        within(what, disturbed.quantile(share), usual, slack)
    };
    let worker = disturbed.worker().zip(quiet.worker());
    like_others("p99.9", 0.999, SLACK)
        & like_others("the longest", 1.0, SLACK_LONGEST)
        & worker.is_none_or(|(ran, usual)| within("worker", ran, usual, SLACK_WORKER))
}
