//! Heads from bytes: httparse's borrows turned into ranges, and all that is stricter than it.

use httparse::{EMPTY_HEADER, Error, Header, Status};
use memchr::memchr;

use super::fields::Fields;
use super::grammar::{is_host, request_line, status_line};
use super::names::Name;
use super::parts::{
    EMPTY_LINES_MAX, Field, HEAD_USUAL, HeadError, REQUEST_FIELDS_MAX, RESPONSE_FIELDS_MAX,
    RequestHead, ResponseHead, Side, Span, Version, offset, window,
};
use super::scan::HeadScan;
use crate::base::bytes::{within, within_mut};
use crate::base::steps;

/// Parses the request head at the front of `buf`, which only ever grows at its end while `scan` is
/// kept; content and further requests may follow. `None`: more bytes are needed.
///
/// `fields` is cleared and refilled; nothing is allocated once it has its capacity.
///
/// # Errors
///
/// Whatever makes the head unfit, as early as the bytes show it; the connection is then unusable.
pub fn request(
    scan: &mut HeadScan,
    buf: &[u8],
    fields: &mut Fields,
) -> Result<Option<RequestHead>, HeadError> {
    if scan.is_fresh()
        && let Ok(Some(head)) = read_request(first_look(buf), fields)
    {
        return Ok(Some(head));
    }
    match scan.find_end(buf, Side::Request)? {
        Some(len) => read_request(within(buf, ..len), fields),
        None => Ok(None),
    }
}

/// Parses the response head at the front of `buf`; otherwise like [`request`].
///
/// # Errors
///
/// [`HeadError::BadFieldName`] comes of a whole head only, and [`close_up`](super::close_up) may make that one fit.
/// Whatever makes the head unfit, as early as the bytes show it; the connection is then unusable.
pub(crate) fn response(
    scan: &mut HeadScan,
    buf: &[u8],
    fields: &mut Fields,
) -> Result<Option<ResponseHead>, HeadError> {
    if scan.is_fresh()
        && let Ok(Some(head)) = read_response(first_look(buf), fields)
    {
        return Ok(Some(head));
    }
    match scan.find_end(buf, Side::Response)? {
        Some(len) => read_response(within(buf, ..len), fields),
        None => Ok(None),
    }
}

/// Parses a request head of which nothing has been looked at yet; see [`request`].
///
/// # Errors
///
/// As [`request`].
pub fn parse_request(buf: &[u8], fields: &mut Fields) -> Result<Option<RequestHead>, HeadError> {
    request(&mut HeadScan::default(), buf, fields)
}

/// Parses a response head of which nothing has been looked at yet; see [`response`].
///
/// # Errors
///
/// As [`response`].
pub fn parse_response(buf: &[u8], fields: &mut Fields) -> Result<Option<ResponseHead>, HeadError> {
    response(&mut HeadScan::default(), buf, fields)
}

/// The part of a buffer in which a head is read without having looked for its end: nearly every one ends there, and
/// of one that does not, no more than this is read in vain.
fn first_look(buf: &[u8]) -> &[u8] {
    buf.get(..HEAD_USUAL).unwrap_or(buf)
}
fn read_request(buf: &[u8], fields: &mut Fields) -> Result<Option<RequestHead>, HeadError> {
    let (before, line) = start_line(buf, EMPTY_LINES_MAX);
    let parts = request_line(line)?;
    let start = before + line.len();
    let Some(len) = read_fields(buf, start, Side::Request, fields)? else {
        return Ok(None);
    };
    check_host(parts.version, fields, buf)?;
    Ok(Some(RequestHead {
        method: span(before, parts.method.len()),
        target: span(before + parts.method.len() + 1, parts.target.len()),
        version: parts.version,
        len,
    }))
}

fn read_response(buf: &[u8], fields: &mut Fields) -> Result<Option<ResponseHead>, HeadError> {
    let (_, line) = start_line(buf, 0);
    let parts = status_line(line)?;
    let Some(len) = read_fields(buf, line.len(), Side::Response, fields)? else {
        return Ok(None);
    };
    Ok(Some(ResponseHead {
        version: parts.version,
        status: parts.status,
        reason: span(line.len() - parts.reason.len(), parts.reason.len()),
        len,
    }))
}

/// The number of bytes in empty lines, and the line after them without its CRLF.
fn start_line(buf: &[u8], empty_lines_max: usize) -> (usize, &[u8]) {
    let mut rest = buf;
    for _ in 0..empty_lines_max {
        let Some(after) = rest.strip_prefix(b"\r\n") else {
            break;
        };
        rest = after;
    }
    let len = memchr(b'\r', rest).unwrap_or(rest.len());
    (buf.len() - rest.len(), within(rest, ..len))
}

/// Fills `fields` from the field section, behind the CRLF at `start`; returns the length of the head, or `None`
/// if its end has not come.
fn read_fields(
    buf: &[u8],
    start: usize,
    side: Side,
    fields: &mut Fields,
) -> Result<Option<usize>, HeadError> {
    fields.clear();
    let start = start + 2;
    let Some(section) = buf.get(start..) else {
        return Ok(None);
    };
    let (fields_max, seen) = match side {
        Side::Request => (REQUEST_FIELDS_MAX, 0),
        Side::Response => (RESPONSE_FIELDS_MAX, 1),
    };
    // Out of the way of the lines that it is to fill in.
    let mut sides = fields.seen.take();
    let mut seen = sides.as_deref_mut().and_then(|sides| sides.get_mut(seen));
    let known = match &mut seen {
        Some(seen) if is_line_end(buf, start) => {
            seen.read(section, start, fields_max, |line| fields.push(line))
        }
        _ => None,
    };
    let read = match known {
        Some(known) => {
            if let Some(seen) = seen.filter(|_| known.is_to_be_learned) {
                seen.learn(section, start, fields);
            }
            Ok(Some(start + known.len))
        }
        None => {
            fields.clear();
            let read = parse_fields(buf, section, fields_max, fields);
            if let (Some(seen), Ok(Some(_))) = (seen, read) {
                seen.keep(section, start, fields);
            }
            read
        }
    };
    fields.seen = sides;
    read
}

/// Reads a field section of which nothing is known.
pub(super) fn parse_fields(
    buf: &[u8],
    section: &[u8],
    fields_max: usize,
    fields: &mut Fields,
) -> Result<Option<usize>, HeadError> {
    steps::count(section.len());
    let mut few = [EMPTY_HEADER; FIELDS_USUAL];
    match httparse::parse_headers(section, &mut few) {
        Err(Error::TooManyHeaders) => read_many_fields(buf, section, fields_max, fields),
        parsed => record(buf, section, parsed, fields),
    }
}

#[cold]
fn read_many_fields(
    buf: &[u8],
    section: &[u8],
    fields_max: usize,
    fields: &mut Fields,
) -> Result<Option<usize>, HeadError> {
    steps::count(section.len());
    let mut many = [EMPTY_HEADER; RESPONSE_FIELDS_MAX];
    let allowed = within_mut(&mut many, ..fields_max);
    record(
        buf,
        section,
        httparse::parse_headers(section, allowed),
        fields,
    )
}

/// Turns httparse's borrows into spans. It accepts no folding and no bare CR, but bare LF, which is
/// looked for here; so the lines follow one another without a gap.
fn record(
    buf: &[u8],
    section: &[u8],
    parsed: httparse::Result<(usize, &[Header<'_>])>,
    fields: &mut Fields,
) -> Result<Option<usize>, HeadError> {
    let (section_len, headers) = match parsed {
        Ok(Status::Complete(complete)) => complete,
        Ok(Status::Partial) => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(HeadError::TooManyFields),
        Err(Error::HeaderValue) => return Err(HeadError::BadFieldValue),
        Err(_) => return Err(HeadError::BadFieldName),
    };
    // It is no longer, but this says so to the compiler: then many an offset is known to fit.
    let buf = window(buf);
    let place = |bytes: &[u8]| bytes.as_ptr().addr().wrapping_sub(buf.as_ptr().addr());
    let start = place(section);
    let len = start + section_len;
    let mut line_ends_fit = is_line_end(buf, start) && is_line_end(buf, len);
    let mut start = offset(start);
    let lines = headers.iter().map(|header| {
        let value = place(header.value);
        let value_end = value.wrapping_add(header.value.len());
        let Some(end) = line_end(buf, value_end) else {
            line_ends_fit = false;
            return Field::default();
        };
        let line = Span {
            start,
            end: offset(end),
        };
        start = line.end;
        Field {
            // Known only to `fill`.
            name: Name::Other,
            // A head's length bounds it.
            name_len: u16::try_from(header.name.len()).unwrap_or(u16::MAX),
            line,
            value: Span {
                start: offset(value),
                end: offset(value_end),
            },
        }
    });
    steps::count(headers.len());
    fields.fill(lines, headers.iter().map(|header| header.name.as_bytes()));
    if line_ends_fit {
        Ok(Some(len))
    } else {
        Err(HeadError::BareLf)
    }
}

/// Whether a line of `buf` ends properly before `end`.
fn is_line_end(buf: &[u8], end: usize) -> bool {
    buf.get(..end).is_some_and(|lines| lines.ends_with(b"\r\n"))
}

/// One past the line whose value ends at `value_end`, if it ends properly.
fn line_end(buf: &[u8], value_end: usize) -> Option<usize> {
    match buf.get(value_end..)?.starts_with(b"\r\n") {
        true => Some(value_end + 2),
        false => line_end_behind_blanks(buf, value_end),
    }
}

#[cold]
fn line_end_behind_blanks(buf: &[u8], value_end: usize) -> Option<usize> {
    let rest = buf.get(value_end..)?;
    let blanks = rest.iter().position(|byte| !b" \t".contains(byte))?;
    steps::count(blanks);
    let end = value_end + blanks + 2;
    is_line_end(buf, end).then_some(end)
}

/// RFC 9112, section 3.2: one valid `Host`, which only HTTP/1.0 may leave out.
fn check_host(version: Version, fields: &Fields, head: &[u8]) -> Result<(), HeadError> {
    let mut hosts = fields.named(Name::Host);
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => Err(HeadError::HostRepeated),
        (Some(host), None) if is_host(host.value.of(head)) => Ok(()),
        (Some(_), None) => Err(HeadError::HostInvalid),
        (None, None) if version == Version::Http10 => Ok(()),
        (None, None) => Err(HeadError::HostMissing),
    }
}

fn span(start: usize, len: usize) -> Span {
    Span {
        start: offset(start),
        end: offset(start.saturating_add(len)),
    }
}
/// Room for the fields of nearly every head; more are parsed once again with all the room there is.
const FIELDS_USUAL: usize = 40;
