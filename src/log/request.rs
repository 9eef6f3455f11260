//! What a line of the access log says: written by a worker as a few figures and quotations, made into text by the log's
//! thread.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::base::bytes::within;
use crate::config::{Level, LogFormat};
use crate::observe::{Ending, Phase, Times};

use super::line::{FieldName, Line, field_name};
use super::quotes::{QUOTES, Quote, Quotes, Spans};
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
    /// How often it was sent again.
    pub retries: u64,
    /// What it says of itself.
    pub quotes: &'a Quotes,
}

/// Times of a request, in the order in which a line has them.
const TIMES: [FieldName; 10] = [
    field_name!("duration_us"),
    field_name!("request_overhead_us"),
    field_name!("response_overhead_us"),
    field_name!("waited_us"),
    field_name!("connect_us"),
    field_name!("tls_us"),
    field_name!("head_us"),
    field_name!("first_byte_us"),
    field_name!("longest_gap_us"),
    field_name!("stream_us"),
];

/// A record begins with its length in all, and when its request ended; here are its figures.
const WORDS: usize = 8 + TIMES.len();
const FIGURES_BYTES: usize = WORDS * 8;
const SPANS_BYTES: usize = QUOTES * 4;
/// Bytes of a record before its quotations.
const FIXED_BYTES: usize = FIGURES_BYTES + SPANS_BYTES;
/// A time that is not known.
const UNKNOWN: u64 = u64::MAX;

/// Which form an address has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Unix,
    V4,
    V6,
}

impl Request<'_> {
    /// Writes it into `record`, whose room is used again; `ended` is in nanoseconds.
    pub(super) fn encode(&self, ended: u64, record: &mut Vec<u8>) {
        let quoted = self.quotes.bytes();
        let (form, address, port) = match self.client {
            None => (Form::Unix, 0, 0),
            Some(SocketAddr::V4(v4)) => (Form::V4, u128::from(v4.ip().to_bits()), v4.port()),
            Some(SocketAddr::V6(v6)) => (Form::V6, v6.ip().to_bits(), v6.port()),
        };
        let [high, low] = halves(address);
        let [s0, s1] = self.status.to_le_bytes();
        let [p0, p1] = port.to_le_bytes();
        let (of, form) = (self.of as u8, form as u8);
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
            self.retries,
            nanos(self.duration),
            known(times.request_overhead()),
            known(times.response_overhead()),
            known(times.total_wait()),
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
    match record.get(16) {
        Some(byte) if *byte == Of::Admitted as u8 => Of::Admitted,
        _ => Of::Anybody,
    }
}

/// Makes a record's line, at the end of `out`.
pub(super) fn write(record: &[u8], format: LogFormat, time: &str, out: &mut Vec<u8>) {
    let packed = word(record, 2).to_le_bytes();
    let [_, _, ending, phase, s0, s1, _, _] = packed;
    let status = u16::from_le_bytes([s0, s1]);
    let ending = Ending::ALL.get(usize::from(ending));
    let spans = spans(record);
    let is_ours = spans.get(Quote::Error as usize).is_some_and(|(a, b)| a < b);
    let level = match is_ours && status >= 500 {
        true => Level::Warn,
        false => Level::Info,
    };
    let mut line = Line::begin(out, format, time, level, "request");
    let quote = |line: &mut Line<'_>, quote: Quote| {
        let (begin, end) = spans.get(quote as usize).copied().unwrap_or_default();
        let begin = FIXED_BYTES + usize::from(begin);
        let value = within(record, begin..FIXED_BYTES + usize::from(end));
        if !value.is_empty() {
            line.field(quote.name()).text(value);
        }
    };
    quote(&mut line, Quote::RequestId);
    quote(&mut line, Quote::UpstreamRequestId);
    line.field(field_name!("client")).address(client(record));
    quote(&mut line, Quote::KeyId);
    quote(&mut line, Quote::Provider);
    quote(&mut line, Quote::Method);
    quote(&mut line, Quote::Path);
    line.field(field_name!("status")).number(status.into());
    line.field(field_name!("bytes_in")).number(word(record, 5));
    line.field(field_name!("bytes_out")).number(word(record, 6));
    for (index, name) in TIMES.into_iter().enumerate() {
        match word(record, 8 + index) {
            UNKNOWN => {}
            nanos => line.field(name).number(nanos / 1000),
        }
    }
    if let Some(ending) = ending {
        line.field(field_name!("end"))
            .text(ending.as_str().as_bytes());
    }
    if ending == Some(&Ending::ClientGone)
        && let Some(phase) = Phase::ALL.get(usize::from(phase))
    {
        line.field(field_name!("phase"))
            .text(phase.as_str().as_bytes());
    }
    quote(&mut line, Quote::Error);
    quote(&mut line, Quote::Detail);
    match word(record, 7) {
        0 => {}
        retries => line.field(field_name!("retries")).number(retries),
    }
    for of_client in Quote::OF_CLIENTS {
        quote(&mut line, of_client);
    }
    line.end();
}

fn client(record: &[u8]) -> Option<SocketAddr> {
    let [_, form, _, _, _, _, p0, p1] = word(record, 2).to_le_bytes();
    let bits = (u128::from(word(record, 3)) << 64) | u128::from(word(record, 4));
    let port = u16::from_le_bytes([p0, p1]);
    match form {
        form if form == Form::V4 as u8 => {
            let [.., a, b, c, d] = bits.to_be_bytes();
            Some((Ipv4Addr::new(a, b, c, d), port).into())
        }
        form if form == Form::V6 as u8 => Some((Ipv6Addr::from_bits(bits), port).into()),
        _ => None,
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

fn word(record: &[u8], index: usize) -> u64 {
    let words = record.as_chunks::<8>().0;
    words
        .get(index)
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
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

    fn line(request: &Request<'_>, format: LogFormat) -> String {
        let mut record = b"of the one before".to_vec();
        request.encode(7, &mut record);
        let (prefix, _) = record.split_first_chunk().unwrap();
        let wanted = Prefix {
            len: record.len(),
            ended: 7,
        };
        assert_eq!(Prefix::read(prefix), wanted);
        assert_eq!(of(&record), request.of);
        let mut out = Vec::new();
        write(&record, format, "now", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_says_what_is_known() {
        let mut quotes = Quotes::default();
        quotes.put(Quote::Path, b"/p/\"a\"/\xff");
        quotes.put(Quote::Provider, b"anthropic");
        quotes.put(Quote::SessionId, b"s");
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
            retries: 1,
            quotes: &quotes,
        };
        let wanted = json!({
            "time": "now", "level": "info", "message": "request", "client": "[2001:db8::1]:443",
            "provider": "anthropic", "path": "/p/\"a\"/\u{fffd}", "status": 200,
            "bytes_in": u64::MAX, "bytes_out": 2, "duration_us": 3_000_000,
            "request_overhead_us": 10, "response_overhead_us": 20, "waited_us": 2, "connect_us": 3, "tls_us": 4,
            "head_us": 490, "first_byte_us": 490, "longest_gap_us": 10, "stream_us": 30,
            "end": "client_gone", "phase": "stream", "error": "upstream_reset", "retries": 1,
            "session_id": "s",
        });
        let found: Value = serde_json::from_str(&line(&request, LogFormat::Json)).unwrap();
        assert_eq!(found, wanted);
        let (nothing, never) = (Quotes::default(), Times::default());
        request = Request {
            client: Some("192.0.2.1:80".parse().unwrap()),
            status: 0,
            ending: Ending::Complete,
            retries: 0,
            times: &never,
            quotes: &nothing,
            of: Of::Anybody,
            ..request
        };
        let rest = "bytes_in=18446744073709551615 bytes_out=2 duration_us=3000000 end=complete\n";
        assert_eq!(
            line(&request, LogFormat::Logfmt),
            format!("time=now level=info message=request client=192.0.2.1:80 status=0 {rest}")
        );
        request.client = None;
        assert_eq!(
            line(&request, LogFormat::Text),
            format!("now info request client=unix status=0 {rest}")
        );
    }
}
