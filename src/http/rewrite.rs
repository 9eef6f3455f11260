//! The outgoing head, written in place in the buffer that the incoming one was read into
//! (RFC 9110, section 7.6; RFC 9112, section 3).
//!
//! The blank line and everything behind it stay where they are. Kept field lines move right, against
//! them, as whole runs; what is added and the new start line go in front, into the room that removed
//! lines left and the headroom before the buffer. So head and first content are one piece, and a kept
//! line is the sender's own bytes.

use std::cmp::Ordering;

use super::head::grammar::reads;
use super::head::{
    Field, FieldSet, Fields, METHOD_BYTES_MAX, Name, NameSet, RequestHead, ResponseHead, Section,
    Span, list,
};
use crate::base::bytes::within;
use crate::base::steps;

/// What a request line becomes: `METHOD prefix/rest HTTP/1.1`, with the suffix behind the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTarget<'a> {
    /// The base URL's path, without a slash at its end.
    pub prefix: &'a [u8],
    /// Where endpoint and query begin in the buffer; they go on to the target's end.
    pub rest: Span,
    /// What the query gets in addition.
    pub suffix: &'a [u8],
}

/// The field lines that a request never carries on, whatever its provider (RFC 9110, section 7.6.1, and
/// credentials): `keep` says of those that may be the client's own credential which this one carries.
///
/// Framing fields stay even when `Connection` names them: dropping one would change where the message ends.
#[must_use]
pub(crate) fn request_removals(
    section: Section<'_>,
    keep: impl Fn(usize, &Field) -> bool,
) -> FieldSet {
    let mut removed = nominated(section);
    for (index, field) in section.fields.known() {
        let remove = NameSet::NOT_IN_REQUESTS.has(field.name)
            || NameSet::CLIENTS.has(field.name) && !keep(index, field);
        if remove {
            removed.insert(index);
        }
    }
    removed
}

/// The field lines that a response never carries on: hop-by-hop ones and cookies. `tunnel` keeps `Upgrade`
/// and its `Connection` for a 101.
#[must_use]
pub(crate) fn response_removals(section: Section<'_>, tunnel: bool) -> FieldSet {
    let mut removed = if tunnel {
        FieldSet::default()
    } else {
        nominated(section)
    };
    for (index, field) in section.fields.known() {
        let remove = NameSet::NOT_IN_RESPONSES.has(field.name)
            || NameSet::SWITCHING.has(field.name) && !tunnel;
        if remove {
            removed.insert(index);
        }
    }
    removed
}

/// The fields that `Connection` names, framing fields excepted (RFC 9110, section 7.6.1).
fn nominated(section: Section<'_>) -> FieldSet {
    // As nearly every one reads.
    match section.values(Name::Connection).all(names_none) {
        true => FieldSet::default(),
        false => nominated_by_options(section),
    }
}

#[cold]
fn nominated_by_options(section: Section<'_>) -> FieldSet {
    let Section { fields, buf } = section;
    let options = section.values(Name::Connection).flat_map(list);
    let mut options = options.filter(|option| !names_none(option));
    let others = fields.iter().enumerate();
    let others = others.filter(|(_, field)| !NameSet::FRAMING.has(field.name));
    let mut named = FieldSet::default();
    for option in options.by_ref().take(OPTIONS_USUAL) {
        for (index, field) in others.clone() {
            if field.is_named(option, buf) {
                named.insert(index);
            }
        }
    }
    let Some(next) = options.next() else {
        return named;
    };
    // A client may send tens of thousands: each is looked up among the names in order.
    let mut names: Vec<_> = others
        .map(|(index, field)| (field.name_of(buf), index))
        .collect();
    names.sort_unstable_by(|(a, _), (b, _)| name_order(a, b));
    let shapes = names.iter().fold(0, |all, (name, _)| all | shape(name));
    for option in std::iter::once(next).chain(options) {
        if shapes & shape(option) == 0 {
            continue;
        }
        let less = |(name, _): &(&[u8], usize)| name_order(name, option).is_lt();
        let at_least = within(&names, names.partition_point(less)..);
        for (name, index) in at_least {
            // Of one name all are in it or none.
            if name_order(name, option).is_ne() || named.contains(*index) {
                break;
            }
            named.insert(*index);
        }
    }
    named
}

/// A bit by a name's length and first letter, in any case: few of many names have one of another's.
fn shape(name: &[u8]) -> u128 {
    let first = name.first().map_or(0, |byte| usize::from(byte & 0x1f));
    1 << ((name.len() * 31 + first) % 128)
}

/// Any order in which names that differ in case only are equal.
fn name_order(a: &[u8], b: &[u8]) -> Ordering {
    steps::count(1);
    a.len().cmp(&b.len()).then_with(|| {
        steps::count(a.len());
        let lower = u8::to_ascii_lowercase;
        a.iter().map(lower).cmp(b.iter().map(lower))
    })
}

/// Options that are compared with every field: for so few it is not worth while to put the names in order.
const OPTIONS_USUAL: usize = 4;

/// A connection option that is no field's name.
fn names_none(option: &[u8]) -> bool {
    reads(option, b"keep-alive") || reads(option, b"close")
}

/// Rewrites the request head at `at` in `buf`; spans count from `at`. `lines` are complete field lines.
/// Returns where the new head begins, or `None` when the headroom is too small for it.
#[must_use]
pub(crate) fn request(
    buf: &mut [u8],
    at: usize,
    head: &RequestHead,
    fields: &Fields,
    removed: &FieldSet,
    target: NewTarget<'_>,
    lines: &[&[u8]],
) -> Option<usize> {
    // The method is short and lies where the moved target may come to lie; a blank follows it.
    let mut method = [b' '; METHOD_BYTES_MAX + 1];
    let message = buf.get(at..)?;
    let method_bytes = head.method.of(message);
    let method = method.get_mut(..method_bytes.len() + 1)?;
    method
        .get_mut(..method_bytes.len())?
        .copy_from_slice(method_bytes);
    let kept = close_ranks(buf, at, head.len, fields, removed)?;
    let moved = absolute(at, target.rest);
    let start_line = StartLine {
        before: &[method, target.prefix, b"/"],
        moved,
        after: [target.suffix, b" HTTP/1.1\r\n"],
    };
    write_front(buf, kept, &start_line, lines)
}

/// Rewrites the response head at `at` in `buf`, as [`request`] does: the status line keeps code and reason
/// and gets our own version.
#[must_use]
pub(crate) fn response(
    buf: &mut [u8],
    at: usize,
    head: &ResponseHead,
    fields: &Fields,
    removed: &FieldSet,
    lines: &[&[u8]],
) -> Option<usize> {
    let kept = close_ranks(buf, at, head.len, fields, removed)?;
    let reason = absolute(at, head.reason);
    // Code and one space stand before the reason; a status line may end at the code, so they are written anew.
    let mut code = *b"HTTP/1.1 000 ";
    let [.., a, b, c, _] = &mut code;
    *a = digit(head.status / 100);
    *b = digit(head.status / 10);
    *c = digit(head.status);
    let start_line = StartLine {
        before: &[&code],
        moved: reason,
        after: [b"", b"\r\n"],
    };
    write_front(buf, kept, &start_line, lines)
}

struct StartLine<'a> {
    before: &'a [&'a [u8]],
    /// Bytes of the old start line that go on; absolute in the buffer.
    moved: std::ops::Range<usize>,
    after: [&'a [u8]; 2],
}

fn absolute(at: usize, span: Span) -> std::ops::Range<usize> {
    at + span.start as usize..at + span.end as usize
}

fn digit(value: u16) -> u8 {
    b'0' + u8::try_from(value % 10).unwrap_or(0)
}

/// Moves the kept lines right, against the blank line; returns where the first of them now begins.
fn close_ranks(
    buf: &mut [u8],
    at: usize,
    head_len: usize,
    fields: &Fields,
    removed: &FieldSet,
) -> Option<usize> {
    let mut write = (at + head_len).checked_sub(2)?;
    // Lines follow one another without a gap: what lies between removed ones moves in one go.
    let mut run_end = write;
    for index in removed.descending() {
        let line = absolute(at, fields.get(index)?.line);
        write = move_run(buf, line.end..run_end, write)?;
        run_end = line.start;
    }
    match fields.first() {
        Some(first) => move_run(buf, at + first.line.start as usize..run_end, write),
        None => Some(write),
    }
}

/// Moves a run so that it ends at `end`; never to the left, so what is still to be moved is not touched.
fn move_run(buf: &mut [u8], run: std::ops::Range<usize>, end: usize) -> Option<usize> {
    let start = end.checked_sub(run.len())?;
    debug_assert!(start >= run.start);
    if start != run.start && !run.is_empty() {
        steps::count(run.len());
        buf.get(run.clone())?;
        buf.get(start..end)?;
        buf.copy_within(run, start);
    }
    Some(start)
}

/// Writes start line and added lines so that they end at `end`.
fn write_front(buf: &mut [u8], end: usize, line: &StartLine<'_>, lines: &[&[u8]]) -> Option<usize> {
    let added: usize = lines.iter().map(|line| line.len()).sum();
    let before: usize = line.before.iter().map(|part| part.len()).sum();
    let after: usize = line.after.iter().map(|part| part.len()).sum();
    let moved_at = end.checked_sub(added + after + line.moved.len())?;
    let start = moved_at.checked_sub(before)?;
    buf.get(line.moved.clone())?;
    steps::count(line.moved.len() + added + before);
    // First of all: everything written after this lies outside where these bytes now are.
    buf.copy_within(line.moved.clone(), moved_at);
    let mut write = start;
    for part in line.before {
        write = put(buf, write, part)?;
    }
    write += line.moved.len();
    for part in line.after.iter().filter(|part| !part.is_empty()) {
        write = put(buf, write, part)?;
    }
    for line in lines.iter().filter(|line| !line.is_empty()) {
        write = put(buf, write, line)?;
    }
    debug_assert_eq!(write, end);
    Some(start)
}

fn put(buf: &mut [u8], at: usize, bytes: &[u8]) -> Option<usize> {
    buf.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(at + bytes.len())
}

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;

#[cfg(test)]
mod tests;
