//! Faults that come from the provider before the client has seen anything of its answer.

use super::script::{
    BREAKS, CHUNKED_PUT, CLOSES, ENDS, Fault, GET, Limit, Met, NO_RECORD, On, POST, PUT, Place,
    Seen, Stage, Step, Then, To, upstream,
};
use Fault::{Close, Early, Garbage, HalfClose, Reset, Stall, Unreachable};
use Step::{Accept, Ask, Client, ClientStuffs, Head, Pooled, Upstream};

const fn error(status: u16, code: &'static str) -> Seen {
    Seen::Error(status, code, false, Then::Kept)
}

const fn unreached(status: u16, code: &'static str) -> Seen {
    Seen::Error(status, code, true, Then::Kept)
}

const TLS_FAILED: Seen = unreached(502, "upstream_tls");
const TLS_REFUSED: Seen = error(502, "upstream_tls");
const CONNECT_TIMEOUT: Seen = unreached(504, "upstream_connect_timeout");
const INVALID: Seen = error(502, "upstream_invalid_response");
/// A break may overtake the part of a head that came before it.
const BROKEN_HEAD: Seen = error(502, "upstream_invalid_response|upstream_reset");
const CLOSED: Seen = error(502, "upstream_closed");
const RESET: Seen = error(502, "upstream_reset");
const TIMEOUT: Seen = error(504, "upstream_timeout");

pub(super) const PLACES: &[Place] = &[
    upstream(
        Stage::Resolve,
        "a host without an address",
        &[GET],
        &[(
            &[Unreachable],
            unreached(502, "upstream_resolve"),
            Met::Untouched,
        )],
    )
    .to(To::Nowhere),
    upstream(
        Stage::Connect,
        "nobody listens",
        &[POST, Client("body")],
        &[(
            &[Unreachable],
            unreached(502, "upstream_connect"),
            Met::Untouched,
        )],
    )
    .to(To::Refusing),
    upstream(
        Stage::Connect,
        "nobody listens, in an upload",
        &[PUT, Client("begin")],
        &[(
            &[Unreachable],
            unreached(502, "upstream_connect"),
            Met::Untouched,
        )],
    )
    .to(To::Refusing)
    .rest("ended"),
    upstream(
        Stage::Connect,
        "no SYN is answered",
        &[POST, Client("body")],
        &[
            (
                &[Stall(Limit::Connect), Stall(Limit::Request)],
                CONNECT_TIMEOUT,
                Met::Untouched,
            ),
            (&[Stall(Limit::Drain)], Seen::Nothing, Met::Untouched),
        ],
    )
    .to(To::Full),
    upstream(
        Stage::UpstreamHandshake,
        "behind a ClientHello",
        &[POST, Client("body"), Accept],
        &[
            (&[Reset, Close, HalfClose], TLS_FAILED, Met::Gone),
            (
                &[
                    Garbage(NO_RECORD),
                    Garbage("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
                    Garbage("\x15\x03\x03\0\x02\x02\x28"),
                ],
                TLS_REFUSED,
                Met::Gone,
            ),
            (
                &[Stall(Limit::Connect), Stall(Limit::Request)],
                CONNECT_TIMEOUT,
                Met::Gone,
            ),
            (&[Stall(Limit::Drain)], Seen::Nothing, Met::Gone),
        ],
    )
    .on(On::TlsUpstream),
    upstream(
        Stage::RequestContent,
        "in an upload with a length",
        &[PUT, Client("begin"), Head, Step::Met("begin")],
        &[
            (BREAKS, RESET, Met::CutShort),
            (CLOSES, CLOSED, Met::CutShort),
            (&[Garbage("garbage\r\n\r\n")], INVALID, Met::CutShort),
            (
                &[Early("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")],
                Seen::Whole(200, Then::Kept),
                Met::Kept,
            ),
            (
                &[Early(
                    "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly",
                )],
                Seen::Whole(413, Then::Closed),
                Met::CutShort,
            ),
        ],
    )
    .rest("ended"),
    upstream(
        Stage::RequestContent,
        "in a chunked upload",
        &[CHUNKED_PUT, Client("5\r\nbeg"), Head, Step::Met("beg")],
        &[
            (BREAKS, RESET, Met::CutShort),
            (CLOSES, CLOSED, Met::CutShort),
            (&[Garbage("garbage\r\n\r\n")], INVALID, Met::CutShort),
            (
                &[Early(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                )],
                Seen::Whole(200, Then::Kept),
                Met::Kept,
            ),
            (
                &[Early(
                    "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
                )],
                Seen::Whole(413, Then::Closed),
                Met::CutShort,
            ),
        ],
    )
    .rest("in\r\n0\r\n\r\n"),
    upstream(
        Stage::RequestContent,
        "in an upload that is held back",
        &[
            Ask("PUT", &["Content-Length: 1000000000"]),
            Head,
            ClientStuffs,
        ],
        &[(
            &[Stall(Limit::BodyIdle)],
            Seen::Error(504, "upstream_timeout", false, Then::Closed),
            Met::CutShort,
        )],
    ),
    upstream(
        Stage::AwaitingResponse,
        "with the request unread",
        &[POST, Client("body"), Accept],
        &[
            (&[Reset], RESET, Met::Gone),
            (&[HalfClose], CLOSED, Met::Ended),
        ],
    )
    .on(On::PlainUpstream),
    upstream(
        Stage::AwaitingResponse,
        "before a byte of the answer",
        &[POST, Client("body"), Head, Step::Met("body")],
        &[
            (BREAKS, RESET, Met::Ended),
            (CLOSES, CLOSED, Met::Ended),
            (
                &[
                    Garbage("garbage\r\n\r\n"),
                    Garbage("HTTP/1.1 101 Unasked\r\n\r\n"),
                    Garbage("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
                ],
                INVALID,
                Met::Ended,
            ),
            (
                &[Stall(Limit::ResponseHeader), Stall(Limit::Request)],
                TIMEOUT,
                Met::Ended,
            ),
            (&[Stall(Limit::Drain)], Seen::Nothing, Met::Ended),
        ],
    ),
    upstream(
        Stage::AwaitingResponse,
        "on a reused connection, to a POST",
        &[Pooled, POST, Client("body"), Head, Step::Met("body")],
        &[(BREAKS, RESET, Met::Ended), (CLOSES, CLOSED, Met::Ended)],
    ),
    upstream(
        Stage::AwaitingResponse,
        "on a reused connection, to a GET",
        &[Pooled, GET, Head],
        &[(ENDS, Seen::Whole(200, Then::Kept), Met::Again)],
    ),
    upstream(
        Stage::AwaitingResponse,
        "behind an interim response",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 103 Hints\r\n\r\n"),
            Step::Seen("\r\n\r\n"),
        ],
        &[
            (BREAKS, RESET, Met::Ended),
            (CLOSES, CLOSED, Met::Ended),
            (&[Garbage("garbage\r\n\r\n")], INVALID, Met::Ended),
            (&[Stall(Limit::ResponseHeader)], TIMEOUT, Met::Ended),
        ],
    ),
    upstream(
        Stage::ResponseHead,
        "in the status line",
        &[GET, Head, Upstream("HTTP/1.1 20")],
        &[
            (BREAKS, BROKEN_HEAD, Met::Ended),
            (CLOSES, INVALID, Met::Ended),
            (&[Garbage("\n\r\n\r\n")], INVALID, Met::Ended),
            (&[Stall(Limit::ResponseHeader)], TIMEOUT, Met::Ended),
        ],
    ),
    upstream(
        Stage::ResponseHead,
        "in a field line",
        &[
            POST,
            Client("body"),
            Head,
            Step::Met("body"),
            Upstream("HTTP/1.1 200 OK\r\nContent-Le"),
        ],
        &[
            (BREAKS, BROKEN_HEAD, Met::Ended),
            (CLOSES, INVALID, Met::Ended),
            (&[Garbage("\0\r\n\r\n")], INVALID, Met::Ended),
            (
                &[Stall(Limit::ResponseHeader), Stall(Limit::Request)],
                TIMEOUT,
                Met::Ended,
            ),
        ],
    ),
];
