//! What happens in an exchange: a function of its id, so both ends know it without talking.

use std::fmt;

use super::own::Own;
use super::port::{ALL, DENYING};
use super::random::{Random, content, mix};

/// Kinds of exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A small request and a small answer.
    Json,
    /// Many small events.
    Stream,
    /// Much content towards the provider.
    Upload,
    /// Much content from the provider.
    Download,
    /// HEAD, 204, 304.
    Bare,
    /// A client of HTTP/1.0.
    Old,
    /// An upgrade, then bytes both ways.
    Tunnel,
    /// One of several requests sent at once.
    Piped,
    /// A spoilt request.
    Hostile,
    /// A spoilt answer.
    Garbage,
    /// A head that never ends.
    Unfinished,
    /// What the gateway answers by itself.
    Own,
    /// A method in another case.
    Case,
    /// Content in chunks of one to three bytes.
    Tiny,
    /// Answers of the gateway's own that nobody reads.
    Unread,
}

/// All kinds, with their shares of a thousand exchanges.
pub(crate) const KINDS: [(Kind, usize); 15] = [
    (Kind::Json, 394),
    (Kind::Stream, 130),
    (Kind::Upload, 85),
    (Kind::Download, 75),
    (Kind::Bare, 55),
    (Kind::Old, 45),
    (Kind::Tunnel, 40),
    (Kind::Piped, 50),
    (Kind::Hostile, 28),
    (Kind::Garbage, 20),
    (Kind::Unfinished, 1),
    (Kind::Own, 30),
    (Kind::Case, 30),
    (Kind::Tiny, 15),
    (Kind::Unread, 2),
];

/// Kind, 40 bits that are the exchange's own, and a check over both: a spoilt id is nobody's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id(u64);

impl Id {
    pub(crate) fn new(kind: Kind, number: u64) -> Self {
        let low = (mix(number) & 0xff_ffff_ffff) << 8 | kind as u64;
        Self(mix(low) >> 48 << 48 | low)
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let value = text
            .chars()
            .filter_map(|digit| digit.to_digit(16))
            .fold(0, |value, digit| value << 4 | u64::from(digit));
        let low = value & 0xffff_ffff_ffff;
        let valid = mix(low) >> 48 == value >> 48 && (low & 0xff) < KINDS.len() as u64;
        valid.then_some(Self(value))
    }

    pub(crate) fn kind(self) -> Kind {
        KINDS[(self.0 & 0xff) as usize].0
    }

    /// A generator for one aspect of the exchange.
    pub(crate) fn random(self, aspect: u64) -> Random {
        Random::new(self.0 ^ aspect << 32)
    }

    /// Content for one aspect of the exchange.
    pub(crate) fn content(self, aspect: u64, len: usize) -> Vec<u8> {
        content(self.0 ^ aspect << 32, len)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// How the end of content is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Nothing,
    Length,
    Chunked,
    Close,
}

/// Content of either direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) len: usize,
    pub(crate) shape: Shape,
    pub(crate) trailers: bool,
}

/// What goes wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// The client leaves within its head, within its content, before the answer, within the answer.
    LeavesInHead,
    LeavesInContent,
    LeavesWaiting,
    LeavesReading,
    /// The provider leaves when it has the head, when it has the request, within its own head,
    /// within its content.
    Unread,
    Silent,
    InHead,
    InContent,
    /// The provider answers without reading the content, and leaves.
    Refuses,
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) id: Id,
    pub(crate) provider: usize,
    /// The gateway answers by itself, and no provider gets it.
    pub(crate) own: Option<Own>,
    pub(crate) method: &'static str,
    pub(crate) http10: bool,
    /// The client lets the connection stay open.
    pub(crate) persists: bool,
    pub(crate) expects: bool,
    pub(crate) request: Body,
    pub(crate) interims: usize,
    pub(crate) status: u16,
    pub(crate) response: Body,
    pub(crate) fault: Fault,
    /// The one who leaves resets.
    pub(crate) resets: bool,
    /// Where, in thousandths.
    pub(crate) at: usize,
    /// For how long its key shall rest, in milliseconds, where it is turned down for that.
    pub(crate) rest: Option<u64>,
    /// The gateway may leave this answer for another instance's, or another key's.
    pub(crate) goes_on: bool,
    /// Only the first time that the provider sees it.
    pub(crate) once: bool,
    /// The provider says that it closes after the answer.
    pub(crate) says_close: bool,
    /// The provider closes after the answer without having said so.
    pub(crate) closes: bool,
    pub(crate) slow_client: bool,
    pub(crate) slow_provider: bool,
}

impl Plan {
    pub(crate) fn of(id: Id) -> Self {
        let mut random = id.random(1);
        let mut plan = Self::plain(id, &mut random);
        match id.kind() {
            Kind::Json | Kind::Garbage | Kind::Hostile | Kind::Unfinished | Kind::Unread => {}
            Kind::Stream => plan.stream(&mut random),
            Kind::Upload => plan.upload(&mut random),
            Kind::Download => plan.download(&mut random),
            Kind::Bare => plan.bare(&mut random),
            Kind::Old => plan.old(&mut random),
            Kind::Piped => plan.piped(&mut random),
            Kind::Tunnel => plan.tunnel(),
            Kind::Own => plan.own(&mut random),
            Kind::Case => plan.case(&mut random),
            Kind::Tiny => plan.tiny(&mut random),
        }
        plan.go_wrong(&mut random);
        plan.keep_keys();
        plan
    }

    /// A small exchange in which all goes well.
    fn plain(id: Id, random: &mut Random) -> Self {
        let has_content = random.percent(70);
        let shape = random.pick(&[Shape::Length, Shape::Length, Shape::Chunked]);
        Self {
            id,
            provider: random.below(PROVIDERS),
            own: None,
            method: match has_content {
                true => random.pick(&["POST", "POST", "POST", "PUT"]),
                false => random.pick(&["GET", "GET", "DELETE", "POST"]),
            },
            http10: false,
            persists: random.percent(93),
            expects: false,
            request: Body {
                len: if has_content { random.below(3000) } else { 0 },
                shape: if has_content { shape } else { Shape::Nothing },
                trailers: shape == Shape::Chunked && random.percent(30),
            },
            interims: if random.percent(8) {
                1 + random.below(3)
            } else {
                0
            },
            status: random.pick(&[200, 200, 200, 200, 201, 400, 404, 429, 500, 529]),
            response: answer_body(random, 4000),
            fault: Fault::Nothing,
            resets: random.percent(50),
            at: random.below(1000),
            rest: None,
            goes_on: false,
            once: random.percent(50),
            says_close: random.percent(3),
            closes: random.percent(3),
            slow_client: false,
            slow_provider: false,
        }
    }

    fn stream(&mut self, random: &mut Random) {
        self.status = 200;
        let len = random.pick(&[500, 3000, 20_000]);
        self.response = Body {
            len: 1 + random.below(len),
            shape: random.pick(&[Shape::Chunked, Shape::Chunked, Shape::Close]),
            trailers: random.percent(5),
        };
        self.slow_provider = random.percent(30);
    }

    fn upload(&mut self, random: &mut Random) {
        self.method = random.pick(&["POST", "POST", "PUT"]);
        self.request = Body {
            len: 1 + size(random),
            shape: random.pick(&[Shape::Length, Shape::Chunked]),
            trailers: random.percent(20),
        };
        self.expects = random.percent(30);
        self.slow_provider = random.percent(10);
    }

    fn download(&mut self, random: &mut Random) {
        let len = 1 + size(random);
        self.response.len = len;
        self.slow_client = random.percent(15);
    }

    fn bare(&mut self, random: &mut Random) {
        self.request = NO_BODY;
        (self.method, self.status) = random.pick(&[("HEAD", 200), ("GET", 204), ("GET", 304)]);
        if self.status != 200 {
            self.response = NO_BODY;
        } else if self.response.shape == Shape::Close {
            self.response.shape = Shape::Length;
        }
    }

    fn old(&mut self, random: &mut Random) {
        self.http10 = true;
        self.persists = random.percent(50);
        if self.request.shape == Shape::Chunked {
            self.request.shape = Shape::Length;
        }
        self.request.trailers = false;
    }

    /// An answer that ends the connection would leave the requests behind it unanswered.
    fn piped(&mut self, random: &mut Random) {
        self.persists = true;
        if self.response.shape == Shape::Close && random.percent(80) {
            self.response.shape = Shape::Chunked;
        }
    }

    fn tunnel(&mut self) {
        self.method = "GET";
        self.request = NO_BODY;
        self.response = NO_BODY;
        self.status = 101;
        self.interims = 0;
        (self.says_close, self.closes) = (false, false);
    }

    /// Whatever content comes with it is thrown away.
    fn own(&mut self, random: &mut Random) {
        self.persists = random.percent(98);
        self.answered_by(Own::any(random), random);
    }

    fn answered_by(&mut self, own: Own, random: &mut Random) {
        self.own = Some(own);
        if let Some(methods) = own.methods() {
            self.method = random.pick(methods);
        }
        if !own.takes_content() {
            self.request = NO_BODY;
        }
        if own == Own::Denied {
            self.provider = DENYING;
        }
    }

    /// Methods are case-sensitive (RFC 9110, section 9.1): unknown ones pass, but for those that
    /// some server may take for TRACE, CONNECT or what a rule denies.
    fn case(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => self.answered_by(Own::Unimplemented, random),
            1 => self.answered_by(Own::Denied, random),
            _ => self.method = random.pick(ODD_METHODS),
        }
    }

    fn tiny(&mut self, random: &mut Random) {
        (self.method, self.status) = ("POST", 200);
        for body in [&mut self.request, &mut self.response] {
            *body = Body {
                len: 500 + random.below(10_000),
                shape: Shape::Chunked,
                trailers: random.percent(20),
            };
        }
        if random.percent(40) {
            self.old(random);
        }
    }

    /// Where there are several keys, none of them may rest for another reason than those that are
    /// noted.
    fn keep_keys(&mut self) {
        let spoilt = self.id.kind() == Kind::Garbage;
        if ALL[self.provider].pool.keys > 1 && (spoilt || matches!(self.status, 429 | 529)) {
            self.status = 200;
        }
    }

    fn go_wrong(&mut self, random: &mut Random) {
        let lots = match self.id.kind() {
            Kind::Json | Kind::Bare | Kind::Old => 15,
            Kind::Case if self.own.is_none() => 15,
            Kind::Stream | Kind::Upload | Kind::Download | Kind::Tiny => 30,
            Kind::Tunnel => 40,
            Kind::Piped
            | Kind::Hostile
            | Kind::Garbage
            | Kind::Unfinished
            | Kind::Own
            | Kind::Case
            | Kind::Unread => 0,
        };
        if !random.percent(lots) {
            return;
        }
        let upload = self.id.kind() == Kind::Upload;
        let fault = match self.id.kind() {
            // In a tunnel only who leaves matters, and when.
            Kind::Tunnel => random.pick(&[Fault::LeavesReading, Fault::InContent]),
            _ => random.pick(&[
                Fault::LeavesInHead,
                Fault::LeavesInContent,
                Fault::LeavesWaiting,
                Fault::LeavesReading,
                Fault::Unread,
                Fault::Silent,
                Fault::InHead,
                Fault::InContent,
                Fault::Refuses,
            ]),
        };
        let fits = match fault {
            Fault::LeavesInContent => self.request.len > 1,
            Fault::LeavesReading => self.response.len > 1 && self.method != "HEAD",
            Fault::InContent => self.has_answer_content(),
            Fault::Refuses => upload,
            _ => true,
        };
        if !fits && self.id.kind() != Kind::Tunnel {
            return;
        }
        self.fault = fault;
    }

    /// Whether anything follows the answer's head.
    pub(crate) fn has_answer_content(&self) -> bool {
        let framed = match self.response.shape {
            Shape::Nothing => false,
            Shape::Length => self.response.len > 0,
            Shape::Chunked | Shape::Close => true,
        };
        framed && self.method != "HEAD"
    }

    pub(crate) fn client_leaves(&self) -> bool {
        matches!(
            self.fault,
            Fault::LeavesInHead
                | Fault::LeavesInContent
                | Fault::LeavesWaiting
                | Fault::LeavesReading
        )
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "PUT" | "DELETE")
    }

    /// Bytes from the client and from the provider, in turns, in a tunnel.
    pub(crate) fn rounds(&self) -> Vec<(usize, usize)> {
        let mut random = self.id.random(2);
        let mut len = || {
            let limit = random.pick(&[2, 200, 60_000]);
            1 + random.below(limit)
        };
        (0..4).map(|_| (len(), len())).collect()
    }

    /// In which of its rounds a tunnel breaks.
    pub(crate) fn breaks_in(&self) -> usize {
        self.at % 4
    }
}

/// How many providers there are.
pub(crate) const PROVIDERS: usize = 10;

/// None of these is the method that it looks like, so none may be sent twice.
const ODD_METHODS: &[&str] = &[
    "get", "Get", "gET", "post", "Post", "pOSt", "delete", "dElEtE", "put", "Put", "head", "Head",
    "patch", "oPtions",
];

const NO_BODY: Body = Body {
    len: 0,
    shape: Shape::Nothing,
    trailers: false,
};

fn answer_body(random: &mut Random, len: usize) -> Body {
    let shape = random.pick(&[
        Shape::Length,
        Shape::Length,
        Shape::Length,
        Shape::Chunked,
        Shape::Chunked,
        Shape::Close,
    ]);
    Body {
        len: random.below(len),
        shape,
        trailers: random.percent(20),
    }
}

/// Mostly some KiB, now and then some MiB.
fn size(random: &mut Random) -> usize {
    let limit = match random.below(40) {
        0 => 6 << 20,
        1..6 => 400_000,
        _ => 40_000,
    };
    random.below(limit)
}
