//! SOCKS5 (RFC 1928) with user and password (RFC 1929): what a proxy is asked, and what its answers mean.
//!
//! A machine that says how many bytes come next and what is sent then. So nothing is received that lies behind the last
//! answer: that belongs to the connection beyond the proxy.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use zeroize::Zeroizing;

/// Most bytes of a name, a user or a password: their length is one byte.
pub(crate) const TEXT_BYTES_MAX: usize = u8::MAX as usize;
/// Most bytes that are received at once: the name of a bound address, and its port.
pub(crate) const ANSWER_BYTES_MAX: usize = TEXT_BYTES_MAX + PORT_BYTES;

const VERSION: u8 = 5;
const CONNECT: u8 = 1;
const RESERVED: u8 = 0;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const NONE_FITS: u8 = 0xff;
/// Of the negotiation of user and password.
const LOGIN_VERSION: u8 = 1;
const SUCCEEDED: u8 = 0;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const PORT_BYTES: usize = 2;

/// Where a connection is to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// To an address.
    Ip(IpAddr),
    /// To a name, which the proxy resolves.
    Name(&'a str),
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocksError {
    /// An answer of no SOCKS5 proxy.
    Version,
    /// It chose a way to log in that nobody offered.
    NotOffered,
    /// It takes none of the ways to log in that were offered; whether user and password were.
    NoneFits(bool),
    /// It refused user and password.
    Login,
    /// It refused the connection, for this reason.
    Refused(u8),
    /// Its answer has a part that there is not.
    Malformed,
    /// The name is longer than 255 bytes or empty.
    Name,
}

impl SocksError {
    /// Whether another try can help.
    #[must_use]
    pub(crate) fn may_pass(self) -> bool {
        matches!(self, Self::Refused(1 | 3..=6))
    }

    /// Whether the proxy has a fault to find with the address alone, and may reach another one.
    #[must_use]
    pub(crate) fn is_of_address(self) -> bool {
        matches!(self, Self::Refused(1 | 3..=6 | 8))
    }
}

impl std::fmt::Display for SocksError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Version => "it does not speak SOCKS5",
            Self::NotOffered => "it chose a way to log in that was not offered",
            Self::NoneFits(false) => "it wants credentials",
            Self::NoneFits(true) => "it takes neither user and password nor nobody",
            Self::Login => "it refused user and password",
            Self::Refused(1) => "it has failed",
            Self::Refused(2) => "its rules do not allow the connection",
            Self::Refused(3) => "the network is unreachable from there",
            Self::Refused(4) => "the host is unreachable from there",
            Self::Refused(5) => "the connection was refused there",
            Self::Refused(6) => "the time to live has expired",
            Self::Refused(7) => "it does not know the command",
            Self::Refused(8) => "it does not know this type of address",
            Self::Refused(code) => return write!(f, "it refused with code {code}"),
            Self::Malformed => "its answer is not valid SOCKS5",
            Self::Name => "the name is too long for SOCKS5",
        })
    }
}

/// What is sent to log in; `None` where user or password is empty or longer than [`TEXT_BYTES_MAX`].
#[must_use]
pub(crate) fn login(user: &[u8], password: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let counted = |text: &[u8]| u8::try_from(text.len()).ok().filter(|len| *len > 0);
    let (user_len, password_len) = (counted(user)?, counted(password)?);
    let parts = [&[LOGIN_VERSION, user_len], user, &[password_len], password];
    Some(Zeroizing::new(parts.concat()))
}

/// What is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    /// Version and way to log in.
    Method,
    /// Version and verdict on user and password.
    Verdict,
    /// Version and verdict on the connection.
    Reply,
    /// A zero and the type of the bound address.
    Type,
    /// The length of its name.
    Length,
    /// So many bytes of it, its port included.
    Bound(usize),
}

/// A negotiation under way.
pub(crate) struct Negotiation<'a> {
    request: Vec<u8>,
    /// As [`login`] makes it.
    login: Option<&'a [u8]>,
    awaited: Awaited,
}

/// How it goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// More of the answer has to come.
    Receive,
    /// This is to be sent first.
    Send(&'a [u8]),
    /// The connection is open.
    Open,
}

impl<'a> Negotiation<'a> {
    /// Before its first byte; `login` is as [`login`] makes it.
    ///
    /// # Errors
    /// [`SocksError::Name`]
    pub(crate) fn new(
        target: Target<'_>,
        port: u16,
        login: Option<&'a [u8]>,
    ) -> Result<Self, SocksError> {
        let mut request = vec![VERSION, CONNECT, RESERVED];
        match target {
            Target::Ip(IpAddr::V4(ip)) => {
                request.push(IPV4);
                request.extend(ip.octets());
            }
            Target::Ip(IpAddr::V6(ip)) => {
                request.push(IPV6);
                request.extend(ip.octets());
            }
            Target::Name(name) => {
                let len = u8::try_from(name.len()).ok().filter(|len| *len > 0);
                request.extend([NAME, len.ok_or(SocksError::Name)?]);
                request.extend(name.as_bytes());
            }
        }
        request.extend(port.to_be_bytes());
        Ok(Self {
            request,
            login,
            awaited: Awaited::Method,
        })
    }

    /// What is sent first.
    #[must_use]
    pub(crate) fn greeting(&self) -> &'static [u8] {
        match self.login {
            Some(_) => &[VERSION, 2, NO_LOGIN, LOGIN],
            None => &[VERSION, 1, NO_LOGIN],
        }
    }

    /// How many bytes are received next, at most [`ANSWER_BYTES_MAX`] and at least one.
    #[must_use]
    pub(crate) fn wanted(&self) -> usize {
        match self.awaited {
            Awaited::Method | Awaited::Verdict | Awaited::Reply | Awaited::Type => 2,
            Awaited::Length => 1,
            Awaited::Bound(len) => len,
        }
    }

    /// Goes on with as many bytes as were [`wanted`](Self::wanted).
    ///
    /// # Errors
    /// Why there is no connection; nothing is to be sent then.
    pub(crate) fn advance(&mut self, answer: &[u8]) -> Result<Next<'_>, SocksError> {
        match (self.awaited, answer) {
            (Awaited::Method, &[VERSION, method]) => self.method(method),
            (Awaited::Verdict, &[LOGIN_VERSION, SUCCEEDED]) => Ok(self.ask()),
            (Awaited::Verdict, &[LOGIN_VERSION, _]) => Err(SocksError::Login),
            (Awaited::Reply, &[VERSION, SUCCEEDED]) => Ok(self.receive(Awaited::Type)),
            (Awaited::Reply, &[VERSION, code]) => Err(SocksError::Refused(code)),
            (Awaited::Method | Awaited::Verdict | Awaited::Reply, _) => Err(SocksError::Version),
            (Awaited::Type, &[RESERVED, kind]) => match kind {
                IPV4 => Ok(self.receive(Awaited::Bound(4 + PORT_BYTES))),
                IPV6 => Ok(self.receive(Awaited::Bound(16 + PORT_BYTES))),
                NAME => Ok(self.receive(Awaited::Length)),
                _ => Err(SocksError::Malformed),
            },
            (Awaited::Length, &[len]) => {
                Ok(self.receive(Awaited::Bound(usize::from(len) + PORT_BYTES)))
            }
            (Awaited::Bound(len), answer) if answer.len() == len => Ok(Next::Open),
            (Awaited::Type | Awaited::Length | Awaited::Bound(_), _) => Err(SocksError::Malformed),
        }
    }

    fn method(&mut self, method: u8) -> Result<Next<'_>, SocksError> {
        match (method, self.login) {
            (NO_LOGIN, _) => Ok(self.ask()),
            (LOGIN, Some(login)) => {
                self.awaited = Awaited::Verdict;
                Ok(Next::Send(login))
            }
            (NONE_FITS, login) => Err(SocksError::NoneFits(login.is_some())),
            _ => Err(SocksError::NotOffered),
        }
    }

    fn ask(&mut self) -> Next<'_> {
        self.awaited = Awaited::Reply;
        Next::Send(&self.request)
    }

    fn receive(&mut self, awaited: Awaited) -> Next<'_> {
        self.awaited = awaited;
        Next::Receive
    }
}
