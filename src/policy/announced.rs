//! Who may say whose connection it is (the PROXY protocol), who has to, and what becomes of a connection by what it begins
//! with. Pure.

use std::net::IpAddr;

use crate::config::{Config, ProxyProtocol};
use crate::hops::proxy_protocol::{Begin, Defect, Source};

/// What is expected at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// The client's first byte, whatever it is.
    Client,
    /// A header, or the client's first byte.
    Either,
    /// A header.
    Header,
    /// Anything but a header, which the peer has no right to send.
    NoHeader,
    /// Nothing: the peer has no right to connect.
    Nothing,
}

/// What is to be done with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// More of it has to come.
    Wait {
        /// What has come is a header's, whatever follows.
        is_header: bool,
    },
    /// It begins; the header is so long.
    Begin(Option<Source>, usize),
    /// It is refused.
    Refuse(&'static str),
}

/// Whether a peer is a balancer that is believed; `None` is on this machine, over a Unix socket.
#[must_use]
pub(crate) fn is_trusted(config: &Config, peer: Option<IpAddr>) -> bool {
    let trusted = &config.server.trusted;
    peer.is_none_or(|ip| trusted.iter().any(|network| network.has(ip)))
}

impl Expected {
    /// Of a peer.
    #[must_use]
    pub(crate) fn of(mode: ProxyProtocol, is_trusted: bool) -> Self {
        match (mode, is_trusted) {
            (ProxyProtocol::Off, _) => Self::Client,
            (ProxyProtocol::Optional, true) => Self::Either,
            (ProxyProtocol::Optional, false) => Self::NoHeader,
            (ProxyProtocol::Required, true) => Self::Header,
            (ProxyProtocol::Required, false) => Self::Nothing,
        }
    }

    /// What becomes of a connection that begins like this.
    #[must_use]
    pub(crate) fn judge(self, begin: Result<Begin, Defect>) -> Verdict {
        match (self, begin) {
            (Self::Nothing, _) => Verdict::Refuse(UNTRUSTED),
            (Self::Client, _) | (Self::Either | Self::NoHeader, Ok(Begin::Other)) => {
                Verdict::Begin(None, 0)
            }
            (Self::Header, Ok(Begin::Other)) => Verdict::Refuse(MISSING),
            (_, Ok(Begin::Open)) => Verdict::Wait { is_header: false },
            (Self::NoHeader, Ok(Begin::Part | Begin::Header { .. }) | Err(_)) => {
                Verdict::Refuse(UNTRUSTED_HEADER)
            }
            (_, Ok(Begin::Part)) => Verdict::Wait { is_header: true },
            (_, Ok(Begin::Header { source, len })) => Verdict::Begin(Some(source), len),
            (_, Err(defect)) => Verdict::Refuse(defect.as_str()),
        }
    }

    /// What becomes of one that ended, or had its time, within what may be a header.
    #[must_use]
    pub(crate) fn judge_cut(self, is_header: bool, late: bool) -> Verdict {
        match (self, late) {
            (Self::Either | Self::NoHeader, _) if !is_header => Verdict::Begin(None, 0),
            (_, true) => Verdict::Refuse(LATE),
            (_, false) => Verdict::Refuse(CUT),
        }
    }
}

/// Who connects has no right to.
pub(crate) const UNTRUSTED: &str =
    "expected a PROXY header, and the connection is not from an address of server.trusted";
const UNTRUSTED_HEADER: &str = "a PROXY header from an address that is not in server.trusted";
const MISSING: &str = "expected a PROXY header, found another beginning";
const LATE: &str = "the PROXY header did not arrive in time";
const CUT: &str = "the connection ended within the PROXY header";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Expected; 5] = [
        Expected::Client,
        Expected::Either,
        Expected::Header,
        Expected::NoHeader,
        Expected::Nothing,
    ];

    #[test]
    fn who_is_expected_to_say_what() {
        use ProxyProtocol::{Off, Optional, Required};
        let rows = [
            (Off, true, Expected::Client),
            (Off, false, Expected::Client),
            (Optional, true, Expected::Either),
            (Optional, false, Expected::NoHeader),
            (Required, true, Expected::Header),
            (Required, false, Expected::Nothing),
        ];
        for (mode, is_trusted, expected) in rows {
            assert_eq!(Expected::of(mode, is_trusted), expected);
        }
    }

    #[test]
    fn what_becomes_of_a_beginning() {
        let (source, len) = (Source::Own, 15);
        let begins = Verdict::Begin(None, 0);
        let announced = Verdict::Begin(Some(source), len);
        let wait = |is_header| Verdict::Wait { is_header };
        let wrong = Verdict::Refuse(Defect::Line.as_str());
        let untrusted = Verdict::Refuse(UNTRUSTED);
        let no_header = Verdict::Refuse(UNTRUSTED_HEADER);
        let missing = Verdict::Refuse(MISSING);
        let rows = [
            (
                Ok(Begin::Open),
                [begins, wait(false), wait(false), wait(false), untrusted],
            ),
            (
                Ok(Begin::Part),
                [begins, wait(true), wait(true), no_header, untrusted],
            ),
            (
                Ok(Begin::Other),
                [begins, begins, missing, begins, untrusted],
            ),
            (
                Ok(Begin::Header { source, len }),
                [begins, announced, announced, no_header, untrusted],
            ),
            (
                Err(Defect::Line),
                [begins, wrong, wrong, no_header, untrusted],
            ),
        ];
        for (begin, verdicts) in rows {
            assert_eq!(
                ALL.map(|expected| expected.judge(begin)),
                verdicts,
                "{begin:?}"
            );
        }
    }

    #[test]
    fn what_becomes_of_a_beginning_that_goes_no_further() {
        for late in [false, true] {
            let why = Verdict::Refuse(if late { LATE } else { CUT });
            for expected in [Expected::Either, Expected::NoHeader] {
                assert_eq!(expected.judge_cut(false, late), Verdict::Begin(None, 0));
            }
            assert_eq!(Expected::Either.judge_cut(true, late), why);
            assert_eq!(Expected::Header.judge_cut(false, late), why);
        }
    }
}
