//! Those on the way: what balancers say, and proxies that speak TLS or SOCKS5 and relay to one upstream.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{Connection, ServerConfig};

use super::proxy::{ESTABLISHED, copy};
use super::tls;
use super::upstream::Upstream;
use super::wire::{PATIENCE, lossy};

/// What begins a PROXY header of version 2.
pub(crate) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 1: a client with this address, port 4711.
pub(crate) fn line(client: &str) -> Vec<u8> {
    let (family, to) = match client.contains(':') {
        true => ("TCP6", "2001:db8::1"),
        false => ("TCP4", "198.51.100.1"),
    };
    format!("PROXY {family} {client} {to} 4711 443\r\n").into_bytes()
}

/// Version 2: the same, with an extension behind.
pub(crate) fn block(client: &str) -> Vec<u8> {
    let (family, from, to) = match client.parse().unwrap() {
        std::net::IpAddr::V4(ip) => (0x11, ip.octets().to_vec(), vec![198, 51, 100, 1]),
        std::net::IpAddr::V6(ip) => (0x21, ip.octets().to_vec(), vec![0x20; 16]),
    };
    let ports = [0x12, 0x67, 0x01, 0xbb];
    let said = [&from[..], &to, &ports, &[2, 0, 3, b'a', b'p', b'i']].concat();
    binary(0x21, family, &said)
}

/// Version 2: a balancer for itself.
pub(crate) fn local() -> Vec<u8> {
    binary(0x20, 0, b"")
}

/// Version 2.
pub(crate) fn binary(command: u8, family: u8, said: &[u8]) -> Vec<u8> {
    let len = u16::try_from(said.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &len, said].concat()
}

/// A proxy that relays every connection to one upstream, whatever it was asked for.
pub(crate) struct Hop {
    addr: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hop {
    /// It speaks TLS, and is asked in HTTP.
    pub(crate) fn tls(to: &Upstream, config: &Arc<ServerConfig>) -> Self {
        Self::tls_with(to, config, ESTABLISHED)
    }

    /// The same with another answer.
    pub(crate) fn tls_with(
        to: &Upstream,
        config: &Arc<ServerConfig>,
        answer: &'static str,
    ) -> Self {
        let (target, config) = (to.addr(), Arc::clone(config));
        Self::start("https", move |client, asked| {
            let mut client = Secured {
                tls: tls::server(&config),
                socket: client,
            };
            if let Some(head) = client.head() {
                asked.lock().unwrap().push(head);
                client.say(answer.as_bytes());
                if answer.starts_with("HTTP/1.1 200") {
                    client.relay(TcpStream::connect(target).unwrap());
                }
            }
        })
    }

    /// It speaks SOCKS5, and wants no credentials.
    pub(crate) fn socks(to: &Upstream) -> Self {
        let target = to.addr();
        Self::start("socks5h", move |mut client, asked| {
            if let Some(said) = greet(&mut client) {
                asked.lock().unwrap().push(said);
                let _ = client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
                let upstream = TcpStream::connect(target).unwrap();
                let back = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || copy(back.0, back.1));
                copy(client, upstream);
            }
        })
    }

    fn start(
        scheme: &'static str,
        serve: impl Fn(TcpStream, &Mutex<Vec<String>>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, serve) = (Arc::clone(&asked), Arc::new(serve));
        // Ends with the test's process: nobody waits for it.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (seen, serve) = (Arc::clone(&seen), Arc::clone(&serve));
                thread::spawn(move || serve(client, &seen));
            }
        });
        Self {
            addr,
            scheme,
            asked,
        }
    }

    /// As a proxy's URL.
    pub(crate) fn url(&self) -> String {
        let port = self.addr.port();
        match self.scheme {
            "https" => format!("https://localhost:{port}"),
            scheme => format!("{scheme}://127.0.0.1:{port}"),
        }
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Up to the request for a connection, and where that is to lead.
fn greet(client: &mut TcpStream) -> Option<String> {
    let mut take = |len| {
        let mut room = vec![0; len];
        client.read_exact(&mut room).ok().map(|()| room)
    };
    let greeting = take(2)?;
    take(greeting[1].into())?;
    client.write_all(&[5, 0]).ok()?;
    let mut take = |len| {
        let mut room = vec![0; len];
        client.read_exact(&mut room).ok().map(|()| room)
    };
    let begin = take(4)?;
    let host = match begin[3] {
        1 => std::net::Ipv4Addr::from(<[u8; 4]>::try_from(take(4)?).unwrap()).to_string(),
        4 => std::net::Ipv6Addr::from(<[u8; 16]>::try_from(take(16)?).unwrap()).to_string(),
        _ => {
            let len = take(1)?[0];
            lossy(&take(len.into())?)
        }
    };
    let port = take(2)?;
    Some(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}

/// A client that TLS is spoken with.
struct Secured {
    tls: Connection,
    socket: TcpStream,
}

impl Secured {
    /// Byte by byte, so that nothing behind the head is taken.
    fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.tls.reader().read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.tls.complete_io(&mut self.socket).ok()?;
                }
                _ => return None,
            }
        }
        Some(lossy(&head))
    }

    fn say(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
        self.flush();
    }

    fn flush(&mut self) {
        while self.tls.wants_write() && self.tls.write_tls(&mut self.socket).is_ok() {}
    }

    /// Passes on what comes from either side until one of them ends.
    fn relay(mut self, mut upstream: TcpStream) {
        let mut piece = vec![0; 16 * 1024];
        loop {
            while let Ok(len @ 1..) = self.tls.reader().read(&mut piece) {
                if upstream.write_all(&piece[..len]).is_err() {
                    return;
                }
            }
            let mut fds = [
                PollFd::new(&self.socket, PollFlags::IN),
                PollFd::new(&upstream, PollFlags::IN),
            ];
            let timeout = Timespec::try_from(PATIENCE).unwrap();
            if poll(&mut fds, Some(&timeout)).unwrap() == 0 {
                return;
            }
            let is_ready = fds.map(|fd| !fd.revents().is_empty());
            if is_ready[0] {
                let received = self.tls.read_tls(&mut self.socket);
                if !matches!(received, Ok(1..)) || self.tls.process_new_packets().is_err() {
                    return;
                }
                self.flush();
            }
            if is_ready[1] {
                match upstream.read(&mut piece) {
                    Ok(len @ 1..) => self.say(&piece[..len]),
                    _ => {
                        // The way is over, and nobody knows from it whether what came was whole.
                        self.tls.send_close_notify();
                        return self.flush();
                    }
                }
            }
        }
    }
}
