//! The providers' ports: who they are, their connections, and restarts.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt;
use rustls::ServerConfig;

use super::pool::{self, Pool};
use super::provider::{Serving, readable};
use super::world::World;
use crate::support::{Wire, tls};

/// What is said of a provider in the configuration.
pub(crate) struct Provider {
    pub(crate) name: &'static str,
    /// `openai` or `anthropic`.
    pub(crate) kind: &'static str,
    pub(crate) tls: bool,
    pub(crate) pool: Pool,
}

/// All of them.
pub(crate) const ALL: [Provider; super::plan::PROVIDERS] = [
    Provider {
        name: "alpha",
        kind: "openai",
        tls: false,
        pool: pool::SINGLE,
    },
    Provider {
        name: "beta",
        kind: "anthropic",
        tls: true,
        pool: pool::SINGLE,
    },
    Provider {
        name: "gamma",
        kind: "openai",
        tls: true,
        pool: pool::SINGLE,
    },
    Provider {
        name: "delta",
        kind: "anthropic",
        tls: false,
        pool: pool::SINGLE,
    },
    Provider {
        name: "epsilon",
        kind: "openai",
        tls: false,
        pool: pool::MOVES,
    },
    Provider {
        name: "zeta",
        kind: "openai",
        tls: false,
        pool: pool::KEYS,
    },
    Provider {
        name: "eta",
        kind: "openai",
        tls: false,
        pool: pool::LOADED,
    },
    Provider {
        name: "theta",
        kind: "anthropic",
        tls: true,
        pool: pool::SESSIONS,
    },
    Provider {
        name: "iota",
        kind: "openai",
        tls: false,
        pool: pool::FIRST,
    },
    Provider {
        name: "kappa",
        kind: "anthropic",
        tls: false,
        pool: pool::LIMITED,
    },
];

/// The one whose rules deny something.
pub(crate) const DENYING: usize = 3;

/// A listening port, kept through restarts.
pub(crate) struct Port {
    /// What the configuration calls its host.
    pub(crate) host: &'static str,
    pub(crate) addr: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    order: Arc<Order>,
}

/// What a server shall do next.
#[derive(Default)]
struct Order(AtomicU8);

impl Order {
    const NONE: u8 = 0;
    const RESTART: u8 = 1;
    const CLOSE: u8 = 2;
    const OPEN: u8 = 3;

    fn give(&self, order: u8) {
        self.0.store(order, Ordering::SeqCst);
    }

    fn is(&self, order: u8) -> bool {
        self.0.load(Ordering::SeqCst) == order
    }
}

/// Below those that the system gives to outgoing connections: nobody takes one during a restart.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

impl Port {
    pub(crate) fn bind(host: &'static str) -> Self {
        let [port] = Self::bind_all(host, ["127.0.0.1"]);
        port
    }

    /// The same port of each of these addresses.
    pub(crate) fn bind_all<const N: usize>(host: &'static str, ips: [&str; N]) -> [Self; N] {
        let first = PORTS.start + (std::process::id() % 1000) as u16 * 10;
        let mut ports = (first..PORTS.end).chain(PORTS.start..first);
        let bound = ports.find_map(|port| {
            let listeners = ips.map(|ip| TcpListener::bind((ip, port)).ok());
            listeners.iter().all(Option::is_some).then_some(listeners)
        });
        bound.unwrap().map(|listener| Self {
            host,
            addr: listener.as_ref().unwrap().local_addr().unwrap(),
            listener: Mutex::new(listener),
            order: Arc::default(),
        })
    }

    /// Asks for a restart: every connection is cut, and for a while nobody listens.
    pub(crate) fn restart(&self) {
        self.order.give(Order::RESTART);
    }

    /// Nobody shall listen from now on; connections that there are go on.
    pub(crate) fn close(&self) {
        self.order.give(Order::CLOSE);
    }

    /// Whether it has nothing to do but to listen.
    pub(crate) fn is_settled(&self) -> bool {
        self.order.is(Order::NONE)
    }

    /// Waits until somebody listens.
    pub(crate) fn open(&self) {
        if self.order.is(Order::NONE) {
            return;
        }
        self.order.give(Order::OPEN);
        let begin = Instant::now();
        while !self.order.is(Order::NONE) {
            assert!(begin.elapsed().as_secs() < 10, "nobody listens again");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Serves until `over`.
    pub(crate) fn serve(
        &self,
        world: &Arc<World>,
        station: usize,
        over: &Arc<AtomicBool>,
    ) -> JoinHandle<()> {
        let listener = self.listener.lock().unwrap().take().unwrap();
        let (index, place) = pool::at(station);
        let mut server = Server {
            world: Arc::clone(world),
            station,
            index,
            place,
            tls: ALL[index]
                .tls
                .then(|| tls::server_config(&tls::pki().server)),
            addr: self.addr,
            order: Arc::clone(&self.order),
            sockets: Arc::default(),
        };
        let over = Arc::clone(over);
        thread::spawn(move || server.run(listener, &over))
    }
}

type Sockets = Arc<Mutex<HashMap<u64, TcpStream>>>;

struct Server {
    world: Arc<World>,
    station: usize,
    index: usize,
    place: usize,
    tls: Option<Arc<ServerConfig>>,
    addr: SocketAddr,
    order: Arc<Order>,
    sockets: Sockets,
}

impl Server {
    fn run(&mut self, mut listener: TcpListener, over: &AtomicBool) {
        for number in 0.. {
            while !readable(&listener, Duration::from_millis(20)) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                if self.order.is(Order::RESTART) {
                    self.order.give(Order::NONE);
                    listener = self.go_down(listener, number);
                } else if self.order.is(Order::CLOSE) {
                    let Some(again) = self.stay_closed(listener, over) else {
                        return;
                    };
                    listener = again;
                } else if self.order.is(Order::OPEN) {
                    // It was asked to close and to open again before it looked.
                    self.order.give(Order::NONE);
                }
            }
            let Ok((socket, _)) = listener.accept() else {
                continue;
            };
            self.welcome(socket, number);
        }
    }

    fn go_down(&self, listener: TcpListener, number: u64) -> TcpListener {
        let epoch = &self.world.epochs[self.station];
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
        let listener = self.listen_again();
        epoch.fetch_add(1, Ordering::SeqCst);
        listener
    }

    fn listen_again(&self) -> TcpListener {
        let begin = Instant::now();
        loop {
            match TcpListener::bind(self.addr) {
                Ok(listener) => return listener,
                Err(error) => assert!(begin.elapsed().as_secs() < 10, "{error}"),
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Listens no more until it is asked to; none if the run is over before. Only what the
    /// listener holds at that moment is lost, which no other epoch excuses.
    fn stay_closed(&self, listener: TcpListener, over: &AtomicBool) -> Option<TcpListener> {
        let epoch = &self.world.epochs[self.station];
        epoch.fetch_add(1, Ordering::SeqCst);
        drop(listener);
        epoch.fetch_add(1, Ordering::SeqCst);
        while !self.order.is(Order::OPEN) {
            if over.load(Ordering::SeqCst) {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let listener = self.listen_again();
        self.order.give(Order::NONE);
        Some(listener)
    }

    fn welcome(&self, socket: TcpStream, number: u64) {
        let other = socket.try_clone().unwrap();
        self.sockets.lock().unwrap().insert(number, other);
        let serving = Serving {
            world: Arc::clone(&self.world),
            station: self.station,
            index: self.index,
            place: self.place,
            epoch: self.world.epochs[self.station].load(Ordering::SeqCst),
            here: Cell::new(None),
        };
        let tls = self.tls.as_ref().map(tls::server);
        let sockets = Arc::clone(&self.sockets);
        thread::spawn(move || {
            serving.run(Wire::new(socket, tls).without_record());
            sockets.lock().unwrap().remove(&number);
        });
    }
}
