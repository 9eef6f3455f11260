//! What is known of one request under way: its points in time, and what its log line will say.

use std::time::{Duration, Instant};

use crate::log::{Line, Log, Of};
use crate::net::sockets::peer::Peer;
use crate::observe::counters::Finished;
use crate::observe::streams::{Stream, UnderWay};
use crate::observe::{Ending, Phase, Slots, Times};

use super::quotes::{Quote, Quotes};

/// A record's place in the list of those under way.
pub(crate) type Place = u32;

/// See the module's documentation.
pub(crate) struct Record {
    pub(crate) began: Instant,
    pub(crate) times: Times,
    /// Where it is counted.
    pub(crate) slot: usize,
    pub(crate) figures: Finished,
    /// Why it ends as it does, where that is more than how the connection goes on.
    pub(crate) ending: Option<Ending>,
    /// Content from the client is still to come.
    pub(crate) uploading: bool,
    pub(crate) retries: u64,
    /// Of the gateway's own answer.
    pub(crate) error: Option<&'static str>,
    pub(crate) counted: bool,
    pub(crate) logged: bool,
    /// Where it stands among the requests under way, if it does.
    pub(crate) place: Option<Place>,
    pub(crate) quotes: Quotes,
}

impl Record {
    /// Of a request that begins now.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            times: Times::default(),
            slot: 0,
            figures: Finished::default(),
            ending: None,
            uploading: false,
            retries: 0,
            error: None,
            counted: false,
            logged: false,
            place: None,
            quotes: Quotes::default(),
        }
    }

    /// Forgets everything but the room.
    pub(crate) fn clear(&mut self) {
        self.times = Times::default();
        self.slot = 0;
        self.figures = Finished::default();
        self.ending = None;
        self.uploading = false;
        self.retries = 0;
        self.error = None;
        self.quotes.clear();
    }

    /// Whoever asks for what is not passed on may do so as often as he likes.
    fn of(&self) -> Of {
        match self.slot {
            0 => Of::Anybody,
            _ => Of::Admitted,
        }
    }

    /// What it is doing.
    pub(crate) fn phase(&self) -> Phase {
        match () {
            () if self.figures.status == 101 => Phase::Tunnel,
            () if self.times.latest().is_some() => Phase::Stream,
            () if self.times.request_overhead().is_none() => Phase::Connect,
            () if self.uploading => Phase::Upload,
            () => Phase::Wait,
        }
    }

    /// Adds it to those that are shown.
    pub(crate) fn show(&self, now: Instant, among: &mut UnderWay) {
        let age = now.saturating_duration_since(self.began);
        let phase = self.phase();
        // Pieces that go through a tunnel are not timed.
        let moved = self.times.moved().filter(|_| phase != Phase::Tunnel);
        let stream = Stream {
            slot: self.slot,
            phase,
            method: self.figures.method,
            status: self.figures.status,
            received: self.figures.received,
            sent: self.figures.sent,
            age,
            idle: moved.map(|at| age.saturating_sub(at)),
            key: 0..0,
            path: 0..0,
        };
        among.push(
            stream,
            self.quotes.of(Quote::KeyId),
            self.quotes.of(Quote::Path),
        );
    }

    /// Writes its line.
    pub(crate) fn log(&self, log: &Log, slots: &Slots, peer: Peer, ending: Ending) {
        let figures = &self.figures;
        let mut line = log.request(self.quotes.line_bytes());
        let figure = |line: &mut Line, name: &str, time: Option<Duration>| {
            if let Some(time) = time {
                line.number(name, u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
            }
        };
        self.quotes.write(&mut line, Quote::RequestId);
        self.quotes.write(&mut line, Quote::UpstreamRequestId);
        line.word("client", format_args!("{peer}"));
        self.quotes.write(&mut line, Quote::KeyId);
        if self.slot > 0 {
            line.text("provider", slots.name(self.slot).as_bytes());
        }
        self.quotes.write(&mut line, Quote::Method);
        self.quotes.write(&mut line, Quote::Path);
        line.number("status", figures.status.into());
        line.number("bytes_in", figures.received);
        line.number("bytes_out", figures.sent);
        let prompt = self.times.latest().filter(|_| !self.quotes.lingers);
        let prompt = prompt.filter(|_| ending == Ending::Complete && figures.status != 101);
        figure(
            &mut line,
            "duration_us",
            Some(prompt.unwrap_or_else(|| self.began.elapsed())),
        );
        let connecting = self.times.connecting();
        for (name, time) in [
            ("request_overhead_us", self.times.request_overhead()),
            ("response_overhead_us", self.times.response_overhead()),
            ("connect_us", connecting.map(|times| times.connect)),
            ("tls_us", connecting.and_then(|times| times.tls)),
            ("head_us", self.times.to_head()),
            ("first_byte_us", self.times.to_first_byte()),
            ("longest_gap_us", self.times.longest_gap()),
            ("stream_us", self.times.stream()),
        ] {
            figure(&mut line, name, time);
        }
        line.text("end", ending.as_str().as_bytes());
        if ending == Ending::ClientGone {
            line.text("phase", figures.phase.as_str().as_bytes());
        }
        if let Some(code) = self.error {
            line.text("error", code.as_bytes());
        }
        if self.retries > 0 {
            line.number("retries", self.retries);
        }
        for quote in Quote::OF_CLIENTS {
            self.quotes.write(&mut line, quote);
        }
        log.write(line, self.of());
    }
}
