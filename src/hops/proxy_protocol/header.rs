//! What a PROXY header says, and what may be wrong with one.

use std::net::SocketAddr;

/// What stands at the beginning of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// So far what may become a header and may be something else: nothing, or the first bytes of a signature.
    Open,
    /// A header that is not whole yet.
    Part,
    /// No header.
    Other,
    /// A whole header.
    Header {
        /// Whose connection it is.
        source: Source,
        /// How many bytes it has; the next one is the client's.
        len: usize,
    },
}

/// Whose connection a header says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The balancer's own, to see whether anybody listens, or one that it knows nothing of.
    Own,
    /// A client's with this address, who has connected to `destination`.
    Client {
        /// Where the client is.
        source: SocketAddr,
        /// What it has connected to.
        destination: SocketAddr,
    },
    /// A client's on the balancer's machine, over a Unix socket.
    Local,
}

/// Why what begins like a header is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// A line of version 1 is not as it has to be.
    Line,
    /// It has no end within the 107 bytes that it may have.
    LineLength,
    /// A version that there is not.
    Version,
    /// Neither LOCAL nor PROXY.
    Command,
    /// An address family and protocol that there are not.
    Family,
    /// More than 4 KiB and 16 bytes.
    Length,
    /// Too short for the addresses of its family.
    Addresses,
    /// What it carries beside them does not fit in it.
    Extension,
    /// Its checksum is another one.
    Checksum,
}

impl Defect {
    /// In words, for the log and whoever looks for a fault.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Line => "the PROXY header is malformed",
            Self::LineLength => "the PROXY header has no end within 107 bytes",
            Self::Version => "the PROXY header has an unknown version",
            Self::Command => "the PROXY header has an unknown command",
            Self::Family => "the PROXY header has an unknown address family",
            Self::Length => "the PROXY header is longer than 4 KiB",
            Self::Addresses => "the PROXY header is too short for its addresses",
            Self::Extension => "an extension of the PROXY header does not fit in it",
            Self::Checksum => "the checksum of the PROXY header is wrong",
        }
    }
}
