//! What holds for every input, as functions that the tables, the property tests and the fuzz
//! targets share. The model reads a whole head with the plainest means there are.

use super::grammar::is_host;
use super::{
    EMPTY_LINES_MAX, Fields, HEAD_BYTES_MAX, HeadError, HeadScan, METHOD_BYTES_MAX, Name,
    REQUEST_FIELDS_MAX, RESPONSE_FIELDS_MAX, Side, Span, TARGET_BYTES_MAX, Version, close_up,
    request, response,
};

/// A head of either side with its parts copied out, so that results can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Method and target, or status code and reason.
    pub start: (Vec<u8>, Vec<u8>),
    /// The version.
    pub version: Version,
    /// Names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the head.
    pub len: usize,
}

/// What the model says of an input.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accept(Parsed),
    Refuse,
    Incomplete,
}

/// Asserts everything that must hold for `input`; `step` is the size of the pieces it is cut into.
pub fn hold(side: Side, input: &[u8], step: usize) {
    let whole = parse(side, &mut HeadScan::default(), input);
    assert_eq!(
        in_pieces(side, input, step.max(1)),
        whole,
        "pieces of {step} in {}",
        show(input)
    );
    agrees_with_model(side, input, &whole);
    if let Ok(Some(parsed)) = whole {
        lines_follow_one_another(side, input, parsed.len);
    }
}

/// Asserts that an input cut in two at `at` reads as it does whole.
pub fn holds_at_cut(side: Side, input: &[u8], at: usize) {
    let whole = parse(side, &mut HeadScan::default(), input);
    let mut scan = HeadScan::default();
    let first = match parse(side, &mut scan, input.get(..at).unwrap_or(input)) {
        Ok(None) => parse(side, &mut scan, input),
        first => first,
    };
    assert_eq!(first, whole, "cut at {at} in {}", show(input));
}

/// Asserts that heads read one after another, so that lines of one are known again in the next, read as each alone:
/// `input` and what becomes of it by small changes in many places.
pub fn holds_though_seen(side: Side, input: &[u8]) {
    let mut seen = Fields::remembering(RESPONSE_FIELDS_MAX);
    reads_as_alone(side, input, &mut seen);
    for at in (0..input.len()).step_by(1 + input.len() / CHANGES_MAX) {
        let (before, after) = input.split_at(at);
        let rest = after.get(1..).unwrap_or_default();
        reads_as_alone(side, &[before, rest].concat(), &mut seen);
        reads_as_alone(side, input, &mut seen);
        for byte in CHANGES {
            reads_as_alone(side, &[before, byte, rest].concat(), &mut seen);
            reads_as_alone(side, &[before, byte, after].concat(), &mut seen);
        }
        reads_as_alone(side, before, &mut seen);
    }
}

/// As [`holds_though_seen`], with one change, which `chosen` decides on: a fuzzer has other inputs for the others.
pub fn holds_though_seen_once(side: Side, input: &[u8], chosen: usize) {
    let mut seen = Fields::remembering(RESPONSE_FIELDS_MAX);
    let (before, after) = input.split_at(chosen % (input.len() + 1));
    let rest = after.get(1..).unwrap_or_default();
    let kind = chosen / (input.len() + 1);
    let byte = CHANGES
        .get(kind % CHANGES.len())
        .copied()
        .unwrap_or_default();
    let inserts = (kind / CHANGES.len()).is_multiple_of(2);
    let behind = if inserts { after } else { rest };
    for input in [input, &[before, byte, behind].concat(), input] {
        reads_as_alone(side, input, &mut seen);
    }
}

fn reads_as_alone(side: Side, input: &[u8], seen: &mut Fields) {
    let mut alone = Fields::new();
    let alike = match side {
        Side::Request => {
            let read = request(&mut HeadScan::default(), input, seen);
            read == request(&mut HeadScan::default(), input, &mut alone)
        }
        Side::Response => {
            let read = response(&mut HeadScan::default(), input, seen);
            read == response(&mut HeadScan::default(), input, &mut alone)
        }
    };
    assert!(alike, "read in another way: {}", show(input));
    if let Ok(Some(_)) = parse(side, &mut HeadScan::default(), input) {
        assert_eq!(**seen, *alone, "other lines: {}", show(input));
        found_by_name(seen);
    }
}

/// What is put into an input; nothing takes a byte away.
const CHANGES: [&[u8]; 6] = [b"\r", b"\n", b" ", b":", b"a", b""];
/// Places of an input that are changed.
const CHANGES_MAX: usize = 64;

/// Asserts that [`close_up`] makes of `input` what the slow way makes of it, and nothing of a head that is fit.
pub fn closes_up(input: &[u8]) {
    let mut buf = input.to_vec();
    let start = close_up(&mut buf);
    let closed_up = start.and_then(|start| buf.get(start..));
    let expected = model_closed_up(input);
    assert_eq!(closed_up, expected.as_deref(), "{}", show(input));
    let fit = parse(Side::Response, &mut HeadScan::default(), input);
    assert!(!matches!(fit, Ok(Some(_))) || start.is_none());
    assert!(start.is_some() || buf == input, "changed without need");
    // Once is enough.
    let again = start.and_then(|start| close_up(buf.get_mut(start..)?));
    assert_eq!(again, None, "{}", show(input));
}

/// Line by line, if the lines are a head's.
fn model_closed_up(input: &[u8]) -> Option<Vec<u8>> {
    let end = input.windows(4).position(|end| end == b"\r\n\r\n")?;
    let text: String = input.iter().take(end).map(|&b| char::from(b)).collect();
    let mut lines = text.split("\r\n");
    let start = lines.next()?;
    let lines: Vec<&str> = lines.collect();
    let whole = |line: &&str| !line.starts_with([' ', '\t']) && !line.contains(['\r', '\n']);
    let fits = lines.iter().all(whole) && model_status_line(start).is_some();
    let close_up = |line: &&str| match line.split_once(':') {
        Some((name, value)) if is_model_token(name.trim_end_matches([' ', '\t'])) => {
            format!("{}:{value}", name.trim_end_matches([' ', '\t']))
        }
        _ => (*line).to_owned(),
    };
    let closed_up: Vec<String> = lines.iter().map(close_up).collect();
    let behind = input.get(end..).unwrap_or_default();
    let head = [&[start.to_owned()], &*closed_up].concat().join("\r\n");
    let changed = closed_up != lines && end + 4 <= HEAD_BYTES_MAX && fits;
    changed.then(|| [&*latin1(&head), behind].concat())
}

/// Parses and copies the parts out.
///
/// # Errors
///
/// Those of [`request`] and [`response`].
pub fn parse(side: Side, scan: &mut HeadScan, input: &[u8]) -> Result<Option<Parsed>, HeadError> {
    let mut fields = Fields::new();
    let copy = |span: Span| span.of(input).to_vec();
    let (start, version, len) = match side {
        Side::Request => match request(scan, input, &mut fields)? {
            Some(head) => (
                (copy(head.method), copy(head.target)),
                head.version,
                head.len,
            ),
            None => return Ok(None),
        },
        Side::Response => match response(scan, input, &mut fields)? {
            Some(head) => (
                (head.status.to_string().into(), copy(head.reason)),
                head.version,
                head.len,
            ),
            None => return Ok(None),
        },
    };
    let fields = fields
        .iter()
        .map(|field| (field.name_of(input).to_vec(), copy(field.value)))
        .collect();
    Ok(Some(Parsed {
        start,
        version,
        fields,
        len,
    }))
}

fn in_pieces(side: Side, input: &[u8], step: usize) -> Result<Option<Parsed>, HeadError> {
    let mut scan = HeadScan::default();
    for end in (0..input.len()).step_by(step).chain([input.len()]) {
        let parsed = parse(side, &mut scan, input.get(..end).unwrap_or(input));
        if parsed != Ok(None) {
            return parsed;
        }
    }
    Ok(None)
}

fn agrees_with_model(side: Side, input: &[u8], whole: &Result<Option<Parsed>, HeadError>) {
    let verdict = model(side, input);
    let agrees = match (&verdict, whole) {
        (Verdict::Accept(expected), Ok(Some(parsed))) => parsed == expected,
        (Verdict::Refuse, Err(_)) | (Verdict::Incomplete, Ok(None)) => true,
        // Refused early: then nothing that could follow makes it a head.
        (Verdict::Incomplete, Err(_)) => COMPLETIONS.iter().all(|rest| {
            let completed = [input, rest.as_bytes()].concat();
            !matches!(model(side, &completed), Verdict::Accept(_))
        }),
        _ => false,
    };
    assert!(agrees, "{whole:?}, the model {verdict:?}: {}", show(input));
}

const COMPLETIONS: &[&str] = &[
    "\n",
    "\r\n",
    "\n\r\n",
    "\r\n\r\n",
    "TTP/1.1 200\r\n\r\n",
    " / HTTP/1.1\r\nHost: h\r\n\r\n",
    " HTTP/1.1\r\nHost: h\r\n\r\n",
    ": v\r\n\r\n",
];

/// Every byte of the field section belongs to one line, and each line is what its spans say.
fn lines_follow_one_another(side: Side, input: &[u8], len: usize) {
    let mut fields = Fields::new();
    let fit = match side {
        Side::Request => request(&mut HeadScan::default(), input, &mut fields).is_ok(),
        Side::Response => response(&mut HeadScan::default(), input, &mut fields).is_ok(),
    };
    assert!(fit);
    found_by_name(&fields);
    let mut end = len - 2;
    for field in fields.iter().rev() {
        let line = field.line.of(input);
        assert_eq!(field.line.end as usize, end);
        assert!(line.starts_with(field.name_of(input)) && line.ends_with(b"\r\n"));
        assert_eq!(line.get(usize::from(field.name_len)), Some(&b':'));
        assert_eq!(field.name, super::name(field.name_of(input)));
        let value_at = (field.value.start - field.line.start) as usize;
        let blank = |part: Option<&[u8]>| part.is_some_and(|part| part.trim_ascii().is_empty());
        assert!(blank(line.get(usize::from(field.name_len) + 1..value_at)));
        assert!(blank(line.get(value_at + field.value.of(input).len()..)));
        end = field.line.start as usize;
    }
    assert!(
        input
            .get(..end)
            .is_some_and(|start| start.ends_with(b"\r\n"))
    );
}

/// What is found by name is what looking at every line finds.
pub(super) fn found_by_name(fields: &Fields) {
    let known = fields.iter().enumerate();
    let known = known.filter(|(_, field)| field.name != Name::Other);
    assert!(fields.known().eq(known.clone()));
    for (_, line) in known {
        assert!(fields.has(line.name));
        let same = fields.iter().filter(|field| field.name == line.name);
        assert!(fields.named(line.name).eq(same));
    }
}

/// The naive reader: needs the whole head, copies everything, knows one verdict for every fault.
fn model(side: Side, input: &[u8]) -> Verdict {
    let mut skipped = 0;
    while side == Side::Request && skipped < 2 * EMPTY_LINES_MAX && at(input, skipped) == b"\r\n" {
        skipped += 2;
    }
    let rest = input.get(skipped..).unwrap_or_default();
    // An empty start line has no CRLF of its own before the one that ends it.
    if rest.starts_with(b"\r\n") {
        return Verdict::Refuse;
    }
    let Some(text_len) = rest.windows(4).position(|end| end == b"\r\n\r\n") else {
        let too_long = input.len() >= HEAD_BYTES_MAX;
        return if too_long {
            Verdict::Refuse
        } else {
            Verdict::Incomplete
        };
    };
    let len = skipped + text_len + 4;
    let text: String = rest
        .iter()
        .take(text_len)
        .map(|&byte| char::from(byte))
        .collect();
    let mut lines = text.split("\r\n");
    let start = lines.next().unwrap_or_default();
    let start = match side {
        Side::Request => model_request_line(start),
        Side::Response => model_status_line(start),
    };
    let fields: Option<Vec<_>> = lines.map(model_field).collect();
    let (Some((start, version)), Some(fields)) = (start, fields) else {
        return Verdict::Refuse;
    };
    let parsed = Parsed {
        start,
        version,
        fields,
        len,
    };
    if len <= HEAD_BYTES_MAX && model_fields_fit(side, &parsed) {
        Verdict::Accept(parsed)
    } else {
        Verdict::Refuse
    }
}

type StartLine = ((Vec<u8>, Vec<u8>), Version);

fn model_request_line(line: &str) -> Option<StartLine> {
    let parts: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = parts.as_slice() else {
        return None;
    };
    let fits = is_model_token(method)
        && method.len() <= METHOD_BYTES_MAX
        && !target.is_empty()
        && target.chars().all(|c| !c.is_ascii_control())
        && target.chars().count() <= TARGET_BYTES_MAX;
    fits.then_some(((latin1(method), latin1(target)), model_version(version)?))
}

fn model_status_line(line: &str) -> Option<StartLine> {
    let (version, rest) = line.split_once(' ')?;
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let fits = code.len() == 3
        && code.chars().all(|c| c.is_ascii_digit())
        && !code.starts_with('0')
        && is_model_text(reason);
    fits.then_some(((latin1(code), latin1(reason)), model_version(version)?))
}

fn model_version(version: &str) -> Option<Version> {
    match version {
        "HTTP/1.0" => Some(Version::Http10),
        _ => {
            let minor = version.strip_prefix("HTTP/1.")?;
            let digit = minor.len() == 1 && minor.starts_with(|c: char| c.is_ascii_digit());
            digit.then_some(Version::Http11)
        }
    }
}

fn model_field(line: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let (name, value) = line.split_once(':')?;
    let fits = is_model_token(name) && is_model_text(value);
    fits.then_some((latin1(name), latin1(value.trim_matches([' ', '\t']))))
}

fn model_fields_fit(side: Side, parsed: &Parsed) -> bool {
    let hosts: Vec<_> = parsed
        .fields
        .iter()
        .filter(|(name, _)| super::name(name) == Name::Host)
        .collect();
    match (side, hosts.as_slice()) {
        (Side::Response, _) => parsed.fields.len() <= RESPONSE_FIELDS_MAX,
        _ if parsed.fields.len() > REQUEST_FIELDS_MAX => false,
        (Side::Request, []) => parsed.version == Version::Http10,
        (Side::Request, [(_, host)]) => is_host(host),
        (Side::Request, _) => false,
    }
}

fn is_model_token(text: &str) -> bool {
    let special = "!#$%&'*+-.^_`|~";
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || special.contains(c))
}

fn is_model_text(text: &str) -> bool {
    text.chars().all(|c| c == '\t' || !c.is_ascii_control())
}

/// The bytes that the characters were made of, one each.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().filter_map(|c| u8::try_from(c).ok()).collect()
}

fn at(input: &[u8], start: usize) -> &[u8] {
    input.get(start..start + 2).unwrap_or_default()
}

fn show(input: &[u8]) -> String {
    input.escape_ascii().to_string()
}
