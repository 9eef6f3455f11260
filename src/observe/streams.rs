//! Requests under way as JSON: what each is doing, for how long, and whose it is. Paths have no queries; of keys
//! there are ids only.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::{Method, Phase, Slots};

/// One request under way.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    /// Where it is counted.
    pub slot: usize,
    /// What it is doing.
    pub phase: Phase,
    /// Its method.
    pub method: Method,
    /// Its answer's status; 0 before there is one.
    pub status: u16,
    /// Content from the client.
    pub received: u64,
    /// Content to the client.
    pub sent: u64,
    /// Since its head was there.
    pub age: Duration,
    /// Since something moved, where that is known.
    pub idle: Option<Duration>,
    /// Of [`UnderWay::text`].
    pub key: Range<usize>,
    /// Of [`UnderWay::text`].
    pub path: Range<usize>,
}

/// What one worker has under way, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    /// All of them, those not shown included.
    pub in_flight: u64,
    /// Those that are shown.
    pub streams: Vec<Stream>,
    text: Vec<u8>,
}

/// Bytes of a path that are shown.
const PATH_MAX: usize = 160;
/// Bytes of a key's id and a path, as they mostly are.
const TEXT_USUAL: usize = 64;

impl UnderWay {
    /// Without any so far.
    #[must_use]
    pub(crate) fn with_room(streams: usize) -> Self {
        Self {
            in_flight: 0,
            streams: Vec::with_capacity(streams),
            text: Vec::with_capacity(streams * TEXT_USUAL),
        }
    }

    /// Adds one, with its key's id and its path.
    pub(crate) fn push(&mut self, stream: Stream, key: &[u8], path: &[u8]) {
        let key = self.keep(key);
        let path = self.keep(path.get(..PATH_MAX).unwrap_or(path));
        self.streams.push(Stream {
            key,
            path,
            ..stream
        });
    }

    fn keep(&mut self, text: &[u8]) -> Range<usize> {
        let begin = self.text.len();
        self.text.extend_from_slice(text);
        begin..self.text.len()
    }

    /// A key's id or a path.
    #[must_use]
    pub(crate) fn text(&self, range: &Range<usize>) -> Option<String> {
        let text = self.text.get(range.clone())?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

#[derive(Serialize)]
struct Document<'a> {
    in_flight: u64,
    silent_workers: usize,
    streams: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    age_us: u128,
    idle_us: Option<u128>,
    phase: &'static str,
    provider: &'a str,
    key: Option<String>,
    method: &'static str,
    path: Option<String>,
    status: Option<u16>,
    bytes_in: u64,
    bytes_out: u64,
}

/// One JSON object for all workers that answered; `silent` did not.
#[must_use]
pub(crate) fn json(workers: &[UnderWay], silent: usize, slots: &Slots) -> String {
    let rows = workers.iter().flat_map(|worker| {
        worker.streams.iter().map(|stream| Row {
            age_us: stream.age.as_micros(),
            idle_us: stream.idle.map(|idle| idle.as_micros()),
            phase: stream.phase.as_str(),
            provider: slots.name(stream.slot),
            key: worker.text(&stream.key),
            method: stream.method.as_str(),
            path: worker.text(&stream.path),
            status: Some(stream.status).filter(|status| *status > 0),
            bytes_in: stream.received,
            bytes_out: stream.sent,
        })
    });
    let mut streams: Vec<Row<'_>> = rows.collect();
    streams.sort_by_key(|row| std::cmp::Reverse(row.age_us));
    let document = Document {
        in_flight: workers.iter().map(|worker| worker.in_flight).sum(),
        silent_workers: silent,
        streams,
    };
    // Numbers and strings always have a JSON form.
    serde_json::to_string(&document).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn stream(slot: usize, age: u64) -> Stream {
        Stream {
            slot,
            phase: Phase::Stream,
            method: Method::Post,
            status: 200,
            received: 3,
            sent: 4,
            age: Duration::from_micros(age),
            idle: None,
            key: 0..0,
            path: 0..0,
        }
    }

    #[test]
    fn workers_are_put_together_oldest_first() {
        let slots = Slots::default().next(["one", "two"].into_iter());
        let mut workers = [UnderWay::default(), UnderWay::default()];
        workers[0].in_flight = 7;
        workers[0].push(stream(1, 50), b"k1", b"/p/one/\"x");
        workers[1].in_flight = 1;
        workers[1].push(stream(2, 60), b"", &[b'a'; 2000]);
        let found: Value = serde_json::from_str(&json(&workers, 1, &slots)).unwrap();
        let row = |age, provider, key: Value, path: &str| {
            json!({
                "age_us": age, "idle_us": null, "phase": "stream", "provider": provider, "key": key,
                "method": "POST", "path": path, "status": 200, "bytes_in": 3, "bytes_out": 4,
            })
        };
        let wanted = json!({
            "in_flight": 8, "silent_workers": 1, "streams": [
                row(60, "two", Value::Null, &"a".repeat(PATH_MAX)),
                row(50, "one", json!("k1"), "/p/one/\"x"),
            ],
        });
        assert_eq!(found, wanted);
    }
}
