//! What a request asks for beside a permit: a seat at one of several instances that have limits of their own.

use std::sync::Arc;

use crate::providers::group::{Group, Tried, UnderWay, Unseated};

/// Among which instances, by what, and which of them it has been to.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The instances, as the request's configuration has them.
    pub group: Arc<Group>,
    /// What it belongs to.
    pub session: u64,
    /// None of these.
    pub tried: Tried,
    /// A number that looks like chance.
    pub random: u64,
}

/// A seat for it: none where it wishes for none, or where there is none to wait for; nothing while all are taken.
pub(super) fn seat(wish: Option<&Wish>, now: u64) -> Option<Option<UnderWay>> {
    let Some(wish) = wish else { return Some(None) };
    match wish
        .group
        .choose(wish.session, wish.tried, wish.random, now)
    {
        Ok(under_way) => Some(Some(under_way)),
        Err(Unseated::Nowhere) => Some(None),
        Err(Unseated::Full) => None,
    }
}
