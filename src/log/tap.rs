//! Where records of traced requests go from the log's thread: a ring of bytes with one writer and one reader, who makes
//! spans of them and sends those. Whole records go in or are dropped and counted; nobody waits for a collector.
//!
//! As in a worker's own ring, what anybody can cause leaves half of the room to others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::observe::Exports;
use crate::observe::traceparent::Context;
use crate::system::random::Supply;

use super::quotes::Quote;
use super::record::Record;
use super::request;
use super::tally::Of;

/// Bytes of records that wait to be made spans of and sent: those of some 5,000 requests.
const SPOOL_BYTES: usize = 2 * 1024 * 1024;
/// With this much the reader is woken before its time.
const HURRY_BYTES: usize = SPOOL_BYTES / 8;
/// What stands before each record: random bytes, and when the request ended.
const PREFIX_BYTES: usize = 32 + 8;

/// The log thread's end.
pub(crate) struct Tap {
    ring: Producer<u8>,
    exports: Arc<Exports>,
    /// Of the numbers of 63 bits: traces whose number is below it are kept.
    threshold: Arc<AtomicU64>,
    random: Supply,
    /// An entry that is being made.
    room: Vec<u8>,
    /// The reader knows that there is much.
    hurries: Arc<AtomicBool>,
    hurry: Box<dyn Fn() + Send>,
}

/// The reader's end.
pub(crate) struct Spool {
    ring: Consumer<u8>,
    hurries: Arc<AtomicBool>,
    entry: Vec<u8>,
}

/// What spans of one request are made of.
pub(crate) struct Entry<'a> {
    /// Random: for a trace of its own, and for two spans.
    pub random: [u8; 32],
    /// When it ended, in nanoseconds since 1970.
    pub ended: u64,
    /// What it was.
    pub record: Record<'a>,
}

/// Both ends. `hurry` is called when much waits; `threshold` may change.
pub(crate) fn tap(
    exports: Arc<Exports>,
    threshold: Arc<AtomicU64>,
    hurry: impl Fn() + Send + 'static,
) -> (Tap, Spool) {
    let (writer, reader) = RingBuffer::new(SPOOL_BYTES);
    let hurries = Arc::<AtomicBool>::default();
    let tap = Tap {
        ring: writer,
        exports,
        threshold,
        random: Supply::default(),
        room: Vec::new(),
        hurries: hurries.clone(),
        hurry: Box::new(hurry),
    };
    let spool = Spool {
        ring: reader,
        hurries,
        entry: Vec::new(),
    };
    (tap, spool)
}

impl Tap {
    /// Takes a whole record of a request that ended then, in nanoseconds since 1970, unless nobody keeps its trace.
    pub(super) fn take(&mut self, record: &[u8], ended: u64) {
        let random = [self.random.take(), self.random.take()];
        let read = Record::new(record);
        // Whose parent is not kept is not traced in the first place.
        let joins = Context::read(read.quote(Quote::Trace)).is_some();
        if !joins && !self.is_kept(&random[0]) {
            return;
        }
        let free = self.ring.slots();
        let needed = match request::of(record) {
            Of::Admitted => 0,
            Of::Anybody => SPOOL_BYTES / 2,
        };
        self.room.clear();
        self.room.extend_from_slice(random.as_flattened());
        self.room.extend_from_slice(&ended.to_le_bytes());
        self.room.extend_from_slice(record);
        if free < needed || self.ring.push_entire_slice(&self.room).is_err() {
            self.exports.drop_spans(read.marks().spans());
        }
        if free < SPOOL_BYTES - HURRY_BYTES && !self.hurries.swap(true, Ordering::Relaxed) {
            (self.hurry)();
        }
    }

    /// As everybody decides it who has the trace's id (OpenTelemetry's `TraceIdRatioBased`).
    fn is_kept(&self, trace: &[u8; 16]) -> bool {
        let [.., a, b, c, d, e, f, g, h] = *trace;
        let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
        number < self.threshold.load(Ordering::Relaxed)
    }
}

impl Spool {
    /// From now on it is worth waking the reader again.
    pub(crate) fn look(&self) {
        self.hurries.store(false, Ordering::Relaxed);
    }

    /// Whether nothing waits.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Takes what comes next.
    pub(crate) fn next(&mut self) -> Option<Entry<'_>> {
        let mut prefix = [0; PREFIX_BYTES + 8];
        self.ring.pop_entire_slice(&mut prefix).ok()?;
        let (ended, len) = prefix.last_chunk::<16>()?.split_first_chunk::<8>()?;
        let len = usize::try_from(u64::from_le_bytes(*len.first_chunk()?)).unwrap_or_default();
        debug_assert!((8..SPOOL_BYTES).contains(&len), "{len}");
        self.entry.resize(len.max(8), 0);
        let (begin, rest) = self.entry.split_first_chunk_mut::<8>()?;
        *begin = *prefix.last_chunk()?;
        // It went in whole.
        let whole = self.ring.pop_entire_slice(rest);
        debug_assert!(whole.is_ok(), "{len}");
        Some(Entry {
            random: *prefix.first_chunk()?,
            ended: u64::from_le_bytes(*ended),
            record: Record::new(&self.entry),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::{Marks, Quotes, Request, Way};
    use crate::observe::{Ending, Phase, Times};

    fn record(of: Of, path: &[u8], trace: &[u8]) -> Vec<u8> {
        let mut quotes = Quotes::default();
        quotes.put(Quote::Path, path);
        quotes.put(Quote::Trace, trace);
        let request = Request {
            of,
            client: None,
            status: 200,
            received: 0,
            sent: 0,
            duration: Duration::ZERO,
            times: &Times::default(),
            ending: Ending::Complete,
            phase: Phase::Wait,
            way: Way::default(),
            marks: Marks {
                span: true,
                ..Marks::default()
            },
            quotes: &quotes,
        };
        request.encoded()
    }

    fn pair(threshold: u64) -> (Tap, Spool, Arc<Exports>, Arc<AtomicU64>) {
        let exports = Arc::new(Exports::default());
        exports.are_on();
        let hurried = Arc::<AtomicU64>::default();
        let count = hurried.clone();
        let (tap, spool) = tap(exports.clone(), Arc::new(threshold.into()), move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        (tap, spool, exports, hurried)
    }

    fn dropped(exports: &Exports) -> u64 {
        exports.figures().unwrap().spans_dropped
    }

    #[test]
    fn what_goes_in_comes_out_whole() {
        let (mut tap, mut spool, exports, _) = pair(1 << 63);
        let mut seen = Vec::new();
        for number in 0..9000_u64 {
            tap.take(
                &record(Of::Admitted, number.to_string().as_bytes(), b""),
                number,
            );
            let entry = spool.next().unwrap();
            assert_eq!(entry.ended, number);
            assert_eq!(
                entry.record.quote(Quote::Path),
                number.to_string().as_bytes()
            );
            seen.push(entry.random);
        }
        assert!(spool.next().is_none());
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((seen.len(), dropped(&exports)), (9000, 0));
    }

    #[test]
    fn what_has_no_room_is_dropped_and_anybodys_leave_half() {
        let (mut tap, mut spool, exports, hurried) = pair(1 << 63);
        let anybodys = record(Of::Anybody, &[b'a'; 600], b"");
        let mut first = 0;
        while dropped(&exports) == 0 {
            tap.take(&anybodys, 1);
            first += 1;
        }
        assert_eq!(hurried.load(Ordering::Relaxed), 1);
        let admitted = record(Of::Admitted, &[b'a'; 600], b"");
        let mut second = 0;
        while dropped(&exports) == 1 {
            tap.take(&admitted, 2);
            second += 1;
        }
        assert!(second + 3 > first && first + 3 > second, "{first} {second}");
        spool.look();
        while spool.next().is_some() {}
        tap.take(&anybodys, 3);
        assert_eq!(spool.next().unwrap().ended, 3);
        assert_eq!(dropped(&exports), 2);
    }

    #[test]
    fn a_part_of_the_new_traces_is_kept_and_every_joined_one() {
        let context = Context {
            trace: [1; 16],
            span: [2; 8],
            flags: 1,
        };
        let joined = record(Of::Admitted, b"", &context.bytes());
        let new = record(Of::Admitted, b"", b"");
        for (threshold, least, most) in [(0, 0, 0), (1 << 62, 400, 600), (1 << 63, 1000, 1000)] {
            let (mut tap, mut spool, exports, _) = pair(threshold);
            tap.take(&joined, 1);
            assert!(spool.next().is_some());
            let mut kept = 0;
            for _ in 0..1000 {
                tap.take(&new, 1);
                kept += usize::from(spool.next().is_some());
            }
            assert!((least..=most).contains(&kept), "{threshold}: {kept}");
            assert_eq!(dropped(&exports), 0);
        }
    }
}
