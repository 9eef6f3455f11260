//! What operators see of the traffic: counters and histograms of each worker, what the times of a request say,
//! and the Prometheus text. Pure: points in time come in as arguments.

pub(crate) mod counters;
pub(crate) mod exports;
pub(crate) mod exposition;
mod families;
pub(crate) mod habits;
pub(crate) mod histogram;
pub(crate) mod one_writer;
pub(crate) mod page;
pub(crate) mod reloads;
mod shares;
pub(crate) mod slots;
pub(crate) mod streams;
mod text;
pub(crate) mod times;
pub(crate) mod traceparent;

pub(crate) use counters::{Counters, ProviderCounters};
pub(crate) use exports::Exports;
pub(crate) use exposition::{Expiry, Process, Scrape};
pub(crate) use one_writer::add;
pub(crate) use reloads::Reloads;
pub(crate) use shares::Shares;
pub(crate) use slots::Slots;
pub(crate) use text::{Buckets, Family, Figure, Sample};
pub(crate) use times::{Times, Timing};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The answer is whole.
    Complete,
    /// The gateway answered with an error of its own.
    Error,
    /// The client left first.
    ClientGone,
    /// The client did not take the end of its answer.
    Undelivered,
    /// The provider ended its connection in the middle of the answer.
    UpstreamClosed,
    /// The provider's connection broke in the middle of the answer.
    UpstreamReset,
    /// The answer's framing was broken.
    UpstreamInvalid,
    /// The request's content was broken after the answer had begun.
    RequestInvalid,
    /// Nothing moved for too long after the answer had begun.
    Timeout,
    /// The answer was cut for another reason.
    Cut,
}

impl Ending {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 10] = [
        Self::Complete,
        Self::Error,
        Self::ClientGone,
        Self::Undelivered,
        Self::UpstreamClosed,
        Self::UpstreamReset,
        Self::UpstreamInvalid,
        Self::RequestInvalid,
        Self::Timeout,
        Self::Cut,
    ];

    /// The word in log lines and labels.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Error => "error",
            Self::ClientGone => "client_gone",
            Self::Undelivered => "undelivered",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::RequestInvalid => "request_invalid",
            Self::Timeout => "timeout",
            Self::Cut => "cut",
        }
    }

    /// Whether the client saw an answer that broke off.
    #[must_use]
    pub(crate) fn is_broken(self) -> bool {
        !matches!(self, Self::Complete | Self::Error | Self::ClientGone)
    }
}

/// What a request was doing when its client left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A connection to the provider was being made.
    Connect,
    /// The request's content was on its way.
    Upload,
    /// The provider had not answered yet.
    #[default]
    Wait,
    /// The answer was on its way.
    Stream,
    /// After a 101.
    Tunnel,
}

impl Phase {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 5] = [
        Self::Connect,
        Self::Upload,
        Self::Wait,
        Self::Stream,
        Self::Tunnel,
    ];

    /// The word in log lines and labels.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Upload => "upload",
            Self::Wait => "wait",
            Self::Stream => "stream",
            Self::Tunnel => "tunnel",
        }
    }
}

/// A request's method as a label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other, and requests that could not be read.
    #[default]
    Other,
}

impl Method {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 8] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
        Self::Other,
    ];

    /// The class of a method token.
    #[must_use]
    pub(crate) fn of(token: &[u8]) -> Self {
        let named = |method: &Self| method.as_str().as_bytes() == token;
        Self::ALL.into_iter().find(named).unwrap_or_default()
    }

    /// The label.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_lists() {
        for (index, ending) in Ending::ALL.into_iter().enumerate() {
            assert_eq!(ending as usize, index);
        }
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            assert_eq!(phase as usize, index);
        }
        for (index, method) in Method::ALL.into_iter().enumerate() {
            assert_eq!(method as usize, index);
        }
    }

    #[test]
    fn methods_are_told_apart_by_the_letter() {
        assert_eq!(Method::of(b"POST"), Method::Post);
        for other in [&b"post"[..], b"other", b"PROPFIND", b""] {
            assert_eq!(Method::of(other), Method::Other);
        }
    }
}
