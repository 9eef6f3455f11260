//! What a log line quotes of a request and its response, copied into one buffer and cut at a sane length: the
//! messages themselves are gone when the line is written.

use crate::base::bytes::within;
use crate::observe::traceparent::{Context, STATE_BYTES_MAX};

use super::field_name::{FieldName, field_name};

/// One quotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quote {
    /// The gateway's, or the client's that it took over.
    RequestId,
    /// The provider's.
    UpstreamRequestId,
    /// The managed key's.
    KeyId,
    /// The method.
    Method,
    /// The path, without the query.
    Path,
    /// `X-Stainless-Retry-Count`: how often an SDK has sent this before.
    RetryCount,
    /// `X-Claude-Code-Session-Id`
    SessionId,
    /// `X-Client-Request-Id`
    ClientRequestId,
    /// The provider's name.
    Provider,
    /// The address of the instance, where it is one of many of a name.
    Address,
    /// The code of the gateway's own answer.
    Error,
    /// Why it is that, or why an answer broke off.
    Detail,
    /// The trace that it belongs to, for spans alone: no text but what stands at its end.
    Trace,
}

/// How many there are.
pub(super) const QUOTES: usize = Quote::Trace as usize + 1;

impl Quote {
    /// Those that clients send about themselves, as fields of their own.
    pub(crate) const OF_CLIENTS: [Self; 3] =
        [Self::RetryCount, Self::SessionId, Self::ClientRequestId];

    /// The quote that a request's field is.
    #[must_use]
    pub(crate) fn of_request(name: &[u8]) -> Option<Self> {
        // The length tells most fields at once.
        let (lower, quote): (&[u8], Self) = match name.len() {
            23 => (b"x-stainless-retry-count", Self::RetryCount),
            24 => (b"x-claude-code-session-id", Self::SessionId),
            19 => (b"x-client-request-id", Self::ClientRequestId),
            _ => return None,
        };
        name.eq_ignore_ascii_case(lower).then_some(quote)
    }

    /// The field's name.
    pub(super) fn name(self) -> FieldName {
        match self {
            Self::RequestId => field_name!("request_id"),
            Self::UpstreamRequestId => field_name!("upstream_request_id"),
            Self::KeyId => field_name!("key"),
            Self::Method => field_name!("method"),
            Self::Path => field_name!("path"),
            Self::RetryCount => field_name!("retry_count"),
            Self::SessionId => field_name!("session_id"),
            Self::ClientRequestId => field_name!("client_request_id"),
            Self::Provider => field_name!("provider"),
            Self::Address => field_name!("address"),
            Self::Error => field_name!("error"),
            Self::Detail => field_name!("detail"),
            Self::Trace => field_name!("trace"),
        }
    }

    /// What is longer is cut.
    const fn bytes_max(self) -> usize {
        match self {
            Self::Path => 1024,
            Self::Trace => Context::BYTES + STATE_BYTES_MAX,
            Self::RequestId | Self::Detail => 200,
            Self::Method | Self::RetryCount => 32,
            Self::Address => 48,
            Self::UpstreamRequestId
            | Self::KeyId
            | Self::SessionId
            | Self::ClientRequestId
            | Self::Provider
            | Self::Error => 128,
        }
    }
}

/// Stands behind what was cut.
const CUT: &[u8] = "…".as_bytes();

/// Where each quotation begins and ends; what was never put has no length.
pub(super) type Spans = [(u16, u16); QUOTES];

/// See the module's documentation.
#[derive(Default)]
pub(crate) struct Quotes {
    bytes: Vec<u8>,
    spans: Spans,
}

impl Quotes {
    /// Keeps a value; the first one counts.
    pub(crate) fn put(&mut self, quote: Quote, value: &[u8]) {
        let begin = u16::try_from(self.bytes.len()).unwrap_or(u16::MAX);
        let Some(span) = self
            .spans
            .get_mut(quote as usize)
            .filter(|span| span.0 == span.1)
        else {
            return;
        };
        match value.get(..quote.bytes_max()) {
            Some(start) if start.len() < value.len() => {
                self.bytes.extend_from_slice(start);
                self.bytes.extend_from_slice(CUT);
            }
            _ => self.bytes.extend_from_slice(value),
        }
        *span = (begin, u16::try_from(self.bytes.len()).unwrap_or(u16::MAX));
    }

    /// Keeps a value in place of the one before.
    pub(crate) fn replace(&mut self, quote: Quote, value: &[u8]) {
        if let Some(span) = self.spans.get_mut(quote as usize) {
            *span = (0, 0);
        }
        self.put(quote, value);
    }

    /// A value, empty where there is none.
    #[must_use]
    pub(crate) fn of(&self, quote: Quote) -> &[u8] {
        let span = self.spans.get(quote as usize).copied().unwrap_or_default();
        within(&self.bytes, usize::from(span.0)..usize::from(span.1))
    }

    /// Where each begins and ends.
    pub(super) fn spans(&self) -> &Spans {
        &self.spans
    }

    /// All values, one behind the other.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets everything but the buffer.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BYTES_KEPT);
        self.spans = Default::default();
    }
}

/// A buffer that had to take more once gives it back.
const BYTES_KEPT: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_and_the_first_one_counts() {
        let mut quotes = Quotes::default();
        quotes.put(Quote::RetryCount, b"1");
        quotes.put(Quote::RetryCount, b"2");
        quotes.put(Quote::SessionId, &[b'x'; 129]);
        quotes.put(Quote::Method, b"");
        assert_eq!(quotes.of(Quote::RetryCount), b"1");
        let cut = format!("{}…", "x".repeat(128));
        assert_eq!(quotes.of(Quote::SessionId), cut.as_bytes());
        assert_eq!(quotes.of(Quote::Method), b"");
        for value in [&b"10.0.0.7"[..], b"", b"10.0.0.8"] {
            quotes.replace(Quote::Address, value);
            assert_eq!(quotes.of(Quote::Address), value);
        }
        assert_eq!(quotes.of(Quote::RetryCount), b"1");
    }

    #[test]
    fn fields_are_known_in_any_case() {
        assert_eq!(
            Quote::of_request(b"X-Stainless-Retry-Count"),
            Some(Quote::RetryCount)
        );
        assert_eq!(Quote::of_request(b"x-gomodel-user-path"), None);
    }
}
