//! The grammar rules that heads are made of, as functions over the bytes of one line or value.
//!
//! Stricter than RFC 9112 where it only asks recipients to be tolerant; the deviations say so.

use std::net::Ipv6Addr;

use memchr::{memchr, memchr2_iter};

use crate::base::{authority, steps};

use super::parts::{HeadError, METHOD_BYTES_MAX, TARGET_BYTES_MAX, Version};

/// The parts of a request line.
pub(super) struct RequestLine<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) version: Version,
}

/// Lengths are judged before contents: an unfinished line can show only the former.
pub(super) fn request_line(line: &[u8]) -> Result<RequestLine<'_>, HeadError> {
    let (method, rest) = cut(line, METHOD_BYTES_MAX).ok_or_else(|| no_method(line))?;
    let (target, version) = match cut(rest, TARGET_BYTES_MAX) {
        Some(parts) => parts,
        None if rest.len() > TARGET_BYTES_MAX => return Err(HeadError::TargetTooLong),
        None => return Err(HeadError::BadRequestLine),
    };
    // Without early exit, so that the loop over the target is one of vectors.
    let unfit = target.iter().fold(false, |unfit, &byte| {
        unfit | (byte <= b' ') | (byte == 0x7f)
    });
    if !is_token(method) || target.is_empty() || unfit {
        return Err(HeadError::BadRequestLine);
    }
    let version = protocol(version).ok_or(HeadError::BadRequestLine)??;
    Ok(RequestLine {
        method,
        target,
        version,
    })
}

pub(super) fn request_line_begun(text: &[u8]) -> Result<(), HeadError> {
    if text.first().is_some_and(|&byte| !is_token_byte(byte)) {
        return Err(HeadError::BadRequestLine);
    }
    if text.len() <= METHOD_BYTES_MAX {
        return Ok(());
    }
    let (_, rest) = cut(text, METHOD_BYTES_MAX).ok_or_else(|| no_method(text))?;
    if rest.len() <= TARGET_BYTES_MAX + " HTTP/1.1".len() {
        return Ok(());
    }
    Err(match cut(rest, TARGET_BYTES_MAX) {
        Some(_) => HeadError::BadRequestLine,
        None => HeadError::TargetTooLong,
    })
}

/// What a line is that has no blank where its method should end. As much of it as may be a method decides, however
/// much has come.
fn no_method(line: &[u8]) -> HeadError {
    match line.get(..=METHOD_BYTES_MAX) {
        Some(begun) if is_token(begun) => HeadError::MethodTooLong,
        _ => HeadError::BadRequestLine,
    }
}

/// The parts of a status line.
pub(super) struct StatusLine<'a> {
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason: &'a [u8],
}

/// The blank before an empty reason may be missing: widespread, and it reads in one way only.
pub(super) fn status_line(line: &[u8]) -> Result<StatusLine<'_>, HeadError> {
    let (version, rest) = cut(line, "HTTP/1.1".len()).ok_or(HeadError::BadStatusLine)?;
    let version = protocol(version).ok_or(HeadError::BadStatusLine)??;
    let (code, reason) = match rest {
        [
            a @ b'1'..=b'9',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            reason @ ..,
        ] => ([a, b, c], reason),
        _ => return Err(HeadError::BadStatusLine),
    };
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] if reason.iter().all(|&byte| is_text_byte(byte)) => reason,
        _ => return Err(HeadError::BadStatusLine),
    };
    let status = code
        .iter()
        .fold(0, |status, &&digit| status * 10 + u16::from(digit - b'0'));
    Ok(StatusLine {
        version,
        status,
        reason,
    })
}

pub(super) fn status_line_begun(text: &[u8]) -> Result<(), HeadError> {
    match text
        .iter()
        .zip(b"HTTP/")
        .all(|(byte, expected)| byte == expected)
    {
        true => Ok(()),
        false => Err(HeadError::BadStatusLine),
    }
}

/// `None` when it is no HTTP version at all. Whoever speaks a higher minor version is served as 1.1, the highest one
/// known here (RFC 9110, section 2.5).
fn protocol(version: &[u8]) -> Option<Result<Version, HeadError>> {
    match version.strip_prefix(b"HTTP/")? {
        b"1.0" => Some(Ok(Version::Http10)),
        [b'1', b'.', b'1'..=b'9'] => Some(Ok(Version::Http11)),
        [b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Some(Err(HeadError::UnsupportedVersion))
        }
        _ => None,
    }
}

/// `uri-host [ ":" port ]` (RFC 9110, section 7.2; RFC 3986, section 3.2.2), which may be empty.
/// Stricter in two points: no comma, which would be two joined values, and no IPvFuture, of which
/// none exists.
pub(super) fn is_host(value: &[u8]) -> bool {
    let Some((host, port)) = authority::split(value) else {
        return false;
    };
    let fits = match host {
        [b'[', address @ .., b']'] => {
            str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
        }
        name => is_reg_name(name),
    };
    fits && port.is_none_or(|port| port.iter().all(u8::is_ascii_digit))
}

fn is_reg_name(name: &[u8]) -> bool {
    let plain = |byte: &u8| REG_NAME.get(usize::from(*byte)) == Some(&true);
    name.iter().all(plain) || is_escaped_reg_name(name)
}

/// What a name consists of beside escapes.
static REG_NAME: [bool; 256] = {
    let mut fit = [false; 256];
    let (mut rest, mut byte) = (fit.as_mut_slice(), 0_u8);
    while let [first, after @ ..] = rest {
        *first = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~')
            || matches!(byte, b'!' | b'$' | b'&'..=b'+' | b';' | b'=');
        (rest, byte) = (after, byte.wrapping_add(1));
    }
    fit
};

fn is_escaped_reg_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if REG_NAME.get(usize::from(*byte)) == Some(&true) => rest,
            _ => return false,
        }
    }
}

/// Splits at the first blank, which must lie behind at most `max` bytes.
fn cut(bytes: &[u8], max: usize) -> Option<(&[u8], &[u8])> {
    let at = memchr(b' ', bytes.get(..=max).unwrap_or(bytes))?;
    let (before, after) = bytes.split_at_checked(at)?;
    Some((before, after.get(1..)?))
}

/// An element of a list of transfer codings (RFC 9112, section 7).
pub(in crate::http) struct TransferCoding<'a> {
    pub(in crate::http) name: &'a [u8],
    pub(in crate::http) has_parameters: bool,
    /// What stands behind its comma, where there is one.
    pub(in crate::http) rest: Option<&'a [u8]>,
}

/// Reads the element that a list begins with; `None` where it is malformed. A comma within quotes ends nothing.
pub(in crate::http) fn transfer_coding(list: &[u8]) -> Option<TransferCoding<'_>> {
    let (name, mut rest) = token(trim_start(list))?;
    let mut has_parameters = false;
    loop {
        rest = match trim_start(rest) {
            [b';', parameter @ ..] => transfer_parameter(trim_start(parameter))?,
            end => {
                let rest = match end {
                    [] => None,
                    [b',', rest @ ..] => Some(rest),
                    _ => return None,
                };
                return Some(TransferCoding {
                    name,
                    has_parameters,
                    rest,
                });
            }
        };
        has_parameters = true;
    }
}

/// What follows the parameter at the front of some bytes.
fn transfer_parameter(bytes: &[u8]) -> Option<&[u8]> {
    let (_, rest) = token(bytes)?;
    match trim_start(trim_start(rest).strip_prefix(b"=")?) {
        [b'"', quoted @ ..] => behind_quotes(quoted),
        value => token(value).map(|(_, rest)| rest),
    }
}

/// What follows the quoted string (RFC 9110, section 5.6.4) whose first quote has been read.
fn behind_quotes(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        steps::count(1);
        rest = match rest {
            [b'"', behind @ ..] => return Some(behind),
            [b'\\', _, behind @ ..] => behind,
            [b'\\'] | [] => return None,
            [_, behind @ ..] => behind,
        };
    }
}

/// The token at the front of some bytes, and what follows it.
fn token(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| !is_token_byte(byte));
    let (token, rest) = bytes.split_at_checked(end.unwrap_or(bytes.len()))?;
    steps::count(1 + token.len());
    (!token.is_empty()).then_some((token, rest))
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether the bytes are `lower` in any case, eight at a time. `lower` holds no byte over `?` but small letters.
#[inline(always)]
pub(in crate::http) fn reads(bytes: &[u8], lower: &[u8]) -> bool {
    debug_assert!(
        lower
            .iter()
            .all(|&byte| byte < b'@' || byte.is_ascii_lowercase())
    );
    if bytes.len() != lower.len() {
        return false;
    }
    let ((words, rest), (lower_words, lower_rest)) = (bytes.as_chunks(), lower.as_chunks());
    let rest_reads = match (bytes.last_chunk(), lower.last_chunk()) {
        // Some bytes are looked at twice.
        (Some(end), Some(lower_end)) => word_reads((end, lower_end)),
        _ => word_reads((&word(rest), &word(lower_rest))),
    };
    rest_reads && words.iter().zip(lower_words).all(word_reads)
}

/// Every small letter, and nothing else that `lower` may hold, has the bit of `@`; the bit beside it is that of
/// the case.
fn word_reads((bytes, lower): (&[u8; 8], &[u8; 8])) -> bool {
    let (bytes, lower) = (u64::from_le_bytes(*bytes), u64::from_le_bytes(*lower));
    bytes | (lower & CASE << 1) >> 1 == lower
}

/// At most eight bytes, and zeros.
fn word(bytes: &[u8]) -> [u8; 8] {
    let mut word = [0; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    word
}

/// The bit that tells small letters from capitals, in each byte.
pub(super) const CASE: u64 = 0x2020_2020_2020_2020;

/// The elements of a comma-separated list without surrounding blanks; empty ones are skipped
/// (RFC 9110, section 5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    elements(value).filter(|element| !element.is_empty())
}

/// Whether a comma-separated list holds `token`, in any case. A long list of short elements costs no more than a
/// look for the token's first letter.
#[must_use]
pub(crate) fn list_has(value: &[u8], token: &[u8]) -> bool {
    steps::count(value.len());
    let Some(first) = token.first() else {
        return false;
    };
    memchr2_iter(
        first.to_ascii_lowercase(),
        first.to_ascii_uppercase(),
        value,
    )
    .any(|at| is_element(value, at, token))
}

/// Whether the element of a list that begins at `at` is this token.
fn is_element(value: &[u8], at: usize, token: &[u8]) -> bool {
    let Some((before, rest)) = value.split_at_checked(at) else {
        return false;
    };
    let Some((element, behind)) = rest.split_at_checked(token.len()) else {
        return false;
    };
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
    element.eq_ignore_ascii_case(token)
        && before
            .iter()
            .rev()
            .find(|byte| !is_blank(byte))
            .is_none_or(|&byte| byte == b',')
        && behind
            .iter()
            .find(|byte| !is_blank(byte))
            .is_none_or(|&byte| byte == b',')
}

/// The elements of a comma-separated list without surrounding blanks, empty ones included.
pub(in crate::http) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    steps::count(value.len());
    value.split(|&byte| byte == b',').map(trim)
}

/// Whether the bytes are a token (RFC 9110, section 5.6.2).
#[must_use]
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    steps::count(bytes.len());
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

pub(in crate::http) fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z'
        | b'^'..=b'z' | b'|' | b'~')
}

/// HTAB, SP, VCHAR or obs-text: what a field value and a reason phrase consist of.
pub(in crate::http) fn is_text_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
