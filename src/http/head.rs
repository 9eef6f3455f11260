//! Request and response heads as spans over the caller's buffer (RFC 9112, sections 2 to 5).
//!
//! httparse does the tokenising; every strictness beyond it is here: CRLF only, no bare CR or LF,
//! no obs-fold, no blank before a colon, the limits on bytes and fields, one `Host`.
//! Nothing is copied and nothing is allocated once `fields` has its capacity.

mod blanks;
mod fields;
pub(super) mod grammar;
mod names;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
mod seen;
#[cfg(test)]
mod tests;
mod view;

use httparse::{EMPTY_HEADER, Error, Header, Status};
use memchr::{memchr, memchr2};

pub(crate) use blanks::close_up;
pub(crate) use fields::FieldSet;
pub use fields::Fields;
use grammar::{is_host, request_line, request_line_begun, status_line, status_line_begun};
pub(crate) use grammar::{is_token, list, list_has};
pub(in crate::http) use names::Folded;
pub(crate) use names::{Name, NameSet, Value, name};
pub use view::{HeadView, Section};
pub(crate) use view::{RequestView, ResponseView};

use crate::base::bytes::{within, within_mut};
use crate::base::steps;

/// Longest head, in bytes, blank line included; a longer one is [`HeadError::TooLong`].
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most heads are shorter, in bytes: clients' and providers' own have one to three thousand.
pub(crate) const HEAD_USUAL: usize = 4 * 1024;
/// Most field lines in a request head.
pub(crate) const REQUEST_FIELDS_MAX: usize = 100;
/// Most field lines in a response head.
pub const RESPONSE_FIELDS_MAX: usize = 200;
/// Longest request target, in bytes.
pub(crate) const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Longest method that is passed on, in bytes; IANA's registry ends at 17.
pub(crate) const METHOD_BYTES_MAX: usize = 32;
/// Most empty lines skipped before a request line (RFC 9112, section 2.2).
pub(crate) const EMPTY_LINES_MAX: usize = 4;

/// A range of bytes in the buffer that a head was parsed from, counted from the head's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes it names; empty when it does not lie in `buf`.
    #[must_use]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        buf.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }
}

/// The version that a message is read as; both are HTTP major version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1, and whatever minor version is above it (RFC 9110, section 2.5)
    Http11,
}

/// One field line of a head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// Which name it is, if the gateway knows it.
    pub name: Name,
    /// Length of the name in bytes; it starts the line.
    pub name_len: u16,
    /// The whole line, CRLF included.
    pub line: Span,
    /// The value without surrounding blanks.
    pub value: Span,
}

impl Field {
    /// The name's bytes as they were written.
    #[must_use]
    pub fn name_of(self, buf: &[u8]) -> &[u8] {
        Span {
            start: self.line.start,
            end: self.line.start + u32::from(self.name_len),
        }
        .of(buf)
    }

    /// Whether this is its name, in any case; the length tells most others apart.
    #[must_use]
    pub fn is_named(self, name: &[u8], buf: &[u8]) -> bool {
        steps::count(1);
        usize::from(self.name_len) == name.len() && {
            steps::count(name.len());
            self.name_of(buf).eq_ignore_ascii_case(name)
        }
    }
}

/// A complete request head; its spans count from the start of the buffer given to [`parse_request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// The method token.
    pub method: Span,
    /// The request target as it was written.
    pub target: Span,
    /// The version in the request line.
    pub version: Version,
    /// Bytes of the head, any empty lines before it and the blank line after it included:
    /// content starts here.
    pub len: usize,
}

/// A complete response head; its spans count from the start of the buffer given to [`parse_response`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// The version in the status line.
    pub version: Version,
    /// The status code, 100 to 999.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// Bytes of the head, blank line included: content starts here.
    pub len: usize,
}

/// What makes a head unfit to be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeadError {
    /// A LF without CR before it.
    BareLf,
    /// A CR without LF after it.
    BareCr,
    /// A line that begins with a blank (RFC 9112, section 5.2).
    ObsFold,
    /// The request line is not `method SP target SP version`.
    BadRequestLine,
    /// The request line begins with a token of more than [`METHOD_BYTES_MAX`] bytes.
    MethodTooLong,
    /// The status line is malformed, or the code is not three digits from 100 up.
    BadStatusLine,
    /// A well-formed HTTP version with another major number than 1.
    UnsupportedVersion,
    /// A field name that is empty, not a token, or followed by a blank before the colon.
    BadFieldName,
    /// A control byte in a field value.
    BadFieldValue,
    /// More than [`HEAD_BYTES_MAX`] bytes.
    TooLong,
    /// More than [`TARGET_BYTES_MAX`] bytes of request target.
    TargetTooLong,
    /// More field lines than the limit.
    TooManyFields,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// More than one `Host`.
    HostRepeated,
    /// A `Host` that is not `uri-host [ ":" port ]`.
    HostInvalid,
}

/// Which kind of message a head begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client's message, with a request line.
    Request,
    /// An upstream's message, with a status line.
    Response,
}

/// Remembers how far a growing buffer has been looked at, so that a head that arrives byte by byte
/// is not read again from its start.
///
/// `line_start <= scanned <= HEAD_BYTES_MAX`, both counted from the head's first byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadScan {
    /// Bytes already looked at.
    scanned: u32,
    /// Start of the line under way.
    line_start: u32,
    /// The start line has ended.
    in_fields: bool,
}

impl HeadScan {
    /// Looks for the end of a head in a buffer that only ever grows at its end; returns the head's
    /// length, blank line included, or `None` while it has not come.
    ///
    /// Work per byte is constant however the bytes arrive. Line ends and the start line are judged
    /// as soon as they are there, so that what is no HTTP is refused without waiting for more.
    ///
    /// # Errors
    ///
    /// Bare LF, bare CR, obs-fold, a malformed start line, or a limit that is already exceeded.
    pub fn find_end(&mut self, buf: &[u8], side: Side) -> Result<Option<usize>, HeadError> {
        let window = window(buf);
        loop {
            let line = within(window, self.line_start as usize..);
            let known = (self.scanned - self.line_start) as usize;
            let found = memchr2(b'\r', b'\n', within(line, known..));
            let text_len = found.map_or(line.len(), |at| known + at);
            steps::count(1 + text_len - known.min(text_len));
            let (text, end) = line.split_at_checked(text_len).unwrap_or((line, &[]));
            self.check_begun(text, side)?;
            match end {
                [] | [b'\r'] => {
                    self.scanned = self.line_start + offset(text_len);
                    break;
                }
                [b'\r', b'\n', ..] => {}
                [b'\r', ..] => return Err(HeadError::BareCr),
                _ => return Err(HeadError::BareLf),
            }
            let next = self.line_start + offset(text_len + 2);
            if self.in_fields && text.is_empty() {
                return Ok(Some(next as usize));
            }
            self.check_ended(text, side)?;
            (self.line_start, self.scanned) = (next, next);
        }
        if window.len() < HEAD_BYTES_MAX {
            Ok(None)
        } else {
            Err(HeadError::TooLong)
        }
    }

    /// Nothing has been looked at. Most heads come in one read: they are parsed at once, and only
    /// what is not a whole, fit head is scanned, which says what it lacks or why it is refused.
    fn is_fresh(&self) -> bool {
        self.scanned == 0
    }

    /// Judges the part of a line that has come; for a whole line it says nothing else than the
    /// parser would, so that the answer does not depend on how the input was cut.
    fn check_begun(&self, text: &[u8], side: Side) -> Result<(), HeadError> {
        match side {
            _ if self.in_fields => match text.first() {
                Some(b' ' | b'\t') => Err(HeadError::ObsFold),
                _ => Ok(()),
            },
            Side::Request => request_line_begun(text),
            Side::Response => status_line_begun(text),
        }
    }

    /// Judges a line that has ended, if it is the start line or stands before it.
    fn check_ended(&mut self, text: &[u8], side: Side) -> Result<(), HeadError> {
        if self.in_fields {
            return Ok(());
        }
        match side {
            // Every line before the request line is empty, so two bytes long.
            Side::Request if text.is_empty() && self.line_start < offset(2 * EMPTY_LINES_MAX) => {
                return Ok(());
            }
            Side::Request => request_line(text).map(drop)?,
            Side::Response => status_line(text).map(drop)?,
        }
        steps::count(text.len());
        self.in_fields = true;
        Ok(())
    }
}

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
/// [`HeadError::BadFieldName`] comes of a whole head only, and [`close_up`] may make that one fit.
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

/// The part of a buffer that may hold a head.
fn window(buf: &[u8]) -> &[u8] {
    buf.get(..HEAD_BYTES_MAX).unwrap_or(buf)
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
        Some(seen) if is_line_end(buf, start) => seen.read(section, start, fields_max, fields),
        _ => None,
    };
    let read = match known {
        Some(len) => Ok(Some(start + len)),
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
fn parse_fields(
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

/// Heads are at most [`HEAD_BYTES_MAX`] long, so that nothing is ever cut off here.
fn offset(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Room for the fields of nearly every head; more are parsed once again with all the room there is.
const FIELDS_USUAL: usize = 40;
const _: () = assert!(HEAD_BYTES_MAX <= 1 << 16, "a name's length fits an u16");
const _: () = assert!(REQUEST_FIELDS_MAX <= RESPONSE_FIELDS_MAX && RESPONSE_FIELDS_MAX <= 200);
