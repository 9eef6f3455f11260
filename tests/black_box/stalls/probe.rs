//! Steady small exchanges and their times; the provider that answers them.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use crate::support::{Gateway, KEY, Wire};

/// Clients through the gateway.
const CLIENTS: usize = 2;
/// Between the beginnings of a client's exchanges.
const PACE: Duration = Duration::from_millis(4);

/// Between two events of a stream.
const EVENT_PACE: Duration = Duration::from_millis(20);

/// Answers whatever comes, until the process ends.
pub(crate) struct Provider(SocketAddr);

impl Provider {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                thread::spawn(move || answer(socket));
            }
        });
        Self(addr)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0)
    }
}

/// What is asked for: a small answer, events at their pace, as many bytes or tiny chunks as are taken, or an answer
/// to content without an end.
fn answer(mut socket: TcpStream) {
    socket.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    let mut piece = [0; 64 * 1024];
    loop {
        match socket.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(taken) => head.extend_from_slice(&piece[..taken]),
        }
        if !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            continue;
        }
        let asked = |path: &[u8]| {
            let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
            line.windows(path.len()).any(|bytes| bytes == path)
        };
        let written = match () {
            () if asked(b"/events") => events(&mut socket),
            () if asked(b"/bulk") => bulk(&mut socket),
            () if asked(b"/tiny") => tiny(&mut socket),
            () if asked(b"/upload") => swallow(&mut socket),
            () => socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        };
        if written.is_err() {
            return;
        }
        head.clear();
    }
}

fn events(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut next = Instant::now();
    loop {
        socket.write_all(b"9\r\ndata: x\n\n\r\n")?;
        next += EVENT_PACE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn bulk(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")?;
    let piece = [b'x'; 256 * 1024];
    loop {
        socket.write_all(&piece)?;
    }
}

fn tiny(socket: &mut TcpStream) -> io::Result<()> {
    socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let chunks = b"1\r\nx\r\n".repeat(40_000);
    loop {
        socket.write_all(&chunks)?;
    }
}

fn swallow(socket: &mut TcpStream) -> io::Result<()> {
    let mut piece = [0; 256 * 1024];
    while socket.read(&mut piece)? > 0 {}
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// How long exchanges took, from the moment they were to begin.
#[derive(Default)]
pub(crate) struct Times {
    sorted: Vec<Duration>,
    /// The most that the worker ran for during one of them.
    worker: Option<Duration>,
}

impl Times {
    fn of(mut times: Vec<Duration>, worker: Option<Duration>) -> Self {
        times.sort_unstable();
        Self {
            sorted: times,
            worker,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let at = ((self.sorted.len() - 1) as f64 * share).round() as usize;
        self.sorted[at]
    }

    pub(crate) fn worker(&self) -> Option<Duration> {
        self.worker
    }
}

/// What one phase came to.
pub(crate) struct Measured {
    pub(crate) exchanges: Times,
    pub(crate) direct: Times,
    /// Between two events of a stream through the gateway, and of one from the provider itself.
    pub(crate) gaps: Times,
    pub(crate) direct_gaps: Times,
    pub(crate) health: Times,
}

/// Exchanges through `gateway` and with the provider itself for `time`.
pub(crate) fn measure(
    gateway: &Gateway,
    tls: Option<&Arc<ClientConfig>>,
    provider: &Provider,
    time: Duration,
) -> Measured {
    let worker = Worker::of(gateway);
    let over = AtomicBool::new(false);
    let (over, worker) = (&over, worker.as_ref());
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let client = match tls {
                    Some(config) => gateway.connect_tls(config),
                    None => gateway.connect(),
                };
                scope.spawn(move || exchanges(client, over, worker))
            })
            .collect();
        let client = Wire::connect(provider.0);
        let direct = scope.spawn(move || exchanges(client, over, None));
        let wire = || match tls {
            Some(config) => gateway.connect_tls(config),
            None => gateway.connect(),
        };
        let (stream, health) = (wire(), wire());
        let stream = scope.spawn(move || gaps(stream, over));
        let health = scope.spawn(move || healths(health, over));
        let client = Wire::connect(provider.0);
        let direct_stream = scope.spawn(move || gaps(client, over));
        thread::sleep(time);
        over.store(true, Ordering::SeqCst);
        let (mut all, mut most) = (Vec::new(), None);
        for client in clients {
            let (times, ran) = client.join().unwrap();
            all.extend(times);
            most = most.max(ran);
        }
        let (direct, _) = direct.join().unwrap();
        Measured {
            exchanges: Times::of(all, most),
            direct: Times::of(direct, None),
            gaps: Times::of(stream.join().unwrap(), None),
            direct_gaps: Times::of(direct_stream.join().unwrap(), None),
            health: Times::of(health.join().unwrap(), None),
        }
    })
}

fn exchanges(
    client: Wire,
    over: &AtomicBool,
    worker: Option<&Worker>,
) -> (Vec<Duration>, Option<Duration>) {
    let mut client = client.without_record();
    let request = format!("GET /p/probe/x HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n\r\n");
    // The first one connects and shakes hands.
    client.send(&request);
    assert_eq!(client.response().status(), 200);
    let mut times = Vec::new();
    let mut ran = worker.map(Worker::ran);
    let mut most = None;
    let mut begin = Instant::now();
    while !over.load(Ordering::SeqCst) {
        begin += PACE;
        thread::sleep(begin.saturating_duration_since(Instant::now()));
        client.send(&request);
        assert_eq!(client.response().status(), 200);
        times.push(begin.elapsed());
        let now = worker.map(Worker::ran);
        most = most.max(now.zip(ran).map(|(now, then)| now.saturating_sub(then)));
        ran = now;
    }
    (times, most)
}

/// How far events of a stream are apart.
fn gaps(client: Wire, over: &AtomicBool) -> Vec<Duration> {
    let mut client = client.without_record();
    client.send(format!(
        "GET /p/probe/events HTTP/1.1\r\nHost: g\r\nx-api-key: {KEY}\r\n\r\n"
    ));
    client.take_until(b"data: x\n\n").unwrap();
    let (mut gaps, mut last) = (Vec::new(), Instant::now());
    while !over.load(Ordering::SeqCst) {
        client.take_until(b"data: x\n\n").unwrap();
        gaps.push(last.elapsed());
        last = Instant::now();
    }
    gaps
}

/// How long the gateway takes to say that it is well, asked again a pace after each answer.
fn healths(client: Wire, over: &AtomicBool) -> Vec<Duration> {
    let mut client = client.without_record();
    let mut times = Vec::new();
    while !over.load(Ordering::SeqCst) {
        thread::sleep(PACE);
        let begin = Instant::now();
        client.send("GET /health HTTP/1.1\r\nHost: g\r\n\r\n");
        assert_eq!(client.response().status(), 200);
        times.push(begin.elapsed());
    }
    times
}

/// The worker's thread, as the system accounts for it.
struct Worker(PathBuf);

impl Worker {
    /// `None` where the system does not tell.
    fn of(gateway: &Gateway) -> Option<Self> {
        let tasks = format!("/proc/{}/task", gateway.pid().as_raw_nonzero());
        let mut tasks = fs::read_dir(tasks).ok()?.flatten();
        let named = |path: &PathBuf| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "worker-0")
        };
        let task = tasks.find_map(|task| Some(task.path()).filter(named))?;
        let schedstat = task.join("schedstat");
        schedstat.exists().then_some(Self(schedstat))
    }

    /// For how long it ran so far.
    fn ran(&self) -> Duration {
        let text = fs::read_to_string(&self.0).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }
}
