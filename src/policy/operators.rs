//! Who may look at the metrics: whoever shows the key of `metrics.key`; where there is none, no page from elsewhere that
//! is open in a browser. Pure.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroizing;

use crate::base::base64;
use crate::config::{Origin, Secret};
use crate::http::head::{Name, Section};
use crate::policy::auth::sha256;
use crate::policy::cors::foreign;

/// The key of `metrics.key`, if there is one.
#[derive(Clone, Copy, Default)]
pub(crate) struct MetricsKey(Option<[u8; 32]>);

/// Why somebody may not look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hidden {
    /// No credential.
    MissingKey,
    /// A credential that is not the key, or two.
    InvalidKey,
    /// A browser asks for a page of another origin.
    Origin,
    /// `Host` is a name that a page from elsewhere may have.
    Host,
}

/// With it a browser asks its user for a password.
pub(crate) const CHALLENGE: &str =
    "WWW-Authenticate: Basic realm=\"sluicegate metrics\", charset=\"UTF-8\"\r\n";

impl Hidden {
    /// Status, code and message.
    #[must_use]
    pub(crate) fn said(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::MissingKey => (
                401,
                "missing_key",
                "no metrics key in the request; send metrics.key as bearer token, or as password with any user",
            ),
            Self::InvalidKey => (401, "invalid_key", "the metrics key is not valid"),
            Self::Origin => (
                403,
                "origin_not_allowed",
                "without metrics.key the metrics are for no page of another origin",
            ),
            Self::Host => (
                403,
                "host_not_allowed",
                "without metrics.key these metrics are for this machine, and a page could have the name in \
                 Host lead here; use localhost or an address, or set metrics.key",
            ),
        }
    }
}

impl MetricsKey {
    /// What is asked for from now on.
    #[must_use]
    pub(crate) fn new(key: Option<&Secret>) -> Self {
        Self(key.map(|key| sha256(key.expose())))
    }

    /// Whether it is asked for at all.
    #[must_use]
    pub(crate) fn is_asked_for(self) -> bool {
        self.0.is_some()
    }

    /// Whether these field lines show it: as bearer token, or as password with any user.
    ///
    /// # Errors
    /// They do not.
    pub(crate) fn check(self, section: Section<'_>) -> Result<(), Hidden> {
        let Some(digest) = self.0 else {
            return Ok(());
        };
        let mut sent = section.values(Name::Authorization);
        let shown = match (sent.next(), sent.next()) {
            (None, _) => return Err(Hidden::MissingKey),
            (Some(value), None) => shown(value).ok_or(Hidden::InvalidKey)?,
            (Some(_), Some(_)) => return Err(Hidden::InvalidKey),
        };
        verify_slices_are_equal(&sha256(&shown), &digest).map_err(|_| Hidden::InvalidKey)
    }
}

/// The key that a credential holds.
fn shown(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let blank = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at_checked(blank)?;
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(Zeroizing::new(rest.to_vec()));
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let mut pair = Zeroizing::new(base64::decoded(rest)?);
    // A user has no colon (RFC 7617, section 2).
    let colon = pair.iter().position(|byte| *byte == b':')?;
    pair.drain(..=colon);
    Some(pair)
}

/// Whether a page from elsewhere asks by the name that it has itself, which it may read the answer of (DNS rebinding);
/// only where it `is_near` that is told from what an operator has named this machine.
///
/// # Errors
/// It does.
pub(crate) fn check_host(
    section: Section<'_>,
    is_near: bool,
    origins: &[Origin],
) -> Result<(), Hidden> {
    match is_near && foreign::is_rebound(section, origins) {
        true => Err(Hidden::Host),
        false => Ok(()),
    }
}

/// Whether a page of another origin asks.
///
/// # Errors
/// It does.
pub(crate) fn check_origin(section: Section<'_>) -> Result<(), Hidden> {
    match foreign::is_foreign(section) {
        true => Err(Hidden::Origin),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::head::{Fields, HeadScan, request};

    fn checked(key: Option<&str>, lines: &[u8]) -> Result<(), Hidden> {
        let head = [b"GET / HTTP/1.1\r\nHost: h\r\n", lines, b"\r\n"].concat();
        let mut fields = Fields::new();
        let found = request(&mut HeadScan::default(), &head, &mut fields);
        found.unwrap().unwrap();
        let key = key.map(|key| Secret::new(key).unwrap());
        MetricsKey::new(key.as_ref()).check(Section::new(&fields, &head))
    }

    #[test]
    fn the_key_is_taken_in_either_form() {
        let basic = |pair: &str| {
            let pair = base64::encoded(pair.as_bytes());
            format!("Authorization: Basic {pair}\r\n")
        };
        let rows = [
            ("Authorization: Bearer k:1\r\n".to_owned(), Ok(())),
            ("authorization: bearer   k:1 \r\n".to_owned(), Ok(())),
            (basic("anyone:k:1"), Ok(())),
            (basic(":k:1"), Ok(())),
            (basic("anyone:k:1").replace("Basic", "bASIC"), Ok(())),
            (String::new(), Err(Hidden::MissingKey)),
            ("x-api-key: k:1\r\n".to_owned(), Err(Hidden::MissingKey)),
            (
                "Authorization: Bearer k:2\r\n".to_owned(),
                Err(Hidden::InvalidKey),
            ),
            (
                "Authorization: Bearer\r\n".to_owned(),
                Err(Hidden::InvalidKey),
            ),
            (
                "Authorization: Bearer \r\n".to_owned(),
                Err(Hidden::InvalidKey),
            ),
            ("Authorization: k:1\r\n".to_owned(), Err(Hidden::InvalidKey)),
            (
                "Authorization: Basic k:1\r\n".to_owned(),
                Err(Hidden::InvalidKey),
            ),
            (basic("k:1"), Err(Hidden::InvalidKey)),
            (basic("k"), Err(Hidden::InvalidKey)),
            (basic("anyone:"), Err(Hidden::InvalidKey)),
            (basic("anyone:k:1").repeat(2), Err(Hidden::InvalidKey)),
        ];
        for (lines, expected) in rows {
            assert_eq!(checked(Some("k:1"), lines.as_bytes()), expected, "{lines}");
            assert_eq!(checked(None, lines.as_bytes()), Ok(()), "{lines}");
        }
    }

    proptest! {
        #[test]
        fn only_the_key_lets_in(
            key in "[!-~]{1,20}", scheme in "(Bearer|Basic|basic|Digest|)", blanks in " {0,3}", credential in "[!-~]{0,40}",
        ) {
            let line = format!("Authorization: {scheme}{blanks}{credential}\r\n");
            if checked(Some(&key), line.as_bytes()).is_ok() {
                let shows = match scheme.as_str() {
                    "Bearer" => credential == key,
                    _ => {
                        let pair = base64::decoded(credential.as_bytes()).unwrap();
                        pair.ends_with(format!(":{key}").as_bytes())
                    }
                };
                prop_assert!(shows, "{}", line);
            }
        }
    }
}
