//! What a server says of how long its connection stays: the `Keep-Alive` field (RFC 2068, section 19.7.1.1).
//!
//! A hint, and no part of today's HTTP: what is malformed says nothing. Each byte is looked at once.

use std::num::NonZeroU16;
use std::time::Duration;

use super::head::{Name, Section, list};

/// What a message's fields say; without a word of it a connection stays for as long as anybody likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// Seconds of silence until the server closes; what is more than 18 hours is that.
    timeout: Option<NonZeroU16>,
    /// Requests that it serves on a connection; a timeout of nothing is one.
    max: Option<NonZeroU16>,
}

/// How long before the server's own time a connection is let go, unless that is most of it: a request is on its way
/// for a while.
const MARGIN: Duration = Duration::from_secs(1);

impl KeepAlive {
    /// The connection ends with this message, whatever its fields say.
    pub(crate) const CLOSE: Self = Self {
        timeout: None,
        max: Some(NonZeroU16::MIN),
    };

    /// Whether it may stay at all.
    #[must_use]
    pub(crate) fn persists(self) -> bool {
        self.max != Self::CLOSE.max
    }

    /// Reads all lines; of what is said twice the smaller value counts.
    #[must_use]
    pub(crate) fn read(section: Section<'_>) -> Self {
        let mut said = Self::default();
        for value in section.values(Name::KeepAlive) {
            for parameter in list(value) {
                said.take(parameter);
            }
        }
        said
    }

    fn take(&mut self, parameter: &[u8]) {
        let Some(at) = parameter.iter().position(|byte| *byte == b'=') else {
            return;
        };
        let (name, value) = parameter.split_at(at);
        let Some(value) = value.get(1..).and_then(number) else {
            return;
        };
        let (place, value) = match (name, NonZeroU16::new(value)) {
            (name, Some(value)) if name.eq_ignore_ascii_case(b"timeout") => {
                (&mut self.timeout, value)
            }
            (name, _) if name.eq_ignore_ascii_case(b"timeout") => (&mut self.max, NonZeroU16::MIN),
            (name, value) if name.eq_ignore_ascii_case(b"max") => {
                (&mut self.max, value.unwrap_or(NonZeroU16::MIN))
            }
            _ => return,
        };
        *place = Some(place.map_or(value, |known| known.min(value)));
    }

    /// How long a connection is kept idle that would otherwise be kept for `limit`, once it has `served` so many
    /// requests; `None` is not at all. With a timeout of one second, half of it.
    #[must_use]
    pub(crate) fn idle(self, limit: Duration, served: u32) -> Option<Duration> {
        if self.max.is_some_and(|max| served >= u32::from(max.get())) {
            return None;
        }
        let Some(timeout) = self.timeout else {
            return Some(limit);
        };
        let timeout = Duration::from_secs(timeout.get().into());
        Some(timeout.saturating_sub(MARGIN.min(timeout / 2)).min(limit))
    }
}

/// Digits alone; what does not fit is the largest number that does.
fn number(digits: &[u8]) -> Option<u16> {
    let (first, rest) = digits.split_first()?;
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u16::from(*byte - b'0'));
    rest.iter().try_fold(digit(first)?, |value, byte| {
        Some(value.saturating_mul(10).saturating_add(digit(byte)?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::head::{Fields, HeadScan, response};
    use super::*;

    fn read(lines: &[&str]) -> KeepAlive {
        let mut head = String::from("HTTP/1.1 200 OK\r\n");
        for line in lines {
            head.extend(["Keep-Alive: ", line, "\r\n"]);
        }
        head.push_str("\r\n");
        let mut fields = Fields::default();
        let found = response(&mut HeadScan::default(), head.as_bytes(), &mut fields);
        found.unwrap().unwrap();
        KeepAlive::read(Section::new(&fields, head.as_bytes()))
    }

    #[test]
    fn what_is_said() {
        let rows: [(&[&str], Option<u16>, Option<u16>); 18] = [
            (&[], None, None),
            (&["timeout=5"], Some(5), None),
            (&["timeout=5, max=100"], Some(5), Some(100)),
            (&["MAX=3,,Timeout=0"], None, Some(1)),
            (&["max=0"], None, Some(1)),
            (&["timeout=007"], Some(7), None),
            (&["timeout=9, timeout=5", "timeout=7"], Some(5), None),
            (&["timeout=99999999999999999999"], Some(u16::MAX), None),
            (&["timeout=5;max=1"], None, None),
            (&["timeout= 5"], None, None),
            (&["timeout =5"], None, None),
            (&["timeout=\"5\""], None, None),
            (&["timeout=+5"], None, None),
            (&["timeout=-1, max=2"], None, Some(2)),
            (&["timeout=1.5"], None, None),
            (&["timeout=, max"], None, None),
            (&["timeout=5x"], None, None),
            (&["xtimeout=5, =3"], None, None),
        ];
        for (lines, timeout, max) in rows {
            let [timeout, max] = [timeout, max].map(|number| number.and_then(NonZeroU16::new));
            assert_eq!(read(lines), KeepAlive { timeout, max }, "{lines:?}");
        }
    }

    #[test]
    fn a_connection_is_let_go_before_the_server_does() {
        let limit = Duration::from_secs(60);
        let rows: [(&str, u32, Option<u64>); 11] = [
            ("", 1, Some(60_000)),
            ("timeout=0", 1, None),
            ("timeout=1", 1, Some(500)),
            ("timeout=2", 1, Some(1000)),
            ("timeout=5", 1, Some(4000)),
            ("timeout=61", 1, Some(60_000)),
            ("timeout=600", 1, Some(60_000)),
            ("max=0", 1, None),
            ("max=1", 1, None),
            ("max=2", 1, Some(60_000)),
            ("timeout=5, max=2", 2, None),
        ];
        for (line, served, millis) in rows {
            let idle = read(&[line]).idle(limit, served);
            assert_eq!(idle, millis.map(Duration::from_millis), "{line} {served}");
        }
    }

    proptest! {
        #[test]
        fn it_only_ever_shortens(line in "[ -~]{0,40}", limit in 0..1_000_u64, served: u32) {
            let limit = Duration::from_secs(limit);
            let said = read(&[line.trim()]);
            prop_assert!(said.idle(limit, served).is_none_or(|idle| idle <= limit));
            if !line.contains('=') {
                prop_assert_eq!(said, KeepAlive::default());
            }
        }
    }
}
