//! The program with TLS on either side, both or none: most of the contract holds for all four alike.

use std::sync::Arc;

use rustls::ClientConfig;

use super::gateway::{Gateway, Setup};
use super::tls::{self, pki};
use super::upstream::Upstream;
use super::wire::Wire;

/// A running gateway in front of a provider that the test plays.
pub(crate) struct Sides {
    /// Said in every failure: which sides are secured.
    pub(crate) name: &'static str,
    pub(crate) gateway: Gateway,
    pub(crate) upstream: Upstream,
    client: Option<Arc<ClientConfig>>,
}

impl Sides {
    /// Calls `test` for each of the four; `setup` adds to how the program is started.
    pub(crate) fn each(setup: impl Fn(Setup) -> Setup, test: impl Fn(&Self)) {
        let names = [
            "plain to plain",
            "plain to TLS",
            "TLS to plain",
            "TLS to TLS",
        ];
        for (index, name) in names.into_iter().enumerate() {
            let sides = Self::start(name, index >= 2, index % 2 == 1, &setup);
            eprintln!("-- {name}");
            test(&sides);
        }
    }

    fn start(
        name: &'static str,
        to_client: bool,
        to_upstream: bool,
        setup: impl Fn(Setup) -> Setup,
    ) -> Self {
        let upstream = if to_upstream {
            Upstream::listen_tls(tls::server_config(&pki().server))
        } else {
            Upstream::listen()
        };
        let mut start = setup(Setup::new().base(&format!("{}/v1", upstream.url())));
        let mut client = None;
        if to_client {
            start = start.tls();
            client = Some(Arc::new(tls::client_config(rustls::ALL_VERSIONS)));
        }
        let gateway = start.start();
        Self {
            name,
            gateway,
            upstream,
            client,
        }
    }

    /// A new client.
    pub(crate) fn connect(&self) -> Wire {
        match &self.client {
            None => self.gateway.connect(),
            Some(config) => self.gateway.connect_tls(config),
        }
    }

    /// A new client and the provider's side of its request, whose head has been read.
    #[track_caller]
    pub(crate) fn begin(&self, request: impl AsRef<[u8]>) -> (Wire, Wire) {
        let mut client = self.connect();
        client.send(request);
        let mut peer = self.upstream.accept();
        let _ = peer.head();
        (client, peer)
    }
}
