//! What the gateway answers by itself: what is asked, and that the answer is the same each time but
//! for its date and its request id.

use std::collections::HashMap;
use std::sync::Mutex;

use super::judge::{Answer, Outcome, code};
use super::plan::Plan;
use super::random::Random;
use super::world::World;
use crate::support::Head;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Own {
    Nowhere,
    NowhereHead,
    Health,
    HealthHead,
    Options,
    Keyless,
    WrongKey,
    /// TRACE and CONNECT, in any case.
    Unimplemented,
    /// What a provider's rules deny, in any case.
    Denied,
}

/// In the table of the provider that denies something.
pub(crate) const DENY: &str = "deny = [\"DELETE /soak/denied/*\", \"POST /soak/denied/*\"]\n";

impl Own {
    pub(crate) fn any(random: &mut Random) -> Self {
        random.pick(&[
            Self::Nowhere,
            Self::Nowhere,
            Self::NowhereHead,
            Self::Health,
            Self::HealthHead,
            Self::Options,
            Self::Keyless,
            Self::WrongKey,
            Self::Unimplemented,
            Self::Denied,
        ])
    }

    /// None where any will do.
    pub(crate) fn methods(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Nowhere | Self::Keyless | Self::WrongKey => None,
            Self::NowhereHead | Self::HealthHead => Some(&["HEAD"]),
            Self::Health => Some(&["GET"]),
            Self::Options => Some(&["OPTIONS"]),
            Self::Unimplemented => Some(&[
                "TRACE", "Trace", "trace", "tRACE", "CONNECT", "cOnNeCt", "connect", "Connect",
            ]),
            Self::Denied => Some(&[
                "DELETE", "delete", "Delete", "dElEtE", "POST", "post", "Post", "pOSt",
            ]),
        }
    }

    pub(crate) fn takes_content(self) -> bool {
        match self {
            Self::Nowhere | Self::Keyless | Self::WrongKey | Self::Denied => true,
            Self::NowhereHead
            | Self::Health
            | Self::HealthHead
            | Self::Options
            | Self::Unimplemented => false,
        }
    }

    /// The request target.
    pub(crate) fn target(self, plan: &Plan, provider: &str) -> String {
        let id = plan.id;
        match self {
            Self::Nowhere | Self::NowhereHead => format!("/nowhere/{id}"),
            Self::Health | Self::HealthHead => "/health".to_owned(),
            Self::Options => "*".to_owned(),
            Self::Keyless | Self::WrongKey | Self::Unimplemented => {
                format!("/p/{provider}/soak/{id}?n=1")
            }
            Self::Denied => format!("/p/{provider}/soak/denied/{id}"),
        }
    }

    /// A field line, `valid` being one that opens the gateway.
    pub(crate) fn credential(self, plan: &Plan, valid: &str) -> String {
        match self {
            Self::Keyless => "X-None: 1".to_owned(),
            Self::WrongKey => format!("x-api-key: wrong-{}", plan.id),
            _ => valid.to_owned(),
        }
    }

    /// Status code, and the code in the content where there is an error.
    fn answer(self) -> (u16, &'static str) {
        match self {
            Self::Nowhere | Self::NowhereHead => (404, "not_found"),
            Self::Health | Self::HealthHead => (200, ""),
            Self::Options => (204, ""),
            Self::Keyless => (401, "missing_key"),
            Self::WrongKey => (401, "invalid_key"),
            Self::Unimplemented => (501, "method_not_implemented"),
            Self::Denied => (403, "endpoint_denied"),
        }
    }
}

/// Answers as they were the first time, by all that they may depend on.
pub(crate) type References = Mutex<HashMap<(Own, usize, bool), String>>;

/// That an answer is what the gateway has to say.
pub(crate) fn judge(
    world: &World,
    plan: &Plan,
    own: Own,
    answer: &Answer,
    head: &Head,
) -> Result<Outcome, String> {
    let content = { answer.content.as_ref() }.map_or(&[][..], |content| &content.body);
    let text = String::from_utf8_lossy(content).into_owned();
    let (status, wanted) = own.answer();
    if head.status() != status || !answer.is_whole() || answer.interims > 0 {
        return Err(format!("{own:?}: {} {text}", head.start));
    }
    if answer.stays_open() != plan.persists {
        return Err(format!("{own:?}: stays open or not: {:?}", head.lines));
    }
    let has_content = plan.method != "HEAD" && status != 204;
    if text.is_empty() == has_content || (has_content && code(&text) != wanted) {
        return Err(format!("{own:?}: content {text:?}"));
    }
    let Some(id) = head.value("x-request-id").filter(|id| id.len() == 32) else {
        return Err(format!("{own:?}: no request id: {:?}", head.lines));
    };
    let fields = head.lines.iter().filter(|line| !line.starts_with("Date:"));
    let lines: Vec<&str> = std::iter::once(&head.start)
        .chain(fields)
        .map(String::as_str)
        .collect();
    let this = format!("{}\n\n{text}", lines.join("\n")).replace(id, "ID");
    let mut references = world.references.lock().unwrap();
    let key = (own, plan.provider, plan.persists);
    let first = references.entry(key).or_insert_with(|| this.clone());
    match *first == this {
        true => Ok(Outcome::Own),
        false => Err(format!("{own:?}: {this}\n    the first time: {first}")),
    }
}
