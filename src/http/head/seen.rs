//! Field lines that were read before.
//!
//! The heads of one kind of client, and those of one provider, differ in few lines: a length, a date, an id. So the
//! lines of the last heads are kept with what was made of them, and a line that stands there again, byte for byte, is
//! not read again. A new one is parsed by itself, by the same parser: what a line means does not depend on its
//! neighbours, for obs-fold is refused (RFC 9112, section 5.2).
//!
//! Nothing is judged here. A head that is not whole and fit, or too new, is left to the parser of whole heads.
//! Credentials are never kept, nor compared with anything: the time it takes would tell about them.

use httparse::{EMPTY_HEADER, Status};
use memchr::memchr;

use super::names::{NameSet, name};
use super::parts::{Field, Side, Span, offset};
use crate::base::bytes::within;
use crate::base::steps;

/// The lines of the last heads of one side.
#[derive(Clone)]
pub(super) struct Seen {
    side: Side,
    kinds: [Kind; KINDS],
    /// The kind that was read last, and the one that is given up next.
    last: usize,
    next: usize,
    /// Heads that would have been kept, since one was.
    passed_by: u8,
    /// Room for one line and the blank line behind it.
    alone: Vec<u8>,
}

/// A section that was read by lines from before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its length, blank line included.
    pub len: usize,
    /// So much of it was new that [`Seen::learn`] is worth while.
    pub is_to_be_learned: bool,
}

/// How many kinds of heads are told apart.
const KINDS: usize = 4;
/// By how many lines at most.
const BEGIN_LINES: usize = 3;
/// So many more lines may be new than were seen before: a new line costs a little more than in its head.
const NEW_MORE_MAX: usize = 3;
/// Of the heads worth keeping one in so many is kept: that is dearer than reading it, and where no head is like
/// another it brings nothing.
const KEPT_ONE_IN: u8 = 8;
/// Longest field section that is kept, in bytes.
const KEPT_BYTES_MAX: usize = 8 * 1024;

/// A head, as an example of others.
#[derive(Clone, Default)]
struct Kind {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// How many lines of the first head after it were new. More than that: it is out of date.
    new_usual: Option<usize>,
}

#[derive(Clone)]
struct Line {
    /// Counted from the line's first byte.
    field: Field,
    /// Its bytes among those of its kind; none of a credential.
    kept: Span,
}

/// What clients and providers have sent is nobody's business.
impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen")
    }
}

impl Seen {
    /// Nothing yet.
    pub(super) fn of(side: Side) -> Self {
        Self {
            side,
            kinds: Default::default(),
            last: 0,
            next: 0,
            passed_by: 0,
            alone: Vec::new(),
        }
    }

    /// Reads the field section at the front of `section`, which lies at `start` in its head, and gives its lines to
    /// `push`, `fields_max` at most. `None`: the section is to be parsed as a whole, whatever lines were given.
    pub(super) fn read(
        &mut self,
        section: &[u8],
        start: usize,
        fields_max: usize,
        mut push: impl FnMut(Field),
    ) -> Option<Known> {
        let begins = |kind: &Kind| kind.begins(section);
        self.last = self.kinds.iter().position(begins).unwrap_or(self.last);
        let kind = self.kinds.get_mut(self.last)?;
        if kind.lines.is_empty() {
            return None;
        }
        let (mut lines, mut rest) = (kind.lines.iter(), section);
        let (mut len, mut new) = (0, 0);
        while !rest.starts_with(b"\r\n") {
            if len == fields_max {
                return None;
            }
            let seen = lines
                .next()
                .and_then(|line| line.at_front_of(rest, &kind.bytes));
            let (field, after) = match seen {
                Some(seen) => seen,
                None => {
                    new += 1;
                    if 2 * new > len + NEW_MORE_MAX {
                        return None;
                    }
                    parse(rest, &mut self.alone)?
                }
            };
            push(moved(field, offset(start + section.len() - rest.len())));
            len += 1;
            rest = after;
        }
        let is_out_of_date = new > *kind.new_usual.get_or_insert(new);
        Some(Known {
            len: section.len() - rest.len() + 2,
            is_to_be_learned: is_out_of_date && is_due(&mut self.passed_by),
        })
    }

    /// Keeps the lines of a section in the place of those that it was read by.
    pub(super) fn learn(&mut self, section: &[u8], start: usize, fields: &[Field]) {
        if let Some(kind) = self.kinds.get_mut(self.last) {
            kind.keep(self.side, section, start, fields);
        }
    }

    /// Keeps the lines of a section that was parsed as a whole, if it is its turn.
    pub(super) fn keep(&mut self, section: &[u8], start: usize, fields: &[Field]) {
        let known = self.kinds.get(self.last);
        let alike = known.is_some_and(|kind| kind.begins(section));
        let at = if alike { self.last } else { self.next };
        let Some(kind) = self.kinds.get_mut(at) else {
            return;
        };
        if kind.lines.is_empty() || is_due(&mut self.passed_by) {
            kind.keep(self.side, section, start, fields);
            self.last = at;
            self.next = (at + 1) % KINDS;
        }
    }
}

fn is_due(passed_by: &mut u8) -> bool {
    *passed_by = (*passed_by + 1) % KEPT_ONE_IN;
    *passed_by == 0
}

impl Kind {
    /// Whether a head begins like this one, as far as both may be looked at.
    fn begins(&self, section: &[u8]) -> bool {
        let mut rest = section;
        let mut compared = false;
        for line in self.lines.iter().take(BEGIN_LINES) {
            if line.kept.of(&self.bytes).is_empty() {
                break;
            }
            let Some((_, after)) = line.at_front_of(rest, &self.bytes) else {
                return false;
            };
            (rest, compared) = (after, true);
        }
        compared
    }

    fn keep(&mut self, side: Side, section: &[u8], start: usize, fields: &[Field]) {
        self.bytes.clear();
        self.lines.clear();
        self.new_usual = None;
        let len = fields.last().map_or(0, |field| field.line.end as usize);
        if len > KEPT_BYTES_MAX {
            return;
        }
        for field in fields {
            let from = self.bytes.len();
            let line = moved_back(field.line, offset(start)).of(section);
            steps::count(line.len());
            if !may_be_credential(side, field, line) {
                self.bytes.extend_from_slice(line);
            }
            self.lines.push(Line {
                field: Field {
                    line: moved_back(field.line, field.line.start),
                    value: moved_back(field.value, field.line.start),
                    ..*field
                },
                kept: Span {
                    start: offset(from),
                    end: offset(self.bytes.len()),
                },
            });
        }
    }
}

impl Line {
    /// What it is and what comes behind it, if it stands at the front of `rest`.
    fn at_front_of<'r>(&self, rest: &'r [u8], bytes: &[u8]) -> Option<(Field, &'r [u8])> {
        let kept = self.kept.of(bytes);
        steps::count(1 + kept.len().min(rest.len()));
        let after = rest.strip_prefix(kept)?;
        (!kept.is_empty()).then_some((self.field, after))
    }
}

/// Whether the value is one that nobody else may learn about. Clients carry keys in fields of all names, for
/// providers that nobody here has heard of.
fn may_be_credential(side: Side, field: &Field, line: &[u8]) -> bool {
    if NameSet::SECRET.has(field.name) {
        return true;
    }
    if side == Side::Response {
        return false;
    }
    let mut name = within(line, ..usize::from(field.name_len));
    while let [first, rest @ ..] = name {
        let telling: &[&[u8]] = match first.to_ascii_lowercase() {
            b'a' => &[b"auth"],
            b'c' => &[b"cookie"],
            b'k' => &[b"key"],
            b's' => &[b"secret", b"sign"],
            b't' => &[b"token"],
            _ => &[],
        };
        let begins = |word: &&[u8]| {
            let part = name.get(..word.len());
            part.is_some_and(|part| part.eq_ignore_ascii_case(word))
        };
        if telling.iter().any(begins) {
            return true;
        }
        name = rest;
    }
    false
}

/// Reads the line at the front of `rest`, alone; `None` where it is not whole or not fit. `alone` is room for it.
fn parse<'r>(rest: &'r [u8], alone: &mut Vec<u8>) -> Option<(Field, &'r [u8])> {
    let (line, after) = rest.split_at_checked(memchr(b'\n', rest)? + 1)?;
    if !line.ends_with(b"\r\n") {
        return None;
    }
    steps::count(line.len());
    alone.clear();
    alone.extend_from_slice(line);
    alone.extend_from_slice(b"\r\n");
    let mut room = [EMPTY_HEADER];
    let Ok(Status::Complete((_, [header]))) = httparse::parse_headers(alone, &mut room) else {
        return None;
    };
    let value = header
        .value
        .as_ptr()
        .addr()
        .wrapping_sub(alone.as_ptr().addr());
    let field = Field {
        name: name(header.name.as_bytes()),
        name_len: u16::try_from(header.name.len()).ok()?,
        line: Span {
            start: 0,
            end: offset(line.len()),
        },
        value: Span {
            start: offset(value),
            end: offset(value + header.value.len()),
        },
    };
    Some((field, after))
}

/// Within a head, whose length leaves much room.
fn moved(field: Field, by: u32) -> Field {
    let moved = |span: Span| Span {
        start: span.start.wrapping_add(by),
        end: span.end.wrapping_add(by),
    };
    Field {
        line: moved(field.line),
        value: moved(field.value),
        ..field
    }
}

fn moved_back(span: Span, by: u32) -> Span {
    Span {
        start: span.start.saturating_sub(by),
        end: span.end.saturating_sub(by),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Fields;
    use super::*;

    const START: usize = "POST / HTTP/1.1\r\n".len();

    /// How the section behind [`START`] is known, and the lines that it has.
    fn read(seen: &mut Seen, section: &str) -> (Option<usize>, usize) {
        let mut fields = Fields::new();
        let known = seen.read(section.as_bytes(), START, 100, |line| fields.push(line));
        if known.is_some_and(|known| known.is_to_be_learned) {
            seen.learn(section.as_bytes(), START, &fields);
        }
        (known.map(|known| known.len), fields.len())
    }

    /// Reads it as `read_fields` would; whether it was known.
    fn pass(seen: &mut Seen, section: &str) -> bool {
        let known = read(seen, section).0;
        if known.is_none() {
            let message = format!("POST / HTTP/1.1\r\n{section}");
            let mut fields = Fields::new();
            let (_, whole) = message.as_bytes().split_at(START);
            super::super::read::parse_fields(message.as_bytes(), whole, 100, &mut fields).unwrap();
            seen.keep(section.as_bytes(), START, &fields);
        }
        known.is_some()
    }

    #[test]
    fn a_head_like_the_last_is_known_and_a_new_line_in_it_is_read() {
        let head =
            |id: &str| format!("Host: a\r\nX-Id: {id}\r\nAccept: */*\r\nTE:trailers \r\n\r\n");
        let mut seen = Seen::of(Side::Request);
        assert!(!pass(&mut seen, &head("1")));
        for id in ["1", "22", "", "3333"] {
            let head = head(id);
            assert_eq!(read(&mut seen, &head), (Some(head.len()), 4));
        }
    }

    #[test]
    fn a_line_that_changes_for_good_is_learned() {
        let head = |day: u8, id: u8| {
            format!("Host: a\r\nDay: {day}\r\nX-Id: {id}\r\nAccept: */*\r\nTE: a\r\n\r\n")
        };
        let mut seen = Seen::of(Side::Request);
        pass(&mut seen, &head(1, 1));
        pass(&mut seen, &head(1, 2));
        for id in 3..3 + KEPT_ONE_IN + 2 {
            assert!(pass(&mut seen, &head(2, id)));
        }
        let kept = |seen: &Seen| String::from_utf8(seen.kinds[0].bytes.clone()).unwrap();
        assert!(
            kept(&seen).contains("Day: 2\r\nX-Id: 10"),
            "once for the day, not for each id"
        );
    }

    #[test]
    fn kinds_are_told_apart_and_the_oldest_is_given_up() {
        let head = |kind: u8| {
            let lines = (0..6).map(|line| format!("{line}: {kind}\r\n"));
            lines.collect::<String>() + "\r\n"
        };
        let mut seen = Seen::of(Side::Request);
        for kind in 0..4 {
            assert!(!pass(&mut seen, &head(kind)));
        }
        for kind in [3, 0, 2, 1] {
            assert!(pass(&mut seen, &head(kind)));
        }
        let new = (0..20).take_while(|_| !pass(&mut seen, &head(4))).count();
        assert_eq!(new, usize::from(KEPT_ONE_IN));
        assert!(!pass(&mut seen, &head(0)));
    }

    #[test]
    fn what_is_mostly_new_or_unfit_is_left_to_the_whole_parser() {
        let mut seen = Seen::of(Side::Request);
        pass(&mut seen, "Host: a\r\nA: b\r\nC: d\r\n\r\n");
        for section in [
            "Host: a\r\nA: 1\r\nC: 2\r\nD: 3\r\nE: 4\r\n\r\n",
            "Host: a\r\nA: b\nC: d\r\n\r\n",
            "Host: a\r\nA: b\r\n C: d\r\n\r\n",
            "Host: a\r\nA: b\r\nC : d\r\n\r\n",
            "Host: a\r\nA: b\r\nC: d\r",
            "Host: a\r\nA: b\r\nC: d\r\n\rx",
            "Host: a\r\nA: b\r\nC: d\r\n\n",
        ] {
            assert_eq!(read(&mut seen, section).0, None, "{section:?}");
        }
    }

    #[test]
    fn credentials_are_not_kept() {
        let head = "Host: a\r\nAuthorization: Bearer SECRET\r\nX-API-Key: SECRET\r\nCookie: SECRET\r\n\
            X-Goog-Api-Key: SECRET\r\nX-Amz-Security-Token: SECRET\r\nX-Signature: SECRET\r\n\
            Sec-WebSocket-Protocol: openai-insecure-api-key.SECRET\r\nX-Auth: SECRET\r\n\
            Sec_WebSocket_Protocol: openai-insecure-api-key.SECRET\r\n\
            Proxy-Authorization: SECRET\r\nX-Sluicegate-Key: SECRET\r\nClient-Secret: SECRET\r\n\r\n";
        let mut seen = Seen::of(Side::Request);
        pass(&mut seen, head);
        let kept = String::from_utf8(seen.kinds[0].bytes.clone()).unwrap();
        assert_eq!(kept, "Host: a\r\n");
        assert_eq!(format!("{seen:?}"), "Seen");
    }

    #[test]
    fn a_long_section_is_not_kept() {
        let mut seen = Seen::of(Side::Request);
        let head = format!("Host: a\r\nA: {}\r\n\r\n", "b".repeat(KEPT_BYTES_MAX));
        assert!(!pass(&mut seen, &head) && !pass(&mut seen, &head));
        assert!(seen.kinds.iter().all(|kind| kind.bytes.is_empty()));
    }
}
