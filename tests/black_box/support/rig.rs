//! The usual arrangement: one gateway between clients and a provider that the test plays.

use std::fmt;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;

use super::gateway::{Gateway, Setup};
use super::message::Message;
use super::tls::{self, pki};
use super::upstream::Upstream;
use super::wire::{End, PATIENCE, Wire};
use super::{get, ok};

/// Which side speaks TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sides {
    pub(crate) client: bool,
    pub(crate) upstream: bool,
}

impl Sides {
    pub(crate) const PLAIN: Self = Self::of(false, false);
    pub(crate) const TLS: Self = Self::of(true, true);
    pub(crate) const TLS_CLIENT: Self = Self::of(true, false);
    pub(crate) const TLS_UPSTREAM: Self = Self::of(false, true);

    const fn of(client: bool, upstream: bool) -> Self {
        Self { client, upstream }
    }
}

/// All four.
pub(crate) const ALL_SIDES: [Sides; 4] = [
    Sides::PLAIN,
    Sides::TLS_UPSTREAM,
    Sides::TLS_CLIENT,
    Sides::TLS,
];

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |tls| if tls { "TLS" } else { "plain" };
        write!(f, "{} to {}", name(self.client), name(self.upstream))
    }
}

/// A gateway, its provider, and how clients reach it.
pub(crate) struct Rig {
    pub(crate) sides: Sides,
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
    tls: Option<Arc<ClientConfig>>,
    barrier: Option<Wire>,
}

impl Rig {
    /// Plain on both sides.
    pub(crate) fn plain() -> Self {
        Self::with(|setup| setup)
    }

    /// Plain on both sides, and further configured.
    pub(crate) fn with(configure: impl FnOnce(Setup) -> Setup) -> Self {
        Self::on(Sides::PLAIN, configure)
    }

    /// As [`with`](Self::with), started through a shell script.
    pub(crate) fn by(configure: impl FnOnce(Setup) -> Setup, script: &str) -> Self {
        let upstream = Upstream::listen();
        let setup = Setup::new().base(&format!("{}/v1", upstream.url()));
        let gateway = configure(setup).start_by(script);
        Self {
            sides: Sides::PLAIN,
            gateway,
            upstream,
            tls: None,
            barrier: None,
        }
    }

    /// Calls `test` for each of the four: most of the contract holds for all of them alike.
    #[track_caller]
    pub(crate) fn each(test: impl FnMut(&mut Self)) {
        Self::each_with(|setup| setup, test);
    }

    /// The same, further configured.
    #[track_caller]
    pub(crate) fn each_with(configure: impl Fn(Setup) -> Setup, mut test: impl FnMut(&mut Self)) {
        for sides in ALL_SIDES {
            let mut rig = Self::on(sides, &configure);
            // Shown with a failure: on which sides it was.
            eprintln!("-- {sides}");
            test(&mut rig);
        }
    }

    /// TLS or plain.
    pub(crate) fn of(sides: Sides) -> Self {
        Self::on(sides, |setup| setup)
    }

    /// TLS or plain, and further configured.
    pub(crate) fn on(sides: Sides, configure: impl FnOnce(Setup) -> Setup) -> Self {
        let upstream = if sides.upstream {
            Upstream::listen_tls(tls::server_config(&pki().server))
        } else {
            Upstream::listen()
        };
        let mut setup = Setup::new().base(&format!("{}/v1", upstream.url()));
        if sides.client {
            setup = setup.tls();
        }
        let gateway = configure(setup).start();
        let tls = sides
            .client
            .then(|| Arc::new(tls::client_config(rustls::ALL_VERSIONS)));
        Self {
            sides,
            gateway,
            upstream,
            tls,
            barrier: None,
        }
    }

    /// This gateway and this provider, with plain clients.
    pub(crate) fn around(gateway: Gateway, upstream: Upstream) -> Self {
        Self {
            sides: Sides::PLAIN,
            gateway,
            upstream,
            tls: None,
            barrier: None,
        }
    }

    /// A new client.
    pub(crate) fn client(&self) -> Wire {
        match &self.tls {
            None => self.gateway.connect(),
            Some(tls) => self.gateway.connect_tls(tls),
        }
    }

    /// Waits until the gateway's one worker has dealt with what was sent before.
    pub(crate) fn settle(&mut self) {
        let mut barrier = self.barrier.take().unwrap_or_else(|| self.client());
        barrier.send("GET /health HTTP/1.1\r\nHost: gateway\r\n\r\n");
        barrier.response();
        self.barrier = Some(barrier);
    }

    /// A new client that sent `request`, and the new upstream connection that got its head.
    #[track_caller]
    pub(crate) fn begin(&self, request: impl AsRef<[u8]>) -> (Wire, Wire) {
        let mut client = self.client();
        client.send(request);
        let mut peer = self.upstream.accept();
        peer.head();
        (client, peer)
    }

    /// A new client that sent `request`, and the new upstream connection that got it.
    #[track_caller]
    pub(crate) fn exchange(&self, request: &str) -> (Wire, Wire, Message) {
        let mut client = self.client();
        client.send(request);
        let mut peer = self.upstream.accept();
        let message = peer.request();
        (client, peer, message)
    }
}

/// A provider, a gateway in front of it, and a client.
pub(crate) fn pair() -> (Upstream, Gateway, Wire) {
    let upstream = Upstream::listen();
    let gateway = Gateway::before(&upstream);
    let client = gateway.connect();
    (upstream, gateway, client)
}

/// A client whose request was answered, and the provider's side of the connection that is idle now.
#[track_caller]
pub(crate) fn plain_exchange(gateway: &Gateway, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = gateway.connect();
    client.send(get("/p/openai/models"));
    let mut peer = upstream.accept();
    peer.request();
    peer.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
    (client, peer)
}

/// Answers what was under way when the drain began: the client gets all of it, and the connection's end.
#[track_caller]
pub(crate) fn drained_answer(client: &mut Wire, peer: &mut Wire) {
    peer.send(ok("in flight"));
    let got = client.response();
    assert_eq!(
        (got.text().as_str(), got.value("connection")),
        ("in flight", Some("close"))
    );
    assert_eq!(client.expect_end(), End::Clean);
}

/// Waits until nobody listens any more: each worker knows then that the process ends.
#[track_caller]
pub(crate) fn wait_refused(gateway: &Gateway) {
    let begin = Instant::now();
    while TcpStream::connect_timeout(&gateway.addr(), PATIENCE).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it still listens");
    }
}
