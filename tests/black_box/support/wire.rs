//! One end of a connection, plain or TLS, blocking, with everything it received kept for later.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};
use rustls::Connection;

/// How long anything may take before a test gives up; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a peer takes nothing until it is taken for stalled.
const STALL: Duration = Duration::from_millis(300);

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN, on TLS after a close_notify.
    Clean,
    /// RST.
    Reset,
    /// FIN on TLS without a close_notify.
    Truncated,
    /// TLS was refused.
    Tls(String),
}

/// Bytes that a record keeps; what only the bulk tests send is beyond it.
const RECORD_BYTES_MAX: usize = 32 << 20;

/// What arrived at one end.
#[derive(Default)]
pub(crate) struct Record {
    bytes: Mutex<Vec<u8>>,
}

impl Record {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn add(&self, piece: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap();
        let room = RECORD_BYTES_MAX.saturating_sub(bytes.len());
        bytes.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

/// One end of a connection.
pub(crate) struct Wire {
    socket: TcpStream,
    tls: Option<Box<Connection>>,
    unread: Vec<u8>,
    record: Option<Arc<Record>>,
}

impl Wire {
    /// Over an established connection.
    pub(crate) fn new(socket: TcpStream, tls: Option<Connection>) -> Self {
        // A Unix socket has no such thing, and no need of it.
        let _ = socket.set_nodelay(true);
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            tls: tls.map(Box::new),
            unread: Vec::new(),
            record: Some(Arc::default()),
        }
    }

    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::new(TcpStream::connect_timeout(&addr, PATIENCE).unwrap(), None)
    }

    pub(crate) fn connect_tls(addr: SocketAddr, tls: Connection) -> Self {
        Self::new(
            TcpStream::connect_timeout(&addr, PATIENCE).unwrap(),
            Some(tls),
        )
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn tls(&self) -> &Connection {
        self.tls.as_ref().unwrap()
    }

    pub(crate) fn record(&self) -> Arc<Record> {
        Arc::clone(self.record.as_ref().unwrap())
    }

    /// Sends all of it.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends all of it, unless the other side has gone.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), End> {
        let mut bytes = bytes.as_ref();
        let Some(tls) = &mut self.tls else {
            return self.socket.write_all(bytes).map_err(end_of);
        };
        while tls.is_handshaking() {
            match tls.complete_io(&mut self.socket) {
                Ok(_) => {}
                Err(error) => return Err(end_of(error)),
            }
        }
        while !bytes.is_empty() {
            let taken = tls.writer().write(bytes).unwrap();
            bytes = &bytes[taken..];
            flush(tls, &mut self.socket)?;
        }
        Ok(())
    }

    /// Sends filler until the other side has taken none for a while; returns how much went out.
    /// After that only the end can be sent.
    pub(crate) fn stuff(&mut self) -> usize {
        self.stuff_with(&[b'x'; 64 * 1024])
    }

    /// The same with other filler, again and again.
    pub(crate) fn stuff_with(&mut self, filler: &[u8]) -> usize {
        self.handshake().unwrap();
        self.socket.set_write_timeout(Some(STALL)).unwrap();
        let sent = self.stuff_more(filler);
        self.socket.set_write_timeout(Some(PATIENCE)).unwrap();
        sent
    }

    fn stuff_more(&mut self, filler: &[u8]) -> usize {
        let (mut sent, mut at) = (0, 0);
        loop {
            let gone = match &mut self.tls {
                None => self.socket.write(&filler[at..]).inspect(|taken| {
                    at = (at + taken) % filler.len();
                }),
                Some(tls) => {
                    at = (at + tls.writer().write(&filler[at..]).unwrap()) % filler.len();
                    tls.write_tls(&mut self.socket)
                }
            };
            match gone {
                Ok(taken) => sent += taken,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return sent,
                Err(error) => panic!("{error} after {sent} bytes"),
            }
        }
    }

    /// Seals bytes into TLS records without sending them.
    pub(crate) fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        let tls = self.tls.as_mut().unwrap();
        let mut records = Vec::new();
        tls.writer().write_all(bytes).unwrap();
        while tls.wants_write() {
            tls.write_tls(&mut records).unwrap();
        }
        records
    }

    /// Changes the TLS keys of both directions, at once and without any content.
    pub(crate) fn update_keys(&mut self) {
        let tls = self.tls.as_mut().unwrap();
        tls.refresh_traffic_keys().unwrap();
        flush(tls, &mut self.socket).unwrap();
    }

    /// Sends bytes past TLS, if there is any.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Speaks TLS from here on, as after a proxy's answer.
    pub(crate) fn secure(&mut self, tls: Connection) {
        assert!(
            self.unread.is_empty(),
            "bytes came before they were asked for"
        );
        self.tls = Some(Box::new(tls));
    }

    /// Leaves TLS out from here on: what is read and sent is what crosses the network.
    pub(crate) fn below_tls(&mut self) {
        self.tls = None;
    }

    /// Whether there is TLS and its handshake is not over.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Waits until the socket has something to read, and reads nothing.
    #[track_caller]
    pub(crate) fn wait_readable(&self) {
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        assert_eq!(poll(&mut fds, Some(&timeout)).unwrap(), 1, "nothing came");
    }

    /// Finishes the TLS handshake.
    pub(crate) fn handshake(&mut self) -> Result<(), End> {
        self.try_send("")
    }

    /// Reads some bytes; never none.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> Result<usize, End> {
        let taken = match &mut self.tls {
            None => match self.socket.read(into).map_err(end_of)? {
                0 => return Err(End::Clean),
                taken => taken,
            },
            Some(tls) => read_tls(tls, &mut self.socket, into)?,
        };
        if let Some(record) = &self.record {
            record.add(&into[..taken]);
        }
        Ok(taken)
    }

    /// Waits for more bytes and keeps them.
    pub(crate) fn fill(&mut self) -> Result<(), End> {
        let mut piece = [0; 16 * 1024];
        let taken = self.read(&mut piece)?;
        self.unread.extend_from_slice(&piece[..taken]);
        Ok(())
    }

    /// What arrived and was not yet taken.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Takes what comes up to and with `mark`.
    pub(crate) fn take_until(&mut self, mark: &[u8]) -> Result<Vec<u8>, End> {
        let mut seen = 0_usize;
        loop {
            let from = seen.saturating_sub(mark.len());
            if let Some(at) = self.unread[from..]
                .windows(mark.len())
                .position(|w| w == mark)
            {
                return Ok(self.unread.drain(..from + at + mark.len()).collect());
            }
            seen = self.unread.len();
            self.fill()?;
        }
    }

    /// Takes `len` bytes.
    pub(crate) fn take(&mut self, len: usize) -> Result<Vec<u8>, End> {
        while self.unread.len() < len {
            self.fill()?;
        }
        Ok(self.unread.drain(..len).collect())
    }

    /// Waits for exactly these bytes.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        match self.take(bytes.len()) {
            Ok(got) => assert_eq!(lossy(&got), lossy(bytes)),
            Err(end) => panic!(
                "{end:?} after {:?}, expected {:?}",
                lossy(&self.unread),
                lossy(bytes)
            ),
        }
    }

    /// Takes everything until the end, and how that was.
    pub(crate) fn take_all(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (std::mem::take(&mut self.unread), end);
            }
        }
    }

    /// Waits for the end; no byte may come before it.
    #[track_caller]
    pub(crate) fn expect_end(&mut self) -> End {
        let (rest, end) = self.take_all();
        assert_eq!(lossy(&rest), "", "unexpected bytes before the end");
        end
    }

    /// Waits for the end, whatever comes before it, and says how long that took.
    pub(crate) fn wait_for_close(&mut self) -> (End, Duration) {
        let begin = Instant::now();
        let (_, end) = self.take_all();
        (end, begin.elapsed())
    }

    /// Waits for the end without reading what comes before it; false if it does not come.
    pub(crate) fn is_cut_unread(&self) -> bool {
        let timeout = Timespec::try_from(PATIENCE).unwrap();
        let mut fds = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        poll(&mut fds, Some(&timeout)).unwrap() == 1
    }

    /// Whether something can be read, the end included, without waiting.
    pub(crate) fn readable_now(&self) -> bool {
        if !self.unread.is_empty() {
            return true;
        }
        self.socket.set_nonblocking(true).unwrap();
        let peeked = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false).unwrap();
        !matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// Says that no more will come, and goes on reading.
    pub(crate) fn half_close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = flush(tls, &mut self.socket);
        }
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Says on TLS that no more will come, and leaves the socket as it is.
    pub(crate) fn close_notify(&mut self) {
        let tls = self.tls.as_mut().unwrap();
        tls.send_close_notify();
        flush(tls, &mut self.socket).unwrap();
    }

    /// Ends in good order.
    pub(crate) fn close(mut self) {
        self.half_close();
    }

    /// Ends with FIN alone, on TLS without the close_notify that belongs there.
    pub(crate) fn truncate(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Ends with RST.
    pub(crate) fn reset(self) {
        sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO)).unwrap();
    }

    /// Keeps no record of what arrives.
    pub(crate) fn without_record(mut self) -> Self {
        self.record = None;
        self
    }

    /// Whether bytes can be taken without asking the socket.
    pub(crate) fn has_plain(&mut self) -> bool {
        let tls = self.tls.as_mut();
        let held = tls.and_then(|tls| tls.process_new_packets().ok());
        !self.unread.is_empty() || held.is_some_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    /// Takes what arrived and was not yet taken.
    pub(crate) fn take_unread(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Takes what there is, `len` bytes at most; waits for the first.
    pub(crate) fn take_some(&mut self, len: usize) -> Result<Vec<u8>, End> {
        if self.unread.is_empty() {
            self.fill()?;
        }
        let len = len.min(self.unread.len());
        Ok(self.unread.drain(..len).collect())
    }
}

/// A client with this address.
pub(crate) fn connect_from(ip: [u8; 4], to: SocketAddr) -> Wire {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::from((ip, 0))).unwrap();
    connect(&socket, &to).unwrap();
    Wire::new(TcpStream::from(socket), None)
}

/// One byte a char, but what needs more than one.
pub(crate) fn latin1(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Bytes as they may be shown.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn flush(tls: &mut Connection, socket: &mut TcpStream) -> Result<(), End> {
    while tls.wants_write() {
        tls.write_tls(socket).map_err(end_of)?;
    }
    Ok(())
}

fn read_tls(tls: &mut Connection, socket: &mut TcpStream, into: &mut [u8]) -> Result<usize, End> {
    loop {
        match tls.reader().read(into) {
            Ok(0) => return Err(End::Clean),
            Ok(taken) => return Ok(taken),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(End::Truncated),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(end_of(error)),
        }
        // What arrived before the other side had enough of ours is still there to be read.
        let flushed = flush(tls, socket);
        let arrived = tls.read_tls(socket).map_err(end_of)?;
        if let (0, Err(end)) = (arrived, flushed) {
            return Err(end);
        }
        if let Err(error) = tls.process_new_packets() {
            let _ = flush(tls, socket);
            return Err(End::Tls(error.to_string()));
        }
        let _ = flush(tls, socket);
    }
}

fn end_of(error: io::Error) -> End {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted => {
            End::Reset
        }
        ErrorKind::UnexpectedEof => End::Truncated,
        ErrorKind::InvalidData => End::Tls(error.to_string()),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => panic!("nothing moved within {PATIENCE:?}"),
        _ => panic!("unexpected {error}"),
    }
}
