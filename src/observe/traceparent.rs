//! The trace that a request belongs to, as its fields say (W3C Trace Context, levels 1 and 2). Pure.
//!
//! What cannot be read, or stands there more than once, says nothing: then our spans begin a trace of their own.

use crate::base::bytes::within;
use crate::base::hex;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    /// The trace.
    pub trace: [u8; 16],
    /// The span that the request was sent in.
    pub span: [u8; 8],
    /// Of all flags those that are known: [`SAMPLED`] and [`RANDOM`].
    pub flags: u8,
}

/// Somebody keeps the trace.
pub(crate) const SAMPLED: u8 = 1;
/// The last seven bytes of the trace's id were drawn at random (level 2).
pub(crate) const RANDOM: u8 = 2;

/// Bytes of version 00, and the first ones of each later version.
const KNOWN_BYTES: usize = 55;
/// Bytes of `tracestate` that go into a span: as many as everybody has to pass on.
pub(crate) const STATE_BYTES_MAX: usize = 512;

impl Context {
    /// How many bytes it has.
    pub(crate) const BYTES: usize = 25;

    /// Of the value of `traceparent`: `00-{trace}-{span}-{flags}` in small hexadecimal digits. Later versions, but for
    /// `ff`, may go on behind another hyphen.
    #[must_use]
    pub(crate) fn parse(value: &[u8]) -> Option<Self> {
        let (known, rest) = value.split_at_checked(KNOWN_BYTES)?;
        let mut parts = known.split(|byte| *byte == b'-');
        let [version] = digits(parts.next()?)?;
        let trace = digits(parts.next()?)?;
        let span = digits(parts.next()?)?;
        let [flags] = digits(parts.next()?)?;
        let goes_on = match version {
            0xff => return None,
            0 => rest.is_empty(),
            _ => matches!(rest, [] | [b'-', ..]),
        };
        let has_ids = trace != [0; 16] && span != [0; 8];
        (goes_on && has_ids && parts.next().is_none()).then_some(Self {
            trace,
            span,
            // Of a later version the first flag alone is known.
            flags: flags
                & if version == 0 {
                    SAMPLED | RANDOM
                } else {
                    SAMPLED
                },
        })
    }

    /// Of all lines of `traceparent` that a request has: there has to be one.
    pub(crate) fn of<'v>(mut lines: impl Iterator<Item = &'v [u8]>) -> Option<Self> {
        let context = Self::parse(lines.next()?);
        context.filter(|_| lines.next().is_none())
    }

    /// Whether somebody keeps the trace.
    #[must_use]
    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// As it is kept.
    #[must_use]
    pub(crate) fn bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let parts = self.trace.iter().chain(&self.span).chain([&self.flags]);
        for (room, byte) in bytes.iter_mut().zip(parts) {
            *room = *byte;
        }
        bytes
    }

    /// What was kept, and what stands behind it.
    #[must_use]
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (trace, rest) = bytes.split_first_chunk()?;
        let (span, rest) = rest.split_first_chunk()?;
        let (flags, rest) = rest.split_first()?;
        let context = Self {
            trace: *trace,
            span: *span,
            flags: *flags,
        };
        Some((context, rest))
    }
}

/// All of it, in small digits.
fn digits<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let text = std::str::from_utf8(text).ok()?;
    let is_small = text.bytes().all(|byte| !byte.is_ascii_uppercase());
    hex::bytes(text).filter(|_| is_small)
}

/// Adds the lines of `tracestate` to `out`, as one list: its first entries, as many as fit in [`STATE_BYTES_MAX`].
pub(crate) fn put_state<'v>(lines: impl Iterator<Item = &'v [u8]>, out: &mut Vec<u8>) {
    let begin = out.len();
    for entry in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let entry = entry.trim_ascii();
        let is_plain = entry.iter().all(|byte| (b' '..=b'~').contains(byte));
        if entry.is_empty() || !is_plain {
            continue;
        }
        let comma = usize::from(out.len() > begin);
        if out.len() - begin + comma + entry.len() > STATE_BYTES_MAX {
            return;
        }
        out.extend_from_slice(within(b",", ..comma));
        out.extend_from_slice(entry);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn parse(text: &str) -> Option<Context> {
        Context::parse(text.as_bytes())
    }

    #[test]
    fn version_00_is_taken_to_the_letter() {
        let found = parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!(found.trace[..3], [0x0a, 0xf7, 0x65]);
        assert_eq!(found.span[..2], [0xb7, 0xad]);
        assert!(found.is_sampled());
        let flags = |flags: &str| parse(&format!("00-{TRACE}-{SPAN}-{flags}")).map(|it| it.flags);
        assert_eq!(flags("00"), Some(0));
        assert_eq!(flags("03"), Some(SAMPLED | RANDOM));
        assert_eq!(flags("fe"), Some(RANDOM));
        for text in [
            String::new(),
            "00".to_owned(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-011"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("0-0{TRACE}-{SPAN}-01"),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}0-{}-01", SPAN.replacen('b', "", 1)),
            format!("00-{}-{SPAN}-01", TRACE.replace('a', "g")),
            format!("00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01"),
            format!("ff-{TRACE}-{SPAN}-01"),
        ] {
            assert_eq!(parse(&text), None, "{text:?}");
        }
    }

    #[test]
    fn of_later_versions_the_beginning_is_taken() {
        for version in ["01", "cc", "fe"] {
            for rest in ["", "-", "-what-is-known-then", "-01"] {
                let text = format!("{version}-{TRACE}-{SPAN}-ff{rest}");
                assert_eq!(parse(&text).unwrap().flags, SAMPLED, "{text}");
            }
            for rest in ["0", ".more", " "] {
                assert_eq!(parse(&format!("{version}-{TRACE}-{SPAN}-01{rest}")), None);
            }
        }
        for version in ["ff", "0g", "CC", "1"] {
            assert_eq!(parse(&format!("{version}-{TRACE}-{SPAN}-01-more")), None);
        }
    }

    #[test]
    fn there_has_to_be_one() {
        let line = format!("00-{TRACE}-{SPAN}-01");
        let lines = |count: usize| std::iter::repeat_n(line.as_bytes(), count);
        assert_eq!(Context::of(lines(0)), None);
        assert!(Context::of(lines(1)).is_some());
        assert_eq!(Context::of(lines(2)), None);
    }

    #[test]
    fn a_state_is_one_list_of_whole_entries() {
        let state = |lines: &[&str]| {
            let mut out = b"before".to_vec();
            put_state(lines.iter().map(|line| line.as_bytes()), &mut out);
            String::from_utf8(out[6..].to_vec()).unwrap()
        };
        assert_eq!(state(&[]), "");
        assert_eq!(state(&["a=1, b=2", "", " ,c=3\t"]), "a=1,b=2,c=3");
        assert_eq!(state(&["a=1,b=\u{e9},c=\x01"]), "a=1");
        let long = "x".repeat(STATE_BYTES_MAX - 3);
        assert_eq!(state(&[&long, "b=2"]), long);
        assert_eq!(state(&[&long, "b2"]), format!("{long},b2"));
        assert_eq!(state(&[&"x".repeat(STATE_BYTES_MAX + 1)]), "");
    }

    /// As the grammar says it, piece by piece.
    fn model(text: &str) -> Option<Context> {
        let is_hex = |part: &str| part.chars().all(|c| "0123456789abcdef".contains(c));
        let parts: Vec<&str> = text.splitn(5, '-').collect();
        let [version, trace, span, flags, ref more @ ..] = parts[..] else {
            return None;
        };
        let lengths = [version.len(), trace.len(), span.len(), flags.len()];
        let known = [version, trace, span, flags];
        let is_valid = lengths == [2, 32, 16, 2]
            && known.iter().all(|part| is_hex(part))
            && version != "ff"
            && (version != "00" || more.is_empty())
            && trace.chars().any(|c| c != '0')
            && span.chars().any(|c| c != '0');
        let value = |byte: u8| char::from(byte).to_digit(16).unwrap();
        let bytes = |part: &str| -> Vec<u8> {
            let pairs = part.as_bytes().chunks(2);
            let values = pairs.map(|pair| value(pair[0]) * 16 + value(pair[1]));
            values.map(|value| u8::try_from(value).unwrap()).collect()
        };
        let mask = if version == "00" { 3 } else { 1 };
        is_valid.then(|| Context {
            trace: bytes(trace).try_into().unwrap(),
            span: bytes(span).try_into().unwrap(),
            flags: bytes(flags)[0] & mask,
        })
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_grammar(
            version in "00|ff|[0-9a-f]{2}",
            trace in "0{32}|[0-9a-f]{32}|[0-9a-fA-F]{30,33}",
            span in "0{16}|[0-9a-f]{16}|[0-9a-g]{15,17}",
            flags in "[0-9a-f]{2}|[0-9A-F]{1,3}",
            rest in "|-|-[ -~]{0,9}|[ -~]{1,3}",
        ) {
            let text = format!("{version}-{trace}-{span}-{flags}{rest}");
            prop_assert_eq!(parse(&text), model(&text), "{}", text);
        }

        #[test]
        fn whatever_is_changed_of_one_it_agrees(at in 0_usize..60, byte in 0_u8..128) {
            let mut text = format!("01-{TRACE}-{SPAN}-01-more").into_bytes();
            text[at] = byte;
            let text = String::from_utf8(text).unwrap();
            prop_assert_eq!(parse(&text), model(&text), "{}", text);
        }

        #[test]
        fn any_bytes_may_come(value in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(context) = Context::parse(&value) {
                let mut kept = context.bytes().to_vec();
                kept.extend(b"state");
                prop_assert_eq!(Context::read(&kept), Some((context, &b"state"[..])));
            }
        }

        #[test]
        fn a_state_is_bounded_and_plain(lines in prop::collection::vec("\\PC{0,300}", 0..5)) {
            let mut out = Vec::new();
            put_state(lines.iter().map(|line| line.as_bytes()), &mut out);
            prop_assert!(out.len() <= STATE_BYTES_MAX);
            prop_assert!(out.iter().all(|byte| (b' '..=b'~').contains(byte)));
        }
    }
}
