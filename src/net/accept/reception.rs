//! Takes clients in: here or at another worker, or says that there are too many.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::{SendFlags, Shutdown};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;

use crate::base::date::imf_fixdate;
use crate::log::Value;
use crate::net::client::shared::Shared;
use crate::net::client::side::ClientSide;
use crate::net::client::visit::Visit;
use crate::net::connection;
use crate::net::core::Core;
use crate::net::core::load::Open;
use crate::net::exchange::Spares;
use crate::net::sockets::peer::Peer;
use crate::net::sockets::socket::Socket;
use crate::net::transport::stream::Stream;
use crate::net::transport::tls::TlsStream;
use crate::observe;
use crate::observe::counters::Refused;
use crate::policy::error::{ErrorResponse, Fault, Persistence, Scarce};
use crate::system::time::unix_seconds;
use crate::tls::handshake::Role;

use super::balance;

/// Takes a client to the worker with this index, or gives it back where that is not known.
pub(crate) type HandOn = Box<dyn Fn(usize, (OwnedFd, Peer)) -> Result<(), (OwnedFd, Peer)>>;

/// See the module's documentation.
pub(crate) struct Reception {
    /// What its clients share.
    pub shared: Rc<Shared>,
    spares: Rc<Spares>,
    hand_on: HandOn,
}

impl Reception {
    /// Of a worker.
    #[must_use]
    pub(crate) fn new(shared: Rc<Shared>, spares: Rc<Spares>, hand_on: HandOn) -> Self {
        Self {
            shared,
            spares,
            hand_on,
        }
    }

    /// Serves a client that was accepted here, or hands it on to a worker with fewer.
    pub(super) fn place(&self, fd: OwnedFd, peer: Peer) {
        let core = &self.shared.core;
        let workers = core.load.all();
        let other = balance::better(core.load.index(), workers.iter().map(balance::load));
        let other = other.filter(|_| !core.drain.is_draining());
        let Some((other, counters)) = other.and_then(|other| Some((other, workers.get(other)?)))
        else {
            return self.welcome(fd, peer);
        };
        balance::comes(&counters.coming);
        if let Err((fd, peer)) = (self.hand_on)(other, (fd, peer)) {
            balance::came(&counters.coming);
            self.welcome(fd, peer);
        }
    }

    /// A client that another worker has handed on.
    pub(crate) fn receive(&self, fd: OwnedFd, peer: Peer) {
        // Counted as open before it is not counted as coming any more.
        self.welcome(fd, peer);
        balance::came(&self.shared.core.counters().coming);
    }

    /// A new client: its task is fenced, so that a defect ends one connection and not the worker.
    pub(super) fn welcome(&self, fd: OwnedFd, peer: Peer) {
        let core = &self.shared.core;
        let open = core.load.open();
        let surplus = core.load.crowded().is_some();
        let tls = server_tls(core);
        if core.load.is_overrun() {
            return turn_away(core, &fd, Scarce::Connections);
        }
        let mut visit = match Visit::begin(core, peer, tls.is_some()) {
            Ok(visit) => visit,
            Err(scarce) => return turn_away(core, &fd, scarce),
        };
        match stream(core, fd, tls) {
            Ok(stream) => {
                observe::add(&core.counters().connections, 1);
                core.spin.traffic();
                let side = ClientSide::new(self.shared.clone(), stream, peer);
                let task = connection::serve(side, surplus, visit, self.spares.clone());
                monoio::spawn(Fenced {
                    task: Box::pin(task),
                    core: core.clone(),
                    _open: open,
                });
            }
            Err(error) => {
                visit.end(&core.visitors);
                let error = Value::Text(&error);
                core.log
                    .warn("cannot take a connection", &[("error", error)]);
            }
        }
    }
}

/// TLS with clients, where it is spoken.
fn server_tls(core: &Core) -> Option<Arc<ServerConfig>> {
    let tls = core.in_force.server_tls();
    tls.filter(|_| !core.is_operator())
}

fn stream(core: &Core, fd: OwnedFd, tls: Option<Arc<ServerConfig>>) -> io::Result<Stream> {
    let socket = Socket::from_fd(fd)?;
    let Some(config) = tls else {
        return Ok(Stream::plain(socket));
    };
    let tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
    let tls = TlsStream::new(socket, Role::Server(tls), core.seal_room.clone());
    Ok(Stream::Tls(Box::new(tls)))
}

/// Says 503 without having been asked, which costs two system calls. A TLS client is only closed.
fn turn_away(core: &Core, fd: &OwnedFd, scarce: Scarce) {
    core.counters().refuse(match scarce {
        Scarce::ConnectionsPerAddress => Refused::ConnectionsPerAddress,
        Scarce::HandshakesPerAddress => Refused::HandshakesPerAddress,
        _ => Refused::Connections,
    });
    if server_tls(core).is_some() {
        return;
    }
    let mut out = Vec::with_capacity(512);
    ErrorResponse {
        fault: &Fault::Overloaded(scarce),
        request_id: core.ids.next().as_bytes(),
        date: imf_fixdate(unix_seconds()).as_bytes(),
        head_only: false,
        connection: Persistence::Close,
        cors: b"",
    }
    .write(&mut out);
    // A client that is gone need not be told.
    let _ = rustix::net::send(fd, &out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    let _ = rustix::net::shutdown(fd, Shutdown::Write);
}

/// A connection's task, behind a fence: a panic in it is logged and ends it alone.
struct Fenced<F> {
    // Boxed, for it would be held twice here: as an argument and as what is awaited.
    task: Pin<Box<F>>,
    core: Rc<Core>,
    _open: Open,
}

impl<F: Future<Output = ()>> Future for Fenced<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // What the task shares with others is left consistent: cells are written whole, and the scratch
        // buffer's content means nothing between two borrows.
        let polled = catch_unwind(AssertUnwindSafe(|| self.task.as_mut().poll(cx)));
        polled.unwrap_or_else(|_| {
            observe::add(&self.core.counters().panics, 1);
            let message = "a connection's task panicked; this is a defect";
            self.core.log.error(message, &[]);
            Poll::Ready(())
        })
    }
}
