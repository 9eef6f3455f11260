//! For how long a provider does not want to be asked: out of the head of an answer that refuses one more request.
//!
//! Read are `Retry-After` (RFC 9110, section 10.2.3), the `retry-after-ms` that OpenAI and Azure send beside it, and the
//! times at which a limit that is used up is new: Anthropic's `anthropic-ratelimit-…-reset` (RFC 3339) and OpenAI's
//! `x-ratelimit-reset-…` (`6m0s`). Those of limits that are not used up say nothing of the refusal.

use std::time::Duration;

use crate::base::date::{parse_imf_fixdate, parse_rfc3339};
use crate::base::number::decimal;
use crate::http::head::Section;

/// Where the answer names no time.
pub(crate) const USUAL: Duration = Duration::from_secs(60);
/// A longer time is not believed: a key that nobody asks for any more cannot show that it is good again.
pub(crate) const LONGEST: Duration = Duration::from_secs(3600);
/// A shorter one would be over before the next request is there.
const SHORTEST: Duration = Duration::from_millis(1);

/// The time that an answer with this head names; `now` tells seconds since 1970 and is asked for dates only.
#[must_use]
pub(crate) fn named(section: Section<'_>, now: fn() -> u64) -> Option<Duration> {
    let value = |name: &str| {
        let (_, field) = section.spelt(name.as_bytes()).next()?;
        str::from_utf8(section.value(field)).ok()
    };
    let millis = || decimal_part(value("retry-after-ms")?).map(Duration::from_millis);
    let named = millis()
        .or_else(|| retry_after(value("retry-after")?, now))
        .or_else(|| of_limits(section, now))?;
    Some(named.clamp(SHORTEST, LONGEST))
}

/// The same, or the usual time.
#[must_use]
pub(crate) fn time(section: Section<'_>, now: fn() -> u64) -> Duration {
    named(section, now).unwrap_or(USUAL)
}

/// Seconds, as some write them with a fraction, or a date.
fn retry_after(value: &str, now: fn() -> u64) -> Option<Duration> {
    if let Some(time) = seconds(value) {
        return Some(time);
    }
    let at = parse_imf_fixdate(value)?;
    Some(Duration::from_secs(at.saturating_sub(now())))
}

/// The latest time at which a limit is new of which nothing remains.
fn of_limits(section: Section<'_>, now: fn() -> u64) -> Option<Duration> {
    let mut latest = None;
    for field in section.fields.iter() {
        let name = field.name_of(section.buf);
        let Some((limit, form)) = used_up(name) else {
            continue;
        };
        let remains = section.value(field);
        if remains.is_empty() || !remains.iter().all(|digit| *digit == b'0') {
            continue;
        }
        let reset = match form {
            Form::Anthropic => [b"anthropic-ratelimit-", limit, b"-reset"].concat(),
            Form::OpenAi => [b"x-ratelimit-reset-", limit].concat(),
        };
        let Some((_, field)) = section.spelt(&reset).next() else {
            continue;
        };
        let Ok(reset) = str::from_utf8(section.value(field)) else {
            continue;
        };
        let time = match form {
            Form::Anthropic => {
                let at = parse_rfc3339(reset);
                at.map(|at| Duration::from_secs(at.saturating_sub(now())))
            }
            Form::OpenAi => span(reset),
        };
        latest = latest.max(time);
    }
    latest
}

#[derive(Clone, Copy)]
enum Form {
    Anthropic,
    OpenAi,
}

/// The limit that a field says the rest of, if it is such a field.
fn used_up(name: &[u8]) -> Option<(&[u8], Form)> {
    let (start, limit) = name.split_at_checked(b"x-ratelimit-remaining-".len())?;
    if start.eq_ignore_ascii_case(b"x-ratelimit-remaining-") {
        return Some((limit, Form::OpenAi));
    }
    let (start, rest) = name.split_at_checked(b"anthropic-ratelimit-".len())?;
    let (limit, end) = rest.split_at_checked(rest.len().checked_sub(b"-remaining".len())?)?;
    let is_it = start.eq_ignore_ascii_case(b"anthropic-ratelimit-")
        && end.eq_ignore_ascii_case(b"-remaining");
    is_it.then_some((limit, Form::Anthropic))
}

/// `1h2m3.5s`, `20ms`, in the form of Go's durations, each unit once at most.
fn span(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    let mut before = usize::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, behind) = rest.split_at_checked(digits)?;
        let unit_end = behind
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(unit_end)?;
        let rank = UNITS.iter().position(|(name, _)| *name == unit)?;
        if rank >= before {
            return None;
        }
        let (_, nanos) = UNITS.get(rank)?;
        total = total.checked_add(scaled(number, *nanos)?)?;
        (before, rest) = (rank, behind);
    }
    (before != usize::MAX).then_some(total)
}

/// By size, with their nanoseconds.
const UNITS: [(&str, u64); 4] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

fn seconds(text: &str) -> Option<Duration> {
    scaled(text, 1_000_000_000)
}

/// A number with or without a fraction, of units with so many nanoseconds. What is beyond a thousandth of a unit is
/// dropped, what is beyond measure is the most there is.
fn scaled(number: &str, nanos: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    // So many digits that they are no number of ours are a long time all the same.
    let whole = decimal(whole).unwrap_or(u64::MAX);
    let thousandths = format!("{fraction:0<3}");
    let thousandths = decimal(thousandths.get(..3)?)?;
    let of_fraction = nanos / 1000 * thousandths;
    Some(Duration::from_nanos(
        whole.saturating_mul(nanos).saturating_add(of_fraction),
    ))
}

/// The whole of a number that may have a fraction.
fn decimal_part(text: &str) -> Option<u64> {
    let millis = scaled(text, 1_000_000)?;
    Some(u64::try_from(millis.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Fields, parse_response};

    /// 2026-11-30T00:00:00Z
    const NOW: u64 = 1_795_996_800;

    fn read(lines: &str) -> Option<u128> {
        let head = format!("HTTP/1.1 429 \r\n{lines}\r\n");
        let mut fields = Fields::new();
        parse_response(head.as_bytes(), &mut fields)
            .unwrap()
            .unwrap();
        let section = Section::new(&fields, head.as_bytes());
        named(section, || NOW).map(|time| time.as_millis())
    }

    #[test]
    fn times_are_read_as_providers_write_them() {
        let rows: &[(&str, Option<u128>)] = &[
            ("", None),
            ("Retry-After: 7\r\n", Some(7_000)),
            ("retry-after: 0\r\n", Some(1)),
            ("retry-after: 1.5\r\n", Some(1_500)),
            ("retry-after: 99999999999999999999999\r\n", Some(3_600_000)),
            ("retry-after: -1\r\n", None),
            ("retry-after: +1\r\n", None),
            ("retry-after: soon\r\n", None),
            ("retry-after:\r\n", None),
            (
                "retry-after: Mon, 30 Nov 2026 00:00:20 GMT\r\n",
                Some(20_000),
            ),
            ("retry-after: Sun, 29 Nov 2026 00:00:20 GMT\r\n", Some(1)),
            ("retry-after: 7\r\nretry-after-ms: 250\r\n", Some(250)),
            ("retry-after: 7\r\nretry-after-ms: 250.5\r\n", Some(250)),
            ("retry-after: 7\r\nretry-after-ms: x\r\n", Some(7_000)),
            // Only what is used up says when it is new.
            (
                "anthropic-ratelimit-requests-remaining: 3\r\n\
                 anthropic-ratelimit-requests-reset: 2026-11-30T00:10:00Z\r\n\
                 anthropic-ratelimit-input-tokens-remaining: 0\r\n\
                 Anthropic-Ratelimit-Input-Tokens-Reset: 2026-11-30T00:00:30Z\r\n",
                Some(30_000),
            ),
            (
                "x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 120ms\r\n\
                 x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1m2.5s\r\n",
                Some(62_500),
            ),
            ("x-ratelimit-remaining-tokens: 0\r\n", None),
            (
                "x-ratelimit-remaining-tokens:\r\nx-ratelimit-reset-tokens: 1s\r\n",
                None,
            ),
            (
                "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1s1m\r\n",
                None,
            ),
            (
                "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 1d\r\n",
                None,
            ),
            (
                "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 5\r\n",
                None,
            ),
            (
                "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: \r\n",
                None,
            ),
            (
                "x-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 9h\r\n",
                Some(3_600_000),
            ),
            (
                "retry-after: 7\r\nx-ratelimit-remaining-tokens: 0\r\nx-ratelimit-reset-tokens: 9m\r\n",
                Some(7_000),
            ),
        ];
        for (lines, wanted) in rows {
            assert_eq!(read(lines), *wanted, "{lines}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_a_provider_writes_is_a_defect(value in "[ -~]{0,40}") {
            for name in ["retry-after", "retry-after-ms", "x-ratelimit-remaining-a: 0\r\nx-ratelimit-reset-a"] {
                let time = read(&format!("{name}: {value}\r\n"));
                proptest::prop_assert!(time.is_none_or(|time| time <= LONGEST.as_millis()));
            }
        }
    }
}
