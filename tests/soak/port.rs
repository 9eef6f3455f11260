//! The providers' ports: who they are, their connections, and restarts.

use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::ServerConfig;

use crate::provider::{Serving, readable};
use crate::support::{Wire, tls};
use crate::world::{SECRET, World};

/// What is said of a provider in the configuration.
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    /// `openai` or `anthropic`.
    pub(crate) kind: &'static str,
    pub(crate) tls: bool,
}

/// All of them.
pub(crate) const ALL: [Provider; crate::plan::PROVIDERS] = [
    Provider {
        name: "alpha",
        kind: "openai",
        tls: false,
    },
    Provider {
        name: "beta",
        kind: "anthropic",
        tls: true,
    },
    Provider {
        name: "gamma",
        kind: "openai",
        tls: true,
    },
    Provider {
        name: "delta",
        kind: "anthropic",
        tls: false,
    },
];

/// The provider's key in a configuration.
pub(crate) fn key(provider: usize, revision: u64) -> String {
    format!("sk-{SECRET}-{}-{revision}", ALL[provider].name)
}

/// A listening port, kept through restarts.
pub(crate) struct Port {
    pub(crate) addr: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    restart: Arc<AtomicBool>,
}

/// Below those that the system gives to outgoing connections: nobody takes one during a restart.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

impl Port {
    pub(crate) fn bind() -> Self {
        let first = PORTS.start + (std::process::id() % 1000) as u16 * 10;
        let mut ports = (first..PORTS.end).chain(PORTS.start..first);
        let bound = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
        let listener = bound.unwrap();
        Self {
            addr: listener.local_addr().unwrap(),
            listener: Mutex::new(Some(listener)),
            restart: Arc::default(),
        }
    }

    /// Asks for a restart: every connection is cut, and for a while nobody listens.
    pub(crate) fn restart(&self) {
        self.restart.store(true, Ordering::SeqCst);
    }

    /// Serves until `over`.
    pub(crate) fn serve(
        &self,
        world: &Arc<World>,
        index: usize,
        over: &Arc<AtomicBool>,
    ) -> JoinHandle<()> {
        let listener = self.listener.lock().unwrap().take().unwrap();
        let mut server = Server {
            world: Arc::clone(world),
            index,
            tls: ALL[index]
                .tls
                .then(|| tls::server_config(&tls::pki().server)),
            addr: self.addr,
            restart: Arc::clone(&self.restart),
            sockets: Arc::default(),
        };
        let over = Arc::clone(over);
        thread::spawn(move || server.run(listener, &over))
    }
}

type Sockets = Arc<Mutex<HashMap<u64, TcpStream>>>;

struct Server {
    world: Arc<World>,
    index: usize,
    tls: Option<Arc<ServerConfig>>,
    addr: SocketAddr,
    restart: Arc<AtomicBool>,
    sockets: Sockets,
}

impl Server {
    fn run(&mut self, mut listener: TcpListener, over: &AtomicBool) {
        for number in 0.. {
            while !readable(&listener, Duration::from_millis(20)) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if self.restart.swap(false, Ordering::SeqCst) {
                    listener = self.go_down(listener, number);
                }
            }
            let Ok((socket, _)) = listener.accept() else {
                continue;
            };
            self.welcome(socket, number);
        }
    }

    fn go_down(&self, listener: TcpListener, number: u64) -> TcpListener {
        let epoch = &self.world.epochs[self.index];
        epoch.fetch_add(1, Ordering::SeqCst);
        self.world.count("restarts of providers");
        drop(listener);
        for socket in self.sockets.lock().unwrap().values() {
            if number.is_multiple_of(2) {
                let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
            }
            let _ = socket.shutdown(Shutdown::Both);
        }
        thread::sleep(Duration::from_millis(number % 40));
        let begin = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.addr) {
                Ok(listener) => break listener,
                Err(error) => assert!(begin.elapsed().as_secs() < 10, "{error}"),
            }
            thread::sleep(Duration::from_millis(1));
        };
        epoch.fetch_add(1, Ordering::SeqCst);
        listener
    }

    fn welcome(&self, socket: TcpStream, number: u64) {
        let other = socket.try_clone().unwrap();
        self.sockets.lock().unwrap().insert(number, other);
        let serving = Serving {
            world: Arc::clone(&self.world),
            index: self.index,
            epoch: self.world.epoch(self.index),
        };
        let tls = self.tls.as_ref().map(tls::server);
        let sockets = Arc::clone(&self.sockets);
        thread::spawn(move || {
            serving.run(Wire::new(socket, tls).without_record());
            sockets.lock().unwrap().remove(&number);
        });
    }
}
