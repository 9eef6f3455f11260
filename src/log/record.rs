//! A record as it lies in a worker's ring: where its figures and quotations are, and what it says.

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
/// What a record says, for lines that do not say all of it.
pub(super) struct Record<'a> {
    bytes: &'a [u8],
    spans: Spans,
}

impl<'a> Record<'a> {
    /// Of a whole one.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let spans = spans(bytes);
        Self { bytes, spans }
    }

    /// A quotation, empty where there is none.
    pub(super) fn quote(&self, quote: Quote) -> &'a [u8] {
        let (begin, end) = self.spans.get(quote as usize).copied().unwrap_or_default();
        let begin = FIXED_BYTES + usize::from(begin);
        within(self.bytes, begin..FIXED_BYTES + usize::from(end))
    }

    fn packed(&self) -> [u8; 8] {
        word(self.bytes, 2).to_le_bytes()
    }

    /// The answer's status; 0 without one.
    pub(super) fn status(&self) -> u16 {
        let [_, _, _, _, s0, s1, _, _] = self.packed();
        u16::from_le_bytes([s0, s1])
    }

    /// How it ended.
    pub(super) fn ending(&self) -> Option<Ending> {
        let [_, _, ending, ..] = self.packed();
        Ending::ALL.get(usize::from(ending)).copied()
    }

    /// What it was doing when the client left.
    pub(super) fn phase(&self) -> Option<Phase> {
        let [_, _, _, phase, ..] = self.packed();
        Phase::ALL.get(usize::from(phase)).copied()
    }

    /// How long it took.
    pub(super) fn nanos(&self) -> u64 {
        word(self.bytes, 8)
    }

    /// Content to the client, in bytes.
    pub(super) fn sent(&self) -> u64 {
        word(self.bytes, 6)
    }
}

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
