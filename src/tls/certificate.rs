//! What a certificate or a private key says of itself: from when until when it holds, and what kind of key it is.
//!
//! For messages to operators, and for the dates of a certificate that is trusted as it stands. No signature is
//! checked here and nothing is decided for peers: that is rustls's part.

mod der;
pub(crate) mod pem;
#[cfg(test)]
mod tests;

use crate::base::date;
use der::{Reader, tag};

/// When a certificate holds, in seconds since 1970; what was before that is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// From then on.
    pub not_before: u64,
    /// Until then, inclusive.
    pub not_after: u64,
}

/// How long before its end a certificate is spoken of.
const SOON: u64 = 14 * DAY;
const DAY: u64 = 86_400;

impl Validity {
    /// Reads it from a certificate in DER (RFC 5280, section 4.1); `None` where that is malformed.
    #[must_use]
    pub(crate) fn of(certificate: &[u8]) -> Option<Self> {
        let mut certificate = Reader::new(certificate).enter(tag::SEQUENCE)?;
        let mut fields = certificate.enter(tag::SEQUENCE)?;
        if fields.next_tag() == Some(tag::CONTEXT_0) {
            // The version.
            fields.take(tag::CONTEXT_0)?;
        }
        fields.take(tag::INTEGER)?;
        // Signature algorithm and issuer.
        fields.take(tag::SEQUENCE)?;
        fields.take(tag::SEQUENCE)?;
        let mut validity = fields.enter(tag::SEQUENCE)?;
        Some(Self {
            not_before: time(&mut validity)?,
            not_after: time(&mut validity)?,
        })
    }

    /// When two certificates of one chain hold both.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            not_before: self.not_before.max(other.not_before),
            not_after: self.not_after.min(other.not_after),
        }
    }

    /// Whether it holds at this time.
    #[must_use]
    pub(crate) fn holds(self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// What an operator should know of it now.
    #[must_use]
    pub(crate) fn warning(self, now: u64) -> Option<String> {
        let on = date::imf_fixdate;
        if now > self.not_after {
            return Some(format!("it expired on {}", on(self.not_after)));
        }
        if now < self.not_before {
            return Some(format!("it is not valid before {}", on(self.not_before)));
        }
        let left = self.not_after - now;
        (left < SOON).then(|| {
            let days = left / DAY;
            format!("it expires in {days} days, on {}", on(self.not_after))
        })
    }
}

/// A time in either form that certificates have (RFC 5280, section 4.1.2.5).
fn time(validity: &mut Reader<'_>) -> Option<u64> {
    let tag = validity.next_tag()?;
    let text = std::str::from_utf8(validity.take(tag)?).ok()?;
    let (year, rest) = match tag {
        tag::UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let century = if year < "50" { "20" } else { "19" };
            (format!("{century}{year}"), rest)
        }
        tag::GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.to_owned(), rest)
        }
        _ => return None,
    };
    let digits = rest.strip_suffix('Z')?;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if digits.len() != 10 || !plain(digits) || !plain(&year) {
        return None;
    }
    let two = |at: usize| digits.get(at..at + 2);
    let (month, day) = (two(0)?, two(2)?);
    let (hour, minute, second) = (two(4)?, two(6)?, two(8)?);
    let before_1970 = year.as_str() < "1970";
    // Its month and day are checked with a year that can be counted.
    let year = if before_1970 { "1972" } else { &year };
    let seconds = date::parse_rfc3339(&format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))?;
    Some(if before_1970 { 0 } else { seconds })
}

/// How a private key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyForm {
    /// RFC 5958, for any kind.
    Pkcs8,
    /// RFC 8017, for RSA.
    Pkcs1,
    /// RFC 5915, for elliptic curves.
    Sec1,
}

/// What kind of key this is, in words.
#[must_use]
pub(crate) fn key_kind(form: KeyForm, key: &[u8]) -> String {
    const UNKNOWN: &str = "one of an unknown kind";
    let kind = match form {
        KeyForm::Pkcs8 => kind_of_pkcs8(key),
        KeyForm::Pkcs1 => rsa_bits(key).map(of_bits),
        KeyForm::Sec1 => curve_of_sec1(key).map(on_curve),
    };
    kind.unwrap_or_else(|| UNKNOWN.to_owned())
}

fn kind_of_pkcs8(key: &[u8]) -> Option<String> {
    let mut fields = Reader::new(key).enter(tag::SEQUENCE)?;
    fields.take(tag::INTEGER)?;
    let mut algorithm = fields.enter(tag::SEQUENCE)?;
    let name = match algorithm.take(tag::OID)? {
        oid::RSA => of_bits(rsa_bits(fields.take(tag::OCTET_STRING)?)?),
        oid::EC => on_curve(algorithm.take(tag::OID)?),
        oid::RSA_PSS => "RSA-PSS".to_owned(),
        oid::ED25519 => "Ed25519".to_owned(),
        oid::ED448 => "Ed448".to_owned(),
        oid::X25519 => "X25519, which signs nothing".to_owned(),
        oid::DSA => "DSA".to_owned(),
        _ => return None,
    };
    Some(name)
}

fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut fields = Reader::new(key).enter(tag::SEQUENCE)?;
    fields.take(tag::INTEGER)?;
    let modulus = fields.take(tag::INTEGER)?;
    let first = modulus.iter().position(|byte| *byte != 0)?;
    let digits = modulus.get(first..)?;
    let unused = digits.first()?.leading_zeros() as usize;
    Some(digits.len() * 8 - unused)
}

fn curve_of_sec1(key: &[u8]) -> Option<&[u8]> {
    let mut fields = Reader::new(key).enter(tag::SEQUENCE)?;
    fields.take(tag::INTEGER)?;
    fields.take(tag::OCTET_STRING)?;
    fields.enter(tag::CONTEXT_0)?.take(tag::OID)
}

fn of_bits(bits: usize) -> String {
    format!("RSA of {bits} bits")
}

fn on_curve(curve: &[u8]) -> String {
    let name = match curve {
        oid::P256 => "P-256",
        oid::P384 => "P-384",
        oid::P521 => "P-521",
        oid::P224 => "P-224",
        oid::SECP256K1 => "secp256k1",
        _ => return "EC on an unknown curve".to_owned(),
    };
    format!("EC on {name}")
}

/// Object identifiers as they stand in DER.
mod oid {
    /// 1.2.840.113549.1.1.1
    pub(super) const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
    /// 1.2.840.113549.1.1.10
    pub(super) const RSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
    /// 1.2.840.10045.2.1
    pub(super) const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
    /// 1.2.840.10040.4.1
    pub(super) const DSA: &[u8] = b"\x2a\x86\x48\xce\x38\x04\x01";
    /// 1.3.101.110
    pub(super) const X25519: &[u8] = b"\x2b\x65\x6e";
    /// 1.3.101.112
    pub(super) const ED25519: &[u8] = b"\x2b\x65\x70";
    /// 1.3.101.113
    pub(super) const ED448: &[u8] = b"\x2b\x65\x71";
    /// 1.2.840.10045.3.1.7
    pub(super) const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
    /// 1.3.132.0.33
    pub(super) const P224: &[u8] = b"\x2b\x81\x04\x00\x21";
    /// 1.3.132.0.34
    pub(super) const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
    /// 1.3.132.0.35
    pub(super) const P521: &[u8] = b"\x2b\x81\x04\x00\x23";
    /// 1.3.132.0.10
    pub(super) const SECP256K1: &[u8] = b"\x2b\x81\x04\x00\x0a";
}
