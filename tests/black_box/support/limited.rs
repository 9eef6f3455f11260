//! A provider that takes so many requests at once, and notes it when more come.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::ok;
use super::wire::Wire;

/// A server that counts what it has at once, can be killed, and comes back at the same address.
pub(crate) struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    limit: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
    too_many: AtomicUsize,
    served: AtomicUsize,
    down: AtomicBool,
    stop: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
}

impl Server {
    pub(crate) fn start(limit: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.limit.store(limit, Ordering::SeqCst);
        let server = Self { addr, shared };
        server.listen(listener);
        server
    }

    fn listen(&self, listener: TcpListener) {
        let shared = self.shared.clone();
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if shared.stop.load(Ordering::SeqCst) || shared.down.load(Ordering::SeqCst) {
                    return;
                }
                shared
                    .sockets
                    .lock()
                    .unwrap()
                    .push(socket.try_clone().unwrap());
                let shared = shared.clone();
                thread::spawn(move || shared.serve(&mut Wire::new(socket, None)));
            }
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Listens no more, and cuts all connections.
    pub(crate) fn kill(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        let mut sockets = self.shared.sockets.lock().unwrap();
        for socket in sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(crate) fn come_back(&self) {
        while self.shared.now.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        let listener = loop {
            match TcpListener::bind(self.addr) {
                Ok(listener) => break listener,
                Err(_) => thread::yield_now(),
            }
        };
        self.shared.down.store(false, Ordering::SeqCst);
        self.listen(listener);
    }

    fn served(&self) -> usize {
        self.shared.served.load(Ordering::SeqCst)
    }

    /// Waits until it has served so many more.
    #[track_caller]
    pub(crate) fn wait_served(&self, more: usize) {
        let (begin, before) = (Instant::now(), self.served());
        while self.served() < before + more {
            assert!(
                begin.elapsed() < Duration::from_secs(40),
                "it serves no more"
            );
            thread::yield_now();
        }
    }

    /// The most that it has had at once since its limit was set, and how often that was too many.
    pub(crate) fn had(&self) -> (usize, usize) {
        let Shared { most, too_many, .. } = &*self.shared;
        (most.load(Ordering::SeqCst), too_many.load(Ordering::SeqCst))
    }

    /// From now on it takes no more than this.
    pub(crate) fn limit(&self, limit: usize) {
        self.shared.limit.store(limit, Ordering::SeqCst);
        self.shared.most.store(0, Ordering::SeqCst);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

impl Shared {
    fn serve(&self, wire: &mut Wire) {
        while let Ok(request) = wire.try_request() {
            // Whoever asks how it is is none of those who count.
            if request.head.target() == "/health" {
                let _ = wire.try_send(ok("well"));
                continue;
            }
            // What had arrived when it was killed can still be read.
            if self.down.load(Ordering::SeqCst) {
                return;
            }
            let count = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(count, Ordering::SeqCst);
            let too_many = count > self.limit.load(Ordering::SeqCst);
            self.too_many.fetch_add(too_many.into(), Ordering::SeqCst);
            // Others come meanwhile.
            (0..200).for_each(|_| thread::yield_now());
            self.now.fetch_sub(1, Ordering::SeqCst);
            self.served.fetch_add(1, Ordering::SeqCst);
            if self.down.load(Ordering::SeqCst) || wire.try_send(ok("served")).is_err() {
                return;
            }
        }
    }
}
