//! What browsers are told about pages of other origins (the Fetch standard's CORS protocol). Pure.
//!
//! The gateway speaks for its providers here: theirs are other origins, and a preflight has no key.
//! Pages are never offered credentials (`Access-Control-Allow-Credentials`): a key is a field that
//! they set themselves, and cookies go neither way. So `*` may stand for all response fields.
//!
//! Where no key is asked for, a browser is let through only for pages that are listed or this machine's own: see
//! [`foreign`].

pub(crate) mod foreign;

use std::sync::Arc;

use crate::config::Origin;
use crate::http::head::{FieldSet, Name, NameSet, RequestView, Section, is_token, list};

/// The listed origins, each with the field lines that answers to it get.
pub struct Cors {
    listed: Vec<Arc<BrowserLines>>,
    /// For requests of no page, or of one that is not listed.
    others: Arc<BrowserLines>,
}

/// The page's origin is not among the listed ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unlisted;

/// What every answer to requests of one origin says.
#[derive(Debug)]
pub struct BrowserLines {
    /// Empty for those that are not listed.
    origin: Box<[u8]>,
    answer: Vec<u8>,
}

impl Cors {
    /// `None` without any origin.
    #[must_use]
    pub fn new(origins: &[Origin]) -> Option<Self> {
        let listed = origins
            .iter()
            .map(|origin| Arc::new(BrowserLines::of(origin)));
        (!origins.is_empty()).then(|| Self {
            listed: listed.collect(),
            others: Arc::new(BrowserLines {
                origin: Box::default(),
                // What a cache keeps for one page may not be shown to another.
                answer: b"Vary: Origin\r\n".to_vec(),
            }),
        })
    }

    /// What the answer to a request with these field lines says.
    #[must_use]
    pub fn lines(&self, section: Section<'_>) -> Arc<BrowserLines> {
        let mut sent = section.values(Name::Origin);
        let lines = match (sent.next(), sent.next()) {
            (Some(origin), None) => self.listed.iter().find(|lines| *lines.origin == *origin),
            _ => None,
        };
        lines.unwrap_or(&self.others).clone()
    }
}

impl BrowserLines {
    fn of(origin: &Origin) -> Self {
        let origin = origin.as_str();
        let answer = format!(
            "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: *\r\n\
             Vary: Origin\r\n"
        );
        Self {
            origin: origin.as_bytes().into(),
            answer: answer.into_bytes(),
        }
    }

    /// The origin is listed, so the gateway answers for the provider.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        !self.origin.is_empty()
    }

    /// The field lines of every answer but one to a preflight.
    #[must_use]
    pub fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// The field lines that answer a preflight; `None` where the request is none.
    ///
    /// # Errors
    /// The origin is not listed.
    pub fn preflight(&self, request: RequestView<'_>) -> Result<Option<Vec<u8>>, Unlisted> {
        let section = request.section;
        let asks = request.method() == b"OPTIONS"
            && section.fields.has(Name::Origin)
            && asked(section, b"access-control-request-method")
                .next()
                .is_some();
        if !asks {
            return Ok(None);
        }
        if !self.is_listed() {
            return Err(Unlisted);
        }
        let mut out = [b"Access-Control-Allow-Origin: ", &*self.origin, b"\r\n"].concat();
        out.extend_from_slice(PREFLIGHT);
        let wanted = wanted_fields(section);
        if !wanted.is_empty() {
            out.extend_from_slice(b"Access-Control-Allow-Headers: ");
            out.extend_from_slice(&wanted);
            out.extend_from_slice(b"\r\n");
        }
        Ok(Some(out))
    }
}

/// The methods that provider APIs have; for how long browsers may remember all this, which Chrome cuts
/// to this time.
const PREFLIGHT: &[u8] = b"Access-Control-Allow-Methods: GET, HEAD, POST, PUT, PATCH, DELETE\r\n\
    Access-Control-Max-Age: 7200\r\n\
    Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers\r\n";

/// Most bytes of field names that are allowed by repeating them.
const WANTED_BYTES_MAX: usize = 4096;

/// The names of the fields that the page wants to send, all of which may be; none where one is no
/// token.
fn wanted_fields(section: Section<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for value in asked(section, b"access-control-request-headers") {
        for name in list(value) {
            if !is_token(name) {
                return Vec::new();
            }
            if !out.is_empty() {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(name);
        }
    }
    match out.len() <= WANTED_BYTES_MAX {
        true => out,
        false => Vec::new(),
    }
}

/// What a browser asks in the lines with this name, one of the protocol's.
fn asked<'a>(section: Section<'a>, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    let lines = section.fields.named(Name::AccessControl);
    let lines = lines.filter(move |field| field.is_named(name, section.buf));
    lines.map(move |field| section.value(field))
}

/// Adds the fields of this protocol: a provider's own would contradict the gateway's.
pub(crate) fn remove(section: Section<'_>, removed: &mut FieldSet) {
    for (index, _) in section.fields.among(NameSet::FOR_PAGES) {
        removed.insert(index);
    }
}

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod property;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::property;

    proptest! {
        #[test]
        fn properties_hold(
            method in "(OPTIONS|GET|options)",
            lines in "((Origin|ORIGIN|Access-Control-Request-Method|Access-Control-Request-Headers|Access-Control-X|\
                Sec-Fetch-Site|A): \
                (https://a\\.b|http://c:1|http://localhost(:[0-9]{0,6})?|http://127\\.[0-9]{1,3}\\.0\\.1(:8)?|\
                http://\\[::1\\](:8)?|https?://[a-z.]{0,9}\\.localhost(:1)?|\
                null|POST|none|same-(origin|site)|[a-c, @\t]{0,9})\r\n){0,4}",
        ) {
            let input = format!("{method}\n{}", lines.trim_end());
            property::holds(&property::cors(), input.as_bytes());
        }
    }
}
