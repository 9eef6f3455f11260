//! A worker's way to the log's thread: a ring of bytes with one writer and one reader, without a lock. Whole records
//! go in or are lost.
//!
//! What anybody can cause, lines of requests that were not admitted, gets half of the room at most, so that it cannot
//! push out those of others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use crate::system::time::Moment;

use super::request::{self, Prefix, Request};
use super::shared::Shared;
use super::tally::{Of, Tally};

/// Bytes of records of one worker that wait for the log's thread: those of some 1,500 requests.
const LANE_BYTES: usize = 512 * 1024;
/// Those of them that may be of anybody's requests.
const ANYBODYS_BYTES: usize = LANE_BYTES / 2;

/// The worker's end.
pub(crate) struct Lane {
    ring: Producer<u8>,
    /// Of the ring's bytes.
    anybodys: Arc<AtomicUsize>,
    /// A record that is being made.
    room: Vec<u8>,
    // Dropped behind the ring.
    shared: Shared,
}

/// The log thread's end, and the record that comes next.
pub(super) struct Outgoing {
    ring: Consumer<u8>,
    anybodys: Arc<AtomicUsize>,
    next: Option<u64>,
    record: Vec<u8>,
}

/// Both ends.
pub(super) fn lane(shared: Shared) -> (Lane, Outgoing) {
    let (writer, reader) = RingBuffer::new(LANE_BYTES);
    let anybodys = Arc::<AtomicUsize>::default();
    let lane = Lane {
        ring: writer,
        anybodys: anybodys.clone(),
        room: Vec::new(),
        shared,
    };
    let outgoing = Outgoing {
        ring: reader,
        anybodys,
        next: None,
        record: Vec::new(),
    };
    (lane, outgoing)
}

impl Lane {
    /// Hands over what is to be a line of the access log, of a request that ended then.
    pub(crate) fn write(&mut self, request: &Request<'_>, ended: Moment) {
        request.encode(ended.nanos(), &mut self.room);
        let len = self.room.len();
        if request.of == Of::Anybody {
            if self.anybodys.load(Ordering::Relaxed) + len > ANYBODYS_BYTES {
                return self.lose(request, Tally::shed);
            }
            self.anybodys.fetch_add(len, Ordering::Relaxed);
        }
        if self.ring.push_entire_slice(&self.room).is_ok() {
            return self.shared.bell.ring();
        }
        self.lose(request, |tally| tally.lose(1));
        if request.of == Of::Anybody {
            self.anybodys.fetch_sub(len, Ordering::Relaxed);
        }
    }

    /// There is no room for it.
    fn lose(&self, request: &Request<'_>, line: impl FnOnce(&Tally)) {
        if request.marks.line {
            line(&self.shared.tally);
        }
        if request.marks.span {
            self.shared.exports.drop_spans(request.marks.spans());
        }
    }
}

impl Outgoing {
    /// When the request ended whose record comes next.
    pub(super) fn next(&mut self) -> Option<u64> {
        if self.next.is_none() {
            let mut prefix = [0; Prefix::BYTES];
            self.ring.pop_entire_slice(&mut prefix).ok()?;
            let Prefix { len, ended } = Prefix::read(&prefix);
            debug_assert!(len >= Prefix::BYTES, "{len}");
            self.record.resize(len.max(Prefix::BYTES), 0);
            let (begin, rest) = self.record.split_at_mut_checked(Prefix::BYTES)?;
            begin.copy_from_slice(&prefix);
            // It went in whole.
            let whole = self.ring.pop_entire_slice(rest);
            debug_assert!(whole.is_ok(), "{len}");
            self.next = Some(ended);
        }
        self.next
    }

    /// Takes it out.
    pub(super) fn take(&mut self) -> &[u8] {
        self.next = None;
        if request::of(&self.record) == Of::Anybody {
            self.anybodys
                .fetch_sub(self.record.len(), Ordering::Relaxed);
        }
        &self.record
    }

    /// Whether nothing is there, nor will be.
    pub(super) fn is_over(&self) -> bool {
        self.next.is_none() && self.ring.is_abandoned() && self.ring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::quotes::{Quote, Quotes};
    use crate::log::record::Marks;
    use crate::observe::{Ending, Phase, Times};

    /// Writes a record with so many bytes of a path.
    fn write(lane: &mut Lane, of: Of, number: u64, path: usize) {
        let mut quotes = Quotes::default();
        quotes.put(Quote::Path, &vec![b'a'; path]);
        let request = Request {
            of,
            client: None,
            status: 0,
            received: 0,
            sent: 0,
            duration: Duration::ZERO,
            times: &Times::default(),
            ending: Ending::Complete,
            phase: Phase::Wait,
            way: crate::log::Way::default(),
            marks: Marks::LINE,
            quotes: &quotes,
        };
        lane.write(&request, Moment::of(number));
    }

    fn lost(shared: &Shared) -> (u64, u64) {
        let load = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
        (load(&shared.tally.lost), load(&shared.tally.shed))
    }

    #[test]
    fn records_come_out_whole_and_in_order() {
        let shared = Shared::new();
        let (mut lane, mut outgoing) = lane(shared.clone());
        const RECORDS: u64 = 20_000;
        let writer = std::thread::spawn(move || {
            for number in 1..=RECORDS {
                let path = (number * 7 % 1000) as usize;
                write(&mut lane, Of::Admitted, number, path);
            }
        });
        let (mut last, mut seen) = (None, 0);
        while !outgoing.is_over() {
            let Some(ended) = outgoing.next() else {
                std::thread::yield_now();
                continue;
            };
            assert!(last < Some(ended));
            last = Some(ended);
            let path = outgoing.take().iter().rev();
            let path = path.take_while(|byte| **byte == b'a').count();
            assert_eq!(path as u64, ended * 7 % 1000);
            seen += 1;
        }
        writer.join().unwrap();
        assert_eq!(seen + lost(&shared).0, RECORDS);
    }

    #[test]
    fn anybodys_leave_half_of_the_room_to_others() {
        let shared = Shared::new();
        let (mut lane, mut outgoing) = lane(shared.clone());
        // Until there is no room for another one.
        while lost(&shared) == (0, 0) {
            write(&mut lane, Of::Anybody, 1, 600);
        }
        assert_eq!(lost(&shared), (1, 1));
        let mut admitted = 0;
        while lost(&shared) == (1, 1) {
            write(&mut lane, Of::Admitted, 2, 600);
            admitted += 1;
        }
        assert_eq!(lost(&shared), (2, 1));
        let mut anybodys = 0;
        while outgoing.next() == Some(1) {
            assert_eq!(request::of(outgoing.take()), Of::Anybody);
            anybodys += 1;
        }
        assert!(admitted > anybodys, "{admitted}, {anybodys}");
        // There is room again.
        write(&mut lane, Of::Anybody, 3, 600);
        assert_eq!(lost(&shared), (2, 1));
    }
}
