//! A proxy that the test plays, or one that opens every tunnel by itself.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::message::Head;
use super::upstream::Upstream;
use super::wire::{PATIENCE, Wire, lossy};

/// The answer that opens a tunnel, as squid writes it.
pub(crate) const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\n\r\n";

/// A proxy that relays every tunnel to one upstream, whatever it was asked for.
pub(crate) struct Relay {
    addr: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// To this upstream.
    pub(crate) fn to(upstream: &Upstream) -> Self {
        Self::to_with(upstream, ESTABLISHED)
    }

    /// The same with another answer.
    pub(crate) fn to_with(upstream: &Upstream, answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let (target, seen) = (upstream.addr(), Arc::clone(&heads));
        // Ends with the test's process: nobody waits for it.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                thread::spawn(move || {
                    if let Some(head) = read_head(&client) {
                        seen.lock().unwrap().push(head);
                        relay(client, TcpStream::connect(target).unwrap(), answer);
                    }
                });
            }
        });
        Self { addr, heads }
    }

    /// As a proxy's URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What it was asked so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// Byte by byte, so that nothing behind the head is taken.
fn read_head(mut client: &TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(lossy(&head))
}

fn relay(mut client: TcpStream, upstream: TcpStream, answer: &str) {
    let back = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
    let _ = client.write_all(answer.as_bytes());
    thread::spawn(move || copy(back.0, back.1));
    copy(client, upstream);
}

/// Passes on what comes, and its end.
pub(crate) fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

/// The request for a tunnel on a connection to a proxy that the test plays.
#[track_caller]
pub(crate) fn asked(wire: &mut Wire) -> Head {
    let head = wire.head();
    assert_eq!(head.method(), "CONNECT");
    head
}

/// A provider on a Unix socket.
pub(crate) struct UnixUpstream(UnixListener);

impl UnixUpstream {
    pub(crate) fn listen(path: &Path) -> Self {
        Self(UnixListener::bind(path).unwrap())
    }

    /// With room for this many connections, and one, that wait to be accepted.
    pub(crate) fn listen_with_queue(path: &Path, room: i32) -> Self {
        let upstream = Self::listen(path);
        rustix::net::listen(&upstream.0, room).unwrap();
        upstream
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Wire {
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        assert_eq!(
            poll(&mut fds, Some(&timeout)).unwrap(),
            1,
            "no connection to the socket"
        );
        let (socket, _) = self.0.accept().unwrap();
        Wire::new(TcpStream::from(OwnedFd::from(socket)), None)
    }
}
