//! Connections through a proxy: what [`connect`](crate::http::connect) says over a socket, or over TLS, and what SOCKS5
//! ([`socks`]) does.

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io;

use zeroize::Zeroizing;

use crate::base::bytes::{within, within_mut};
use crate::config::{BaseUrl, Proxy};
use crate::hops::socks::{self, Negotiation, Next, SocksError, Target};
use crate::http::connect::{ANSWER_BYTES_MAX, AnswerError, TunnelAnswer, request};
use crate::net::sockets::socket::{Received, Socket};
use crate::net::transport::scratch::{ONE_RECEIVE, Scratch};
use crate::net::transport::tls::{TlsStream, may_pass, reason_of};

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
    /// The same in SOCKS5.
    Socks(SocksError),
    /// There is no TLS with it.
    Tls(io::Error),
    /// Behind its answer came more before anything was asked.
    Spoke,
}

impl ProxyError {
    /// Whether another try can help: what a proxy refuses, only an operator changes.
    #[must_use]
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Answer(AnswerError::Refused(status)) => matches!(status, 408 | 429 | 500..),
            Self::Answer(AnswerError::Malformed(_) | AnswerError::TooLong) => false,
            Self::Socks(error) => error.may_pass(),
            Self::Tls(error) => may_pass(error),
            Self::Spoke => false,
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
            Self::Socks(error) => error.fmt(f),
            Self::Tls(error) => write!(f, "TLS with it failed: {}", reason_of(error)),
            Self::Spoke => f.write_str("it spoke behind its answer before it was asked"),
            Self::Answer(AnswerError::TooLong) => f.write_str("its answer is over 16 KiB"),
        }
    }
}

impl Proxy {
    /// The request for a tunnel to `base`.
    #[must_use]
    pub(crate) fn asked(&self, base: &BaseUrl) -> Zeroizing<Vec<u8>> {
        let basic = self.login.as_ref().map(|login| login.expose());
        let authority = format!("{}:{}", base.host, base.port);
        Zeroizing::new(request(&authority, basic))
    }

    /// A negotiation for a connection to a port there.
    ///
    /// # Errors
    /// When the target cannot be named.
    pub(crate) fn negotiation(
        &self,
        target: Target<'_>,
        port: u16,
    ) -> Result<Negotiation<'_>, ProxyError> {
        let login = self.login.as_ref().map(|login| login.expose());
        Negotiation::new(target, port, login).map_err(ProxyError::Socks)
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
    let asked = send(socket, &proxy.asked(base)).await;
    asked.map_err(ProxyError::Connect)?;
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

/// The same of a proxy that speaks TLS. What comes behind its answer cannot be left where it is, and nobody has anything
/// to say before he is asked.
///
/// # Errors
/// As [`tunnel`].
///
/// # Cancel safety
/// As there.
pub(crate) async fn tunnel_in_tls(
    scratch: &RefCell<Scratch>,
    stream: &mut TlsStream,
    proxy: &Proxy,
    base: &BaseUrl,
) -> Result<(), ProxyError> {
    stream.send(&proxy.asked(base)).map_err(in_tls)?;
    while !stream.plain.is_flushed() {
        stream.plain.socket.writable().await;
        stream.plain.flush().map_err(in_tls)?;
    }
    let mut answer = TunnelAnswer::default();
    let mut seen = Vec::new();
    loop {
        poll_fn(|cx| stream.poll_readable(cx)).await;
        let scratch = &mut *scratch.borrow_mut();
        let (room, cipher) = scratch.room(ONE_RECEIVE);
        match stream.recv(room, cipher).map_err(in_tls)? {
            Received::Data(n) => seen.extend_from_slice(within(room, ..n)),
            Received::Pending => continue,
            Received::Eof => return Err(ProxyError::Closed),
        }
        if let Some(end) = answer.read(&seen).map_err(ProxyError::Answer)? {
            return match end == seen.len() {
                true => Ok(()),
                false => Err(ProxyError::Spoke),
            };
        }
    }
}

/// What ended the connection to a proxy that speaks TLS.
fn in_tls(error: io::Error) -> ProxyError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ProxyError::Closed,
        io::ErrorKind::InvalidData => ProxyError::Tls(error),
        _ => ProxyError::Connect(error),
    }
}

/// Asks the SOCKS5 proxy at the other end of `socket` for a connection; what comes behind its answer stays in the socket.
///
/// # Errors
/// When it gives none.
///
/// # Cancel safety
/// As [`tunnel`].
pub(crate) async fn negotiate(
    socket: &mut Socket,
    proxy: &Proxy,
    target: Target<'_>,
    port: u16,
) -> Result<(), ProxyError> {
    let mut negotiation = proxy.negotiation(target, port)?;
    let greeted = send(socket, negotiation.greeting()).await;
    greeted.map_err(ProxyError::Connect)?;
    let mut room = [0; socks::ANSWER_BYTES_MAX];
    loop {
        let answer = within_mut(&mut room, ..negotiation.wanted());
        receive(socket, answer).await?;
        match negotiation.advance(answer).map_err(ProxyError::Socks)? {
            Next::Receive => {}
            Next::Send(bytes) => send(socket, bytes).await.map_err(ProxyError::Connect)?,
            Next::Open => return Ok(()),
        }
    }
}

/// So many bytes, and not one more.
async fn receive(socket: &mut Socket, mut room: &mut [u8]) -> Result<(), ProxyError> {
    while !room.is_empty() {
        poll_fn(|cx| socket.poll_readable(cx)).await;
        match socket.recv(room).map_err(ProxyError::Connect)? {
            Received::Data(n) => room = within_mut(room, n..),
            Received::Pending => {}
            Received::Eof => return Err(ProxyError::Closed),
        }
    }
    Ok(())
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
