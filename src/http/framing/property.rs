//! What holds for every input, as functions that the tables, the property tests and the fuzz
//! targets share. The model reads a whole chunked message with the plainest means there are.

use super::{
    BodyLength, CHUNK_LINE_BYTES_MAX, Cursor, FramingError, LENGTH_MAX, Stripped,
    TRAILER_BYTES_MAX, TRAILER_FIELDS_MAX, listed_length, persists, request_body, response_body,
};
use crate::http::head::{
    Field, Fields, HeadView, Name, Section, Side, Version, parse_request, parse_response,
};

/// The end of reading one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes that belong to the message.
    pub taken: usize,
    /// Content bytes among them.
    pub content: u64,
    /// Whether the message has ended, or why it cannot.
    pub done: Result<bool, FramingError>,
}

/// What the model says of an input.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accept {
        taken: usize,
        content: Vec<u8>,
        /// As it is to go out.
        relayed: Vec<u8>,
    },
    Refuse,
    Incomplete,
}

/// Asserts everything that must hold for a chunked message at the front of `input`, read in pieces
/// of `step` bytes as well as whole.
pub fn chunked_holds(input: &[u8], step: usize) {
    let read = |side| {
        let whole = advance(BodyLength::Chunked, input, input.len(), side);
        let pieces = advance(BodyLength::Chunked, input, step, side);
        let shown = input.escape_ascii();
        assert_eq!(pieces, whole, "pieces of {step} in {shown}");
        whole
    };
    let (request, whole) = (read(Side::Request), read(Side::Response));
    if request.done.is_ok() {
        assert_eq!(request, whole, "a response may be what a request may be");
    }
    let (stripped, content) = strip(BodyLength::Chunked, input, input.len());
    assert_eq!(stripped, whole, "stripped {}", input.escape_ascii());
    assert_eq!(
        strip(BodyLength::Chunked, input, step),
        (stripped, content.clone())
    );
    let (relayed, sent) = relay(BodyLength::Chunked, input, input.len());
    assert_eq!(relayed, whole, "relayed {}", input.escape_ascii());
    assert_eq!(
        relay(BodyLength::Chunked, input, step),
        (relayed, sent.clone())
    );
    let taken = input.get(..request.taken).unwrap_or_default();
    agrees_with_model(input, Side::Request, &request, [&content, taken]);
    agrees_with_model(input, Side::Response, &whole, [&content, &sent]);
}

/// Asserts that an input cut in two at `at` reads as it does whole.
pub fn chunked_holds_at_cut(input: &[u8], at: usize) {
    let (first, second) = input.split_at_checked(at).unwrap_or((input, &[]));
    for side in [Side::Request, Side::Response] {
        let mut cursor = Cursor::new(BodyLength::Chunked);
        let mut outcome = Outcome {
            taken: 0,
            content: 0,
            done: Ok(false),
        };
        feed(&mut cursor, first, side, &mut outcome);
        feed(&mut cursor, second, side, &mut outcome);
        let whole = advance(BodyLength::Chunked, input, input.len(), side);
        assert_eq!(outcome, whole, "cut at {at} in {}", input.escape_ascii());
    }
}

/// Asserts that content of a known or unknown length is counted and nothing else.
pub fn plain_holds(length: u64, input: &[u8], step: usize) {
    for (body, expected) in [
        (BodyLength::Empty, 0),
        (
            BodyLength::Length(length),
            usize::try_from(length).unwrap_or(usize::MAX),
        ),
        (BodyLength::UntilClose, usize::MAX),
    ] {
        let taken = expected.min(input.len());
        let done = body != BodyLength::UntilClose && taken == expected;
        let outcome = Outcome {
            taken,
            content: taken as u64,
            done: Ok(done),
        };
        for side in [Side::Request, Side::Response] {
            assert_eq!(advance(body, input, step, side), outcome);
        }
        let content = input.get(..taken).unwrap_or_default();
        for read in [strip, relay] {
            assert_eq!(read(body, input, step), (outcome.clone(), content.to_vec()));
        }
    }
}

/// Asserts that a head whose length was decided can be read in that way only.
pub fn decision_holds(input: &[u8]) {
    let mut fields = Fields::new();
    if let Ok(Some(head)) = parse_request(input, &mut fields) {
        persistence_holds(head.version, &fields, input);
    }
    if let Ok(Some(head)) = parse_response(input, &mut fields) {
        persistence_holds(head.version, &fields, input);
    }
    if let Ok(Some(head)) = parse_request(input, &mut fields)
        && let Ok(length) = request_body(HeadView::new(&head, &fields, input))
    {
        assert_ne!(length, BodyLength::UntilClose);
        let (lengths, codings) = framing_fields(&fields, input);
        assert!(lengths.len() + codings.len() <= 1);
        fields_say(length, head.version, &lengths, &codings);
    }
    if let Ok(Some(head)) = parse_response(input, &mut fields)
        && let Ok(length) = response_body(HeadView::new(&head, &fields, input), false)
    {
        let (lines, codings) = framing_fields(&fields, input);
        let elements = lines.iter().flat_map(|value| value.split(','));
        let trimmed = elements.map(|length| length.trim_matches([' ', '\t']).to_owned());
        let mut lengths: Vec<String> = trimmed.collect();
        lengths.dedup();
        let listed = lines.iter().any(|value| value.contains(','));
        let listed = lengths.first().filter(|_| listed);
        let listed = listed.and_then(|length| length.parse().ok());
        assert_eq!(listed_length(Section::new(&fields, input)), listed);
        assert!(lengths.len() + codings.len() <= 1);
        match head.status {
            ..200 | 204 | 304 => assert_eq!(length, BodyLength::Empty),
            _ => fields_say(length, head.version, &lengths, &codings),
        }
        assert_eq!(
            response_body(HeadView::new(&head, &fields, input), true),
            Ok(BodyLength::Empty)
        );
    }
}

/// The options of all `Connection` lines, as one list.
fn persistence_holds(version: Version, fields: &Fields, input: &[u8]) {
    let lines = fields.iter().filter(|field| {
        let name = field.name_of(input);
        name.eq_ignore_ascii_case(b"connection")
    });
    let values: Vec<String> = lines
        .map(|field| String::from_utf8_lossy(field.value.of(input)).to_ascii_lowercase())
        .collect();
    let values = values.join(",");
    let has = |option| {
        values
            .split(',')
            .any(|element| element.trim_matches([' ', '\t']) == option)
    };
    let expected = !has("close") && (version == Version::Http11 || has("keep-alive"));
    assert_eq!(
        persists(version, Section::new(fields, input)),
        expected,
        "{values}"
    );
}

fn framing_fields(fields: &[Field], input: &[u8]) -> (Vec<String>, Vec<String>) {
    let values = |name: Name| {
        let lines = fields.iter().filter(|field| field.name == name);
        lines
            .map(|field| String::from_utf8_lossy(field.value.of(input)).into())
            .collect()
    };
    (values(Name::ContentLength), values(Name::TransferEncoding))
}

fn fields_say(length: BodyLength, version: Version, lengths: &[String], codings: &[String]) {
    match length {
        BodyLength::Empty => {
            assert!(codings.is_empty());
            assert!(
                lengths
                    .iter()
                    .all(|value| value.trim_start_matches('0').is_empty())
            );
        }
        BodyLength::Length(length) => {
            assert!(length <= LENGTH_MAX);
            let digits: Vec<&str> = lengths
                .iter()
                .map(|value| value.trim_start_matches('0'))
                .collect();
            assert_eq!(digits, [length.to_string()]);
        }
        BodyLength::Chunked => {
            assert_eq!(version, Version::Http11);
            let codings: Vec<String> = codings.iter().map(|v| v.to_ascii_lowercase()).collect();
            assert_eq!(codings, ["chunked"]);
        }
        BodyLength::UntilClose => assert!(lengths.is_empty() && codings.is_empty()),
    }
}

/// Reads the input in pieces with [`Cursor::advance`].
#[must_use]
pub fn advance(length: BodyLength, input: &[u8], step: usize, side: Side) -> Outcome {
    let mut cursor = Cursor::new(length);
    let mut outcome = Outcome {
        taken: 0,
        content: 0,
        done: Ok(cursor.is_done()),
    };
    for piece in input.chunks(step.max(1)) {
        feed(&mut cursor, piece, side, &mut outcome);
    }
    outcome
}

fn feed(cursor: &mut Cursor, piece: &[u8], side: Side, outcome: &mut Outcome) {
    match cursor.advance(piece, side) {
        Ok(advance) => {
            let expected = cursor.remaining();
            assert!(
                advance.done || advance.taken == piece.len(),
                "stopped before the end"
            );
            assert_eq!(advance.done, cursor.is_done());
            assert!(!advance.done || expected == Some(0));
            outcome.taken += advance.taken;
            outcome.done = Ok(advance.done);
        }
        Err(error) => {
            assert_eq!(cursor.advance(b"0", side), Err(error), "an error lasts");
            outcome.done = Err(error);
        }
    }
    outcome.content = cursor.content_bytes();
    if outcome.done.is_err() {
        // How many bytes of a piece with a fault came before it is nobody's business.
        outcome.taken = 0;
    }
}

/// Reads the input in pieces with [`Cursor::strip`]; returns the content as well.
#[must_use]
pub fn strip(length: BodyLength, input: &[u8], step: usize) -> (Outcome, Vec<u8>) {
    moved(length, input, step, Cursor::strip)
}

/// Reads the input in pieces with [`Cursor::relay`]; returns what goes out as well.
#[must_use]
pub fn relay(length: BodyLength, input: &[u8], step: usize) -> (Outcome, Vec<u8>) {
    moved(length, input, step, Cursor::relay)
}

fn moved(
    length: BodyLength,
    input: &[u8],
    step: usize,
    read: impl Fn(&mut Cursor, &mut [u8]) -> Result<Stripped, FramingError>,
) -> (Outcome, Vec<u8>) {
    let mut cursor = Cursor::new(length);
    let mut outcome = Outcome {
        taken: 0,
        content: 0,
        done: Ok(cursor.is_done()),
    };
    let mut content = Vec::new();
    let mut buf = input.to_vec();
    for piece in buf.chunks_mut(step.max(1)) {
        match read(&mut cursor, piece) {
            Ok(stripped) => {
                outcome.taken += stripped.taken;
                outcome.done = Ok(stripped.done);
                content.extend_from_slice(piece.get(..stripped.kept).unwrap_or_default());
            }
            Err(error) => {
                outcome = Outcome {
                    taken: 0,
                    content: 0,
                    done: Err(error),
                };
                content.clear();
                break;
            }
        }
    }
    outcome.content = cursor.content_bytes();
    (outcome, content)
}

/// `out` is the content alone, and all that goes out.
fn agrees_with_model(input: &[u8], side: Side, whole: &Outcome, out: [&[u8]; 2]) {
    let verdict = model(input, side);
    let agrees = match (&verdict, whole.done) {
        (
            Verdict::Accept {
                taken,
                content,
                relayed,
            },
            Ok(true),
        ) => {
            let read = (*taken, content.len() as u64);
            read == (whole.taken, whole.content) && [content, relayed] == out
        }
        (Verdict::Incomplete, Ok(false)) => whole.taken == input.len(),
        (verdict, done) => *verdict == Verdict::Refuse && done.is_err(),
    };
    assert!(
        agrees,
        "{whole:?}, the model {verdict:?}: {}",
        input.escape_ascii()
    );
}

/// The naive reader: lines first, then what they mean; one verdict for every fault. A line that has
/// not ended is judged by whether any ending could make it fit.
fn model(input: &[u8], side: Side) -> Verdict {
    let mut rest = input;
    let mut content = Vec::new();
    loop {
        let line = line(rest);
        let size = match line {
            _ if line.text().len() + 2 > usize::from(CHUNK_LINE_BYTES_MAX) => None,
            // Together with the others a size may be too great; that shows when its line has ended.
            Line::Whole(text, after) => model_size(text, side)
                .filter(|size| *size <= LENGTH_MAX - content.len() as u64)
                .map(|size| (size, after)),
            Line::Begun(..) if line.may_fit(|text| model_size(text, side).is_some()) => {
                return Verdict::Incomplete;
            }
            Line::Begun(..) | Line::Broken(_) => None,
        };
        let Some((size, data)) = size else {
            return Verdict::Refuse;
        };
        if size == 0 {
            return model_trailers(input, data, content, side);
        }
        let split = usize::try_from(size)
            .ok()
            .and_then(|size| data.split_at_checked(size));
        let Some((data, after)) = split else {
            return Verdict::Incomplete;
        };
        content.extend_from_slice(data);
        rest = match after {
            [b'\r', b'\n', next @ ..] => next,
            [] | [b'\r'] => return Verdict::Incomplete,
            _ => return Verdict::Refuse,
        };
    }
}

fn model_trailers(input: &[u8], section: &[u8], content: Vec<u8>, side: Side) -> Verdict {
    let mut rest = section;
    let chunks = input.len() - section.len();
    let mut relayed = input.get(..chunks).unwrap_or_default().to_vec();
    let fits = |text: &[u8]| is_model_trailer(text, side);
    let mut count = 0;
    loop {
        let line = line(rest);
        if let Line::Whole([], after) = line {
            relayed.extend_from_slice(b"\r\n");
            return Verdict::Accept {
                taken: input.len() - after.len(),
                content,
                relayed,
            };
        }
        if matches!(line, Line::Begun([], _)) {
            return Verdict::Incomplete;
        }
        count += 1;
        let section_len = section.len() - rest.len() + line.len();
        if count > TRAILER_FIELDS_MAX || section_len > TRAILER_BYTES_MAX as usize {
            return Verdict::Refuse;
        }
        rest = match line {
            Line::Whole(text, after) if fits(text) && !is_forbidden(text) => {
                relayed.extend_from_slice(name_of(text));
                relayed.extend(text.iter().skip_while(|byte| **byte != b':'));
                relayed.extend_from_slice(b"\r\n");
                after
            }
            // A name is judged once it is known to have ended.
            Line::Begun(text, _) if text.contains(&b':') && is_forbidden(text) => {
                return Verdict::Refuse;
            }
            Line::Begun(..) if line.may_fit(fits) => return Verdict::Incomplete,
            _ => return Verdict::Refuse,
        };
    }
}

/// The next line of an input.
#[derive(Clone, Copy)]
enum Line<'a> {
    /// With its CRLF, and what follows.
    Whole(&'a [u8], &'a [u8]),
    /// Not ended, but its CR may be there.
    Begun(&'a [u8], bool),
    /// Ended by something other than CRLF.
    Broken(&'a [u8]),
}

fn line(input: &[u8]) -> Line<'_> {
    let len = input
        .iter()
        .position(|byte| b"\r\n".contains(byte))
        .unwrap_or(input.len());
    let (text, end) = input.split_at(len);
    match end {
        [b'\r', b'\n', after @ ..] => Line::Whole(text, after),
        [] => Line::Begun(text, false),
        [b'\r'] => Line::Begun(text, true),
        _ => Line::Broken(text),
    }
}

impl<'a> Line<'a> {
    fn text(self) -> &'a [u8] {
        match self {
            Line::Whole(text, _) | Line::Begun(text, _) | Line::Broken(text) => text,
        }
    }

    /// With as much of the line end as has come.
    fn len(self) -> usize {
        self.text().len()
            + match self {
                Line::Whole(..) => 2,
                Line::Begun(_, true) => 1,
                Line::Begun(_, false) | Line::Broken(_) => 0,
            }
    }

    /// Whether some ending would make the line a whole one that fits.
    fn may_fit(self, fits: impl Fn(&[u8]) -> bool) -> bool {
        let endings: &[&[u8]] = match self {
            Line::Begun(_, false) => &[b"", b"0", b";", b":", b"x:"],
            _ => &[b""],
        };
        endings
            .iter()
            .any(|ending| fits(&[self.text(), ending].concat()))
    }
}

fn model_size(line: &[u8], side: Side) -> Option<u64> {
    let semicolon = line.iter().position(|&byte| byte == b';');
    let (mut size, extension) = line.split_at(semicolon.unwrap_or(line.len()));
    if semicolon.is_some() || side == Side::Response {
        let last = size.iter().rposition(|byte| !b" \t".contains(byte))?;
        size = size.get(..=last)?;
    }
    let fits = (1..=16).contains(&size.len())
        && size.iter().all(u8::is_ascii_hexdigit)
        && extension
            .iter()
            .all(|&byte| byte == b'\t' || !byte.is_ascii_control());
    let digits = str::from_utf8(size).ok()?.chars();
    let value = fits.then(|| {
        digits.fold(0, |n, c| {
            n * 16 + u64::from(c.to_digit(16).unwrap_or_default())
        })
    });
    value.filter(|value| *value <= LENGTH_MAX)
}

fn is_model_trailer(line: &[u8], side: Side) -> bool {
    let text: String = line.iter().map(|&byte| char::from(byte)).collect();
    let Some((mut name, value)) = text.split_once(':') else {
        return false;
    };
    if side == Side::Response {
        name = name.trim_end_matches([' ', '\t']);
    }
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty()
        && name.chars().all(token)
        && value.chars().all(|c| c == '\t' || !c.is_ascii_control())
}

fn is_forbidden(line: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name_of(line)).to_ascii_lowercase();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let begins = name.starts_with(|c: char| !c.is_ascii_alphanumeric());
    let mut words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if begins {
        words.insert(0, "");
    }
    if name.ends_with(|c: char| !c.is_ascii_alphanumeric()) {
        words.push("");
    }
    let name = words.join("-");
    name.starts_with("x-forwarded-") || FORBIDDEN.contains(&name.as_str())
}

/// Without the blanks behind it.
fn name_of(line: &[u8]) -> &[u8] {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    let last = name.iter().rposition(|byte| !b" \t".contains(byte));
    last.and_then(|last| name.get(..=last)).unwrap_or_default()
}

const FORBIDDEN: &[&str] = &[
    "content-length",
    "transfer-encoding",
    "host",
    "connection",
    "trailer",
    "te",
    "upgrade",
    "expect",
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-sluicegate-key",
    "x-sluicegate-loop",
    "sec-websocket-protocol",
    "cookie",
    "set-cookie",
    "forwarded",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "x-gomodel-user-path",
];
