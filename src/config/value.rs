//! Values as people write them: durations, sizes, switches.

use std::time::Duration;

use crate::base::{hex, number};

/// Whole seconds, or numbers with units, largest first: `90`, `1h30m`, `250ms`, `50us`.
///
/// # Errors
/// What was expected.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str =
        "expected whole seconds or a duration such as \"30s\", \"10m\" or \"1h30m\"";
    if let Some(seconds) = number::decimal(text) {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    let mut last_unit = u64::MAX;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, behind) = rest.split_at_checked(digits).ok_or(EXPECTED)?;
        let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, behind) = behind.split_at_checked(letters).ok_or(EXPECTED)?;
        let micros = match unit {
            "d" => 86_400_000_000,
            "h" => 3_600_000_000,
            "m" => 60_000_000,
            "s" => 1_000_000,
            "ms" => 1000,
            "us" => 1,
            _ => return Err(EXPECTED),
        };
        if micros >= last_unit {
            return Err(EXPECTED);
        }
        last_unit = micros;
        let count = number::decimal(count).ok_or(EXPECTED)?;
        let part = Duration::from_micros(count.checked_mul(micros).ok_or(EXPECTED)?);
        total = total.checked_add(part).ok_or(EXPECTED)?;
        rest = behind;
    }
    if last_unit == u64::MAX {
        Err(EXPECTED)
    } else {
        Ok(total)
    }
}

/// Bytes, or a number with `K`, `M` or `G` (powers of 1024), an `B` or `iB` behind it allowed.
///
/// # Errors
/// What was expected.
pub(crate) fn size(text: &str) -> Result<u64, &'static str> {
    const EXPECTED: &str = "expected a size such as \"500K\", \"10M\" or \"1G\"";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits).ok_or(EXPECTED)?;
    let factor: u64 = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        _ => return Err(EXPECTED),
    };
    number::decimal(count)
        .and_then(|count| count.checked_mul(factor))
        .ok_or(EXPECTED)
}

/// `true` or `false`, as words, digits or switches.
///
/// # Errors
/// What was expected.
pub(crate) fn switch(text: &str) -> Result<bool, &'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("expected true or false"),
    }
}

/// What a percent-encoded text stands for; `None` where a `%` is not followed by two hexadecimal digits.
#[must_use]
pub(crate) fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let ([high, low], behind) = behind.split_first_chunk()?;
        out.push(hex::byte(*high, *low)?);
        rest = behind;
    }
    Some(out)
}

/// Values of a comma-separated list, trimmed, empty ones left out.
pub(crate) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Whether a value begins and ends with the same quote.
pub(super) fn is_quoted(value: &str) -> bool {
    let within = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).is_some()
}

/// Most bytes of a provider's configured headers, and of any one value or path that goes into a head.
pub(super) const HEADER_BYTES_MAX: usize = 4096;

/// A field's value as it can be sent.
pub(super) fn field(value: &str) -> Result<(), &'static str> {
    let plain = value
        .bytes()
        .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    if plain && value.trim() == value && value.len() <= HEADER_BYTES_MAX {
        Ok(())
    } else {
        Err("expected a header value without control characters or blanks around it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let rows = [
            ("0", Some(0)),
            ("90", Some(90_000)),
            ("1s", Some(1000)),
            ("10m", Some(600_000)),
            ("1h30m", Some(5_400_000)),
            ("1d", Some(86_400_000)),
            ("250ms", Some(250)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5s", None),
            ("s", None),
            ("1m1h", None),
            ("1s1s", None),
            ("1x", None),
            ("99999999999999999999", None),
            ("1é", None),
        ];
        for (text, millis) in rows {
            assert_eq!(
                duration(text).ok(),
                millis.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn percent_encoding() {
        let rows: [(&str, Option<&[u8]>); 9] = [
            ("", Some(b"")),
            ("a+b", Some(b"a+b")),
            ("%2Frun%2fx", Some(b"/run/x")),
            ("%00%ff", Some(b"\0\xff")),
            ("%252F", Some(b"%2F")),
            ("%", None),
            ("%2", None),
            ("%+1", None),
            ("%g0", None),
        ];
        for (text, bytes) in rows {
            assert_eq!(percent_decoded(text).as_deref(), bytes, "{text}");
        }
    }

    #[test]
    fn sizes() {
        let rows = [
            ("500K", Some(500 << 10)),
            ("10M", Some(10 << 20)),
            ("1G", Some(1 << 30)),
            ("10MB", Some(10 << 20)),
            ("12", Some(12)),
            ("", None),
            ("M", None),
            ("-1M", None),
            ("1T", None),
            ("99999999999G", None),
        ];
        for (text, bytes) in rows {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }
}
