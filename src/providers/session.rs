//! What a request belongs to: the session that its client names, else whoever sends it. A provider's prompt cache is
//! worth most where all of a session goes the same way.

use std::net::IpAddr;

use super::hash;
use crate::base::bytes::within;
use crate::http::head::Section;

/// The fields in which today's clients name their session; the first that is there counts.
///
/// Claude Code sends the first; Codex the second, older ones the third, as does Roo Code; OpenCode and Kilo Code the
/// fourth; Goose the fifth; the others are conventions of LiteLLM and Helicone. From their sources, and from GoModel's
/// table (docs/features/session-keeping) of 2026. The SDKs of OpenAI and Anthropic send none of their own.
pub(crate) const USUAL_FIELDS: [&str; 7] = [
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "x-session-id",
    "agent-session-id",
    "x-litellm-session-id",
    "helicone-session-id",
];

/// Most fields that can be configured: each is looked for in every head.
pub(crate) const FIELDS_MAX: usize = 16;

/// Of a session's name so much counts, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A session, as one number that is the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Session(pub(crate) u64);

impl Session {
    /// All requests with a gateway key of this id.
    #[must_use]
    pub(crate) fn of_key(id: &str) -> Self {
        Self(hash::of(id.as_bytes()))
    }

    /// What the first of `fields` names that says something.
    #[must_use]
    pub(crate) fn named(fields: &[String], section: Section<'_>) -> Option<Self> {
        let name = said(fields, section)?;
        let name = name.get(..NAME_BYTES_MAX).unwrap_or(name);
        Some(Self(hash::of(name)))
    }

    /// That of a request: the one that its client has named, else the gateway key's id, else the address.
    #[must_use]
    pub(crate) fn of(named: Option<Self>, key: Option<&str>, from: Option<IpAddr>) -> Self {
        match (named, key, from) {
            (Some(named), _, _) => named,
            (None, Some(key), _) => Self::of_key(key),
            (None, None, Some(IpAddr::V4(ip))) => Self(hash::of(&ip.octets())),
            (None, None, Some(IpAddr::V6(ip))) => Self(hash::of(&ip.octets())),
            (None, None, None) => Self(hash::of(b"")),
        }
    }
}

/// What the first of `fields` says that says something. One pass over the lines: most are told apart by their length.
fn said<'a>(fields: &[String], section: Section<'a>) -> Option<&'a [u8]> {
    let (mut better, mut found) = (fields, None);
    for line in section.fields.iter() {
        let is_named = |name: &String| line.is_named(name.as_bytes(), section.buf);
        if let Some(rank) = better.iter().position(is_named) {
            let value = section.value(line);
            if !value.is_empty() {
                (better, found) = (within(better, ..rank), Some(value));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Fields, parse_request};

    fn session(lines: &str, key: Option<&str>, from: Option<&str>) -> u64 {
        let head = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let mut fields = Fields::new();
        parse_request(head.as_bytes(), &mut fields)
            .unwrap()
            .unwrap();
        let names = USUAL_FIELDS.map(str::to_owned);
        let from = from.map(|ip| ip.parse().unwrap());
        let named = Session::named(&names, Section::new(&fields, head.as_bytes()));
        Session::of(named, key, from).0
    }

    #[test]
    fn the_first_that_says_something_counts() {
        let of = |name: &str| hash::of(name.as_bytes());
        let (key, ip) = (Some("key-1"), Some("192.0.2.1"));
        let long = "a".repeat(300);
        let rows = [
            ("X-Claude-Code-Session-Id: a\r\n", key, ip, of("a")),
            (
                "session_id: b\r\nX-CLAUDE-CODE-SESSION-ID: a\r\n",
                key,
                ip,
                of("a"),
            ),
            (
                "session_id: b\r\nX-Claude-Code-Session-Id:\r\n",
                key,
                ip,
                of("b"),
            ),
            ("Session_id: b\r\nSession_id: c\r\n", key, ip, of("b")),
            ("Session_id:\r\nSession_id: c\r\n", key, ip, of("c")),
            (
                "x-session-id: a\r\nsession_id: b\r\nSession-Id: c\r\n",
                key,
                ip,
                of("c"),
            ),
            (
                &format!("x-session-id: {long}\r\n"),
                key,
                ip,
                of(&"a".repeat(256)),
            ),
            ("a-session-id: b\r\n", key, ip, of("key-1")),
            ("", None, ip, hash::of(&[192, 0, 2, 1])),
            (
                "",
                None,
                Some("::1"),
                hash::of(&"::1".parse::<std::net::Ipv6Addr>().unwrap().octets()),
            ),
            ("", None, None, of("")),
        ];
        for (lines, key, from, wanted) in rows {
            assert_eq!(
                session(lines, key, from),
                wanted,
                "{lines} {key:?} {from:?}"
            );
        }
    }
}
