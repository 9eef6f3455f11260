//! The way up to where a provider is spoken to: a socket, or what a proxy has opened, in TLS with it or without.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::config::{BaseUrl, Host, Proxy};
use crate::hops::socks::{self, Next, Target};
use crate::http::connect::TunnelAnswer;
use crate::net::sockets::dial::{Bound, Timed};
use crate::net::transport::tls_config::server_name;
use crate::net::upstream::proxy::ProxyError;
use crate::tls;

/// See the module's documentation.
pub(super) enum Leg {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Leg {
    /// Until when whatever comes next may take.
    pub(super) fn bound(&mut self) -> &mut Bound {
        match self {
            Self::Plain(stream) => &mut stream.bound,
            Self::Tls(stream) => &mut stream.sock.bound,
        }
    }

    /// Asks a proxy for a tunnel to the provider. Nobody speaks in it before us, so that nothing comes behind its answer.
    pub(super) fn tunnel(&mut self, proxy: &Proxy, base: &BaseUrl) -> Result<(), ProxyError> {
        self.write_all(&proxy.asked(base)).map_err(in_tls)?;
        self.flush().map_err(in_tls)?;
        let (mut answer, mut seen) = (TunnelAnswer::default(), Vec::new());
        loop {
            let mut piece = [0; 1];
            match self.read(&mut piece).map_err(in_tls)? {
                0 => return Err(ProxyError::Closed),
                _ => seen.extend_from_slice(&piece),
            }
            let is_end = piece == *b"\n";
            if is_end && answer.read(&seen).map_err(ProxyError::Answer)?.is_some() {
                return Ok(());
            }
        }
    }

    /// Asks a SOCKS5 proxy for a connection.
    pub(super) fn negotiate(
        &mut self,
        proxy: &Proxy,
        target: Target<'_>,
        port: u16,
    ) -> Result<(), ProxyError> {
        let mut negotiation = proxy.negotiation(target, port)?;
        let greeted = self.write_all(negotiation.greeting());
        greeted.map_err(ProxyError::Connect)?;
        let mut room = [0; socks::ANSWER_BYTES_MAX];
        loop {
            let answer = room.get_mut(..negotiation.wanted()).unwrap_or_default();
            self.read_exact(answer)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => ProxyError::Closed,
                    _ => ProxyError::Connect(error),
                })?;
            match negotiation.advance(answer).map_err(ProxyError::Socks)? {
                Next::Receive => {}
                Next::Send(bytes) => self.write_all(bytes).map_err(ProxyError::Connect)?,
                Next::Open => return Ok(()),
            }
        }
    }
}

/// What TLS has found wrong is no fault of the connection.
fn in_tls(error: io::Error) -> ProxyError {
    match error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
    {
        true => ProxyError::Tls(error),
        false => ProxyError::Connect(error),
    }
}

/// TLS with a host over what is there.
pub(super) fn shake_hands<S: Read + Write>(
    stream: S,
    host: &Host,
    config: Arc<ClientConfig>,
) -> io::Result<StreamOwned<ClientConnection, S>> {
    let connection = ClientConnection::new(config, server_name(host)?);
    let connection = connection.map_err(|error| io::Error::other(tls::Fault::from(error)))?;
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        let (read, written) = stream.conn.complete_io(&mut stream.sock)?;
        if (read, written) == (0, 0) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(stream)
}

impl Read for Leg {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Tls(stream) => stream.read(into),
        }
    }
}

impl Write for Leg {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
