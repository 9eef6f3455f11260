//! What a line of the access log says: written by a worker as a few figures and quotations, made into text by the log's
//! thread.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::Level;
use crate::observe::{Ending, Phase, Times};

use super::field_name::field_name;
use super::form::Form;
use super::line::Line;
use super::people;
use super::quotes::{Quote, Quotes};
use super::record::{
    FIGURES_BYTES, FIXED_BYTES, Kind, Marks, OF_AT, Record, TIMES, UNKNOWN, WORDS, Way, word,
};
use super::tally::Of;

/// A request that has ended.
pub(crate) struct Request<'a> {
    /// Whose it was.
    pub of: Of,
    /// Where the client is; nothing for one of a Unix socket.
    pub client: Option<SocketAddr>,
    /// Its answer's status; 0 without one.
    pub status: u16,
    /// Content from the client.
    pub received: u64,
    /// Content to the client.
    pub sent: u64,
    /// From its head to its end.
    pub duration: Duration,
    /// What is known of its times.
    pub times: &'a Times,
    /// How it ended.
    pub ending: Ending,
    /// What it was doing when the client left.
    pub phase: Phase,
    /// How it went to the provider.
    pub way: Way,
    /// What it is written down for.
    pub marks: Marks,
    /// What it says of itself.
    pub quotes: &'a Quotes,
}

impl Request<'_> {
    /// Its record, of one that has ended at some time.
    #[cfg(test)]
    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut record = Vec::new();
        self.encode(7, &mut record);
        record
    }

    /// Writes it into `record`, whose room is used again; `ended` is in nanoseconds.
    pub(super) fn encode(&self, ended: u64, record: &mut Vec<u8>) {
        let quoted = self.quotes.bytes();
        let (form, address, port) = match self.client {
            None => (Kind::Unix, 0, 0),
            Some(SocketAddr::V4(v4)) => (Kind::V4, u128::from(v4.ip().to_bits()), v4.port()),
            Some(SocketAddr::V6(v6)) => (Kind::V6, v6.ip().to_bits(), v6.port()),
        };
        let [high, low] = halves(address);
        let [s0, s1] = self.status.to_le_bytes();
        let [p0, p1] = port.to_le_bytes();
        let (of, form) = (self.of as u8 | self.marks.bits(), form as u8);
        let (ending, phase) = (self.ending as u8, self.phase as u8);
        let packed = u64::from_le_bytes([of, form, ending, phase, s0, s1, p0, p1]);
        let known = |time: Option<Duration>| time.map_or(UNKNOWN, nanos);
        let (times, connecting) = (self.times, self.times.connecting());
        let words: [u64; WORDS] = [
            (FIXED_BYTES + quoted.len()) as u64,
            ended,
            packed,
            high,
            low,
            self.received,
            self.sent,
            self.way.word(),
            nanos(self.duration),
            known(times.request_overhead()),
            known(times.response_overhead()),
            known(times.total_wait()),
            known(times.in_queue()),
            known(connecting.map(|times| times.connect)),
            known(connecting.and_then(|times| times.tls)),
            known(times.to_head()),
            known(times.to_first_byte()),
            known(times.longest_gap()),
            known(times.stream()),
        ];
        let mut fixed = [0; FIXED_BYTES];
        let (figures, spans) = fixed.split_at_mut(FIGURES_BYTES);
        for (room, word) in figures.chunks_exact_mut(8).zip(words) {
            room.copy_from_slice(&word.to_le_bytes());
        }
        for (room, (begin, end)) in spans.chunks_exact_mut(4).zip(self.quotes.spans()) {
            let [a, b] = begin.to_le_bytes();
            let [c, d] = end.to_le_bytes();
            room.copy_from_slice(&[a, b, c, d]);
        }
        record.clear();
        record.extend_from_slice(&fixed);
        record.extend_from_slice(quoted);
    }
}

/// What a record begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    /// Bytes of the record in all.
    pub len: usize,
    /// When the request ended.
    pub ended: u64,
}

impl Prefix {
    /// How many bytes it has.
    pub(super) const BYTES: usize = 16;

    pub(super) fn read(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            len: usize::try_from(word(bytes, 0)).unwrap_or_default(),
            ended: word(bytes, 1),
        }
    }
}

/// Whose request a record is of.
pub(super) fn of(record: &[u8]) -> Of {
    match record.get(OF_AT) {
        Some(byte) if *byte & 1 == Of::Admitted as u8 => Of::Admitted,
        _ => Of::Anybody,
    }
}

/// Makes a record's line, at the end of `out`.
pub(super) fn write(record: &[u8], form: Form, time: &str, out: &mut Vec<u8>) {
    if let Form::People { colours } = form {
        return people::request(&Record::new(record), time, colours, out);
    }
    let of = Record::new(record);
    let is_ours = !of.quote(Quote::Error).is_empty();
    let level = match is_ours && of.status() >= 500 {
        true => Level::Warn,
        false => Level::Info,
    };
    let mut line = Line::begin(out, form, time, level, "request");
    let quote = |line: &mut Line<'_>, quote: Quote| {
        let value = of.quote(quote);
        if !value.is_empty() {
            line.field(quote.name()).text(value);
        }
    };
    quote(&mut line, Quote::RequestId);
    quote(&mut line, Quote::UpstreamRequestId);
    line.field(field_name!("client")).address(of.client());
    quote(&mut line, Quote::KeyId);
    quote(&mut line, Quote::Provider);
    quote(&mut line, Quote::Method);
    quote(&mut line, Quote::Path);
    line.field(field_name!("status")).number(of.status().into());
    line.field(field_name!("bytes_in")).number(word(record, 5));
    line.field(field_name!("bytes_out")).number(word(record, 6));
    for (index, name) in TIMES.into_iter().enumerate() {
        match word(record, 8 + index) {
            UNKNOWN => {}
            nanos => line.field(name).number(nanos / 1000),
        }
    }
    if let Some(ending) = of.ending() {
        line.field(field_name!("end"))
            .text(ending.as_str().as_bytes());
    }
    if of.ending() == Some(Ending::ClientGone)
        && let Some(phase) = of.phase()
    {
        line.field(field_name!("phase"))
            .text(phase.as_str().as_bytes());
    }
    quote(&mut line, Quote::Error);
    quote(&mut line, Quote::Detail);
    let way = of.way();
    let figure = |line: &mut Line<'_>, name, figure: u64| {
        if figure > 0 {
            line.field(name).number(figure);
        }
    };
    figure(&mut line, field_name!("instance"), way.instance.into());
    quote(&mut line, Quote::Address);
    figure(&mut line, field_name!("key_n"), way.key_n.into());
    if way.moved > 0 {
        let attempts = u64::from(way.moved) + 1;
        figure(&mut line, field_name!("attempts"), attempts);
    }
    figure(&mut line, field_name!("retries"), way.retries.into());
    for of_client in Quote::OF_CLIENTS {
        quote(&mut line, of_client);
    }
    line.end();
}

fn halves(bits: u128) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bits.to_be_bytes();
    [
        u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        u64::from_be_bytes(rest),
    ]
}

/// In 584 years it no longer fits.
pub(super) fn nanos(time: Duration) -> u64 {
    let seconds = time.as_secs().wrapping_mul(1_000_000_000);
    seconds.wrapping_add(time.subsec_nanos().into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::observe::times::Connecting;

    const fn at(micros: u64) -> Duration {
        Duration::from_nanos(micros * 1000 + 999)
    }

    fn line(request: &Request<'_>, form: Form) -> String {
        let mut record = b"of the one before".to_vec();
        request.encode(7, &mut record);
        let (prefix, _) = record.split_first_chunk().unwrap();
        let wanted = Prefix {
            len: record.len(),
            ended: 7,
        };
        assert_eq!(Prefix::read(prefix), wanted);
        assert_eq!(of(&record), request.of);
        assert_eq!(Record::new(&record).marks(), request.marks);
        let mut out = Vec::new();
        write(&record, form, "now", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_says_what_is_known() {
        let mut quotes = Quotes::default();
        quotes.put(Quote::Path, b"/p/\"a\"/\xff");
        quotes.put(Quote::Provider, b"anthropic");
        quotes.put(Quote::SessionId, b"s");
        quotes.put(Quote::Address, b"10.0.0.7");
        quotes.put(Quote::Error, b"upstream_reset");
        let mut times = Times::default();
        times.connected(Connecting {
            connect: at(3),
            tls: Some(at(4)),
        });
        times.waited(at(2));
        times.sent(at(10));
        times.head(at(500));
        times.passed_on(at(520), true);
        times.passed_on(at(530), true);
        let mut request = Request {
            of: Of::Admitted,
            client: Some("[2001:db8::1]:443".parse().unwrap()),
            status: 200,
            received: u64::MAX,
            sent: 2,
            duration: Duration::from_secs(3),
            times: &times,
            ending: Ending::ClientGone,
            phase: Phase::Stream,
            way: Way {
                key_n: 2,
                instance: 3,
                moved: 1,
                retries: 1,
            },
            marks: Marks::LINE,
            quotes: &quotes,
        };
        let wanted = json!({
            "time": "now", "level": "info", "message": "request", "client": "[2001:db8::1]:443",
            "provider": "anthropic", "path": "/p/\"a\"/\u{fffd}", "status": 200,
            "bytes_in": u64::MAX, "bytes_out": 2, "duration_us": 3_000_000,
            "request_overhead_us": 10, "response_overhead_us": 20, "waited_us": 2, "connect_us": 3, "tls_us": 4,
            "head_us": 490, "first_byte_us": 490, "longest_gap_us": 10, "stream_us": 30,
            "end": "client_gone", "phase": "stream", "error": "upstream_reset", "instance": 3, "address": "10.0.0.7",
            "key_n": 2, "attempts": 2, "retries": 1,
            "session_id": "s",
        });
        let found: Value = serde_json::from_str(&line(&request, Form::Json)).unwrap();
        assert_eq!(found, wanted);
        let (nothing, never) = (Quotes::default(), Times::default());
        request = Request {
            client: Some("192.0.2.1:80".parse().unwrap()),
            status: 0,
            ending: Ending::Complete,
            way: Way::default(),
            times: &never,
            quotes: &nothing,
            of: Of::Anybody,
            ..request
        };
        let rest = "bytes_in=18446744073709551615 bytes_out=2 duration_us=3000000 end=complete\n";
        assert_eq!(
            line(&request, Form::Logfmt),
            format!("time=now level=info message=request client=192.0.2.1:80 status=0 {rest}")
        );
        request.client = None;
        assert_eq!(
            line(&request, Form::Text),
            format!("now info request client=unix status=0 {rest}")
        );
    }
}
