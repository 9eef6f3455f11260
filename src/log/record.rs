//! A record as it lies in a worker's ring: where its figures and quotations are, and what it says.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::base::bytes::within;
use crate::observe::{Ending, Phase};

use super::field_name::{FieldName, field_name};
use super::quotes::{QUOTES, Quote, Spans};

/// Times of a request, in the order in which a line has them.
pub(super) const TIMES: [FieldName; 11] = [
    field_name!("duration_us"),
    field_name!("request_overhead_us"),
    field_name!("response_overhead_us"),
    field_name!("waited_us"),
    field_name!("queued_us"),
    field_name!("connect_us"),
    field_name!("tls_us"),
    field_name!("head_us"),
    field_name!("first_byte_us"),
    field_name!("longest_gap_us"),
    field_name!("stream_us"),
];

/// A record begins with its length in all, and when its request ended; so many figures there are with those.
pub(super) const WORDS: usize = 8 + TIMES.len();
/// Bytes of its figures.
pub(super) const FIGURES_BYTES: usize = WORDS * 8;
const SPANS_BYTES: usize = QUOTES * 4;
/// Bytes of a record before its quotations.
pub(super) const FIXED_BYTES: usize = FIGURES_BYTES + SPANS_BYTES;
/// What a record says, for lines that do not say all of it, and for spans.
pub(crate) struct Record<'a> {
    bytes: &'a [u8],
    spans: Spans,
}

impl<'a> Record<'a> {
    /// Of a whole one.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let spans = spans(bytes);
        Self { bytes, spans }
    }

    /// A quotation, empty where there is none.
    pub(crate) fn quote(&self, quote: Quote) -> &'a [u8] {
        let (begin, end) = self.spans.get(quote as usize).copied().unwrap_or_default();
        let begin = FIXED_BYTES + usize::from(begin);
        within(self.bytes, begin..FIXED_BYTES + usize::from(end))
    }

    fn packed(&self) -> [u8; 8] {
        word(self.bytes, 2).to_le_bytes()
    }

    /// The answer's status; 0 without one.
    pub(crate) fn status(&self) -> u16 {
        let [_, _, _, _, s0, s1, _, _] = self.packed();
        u16::from_le_bytes([s0, s1])
    }

    /// How it ended.
    pub(crate) fn ending(&self) -> Option<Ending> {
        let [_, _, ending, ..] = self.packed();
        Ending::ALL.get(usize::from(ending)).copied()
    }

    /// What it was doing when the client left.
    pub(crate) fn phase(&self) -> Option<Phase> {
        let [_, _, _, phase, ..] = self.packed();
        Phase::ALL.get(usize::from(phase)).copied()
    }

    /// How long it took.
    pub(crate) fn nanos(&self) -> u64 {
        word(self.bytes, 8)
    }

    /// What it is for.
    #[must_use]
    pub(crate) fn marks(&self) -> Marks {
        let [of, ..] = self.packed();
        Marks::read(of)
    }

    /// How it went to the provider.
    #[must_use]
    pub(crate) fn way(&self) -> Way {
        Way::of(word(self.bytes, 7))
    }

    /// What is known of its times, in the order of [`TIMES`].
    #[must_use]
    pub(crate) fn times(&self) -> [Option<Duration>; TIMES.len()] {
        let mut at = 8..;
        [(); TIMES.len()].map(|()| {
            let nanos = word(self.bytes, at.next().unwrap_or_default());
            (nanos != UNKNOWN).then(|| Duration::from_nanos(nanos))
        })
    }

    /// Where the client is; nothing for one of a Unix socket.
    #[must_use]
    pub(crate) fn client(&self) -> Option<SocketAddr> {
        let [_, form, _, _, _, _, p0, p1] = self.packed();
        let bits = (u128::from(word(self.bytes, 3)) << 64) | u128::from(word(self.bytes, 4));
        let port = u16::from_le_bytes([p0, p1]);
        match form {
            form if form == Kind::V4 as u8 => {
                let [.., a, b, c, d] = bits.to_be_bytes();
                Some((Ipv4Addr::new(a, b, c, d), port).into())
            }
            form if form == Kind::V6 as u8 => Some((Ipv6Addr::from_bits(bits), port).into()),
            _ => None,
        }
    }

    /// Content from the client, in bytes.
    #[must_use]
    pub(crate) fn received(&self) -> u64 {
        word(self.bytes, 5)
    }

    /// Content to the client, in bytes.
    pub(crate) fn sent(&self) -> u64 {
        word(self.bytes, 6)
    }
}

/// Whose request it is, and [`Marks`]; which form its address has, its ending and its phase are next to it.
pub(super) const OF_AT: usize = 16;

/// What a record is for, and what is known of its request beside figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// There is to be a line of the access log.
    pub line: bool,
    /// There is to be a span, or two.
    pub span: bool,
    /// It came over TLS.
    pub tls: bool,
    /// It was of HTTP/1.0.
    pub http10: bool,
    /// A provider was asked, or tried to be.
    pub went_out: bool,
}

impl Marks {
    /// For a line alone.
    #[cfg(test)]
    pub(crate) const LINE: Self = Self {
        line: true,
        span: false,
        tls: false,
        http10: false,
        went_out: false,
    };

    /// How many spans there are of it, if there are any.
    #[must_use]
    pub(crate) fn spans(self) -> u64 {
        1 + u64::from(self.went_out)
    }

    /// As bits that leave room for one below them.
    pub(super) fn bits(self) -> u8 {
        let bits = [self.line, self.span, self.tls, self.http10, self.went_out];
        bits.iter()
            .rev()
            .fold(0, |sum, bit| (sum | u8::from(*bit)) << 1)
    }

    fn read(bits: u8) -> Self {
        let bit = |at: u8| bits & (2 << at) != 0;
        Self {
            line: bit(0),
            span: bit(1),
            tls: bit(2),
            http10: bit(3),
            went_out: bit(4),
        }
    }
}

/// How a request went to its provider: with which of several keys, to which of several instances, and how often it was
/// sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// Number of the key, from 1 on; 0 where there is but one.
    pub key_n: u8,
    /// Number of the instance, likewise.
    pub instance: u8,
    /// How many instances were not reached before that one.
    pub moved: u8,
    /// How often it was sent again.
    pub retries: u32,
}

impl Way {
    pub(super) fn word(self) -> u64 {
        let [a, b, c, d] = self.retries.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, self.key_n, self.instance, self.moved, 0])
    }

    fn of(word: u64) -> Self {
        let [a, b, c, d, key_n, instance, moved, _] = word.to_le_bytes();
        Self {
            key_n,
            instance,
            moved,
            retries: u32::from_le_bytes([a, b, c, d]),
        }
    }
}

/// Which form an address has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unix,
    V4,
    V6,
}

/// A time that is not known.
pub(super) const UNKNOWN: u64 = u64::MAX;

fn spans(record: &[u8]) -> Spans {
    let mut spans = Spans::default();
    let bytes = within(record, FIGURES_BYTES..FIXED_BYTES);
    for (span, bytes) in spans.iter_mut().zip(bytes.as_chunks::<4>().0) {
        let [a, b, c, d] = *bytes;
        *span = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    }
    spans
}

/// One of its figures.
pub(super) fn word(record: &[u8], index: usize) -> u64 {
    let words = record.as_chunks::<8>().0;
    words
        .get(index)
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
