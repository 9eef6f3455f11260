//! A scripted provider: every connection runs a script in a thread of its own and is recorded byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use super::client::{Duplex, End, find};
use super::{PATIENCE, tls};

/// A listening provider.
pub struct Upstream {
    addr: SocketAddr,
    tls: bool,
    recorded: Arc<Mutex<Vec<Vec<u8>>>>,
    failures: Receiver<String>,
}

/// The provider's side of one connection.
pub struct Peer {
    stream: Box<dyn Duplex>,
    tcp: TcpStream,
    /// Number of the connection, from 0.
    pub connection: usize,
    /// Received, not read by the script.
    buffer: Vec<u8>,
    recorded: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
}

impl Request {
    /// `METHOD target HTTP/1.1`
    pub fn line(&self) -> String {
        String::from_utf8_lossy(&self.head)
            .split("\r\n")
            .next()
            .unwrap()
            .to_owned()
    }

    /// Field lines in order, as they came.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.head).into_owned();
        text.split("\r\n")
            .skip(1)
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<String> {
        let lines = self.lines();
        let pairs = lines.iter().filter_map(|line| line.split_once(": "));
        pairs
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.to_owned())
            .collect()
    }
}

/// A small JSON answer.
pub const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}";

impl Upstream {
    /// Runs `script` for every connection.
    pub fn start(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        Self::listen(script, false)
    }

    /// The same over TLS.
    pub fn start_tls(script: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        Self::listen(script, true)
    }

    /// Answers every request with [`OK`], for as long as connections last.
    pub fn ok() -> Self {
        Self::start(serve_ok)
    }

    fn listen(script: impl Fn(Peer) + Send + Sync + 'static, tls: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let recorded: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (failed, failures) = channel();
        let script = Arc::new(script);
        let records = recorded.clone();
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let connection = {
                    let mut records = records.lock().unwrap();
                    records.push(Vec::new());
                    records.len() - 1
                };
                let (script, records, failed) = (script.clone(), records.clone(), failed.clone());
                std::thread::spawn(move || run(&*script, tcp, tls, connection, records, &failed));
            }
        });
        Self {
            addr,
            tls,
            recorded,
            failures,
        }
    }

    /// Its base URL with a path.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.addr)
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.recorded.lock().unwrap().len()
    }

    /// Every byte that arrived, per connection.
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        self.recorded.lock().unwrap().clone()
    }

    /// How many bytes have arrived in all.
    pub fn received(&self) -> usize {
        self.recorded.lock().unwrap().iter().map(Vec::len).sum()
    }

    /// Waits until so many bytes have arrived on all connections together.
    pub fn wait_for_bytes(&self, n: usize) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.received() < n {
            assert!(
                std::time::Instant::now() < deadline,
                "{} of {n} bytes came",
                self.received()
            );
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let failures: Vec<String> = self.failures.try_iter().collect();
            assert!(failures.is_empty(), "upstream scripts failed: {failures:?}");
        }
    }
}

fn run(
    script: &(dyn Fn(Peer) + Send + Sync),
    tcp: TcpStream,
    tls: bool,
    connection: usize,
    recorded: Arc<Mutex<Vec<Vec<u8>>>>,
    failed: &Sender<String>,
) {
    tcp.set_nodelay(true).unwrap();
    tcp.set_read_timeout(Some(PATIENCE * 3)).unwrap();
    let stream: Box<dyn Duplex> = match tls {
        true => Box::new(tls::server(tcp.try_clone().unwrap())),
        false => Box::new(tcp.try_clone().unwrap()),
    };
    let peer = Peer {
        stream,
        tcp,
        connection,
        buffer: Vec::new(),
        recorded,
    };
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| script(peer))) {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let _ = failed.send(text.unwrap_or_default());
    }
}

/// The script of [`Upstream::ok`].
pub fn serve_ok(mut peer: Peer) {
    while peer.try_read_request().is_some() {
        peer.send(OK);
    }
}

impl Peer {
    fn fill(&mut self) -> Result<usize, End> {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(End::Orderly),
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                self.recorded.lock().unwrap()[self.connection].extend_from_slice(&piece[..n]);
                Ok(n)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "the gateway sent nothing; so far {:?}",
                    String::from_utf8_lossy(&self.buffer)
                )
            }
            Err(_) => Err(End::Cut),
        }
    }

    /// Bytes up to and with `end`; `None` when the connection ends before them.
    pub fn try_read_until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            self.fill().ok()?;
        }
    }

    pub fn read_exact(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            self.fill()
                .unwrap_or_else(|end| panic!("{end:?} before {n} bytes had come"));
        }
        self.buffer.drain(..n).collect()
    }

    /// A request head, its content left unread.
    pub fn read_head(&mut self) -> Request {
        let head = self.try_read_until(b"\r\n\r\n").expect("a request head");
        Request {
            head,
            body: Vec::new(),
        }
    }

    /// A whole request; a chunked body is taken raw, up to its last chunk.
    pub fn read_request(&mut self) -> Request {
        self.try_read_request().expect("a request")
    }

    /// A whole request, or `None` when the connection ends first.
    pub fn try_read_request(&mut self) -> Option<Request> {
        let head = self.try_read_until(b"\r\n\r\n")?;
        let mut request = Request {
            head,
            body: Vec::new(),
        };
        if let Some(length) = request.all("content-length").first() {
            request.body = self.read_exact(length.parse().unwrap());
        } else if !request.all("transfer-encoding").is_empty() {
            request.body = self.read_chunked();
        }
        Some(request)
    }

    fn read_chunked(&mut self) -> Vec<u8> {
        let mut raw = Vec::new();
        loop {
            let line = self.try_read_until(b"\r\n").expect("a chunk line");
            let size = String::from_utf8_lossy(&line)
                .trim_end()
                .split(';')
                .next()
                .unwrap()
                .to_owned();
            let size = usize::from_str_radix(&size, 16).unwrap();
            raw.extend_from_slice(&line);
            if size > 0 {
                raw.extend_from_slice(&self.read_exact(size + 2));
                continue;
            }
            loop {
                let line = self.try_read_until(b"\r\n").expect("a trailer line");
                raw.extend_from_slice(&line);
                if line == b"\r\n" {
                    return raw;
                }
            }
        }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = self
            .stream
            .write_all(bytes.as_ref())
            .and_then(|()| self.stream.flush());
        sent.expect("the gateway takes bytes");
    }

    /// Sends although the gateway may have closed; whether it took the bytes.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream
            .write_all(bytes.as_ref())
            .and_then(|()| self.stream.flush())
            .is_ok()
    }

    /// Reads on until the gateway closes; how it did.
    pub fn wait_for_close(&mut self) -> End {
        loop {
            if let Err(end) = self.fill() {
                return end;
            }
        }
    }

    /// Closes with a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.tcp, Some(std::time::Duration::ZERO))
            .unwrap();
    }

    /// Ends our direction: FIN only, no close_notify.
    pub fn shutdown_write(&self) {
        self.tcp.shutdown(std::net::Shutdown::Write).unwrap();
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}
