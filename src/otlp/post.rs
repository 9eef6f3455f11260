//! A message on its way: one request over a connection of its own, and what came of it. Blocks its thread, for as long as
//! it may take at most.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::config::{BaseUrl, Secret};
use crate::net::sockets::answer::{Head, final_head};
use crate::net::sockets::dial::{self, Bound};
use crate::net::transport::tls_config::server_name;
use crate::observe::exports::{Outcome, Signal};

use super::message::Response;
use super::pace;

/// Where messages go.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) base: BaseUrl,
    /// Where it speaks TLS.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) headers: Vec<(String, Secret)>,
}

/// What a collector said.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) outcome: Outcome,
    /// How long it asks to be left alone.
    pub(super) asked: Option<Duration>,
    /// What of the message it has not taken, though it took the rest.
    pub(super) rejected: u64,
}

/// Most bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 4096;

/// Sends a message.
///
/// # Errors
/// When there is no answer within `time`.
pub(super) fn post(
    place: &Place,
    signal: Signal,
    message: &[u8],
    time: Duration,
) -> io::Result<Answer> {
    let bound = Bound::of(time);
    let mut stream = dial::base(&place.base, bound)?;
    let head = head(place, signal, message.len());
    let Some(config) = place.tls.clone().filter(|_| place.base.tls) else {
        return exchange(&mut stream, &head, message);
    };
    let name = server_name(&place.base.host)?;
    let connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    exchange(&mut StreamOwned::new(connection, stream), &head, message)
}

fn head(place: &Place, signal: Signal, length: usize) -> Vec<u8> {
    let BaseUrl {
        path, authority, ..
    } = &place.base;
    let mut head = format!(
        "POST {path}/v1/{} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: sluicegate/{}\r\n\
         Content-Type: application/x-protobuf\r\nContent-Length: {length}\r\nConnection: close\r\n",
        signal.as_str(),
        crate::base::VERSION
    )
    .into_bytes();
    for (name, value) in &place.headers {
        for part in [name.as_bytes(), b": ", value.expose(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// A collector may answer before it has read all, and close: then its answer counts.
fn exchange(stream: &mut (impl Read + Write), head: &[u8], message: &[u8]) -> io::Result<Answer> {
    let sent = { stream.write_all(head) }
        .and_then(|()| stream.write_all(message))
        .and_then(|()| stream.flush());
    let (head, content) = match (final_head(stream), sent) {
        (Ok(answer), _) => answer,
        (Err(_), Err(error)) | (Err(error), Ok(())) => return Err(error),
    };
    let outcome = pace::outcome(head.status);
    let rejected = match outcome {
        Outcome::Taken => rejected(&whole(stream, &head, content)),
        Outcome::Again | Outcome::Refused => 0,
    };
    Ok(Answer {
        status: head.status,
        outcome,
        asked: pace::asked(head.retry_after.as_deref()),
        rejected,
    })
}

/// The content of an answer whose length is known, if that is small.
fn whole(stream: &mut impl Read, head: &Head, mut content: Vec<u8>) -> Vec<u8> {
    let length = head
        .declared
        .and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length <= ANSWER_BYTES_MAX);
    let Some(missing) = length.and_then(|length| length.checked_sub(content.len())) else {
        return Vec::new();
    };
    let mut rest = vec![0; missing];
    match stream.read_exact(&mut rest) {
        Ok(()) => {
            content.extend_from_slice(&rest);
            content
        }
        Err(_) => Vec::new(),
    }
}

fn rejected(content: &[u8]) -> u64 {
    let partial = Response::decode(content)
        .ok()
        .and_then(|it| it.partial_success);
    partial.map_or(0, |partial| {
        u64::try_from(partial.rejected).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::Partial;
    use super::*;

    /// What was written, and what is read.
    struct Wire {
        written: Vec<u8>,
        answer: io::Cursor<Vec<u8>>,
        is_closed: bool,
    }

    impl Read for Wire {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.answer.read(into)
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn wire(answer: &[u8]) -> Wire {
        Wire {
            written: Vec::new(),
            answer: io::Cursor::new(answer.to_vec()),
            is_closed: false,
        }
    }

    fn place() -> Place {
        Place {
            base: BaseUrl::parse("http://collector:4318/below/").unwrap(),
            tls: None,
            headers: vec![("X-Key".to_owned(), Secret::of_field("a b"))],
        }
    }

    #[test]
    fn a_message_goes_below_the_endpoint() {
        let mut wire =
            wire(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let answer = exchange(&mut wire, &head(&place(), Signal::Traces, 3), b"abc").unwrap();
        assert_eq!((answer.outcome, answer.rejected), (Outcome::Taken, 0));
        let written = String::from_utf8(wire.written).unwrap();
        assert!(written.starts_with("POST /below/v1/traces HTTP/1.1\r\nHost: collector:4318\r\n"));
        assert!(written.contains("\r\nContent-Length: 3\r\n"), "{written}");
        assert!(written.ends_with("\r\nX-Key: a b\r\n\r\nabc"), "{written}");
    }

    #[test]
    fn what_was_taken_in_part_is_said() {
        let partial = Response {
            partial_success: Some(Partial { rejected: 5 }),
        };
        let content = partial.encode_to_vec();
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            content.len()
        )
        .into_bytes();
        answer.extend(content);
        let answer = exchange(&mut wire(&answer), b"", b"").unwrap();
        assert_eq!((answer.status, answer.rejected), (200, 5));
        for odd in [
            "Content-Length: 9999\r\n\r\n\n",
            "Content-Length: 1\r\n\r\n",
            "\r\n\x0a",
        ] {
            let answer = format!("HTTP/1.1 200 OK\r\n{odd}");
            assert_eq!(
                exchange(&mut wire(answer.as_bytes()), b"", b"")
                    .unwrap()
                    .rejected,
                0
            );
        }
    }

    #[test]
    fn an_early_answer_counts() {
        let mut early = wire(b"HTTP/1.1 413 Too Large\r\nRetry-After: 3\r\n\r\n");
        early.is_closed = true;
        let answer = exchange(&mut early, b"head", b"message").unwrap();
        assert_eq!((answer.status, answer.outcome), (413, Outcome::Refused));
        assert_eq!(answer.asked, Some(Duration::from_secs(3)));
        let mut silent = wire(b"");
        silent.is_closed = true;
        let error = exchange(&mut silent, b"head", b"message").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        assert!(exchange(&mut wire(b"SSH-2.0\r\n"), b"", b"").is_err());
    }
}
