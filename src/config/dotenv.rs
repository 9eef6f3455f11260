//! `.env` as godotenv reads it, for GoModel's files are read by that. Where godotenv gives a file up because of a
//! line, that line is passed over instead: it belongs to another program, or is complained of once its key is
//! asked for.
//!
//! Bytes in, bytes out: whether a value is text is for whoever needs it. Every step is linear in the file, and
//! what expansion adds has a limit.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::{memchr, memchr_iter, memchr2};

/// Most bytes that `$VAR` may add to all values together: a chain of doublings would fill the memory.
pub(super) const EXPANDED_BYTES_MAX: usize = 1 << 20;

/// A variable of the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Where its key stands; the first line is 1.
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: Result<Vec<u8>, &'static str>,
}

/// All variables in the order of the file; of two with the same key the latter holds. `$VAR` is what was set before
/// in the file, else what `environment` says, else nothing.
pub(super) fn parse<'e>(
    content: &[u8],
    environment: impl Fn(&str) -> Option<&'e [u8]>,
) -> Vec<Assignment> {
    let content = unified(content);
    let mut found = Found {
        environment,
        assignments: Vec::new(),
        last: BTreeMap::new(),
        room: EXPANDED_BYTES_MAX,
    };
    let (mut rest, mut line, mut counted) = (statement_start(&content), 1, 0);
    while !rest.is_empty() {
        let at = content.len() - rest.len();
        let between = content.get(counted..at).unwrap_or_default();
        line += memchr_iter(b'\n', between).count();
        counted = at;
        rest = statement_start(found.statement(rest, line));
    }
    found.assignments
}

/// Without a byte order mark, and with line feeds as line ends.
fn unified(content: &[u8]) -> Cow<'_, [u8]> {
    let content = content
        .strip_prefix("\u{feff}".as_bytes())
        .unwrap_or(content);
    if memchr(b'\r', content).is_none() {
        return content.into();
    }
    let mut out = Vec::with_capacity(content.len());
    for (at, &byte) in content.iter().enumerate() {
        if byte != b'\r' || content.get(at + 1) != Some(&b'\n') {
            out.push(byte);
        }
    }
    out.into()
}

/// What is left at the first byte that is neither blank, line end nor part of a comment.
fn statement_start(mut rest: &[u8]) -> &[u8] {
    loop {
        rest = without_blanks(rest);
        rest = match rest.first() {
            Some(b'\n') => rest.get(1..).unwrap_or_default(),
            Some(b'#') => behind_line(rest, memchr(b'\n', rest)),
            _ => return rest,
        };
    }
}

fn behind_line(rest: &[u8], end: Option<usize>) -> &[u8] {
    end.and_then(|end| rest.get(end..)).unwrap_or_default()
}

/// Bytes of the blank at the beginning: no line feed, but what else separates words, the no-break space included.
fn blank(rest: &[u8]) -> usize {
    match rest {
        [b' ' | b'\t' | b'\r' | 0x0b | 0x0c, ..] => 1,
        [0xc2, 0x85 | 0xa0, ..] => 2,
        _ => 0,
    }
}

fn without_blanks(mut rest: &[u8]) -> &[u8] {
    while let bytes @ 1.. = blank(rest) {
        rest = rest.get(bytes..).unwrap_or_default();
    }
    rest
}

fn trimmed(text: &[u8]) -> &[u8] {
    let mut text = without_blanks(text);
    while let Some(shorter) = without_last_blank(text) {
        text = shorter;
    }
    text
}

/// `None` where there is no blank at the end.
fn without_last_blank(text: &[u8]) -> Option<&[u8]> {
    match text {
        [before @ .., 0xc2, 0x85 | 0xa0] => Some(before),
        [before @ .., last] if blank(&[*last]) > 0 => Some(before),
        _ => None,
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}

struct Found<E> {
    environment: E,
    assignments: Vec<Assignment>,
    /// Where in them a key was set last, and to something that can be used.
    last: BTreeMap<String, usize>,
    /// Bytes that expansion may still add.
    room: usize,
}

impl<'e, E: Fn(&str) -> Option<&'e [u8]>> Found<E> {
    /// Reads what begins here; what is behind it.
    fn statement<'c>(&mut self, rest: &'c [u8], line: usize) -> &'c [u8] {
        let rest = match rest.strip_prefix(b"export") {
            Some(behind) if blank(behind) > 0 => without_blanks(behind),
            _ => rest,
        };
        let Some((key, written)) = key(rest) else {
            let end = memchr2(b'\n', b'\r', rest);
            if let Some(word) =
                word_with_more(rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest))
            {
                self.add(line, word, Err("expected KEY=value"));
            }
            return behind_line(rest, end);
        };
        let (value, behind) = self.value(written);
        self.add(line, key, value);
        behind
    }

    fn add(&mut self, line: usize, key: &[u8], value: Result<Vec<u8>, &'static str>) {
        let key = String::from_utf8_lossy(key).into_owned();
        if value.is_ok() {
            self.last.insert(key.clone(), self.assignments.len());
        }
        self.assignments.push(Assignment { line, key, value });
    }

    /// The value behind the sign, and what is behind it.
    fn value<'c>(&mut self, written: &'c [u8]) -> (Result<Vec<u8>, &'static str>, &'c [u8]) {
        let text = without_blanks(written);
        match text.split_first() {
            Some((&quote @ (b'"' | b'\''), inner)) => match closing(quote, inner) {
                Some(end) => {
                    let (inner, behind) = inner.split_at_checked(end).unwrap_or_default();
                    let value = match quote {
                        b'"' => self.expanded(&unescaped(inner)),
                        _ => Ok(inner.to_vec()),
                    };
                    (value, behind.get(1..).unwrap_or_default())
                }
                None => {
                    let behind = behind_line(text, memchr(b'\n', text));
                    (Err("expected a closing quote"), behind)
                }
            },
            _ => {
                let end = memchr2(b'\n', b'\r', text).unwrap_or(text.len());
                let (line, behind) = text.split_at_checked(end).unwrap_or_default();
                let line = match line.first() {
                    // Only a blank before it makes a comment of it.
                    Some(b'#') if text.len() < written.len() => b"",
                    _ => without_comment(line),
                };
                (self.expanded(trimmed(line)), behind)
            }
        }
    }

    /// With the values of the variables that it names.
    fn expanded(&mut self, text: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut out = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = memchr(b'$', rest) {
            let (before, behind) = rest.split_at_checked(at).unwrap_or_default();
            let reference = Reference::parse(behind);
            let (written, behind) = { behind }
                .split_at_checked(reference.bytes)
                .unwrap_or_default();
            rest = behind;
            match before.strip_suffix(b"\\") {
                // An escaped sign is one; what follows it stands for itself.
                Some(before) => {
                    out.extend_from_slice(before);
                    out.extend_from_slice(written);
                }
                None => {
                    out.extend_from_slice(before);
                    match reference.name {
                        b"" => out.extend_from_slice(written),
                        name => self.append_value(name, &mut out)?,
                    }
                }
            }
        }
        out.extend_from_slice(rest);
        Ok(out)
    }

    fn append_value(&mut self, name: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let name = std::str::from_utf8(name).unwrap_or_default();
        let set =
            { self.last.get(name) }.and_then(|&at| self.assignments.get(at)?.value.as_deref().ok());
        let value = set.or_else(|| (self.environment)(name)).unwrap_or_default();
        self.room = { self.room }
            .checked_sub(value.len())
            .ok_or("expected values of at most 1 MiB in all once their variables are expanded")?;
        out.extend_from_slice(value);
        Ok(())
    }
}

/// The name before the sign, and what is behind that; `None` where the line is no assignment.
fn key(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut at = 0;
    while let Some((name, behind)) = rest.split_at_checked(at) {
        match (behind.first()?, blank(behind)) {
            (b'=' | b':', _) => return Some((trimmed(name), behind.get(1..)?)),
            (&byte, 0) if is_name(byte) => at += 1,
            (_, 0) => return None,
            (_, bytes) => at += bytes,
        }
    }
    None
}

/// The first word of a line that is no assignment, if it may be a key and more than a comment follows it.
fn word_with_more(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|byte| !is_name(*byte))?;
    let (word, behind) = line.split_at_checked(end)?;
    let more = without_blanks(behind);
    let counts = end > 0 && blank(behind) > 0 && !matches!(more.first(), None | Some(b'#'));
    counts.then_some(word)
}

/// Where a quoted value ends that begins here.
fn closing(quote: u8, inner: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr2(quote, b'\\', inner.get(from..)?)?;
        match inner.get(at) {
            Some(b'\\') => from = at + 2,
            _ => return Some(at),
        }
    }
}

/// A comment begins behind a blank.
fn without_comment(line: &[u8]) -> &[u8] {
    let before = |at: usize| line.get(..at).unwrap_or_default();
    let is_comment = |at: &usize| without_last_blank(before(*at)).is_some();
    memchr_iter(b'#', line)
        .find(is_comment)
        .map_or(line, before)
}

/// What a backslash in double quotes is for; before a `$` it is kept for the expansion.
fn unescaped(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let Some((&next, behind)) = rest.split_first().filter(|_| byte == b'\\') else {
            out.push(byte);
            continue;
        };
        rest = behind;
        match next {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b'$' => out.extend_from_slice(b"\\$"),
            next => out.push(next),
        }
    }
    out
}

/// `$NAME`, `${NAME}` and what godotenv takes for it: only upper-case names, either brace may be missing, and a
/// parenthesis before it goes too.
struct Reference<'t> {
    name: &'t [u8],
    bytes: usize,
}

impl<'t> Reference<'t> {
    /// `text` begins with the sign.
    fn parse(text: &'t [u8]) -> Self {
        let has = |at: usize, byte: u8| usize::from(text.get(at) == Some(&byte));
        let brace = 1 + has(1, b'(');
        let begin = brace + has(brace, b'{');
        let is_part = |b: &&u8| b.is_ascii_uppercase() || b.is_ascii_digit() || **b == b'_';
        let behind = text.get(begin..).unwrap_or_default();
        let end = begin + behind.iter().take_while(is_part).count();
        Self {
            name: text.get(begin..end).unwrap_or_default(),
            bytes: end + has(end, b'}'),
        }
    }
}
