//! Whether an answer is what its request has to get, and if not, whether something explains it.

use std::sync::atomic::Ordering;

use super::client::Validity;
use super::own;
use super::plan::{Fault, Kind, Plan, Shape};
use super::pool::{CROWDED, POOLS};
use super::receive::Received;
use super::text;
use super::world::World;
use crate::support::{End, Head};

/// An answer, as far as it came.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) interims: usize,
    pub(crate) head: Option<Head>,
    /// None where the head allows none.
    pub(crate) content: Option<Received>,
    /// How the connection ended before there was a head, and what had come of one.
    pub(crate) end: Option<End>,
    pub(crate) rest: Vec<u8>,
}

impl Answer {
    fn broken(&self) -> Option<&End> {
        self.content
            .as_ref()
            .and_then(|content| content.broken.as_ref())
    }

    /// How the connection ended, where that is the end of the content.
    fn closed(&self) -> Option<&End> {
        self.content
            .as_ref()
            .and_then(|content| content.end.as_ref())
    }

    pub(crate) fn is_whole(&self) -> bool {
        let clean = self.closed().is_none_or(|end| *end == End::Clean);
        self.head.is_some() && self.broken().is_none() && clean
    }

    pub(crate) fn says_close(&self) -> bool {
        let option = self.head.as_ref().and_then(|head| head.value("connection"));
        option.is_some_and(|option| option.eq_ignore_ascii_case("close"))
    }

    pub(crate) fn stays_open(&self) -> bool {
        self.is_whole() && self.closed().is_none() && !self.says_close()
    }
}

/// What became of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Whole,
    Truncated,
    Error,
    Refused,
    /// By an instance, or for its key.
    TurnedDown,
    /// Nobody may get it now.
    Later,
    /// What the gateway answers by itself.
    Own,
    /// No matter what: the answer was spoilt on purpose.
    Any,
}

impl Outcome {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Truncated => "truncated",
            Self::Error => "gateway error",
            Self::Refused => "key refused",
            Self::TurnedDown => "turned down",
            Self::Later => "later",
            Self::Own => "own answer",
            Self::Any => "spoilt",
        }
    }

    pub(crate) fn is_whole(self) -> bool {
        self == Self::Whole
    }
}

/// Compares an answer with what the plan says; `epoch` is the provider's before the request.
pub(crate) fn judge(
    world: &World,
    plan: &Plan,
    answer: &Answer,
    epoch: u64,
    key: Validity,
) -> Result<Outcome, String> {
    let restarted = || world.restarted_since(plan.provider, epoch);
    let Some(head) = &answer.head else {
        return Err(format!(
            "{:?} without an answer, after {:?}",
            answer.end,
            String::from_utf8_lossy(&answer.rest)
        ));
    };
    if let Some(own) = plan.own {
        return own::judge(world, plan, own, answer, head);
    }
    if plan.id.kind() == Kind::Garbage && key != Validity::Never && head.status() != 401 {
        return Ok(Outcome::Any);
    }
    let Some(id) = head.value("x-soak") else {
        return error(world, plan, answer, head, &restarted, key);
    };
    if id != plan.id.to_string() {
        return Err(format!("the answer to {id}"));
    }
    if key == Validity::Never {
        return Err("a key of an old configuration opened".to_owned());
    }
    let entry = world.ledger.get(plan.id);
    let given = &entry.given(plan);
    relayed(given, answer, head, &restarted)?;
    attempts(world, plan)?;
    if entry.refusal.is_some() {
        return turned_down(world, given, answer, &restarted);
    }
    if answer.is_whole() && !is_short(plan, answer) {
        return Ok(Outcome::Whole);
    }
    let explained = plan.fault == Fault::InContent || restarted();
    match explained {
        true => Ok(Outcome::Truncated),
        false => Err(format!(
            "truncated: {:?} {:?}",
            answer.broken(),
            answer.closed()
        )),
    }
}

/// An answer that is another than the plan's, since the provider said so.
fn turned_down(
    world: &World,
    given: &Plan,
    answer: &Answer,
    restarted: &impl Fn() -> bool,
) -> Result<Outcome, String> {
    world.rests_known(given.id);
    match answer.is_whole() && !is_short(given, answer) || restarted() {
        true => Ok(Outcome::TurnedDown),
        false => Err(format!("truncated: {:?}", answer.broken())),
    }
}

/// Whether content is missing that only the connection's end could have shown.
fn is_short(plan: &Plan, answer: &Answer) -> bool {
    let content = answer.content.as_ref();
    content.is_some_and(|content| content.body.len() < text::response_content(plan).len())
}

fn relayed(
    plan: &Plan,
    answer: &Answer,
    head: &Head,
    restarted: &impl Fn() -> bool,
) -> Result<(), String> {
    if head.status() != plan.status {
        return Err(format!("{}, not {}", head.start, plan.status));
    }
    if head.values("set-cookie").len() + head.values("x-gone").len() > 0 {
        return Err(format!("hop-by-hop fields: {:?}", head.lines));
    }
    let rest = plan.rest.map(|rest| rest.to_string());
    if head.value("retry-after-ms") != rest.as_deref() {
        return Err(format!("a rest of {rest:?}: {:?}", head.lines));
    }
    let interims = if plan.http10 { 0 } else { plan.interims };
    if answer.interims != interims {
        return Err(format!(
            "{} interim responses, not {interims}",
            answer.interims
        ));
    }
    let Some(content) = &answer.content else {
        return Ok(());
    };
    let expected = text::response_content(plan);
    if !expected.starts_with(&content.body) {
        let at = content.body.iter().zip(&expected).position(|(a, b)| a != b);
        return Err(format!(
            "content differs at {at:?}: {} bytes, not {}",
            content.body.len(),
            expected.len()
        ));
    }
    let fits = match (plan.response.shape, content.shape) {
        (Shape::Chunked, Shape::Close) => plan.http10,
        (Shape::Close, Shape::Chunked) => !plan.http10,
        (asked, got) => asked == got,
    };
    if !fits {
        return Err(format!(
            "{:?} became {:?}",
            plan.response.shape, content.shape
        ));
    }
    if !answer.is_whole() {
        return Ok(());
    }
    let short = content.body.len() < expected.len();
    // A plain provider that goes down in the middle ends such content as if it were whole.
    if short && !(plan.response.shape == Shape::Close && restarted()) {
        return Err(format!(
            "{} bytes, not {}, as if whole",
            content.body.len(),
            expected.len()
        ));
    }
    let has_trailers = plan.response.trailers && content.shape == Shape::Chunked;
    let trailers: &[String] = if has_trailers {
        &[text::TRAILER.to_owned()]
    } else {
        &[]
    };
    if content.trailers != trailers && plan.response.shape == Shape::Chunked {
        return Err(format!("trailers {:?}", content.trailers));
    }
    Ok(())
}

/// That the provider did not get it more often than it may.
fn attempts(world: &World, plan: &Plan) -> Result<(), String> {
    let entry = world.ledger.get(plan.id);
    let most = entry.sent_on + if plan.is_idempotent() { 2 } else { 1 };
    if entry.heads + entry.raced > most {
        return Err(format!(
            "{} times at the provider",
            entry.heads + entry.raced
        ));
    }
    if entry.heads + entry.raced > 1 + entry.sent_on {
        world.count("retries seen by providers");
    }
    Ok(())
}

/// An error of the gateway's own has to have its reason.
fn error(
    world: &World,
    plan: &Plan,
    answer: &Answer,
    head: &Head,
    restarted: &impl Fn() -> bool,
    key: Validity,
) -> Result<Outcome, String> {
    let body = answer
        .content
        .as_ref()
        .map_or(&[][..], |content| &content.body);
    let text = String::from_utf8_lossy(body).into_owned();
    if !answer.is_whole() {
        return Err(format!("a truncated error: {} {text}", head.start));
    }
    let code = code(&text);
    let retry = head.value("x-should-retry");
    if head.status() == 401 {
        let fits = key != Validity::Always && (code == "invalid_key" || plan.method == "HEAD");
        return match fits && retry == Some("false") {
            true => Ok(Outcome::Refused),
            false => Err(format!("{} {text}", head.start)),
        };
    }
    if matches!(head.status(), 429 | 503) && key != Validity::Never {
        return later(world, plan, head, &code)
            .map_err(|why| format!("{why}: {} {text}", head.start));
    }
    if head.status() != 502 || key == Validity::Never {
        return Err(format!("{} {text}", head.start));
    }
    attempts(world, plan)?;
    // Without content, only that field says so.
    let unreached = matches!(code.as_str(), "upstream_connect" | "upstream_tls")
        || (plan.method == "HEAD" && retry == Some("true"));
    // A handshake may have failed for good or not.
    let fits = code == "upstream_tls" || retry == Some(if unreached { "true" } else { "false" });
    if !fits && plan.method != "HEAD" {
        return Err(format!("x-should-retry: {retry:?} with {text}"));
    }
    if unreached && POOLS.contains(&plan.provider) {
        // One instance at a time is down: there always is another.
        if world.ledger.get(plan.id).sent_on == 0 {
            return Err(format!("no instance was found that is there: {text}"));
        }
        world.count("requests sent on to where nobody listened");
        return Ok(Outcome::Error);
    }
    let by_fault = match plan.fault {
        Fault::Unread | Fault::Silent => !unreached && code != "upstream_invalid_response",
        Fault::InHead | Fault::InContent => !unreached,
        _ => false,
    };
    if by_fault || restarted() || (!unreached && world.ledger.wait_raced(plan.id)) {
        return Ok(Outcome::Error);
    }
    let entry = world.ledger.get(plan.id);
    Err(format!("unexplained {} {text}, {entry:?}", head.start))
}

/// Nothing was sent, since there is no free place, or no key that does not rest.
fn later(world: &World, plan: &Plan, head: &Head, code: &str) -> Result<Outcome, String> {
    let entry = world.ledger.get(plan.id);
    let bare = plan.method == "HEAD";
    let reason = match head.status() {
        503 => {
            plan.provider == CROWDED && (bare || ["queue_full", "queue_timeout"].contains(&code))
        }
        _ => {
            let revisions = entry.floor..=world.latest.load(Ordering::SeqCst);
            let may = world.may_be_exhausted(plan.provider, revisions, entry.begun.unwrap());
            may && (bare || code == "keys_exhausted")
        }
    };
    if !reason {
        return Err("no reason".to_owned());
    }
    if entry.heads + entry.raced > 0 {
        return Err("it came to the provider".to_owned());
    }
    let after = head
        .value("retry-after")
        .and_then(|after| after.parse::<u64>().ok());
    match after.is_some() && head.value("x-should-retry") == Some("true") {
        true => {
            world.count(match (bare, code) {
                (false, "queue_full") => "requests that found the queue full",
                (false, "queue_timeout") => "requests that waited too long",
                (false, _) => "requests that found all keys at rest",
                _ => "HEAD requests that were told to come again",
            });
            Ok(Outcome::Later)
        }
        false => Err("not told when to come again".to_owned()),
    }
}

/// The code that an error's content names.
pub(crate) fn code(body: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let code = value.and_then(|value| value["error"]["code"].as_str().map(str::to_owned));
    code.unwrap_or_default()
}
