//! Asks a gateway for its figures: one request, one connection, over TCP or a Unix socket. Blocks its thread.

use std::fmt::{self, Write as _};
use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::net::sockets::answer::{Head, NoHttp};
use crate::net::sockets::dial::{self, Bound, Socket, Timed};

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
            Self::Status(401) => f.write_str(
                "the gateway wants its metrics key (401): set SLUICEGATE_METRICS_KEY, or name a file \
                 that holds it with --key-file",
            ),
            Self::Status(403) => f.write_str(
                "the gateway has no metrics.key, and is then asked as localhost or by an address only (403)",
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
    let bound = Bound::of(PATIENCE);
    // HTTP/1.0: the answer has no chunks and ends with its connection.
    let host = address.host();
    let mut request = Zeroizing::new(format!(
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: text/plain, application/json\r\n"
    ));
    if let Some(key) = &address.key {
        // Visible ASCII, as every secret is.
        let key = String::from_utf8_lossy(key.expose());
        let _ = write!(request, "Authorization: Bearer {key}\r\n");
    }
    request.push_str("\r\n");
    let stream = match &address.place {
        Place::Tcp(host, port) => dial::name(host, *port, bound)?,
        Place::Unix(path) => Timed::new(Socket::Unix(dial::unix(path, &bound)?), bound),
    };
    body(&exchange(stream, &request)?)
}

fn exchange(mut stream: Timed, request: &str) -> Result<Vec<u8>, FetchError> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = match stream.read(&mut buffer)? {
            0 => return Ok(answer),
            read => read,
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

/// Whether an answer says that it ends here.
fn is_whole(answer: &[u8]) -> bool {
    let whole = |head: Head| head.declared <= Some(head.content(answer).len() as u64);
    let head = Head::read(answer).ok().flatten();
    head.filter(|head| head.declared.is_some())
        .is_some_and(whole)
}

const NO_HTTP: FetchError = FetchError::Unusable("whoever answers there speaks no HTTP");

/// The content of an answer behind which nothing comes any more.
fn body(answer: &[u8]) -> Result<String, FetchError> {
    const CUT: FetchError = FetchError::Unusable("the answer broke off");
    let head = Head::read(answer).map_err(|NoHttp| NO_HTTP)?.ok_or(CUT)?;
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
            (
                "HTTP/1.1 401 No\r\n\r\n",
                "the gateway wants its metrics key",
            ),
            ("HTTP/1.1 403 No\r\n\r\n", "the gateway has no metrics.key"),
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
