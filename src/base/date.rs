//! Dates in the two spellings that the gateway writes. Pure.

use super::number::decimal;
use std::fmt;

/// `2026-11-23T01:02:03.004Z` (RFC 3339) from seconds since 1970 and milliseconds.
#[must_use]
pub fn rfc3339(seconds: u64, millis: u32) -> Rfc3339 {
    Rfc3339 { seconds, millis }
}

/// See [`rfc3339`]; written out when it is displayed.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339 {
    seconds: u64,
    millis: u32,
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.seconds / DAY);
        let (hour, minute, second) = clock(self.seconds);
        let millis = self.millis;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"
        )
    }
}

/// `Mon, 23 Nov 2026 01:02:03 GMT` (RFC 9110, section 5.6.7) from seconds since 1970.
#[must_use]
pub(crate) fn imf_fixdate(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / DAY);
    let (hour, minute, second) = clock(seconds);
    // 1970 began on a Thursday.
    let weekday = pick(
        &["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"],
        seconds / DAY % 7,
    );
    let month = pick(&MONTHS, month - 1);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Seconds since 1970 of such a date; the obsolete forms are none, nor is a date with another weekday than its own.
#[must_use]
pub(crate) fn parse_imf_fixdate(text: &str) -> Option<u64> {
    let digits = |range: std::ops::Range<usize>| text.get(range).and_then(decimal);
    let named = text.get(8..11)?;
    let month = MONTHS.iter().position(|month| *month == named)?;
    let (day, month, year) = (digits(5..7)?, month as u64 + 1, digits(12..16)?);
    let (hour, minute, second) = (digits(17..19)?, digits(20..22)?, digits(23..25)?);
    if year < 1970 {
        return None;
    }
    let seconds = days_from_civil(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    // Whatever is not as it would be written is none.
    (imf_fixdate(seconds) == text).then_some(seconds)
}

/// Seconds since 1970 of `2027-01-31T00:00:00Z`; fractions are dropped, an offset is applied, years before 1970
/// are none (RFC 3339, section 5.6).
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let digits = |range: std::ops::Range<usize>| text.get(range).and_then(decimal);
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let bytes = text.as_bytes();
    let fits =
        |(at, byte): (usize, u8)| bytes.get(at).is_some_and(|b| b.eq_ignore_ascii_case(&byte));
    if !separators.into_iter().all(fits) {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
    let in_range =
        year >= 1970 && (1..=12).contains(&month) && hour < 24 && minute < 60 && second <= 60;
    let days = in_range.then(|| days_from_civil(year, month, day))?;
    if civil(days) != (year, month, day) {
        return None;
    }
    let local = days * DAY + hour * 3600 + minute * 60 + second;
    let zone = text.get(19..)?;
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => zone,
    };
    if zone.eq_ignore_ascii_case("z") {
        return Some(local);
    }
    let (sign, offset) = zone.split_at_checked(1)?;
    let (hours, minutes) = offset
        .split_once(':')
        .filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
    let offset = decimal(hours)? * 3600 + decimal(minutes)? * 60;
    match sign {
        "+" => local.checked_sub(offset),
        "-" => Some(local + offset),
        _ => None,
    }
}

/// The inverse of [`civil`].
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day.saturating_sub(1);
    let (era, of_era) = (year / 400, year % 400);
    (era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year).saturating_sub(719_468)
}

const DAY: u64 = 86_400;
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

fn pick<'a>(names: &[&'a str], index: u64) -> &'a str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index).copied())
        .unwrap_or_default()
}

fn clock(seconds: u64) -> (u64, u64, u64) {
    (seconds % DAY / 3600, seconds / 60 % 60, seconds % 60)
}

/// The Gregorian date of a day counted from 1970-01-01. In years that begin in March, whose leap day is the
/// last, a day of the 400-year cycle gives year and month by division.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_standards_say() {
        let rows = [
            (
                0,
                "1970-01-01T00:00:00.000Z",
                "Thu, 01 Jan 1970 00:00:00 GMT",
            ),
            (
                784_111_777,
                "1994-11-06T08:49:37.000Z",
                "Sun, 06 Nov 1994 08:49:37 GMT",
            ),
            (
                951_827_696,
                "2000-02-29T12:34:56.000Z",
                "Tue, 29 Feb 2000 12:34:56 GMT",
            ),
            (
                4_102_444_799,
                "2099-12-31T23:59:59.000Z",
                "Thu, 31 Dec 2099 23:59:59 GMT",
            ),
        ];
        for (seconds, rfc, imf) in rows {
            assert_eq!(rfc3339(seconds, 0).to_string(), rfc);
            assert_eq!(imf_fixdate(seconds), imf);
            assert_eq!(parse_imf_fixdate(imf), Some(seconds));
        }
    }

    #[test]
    fn what_is_no_imf_fixdate_is_none() {
        let texts = [
            "",
            "Fri, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:60 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
        ];
        for text in texts {
            assert_eq!(parse_imf_fixdate(text), None, "{text}");
        }
    }

    #[test]
    fn rfc3339_is_read() {
        let rows = [
            ("1970-01-02T00:00:00Z", Some(86_400)),
            ("2027-01-31T00:00:00Z", Some(1_801_353_600)),
            ("2027-01-31T01:00:00.25+01:00", Some(1_801_353_600)),
            ("2027-01-30T23:00:00-01:00", Some(1_801_353_600)),
            ("2000-02-29t12:34:56z", Some(951_827_696)),
            ("2001-02-29T00:00:00Z", None),
            ("2027-13-01T00:00:00Z", None),
            ("2027-01-31", None),
            ("2027-01-31T00:00:00", None),
            ("1969-12-31T00:00:00Z", None),
            ("soon", None),
        ];
        for (text, seconds) in rows {
            assert_eq!(parse_rfc3339(text), seconds, "{text}");
        }
    }
}
