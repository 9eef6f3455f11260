//! The vocabulary of the matrix: how an exchange is brought to a place, what goes wrong there, and
//! what either side then sees. Only data; `stage` plays it.

/// Which part of an exchange a place belongs to, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Resolve,
    Connect,
    UpstreamHandshake,
    ClientHandshake,
    RequestHead,
    RequestContent,
    AwaitingResponse,
    ResponseHead,
    AwaitingContent,
    Length,
    UntilClose,
    ChunkLine,
    ChunkData,
    Trailers,
    Gap,
    Tunnel,
}

/// Who the fault comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Client,
    Upstream,
}

/// The provider that the request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// The one that this exchange's script plays.
    Played,
    /// A name without an address.
    Nowhere,
    /// A port where nobody listens.
    Refusing,
    /// A listener whose queue is full, so that not even a SYN is answered.
    Full,
}

/// The sides that a place can be reached with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Any,
    TlsClient,
    PlainUpstream,
    TlsUpstream,
}

/// One step towards the place where the fault strikes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The client finishes its TLS handshake, if there is one.
    Handshake,
    /// The client sends bytes below TLS.
    ClientRaw(&'static str),
    /// The client sends a request head: method and further field lines.
    Ask(&'static str, &'static [&'static str]),
    /// The same without a word of keeping the connection, in HTTP/1.0.
    AskHttp10,
    /// The client sends bytes.
    Client(&'static str),
    /// The client sends content until nobody takes it any more.
    ClientStuffs,
    /// The provider accepts the connection and sees that something has come, but reads nothing.
    Accept,
    /// The provider has read the request head, on a new connection or on the one it has.
    Head,
    /// The provider has read everything up to these bytes.
    Met(&'static str),
    /// The provider sends bytes.
    Upstream(&'static str),
    /// The provider sends content until nobody takes it any more.
    UpstreamStuffs,
    /// The client has read everything up to these bytes.
    Seen(&'static str),
    /// A whole exchange of another client's leaves the provider's connection in the pool.
    Pooled,
    /// A whole exchange of this client's own.
    Exchanged,
}

/// Requests that wait for what a script sends behind them.
pub(super) const GET: Step = Step::Ask("GET", &[]);
pub(super) const POST: Step = Step::Ask("POST", &["Content-Length: 4"]);
pub(super) const PUT: Step = Step::Ask("PUT", &["Content-Length: 10"]);
pub(super) const CHUNKED_PUT: Step = Step::Ask("PUT", &["Transfer-Encoding: chunked"]);
pub(super) const UPGRADE: Step = Step::Ask("GET", &["Connection: Upgrade", "Upgrade: websocket"]);
/// What opens a tunnel.
pub(super) const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// The time limit that ends a stall: each has a gateway of its own where it is a few seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Limit {
    Connect,
    RequestHeader,
    ResponseHeader,
    IdleClient,
    BodyIdle,
    TunnelIdle,
    Request,
    IdleUpstream,
    /// Counts from the signal to end, for all cells at once.
    Drain,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Where the request goes to is fault enough: nobody there.
    Unreachable,
    /// RST.
    Reset,
    /// In order: FIN, on TLS behind a close_notify.
    Close,
    /// The same, and the other direction stays open.
    HalfClose,
    /// TLS only: FIN without a close_notify.
    Vanish,
    /// TLS only: bytes that are no record.
    BadRecord,
    /// Bytes that the grammar does not allow here.
    Garbage(&'static str),
    /// A whole response before its time.
    Early(&'static str),
    /// Nothing more happens, until this limit.
    Stall(Limit),
}

/// No TLS record begins like this, and no handshake message goes on like this.
pub(super) const NO_RECORD: &str = match std::str::from_utf8(&[0; 1024]) {
    Ok(zeros) => zeros,
    Err(_) => "",
};

/// Every way to break off, as far as the side has it.
pub(super) const ENDS: &[Fault] = &[
    Fault::Reset,
    Fault::Close,
    Fault::HalfClose,
    Fault::Vanish,
    Fault::BadRecord,
];

/// The same without those that are an orderly end.
pub(super) const BREAKS: &[Fault] = &[Fault::Reset, Fault::Vanish, Fault::BadRecord];

/// Those that show without the bytes being read that came before.
pub(super) const LEAVES: &[Fault] = &[Fault::Reset, Fault::Close, Fault::HalfClose, Fault::Vanish];

/// Those that are an orderly end.
pub(super) const CLOSES: &[Fault] = &[Fault::Close, Fault::HalfClose];

/// What the client sees, unless it has gone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seen {
    /// The gateway's error: status, code (any of several between bars), whether a retry is advised,
    /// and the connection afterwards.
    Error(u16, &'static str, bool, Then),
    /// A whole answer of the provider's.
    Whole(u16, Then),
    /// A message that breaks off and cannot be taken for a whole one.
    CutShort,
    /// Nothing but the end of the connection.
    Nothing,
    /// An orderly end.
    Clean,
    /// Nothing at all: the connection serves the next exchange.
    Kept,
}

/// The client's connection behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Kept,
    Closed,
}

/// What the provider sees, unless it has gone.
#[derive(Clone, Copy, Debug)]
pub(super) enum Met {
    /// No connection, or not a byte on it.
    Untouched,
    /// A request that breaks off and cannot be taken for a whole one.
    CutShort,
    /// A whole request, then the end of the connection.
    Ended,
    /// The end of the connection, whatever came before.
    Gone,
    /// An orderly end.
    Clean,
    /// The connection serves the next exchange.
    Kept,
    /// The same request on a new connection.
    Again,
}

/// A place in an exchange, the way to it, and what each fault there leads to.
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) stage: Stage,
    pub(super) from: From,
    pub(super) to: To,
    pub(super) on: On,
    pub(super) lead: &'static [Step],
    /// What the client still has to send before its connection can be used again.
    pub(super) rest: &'static str,
    pub(super) cells: &'static [(&'static [Fault], Seen, Met)],
}

/// A fault from the provider.
pub(super) const fn upstream(
    stage: Stage,
    name: &'static str,
    lead: &'static [Step],
    cells: &'static [(&'static [Fault], Seen, Met)],
) -> Place {
    Place {
        name,
        stage,
        from: From::Upstream,
        to: To::Played,
        on: On::Any,
        lead,
        rest: "",
        cells,
    }
}

/// A fault from the client.
pub(super) const fn client(
    stage: Stage,
    name: &'static str,
    lead: &'static [Step],
    cells: &'static [(&'static [Fault], Seen, Met)],
) -> Place {
    Place {
        from: From::Client,
        ..upstream(stage, name, lead, cells)
    }
}

impl Place {
    pub(super) const fn to(self, to: To) -> Self {
        Self { to, ..self }
    }

    pub(super) const fn on(self, on: On) -> Self {
        Self { on, ..self }
    }

    pub(super) const fn rest(self, rest: &'static str) -> Self {
        Self { rest, ..self }
    }
}
