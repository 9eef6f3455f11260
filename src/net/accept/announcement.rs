//! Receives what a balancer says of a client before that client's first byte, and not a byte more.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use crate::base::bytes::{within, within_mut};
use crate::hops::proxy_protocol::{self, HEADER_BYTES_MAX, Source};
use crate::net::core::Core;
use crate::net::core::deadline::Deadline;
use crate::net::sockets::peer::Peer;
use crate::net::sockets::socket::{Received, Socket};
use crate::net::sockets::turns::{Budget, Work};
use crate::policy::announced::{Expected, Verdict};

/// What a connection begins with.
pub(super) enum Announcement {
    /// The client's first byte is next, and its address is this as far as somebody has said so.
    Of(Option<Source>),
    /// It is refused.
    Refused(&'static str),
    /// It has ended, or had its time, and has said nothing.
    Nothing,
}

/// The peer, by what it said: whoever speaks for others is not counted as one of them. A client of this machine, whose
/// balancer is on it too, is as near as if it had come itself.
pub(super) fn peer(peer: Peer, is_trusted: bool, said: Option<Source>) -> Peer {
    match said {
        Some(Source::Client { source, .. }) if peer.is_near() => Peer::from(source).at_loopback(),
        Some(Source::Client { source, .. }) => Peer::from(source),
        Some(Source::Local) => Peer::Local,
        Some(Source::Own) => peer.as_balancer(),
        None if is_trusted => peer.as_balancer(),
        None => peer,
    }
}

/// Receives it. What is no part of a header stays in the socket.
///
/// # Cancel safety
/// Dropped, what has come of a header is lost, and the connection is of no use.
pub(super) async fn announcement(
    core: &Core,
    socket: &mut Socket,
    expected: Expected,
) -> Announcement {
    let mut reading = Reading {
        expected,
        seen: Vec::new(),
        open: 0,
        has_ended: false,
        deadline: core.clock.register(),
    };
    let time = core.gateway().config.timeouts.request_header;
    reading.deadline.set(time);
    let mut budget = Budget::default();
    loop {
        let looked = match readable_in_time(core, socket, &reading).await {
            true => {
                reading.has_ended = has_ended(socket).await;
                reading.look(core, socket)
            }
            false if core.drain.is_stopping() => return Announcement::Nothing,
            false => Ok(reading.cut(true)),
        };
        match looked {
            Ok(Some(announcement)) => return announcement,
            Ok(None) => {}
            Err(_) => return Announcement::Nothing,
        }
        budget.spend(Work::Look, 0);
        if budget.is_spent() {
            core.turns.next().await;
            budget.renew();
        }
    }
}

/// What has come so far.
struct Reading {
    expected: Expected,
    /// Of a header, and taken.
    seen: Vec<u8>,
    /// How much lies in the socket of what may be one.
    open: usize,
    /// No more will come than is there.
    has_ended: bool,
    deadline: Deadline,
}

impl Reading {
    /// Whether nothing has come yet.
    fn is_fresh(&self) -> bool {
        self.open == 0 && self.seen.is_empty()
    }

    /// One look at what is there; `None` where more has to come.
    fn look(&mut self, core: &Core, socket: &mut Socket) -> io::Result<Option<Announcement>> {
        let scratch = &mut *core.scratch.borrow_mut();
        let taken = self.seen.len();
        // A byte more than a header, so that there is always room for one.
        let room = within_mut(scratch.cipher(), ..HEADER_BYTES_MAX + 1 - taken);
        let peeked = match socket.peek_into(room)? {
            Received::Data(n) => n,
            Received::Pending => {
                socket.rest();
                return Ok(None);
            }
            Received::Eof => return Ok(self.cut(false)),
        };
        self.seen.extend_from_slice(within(room, ..peeked));
        let verdict = self.expected.judge(proxy_protocol::read(&self.seen));
        let len = match verdict {
            Verdict::Wait { is_header: true } => peeked,
            Verdict::Begin(Some(_), len) => len.saturating_sub(taken),
            _ => 0,
        };
        if len > 0 && socket.recv(within_mut(room, ..len))? != Received::Data(len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.seen.truncate(taken + len);
        match verdict {
            Verdict::Wait { is_header } => {
                self.open = if is_header { 0 } else { peeked };
                if !is_header && self.has_ended {
                    return Ok(self.cut(false));
                }
                if !is_header {
                    socket.rest();
                }
                Ok(None)
            }
            Verdict::Begin(said, _) => Ok(Some(Announcement::Of(said))),
            Verdict::Refuse(reason) => Ok(Some(Announcement::Refused(reason))),
        }
    }

    /// It goes no further.
    fn cut(&self, late: bool) -> Option<Announcement> {
        if self.is_fresh() {
            return Some(Announcement::Nothing);
        }
        Some(match self.expected.judge_cut(!self.seen.is_empty(), late) {
            Verdict::Refuse(reason) => Announcement::Refused(reason),
            Verdict::Begin(..) | Verdict::Wait { .. } => Announcement::Of(None),
        })
    }
}

/// Whether there is something to look at, the end included, before the time is over or the process stops.
async fn readable_in_time(core: &Core, socket: &mut Socket, reading: &Reading) -> bool {
    poll_fn(|cx| match () {
        () if socket.poll_readable(cx).is_ready() => Poll::Ready(true),
        // What has arrived is looked at, whether that was reported yet or not.
        () if core.drain.is_stopping() => Poll::Ready(reading.is_fresh() && has_news(socket)),
        () => reading
            .deadline
            .poll_late(cx, || reading.is_fresh() && has_news(socket)),
    })
    .await
}

/// Whether there is anything to be received, the end included.
fn has_news(socket: &mut Socket) -> bool {
    let news = !matches!(socket.peek(), Ok(Received::Pending));
    if news {
        socket.wake();
    }
    news
}

/// Whether the peer has ended its direction by now.
async fn has_ended(socket: &Socket) -> bool {
    poll_fn(|cx| Poll::Ready(socket.poll_ended(cx).is_ready())).await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_peer_is_who_was_announced() {
        let at = |text: &str| Peer::from(text.parse::<SocketAddr>().unwrap());
        let said = |text: &str| Source::Client {
            source: text.parse().unwrap(),
            destination: "198.51.100.1:443".parse().unwrap(),
        };
        let (far, near) = (at("10.0.0.9:1"), at("127.0.0.1:1").at_loopback());
        let rows = [
            (
                far,
                true,
                Some(said("192.0.2.7:4711")),
                at("192.0.2.7:4711"),
            ),
            (
                far,
                true,
                Some(said("[::ffff:192.0.2.7]:1")),
                at("192.0.2.7:1"),
            ),
            (
                near,
                true,
                Some(said("192.0.2.7:4711")),
                at("192.0.2.7:4711"),
            ),
            // What a balancer elsewhere calls near is near to that.
            (far, true, Some(said("127.0.0.1:2")), at("127.0.0.1:2")),
            (
                near,
                true,
                Some(said("127.0.0.1:2")),
                at("127.0.0.1:2").at_loopback(),
            ),
            (
                Peer::Local,
                true,
                Some(said("127.0.0.1:2")),
                at("127.0.0.1:2"),
            ),
            (far, true, Some(Source::Local), Peer::Local),
            (far, true, Some(Source::Own), far.as_balancer()),
            (near, true, Some(Source::Own), near.as_balancer()),
            (far, true, None, far.as_balancer()),
            (far, false, None, far),
            (near, false, None, near),
        ];
        for (own, is_trusted, said, expected) in rows {
            assert_eq!(peer(own, is_trusted, said), expected, "{own:?} {said:?}");
        }
    }
}
