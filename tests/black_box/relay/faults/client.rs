//! Faults that come from the client, from its first packet to a tunnel.

use super::script::{
    BREAKS, CHUNKED_PUT, CLOSES, ENDS, Fault, GET, LEAVES, Limit, Met, NO_RECORD, On, POST, PUT,
    Place, SWITCHED, Seen, Stage, Step, Then, To, UPGRADE, client,
};
use Fault::{Close, Garbage, HalfClose, Reset, Stall};
use Step::{Accept, Ask, Client, ClientRaw, Handshake, Head, Upstream};

const fn refused(status: u16, code: &'static str) -> Seen {
    Seen::Error(status, code, false, Then::Closed)
}

const INVALID_CHUNK: Seen = refused(400, "invalid_chunk");
const STALLED: Seen = refused(408, "request_timeout");

/// The upload has stalled, and so does everything else.
const STALL: &[Fault] = &[Stall(Limit::BodyIdle)];

pub(super) const PLACES: &[Place] = &[
    client(
        Stage::ClientHandshake,
        "before a byte",
        &[],
        &[
            (
                &[Reset, Close, HalfClose, Garbage(NO_RECORD)],
                Seen::Nothing,
                Met::Untouched,
            ),
            (
                &[Stall(Limit::RequestHeader)],
                Seen::Nothing,
                Met::Untouched,
            ),
        ],
    )
    .on(On::TlsClient),
    client(
        Stage::ClientHandshake,
        "in a ClientHello",
        &[ClientRaw("\x16\x03\x01\x02\0\x01\0\x01")],
        &[
            (
                &[Reset, Close, HalfClose, Garbage(NO_RECORD)],
                Seen::Nothing,
                Met::Untouched,
            ),
            (
                &[Stall(Limit::RequestHeader)],
                Seen::Nothing,
                Met::Untouched,
            ),
        ],
    )
    .on(On::TlsClient),
    client(
        Stage::ClientHandshake,
        "an HTTP request to a TLS port",
        &[],
        &[(
            &[Garbage("GET /health HTTP/1.1\r\nHost: g\r\n\r\n")],
            Seen::Whole(400, Then::Closed),
            Met::Untouched,
        )],
    )
    .on(On::TlsClient),
    client(
        Stage::RequestHead,
        "before a byte of it",
        &[Handshake],
        &[
            (ENDS, Seen::Nothing, Met::Untouched),
            (
                &[Garbage("\0\r\n\r\n")],
                refused(400, "invalid_head"),
                Met::Untouched,
            ),
            (&[Stall(Limit::RequestHeader)], Seen::Clean, Met::Untouched),
        ],
    ),
    client(
        Stage::RequestHead,
        "in the request line",
        &[Client("GET /p/la")],
        &[
            (ENDS, Seen::Nothing, Met::Untouched),
            (
                &[Garbage("\n\r\n\r\n")],
                refused(400, "invalid_head"),
                Met::Untouched,
            ),
            (&[Stall(Limit::RequestHeader)], STALLED, Met::Untouched),
        ],
    ),
    client(
        Stage::RequestHead,
        "in a field line",
        &[Client("POST /p/lane0/x HTTP/1.1\r\nHost: g\r\nContent-Le")],
        &[
            (ENDS, Seen::Nothing, Met::Untouched),
            (
                &[Garbage("\0: 1\r\n\r\n")],
                refused(400, "invalid_head"),
                Met::Untouched,
            ),
            (&[Stall(Limit::RequestHeader)], STALLED, Met::Untouched),
        ],
    ),
    client(
        Stage::Connect,
        "while no SYN is answered",
        &[POST, Client("body")],
        &[(LEAVES, Seen::Nothing, Met::Untouched)],
    )
    .to(To::Full),
    client(
        Stage::UpstreamHandshake,
        "while the provider has a ClientHello",
        &[POST, Client("body"), Accept],
        &[(LEAVES, Seen::Nothing, Met::Gone)],
    )
    .on(On::TlsUpstream),
    client(
        Stage::RequestContent,
        "before content with a length",
        &[PUT, Head],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (STALL, STALLED, Met::CutShort),
        ],
    ),
    client(
        Stage::RequestContent,
        "in content with a length",
        &[PUT, Client("begin"), Head, Step::Met("begin")],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (
                &[Stall(Limit::BodyIdle), Stall(Limit::Request)],
                STALLED,
                Met::CutShort,
            ),
        ],
    ),
    client(
        Stage::RequestContent,
        "before content that waits for a 100",
        &[
            Ask("PUT", &["Content-Length: 10", "Expect: 100-continue"]),
            Head,
        ],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (STALL, STALLED, Met::CutShort),
            (&[Stall(Limit::Drain)], Seen::Nothing, Met::CutShort),
        ],
    ),
    client(
        Stage::RequestContent,
        "in content that is held back",
        &[
            Ask("PUT", &["Content-Length: 1000000000"]),
            Head,
            Step::ClientStuffs,
        ],
        &[(&[Reset], Seen::Nothing, Met::CutShort)],
    ),
    client(
        Stage::ChunkLine,
        "between chunks of the request",
        &[
            CHUNKED_PUT,
            Client("4\r\nhalf\r\n"),
            Head,
            Step::Met("half\r\n"),
        ],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (&[Garbage("zz\r\n")], INVALID_CHUNK, Met::CutShort),
            (STALL, STALLED, Met::CutShort),
        ],
    ),
    client(
        Stage::ChunkLine,
        "in a chunk line of the request",
        &[
            CHUNKED_PUT,
            Client("4\r\nhalf\r\n8"),
            Head,
            Step::Met("half\r\n8"),
        ],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (&[Garbage("\nbody")], INVALID_CHUNK, Met::CutShort),
            (STALL, STALLED, Met::CutShort),
        ],
    ),
    client(
        Stage::ChunkData,
        "in a chunk of the request",
        &[CHUNKED_PUT, Client("8\r\nhalf"), Head, Step::Met("half")],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (&[Garbage("body\n0\r\n\r\n")], INVALID_CHUNK, Met::CutShort),
            (STALL, STALLED, Met::CutShort),
        ],
    ),
    client(
        Stage::ChunkData,
        "behind a chunk's data of the request",
        &[CHUNKED_PUT, Client("4\r\nhalf"), Head, Step::Met("half")],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (&[Garbage("xx0\r\n\r\n")], INVALID_CHUNK, Met::CutShort),
            (STALL, STALLED, Met::CutShort),
        ],
    ),
    client(
        Stage::Trailers,
        "behind the last chunk of the request",
        &[
            CHUNKED_PUT,
            Client("4\r\nhalf\r\n0\r\n"),
            Head,
            Step::Met("half\r\n0\r\n"),
        ],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (
                &[Garbage(" folded\r\n\r\n")],
                refused(400, "invalid_trailer"),
                Met::CutShort,
            ),
            (STALL, STALLED, Met::CutShort),
        ],
    ),
    client(
        Stage::Trailers,
        "in the trailers of the request",
        &[
            CHUNKED_PUT,
            Client("4\r\nhalf\r\n0\r\nX-Sum: 1\r\n"),
            Head,
            Step::Met("X-Sum: 1\r\n"),
        ],
        &[
            (ENDS, Seen::Nothing, Met::CutShort),
            (
                &[Garbage("Content-Length: 1\r\n\r\n")],
                refused(400, "invalid_trailer"),
                Met::CutShort,
            ),
            (STALL, STALLED, Met::CutShort),
        ],
    ),
    client(
        Stage::AwaitingResponse,
        "while the provider is silent",
        &[POST, Client("body"), Head, Step::Met("body")],
        &[(ENDS, Seen::Nothing, Met::Ended)],
    ),
    client(
        Stage::AwaitingResponse,
        "while the provider is silent, on a reused connection",
        &[Step::Pooled, POST, Client("body"), Head, Step::Met("body")],
        &[(ENDS, Seen::Nothing, Met::Ended)],
    ),
    client(
        Stage::AwaitingResponse,
        "with the next request behind",
        &[POST, Client("bodyGET /p/"), Head, Step::Met("body")],
        &[(ENDS, Seen::Nothing, Met::Ended)],
    ),
    client(
        Stage::ResponseHead,
        "while the response head comes",
        &[GET, Head, Upstream("HTTP/1.1 200 OK\r\nContent-Le")],
        &[(ENDS, Seen::Nothing, Met::Ended)],
    ),
    client(
        Stage::AwaitingContent,
        "behind the response head",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"),
            Step::Seen("\r\n\r\n"),
        ],
        &[(ENDS, Seen::CutShort, Met::Ended)],
    ),
    client(
        Stage::Length,
        "in a response with a length",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"),
            Step::Seen("half"),
        ],
        &[(ENDS, Seen::CutShort, Met::Ended)],
    ),
    client(
        Stage::Length,
        "in a response that it does not read",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"),
            Step::UpstreamStuffs,
        ],
        &[
            (LEAVES, Seen::CutShort, Met::Ended),
            (STALL, Seen::CutShort, Met::Ended),
        ],
    ),
    client(
        Stage::UntilClose,
        "in a response until the end",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\n\r\nhalf"),
            Step::Seen("half"),
        ],
        &[(ENDS, Seen::CutShort, Met::Ended)],
    ),
    client(
        Stage::UntilClose,
        "in a response until the end that it does not read",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\n\r\n"),
            Step::UpstreamStuffs,
        ],
        &[
            (LEAVES, Seen::CutShort, Met::Ended),
            (STALL, Seen::CutShort, Met::Ended),
        ],
    ),
    client(
        Stage::ChunkLine,
        "in a chunked response",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
            Step::Seen("half\r\n"),
        ],
        &[(ENDS, Seen::CutShort, Met::Ended)],
    ),
    client(
        Stage::ChunkData,
        "in a chunk of the response",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nhalf"),
            Step::Seen("half"),
        ],
        &[(ENDS, Seen::CutShort, Met::Ended)],
    ),
    client(
        Stage::Gap,
        "behind a whole answer",
        &[Step::Exchanged],
        &[
            (ENDS, Seen::Nothing, Met::Kept),
            (
                &[Garbage("\0\r\n\r\n")],
                refused(400, "invalid_head"),
                Met::Kept,
            ),
            (&[Stall(Limit::IdleClient)], Seen::Clean, Met::Kept),
        ],
    ),
    client(
        Stage::Tunnel,
        "in a tunnel",
        &[
            UPGRADE,
            Head,
            Upstream(SWITCHED),
            Step::Seen("\r\n\r\n"),
            Client("ping"),
            Step::Met("ping"),
        ],
        &[
            (BREAKS, Seen::Nothing, Met::Gone),
            (CLOSES, Seen::Nothing, Met::Clean),
        ],
    ),
];
