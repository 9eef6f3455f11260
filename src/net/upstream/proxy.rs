//! Tunnels through a proxy: what [`connect`](crate::http::connect) says, over a socket.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;

use crate::base::bytes::{within, within_mut};
use crate::config::{BaseUrl, Proxy};
use crate::http::connect::{ANSWER_BYTES_MAX, AnswerError, TunnelAnswer, request};
use crate::net::sockets::socket::{Received, Socket};
use crate::net::transport::scratch::Scratch;

/// Why there is no tunnel; nothing in it is the proxy's own text.
#[derive(Debug)]
pub(crate) enum ProxyError {
    /// Its name has no address.
    Resolve(io::Error),
    /// It does not accept, or breaks off.
    Connect(io::Error),
    /// It ended without an answer.
    Closed,
    /// It refused, or nobody knows what it said.
    Answer(AnswerError),
}

impl ProxyError {
    /// Whether another try can help: what a proxy refuses, only an operator changes.
    #[must_use]
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Answer(AnswerError::Refused(status)) => matches!(status, 408 | 429 | 500..),
            Self::Answer(AnswerError::Malformed(_) | AnswerError::TooLong) => false,
            Self::Resolve(_) | Self::Connect(_) | Self::Closed => true,
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(error) => write!(f, "its name has no address: {error}"),
            Self::Connect(error) => write!(f, "no connection to it: {error}"),
            Self::Closed => f.write_str("it closed the connection without an answer"),
            Self::Answer(AnswerError::Refused(status @ (401 | 407))) => {
                write!(f, "it answered {status}: it wants other credentials")
            }
            Self::Answer(AnswerError::Refused(status)) => write!(f, "it answered {status}"),
            Self::Answer(AnswerError::Malformed(_)) => {
                f.write_str("its answer is not valid HTTP/1.1")
            }
            Self::Answer(AnswerError::TooLong) => f.write_str("its answer is over 16 KiB"),
        }
    }
}

/// Asks the proxy at the other end of `socket` for a tunnel to `base`; what comes behind its answer stays
/// in the socket.
///
/// # Errors
/// When it gives none.
///
/// # Cancel safety
/// Dropped, the connection to the proxy is closed.
pub(crate) async fn tunnel(
    scratch: &RefCell<Scratch>,
    socket: &mut Socket,
    proxy: &Proxy,
    base: &BaseUrl,
) -> Result<(), ProxyError> {
    let basic = proxy.basic.as_ref().map(|basic| basic.expose());
    let authority = format!("{}:{}", base.host, base.port);
    send(socket, &request(&authority, basic))
        .await
        .map_err(ProxyError::Connect)?;
    let mut answer = TunnelAnswer::default();
    let mut seen = Vec::new();
    loop {
        poll_fn(|cx| socket.poll_readable(cx)).await;
        let scratch = &mut *scratch.borrow_mut();
        let taken = seen.len();
        let room = within_mut(scratch.cipher(), ..ANSWER_BYTES_MAX - taken);
        let peeked = match socket.peek_into(room).map_err(ProxyError::Connect)? {
            Received::Data(n) => n,
            Received::Pending => {
                socket.rest();
                continue;
            }
            Received::Eof => return Err(ProxyError::Closed),
        };
        seen.extend_from_slice(within(room, ..peeked));
        let end = answer.read(&seen).map_err(ProxyError::Answer)?;
        // What belongs to the answer is taken away, and not a byte more.
        let len = end.map_or(peeked, |end| end.saturating_sub(taken));
        let answered = within_mut(room, ..len);
        match socket.recv(answered).map_err(ProxyError::Connect)? {
            Received::Data(n) if n == len => {}
            _ => return Err(ProxyError::Closed),
        }
        if end.is_some() {
            return Ok(());
        }
    }
}

async fn send(socket: &mut Socket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.send(bytes)? {
            Some(n) => bytes = within(bytes, n..),
            None => socket.writable().await,
        }
    }
    Ok(())
}
