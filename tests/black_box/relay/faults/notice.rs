//! How soon one side notices that the other has gone: printed, and held to the order of magnitude
//! that is promised.

use std::time::{Duration, Instant};

use crate::support::{ALL_SIDES, Rig, Wire, get, request};

/// Departures of each kind, unless `SLUICEGATE_TEST_GOES` says otherwise.
const GOES: usize = 40;
/// The contract's; the median keeps it on a busy machine too.
const PROMISE: Duration = Duration::from_millis(100);
/// An order of magnitude over it, for the slowest in a hundred.
const SLACK: Duration = Duration::from_secs(1);

/// What the exchange is doing when one side leaves.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// The provider has the request and says nothing.
    Silent,
    /// The response has begun.
    Streaming,
    /// The request has not ended.
    Uploading,
}

/// How it leaves.
#[derive(Clone, Copy, Debug)]
enum Way {
    Fin,
    Rst,
}

impl Way {
    fn leave(self, wire: Wire) {
        match self {
            Self::Fin => wire.close(),
            Self::Rst => wire.reset(),
        }
    }
}

impl Doing {
    /// A client and the provider's side of its exchange.
    fn begin(self, rig: &Rig) -> (Wire, Wire) {
        let mut client = rig.client();
        let lines = ["Content-Length: 10"];
        client.send(match self {
            Self::Silent | Self::Streaming => get("/p/openai/x"),
            Self::Uploading => request("PUT", "/p/openai/x", &lines, "") + "begin",
        });
        let mut peer = rig.upstream.accept();
        peer.head();
        match self {
            Self::Silent => {}
            Self::Streaming => {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
                client.take_until(b"half\r\n").unwrap();
            }
            Self::Uploading => peer.expect("begin"),
        }
        (client, peer)
    }
}

/// Lets one side leave again and again; prints and checks how long the other was in the dark.
fn measure(rig: &Rig, doing: Doing, way: Way, client_leaves: bool, what: &str) {
    let goes = std::env::var("SLUICEGATE_TEST_GOES").map_or(GOES, |goes| goes.parse().unwrap());
    let mut times: Vec<Duration> = (0..goes)
        .map(|_| {
            let (client, peer) = doing.begin(rig);
            let (leaver, mut other) = match client_leaves {
                true => (client, peer),
                false => (peer, client),
            };
            let begin = Instant::now();
            way.leave(leaver);
            // The end of the connection, or the gateway's error where it can still be told.
            let _ = other.fill();
            begin.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (p50, p99) = (times[goes / 2], times[goes * 99 / 100]);
    eprintln!("{what} by {way:?} while {doing:?}: p50 {p50:?}, p99 {p99:?}");
    assert!(p50 < PROMISE && p99 < SLACK, "{what}: {p50:?}, {p99:?}");
}

#[test]
fn who_stays_learns_at_once_that_the_other_has_left() {
    for sides in ALL_SIDES {
        let rig = Rig::of(sides);
        for doing in [Doing::Silent, Doing::Streaming, Doing::Uploading] {
            for way in [Way::Fin, Way::Rst] {
                measure(&rig, doing, way, true, &format!("{sides:?}: client left"));
                measure(
                    &rig,
                    doing,
                    way,
                    false,
                    &format!("{sides:?}: upstream died"),
                );
            }
        }
    }
}
