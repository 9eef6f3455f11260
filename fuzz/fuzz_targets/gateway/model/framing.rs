//! How content ends, in requests and in responses, and what of it arrives.

use memchr::memmem;

use super::answers::Clear;
use super::fields::Match;
use super::message::{Found, Head, Sender, field};
use super::requests::Request;

/// How content ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(usize),
    Chunked,
    Close,
}

/// Content as far as it has come.
#[derive(Debug)]
pub struct Content {
    /// As it was framed.
    pub raw: Vec<u8>,
    /// Without the chunked coding.
    pub plain: Vec<u8>,
    pub state: Found<()>,
}

impl Head {
    /// The one length that a provider's list of equal ones stands for.
    pub fn listed_length(&self) -> Option<&str> {
        match &*self.all("content-length") {
            [list] if list.contains(',') => {
                let mut lengths = list.split(',').map(|l| l.trim_matches([' ', '\t']));
                let first = lengths.next()?;
                lengths.all(|length| length == first).then_some(first)
            }
            _ => None,
        }
    }

    /// What the framing fields clearly say; `None` is unclear.
    pub fn framing(&self, otherwise: Framing, sender: Sender) -> Option<Framing> {
        let listed = self.listed_length().filter(|_| sender == Sender::Provider);
        match (
            &*self.all("content-length"),
            &*self.all("transfer-encoding"),
        ) {
            ([], []) => Some(otherwise),
            ([digits], []) => {
                let digits = listed.unwrap_or(digits);
                let valid = digits.bytes().all(|byte| byte.is_ascii_digit())
                    && (1..=7).contains(&digits.len());
                valid.then(|| Framing::Length(digits.parse().unwrap_or_default()))
            }
            ([], [coding]) if *coding == "chunked" => Some(Framing::Chunked),
            _ => None,
        }
    }
}

pub fn response_framing(
    head: &Head,
    code: u16,
    http10: bool,
    request: &Request,
) -> Option<Framing> {
    let framing = head.framing(Framing::Close, Sender::Provider)?;
    match code {
        101 => Some(Framing::Close),
        204 if framing != Framing::Close => None,
        204 | 304 => Some(Framing::None),
        _ if framing == Framing::Chunked && http10 => None,
        _ if request.method == "HEAD" => Some(Framing::None),
        _ => Some(framing),
    }
}

impl Request {
    /// The chunked coding is taken off for it.
    pub fn strips(&self, clear: &Clear) -> bool {
        self.http10 && clear.framing == Framing::Chunked
    }
}

/// Reads content from the front of some bytes.
pub fn content(bytes: &[u8], framing: Framing, sender: Sender) -> Content {
    let take = |count: usize| bytes[..count.min(bytes.len())].to_vec();
    let counted = |raw: Vec<u8>, whole: bool| Content {
        plain: raw.clone(),
        raw,
        state: if whole { Found::Whole(()) } else { Found::Part },
    };
    match framing {
        Framing::None => counted(Vec::new(), true),
        Framing::Length(length) => counted(take(length), bytes.len() >= length),
        Framing::Close => counted(bytes.to_vec(), false),
        Framing::Chunked => {
            let mut plain = Vec::new();
            let (used, state) = chunks(bytes, &mut plain, sender);
            Content {
                raw: take(used),
                plain,
                state,
            }
        }
    }
}

/// Reads chunks; how many bytes belong to them, and whether they have ended. No extensions, plain trailers.
fn chunks(bytes: &[u8], plain: &mut Vec<u8>, sender: Sender) -> (usize, Found<()>) {
    let mut at = 0;
    loop {
        let (line, next) = match line(bytes, at) {
            Found::Whole(line) => line,
            Found::Part if is_size(&bytes[at..]) => return (bytes.len(), Found::Part),
            _ => return (at, Found::Unsure),
        };
        let digits = match sender {
            Sender::Provider => line.trim_end_matches(' '),
            Sender::Client | Sender::Gateway => &line,
        };
        if digits.is_empty() || !is_size(digits.as_bytes()) {
            return (at, Found::Unsure);
        }
        let size = usize::from_str_radix(digits, 16).unwrap_or_default();
        if size == 0 {
            return trailers(bytes, next);
        }
        let data = &bytes[next..bytes.len().min(next + size)];
        plain.extend_from_slice(data);
        match &bytes[next + data.len()..] {
            [] => return (bytes.len(), Found::Part),
            [b'\r'] => return (bytes.len(), Found::Part),
            [b'\r', b'\n', ..] => at = next + size + 2,
            _ => return (at, Found::Unsure),
        }
    }
}

/// Whether it is a chunk size that nobody refuses, or the beginning of one.
fn is_size(digits: &[u8]) -> bool {
    digits.len() <= 6 && digits.iter().all(u8::is_ascii_hexdigit)
}

fn trailers(bytes: &[u8], mut at: usize) -> (usize, Found<()>) {
    for _ in 0..20 {
        match line(bytes, at) {
            Found::Whole((line, next)) if line.is_empty() => return (next, Found::Whole(())),
            Found::Whole((line, next)) if line.to_ascii_lowercase().starts_with("x-t") => {
                if field(&line, Sender::Gateway).is_none() {
                    return (at, Found::Unsure);
                }
                at = next;
            }
            Found::Part if bytes.len() == at => return (at, Found::Part),
            _ => return (at, Found::Unsure),
        }
    }
    (at, Found::Unsure)
}

/// The line at `at` and where the next one begins. Part of a line may still become anything.
fn line(bytes: &[u8], at: usize) -> Found<(String, usize)> {
    let rest = &bytes[at.min(bytes.len())..];
    let end = memmem::find(rest, b"\r\n");
    let text = match (end, rest) {
        (Some(end), _) => &rest[..end],
        (None, [text @ .., b'\r']) => text,
        (None, text) => text,
    };
    if text.len() > 200 || !text.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Found::Unsure;
    }
    match end {
        Some(end) => Found::Whole((String::from_utf8_lossy(text).into_owned(), at + end + 2)),
        None => Found::Part,
    }
}

/// Compares the bytes behind a head with content, `len` bytes being the head's.
pub fn same_content(got: &[u8], len: usize, content: &Content) -> Match {
    let raw = &content.raw;
    let common = got.len().min(raw.len());
    if got[..common] != raw[..common] {
        return Match::No("the content differs".to_owned());
    }
    match content.state {
        Found::Whole(()) if got.len() >= raw.len() => Match::Full(len + raw.len()),
        Found::Part if got.len() > raw.len() => Match::No("more content than sent".to_owned()),
        _ => Match::Prefix,
    }
}

/// Content without its chunked coding; it ends with the connection.
pub fn stripped(got: &[u8], len: usize, content: &Content) -> Match {
    let plain = &content.plain;
    let common = got.len().min(plain.len());
    if got[..common] != plain[..common] {
        return Match::No("the content differs".to_owned());
    }
    match content.state {
        Found::Whole(()) if got.len() == plain.len() => Match::Full(len + got.len()),
        Found::Whole(()) | Found::Part if got.len() > plain.len() => {
            Match::No("more content than sent".to_owned())
        }
        _ => Match::Prefix,
    }
}
