//! Plays an exchange in memory: both peers, their cuts, faults and delays at every point, against the slow model.
//!
//! What the caller of the machine does with sockets is done here with numbers. Seeded plays run in a test, as many as
//! `SLUICEGATE_SIMULATED` says; the fuzz target `connection` hands in bytes.

use super::choices::Choices;
use super::model::{self, Model};
use super::script::Script;
use super::{After, Awaited, Exchange, Failure, Next, Stop, Streams, UpstreamEnd};
use crate::base::bytes::{within, within_mut};
use crate::http::framing::Cursor;
use crate::http::head::{Fields, Side};
use crate::http::keep_alive::KeepAlive;

/// One thing that happens to an exchange.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    ClientSends(usize),
    ClientEnds,
    ClientLeaves,
    UpstreamSends(usize),
    UpstreamEnds {
        orderly: bool,
    },
    UpstreamRefuses,
    /// From now on answers end their connections.
    Drain,
    TimeOut {
        upstream_flushed: bool,
    },
}

/// What has come out so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Bytes of the client's that went on: its first ones.
    pub to_upstream: usize,
    /// Interim responses that were passed on.
    pub interim: usize,
    /// The final one's, or nothing yet.
    pub status: u16,
    /// What the client was told of its connection.
    pub persists: bool,
    /// Content that went to the client, or a tunnel's bytes.
    pub to_client: Vec<u8>,
    /// The request was sent once more.
    pub repeated: bool,
    /// The upstream's end was the content's.
    pub closed: bool,
    pub end: Option<End>,
}

impl Seen {
    /// Nothing again; the room for content stays.
    fn clear(&mut self) {
        let mut to_client = std::mem::take(&mut self.to_client);
        to_client.clear();
        *self = Self {
            to_client,
            ..Self::default()
        };
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Refused {
        failure: Failure,
        behind: Behind,
    },
    /// Otherwise than by a refusal.
    Stopped(Stop),
    Concluded {
        reusable: Option<KeepAlive>,
        upstream_closes: bool,
        behind: Behind,
    },
}

/// How the client's connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    Persist,
    /// Behind so many bytes of content.
    Discard(u64),
    Close {
        linger: bool,
    },
    Other,
}

impl From<After> for Behind {
    fn from(after: After) -> Self {
        match after {
            After::Persist => Self::Persist,
            After::Discard(cursor) => Self::Discard(cursor.content_bytes()),
            After::Close { linger } => Self::Close { linger },
            After::Truncate { .. } | After::Drop => Self::Other,
        }
    }
}

/// Room for plays, used by one after the other.
pub struct Stage {
    script: Script,
    room: Vec<u8>,
    fields: Fields,
    model_room: model::Room,
    /// Of the machine and of the model.
    seen: [Seen; 2],
}

/// Bytes that a play's room holds: more than any of its heads and receives.
const ROOM: usize = 8 * 1024;
/// Steps of a play; then time is up.
const STEPS_MAX: usize = 96;

impl Default for Stage {
    fn default() -> Self {
        Self {
            script: Script::default(),
            room: vec![0; ROOM],
            fields: Fields::new(),
            model_room: model::Room::default(),
            seen: Default::default(),
        }
    }
}

impl Stage {
    /// Plays one exchange to its end.
    ///
    /// # Panics
    /// When the machine and the model differ.
    pub fn play(&mut self, choices: &mut Choices<'_>) {
        self.script.write(choices);
        let script = &self.script;
        self.seen.iter_mut().for_each(Seen::clear);
        let [seen, model_seen] = &mut self.seen;
        let mut cursor = Cursor::new(script.length);
        let with_head = within(&script.client, ..script.with_head);
        let Ok(advance) = cursor.advance(with_head, Side::Request) else {
            return;
        };
        let limit = script.terms.content_limit;
        if !limit.allows(cursor.content_bytes()) {
            return;
        }
        seen.to_upstream = advance.taken;
        let mut play = Play {
            exchange: Exchange::new(script.terms, cursor, script.expects_continue),
            script,
            room: &mut self.room,
            fields: &mut self.fields,
            seen,
            client: script.with_head,
            upstream: 0,
            is_ending: false,
            streams: Streams {
                client_flushed: true,
                upstream_flushed: true,
                carry_empty: advance.taken == script.with_head,
                may_carry: true,
            },
        };
        let mut model = Model::new(script, &mut self.model_room, model_seen);
        for number in 0.. {
            let streams = play.streams;
            let wants = [
                play.exchange.wants_client(streams),
                play.exchange.wants_upstream(streams),
            ];
            assert_eq!(wants, model.wants(streams), "{script:?}");
            let step = match number < STEPS_MAX {
                true => play.choose(choices, wants),
                false => Some(Step::TimeOut {
                    upstream_flushed: streams.upstream_flushed,
                }),
            };
            if let Some(step) = step {
                play.step(step, choices);
                model.step(step);
            }
            play.concludes();
            model.concludes(play.streams.upstream_flushed);
            assert_eq!(play.seen, model.seen, "{step:?} of {script:?}");
            if play.seen.end.is_some() {
                return;
            }
            if choices.once_in(4) {
                let flushed = play.streams.upstream_flushed;
                let awaited = play.exchange.awaits(flushed);
                assert_eq!(awaited, model.awaits(flushed), "{step:?} of {script:?}");
                let runs = awaited == Some(Awaited::Head);
                assert!(!runs || play.exchange.is_head_awaited());
            }
        }
    }
}

/// An exchange that is being played.
struct Play<'s, 'p> {
    exchange: Exchange,
    script: &'s Script,
    room: &'p mut [u8],
    fields: &'p mut Fields,
    seen: &'p mut Seen,
    /// How much of what each side says has been taken.
    client: usize,
    upstream: usize,
    is_ending: bool,
    streams: Streams,
}

impl Play<'_, '_> {
    /// What happens next, or nothing but that a stream gets on.
    fn choose(&mut self, choices: &mut Choices<'_>, wants: [bool; 2]) -> Option<Step> {
        let [client, upstream] = wants;
        let client_left = self.script.client.len() - self.client;
        let upstream_left = self.script.upstream.len() - self.upstream;
        Some(match choices.below(24) {
            0 => Step::Drain,
            1 if choices.once_in(2) => Step::ClientLeaves,
            2 => Step::UpstreamRefuses,
            3 if choices.once_in(3) => Step::TimeOut {
                upstream_flushed: self.streams.upstream_flushed,
            },
            4 if upstream => Step::UpstreamEnds {
                orderly: choices.once_in(2),
            },
            5 if client && choices.once_in(3) => Step::ClientEnds,
            6..14 if upstream && upstream_left > 0 => {
                Step::UpstreamSends(piece(choices, upstream_left))
            }
            6..14 if upstream => Step::UpstreamEnds {
                orderly: !choices.once_in(4),
            },
            14..22 if client && client_left > 0 => Step::ClientSends(piece(choices, client_left)),
            _ => {
                self.streams.client_flushed = true;
                self.streams.upstream_flushed = true;
                if self.exchange.is_tunnel() && !self.streams.carry_empty {
                    // What came behind the request goes first.
                    self.streams.carry_empty = true;
                }
                return None;
            }
        })
    }

    fn step(&mut self, step: Step, choices: &mut Choices<'_>) {
        let stop = match step {
            Step::ClientSends(n) => self.client_sends(n, choices),
            Step::ClientEnds => Err(self.exchange.client_ended()),
            Step::ClientLeaves => Err(self.exchange.left()),
            Step::UpstreamSends(n) => self.upstream_sends(n, choices),
            Step::UpstreamEnds { orderly } => self.upstream_ends(orderly),
            Step::UpstreamRefuses => {
                self.exchange.upstream_refused();
                assert!(self.exchange.is_refused());
                Ok(())
            }
            Step::Drain => {
                self.is_ending = true;
                Ok(())
            }
            Step::TimeOut { upstream_flushed } => Err(self.exchange.timed_out(upstream_flushed)),
        };
        let Err(stop) = stop else { return };
        self.seen.end = Some(match stop {
            Stop::Refuse(failure) => End::Refused {
                failure,
                behind: { &self.exchange }
                    .after_refusal(Some(failure), !self.is_ending)
                    .into(),
            },
            stop => End::Stopped(stop),
        });
    }

    fn client_sends(&mut self, n: usize, choices: &mut Choices<'_>) -> Result<(), Stop> {
        let bytes = within(&self.script.client, self.client..self.client + n);
        let ahead = self.exchange.client_bytes_ahead();
        let taken = self.exchange.client_sent(bytes)?;
        assert!(taken as u64 >= ahead.min(n as u64), "surely ahead");
        self.client += n;
        self.seen.to_upstream += taken;
        self.streams.carry_empty &= taken == n;
        self.streams.upstream_flushed = !choices.once_in(4);
        Ok(())
    }

    fn upstream_sends(&mut self, n: usize, choices: &mut Choices<'_>) -> Result<(), Stop> {
        let bytes = within(&self.script.upstream, self.upstream..self.upstream + n);
        within_mut(self.room, ..n).copy_from_slice(bytes);
        self.upstream += n;
        self.streams.client_flushed = !choices.once_in(4);
        // The short way of a steady stream has to lead where the long one does.
        if self.exchange.is_steady(self.streams) && choices.once_in(2) {
            return self.content(n);
        }
        if self.exchange.is_tunnel() {
            self.seen
                .to_client
                .extend_from_slice(within(self.room, ..n));
            return Ok(());
        }
        if self.exchange.is_content() {
            return self.content(n);
        }
        match self.exchange.upstream_sent(self.room, n)? {
            Some(end) => self.heads(end),
            None => Ok(()),
        }
    }

    fn content(&mut self, n: usize) -> Result<(), Stop> {
        let piece = within_mut(self.room, ..n);
        let taken = self.exchange.content(piece)?;
        let kept = within(self.room, ..taken.kept);
        self.seen.to_client.extend_from_slice(kept);
        Ok(())
    }

    fn heads(&mut self, end: usize) -> Result<(), Stop> {
        let mut begin = 0;
        loop {
            let bytes = within_mut(self.room, begin..end);
            match self
                .exchange
                .next_head(bytes, self.fields, self.is_ending)?
            {
                Next::More => return Ok(()),
                Next::Interim { at, head } => {
                    self.seen.interim += usize::from(self.exchange.passes_interim());
                    begin += at + head.len;
                }
                Next::Switch { at, head } => {
                    self.exchange.switched();
                    self.seen.status = head.status;
                    let tunnelled = within(self.room, begin + at + head.len..end);
                    self.seen.to_client.extend_from_slice(tunnelled);
                    return Ok(());
                }
                Next::Final { at, head, answer } => {
                    self.exchange.answered(&answer);
                    self.seen.status = head.status;
                    self.seen.persists = answer.persists();
                    assert!(!answer.persists() || !answer.ends_with_connection());
                    let content = begin + at + head.len;
                    let kept = within(self.room, content..content + answer.taken.kept);
                    self.seen.to_client.extend_from_slice(kept);
                    return Ok(());
                }
            }
        }
    }

    fn upstream_ends(&mut self, orderly: bool) -> Result<(), Stop> {
        let may_repeat = self.script.may_repeat && !self.seen.repeated;
        match self.exchange.upstream_ended(orderly, may_repeat)? {
            UpstreamEnd::Whole => self.seen.closed = true,
            UpstreamEnd::Repeat => self.seen.repeated = true,
        }
        Ok(())
    }

    fn concludes(&mut self) {
        if self.seen.end.is_some() || !self.exchange.is_over() {
            return;
        }
        let conclusion = self.exchange.conclusion(self.streams.upstream_flushed);
        self.seen.end = Some(End::Concluded {
            reusable: conclusion.reusable,
            upstream_closes: conclusion.upstream_closes,
            behind: conclusion.after.into(),
        });
    }
}

/// Most of what is left, a byte, or something between.
fn piece(choices: &mut Choices<'_>, left: usize) -> usize {
    match choices.below(4) {
        0 => 1,
        1 => 1 + choices.below(left),
        _ => left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Under plain `cargo test`; more with `SLUICEGATE_SIMULATED`, from `SLUICEGATE_SEED` on.
    const PLAYS: u64 = 60_000;

    #[test]
    fn machine_and_model_agree() {
        let number = |name| {
            let text = std::env::var(name).ok();
            text.map(|text| text.parse::<u64>().unwrap())
        };
        let plays = number("SLUICEGATE_SIMULATED").unwrap_or(PLAYS);
        let first = number("SLUICEGATE_SEED").unwrap_or(1);
        let mut stage = Stage::default();
        for seed in first..first + plays {
            stage.play(&mut Choices::of_seed(seed));
        }
    }
}
