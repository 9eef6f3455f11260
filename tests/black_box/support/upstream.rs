//! Providers: either the test itself plays them step by step, or a script answers on threads of its own.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{listen, sockopt};
use rustls::ServerConfig;

use super::message::Message;
use super::tls;
use super::wire::{PATIENCE, Record, Wire, lossy};

/// A provider that the test plays: each connection is taken with [`Upstream::accept`].
pub(crate) struct Upstream {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Upstream {
    pub(crate) fn listen() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            tls: None,
        }
    }

    /// Where somebody has listened before.
    pub(crate) fn listen_at(addr: SocketAddr) -> Self {
        Self {
            listener: TcpListener::bind(addr).unwrap(),
            tls: None,
        }
    }

    /// One port of two addresses of this machine.
    pub(crate) fn listen_on_two() -> [Self; 2] {
        let two = Self::listen_on(2).try_into();
        two.unwrap_or_else(|_| unreachable!("there are two"))
    }

    /// One port of so many addresses of this machine, from 127.0.0.2 on.
    pub(crate) fn listen_on(count: u8) -> Vec<Self> {
        listen_on(count)
            .into_iter()
            .map(|listener| Self {
                listener,
                tls: None,
            })
            .collect()
    }

    /// Speaks TLS from now on.
    pub(crate) fn secure(&mut self, tls: Arc<ServerConfig>) {
        self.tls = Some(tls);
    }

    /// On IPv6, where the system has it.
    pub(crate) fn listen_v6() -> Option<Self> {
        let listener = TcpListener::bind("[::1]:0").ok()?;
        Some(Self {
            listener,
            tls: None,
        })
    }

    /// Whether `localhost` stands for its address, among others.
    #[expect(clippy::disallowed_methods, reason = "a test may block")]
    pub(crate) fn named_localhost(&self) -> bool {
        use std::net::ToSocketAddrs as _;
        let names = ("localhost", self.addr().port()).to_socket_addrs();
        names.is_ok_and(|mut all| all.any(|addr| addr == self.addr()))
    }

    pub(crate) fn listen_tls(tls: Arc<ServerConfig>) -> Self {
        Self {
            tls: Some(tls),
            ..Self::listen()
        }
    }

    /// Makes what the kernel takes for a connection small, for all accepted from now on.
    pub(crate) fn narrow(&self) {
        sockopt::set_socket_recv_buffer_size(&self.listener, 4096).unwrap();
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Scheme, host and port; `localhost` on TLS.
    pub(crate) fn url(&self) -> String {
        url(self.addr(), self.tls.is_some())
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Wire {
        assert!(self.waits_for(PATIENCE), "no connection to the upstream");
        let (socket, _) = self.listener.accept().unwrap();
        Wire::new(socket, self.tls.as_ref().map(tls::server))
    }

    /// The next connection to any of them.
    #[track_caller]
    pub(crate) fn accept_any(all: &[Self]) -> Wire {
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        let mut fds: Vec<_> = { all.iter() }
            .map(|one| PollFd::new(&one.listener, PollFlags::IN))
            .collect();
        let count = poll(&mut fds, Some(&timeout)).unwrap();
        assert!(count > 0, "no connection to any upstream");
        let waiting = all.iter().find(|one| one.has_connection());
        waiting.unwrap().accept()
    }

    /// Whether a connection waits to be accepted.
    pub(crate) fn has_connection(&self) -> bool {
        self.waits_for(Duration::ZERO)
    }

    /// Whether a connection comes within this time.
    pub(crate) fn waits_for(&self, time: Duration) -> bool {
        let timeout = Timespec::try_from(time).unwrap();
        let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
        poll(&mut fds, Some(&timeout)).unwrap() == 1
    }

    /// Takes no connection from now on and refuses none: its queue is full, for as long as what is returned.
    pub(crate) fn black_hole(self) -> (Self, Vec<TcpStream>) {
        // Once more: that changes nothing but how many may wait.
        listen(&self.listener, 0).unwrap();
        let patience = Duration::from_millis(300);
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&self.addr(), patience) {
            queued.push(stream);
        }
        (self, queued)
    }

    /// Refuses connections, and keeps its port from all others.
    #[must_use]
    pub(crate) fn refuse(self) -> Self {
        rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both).unwrap();
        self
    }

    /// Takes the waiting connections, and asserts that no byte came on any of them.
    #[track_caller]
    pub(crate) fn expect_untouched(&self) {
        while self.has_connection() {
            let wire = self.accept();
            assert!(!wire.readable_now(), "bytes were sent upstream");
        }
    }
}

fn listen_on(count: u8) -> Vec<TcpListener> {
    loop {
        let first = TcpListener::bind("127.0.0.2:0").unwrap();
        let port = first.local_addr().unwrap().port();
        // Somebody else may have it at one of the others.
        let others = (3..count + 2)
            .map(|last| TcpListener::bind(SocketAddr::from(([127, 0, 0, last], port))));
        if let Ok(others) = others.collect::<Result<Vec<_>, _>>() {
            return [first].into_iter().chain(others).collect();
        }
    }
}

fn url(addr: SocketAddr, tls: bool) -> String {
    if tls {
        format!("https://localhost:{}", addr.port())
    } else {
        format!("http://{addr}")
    }
}

/// A provider that answers by itself.
pub(crate) struct Scripted {
    addr: SocketAddr,
    tls: bool,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    records: Mutex<Vec<Arc<Record>>>,
}

impl Scripted {
    /// Runs `script` for every connection; its second argument counts them from 0.
    pub(crate) fn start(script: impl Fn(&mut Wire, usize) + Send + Sync + 'static) -> Self {
        Self::start_as(None, script)
    }

    /// The same, on TLS or not.
    pub(crate) fn start_as(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Wire, usize) + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap(), tls, script)
    }

    /// The same for each of so many addresses of this machine, from 127.0.0.2 on, at one port.
    pub(crate) fn start_on(
        count: u8,
        script: impl Fn(&mut Wire, usize) + Clone + Send + Sync + 'static,
    ) -> Vec<Self> {
        let listeners = listen_on(count).into_iter();
        let each = listeners.map(|listener| Self::start_at(listener, None, script.clone()));
        each.collect()
    }

    fn start_at(
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Wire, usize) + Send + Sync + 'static,
    ) -> Self {
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let (state, secure) = (Arc::clone(&shared), tls.is_some());
        let script = Arc::new(script);
        let acceptor = thread::spawn(move || {
            for index in 0.. {
                let Ok((socket, _)) = listener.accept() else {
                    return;
                };
                if state.stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut wire = Wire::new(socket, tls.as_ref().map(tls::server));
                state.records.lock().unwrap().push(wire.record());
                let script = Arc::clone(&script);
                thread::spawn(move || script(&mut wire, index));
            }
        });
        Self {
            addr,
            tls: secure,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// Answers every request with 200, its own content, and its target in `X-Target`.
    pub(crate) fn echo() -> Self {
        Self::echo_as(None)
    }

    /// The same, on TLS or not.
    pub(crate) fn echo_as(tls: Option<Arc<ServerConfig>>) -> Self {
        Self::start_as(tls, |wire, _| {
            while let Ok(request) = wire.try_request() {
                if wire.try_send(echoed(&request)).is_err() {
                    return;
                }
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        url(self.addr, self.tls)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.shared.records.lock().unwrap().len()
    }

    /// What came on each connection, byte by byte.
    pub(crate) fn received_bytes(&self) -> Vec<Vec<u8>> {
        let records = self.shared.records.lock().unwrap();
        records.iter().map(|record| record.bytes()).collect()
    }

    /// What came on each connection.
    pub(crate) fn received(&self) -> Vec<String> {
        let records = self.shared.records.lock().unwrap();
        records
            .iter()
            .map(|record| lossy(&record.bytes()))
            .collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.addr);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn echoed(request: &Message) -> Vec<u8> {
    let (target, len) = (request.head.target(), request.body.len());
    let head = format!("HTTP/1.1 200 OK\r\nX-Target: {target}\r\nContent-Length: {len}\r\n\r\n");
    let mut answer = head.into_bytes();
    if request.head.method() != "HEAD" {
        answer.extend_from_slice(&request.body);
    }
    answer
}
