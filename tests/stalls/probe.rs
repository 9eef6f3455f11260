//! Steady small exchanges and their times; the provider that answers them.

use std::fs;
use std::io::{Read as _, Write as _};
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

fn answer(mut socket: TcpStream) {
    socket.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    let mut piece = [0; 64 * 1024];
    loop {
        match socket.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(taken) => head.extend_from_slice(&piece[..taken]),
        }
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            if socket.write_all(ok).is_err() {
                return;
            }
        }
    }
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
