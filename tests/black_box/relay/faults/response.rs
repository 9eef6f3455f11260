//! Faults that come from the provider in the middle of its answer, behind it and in a tunnel.

use super::script::{
    BREAKS, CLOSES, ENDS, Fault, GET, Limit, Met, Place, SWITCHED, Seen, Stage, Step, Then,
    UPGRADE, upstream,
};
use Fault::{Garbage, Stall};
use Step::{AskHttp10, Client, Head, Upstream};

/// An answer that begins in chunks and goes on with `$rest`.
macro_rules! chunked {
    ($rest:literal) => {
        Upstream(concat!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            $rest
        ))
    };
}

/// The limits that an answer can stall into once it has begun.
const STALLS: &[Fault] = &[
    Stall(Limit::BodyIdle),
    Stall(Limit::Request),
    Stall(Limit::Drain),
];

pub(super) const PLACES: &[Place] = &[
    upstream(
        Stage::AwaitingContent,
        "behind a head with a length",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"),
            Step::Seen("\r\n\r\n"),
        ],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (STALLS, Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::AwaitingContent,
        "behind a chunked head",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Step::Seen("\r\n\r\n"),
        ],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (&[Garbage("zz\r\n")], Seen::CutShort, Met::Ended),
            (&[Stall(Limit::BodyIdle)], Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::Length,
        "in content with a length",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"),
            Step::Seen("half"),
        ],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (STALLS, Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::UntilClose,
        "in content until the end",
        &[
            GET,
            Head,
            Upstream("HTTP/1.1 200 OK\r\n\r\nhalf"),
            Step::Seen("half"),
        ],
        &[
            (BREAKS, Seen::CutShort, Met::Ended),
            (CLOSES, Seen::Whole(200, Then::Closed), Met::Ended),
            (STALLS, Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::UntilClose,
        "in chunks for a client of HTTP/1.0",
        &[AskHttp10, Head, chunked!("4\r\n"), Step::Seen("half")],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (&[Garbage("data!!")], Seen::CutShort, Met::Ended),
            (&[Stall(Limit::BodyIdle)], Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::ChunkLine,
        "between chunks",
        &[GET, Head, chunked!(""), Step::Seen("half\r\n")],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (&[Garbage("zz\r\n")], Seen::CutShort, Met::Ended),
            (STALLS, Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::ChunkLine,
        "in a chunk line",
        &[GET, Head, chunked!("8"), Step::Seen("half\r\n8")],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (&[Garbage("\nbody")], Seen::CutShort, Met::Ended),
            (&[Stall(Limit::BodyIdle)], Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::ChunkData,
        "in a chunk",
        &[GET, Head, chunked!("8\r\nmore"), Step::Seen("more")],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (&[Garbage("body\n0\r\n\r\n")], Seen::CutShort, Met::Ended),
            (&[Stall(Limit::BodyIdle)], Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::ChunkData,
        "behind a chunk's data",
        &[GET, Head, chunked!("4\r\nmore"), Step::Seen("more")],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (&[Garbage("xx0\r\n\r\n")], Seen::CutShort, Met::Ended),
            (&[Stall(Limit::BodyIdle)], Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::Trailers,
        "behind the last chunk",
        &[GET, Head, chunked!("0\r\n"), Step::Seen("half\r\n0\r\n")],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (&[Garbage(" folded\r\n\r\n")], Seen::CutShort, Met::Ended),
            (&[Stall(Limit::BodyIdle)], Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::Trailers,
        "in the trailers",
        &[
            GET,
            Head,
            chunked!("0\r\nX-Sum: 1\r\nX-"),
            Step::Seen("X-Sum: 1\r\n"),
        ],
        &[
            (ENDS, Seen::CutShort, Met::Ended),
            (&[Garbage("\0: 1\r\n\r\n")], Seen::CutShort, Met::Ended),
            (&[Stall(Limit::BodyIdle)], Seen::CutShort, Met::Ended),
        ],
    ),
    upstream(
        Stage::Gap,
        "behind a whole answer",
        &[Step::Exchanged],
        &[
            (ENDS, Seen::Kept, Met::Ended),
            (
                &[Garbage(
                    "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nwrong!",
                )],
                Seen::Kept,
                Met::Ended,
            ),
            (&[Stall(Limit::IdleUpstream)], Seen::Kept, Met::Ended),
        ],
    ),
    upstream(
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
            (BREAKS, Seen::CutShort, Met::Gone),
            (CLOSES, Seen::Clean, Met::Gone),
            (
                &[
                    Stall(Limit::TunnelIdle),
                    Stall(Limit::Request),
                    Stall(Limit::Drain),
                ],
                Seen::CutShort,
                Met::Gone,
            ),
        ],
    ),
];
