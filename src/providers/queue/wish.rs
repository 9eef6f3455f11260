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

/// How many of those that wait are of the configuration that the latest of them came with: only they may go to the instances
/// that it has added.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// Where its group lies; nobody reads there, and a group that somebody waits for stays.
    group: usize,
    waiting: u32,
}

impl Newest {
    /// Whether nobody of the same configuration waits already.
    pub(super) fn is_first(&self, wish: Option<&Wish>) -> bool {
        self.waiting == 0 || self.group != place(wish)
    }

    /// Whether there are others than these, of so many that wait.
    pub(super) fn is_among(&self, all: u32) -> bool {
        self.waiting < all
    }

    /// One begins to wait.
    pub(super) fn came(&mut self, wish: Option<&Wish>) {
        let group = place(wish);
        if self.group != group {
            (self.group, self.waiting) = (group, 0);
        }
        self.waiting += 1;
    }

    /// One waits no more.
    pub(super) fn left(&mut self, wish: Option<&Wish>) {
        if self.group == place(wish) {
            self.waiting = self.waiting.saturating_sub(1);
        }
    }
}

fn place(wish: Option<&Wish>) -> usize {
    wish.map_or(0, |wish| Arc::as_ptr(&wish.group).addr())
}
