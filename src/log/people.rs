//! Lines for whoever sits at a terminal: what matters of a request within [`COLUMNS`], in colour or not.

use std::fmt::Write as _;

use crate::base::columns::cut;
use crate::config::Level;
use crate::observe::Ending;

use super::escape::escape;
use super::quotes::Quote;
use super::record::Record;

/// Most columns of a request's line; what is longer is cut.
const COLUMNS: usize = 100;
/// Fewest that a path is cut to, where a reason stands behind it.
const PATH_COLUMNS: usize = 32;

/// How the words of a line look.
#[derive(Clone, Copy)]
enum Paint {
    Plain,
    Faint,
    Good,
    Other,
    Warning,
    Fault,
}

impl Paint {
    fn of_status(status: u16) -> Self {
        match status {
            200..=299 | 101 => Self::Good,
            400..=499 => Self::Warning,
            500.. => Self::Fault,
            _ => Self::Other,
        }
    }

    fn of_level(level: Level) -> Self {
        match level {
            Level::Error => Self::Fault,
            Level::Warn => Self::Warning,
            Level::Info => Self::Plain,
            Level::Debug => Self::Faint,
        }
    }

    /// As ECMA-48 has it.
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Faint => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Other => "\x1b[36m",
            Self::Warning => "\x1b[33m",
            Self::Fault => "\x1b[31m",
        }
    }
}

/// A line under way: counts its columns, of which colours take none.
struct Words<'a> {
    out: &'a mut Vec<u8>,
    colours: bool,
    columns: usize,
}

impl Words<'_> {
    /// Adds a word behind a blank, cut to `most` columns.
    fn put(&mut self, paint: Paint, word: &str, most: usize) {
        let blank = usize::from(self.columns > 0);
        let room = most.min(COLUMNS.saturating_sub(self.columns + blank));
        if word.is_empty() || room == 0 {
            return;
        }
        if blank > 0 {
            self.out.push(b' ');
        }
        let code = if self.colours { paint.code() } else { "" };
        self.out.extend_from_slice(code.as_bytes());
        let shown = cut(word, room);
        self.out.extend_from_slice(shown.as_bytes());
        if !code.is_empty() {
            self.out.extend_from_slice(b"\x1b[0m");
        }
        self.columns += blank + shown.chars().count();
    }
}

/// What a terminal can show of it, and nothing that it obeys.
fn shown(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    escape(&mut out, &String::from_utf8_lossy(bytes));
    String::from_utf8_lossy(&out).into_owned()
}

/// The time of day of a timestamp, in UTC.
fn time_of_day(time: &str) -> &str {
    time.get(11..19).unwrap_or(time)
}

/// A request's line, at the end of `out`.
pub(super) fn request(record: &Record<'_>, time: &str, colours: bool, out: &mut Vec<u8>) {
    let mut words = Words {
        out,
        colours,
        columns: 0,
    };
    let status = record.status();
    words.put(Paint::Faint, &format!("{}Z", time_of_day(time)), COLUMNS);
    let code = match status {
        0 => "---".to_owned(),
        status => status.to_string(),
    };
    words.put(Paint::of_status(status), &code, COLUMNS);
    let of = |quote: Quote| shown(record.quote(quote));
    words.put(Paint::Plain, &of(Quote::Method), COLUMNS);
    let provider = of(Quote::Provider);
    words.put(Paint::Other, &provider, COLUMNS);
    let reason = reason(record);
    let path = of(Quote::Path);
    let tail = format!("{} {}", millis(record.nanos()), size(record.sent()));
    // What is behind it is worth more than the end of a long path.
    let behind = tail.len()
        + 1
        + if reason.is_empty() {
            0
        } else {
            reason.chars().count() + 1
        };
    let most = COLUMNS
        .saturating_sub(words.columns + 1 + behind)
        .max(PATH_COLUMNS);
    words.put(Paint::Plain, without_provider(&path, &provider), most);
    words.put(Paint::Plain, &tail, COLUMNS);
    words.put(Paint::of_status(status.max(400)), &reason, COLUMNS);
    words.out.push(b'\n');
}

/// Why it ended as it did, where it did not end as it should.
fn reason(record: &Record<'_>) -> String {
    let of = |quote: Quote| shown(record.quote(quote));
    let (error, detail) = (of(Quote::Error), of(Quote::Detail));
    let word = match record.ending() {
        _ if !error.is_empty() => error,
        None | Some(Ending::Complete) => return String::new(),
        Some(ending) => ending.as_str().to_owned(),
    };
    match detail.is_empty() {
        true => word,
        false => format!("{word}: {detail}"),
    }
}

/// The path as the provider sees it, where its name stands before it.
fn without_provider<'a>(path: &'a str, provider: &str) -> &'a str {
    let rest = path.split_once("/p/").map(|(_, rest)| rest);
    let rest = rest.and_then(|rest| rest.strip_prefix(provider));
    rest.filter(|rest| rest.starts_with('/')).unwrap_or(path)
}

/// Milliseconds to three digits or whole ones.
fn millis(nanos: u64) -> String {
    let micros = nanos / 1000;
    match micros {
        0..10_000 => format!("{}.{:02}ms", micros / 1000, micros % 1000 / 10),
        _ => format!("{}ms", micros / 1000),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes}B"),
        10_240..10_485_760 => format!("{}K", bytes >> 10),
        _ => format!("{}M", bytes >> 20),
    }
}

/// The start of a message's line: fields follow.
pub(super) fn message(out: &mut Vec<u8>, time: &str, level: Level, text: &str, colours: bool) {
    let of = |paint: Paint| match paint.code() {
        "" => ("", ""),
        code if colours => (code, "\x1b[0m"),
        _ => ("", ""),
    };
    let (faint, end) = of(Paint::Faint);
    let (strong, level_end) = of(Paint::of_level(level));
    let mut start = String::new();
    // A string takes everything.
    let _ = write!(
        start,
        "{faint}{}Z{end} {strong}{:<5}{level_end} {text}",
        time_of_day(time),
        level.as_str()
    );
    out.extend_from_slice(start.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::log::quotes::Quotes;
    use crate::log::record::Marks;
    use crate::log::request::Request;
    use crate::log::tally::Of;
    use crate::observe::{Phase, Times};

    const TIME: &str = "2026-11-29T21:18:22.123Z";

    fn line(quoted: &[(Quote, &str)], status: u16, ending: Ending, colours: bool) -> String {
        let mut quotes = Quotes::default();
        for (quote, value) in quoted {
            quotes.put(*quote, value.as_bytes());
        }
        let request_ended = Request {
            of: Of::Admitted,
            client: None,
            status,
            received: 0,
            sent: 20_480,
            duration: Duration::from_micros(3_456),
            times: &Times::default(),
            ending,
            phase: Phase::Stream,
            way: crate::log::Way::default(),
            marks: Marks::LINE,
            quotes: &quotes,
        };
        let (mut record, mut out) = (Vec::new(), Vec::new());
        request_ended.encode(7, &mut record);
        request(&Record::new(&record), TIME, colours, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_is_one_line() {
        let asked = [
            (Quote::Method, "POST"),
            (Quote::Provider, "anthropic"),
            (Quote::Path, "/p/anthropic/v1/messages"),
        ];
        assert_eq!(
            line(&asked, 200, Ending::Complete, false),
            "21:18:22Z 200 POST anthropic /v1/messages 3.45ms 20K\n"
        );
        assert_eq!(
            line(&asked, 200, Ending::ClientGone, true),
            "\x1b[2m21:18:22Z\x1b[0m \x1b[32m200\x1b[0m POST \x1b[36manthropic\x1b[0m /v1/messages 3.45ms 20K \
             \x1b[33mclient_gone\x1b[0m\n"
        );
        let refused = [
            (Quote::Method, "GET"),
            (Quote::Path, "/x"),
            (Quote::Error, "not_found"),
        ];
        assert_eq!(
            line(&refused, 404, Ending::Error, false),
            "21:18:22Z 404 GET /x 3.45ms 20K not_found\n"
        );
    }

    #[test]
    fn a_reason_has_its_room_and_a_path_is_cut() {
        let path = format!("/p/openai/{}", "x".repeat(300));
        let failed = [
            (Quote::Method, "GET"),
            (Quote::Provider, "openai"),
            (Quote::Path, &path),
            (Quote::Error, "upstream_connect"),
            (Quote::Detail, "connection refused (10.0.0.7:8000)"),
        ];
        let text = line(&failed, 502, Ending::Error, false);
        assert_eq!(text.trim_end().chars().count(), COLUMNS, "{text}");
        let cut = format!(" /{}… 3.45ms", "x".repeat(PATH_COLUMNS - 2));
        assert!(text.contains(&cut), "{text}");
        assert!(text.contains("upstream_connect: conn"), "{text}");
    }

    proptest! {
        #[test]
        fn it_fits_and_nothing_in_it_is_obeyed(
            words in prop::collection::vec("[ -~\u{80}-\u{9f}\u{1b}\u{202e}é\n]{0,200}", 5),
            status in 0..1000_u16,
        ) {
            let quotes = [Quote::Method, Quote::Provider, Quote::Path, Quote::Error, Quote::Detail];
            let quoted: Vec<_> = quotes.into_iter().zip(words.iter().map(String::as_str)).collect();
            let text = line(&quoted, status, Ending::Error, false);
            let text = text.strip_suffix('\n').unwrap();
            prop_assert!(text.chars().count() <= COLUMNS, "{}", text);
            prop_assert!(!text.chars().any(char::is_control), "{:?}", text);
        }
    }
}
