//! Asks a gateway for its figures: one request, one connection, over TCP or a Unix socket. Blocks its thread.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::base::number;

use super::address::{Address, Place};

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum FetchError {
    /// Nobody answers there.
    Unreachable(io::Error),
    /// Not with a 200.
    Status(u16),
    /// With something else than was asked for.
    Unusable(&'static str),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "the gateway is not reachable: {error}"),
            Self::Status(404) => f.write_str(
                "there are no metrics: set metrics.listen, or metrics.enabled (METRICS_ENABLED), and \
                 start the gateway anew",
            ),
            Self::Status(status) => write!(f, "the answer was {status}, not 200"),
            Self::Unusable(what) => f.write_str(what),
        }
    }
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error)
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const ANSWER_MAX: usize = 32 << 20;

/// The metrics' text.
///
/// # Errors
/// Why there is none.
pub(super) fn metrics(address: &Address) -> Result<String, FetchError> {
    get(address, &address.metrics)
}

/// The list of requests under way; `None` where the gateway has none to show.
pub(super) fn streams(address: &Address) -> Option<String> {
    get(address, &address.streams).ok()
}

fn get(address: &Address, path: &str) -> Result<String, FetchError> {
    let until = Instant::now() + PATIENCE;
    // HTTP/1.0: the answer has no chunks and ends with its connection.
    let host = address.host();
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: text/plain, application/json\r\n\r\n"
    );
    let answer = match &address.place {
        Place::Tcp(host, port) => {
            let stream = connect(host, *port, until)?;
            exchange(stream, TcpStream::set_read_timeout, &request, until)
        }
        Place::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            exchange(stream, UnixStream::set_read_timeout, &request, until)
        }
    };
    body(&answer?)
}

fn connect(host: &str, port: u16, until: Instant) -> io::Result<TcpStream> {
    #[expect(
        clippy::disallowed_methods,
        reason = "no core of a gateway waits for this thread"
    )]
    let addresses = std::net::ToSocketAddrs::to_socket_addrs(&(host, port))?;
    let mut last = io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

type SetTimeout<S> = fn(&S, Option<Duration>) -> io::Result<()>;

fn exchange<S: Read + Write>(
    mut stream: S,
    set_timeout: SetTimeout<S>,
    request: &str,
    until: Instant,
) -> Result<Vec<u8>, FetchError> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        set_timeout(&stream, Some(left(until)?))?;
        let read = match stream.read(&mut buffer) {
            Ok(0) => return Ok(answer),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(late().into()),
            Err(error) => return Err(error.into()),
        };
        answer.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if is_whole(&answer) {
            return Ok(answer);
        }
        if answer.len() > ANSWER_MAX {
            return Err(FetchError::Unusable("the answer is too long"));
        }
    }
}

fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        Err(late())
    } else {
        Ok(left)
    }
}

fn late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s")
}

/// What an answer's head says.
struct Head {
    status: u16,
    /// Where the content begins.
    length: usize,
    /// How much of it there is to be.
    declared: Option<u64>,
}

impl Head {
    /// `None` while it is not whole. The data path's parser is left to the data path: with another caller it
    /// would not be compiled into its place there any more.
    fn read(answer: &[u8]) -> Result<Option<Self>, FetchError> {
        const NO_HTTP: FetchError = FetchError::Unusable("whoever answers there speaks no HTTP");
        if !answer
            .iter()
            .zip(VERSION)
            .all(|(byte, wanted)| byte == wanted)
        {
            return Err(NO_HTTP);
        }
        let Some(end) = answer.windows(END.len()).position(|bytes| bytes == END) else {
            return Ok(None);
        };
        let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default());
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(number::decimal).ok_or(NO_HTTP)?;
        let mut fields = lines.filter_map(|line| line.split_once(':'));
        let declared = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        Ok(Some(Self {
            status: u16::try_from(status).map_err(|_| NO_HTTP)?,
            length: end + END.len(),
            declared: declared.and_then(|(_, digits)| number::decimal(digits.trim())),
        }))
    }

    fn content<'a>(&self, answer: &'a [u8]) -> &'a [u8] {
        answer.get(self.length..).unwrap_or_default()
    }
}

/// What every answer begins with.
const VERSION: &[u8] = b"HTTP/1.";
/// Behind a head.
const END: &[u8] = b"\r\n\r\n";

/// Whether an answer says that it ends here.
fn is_whole(answer: &[u8]) -> bool {
    let whole = |head: Head| head.declared <= Some(head.content(answer).len() as u64);
    let head = Head::read(answer).ok().flatten();
    head.filter(|head| head.declared.is_some())
        .is_some_and(whole)
}

/// The content of an answer behind which nothing comes any more.
fn body(answer: &[u8]) -> Result<String, FetchError> {
    const CUT: FetchError = FetchError::Unusable("the answer broke off");
    let head = Head::read(answer)?.ok_or(CUT)?;
    if head.status != 200 {
        return Err(FetchError::Status(head.status));
    }
    let content = head.content(answer);
    if head
        .declared
        .is_some_and(|declared| declared > content.len() as u64)
    {
        return Err(CUT);
    }
    Ok(String::from_utf8_lossy(content).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(answer: &str) -> String {
        body(answer.as_bytes()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn answers_are_told_apart() {
        for (answer, wanted) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", "ab"),
            ("HTTP/1.1 200 OK\r\n\r\nab", "ab"),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
                "the answer broke off",
            ),
            ("HTTP/1.1 200 OK\r\nConte", "the answer broke off"),
            (
                "HTTP/1.1 404 Not Found\r\n\r\n",
                "there are no metrics: set metrics.listen",
            ),
            ("HTTP/1.1 503 No\r\n\r\n", "the answer was 503"),
            ("", "the answer broke off"),
            ("SSH-2.0-x\r\n", "whoever answers there speaks no HTTP"),
        ] {
            let wanted_whole = answer.ends_with("2\r\n\r\nab");
            assert_eq!(is_whole(answer.as_bytes()), wanted_whole, "{answer:?}");
            assert!(
                shown(answer).starts_with(wanted),
                "{answer:?}: {}",
                shown(answer)
            );
        }
    }

    proptest! {
        #[test]
        fn any_answer_may_come(answer: Vec<u8>, head in "(HTTP/1.1 200 OK\r\n)?(content-length: .{0,8}\r\n)?(\r\n)?") {
            let _ = body(&[head.into_bytes(), answer].concat());
        }
    }
}
