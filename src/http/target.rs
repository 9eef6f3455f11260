//! The request target (RFC 9112, section 3.2; RFC 3986, section 3.3).
//!
//! Finds path and query in the target's own bytes and refuses what two parsers could read in two
//! ways: dot segments in any spelling, backslashes, raw high bytes, broken escapes. Nothing is
//! decoded, normalised or copied: what is accepted is forwarded as it was written. Authority-form
//! belongs to CONNECT, which is refused before its target is looked at.

use memchr::{memchr2, memchr3};

use crate::base::bytes::within;
use crate::base::{authority, hex, steps};
use crate::http::head::Span;

/// Where path and query lie in the request target's own bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Origin-form or absolute-form; the spans count from the target's first byte.
    Path {
        /// Begins with `/`; empty where an absolute-form has no path, which means `/`.
        path: Span,
        /// Without its `?`; empty where the target ends in `?`.
        query: Option<Span>,
    },
    /// `*`
    Asterisk,
}

/// What makes a request target unfit to be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// A control byte or a space.
    ControlByte,
    /// A `#`: fragments are never sent.
    Fragment,
    /// A `.` or `..` segment after one percent-decoding, with `/` and `\` as separators.
    DotSegment,
    /// A backslash in the path.
    Backslash,
    /// A byte over 0x7e in the path.
    HighByte,
    /// A `%` in the path without two hexadecimal digits.
    BadEscape,
    /// Neither origin-, absolute- nor asterisk-form. The authority of an absolute-form has to be
    /// a host and at most a port: userinfo is for phishing (RFC 9110, section 4.2.4).
    NotAPath,
}

/// Finds path and query in `target`, which is a whole request target.
///
/// # Errors
/// The first fault found; where there are several, which one is named is not defined.
pub fn parse(target: &[u8]) -> Result<Target, TargetError> {
    if target == b"*" {
        return Ok(Target::Asterisk);
    }
    let path_start = match target.first() {
        Some(b'/') => 0,
        _ => authority_end(target)?,
    };
    let path_end = path_start + scan_path(within(target, path_start..))?;
    // The path ends where the target does or at its first `?`.
    let query = match target.get(path_end + 1..) {
        Some(query) => {
            scan_query(query)?;
            Some(span(path_end + 1, target.len()))
        }
        None => None,
    };
    Ok(Target::Path {
        path: span(path_start, path_end),
        query,
    })
}

/// What may be shown to people of any `target`, fit or not: its path, without what may hold a credential in a
/// query, a fragment or an authority. Of what has no path, and of `*`, a `-`.
#[must_use]
pub(crate) fn shown(target: &[u8]) -> &[u8] {
    match target.first() {
        Some(b'/') => before_query(target),
        _ => shown_unusual(target),
    }
}

/// An absolute-form's authority has to be well-formed: else nobody can tell where a password in it ends.
#[cold]
fn shown_unusual(target: &[u8]) -> &[u8] {
    let start = authority_end(target).ok();
    match start
        .and_then(|start| target.get(start..))
        .map(before_query)
    {
        Some([]) => b"/",
        Some(path) => path,
        None => b"-",
    }
}

fn before_query(path: &[u8]) -> &[u8] {
    let end = memchr2(b'?', b'#', path);
    end.and_then(|end| path.get(..end)).unwrap_or(path)
}

/// What a byte means where a path is read.
enum PathByte {
    Plain,
    /// May be part of a dot segment or of an escape.
    Suspect,
    QueryMark,
    Fault(TargetError),
}

impl PathByte {
    const fn of(byte: u8) -> Self {
        match byte {
            0..=b' ' | 0x7f => Self::Fault(TargetError::ControlByte),
            b'#' => Self::Fault(TargetError::Fragment),
            b'\\' => Self::Fault(TargetError::Backslash),
            0x80..=0xff => Self::Fault(TargetError::HighByte),
            b'.' | b'%' => Self::Suspect,
            b'?' => Self::QueryMark,
            b'!'..=b'~' => Self::Plain,
        }
    }
}

/// The bytes that are not [`PathByte::Plain`].
static REMARKABLE: [bool; 256] = {
    let mut remarkable = [false; 256];
    let (mut rest, mut byte) = (remarkable.as_mut_slice(), 0_u8);
    while let [first, after @ ..] = rest {
        *first = !matches!(PathByte::of(byte), PathByte::Plain);
        (rest, byte) = (after, byte.wrapping_add(1));
    }
    remarkable
};

/// Length of the path that starts `bytes`. Most paths are plain up to their end, which one look a byte shows.
fn scan_path(bytes: &[u8]) -> Result<usize, TargetError> {
    steps::count(bytes.len());
    let remarkable = |&byte: &u8| REMARKABLE.get(usize::from(byte)) != Some(&false);
    let len = bytes.iter().position(remarkable).unwrap_or(bytes.len());
    match bytes.get(len) {
        None | Some(b'?') => Ok(len),
        Some(_) => scan_remarkable_path(bytes),
    }
}

/// A path without `.` and `%` is read once.
fn scan_remarkable_path(bytes: &[u8]) -> Result<usize, TargetError> {
    steps::count(bytes.len());
    let mut suspect = false;
    let mut len = bytes.len();
    for (at, &byte) in bytes.iter().enumerate() {
        match PathByte::of(byte) {
            PathByte::Plain => {}
            PathByte::Suspect => suspect = true,
            PathByte::QueryMark => {
                len = at;
                break;
            }
            PathByte::Fault(fault) => return Err(fault),
        }
    }
    if suspect {
        check_segments(within(bytes, ..len))?;
    }
    Ok(len)
}

/// A path segment as far as it is read, decoded once.
#[derive(Clone, Copy)]
enum Segment {
    Empty,
    Dot,
    DotDot,
    Other,
}

/// Refuses broken escapes and the dot segments that one decoding would show.
fn check_segments(path: &[u8]) -> Result<(), TargetError> {
    steps::count(path.len());
    let mut segment = Segment::Empty;
    let mut rest = path;
    while let Some((decoded, after)) = decode_first(rest)? {
        rest = after;
        segment = match (segment, decoded) {
            (Segment::Dot | Segment::DotDot, b'/' | b'\\') => return Err(TargetError::DotSegment),
            (Segment::Empty | Segment::Other, b'/' | b'\\') => Segment::Empty,
            (Segment::Empty, b'.') => Segment::Dot,
            (Segment::Dot, b'.') => Segment::DotDot,
            (Segment::Empty | Segment::Dot | Segment::DotDot | Segment::Other, _) => Segment::Other,
        };
    }
    match segment {
        Segment::Dot | Segment::DotDot => Err(TargetError::DotSegment),
        Segment::Empty | Segment::Other => Ok(()),
    }
}

/// The first byte of `path`, decoded if it is an escape, and what follows it.
fn decode_first(path: &[u8]) -> Result<Option<(u8, &[u8])>, TargetError> {
    match path {
        [] => Ok(None),
        [b'%', high, low, rest @ ..] => match hex::byte(*high, *low) {
            Some(byte) => Ok(Some((byte, rest))),
            None => Err(TargetError::BadEscape),
        },
        [b'%', ..] => Err(TargetError::BadEscape),
        [byte, rest @ ..] => Ok(Some((*byte, rest))),
    }
}

/// Escapes in a query are not looked at: providers see them as the client wrote them.
fn scan_query(query: &[u8]) -> Result<(), TargetError> {
    steps::count(query.len());
    let fault = query
        .iter()
        .find(|byte| matches!(byte, 0..=b' ' | 0x7f | b'#'));
    match fault {
        None => Ok(()),
        Some(b'#') => Err(TargetError::Fragment),
        Some(_) => Err(TargetError::ControlByte),
    }
}

/// Where the path of an absolute-form target starts.
fn authority_end(target: &[u8]) -> Result<usize, TargetError> {
    let schemes: [&[u8]; 2] = [b"http://", b"https://"];
    let written = |scheme: &&&[u8]| {
        target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let start = schemes
        .iter()
        .find(written)
        .ok_or(TargetError::NotAPath)?
        .len();
    let rest = within(target, start..);
    let len = memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    if !is_host_and_port(within(rest, ..len)) {
        return Err(TargetError::NotAPath);
    }
    Ok(start + len)
}

/// `uri-host [ ":" port ]` (RFC 3986, section 3.2) with a host that is not empty. It names this
/// gateway and goes nowhere, so its escapes and numbers are not looked into.
fn is_host_and_port(authority: &[u8]) -> bool {
    let Some((host, port)) = authority::split(authority) else {
        return false;
    };
    let host_is_fine = match host {
        [b'[', address @ .., b']'] => {
            !address.is_empty() && address.iter().all(|&byte| is_ip_literal_byte(byte))
        }
        name => !name.is_empty() && name.iter().all(|&byte| is_reg_name_byte(byte)),
    };
    host_is_fine && port.is_none_or(|port| port.iter().all(u8::is_ascii_digit))
}

const fn is_ip_literal_byte(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')
}

const fn is_reg_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%')
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
        )
}

/// A head bounds its target to 16 KiB; what lies beyond 4 GiB would be cut off here.
fn span(start: usize, end: usize) -> Span {
    let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
    Span {
        start: offset(start),
        end: offset(end),
    }
}

/// What must hold for every input, whoever makes it: table, property test or fuzzer.
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property {
    use super::{Target, parse};

    /// Compares [`parse`] with [`decode_all_first`] and looks at what was accepted.
    ///
    /// # Panics
    /// When the property does not hold.
    pub fn holds(target: &[u8]) {
        let parsed = parse(target);
        if target == b"*" {
            assert_eq!(parsed, Ok(Target::Asterisk));
            return;
        }
        let shown = target.escape_ascii();
        let Some((model_path, model_query)) = decode_all_first(target) else {
            assert!(parsed.is_err(), "{shown}: {parsed:?}");
            return;
        };
        let Ok(Target::Path { path, query }) = parsed else {
            unreachable!("{shown}: {parsed:?}, but the model accepts it");
        };
        assert_eq!(path.of(target), model_path, "{shown}");
        assert_eq!(query.map(|query| query.of(target)), model_query, "{shown}");
        // In order, without a gap but the `?`, up to the end.
        assert!(path.start <= path.end);
        match query {
            None => assert_eq!(path.end as usize, target.len()),
            Some(query) => {
                assert_eq!(target.get(path.end as usize), Some(&b'?'));
                assert_eq!(query.start, path.end + 1);
                assert_eq!(query.end as usize, target.len());
            }
        }
        let decoded = decode(model_path).unwrap_or_default();
        assert!(!holds_dot_segment(&decoded), "{shown}");
    }

    type PathAndQuery<'t> = (&'t [u8], Option<&'t [u8]>);

    /// The rules once more, slowly: cut, decode the whole path, split it, compare.
    fn decode_all_first(target: &[u8]) -> Option<PathAndQuery<'_>> {
        if target
            .iter()
            .any(|&byte| byte.is_ascii_control() || byte == b' ' || byte == b'#')
        {
            return None;
        }
        let mut parts = target.splitn(2, |&byte| byte == b'?');
        let (before, query) = (parts.next()?, parts.next());
        let path = if before.starts_with(b"/") {
            before
        } else {
            after_authority(before)?
        };
        if path.iter().any(|&byte| byte == b'\\' || byte > b'~') {
            return None;
        }
        let decoded = decode(path)?;
        (!holds_dot_segment(&decoded)).then_some((path, query))
    }

    fn after_authority(before: &[u8]) -> Option<&[u8]> {
        let mut parts = before.splitn(4, |&byte| byte == b'/');
        let (scheme, nothing, authority) = (parts.next()?, parts.next()?, parts.next()?);
        let scheme = scheme.to_ascii_lowercase();
        if (scheme != b"http:" && scheme != b"https:") || !nothing.is_empty() {
            return None;
        }
        let authority = str::from_utf8(authority).ok()?;
        let without_port = authority.trim_end_matches(|c: char| c.is_ascii_digit());
        let host = match without_port.strip_suffix(':') {
            Some(host) if without_port.starts_with('[') == host.ends_with(']') => host,
            _ => authority,
        };
        let literal = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let fine = literal.map_or_else(
            || {
                host.bytes()
                    .all(|b| b.is_ascii_graphic() && !b"\"/:<>?@[\\]^`{|}".contains(&b))
            },
            |inner| {
                inner
                    .bytes()
                    .all(|b| b"0123456789abcdefABCDEF:.".contains(&b))
            },
        );
        let path_start = scheme.len() + 2 + authority.len();
        (fine && !literal.unwrap_or(host).is_empty()).then(|| before.get(path_start..))?
    }

    fn decode(path: &[u8]) -> Option<Vec<u8>> {
        let mut parts = path.split(|&byte| byte == b'%');
        let mut decoded = parts.next()?.to_vec();
        for part in parts {
            let digits = part
                .get(..2)
                .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            decoded.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
            decoded.extend(part.get(2..)?);
        }
        Some(decoded)
    }

    fn holds_dot_segment(decoded: &[u8]) -> bool {
        let mut segments = decoded.split(|byte| b"/\\".contains(byte));
        segments.any(|segment| segment == b"." || segment == b"..")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Target, path, query.
    const ACCEPTED: &[(&str, &str, Option<&str>)] = &[
        ("/", "/", None),
        ("/?", "/", Some("")),
        (
            "/p/anthropic/v1/messages?beta=true",
            "/p/anthropic/v1/messages",
            Some("beta=true"),
        ),
        (
            "/p/x/a%20b;c+d,E?x&x=&=;+%2F",
            "/p/x/a%20b;c+d,E",
            Some("x&x=&=;+%2F"),
        ),
        (
            "/p/openrouter/models/v%2Fm",
            "/p/openrouter/models/v%2Fm",
            None,
        ),
        ("/p/x/%252e%252e/y", "/p/x/%252e%252e/y", None),
        ("/p/x/%252e%2fy", "/p/x/%252e%2fy", None),
        ("/p/x/...", "/p/x/...", None),
        ("/p/x/.../y", "/p/x/.../y", None),
        ("/p/x/.hidden/a.b/c.", "/p/x/.hidden/a.b/c.", None),
        ("/p/x/..a/a../%2ea", "/p/x/..a/a../%2ea", None),
        ("/p/x/..;/y", "/p/x/..;/y", None),
        ("/p/x/%00%7f%ff", "/p/x/%00%7f%ff", None),
        ("//x///y/", "//x///y/", None),
        ("/a\"<>[]^`{|}~", "/a\"<>[]^`{|}~", None),
        (
            "/p/x?%zz&%&../..&\\&/?{\u{e9}",
            "/p/x",
            Some("%zz&%&../..&\\&/?{\u{e9}"),
        ),
        ("http://gateway/p/x?y", "/p/x", Some("y")),
        ("HTTPS://Gate.Way:8443/p/x", "/p/x", None),
        ("http://[::1]:8080/p/x", "/p/x", None),
        ("http://[::1]/p/x", "/p/x", None),
        ("http://gateway:/p/x", "/p/x", None),
        ("http://gateway", "", None),
        ("http://gateway?", "", Some("")),
        ("http://gateway:80?a/b", "", Some("a/b")),
        ("http://gateway//p/x", "//p/x", None),
    ];

    const REFUSED: &[(&[u8], TargetError)] = &[
        (b"", TargetError::NotAPath),
        (b"p/x", TargetError::NotAPath),
        (b"**", TargetError::NotAPath),
        (b"*?x", TargetError::NotAPath),
        (b"?x", TargetError::NotAPath),
        (b"gateway:443", TargetError::NotAPath),
        (b"ftp://gateway/p/x", TargetError::NotAPath),
        (b"http:/p/x", TargetError::NotAPath),
        (b"http:///p/x", TargetError::NotAPath),
        (b"http://:80/p/x", TargetError::NotAPath),
        (b"http://user@gateway/p/x", TargetError::NotAPath),
        (b"http://user:word@gateway/p/x", TargetError::NotAPath),
        (b"http://gateway\\@other/p/x", TargetError::NotAPath),
        (b"http://gateway:8a/p/x", TargetError::NotAPath),
        (b"http://gateway:80:80/p/x", TargetError::NotAPath),
        (b"http://[::1/p/x", TargetError::NotAPath),
        (b"http://[]/p/x", TargetError::NotAPath),
        (b"http://[::1]8080/p/x", TargetError::NotAPath),
        (b"http://[::1]@/p/x", TargetError::NotAPath),
        (b"http://gate\xc3\xa9/p/x", TargetError::NotAPath),
        (b"http://gateway#x", TargetError::Fragment),
        (b"/p/x#y", TargetError::Fragment),
        (b"/p/x?y#z", TargetError::Fragment),
        (b"/p/x y", TargetError::ControlByte),
        (b"/p/x?y z", TargetError::ControlByte),
        (b"/p/\x00", TargetError::ControlByte),
        (b"/p/\x1f", TargetError::ControlByte),
        (b"/p/\x7f", TargetError::ControlByte),
        (b"/p/x?\t", TargetError::ControlByte),
        (b"/p/x?\x7f", TargetError::ControlByte),
        (b"/p/x?y\r", TargetError::ControlByte),
        (b"/p\\x", TargetError::Backslash),
        (b"/p/x/\x80", TargetError::HighByte),
        (b"/p/x/\xff?y", TargetError::HighByte),
        (b"/p/x/%", TargetError::BadEscape),
        (b"/p/x/%2", TargetError::BadEscape),
        (b"/p/x/%2?f", TargetError::BadEscape),
        (b"/p/x/%2g", TargetError::BadEscape),
        (b"/p/x/%u002e", TargetError::BadEscape),
        (b"/p/x/%+1", TargetError::BadEscape),
        (b"/p/x/%%32e", TargetError::BadEscape),
        (b"/.", TargetError::DotSegment),
        (b"/..", TargetError::DotSegment),
        (b"/..?x", TargetError::DotSegment),
        (b"/./p/x", TargetError::DotSegment),
        (b"/p/x/../y", TargetError::DotSegment),
        (b"/p/x/y/..", TargetError::DotSegment),
        (b"/p/x/%2e", TargetError::DotSegment),
        (b"/p/x/%2E%2e/y", TargetError::DotSegment),
        (b"/p/x/.%2E/y", TargetError::DotSegment),
        (b"/p/x/a%2f..%2Fb", TargetError::DotSegment),
        (b"/p/x/a%5c%2e%2e%5Cb", TargetError::DotSegment),
        (b"/p/x/a%5C..", TargetError::DotSegment),
        (b"http://gateway/../p", TargetError::DotSegment),
    ];

    #[test]
    fn only_a_path_is_shown() {
        let rows: [(&[u8], &[u8]); 19] = [
            (b"/p/x/y", b"/p/x/y"),
            (b"/p/x?key=secret", b"/p/x"),
            (b"/p/x#secret", b"/p/x"),
            (b"/p/x#secret?y", b"/p/x"),
            (b"/p/x?y#secret", b"/p/x"),
            (b"/p/x\\y?secret", b"/p/x\\y"),
            (b"http://g/p/x?secret", b"/p/x"),
            (b"HTTPS://g:1/p/x#secret", b"/p/x"),
            (b"http://g", b"/"),
            (b"http://g?secret", b"/"),
            (b"http://user:secret@g/p/x", b"-"),
            (b"http://user:secr/et@g/p/x", b"-"),
            (b"http://user@g", b"-"),
            (b"ftp://user:secret@g/", b"-"),
            (b"user:secret@g:443", b"-"),
            (b"g:443", b"-"),
            (b"secret", b"-"),
            (b"*", b"-"),
            (b"", b"-"),
        ];
        for (target, path) in rows {
            assert_eq!(shown(target), path, "{}", target.escape_ascii());
        }
    }

    #[test]
    fn accepted_targets_keep_their_bytes() {
        for &(target, path, query) in ACCEPTED {
            let bytes = target.as_bytes();
            let Ok(Target::Path {
                path: found,
                query: found_query,
            }) = parse(bytes)
            else {
                panic!("{target}: {:?}", parse(bytes));
            };
            assert_eq!(found.of(bytes), path.as_bytes(), "{target}");
            assert_eq!(
                found_query.map(|q| q.of(bytes)),
                query.map(str::as_bytes),
                "{target}"
            );
            property::holds(bytes);
        }
        assert_eq!(parse(b"*"), Ok(Target::Asterisk));
        property::holds(b"*");
    }

    #[test]
    fn refused_targets_name_their_fault() {
        for &(target, fault) in REFUSED {
            assert_eq!(parse(target), Err(fault), "{}", target.escape_ascii());
            property::holds(target);
        }
    }

    #[test]
    fn the_corpus_is_judged_by_its_folder() {
        for (folder, accepted) in [("accept", true), ("refuse", false)] {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/targets");
            let mut files = 0;
            for file in std::fs::read_dir(format!("{root}/{folder}")).unwrap() {
                let path = file.unwrap().path();
                let target = std::fs::read(&path).unwrap();
                assert_eq!(parse(&target).is_ok(), accepted, "{}", path.display());
                property::holds(&target);
                files += 1;
            }
            assert!(files > 10, "{folder} holds {files} files");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_agree_with_the_model(target in prop::collection::vec(any::<u8>(), 0..40)) {
            property::holds(&target);
        }

        #[test]
        fn targets_made_of_awkward_parts_agree_with_the_model(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "/", ".", "..", "%2e", "%2E", "%2f", "%5C", "%25", "%", "2e", "?", "#", "\\",
                    "p", "v1", "a.b", "http://", "HtTpS://", "host", ":", "80", "@", "[", "::1",
                    "]", "*", " ", "\t", "\u{7f}", "\u{e9}", ";",
                ]),
                0..12,
            ),
            absolute in any::<bool>(),
        ) {
            let start = if absolute { "http://host" } else { "/" };
            property::holds(format!("{start}{}", parts.concat()).as_bytes());
            property::holds(parts.concat().as_bytes());
        }
    }
}
