//! An origin, as browsers write it in `Origin` (RFC 6454, section 6.2).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::base::authority;
use crate::base::number::decimal;

/// Scheme, host and port of a page; compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(Box<str>);

impl Origin {
    /// Its serialisation.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Longest serialisation, in bytes: it has to fit in front of a response's head.
pub(crate) const ORIGIN_BYTES_MAX: usize = 512;

impl FromStr for Origin {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "*" => {
                return Err("expected the origins one by one; * would let in every page there is");
            }
            "null" => {
                return Err("expected an origin, and null is none: every sandboxed page has it");
            }
            _ => {}
        }
        let (scheme, authority) = text.split_once("://").ok_or(EXPECTED)?;
        let (host, port) = authority::split_text(authority).ok_or(EXPECTED)?;
        let known = is_scheme(scheme) && is_host(host) && text.len() <= ORIGIN_BYTES_MAX;
        if !known || !port.is_none_or(is_port) {
            return Err(EXPECTED);
        }
        if matches!(
            (scheme, port),
            ("http", Some("80")) | ("https", Some("443"))
        ) {
            return Err("expected an origin without its default port, as browsers write it");
        }
        Ok(Self(text.into()))
    }
}

const EXPECTED: &str = "expected origins as browsers write them, such as \
                        https://app.example.com or http://localhost:3000: lower case, no path, \
                        no slash at the end";

fn is_scheme(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(plain)
}

fn is_host(text: &str) -> bool {
    if let Some(literal) = authority::bracketed(text) {
        // Browsers write the shortest form, and no other would ever be met.
        return literal
            .parse()
            .is_ok_and(|ip: Ipv6Addr| ip.to_string() == literal);
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
    !text.is_empty() && text.bytes().all(plain)
}

fn is_port(text: &str) -> bool {
    let port = decimal(text).and_then(|port| u16::try_from(port).ok());
    !text.starts_with('0') && port.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_browser_can_send_is_an_origin() {
        let rows = [
            ("https://app.example.com", true),
            ("http://localhost:3000", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:3000", true),
            ("http://[::1]", true),
            ("chrome-extension://abcdefghijklmnop", true),
            ("tauri://localhost", true),
            ("https://xn--bcher-kva.example", true),
            ("", false),
            ("*", false),
            ("null", false),
            ("https://*.example.com", false),
            ("app.example.com", false),
            ("https://", false),
            ("https://app.example.com/", false),
            ("https://app.example.com/chat", false),
            ("https://App.example.com", false),
            ("HTTPS://app.example.com", false),
            ("https://bücher.example", false),
            ("https://app.example.com:443", false),
            ("http://app.example.com:80", false),
            ("http://app.example.com:", false),
            ("http://app.example.com:0", false),
            ("http://app.example.com:080", false),
            ("http://app.example.com:65536", false),
            ("https://user@app.example.com", false),
            ("http://[::1", false),
            ("http://[0:0::1]", false),
            ("http://::1", false),
            ("https://a b", false),
            ("https://a\r\nb", false),
            ("https://a,https://b", false),
        ];
        for (text, good) in rows {
            assert_eq!(text.parse::<Origin>().is_ok(), good, "{text}");
        }
        let long = format!("https://{}", "a".repeat(ORIGIN_BYTES_MAX));
        assert!(long.parse::<Origin>().is_err());
    }
}
