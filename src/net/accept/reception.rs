//! Takes clients in: here or at another worker, or says that there are too many.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustix::net::{SendFlags, Shutdown};
use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;

use crate::base::date::imf_fixdate;
use crate::config::ProxyProtocol;
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
use crate::policy::announced::{Expected, UNTRUSTED, is_trusted};
use crate::policy::error::{ErrorResponse, Fault, Persistence, Scarce};
use crate::system::time::unix_seconds;
use crate::tls::handshake::Role;

use super::announcement::{self, Announcement, announcement};
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
    pub(super) fn place(self: &Rc<Self>, fd: OwnedFd, peer: Peer) {
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
    pub(crate) fn receive(self: &Rc<Self>, fd: OwnedFd, peer: Peer) {
        // Counted as open before it is not counted as coming any more.
        self.welcome(fd, peer);
        balance::came(&self.shared.core.counters().coming);
    }

    /// A new client, or a balancer that says first for whom it is.
    pub(super) fn welcome(self: &Rc<Self>, fd: OwnedFd, peer: Peer) {
        let core = &self.shared.core;
        let open = core.load.open();
        if core.load.is_overrun() {
            return turn_away(core, &fd, Scarce::Connections);
        }
        let expected = expected(core, peer);
        let speaks_for_itself = matches!(expected, Expected::Client | Expected::NoHeader);
        let visit = match speaks_for_itself.then(|| Visit::begin(core, peer, has_tls(core))) {
            None => Visit::default(),
            Some(Ok(visit)) => visit,
            Some(Err(scarce)) => return turn_away(core, &fd, scarce),
        };
        let held = Held::new(visit, core.clone());
        let socket = match Socket::from_fd(fd) {
            Ok(socket) => socket,
            Err(error) => return complain(core, &error),
        };
        match expected {
            Expected::Client => self.admit(socket, peer, held, open),
            Expected::Nothing => self.turn_down(socket, peer, UNTRUSTED, false, open),
            expected => {
                let task = self.clone().announced(socket, peer, expected, (held, open));
                self.spawn(task, None);
            }
        }
    }

    /// A connection that may begin with what a balancer says; see [`welcome`](Self::welcome).
    async fn announced(
        self: Rc<Self>,
        mut socket: Socket,
        peer: Peer,
        expected: Expected,
        (mut held, open): (Held, Open),
    ) {
        let core = &self.shared.core;
        match announcement(core, &mut socket, expected).await {
            Announcement::Nothing => {}
            Announcement::Refused(reason) => {
                self.turn_down(socket, peer, reason, !has_tls(core), open);
            }
            Announcement::Of(said) => {
                let is_trusted = expected != Expected::NoHeader;
                let peer = announcement::peer(peer, is_trusted, said);
                if is_trusted {
                    match Visit::begin(core, peer, has_tls(core)) {
                        Ok(visit) => held.visit = visit,
                        Err(scarce) => return turn_away(core, socket.fd(), scarce),
                    }
                }
                self.admit(socket, peer, held, open);
            }
        }
    }

    /// A client of whom all is known that anybody says of it.
    fn admit(&self, socket: Socket, peer: Peer, mut held: Held, open: Open) {
        let core = &self.shared.core;
        let surplus = core.load.crowded().is_some();
        match stream(core, socket) {
            Ok(stream) => {
                observe::add(&core.counters().connections, 1);
                core.spin.traffic();
                let side = ClientSide::new(self.shared.clone(), stream, peer);
                let visit = std::mem::take(&mut held.visit);
                self.spawn(
                    connection::serve(side, surplus, visit, self.spares.clone()),
                    Some(open),
                );
            }
            Err(error) => complain(core, &error),
        }
    }

    /// A connection that does not begin as it has to.
    fn turn_down(
        &self,
        socket: Socket,
        peer: Peer,
        reason: &'static str,
        is_told: bool,
        open: Open,
    ) {
        self.shared.core.counters().refuse(Refused::ProxyProtocol);
        let side = ClientSide::new(self.shared.clone(), Stream::plain(socket), peer);
        self.spawn(connection::turn_down(side, reason, is_told), Some(open));
    }

    /// A connection's task, fenced, so that a defect ends one connection and not the worker.
    fn spawn(&self, task: impl Future<Output = ()> + 'static, open: Option<Open>) {
        monoio::spawn(Fenced {
            task: Box::pin(task),
            core: self.shared.core.clone(),
            _open: open,
        });
    }
}

/// The places of a connection that is not served yet, given back with it.
struct Held {
    visit: Visit,
    core: Rc<Core>,
}

impl Held {
    fn new(visit: Visit, core: Rc<Core>) -> Self {
        Self { visit, core }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.visit.end(&self.core.visitors);
    }
}

fn complain(core: &Core, error: &io::Error) {
    let error = Value::Text(error);
    core.log
        .warn("cannot take a connection", &[("error", error)]);
}

/// What a connection of this peer has to begin with.
fn expected(core: &Core, peer: Peer) -> Expected {
    let gateway = core.gateway();
    let config = &gateway.config;
    let mode = config.server.proxy_protocol;
    if mode == ProxyProtocol::Off || core.is_operator() {
        return Expected::Client;
    }
    let ip = peer.address().map(|address| address.ip());
    Expected::of(mode, is_trusted(config, ip))
}

fn has_tls(core: &Core) -> bool {
    server_tls(core).is_some()
}

/// TLS with clients, where it is spoken.
fn server_tls(core: &Core) -> Option<Arc<ServerConfig>> {
    let tls = core.in_force.server_tls();
    tls.filter(|_| !core.is_operator())
}

fn stream(core: &Core, socket: Socket) -> io::Result<Stream> {
    let Some(config) = server_tls(core) else {
        return Ok(Stream::plain(socket));
    };
    let tls = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
    let tls = TlsStream::new(socket, Role::Server(tls), core.seal_room.clone());
    Ok(Stream::Tls(Box::new(tls)))
}

/// Says 503 without having been asked, which costs two system calls. A TLS client is only closed.
fn turn_away(core: &Core, fd: impl AsFd, scarce: Scarce) {
    core.counters().refuse(match scarce {
        Scarce::ConnectionsPerAddress => Refused::ConnectionsPerAddress,
        Scarce::HandshakesPerAddress => Refused::HandshakesPerAddress,
        _ => Refused::Connections,
    });
    if has_tls(core) {
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
    let _ = rustix::net::send(&fd, &out, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    let _ = rustix::net::shutdown(fd, Shutdown::Write);
}

/// A connection's task, behind a fence: a panic in it is logged and ends it alone.
struct Fenced<F> {
    // Boxed, for it would be held twice here: as an argument and as what is awaited.
    task: Pin<Box<F>>,
    core: Rc<Core>,
    _open: Option<Open>,
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
