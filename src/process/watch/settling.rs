//! When a keys file that changes is to be read, and whether what was read is the whole of it. No clock and no file:
//! looks and times are handed in.
//!
//! A file that was renamed to its name is whole. One that is written in place is not while it changes, and may rest
//! for a while in the middle: empty, or cut off behind an entry, or behind a line of one, so that it parses and lacks
//! keys, or limits of them. One that never comes to rest is taken as it is in the end: a key may be revoked by it.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::config::keys::ManagedKey;

/// Device, inode and, where the file system knows, when it was made: a new file may get the number of an old one.
pub(super) type Identity = (u64, u64, Option<SystemTime>);

/// How a file looks without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) file: Identity,
    pub(super) len: u64,
    pub(super) modified: (i64, i64),
    pub(super) changed: (i64, i64),
}

/// When it is looked at.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Of a clock that only goes forward.
    pub(super) elapsed: Duration,
    /// Seconds since 1970, as a file's times are.
    pub(super) unix: u64,
}

/// A file that lacks what was there has to rest for so long before that is believed.
pub(super) const LESS_RESTS: Duration = Duration::from_secs(3);

/// A file that does not come to rest is taken as it is so long after its first change.
pub(super) const RESTLESS_MAX: Duration = Duration::from_secs(10);

/// A file younger than this may have changed again without looking any different: its times are coarse.
const YOUNG: Duration = Duration::from_secs(2);

/// What becomes of entries that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They are the file's.
    Whole,
    /// There is nothing in it where there were keys. Nobody writes such a file in the end.
    Blank,
    /// It lacks keys, or limits, that were there.
    Less,
    /// It lacks some as well, but has just got its name: if it was renamed to it, the next look finds it the same.
    JustCame,
}

/// What is known of how the file looked.
#[derive(Default)]
pub(super) struct Settling {
    /// At the last look, and since when it has looked so.
    last: Option<(Stamp, Duration)>,
    /// When it was done with, if it was old enough then.
    done: Option<Stamp>,
    /// The file that the entries in force are from.
    taken: Option<Identity>,
    /// How another one looked when it was first seen at the name.
    came: Option<Stamp>,
    /// The one that came before it was not taken either.
    came_again: bool,
    /// Since when it has changed without a rest and was not taken.
    restless: Option<Duration>,
}

impl Settling {
    /// The entries in force are from this file.
    pub(super) fn of(file: Option<Identity>) -> Self {
        Self {
            taken: file,
            ..Self::default()
        }
    }

    /// Whether the file has to be read. One that is written in place is given until the next look to come to
    /// its end, but not for ever; one that has another's place may be whole.
    pub(super) fn is_due(&mut self, stamp: Stamp, now: Moment) -> bool {
        if self.done == Some(stamp) {
            return false;
        }
        let before = self.look(stamp, now);
        before.is_none_or(|before| before == stamp || before.file != stamp.file)
            || self.restless_for(now) >= RESTLESS_MAX
    }

    /// Whether it is not read since it changes all the time, and has for so long that somebody should know.
    pub(super) fn is_restless(&self, now: Moment) -> bool {
        let changes = self.last.is_some_and(|(_, since)| since == now.elapsed);
        changes && self.restless_for(now) >= LESS_RESTS
    }

    /// Remembers a look; the one before.
    fn look(&mut self, stamp: Stamp, now: Moment) -> Option<Stamp> {
        let before = self.last.map(|(before, _)| before);
        if before == Some(stamp) {
            return before;
        }
        if self.restless.is_none() || self.rests(now) {
            self.restless = Some(now.elapsed);
        }
        let is_other = before.is_none_or(|before| before.file != stamp.file);
        if is_other && self.taken.is_some_and(|taken| taken != stamp.file) {
            self.came_again = self.came.is_some();
            self.came = Some(stamp);
        }
        self.last = Some((stamp, now.elapsed));
        before
    }

    fn rests(&self, now: Moment) -> bool {
        let rested = |(_, since)| now.elapsed.saturating_sub(since) >= LESS_RESTS;
        self.last.is_some_and(rested)
    }

    fn restless_for(&self, now: Moment) -> Duration {
        let begin = self.restless.unwrap_or(now.elapsed);
        now.elapsed.saturating_sub(begin)
    }

    /// What comes in the place of a file that is gone may get the same number.
    pub(super) fn is_gone(&mut self) {
        *self = Self {
            done: self.done,
            ..Self::default()
        };
    }

    /// Whether `new`, read at this look, is the whole of the file, where `before` is in force.
    pub(super) fn judge(
        &mut self,
        stamp: Stamp,
        now: Moment,
        (before, new): (&[ManagedKey], &[ManagedKey]),
    ) -> Verdict {
        self.look(stamp, now);
        if stamp.is_blank(before) {
            return Verdict::Blank;
        }
        let settled = self.rests(now) || self.restless_for(now) >= RESTLESS_MAX;
        if !settled && !self.was_renamed(stamp, now) && is_less(before, new) {
            return match self.came == Some(stamp) {
                true => Verdict::JustCame,
                false => Verdict::Less,
            };
        }
        *self = Self {
            last: self.last,
            done: self.done,
            ..Self::of(Some(stamp.file))
        };
        Verdict::Whole
    }

    /// The file need not be read again while it looks so.
    pub(super) fn is_done(&mut self, stamp: Stamp, now: Moment) {
        let modified = u64::try_from(stamp.modified.0).unwrap_or_default();
        if now.unix.abs_diff(modified) > YOUNG.as_secs() {
            self.done = Some(stamp);
        }
    }

    /// The file is of no use as it looks now, however young it is.
    pub(super) fn is_refused(&mut self) {
        self.done = self.last.map(|(stamp, _)| stamp);
    }

    /// A rename changes the inode and not what it holds; writing changes both. Where both were within one tick of the
    /// file system's clock, a file that was made and written at its name looks alike: but it is not the same any more
    /// at the next look, nor is it another one.
    fn was_renamed(&self, stamp: Stamp, now: Moment) -> bool {
        let is_other = self.taken != Some(stamp.file);
        let is_same = self.last.is_some_and(|(_, since)| since < now.elapsed);
        let stayed = self.came == Some(stamp) && (is_same || self.came_again);
        stayed || is_other && stamp.changed > stamp.modified
    }
}

impl Stamp {
    /// Whether there is nothing in it where there were keys.
    pub(super) fn is_blank(&self, before: &[ManagedKey]) -> bool {
        self.len == 0 && !before.is_empty()
    }
}

/// Whether a key, or a limit of one, is missing, as it would be in a file that is written up to somewhere.
fn is_less(before: &[ManagedKey], new: &[ManagedKey]) -> bool {
    let new: BTreeMap<&str, &ManagedKey> = new.iter().map(|key| (&*key.id, key)).collect();
    { before.iter() }.any(|key| new.get(&*key.id).is_none_or(|new| is_wider(key, new)))
}

/// Whether a limit of `key` is gone.
fn is_wider(key: &ManagedKey, new: &ManagedKey) -> bool {
    let gone = [
        (key.disabled, new.disabled),
        (key.expires.is_some(), new.expires.is_some()),
        (key.providers.is_some(), new.providers.is_some()),
        (key.allow.is_some(), new.allow.is_some()),
        (key.rate.is_some(), new.rate.is_some()),
        (key.streams.is_some(), new.streams.is_some()),
    ];
    gone.into_iter().any(|(had, has)| had && !has)
}

#[cfg(test)]
mod tests;
