//! What is known of one request under way: its points in time, and what its log line will say.

use std::io::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::log::{Lane, Marks, Of, Quote, Quotes, Request, Way};
use crate::net::sockets::peer::Peer;
use crate::net::sockets::turn_clock::TurnClock;
use crate::observe::counters::Finished;
use crate::observe::streams::{Stream, UnderWay};
use crate::observe::{Ending, Phase, Slots, Times};
use crate::system::time::Moment;

/// A record's place in the list of those under way.
pub(crate) type Place = u32;

/// See the module's documentation.
pub(crate) struct Record {
    clock: Rc<TurnClock>,
    /// When its head was there.
    pub(crate) began: Moment,
    pub(crate) times: Times,
    /// Where it is counted.
    pub(crate) slot: usize,
    /// Of the provider that it was for, or went to; 0 where that is not known.
    pub(crate) provider: usize,
    /// Where it is counted by its key; 0 without one.
    pub(crate) key_slot: usize,
    pub(crate) figures: Finished,
    /// Why it ends as it does, where that is more than how the connection goes on.
    pub(crate) ending: Option<Ending>,
    /// Content from the client is still to come.
    pub(crate) uploading: bool,
    /// How it went to the provider.
    pub(crate) way: Way,
    /// Of the gateway's own answer.
    pub(crate) error: Option<&'static str>,
    pub(crate) counted: bool,
    pub(crate) logged: bool,
    /// Spans are made of it.
    pub(crate) traced: bool,
    /// It came over TLS.
    pub(crate) tls: bool,
    /// It is of HTTP/1.0.
    pub(crate) http10: bool,
    /// Where it stands among the requests under way, if it does.
    pub(crate) place: Option<Place>,
    /// The client had not taken all of its answer when that was made.
    pub(crate) lingers: bool,
    pub(crate) quotes: Quotes,
}

impl Record {
    /// Of no request yet.
    pub(crate) fn new(clock: Rc<TurnClock>) -> Self {
        Self {
            began: clock.latest(),
            clock,
            times: Times::default(),
            slot: 0,
            provider: 0,
            key_slot: 0,
            figures: Finished::default(),
            ending: None,
            uploading: false,
            way: Way::default(),
            error: None,
            counted: false,
            logged: false,
            traced: false,
            tls: false,
            http10: false,
            place: None,
            lingers: false,
            quotes: Quotes::default(),
        }
    }

    /// A request begins, whose head had been there since `ready`, or came behind another one.
    pub(crate) fn begin(&mut self, ready: Option<Moment>) {
        self.began = ready.unwrap_or_else(|| self.clock.read());
        self.times.waited(self.clock.latest().since(self.began));
    }

    /// How long ago it began.
    pub(crate) fn age(&self) -> Duration {
        self.clock.read().since(self.began)
    }

    /// As its age was when what has just been sent was on its way.
    pub(crate) fn age_sent(&self) -> Duration {
        self.clock.read_sent().since(self.began)
    }

    /// A part of the response's head has come, and had been there since `ready`.
    pub(crate) fn head_arrived(&mut self, ready: Option<Moment>) {
        let ready = ready.unwrap_or_else(|| self.clock.read());
        self.times.waited(self.clock.latest().since(ready));
        self.times.head(ready.since(self.began));
    }

    /// The address of the instance, where it is one of many of a name.
    pub(crate) fn at_address(&mut self, address: Option<IpAddr>) {
        match address {
            Some(address) => self.quotes.replace(Quote::Address, &shown(address)),
            None => self.quotes.replace(Quote::Address, b""),
        }
    }

    /// Forgets everything but the room.
    pub(crate) fn clear(&mut self) {
        self.times = Times::default();
        self.slot = 0;
        self.provider = 0;
        self.key_slot = 0;
        self.figures = Finished::default();
        self.ending = None;
        self.uploading = false;
        self.way = Way::default();
        self.error = None;
        self.lingers = false;
        self.http10 = false;
        self.quotes.clear();
    }

    /// Whether anything is made of it that quotes it.
    #[must_use]
    pub(crate) fn is_quoted(&self) -> bool {
        self.logged || self.traced
    }

    /// Whether a provider was asked, or would have been if it could be reached.
    fn went_out(&self) -> bool {
        let failed = self.error.is_some_and(|code| code.starts_with("upstream_"));
        self.slot > 0 && (failed || self.times.request_overhead().is_some())
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
    pub(crate) fn show(&self, now: Moment, among: &mut UnderWay) {
        let age = now.since(self.began);
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

    /// Hands over what its line and its spans say.
    pub(crate) fn log(&mut self, lane: &mut Lane, slots: &Slots, peer: Peer, ending: Ending) {
        let figures = &self.figures;
        if self.provider > 0 {
            let name = slots.name(self.provider).as_bytes();
            self.quotes.put(Quote::Provider, name);
        }
        if let Some(code) = self.error {
            self.quotes.put(Quote::Error, code.as_bytes());
        }
        let prompt = self.times.latest().filter(|_| !self.lingers);
        let prompt = prompt.filter(|_| ending == Ending::Complete && figures.status != 101);
        let duration = prompt.unwrap_or_else(|| self.age());
        let request = Request {
            of: self.of(),
            client: peer.address(),
            status: figures.status,
            received: figures.received,
            sent: figures.sent,
            duration,
            times: &self.times,
            ending,
            phase: figures.phase,
            way: self.way,
            marks: Marks {
                line: self.logged,
                span: self.traced,
                tls: self.tls,
                http10: self.http10,
                went_out: self.went_out(),
            },
            quotes: &self.quotes,
        };
        lane.write(&request, self.began + duration);
    }
}

/// As it is written.
fn shown(address: IpAddr) -> Vec<u8> {
    let mut shown = Vec::with_capacity(ADDRESS_BYTES_MAX);
    // A vector takes everything.
    let _ = write!(shown, "{address}");
    shown
}

/// Of an IPv6 address.
const ADDRESS_BYTES_MAX: usize = 39;
