//! Endpoint rules: lists of `METHOD /path` that a provider or a key is limited to or kept from. Pure.
//!
//! Paths are those behind the provider's name; a leading `v1/` makes no difference. An upstream may read
//! a path in more ways than one, so a list that allows has to allow every reading of it, and a list that
//! denies needs one reading that it denies. What no reading can be trusted of is refused by either. Methods
//! are no different: some upstreams fold their case, so a list that denies does, and a list that allows does not.

use std::fmt;

use memchr::memchr2;

use crate::base::{hex, steps};

/// A list of rules; an empty one has no rule that fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// One `METHOD /path`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// As it was written.
    text: Box<str>,
    /// `None` is any.
    method: Option<Box<[u8]>>,
    /// Without its first slash, a leading `v1/` and the `*`.
    path: Box<[u8]>,
    /// So many bytes of it are further versions, in any case, which a list that denies does not look at.
    versions: usize,
    /// It ended in `*`: whatever begins so fits.
    open: bool,
}

impl Rules {
    /// Reads a list.
    ///
    /// # Errors
    /// What was expected, and of which rule.
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, String> {
        let rule = |(index, text): (usize, &T)| {
            Rule::parse(text.as_ref()).map_err(|expected| format!("rule {}: {expected}", index + 1))
        };
        let rules = list.iter().enumerate().map(rule);
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// The rules as they were written.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| &*rule.text)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every reading of `endpoint`, which is without a slash before it, is on the list.
    #[must_use]
    pub fn allow(&self, method: &[u8], endpoint: &[u8]) -> bool {
        let listed = |path: &[u8]| {
            let path = path.strip_prefix(V1).unwrap_or(path);
            self.0
                .iter()
                .any(|rule| rule.fits(method, path, &rule.path, |a, b| a == b))
        };
        if memchr2(b'%', b';', endpoint).is_none() {
            return listed(endpoint);
        }
        readings(endpoint).is_some_and(|readings| readings.iter().all(|path| listed(path)))
    }

    /// Whether some reading of `endpoint`, which is without a slash before it, is on the list.
    #[must_use]
    pub fn deny(&self, method: &[u8], endpoint: &[u8]) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let listed = |path: &[u8]| {
            let whole = path.strip_suffix(b"/").unwrap_or(path);
            self.0.iter().any(|rule| {
                let path = if rule.open { path } else { whole };
                let wanted = rule.path.get(rule.versions..).unwrap_or_default();
                rule.fits(method, path, wanted, <[u8]>::eq_ignore_ascii_case)
            })
        };
        if is_plain(endpoint) {
            return listed(endpoint);
        }
        readings(endpoint).is_none_or(|readings| readings.iter().any(|path| listed(&reduced(path))))
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a method or * and a path such as \"POST /chat/*\"";
        let (method, path) = text.trim().split_once([' ', '\t']).ok_or(EXPECTED)?;
        let method = match method {
            "*" => None,
            name if name.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') => {
                Some(name.as_bytes().into())
            }
            _ => return Err("expected the method in capital letters, or *"),
        };
        let written = path.trim_start().strip_prefix('/').ok_or(EXPECTED)?;
        let (path, open) = match written.strip_suffix('*') {
            Some(path) => (path, true),
            None => (written, false),
        };
        let plain = |b: u8| b.is_ascii_graphic() && !b"%?#\\;*".contains(&b);
        if !path.bytes().all(plain) {
            return Err(
                "expected a path of visible ASCII characters, not percent-encoded, with * only at its end",
            );
        }
        if path.starts_with('/')
            || path.contains("//")
            || path.split('/').any(|part| matches!(part, "." | ".."))
        {
            return Err("expected a path without empty and dot segments");
        }
        let path = path.strip_prefix("v1/").unwrap_or(path);
        let versions = versions(path.as_bytes());
        let bare = path.get(versions..).unwrap_or_default();
        let is_version = bare.eq_ignore_ascii_case("v1");
        if !open && (bare.is_empty() || path.ends_with('/')) || is_version {
            return Err("expected a path that ends in a name, or in /* for all that is below");
        }
        Ok(Self {
            text: text.trim().into(),
            method,
            path: path.as_bytes().into(),
            versions,
            open,
        })
    }

    /// Whether `path` is what is `wanted` of it, by this comparison.
    fn fits(
        &self,
        method: &[u8],
        path: &[u8],
        wanted: &[u8],
        same: impl Fn(&[u8], &[u8]) -> bool,
    ) -> bool {
        let methods_fit = match self.method.as_deref() {
            None => true,
            // HEAD is GET without the content.
            Some(b"GET") => same(method, b"GET") || same(method, b"HEAD"),
            Some(name) => same(method, name),
        };
        let compared = match self.open {
            true => path.get(..wanted.len()),
            false => Some(path).filter(|path| path.len() == wanted.len()),
        };
        steps::count(1 + compared.map_or(0, <[u8]>::len));
        methods_fit && compared.is_some_and(|path| same(path, wanted))
    }
}

impl fmt::Display for Rules {
    /// As an array of TOML; rules hold nothing that has to be escaped but quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.texts()).finish()
    }
}

const V1: &[u8] = b"v1/";

/// Escapes of escapes that are followed; a path with more of them is refused, and none has any use for one.
const DECODINGS_MAX: usize = 3;

/// Whether an upstream can only read this path as it stands, and [`reduced`] would leave it alone.
fn is_plain(endpoint: &[u8]) -> bool {
    steps::count(endpoint.len());
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/-_.~:@!$&'()+,=".contains(b);
    let twice = endpoint.windows(2).any(|pair| pair == b"//");
    endpoint.iter().all(plain)
        && !twice
        && !endpoint.starts_with(b"/")
        && !endpoint.get(..3).is_some_and(is_v1)
}

/// The path as upstreams may read it: with the escapes of unreserved characters decoded, which mean the same
/// (RFC 3986, section 6.2.2.2), with all decoded, and with those decoded that this made. `None` where a
/// reading holds a dot segment, a control byte or broken UTF-8, which servers take for very different things.
fn readings(endpoint: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut readings = vec![decoded(endpoint, is_unreserved)];
    let mut last = endpoint.to_vec();
    for _ in 0..=DECODINGS_MAX {
        if !is_trusted(&last) {
            return None;
        }
        let next = decoded(&last, |_| true);
        if next == last {
            readings.push(last);
            return Some(readings);
        }
        readings.push(next.clone());
        last = next;
    }
    None
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_trusted(path: &[u8]) -> bool {
    steps::count(path.len());
    // Behind a `;` stand parameters of a segment, which some servers drop before they look at dots.
    let is_dots = |segment: &[u8]| matches!(name(segment), b"." | b"..");
    !path.iter().any(u8::is_ascii_control)
        && std::str::from_utf8(path).is_ok()
        && !segments(path).any(is_dots)
}

fn segments(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
}

/// A segment without parameters, and without what another parser would take for a query or fragment.
fn name(segment: &[u8]) -> &[u8] {
    let mut parts = segment.split(|byte| matches!(byte, b';' | b'?' | b'#'));
    parts.next().unwrap_or_default()
}

/// Decodes the escapes of the bytes that `wanted` picks. What is no escape stays.
fn decoded(path: &[u8], wanted: impl Fn(u8) -> bool) -> Vec<u8> {
    steps::count(path.len());
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let escape = match (byte, behind) {
            (b'%', [high, low, ..]) => hex::byte(*high, *low),
            _ => None,
        };
        match escape.filter(|byte| wanted(*byte)) {
            Some(byte) => {
                out.push(byte);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => out.push(byte),
        }
    }
    out
}

/// What the most lenient server makes of a path: no empty segments, no parameters, no leading `v1`; one
/// slash stays at its end.
fn reduced(path: &[u8]) -> Vec<u8> {
    steps::count(path.len());
    let names = segments(path).map(name).filter(|name| !name.is_empty());
    let mut out = names.collect::<Vec<_>>().join(&b'/');
    if matches!(path.last(), Some(b'/' | b'\\')) {
        out.push(b'/');
    }
    steps::count(out.len());
    out.drain(..versions(&out));
    out
}

/// How many bytes of a path are versions before it.
fn versions(path: &[u8]) -> usize {
    let all = path.chunks(V1.len()).take_while(|start| is_v1(start));
    V1.len() * all.count()
}

fn is_v1(start: &[u8]) -> bool {
    start.eq_ignore_ascii_case(V1)
}

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;
#[cfg(test)]
mod tests;
