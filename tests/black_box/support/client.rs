//! A raw client: bytes out, a strict reader in.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::{Gateway, PATIENCE, tls};

/// A connection and what was received on it but not used.
pub struct Client {
    stream: Box<dyn Duplex>,
    tcp: TcpStream,
    buffer: Vec<u8>,
}

/// Both directions of a stream.
pub trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN; under TLS close_notify.
    Orderly,
    /// Reset, or TLS without close_notify.
    Cut,
}

/// A response as it came.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub reason: String,
    /// Every byte up to and with the blank line.
    pub head: Vec<u8>,
    /// Name and value in order.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub trailers: Vec<(String, String)>,
}

impl Response {
    /// The only value of a field; panics on a repeated one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self
            .fields
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let value = found.next().map(|(_, value)| &**value);
        assert!(found.next().is_none(), "{name} twice in {:?}", self.fields);
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of a gateway error.
    pub fn code(&self) -> String {
        let value: serde_json::Value = serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text()));
        value["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

impl Client {
    /// Plain TCP.
    pub fn connect(gateway: &Gateway) -> Self {
        Self::to(gateway.addr)
    }

    pub fn to(addr: SocketAddr) -> Self {
        let tcp = TcpStream::connect(addr).expect("the gateway accepts");
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        Self {
            stream: Box::new(tcp.try_clone().unwrap()),
            tcp,
            buffer: Vec::new(),
        }
    }

    /// TLS, trusting the tests' authority.
    pub fn connect_tls(gateway: &Gateway) -> Self {
        let mut client = Self::to(gateway.addr);
        client.stream = Box::new(tls::client(
            client.tcp.try_clone().unwrap(),
            tls::client_config(),
        ));
        client
    }

    /// Any TLS stream of the test's own making.
    pub fn over(tcp: &TcpStream, stream: Box<dyn Duplex>) -> Self {
        Self {
            stream,
            tcp: tcp.try_clone().unwrap(),
            buffer: Vec::new(),
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream
            .write_all(bytes.as_ref())
            .expect("the gateway takes bytes");
        self.stream.flush().unwrap();
    }

    /// Sends although the gateway may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream
            .write_all(bytes.as_ref())
            .and_then(|()| self.stream.flush())
            .is_ok()
    }

    /// Sends and reads the response.
    pub fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        let head_only = bytes.as_ref().starts_with(b"HEAD ");
        self.send(bytes);
        if head_only {
            self.read_head()
        } else {
            self.read_response()
        }
    }

    fn fill(&mut self) -> Result<usize, End> {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(End::Orderly),
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Ok(n)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!(
                    "nothing came in time; so far {:?}",
                    String::from_utf8_lossy(&self.buffer)
                )
            }
            Err(_) => Err(End::Cut),
        }
    }

    /// Exactly `n` bytes.
    pub fn read_exact(&mut self, n: usize) -> Vec<u8> {
        while self.buffer.len() < n {
            if let Err(end) = self.fill() {
                panic!("{end:?} after {:?}", String::from_utf8_lossy(&self.buffer));
            }
        }
        self.buffer.drain(..n).collect()
    }

    /// Bytes up to and with `end`.
    pub fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.buffer, end) {
                return self.buffer.drain(..at + end.len()).collect();
            }
            if let Err(how) = self.fill() {
                panic!("{how:?} after {:?}", String::from_utf8_lossy(&self.buffer));
            }
        }
    }

    /// A head, its content left unread.
    pub fn read_head(&mut self) -> Response {
        let head = self.read_until(b"\r\n\r\n");
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.split("\r\n");
        let status_line = lines.next().unwrap();
        let rest = status_line
            .strip_prefix("HTTP/1.1 ")
            .unwrap_or_else(|| panic!("{status_line:?}"));
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        let fields = lines
            .filter(|line| !line.is_empty())
            .map(parse_field)
            .collect();
        Response {
            status: status.parse().unwrap_or_else(|_| panic!("{status_line:?}")),
            reason: reason.to_owned(),
            head,
            fields,
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// A final response with its content, interim ones passed over.
    pub fn read_response(&mut self) -> Response {
        loop {
            let mut response = self.read_head();
            if response.status >= 200 || response.status == 101 {
                self.read_body(&mut response);
                return response;
            }
        }
    }

    /// The content that belongs to a head.
    pub fn read_body(&mut self, response: &mut Response) {
        if matches!(response.status, 101 | 204 | 304) {
            return;
        }
        match (
            response.get("transfer-encoding"),
            response.get("content-length"),
        ) {
            (Some(coding), None) => {
                assert_eq!(coding.to_ascii_lowercase(), "chunked");
                loop {
                    let chunk = self.read_chunk();
                    if chunk.is_empty() {
                        break;
                    }
                    response.body.extend_from_slice(&chunk);
                }
                response.trailers = self.read_trailers();
            }
            (None, Some(length)) => response.body = self.read_exact(length.parse().unwrap()),
            (None, None) => {
                let (rest, end) = self.read_to_end();
                assert_eq!(
                    end,
                    End::Orderly,
                    "after {:?}",
                    String::from_utf8_lossy(&rest)
                );
                response.body = rest;
            }
            (Some(_), Some(_)) => panic!("both framings in {:?}", response.fields),
        }
    }

    /// One chunk's content; empty for the last.
    pub fn read_chunk(&mut self) -> Vec<u8> {
        let line = self.read_until(b"\r\n");
        let line = String::from_utf8(line).unwrap();
        let size = line.trim_end().split(';').next().unwrap();
        let size =
            usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("chunk line {line:?}"));
        if size == 0 {
            return Vec::new();
        }
        let chunk = self.read_exact(size);
        assert_eq!(self.read_exact(2), b"\r\n");
        chunk
    }

    /// Trailers and the blank line behind the last chunk.
    pub fn read_trailers(&mut self) -> Vec<(String, String)> {
        let mut trailers = Vec::new();
        loop {
            let line = self.read_until(b"\r\n");
            if line == b"\r\n" {
                return trailers;
            }
            trailers.push(parse_field(String::from_utf8(line).unwrap().trim_end()));
        }
    }

    /// Everything until the connection ends, and how it did.
    pub fn read_to_end(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// The connection ends in order with nothing more on it.
    pub fn expect_close(&mut self) {
        let (rest, end) = self.read_to_end();
        assert_eq!(
            (String::from_utf8_lossy(&rest).into_owned(), end),
            (String::new(), End::Orderly)
        );
    }

    /// Ends our direction.
    pub fn shutdown_write(&self) {
        self.tcp.shutdown(Shutdown::Write).unwrap();
    }

    /// Goes away with a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.tcp, Some(std::time::Duration::ZERO))
            .unwrap();
    }
}

fn parse_field(line: &str) -> (String, String) {
    let (name, value) = line
        .split_once(':')
        .unwrap_or_else(|| panic!("field line {line:?}"));
    (name.to_owned(), value.trim().to_owned())
}

/// Where `part` begins in `whole`.
pub fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
    whole.windows(part.len()).position(|window| window == part)
}
