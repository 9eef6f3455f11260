//! Exchanges that are more, or less, than one request and its answer.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, Validity, read, stable_key};
use super::judge::judge;
use super::plan::{Fault, Id, Kind, Plan, Shape};
use super::port::ALL;
use super::provider::readable;
use super::text::{self, TUNNEL, pieces};
use crate::support::{End, Head, Wire};

/// The credential of those who need a valid one.
pub(crate) fn stable() -> String {
    format!("x-api-key: {}", stable_key())
}

/// Several requests at once, answered in order, some by the gateway itself.
pub(crate) fn pipeline(client: &mut Client<'_>, first: Id) -> Result<(), String> {
    let mut plans = vec![Plan::of(first)];
    for _ in 0..1 + client.random.below(11) {
        let kind =
            client
                .random
                .pick(&[Kind::Piped, Kind::Piped, Kind::Piped, Kind::Own, Kind::Own]);
        plans.push(Plan::of(client.id(kind)));
    }
    at_once(client, &plans)
}

/// Sends all these requests, whole or in pieces, before it reads an answer.
pub(crate) fn at_once(client: &mut Client<'_>, plans: &[Plan]) -> Result<(), String> {
    let world = client.world;
    let floor = world.floor.load(Ordering::SeqCst);
    let epochs: Vec<u64> = plans
        .iter()
        .map(|plan| world.epoch(plan.provider))
        .collect();
    let mut bytes = Vec::new();
    for plan in plans {
        let text = text::request(plan, ALL[plan.provider].name, &stable(), floor);
        bytes.extend_from_slice(&text.head);
        bytes.extend_from_slice(&text.framed);
        if plan.own.is_none() {
            world.ledger.open(plan.id, floor);
        }
    }
    let mut wire = client.connection();
    let rests = client.random.percent(50);
    for piece in pieces(&plans[0], 1, &bytes) {
        if wire.try_send(piece).is_err() {
            break;
        }
        if rests && client.random.percent(25) {
            // So that the gateway sees the piece alone.
            let micros = client.random.below(500) as u64;
            thread::sleep(Duration::from_micros(micros));
        }
    }
    let mut over = false;
    for (plan, epoch) in plans.iter().zip(epochs) {
        let kind = plan.id.kind();
        if over {
            // Behind an answer that ended the connection.
            world.outcome(kind, "unanswered");
            world.ledger.leave(plan.id);
            continue;
        }
        let answer = read(&mut wire, plan, None, usize::MAX);
        let outcome = judge(world, plan, &answer, epoch, Validity::Always)?;
        world.outcome(kind, outcome.word());
        over = !answer.stays_open();
        let may_end = !plan.persists || plan.response.shape == Shape::Close;
        if over && !may_end && outcome.is_whole() {
            return Err(format!("{} ended a pipeline", plan.id));
        }
        world.ledger.close(plan.id);
    }
    if !over {
        client.keep(wire, &plans[0]);
    }
    Ok(())
}

/// A spoilt request: anything well-formed may come, or nothing.
pub(crate) fn hostile(client: &mut Client<'_>, id: Id) -> Result<(), String> {
    let plan = Plan::of(id);
    let world = client.world;
    let text = text::request(&plan, ALL[plan.provider].name, &stable(), 0);
    let mut bytes = [text.head, text.framed].concat();
    client.random.spoil(&mut bytes);
    let mut wire = world.connect();
    for piece in pieces(&plan, 1, &bytes) {
        if wire.try_send(piece).is_err() {
            break;
        }
    }
    let answered = wire.handshake().is_ok() && readable(wire.socket(), Duration::from_millis(50));
    if answered && let Ok(head) = wire.try_head() {
        let fine = [
            200, 100, 400, 401, 403, 404, 405, 408, 413, 414, 429, 431, 501, 502, 503, 505,
        ];
        if !fine.contains(&head.status()) {
            return Err(format!(
                "{} to {:?}",
                head.start,
                String::from_utf8_lossy(&bytes)
            ));
        }
        world.outcome(
            Kind::Hostile,
            if head.status() == 200 {
                "whole"
            } else {
                "gateway error"
            },
        );
    } else {
        world.outcome(Kind::Hostile, "no answer");
    }
    if plan.resets {
        wire.reset();
    }
    Ok(())
}

/// How long the gateway waits for a head here, and how much longer it may take to say so.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
const SLACK: Duration = Duration::from_secs(5);

/// A head that never ends.
pub(crate) fn unfinished(client: &mut Client<'_>, id: Id) -> Result<(), String> {
    let plan = Plan::of(id);
    let mut wire = client.world.connect();
    let text = text::request(&plan, ALL[plan.provider].name, &stable(), 0);
    let begin = Instant::now();
    let mut sent = 0;
    // Bytes go on coming, which must not help.
    while sent < text.head.len() - 10 && begin.elapsed() < HEAD_TIMEOUT / 2 {
        if wire.try_send(&text.head[sent..=sent]).is_err() {
            return Err("cut within a head that is in time".to_owned());
        }
        sent += 1;
        thread::sleep(Duration::from_millis(40));
    }
    let answer = read(&mut wire, &plan, None, usize::MAX);
    let status = answer.head.as_ref().map_or(0, |head| head.status());
    let (_, end) = wire.take_all();
    let took = begin.elapsed();
    if status != 408 || end != End::Clean || took > HEAD_TIMEOUT + SLACK {
        return Err(format!("{status}, {end:?} after {took:?}"));
    }
    client.world.time("head that never ends", took);
    client.world.outcome(Kind::Unfinished, "gateway error");
    Ok(())
}

/// Leaves while the answer comes.
pub(crate) fn leaves_reading(
    client: &mut Client<'_>,
    plan: &Plan,
    mut wire: Wire,
    first: Option<Head>,
    epoch: u64,
) -> Result<(), String> {
    let limit = 1 + plan.response.len * plan.at / 1000;
    let answer = read(&mut wire, plan, first, limit);
    let relayed = answer
        .head
        .as_ref()
        .is_some_and(|head| head.value("x-soak").is_some());
    let given = client.world.ledger.get(plan.id).given(plan);
    if given.status == 101 && relayed {
        return tunnel(client, plan, wire, epoch);
    }
    if relayed {
        let body = answer
            .content
            .map(|content| content.body)
            .unwrap_or_default();
        if !text::response_content(&given).starts_with(&body) {
            return Err("another's content".to_owned());
        }
    } else {
        judge(client.world, plan, &answer, epoch, Validity::Always)?;
    }
    client.leave(plan, wire)
}

/// Bytes in turns behind a 101.
pub(crate) fn tunnel(
    client: &mut Client<'_>,
    plan: &Plan,
    mut wire: Wire,
    epoch: u64,
) -> Result<(), String> {
    let world = client.world;
    let broken = |end: &End| {
        let broke_off = plan.fault == Fault::InContent;
        match broke_off || world.restarted_since(plan.provider, epoch) {
            true => {
                world.outcome(Kind::Tunnel, "truncated");
                world.ledger.leave(plan.id);
                Ok(())
            }
            false => Err(format!("{end:?} in a tunnel")),
        }
    };
    for (round, (ours, theirs)) in plan.rounds().into_iter().enumerate() {
        if plan.fault == Fault::LeavesReading && round == plan.breaks_in() {
            return client.leave(plan, wire);
        }
        let aspect = TUNNEL + 2 * round as u64;
        if let Err(end) = wire.try_send(plan.id.content(aspect, ours)) {
            return broken(&end);
        }
        match wire.take(theirs) {
            Ok(bytes) if bytes == plan.id.content(aspect + 1, theirs) => {}
            Ok(_) => return Err("another's bytes in a tunnel".to_owned()),
            Err(end) => return broken(&end),
        }
    }
    world.ledger.leave(plan.id);
    if plan.resets {
        let (rest, end) = wire.take_all();
        let cut = world.restarted_since(plan.provider, epoch);
        if !rest.is_empty() || (end != End::Clean && !cut) {
            return Err(format!("{end:?} after {} bytes in a tunnel", rest.len()));
        }
    } else {
        wire.close();
    }
    world.outcome(Kind::Tunnel, "whole");
    Ok(())
}
